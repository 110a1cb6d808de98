/* Whose joules: synthetic truths found again, and what cannot be told apart refused. */
#include "support/energy_fake.h"

#include "base/clock.h"
#include "base/rng.h"
#include "energy/attribution.h"
#include "energy/note.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE_W 90.0
#define PREFILL_J 0.05
#define DECODE_J 0.4
#define MAX_PERIODS 400

static const struct attr_fit_opts fit_base = {.base_w = NAN};

static struct attr_period period(double prefill, double decode, double noise_w) {
    return (struct attr_period){
        .seconds = 0.5,
        .joules = (BASE_W + noise_w) * 0.5 + PREFILL_J * prefill + DECODE_J * decode,
        .prefill_tokens = prefill,
        .decode_tokens = decode,
    };
}

/* Roughly normal, of variance 1: the sum of twelve uniform ones. */
static double normal(struct rng *r) {
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += rng_uniform(r);
    }
    return sum;
}

/* Mixed load, then prefill alone, decode alone, and nothing: a quarter each. Noise that lasts. */
static size_t designed(struct attr_period *p, size_t n, double noise_w, uint64_t seed) {
    struct rng r;
    double w = 0;
    rng_init(&r, seed);
    for (size_t i = 0; i < n; i++) {
        size_t block = 4 * i / n;
        bool prefills = block == 0 || block == 1;
        bool decodes = block == 0 || block == 2;
        w = 0.5 * w + noise_w * normal(&r);
        p[i] = period(prefills ? 2000 * rng_uniform(&r) : 0, decodes ? 300 * rng_uniform(&r) : 0,
                      w);
    }
    return n;
}

static void the_truth_is_found_again(void **state) {
    (void)state;
    struct attr_period p[100];
    struct attr_fit fit;
    designed(p, 100, 0, 1);
    attribution_fit(p, 100, &fit_base, &fit);
    assert_false(fit.refused);
    assert_int_equal(fit.n, 100);
    assert_close(fit.base_w.value, BASE_W);
    assert_close(fit.prefill_j.value, PREFILL_J);
    assert_close(fit.decode_j.value, DECODE_J);
    assert_true(fit.condition > 1 && fit.condition < 10);
    assert_true(fabs(fit.unexplained_j) < 1e-6 && fit.residual_w < 1e-6);
    assert_close(fit.r2, 1);
    assert_close(fit.total_j, fit.prefill_total_j + fit.decode_total_j + fit.base_total_j);
    double prefill = 0;
    for (int i = 0; i < 100; i++) {
        prefill += p[i].prefill_tokens;
    }
    assert_close(fit.prefill_total_j, PREFILL_J * prefill);
}

/* With noise that one period hands to the next, 95 % intervals hold the truth about as often. */
static void intervals_hold_the_truth(void **state) {
    (void)state;
    static struct attr_period p[MAX_PERIODS];
    enum { TRIES = 300 };
    int prefill_held = 0;
    int decode_held = 0;
    int base_held = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        struct attr_fit fit;
        attribution_fit(p, designed(p, 200, 8, seed), &fit_base, &fit);
        assert_false(fit.refused);
        prefill_held += fit.prefill_j.low <= PREFILL_J && PREFILL_J <= fit.prefill_j.high;
        decode_held += fit.decode_j.low <= DECODE_J && DECODE_J <= fit.decode_j.high;
        base_held += fit.base_w.low <= BASE_W && BASE_W <= fit.base_w.high;
        assert_true(fit.residual_w > 6 && fit.residual_w < 12);
        assert_true(fit.r2 > 0.9 && fit.r2 < 1);
    }
    assert_in_range(prefill_held, TRIES * 9 / 10, TRIES);
    assert_in_range(decode_held, TRIES * 9 / 10, TRIES);
    assert_in_range(base_held, TRIES * 9 / 10, TRIES);
}

static void the_sensor_s_gain_widens_them(void **state) {
    (void)state;
    struct attr_period p[100];
    struct attr_fit fit;
    const struct attr_fit_opts opts = {.base_w = NAN, .gain = 0.05};
    designed(p, 100, 0, 1);
    attribution_fit(p, 100, &opts, &fit);
    assert_true(fabs(fit.decode_j.high - 1.05 * DECODE_J) < 1e-6);
    assert_true(fabs(fit.decode_j.low - 0.95 * DECODE_J) < 1e-6);
}

static void a_known_base_is_not_fitted(void **state) {
    (void)state;
    struct attr_period p[100];
    struct attr_fit fit;
    const struct attr_fit_opts opts = {.base_w = 80, .base_half_w = 2};
    designed(p, 100, 0, 1);
    attribution_fit(p, 100, &opts, &fit);
    assert_close(fit.base_w.value, 80);
    assert_close(fit.base_w.high, 82);
    /* 10 W too little for the base, and so the tokens take some and the rest is left over. */
    assert_true(fit.prefill_j.value > PREFILL_J && fit.decode_j.value > DECODE_J);
    assert_true(fit.unexplained_j > 50);
}

/* Every request has the same prompt and answer: what is decode and what prefill nobody can say. */
static void a_load_of_one_mixture_is_refused(void **state) {
    (void)state;
    struct attr_period p[120];
    struct attr_fit fit;
    struct rng r;
    rng_init(&r, 3);
    for (int i = 0; i < 100; i++) {
        double requests = 3 + rng_uniform(&r);
        p[i] = period(500 * requests, 100 * requests + 0.5 * rng_uniform(&r), normal(&r));
    }
    attribution_fit(p, 100, &fit_base, &fit);
    assert_true(fit.refused);
    assert_true(fit.condition > 30);
    assert_non_null(strstr(fit.reason, "add stretches of prefill alone and of decode alone"));
    assert_true(isnan(fit.prefill_j.value) && isnan(fit.decode_j.value) && isnan(fit.base_total_j));
    for (int i = 100; i < 120; i++) { /* the designed stretches */
        p[i] = period(i % 2 ? 2000 : 0, i % 4 == 0 ? 400 : 0, normal(&r));
    }
    attribution_fit(p, 120, &fit_base, &fit);
    assert_false(fit.refused);
    assert_true(fabs(fit.prefill_j.value - PREFILL_J) < 0.1 * PREFILL_J);
    assert_true(fabs(fit.decode_j.value - DECODE_J) < 0.1 * DECODE_J);
}

static void what_was_not_done_costs_nothing_and_is_unknown(void **state) {
    (void)state;
    struct attr_period p[60];
    struct attr_fit fit;
    for (int i = 0; i < 60; i++) {
        p[i] = period(100.0 * (i % 7), 0, 0);
    }
    attribution_fit(p, 60, &fit_base, &fit);
    assert_false(fit.refused);
    assert_close(fit.prefill_j.value, PREFILL_J);
    assert_true(isnan(fit.decode_j.value) && isnan(fit.decode_j.low));
    assert_close(fit.decode_total_j, 0);
    for (int i = 0; i < 60; i++) {
        p[i] = period(0, 0, i % 3);
    }
    attribution_fit(p, 60, &fit_base, &fit);
    assert_true(fit.refused);
    assert_string_equal(fit.reason, "no tokens were processed");
}

static void too_little_is_refused(void **state) {
    (void)state;
    struct attr_period p[100];
    struct attr_fit fit;
    designed(p, 19, 0, 1);
    attribution_fit(p, 19, &fit_base, &fit);
    assert_true(fit.refused);
    assert_non_null(strstr(fit.reason, "fewer than 20 periods"));
    attribution_fit(p, 0, &fit_base, &fit);
    assert_true(fit.refused);
    for (int i = 0; i < 100; i++) { /* decode in one single period */
        p[i] = period(10.0 * (i % 13), i == 50 ? 100 : 0, 0);
    }
    attribution_fit(p, 100, &fit_base, &fit);
    assert_true(fit.refused);
    assert_non_null(strstr(fit.reason, "one stretch of time holds all"));
}

static void a_token_that_would_give_energy_is_refused(void **state) {
    (void)state;
    struct attr_period p[100];
    struct attr_fit fit;
    designed(p, 100, 0, 1);
    for (int i = 0; i < 100; i++) {
        p[i].joules = 500 - 0.01 * p[i].prefill_tokens;
    }
    attribution_fit(p, 100, &fit_base, &fit);
    assert_true(fit.refused);
    assert_non_null(strstr(fit.reason, "less than nothing"));
}

/* ---- periods ---- */

static void rows_become_periods_with_their_tokens(void **state) {
    (void)state;
    struct meter_sample rows[40];
    struct attr_period p[40];
    const size_t parts[] = {0, 2};
    const int64_t t0 = 77 * NS_PER_S;
    const struct attr_work work[] = {
        {t0 + 100 * NS_PER_MS, t0 + 1100 * NS_PER_MS, 1000, 0}, /* two fifths, two, one */
        {t0 + 450 * NS_PER_MS, t0 + 450 * NS_PER_MS, 0, 7},     /* a moment */
        {t0 - NS_PER_S, t0, 5000, 5000},                        /* before */
        {t0 + 3900 * NS_PER_MS, t0 + 4100 * NS_PER_MS, 10, 20}, /* half of it after */
    };
    for (int i = 0; i < 40; i++) {
        rows[i].t_ns = t0 + (i + 1) * 100 * NS_PER_MS;
        rows[i].watts[0] = 100;
        rows[i].watts[1] = NAN; /* not asked for */
        rows[i].watts[2] = i < 20 ? 50 : 60;
    }
    size_t n = attribution_periods(rows, 40, t0, parts, 2, work, 4, 500 * NS_PER_MS, p);
    assert_int_equal(n, 8);
    for (size_t i = 0; i < n; i++) {
        assert_close(p[i].seconds, 0.5);
        assert_close(p[i].joules, i < 4 ? 75 : 80);
    }
    assert_close(p[0].prefill_tokens, 400);
    assert_close(p[1].prefill_tokens, 500);
    assert_close(p[2].prefill_tokens, 100);
    assert_close(p[0].decode_tokens, 7);
    assert_close(p[7].prefill_tokens, 5);
    assert_close(p[7].decode_tokens, 10);
    rows[12].watts[2] = NAN; /* lost for a moment: its period is no period */
    n = attribution_periods(rows, 40, t0, parts, 2, work, 4, 500 * NS_PER_MS, p);
    assert_int_equal(n, 7);
    assert_close(p[2].prefill_tokens, 0);
    assert_int_equal(p[2].start_ns, t0 + 1500 * NS_PER_MS);
}

/*
 * The whole way: an engine that prefills and decodes side by side, a sensor that shows the power of
 * the last tenth of a second, periods of half a second. Lag and all, within a tenth of the truth.
 */
static void a_lagging_sensor_leaves_the_truth_in_sight(void **state) {
    (void)state;
    enum { STEPS = 6000, PER_ROW = 10 }; /* 10 ms, 100 ms */
    static struct attr_work work[STEPS];
    static struct meter_sample rows[STEPS / PER_ROW];
    static struct attr_period p[STEPS / PER_ROW];
    static double joules[STEPS];
    const size_t part = 0;
    struct rng r;
    rng_init(&r, 5);
    double prefill = 0;
    int left = 0;
    for (int i = 0; i < STEPS; i++) {
        bool idle = i / 500 % 4 == 3;
        if (left-- <= 0) {
            prefill = rng_below(&r, 3) == 0 ? 40 : 0;
            left = (int)rng_below(&r, 40);
        }
        double decode = idle ? 0 : (double)rng_below(&r, 8);
        work[i] = (struct attr_work){i * 10 * NS_PER_MS, (i + 1) * 10 * NS_PER_MS,
                                     idle ? 0 : prefill, decode};
        joules[i] = BASE_W * 0.01 + PREFILL_J * work[i].prefill_tokens + DECODE_J * decode;
    }
    for (int k = 0; k < STEPS / PER_ROW; k++) {
        double shown = 0; /* of the tenth before: the sensor is one row late */
        for (int i = 0; i < PER_ROW && k > 0; i++) {
            shown += joules[(k - 1) * PER_ROW + i];
        }
        rows[k].t_ns = (k + 1) * 100 * NS_PER_MS;
        rows[k].watts[0] = (float)(k ? shown / 0.1 : BASE_W);
    }
    size_t n = attribution_periods(rows, STEPS / PER_ROW, 0, &part, 1, work, STEPS, 500 * NS_PER_MS,
                                   p);
    struct attr_fit fit;
    attribution_fit(p, n, &fit_base, &fit);
    assert_false(fit.refused);
    assert_true(fabs(fit.prefill_j.value / PREFILL_J - 1) < 0.1);
    assert_true(fabs(fit.decode_j.value / DECODE_J - 1) < 0.1);
    assert_true(fabs(fit.base_w.value / BASE_W - 1) < 0.1);
    assert_true(fit.residual_w > 0);
}

static void a_block_of_one_kind_has_its_price(void **state) {
    (void)state;
    struct attr_figure f;
    struct component_reading c = {.quality = METER_COUNTER,
                                  .joules = 1000,
                                  .has_idle = true,
                                  .above_idle_j = 400,
                                  .above_idle_low_j = 360,
                                  .above_idle_high_j = 440};
    attribution_block(&c, 1000, &f);
    assert_close(f.value, 0.4);
    assert_close(f.low, 0.36);
    assert_close(f.high, 0.44);
    attribution_block(&c, 0, &f);
    assert_true(isnan(f.value));
    c.has_idle = false;
    attribution_block(&c, 1000, &f);
    assert_true(isnan(f.value));
    c.has_idle = true;
    c.quality = METER_MISSING;
    attribution_block(&c, 1000, &f);
    assert_true(isnan(f.value) && isnan(f.low) && isnan(f.high));
}

/* ---- processes ---- */

static const struct component_reading package = {.quality = METER_COUNTER,
                                                 .joules = 1000,
                                                 .has_idle = true,
                                                 .above_idle_j = 600,
                                                 .above_idle_low_j = 500,
                                                 .above_idle_high_j = 700};

static void a_process_has_its_share_of_what_is_above_idle(void **state) {
    (void)state;
    struct attr_share s;
    attribution_share(&package, 2, 8, &s);
    assert_false(s.refused);
    assert_close(s.share.value, 0.25);
    assert_close(s.share.low, 2.0 / (2 + 2 * 6)); /* the others draw twice as much */
    assert_close(s.share.high, 4.0 / (4 + 6));    /* it draws twice as much */
    assert_close(s.joules.value, 150);
    assert_close(s.joules.low, 500 * s.share.low);
    assert_close(s.joules.high, 700 * s.share.high);
    attribution_share(&package, 8, 8, &s); /* alone: there is nothing to share */
    assert_close(s.joules.low, 500);
    assert_close(s.joules.high, 700);
    attribution_share(&package, 8.2, 8, &s); /* two clocks, read one after the other */
    assert_close(s.share.value, 1);
    attribution_share(&package, 0, 8, &s);
    assert_close(s.joules.value, 0);
}

static void energy_below_idle_keeps_its_sign(void **state) {
    (void)state;
    struct attr_share s;
    struct component_reading c = package;
    c.above_idle_j = -10;
    c.above_idle_low_j = -40;
    c.above_idle_high_j = 20;
    attribution_share(&c, 2, 4, &s);
    assert_close(s.joules.value, -5);
    assert_close(s.joules.low, -40 * s.share.high);
    assert_close(s.joules.high, 20 * s.share.high);
}

static void a_share_without_grounds_is_refused(void **state) {
    (void)state;
    static const struct {
        double process_s, machine_s;
        int change;
        const char *why;
    } cases[] = {
        {1, 4, 1, "without an idle baseline"},
        {1, 4, 2, "a model follows"},
        {1, 4, 3, "GPU is lost"},
        {1, 0, 0, "no CPU time"},
        {NAN, 4, 0, "no CPU time"},
        {5, 4, 0, "more CPU time than the machine"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct component_reading c = package;
        struct attr_share s;
        c.has_idle = cases[i].change != 1;
        c.modelled = cases[i].change == 2;
        if (cases[i].change == 3) {
            c.quality = METER_MISSING;
            note_set(c.reason, sizeof(c.reason), "GPU is lost");
        }
        attribution_share(&c, cases[i].process_s, cases[i].machine_s, &s);
        assert_true(s.refused);
        assert_true(isnan(s.joules.value) && isnan(s.share.value));
        if (!strstr(s.reason, cases[i].why)) {
            fail_msg("case %zu: %s", i, s.reason);
        }
    }
}

/* ---- GPUs ---- */

static void a_job_pays_for_its_gpus_and_no_others(void **state) {
    (void)state;
    static const char *const parts[][2] = {
        {"gpu0", "gpu"}, {"gpu1", "gpu"}, {"gpu2", "gpu"}, {"cpu", "cpu"}, {"wall", "wall"}};
    struct meter_component c[5];
    const char *names[5];
    bool used[5] = {false};
    memset(c, 0, sizeof(c));
    for (int i = 0; i < 5; i++) {
        note_set(c[i].name, sizeof(c[i].name), "%s", parts[i][0]);
        note_set(c[i].scope, sizeof(c[i].scope), "%s", parts[i][1]);
        c[i].whole = i == 4;
    }
    assert_int_equal(attribution_components(c, used, 5, names), 0); /* seen nowhere */
    used[1] = used[2] = true;
    assert_int_equal(attribution_components(c, used, 5, names), 3);
    assert_string_equal(names[0], "gpu1");
    assert_string_equal(names[1], "gpu2");
    assert_string_equal(names[2], "cpu");
    used[0] = true;
    assert_int_equal(attribution_components(c, used, 5, names), 0); /* on all: nothing to choose */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_is_found_again),
        cmocka_unit_test(intervals_hold_the_truth),
        cmocka_unit_test(the_sensor_s_gain_widens_them),
        cmocka_unit_test(a_known_base_is_not_fitted),
        cmocka_unit_test(a_load_of_one_mixture_is_refused),
        cmocka_unit_test(what_was_not_done_costs_nothing_and_is_unknown),
        cmocka_unit_test(too_little_is_refused),
        cmocka_unit_test(a_token_that_would_give_energy_is_refused),
        cmocka_unit_test(rows_become_periods_with_their_tokens),
        cmocka_unit_test(a_lagging_sensor_leaves_the_truth_in_sight),
        cmocka_unit_test(a_block_of_one_kind_has_its_price),
        cmocka_unit_test(a_process_has_its_share_of_what_is_above_idle),
        cmocka_unit_test(energy_below_idle_keeps_its_sign),
        cmocka_unit_test(a_share_without_grounds_is_refused),
        cmocka_unit_test(a_job_pays_for_its_gpus_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
