/* CPU packages and DRAM by powercap, in a fake sysfs. */
#include "support/energy_fake.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define INTEL_RANGE 262143328850ULL
#define AMD_RANGE 65532610987ULL

struct machine {
    struct fake_root root;
    struct fake_clock clock;
};

static int setup(void **state) {
    static struct machine m;
    m = (struct machine){.clock = FAKE_CLOCK_INIT};
    fake_root_make(&m.root);
    fake_write(&m.root, "proc/cpuinfo",
               "processor\t: 0\nvendor_id\t: GenuineIntel\n"
               "model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz\n"
               "physical id\t: 0\n");
    fake_write(&m.root, "proc/stat", "cpu  100 0 0 100 0 0 0\ncpu0 100 0 0 100 0 0 0\n");
    fake_write(&m.root, "proc/meminfo", "MemTotal: 1056784556 kB\n");
    *state = &m;
    return 0;
}

static int teardown(void **state) {
    struct machine *m = *state;
    meter_stop(m->clock.m);
    fake_root_remove(&m->root);
    return 0;
}

static void set_energy(struct machine *m, const char *zone, unsigned long long uj) {
    char path[128];
    snprintf(path, sizeof(path), "sys/class/powercap/%s/energy_uj", zone);
    fake_write(&m->root, path, "%llu\n", uj);
}

static void add_zone(struct machine *m, const char *zone, const char *name,
                     unsigned long long range, unsigned long long uj) {
    char path[128];
    snprintf(path, sizeof(path), "sys/class/powercap/%s/name", zone);
    fake_write(&m->root, path, "%s\n", name);
    snprintf(path, sizeof(path), "sys/class/powercap/%s/max_energy_range_uj", zone);
    fake_write(&m->root, path, "%llu\n", range);
    set_energy(m, zone, uj);
}

static void start(struct machine *m, const char *source) {
    struct meter_opts opts = {
        .source = source, .sysfs_root = m->root.dir, .nvml_path = "/nonexistent.so"};
    fake_meter(&m->clock, &opts);
}

static int open_window(struct machine *m) {
    struct err e = ERR_INIT;
    int id = meter_window_open(m->clock.m, "window", METER_NO_PARENT, &e);
    assert_true(id >= 0);
    return id;
}

static void close_window(struct machine *m, int id, struct meter_reading *r) {
    struct err e = ERR_INIT;
    assert_int_equal(meter_window_close(m->clock.m, id, r, &e), 0);
}

/* One zone's counter rises at watts for tenths of a second. */
static void burn(struct machine *m, const char *zone, unsigned long long *uj, unsigned watts,
                 int tenths, unsigned long long range) {
    for (int i = 0; i < tenths; i++) {
        *uj += watts * 100000ULL;
        if (range && *uj >= range) {
            *uj -= range; /* as the driver: delta = range - old + new */
        }
        set_energy(m, zone, *uj);
        fake_run_s(&m->clock, 0.1);
    }
}

static void packages_and_dram_are_summed_and_nothing_else(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    struct meter_total t;
    static const char *const zones[][2] = {
        {"intel-rapl:0", "package-0"}, {"intel-rapl:0:0", "core"},    {"intel-rapl:0:1", "uncore"},
        {"intel-rapl:0:2", "dram"},    {"intel-rapl:1", "package-1"}, {"intel-rapl:1:0", "dram"},
        {"intel-rapl:2", "psys"},      {"dtpm", "package-9"},
    };
    for (size_t i = 0; i < 8; i++) {
        add_zone(m, zones[i][0], zones[i][1], INTEL_RANGE, 1000);
    }
    start(m, "auto");
    int id = open_window(m);
    for (int k = 1; k <= 100; k++) {
        for (unsigned i = 0; i < 8; i++) { /* 1, 2, 4, ... W: a sum says what is in it */
            set_energy(m, zones[i][0], 1000 + (unsigned)k * (100000ULL << i));
        }
        fake_run_s(&m->clock, 0.1);
    }
    close_window(m, id, &r);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.c[0].name, "cpu");
    assert_string_equal(r.c[0].source, "powercap");
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 10 * (1 + 16));
    assert_close(r.c[0].gain, 0.05);
    assert_string_equal(r.c[1].name, "dram");
    assert_close(r.c[1].joules, 10 * (8 + 32));
    assert_close(r.c[1].gain, 0.10);
    meter_total(&r, NULL, 0, &t);
    assert_string_equal(t.scope, "CPU + DRAM");
    assert_close(t.joules, 10 * (1 + 16 + 8 + 32));
    assert_close(r.c[0].peak_w, 17);
}

static void psys_alone_is_no_cpu(void **state) {
    struct machine *m = *state;
    struct meter_component info;
    add_zone(m, "intel-rapl:0", "psys", INTEL_RANGE, 5);
    start(m, "auto");
    assert_int_equal(meter_n_components(m->clock.m), 1);
    meter_component_info(m->clock.m, 0, &info);
    assert_true(info.modelled);
}

/* Memory has a figure where it has a counter; its size is no sign of its power. */
static void dram_without_a_counter_is_not_invented(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    fake_write(&m->root, "run/.containerenv", "\n");
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, 0);
    start(m, "auto");
    unsigned long long uj = 0;
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 10, 100, 0);
    close_window(m, id, &r);
    assert_int_equal(r.n, 1);
    assert_string_equal(r.c[0].name, "cpu");
    assert_true(r.c[0].shared); /* and what is measured is the host's, which the reading says */
    assert_non_null(strstr(r.c[0].detail, "whole machine"));
}

/* The host's DRAM is no container's alone: the figure says so, and nobody is billed for it. */
static void dram_of_the_host_is_no_container_s(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    fake_write(&m->root, "run/.containerenv", "\n");
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, 0);
    add_zone(m, "intel-rapl:0:0", "dram", INTEL_RANGE, 0);
    start(m, "auto");
    unsigned long long uj = 0;
    int id = open_window(m);
    burn(m, "intel-rapl:0:0", &uj, 10, 100, 0);
    close_window(m, id, &r);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.c[1].name, "dram");
    assert_true(r.c[0].shared && r.c[1].shared);
    assert_non_null(strstr(r.c[1].detail, "whole machine"));
}

static void mmio_twins_are_one_package(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    struct meter_component info;
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, 0);
    add_zone(m, "intel-rapl-mmio:0", "package-0", INTEL_RANGE, 0);
    add_zone(m, "intel-rapl:0:0", "dram", INTEL_RANGE, 0);
    start(m, "powercap");
    unsigned long long mmio = 0;
    int id = open_window(m);
    burn(m, "intel-rapl-mmio:0", &mmio, 40, 100, 0);
    close_window(m, id, &r);
    assert_close(r.c[0].joules, 400);
    meter_component_info(m->clock.m, 0, &info);
    assert_string_equal(info.detail, "intel-rapl-mmio:0");
    assert_int_equal(r.n, 2); /* DRAM has no twin and stays */
}

static void an_unreadable_twin_gives_way(void **state) {
    struct machine *m = *state;
    struct meter_component info;
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, 0);
    fake_write(&m->root, "sys/class/powercap/intel-rapl-mmio:0/name", "package-0\n");
    fake_mkdir(&m->root, "sys/class/powercap/intel-rapl-mmio:0/energy_uj");
    start(m, "powercap");
    meter_component_info(m->clock.m, 0, &info);
    assert_string_equal(info.detail, "intel-rapl:0");
    assert_false(info.unreadable);
}

static void dies_are_summed_on_intel_and_mirrors_on_amd(void **state) {
    struct machine *m = *state;
    struct meter_component info;
    static const char *const zones[][2] = {{"intel-rapl:0", "package-0-die-0"},
                                           {"intel-rapl:1", "package-0-die-1"},
                                           {"intel-rapl:2", "package-1-die-0"},
                                           {"intel-rapl:3", "package-1-die-1"}};
    for (size_t i = 0; i < 4; i++) {
        add_zone(m, zones[i][0], zones[i][1], AMD_RANGE, 0);
    }
    start(m, "powercap");
    meter_component_info(m->clock.m, 0, &info);
    assert_string_equal(info.detail, "intel-rapl:0, intel-rapl:1, intel-rapl:2, intel-rapl:3");
    meter_stop(m->clock.m);
    fake_write(&m->root, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\n");
    start(m, "powercap");
    meter_component_info(m->clock.m, 0, &info);
    assert_string_equal(info.detail, "intel-rapl:0, intel-rapl:2");
}

static void wraps_are_counted_through(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    unsigned long long uj = AMD_RANGE - 500000000; /* 500 J before the end */
    add_zone(m, "intel-rapl:0", "package-0", AMD_RANGE, uj);
    start(m, "powercap");
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 280, 5000, AMD_RANGE); /* 500 s at 280 W: three wraps */
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 280 * 500.0);
}

static void a_reset_is_no_wrap(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    unsigned long long uj = 30000000000;
    add_zone(m, "intel-rapl:0", "package-0", AMD_RANGE, uj);
    start(m, "powercap");
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 100, 50, 0);
    uj = 0;
    burn(m, "intel-rapl:0", &uj, 100, 50, 0);
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "intel-rapl:0 went back"));
}

/* Left alone for longer than a wrap can take, the counter proves nothing. */
static void a_late_read_is_no_wrap_either(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    unsigned long long uj = 0;
    add_zone(m, "intel-rapl:0", "package-0", AMD_RANGE, uj);
    start(m, "powercap");
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 100, 10, 0);
    set_energy(m, "intel-rapl:0", uj + 1000000);
    fake_step_ns(&m->clock, INT64_C(300000000000));
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "not read for 300 s"));
}

/* A failed read taken as 0, and then as a wrap, would be 262 kJ. */
static void a_failed_read_is_missing_and_no_phantom_wrap(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    unsigned long long uj = 90000000;
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, uj);
    start(m, "powercap");
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 50, 20, 0);
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj", "garbage\n");
    fake_run_s(&m->clock, 0.1);
    burn(m, "intel-rapl:0", &uj, 50, 20, 0);
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_true(isnan(r.c[0].joules));
    id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 50, 100, 0);
    close_window(m, id, &r);
    assert_close(r.c[0].joules, 500);
}

static void a_zone_may_leave_and_come_back(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    unsigned long long uj = 0;
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, uj);
    start(m, "powercap");
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 50, 20, 0);
    fake_unlink(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj");
    fake_run_s(&m->clock, 3);
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "is gone"));
    id = open_window(m); /* opened while it was away */
    burn(m, "intel-rapl:0", &uj, 50, 100, 0);
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "when the window opened"));
    id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 50, 100, 0);
    close_window(m, id, &r);
    assert_close(r.c[0].joules, 500);
}

static void a_frozen_counter_is_missing(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    unsigned long long uj = 77;
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, uj);
    start(m, "powercap");
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 0, 100, 0);
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "stood still"));
}

static void each_errno_has_words(void **state) {
    (void)state;
    char text[256];
    sensor_explain(EACCES, "/sys/class/powercap/intel-rapl:0/energy_uj", text, sizeof(text));
    assert_string_equal(text,
                        "/sys/class/powercap/intel-rapl:0/energy_uj may not be read by this user");
    sensor_explain(EPERM, "x", text, sizeof(text));
    assert_string_equal(text, "x may not be read by this user");
    sensor_explain(ENOENT, "x", text, sizeof(text));
    assert_string_equal(text, "x is gone");
    sensor_explain(EIO, "x", text, sizeof(text));
    assert_non_null(strstr(text, strerror(EIO)));
}

/* Root may read anything, so a directory stands in for the file that cannot be read. */
static void what_cannot_be_read_is_modelled_and_says_why(void **state) {
    struct machine *m = *state;
    struct meter_component info;
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/name", "package-0\n");
    fake_mkdir(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj");
    start(m, "auto");
    assert_int_equal(meter_n_components(m->clock.m), 1);
    meter_component_info(m->clock.m, 0, &info);
    assert_string_equal(info.source, "modelled");
    assert_non_null(strstr(info.detail, "instead of powercap: cannot read"));
}

static void asked_for_by_name_it_is_missing_until_it_can_be_read(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    struct meter_component info;
    unsigned long long uj = 5;
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/name", "package-0\n");
    fake_mkdir(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj");
    start(m, "powercap");
    meter_component_info(m->clock.m, 0, &info);
    assert_true(info.unreadable);
    fake_window(&m->clock, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "cannot read"));
    char path[256];
    snprintf(path, sizeof(path), "%s/sys/class/powercap/intel-rapl:0/energy_uj", m->root.dir);
    assert_int_equal(rmdir(path), 0);
    set_energy(m, "intel-rapl:0", uj); /* now it can */
    int id = open_window(m);
    burn(m, "intel-rapl:0", &uj, 50, 100, 0);
    close_window(m, id, &r);
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 500);
}

/* The real thing: a file that only its owner may read, seen by somebody else. */
static void permission_denied_names_the_command(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    char path[256];
    bool root = geteuid() == 0;
    add_zone(m, "intel-rapl:0", "package-0", INTEL_RANGE, 5);
    snprintf(path, sizeof(path), "%s/sys/class/powercap/intel-rapl:0/energy_uj", m->root.dir);
    assert_int_equal(chmod(path, 0), 0);
    if (root && seteuid(65534) != 0) {
        skip();
    }
    start(m, "powercap");
    fake_window(&m->clock, 10, &r);
    if (root) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason,
                           "energy_uj may not be read by this user; to fix it: sudo chmod a+r "
                           "/sys/class/powercap/intel-rapl*/energy_uj (until reboot), or sudo "
                           "setcap cap_dac_read_search+ep \"$(command -v edge-eval)\""));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(packages_and_dram_are_summed_and_nothing_else),
        CASE(psys_alone_is_no_cpu),
        CASE(dram_without_a_counter_is_not_invented),
        CASE(dram_of_the_host_is_no_container_s),
        CASE(mmio_twins_are_one_package),
        CASE(an_unreadable_twin_gives_way),
        CASE(dies_are_summed_on_intel_and_mirrors_on_amd),
        CASE(wraps_are_counted_through),
        CASE(a_reset_is_no_wrap),
        CASE(a_late_read_is_no_wrap_either),
        CASE(a_failed_read_is_missing_and_no_phantom_wrap),
        CASE(a_zone_may_leave_and_come_back),
        CASE(a_frozen_counter_is_missing),
        CASE(each_errno_has_words),
        CASE(what_cannot_be_read_is_modelled_and_says_why),
        CASE(asked_for_by_name_it_is_missing_until_it_can_be_read),
        CASE(permission_denied_names_the_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
