/*
 * CPU packages and DRAM by Linux powercap (RAPL energy counters of Intel and AMD).
 *
 * Zones are told apart by their `name` file, never by their number. Packages are summed, and so
 * is DRAM; core and uncore are parts of a package, and psys is the platform around it: adding any
 * of them would count energy twice. A package that both the MSR and the MMIO driver show is one
 * package, and the dies of an AMD package are mirrors of one counter.
 *
 * Kernel: Documentation/power/powercap/powercap.rst. energy_uj is readable by root only since
 * Linux 5.10 (CVE-2020-8694).
 */
#include "energy/counter.h"
#include "energy/note.h"
#include "energy/sensor.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASS_DIR "/sys/class/powercap"
#define MAX_ZONES 64
#define UPDATE_NS NS_PER_MS /* the hardware counts in steps of about 1 ms */
#define MAX_PACKAGE_W 1000  /* twice the largest package: tells a wrap from a reset */
#define GAIN_PACKAGE 0.05
#define GAIN_DRAM 0.10
#define FIX_DENIED                                                                                 \
    "sudo chmod a+r " CLASS_DIR "/intel-rapl*/energy_uj (until reboot), or sudo setcap "           \
    "cap_dac_read_search+ep \"$(command -v edge-eval)\""

enum domain { DOMAIN_CPU, DOMAIN_DRAM, DOMAIN_OTHER };

struct zone {
    char entry[64];   /* "intel-rapl:0:1" */
    char package[48]; /* name of the package it belongs to: the key of twins and mirrors */
    enum domain domain;
    bool mmio;
    char path[SYSFILE_PATH_MAX]; /* of energy_uj */
    int probe_errno;             /* 0: could be read */
    struct counter counter;
};

struct powercap {
    char dir[SYSFILE_PATH_MAX];
    bool amd;
    struct zone zones[MAX_ZONES];
    size_t n;
    enum domain domains[METER_MAX_COMPONENTS]; /* of each component */
};

/* ---- probing ---- */

/* "DIR/ENTRY/FILE"; false when it does not fit. */
static bool zone_path(const struct powercap *p, const char *entry, const char *file, char *out) {
    int len = snprintf(out, SYSFILE_PATH_MAX, "%s/%s/%s", p->dir, entry, file);
    return len > 0 && len < SYSFILE_PATH_MAX;
}

static bool zone_name(const struct powercap *p, const char *entry, char *out, size_t size) {
    char path[SYSFILE_PATH_MAX];
    return zone_path(p, entry, "name", path) && sysfile_read_line(path, out, size) > 0;
}

static enum domain domain_of(const char *name) {
    if (strncmp(name, "package-", strlen("package-")) == 0) {
        return DOMAIN_CPU;
    }
    return strcmp(name, "dram") == 0 ? DOMAIN_DRAM : DOMAIN_OTHER;
}

/* The package of a zone: itself, or for "intel-rapl:0:1" what "intel-rapl:0" is called. */
static void find_package(const struct powercap *p, struct zone *z, const char *name) {
    char parent[64];
    note_set(z->package, sizeof(z->package), "%s", name);
    note_set(parent, sizeof(parent), "%s", z->entry);
    char *colon = strrchr(parent, ':');
    if (z->domain == DOMAIN_DRAM && colon) {
        *colon = '\0';
        if (!zone_name(p, parent, z->package, sizeof(z->package))) {
            note_set(z->package, sizeof(z->package), "%s", parent);
        }
    }
    char *die = strstr(z->package, "-die-");
    if (p->amd && die) {
        *die = '\0';
    }
}

/* Fills z from a directory entry; false when it is nothing to sum. */
static bool zone_read(const struct powercap *p, const char *entry, struct zone *z) {
    char name[48];
    char range[SYSFILE_PATH_MAX];
    bool mmio = strncmp(entry, "intel-rapl-mmio:", strlen("intel-rapl-mmio:")) == 0;
    if (!mmio && strncmp(entry, "intel-rapl:", strlen("intel-rapl:")) != 0) {
        return false;
    }
    memset(z, 0, sizeof(*z));
    if (strlen(entry) >= sizeof(z->entry) || !zone_name(p, entry, name, sizeof(name)) ||
        !zone_path(p, entry, "energy_uj", z->path)) {
        return false;
    }
    note_set(z->entry, sizeof(z->entry), "%s", entry);
    z->mmio = mmio;
    z->domain = domain_of(name);
    if (z->domain == DOMAIN_OTHER) {
        return false;
    }
    find_package(p, z, name);
    uint64_t raw;
    z->probe_errno = -sysfile_read_u64(z->path, &raw);
    z->counter = (struct counter){.unit_j = 1e-6, .max_w = MAX_PACKAGE_W};
    if (zone_path(p, entry, "max_energy_range_uj", range) &&
        sysfile_read_u64(range, &z->counter.range) < 0) {
        z->counter.range = 0; /* going back is then a fault, never a wrap */
    }
    return true;
}

static bool better(const struct zone *a, const struct zone *b) {
    if ((a->probe_errno == 0) != (b->probe_errno == 0)) {
        return a->probe_errno == 0;
    }
    return a->mmio && !b->mmio;
}

/* Keeps one zone of each package and domain. */
static void add_zone(struct powercap *p, const struct zone *z) {
    for (size_t i = 0; i < p->n; i++) {
        struct zone *old = &p->zones[i];
        if (old->domain == z->domain && strcmp(old->package, z->package) == 0) {
            if (better(z, old)) {
                *old = *z;
            }
            return;
        }
    }
    if (p->n < MAX_ZONES) {
        p->zones[p->n++] = *z;
    }
}

static void take_entry(const char *entry, void *ctx) {
    struct powercap *p = ctx;
    struct zone z;
    if (zone_read(p, entry, &z)) {
        add_zone(p, &z);
    }
}

static void add_component(struct sensor *s, enum domain domain, const char *name, double gain,
                          const char *root) {
    struct powercap *p = s->state;
    struct sensor_component *c = NULL;
    for (size_t i = 0; i < p->n; i++) {
        const struct zone *z = &p->zones[i];
        if (z->domain != domain) {
            continue;
        }
        if (!c) {
            c = sensor_add(s, name, name);
            p->domains[s->n - 1] = domain;
        }
        note_add(c->info.detail, sizeof(c->info.detail), ", ", "%s", z->entry);
        if (z->probe_errno && !c->missing[0]) {
            sensor_explain(z->probe_errno, z->path, c->missing, sizeof(c->missing));
            note_set(c->fix, sizeof(c->fix), "%s",
                     sensor_is_denied(z->probe_errno) ? FIX_DENIED : "");
        }
    }
    if (!c) {
        return;
    }
    c->info.gain = gain;
    c->counter_update_ns = UPDATE_NS;
    note_set(c->counter_source, sizeof(c->counter_source), "powercap");
    note_set(c->info.source, sizeof(c->info.source), "powercap");
    sensor_mark_container(c, root);
    s->covers |= domain == DOMAIN_CPU ? SENSOR_CPU : SENSOR_DRAM;
}

static int powercap_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct powercap *p = calloc(1, sizeof(*p));
    s->state = p;
    if (!p) {
        return err_set(e, EE_NOMEM, "out of memory for the powercap sensor");
    }
    int len = snprintf(p->dir, sizeof(p->dir), "%s" CLASS_DIR, env->root);
    if (len < 0 || (size_t)len >= sizeof(p->dir)) {
        return err_set(e, EE_USAGE, "sysfs root %s: the path is too long", env->root);
    }
    p->amd = sensor_cpu_is_amd(env->root);
    if (!sensor_each_entry(env->root, CLASS_DIR, take_entry, p) || p->n == 0) {
        return err_set(e, EE_MISSING,
                       "%s has no RAPL zones: on bare metal load the driver (sudo modprobe "
                       "intel_rapl_msr)",
                       p->dir);
    }
    s->covers = 0;
    add_component(s, DOMAIN_CPU, "cpu", GAIN_PACKAGE, env->root);
    add_component(s, DOMAIN_DRAM, "dram", GAIN_DRAM, env->root);
    return 0;
}

/* ---- reading ---- */

static void fail(struct sensor_value *out, const struct zone *z, const char *why) {
    out->counter = SENSOR_FAILED;
    note_set(out->counter_why, sizeof(out->counter_why), "%s %s", z->entry, why);
}

/* Every zone is read even after one failed, so that none is left to wrap unseen. */
static void powercap_read(struct sensor *s, size_t i, enum sensor_depth depth,
                          struct sensor_value *out) {
    (void)depth;
    struct powercap *p = s->state;
    double joules = 0;
    bool ok = true;
    for (size_t k = 0; k < p->n; k++) {
        struct zone *z = &p->zones[k];
        uint64_t raw;
        char why[200];
        if (z->domain != p->domains[i]) {
            continue;
        }
        int rc = sysfile_read_u64(z->path, &raw);
        if (rc < 0) {
            counter_forget(&z->counter);
            out->counter = SENSOR_FAILED;
            sensor_explain(-rc, z->path, out->counter_why, sizeof(out->counter_why));
            ok = false;
        } else if (counter_advance(&z->counter, raw, sensor_now_ns(s), why, sizeof(why)) < 0) {
            fail(out, z, why);
            ok = false;
        }
        joules += counter_joules(&z->counter);
    }
    if (ok) {
        sensor_value_ok_counter(out, sensor_now_ns(s), joules);
    }
}

static void powercap_close(struct sensor *s) {
    free(s->state);
}

static void powercap_advise(const struct sensor_env *env, char *out, size_t size) {
    if (sensor_in_virtual_machine(env->root)) {
        note_set(out, size, "%s", SENSOR_VM_ADVICE);
    } else if (sensor_in_container(env->root)) {
        note_set(out, size,
                 "docker run -v " CLASS_DIR ":" CLASS_DIR ":ro -v "
                 "/sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro ...");
    } else {
        note_set(out, size, "sudo modprobe intel_rapl_msr");
    }
}

const struct sensor_ops sensor_powercap = {
    .name = "powercap",
    .what = "CPU packages and DRAM by Linux powercap (RAPL)",
    .covers = SENSOR_CPU | SENSOR_DRAM,
    .automatic = true,
    .probe = powercap_probe,
    .read = powercap_read,
    .advise = powercap_advise,
    .close = powercap_close,
};
