/* What doctor finds out: states, reasons and remedies; timing; what joules are worth. */
#include "support/energy_fake.h"

#include "base/clock.h"
#include "energy/note.h"
#include "energy/probe.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct probe_sensor sensors[PROBE_MAX_SENSORS];
static size_t n_sensors;

/* A kernel whose energy counters move 1 J every 5 ms of real time. */
static int open_errno;

static int fake_open(void *ctx, const struct perf_event_attr *attr, int cpu) {
    (void)ctx;
    (void)attr;
    (void)cpu;
    errno = open_errno;
    return open_errno ? -1 : 0;
}

static int fake_read(void *ctx, int fd, uint64_t *value) {
    (void)ctx;
    (void)fd;
    *value = (uint64_t)(clock_mono_ns() / (5 * NS_PER_MS)) << 32;
    return 0;
}

static void fake_close(void *ctx, int fd) {
    (void)ctx;
    (void)fd;
}

static const struct meter_perf_calls calls = {fake_open, fake_read, fake_close, NULL};

static int setup(void **state) {
    open_errno = 0;
    return fake_machine_setup(state);
}

static const struct probe_sensor *probe(struct fake_machine *m, const char *name,
                                        bool with_timing) {
    const struct meter_opts mo = {
        .sysfs_root = m->root.dir, .nvml_path = "/nonexistent.so", .perf = &calls};
    const struct probe_opts opts = {.meter = &mo, .with_timing = with_timing};
    n_sensors = probe_sensors(&opts, sensors);
    for (size_t i = 0; i < n_sensors; i++) {
        if (strcmp(sensors[i].name, name) == 0) {
            return &sensors[i];
        }
    }
    fail_msg("no sensor %s", name);
    return NULL;
}

static void add_pmu(struct fake_machine *m) {
    fake_write(&m->root, "sys/devices/power/type", "21\n");
    fake_write(&m->root, "sys/devices/power/cpumask", "0\n");
    fake_write(&m->root, "sys/devices/power/events/energy-pkg", "event=0x02\n");
    fake_write(&m->root, "sys/devices/power/events/energy-pkg.scale",
               "2.3283064365386962890625e-10\n");
}

static void every_sensor_is_told_of(void **state) {
    static const char *const names[] = {"nvml",  "powercap", "perf", "ina3221", "acpi",
                                        "model", "battery",  "ipmi", "redfish"};
    struct fake_machine *m = *state;
    probe(m, "model", false);
    assert_int_equal(n_sensors, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < n_sensors; i++) {
        assert_string_equal(sensors[i].name, names[i]);
        assert_true(strlen(sensors[i].what) > 10);
        bool is_model = strcmp(names[i], "model") == 0;
        assert_int_equal(sensors[i].state, is_model ? PROBE_FOUND : PROBE_ABSENT);
        assert_true(is_model || sensors[i].why[0]);
    }
    assert_string_equal(probe_state_name(PROBE_REFUSED), "refused");
}

static void what_is_absent_has_a_remedy_that_fits_the_machine(void **state) {
    struct fake_machine *m = *state;
    assert_string_equal(probe(m, "powercap", false)->fix, "sudo modprobe intel_rapl_msr");
    assert_string_equal(probe(m, "perf", false)->fix, "sudo modprobe rapl");
    assert_string_equal(probe(m, "nvml", false)->fix, ""); /* there is no such GPU */
    fake_write(&m->root, "run/.containerenv", "\n");
    assert_non_null(strstr(probe(m, "powercap", false)->fix, "docker run -v /sys/class/powercap"));
    fake_write(&m->root, "proc/cpuinfo", "vendor_id : GenuineIntel\nflags : fpu hypervisor lahf\n");
    assert_non_null(strstr(probe(m, "powercap", false)->fix, "nothing in a virtual machine"));
    assert_non_null(strstr(probe(m, "perf", false)->fix, "nothing in a virtual machine"));
}

static void a_gpu_without_a_driver_is_noticed(void **state) {
    struct fake_machine *m = *state;
    fake_write(&m->root, "sys/bus/pci/devices/0000:00:1f.0/vendor", "0x8086\n");
    fake_write(&m->root, "sys/bus/pci/devices/0000:00:1f.0/class", "0x030000\n");
    fake_write(&m->root, "sys/bus/pci/devices/0000:41:00.1/vendor", "0x10de\n");
    fake_write(&m->root, "sys/bus/pci/devices/0000:41:00.1/class", "0x040300\n"); /* its sound */
    assert_string_equal(probe(m, "nvml", false)->fix, "");
    fake_write(&m->root, "sys/bus/pci/devices/0000:41:00.0/vendor", "0x10de\n");
    fake_write(&m->root, "sys/bus/pci/devices/0000:41:00.0/class", "0x030200\n");
    assert_non_null(strstr(probe(m, "nvml", false)->fix, "install NVIDIA's driver"));
    fake_write(&m->root, ".dockerenv", "\n");
    assert_non_null(strstr(probe(m, "nvml", false)->fix, "docker run --gpus all"));
}

static void a_controller_without_its_tool_is_noticed(void **state) {
    struct fake_machine *m = *state;
    assert_non_null(strstr(probe(m, "ipmi", false)->fix, "sudo modprobe -a ipmi_si"));
    fake_write(&m->root, "dev/ipmi0", "\n");
    assert_non_null(strstr(probe(m, "ipmi", false)->fix, "sudo apt install ipmitool"));
}

static void what_is_refused_says_why_and_what_to_do(void **state) {
    struct fake_machine *m = *state;
    add_pmu(m);
    open_errno = EACCES;
    const struct probe_sensor *s = probe(m, "perf", false);
    assert_int_equal(s->state, PROBE_REFUSED);
    assert_string_equal(s->why, "perf energy events: Permission denied");
    assert_non_null(strstr(s->fix, "sudo sysctl kernel.perf_event_paranoid=0"));
    assert_int_equal(s->n, 1);
    assert_false(s->c[0].is_readable);
    assert_string_equal(s->c[0].why, s->why);
    /* A counter that is there and makes no sense. */
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/name", "package-0\n");
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj", "garbage\n");
    s = probe(m, "powercap", false);
    assert_int_equal(s->state, PROBE_REFUSED);
    assert_non_null(strstr(s->why, "cannot read "));
}

static void readings_are_timed(void **state) {
    struct fake_machine *m = *state;
    add_pmu(m);
    const struct probe_sensor *s = probe(m, "perf", true);
    assert_int_equal(s->state, PROBE_FOUND);
    const struct probe_component *c = &s->c[0];
    assert_true(c->is_readable);
    assert_true(c->counter.is_there && !c->power.is_there);
    assert_close(c->counter.stated_s, 0.001);
    assert_true(c->counter.update_s > 0); /* 5 ms, on a machine that has the time */
    assert_true(c->counter.call_s >= 0 && c->counter.slowest_s >= c->counter.call_s);
    assert_true(isnan(c->power.call_s) && isnan(c->power.update_s));
    s = probe(m, "perf", false);
    assert_true(isnan(s->c[0].counter.call_s));
}

static void what_stands_still_has_no_update_period(void **state) {
    struct fake_machine *m = *state;
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/name", "package-0\n");
    fake_write(&m->root, "sys/class/powercap/intel-rapl:0/energy_uj", "5\n");
    const struct probe_sensor *s = probe(m, "powercap", true);
    assert_int_equal(s->state, PROBE_FOUND);
    assert_true(isnan(s->c[0].counter.update_s));
    assert_true(s->c[0].counter.call_s > 0);
}

/* ---- the verdict ---- */

static struct component_reading reading(const char *name, const char *scope, double w, double gain,
                                        double edge_j) {
    struct component_reading c = {.quality = METER_COUNTER,
                                  .joules = 10 * w,
                                  .mean_w = w,
                                  .gain = gain,
                                  .edge_j = edge_j,
                                  .coverage = 1};
    note_set(c.name, sizeof(c.name), "%s", name);
    note_set(c.scope, sizeof(c.scope), "%s", scope);
    c.low_j = c.joules - gain * c.joules - edge_j;
    c.high_j = c.joules + gain * c.joules + edge_j;
    return c;
}

/* 100 W of 5 % and 50 W of 10 %: 100 J of gain in 1500 J; edges of 15 J are 1 % of 10 s. */
static void precision_is_gain_and_edges(void **state) {
    (void)state;
    struct probe_verdict v;
    struct meter_reading r = {.n = 2};
    r.c[0] = reading("gpu0", "gpu", 100, 0.05, 10);
    r.c[1] = reading("cpu", "cpu", 50, 0.10, 5);
    probe_verdict(&r, &v);
    assert_true(v.has_figure && !v.is_modelled);
    assert_string_equal(v.scope, "GPU + CPU");
    assert_close(v.half_10s, 100.0 / 1500 + 0.01);
    assert_close(v.half_60s, 100.0 / 1500 + 0.01 / 6);
    assert_close(v.apart_60s, 2 * 0.01 / 6);
    assert_non_null(strstr(v.text,
                           "a window of a minute is known within ±6.8 %, one of 10 s within "
                           "±7.7 %"));
}

static void a_model_is_called_one(void **state) {
    (void)state;
    struct probe_verdict v;
    struct meter_reading r = {.n = 1};
    r.c[0] = reading("cpu", "cpu", 8, 0.4, 0.1);
    r.c[0].quality = METER_MODELLED;
    r.c[0].modelled = true;
    probe_verdict(&r, &v);
    assert_true(v.is_modelled);
    assert_non_null(strstr(v.text, "CPU (modelled): within ±40 %. Enough to compare runs"));
}

static void a_small_modelled_part_is_told(void **state) {
    (void)state;
    struct probe_verdict v;
    struct meter_reading r = {.n = 2};
    r.c[0] = reading("gpu0", "gpu", 500, 0.05, 50);
    r.c[1] = reading("cpu", "cpu", 8, 0.4, 0.1);
    r.c[1].quality = METER_MODELLED;
    r.c[1].modelled = true;
    probe_verdict(&r, &v);
    assert_true(v.is_modelled);
    assert_non_null(
        strstr(v.text, "GPU + CPU (modelled): a window of a minute is known within ±5.7 %"));
    assert_non_null(strstr(v.text, "A small part of it is modelled."));
}

static void without_joules_there_is_no_precision(void **state) {
    (void)state;
    struct probe_verdict v;
    struct meter_reading r = {.n = 1};
    r.c[0] = reading("gpu0", "gpu", 100, 0.05, 10);
    r.c[0].quality = METER_MISSING;
    note_set(r.c[0].reason, sizeof(r.c[0].reason), "GPU is lost");
    probe_verdict(&r, &v);
    assert_false(v.has_figure);
    assert_true(isnan(v.half_60s) && isnan(v.apart_60s));
    assert_string_equal(v.text, "no joules: gpu0: GPU is lost");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, fake_machine_teardown)

int main(void) {
    setenv("PATH", "/nonexistent", 1); /* no ipmitool of this machine */
    const struct CMUnitTest tests[] = {
        CASE(every_sensor_is_told_of),
        CASE(what_is_absent_has_a_remedy_that_fits_the_machine),
        CASE(a_gpu_without_a_driver_is_noticed),
        CASE(a_controller_without_its_tool_is_noticed),
        CASE(what_is_refused_says_why_and_what_to_do),
        CASE(readings_are_timed),
        CASE(what_stands_still_has_no_update_period),
        cmocka_unit_test(precision_is_gain_and_edges),
        cmocka_unit_test(a_model_is_called_one),
        cmocka_unit_test(a_small_modelled_part_is_told),
        cmocka_unit_test(without_joules_there_is_no_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
