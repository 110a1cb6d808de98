/* Jetson's INA3221, ACPI power meters (Grace and nodes) and batteries, in a fake sysfs. */
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

#define HWMON "sys/class/hwmon/"
#define SUPPLY "sys/class/power_supply/"

static void set(struct fake_machine *m, const char *dir, const char *file, const char *value) {
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    fake_write(&m->root, path, "%s\n", value);
}

static void set_rail(struct fake_machine *m, int hwmon, int channel, const char *label, int mv,
                     int ma) {
    char dir[64];
    char file[32];
    char value[32];
    snprintf(dir, sizeof(dir), HWMON "hwmon%d", hwmon);
    set(m, dir, "name", "ina3221");
    snprintf(file, sizeof(file), "in%d_label", channel);
    set(m, dir, file, label);
    snprintf(file, sizeof(file), "in%d_input", channel);
    snprintf(value, sizeof(value), "%d", mv);
    set(m, dir, file, value);
    snprintf(file, sizeof(file), "curr%d_input", channel);
    snprintf(value, sizeof(value), "%d", ma);
    set(m, dir, file, value);
}

static void window(struct fake_machine *m, double seconds, struct meter_reading *r) {
    fake_window(&m->clock, seconds, r);
}

static void info_of(struct fake_machine *m, size_t i, struct meter_component *info) {
    meter_component_info(m->clock.m, i, info);
}

/* ---- INA3221 ---- */

static void an_orin_nano_has_one_input(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    struct meter_total t;
    set_rail(m, 1, 1, "VDD_IN", 5000, 1500);
    set_rail(m, 1, 2, "VDD_CPU_GPU_CV", 5000, 600); /* fed by the input: not added */
    set_rail(m, 1, 3, "VDD_SOC", 5000, 300);
    set(m, HWMON "hwmon0", "name", "gpu_thermal");
    fake_machine_start(m, "auto");
    window(m, 10, &r);
    assert_int_equal(r.n, 1); /* no CPU is modelled beside it */
    assert_string_equal(r.c[0].name, "module");
    assert_string_equal(r.c[0].scope, "module");
    assert_string_equal(r.c[0].source, "ina3221");
    assert_close(r.c[0].joules, 75);
    assert_close(r.c[0].gain, 0.02);
    assert_string_equal(r.c[0].detail, "the module's input: VDD_IN");
    meter_total(&r, NULL, 0, &t);
    assert_close(t.joules, 75);
}

static void an_agx_orin_is_a_sum_of_rails(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    set_rail(m, 3, 1, "VDD_GPU_SOC", 20000, 500);
    set_rail(m, 3, 2, "VDD_CPU_CV", 20000, 200);
    set_rail(m, 3, 3, "VIN_SYS_5V0", 5000, 1000);
    set_rail(m, 4, 2, "VDDQ_VDD2_1V8AO", 5000, 100);
    set(m, HWMON "hwmon3", "update_interval", "20");
    set(m, HWMON "hwmon3", "samples", "16");
    fake_machine_start(m, "ina3221");
    window(m, 10, &r);
    assert_close(r.c[0].joules, 10 * (10 + 4 + 5));
    assert_close(r.c[0].edge_j, 19 * 0.32); /* 16 samples of 20 ms are averaged */
}

static void unknown_rails_are_refused_and_named(void **state) {
    struct fake_machine *m = *state;
    struct meter_component info;
    struct meter_reading r;
    set_rail(m, 1, 1, "VDD_MYSTERY", 5000, 1000);
    set_rail(m, 1, 2, "VDD_CPU_CV", 5000, 1000);
    fake_machine_start(m, "ina3221");
    info_of(m, 0, &info);
    assert_string_equal(info.detail,
                        "which rails make the total is not known for: VDD_MYSTERY VDD_CPU_CV");
    window(m, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    fake_machine_start(m, "auto"); /* a model stands in, and says for what */
    info_of(m, 0, &info);
    assert_true(info.modelled);
    assert_non_null(strstr(info.detail, "instead of ina3221: which rails"));
}

static void a_rail_that_goes_away_or_talks_nonsense_is_missing(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    static const char *const bad[] = {"garbage", "", "99999999999999999999", "-4000000"};
    set_rail(m, 1, 1, "VDD_IN", 5000, 1000);
    fake_machine_start(m, "ina3221");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = ERR_INIT;
        int id = meter_window_open(m->clock.m, "window", METER_NO_PARENT, &e);
        fake_run_s(&m->clock, 3);
        set(m, HWMON "hwmon1", "curr1_input", bad[i]);
        fake_run_s(&m->clock, 1);
        set(m, HWMON "hwmon1", "curr1_input", "1000");
        fake_run_s(&m->clock, 3);
        assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
        assert_int_equal(r.c[0].quality, METER_MISSING);
        assert_true(isnan(r.c[0].joules));
    }
    window(m, 10, &r);
    assert_close(r.c[0].joules, 50);
    fake_unlink(&m->root, HWMON "hwmon1/in1_input");
    window(m, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
}

/* ---- ACPI ---- */

static void add_meter(struct fake_machine *m, int hwmon, const char *oem, long uw, int interval_ms,
                      bool legacy) {
    char dir[64];
    char value[32];
    snprintf(dir, sizeof(dir), HWMON "hwmon%d", hwmon);
    char sub[80];
    snprintf(sub, sizeof(sub), "%s%s", dir, legacy ? "/device" : "");
    set(m, legacy ? sub : dir, "name", "power_meter");
    set(m, sub, "power1_oem_info", oem);
    snprintf(value, sizeof(value), "%ld", uw);
    set(m, sub, "power1_average", value);
    snprintf(value, sizeof(value), "%d", interval_ms);
    set(m, sub, "power1_average_interval", value);
}

static void grace_sockets_are_summed_and_their_parts_are_not(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    struct meter_total t;
    for (int socket = 0; socket < 2; socket++) {
        static const char *const names[] = {"Module", "Grace", "CPU", "SysIO"};
        static const long uw[] = {500000000, 100000000, 60000000, 20000000};
        for (int k = 0; k < 4; k++) {
            char oem[64];
            snprintf(oem, sizeof(oem), "%s Power Socket %d", names[k], socket);
            add_meter(m, 4 * socket + k, oem, uw[k], 50, true);
        }
    }
    fake_machine_start(m, "auto");
    window(m, 10, &r);
    assert_int_equal(r.n, 1);
    assert_string_equal(r.c[0].name, "cpu");
    assert_close(r.c[0].joules, 2000);
    assert_close(r.c[0].edge_j, 200 * 0.05);
    meter_total(&r, NULL, 0, &t);
    assert_string_equal(t.scope, "CPU + DRAM only");
}

static void a_grace_that_tells_its_cpu_only(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    add_meter(m, 2, "CPU Power Socket 0", 60000000, 100, false);
    fake_machine_start(m, "auto");
    window(m, 10, &r);
    assert_close(r.c[0].joules, 600);
    assert_string_equal(r.c[0].scope, "cpu");
}

static void a_node_is_beside_its_parts_and_only_when_asked_for(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    struct meter_total t;
    struct err e = ERR_INIT;
    struct meter *meter;
    add_meter(m, 0, "", 400000000, 1000, true);
    fake_machine_start(m, "auto");
    window(m, 10, &r);
    assert_int_equal(r.n, 1); /* the model */
    fake_machine_start(m, "auto,acpi");
    window(m, 100, &r);
    assert_int_equal(r.n, 2);
    assert_close(fake_component(&r, "node")->joules, 40000);
    meter_total(&r, NULL, 0, &t);
    assert_close(t.joules, fake_component(&r, "cpu")->joules);
    fake_machine_start(m, "acpi"); /* when it is all there is, it is the total */
    window(m, 100, &r);
    meter_total(&r, NULL, 0, &t);
    assert_close(t.joules, 40000);
    assert_string_equal(t.scope, "node only");
    const struct meter_opts twice = {.source = "acpi,acpi", .sysfs_root = m->root.dir};
    assert_int_equal(meter_start(&meter, &twice, &e), EE_USAGE);
}

static void other_drivers_with_an_average_are_left_alone(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct meter *meter;
    const struct meter_opts opts = {.source = "acpi", .sysfs_root = m->root.dir};
    add_meter(m, 0, "", 90000000, 1000, false);
    set(m, HWMON "hwmon0", "name", "amdgpu");
    assert_int_equal(meter_start(&meter, &opts, &e), EE_MISSING);
    assert_non_null(strstr(e.msg, "shows no ACPI power meter"));
}

static void a_meter_that_fails_is_missing(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    add_meter(m, 0, "Grace Power Socket 0", 100000000, 50, true);
    add_meter(m, 1, "Grace Power Socket 1", 100000000, 50, true);
    fake_machine_start(m, "acpi");
    set(m, HWMON "hwmon1/device", "power1_average", "-5000000000");
    window(m, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING); /* never half of it */
    fake_unlink(&m->root, HWMON "hwmon1/device/power1_average");
    window(m, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "is gone"));
}

/* ---- batteries ---- */

static void add_battery(struct fake_machine *m, const char *name, const char *status) {
    char dir[64];
    snprintf(dir, sizeof(dir), SUPPLY "%s", name);
    set(m, dir, "type", "Battery");
    set(m, dir, "status", status);
}

static void a_laptop_on_its_battery(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    struct meter_total t;
    set(m, SUPPLY "AC", "type", "Mains");
    add_battery(m, "BAT0", "Discharging");
    set(m, SUPPLY "BAT0", "power_now", "12500000");
    add_battery(m, "BAT1", "Unknown"); /* the second one waits */
    set(m, SUPPLY "BAT1", "power_now", "0");
    add_battery(m, "hidpp_battery_0", "Discharging");
    set(m, SUPPLY "hidpp_battery_0", "scope", "Device");
    set(m, SUPPLY "hidpp_battery_0", "power_now", "99000000");
    fake_machine_start(m, "auto,battery");
    window(m, 100, &r);
    const struct component_reading *c = fake_component(&r, "battery");
    assert_close(c->joules, 1250);
    assert_close(c->coverage, 1); /* read once a second only */
    assert_true(c->whole);
    meter_total(&r, NULL, 0, &t);
    assert_string_equal(t.scope, "CPU (modelled)");
}

static void current_times_voltage_will_do(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    add_battery(m, "BAT0", "Discharging");
    set(m, SUPPLY "BAT0", "current_now", "-1500000"); /* some drivers sign a discharge */
    set(m, SUPPLY "BAT0", "voltage_now", "12000000");
    fake_machine_start(m, "battery");
    window(m, 100, &r);
    assert_close(r.c[0].joules, 1800);
}

static void on_mains_power_there_is_no_figure(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    struct meter_component info;
    struct err e = ERR_INIT;
    add_battery(m, "BAT0", "Charging");
    set(m, SUPPLY "BAT0", "power_now", "30000000");
    fake_machine_start(m, "battery");
    info_of(m, 0, &info);
    assert_true(info.unreadable);
    assert_non_null(strstr(info.detail, "on mains power"));
    assert_non_null(strstr(info.detail, "to fix it: unplug the power cord"));
    set(m, SUPPLY "BAT0", "status", "Discharging");
    window(m, 10, &r); /* began before the first reading */
    assert_int_equal(r.c[0].quality, METER_INTEGRATED);
    int id = meter_window_open(m->clock.m, "window", METER_NO_PARENT, &e);
    fake_run_s(&m->clock, 20);
    set(m, SUPPLY "BAT0", "status", "Full"); /* plugged in again */
    fake_run_s(&m->clock, 20);
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "on mains power"));
}

static void a_gauge_that_says_nothing_is_missing(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    add_battery(m, "BAT0", "Discharging");
    set(m, SUPPLY "BAT0", "power_now", "0");
    fake_machine_start(m, "battery");
    window(m, 20, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "the battery says 0 W"));
    fake_unlink(&m->root, SUPPLY "BAT0/power_now");
    window(m, 20, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
}

static void a_machine_without_them_says_so(void **state) {
    struct fake_machine *m = *state;
    static const char *const names[] = {"battery", "ina3221", "acpi"};
    for (size_t i = 0; i < 3; i++) {
        struct err e = ERR_INIT;
        struct meter *meter;
        const struct meter_opts opts = {.source = names[i], .sysfs_root = m->root.dir};
        assert_int_equal(meter_start(&meter, &opts, &e), EE_MISSING);
        assert_non_null(strstr(e.msg, "shows no "));
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fake_machine_setup, fake_machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(an_orin_nano_has_one_input),
        CASE(an_agx_orin_is_a_sum_of_rails),
        CASE(unknown_rails_are_refused_and_named),
        CASE(a_rail_that_goes_away_or_talks_nonsense_is_missing),
        CASE(grace_sockets_are_summed_and_their_parts_are_not),
        CASE(a_grace_that_tells_its_cpu_only),
        CASE(a_node_is_beside_its_parts_and_only_when_asked_for),
        CASE(other_drivers_with_an_average_are_left_alone),
        CASE(a_meter_that_fails_is_missing),
        CASE(a_laptop_on_its_battery),
        CASE(current_times_voltage_will_do),
        CASE(on_mains_power_there_is_no_figure),
        CASE(a_gauge_that_says_nothing_is_missing),
        CASE(a_machine_without_them_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
