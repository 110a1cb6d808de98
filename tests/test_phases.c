/* Joules by phase from a meter's samples and a worker's times: a known engine's costs found again. */
#include "lifecycle/phases.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define IDLE_W 90.0
#define PREFILL_J 0.02
#define DECODE_J 0.5
#define PREFILL_PER_S 5000.0 /* tokens */
#define DECODE_PER_S 400.0

enum { MAX_ROWS = 400, ROW_MS = 100, START_S = 1000 };

static int64_t at_ns(double s) {
    return (int64_t)((START_S + s) * 1e9);
}

/* What the engine does at a moment of a cycle of 5 s: prefill, answers, nothing. */
static double watts_at(double s) {
    double in_cycle = fmod(s, 5);
    if (s < 0 || s > 15) {
        return IDLE_W + 200; /* before and after: something else, which must not count */
    }
    return IDLE_W + (in_cycle < 2   ? PREFILL_J * PREFILL_PER_S
                     : in_cycle < 4 ? DECODE_J * DECODE_PER_S
                                    : 0);
}

/* Means over each row's time, from 3 s before the load to 3 s after it. */
static size_t sample(struct meter_sample *rows, double noise_w) {
    struct rng r;
    rng_init(&r, 1);
    size_t n = 0;
    for (int i = 0; i < 21 * 1000 / ROW_MS; i++) {
        double s = -3 + i * ROW_MS / 1000.0;
        double sum = 0;
        for (int k = 0; k < 10; k++) {
            sum += watts_at(s + (k + 0.5) * ROW_MS / 10000.0) / 10;
        }
        rows[n] = (struct meter_sample){.t_ns = at_ns(s + ROW_MS / 1000.0)};
        rows[n].watts[0] = NAN; /* a component that is not asked */
        rows[n++].watts[1] = (float)(sum + noise_w * (2 * rng_uniform(&r) - 1));
    }
    return n;
}

static json_t *designed_work(void) {
    json_t *work = json_array();
    for (int cycle = 0; cycle < 3; cycle++) {
        for (int i = 0; i < 20; i++) { /* requests of 500 tokens, one after the other */
            double s = 5.0 * cycle + 0.1 * i;
            json_array_append_new(work, json_pack("[I, I, i, i]", (json_int_t)at_ns(s),
                                                  (json_int_t)at_ns(s + 0.1), 500, 0));
        }
        double s = 5.0 * cycle + 2;
        json_array_append_new(work, json_pack("[I, I, i, i]", (json_int_t)at_ns(s),
                                              (json_int_t)at_ns(s + 2), 0, 800));
    }
    /* The load ends with idle: something must say so. */
    json_array_append_new(
        work, json_pack("[I, I, i, i]", (json_int_t)at_ns(14.9), (json_int_t)at_ns(15), 0, 0));
    return work;
}

static const struct phases_sensors gpu = {.at = {1}, .n = 1, .gain = 0.05, .period_ns = 300000000};

static void near(const json_t *result, const char *name, double truth, double within) {
    const json_t *f = json_object_get(result, name);
    double value = json_num_or(f, "value", NAN);
    assert_true(fabs(value - truth) <= within * truth);
    assert_true(json_num_or(f, "low", NAN) <= truth && truth <= json_num_or(f, "high", NAN));
}

static void the_costs_of_a_known_engine_are_found(void **state) {
    (void)state;
    struct meter_sample rows[MAX_ROWS];
    json_t *work = designed_work();
    json_t *result = phases_result(rows, sample(rows, 5), &gpu, work);
    assert_null(json_object_get(result, "refused"));
    near(result, "prefill_token_j", PREFILL_J, 0.05);
    near(result, "decode_token_j", DECODE_J, 0.05);
    near(result, "base_w", IDLE_W, 0.05);
    assert_true(json_num_or(result, "r2", 0) > 0.95);
    assert_true(json_num_or(result, "residual_w", NAN) < 25);
    json_decref(result);
    json_decref(work);
}

static void what_goes_together_is_refused(void **state) {
    (void)state;
    struct meter_sample rows[MAX_ROWS];
    size_t n = sample(rows, 5);
    json_t *work = json_pack("[[I, I, i, i]]", (json_int_t)at_ns(0), (json_int_t)at_ns(15), 10000,
                             2000);
    json_t *result = phases_result(rows, n, &gpu, work);
    assert_non_null(strstr(json_str_or(result, "refused", ""), "went together all along"));
    assert_null(json_object_get(result, "prefill_token_j"));
    json_decref(result);
    json_decref(work);
    work = designed_work();
    result = phases_result(rows, 10, &gpu, work); /* the meter's samples end too soon */
    assert_non_null(strstr(json_str_or(result, "refused", ""), "fewer than 20 periods"));
    json_decref(result);
    result = phases_result(rows, 0, &gpu, work);
    assert_non_null(json_object_get(result, "refused"));
    json_decref(result);
    json_decref(work);
    work = json_array();
    result = phases_result(rows, n, &gpu, work);
    assert_non_null(json_object_get(result, "refused"));
    json_decref(result);
    json_decref(work);
}

static struct meter_component component(const char *name, double gain, int64_t update_ms) {
    struct meter_component c = {.gain = gain, .update_ns = update_ms * NS_PER_MS};
    strncpy(c.name, name, sizeof(c.name) - 1);
    return c;
}

static void only_what_measures_is_asked(void **state) {
    (void)state;
    struct phases_sensors s;
    struct meter_component c[3] = {component("cpu", 0.4, 20), component("gpu0", 0.05, 100),
                                   component("wall", 0.05, 1000)};
    c[0].modelled = true;
    c[2].whole = true;
    phases_choose(c, 3, &s);
    assert_null(s.reason);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.at[0], 1);
    assert_true(s.gain == 0.05);
    assert_int_equal(s.period_ns, 300000000);
    c[1].unreadable = true; /* then the whole machine is all there is */
    phases_choose(c, 3, &s);
    assert_null(s.reason);
    assert_int_equal(s.at[0], 2);
    assert_int_equal(s.period_ns, 3000000000);
    phases_choose(c, 1, &s);
    assert_non_null(strstr(s.reason, "modelled"));
    c[1].unreadable = false;
    c[1].shared = true;
    phases_choose(c, 2, &s);
    assert_non_null(strstr(s.reason, "covers more than this job"));
    phases_choose(c, 0, &s);
    assert_non_null(s.reason);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_costs_of_a_known_engine_are_found),
        cmocka_unit_test(what_goes_together_is_refused),
        cmocka_unit_test(only_what_measures_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
