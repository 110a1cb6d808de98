/* Shares of a loop, whatever the number of threads. */
#include "base/parallel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { N = 1000 };

struct seen {
    int times[N];
    int by[N];
};

static void note(void *ctx, int thread, int64_t first, int64_t end) {
    struct seen *s = ctx;
    for (int64_t i = first; i < end; i++) {
        s->times[i]++;
        s->by[i] = thread;
    }
}

static void every_piece_is_done_once(void **state) {
    (void)state;
    static const int threads[] = {-1, 0, 1, 2, 3, 7, 64, 5000};
    static const int64_t sizes[] = {0, 1, 2, 63, N};
    for (size_t t = 0; t < sizeof(threads) / sizeof(threads[0]); t++) {
        for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            struct seen s = {{0}, {0}};
            parallel_for(sizes[k], threads[t], note, &s);
            for (int64_t i = 0; i < N; i++) {
                assert_int_equal(s.times[i], i < sizes[k]);
            }
        }
    }
}

static void runs_are_in_order_and_of_like_length(void **state) {
    (void)state;
    struct seen s = {{0}, {0}};
    int of[7] = {0};
    parallel_for(N, 7, note, &s);
    for (int i = 0; i < N; i++) {
        assert_true(i == 0 || s.by[i] == s.by[i - 1] || s.by[i] == s.by[i - 1] + 1);
        of[s.by[i]]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(of[i], N / 7, N / 7 + 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_is_done_once),
        cmocka_unit_test(runs_are_in_order_and_of_like_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
