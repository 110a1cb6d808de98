/* Quantiles of counts against those of the numbers themselves. */
#include "stats/histogram.h"

#include "stats/stats.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = 20000 };

static void check(double (*draw)(struct rng *r), double within) {
    struct rng r;
    rng_init(&r, 7);
    struct histogram *h = histogram_new();
    double *x = calloc(N, sizeof(*x));
    assert_non_null(h);
    assert_non_null(x);
    for (size_t i = 0; i < N; i++) {
        x[i] = floor(draw(&r));
        histogram_add(h, (uint32_t)x[i]);
    }
    stats_sort(x, N);
    for (int i = 0; i <= 1000; i++) {
        double want = stats_quantile(x, N, i / 1000.0);
        assert_true(fabs(histogram_quantile(h, i / 1000.0) - want) <= within * want);
    }
    assert_int_equal(histogram_count(h), N);
    free(x);
    histogram_free(h);
}

static double small(struct rng *r) {
    return 2048 * rng_uniform(r);
}

static double any(struct rng *r) {
    return exp2(32 * rng_uniform(r));
}

static void small_numbers_are_exact(void **state) {
    (void)state;
    check(small, 1e-12);
}

static void larger_ones_are_near(void **state) {
    (void)state;
    check(any, 5e-4);
}

static void the_ends_have_bins(void **state) {
    (void)state;
    struct histogram *h = histogram_new();
    assert_non_null(h);
    assert_true(isnan(histogram_quantile(h, 0.5)));
    histogram_add(h, UINT32_MAX);
    histogram_add(h, 0);
    assert_true(histogram_quantile(h, 0) == 0);
    assert_true(fabs(histogram_quantile(h, 1) / UINT32_MAX - 1) < 5e-4);
    assert_true(isnan(histogram_quantile(h, -0.1)) && isnan(histogram_quantile(h, NAN)));
    histogram_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_numbers_are_exact),
        cmocka_unit_test(larger_ones_are_near),
        cmocka_unit_test(the_ends_have_bins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
