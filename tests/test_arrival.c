/*
 * Schedules against the distributions they claim, by the Kolmogorov-Smirnov test. Seeds are fixed,
 * so a pass is a pass for ever; the bound is the 0.1 % point.
 */
#include "serve/arrival.h"

#include "stats/stats.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

enum { N = 20000 };

/* P(X <= x) of a Gamma variable with mean 1, by its series (shape a, rate a). */
static double gamma_cdf(double x, double a) {
    double z = a * x;
    if (z <= 0) {
        return 0;
    }
    double term = 1 / a;
    double sum = term;
    for (int k = 1; k < 10000 && term > sum * 1e-15; k++) {
        term *= z / (a + k);
        sum += term;
    }
    return sum * exp(a * log(z) - z - lgamma(a));
}

static double exponential_cdf(double x, double unused) {
    (void)unused;
    return 1 - exp(-x);
}

/* The largest distance between the sample's distribution and cdf, times sqrt(n). */
static double ks(double *gaps, size_t n, double (*cdf)(double, double), double parameter) {
    stats_sort(gaps, n);
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double f = cdf(gaps[i], parameter);
        worst = fmax(worst,
                     fmax(fabs(f - (double)i / (double)n), fabs((double)(i + 1) / (double)n - f)));
    }
    return worst * sqrt((double)n);
}

static const double ks_bound = 1.95; /* 0.1 % */

static struct levels level(double rate) {
    return (struct levels){.n = 1, .steps = {{rate, rate, (double)INFINITY}}};
}

static int64_t *schedule(const struct arrival_spec *spec, size_t count, double end_s, size_t *n) {
    struct err e = ERR_INIT;
    int64_t *at = NULL;
    OK(arrival_schedule(spec, count, end_s, &at, n, &e));
    for (size_t i = 1; i < *n; i++) {
        assert_true(at[i] >= at[i - 1]);
    }
    return at;
}

/* Gaps in units of the mean gap at that rate, from index first in steps of stride. */
static double *gaps_of(const int64_t *at, size_t n, double rate, size_t stride, size_t *n_gaps) {
    double *gaps = calloc(n, sizeof(*gaps));
    assert_non_null(gaps);
    *n_gaps = 0;
    for (size_t i = stride; i < n; i += stride) {
        gaps[(*n_gaps)++] = (double)(at[i] - at[i - stride]) * 1e-9 * rate / (double)stride;
    }
    return gaps;
}

static void check_gaps(const struct arrival_spec *base, size_t stride,
                       double (*cdf)(double, double), double parameter) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        /* Slow, because times are whole nanoseconds and bursty gaps can be shorter. */
        const double per_s = 0.001;
        struct levels rate = level(per_s);
        struct arrival_spec spec = *base;
        spec.seed = seed;
        spec.rate = &rate;
        size_t n, n_gaps;
        int64_t *at = schedule(&spec, N, 0, &n);
        assert_int_equal(n, N);
        double *gaps = gaps_of(at, n, per_s, stride, &n_gaps);
        assert_true(ks(gaps, n_gaps, cdf, parameter) < ks_bound);
        free(gaps);
        free(at);
    }
}

static void poisson_gaps_are_exponential(void **state) {
    (void)state;
    const struct arrival_spec spec = {.kind = ARRIVAL_POISSON};
    check_gaps(&spec, 1, exponential_cdf, 0);
}

static void gamma_gaps_have_their_variation(void **state) {
    (void)state;
    const double cvs[] = {0.5, 1, 1.5, 2};
    for (int i = 0; i < 4; i++) {
        const struct arrival_spec spec = {.kind = ARRIVAL_GAMMA, .cv = cvs[i]};
        check_gaps(&spec, 1, gamma_cdf, 1 / (cvs[i] * cvs[i]));
    }
}

static void bursts_come_as_groups(void **state) {
    (void)state;
    const struct arrival_spec spec = {.kind = ARRIVAL_BURSTY, .burst = 8};
    check_gaps(&spec, 8, exponential_cdf, 0);
    struct levels rate = level(50);
    struct arrival_spec one = spec;
    one.rate = &rate;
    size_t n;
    int64_t *at = schedule(&one, 80, 0, &n);
    for (size_t i = 0; i < n; i++) {
        assert_true(at[i] == at[i / 8 * 8]);
    }
    free(at);
}

static void a_test_for_the_wrong_distribution_fails(void **state) {
    (void)state;
    struct levels rate = level(50);
    const struct arrival_spec spec = {.kind = ARRIVAL_GAMMA, .cv = 1.1, .seed = 1, .rate = &rate};
    size_t n, n_gaps;
    int64_t *at = schedule(&spec, N, 0, &n);
    double *gaps = gaps_of(at, n, 50, 1, &n_gaps);
    assert_true(ks(gaps, n_gaps, exponential_cdf, 0) > ks_bound);
    free(gaps);
    free(at);
}

static void constant_gaps_are_all_equal(void **state) {
    (void)state;
    struct levels rate = level(40);
    const struct arrival_spec spec = {.kind = ARRIVAL_CONSTANT, .rate = &rate};
    size_t n;
    int64_t *at = schedule(&spec, 0, 10, &n);
    assert_int_equal(n, 400);
    for (size_t i = 0; i < n; i++) {
        assert_in_range(at[i] - (int64_t)i * 25000000 + 1, 0, 2);
    }
    free(at);
}

/* Arrivals mapped back through the rate's integral are the process of rate 1 again. */
static void steps_and_ramps_keep_the_process(void **state) {
    (void)state;
    const struct levels shapes[] = {
        {.n = 3, .steps = {{10, 10, 100}, {200, 200, 50}, {30, 30, 200}}},
        {.n = 1, .steps = {{1, 100, 300}}},
        {.n = 1, .steps = {{100, 1, 300}}},
    };
    for (int s = 0; s < 3; s++) {
        const struct arrival_spec spec = {.kind = ARRIVAL_POISSON, .seed = 4, .rate = &shapes[s]};
        size_t n;
        int64_t *at = schedule(&spec, 0, levels_seconds(&shapes[s]), &n);
        double *gaps = calloc(n, sizeof(*gaps));
        assert_non_null(gaps);
        double before = 0;
        double expected = 0;
        for (size_t k = 0; k < shapes[s].n; k++) {
            const struct level_step *st = &shapes[s].steps[k];
            expected += (st->from + st->to) / 2 * st->seconds;
        }
        assert_true(fabs((double)n - expected) < 4 * sqrt(expected));
        for (size_t i = 0; i < n; i++) {
            double t = (double)at[i] * 1e-9;
            double area = 0;
            for (size_t k = 0; k < shapes[s].n; k++) {
                const struct level_step *st = &shapes[s].steps[k];
                double in = fmin(t, st->seconds);
                area += st->from * in + (st->to - st->from) * in * in / (2 * st->seconds);
                t -= in;
            }
            gaps[i] = area - before;
            before = area;
        }
        assert_true(ks(gaps, n, exponential_cdf, 0) < ks_bound);
        free(gaps);
        free(at);
    }
}

static void equal_seeds_give_equal_schedules_and_others_do_not(void **state) {
    (void)state;
    struct levels rate = level(10);
    struct arrival_spec spec = {.kind = ARRIVAL_POISSON, .seed = 7, .rate = &rate};
    size_t n;
    int64_t *a = schedule(&spec, 100, 0, &n);
    int64_t *b = schedule(&spec, 100, 0, &n);
    spec.seed = 8;
    int64_t *c = schedule(&spec, 100, 0, &n);
    assert_memory_equal(a, b, 100 * sizeof(*a));
    assert_memory_not_equal(a, c, 100 * sizeof(*a));
    free(a);
    free(b);
    free(c);
}

static void levels_are_read(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct levels l;
    OK(levels_parse("20", "--rate", 30, 0, 1e6, &l, &e));
    assert_int_equal(l.n, 1);
    assert_true(levels_at(&l, 5) == 20 && levels_at(&l, 1e9) == 20);
    OK(levels_parse("1,2.5,4", "--rate", 30, 10, 1e6, &l, &e));
    assert_int_equal(l.n, 3);
    assert_true(levels_at(&l, 0) == 1 && levels_at(&l, 10) == 2.5 && levels_at(&l, 1e9) == 4);
    assert_true(levels_max(&l) == 4 && levels_seconds(&l) == 30);
    OK(levels_parse("1..9", "--rate", 8, 0, 1e6, &l, &e));
    assert_true(levels_at(&l, 4) == 5 && levels_at(&l, 8) == 9);
    const char *const bad[] = {"",    "x",       "0",   "-1",  "1,",  "1,,2",
                               "1..", "1..2..3", "nan", "inf", "1e7", "1,2 "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        REFUSED_WITH(levels_parse(bad[i], "--rate", 30, 10, 1e6, &l, &e), EE_USAGE, "--rate is");
    }
    REFUSED_WITH(levels_parse("1,2", "--rate", 30, 0, 1e6, &l, &e), EE_USAGE, "--step");
    REFUSED_WITH(levels_parse("1..2", "--rate", (double)INFINITY, 0, 1e6, &l, &e), EE_USAGE,
                 "--duration");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisson_gaps_are_exponential),
        cmocka_unit_test(gamma_gaps_have_their_variation),
        cmocka_unit_test(bursts_come_as_groups),
        cmocka_unit_test(a_test_for_the_wrong_distribution_fails),
        cmocka_unit_test(constant_gaps_are_all_equal),
        cmocka_unit_test(steps_and_ramps_keep_the_process),
        cmocka_unit_test(equal_seeds_give_equal_schedules_and_others_do_not),
        cmocka_unit_test(levels_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
