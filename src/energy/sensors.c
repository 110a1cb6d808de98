#include "energy/sensor.h"
#include "energy/note.h"
#include "energy/sysfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Order is preference: a row is skipped when something better already covers its part. */
const struct sensor_ops *const sensor_table[] = {
    &sensor_nvml,  &sensor_powercap, &sensor_perf, &sensor_ina3221, &sensor_acpi,
    &sensor_model, &sensor_battery,  &sensor_ipmi, &sensor_redfish, &sensor_replay,
    NULL,
};

const struct sensor_ops *sensor_find(const char *name, size_t len) {
    for (size_t i = 0; sensor_table[i]; i++) {
        const char *known = sensor_table[i]->name;
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            return sensor_table[i];
        }
    }
    return NULL;
}

int sensor_open(struct sensor **out, const struct sensor_ops *ops, const struct sensor_env *env,
                struct err *e) {
    *out = NULL;
    struct sensor *s = calloc(1, sizeof(*s));
    if (!s) {
        return err_set(e, EE_NOMEM, "out of memory for the %s sensor", ops->name);
    }
    s->ops = ops;
    s->covers = ops->covers;
    s->now_ns = env->now_ns;
    s->now_ctx = env->now_ctx;
    int rc = ops->probe(s, env, e);
    if (rc < 0) {
        sensor_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void sensor_close(struct sensor *s) {
    if (s) {
        s->ops->close(s);
        free(s);
    }
}

int64_t sensor_now_ns(const struct sensor *s) {
    return s->now_ns(s->now_ctx);
}

struct sensor_component *sensor_add(struct sensor *s, const char *name, const char *scope) {
    if (s->n == METER_MAX_COMPONENTS) {
        return NULL;
    }
    struct sensor_component *c = &s->c[s->n++];
    memset(c, 0, sizeof(*c));
    c->power_duty = 1;
    note_set(c->info.name, sizeof(c->info.name), "%s", name);
    note_set(c->info.scope, sizeof(c->info.scope), "%s", scope);
    return c;
}

void sensor_value_ok_counter(struct sensor_value *v, int64_t t_ns, double joules) {
    v->counter = SENSOR_OK;
    v->counter_ns = t_ns;
    v->counter_j = joules;
}

void sensor_value_ok_power(struct sensor_value *v, int64_t t_ns, double watts) {
    v->power = SENSOR_OK;
    v->power_ns = t_ns;
    v->power_w = watts;
}

bool sensor_is_denied(int errnum) {
    return errnum == EACCES || errnum == EPERM;
}

void sensor_explain(int errnum, const char *path, char *out, size_t size) {
    if (sensor_is_denied(errnum)) {
        note_set(out, size, "%s may not be read by this user", path);
    } else if (errnum == ENOENT || errnum == ENODEV || errnum == ENXIO) {
        note_set(out, size, "%s is gone", path);
    } else {
        note_set(out, size, "cannot read %s: %s", path, strerror(errnum));
    }
}

void sensor_missing_text(const struct sensor_component *c, char *out, size_t size) {
    note_set(out, size, "%s", c->missing);
    if (c->fix[0]) {
        note_add(out, size, "", "; to fix it: %s", c->fix);
    }
}

/* Whether the first CPU of /proc/cpuinfo has that word in its description. */
static bool cpu_says(const char *root, const char *word) {
    char path[SYSFILE_PATH_MAX];
    char text[4096];
    return sysfile_path(path, root, "/proc", "cpuinfo") &&
           sysfile_read(path, text, sizeof(text)) >= 0 && strstr(text, word);
}

bool sensor_cpu_is_amd(const char *root) {
    return cpu_says(root, "AuthenticAMD") || cpu_says(root, "HygonGenuine");
}

bool sensor_in_virtual_machine(const char *root) {
    return cpu_says(root, " hypervisor");
}

void sensor_mark_container(struct sensor_component *c, const char *root) {
    if (sensor_in_container(root)) {
        c->info.shared = true;
        note_add(c->info.detail, sizeof(c->info.detail), "; ",
                 "the whole machine, not this container alone");
    }
}

static int is_shown(const struct dirent *d) {
    return d->d_name[0] != '.';
}

static int compare_entries(const struct dirent **a, const struct dirent **b) {
    return strverscmp((*a)->d_name, (*b)->d_name);
}

bool sensor_each_entry(const char *root, const char *dir, void (*fn)(const char *entry, void *ctx),
                       void *ctx) {
    char path[SYSFILE_PATH_MAX];
    struct dirent **entries;
    int len = snprintf(path, sizeof(path), "%s%s", root, dir);
    int n = len > 0 && (size_t)len < sizeof(path)
                ? scandir(path, &entries, is_shown, compare_entries)
                : -1;
    if (n < 0) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        fn(entries[i]->d_name, ctx);
        free(entries[i]);
    }
    free(entries);
    return true;
}

bool sensor_in_container(const char *root) {
    static const char *const marks[] = {"/.dockerenv", "/run/.containerenv"};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        char path[4096];
        int len = snprintf(path, sizeof(path), "%s%s", root, marks[i]);
        if (len > 0 && (size_t)len < sizeof(path) && access(path, F_OK) == 0) {
            return true;
        }
    }
    return false;
}
