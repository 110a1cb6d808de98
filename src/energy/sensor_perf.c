/*
 * CPU packages and DRAM by perf energy events: the same RAPL counters as powercap, by another door.
 * It is open to whoever may use perf for the whole machine (CAP_PERFMON, or perf_event_paranoid
 * below 1), where energy_uj is root's alone.
 *
 * /sys/devices/power: `type` names the PMU, events/energy-pkg the event, .scale its unit in joules
 * (2^-32), cpumask the CPUs to ask, one for each package or die. The kernel widens the counters to
 * 64 bits, so that they never wrap here. perf_event_open(2), arch/x86/events/rapl.c.
 */
#include "energy/counter.h"
#include "energy/note.h"
#include "energy/sensor.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PMU_DIR "/sys/devices/power"
#define MAX_EVENTS 64
#define MAX_CPUS 64
#define UPDATE_NS NS_PER_MS
#define MAX_PACKAGE_W 1000
#define FIX_DENIED                                                                                 \
    "sudo sysctl kernel.perf_event_paranoid=0 (until reboot), or sudo setcap cap_perfmon+ep "      \
    "\"$(command -v edge-eval)\"; in a container --cap-add PERFMON"

struct event {
    int fd;
    size_t component;
    struct counter counter;
};

struct perf {
    char root[SYSFILE_PATH_MAX];
    struct meter_perf_calls calls;
    uint32_t type;
    int cpus[MAX_CPUS]; /* one a package or die */
    size_t n_cpus;
    struct event events[MAX_EVENTS];
    size_t n;
};

/* ---- the kernel's calls ---- */

static int kernel_open(void *ctx, const struct perf_event_attr *attr, int cpu) {
    (void)ctx;
    return (int)syscall(SYS_perf_event_open, attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static int kernel_read(void *ctx, int fd, uint64_t *value) {
    (void)ctx;
    ssize_t n = read(fd, value, sizeof(*value));
    return n == (ssize_t)sizeof(*value) ? 0 : n < 0 ? -errno : -EIO;
}

static void kernel_close(void *ctx, int fd) {
    (void)ctx;
    close(fd);
}

/* ---- probing ---- */

static bool read_pmu_line(const struct perf *p, const char *file, char *out, size_t size) {
    char path[SYSFILE_PATH_MAX];
    return sysfile_path(path, p->root, PMU_DIR, file) && sysfile_read_line(path, out, size) > 0;
}

/* -1 where the kernel does not tell. */
static long package_of(const struct perf *p, int cpu) {
    char path[SYSFILE_PATH_MAX];
    char file[64];
    uint64_t id;
    note_set(file, sizeof(file), "cpu%d/topology/physical_package_id", cpu);
    return sysfile_path(path, p->root, "/sys/devices/system/cpu", file) &&
                   sysfile_read_u64(path, &id) == 0 && id < 4096
               ? (long)id
               : -1;
}

/* The dies of an AMD package mirror one counter: one of them is enough. */
static bool is_mirror(const struct perf *p, int cpu, bool amd) {
    long package = package_of(p, cpu);
    for (size_t i = 0; amd && package >= 0 && i < p->n_cpus; i++) {
        if (package_of(p, p->cpus[i]) == package) {
            return true;
        }
    }
    return false;
}

/* "0,28" or "0-1": a list as in cpuset(7). False when it is none. */
static bool read_cpus(struct perf *p) {
    char text[512];
    bool amd = sensor_cpu_is_amd(p->root);
    if (!read_pmu_line(p, "cpumask", text, sizeof(text))) {
        return false;
    }
    for (const char *at = text; *at;) {
        char *end;
        long first = strtol(at, &end, 10);
        long last = first;
        if (end == at || first < 0) {
            return false;
        }
        if (*end == '-') {
            at = end + 1;
            last = strtol(at, &end, 10);
        }
        if (end == at || last < first || last >= (1 << 16) || (*end != ',' && *end != '\0')) {
            return false;
        }
        for (long cpu = first; cpu <= last && p->n_cpus < MAX_CPUS; cpu++) {
            if (!is_mirror(p, (int)cpu, amd)) {
                p->cpus[p->n_cpus++] = (int)cpu;
            }
        }
        at = *end ? end + 1 : end;
    }
    return p->n_cpus > 0;
}

/* The number behind "event=" in "event=0x02"; false for anything else. */
static bool read_event(const struct perf *p, const char *name, uint64_t *config, double *unit_j) {
    char text[128];
    char file[64];
    char *end;
    note_set(file, sizeof(file), "events/%s", name);
    if (!read_pmu_line(p, file, text, sizeof(text)) ||
        strncmp(text, "event=", strlen("event=")) != 0) {
        return false;
    }
    *config = strtoull(text + strlen("event="), &end, 0);
    if (end == text + strlen("event=") || *end != '\0') {
        return false;
    }
    note_set(file, sizeof(file), "events/%s.scale", name);
    if (!read_pmu_line(p, file, text, sizeof(text))) {
        return false;
    }
    *unit_j = strtod(text, &end);
    return *end == '\0' && isfinite(*unit_j) && *unit_j > 0 && *unit_j <= 1;
}

static void refuse(struct sensor_component *c, int errnum) {
    note_set(c->missing, sizeof(c->missing), "perf energy events: %s", strerror(errnum));
    if (sensor_is_denied(errnum)) {
        note_set(c->fix, sizeof(c->fix), "%s", FIX_DENIED);
    }
}

static void open_events(struct sensor *s, size_t component, uint64_t config, double unit_j) {
    struct perf *p = s->state;
    struct sensor_component *c = &s->c[component];
    struct perf_event_attr attr = {
        .type = p->type, .size = sizeof(attr), .config = config, .read_format = 0};
    for (size_t i = 0; i < p->n_cpus && p->n < MAX_EVENTS; i++) {
        int fd = p->calls.open(p->calls.ctx, &attr, p->cpus[i]);
        if (fd < 0) {
            refuse(c, errno);
            return;
        }
        p->events[p->n++] = (struct event){
            .fd = fd,
            .component = component,
            .counter = {.unit_j = unit_j, .max_w = MAX_PACKAGE_W},
        };
    }
}

static void add_component(struct sensor *s, const char *event, const char *name, double gain,
                          unsigned covers) {
    struct perf *p = s->state;
    uint64_t config;
    double unit_j;
    if (!read_event(p, event, &config, &unit_j)) {
        return;
    }
    struct sensor_component *c = sensor_add(s, name, name);
    c->info.gain = gain;
    c->counter_update_ns = UPDATE_NS;
    note_set(c->counter_source, sizeof(c->counter_source), "perf %s", event);
    note_set(c->info.source, sizeof(c->info.source), "perf %s", event);
    sensor_mark_container(c, p->root);
    s->covers |= covers;
    open_events(s, s->n - 1, config, unit_j);
}

static int perf_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    static const struct meter_perf_calls kernel = {kernel_open, kernel_read, kernel_close, NULL};
    char path[SYSFILE_PATH_MAX];
    struct perf *p = calloc(1, sizeof(*p));
    uint64_t type = 0;
    s->state = p;
    if (!p) {
        return err_set(e, EE_NOMEM, "out of memory for the perf sensor");
    }
    p->calls = env->perf ? *env->perf : kernel;
    if (strlen(env->root) >= sizeof(p->root) || !sysfile_path(path, env->root, PMU_DIR, "type")) {
        return err_set(e, EE_USAGE, "sysfs root %s: the path is too long", env->root);
    }
    note_set(p->root, sizeof(p->root), "%s", env->root);
    s->covers = 0;
    if (sysfile_read_u64(path, &type) == 0 && type <= UINT32_MAX && read_cpus(p)) {
        p->type = (uint32_t)type;
        add_component(s, "energy-pkg", "cpu", 0.05, SENSOR_CPU);
        add_component(s, "energy-ram", "dram", 0.10, SENSOR_DRAM);
    }
    if (s->n == 0) {
        return err_set(e, EE_MISSING,
                       "%s" PMU_DIR " has no energy events: on bare metal load the driver (sudo "
                       "modprobe rapl)",
                       env->root);
    }
    return 0;
}

/* ---- reading ---- */

static void perf_read(struct sensor *s, size_t i, enum sensor_depth depth,
                      struct sensor_value *out) {
    (void)depth;
    struct perf *p = s->state;
    double joules = 0;
    bool ok = s->c[i].missing[0] == '\0';
    if (!ok) {
        out->counter = SENSOR_FAILED;
        note_set(out->counter_why, sizeof(out->counter_why), "%s", s->c[i].missing);
    }
    for (size_t k = 0; k < p->n; k++) {
        struct event *ev = &p->events[k];
        uint64_t raw;
        char why[200];
        if (ev->component != i) {
            continue;
        }
        int rc = p->calls.read(p->calls.ctx, ev->fd, &raw);
        if (rc < 0) {
            counter_forget(&ev->counter);
            note_set(why, sizeof(why), "cannot be read: %s", strerror(-rc));
        } else if (counter_advance(&ev->counter, raw, sensor_now_ns(s), why, sizeof(why)) < 0) {
            rc = -1;
        }
        if (rc < 0 && ok) {
            ok = false;
            out->counter = SENSOR_FAILED;
            note_set(out->counter_why, sizeof(out->counter_why), "%s %s", s->c[i].counter_source,
                     why);
        }
        joules += counter_joules(&ev->counter);
    }
    if (ok) {
        sensor_value_ok_counter(out, sensor_now_ns(s), joules);
    }
}

static void perf_close(struct sensor *s) {
    struct perf *p = s->state;
    for (size_t k = 0; p && k < p->n; k++) {
        p->calls.close(p->calls.ctx, p->events[k].fd);
    }
    free(p);
}

static void perf_advise(const struct sensor_env *env, char *out, size_t size) {
    note_set(out, size, "%s",
             sensor_in_virtual_machine(env->root) ? SENSOR_VM_ADVICE : "sudo modprobe rapl");
}

const struct sensor_ops sensor_perf = {
    .name = "perf",
    .what = "CPU packages and DRAM by perf energy events (RAPL)",
    .covers = SENSOR_CPU | SENSOR_DRAM,
    .automatic = true,
    .probe = perf_probe,
    .read = perf_read,
    .advise = perf_advise,
    .close = perf_close,
};
