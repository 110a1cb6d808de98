/* Idle baselines, and power traces. */
#include "support/energy_fake.h"

#include "base/clock.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HEADER(parts) "{\"edge_eval_power\":1,\"components\":[" parts "]}\n"
#define GPU0 "{\"name\":\"gpu0\",\"scope\":\"gpu\"}"

/* Power of mean_w +- spread_w, new every 0.1 s. */
static void add_noise(struct buf *b, double seconds, double mean_w, double spread_w) {
    struct rng rng;
    rng_init(&rng, 7);
    for (int i = 0; i <= (int)(seconds * 10); i++) {
        double w = mean_w + spread_w * (2 * rng_uniform(&rng) - 1);
        buf_addf(b, "{\"t_s\":%.1f,\"gpu0\":{\"w\":%.6f}}\n", i / 10.0, w);
    }
}

static void idle_stops_when_the_mean_is_known(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_idle idle;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    add_noise(&text, 100, 84, 3);
    fake_replay(&c, text.data);
    assert_int_equal(meter_measure_idle(c.m, 60, &idle, &e), 0);
    assert_true(idle.settled);
    assert_true(idle.seconds >= 5 && idle.seconds <= 10);
    assert_int_equal(idle.n, 1);
    assert_string_equal(idle.c[0].name, "gpu0");
    assert_true(fabs(idle.c[0].mean_w - 84) < 1);
    assert_true(idle.c[0].half_width_w > 0);
    assert_true(idle.c[0].half_width_w <= 0.02 * idle.c[0].mean_w);
    assert_false(meter_get_idle(c.m, &idle)); /* measuring does not install */
    buf_release(&text);
    meter_stop(c.m);
}

static void idle_that_never_settles_ends_with_the_time(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_idle idle;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    for (int i = 0; i < 100; i++) { /* 3 s at 50 W, 3 s at 150 W */
        buf_addf(&text, "{\"t_s\":%d,\"gpu0\":{\"w\":%d}}\n", 3 * i, i % 2 ? 150 : 50);
    }
    fake_replay(&c, text.data);
    assert_int_equal(meter_measure_idle(c.m, 20, &idle, &e), 0);
    assert_false(idle.settled);
    assert_close(idle.seconds, 20);
    assert_true(idle.c[0].half_width_w > 0.02 * idle.c[0].mean_w);
    buf_release(&text);
    meter_stop(c.m);
}

/* E4, by hand: 100 W for 10 s over an idle of 60 +- 0.5 W. */
static void idle_is_subtracted_with_its_own_error(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_total t;
    struct meter_idle idle = {.n = 1, .seconds = 10, .settled = true};
    struct meter_idle copy;
    strcpy(idle.c[0].name, "gpu0");
    idle.c[0].quality = METER_INTEGRATED;
    idle.c[0].mean_w = 60;
    idle.c[0].half_width_w = 0.5;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n"
                                 "{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    fake_window(&c, 10, &r);
    assert_false(r.c[0].has_idle);
    meter_set_idle(c.m, &idle);
    assert_true(meter_get_idle(c.m, &copy));
    assert_memory_equal(&copy, &idle, sizeof(idle));
    fake_window(&c, 10, &r);
    assert_true(r.c[0].has_idle);
    assert_close(r.c[0].joules, 1000);
    assert_close(r.c[0].idle_w, 60);
    assert_close(r.c[0].above_idle_j, 400);
    double half = 0.05 * 400 + 0.1 * 100 + 0.5 * 10; /* gain, edge, baseline */
    assert_close(r.c[0].above_idle_low_j, 400 - half);
    assert_close(r.c[0].above_idle_high_j, 400 + half);
    meter_total(&r, NULL, 0, &t);
    assert_true(t.has_idle);
    assert_close(t.above_idle_j, 400);
    meter_set_idle(c.m, NULL);
    fake_window(&c, 10, &r);
    assert_false(r.c[0].has_idle);
    meter_stop(c.m);
}

/* Of the machine with a model and without: parts added as a window's are. */
static void idle_power_adds_up_as_windows_do(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_total t;
    struct meter_idle idle = {.n = 2, .seconds = 10, .settled = true};
    strcpy(idle.c[0].name, "gpu0");
    strcpy(idle.c[1].name, "wall");
    idle.c[0] = (struct meter_idle_component){"gpu0", METER_COUNTER, 60, 0.5};
    idle.c[1] = (struct meter_idle_component){"wall", METER_INTEGRATED, 200, 1};
    fake_replay(
        &c,
        HEADER(
            GPU0
            ",{\"name\":\"wall\",\"scope\":\"wall\"}") "{\"t_s\":0,\"gpu0\":{\"w\":1},\"wall\":{\"w\":1}}\n");
    meter_idle_total(c.m, &idle, &t);
    assert_int_equal(t.quality, METER_INTEGRATED);
    assert_close(t.mean_w, 260);
    assert_close(t.high_j - t.low_j, 2 * (0.5 + 1 + 0.05 * 260));
    idle.c[1].quality = METER_MISSING;
    meter_idle_total(c.m, &idle, &t);
    assert_int_equal(t.quality, METER_MISSING);
    assert_non_null(strstr(t.reason, "wall: no idle power was measured"));
    meter_idle_total(c.m, NULL, &t);
    assert_int_equal(t.quality, METER_MISSING);
    assert_non_null(strstr(t.reason, "gpu0: no idle power was measured"));
    meter_stop(c.m);
}

static void energy_below_idle_is_negative_not_clipped(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_idle idle = {.n = 1};
    strcpy(idle.c[0].name, "gpu0");
    idle.c[0].quality = METER_COUNTER;
    idle.c[0].mean_w = 120;
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n"
                                 "{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    meter_set_idle(c.m, &idle);
    fake_window(&c, 10, &r);
    assert_close(r.c[0].above_idle_j, -200);
    assert_true(r.c[0].above_idle_low_j < -200 && r.c[0].above_idle_high_j > -200);
    meter_stop(c.m);
}

static void a_dead_component_has_no_baseline(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_idle idle;
    struct meter_reading r;
    fake_replay(
        &c,
        HEADER(
            GPU0
            ",{\"name\":\"cpu\",\"scope\":\"cpu\"}") "{\"t_s\":0,\"gpu0\":{\"w\":100},\"cpu\":{\"error\":\"denied\"}}\n"
                                                     "{\"t_s\":12,\"cpu\":{\"w\":10}}\n{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    assert_int_equal(meter_measure_idle(c.m, 10, &idle, &e), 0);
    assert_true(idle.settled); /* does not wait for what cannot be read */
    assert_int_equal(idle.c[1].quality, METER_MISSING);
    meter_set_idle(c.m, &idle);
    fake_run_s(&c, 10);
    fake_window(&c, 10, &r);
    assert_true(r.c[0].has_idle);
    assert_close(r.c[1].joules, 100);
    assert_false(r.c[1].has_idle);
    meter_stop(c.m);
}

static void idle_refuses_what_cannot_be(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_idle idle;
    struct meter_opts none = {.source = "null"};
    fake_meter(&c, &none);
    assert_int_equal(meter_measure_idle(c.m, 0, &idle, &e), EE_USAGE);
    assert_int_equal(meter_measure_idle(c.m, 5, &idle, &e), EE_MISSING);
    meter_stop(c.m);
}

/* ---- traces ---- */

static double trace_joules(const struct meter_trace_component *c) {
    double sum = 0;
    for (size_t i = 0; i < c->n_points; i++) {
        sum += c->points[i].joules;
    }
    return sum;
}

static void a_trace_is_bounded_and_keeps_every_joule(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_trace t;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    add_noise(&text, 1000, 200, 100);
    fake_replay(&c, text.data);
    int id = meter_trace_begin(c.m, 100, &e);
    assert_true(id >= 0);
    fake_window(&c, 777.7, &r);
    assert_int_equal(meter_trace_end(c.m, id, &t, &e), 0);
    assert_int_equal(t.n, 1);
    assert_true(t.c[0].n_points > 50 && t.c[0].n_points <= 100);
    assert_close(trace_joules(&t.c[0]), r.c[0].joules);
    assert_int_equal(t.c[0].points[0].start_ns, t.start_ns);
    assert_int_equal(t.c[0].points[t.c[0].n_points - 1].end_ns, t.end_ns);
    for (size_t i = 0; i + 1 < t.c[0].n_points; i++) {
        assert_int_equal(t.c[0].points[i].end_ns, t.c[0].points[i + 1].start_ns);
        assert_true(t.c[0].points[i].watts > 100 && t.c[0].points[i].watts < 300);
        int64_t first_ns = t.c[0].points[0].end_ns - t.c[0].points[0].start_ns;
        int64_t this_ns = t.c[0].points[i].end_ns - t.c[0].points[i].start_ns;
        assert_int_equal(this_ns, first_ns); /* evenly coarse, not coarser with age */
    }
    meter_trace_release(&t);
    assert_int_equal(meter_trace_end(c.m, id, &t, &e), EE_USAGE);
    buf_release(&text);
    meter_stop(c.m);
}

static void a_trace_of_a_counter_has_its_joules(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_trace t;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    for (int i = 0; i <= 3000; i++) {
        buf_addf(&text, "{\"t_s\":%.2f,\"gpu0\":{\"j\":%d}}\n", i / 100.0, 2 * i);
    }
    fake_replay(&c, text.data);
    fake_run_s(&c, 0.03); /* edges off the samples: short intervals join their neighbours */
    int id = meter_trace_begin(c.m, 1000, &e);
    fake_step_ns(&c, 20 * NS_PER_MS);
    fake_window(&c, 20.02, &r);
    assert_int_equal(meter_trace_end(c.m, id, &t, &e), 0);
    assert_close(trace_joules(&t.c[0]), r.c[0].joules + 4);
    assert_int_equal(t.c[0].points[t.c[0].n_points - 1].end_ns, t.end_ns);
    for (size_t i = 0; i < t.c[0].n_points; i++) {
        assert_true(t.c[0].points[i].end_ns - t.c[0].points[i].start_ns >= 50 * NS_PER_MS);
    }
    meter_trace_release(&t);
    buf_release(&text);
    meter_stop(c.m);
}

static void a_trace_can_be_played(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_trace t;
    struct meter_reading first, again;
    struct buf text;
    buf_init(&text);
    fake_replay(
        &c,
        HEADER(
            GPU0
            ",{\"name\":\"cpu\",\"scope\":\"cpu\"}") "{\"t_s\":0,\"gpu0\":{\"w\":300},\"cpu\":{\"error\":\"denied\"}}\n"
                                                     "{\"t_s\":7,\"gpu0\":{\"w\":80}}\n"
                                                     "{\"t_s\":99,\"gpu0\":{\"w\":80}}\n");
    int id = meter_trace_begin(c.m, 4096, &e);
    fake_window(&c, 20, &first);
    assert_int_equal(meter_trace_end(c.m, id, &t, &e), 0);
    meter_stop(c.m);
    assert_int_equal(meter_trace_to_replay(&t, &text, &e), 0);
    meter_trace_release(&t);

    c = (struct fake_clock)FAKE_CLOCK_INIT;
    fake_replay(&c, text.data);
    fake_window(&c, 20, &again);
    assert_true(fabs(again.c[0].joules - first.c[0].joules) <= first.c[0].edge_j);
    assert_int_equal(again.n, 1); /* without the one that could not be read */
    assert_string_equal(again.c[0].name, "gpu0");
    assert_string_equal(again.c[0].scope, "gpu");
    buf_release(&text);
    meter_stop(c.m);
}

static void traces_are_limited_and_droppable(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    fake_replay(&c,
                HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":1}}\n{\"t_s\":9,\"gpu0\":{\"w\":1}}\n");
    int ids[METER_MAX_TRACES];
    for (int i = 0; i < METER_MAX_TRACES; i++) {
        ids[i] = meter_trace_begin(c.m, 1, &e); /* at least 2 points, whatever is asked */
        assert_true(ids[i] >= 0);
    }
    assert_int_equal(meter_trace_begin(c.m, 8, &e), EE_FAIL);
    fake_run_s(&c, 3);
    assert_int_equal(meter_trace_end(c.m, ids[3], NULL, &e), 0);
    assert_true(meter_trace_begin(c.m, 8, &e) >= 0);
    meter_stop(c.m); /* frees what still runs */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_stops_when_the_mean_is_known),
        cmocka_unit_test(idle_that_never_settles_ends_with_the_time),
        cmocka_unit_test(idle_is_subtracted_with_its_own_error),
        cmocka_unit_test(idle_power_adds_up_as_windows_do),
        cmocka_unit_test(energy_below_idle_is_negative_not_clipped),
        cmocka_unit_test(a_dead_component_has_no_baseline),
        cmocka_unit_test(idle_refuses_what_cannot_be),
        cmocka_unit_test(a_trace_is_bounded_and_keeps_every_joule),
        cmocka_unit_test(a_trace_of_a_counter_has_its_joules),
        cmocka_unit_test(a_trace_can_be_played),
        cmocka_unit_test(traces_are_limited_and_droppable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
