/*
 * ACPI power meters (Linux hwmon "power_meter"): power1_average in microwatts, over
 * power1_average_interval milliseconds.
 *
 * On NVIDIA Grace, power1_oem_info says what a meter measures: "Grace Power Socket N" is the CPU
 * socket with its memory, "CPU Power Socket N" and "SysIO Power Socket N" are parts of it, "Module
 * Power Socket N" holds the GPU too. On other servers the one meter there is covers the whole node;
 * it is used when asked for by name. Documentation/hwmon/acpi_power_meter.rst.
 */
#include "energy/note.h"
#include "energy/sensor.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HWMON_DIR "/sys/class/hwmon"
#define MAX_METERS 32
#define GAIN_ACPI 0.05
#define DEFAULT_INTERVAL_MS 1000
#define MAX_NODE_W 1e6

enum kind { KIND_SOCKET, KIND_CPU_RAIL, KIND_NODE, KIND_OTHER };

struct power_meter {
    enum kind kind;
    int socket;
    char path[SYSFILE_PATH_MAX]; /* of power1_average */
    int64_t interval_ns;
};

struct acpi {
    const char *root; /* while probing */
    struct power_meter meters[MAX_METERS];
    size_t n;
    enum kind kinds[METER_MAX_COMPONENTS]; /* summed in each component */
};

/* ---- probing ---- */

static enum kind kind_of(const char *oem, int *socket) {
    static const struct {
        const char *prefix;
        enum kind kind;
    } known[] = {
        {"Grace Power Socket ", KIND_SOCKET},
        {"CPU Power Socket ", KIND_CPU_RAIL},
        {"SysIO Power Socket ", KIND_OTHER},
        {"Module Power Socket ", KIND_OTHER},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t len = strlen(known[i].prefix);
        if (strncmp(oem, known[i].prefix, len) == 0) {
            *socket = (int)strtol(oem + len, NULL, 10);
            return known[i].kind;
        }
    }
    *socket = 0;
    return KIND_NODE;
}

/* Kernels differ in whether the attributes lie beside the device or in it. */
static const char *const places[] = {"/device", ""};
enum { N_PLACES = sizeof(places) / sizeof(places[0]) };

static bool place_path(char *out, const char *entry, const char *place) {
    char sub[SYSFILE_PATH_MAX];
    note_set(sub, sizeof(sub), "%.128s%s", entry, place);
    return sysfile_path(out, "", HWMON_DIR, sub);
}

/* Other drivers tell an average too: of a GPU, of a regulator. */
static bool is_power_meter(const struct acpi *a, const char *entry) {
    char dir[SYSFILE_PATH_MAX];
    char path[SYSFILE_PATH_MAX];
    char name[32];
    for (int i = 0; i < N_PLACES; i++) {
        if (place_path(dir, entry, places[i]) && sysfile_path(path, a->root, dir, "name") &&
            sysfile_read_line(path, name, sizeof(name)) > 0) {
            return strcmp(name, "power_meter") == 0;
        }
    }
    return false;
}

static bool find_attributes(const struct acpi *a, const char *entry, char *dir) {
    char path[SYSFILE_PATH_MAX];
    for (int i = 0; i < N_PLACES; i++) {
        if (place_path(dir, entry, places[i]) &&
            sysfile_path(path, a->root, dir, "power1_average") && access(path, F_OK) == 0) {
            return true;
        }
    }
    return false;
}

static void take_meter(const char *entry, void *ctx) {
    struct acpi *a = ctx;
    char dir[SYSFILE_PATH_MAX];
    char path[SYSFILE_PATH_MAX];
    char oem[64] = "";
    uint64_t ms = 0;
    if (a->n == MAX_METERS || !is_power_meter(a, entry) || !find_attributes(a, entry, dir)) {
        return;
    }
    struct power_meter *m = &a->meters[a->n];
    if (sysfile_path(path, a->root, dir, "power1_oem_info")) {
        sysfile_read_line(path, oem, sizeof(oem));
    }
    if (!sysfile_path(path, a->root, dir, "power1_average_interval") ||
        sysfile_read_u64(path, &ms) < 0 || ms == 0 || ms > 3600000) {
        ms = DEFAULT_INTERVAL_MS;
    }
    m->kind = kind_of(oem, &m->socket);
    m->interval_ns = (int64_t)ms * NS_PER_MS;
    a->n += sysfile_path(m->path, a->root, dir, "power1_average");
}

static bool has_kind(const struct acpi *a, enum kind kind) {
    for (size_t i = 0; i < a->n; i++) {
        if (a->meters[i].kind == kind) {
            return true;
        }
    }
    return false;
}

static struct sensor_component *add_component(struct sensor *s, enum kind kind, const char *name,
                                              const char *scope) {
    struct acpi *a = s->state;
    struct sensor_component *c = sensor_add(s, name, scope);
    a->kinds[s->n - 1] = kind;
    c->info.gain = GAIN_ACPI;
    note_set(c->power_source, sizeof(c->power_source), "acpi power meter");
    note_set(c->info.source, sizeof(c->info.source), "acpi power meter");
    for (size_t i = 0; i < a->n; i++) {
        const struct power_meter *m = &a->meters[i];
        int64_t uw;
        if (m->kind != kind) {
            continue;
        }
        c->power_update_ns = m->interval_ns > c->power_update_ns ? m->interval_ns
                                                                 : c->power_update_ns;
        int rc = sysfile_read_i64(m->path, &uw);
        if (rc < 0 && !c->missing[0]) {
            sensor_explain(-rc, m->path, c->missing, sizeof(c->missing));
            note_set(c->fix, sizeof(c->fix), "%s",
                     sensor_is_denied(-rc) ? "sudo chmod a+r " HWMON_DIR
                                             "/hwmon*/device/power1_average (until reboot)"
                                           : "");
        }
    }
    return c;
}

static int acpi_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct acpi *a = calloc(1, sizeof(*a));
    s->state = a;
    if (!a) {
        return err_set(e, EE_NOMEM, "out of memory for the ACPI sensor");
    }
    a->root = env->root;
    sensor_each_entry(env->root, HWMON_DIR, take_meter, a);
    s->covers = 0;
    if (has_kind(a, KIND_SOCKET)) {
        struct sensor_component *c = add_component(s, KIND_SOCKET, "cpu", "cpu+dram");
        sensor_mark_container(c, env->root);
        s->covers = SENSOR_CPU | SENSOR_DRAM;
    } else if (has_kind(a, KIND_CPU_RAIL)) {
        struct sensor_component *c = add_component(s, KIND_CPU_RAIL, "cpu", "cpu");
        sensor_mark_container(c, env->root);
        s->covers = SENSOR_CPU;
    }
    if (has_kind(a, KIND_NODE) && env->asked) {
        add_component(s, KIND_NODE, "node", "node")->info.whole = true;
    }
    if (s->n == 0) {
        return err_set(e, EE_MISSING, "%s" HWMON_DIR " shows no ACPI power meter%s", env->root,
                       has_kind(a, KIND_NODE) ? " of a part; the node's is used when asked for: "
                                                "--source auto,acpi"
                                              : "");
    }
    return 0;
}

/* ---- reading ---- */

static void acpi_read(struct sensor *s, size_t i, enum sensor_depth depth,
                      struct sensor_value *out) {
    (void)depth;
    const struct acpi *a = s->state;
    double watts = 0;
    for (size_t k = 0; k < a->n; k++) {
        int64_t uw;
        if (a->meters[k].kind != a->kinds[i]) {
            continue;
        }
        int rc = sysfile_read_i64(a->meters[k].path, &uw);
        if (rc < 0) {
            out->power = SENSOR_FAILED;
            sensor_explain(-rc, a->meters[k].path, out->power_why, sizeof(out->power_why));
            return;
        }
        watts += (double)uw / 1e6;
    }
    if (watts < 0 || watts > MAX_NODE_W) {
        out->power = SENSOR_FAILED;
        note_set(out->power_why, sizeof(out->power_why), "the power meter says %.6g W", watts);
        return;
    }
    sensor_value_ok_power(out, sensor_now_ns(s), watts);
}

static void acpi_close(struct sensor *s) {
    free(s->state);
}

const struct sensor_ops sensor_acpi = {
    .name = "acpi",
    .what = "NVIDIA Grace sockets, or a node, by ACPI power meters",
    .covers = SENSOR_CPU | SENSOR_DRAM,
    .automatic = true,
    .probe = acpi_probe,
    .read = acpi_read,
    .close = acpi_close,
};
