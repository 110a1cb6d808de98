/* The ring of samples behind time series. */
#include "support/energy_fake.h"

#include "base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HEADER(parts) "{\"edge_eval_power\":1,\"components\":[" parts "]}\n"
#define GPU0 "{\"name\":\"gpu0\",\"scope\":\"gpu\"}"
#define CPU "{\"name\":\"cpu\",\"scope\":\"cpu\"}"

static const char steady[] =
    HEADER(GPU0 "," CPU) "{\"t_s\":0,\"gpu0\":{\"w\":100},\"cpu\":{\"w\":20}}\n"
                         "{\"t_s\":5,\"gpu0\":{\"w\":300}}\n"
                         "{\"t_s\":1e6,\"gpu0\":{\"w\":300},\"cpu\":{\"w\":20}}\n";

static void begin(struct meter *m, size_t capacity) {
    struct err e = ERR_INIT;
    assert_int_equal(meter_samples_begin(m, capacity, &e), 0);
}

static void a_row_is_a_period(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_sample rows[128];
    fake_replay(&c, steady);
    int64_t start_ns = c.now_ns;
    begin(c.m, 128);
    fake_run_s(&c, 10);
    assert_int_equal(meter_samples_take(c.m, rows, 128), 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rows[i].t_ns, start_ns + (i + 1) * 100 * NS_PER_MS);
        double want = i < 49 ? 100 : i == 49 ? 200 : 300; /* trapezoid over the step */
        assert_close(rows[i].watts[0], want);
        assert_close(rows[i].watts[1], 20);
        assert_true(isnan(rows[i].watts[2]));
    }
    assert_int_equal(meter_samples_take(c.m, rows, 128), 0);
    assert_int_equal(meter_samples_end(c.m), 0);
    meter_stop(c.m);
}

/* Readings of edges lie between samples; their energy is in the row of the next one. */
static void edges_make_no_rows_and_lose_no_energy(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_sample rows[128];
    struct err e = ERR_INIT;
    struct meter_reading r;
    double joules = 0;
    int64_t last_ns = c.now_ns;
    fake_replay(&c, steady);
    begin(c.m, 128);
    int whole = meter_window_open(c.m, "whole", METER_NO_PARENT, &e);
    for (int i = 0; i < 20; i++) {
        struct meter_reading part;
        int id = meter_window_open(c.m, "part", METER_NO_PARENT, &e);
        c.now_ns += 30 * NS_PER_MS;
        assert_int_equal(meter_window_close(c.m, id, &part, &e), 0);
        fake_step_ns(&c, 70 * NS_PER_MS);
    }
    assert_int_equal(meter_window_close(c.m, whole, &r, &e), 0);
    size_t n = meter_samples_take(c.m, rows, 128);
    assert_int_equal(n, 20);
    for (size_t i = 0; i < n; i++) {
        joules += rows[i].watts[0] * clock_ns_to_s(rows[i].t_ns - last_ns);
        last_ns = rows[i].t_ns;
    }
    assert_close(joules, r.c[0].joules);
    meter_stop(c.m);
}

static void what_is_left_too_long_is_dropped_and_counted(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_sample rows[64];
    fake_replay(&c, steady);
    int64_t start_ns = c.now_ns;
    begin(c.m, 10);
    fake_run_s(&c, 1.5);
    assert_int_equal(meter_samples_take(c.m, rows, 4), 4); /* the oldest that are left */
    assert_int_equal(rows[0].t_ns, start_ns + 600 * NS_PER_MS);
    fake_run_s(&c, 0.4);
    assert_int_equal(meter_samples_take(c.m, rows, 64), 10);
    assert_int_equal(rows[0].t_ns, start_ns + 1000 * NS_PER_MS);
    assert_int_equal(rows[9].t_ns, start_ns + 1900 * NS_PER_MS);
    assert_int_equal(meter_samples_end(c.m), 5);
    meter_stop(c.m);
}

static void what_cannot_be_read_is_not_a_number(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_sample rows[64];
    fake_replay(&c, HEADER(GPU0) "{\"t_s\":0,\"gpu0\":{\"w\":100}}\n"
                                 "{\"t_s\":1.05,\"gpu0\":{\"error\":\"lost\"}}\n"
                                 "{\"t_s\":2.05,\"gpu0\":{\"w\":50}}\n"
                                 "{\"t_s\":9,\"gpu0\":{\"w\":50}}\n");
    begin(c.m, 64);
    fake_run_s(&c, 3);
    assert_int_equal(meter_samples_take(c.m, rows, 64), 30);
    for (int i = 0; i < 30; i++) {
        assert_true(isnan(rows[i].watts[0]) == (i >= 10 && i <= 20));
    }
    meter_stop(c.m);
}

static void a_day_of_ten_components_fits_64_mib(void **state) {
    (void)state;
    assert_true(meter_samples_bytes(10, 24 * 3600 * 10) <= 64u << 20);
}

static void misuse_is_refused(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_sample row;
    fake_replay(&c, steady);
    assert_int_equal(meter_samples_take(c.m, &row, 1), 0);
    assert_int_equal(meter_samples_begin(c.m, 0, &e), EE_USAGE);
    begin(c.m, 2);
    assert_int_equal(meter_samples_begin(c.m, 2, &e), EE_FAIL);
    assert_int_equal(meter_samples_end(c.m), 0);
    begin(c.m, 2); /* left to meter_stop */
    meter_stop(c.m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_a_period),
        cmocka_unit_test(edges_make_no_rows_and_lose_no_energy),
        cmocka_unit_test(what_is_left_too_long_is_dropped_and_counted),
        cmocka_unit_test(what_cannot_be_read_is_not_a_number),
        cmocka_unit_test(a_day_of_ten_components_fits_64_mib),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
