/* Idle baselines: mean power with a stopping rule (docs/energy.md, E5). */
#include "energy/meter_impl.h"
#include "energy/note.h"

#include "base/clock.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

#define MIN_BATCHES 5
#define SETTLED_RELATIVE 0.02
#define MIN_BATCH_NS NS_PER_S

/* Running mean and sum of squared deviations (Welford 1962). */
struct batches {
    uint64_t n;
    double mean, m2;
    double last_j;
    int64_t last_ns;
};

static void batches_add(struct batches *b, double x) {
    double d = x - b->mean;
    b->n++;
    b->mean += d / (double)b->n;
    b->m2 += d * (x - b->mean);
}

static double half_width(const struct batches *b) {
    if (b->n < 2) {
        return INFINITY;
    }
    double variance = b->m2 / (double)(b->n - 1);
    return stats_t_quantile(0.975, (double)(b->n - 1)) * sqrt(variance / (double)b->n);
}

/* Batches shorter than the slowest source's memory would not be independent. */
static int64_t batch_ns(const struct meter *m) {
    int64_t longest = MIN_BATCH_NS;
    for (size_t i = 0; i < m->n; i++) {
        const struct sensor_component *c = meter_component_of(&m->ch[i]);
        int64_t need = 2 * (c->power_source[0] ? c->power_update_ns : c->counter_update_ns);
        longest = need > longest ? need : longest;
    }
    return longest;
}

static int64_t series_time_ns(const struct series *s) {
    return s->now.power.valid ? s->now.power.t_ns : s->now.counter.t_ns;
}

/* Ends the batch of each component that could be read at both of its ends. */
static void end_batches(struct meter *m, struct batches *b) {
    for (size_t i = 0; i < m->n; i++) {
        const struct series *s = &m->ch[i].series;
        double joules = series_joules(s);
        int64_t t_ns = series_time_ns(s);
        if (series_alive(s) && b[i].last_ns > 0 && t_ns > b[i].last_ns) {
            batches_add(&b[i], (joules - b[i].last_j) / clock_ns_to_s(t_ns - b[i].last_ns));
        }
        b[i].last_ns = series_alive(s) ? t_ns : 0;
        b[i].last_j = joules;
    }
}

static bool settled(const struct meter *m, const struct batches *b) {
    for (size_t i = 0; i < m->n; i++) {
        if (!series_alive(&m->ch[i].series)) {
            continue; /* waiting for it would never end */
        }
        if (b[i].n < MIN_BATCHES || half_width(&b[i]) > SETTLED_RELATIVE * b[i].mean) {
            return false;
        }
    }
    return true;
}

static void sample_batches(struct meter *m, struct batches *b, bool *done) {
    pthread_mutex_lock(&m->lock);
    meter_sample(m, SENSOR_FULL);
    end_batches(m, b);
    *done = settled(m, b);
    pthread_mutex_unlock(&m->lock);
}

static void report(const struct meter_reading *r, const struct batches *b, struct meter_idle *out) {
    out->seconds = clock_ns_to_s(r->end_ns - r->start_ns);
    out->n = r->n;
    for (size_t i = 0; i < r->n; i++) {
        struct meter_idle_component *c = &out->c[i];
        memcpy(c->name, r->c[i].name, sizeof(c->name));
        c->quality = r->c[i].quality;
        if (c->quality != METER_MISSING) {
            c->mean_w = r->c[i].mean_w;
            c->half_width_w = b[i].n >= 2 ? half_width(&b[i]) : r->c[i].mean_w;
        }
    }
}

/* The model of watched processes has its own: what was measured before holds whatever else ran on the
 * machine. */
bool meter_idle_of(const struct meter_idle *idle, const struct sensor_component *c,
                   struct meter_idle_component *out) {
    memset(out, 0, sizeof(*out));
    out->quality = METER_MODELLED;
    bool found = c->own_idle_w > 0 && !idle;
    for (size_t i = 0; idle && !found && i < idle->n; i++) {
        if (strcmp(idle->c[i].name, c->info.name) == 0) {
            *out = idle->c[i];
            found = true;
        }
    }
    if (found && c->own_idle_w > 0 && out->quality != METER_MISSING) {
        out->mean_w = c->own_idle_w;
        out->half_width_w = 0;
    }
    return found;
}

void meter_idle_total(struct meter *m, const struct meter_idle *idle, struct meter_total *out) {
    struct meter_reading r;
    memset(&r, 0, sizeof(r));
    pthread_mutex_lock(&m->lock);
    r.n = m->n;
    for (size_t i = 0; i < m->n; i++) {
        const struct sensor_component *c = meter_component_of(&m->ch[i]);
        struct component_reading *part = &r.c[i];
        struct meter_idle_component own;
        memcpy(part->name, c->info.name, sizeof(part->name));
        memcpy(part->scope, c->info.scope, sizeof(part->scope));
        part->modelled = c->info.modelled;
        part->whole = c->info.whole;
        part->shared = c->info.shared;
        part->coverage = 1;
        if (!meter_idle_of(idle, c, &own) || own.quality == METER_MISSING) {
            part->quality = METER_MISSING;
            note_set(part->reason, sizeof(part->reason), "no idle power was measured");
            continue;
        }
        double half = own.half_width_w + c->info.gain * own.mean_w;
        part->quality = own.quality;
        part->gain = c->info.gain;
        part->mean_w = part->joules = own.mean_w;
        part->low_j = own.mean_w - half;
        part->high_j = own.mean_w + half;
    }
    pthread_mutex_unlock(&m->lock);
    meter_total(&r, NULL, 0, out);
}

static bool is_stopped(const struct meter *m) {
    return m->stop && *m->stop;
}

int meter_measure_idle(struct meter *m, double max_seconds, struct meter_idle *out, struct err *e) {
    struct batches b[METER_MAX_COMPONENTS];
    struct meter_reading r;
    memset(b, 0, sizeof(b));
    memset(out, 0, sizeof(*out));
    if (!(max_seconds > 0)) {
        return err_set(e, EE_USAGE, "idle power over %g s: the time must be positive", max_seconds);
    }
    if (m->n == 0) {
        return err_set(e, EE_MISSING, "idle power: no energy sensor is in use");
    }
    int id = meter_window_open(m, "idle", METER_NO_PARENT, e);
    if (id < 0) {
        return id;
    }
    bool done = false;
    int64_t now_ns = meter_now_ns(m);
    const int64_t end_ns = now_ns + (int64_t)(max_seconds * 1e9);
    const int64_t step_ns = batch_ns(m);
    sample_batches(m, b, &done);
    for (done = false; !done && !is_stopped(m) && now_ns < end_ns; now_ns = meter_now_ns(m)) {
        int64_t next_ns = now_ns + step_ns;
        m->clock.wait_until(m->clock.ctx, next_ns < end_ns ? next_ns : end_ns);
        sample_batches(m, b, &done);
    }
    out->settled = done;
    int rc = meter_window_close(m, id, &r, e);
    if (rc == 0 && is_stopped(m)) {
        rc = err_set(e, EE_STOPPED, "stopped while idle power was measured");
    }
    if (rc == 0) {
        report(&r, b, out);
    }
    return rc;
}
