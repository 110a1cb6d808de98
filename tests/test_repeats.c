/* Repeats, joules with a sensor's error, draws of them, and products of intervals. */
#include "stats/draws.h"
#include "stats/stats.h"

#include "support/intervals.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* 400,000 draws: bounds are known to 0.2 % of the half-width, t's with 4 degrees to 0.5 %. */
static const struct stats_opts many = {.resamples = 400000, .seed = 2};
#define MONTE_CARLO 0.02

enum { MAX_WINDOWS = 16 };

/* A quantity of two devices, as in the goldens. */
struct two_devices {
    double readings[2][MAX_WINDOWS];
    double edge_j[MAX_WINDOWS];
    struct stats_device_joules devices[2];
    struct stats_joules joules;
};

static void two_devices_from(const json_t *golden, const char *key, struct two_devices *d) {
    static const char *const names[] = {"gpu0", "cpu"};
    const json_t *both = json_object_get(golden, key);
    size_t n = json_array_size(json_array_get(both, 0));
    assert_in_range(n, 1, MAX_WINDOWS);
    for (size_t i = 0; i < 2; i++) {
        for (size_t w = 0; w < n; w++) {
            d->readings[i][w] = golden_num(json_array_get(json_array_get(both, i), w));
            d->edge_j[w] = golden_num(json_object_get(golden, "edge"));
        }
        d->devices[i] = (struct stats_device_joules){
            .device = names[i],
            .gain = golden_num(json_array_get(json_object_get(golden, "gains"), i)),
            .joules = d->readings[i],
            .edge_j = d->edge_j};
    }
    d->joules = (struct stats_joules){d->devices, 2, n, false};
}

static void check_joules(const json_t *golden, bool is_ratio) {
    struct two_devices a;
    struct two_devices b;
    struct stats_joules_interval got;
    two_devices_from(golden, "a", &a);
    two_devices_from(golden, "b", &b);
    if (is_ratio) {
        assert_int_equal(stats_joules_ratio(&a.joules, &b.joules, &many, &got, NULL), 0);
    } else {
        assert_int_equal(stats_joules_interval(&a.joules, &many, &got, NULL), 0);
    }
    check_interval(golden, &got.total, MONTE_CARLO);
    bool is_repeated = a.joules.n_windows >= STATS_MIN_REPEATS;
    assert_int_equal(isnan(got.sampling.low), !is_repeated);
    assert_int_equal(strcmp(got.total.method, "instrument error only") == 0, !is_repeated);
    /* The parts are narrower than the whole. */
    double width = got.total.high - got.total.low;
    assert_true(got.systematic.high - got.systematic.low <= width * (1 + 1e-12));
    assert_true(!is_repeated || got.sampling.high - got.sampling.low < width);
}

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    const char *kind = golden_str(golden, "kind");
    if (strncmp(kind, "joules", 6) == 0) {
        check_joules(golden, strcmp(kind, "joules ratio") == 0);
        return;
    }
    size_t n;
    size_t n_a;
    double *b = golden_array(golden, "b", &n);
    double *a = golden_array(golden, "a", &n_a);
    struct stats_interval got = stats_repeats_mean(b, n, 0.95);
    double tolerance = 1e-9;
    if (strcmp(kind, "ratio") == 0) {
        assert_int_equal(stats_repeats_ratio(a, n_a, b, n, &many, &got, NULL), 0);
        tolerance = MONTE_CARLO;
    }
    check_interval(golden, &got, tolerance);
    free(a);
    free(b);
}

static void repeats_match_references(void **state) {
    (void)state;
    assert_int_equal(goldens_each("stats/repeats.jsonl", check_golden, NULL), 14);
}

static struct stats_device_joules device(const char *name, double gain, const double *joules) {
    return (struct stats_device_joules){.device = name, .gain = gain, .joules = joules};
}

static void one_sensor_cancels_out_of_a_ratio(void **state) {
    (void)state;
    const double a[] = {50};
    const double b[] = {100};
    const struct stats_device_joules gpu[] = {device("gpu0", 0.05, a), device("gpu0", 0.05, b)};
    const struct stats_device_joules other = device("gpu1", 0.05, b);
    const struct stats_joules x = {&gpu[0], 1, 1, true};
    const struct stats_joules y = {&gpu[1], 1, 1, true};
    const struct stats_joules z = {&other, 1, 1, true};
    struct stats_joules_interval i;
    /* Nothing is left that could move the ratio, which is therefore not called certain. */
    assert_int_equal(stats_joules_ratio(&x, &y, NULL, &i, NULL), 0);
    check_no_interval(&i.total, 0.5);
    /* Another device's gain does not cancel: 0.5 times two rectangular errors of 5 %. */
    assert_int_equal(stats_joules_ratio(&x, &z, &many, &i, NULL), 0);
    assert_string_equal(i.total.method, "instrument error only");
    /* Their sum is triangular: 2.5 % lie beyond 2 * 5 % * (1 - sqrt(0.05)). */
    double reach = 0.1 * (1 - sqrt(0.05));
    assert_true(fabs(i.total.high - 0.5 * (1 + reach)) < 0.5 * reach * 0.05);
    assert_true(fabs(i.total.low - 0.5 * (1 - reach)) < 0.5 * reach * 0.05);
    /* Alone, 95 % of a rectangle. */
    assert_int_equal(stats_joules_interval(&y, &many, &i, NULL), 0);
    assert_true(fabs(i.total.high - 104.75) < 0.02 && fabs(i.total.low - 95.25) < 0.02);
    check_no_interval(&i.sampling, 100);
}

static void gaps_move_the_bounds_and_are_no_noise(void **state) {
    (void)state;
    const double a[] = {50, 51, 49, 50.5, 49.5};
    const double b[] = {100, 101, 99, 100.5, 99.5};
    const double less[] = {1, 1, 1, 1, 1};
    const double more[] = {3, 3, 3, 3, 3};
    struct stats_device_joules x = device("gpu0", 0.05, a);
    struct stats_device_joules y = device("gpu0", 0.05, b);
    const struct stats_joules of_x = {&x, 1, 5, false};
    const struct stats_joules of_y = {&y, 1, 5, false};
    struct stats_joules_interval without;
    struct stats_joules_interval with;
    assert_int_equal(stats_joules_interval(&of_x, NULL, &without, NULL), 0);
    x.gap_less_j = less;
    x.gap_more_j = more;
    assert_int_equal(stats_joules_interval(&of_x, NULL, &with, NULL), 0);
    assert_true(with.total.estimate == without.total.estimate);
    assert_true(fabs(with.total.low - (without.total.low - 1)) < 1e-9);
    assert_true(fabs(with.total.high - (without.total.high + 3)) < 1e-9);
    assert_true(with.sampling.low == without.sampling.low);
    /* Below, a's gap lowers and b's raises. */
    assert_int_equal(stats_joules_ratio(&of_x, &of_y, NULL, &without, NULL), 0);
    y.gap_more_j = more;
    assert_int_equal(stats_joules_ratio(&of_x, &of_y, NULL, &with, NULL), 0);
    assert_true(with.systematic.low < 0.5 * 49 / 50 && with.systematic.high > 0.5);
    assert_true(with.total.low < without.total.low);
}

static void sums_have_no_sampling_error(void **state) {
    (void)state;
    const double stages[] = {100, 5, 20, 1, 60, 7};
    const double edges[] = {3, 3, 3, 3, 3, 3};
    struct stats_device_joules x = device("gpu0", 0, stages);
    x.edge_j = edges;
    const struct stats_joules sum = {&x, 1, 6, true};
    struct stats_joules_interval i;
    assert_int_equal(stats_joules_interval(&sum, &many, &i, NULL), 0);
    assert_true(i.total.estimate == 193);
    check_no_interval(&i.sampling, 193);
    /* Six rectangles of 3 J: nearly normal, standard deviation 3 * sqrt(6 / 3). */
    double half = 1.96 * 3 * sqrt(2);
    assert_true(fabs(i.total.high - 193 - half) < 0.03 * half);
}

static void joules_that_cannot_be_are_refused(void **state) {
    (void)state;
    const double nan_in[] = {50, NAN};
    const double fine[] = {50, 51};
    const double negative[] = {-50, 20};
    struct stats_device_joules x = device("gpu0", 0.05, nan_in);
    struct stats_device_joules y = device("gpu0", -0.05, fine);
    struct stats_device_joules z = device("gpu1", 0.05, negative);
    struct stats_device_joules w = device("gpu1", 0.05, fine);
    w.edge_j = nan_in;
    const struct stats_device_joules *const bad[] = {&x, &y, &w};
    struct stats_joules_interval i;
    for (size_t k = 0; k < 3; k++) {
        const struct stats_joules j = {bad[k], 1, 2, false};
        assert_int_equal(stats_joules_interval(&j, NULL, &i, NULL), 0);
        check_no_interval(&i.total, NAN);
    }
    const struct stats_joules none = {&y, 1, 0, false};
    assert_int_equal(stats_joules_interval(&none, NULL, &i, NULL), 0);
    check_no_interval(&i.total, NAN);
    y.gain = 0.05;
    const struct stats_joules good = {&y, 1, 2, false};
    const struct stats_joules below_0 = {&z, 1, 2, false};
    assert_int_equal(stats_joules_ratio(&good, &below_0, NULL, &i, NULL), 0);
    check_no_interval(&i.total, NAN);
}

static void few_or_equal_repeats_have_no_interval(void **state) {
    (void)state;
    const double x[] = {10, 11, 12, 10.5, 9};
    const double equal[] = {10, 10, 10, 10, 10};
    struct stats_interval i = stats_repeats_mean(x, 4, 0.95);
    check_no_interval(&i, 10.875);
    i = stats_repeats_mean(equal, 5, 0.95);
    check_no_interval(&i, 10);
    i = stats_repeats_mean(x, 0, 0.95);
    check_no_interval(&i, NAN);
    assert_int_equal(stats_repeats_ratio(x, 5, x, 3, NULL, &i, NULL), 0);
    check_no_interval(&i, 10.5 / 11);
    assert_int_equal(stats_repeats_ratio(equal, 5, equal, 5, NULL, &i, NULL), 0);
    check_no_interval(&i, 1);
    /* Equal repeats on one side: the other side's error remains. */
    assert_int_equal(stats_repeats_ratio(x, 5, equal, 5, NULL, &i, NULL), 0);
    assert_non_null(i.method);
    assert_true(i.low < 1.05 && i.high > 1.05);
}

static void a_denominator_near_0_bounds_nothing(void **state) {
    (void)state;
    const double x[] = {10, 11, 12, 10.5, 9};
    const double wild[] = {1, 30, 0.5, 2, 60};
    struct stats_interval i;
    assert_int_equal(stats_repeats_ratio(x, 5, wild, 5, NULL, &i, NULL), 0);
    assert_true(isinf(i.high) && i.low > 0);
    assert_non_null(i.reason);
}

static void draws_share_gains_and_nothing_else(void **state) {
    (void)state;
    const double a[] = {50};
    const double b[] = {100, 101, 102, 99, 98};
    const struct stats_device_joules gpu[] = {device("gpu0", 0.05, a), device("gpu0", 0.05, b)};
    const struct stats_joules x = {&gpu[0], 1, 1, true};
    const struct stats_joules y = {&gpu[1], 1, 5, false};
    enum { N = 1000 };
    static double first[N];
    static double second[N];
    struct stats_opts opts = {.resamples = N, .seed = 7, .use = "a"};
    struct stats_opts other = {.resamples = N, .seed = 7, .use = "b"};
    assert_int_equal(stats_n_draws(&opts), N);
    assert_int_equal(stats_draw_joules(&x, STATS_ALL_ERRORS, &opts, first, NULL), 0);
    assert_int_equal(stats_draw_joules(&y, STATS_SYSTEMATIC, &other, second, NULL), 0);
    for (size_t i = 0; i < N; i++) {
        assert_true(fabs(first[i] / 50 - second[i] / 100) < 1e-12);
    }
    assert_int_equal(stats_draw_joules(&y, STATS_SAMPLING, &opts, first, NULL), 0);
    assert_int_equal(stats_draw_joules(&y, STATS_SAMPLING, &other, second, NULL), 0);
    size_t n_equal = 0;
    for (size_t i = 0; i < N; i++) {
        n_equal += first[i] == second[i];
    }
    assert_int_equal(n_equal, 0);
    assert_int_equal(stats_draw_joules(&y, STATS_SAMPLING, &opts, second, NULL), 0);
    assert_memory_equal(first, second, sizeof(first));
}

static void draws_of_means_and_intervals_have_their_width(void **state) {
    (void)state;
    const double x[] = {10, 11, 12, 10.5, 9, 10, 11.5};
    size_t n = stats_n_draws(&many);
    double *draws = malloc(n * sizeof(*draws));
    assert_non_null(draws);
    struct stats_interval want = stats_repeats_mean(x, 7, 0.95);
    assert_int_equal(stats_draw_mean(x, 7, &many, draws, NULL), 0);
    struct stats_interval got = stats_draws_interval(draws, n, want.estimate, 0.95);
    assert_true(fabs(got.low - want.low) < 0.02 && fabs(got.high - want.high) < 0.02);
    /* An interval's draws give the interval back. */
    const struct stats_interval score = {.estimate = 0.8, .low = 0.7, .high = 0.85, .n = 50};
    assert_int_equal(stats_draw_interval(&score, &many, draws, NULL), 0);
    got = stats_draws_interval(draws, n, 0.8, 0.95);
    assert_true(fabs(got.low - 0.7) < 0.002 && fabs(got.high - 0.85) < 0.002);
    assert_int_equal(stats_draw_mean(x, 4, &many, draws, NULL), 0);
    assert_true(draws[0] == stats_mean(x, 4) && draws[n - 1] == draws[0]);
    const struct stats_interval unbounded = {.estimate = 0.8, .low = 0.7, .high = INFINITY};
    assert_int_equal(stats_draw_interval(&unbounded, &many, draws, NULL), 0);
    assert_true(isnan(draws[0]));
    got = stats_draws_interval(draws, n, 0.8, 0.95);
    check_no_interval(&got, 0.8);
    free(draws);
}

static void draws_beyond_all_bounds_count(void **state) {
    (void)state;
    double draws[1000];
    for (size_t i = 0; i < 1000; i++) {
        draws[i] = i < 50 ? INFINITY : (double)i;
    }
    struct stats_interval i = stats_draws_interval(draws, 1000, 500, 0.95);
    assert_true(isfinite(i.low) && isinf(i.high));
    assert_non_null(i.reason);
    for (size_t k = 0; k < 1000; k++) {
        draws[k] = (double)k;
    }
    i = stats_draws_interval(draws, 1000, 500, 0.95);
    assert_true(fabs(i.low - 24.975) < 1e-9 && fabs(i.high - 974.025) < 1e-9);
    i = stats_draws_interval(draws, 0, 500, 0.95);
    check_no_interval(&i, NAN);
}

static void products_combine_independent_parts(void **state) {
    (void)state;
    const struct stats_interval cost = {.estimate = 2, .low = 1, .high = 4, .n = 5};
    const struct stats_interval score = {.estimate = 0.5, .low = 0.25, .high = 1, .n = 40};
    struct stats_interval i = stats_product(&cost, &score);
    /* Each arm is a factor of 2: together 2^sqrt(2). */
    assert_true(i.estimate == 1 && i.n == 5);
    assert_true(fabs(i.high - pow(2, sqrt(2))) < 1e-12 && fabs(i.low * i.high - 1) < 1e-12);
    i = stats_quotient(&cost, &score);
    assert_true(fabs(i.estimate - 4) < 1e-12 && fabs(i.high / 4 - pow(2, sqrt(2))) < 1e-12);
    /* Nothing known of one: the other's interval. */
    const struct stats_interval exact = {.estimate = 3, .low = 3, .high = 3, .n = 9};
    i = stats_product(&cost, &exact);
    assert_true(fabs(i.low - 3) < 1e-12 && fabs(i.high - 12) < 1e-12);
    const struct stats_interval from_0 = {.estimate = 0.5, .low = 0, .high = INFINITY, .n = 9};
    i = stats_quotient(&cost, &from_0);
    assert_true(i.low == 0 && isinf(i.high));
    const struct stats_interval none = stats_no_interval(3, 9, "why");
    i = stats_product(&cost, &none);
    check_no_interval(&i, 6);
    const struct stats_interval negative = {.estimate = -1, .low = -2, .high = 1, .n = 9};
    i = stats_quotient(&cost, &negative);
    check_no_interval(&i, -2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeats_match_references),
        cmocka_unit_test(one_sensor_cancels_out_of_a_ratio),
        cmocka_unit_test(gaps_move_the_bounds_and_are_no_noise),
        cmocka_unit_test(sums_have_no_sampling_error),
        cmocka_unit_test(joules_that_cannot_be_are_refused),
        cmocka_unit_test(few_or_equal_repeats_have_no_interval),
        cmocka_unit_test(a_denominator_near_0_bounds_nothing),
        cmocka_unit_test(draws_share_gains_and_nothing_else),
        cmocka_unit_test(draws_of_means_and_intervals_have_their_width),
        cmocka_unit_test(draws_beyond_all_bounds_count),
        cmocka_unit_test(products_combine_independent_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
