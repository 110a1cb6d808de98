#include "energy/baseline.h"
#include "energy/note.h"
#include "energy/sysfile.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FORMAT 1
#define DEFAULT_SECONDS 60
#define DEFAULT_EXPIRY_S 86400

/* ---- what idle power depends on ---- */

/* Adds the first line of a file, where there is one. */
static void put_line(json_t *o, const char *key, const char *root, const char *dir,
                     const char *file) {
    char path[SYSFILE_PATH_MAX];
    char text[128];
    if (sysfile_path(path, root, dir, file) && sysfile_read_line(path, text, sizeof(text)) > 0) {
        text[strcspn(text, "\n")] = '\0';
        json_object_set_new(o, key, json_string(text));
    }
}

static json_t *component_json(struct meter *m, size_t i) {
    struct meter_component c;
    struct meter_gpu_state g;
    meter_component_info(m, i, &c);
    json_t *o = json_pack("{s:s, s:s, s:s}", "name", c.name, "source", c.source, "device",
                          c.device_id);
    if (meter_gpu_state(m, i, &g, NULL) == 0) {
        json_object_set_new(o, "mig", json_boolean(g.mig));
        if (isfinite(g.power_limit_w)) {
            json_object_set_new(o, "power_limit_w", json_real(g.power_limit_w));
        }
        if (isfinite(g.max_sm_mhz)) {
            json_object_set_new(o, "max_sm_mhz", json_real(g.max_sm_mhz));
        }
    }
    return o;
}

static json_t *machine_json(struct meter *m, const char *root) {
    static const char cpu[] = "/sys/devices/system/cpu";
    json_t *o = json_object();
    json_t *sensors = json_array();
    put_line(o, "machine", root, "/etc", "machine-id");
    put_line(o, "kernel", root, "/proc/sys/kernel", "osrelease");
    put_line(o, "NVIDIA driver", root, "/sys/module/nvidia", "version");
    put_line(o, "clock governor", root, cpu, "cpu0/cpufreq/scaling_governor");
    put_line(o, "clock driver", root, cpu, "cpu0/cpufreq/scaling_driver");
    put_line(o, "clock limit", root, cpu, "cpu0/cpufreq/scaling_max_freq");
    put_line(o, "turbo switch", root, cpu, "intel_pstate/no_turbo");
    put_line(o, "boost switch", root, cpu, "cpufreq/boost");
    put_line(o, "hardware threads", root, cpu, "online");
    for (size_t i = 0; i < meter_n_components(m); i++) {
        json_array_append_new(sensors, component_json(m, i));
    }
    json_object_set_new(o, "sensors", sensors);
    return o;
}

/* The first key in which two descriptions differ, or NULL. */
static const char *difference(const json_t *a, const json_t *b) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)a, key, value) {
        if (!json_equal(value, json_object_get(b, key))) {
            return key;
        }
    }
    json_object_foreach((json_t *)b, key, value) {
        if (!json_object_get(a, key)) {
            return key;
        }
    }
    return NULL;
}

/* ---- the cache ---- */

static char *default_dir(void) {
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (cache && cache[0] == '/') {
        return fs_join(cache, "edge-eval/idle");
    }
    return home && home[0] == '/' ? fs_join(home, ".cache/edge-eval/idle") : NULL;
}

/* "bare-0123456789abcdef.json", so that machines that share a home directory do not share it. */
static char *file_path(const struct baseline_opts *o, const json_t *machine) {
    char hex[HASH_HEX_SIZE];
    char name[160];
    const char *id = json_str_or(machine, "machine", "");
    char *dir = o->dir ? strdup(o->dir) : default_dir();
    hash_bytes(id, strlen(id), hex);
    note_set(name, sizeof(name), "%.100s-%.16s.json", o->kind, hex);
    for (char *c = name; *c; c++) {
        *c = isalnum((unsigned char)*c) || strchr("-_.", *c) ? *c : '_';
    }
    char *path = dir ? fs_join(dir, name) : NULL;
    free(dir);
    return path;
}

static bool parse_component(const json_t *o, struct meter_idle_component *c) {
    const char *name = json_str_or(o, "name", "");
    const char *quality = json_str_or(o, "quality", "");
    c->mean_w = json_num_or(o, "mean_w", NAN);
    c->half_width_w = json_num_or(o, "half_width_w", NAN);
    note_set(c->name, sizeof(c->name), "%s", name);
    for (int q = METER_COUNTER; q < METER_MISSING; q++) {
        if (strcmp(quality, meter_quality_name((enum meter_quality)q)) == 0) {
            c->quality = (enum meter_quality)q;
            return name[0] && isfinite(c->mean_w) && c->mean_w >= 0 && isfinite(c->half_width_w) &&
                   c->half_width_w >= 0;
        }
    }
    return false;
}

static bool parse_idle(const json_t *o, struct meter_idle *out) {
    const json_t *list = json_object_get(o, "components");
    memset(out, 0, sizeof(*out));
    out->settled = true;
    out->seconds = json_num_or(o, "seconds", NAN);
    out->n = json_array_size(list);
    if (out->n == 0 || out->n > METER_MAX_COMPONENTS || !(out->seconds > 0)) {
        return false;
    }
    for (size_t i = 0; i < out->n; i++) {
        if (!parse_component(json_array_get(list, i), &out->c[i])) {
            return false;
        }
    }
    return true;
}

/* Whether what lies at path may be used; the note says why not. */
static bool use_file(const struct baseline_opts *o, const char *path, const json_t *machine,
                     struct baseline *out) {
    struct err e = ERR_INIT;
    json_t *file = NULL;
    bool usable = false;
    if (!fs_exists(path)) {
        note_set(out->note, sizeof(out->note), "no idle baseline has been measured");
        return false;
    }
    if (json_parse_file(path, &file, &e)) {
        note_set(out->note, sizeof(out->note), "the idle baseline kept is damaged: %.180s", e.msg);
        return false;
    }
    const json_t *then = json_object_get(file, "machine");
    const char *changed = difference(machine, then);
    out->age_s = o->now_unix_s - json_num_or(file, "measured_unix_s", NAN);
    if (json_int_or(file, "edge_eval_idle", 0) != FORMAT || !json_is_object(then) ||
        !isfinite(out->age_s)) {
        note_set(out->note, sizeof(out->note), "the idle baseline kept has another format");
    } else if (changed) {
        note_set(out->note, sizeof(out->note), "not the same as when idle power was measured: %s",
                 changed);
    } else if (out->age_s < 0 || out->age_s > o->expiry_s) {
        note_set(out->note, sizeof(out->note), "the idle baseline kept is %.1f h old",
                 out->age_s / 3600);
    } else if (!parse_idle(file, &out->idle)) {
        note_set(out->note, sizeof(out->note), "the idle baseline kept is damaged");
    } else {
        usable = true;
    }
    json_decref(file);
    return usable;
}

static json_t *components_json(const struct meter_idle *idle) {
    json_t *list = json_array();
    for (size_t i = 0; i < idle->n; i++) {
        const struct meter_idle_component *c = &idle->c[i];
        if (c->quality != METER_MISSING) {
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:f, s:f}", "name", c->name, "quality",
                                            meter_quality_name(c->quality), "mean_w", c->mean_w,
                                            "half_width_w", c->half_width_w));
        }
    }
    return list;
}

static int write_file(const struct baseline_opts *o, const char *path, json_t *machine,
                      const struct meter_idle *idle, struct err *e) {
    struct buf text;
    char *dir = fs_dirname(path);
    buf_init(&text);
    json_t *file = json_pack("{s:i, s:s, s:f, s:f, s:O, s:o}", "edge_eval_idle", FORMAT, "kind",
                             o->kind, "measured_unix_s", o->now_unix_s, "seconds", idle->seconds,
                             "machine", machine, "components", components_json(idle));
    int rc = dir ? fs_mkdirs(dir, e) : err_set(e, EE_NOMEM, "out of memory");
    rc = rc ? rc : json_write(file, &text, e);
    rc = rc ? rc : fs_write_atomic(path, text.data, text.len, e);
    json_decref(file);
    buf_release(&text);
    free(dir);
    return rc;
}

/* ---- measuring ---- */

/* Somebody else's work on a GPU is no idle power of a bare machine. */
static void doubt_busy_gpus(struct meter *m, const struct baseline_opts *o, struct baseline *out) {
    for (size_t i = 0; i < meter_n_components(m) && strcmp(o->kind, "bare") == 0; i++) {
        struct meter_gpu_state g;
        struct meter_component c;
        if (meter_gpu_state(m, i, &g, NULL) == 0 && g.n_pids > 0) {
            meter_component_info(m, i, &c);
            note_add(out->note, sizeof(out->note), "; ", "%zu process%s on %s: not a bare machine",
                     g.n_pids, g.n_pids == 1 ? " is" : "es are", c.name);
        }
    }
}

static int measure(struct meter *m, const struct baseline_opts *o, const char *path,
                   json_t *machine, struct baseline *out, struct err *e) {
    struct err ignored = ERR_INIT;
    if (o->settle_s > 0) {
        clock_sleep_until_ns(clock_mono_ns() + (int64_t)(o->settle_s * 1e9));
    }
    int rc = meter_measure_idle(m, o->max_seconds, &out->idle, e);
    if (rc) {
        return rc;
    }
    out->age_s = 0;
    out->note[0] = '\0';
    doubt_busy_gpus(m, o, out);
    if (!out->idle.settled) {
        note_add(out->note, sizeof(out->note), "; ",
                 "idle power did not settle within %.0f s, so that it is not kept", o->max_seconds);
    } else if (!path) {
        note_add(out->note, sizeof(out->note), "; ",
                 "not kept: neither XDG_CACHE_HOME nor HOME is set");
    } else if (!out->note[0] && write_file(o, path, machine, &out->idle, &ignored)) {
        note_add(out->note, sizeof(out->note), "; ", "not kept: %.180s", ignored.msg);
    }
    return 0;
}

int baseline_get(struct meter *m, const struct baseline_opts *opts, struct baseline *out,
                 struct err *e) {
    struct baseline_opts o = *opts;
    o.kind = o.kind ? o.kind : "bare";
    o.max_seconds = o.max_seconds > 0 ? o.max_seconds : DEFAULT_SECONDS;
    o.expiry_s = o.expiry_s > 0 ? o.expiry_s : DEFAULT_EXPIRY_S;
    o.now_unix_s = o.now_unix_s > 0 ? o.now_unix_s : (double)time(NULL);
    memset(out, 0, sizeof(*out));
    json_t *machine = machine_json(m, o.sysfs_root ? o.sysfs_root : "");
    char *path = file_path(&o, machine);
    int rc = 0;
    if (o.use != BASELINE_MEASURE && path && use_file(&o, path, machine, out)) {
        out->is_cached = true;
    } else if (o.use == BASELINE_CACHED) {
        rc = err_set(e, EE_MISSING, "%s", path ? out->note : "there is no cache directory");
    } else {
        rc = measure(m, &o, path, machine, out, e);
    }
    free(path);
    json_decref(machine);
    return rc;
}
