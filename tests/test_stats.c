#include "stats/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check_close(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want))) {
        fail_msg("got %.17g, want %.17g", got, want);
    }
}

static void moments(void **state) {
    (void)state;
    const double x[] = {2, 4, 4, 4, 5, 5, 7, 9};
    check_close(stats_mean(x, 8), 5, 0);
    check_close(stats_sd(x, 8), sqrt(32.0 / 7.0), 1e-15);
    assert_true(isnan(stats_mean(x, 0)));
    assert_true(isnan(stats_sd(x, 1)));
}

static void quantiles_interpolate_between_neighbours(void **state) {
    (void)state;
    double x[] = {9, 1, 4, 2};
    stats_sort(x, 4);
    check_close(stats_quantile(x, 4, 0), 1, 0);
    check_close(stats_quantile(x, 4, 0.25), 1.75, 1e-15);
    check_close(stats_quantile(x, 4, 0.5), 3, 0);
    check_close(stats_quantile(x, 4, 0.95), 8.25, 1e-15);
    check_close(stats_quantile(x, 4, 1), 9, 0);
    check_close(stats_quantile(x, 1, 0.7), 1, 0);
    assert_true(isnan(stats_quantile(x, 0, 0.5)));
    assert_true(isnan(stats_quantile(x, 4, 1.01)));
    assert_true(isnan(stats_quantile(x, 4, NAN)));
}

static void sorting_keeps_nan_last(void **state) {
    (void)state;
    double x[] = {NAN, 3, NAN, -1, 2};
    stats_sort(x, 5);
    check_close(x[0], -1, 0);
    check_close(x[2], 3, 0);
    assert_true(isnan(x[3]) && isnan(x[4]));
}

static void percentiles_need_enough_values(void **state) {
    (void)state;
    assert_false(stats_bounds_quantile(71, 0.95));
    assert_true(stats_bounds_quantile(72, 0.95));
    assert_false(stats_bounds_quantile(367, 0.99));
    assert_true(stats_bounds_quantile(368, 0.99));
    assert_true(stats_bounds_quantile(3688, 0.999));
    assert_false(stats_bounds_quantile(0, 0.95));
}

/* From mpmath 1.3 with 40 digits: the root of 1 - I_x(v/2, 1/2)/2 - p. */
static const struct {
    double p, df, t;
} t_quantiles[] = {
    {0.975, 1, 12.706204736174704646},      {0.975, 2, 4.3026527297494638523},
    {0.975, 3, 3.1824463052837095927},      {0.975, 4, 2.7764451051977943578},
    {0.975, 9, 2.2621571627982055426},      {0.975, 29, 2.0452296421327042982},
    {0.975, 99, 1.9842169515864174951},     {0.975, 1000, 1.962339080826408485},
    {0.975, 100000, 1.9599877075346096386}, {0.9, 5, 1.4758840488244810785},
    {0.995, 4, 4.6040948713499932254},      {0.9995, 3, 12.923978636687483065},
    {0.6, 7, 0.26316686135202281214},
};

static void student_t_matches_a_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(t_quantiles) / sizeof(t_quantiles[0]); i++) {
        double p = t_quantiles[i].p;
        double df = t_quantiles[i].df;
        check_close(stats_t_quantile(p, df), t_quantiles[i].t, 1e-10);
        check_close(stats_t_quantile(1 - p, df), -t_quantiles[i].t, 1e-10);
        check_close(stats_t_cdf(t_quantiles[i].t, df), p, 1e-11);
    }
    check_close(stats_t_cdf(0, 3), 0.5, 1e-15);
    assert_true(fabs(stats_t_quantile(0.5, 3)) < 1e-12);
}

static void student_t_refuses_what_has_no_answer(void **state) {
    (void)state;
    assert_true(isnan(stats_t_quantile(0, 3)));
    assert_true(isnan(stats_t_quantile(1, 3)));
    assert_true(isnan(stats_t_quantile(0.9, 0)));
    assert_true(isnan(stats_t_cdf(NAN, 3)));
}

static void the_interval_of_a_mean(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, 4, 5};
    double low = 0;
    double high = 0;
    assert_true(stats_t_interval(x, 5, 0.95, &low, &high));
    double half = 2.7764451051977943578 * sqrt(2.5) / sqrt(5);
    check_close(low, 3 - half, 1e-12);
    check_close(high, 3 + half, 1e-12);
}

static void an_interval_is_never_made_up(void **state) {
    (void)state;
    const double one[] = {1};
    const double equal[] = {2, 2, 2};
    const double not_a_number[] = {1, NAN, 3};
    const double infinite[] = {1, INFINITY};
    double low = -7;
    double high = -7;
    assert_false(stats_t_interval(one, 0, 0.95, &low, &high));
    assert_false(stats_t_interval(one, 1, 0.95, &low, &high));
    assert_false(stats_t_interval(equal, 3, 0.95, &low, &high));
    assert_false(stats_t_interval(not_a_number, 3, 0.95, &low, &high));
    assert_false(stats_t_interval(infinite, 2, 0.95, &low, &high));
    assert_false(stats_t_interval(one, 2, 1, &low, &high));
    check_close(low, -7, 0);
    check_close(high, -7, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments),
        cmocka_unit_test(quantiles_interpolate_between_neighbours),
        cmocka_unit_test(sorting_keeps_nan_last),
        cmocka_unit_test(percentiles_need_enough_values),
        cmocka_unit_test(student_t_matches_a_reference),
        cmocka_unit_test(student_t_refuses_what_has_no_answer),
        cmocka_unit_test(the_interval_of_a_mean),
        cmocka_unit_test(an_interval_is_never_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
