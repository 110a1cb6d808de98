/* CPU packages and DRAM by perf energy events: a fake sysfs, and a kernel of our own. */
#include "support/energy_fake.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PMU "sys/devices/power/"
#define UNIT 4294967296.0 /* 2^32 steps of the counter are a joule */
#define MAX_FDS 16

/* What the kernel was asked for; a counter's number is its file descriptor. */
static struct kernel {
    int open_errno, read_errno;
    size_t n, n_closed;
    struct {
        uint64_t config, value;
        uint32_t type;
        int cpu;
    } counters[MAX_FDS];
} kernel;

static int fake_open(void *ctx, const struct perf_event_attr *attr, int cpu) {
    struct kernel *k = ctx;
    if (k->open_errno || k->n == MAX_FDS) {
        errno = k->open_errno;
        return -1;
    }
    k->counters[k->n].config = attr->config;
    k->counters[k->n].type = attr->type;
    k->counters[k->n].cpu = cpu;
    return (int)k->n++;
}

static int fake_read(void *ctx, int fd, uint64_t *value) {
    const struct kernel *k = ctx;
    *value = k->counters[fd].value;
    return -k->read_errno;
}

static void fake_close(void *ctx, int fd) {
    (void)fd;
    ((struct kernel *)ctx)->n_closed++;
}

static struct meter_perf_calls calls = {fake_open, fake_read, fake_close, &kernel};

static void add_event(struct fake_machine *m, const char *name, const char *event) {
    char path[128];
    snprintf(path, sizeof(path), PMU "events/%s", name);
    fake_write(&m->root, path, "%s\n", event);
    snprintf(path, sizeof(path), PMU "events/%s.scale", name);
    fake_write(&m->root, path, "2.3283064365386962890625e-10\n");
}

static int setup(void **state) {
    int rc = fake_machine_setup(state);
    struct fake_machine *m = *state;
    memset(&kernel, 0, sizeof(kernel));
    m->perf = &calls;
    fake_write(&m->root, PMU "type", "21\n");
    fake_write(&m->root, PMU "cpumask", "0,28\n");
    add_event(m, "energy-pkg", "event=0x02");
    add_event(m, "energy-ram", "event=0x03");
    add_event(m, "energy-cores", "event=0x01");
    add_event(m, "energy-psys", "event=0x05");
    return rc;
}

/* Every counter rises at its own power: 10 W for the first, 20 W for the second, ... */
static void burn(struct fake_machine *m, int tenths) {
    for (int i = 0; i < tenths; i++) {
        for (size_t k = 0; k < kernel.n; k++) {
            kernel.counters[k].value += (uint64_t)((double)(k + 1) * UNIT);
        }
        fake_run_s(&m->clock, 0.1);
    }
}

static void window(struct fake_machine *m, int tenths, struct meter_reading *r) {
    struct err e = ERR_INIT;
    int id = meter_window_open(m->clock.m, "window", METER_NO_PARENT, &e);
    burn(m, tenths);
    assert_int_equal(meter_window_close(m->clock.m, id, r, &e), 0);
}

static void packages_and_dram_are_summed(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    fake_machine_start(m, "auto");
    assert_int_equal(kernel.n, 4);
    for (size_t k = 0; k < 4; k++) {
        assert_int_equal(kernel.counters[k].type, 21);
        assert_int_equal(kernel.counters[k].config, k < 2 ? 2 : 3);
        assert_int_equal(kernel.counters[k].cpu, k % 2 ? 28 : 0);
    }
    window(m, 100, &r);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.c[0].name, "cpu");
    assert_string_equal(r.c[0].source, "perf energy-pkg");
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_true(fabs(r.c[0].joules - 10 * (10 + 20)) < 1e-3);
    assert_string_equal(r.c[1].name, "dram");
    assert_true(fabs(r.c[1].joules - 10 * (30 + 40)) < 1e-3);
    meter_stop(m->clock.m);
    m->clock.m = NULL;
    assert_int_equal(kernel.n_closed, 4);
}

static void powercap_is_preferred(void **state) {
    struct fake_machine *m = *state;
    struct meter_component info;
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/name", "package-0\n");
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj", "5\n");
    fake_machine_start(m, "auto");
    assert_int_equal(kernel.n, 0);
    meter_component_info(m->clock.m, 0, &info);
    assert_string_equal(info.source, "powercap");
    struct err e = ERR_INIT;
    struct meter *both;
    struct meter_opts opts = {.source = "powercap,perf", .sysfs_root = m->root.dir, .perf = &calls};
    assert_int_equal(meter_start(&both, &opts, &e), EE_USAGE);
    assert_non_null(strstr(e.msg, "would count it twice"));
}

/* The door that is open is used, and the component says why the other one is not. */
static void it_stands_in_for_a_powercap_that_may_not_be_read(void **state) {
    struct fake_machine *m = *state;
    struct meter_component info;
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/name", "package-0\n");
    fake_mkdir(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj"); /* no file: unreadable */
    fake_machine_start(m, "auto");
    meter_component_info(m->clock.m, 0, &info);
    assert_string_equal(info.source, "perf energy-pkg");
    assert_false(info.unreadable);
    assert_non_null(strstr(info.detail, "instead of powercap: "));
}

static void the_dies_of_an_amd_package_are_one(void **state) {
    struct fake_machine *m = *state;
    fake_write(&m->root, "proc/cpuinfo", "vendor_id\t: AuthenticAMD\n");
    fake_write(&m->root, PMU "cpumask", "0-3,64\n");
    for (int cpu = 0; cpu <= 64; cpu++) {
        char path[96];
        snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%d/topology/physical_package_id",
                 cpu);
        fake_write(&m->root, path, "%d\n", cpu / 64);
    }
    fake_machine_start(m, "perf");
    assert_int_equal(kernel.n, 4);
    assert_int_equal(kernel.counters[0].cpu, 0);
    assert_int_equal(kernel.counters[1].cpu, 64);
}

/* Intel's dies have counters of their own. */
static void the_dies_of_an_intel_package_are_summed(void **state) {
    struct fake_machine *m = *state;
    fake_write(&m->root, PMU "cpumask", "0-1\n");
    fake_write(&m->root, "sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n");
    fake_write(&m->root, "sys/devices/system/cpu/cpu1/topology/physical_package_id", "0\n");
    fake_machine_start(m, "perf");
    assert_int_equal(kernel.n, 4);
}

static void permission_denied_names_the_command(void **state) {
    struct fake_machine *m = *state;
    struct meter_component info;
    struct meter_reading r;
    kernel.open_errno = EACCES;
    fake_machine_start(m, "perf");
    meter_component_info(m->clock.m, 0, &info);
    assert_true(info.unreadable);
    assert_non_null(strstr(info.detail, "perf energy events: Permission denied; to fix it: sudo "
                                        "sysctl kernel.perf_event_paranoid=0"));
    assert_non_null(strstr(info.detail, "cap_perfmon+ep"));
    window(m, 100, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_true(isnan(r.c[0].joules));
    kernel.open_errno = ENODEV;
    fake_machine_start(m, "perf");
    meter_component_info(m->clock.m, 0, &info);
    assert_null(strstr(info.detail, "to fix it"));
}

static void a_failed_read_is_missing_and_no_wrap(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    struct err e = ERR_INIT;
    fake_machine_start(m, "perf");
    int id = meter_window_open(m->clock.m, "window", METER_NO_PARENT, &e);
    burn(m, 20);
    kernel.read_errno = EIO;
    burn(m, 5);
    kernel.read_errno = 0;
    burn(m, 20);
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "cannot be read: Input/output error"));
    window(m, 100, &r);
    assert_true(fabs(r.c[0].joules - 300) < 1e-3);
}

static void a_counter_that_goes_back_is_missing(void **state) {
    struct fake_machine *m = *state;
    struct meter_reading r;
    struct err e = ERR_INIT;
    fake_machine_start(m, "perf");
    burn(m, 20);
    int id = meter_window_open(m->clock.m, "window", METER_NO_PARENT, &e);
    burn(m, 20);
    kernel.counters[1].value = 5;
    burn(m, 20);
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "which is no wrap"));
    assert_int_equal(r.c[1].quality, METER_COUNTER);
}

static void what_is_not_there_is_absent(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct meter *meter;
    const struct meter_opts opts = {.source = "perf", .sysfs_root = m->root.dir, .perf = &calls};
    static const char *const bad_masks[] = {"", "x", "3-1", "-2", "1,,2", "0-99999999", "1 2"};
    for (size_t i = 0; i < sizeof(bad_masks) / sizeof(bad_masks[0]); i++) {
        fake_write(&m->root, PMU "cpumask", "%s\n", bad_masks[i]);
        assert_int_equal(meter_start(&meter, &opts, &e), EE_MISSING);
        assert_non_null(strstr(e.msg, "has no energy events: on bare metal load the driver"));
    }
    fake_write(&m->root, PMU "cpumask", "0\n");
    fake_write(&m->root, PMU "events/energy-pkg", "umask=0x02\n");
    fake_write(&m->root, PMU "events/energy-ram.scale", "-1\n");
    assert_int_equal(meter_start(&meter, &opts, &e), EE_MISSING);
    assert_int_equal(kernel.n, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, fake_machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(packages_and_dram_are_summed),
        CASE(powercap_is_preferred),
        CASE(it_stands_in_for_a_powercap_that_may_not_be_read),
        CASE(the_dies_of_an_amd_package_are_one),
        CASE(the_dies_of_an_intel_package_are_summed),
        CASE(permission_denied_names_the_command),
        CASE(a_failed_read_is_missing_and_no_wrap),
        CASE(a_counter_that_goes_back_is_missing),
        CASE(what_is_not_there_is_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
