#include "engine/argmax.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* Below that, one thread is done before others are awake. */
enum { MIN_VALUES_TO_SHARE = 1 << 19 };

struct argmax_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    pthread_t *threads; /* n_threads of them, owned */
    int n_threads;
    uint64_t round; /* of calls */
    int n_working;  /* threads that have not finished this round */
    bool stopping;
    struct argmax_row *rows; /* of this round; borrowed */
    size_t n_rows;
    atomic_size_t next; /* row nobody has taken */
};

static float largest(const float *x, int n) {
    enum {
        LANES = 64
    }; /* chains that hide the latency of a comparison; the compiler makes vectors */
    float best[LANES];
    for (int k = 0; k < LANES; k++) {
        best[k] = -INFINITY;
    }
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            best[k] = x[i + k] > best[k] ? x[i + k] : best[k];
        }
    }
    float top = -INFINITY;
    for (int k = 0; k < LANES; k++) {
        top = best[k] > top ? best[k] : top;
    }
    for (; i < n; i++) {
        top = x[i] > top ? x[i] : top;
    }
    return top;
}

/* Where it is, is looked for in its block alone: the rest is read once. */
int32_t argmax(const float *x, int n) {
    enum { BLOCK = 1024 };
    float top = -INFINITY;
    int at = 0;
    for (int i = 0; i < n; i += BLOCK) {
        float here = largest(x + i, n - i < BLOCK ? n - i : BLOCK);
        at = here > top ? i : at;
        top = here > top ? here : top;
    }
    for (int i = at; i < n; i++) {
        if (x[i] == top) {
            return i;
        }
    }
    return -1;
}

static void take_rows(struct argmax_pool *p) {
    for (size_t i = atomic_fetch_add(&p->next, 1); i < p->n_rows;
         i = atomic_fetch_add(&p->next, 1)) {
        p->rows[i].best = argmax(p->rows[i].x, p->rows[i].n);
    }
}

static void *serve(void *arg) {
    struct argmax_pool *p = arg;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->round == seen && !p->stopping) {
            pthread_cond_wait(&p->work, &p->lock);
        }
        if (p->stopping) {
            break;
        }
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        take_rows(p);
        pthread_mutex_lock(&p->lock);
        if (--p->n_working == 0) {
            pthread_cond_signal(&p->done);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int argmax_pool_start(struct argmax_pool **out, int n_threads, struct err *e) {
    *out = NULL;
    struct argmax_pool *p = calloc(1, sizeof(*p));
    if (!p) {
        return err_set(e, EE_NOMEM, "picking tokens: out of memory");
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    p->threads = calloc((size_t)(n_threads > 1 ? n_threads : 1), sizeof(*p->threads));
    /* With fewer threads than asked for it only takes longer. */
    while (p->threads && p->n_threads < n_threads - 1 &&
           pthread_create(&p->threads[p->n_threads], NULL, serve, p) == 0) {
        p->n_threads++;
    }
    *out = p;
    return 0;
}

void argmax_pool_run(struct argmax_pool *p, struct argmax_row *rows, size_t n) {
    size_t n_values = 0;
    for (size_t i = 0; i < n; i++) {
        n_values += (size_t)rows[i].n;
    }
    bool shared = p->n_threads > 0 && n > 1 && n_values >= MIN_VALUES_TO_SHARE;
    pthread_mutex_lock(&p->lock);
    p->rows = rows;
    p->n_rows = n;
    atomic_store(&p->next, 0);
    if (shared) {
        p->n_working = p->n_threads;
        p->round++;
        pthread_cond_broadcast(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    take_rows(p);
    pthread_mutex_lock(&p->lock);
    while (p->n_working > 0) {
        pthread_cond_wait(&p->done, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

void argmax_pool_stop(struct argmax_pool *p) {
    if (!p) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_threads; i++) {
        pthread_join(p->threads[i], NULL);
    }
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    free(p->threads);
    free(p);
}
