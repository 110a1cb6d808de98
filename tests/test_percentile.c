/* Percentiles, and means and percentiles of values that depend on their neighbours. */
#include "stats/percentile.h"
#include "stats/stats.h"

#include "base/rng.h"

#include "support/intervals.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double *sorted_copy(const double *x, size_t n) {
    double *sorted = malloc((n + 1) * sizeof(*sorted));
    assert_non_null(sorted);
    memcpy(sorted, x, n * sizeof(*x));
    stats_sort(sorted, n);
    return sorted;
}

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    const char *kind = golden_str(golden, "kind");
    size_t n;
    double *x = golden_array(golden, "x", &n);
    double *sorted = sorted_copy(x, n);
    const json_t *q = json_object_get(golden, "q");
    double p = q ? golden_num(q) : NAN;
    if (strcmp(kind, "independent") == 0) {
        struct stats_interval got = stats_percentile(sorted, n, p, 0.95);
        check_interval(golden, &got, 1e-12);
        assert_int_equal(isinf(got.high), !stats_bounds_quantile(n, p));
        assert_int_equal(got.reason != NULL, isinf(got.high) || isinf(got.low));
    } else if (strcmp(kind, "in time") == 0) {
        struct stats_interval got;
        assert_int_equal(stats_percentile_in_time(x, sorted, n, p, 0.95, &got, NULL), 0);
        check_interval(golden, &got, 1e-12);
        assert_non_null(strstr(got.method, "blocks"));
    } else if (strcmp(kind, "mean") == 0) {
        struct stats_interval got = stats_mean_in_time(x, n, 0.95);
        check_interval(golden, &got, 1e-10);
    } else {
        assert_string_equal(kind, "block length");
        double want = golden_num(json_object_get(golden, "length"));
        assert_true(fabs(stats_block_length(x, n) - want) < 1e-9 * want);
    }
    free(x);
    free(sorted);
}

static void percentiles_match_references(void **state) {
    (void)state;
    assert_int_equal(goldens_each("stats/percentile.jsonl", check_golden, NULL), 50);
}

static void a_sample_too_small_says_at_least(void **state) {
    (void)state;
    double x[100];
    for (size_t i = 0; i < 100; i++) {
        x[i] = (double)i;
    }
    struct stats_interval i = stats_percentile(x, 100, 0.99, 0.95);
    assert_true(i.estimate == 99 && isinf(i.high) && i.low == 96);
    assert_non_null(i.reason);
    i = stats_percentile(x, 100, 0.95, 0.95);
    assert_true(i.estimate < 99 && i.high == 99);
    assert_null(i.reason);
    i = stats_percentile(x, 1, 0.5, 0.95);
    assert_true(i.estimate == 0 && isinf(i.high) && isinf(i.low) && i.low < 0);
}

static void percentiles_refuse_what_they_cannot_rank(void **state) {
    (void)state;
    const double nan_in[] = {1, 2, NAN};
    const double infinite[] = {1, 2, INFINITY};
    const double fine[] = {1, 2, 3};
    struct stats_interval i = stats_percentile(nan_in, 3, 0.5, 0.95);
    check_no_interval(&i, NAN);
    i = stats_percentile(infinite, 3, 0.5, 0.95);
    check_no_interval(&i, NAN);
    i = stats_percentile(fine, 0, 0.5, 0.95);
    check_no_interval(&i, NAN);
    i = stats_percentile(fine, 3, 1, 0.95);
    check_no_interval(&i, NAN);
    i = stats_percentile(fine, 3, NAN, 0.95);
    check_no_interval(&i, NAN);
    assert_int_equal(stats_percentile_in_time(nan_in, nan_in, 3, 0.5, 0.95, &i, NULL), 0);
    check_no_interval(&i, NAN);
}

/* A stream in which every random value is met several times in a row. */
static void fill_runs(double *x, size_t n, size_t run) {
    struct rng r;
    rng_init(&r, 1);
    for (size_t i = 0; i < n; i++) {
        x[i] = i % run == 0 ? rng_uniform(&r) : x[i - 1] + 1e-6;
    }
}

static void runs_count_once(void **state) {
    (void)state;
    enum { N = 4000 };
    static double x[N];
    fill_runs(x, N, 10);
    double *sorted = sorted_copy(x, N);
    struct stats_interval alone = stats_percentile(sorted, N, 0.5, 0.95);
    struct stats_interval in_time;
    assert_int_equal(stats_percentile_in_time(x, sorted, N, 0.5, 0.95, &in_time, NULL), 0);
    /* Ten equal neighbours are one observation: an interval sqrt(10) times as wide. */
    double times = (in_time.high - in_time.low) / (alone.high - alone.low);
    assert_true(times > 2.5 && times < 5);
    assert_true(in_time.estimate == alone.estimate);
    /* So p99.5 of 4,000 values is not bounded by what looks like 400. */
    assert_int_equal(stats_percentile_in_time(x, sorted, N, 0.995, 0.95, &in_time, NULL), 0);
    alone = stats_percentile(sorted, N, 0.995, 0.95);
    assert_true(isinf(in_time.high) && isfinite(alone.high));
    struct stats_interval mean = stats_mean_in_time(x, N, 0.95);
    double half = (mean.high - mean.low) / 2;
    double independent = 1.96 * stats_sd(x, N) / sqrt(N);
    assert_true(half > 2.5 * independent && half < 4.5 * independent);
    free(sorted);
}

static void independent_values_are_left_alone(void **state) {
    (void)state;
    enum { N = 2000 };
    static double x[N];
    fill_runs(x, N, 1);
    double *sorted = sorted_copy(x, N);
    struct stats_interval alone = stats_percentile(sorted, N, 0.95, 0.95);
    struct stats_interval in_time;
    assert_int_equal(stats_percentile_in_time(x, sorted, N, 0.95, 0.95, &in_time, NULL), 0);
    double times = (in_time.high - in_time.low) / (alone.high - alone.low);
    assert_true(times > 0.9 && times < 1.5);
    free(sorted);
}

static void streams_without_spread_or_length_are_refused(void **state) {
    (void)state;
    double equal[50];
    for (size_t i = 0; i < 50; i++) {
        equal[i] = 3;
    }
    assert_true(isnan(stats_block_length(equal, 50)));
    struct stats_interval i = stats_mean_in_time(equal, 50, 0.95);
    check_no_interval(&i, 3);
    double few[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    i = stats_mean_in_time(few, 9, 0.95);
    check_no_interval(&i, 5);
    few[3] = NAN;
    i = stats_mean_in_time(few, 9, 0.95);
    check_no_interval(&i, NAN);
    i = stats_mean_in_time(few, 0, 0.95);
    check_no_interval(&i, NAN);
    /* The percentile of equal values is that value, whatever the sample. */
    struct stats_interval p;
    assert_int_equal(stats_percentile_in_time(equal, equal, 50, 0.5, 0.95, &p, NULL), 0);
    assert_true(p.low == 3 && p.high == 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_match_references),
        cmocka_unit_test(a_sample_too_small_says_at_least),
        cmocka_unit_test(percentiles_refuse_what_they_cannot_rank),
        cmocka_unit_test(runs_count_once),
        cmocka_unit_test(independent_values_are_left_alone),
        cmocka_unit_test(streams_without_spread_or_length_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
