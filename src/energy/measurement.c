#include "energy/measurement.h"
#include "energy/note.h"

#include "base/clock.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE 0.95
#define J_PER_KWH 3.6e6

/* ---- GPUs ---- */

static double larger(double a, double b) {
    return a >= b || isnan(b) ? a : b;
}

static double smaller(double a, double b) {
    return a <= b || isnan(b) ? a : b;
}

void measurement_gpu_look(struct measurement_gpu *g, const struct meter_gpu_state *state) {
    char slowed[128];
    if (g->n_looks == 0) {
        g->max_temperature_c = g->min_sm_mhz = g->max_sm_mhz = NAN;
        g->mean_busy = state->busy;
    }
    g->n_looks++;
    meter_throttle_text(state->throttle, slowed, sizeof(slowed));
    g->n_throttled += slowed[0] != '\0';
    g->throttle |= state->throttle;
    g->knows_use = state->has_pids;
    g->max_temperature_c = larger(g->max_temperature_c, state->temperature_c);
    g->min_sm_mhz = smaller(g->min_sm_mhz, state->sm_mhz);
    g->max_sm_mhz = larger(g->max_sm_mhz, state->sm_mhz);
    g->mean_busy += (state->busy - g->mean_busy) / (double)g->n_looks;
    memcpy(g->driver, state->driver, sizeof(g->driver));
}

/* ---- one row ---- */

/* What a component and a total have in common. */
struct figure {
    enum meter_quality quality;
    double joules, low_j, high_j, mean_w, peak_w, coverage;
    bool has_idle, is_short, shared;
    double idle_w, above_j, above_low_j, above_high_j;
    const char *reason;
};

static struct figure of_component(const struct component_reading *c) {
    return (struct figure){c->quality,
                           c->joules,
                           c->low_j,
                           c->high_j,
                           c->mean_w,
                           c->peak_w,
                           c->coverage,
                           c->has_idle,
                           c->is_short,
                           c->shared,
                           c->idle_w,
                           c->above_idle_j,
                           c->above_idle_low_j,
                           c->above_idle_high_j,
                           c->reason};
}

static struct figure of_total(const struct meter_total *t) {
    return (struct figure){t->quality,
                           t->joules,
                           t->low_j,
                           t->high_j,
                           t->mean_w,
                           NAN,
                           t->coverage,
                           t->has_idle,
                           t->is_short,
                           t->shared,
                           t->idle_w,
                           t->above_idle_j,
                           t->above_idle_low_j,
                           t->above_idle_high_j,
                           t->reason};
}

static void row_start(struct measurement_row *row) {
    row->coverage = 1;
    row->has_idle = true;
    row->disagreement = NAN;
    row->peak_w = NAN;
}

/* Takes the k-th of n repeats; running means. */
static void row_add(struct measurement_row *row, const struct figure *f, size_t k, double *joules) {
    const double share = 1 / (double)(k + 1);
    joules[k] = f->joules;
    row->quality = f->quality > row->quality ? f->quality : row->quality;
    row->joules += (f->joules - row->joules) * share;
    row->low_j += (f->low_j - row->low_j) * share;
    row->high_j += (f->high_j - row->high_j) * share;
    row->mean_w += (f->mean_w - row->mean_w) * share;
    row->idle_w += (f->idle_w - row->idle_w) * share;
    row->above_idle_j += (f->above_j - row->above_idle_j) * share;
    row->above_idle_low_j += (f->above_low_j - row->above_idle_low_j) * share;
    row->above_idle_high_j += (f->above_high_j - row->above_idle_high_j) * share;
    row->peak_w = larger(row->peak_w, f->peak_w);
    row->coverage = f->coverage < row->coverage ? f->coverage : row->coverage;
    row->has_idle = row->has_idle && f->has_idle;
    row->is_short = row->is_short || f->is_short;
    row->shared = row->shared || f->shared;
    row->min_j = k == 0 ? f->joules : smaller(row->min_j, f->joules);
    row->max_j = k == 0 ? f->joules : larger(row->max_j, f->joules);
}

static void row_missing(struct measurement_row *row, size_t n_missing, size_t n) {
    char why[sizeof(row->reason)];
    memcpy(why, row->reason, sizeof(why));
    if (n > 1) {
        note_set(row->reason, sizeof(row->reason), "in %zu of %zu runs: %s", n_missing, n, why);
    }
    row->quality = METER_MISSING;
    row->joules = row->low_j = row->high_j = row->mean_w = row->peak_w = NAN;
    row->min_j = row->max_j = row->disagreement = NAN;
    row->has_idle = false;
    row->coverage = 0;
}

/* With the energies of all repeats. */
static void row_end(struct measurement_row *row, const double *joules, size_t n) {
    size_t n_missing = 0;
    for (size_t k = 0; k < n; k++) {
        n_missing += isnan(joules[k]) ? 1 : 0;
    }
    row->sd_j = row->spread_low_j = row->spread_high_j = NAN;
    if (n_missing > 0 || n == 0) {
        row_missing(row, n_missing, n);
        return;
    }
    row->sd_j = stats_sd(joules, n);
    row->has_spread = stats_t_interval(joules, n, CONFIDENCE, &row->spread_low_j,
                                       &row->spread_high_j);
}

/* The reason of the first repeat that is missing, else of the first one that has any. */
static void row_reason(struct measurement_row *row, const struct figure *f) {
    bool is_first_missing = f->quality == METER_MISSING && row->quality != METER_MISSING;
    if (f->reason[0] && (is_first_missing || !row->reason[0])) {
        note_set(row->reason, sizeof(row->reason), "%s", f->reason);
    }
}

static void component_row(const struct measurement *m, size_t i, double *joules,
                          struct measurement_row *row) {
    row_start(row);
    for (size_t k = 0; k < m->n_runs; k++) {
        const struct component_reading *c = &m->runs[k].reading.c[i];
        const struct figure f = of_component(c);
        row_reason(row, &f);
        row_add(row, &f, k, joules);
        if (c->has_disagreement && !(fabs(row->disagreement) > fabs(c->disagreement))) {
            row->disagreement = c->disagreement;
        }
        memcpy(row->source, c->source, sizeof(row->source));
        memcpy(row->detail, c->detail, sizeof(row->detail));
    }
    memcpy(row->name, m->components[i].name, sizeof(row->name));
    memcpy(row->scope, m->components[i].scope, sizeof(m->components[i].scope));
    row->whole = m->components[i].whole;
    row_end(row, joules, m->n_runs);
}

/* ---- the total ---- */

/*
 * Where the job was seen on no GPU the driver may have hidden it (a container shows other process
 * numbers): then all count.
 */
static size_t choose_names(const struct measurement *m, const char **names) {
    bool is_used[METER_MAX_COMPONENTS];
    for (size_t i = 0; i < m->n_components; i++) {
        is_used[i] = m->gpus[i].is_used;
    }
    return attribution_components(m->components, is_used, m->n_components, names);
}

static void total_row(const struct measurement *m, const char *const *names, size_t n_names,
                      double *joules, struct measurement_row *row) {
    row_start(row);
    note_set(row->name, sizeof(row->name), "total");
    note_set(row->source, sizeof(row->source), "sum");
    for (size_t k = 0; k < m->n_runs; k++) {
        struct meter_total t;
        meter_total(&m->runs[k].reading, n_names ? names : NULL, n_names, &t);
        const struct figure f = of_total(&t);
        row_reason(row, &f);
        row_add(row, &f, k, joules);
        memcpy(row->scope, t.scope, sizeof(row->scope));
    }
    row_end(row, joules, m->n_runs);
}

static void share_of_cpu(const struct measurement *m, struct measurement_summary *s) {
    double job_s = 0;
    double machine_s = 0;
    struct component_reading mean = {.quality = METER_MISSING};
    note_set(mean.reason, sizeof(mean.reason), "no CPU is measured");
    for (size_t k = 0; k < m->n_runs; k++) {
        job_s += m->runs[k].job_cpu_s;
        machine_s += m->runs[k].machine_cpu_s;
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct measurement_row *row = &s->rows[i];
        if (strcmp(row->name, "cpu") == 0) {
            mean.quality = row->quality;
            mean.modelled = row->quality == METER_MODELLED;
            mean.has_idle = row->has_idle;
            mean.above_idle_j = row->above_idle_j;
            mean.above_idle_low_j = row->above_idle_low_j;
            mean.above_idle_high_j = row->above_idle_high_j;
            note_set(mean.reason, sizeof(mean.reason), "%s", row->reason);
        }
    }
    attribution_share(&mean, job_s, machine_s, &s->share);
}

int measurement_summarise(const struct measurement *m, struct measurement_summary *out,
                          struct err *e) {
    const char *names[METER_MAX_COMPONENTS];
    double *joules = calloc(m->n_runs + 1, sizeof(*joules));
    if (!joules) {
        return err_set(e, EE_NOMEM, "out of memory for %zu repeats", m->n_runs);
    }
    memset(out, 0, sizeof(*out));
    out->n = m->n_components;
    for (size_t i = 0; i < m->n_components; i++) {
        component_row(m, i, joules, &out->rows[i]);
    }
    size_t n_names = choose_names(m, names);
    out->total_is_chosen = n_names > 0;
    total_row(m, names, n_names, joules, &out->total);
    for (size_t k = 0; k < m->n_runs; k++) {
        const struct meter_reading *r = &m->runs[k].reading;
        out->seconds += clock_ns_to_s(r->end_ns - r->start_ns) / (double)m->n_runs;
    }
    share_of_cpu(m, out);
    out->usd = out->total.joules / J_PER_KWH * m->usd_per_kwh;
    out->usd_low = out->total.low_j / J_PER_KWH * m->usd_per_kwh;
    out->usd_high = out->total.high_j / J_PER_KWH * m->usd_per_kwh;
    free(joules);
    return 0;
}
