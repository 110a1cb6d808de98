/* The meter's windows, driven by a recording and a clock that the test moves. */
#include "support/energy_fake.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#define HEADER(parts) "{\"edge_eval_power\":1,\"components\":[" parts "]}\n"
#define GPU0 "{\"name\":\"gpu0\",\"scope\":\"gpu\"}"
#define GPU1 "{\"name\":\"gpu1\",\"scope\":\"gpu\"}"
#define CPU "{\"name\":\"cpu\",\"scope\":\"cpu\"}"

static void close_into(struct meter *m, int id, struct meter_reading *out) {
    struct err e = ERR_INIT;
    if (meter_window_close(m, id, out, &e) < 0) {
        fail_msg("%s", e.msg);
    }
}

static int open_window(struct meter *m, const char *name, int parent) {
    struct err e = ERR_INIT;
    int id = meter_window_open(m, name, parent, &e);
    assert_true(id >= 0);
    return id;
}

/* ---- integration ---- */

static void constant_power_is_power_times_time(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":117.3}}\n"
                                 "{\"t_s\":1e6,\"gpu0\":{\"w\":117.3}}\n");
    fake_run_s(&c, 0.037); /* edges between samples */
    fake_window(&c, 12.3456, &r);
    assert_int_equal(r.c[0].quality, METER_INTEGRATED);
    assert_close(r.c[0].joules, 117.3 * 12.3456);
    assert_close(r.c[0].mean_w, 117.3);
    assert_close(r.c[0].peak_w, 117.3);
    assert_close(r.c[0].coverage, 1);
    assert_string_equal(r.c[0].source, "replayed power");
    assert_int_equal(r.end_ns - r.start_ns, INT64_C(12345600000));
    meter_stop(c.m);
}

static void a_window_without_a_sample_inside_still_has_its_edges(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(
        &c,
        HEADER(
            "{\"name\":\"gpu0\",\"scope\":\"gpu\",\"update_ms\":10}") "{\"t_s\":0,\"gpu0\":{\"w\":200}}\n{\"t_s\":100,\"gpu0\":{\"w\":200}}\n");
    fake_window(&c, 0.06, &r);
    assert_close(r.c[0].joules, 12);
    assert_true(r.c[0].is_short);
    meter_stop(c.m);
}

/* 1000, 900, ..., 0 W: an integral that only adds while power rises gives 0. */
static void falling_power_counts(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    for (int i = 0; i <= 100; i++) {
        buf_addf(&text, "{\"t_s\":%.1f,\"gpu0\":{\"w\":%d}}\n", i / 10.0, 1000 - 10 * i);
    }
    fake_replay(&c, text.data);
    fake_window(&c, 10, &r);
    assert_close(r.c[0].joules, 5000);
    assert_close(r.c[0].peak_w, 1000);
    buf_release(&text);
    meter_stop(c.m);
}

/* Samples come late and unevenly; a sum of power times the nominal period would be far off. */
static void time_is_measured_not_assumed(void **state) {
    (void)state;
    static const int steps_ms[] = {130, 70, 290, 10, 250, 180, 95, 275};
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    double seconds = 0;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":50}}\n"
                                 "{\"t_s\":1e6,\"gpu0\":{\"w\":50}}\n");
    int id = open_window(c.m, "uneven", METER_NO_PARENT);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < sizeof(steps_ms) / sizeof(steps_ms[0]); i++) {
            fake_step_ns(&c, steps_ms[i] * NS_PER_MS);
            seconds += steps_ms[i] / 1e3;
        }
    }
    close_into(c.m, id, &r);
    assert_close(r.c[0].joules, 50 * seconds);
    meter_stop(c.m);
}

/* The step from 100 to 300 W falls between two samples: off by no more than the edge error. */
static void a_step_between_samples_is_within_the_edge_error(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n"
                                 "{\"t_s\":5.03,\"gpu0\":{\"w\":300}}\n"
                                 "{\"t_s\":100,\"gpu0\":{\"w\":300}}\n");
    fake_window(&c, 10, &r);
    double truth = 100 * 5.03 + 300 * 4.97;
    assert_true(fabs(r.c[0].joules - truth) <= r.c[0].edge_j);
    assert_true(r.c[0].joules != truth); /* else the test shows nothing */
    assert_close(r.c[0].peak_w, 300);
    meter_stop(c.m);
}

static void a_long_window_is_not_cut(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":84,\"j\":0}}\n"
                                 "{\"t_s\":1e6,\"gpu0\":{\"w\":84,\"j\":0}}\n");
    fake_window(&c, 7200, &r);
    assert_close(r.c[0].joules, 84 * 7200.0);
    assert_false(r.c[0].is_short);
    meter_stop(c.m);
}

/* Time without samples is a bound: between nothing and the peak. */
static void a_gap_lowers_coverage_and_widens_the_interval(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n"
                                 "{\"t_s\":2,\"gpu0\":{\"w\":160}}\n"
                                 "{\"t_s\":3,\"gpu0\":{\"w\":100}}\n"
                                 "{\"t_s\":100,\"gpu0\":{\"w\":100}}\n");
    int id = open_window(c.m, "gap", METER_NO_PARENT);
    fake_run_s(&c, 10);
    fake_step_ns(&c, 10 * NS_PER_S);
    close_into(c.m, id, &r);
    const struct component_reading *g = &r.c[0];
    assert_close(g->coverage, 0.5);
    assert_close(g->gap_less_j, 1000);
    assert_close(g->gap_more_j, 600);
    double half = g->gain * g->joules + g->edge_j;
    assert_close(g->low_j, g->joules - half - 1000);
    assert_close(g->high_j, g->joules + half + 600);
    meter_stop(c.m);
}

/* ---- windows ---- */

/* Loading at 200 W for 10 s and serving at 50 W for 20 s: neither pays the other's price. */
static void nested_windows_have_their_own_energy(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading load, serve, run;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":200}}\n"
                                 "{\"t_s\":10.0001,\"gpu0\":{\"w\":50}}\n"
                                 "{\"t_s\":100,\"gpu0\":{\"w\":50}}\n");
    int outer = open_window(c.m, "run", METER_NO_PARENT);
    int inner = open_window(c.m, "load", outer);
    fake_run_s(&c, 10);
    close_into(c.m, inner, &load);
    fake_run_s(&c, 0.1);
    inner = open_window(c.m, "serve", outer);
    fake_run_s(&c, 20);
    close_into(c.m, inner, &serve);
    close_into(c.m, outer, &run);
    assert_close(load.c[0].joules, 2000);
    assert_close(serve.c[0].joules, 1000);
    assert_close(run.c[0].joules, 3000 + 12.5); /* the step lies in the 0.1 s between */
    assert_string_equal(load.name, "load");
    assert_int_equal(load.parent_id, run.id);
    assert_int_equal(run.parent_id, METER_NO_PARENT);
    assert_close(run.c[0].peak_w, 200);
    assert_close(serve.c[0].peak_w, 50);
    meter_stop(c.m);
}

static void windows_refuse_misuse(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_reading r;
    struct meter_opts opts = {.source = "null"};
    fake_meter(&c, &opts);
    int outer = open_window(c.m, "outer", METER_NO_PARENT);
    int inner = open_window(c.m, "inner", outer);
    assert_int_equal(meter_window_close(c.m, outer, &r, &e), EE_USAGE);
    assert_non_null(strstr(e.msg, "children"));
    assert_int_equal(meter_window_close(c.m, inner, NULL, &e), 0);
    assert_int_equal(meter_window_close(c.m, inner, &r, &e), EE_USAGE);
    assert_int_equal(meter_window_open(c.m, "orphan", inner, &e), EE_USAGE);
    int again = open_window(c.m, "again", outer); /* takes inner's place, not its id */
    assert_int_not_equal(again, inner);
    assert_int_equal(meter_window_close(c.m, inner, &r, &e), EE_USAGE);
    close_into(c.m, again, &r);
    close_into(c.m, outer, &r);
    for (int i = 0; i < METER_MAX_WINDOWS; i++) {
        open_window(c.m, "many", METER_NO_PARENT);
    }
    assert_int_equal(meter_window_open(c.m, "one more", METER_NO_PARENT, &e), EE_FAIL);
    meter_stop(c.m);
}

static void a_window_inside_one_update_period_is_refused(void **state) {
    (void)state;
    static const char *const sources[] = {
        HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":90}}\n{\"t_s\":99,\"gpu0\":{\"w\":90}}\n",
        HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"j\":5}}\n{\"t_s\":99,\"gpu0\":{\"j\":5}}\n",
    };
    for (size_t i = 0; i < 2; i++) {
        struct fake_clock c = FAKE_CLOCK_INIT;
        struct meter_reading r;
        fake_replay(&c, sources[i]);
        fake_window(&c, 0.05, &r);
        assert_int_equal(r.c[0].quality, METER_MISSING);
        assert_true(r.c[0].refused);
        assert_true(isnan(r.c[0].joules));
        assert_non_null(strstr(r.c[0].reason, "two update periods"));
        meter_stop(c.m);
    }
}

static void a_short_window_says_so(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(
        &c,
        HEADER(
            "{\"name\":\"gpu0\",\"scope\":\"gpu\",\"update_ms\":1000}") "{\"t_s\":0,\"gpu0\":{\"w\":90}}\n{\"t_s\":99,\"gpu0\":{\"w\":90}}\n");
    fake_window(&c, 9.5, &r);
    assert_true(r.c[0].is_short);
    fake_window(&c, 10, &r);
    assert_false(r.c[0].is_short);
    fake_window(&c, 1.5, &r);
    assert_true(r.c[0].refused);
    meter_stop(c.m);
}

/* E1, by hand: 100 W, 10 s, gain 5 %, one second of memory. */
static void the_interval_is_gain_and_edge(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(
        &c,
        HEADER(
            "{\"name\":\"gpu0\",\"scope\":\"gpu\",\"update_ms\":1000,\"gain\":0.05}") "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    fake_window(&c, 10, &r);
    assert_close(r.c[0].edge_j, 100);
    assert_close(r.c[0].low_j, 1000 - 50 - 100);
    assert_close(r.c[0].high_j, 1000 + 50 + 100);
    meter_stop(c.m);
}

/* ---- faults ---- */

/* A counter that rises 100 W, recorded every 0.1 s from t0 to t1. */
static void add_counter(struct buf *b, double t0, double t1, double j0) {
    for (int i = 0; t0 + i / 10.0 <= t1 + 1e-9; i++) {
        buf_addf(b, "{\"t_s\":%.1f,\"gpu0\":{\"j\":%.1f}}\n", t0 + i / 10.0, j0 + 10.0 * i);
    }
}

static void a_counter_gives_its_difference(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    add_counter(&text, 0, 30, 123456);
    fake_replay(&c, text.data);
    fake_run_s(&c, 1);
    fake_window(&c, 20, &r);
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 2000);
    assert_close(r.c[0].mean_w, 100);
    assert_true(fabs(r.c[0].peak_w - 100) < 1e-6);
    buf_release(&text);
    meter_stop(c.m);
}

static void a_wrap_is_counted_through(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER("{\"name\":\"gpu0\",\"scope\":\"gpu\",\"wrap_j\":262143.32885}"));
    add_counter(&text, 0, 9.4, 261200);
    add_counter(&text, 9.5, 30, 261200 + 950 - 262143.32885);
    fake_replay(&c, text.data);
    fake_window(&c, 20, &r);
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_true(fabs(r.c[0].joules - 2000) < 0.2); /* the recording has tenths of a joule */
    buf_release(&text);
    meter_stop(c.m);
}

static void a_counter_that_goes_back_is_no_wrap(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER("{\"name\":\"gpu0\",\"scope\":\"gpu\",\"wrap_j\":262143.32885}"));
    add_counter(&text, 0, 10, 50000);
    add_counter(&text, 10.1, 60, 0);
    fake_replay(&c, text.data);
    fake_window(&c, 20, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "went back"));
    assert_true(isnan(r.c[0].joules));
    fake_window(&c, 20, &r); /* and the next one is fine */
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 2000);
    buf_release(&text);
    meter_stop(c.m);
}

static void a_frozen_counter_is_missing_or_integrated(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    add_counter(&text, 0, 5, 0);
    buf_addstr(&text, "{\"t_s\":40,\"gpu0\":{\"j\":500}}\n");
    fake_replay(&c, text.data);
    fake_window(&c, 20, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "stood still"));
    meter_stop(c.m);

    /* With a power reading beside it there is a figure, and it says why it is not the counter's. */
    c = (struct fake_clock)FAKE_CLOCK_INIT;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"j\":7,\"w\":100}}\n"
                                 "{\"t_s\":40,\"gpu0\":{\"j\":7,\"w\":100}}\n");
    fake_window(&c, 20, &r);
    assert_int_equal(r.c[0].quality, METER_INTEGRATED);
    assert_close(r.c[0].joules, 2000);
    assert_non_null(strstr(r.c[0].reason, "stood still"));
    assert_string_equal(r.c[0].source, "replayed power");
    buf_release(&text);
    meter_stop(c.m);
}

/* Too short to call it frozen, long enough that it should have moved: still never 0 J. */
static void a_counter_that_does_not_move_is_not_zero(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(&c,
                HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"j\":7}}\n{\"t_s\":40,\"gpu0\":{\"j\":7}}\n");
    fake_window(&c, 1, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_false(r.c[0].refused);
    assert_non_null(strstr(r.c[0].reason, "did not move"));
    meter_stop(c.m);
}

/* 300 W until the window opens, 100 W inside; the sample before lies 40 ms outside. */
static void a_peak_is_of_the_window(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    for (int i = 0; i <= 2000; i++) {
        int j = i <= 504 ? 3 * i : 3 * 504 + (i - 504);
        buf_addf(&text, "{\"t_s\":%.2f,\"gpu0\":{\"j\":%d}}\n", i / 100.0, j);
    }
    fake_replay(&c, text.data);
    fake_run_s(&c, 5.04);
    fake_window(&c, 10, &r);
    assert_close(r.c[0].joules, 1000);
    assert_close(r.c[0].peak_w, 100);
    buf_release(&text);
    meter_stop(c.m);
}

/* Read 10 ms apart around one of its steps, a counter seems to show 1000 W. It does not. */
static void a_step_of_the_counter_is_no_peak(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"j\":0}}\n");
    for (int i = 1; i <= 200; i++) {
        buf_addf(&text, "{\"t_s\":%.3f,\"gpu0\":{\"j\":%d}}\n", i / 10.0 + 0.005, 10 * i);
    }
    fake_replay(&c, text.data);
    int id = open_window(c.m, "steps", METER_NO_PARENT);
    fake_run_s(&c, 5);
    fake_step_ns(&c, 10 * NS_PER_MS);
    fake_run_s(&c, 5);
    close_into(c.m, id, &r);
    assert_true(r.c[0].peak_w >= 100 && r.c[0].peak_w < 200);
    buf_release(&text);
    meter_stop(c.m);
}

static void a_counter_that_froze_and_went_on_is_not_trusted(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    add_counter(&text, 0, 5, 0);
    add_counter(&text, 12, 30, 500);
    fake_replay(&c, text.data);
    fake_window(&c, 20, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "stood still for 7"));
    buf_release(&text);
    meter_stop(c.m);
}

/* Taken as 0 and then as a wrap, this read would cost a quarter of a megajoule. */
static void a_failed_read_makes_the_window_missing(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER("{\"name\":\"gpu0\",\"scope\":\"gpu\",\"wrap_j\":262143.32885}"));
    add_counter(&text, 0, 10, 0);
    buf_addstr(&text, "{\"t_s\":10.1,\"gpu0\":{\"error\":\"GPU is lost\"}}\n");
    add_counter(&text, 10.2, 60, 1020);
    fake_replay(&c, text.data);
    int outer = open_window(c.m, "outer", METER_NO_PARENT);
    fake_window(&c, 8, &r);
    assert_close(r.c[0].joules, 800);
    fake_run_s(&c, 4);
    fake_window(&c, 8, &r);
    assert_close(r.c[0].joules, 800);
    close_into(c.m, outer, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "GPU is lost"));
    assert_true(isnan(r.c[0].joules) && isnan(r.c[0].low_j) && isnan(r.c[0].mean_w));
    buf_release(&text);
    meter_stop(c.m);
}

static void a_sensor_may_appear_late_and_leave_early(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(&c, HEADER(GPU0 "," CPU) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n"
                                         "{\"t_s\":3,\"cpu\":{\"w\":30}}\n"
                                         "{\"t_s\":30,\"gpu0\":{\"w\":100},\"cpu\":{\"w\":30}}\n");
    fake_window(&c, 10, &r); /* opened before the CPU's sensor was there */
    assert_close(r.c[0].joules, 1000);
    assert_int_equal(r.c[1].quality, METER_MISSING);
    assert_non_null(strstr(r.c[1].reason, "when the window opened"));
    assert_non_null(strstr(r.c[1].reason, "begins at 3.000 s"));
    fake_window(&c, 10, &r);
    assert_close(r.c[1].joules, 300);
    fake_window(&c, 20, &r); /* the recording ends inside */
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "ended at 30.000 s"));
    meter_stop(c.m);
}

static void counter_and_integral_are_compared(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    for (int i = 0; i <= 300; i++) {
        buf_addf(&text, "{\"t_s\":%.1f,\"gpu0\":{\"j\":%d,\"w\":97}}\n", i / 10.0, 10 * i);
    }
    fake_replay(&c, text.data);
    fake_window(&c, 20, &r);
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 2000);
    assert_true(r.c[0].has_disagreement);
    assert_close(r.c[0].disagreement, -0.03);
    buf_release(&text);
    meter_stop(c.m);
}

/* ---- totals ---- */

static void a_job_pays_for_its_gpus(void **state) {
    (void)state;
    static const char *const one[] = {"gpu1"};
    static const char *const both[] = {"gpu0", "gpu1"};
    static const char *const lost[] = {"gpu0", "gpu7"};
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_total t;
    fake_replay(
        &c,
        HEADER(
            GPU0
            "," GPU1
            "," CPU) "{\"t_s\":0,\"gpu0\":{\"w\":100},\"gpu1\":{\"w\":250},\"cpu\":{\"w\":40}}\n"
                     "{\"t_s\":99,\"gpu0\":{\"w\":100},\"gpu1\":{\"w\":250},\"cpu\":{\"w\":40}}\n");
    fake_window(&c, 10, &r);
    meter_total(&r, one, 1, &t);
    assert_close(t.joules, 2500);
    assert_string_equal(t.scope, "GPU only");
    meter_total(&r, both, 2, &t);
    assert_close(t.joules, 3500);
    assert_close(t.mean_w, 350);
    assert_close(t.low_j, r.c[0].low_j + r.c[1].low_j);
    assert_close(t.high_j, r.c[0].high_j + r.c[1].high_j);
    assert_close(t.gain_j, 0.05 * 3500);
    meter_total(&r, NULL, 0, &t);
    assert_close(t.joules, 3900);
    assert_string_equal(t.scope, "GPU + CPU");
    meter_total(&r, lost, 2, &t);
    assert_int_equal(t.quality, METER_MISSING);
    assert_true(isnan(t.joules));
    assert_string_equal(t.reason, "gpu7: no such component");
    meter_stop(c.m);
}

static void a_total_is_as_good_as_its_worst_part(void **state) {
    (void)state;
    static const char *const gpu[] = {"gpu0"};
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_total t;
    fake_replay(
        &c,
        HEADER(
            GPU0
            ",{\"name\":\"cpu\",\"scope\":\"cpu\",\"modelled\":true,\"gain\":0.4}") "{\"t_s\":0,\"gpu0\":{\"w\":100},\"cpu\":{\"w\":40}}\n"
                                                                                    "{\"t_s\":25,\"cpu\":{\"error\":\"broken\"}}\n"
                                                                                    "{\"t_s\":99,\"gpu0\":{\"w\":100},\"cpu\":{\"w\":40}}\n");
    fake_window(&c, 10, &r);
    meter_total(&r, NULL, 0, &t);
    assert_int_equal(t.quality, METER_MODELLED);
    assert_string_equal(t.scope, "GPU + CPU (modelled)");
    assert_close(t.gain_j, 50 + 160);
    fake_window(&c, 20, &r);
    meter_total(&r, NULL, 0, &t);
    assert_int_equal(t.quality, METER_MISSING);
    assert_string_equal(t.scope, "GPU + CPU (modelled)"); /* the same parts as before */
    assert_true(isnan(t.joules) && isnan(t.low_j) && isnan(t.high_j));
    assert_non_null(strstr(t.reason, "cpu: "));
    assert_non_null(strstr(t.reason, "broken"));
    meter_total(&r, gpu, 1, &t); /* what can be told is still told */
    assert_close(t.joules, 2000);
    meter_stop(c.m);
}

static void no_sensor_is_missing_not_zero(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_opts opts = {.source = "null"};
    struct meter_reading r;
    struct meter_total t;
    double w = -1, j = -1;
    enum meter_quality q;
    fake_meter(&c, &opts);
    fake_window(&c, 10, &r);
    assert_int_equal(r.n, 0);
    meter_total(&r, NULL, 0, &t);
    assert_int_equal(t.quality, METER_MISSING);
    assert_true(isnan(t.joules));
    assert_string_equal(t.reason, "no energy sensor is in use");
    assert_false(meter_live(c.m, &w, &j, &q));
    assert_true(w == -1);
    meter_stop(c.m);
}

static void one_modelled_part_is_named_alone(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_total t;
    fake_replay(
        &c,
        HEADER(
            "{\"name\":\"cpu\",\"scope\":\"cpu\",\"modelled\":true},"
            "{\"name\":\"dram\",\"scope\":\"dram\"}") "{\"t_s\":0,\"cpu\":{\"w\":40},\"dram\":{\"w\":4}}\n"
                                                      "{\"t_s\":99,\"cpu\":{\"w\":40},\"dram\":{\"w\":4}}\n");
    fake_window(&c, 10, &r);
    meter_total(&r, (const char *const[]){"cpu"}, 1, &t);
    assert_string_equal(t.scope, "CPU (modelled)");
    meter_total(&r, (const char *const[]){"dram"}, 1, &t);
    assert_string_equal(t.scope, "DRAM only");
    meter_total(&r, NULL, 0, &t);
    assert_string_equal(t.scope, "CPU (modelled) + DRAM");
    assert_int_equal(t.quality, METER_MODELLED);
    meter_stop(c.m);
}

/* ---- live, start ---- */

static void live_figures_follow_the_samples(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    double w, j;
    enum meter_quality q;
    fake_replay(&c, HEADER(GPU0 "," CPU) "{\"t_s\":0,\"gpu0\":{\"w\":100},\"cpu\":{\"w\":20}}\n"
                                         "{\"t_s\":20,\"cpu\":{\"error\":\"gone\"}}\n"
                                         "{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    fake_run_s(&c, 10);
    assert_true(meter_live(c.m, &w, &j, &q));
    assert_close(w, 120);
    assert_close(j, 1200);
    assert_int_equal(q, METER_INTEGRATED);
    fake_run_s(&c, 15);
    assert_true(meter_live(c.m, &w, &j, &q));
    assert_close(w, 100);
    assert_int_equal(q, METER_MISSING); /* a part of the whole */
    meter_stop(c.m);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    static const struct {
        struct meter_opts opts;
        int code;
        const char *says;
    } cases[] = {
        {{.period_ms = 5}, EE_USAGE, "10 to 10000"},
        {{.source = "tea leaves"}, EE_USAGE, "tea leaves"},
        {{.source = "replay"}, EE_USAGE, "replay:PATH"},
        {{.source = "replay:/nonexistent.jsonl"}, EE_MISSING, "/nonexistent.jsonl"},
        {{.source = "nvml", .nvml_path = "/nonexistent.so"}, EE_MISSING, "driver"},
        {{.source = "powercap", .sysfs_root = "/nonexistent"}, EE_MISSING, "RAPL"},
        {{.source = "model,model"}, EE_USAGE, "twice"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = ERR_INIT;
        struct meter *m;
        assert_int_equal(meter_start(&m, &cases[i].opts, &e), cases[i].code);
        assert_null(m);
        if (!strstr(e.msg, cases[i].says)) {
            fail_msg("\"%s\" does not say \"%s\"", e.msg, cases[i].says);
        }
    }
    meter_stop(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_power_is_power_times_time),
        cmocka_unit_test(a_window_without_a_sample_inside_still_has_its_edges),
        cmocka_unit_test(falling_power_counts),
        cmocka_unit_test(time_is_measured_not_assumed),
        cmocka_unit_test(a_step_between_samples_is_within_the_edge_error),
        cmocka_unit_test(a_long_window_is_not_cut),
        cmocka_unit_test(a_gap_lowers_coverage_and_widens_the_interval),
        cmocka_unit_test(nested_windows_have_their_own_energy),
        cmocka_unit_test(windows_refuse_misuse),
        cmocka_unit_test(a_window_inside_one_update_period_is_refused),
        cmocka_unit_test(a_short_window_says_so),
        cmocka_unit_test(the_interval_is_gain_and_edge),
        cmocka_unit_test(a_counter_gives_its_difference),
        cmocka_unit_test(a_wrap_is_counted_through),
        cmocka_unit_test(a_counter_that_goes_back_is_no_wrap),
        cmocka_unit_test(a_frozen_counter_is_missing_or_integrated),
        cmocka_unit_test(a_counter_that_does_not_move_is_not_zero),
        cmocka_unit_test(a_peak_is_of_the_window),
        cmocka_unit_test(a_step_of_the_counter_is_no_peak),
        cmocka_unit_test(a_counter_that_froze_and_went_on_is_not_trusted),
        cmocka_unit_test(a_failed_read_makes_the_window_missing),
        cmocka_unit_test(a_sensor_may_appear_late_and_leave_early),
        cmocka_unit_test(counter_and_integral_are_compared),
        cmocka_unit_test(a_job_pays_for_its_gpus),
        cmocka_unit_test(a_total_is_as_good_as_its_worst_part),
        cmocka_unit_test(no_sensor_is_missing_not_zero),
        cmocka_unit_test(one_modelled_part_is_named_alone),
        cmocka_unit_test(live_figures_follow_the_samples),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
