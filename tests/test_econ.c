/*
 * The economics calculator: against scripts/goldens/make_econ_goldens.py, against the examples that
 * docs/metrics.md works out by hand, and for what must hold whatever the figures are.
 */
#include "metrics/econ.h"

#include "support/goldens.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* --- Goldens ------------------------------------------------------------------------------------- */

static void fields_of(const json_t *golden, struct econ *x) {
    const json_t *fields = json_object_get(golden, "fields");
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        const json_t *v = json_object_get(fields, econ_field(i)->name);
        assert_non_null(v);
        econ_set(x, i, json_is_null(v) ? (double)NAN : golden_num(v));
    }
    assert_int_equal(json_object_size(fields), ECON_FIELDS);
}

/* null stands for never. */
static void check(const json_t *golden, const char *name, double got, double scale) {
    const json_t *v = json_object_get(json_object_get(golden, "want"), name);
    assert_non_null(v);
    if (json_is_null(v)) {
        if (!isinf(got)) {
            fail_msg("%s is %.17g, want never", name, got);
        }
        return;
    }
    double want = golden_num(v);
    if (!(fabs(got - want) <= 1e-9 * fmax(fabs(want), scale))) {
        char *text = json_dumps(golden, JSON_COMPACT);
        fail_msg("%s is %.17g, want %.17g, for %s", name, got, want, text);
    }
}

static void check_paying(const json_t *golden, const struct econ *x) {
    enum { CAP = 8 };
    struct econ_range ranges[CAP];
    double always_from = NAN;
    size_t n = econ_paying(x, ranges, CAP, &always_from);
    const json_t *want = json_object_get(json_object_get(golden, "want"), "paying");
    check(golden, "n_paying", (double)n, 0);
    check(golden, "always_from", always_from, 0);
    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *range = json_array_get(want, i);
        double low = golden_num(json_array_get(range, 0));
        const json_t *high = json_array_get(range, 1);
        assert_true(fabs(ranges[i].low - low) <= 1e-9 * low);
        if (json_is_null(high)) {
            assert_true(isinf(ranges[i].high));
        } else {
            assert_true(fabs(ranges[i].high - golden_num(high)) <= 1e-9 * golden_num(high));
        }
    }
}

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    struct econ x = {0};
    fields_of(golden, &x);
    double r = x.traffic_per_h;
    double request = econ_request_usd(&x, r);
    check(golden, "hardware_usd_per_h", econ_hardware_usd_per_h(&x), 0);
    check(golden, "replicas", econ_replicas(&x, r), 0);
    check(golden, "fixed_usd_per_h", econ_fixed_usd_per_h(&x, econ_replicas(&x, r)), 0);
    check(golden, "marginal_usd", econ_marginal_usd(&x), 0);
    check(golden, "once_usd", econ_once_usd(&x), 0);
    check(golden, "api_usd", econ_api_usd(&x), 0);
    check(golden, "saving_usd_per_h", econ_saving_usd_per_h(&x, r), r * econ_api_usd(&x));
    check(golden, "request_usd", request, 0);
    check(golden, "busy_request_usd", econ_busy_request_usd(&x), 0);
    check(golden, "accepted_usd", econ_accepted_usd(&x, request), 0);
    check(golden, "n_break", econ_n_break(&x, r), 0);
    check(golden, "break_even_days", econ_break_even_days(&x), 0);
    check(golden, "n_break_falling", econ_n_break_falling(&x), 0);
    check(golden, "rate_one_lost_per_h", econ_rate_one_lost_per_h(&x), 0);
    check(golden, "request_g", econ_request_g(&x), 0);
    check(golden, "embodied_g", econ_embodied_g(&x), 0);
    double flow = 730 * 36 * r * econ_api_usd(&x); /* sums that nearly cancel */
    check(golden, "cash_12", econ_cash_usd(&x, 12, 0), flow);
    check(golden, "cash_36", econ_cash_usd(&x, 36, 0), flow);
    check(golden, "cash_12_falling", econ_cash_usd(&x, 12, x.api_fall_per_year), flow);
    check(golden, "cash_36_falling", econ_cash_usd(&x, 36, x.api_fall_per_year), flow);
    check(golden, "npv_12", econ_npv_usd(&x, 12, 0), flow);
    check(golden, "npv_36", econ_npv_usd(&x, 36, 0), flow);
    check(golden, "npv_12_falling", econ_npv_usd(&x, 12, x.api_fall_per_year), flow);
    check(golden, "npv_36_falling", econ_npv_usd(&x, 36, x.api_fall_per_year), flow);
    check_paying(golden, &x);
}

static void figures_equal_the_reference(void **state) {
    (void)state;
    assert_int_equal(goldens_each("metrics/econ.jsonl", check_golden, NULL), 90);
}

/* --- The examples of docs/metrics.md ---------------------------------------------------------------- */

/* A workstation with one L4 card that answers 500 questions an hour. */
static struct econ workstation(void) {
    struct econ x = {0};
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        econ_set(&x, i, NAN);
    }
    x.owned = 1;
    x.devices = 1;
    x.share = 1;
    x.capex_usd = 3504;
    x.lifetime_h = 4 * ECON_HOURS_PER_YEAR;
    x.maintenance_usd_per_h = 0.02;
    x.kwh_usd = 0.30;
    x.pue = 1.2;
    x.ops_usd_per_h = 0.05;
    x.labour_usd = 400;
    x.recurring_usd = 14.4;
    x.refresh_h = 720;
    x.variable_usd = 0;
    x.traffic_per_h = 500;
    x.peak_ratio = 3;
    x.headroom = 0.8;
    x.replicas_min = 1;
    x.capacity_per_h = 2000;
    x.throughput_per_h = 2400;
    x.idle_w = 50;
    x.request_j = 100;
    x.request_above_idle_j = 25;
    x.once_j = 7.2e6;
    x.once_s = 7200;
    x.once_is_extra = 1;
    x.start_s = 10;
    x.input_tokens = 600;
    x.output_tokens = 200;
    x.accepted_share = 0.9;
    x.api_uncached_tokens = 600;
    x.api_cached_tokens = 0;
    x.api_written_tokens = 0;
    x.api_output_tokens = 200;
    x.api_uncached_usd_per_mtok = 0.40;
    x.api_output_usd_per_mtok = 1.60;
    x.api_batch_factor = 1;
    x.api_fall_per_year = 0.5;
    x.fallback_usd = 0.01;
    x.discount_per_year = 0.08;
    x.carbon_g_per_kwh = 400;
    x.embodied_kg = 175.2;
    return x;
}

/* The same in the cloud. */
static struct econ rented(void) {
    struct econ x = workstation();
    x.owned = 0;
    x.capex_usd = x.maintenance_usd_per_h = x.kwh_usd = NAN;
    x.cloud_usd_per_h = 0.72;
    x.bill_minimum_s = 60;
    x.bill_step_s = 3600;
    x.boot_s = 180;
    return x;
}

static void near(const char *what, double got, double want) {
    if (!(fabs(got - want) <= 1e-9 * fabs(want))) {
        fail_msg("%s is %.17g, by hand %.17g", what, got, want);
    }
}

static void a_workstation_by_hand(void **state) {
    (void)state;
    struct econ x = workstation();
    /* 3504 / 35040 + 0.02 */
    near("hardware", econ_hardware_usd_per_h(&x), 0.12);
    /* peak 1500 over 2000 * 0.8 */
    near("replicas", econ_replicas(&x, 500), 1);
    /* 0.12 + 50 W * 1.2 * 0.30 + 0.05 + 14.4 / 720 */
    near("fixed", econ_fixed_usd_per_h(&x, 1), 0.12 + 0.018 + 0.05 + 0.02);
    /* 25 J */
    near("marginal", econ_marginal_usd(&x), 2.5e-6);
    /* 400 + 2 kWh + 2 h */
    near("once", econ_once_usd(&x), 400 + 0.72 + 0.24);
    near("api", econ_api_usd(&x), 0.00056);
    near("saving", econ_saving_usd_per_h(&x, 500), 500 * (0.00056 - 2.5e-6) - 0.208);
    near("n_break", econ_n_break(&x, 500), 500 * 400.96 / 0.07075);
    near("days", econ_break_even_days(&x), 400.96 / 0.07075 / 24);
    near("request", econ_request_usd(&x, 500), 0.0004185);
    /* 0.12 / 2400 + 100 J */
    near("busy request", econ_busy_request_usd(&x), 0.00005 + 0.00001);
    near("accepted", econ_accepted_usd(&x, econ_request_usd(&x, 500)), 0.0004185 + 0.1 * 0.01);
    near("carbon", econ_request_g(&x), (0.05 / 500 + 25 / 3.6e6) * 1.2 * 400);
    near("embodied", econ_embodied_g(&x), 175200.0 / 35040 / 500);
    assert_true(econ_rate_one_lost_per_h(&x) == 0);
}

static void a_paying_range_by_hand(void **state) {
    (void)state;
    struct econ x = workstation();
    struct econ_range ranges[4];
    double always_from = 0;
    /* One replica carries 2000 * 0.8 / 3 = 533.33 an hour. */
    assert_int_equal(econ_paying(&x, ranges, 4, &always_from), 2);
    near("first root", ranges[0].low, 0.208 / 0.0005575);
    near("first end", ranges[0].high, 1600.0 / 3);
    near("second root", ranges[1].low, 0.346 / 0.0005575);
    assert_true(isinf(ranges[1].high));
    near("always from", always_from, 0.346 / 0.0005575);
    assert_true(isinf(econ_n_break(&x, 600)));
    assert_true(isfinite(econ_n_break(&x, 500)));

    x.api_output_usd_per_mtok = 0; /* an API that costs less than a full replica does */
    assert_int_equal(econ_paying(&x, ranges, 4, &always_from), 0);
    assert_true(isinf(always_from));
    assert_true(isinf(econ_n_break(&x, 500)));
}

static void a_rented_machine_by_hand(void **state) {
    (void)state;
    struct econ x = rented();
    near("hardware", econ_hardware_usd_per_h(&x), 0.72);
    /* The electricity is in the price. */
    near("fixed", econ_fixed_usd_per_h(&x, 1), 0.72 + 0.05 + 0.02);
    assert_true(econ_marginal_usd(&x) == 0);
    /* 7200 s and 180 s of boot are three hours begun. */
    near("once", econ_once_usd(&x), 400 + 3 * 0.72);
    assert_true(isinf(econ_n_break(&x, 500)));
    near("saving at 1600/h", econ_saving_usd_per_h(&x, 1600), 1600 * 0.00056 - (3 * 0.72 + 0.07));
    near("billed", econ_billed_s(7380, 60, 3600), 10800);
    near("billed at least", econ_billed_s(5, 60, 1), 60);
    near("billed by the second", econ_billed_s(61.5, 60, 1), 62);
    near("billed to the instant", econ_billed_s(61.5, 60, 0), 61.5);
    assert_true(econ_billed_s(0, 60, 1) == 0);
}

static void cash_by_hand(void **state) {
    (void)state;
    struct econ x = workstation();
    /* Bought at once; each hour then saves what n_break's saving is, without the depreciation. */
    double once = 400 + 0.72 + 2 * 0.02;
    double monthly = 730 * (0.07075 + 0.1);
    near("cash 12", econ_cash_usd(&x, 12, 0), -once - 3504 + 12 * monthly);
    near("cash 36", econ_cash_usd(&x, 36, 0), -once - 3504 + 36 * monthly);
    /* A second card after 48 months. */
    near("cash 60", econ_cash_usd(&x, 60, 0), -once - 2 * 3504 + 60 * monthly);
    assert_int_equal(econ_payback_month(&x, 36, 0), 32);
    assert_int_equal(econ_payback_month(&x, 31, 0), 0);
    double npv = -once - 3504;
    for (int m = 1; m <= 12; m++) {
        npv += monthly / pow(1.08, m / 12.0);
    }
    near("npv 12", econ_npv_usd(&x, 12, 0), npv);
    double falling = -once - 3504;
    for (int m = 1; m <= 12; m++) {
        falling += monthly - 730 * 500 * 0.00056 * (1 - pow(0.5, (m - 0.5) / 12));
    }
    near("falling 12", econ_cash_usd(&x, 12, 0.5), falling);
    x.labour_usd = 0;
    /* Savings end when the API asks 0.4185 / 0.56 of today's price: after 0.42 years. */
    assert_true(econ_n_break_falling(&x) > econ_n_break(&x, 500));
    x.labour_usd = 4000;
    assert_true(isinf(econ_n_break_falling(&x)));
}

/* --- What must hold whatever the figures are ---------------------------------------------------------- */

static double uniform(struct rng *r, double low, double high) {
    return low + (high - low) * rng_uniform(r);
}

static struct econ any(struct rng *r) {
    struct econ x = rng_below(r, 2) ? workstation() : rented();
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        if (econ_field(i)->varies && isfinite(econ_at(&x, i))) {
            double v = econ_at(&x, i) * exp(uniform(r, -1.5, 1.5));
            econ_set(&x, i, fmin(fmax(v, econ_field(i)->low), econ_field(i)->high));
        }
    }
    x.replicas_min = 1 + (double)rng_below(r, 3);
    return x;
}

/* Raising the field must never lower (or raise) what figure gives. */
static void monotone(size_t field, int direction, econ_fn *figure, const char *what) {
    struct rng r;
    rng_init(&r, 7);
    size_t moved = 0;
    for (int i = 0; i < 3000; i++) {
        struct econ x = any(&r);
        struct econ y = x;
        if (!isfinite(econ_at(&x, field))) {
            continue;
        }
        econ_set(&y, field, econ_at(&x, field) * uniform(&r, 1, 3));
        if (econ_at(&y, field) > econ_field(field)->high) {
            continue;
        }
        double before = figure(&x);
        double after = figure(&y);
        double slack = isfinite(before) ? 1e-9 * fabs(before) : 0;
        if (direction > 0 ? after < before - slack : after > before + slack) {
            fail_msg("more %s: %s goes from %.17g to %.17g", econ_field(field)->name, what, before,
                     after);
        }
        moved += before != after;
    }
    if (moved == 0) {
        fail_msg("%s never moves %s: the test shows nothing", econ_field(field)->name, what);
    }
}

static void dearer_inputs_never_bring_break_even_nearer(void **state) {
    (void)state;
    static const size_t worse[] = {ECON(kwh_usd),
                                   ECON(pue),
                                   ECON(capex_usd),
                                   ECON(cloud_usd_per_h),
                                   ECON(maintenance_usd_per_h),
                                   ECON(ops_usd_per_h),
                                   ECON(labour_usd),
                                   ECON(recurring_usd),
                                   ECON(idle_w),
                                   ECON(request_above_idle_j),
                                   ECON(once_j),
                                   ECON(once_s),
                                   ECON(peak_ratio),
                                   ECON(boot_s)};
    static const size_t better[] = {ECON(api_uncached_usd_per_mtok),
                                    ECON(api_output_usd_per_mtok),
                                    ECON(api_uncached_tokens),
                                    ECON(api_output_tokens),
                                    ECON(capacity_per_h),
                                    ECON(headroom),
                                    ECON(lifetime_h),
                                    ECON(refresh_h)};
    for (size_t i = 0; i < sizeof(worse) / sizeof(worse[0]); i++) {
        monotone(worse[i], 1, econ_n_break_planned, "N_break");
    }
    for (size_t i = 0; i < sizeof(better) / sizeof(better[0]); i++) {
        monotone(better[i], -1, econ_n_break_planned, "N_break");
    }
    monotone(ECON(api_fall_per_year), 1, econ_n_break_falling, "N_break under falling prices");
    monotone(ECON(carbon_g_per_kwh), 1, econ_request_g, "carbon");
    monotone(ECON(embodied_kg), 1, econ_embodied_g, "embodied carbon");
}

/* Rented electricity is in the price: its own price must change nothing. */
static void electricity_does_not_move_a_rented_machine(void **state) {
    (void)state;
    struct econ x = rented();
    x.cloud_usd_per_h = 0.1;
    double before = econ_n_break(&x, 500);
    assert_true(isfinite(before));
    x.kwh_usd = 5;
    x.idle_w = 4000;
    x.request_above_idle_j = 1e6;
    assert_true(econ_n_break(&x, 500) == before);
}

static void savings_are_positive_exactly_in_the_paying_range(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    size_t inside_seen = 0, outside_seen = 0, teeth = 0;
    enum { CAP = 64 };
    for (int i = 0; i < 4000; i++) {
        struct econ x = any(&rng);
        struct econ_range ranges[CAP];
        double always_from = 0;
        size_t n = econ_paying(&x, ranges, CAP, &always_from);
        teeth += n > 1;
        for (int k = 0; k < 20; k++) {
            double r = exp(uniform(&rng, 0, 12));
            bool inside = r > always_from;
            bool edge = fabs(r - always_from) < 1e-9 * r;
            for (size_t j = 0; j < n && j < CAP; j++) {
                inside = inside || (r > ranges[j].low && r <= ranges[j].high);
                edge = edge || fabs(r - ranges[j].low) < 1e-9 * r ||
                       fabs(r - ranges[j].high) < 1e-9 * r;
            }
            if (edge || (n > CAP && r < always_from)) {
                continue;
            }
            if ((econ_saving_usd_per_h(&x, r) > 0) != inside) {
                fail_msg("at %.17g/h saving %.17g, inside %d, %zu ranges", r,
                         econ_saving_usd_per_h(&x, r), inside, n);
            }
            inside_seen += inside;
            outside_seen += !inside;
        }
    }
    assert_true(inside_seen > 1000 && outside_seen > 1000 && teeth > 100);
}

static void falling_prices_that_do_not_fall_change_nothing(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < 500; i++) {
        struct econ x = any(&rng);
        x.api_fall_per_year = 0;
        double want = econ_n_break_planned(&x);
        assert_true(econ_n_break_falling(&x) == want);
        x.api_fall_per_year = 1e-9;
        double got = econ_n_break_falling(&x);
        assert_true(isinf(want) || got < want * 1.1 || isinf(got));
    }
}

static void a_deployment_that_is_free_to_run_still_meets_falling_prices(void **state) {
    (void)state;
    struct econ x = rented();
    x.cloud_usd_per_h = x.ops_usd_per_h = x.recurring_usd = 0;
    x.api_fall_per_year = 0.5;
    /* All it will ever save: 0.28 $/h * 8760 h / ln 2. */
    double all = 0.28 * ECON_HOURS_PER_YEAR / log(2);
    x.labour_usd = all * 1.001;
    assert_true(isinf(econ_n_break_falling(&x)));
    x.labour_usd = all / 2;
    near("half of it after a year", econ_n_break_falling(&x), 500 * ECON_HOURS_PER_YEAR);
    x.labour_usd = 0;
    assert_true(econ_n_break_falling(&x) == 0);
}

static void the_tornado_puts_the_widest_bar_first(void **state) {
    (void)state;
    struct econ x = workstation();
    struct econ_bar bars[ECON_FIELDS];
    size_t n = econ_tornado(&x, econ_n_break_planned, bars);
    assert_true(n > 10);
    bool saw_electricity = false;
    for (size_t i = 0; i < n; i++) {
        const struct econ_field *f = econ_field(bars[i].field);
        assert_true(f->varies);
        struct econ y = x;
        econ_set(&y, bars[i].field, econ_at(&x, bars[i].field) * 0.8);
        assert_true(bars[i].at_low == econ_n_break_planned(&y) ||
                    econ_at(&y, bars[i].field) < f->low);
        saw_electricity = saw_electricity || strcmp(f->name, "kwh_usd") == 0;
        assert_true(strcmp(f->name, "input_tokens") != 0); /* moves other figures only */
        if (i > 0) {
            double before = fabs(bars[i - 1].at_high - bars[i - 1].at_low);
            assert_true(before >= fabs(bars[i].at_high - bars[i].at_low));
        }
    }
    assert_true(saw_electricity);
    /* A fifth less of the API's output price, and it never pays. */
    assert_true(isinf(bars[0].at_low) || isinf(bars[0].at_high));
}

static void every_field_is_described(void **state) {
    (void)state;
    struct econ x = workstation();
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        const struct econ_field *f = econ_field(i);
        assert_non_null(f->name);
        assert_non_null(f->unit);
        assert_non_null(f->about);
        assert_true(f->low < f->high);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(f->name, econ_field(j)->name);
        }
    }
    assert_true(econ_at(&x, ECON(idle_w)) == 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_equal_the_reference),
        cmocka_unit_test(a_workstation_by_hand),
        cmocka_unit_test(a_paying_range_by_hand),
        cmocka_unit_test(a_rented_machine_by_hand),
        cmocka_unit_test(cash_by_hand),
        cmocka_unit_test(dearer_inputs_never_bring_break_even_nearer),
        cmocka_unit_test(electricity_does_not_move_a_rented_machine),
        cmocka_unit_test(savings_are_positive_exactly_in_the_paying_range),
        cmocka_unit_test(falling_prices_that_do_not_fall_change_nothing),
        cmocka_unit_test(a_deployment_that_is_free_to_run_still_meets_falling_prices),
        cmocka_unit_test(the_tornado_puts_the_widest_bar_first),
        cmocka_unit_test(every_field_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
