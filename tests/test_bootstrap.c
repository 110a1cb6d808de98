/* Resampling, and the choice of a method by looking at the data. */
#include "stats/bootstrap.h"
#include "stats/choose.h"
#include "stats/multiple.h"
#include "stats/power.h"
#include "stats/resample.h"
#include "stats/stats.h"

#include "support/intervals.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * Endpoints of 200,000 resamples are known to 0.3 % of the half-width, the reference's 400,000 to
 * 0.2 %: this is over four standard errors.
 */
static const struct stats_opts many = {.resamples = 200000, .seed = 11};
#define MONTE_CARLO 0.016

static struct stats_interval interval_of(const char *kind, const double *a, const double *b,
                                         size_t n) {
    struct stats_interval out = {0};
    int rc = -1;
    if (strcmp(kind, "bca mean") == 0) {
        rc = stats_bca_mean(b, n, &many, &out, NULL);
    } else if (strcmp(kind, "bca ratio") == 0) {
        rc = stats_bca_ratio(a, b, n, &many, &out, NULL);
    } else if (strcmp(kind, "t mean") == 0) {
        rc = stats_boot_t_mean(b, n, &many, &out, NULL);
    } else if (strcmp(kind, "t log mean") == 0) {
        rc = stats_boot_t_log_mean(b, n, &many, &out, NULL);
    } else if (strcmp(kind, "t log ratio") == 0) {
        rc = stats_boot_t_log_ratio(a, b, n, &many, &out, NULL);
    }
    assert_int_equal(rc, 0);
    return out;
}

static void check_bootstrap(const json_t *golden, void *ctx) {
    (void)ctx;
    size_t n;
    double *a = golden_array(golden, "a", &n);
    double *b = golden_array(golden, "b", &n);
    struct stats_interval got = interval_of(golden_str(golden, "kind"), a, b, n);
    check_interval(golden, &got, MONTE_CARLO);
    free(a);
    free(b);
}

static void resampling_matches_references(void **state) {
    (void)state;
    assert_int_equal(goldens_each("stats/bootstrap.jsonl", check_bootstrap, NULL), 15);
}

/* Positive pairs that differ, the same in every test. */
static void fill_positive(double *a, double *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        b[i] = 1 + (double)(i * 7919 % 101) / 40;
        a[i] = 0.9 * b[i] + (double)(i * 104729 % 37) / 100 + 1e-4 * (double)i;
    }
}

static bool is_same(const struct stats_interval *x, const struct stats_interval *y) {
    return x->low == y->low && x->high == y->high && x->p_value == y->p_value;
}

static void a_seed_and_a_use_fix_every_digit(void **state) {
    (void)state;
    double a[50];
    double b[50];
    fill_positive(a, b, 50);
    struct stats_opts opts = {.seed = 3, .use = "q_ret/v1"};
    struct stats_interval first;
    struct stats_interval other;
    struct stats_interval again;
    assert_int_equal(stats_boot_t_log_ratio(a, b, 50, &opts, &first, NULL), 0);
    assert_int_equal(stats_boot_t_mean(a, 50, &opts, &other, NULL), 0);
    assert_int_equal(stats_boot_t_log_ratio(a, b, 50, &opts, &again, NULL), 0);
    assert_true(is_same(&first, &again));
    opts.use = "q_ret/v2";
    assert_int_equal(stats_boot_t_log_ratio(a, b, 50, &opts, &again, NULL), 0);
    assert_false(is_same(&first, &again));
    opts.use = "q_ret/v1";
    opts.seed = 4;
    assert_int_equal(stats_boot_t_log_ratio(a, b, 50, &opts, &again, NULL), 0);
    assert_false(is_same(&first, &again));
    /* No more than Monte Carlo error apart. */
    assert_true(fabs(again.low - first.low) < 0.1 * (first.high - first.low));
}

static void units_do_not_matter(void **state) {
    (void)state;
    double a[30];
    double b[30];
    fill_positive(a, b, 30);
    struct stats_interval one;
    struct stats_interval thousand;
    assert_int_equal(stats_boot_t_log_mean(a, 30, NULL, &one, NULL), 0);
    for (size_t i = 0; i < 30; i++) {
        a[i] *= 1000;
    }
    assert_int_equal(stats_boot_t_log_mean(a, 30, NULL, &thousand, NULL), 0);
    assert_true(fabs(thousand.low / one.low - 1000) < 1e-8);
    assert_true(fabs(thousand.high / one.high - 1000) < 1e-8);
}

static void a_tiny_difference_keeps_its_digits(void **state) {
    (void)state;
    double a[40];
    double b[40];
    fill_positive(a, b, 40);
    for (size_t i = 0; i < 40; i++) {
        a[i] = b[i] * (1 + 1e-9 * (double)(i % 7));
    }
    struct stats_interval i;
    assert_int_equal(stats_boot_t_log_ratio(a, b, 40, NULL, &i, NULL), 0);
    assert_non_null(i.method);
    assert_true(i.low > 1 + 2e-9 && i.high < 1 + 4e-9 && i.high - i.low > 1e-10);
}

static void many_items_take_the_normal_limit(void **state) {
    (void)state;
    const size_t n = STATS_ANALYTIC_ABOVE + 1;
    double *a = malloc(n * sizeof(*a));
    double *b = malloc(n * sizeof(*b));
    assert_true(a && b);
    fill_positive(a, b, n);
    struct stats_interval exact;
    struct stats_interval resampled;
    typedef int pair_fn(const double *, const double *, size_t, const struct stats_opts *,
                        struct stats_interval *, struct err *);
    pair_fn *const ratios[] = {stats_boot_t_log_ratio, stats_bca_ratio};
    const struct stats_opts few = {.resamples = 2000};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ratios[i](a, b, n, NULL, &exact, NULL), 0);
        assert_int_equal(ratios[i](a, b, n - 1, &few, &resampled, NULL), 0);
        assert_non_null(strstr(exact.method, "normal"));
        assert_null(strstr(resampled.method, "normal"));
        double width = resampled.high - resampled.low;
        assert_true(fabs(exact.low - resampled.low) < 0.1 * width);
        assert_true(fabs(exact.high - resampled.high) < 0.1 * width);
    }
    assert_int_equal(stats_bca_mean(a, n, NULL, &exact, NULL), 0);
    double half = 1.959963984540054 * stats_sd(a, n) / sqrt((double)n);
    assert_true(fabs(exact.low - (stats_mean(a, n) - half)) < 1e-9);
    assert_int_equal(stats_boot_t_mean(a, n, NULL, &resampled, NULL), 0);
    assert_true(fabs(exact.low - resampled.low) < 1e-12);
    free(a);
    free(b);
}

static void resampling_refuses_what_has_no_spread(void **state) {
    (void)state;
    const double equal[] = {2, 2, 2, 2, 2, 2};
    const double zeros[6] = {0};
    const double mixed[] = {1, 2, -3, 4, 5, 6};
    const double nan_in[] = {1, 2, NAN, 4, 5, 6};
    const double infinite[] = {1, 2, INFINITY, 4, 5, 6};
    struct stats_interval i;
    assert_int_equal(stats_boot_t_mean(equal, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, 2);
    assert_int_equal(stats_bca_mean(zeros, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, 0);
    assert_int_equal(stats_boot_t_log_mean(mixed, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, 2.5);
    assert_int_equal(stats_boot_t_mean(mixed, 4, NULL, &i, NULL), 0);
    check_no_interval(&i, 1);
    assert_int_equal(stats_boot_t_mean(mixed, 0, NULL, &i, NULL), 0);
    check_no_interval(&i, NAN);
    assert_int_equal(stats_bca_mean(nan_in, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, NAN);
    assert_int_equal(stats_boot_t_mean(infinite, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, NAN);
    assert_int_equal(stats_boot_t_log_ratio(equal, equal, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, 1);
    assert_int_equal(stats_boot_t_log_ratio(equal, mixed, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, NAN);
    assert_int_equal(stats_bca_ratio(mixed, zeros, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, NAN);
    /* A denominator that some resamples bring to the other side of 0. */
    assert_int_equal(stats_bca_ratio(equal, mixed, 6, NULL, &i, NULL), 0);
    check_no_interval(&i, 0.8);
}

static void options_that_cannot_be_meant_are_errors(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6};
    const struct stats_opts bad[] = {{.confidence = 95}, {.confidence = -0.5}, {.confidence = NAN},
                                     {.resamples = 10},  {.bound = -1},        {.bound = INFINITY}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct stats_interval out;
        struct err e = ERR_INIT;
        assert_int_equal(stats_mean_of(x, 6, &bad[i], &out, &e), EE_USAGE);
        assert_true(strlen(e.msg) > 10);
    }
}

/* --- Choice --------------------------------------------------------------------------------- */

static const struct stats_opts score = {.bound = 1};

static const char *ratio_method(const double *a, const double *b, size_t n,
                                const struct stats_opts *opts) {
    struct stats_interval i;
    assert_int_equal(stats_paired_ratio(a, b, n, opts, &i, NULL), 0);
    return i.method ? i.method : i.reason;
}

static const char *difference_method(const double *a, const double *b, size_t n,
                                     const struct stats_opts *opts) {
    struct stats_interval i;
    assert_int_equal(stats_paired_difference(a, b, n, opts, &i, NULL), 0);
    return i.method ? i.method : i.reason;
}

static const char *mean_method(const double *x, size_t n, const struct stats_opts *opts) {
    struct stats_interval i;
    assert_int_equal(stats_mean_of(x, n, opts, &i, NULL), 0);
    return i.method ? i.method : i.reason;
}

static void the_data_choose_the_method(void **state) {
    (void)state;
    const double right[] = {1, 1, 1, 1, 0, 0, 1, 0};
    const double right_too[] = {1, 1, 0, 1, 0, 1, 1, 1};
    const double f1[] = {1, 0.5, 0, 0.8, 1, 0.25, 1, 0};
    const double f1_too[] = {1, 0.4, 0, 0.8, 1, 0.25, 1, 0.5};
    const double apart[] = {0.5, 0.2, 0.1, 0.9, 0.3, 0.7, 0, 0.6};
    const double near[] = {0.6, 0.1, 0.2, 0.8, 0.4, 0.6, 0.3, 0.5};
    const double ms[] = {12, 15, 11, 90, 14, 13, 22, 17};
    const double other_ms[] = {13, 14, 12, 80, 15, 11, 20, 18};
    const double either[] = {-1, 2, 3, -0.5, 1, 4, 2, 7};
    const double either_too[] = {1, 5, 4, -0.1, 2, 6, 3, 9};

    assert_string_equal(ratio_method(right, right_too, 8, &score), "Nam-Blackwelder ratio");
    assert_string_equal(ratio_method(right, right_too, 8, NULL), "Nam-Blackwelder ratio");
    assert_string_equal(ratio_method(f1, f1_too, 8, &score), "Fieller, two items added");
    assert_string_equal(ratio_method(apart, near, 8, &score), "Fieller, two items added");
    assert_string_equal(ratio_method(ms, other_ms, 8, NULL), "bootstrap-t, log ratio");
    assert_string_equal(ratio_method(either, either_too, 8, NULL), "BCa");

    assert_string_equal(difference_method(right, right_too, 8, &score), "Bonett-Price difference");
    assert_string_equal(difference_method(f1, f1_too, 8, &score), "t, two items added");
    assert_string_equal(difference_method(apart, near, 8, &score), "bootstrap-t");
    assert_string_equal(difference_method(either, either_too, 8, NULL), "bootstrap-t");

    assert_string_equal(mean_method(right, 8, &score), "Wilson");
    assert_string_equal(mean_method(f1, 8, &score), "Wilson, effective sample size");
    assert_string_equal(mean_method(ms, 8, NULL), "bootstrap-t, log mean");
    assert_string_equal(mean_method(either, 8, NULL), "bootstrap-t");
}

static void scores_on_another_scale_give_the_same_answer(void **state) {
    (void)state;
    double a[40];
    double b[40];
    double a100[40];
    double b100[40];
    const struct stats_opts percent = {.bound = 100};
    for (size_t i = 0; i < 40; i++) {
        a[i] = i % 3 != 0;
        b[i] = i % 4 != 0;
        a100[i] = 100 * a[i];
        b100[i] = 100 * b[i];
    }
    struct stats_interval one;
    struct stats_interval hundred;
    assert_int_equal(stats_paired_ratio(a, b, 40, &score, &one, NULL), 0);
    assert_int_equal(stats_paired_ratio(a100, b100, 40, &percent, &hundred, NULL), 0);
    assert_true(is_same(&one, &hundred));
    assert_int_equal(stats_paired_difference(a, b, 40, &score, &one, NULL), 0);
    assert_int_equal(stats_paired_difference(a100, b100, 40, &percent, &hundred, NULL), 0);
    assert_true(fabs(hundred.low - 100 * one.low) < 1e-12);
    assert_int_equal(stats_mean_of(a, 40, &score, &one, NULL), 0);
    assert_int_equal(stats_mean_of(a100, 40, &percent, &hundred, NULL), 0);
    assert_true(fabs(hundred.high - 100 * one.high) < 1e-12);
    assert_true(fabs(hundred.estimate - 65) < 1e-12);
}

static void degenerate_scores_never_give_a_made_up_interval(void **state) {
    (void)state;
    const double ones[] = {1, 1, 1, 1, 1, 1};
    const double zeros[6] = {0};
    const double beyond[] = {1, 1, 1.2, 1, 1, 1};
    const double nan_in[] = {1, 0, NAN, 1, 1, 1};
    struct stats_interval i;
    assert_int_equal(stats_paired_ratio(ones, ones, 6, &score, &i, NULL), 0);
    assert_true(i.estimate == 1 && i.low < 0.7 && i.high > 1.4);
    assert_int_equal(stats_paired_difference(zeros, zeros, 6, &score, &i, NULL), 0);
    assert_true(i.estimate == 0 && i.low < -0.3 && i.high > 0.3);
    assert_int_equal(stats_paired_ratio(zeros, zeros, 6, &score, &i, NULL), 0);
    check_no_interval(&i, NAN);
    assert_int_equal(stats_mean_of(ones, 6, &score, &i, NULL), 0);
    assert_true(i.low < 0.7 && i.high == 1);
    assert_int_equal(stats_mean_of(ones, 1, &score, &i, NULL), 0);
    assert_true(i.low < 0.3 && i.high == 1);
    assert_int_equal(stats_mean_of(ones, 0, &score, &i, NULL), 0);
    check_no_interval(&i, NAN);
    const double *const bad[] = {beyond, nan_in};
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(stats_mean_of(bad[k], 6, &score, &i, NULL), 0);
        check_no_interval(&i, NAN);
        assert_int_equal(stats_paired_ratio(bad[k], ones, 6, &score, &i, NULL), 0);
        check_no_interval(&i, NAN);
        assert_int_equal(stats_paired_difference(ones, bad[k], 6, &score, &i, NULL), 0);
        check_no_interval(&i, NAN);
    }
}

/* --- Selection, sizes, many comparisons ------------------------------------------------------- */

static void selection_agrees_with_sorting(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 5);
    for (size_t n = 1; n < 400; n += 13) {
        double x[400];
        double sorted[400];
        for (size_t i = 0; i < n; i++) {
            /* Few distinct values in some rounds, so that ties are met. */
            x[i] = n % 2 ? rng_uniform(&r) : (double)rng_below(&r, 5);
            sorted[i] = x[i];
        }
        x[0] = sorted[0] = n % 3 ? x[0] : INFINITY;
        stats_sort(sorted, n);
        for (int sixteenth = 0; sixteenth <= 16; sixteenth++) {
            double p = sixteenth / 16.0;
            double want = stats_quantile(sorted, n, p);
            double got = stats_quantile_of(x, n, p);
            assert_true(got == want || (isnan(want) && got == sorted[n - 1]) ||
                        fabs(got - want) < 1e-15);
        }
    }
    assert_true(isnan(stats_quantile_of(NULL, 0, 0.5)));
}

static void check_holm(const json_t *golden, void *ctx) {
    (void)ctx;
    size_t n;
    size_t n_adjusted;
    double *p = golden_array(golden, "p", &n);
    double *want = golden_array(golden, "adjusted", &n_adjusted);
    double *got = calloc(n, sizeof(*got));
    assert_true(got && n == n_adjusted);
    assert_int_equal(stats_holm(p, n, got, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        golden_check_num(golden, "adjusted", got[i], want[i]);
    }
    free(p);
    free(want);
    free(got);
}

static void holm_matches_a_reference(void **state) {
    (void)state;
    assert_int_equal(goldens_each("stats/multiple.jsonl", check_holm, NULL), 4);
    const double p[] = {0.01, NAN, 0.02};
    double got[3];
    assert_int_equal(stats_holm(p, 3, got, NULL), 0);
    assert_true(got[0] == 0.02 && isnan(got[1]) && got[2] == 0.02);
    assert_int_equal(stats_holm(NULL, 0, NULL, NULL), 0);
}

static void sizes_are_those_of_the_formulas(void **state) {
    (void)state;
    /* 1.96^2 * 0.05 / (0.77 * 0.01)^2 = 3239.6 */
    assert_true(stats_needed_pairs(0.77, 0.05, 0.01, 0.95) == 3240);
    assert_true(isnan(stats_needed_pairs(0, 0.05, 0.01, 0.95)));
    assert_true(isnan(stats_needed_pairs(0.5, 1.05, 0.01, 0.95)));
    /* Twice as wide as wanted: four times the items. */
    const struct stats_interval i = {.estimate = 1, .low = 0.96875, .high = 1.03125, .n = 100};
    assert_true(stats_needed_n(&i, 0.015625) == 400);
    assert_true(isnan(stats_needed_n(&i, 0)));
    /* 0.03125 * (1.95996 + 0.84162) / 1.95996 */
    assert_true(fabs(stats_detectable_loss(&i, 0.95, 0.8) - 0.0446690) < 1e-6);
    const struct stats_interval none = {.low = NAN, .high = NAN};
    assert_true(isnan(stats_detectable_loss(&none, 0.95, 0.8)));
    assert_true(isnan(stats_needed_n(&none, 0.01)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resampling_matches_references),
        cmocka_unit_test(a_seed_and_a_use_fix_every_digit),
        cmocka_unit_test(units_do_not_matter),
        cmocka_unit_test(a_tiny_difference_keeps_its_digits),
        cmocka_unit_test(many_items_take_the_normal_limit),
        cmocka_unit_test(resampling_refuses_what_has_no_spread),
        cmocka_unit_test(options_that_cannot_be_meant_are_errors),
        cmocka_unit_test(the_data_choose_the_method),
        cmocka_unit_test(scores_on_another_scale_give_the_same_answer),
        cmocka_unit_test(degenerate_scores_never_give_a_made_up_interval),
        cmocka_unit_test(selection_agrees_with_sorting),
        cmocka_unit_test(holm_matches_a_reference),
        cmocka_unit_test(sizes_are_those_of_the_formulas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
