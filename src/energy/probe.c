#include "energy/probe.h"
#include "energy/meter_impl.h"
#include "energy/note.h"
#include "energy/sensor.h"

#include "base/clock.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CALLS = 64, MAX_CHANGES = 12, ENOUGH_CHANGES = 8 };
#define TIGHT_NS (100 * NS_PER_MS) /* for what moves every millisecond */
#define PATIENCE_NS (1300 * NS_PER_MS)
#define SLOW_PATIENCE_NS (5 * NS_PER_S) /* for what states a second or more */
#define PAUSE_NS NS_PER_MS
#define CALLS_NS (300 * NS_PER_MS)

const char *probe_state_name(enum probe_state s) {
    static const char *const names[] = {"found", "refused", "absent"};
    return names[s];
}

/* ---- timing ---- */

static double median(double *x, size_t n) {
    stats_sort(x, n);
    return stats_quantile(x, n, 0.5);
}

static struct sensor_value read_component(struct sensor *s, size_t i) {
    struct sensor_value v;
    v.counter = v.power = SENSOR_ABSENT;
    v.counter_why[0] = v.power_why[0] = '\0';
    s->ops->read(s, i, SENSOR_FULL, &v);
    return v;
}

/* A value that is watched for changes. */
struct watched {
    double last;
    bool has_last;
    int64_t changed_ns; /* 0: not yet */
    double gaps_s[MAX_CHANGES];
    size_t n;
};

static void watch_value(struct watched *w, double value, int64_t t_ns) {
    if (w->has_last && value != w->last) {
        if (w->changed_ns && w->n < MAX_CHANGES) {
            w->gaps_s[w->n++] = clock_ns_to_s(t_ns - w->changed_ns);
        }
        w->changed_ns = t_ns;
    }
    w->last = value;
    w->has_last = true;
}

static bool is_watched_enough(const struct watched *w, bool is_there) {
    return !is_there || w->n >= ENOUGH_CHANGES;
}

/* Reads as fast as it goes at first, then with pauses, until both values moved often enough. */
static void time_updates(struct sensor *s, size_t i, struct probe_component *c) {
    struct watched counter = {.n = 0};
    struct watched power = {.n = 0};
    const struct sensor_component *sc = &s->c[i];
    bool is_slow = sc->counter_update_ns >= NS_PER_S || sc->power_update_ns >= NS_PER_S;
    const int64_t begin_ns = clock_mono_ns();
    const int64_t end_ns = begin_ns + (is_slow ? SLOW_PATIENCE_NS : PATIENCE_NS);
    for (int64_t now_ns = begin_ns; now_ns < end_ns; now_ns = clock_mono_ns()) {
        struct sensor_value v = read_component(s, i);
        if (v.counter == SENSOR_OK) {
            watch_value(&counter, v.counter_j, v.counter_ns);
        }
        if (v.power == SENSOR_OK) {
            watch_value(&power, v.power_w, v.power_ns);
        }
        if (is_watched_enough(&counter, c->counter.is_there) &&
            is_watched_enough(&power, c->power.is_there)) {
            break;
        }
        if (now_ns - begin_ns > TIGHT_NS) {
            clock_sleep_until_ns(now_ns + PAUSE_NS);
        }
    }
    c->counter.update_s = counter.n >= 2 ? median(counter.gaps_s, counter.n) : NAN;
    c->power.update_s = power.n >= 2 ? median(power.gaps_s, power.n) : NAN;
}

/* What reads of one depth cost. */
static void time_calls(struct sensor *s, size_t i, enum sensor_depth depth,
                       struct probe_timing *out) {
    double calls_s[MAX_CALLS];
    size_t n = 0;
    const int64_t end_ns = clock_mono_ns() + CALLS_NS;
    while (n < MAX_CALLS && (n == 0 || clock_mono_ns() < end_ns)) {
        struct sensor_value v;
        v.counter = v.power = SENSOR_ABSENT;
        int64_t begin_ns = clock_mono_ns();
        s->ops->read(s, i, depth, &v);
        calls_s[n++] = clock_ns_to_s(clock_mono_ns() - begin_ns);
    }
    out->call_s = median(calls_s, n);
    out->slowest_s = calls_s[n - 1]; /* sorted by now */
}

static void time_component(struct sensor *s, size_t i, struct probe_component *c) {
    bool both = c->counter.is_there && c->power.is_there;
    time_updates(s, i, c);
    if (c->counter.is_there) {
        time_calls(s, i, SENSOR_FULL, &c->counter);
    }
    if (c->power.is_there) {
        time_calls(s, i, both ? SENSOR_FAST : SENSOR_FULL, &c->power);
    }
}

/* ---- sensors ---- */

static struct probe_timing untimed(const char *source, int64_t stated_ns) {
    return (struct probe_timing){.is_there = source[0] != '\0',
                                 .stated_s = clock_ns_to_s(stated_ns),
                                 .update_s = NAN,
                                 .call_s = NAN,
                                 .slowest_s = NAN};
}

static void look_at_component(struct sensor *s, size_t i, bool with_timing,
                              struct probe_component *c) {
    const struct sensor_component *sc = &s->c[i];
    struct sensor_value v = read_component(s, i);
    memset(c, 0, sizeof(*c));
    c->info = sc->info;
    c->counter = untimed(sc->counter_source, sc->counter_update_ns);
    c->power = untimed(sc->power_source, sc->power_update_ns);
    c->is_readable = v.counter == SENSOR_OK || v.power == SENSOR_OK;
    if (c->is_readable) {
        if (with_timing) {
            time_component(s, i, c);
        }
        return;
    }
    const char *why = sc->missing[0] ? sc->missing : v.counter_why[0] ? v.counter_why : v.power_why;
    note_set(c->why, sizeof(c->why), "%s", why);
    note_set(c->fix, sizeof(c->fix), "%s", sc->fix);
}

static void look_inside(struct sensor *s, bool with_timing, struct probe_sensor *out) {
    out->state = PROBE_REFUSED;
    out->n = s->n;
    for (size_t i = 0; i < s->n; i++) {
        look_at_component(s, i, with_timing, &out->c[i]);
        if (out->c[i].is_readable) {
            out->state = PROBE_FOUND;
        }
    }
    if (out->state == PROBE_REFUSED && s->n > 0) {
        note_set(out->why, sizeof(out->why), "%s", out->c[0].why);
        note_set(out->fix, sizeof(out->fix), "%s", out->c[0].fix);
    }
}

static int64_t now_ns(void *ctx) {
    (void)ctx;
    return clock_mono_ns();
}

size_t probe_sensors(const struct probe_opts *opts, struct probe_sensor *out) {
    static const struct meter_opts here;
    const struct meter_opts *mo = opts->meter ? opts->meter : &here;
    const struct sensor_env env = {.root = mo->sysfs_root ? mo->sysfs_root : "",
                                   .nvml_path = mo->nvml_path,
                                   .perf = mo->perf,
                                   .gpus = mo->gpus,
                                   .asked = true,
                                   .now_ns = now_ns};
    size_t n = 0;
    for (size_t i = 0; sensor_table[i] && n < PROBE_MAX_SENSORS; i++) {
        const struct sensor_ops *ops = sensor_table[i];
        struct err e = ERR_INIT;
        struct sensor *s;
        if (ops == &sensor_replay) {
            continue;
        }
        struct probe_sensor *p = &out[n++];
        memset(p, 0, sizeof(*p));
        p->name = ops->name;
        p->what = ops->what;
        p->is_automatic = ops->automatic;
        p->state = PROBE_ABSENT;
        if (sensor_open(&s, ops, &env, &e)) {
            note_set(p->why, sizeof(p->why), "%s", e.msg);
            if (ops->advise) {
                ops->advise(&env, p->fix, sizeof(p->fix));
            }
            continue;
        }
        look_inside(s, opts->with_timing, p);
        sensor_close(s);
    }
    return n;
}

/* ---- what it is worth ---- */

/* Where the modelled part is small, its tolerance is too. */
#define MOSTLY_MODELLED 0.2

static void put_words(struct probe_verdict *v) {
    if (v->is_modelled && v->half_60s > MOSTLY_MODELLED) {
        note_set(v->text, sizeof(v->text),
                 "%s: within ±%.0f %%. Enough to compare runs on this machine, not to put a price "
                 "on. A sensor above that can be made to work is worth it.",
                 v->scope, 100 * v->half_60s);
    } else {
        note_set(
            v->text, sizeof(v->text),
            "%s: a window of a minute is known within ±%.1f %%, one of 10 s within ±%.1f %%. "
            "Two windows of a minute on this machine can be told apart from ±%.1f %% on, since "
            "its sensors err alike in both.",
            v->scope, 100 * v->half_60s, 100 * v->half_10s, 100 * v->apart_60s);
        if (v->is_modelled) {
            note_add(v->text, sizeof(v->text), "", " A small part of it is modelled.");
        }
    }
}

void probe_verdict(const struct meter_reading *r, struct probe_verdict *out) {
    struct meter_total t;
    memset(out, 0, sizeof(*out));
    meter_total(r, NULL, 0, &t);
    memcpy(out->scope, t.scope, sizeof(out->scope));
    out->half_10s = out->half_60s = out->apart_60s = NAN;
    if (t.quality == METER_MISSING || !(t.joules > 0)) {
        note_set(out->text, sizeof(out->text), "no joules: %.480s", t.reason);
        return;
    }
    double seconds = t.joules / t.mean_w;
    double gain = t.gain_j / t.joules;
    double edge_s = ((t.high_j - t.joules) / t.joules - gain) * seconds;
    out->has_figure = true;
    out->is_modelled = t.quality == METER_MODELLED;
    out->half_10s = gain + edge_s / 10;
    out->half_60s = gain + edge_s / 60;
    out->apart_60s = 2 * edge_s / 60;
    put_words(out);
}
