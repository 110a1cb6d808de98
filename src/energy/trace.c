/*
 * Power traces of bounded size. Neighbouring points merge when a trace is full, so a trace of any
 * length keeps its whole extent and its exact energy, at half the resolution.
 */
#include "energy/meter_impl.h"

#include "base/clock.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIN_POINTS 2

static void add_to(struct trace_point *p, const struct trace_point *q) {
    p->end_ns = q->end_ns;
    p->covered_ns += q->covered_ns;
    p->joules += q->joules;
}

/* Merges pairs. n is even: only a full trace is halved, and max is even. */
static void halve(struct trace_component *c) {
    for (size_t i = 0; i + 1 < c->n; i += 2) {
        c->points[i / 2] = c->points[i];
        add_to(&c->points[i / 2], &c->points[i + 1]);
    }
    c->n /= 2;
    c->per_point *= 2;
}

static void append(struct trace_component *c, size_t max, int64_t period_ns,
                   const struct series_step *step) {
    struct trace_point p = {step->start_ns, step->end_ns, step->end_ns - step->start_ns,
                            step->joules};
    if (c->begun) {
        add_to(&c->points[c->n], &p);
    } else {
        if (c->n == max) {
            halve(c);
        }
        c->points[c->n] = p;
        c->begun = true;
    }
    /* A sliver before or after a window's edge has no power of its own: it joins the next one. */
    c->since_ns += p.covered_ns;
    if (2 * c->since_ns < period_ns) {
        return;
    }
    c->since_ns = 0;
    if (++c->intervals >= c->per_point) {
        c->intervals = 0;
        c->begun = false;
        c->n++;
    }
}

void trace_take(struct meter *m, size_t i, const struct series_step *step) {
    for (size_t t = 0; t < METER_MAX_TRACES; t++) {
        struct trace *tr = &m->traces[t];
        if (tr->running && step->start_ns >= tr->floor_ns) {
            append(&tr->c[i], tr->max, m->period_ns, step);
        }
    }
}

static void release(struct trace *t) {
    for (size_t i = 0; i < METER_MAX_COMPONENTS; i++) {
        free(t->c[i].points);
        t->c[i].points = NULL;
    }
    t->running = false;
}

void traces_release(struct meter *m) {
    for (size_t t = 0; t < METER_MAX_TRACES; t++) {
        release(&m->traces[t]);
    }
}

static int trace_begin_locked(struct meter *m, size_t max_points, struct err *e) {
    int slot = 0;
    while (slot < METER_MAX_TRACES && m->traces[slot].running) {
        slot++;
    }
    if (slot == METER_MAX_TRACES) {
        return err_set(e, EE_FAIL, "%d power traces are running already", METER_MAX_TRACES);
    }
    struct trace *t = &m->traces[slot];
    memset(t, 0, sizeof(*t));
    t->max = (max_points < MIN_POINTS ? MIN_POINTS : max_points) & ~(size_t)1;
    for (size_t i = 0; i < m->n; i++) {
        t->c[i].per_point = 1;
        t->c[i].points = calloc(t->max, sizeof(*t->c[i].points));
        if (!t->c[i].points) {
            release(t);
            return err_set(e, EE_NOMEM, "out of memory for a power trace of %zu points", t->max);
        }
    }
    t->floor_ns = meter_now_ns(m);
    meter_sample(m, SENSOR_FULL);
    m->generation++;
    t->id = slot + METER_MAX_TRACES * (m->generation & 0xffffff);
    t->start_ns = meter_now_ns(m);
    t->running = true;
    return t->id;
}

int meter_trace_begin(struct meter *m, size_t max_points, struct err *e) {
    pthread_mutex_lock(&m->lock);
    int id = trace_begin_locked(m, max_points, e);
    pthread_mutex_unlock(&m->lock);
    return id;
}

/* A sliver at the trace's end joins the point before it: where a model's counter is corrected there, it
 * would show power below zero. */
static void end_points(struct trace_component *c, int64_t period_ns) {
    if (c->begun && c->n > 0 && 2 * c->points[c->n].covered_ns < period_ns) {
        add_to(&c->points[c->n - 1], &c->points[c->n]);
        c->begun = false;
    }
}

static void export_points(struct trace_component *c, size_t n, struct meter_point *out) {
    for (size_t i = 0; i < n; i++) {
        const struct trace_point *p = &c->points[i];
        out[i] = (struct meter_point){
            .start_ns = p->start_ns,
            .end_ns = p->end_ns,
            .watts = p->joules / clock_ns_to_s(p->covered_ns),
            .joules = p->joules,
        };
    }
}

static int export_trace(const struct meter *m, struct trace *t, struct meter_trace *out,
                        struct err *e) {
    memset(out, 0, sizeof(*out));
    out->start_ns = t->start_ns;
    out->end_ns = meter_now_ns(m);
    out->n = m->n;
    for (size_t i = 0; i < m->n; i++) {
        struct meter_trace_component *to = &out->c[i];
        const struct sensor_component *c = meter_component_of(&m->ch[i]);
        end_points(&t->c[i], m->period_ns);
        size_t n = t->c[i].n + t->c[i].begun;
        memcpy(to->name, c->info.name, sizeof(to->name));
        memcpy(to->scope, c->info.scope, sizeof(to->scope));
        to->gain = c->info.gain;
        to->update_ns = c->power_source[0] ? c->power_update_ns : c->counter_update_ns;
        to->modelled = c->info.modelled;
        to->points = n ? malloc(n * sizeof(*to->points)) : NULL;
        if (n && !to->points) {
            meter_trace_release(out);
            return err_set(e, EE_NOMEM, "out of memory for a power trace of %zu points", n);
        }
        to->n_points = n;
        export_points(&t->c[i], n, to->points);
    }
    return 0;
}

int meter_trace_end(struct meter *m, int id, struct meter_trace *out, struct err *e) {
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    struct trace *t = id < 0 ? NULL : &m->traces[id % METER_MAX_TRACES];
    if (!t || !t->running || t->id != id) {
        rc = err_set(e, EE_USAGE, "power trace %d is not running", id);
    } else {
        if (out) {
            meter_sample(m, SENSOR_FULL);
            rc = export_trace(m, t, out, e);
        }
        release(t);
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

void meter_trace_release(struct meter_trace *t) {
    for (size_t i = 0; i < METER_MAX_COMPONENTS; i++) {
        free(t->c[i].points);
    }
    memset(t, 0, sizeof(*t));
}

/* ---- as a recording ---- */

/* A component that could not be read has no points, and a recording none of its samples. */
static json_t *replay_header(const struct meter_trace *t) {
    json_t *components = json_array();
    for (size_t i = 0; i < t->n; i++) {
        const struct meter_trace_component *c = &t->c[i];
        if (c->n_points == 0) {
            continue;
        }
        json_array_append_new(components, json_pack("{s:s, s:s, s:f, s:f, s:b}", "name", c->name,
                                                    "scope", c->scope, "gain", c->gain, "update_ms",
                                                    (double)c->update_ns / (double)NS_PER_MS,
                                                    "modelled", (int)c->modelled));
    }
    return json_pack("{s:i, s:o}", "edge_eval_power", 1, "components", components);
}

static int write_line(json_t *line, struct buf *out, struct err *e) {
    if (!line) {
        return err_set(e, EE_NOMEM, "out of memory for a power recording");
    }
    int rc = json_write(line, out, e);
    buf_addch(out, '\n');
    json_decref(line);
    return rc;
}

static int write_sample(const struct meter_trace *t, const char *name, int64_t at_ns, double watts,
                        struct buf *out, struct err *e) {
    double t_s = clock_ns_to_s(at_ns - t->start_ns);
    /* The readings of the opening edge are taken just before start_ns. */
    return write_line(json_pack("{s:f, s:{s:f}}", "t_s", t_s < 0 ? 0 : t_s, name, "w", watts), out,
                      e);
}

int meter_trace_to_replay(const struct meter_trace *t, struct buf *out, struct err *e) {
    int rc = write_line(replay_header(t), out, e);
    for (size_t i = 0; i < t->n && rc == 0; i++) {
        const struct meter_trace_component *c = &t->c[i];
        for (size_t k = 0; k < c->n_points && rc == 0; k++) {
            rc = write_sample(t, c->name, c->points[k].start_ns, c->points[k].watts, out, e);
        }
        if (c->n_points > 0 && rc == 0) {
            const struct meter_point *last = &c->points[c->n_points - 1];
            rc = write_sample(t, c->name, last->end_ns, last->watts, out, e);
        }
    }
    return rc < 0 ? rc : buf_check(out, "power recording", e);
}
