/* The largest value of rows, by one thread and by several. */
#include "engine/argmax.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MOST = 5000 };

/* By definition. */
static int32_t slowly(const float *x, int n) {
    int32_t best = -1;
    for (int i = 0; i < n; i++) {
        if (!isnan(x[i]) && (best < 0 || x[i] > x[best])) {
            best = i;
        }
    }
    return best;
}

static void it_is_the_first_of_the_largest(void **state) {
    (void)state;
    float x[MOST];
    struct rng rng;
    rng_init(&rng, 5);
    for (int n = 0; n <= MOST; n += n < 70 ? 1 : 411) {
        for (int round = 0; round < 20; round++) {
            for (int i = 0; i < n; i++) {
                x[i] = (float)rng_below(&rng, 12) - 6; /* many are equal */
            }
            assert_int_equal(argmax(x, n), slowly(x, n));
            if (n > 0) {
                x[rng_below(&rng, (uint64_t)n)] = NAN;
                x[rng_below(&rng, (uint64_t)n)] = -INFINITY;
            }
            assert_int_equal(argmax(x, n), slowly(x, n));
        }
    }
    for (int i = 0; i < MOST; i++) {
        x[i] = NAN;
    }
    assert_int_equal(argmax(x, MOST), -1);
}

/* Calls of all sizes in turn, so that threads are awake for some and asleep for others. */
static void threads_share_the_rows(void **state) {
    (void)state;
    enum { N = 70000, ROWS = 40 };
    static const int threads[] = {1, 2, 5};
    float *x = calloc((size_t)N * ROWS, sizeof(*x));
    struct argmax_row rows[ROWS];
    struct rng rng;
    assert_non_null(x);
    rng_init(&rng, 6);
    for (size_t i = 0; i < (size_t)N * ROWS; i++) {
        x[i] = (float)rng_uniform(&rng);
    }
    for (size_t t = 0; t < 3; t++) {
        struct err e = ERR_INIT;
        struct argmax_pool *p;
        assert_int_equal(argmax_pool_start(&p, threads[t], &e), 0);
        for (size_t call = 0; call < 30; call++) {
            size_t n = call * 7 % (ROWS + 1);
            for (size_t i = 0; i < n; i++) {
                rows[i] = (struct argmax_row){.x = x + i * N, .n = call % 3 ? N : 10, .best = -7};
            }
            argmax_pool_run(p, rows, n);
            for (size_t i = 0; i < n; i++) {
                assert_true(rows[i].best >= 0 && rows[i].best < rows[i].n);
                for (int k = 0; k < rows[i].n; k += 997) {
                    assert_true(rows[i].x[k] <= rows[i].x[rows[i].best]);
                }
            }
        }
        argmax_pool_stop(p);
    }
    argmax_pool_stop(NULL);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_first_of_the_largest),
        cmocka_unit_test(threads_share_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
