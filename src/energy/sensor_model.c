/*
 * CPU packages without a sensor: a model from CPU time, always labelled "modelled".
 *
 *     P = TDP * (0.1 + 0.9 * u^3)                                          docs/energy.md, E6
 *
 * u is the CPU time of the watched processes (all processes when none is watched) over the time
 * of all hardware threads, each taken over the same measured interval. The cube is not linear, so
 * an interval must be long enough for u to be known in it: readings that come sooner extend the
 * last power instead. The model is good to +-40 % at best, and the label says so.
 */
#include "energy/cpu_tdp.h"
#include "energy/cputime.h"
#include "energy/note.h"
#include "energy/proctree.h"
#include "energy/sensor.h"
#include "energy/sysfile.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAIN_MODEL 0.40
#define DEFAULT_THREAD_W 4
/* /proc/stat counts ticks of 10 ms a thread, process clocks count nanoseconds. */
#define MACHINE_INTERVAL_NS (100 * NS_PER_MS)
#define PROCESS_INTERVAL_NS (20 * NS_PER_MS)
/* Looking for new processes may take at most this share of the time. */
#define SCAN_SHARE 50

struct model {
    char stat_path[SYSFILE_PATH_MAX];
    char root[SYSFILE_PATH_MAX];
    double tdp_w;
    int threads;
    struct proctree tree;
    int64_t next_scan_ns;

    bool started;
    int64_t t_ns;   /* the interval under way began here, */
    int64_t cpu_ns; /* with this CPU time */
    double joules;  /* up to there */
    double watts;   /* over the interval before it */
};

/* ---- CPU time ---- */

static bool scan_due(struct model *md, int64_t now_ns, enum sensor_depth depth) {
    return depth == SENSOR_FULL || now_ns >= md->next_scan_ns;
}

static int cpu_time_ns(struct model *md, int64_t now_ns, enum sensor_depth depth, int64_t *out) {
    if (md->tree.n_roots == 0) {
        return cputime_machine_ns(md->stat_path, out);
    }
    if (scan_due(md, now_ns, depth)) {
        int64_t began_ns = clock_mono_ns();
        proctree_update(&md->tree, true);
        md->next_scan_ns = now_ns + SCAN_SHARE * (clock_mono_ns() - began_ns);
    } else {
        proctree_update(&md->tree, false);
    }
    *out = md->tree.cpu_ns;
    return 0;
}

/* ---- the model ---- */

static double power_w(const struct model *md, int64_t cpu_ns, int64_t span_ns) {
    double u = (double)cpu_ns / ((double)span_ns * md->threads);
    u = u < 0 ? 0 : u > 1 ? 1 : u; /* a share; ticks can make it a little more */
    return md->tdp_w * (0.1 + 0.9 * u * u * u);
}

static void restart(struct model *md, int64_t now_ns, int64_t cpu_ns) {
    md->started = true;
    md->t_ns = now_ns;
    md->cpu_ns = cpu_ns;
}

static void commit(struct model *md, int64_t now_ns, int64_t cpu_ns) {
    if (md->started && now_ns > md->t_ns) {
        md->watts = power_w(md, cpu_ns - md->cpu_ns, now_ns - md->t_ns);
        md->joules += md->watts * clock_ns_to_s(now_ns - md->t_ns);
    }
    restart(md, now_ns, cpu_ns);
}

static void model_read(struct sensor *s, size_t i, enum sensor_depth depth,
                       struct sensor_value *out) {
    (void)i;
    struct model *md = s->state;
    int64_t now_ns = sensor_now_ns(s);
    int64_t cpu_ns;
    int rc = cpu_time_ns(md, now_ns, depth, &cpu_ns);
    if (rc < 0) {
        md->started = false;
        out->counter = SENSOR_FAILED;
        note_set(out->counter_why, sizeof(out->counter_why), "cannot read %s: %s", md->stat_path,
                 rc == -EINVAL ? "unknown format" : strerror(-rc));
        return;
    }
    if (!md->started) {
        restart(md, now_ns, cpu_ns);
    } else if (now_ns - md->t_ns >= s->c[0].counter_update_ns) {
        commit(md, now_ns, cpu_ns);
    }
    sensor_value_ok_counter(out, now_ns, md->joules + md->watts * clock_ns_to_s(now_ns - md->t_ns));
}

/* Closes the interval under way, so that none mixes two sets of processes. */
static void before_change(struct sensor *s) {
    struct model *md = s->state;
    int64_t now_ns = sensor_now_ns(s);
    int64_t cpu_ns;
    if (md->started && cpu_time_ns(md, now_ns, SENSOR_FULL, &cpu_ns) == 0) {
        commit(md, now_ns, cpu_ns);
    }
}

/* The next interval begins where the last one ended, with the new set's CPU time. */
static void after_change(struct sensor *s) {
    struct model *md = s->state;
    int64_t cpu_ns;
    bool machine = md->tree.n_roots == 0;
    s->c[0].counter_update_ns = machine || !md->tree.clocks ? MACHINE_INTERVAL_NS
                                                            : PROCESS_INTERVAL_NS;
    s->c[0].own_idle_w = machine ? 0 : power_w(md, 0, NS_PER_S);
    if (md->started && cpu_time_ns(md, sensor_now_ns(s), SENSOR_FULL, &cpu_ns) == 0) {
        md->cpu_ns = cpu_ns;
    }
}

static int model_watch(struct sensor *s, pid_t pid, struct err *e) {
    struct model *md = s->state;
    before_change(s);
    int rc = proctree_watch(&md->tree, pid, e);
    after_change(s);
    return rc;
}

static void model_unwatch(struct sensor *s, pid_t pid) {
    struct model *md = s->state;
    before_change(s);
    proctree_unwatch(&md->tree, pid);
    after_change(s);
}

/* ---- probing ---- */

struct cpuinfo {
    char model[128];
    int packages;
};

/* The value of "key : value" at the start of a line, or NULL. */
static const char *line_value(const char *line, const char *key) {
    size_t len = strlen(key);
    if (strncmp(line, key, len) != 0) {
        return NULL;
    }
    const char *colon = line + len + strspn(line + len, " \t");
    return *colon == ':' ? colon + 1 + strspn(colon + 1, " \t") : NULL;
}

static void parse_cpuinfo(const char *text, struct cpuinfo *out) {
    uint64_t seen = 0;
    *out = (struct cpuinfo){.packages = 1};
    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        const char *model = line_value(line, "model name");
        const char *package = line_value(line, "physical id");
        if (model && !out->model[0]) {
            note_set(out->model, sizeof(out->model), "%.*s", (int)strcspn(model, "\n"), model);
        }
        if (package) {
            seen |= UINT64_C(1) << (strtoul(package, NULL, 10) & 63);
        }
    }
    if (seen) {
        out->packages = __builtin_popcountll(seen);
    }
}

/* Lines "cpu0", "cpu1", ... of /proc/stat: every online thread of the machine. */
static int count_threads(const char *stat) {
    int n = 0;
    for (const char *at = stat; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        n += strncmp(at, "cpu", 3) == 0 && at[3] >= '0' && at[3] <= '9';
    }
    return n;
}

static int read_proc(const char *root, const char *name, struct buf *out, struct err *e) {
    char path[SYSFILE_PATH_MAX];
    buf_clear(out);
    note_set(path, sizeof(path), "%s/proc/%s", root, name); /* fits: probe has checked root */
    return fs_read(path, out, e);
}

/*
 * Package TDPs by the table, scaled down to the threads that this machine has of them: a virtual
 * machine with 4 of 128 threads does not draw a whole package.
 */
static void choose_tdp(struct model *md, const struct cpuinfo *cpu, struct sensor_component *c) {
    const struct cpu_tdp *row = cpu_tdp_find(cpu->model);
    if (!row) {
        md->tdp_w = DEFAULT_THREAD_W * md->threads;
        note_set(c->info.detail, sizeof(c->info.detail),
                 "model of CPU time, TDP %g W (assumed: %d W for each of %d hardware threads; "
                 "\"%s\" is not in the table)",
                 md->tdp_w, DEFAULT_THREAD_W, md->threads,
                 cpu->model[0] ? cpu->model : "unknown CPU");
        return;
    }
    double share = (double)md->threads / (row->threads * cpu->packages);
    share = share < 1 ? share : 1;
    md->tdp_w = row->tdp_w * cpu->packages * share;
    note_set(c->info.detail, sizeof(c->info.detail),
             "model of CPU time, TDP %.4g W (%g W a package, %s, for %d of %d hardware threads)",
             md->tdp_w, row->tdp_w, row->source, md->threads, row->threads * cpu->packages);
}

static int read_machine(struct model *md, struct sensor_component *c, struct err *e) {
    struct cpuinfo cpu;
    struct buf text;
    buf_init(&text);
    int rc = read_proc(md->root, "stat", &text, e);
    if (rc == 0) {
        md->threads = count_threads(text.data);
        if (md->threads == 0) {
            rc = err_set(e, EE_FORMAT, "%s names no CPU", md->stat_path);
        }
    }
    if (rc == 0) {
        if (read_proc(md->root, "cpuinfo", &text, NULL) < 0) {
            buf_clear(&text);
        }
        parse_cpuinfo(text.data, &cpu);
        choose_tdp(md, &cpu, c);
    }
    buf_release(&text);
    return rc;
}

static int model_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct model *md = calloc(1, sizeof(*md));
    s->state = md;
    if (!md) {
        return err_set(e, EE_NOMEM, "out of memory for the CPU model");
    }
    if (strlen(env->root) + 64 > sizeof(md->root)) {
        return err_set(e, EE_USAGE, "sysfs root %s: the path is too long", env->root);
    }
    note_set(md->root, sizeof(md->root), "%s", env->root);
    note_set(md->stat_path, sizeof(md->stat_path), "%s/proc/stat", env->root);
    proctree_init(&md->tree, md->root);

    struct sensor_component *c = sensor_add(s, "cpu", "cpu");
    c->info.gain = GAIN_MODEL;
    c->info.modelled = true;
    c->counter_update_ns = MACHINE_INTERVAL_NS;
    note_set(c->counter_source, sizeof(c->counter_source), "modelled");
    note_set(c->info.source, sizeof(c->info.source), "modelled");
    int rc = read_machine(md, c, e);
    return rc < 0 ? err_set(e, EE_MISSING, "no CPU time in %s", md->stat_path) : 0;
}

static void model_close(struct sensor *s) {
    free(s->state);
}

const struct sensor_ops sensor_model = {
    .name = "model",
    .what = "CPU packages without a sensor, by a model of CPU time",
    .covers = SENSOR_CPU,
    .automatic = true,
    .probe = model_probe,
    .read = model_read,
    .watch = model_watch,
    .unwatch = model_unwatch,
    .close = model_close,
};
