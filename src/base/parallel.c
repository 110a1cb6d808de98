#include "base/parallel.h"

#include <pthread.h>
#include <stdbool.h>

struct run {
    parallel_fn *part;
    void *ctx;
    int thread;
    int64_t first, end;
};

static void *do_run(void *arg) {
    const struct run *r = arg;
    if (r->end > r->first) {
        r->part(r->ctx, r->thread, r->first, r->end);
    }
    return NULL;
}

void parallel_for(int64_t n, int n_threads, parallel_fn *part, void *ctx) {
    struct run runs[PARALLEL_MAX_THREADS];
    pthread_t threads[PARALLEL_MAX_THREADS];
    bool started[PARALLEL_MAX_THREADS] = {false};
    if (n_threads > PARALLEL_MAX_THREADS) {
        n_threads = PARALLEL_MAX_THREADS;
    }
    if (n_threads > n) {
        n_threads = (int)n;
    }
    if (n_threads < 1) {
        n_threads = 1;
    }
    for (int i = 0; i < n_threads; i++) {
        runs[i] = (struct run){part, ctx, i, n * i / n_threads, n * (i + 1) / n_threads};
        started[i] = i > 0 && pthread_create(&threads[i], NULL, do_run, &runs[i]) == 0;
    }
    for (int i = 0; i < n_threads; i++) {
        if (started[i]) {
            pthread_join(threads[i], NULL);
        } else {
            do_run(&runs[i]);
        }
    }
}
