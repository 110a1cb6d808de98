/* Where the width of an interval comes from (docs/energy.md, E1), and when samples are taken. */
#include "support/energy_fake.h"

#include "base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEADER(parts) "{\"edge_eval_power\":1,\"components\":[" parts "]}\n"
#define GPU0 "{\"name\":\"gpu0\",\"scope\":\"gpu\"}"

/* 100 W and 300 W in turn, a second each, for a minute. */
static void add_square(struct buf *b) {
    for (int i = 0; i < 60; i++) {
        buf_addf(b, "{\"t_s\":%d,\"gpu0\":{\"w\":%d}}\n", i, i % 2 ? 300 : 100);
    }
}

/* The edge is at the highest power seen, and each step between two samples is something that may
 * have come a sample earlier or later: 9 of 200 W in 100 ms. */
static void power_that_changes_widens_the_interval(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER(GPU0));
    add_square(&text);
    fake_replay(&c, text.data);
    fake_run_s(&c, 0.5);
    fake_window(&c, 9, &r);
    double step_j = 200 * 0.1;
    assert_close(r.c[0].edge_j, 0.1 * 300 + 2.5 * sqrt(9 * step_j * step_j / 2));
    assert_close(r.c[0].high_j, r.c[0].joules * 1.05 + r.c[0].edge_j);
    buf_release(&text);
    meter_stop(c.m);
}

static void steady_power_does_not(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(
        &c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    fake_window(&c, 10, &r);
    assert_close(r.c[0].edge_j, 0.1 * 100);
    meter_stop(c.m);
}

/* An average that still comes down from what was before: the edge is at that power. */
static void the_power_before_a_window_is_at_its_edge(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct err e = ERR_INIT;
    fake_replay(
        &c,
        HEADER(
            "{\"name\":\"gpu0\",\"scope\":\"gpu\",\"update_ms\":1000}") "{\"t_s\":0,\"gpu0\":{\"w\":600}}\n{\"t_s\":5.05,\"gpu0\":{\"w\":100}}\n"
                                                                        "{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    fake_run_s(&c, 5);
    int id = meter_window_open(c.m, "after", METER_NO_PARENT, &e);
    fake_run_s(&c, 20);
    assert_int_equal(meter_window_close(c.m, id, &r, &e), 0);
    assert_close(r.c[0].edge_j, 1.0 * 600 + 2.5 * sqrt(50 * 50 / 2.0));
    meter_stop(c.m);
}

/* It looks at a tenth of the time: a load in step with it would look steady. */
static void a_sensor_that_looks_away_is_not_believed_once_power_moved(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake_replay(
        &c,
        HEADER(
            "{\"name\":\"gpu0\",\"scope\":\"gpu\",\"duty\":0.1}") "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n{\"t_s\":15,\"gpu0\":{\"w\":300}}\n"
                                                                  "{\"t_s\":99,\"gpu0\":{\"w\":300}}\n");
    fake_window(&c, 10, &r);
    assert_close(r.c[0].edge_j, 0.1 * 100);
    assert_close(r.c[0].coverage, 0.1);
    fake_run_s(&c, 10);
    fake_window(&c, 10, &r);
    assert_close(r.c[0].edge_j, 0.1 * 300 + 0.9 * (300 - 100) / 2 * 10);
    meter_stop(c.m);
}

/* A counter that moves faster than it is asked: between two questions power is only a mean. */
static void a_counter_asked_rarely_has_twice_its_step_at_the_edge(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, HEADER("{\"name\":\"gpu0\",\"scope\":\"gpu\",\"update_ms\":1}"));
    for (int i = 0; i < 400; i++) {
        buf_addf(&text, "{\"t_s\":%.3f,\"gpu0\":{\"j\":%d}}\n", 0.05 * i, 5 * i);
    }
    fake_replay(&c, text.data);
    fake_window(&c, 10, &r);
    assert_close(r.c[0].joules, 1000);
    assert_close(r.c[0].edge_j, 2 * 0.001 * 100);
    buf_release(&text);
    meter_stop(c.m);
}

/* ---- when samples are taken ---- */

static void add_rail(struct fake_machine *m) {
    fake_write(&m->root, "sys/class/hwmon/hwmon1/name", "ina3221\n");
    fake_write(&m->root, "sys/class/hwmon/hwmon1/in1_label", "VDD_IN\n");
    fake_write(&m->root, "sys/class/hwmon/hwmon1/in1_input", "5000\n");
    fake_write(&m->root, "sys/class/hwmon/hwmon1/curr1_input", "1000\n");
}

/* Once a period, at no fixed moment of it, so that no load is seen at one phase alone. */
static void a_fast_power_sensor_is_sampled_at_random_moments(void **state) {
    struct fake_machine *m = *state;
    double sum = 0;
    double squares = 0;
    add_rail(m);
    fake_machine_start(m, "ina3221");
    const struct meter *meter = m->clock.m;
    assert_int_equal(meter->period_ns, 50 * NS_PER_MS);
    for (int i = 0; i < 2000; i++) {
        int64_t slot_ns = meter->start_ns + (i + 1) * meter->period_ns;
        assert_true(meter->due_ns >= slot_ns && meter->due_ns < slot_ns + meter->period_ns);
        double share = (double)(meter->due_ns - slot_ns) / (double)meter->period_ns;
        sum += share;
        squares += share * share;
        m->clock.now_ns = meter->due_ns;
        meter_plan_next(m->clock.m, meter->due_ns);
    }
    assert_true(fabs(sum / 2000 - 0.5) < 0.03);
    assert_true(fabs(squares / 2000 - 1.0 / 3) < 0.03);
    struct meter_stats stats;
    meter_stats(m->clock.m, &stats);
    assert_int_equal(stats.missed_deadlines, 0);
}

static void coverage_is_of_what_was_sampled(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    add_rail(m);
    fake_machine_start(m, "ina3221");
    fake_window(&m->clock, 10, &r);
    assert_close(r.c[0].coverage, 0.2); /* 10 ms of every 50 */
}

static void other_sensors_are_sampled_at_fixed_times(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_stats stats;
    fake_replay(
        &c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n{\"t_s\":99,\"gpu0\":{\"w\":100}}\n");
    assert_int_equal(c.m->period_ns, 100 * NS_PER_MS);
    for (int i = 1; i < 10; i++) {
        assert_int_equal(c.m->due_ns, c.m->start_ns + i * 100 * NS_PER_MS);
        meter_plan_next(c.m, c.m->due_ns + 99 * NS_PER_MS);
    }
    /* Three and a half periods late: three deadlines are gone, and the next one is on the grid. */
    meter_plan_next(c.m, c.m->due_ns + 350 * NS_PER_MS);
    meter_stats(c.m, &stats);
    assert_int_equal(stats.missed_deadlines, 3);
    assert_int_equal(c.m->due_ns, c.m->start_ns + 14 * 100 * NS_PER_MS);
    meter_stop(c.m);
}

#define ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, fake_machine_setup, fake_machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_that_changes_widens_the_interval),
        cmocka_unit_test(steady_power_does_not),
        cmocka_unit_test(the_power_before_a_window_is_at_its_edge),
        cmocka_unit_test(a_sensor_that_looks_away_is_not_believed_once_power_moved),
        cmocka_unit_test(a_counter_asked_rarely_has_twice_its_step_at_the_edge),
        ON_MACHINE(a_fast_power_sensor_is_sampled_at_random_moments),
        ON_MACHINE(coverage_is_of_what_was_sampled),
        cmocka_unit_test(other_sensors_are_sampled_at_fixed_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
