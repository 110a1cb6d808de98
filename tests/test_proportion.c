/* Closed forms: distributions, shares, paired shares, tied scores. */
#include "stats/dist.h"
#include "stats/proportion.h"
#include "stats/tied.h"

#include "support/intervals.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_relative(const json_t *golden, double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want))) {
        char *text = json_dumps(golden, JSON_COMPACT);
        print_error("%.17g, the reference has %.17g, for %s\n", got, want, text ? text : "?");
        free(text);
        fail();
    }
}

static void check_dist(const json_t *golden, void *ctx) {
    (void)ctx;
    double p = golden_num(json_object_get(golden, "p"));
    double x = golden_num(json_object_get(golden, "x"));
    if (strcmp(golden_str(golden, "kind"), "normal") == 0) {
        /* Near 0 the quantile's absolute error counts. */
        check_relative(golden, 1 + stats_normal_quantile(p), 1 + x, 1e-14);
        check_relative(golden, stats_normal_cdf(x), p, 1e-12);
        return;
    }
    double a = golden_num(json_object_get(golden, "a"));
    double b = golden_num(json_object_get(golden, "b"));
    check_relative(golden, stats_beta_quantile(p, a, b), x, 1e-12);
    check_relative(golden, stats_beta_inc(a, b, x, 1 - x), p, 1e-8);
}

static void distributions_match_a_reference(void **state) {
    (void)state;
    assert_true(goldens_each("stats/dist.jsonl", check_dist, NULL) > 30);
    assert_true(isnan(stats_normal_quantile(0)));
    assert_true(isnan(stats_normal_quantile(1)));
    assert_true(isnan(stats_beta_quantile(0.5, 0, 1)));
    assert_true(isnan(stats_beta_inc(1, 1, NAN, 0)));
    assert_true(fabs(stats_z(0.95) - 1.959963984540054) < 1e-14);
}

static struct stats_pairs golden_pairs(const json_t *golden) {
    const json_t *c = json_object_get(golden, "counts");
    return (struct stats_pairs){
        (size_t)golden_num(json_array_get(c, 0)), (size_t)golden_num(json_array_get(c, 1)),
        (size_t)golden_num(json_array_get(c, 2)), (size_t)golden_num(json_array_get(c, 3))};
}

/* Published figures are rounded to their last digit. */
static double rounding(const json_t *golden) {
    double unit = pow(10, -golden_num(json_object_get(golden, "digits")));
    return unit / (golden_bound(golden, "high") - golden_bound(golden, "low")) * 1.01;
}

static void check_pairs(const json_t *golden, const char *kind) {
    struct stats_pairs t = golden_pairs(golden);
    struct stats_interval got;
    if (strcmp(kind, "ratio") == 0) {
        got = stats_pairs_ratio(&t, 0.95);
        check_interval(golden, &got, 1e-8);
        check_relative(golden, got.p_value, golden_num(json_object_get(golden, "p")), 1e-10);
    } else if (strcmp(kind, "difference") == 0) {
        got = stats_pairs_difference(&t, 0.95);
        check_interval(golden, &got, 1e-12);
    } else if (strcmp(kind, "published difference") == 0) {
        got = stats_pairs_difference(&t, 0.95);
        check_interval(golden, &got, rounding(golden));
    } else if (strcmp(kind, "published score ratio") == 0) {
        got = stats_pairs_ratio(&t, 0.95);
        check_interval(golden, &got, rounding(golden));
    } else {
        assert_string_equal(kind, "published ratio");
        got = stats_pairs_ratio_bonett_price(&t, 0.95);
        check_interval(golden, &got, rounding(golden));
    }
}

static void check_proportion(const json_t *golden, void *ctx) {
    (void)ctx;
    const char *kind = golden_str(golden, "kind");
    if (json_object_get(golden, "counts")) {
        check_pairs(golden, kind);
    } else if (strcmp(kind, "bounded mean") == 0) {
        size_t n;
        double *x = golden_array(golden, "x", &n);
        struct stats_interval got = stats_bounded_mean(x, n, 1, 0.95);
        check_interval(golden, &got, 1e-9);
        free(x);
    } else {
        size_t x = (size_t)golden_num(json_object_get(golden, "x"));
        size_t n = (size_t)golden_num(json_object_get(golden, "n"));
        bool is_wilson = strcmp(kind, "wilson") == 0;
        struct stats_interval got = is_wilson ? stats_wilson(x, n, 0.95)
                                              : stats_clopper_pearson(x, n, 0.95);
        assert_true(is_wilson || strcmp(kind, "clopper") == 0);
        check_interval(golden, &got, 1e-9);
    }
}

static void proportions_match_references_and_published_examples(void **state) {
    (void)state;
    assert_true(goldens_each("stats/proportion.jsonl", check_proportion, NULL) > 50);
}

static void no_discordant_item_still_leaves_a_width(void **state) {
    (void)state;
    const struct stats_pairs t = {31, 0, 0, 9};
    struct stats_interval ratio = stats_pairs_ratio(&t, 0.95);
    struct stats_interval difference = stats_pairs_difference(&t, 0.95);
    assert_true(ratio.estimate == 1 && ratio.p_value == 1);
    /* The score test's limit in closed form: x / (x + z^2) for x right answers. */
    double z2 = 1.959963984540054 * 1.959963984540054;
    assert_true(fabs(ratio.low - 31 / (31 + z2)) < 1e-9);
    assert_true(fabs(ratio.high - (31 + z2) / 31) < 1e-9);
    assert_true(difference.low < -0.06 && difference.high > 0.06);
    assert_true(difference.low == -difference.high);
}

static void swapping_the_models_mirrors_the_interval(void **state) {
    (void)state;
    for (size_t i = 0; i < 200; i++) {
        struct stats_pairs t = {i * 7 % 31, i % 5, i * 3 % 11, i * 13 % 17};
        struct stats_pairs u = {t.both, t.only_b, t.only_a, t.neither};
        if (t.both + t.only_a == 0 || t.both + t.only_b == 0) {
            continue;
        }
        struct stats_interval a = stats_pairs_ratio(&t, 0.9);
        struct stats_interval b = stats_pairs_ratio(&u, 0.9);
        assert_true(a.low <= a.estimate && a.estimate <= a.high);
        assert_true(fabs(a.low * b.high - 1) < 1e-9);
        assert_true(fabs(a.high * b.low - 1) < 1e-9);
        assert_true(a.p_value == b.p_value);
        /* Interval and test agree. */
        assert_int_equal(a.low > 1 || a.high < 1, a.p_value < 0.1);
        struct stats_interval d = stats_pairs_difference(&t, 0.9);
        struct stats_interval e = stats_pairs_difference(&u, 0.9);
        assert_true(fabs(d.low + e.high) < 1e-12);
    }
}

static void shares_without_an_answer_are_refused(void **state) {
    (void)state;
    struct stats_interval i = stats_wilson(0, 0, 0.95);
    check_no_interval(&i, NAN);
    i = stats_wilson(5, 4, 0.95);
    check_no_interval(&i, NAN);
    i = stats_clopper_pearson(1, 4, 1);
    check_no_interval(&i, NAN);
    const struct stats_pairs none = {0};
    i = stats_pairs_difference(&none, 0.95);
    check_no_interval(&i, NAN);
    i = stats_pairs_ratio(&none, 0.95);
    check_no_interval(&i, NAN);
    const struct stats_pairs all_wrong = {0, 0, 0, 40};
    i = stats_pairs_ratio(&all_wrong, 0.95);
    check_no_interval(&i, NAN);
    i = stats_pairs_ratio_bonett_price(&all_wrong, 0.95);
    check_no_interval(&i, NAN);
}

static void a_baseline_without_a_right_answer_bounds_nothing_from_above(void **state) {
    (void)state;
    const struct stats_pairs t = {0, 5, 0, 35};
    struct stats_interval i = stats_pairs_ratio(&t, 0.95);
    assert_true(isnan(i.estimate) && isinf(i.high) && i.low > 0);
    assert_non_null(i.reason);
    const struct stats_pairs u = {0, 0, 5, 35};
    i = stats_pairs_ratio(&u, 0.95);
    assert_true(i.estimate == 0 && i.low == 0 && i.high < 1.5);
}

static void check_tied(const json_t *golden, void *ctx) {
    (void)ctx;
    size_t n;
    double *a = golden_array(golden, "a", &n);
    double *b = golden_array(golden, "b", &n);
    double limit = golden_num(json_object_get(golden, "bound"));
    struct stats_interval got = strcmp(golden_str(golden, "kind"), "ratio") == 0
                                    ? stats_tied_ratio(a, b, n, limit, 0.95)
                                    : stats_tied_difference(a, b, n, limit, 0.95);
    check_interval(golden, &got, 1e-9);
    /* Interval and test agree. */
    double null_value = strcmp(golden_str(golden, "kind"), "ratio") == 0 ? 1 : 0;
    assert_int_equal(got.low > null_value || got.high < null_value, got.p_value < 0.05);
    free(a);
    free(b);
}

static void tied_scores_match_a_reference(void **state) {
    (void)state;
    assert_true(goldens_each("stats/tied.jsonl", check_tied, NULL) == 12);
}

static void for_right_or_wrong_the_added_items_are_bonett_and_prices(void **state) {
    (void)state;
    double a[400];
    double b[400];
    struct stats_pairs t = {0};
    for (size_t i = 0; i < 400; i++) {
        a[i] = i % 4 != 0;
        b[i] = i % 4 != 0 && i % 9 != 0;
        t.both += a[i] > 0 && b[i] > 0;
        t.only_a += a[i] > b[i];
        t.only_b += a[i] < b[i];
        t.neither += a[i] == 0 && b[i] == 0;
    }
    struct stats_interval tied = stats_tied_difference(a, b, 400, 1, 0.95);
    struct stats_interval pairs = stats_pairs_difference(&t, 0.95);
    double t_over_z = 1.9659272959 / 1.9599639845; /* 399 degrees of freedom */
    assert_true(fabs((tied.high - tied.low) / (pairs.high - pairs.low) - t_over_z) < 1e-8);
    assert_true(fabs(tied.high + tied.low - pairs.high - pairs.low) < 1e-12);
}

static void tied_scores_refuse_what_they_cannot_tell(void **state) {
    (void)state;
    const double x[] = {0.5, 1, 0, 1};
    const double nan_in[] = {0.5, NAN, 0, 1};
    const double zeros[] = {0, 0, 0, 0};
    struct stats_interval i = stats_tied_difference(x, x, 4, 0, 0.95);
    check_no_interval(&i, 0);
    i = stats_tied_ratio(x, x, 4, 0, 0.95);
    check_no_interval(&i, 1);
    i = stats_tied_difference(x, x, 1, 1, 0.95);
    check_no_interval(&i, NAN);
    i = stats_tied_difference(x, nan_in, 4, 1, 0.95);
    check_no_interval(&i, NAN);
    i = stats_tied_ratio(zeros, zeros, 4, 1, 0.95);
    check_no_interval(&i, NAN);
    i = stats_tied_ratio(x, zeros, 4, 1, 0.95);
    assert_true(isnan(i.estimate) && isinf(i.high));
    assert_non_null(i.reason);
}

static void bounded_means_stay_within_their_range(void **state) {
    (void)state;
    double x[40] = {0};
    struct stats_interval i = stats_bounded_mean(x, 40, 1, 0.95);
    assert_true(i.low == 0 && i.high > 0.05 && i.high < 0.15);
    x[7] = 0.01;
    i = stats_bounded_mean(x, 40, 1, 0.95);
    assert_true(i.low > 0 && i.high < 1);
    x[7] = 1.5;
    i = stats_bounded_mean(x, 40, 1, 0.95);
    check_no_interval(&i, NAN);
    x[7] = NAN;
    i = stats_bounded_mean(x, 40, 1, 0.95);
    check_no_interval(&i, NAN);
    i = stats_bounded_mean(x, 1, 1, 0.95);
    check_no_interval(&i, 0);
    /* The same scores on a scale of 10. */
    double ten[40];
    for (size_t k = 0; k < 40; k++) {
        x[k] = (double)(k % 7) / 7;
        ten[k] = 10 * x[k];
    }
    i = stats_bounded_mean(x, 40, 1, 0.95);
    struct stats_interval times = stats_bounded_mean(ten, 40, 10, 0.95);
    assert_true(fabs(times.low - 10 * i.low) < 1e-12 && fabs(times.high - 10 * i.high) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions_match_a_reference),
        cmocka_unit_test(proportions_match_references_and_published_examples),
        cmocka_unit_test(no_discordant_item_still_leaves_a_width),
        cmocka_unit_test(swapping_the_models_mirrors_the_interval),
        cmocka_unit_test(shares_without_an_answer_are_refused),
        cmocka_unit_test(a_baseline_without_a_right_answer_bounds_nothing_from_above),
        cmocka_unit_test(tied_scores_match_a_reference),
        cmocka_unit_test(for_right_or_wrong_the_added_items_are_bonett_and_prices),
        cmocka_unit_test(tied_scores_refuse_what_they_cannot_tell),
        cmocka_unit_test(bounded_means_stay_within_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
