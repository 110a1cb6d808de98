/*
 * Every sensor's parser on mutated input: files of a fake sysfs that are cut, flipped, swapped for
 * odd numbers, removed or turned into directories, before the meter starts and while it measures;
 * answers of management controllers; recordings; answers of NVML. Nothing may crash, and whatever
 * comes out is a figure that makes sense or missing with a reason.
 *
 * Seeded, so that a run can be repeated. Without a setting each target gets a bounded number of
 * rounds. EDGE_EVAL_FUZZ_SECONDS=60 gives each that long (scripts/fuzz-sensors.sh),
 * EDGE_EVAL_FUZZ_SEED begins with another seed, and EDGE_EVAL_FUZZ_VERBOSE=1 names each round
 * before it runs, for those that crash.
 */
#include "support/energy_fake.h"
#include "support/energy_fake_nvml.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"
#include "energy/sensor_wall.h"

#include <dlfcn.h>
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
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 60, MAX_FILES = 24 };

/* ---- mutation ---- */

static const char *const odd[] = {
    "0",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "9223372036854775807",
    "1e400",
    "-0.0",
    "nan",
    "inf",
    "0x7fffffff",
    "2147483648",
    "",
    "\n",
    " ",
    ":",
    ",",
    "%s%n",
    "\xff\xfe\x80",
    "null",
    "[]",
    "{}",
    "\"",
};
enum { N_ODD = sizeof(odd) / sizeof(odd[0]) };

static size_t at_random(struct rng *r, size_t n) {
    return (size_t)rng_below(r, n);
}

/* One change to what is in b, which may hold any bytes. */
static void mutate_once(struct rng *r, struct buf *b) {
    struct buf out;
    buf_init(&out);
    size_t at = at_random(r, b->len + 1);
    size_t cut = at_random(r, b->len - at + 1);
    switch (rng_below(r, 8)) {
    case 0: /* flips a bit */
        buf_add(&out, b->data, b->len);
        if (out.len > 0) {
            out.data[at % out.len] ^= (char)(1 << rng_below(r, 8));
        }
        break;
    case 1: /* cuts the end off */
        buf_add(&out, b->data, at);
        break;
    case 2: /* takes a piece out */
        buf_add(&out, b->data, at);
        buf_add(&out, b->data + at + cut, b->len - at - cut);
        break;
    case 3: /* doubles a piece, now and then many times */
        buf_add(&out, b->data, at + cut);
        for (uint64_t n = rng_below(r, 20) ? 1 : 500; n > 0; n--) {
            buf_add(&out, b->data + at, cut);
        }
        buf_add(&out, b->data + at + cut, b->len - at - cut);
        break;
    case 4: /* puts something odd in its place */
        buf_addstr(&out, odd[at_random(r, N_ODD)]);
        buf_addch(&out, '\n');
        break;
    case 5: /* puts something odd into it */
        buf_add(&out, b->data, at);
        buf_addstr(&out, odd[at_random(r, N_ODD)]);
        buf_add(&out, b->data + at, b->len - at);
        break;
    case 6: { /* puts something odd in the place of a number */
        size_t digits = at;
        while (digits < b->len && !strchr("0123456789", b->data[digits])) {
            digits++;
        }
        size_t len = strspn(b->data + digits, "0123456789.");
        buf_add(&out, b->data, digits);
        buf_addstr(&out, odd[at_random(r, N_ODD)]);
        buf_add(&out, b->data + digits + len, b->len - digits - len);
        break;
    }
    default: /* writes random bytes over it */
        buf_add(&out, b->data, b->len);
        for (size_t i = at; i < at + cut; i++) {
            out.data[i] = (char)rng_below(r, 256);
        }
    }
    buf_clear(b);
    buf_add(b, out.data, out.len);
    buf_release(&out);
}

static void mutate(struct rng *r, const char *text, struct buf *out) {
    buf_clear(out);
    buf_addstr(out, text);
    for (uint64_t n = 1 + rng_below(r, 4); n > 0; n--) {
        mutate_once(r, out);
    }
}

/* ---- what must hold ---- */

static void check_component(const struct component_reading *c) {
    if (c->quality == METER_MISSING) {
        assert_true(isnan(c->joules) && isnan(c->low_j) && isnan(c->high_j) && isnan(c->mean_w));
        assert_true(c->reason[0] != '\0');
        return;
    }
    assert_true(isfinite(c->joules) && c->joules > 0);
    assert_true(isfinite(c->low_j) && c->low_j >= 0 && c->low_j <= c->joules);
    assert_true(isfinite(c->high_j) && c->high_j >= c->joules);
    assert_true(isfinite(c->mean_w) && c->mean_w > 0 && c->mean_w < 1e7);
    assert_true(isfinite(c->peak_w) && c->peak_w >= c->mean_w);
    assert_true(c->coverage >= 0 && c->coverage <= 1 + 1e-9);
    assert_true(c->source[0] != '\0');
}

static void check_reading(const struct meter_reading *r) {
    struct meter_total t;
    for (size_t i = 0; i < r->n; i++) {
        assert_true(r->c[i].name[0] != '\0');
        check_component(&r->c[i]);
    }
    meter_total(r, NULL, 0, &t);
    assert_true((t.quality == METER_MISSING) == isnan(t.joules));
    assert_true(t.quality != METER_MISSING || t.reason[0] != '\0');
}

/* ---- rounds ---- */

static uint64_t setting(const char *name, uint64_t fallback) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

typedef void round_fn(void *ctx, struct rng *r);

static void run_rounds(const char *target, round_fn *round, void *ctx) {
    const uint64_t first = setting("EDGE_EVAL_FUZZ_SEED", 1);
    const uint64_t seconds = setting("EDGE_EVAL_FUZZ_SECONDS", 0);
    const bool verbose = setting("EDGE_EVAL_FUZZ_VERBOSE", 0) != 0;
    const int64_t end_ns = clock_mono_ns() + (int64_t)seconds * NS_PER_S;
    uint64_t n = 0;
    for (; seconds ? clock_mono_ns() < end_ns : n < ROUNDS; n++) {
        struct rng r;
        rng_init(&r, first + n);
        if (verbose) {
            print_error("%s: EDGE_EVAL_FUZZ_SEED=%llu\n", target, (unsigned long long)(first + n));
        }
        round(ctx, &r);
    }
    if (seconds) {
        print_message("%s: %llu rounds\n", target, (unsigned long long)n);
    }
}

/* ---- files ---- */

struct file {
    const char *path, *text;
};

/* A machine whose files are as they should be, and the source that reads them. */
struct target {
    const char *source;
    struct file files[MAX_FILES];
    struct fake_machine *m;
    const struct meter_perf_calls *perf;
};

static void put_file(const struct target *t, const char *path, const char *bytes, size_t len) {
    char *full = fs_join(t->m->root.dir, path);
    char *dir = full ? fs_dirname(full) : NULL;
    assert_non_null(dir);
    assert_int_equal(fs_mkdirs(dir, NULL), 0);
    if (full && access(full, F_OK) == 0 && unlink(full) != 0) {
        assert_int_equal(rmdir(full), 0); /* an earlier round made it a directory */
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    free(dir);
    free(full);
}

static void restore(const struct target *t) {
    for (size_t i = 0; i < MAX_FILES && t->files[i].path; i++) {
        put_file(t, t->files[i].path, t->files[i].text, strlen(t->files[i].text));
    }
}

static void damage_one(const struct target *t, struct rng *r) {
    size_t n = 0;
    struct buf text;
    while (n < MAX_FILES && t->files[n].path) {
        n++;
    }
    const struct file *f = &t->files[at_random(r, n)];
    buf_init(&text);
    mutate(r, f->text, &text);
    put_file(t, f->path, text.data, text.len);
    buf_release(&text);
    uint64_t how = rng_below(r, 20);
    char *full = fs_join(t->m->root.dir, f->path);
    if (how < 2) {
        assert_int_equal(unlink(full), 0);
    }
    if (how == 0) {
        assert_int_equal(fs_mkdirs(full, NULL), 0);
    }
    free(full);
}

static void measure_damaged(const struct target *t, struct rng *r, struct meter *m) {
    struct err e = ERR_INIT;
    struct meter_reading out;
    t->m->clock.m = m;
    for (int window = 0; window < 2; window++) {
        int id = meter_window_open(m, "fuzz", METER_NO_PARENT, &e);
        assert_true(id >= 0);
        for (int i = 0; i < 3; i++) {
            if (window == 1) {
                damage_one(t, r);
            }
            fake_run_s(&t->m->clock, 1 + 4 * rng_uniform(r));
        }
        assert_int_equal(meter_window_close(m, id, &out, &e), 0);
        check_reading(&out);
    }
}

static void file_round(void *ctx, struct rng *r) {
    const struct target *t = ctx;
    struct err e = ERR_INIT;
    struct meter *m = NULL;
    struct meter_clock hooks = fake_clock_hooks(&t->m->clock);
    const struct meter_opts opts = {.source = t->source,
                                    .sysfs_root = t->m->root.dir,
                                    .nvml_path = "/nonexistent.so",
                                    .perf = t->perf};
    restore(t);
    for (uint64_t n = rng_below(r, 4); n > 0; n--) {
        damage_one(t, r);
    }
    t->m->clock.m = NULL;
    if (meter_start_clocked(&m, &opts, &hooks, &e) < 0) {
        assert_true(e.msg[0] != '\0' && m == NULL);
    } else {
        measure_damaged(t, r, m);
    }
    meter_stop(m);
    t->m->clock.m = NULL;
}

static void fuzz_files(void **state, struct target *t) {
    t->m = *state;
    run_rounds(t->source, file_round, t);
}

#define RAPL "sys/class/powercap/intel-rapl:"

static void powercap_files(void **state) {
    static struct target t = {
        .source = "powercap",
        .files = {{RAPL "0/name", "package-0\n"},
                  {RAPL "0/energy_uj", "123456789\n"},
                  {RAPL "0/max_energy_range_uj", "262143328850\n"},
                  {RAPL "0:0/name", "dram\n"},
                  {RAPL "0:0/energy_uj", "5\n"},
                  {RAPL "0:0/max_energy_range_uj", "65712999613\n"},
                  {RAPL "1/name", "package-1-die-0\n"},
                  {RAPL "1/energy_uj", "99999\n"},
                  {"sys/class/powercap/intel-rapl-mmio:0/name", "package-0\n"},
                  {"sys/class/powercap/intel-rapl-mmio:0/energy_uj", "77\n"},
                  {"proc/cpuinfo", "vendor_id\t: AuthenticAMD\n"}}};
    fuzz_files(state, &t);
}

/* Energy counters that now and then say anything at all. */
static struct rng kernel_rng;

static int wild_open(void *ctx, const struct perf_event_attr *attr, int cpu) {
    (void)ctx;
    (void)attr;
    (void)cpu;
    errno = EACCES;
    return rng_below(&kernel_rng, 10) ? 7 : -1;
}

static int wild_read(void *ctx, int fd, uint64_t *value) {
    uint64_t *now = ctx;
    (void)fd;
    *now += rng_below(&kernel_rng, UINT64_C(1) << 34);
    *value = rng_below(&kernel_rng, 200) ? *now : rng_u64(&kernel_rng);
    return rng_below(&kernel_rng, 300) ? 0 : -EIO;
}

static void wild_close(void *ctx, int fd) {
    (void)ctx;
    (void)fd;
}

static void perf_files(void **state) {
    static uint64_t counter;
    static const struct meter_perf_calls calls = {wild_open, wild_read, wild_close, &counter};
    static struct target t = {
        .source = "perf",
        .perf = &calls,
        .files = {{"sys/devices/power/type", "21\n"},
                  {"sys/devices/power/cpumask", "0,28\n"},
                  {"sys/devices/power/events/energy-pkg", "event=0x02\n"},
                  {"sys/devices/power/events/energy-pkg.scale", "2.3283064365386962890625e-10\n"},
                  {"sys/devices/power/events/energy-ram", "event=0x03\n"},
                  {"sys/devices/power/events/energy-ram.scale", "2.3283064365386962890625e-10\n"},
                  {"sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"},
                  {"sys/devices/system/cpu/cpu28/topology/physical_package_id", "1\n"},
                  {"proc/cpuinfo", "vendor_id\t: AuthenticAMD\n"}}};
    rng_init(&kernel_rng, 99);
    fuzz_files(state, &t);
}

#define INA "sys/class/hwmon/hwmon1/"

static void ina3221_files(void **state) {
    static struct target t = {.source = "ina3221",
                              .files = {{INA "name", "ina3221\n"},
                                        {INA "in1_label", "VDD_IN\n"},
                                        {INA "in1_input", "5000\n"},
                                        {INA "curr1_input", "1500\n"},
                                        {INA "in2_label", "VDD_SOC\n"},
                                        {INA "in2_input", "4900\n"},
                                        {INA "curr2_input", "300\n"},
                                        {INA "update_interval", "20\n"},
                                        {INA "samples", "16\n"}}};
    fuzz_files(state, &t);
}

#define ACPI(n) "sys/class/hwmon/hwmon" #n "/device/"

static void acpi_files(void **state) {
    static struct target t = {.source = "acpi",
                              .files = {{ACPI(0) "name", "power_meter\n"},
                                        {ACPI(0) "power1_oem_info", "Grace Power Socket 0\n"},
                                        {ACPI(0) "power1_average", "62000000\n"},
                                        {ACPI(0) "power1_average_interval", "50\n"},
                                        {ACPI(1) "name", "power_meter\n"},
                                        {ACPI(1) "power1_oem_info", "CPU Power Socket 0\n"},
                                        {ACPI(1) "power1_average", "42000000\n"},
                                        {ACPI(1) "power1_average_interval", "50\n"},
                                        {ACPI(2) "name", "power_meter\n"},
                                        {ACPI(2) "power1_average", "420000000\n"}}};
    fuzz_files(state, &t);
}

#define BAT "sys/class/power_supply/BAT0/"

static void battery_files(void **state) {
    static struct target t = {.source = "battery",
                              .files = {{BAT "type", "Battery\n"},
                                        {BAT "scope", "System\n"},
                                        {BAT "status", "Discharging\n"},
                                        {BAT "power_now", "12500000\n"},
                                        {BAT "current_now", "1000000\n"},
                                        {BAT "voltage_now", "12000000\n"}}};
    fuzz_files(state, &t);
}

static void model_files(void **state) {
    static struct target t = {
        .source = "model",
        .files = {{"proc/stat", "cpu  100 0 50 1000 3 2 1 0 0 0\ncpu0 50 0 25 500 1 1 1 0 0 0\n"
                                "cpu1 50 0 25 500 2 1 0 0 0 0\nintr 5\n"},
                  {"proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\n"
                                   "physical id\t: 0\n"}}};
    fuzz_files(state, &t);
}

/* ---- processes ---- */

static void watched_process_round(void *ctx, struct rng *r) {
    const struct target *t = ctx;
    struct err e = ERR_INIT;
    struct meter *m = NULL;
    struct meter_reading out;
    struct meter_clock hooks = fake_clock_hooks(&t->m->clock);
    const struct meter_opts opts = {.source = "model", .sysfs_root = t->m->root.dir};
    restore(t);
    assert_int_equal(meter_start_clocked(&m, &opts, &hooks, &e), 0);
    t->m->clock.m = m;
    if (rng_below(r, 3) == 0) {
        damage_one(t, r);
    }
    int watched = meter_watch_pid(m, 100, &e);
    int id = meter_window_open(m, "fuzz", METER_NO_PARENT, &e);
    for (int i = 0; i < 4; i++) {
        damage_one(t, r);
        fake_run_s(&t->m->clock, 1);
    }
    if (watched == 0) {
        meter_unwatch_pid(m, 100);
    }
    assert_int_equal(meter_window_close(m, id, &out, &e), 0);
    check_reading(&out);
    meter_stop(m);
    t->m->clock.m = NULL;
}

static void process_files(void **state) {
    static struct target t = {
        .source = "model",
        .files = {
            {"proc/100/stat", "100 (a b) c) S 1 100 100 0 -1 4194304 1 0 0 0 7 3 2 1 20 0 1 0 "
                              "500 1000 10 18446744073709551615\n"},
            {"proc/100/task/100/children", "101 102 "},
            {"proc/101/stat", "101 (kid) R 100 100 100 0 -1 0 1 0 0 0 9 1 0 0 20 0 1 0 600 1 1\n"},
            {"proc/102/stat", "102 (kid) Z 100 100 100 0 -1 0 1 0 0 0 9 1 0 0 20 0 1 0 700 1 1\n"},
            {"proc/101/task/101/children", "103 "},
            {"proc/103/stat", "103 (x) S 101 100 100 0 -1 0 1 0 0 0 1 1 0 0 20 0 1 0 800 1 1\n"}}};
    t.m = *state;
    run_rounds("process", watched_process_round, &t);
}

/* ---- texts ---- */

static void check_watts(int rc, double watts, const char *why) {
    if (rc == 0) {
        assert_true(isfinite(watts) && watts > 0 && watts <= 1e6);
    } else {
        assert_true(why[0] != '\0' && watts == -7);
    }
}

static void ipmi_round(void *ctx, struct rng *r) {
    static const char text[] = "\n    Instantaneous power reading:                   220 Watts\n"
                               "    Minimum during sampling period:                 16 Watts\n"
                               "    IPMI timestamp:                 Thu Jan  1 00:00:00 1970\n"
                               "    Power reading state is:                   activated\n\n";
    struct buf b;
    (void)ctx;
    buf_init(&b);
    for (int i = 0; i < 50; i++) {
        double watts = -7;
        char why[64] = "";
        mutate(r, text, &b);
        int rc = wall_parse_ipmi(b.data, &watts, why, sizeof(why));
        check_watts(rc, watts, why);
    }
    buf_release(&b);
}

static void redfish_round(void *ctx, struct rng *r) {
    static const char *const texts[] = {
        "{\"@odata.type\":\"#Power.v1_7_1.Power\",\"PowerControl\":[{\"PowerConsumedWatts\":344,"
        "\"PowerMetrics\":{\"AverageConsumedWatts\":319}}]}",
        "{\"@odata.type\":\"#EnvironmentMetrics\",\"PowerWatts\":{\"Reading\":374.5}}",
        "{\"Reading\":12.25,\"ReadingUnits\":\"W\"}",
    };
    struct buf b;
    (void)ctx;
    buf_init(&b);
    for (int i = 0; i < 50; i++) {
        double watts = -7;
        char why[64] = "";
        mutate(r, texts[rng_below(r, 3)], &b);
        int rc = wall_parse_redfish(b.data, &watts, why, sizeof(why));
        check_watts(rc, watts, why);
    }
    buf_release(&b);
}

static void answers_of_controllers(void **state) {
    (void)state;
    run_rounds("ipmi", ipmi_round, NULL);
    run_rounds("redfish", redfish_round, NULL);
}

static void replay_round(void *ctx, struct rng *r) {
    static const char text[] =
        "{\"edge_eval_power\": 1, \"components\": [{\"name\": \"gpu0\", \"scope\": \"gpu\", "
        "\"update_ms\": 100, \"gain\": 0.05, \"wrap_j\": 5000, \"max_w\": 900, \"duty\": 0.5}, "
        "{\"name\": \"cpu\", \"scope\": \"cpu\", \"modelled\": true}]}\n"
        "{\"t_s\": 0.0, \"gpu0\": {\"w\": 84.1, \"j\": 120.0}, \"cpu\": {\"w\": 6}}\n"
        "{\"t_s\": 1.5, \"gpu0\": {\"w\": 91.7, \"j\": 260.2}}\n"
        "{\"t_s\": 9.0, \"gpu0\": {\"error\": \"GPU is lost\"}}\n"
        "{\"t_s\": 40.0, \"gpu0\": {\"w\": 90, \"j\": 700}, \"cpu\": {\"w\": 7}}\n";
    struct fake_machine *m = ctx;
    struct err e = ERR_INIT;
    struct meter *meter = NULL;
    struct meter_reading out;
    struct meter_clock hooks = fake_clock_hooks(&m->clock);
    struct buf b;
    char path[128];
    char source[160];
    buf_init(&b);
    mutate(r, text, &b);
    snprintf(path, sizeof(path), "%s/recording", m->root.dir);
    snprintf(source, sizeof(source), "replay:%s", path);
    assert_int_equal(fs_write_atomic(path, b.data, b.len, &e), 0);
    buf_release(&b);
    const struct meter_opts opts = {.source = source};
    m->clock.m = NULL;
    if (meter_start_clocked(&meter, &opts, &hooks, &e) < 0) {
        assert_true(e.msg[0] != '\0');
        return;
    }
    m->clock.m = meter;
    for (int i = 0; i < 4; i++) {
        int id = meter_window_open(meter, "fuzz", METER_NO_PARENT, &e);
        fake_run_s(&m->clock, 12 * rng_uniform(r));
        assert_int_equal(meter_window_close(meter, id, &out, &e), 0);
        check_reading(&out);
    }
    meter_stop(meter);
    m->clock.m = NULL;
}

static void recordings(void **state) {
    run_rounds("replay", replay_round, *state);
}

/* ---- NVML ---- */

static nvml_rc wild_rc(struct rng *r) {
    static const nvml_rc codes[] = {NVML_RC_NOT_SUPPORTED,
                                    NVML_RC_NO_PERMISSION,
                                    NVML_RC_NOT_FOUND,
                                    NVML_RC_GPU_IS_LOST,
                                    NVML_RC_UNKNOWN,
                                    12345,
                                    -1};
    return rng_below(r, 4) ? NVML_RC_SUCCESS : codes[rng_below(r, 7)];
}

static unsigned wild_mw(struct rng *r) {
    return rng_below(r, 8) ? 50000 + (unsigned)rng_below(r, 600000) : (unsigned)rng_u64(r);
}

static void answer_wildly(struct fake_nvml *nv, struct rng *r) {
    for (size_t i = 0; i < FAKE_GPUS; i++) {
        struct fake_gpu *g = &nv->gpu[i];
        g->energy_mj = rng_below(r, 10) ? g->energy_mj + rng_below(r, 100000) : rng_u64(r);
        g->energy_rc = wild_rc(r);
        g->usage_mw = wild_mw(r);
        g->usage_rc = wild_rc(r);
        g->instant_mw = wild_mw(r);
        g->instant_type = (unsigned)rng_below(r, 9);
        g->instant_rc = wild_rc(r);
        g->average_mw = wild_mw(r);
        g->average_rc = wild_rc(r);
        g->module_mw = wild_mw(r);
        g->mig = (unsigned)rng_below(r, 2);
        g->virtualization = (int)rng_below(r, 6);
        g->state_rc = wild_rc(r);
        g->celsius = (unsigned)rng_u64(r);
        g->event_reasons = rng_u64(r);
        g->n_pids = (unsigned)(rng_below(r, 4) ? rng_below(r, 5) : rng_u64(r));
    }
}

struct nvml_target {
    struct fake_nvml *nv;
    struct fake_machine *m;
    char driver[128];
};

static void nvml_round(void *ctx, struct rng *r) {
    const struct nvml_target *t = ctx;
    struct err e = ERR_INIT;
    struct meter *m = NULL;
    struct meter_reading out;
    struct meter_gpu_state g;
    struct meter_clock hooks = fake_clock_hooks(&t->m->clock);
    const struct meter_opts opts = {.source = "nvml", .nvml_path = t->driver};
    memset(t->nv, 0, sizeof(*t->nv));
    t->nv->n = (unsigned)rng_below(r, FAKE_GPUS + 1);
    t->nv->init_rc = rng_below(r, 20) ? NVML_RC_SUCCESS : wild_rc(r);
    t->nv->count_rc = rng_below(r, 20) ? NVML_RC_SUCCESS : wild_rc(r);
    answer_wildly(t->nv, r);
    for (size_t i = 0; i < FAKE_GPUS; i++) {
        t->nv->gpu[i].handle_rc = wild_rc(r);
        t->nv->gpu[i].module_rc = wild_rc(r);
    }
    t->m->clock.m = NULL;
    if (meter_start_clocked(&m, &opts, &hooks, &e) < 0) {
        assert_true(e.msg[0] != '\0');
        return;
    }
    t->m->clock.m = m;
    int id = meter_window_open(m, "fuzz", METER_NO_PARENT, &e);
    for (int i = 0; i < 6; i++) {
        fake_run_s(&t->m->clock, 2 * rng_uniform(r));
        answer_wildly(t->nv, r);
        for (size_t k = 0; k < meter_n_components(m); k++) {
            if (meter_gpu_state(m, k, &g, &e) == 0) {
                assert_true(g.n_pids <= METER_MAX_GPU_PIDS);
            }
        }
    }
    assert_int_equal(meter_window_close(m, id, &out, &e), 0);
    check_reading(&out);
    meter_stop(m);
    t->m->clock.m = NULL;
}

static void answers_of_nvml(void **state) {
    struct nvml_target t = {.m = *state};
    char command[1024];
    const char *source = getenv("EDGE_EVAL_SOURCE_DIR");
    snprintf(t.driver, sizeof(t.driver), "%s/libfake.so", t.m->root.dir);
    snprintf(command, sizeof(command),
             "cc -shared -fPIC -std=c11 -D_GNU_SOURCE -I'%s/tests' -I'%s/src' -o '%s' "
             "'%s/tests/support/energy_fake_nvml.c' 2>/dev/null",
             source ? source : ".", source ? source : ".", t.driver, source ? source : ".");
    if (system(command) != 0) { /* NOLINT(cert-env33-c): a test's own directory */
        skip();                 /* no compiler at run time */
    }
    void *lib = dlopen(t.driver, RTLD_NOW | RTLD_LOCAL);
    void *symbol = lib ? dlsym(lib, "fake_nvml_state") : NULL;
    fake_nvml_state_fn *state_of;
    memcpy(&state_of, &symbol, sizeof(symbol));
    assert_non_null(symbol);
    assert_non_null(lib);
    t.nv = state_of();
    run_rounds("nvml", nvml_round, &t);
    if (lib) {
        dlclose(lib);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fake_machine_setup, fake_machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(powercap_files), CASE(perf_files),
        CASE(ina3221_files),  CASE(acpi_files),
        CASE(battery_files),  CASE(model_files),
        CASE(process_files),  CASE(answers_of_controllers),
        CASE(recordings),     CASE(answers_of_nvml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
