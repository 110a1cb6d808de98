/*
 * Whose joules they were: prefill and decode under concurrency, one process on a shared CPU, a job
 * on some of the GPUs. Pure: figures in, figures out. What cannot be told apart is refused with a
 * reason. Formulas A1 to A4 are in docs/energy.md.
 */
#ifndef ENERGY_ATTRIBUTION_H
#define ENERGY_ATTRIBUTION_H

#include "energy/meter.h"

/* ---- prefill and decode ---- */

/* Something the engine did: its tokens count as spread evenly over its time. */
struct attr_work {
    int64_t start_ns, end_ns;
    double prefill_tokens, decode_tokens;
};

/* A stretch of time with what was drawn and done in it. */
struct attr_period {
    int64_t start_ns, end_ns;
    double seconds, joules;
    double prefill_tokens, decode_tokens;
};

/*
 * Joins power samples to periods of at least period_ns (a few of the source's update periods, so
 * that its lag matters little) and gives each its tokens. rows follow one another in time and begin
 * at start_ns; components lists whose power is added up. A period that a component has no power in
 * is left out. out has room for n_rows periods; returns how many there are.
 */
size_t attribution_periods(const struct meter_sample *rows, size_t n_rows, int64_t start_ns,
                           const size_t *components, size_t n_components,
                           const struct attr_work *work, size_t n_work, int64_t period_ns,
                           struct attr_period *out);

/* A figure with its 95 % interval. */
struct attr_figure {
    double value, low, high;
};

struct attr_fit_opts {
    double base_w;      /* power with nothing to do, from a baseline; NAN: it is fitted too */
    double base_half_w; /* half-width of base_w's interval */
    double gain;        /* the sensor's gain tolerance */
};

/*
 * A1: joules = base_w * seconds + a * prefill tokens + b * decode tokens, by least squares over the
 * periods. Intervals come from a jackknife over blocks of neighbouring periods, which holds what
 * one period tells about the next, and from the sensor's gain.
 *
 * Mixed load alone rarely tells a from b: include stretches designed for it, with nothing but
 * prefill and with nothing but decode.
 */
struct attr_fit {
    bool refused;
    char reason[160]; /* why */
    size_t n;
    double condition;             /* of the scaled columns: 1 is perfect, above 30 is refused */
    struct attr_figure prefill_j; /* per token; NAN where there are no such tokens */
    struct attr_figure decode_j;
    struct attr_figure base_w;
    double total_j, prefill_total_j, decode_total_j, base_total_j;
    double unexplained_j; /* total - the three parts: what the model does not hold */
    double residual_w;    /* root mean square over the periods */
    double r2;            /* share of the variance of power that it explains */
};

void attribution_fit(const struct attr_period *p, size_t n, const struct attr_fit_opts *opts,
                     struct attr_fit *out);

/* A2: joules a token of a stretch that did one thing only, from its energy above idle. */
void attribution_block(const struct component_reading *r, double tokens, struct attr_figure *out);

/* ---- one process on a shared CPU ---- */

struct attr_share {
    bool refused;
    char reason[160];
    struct attr_figure share; /* of the CPU's energy above idle */
    struct attr_figure joules;
};

/*
 * A3: the process's share of the CPU time that was spent, applied to the energy above idle. Its
 * interval allows for a process that draws half or twice as much a second of CPU time as the others.
 * Idle energy belongs to nobody. Refused without a baseline.
 */
void attribution_share(const struct component_reading *cpu, double process_cpu_s,
                       double machine_cpu_s, struct attr_share *out);

/* ---- a job on some of the GPUs ---- */

/*
 * A4: the components that a job pays for: the GPUs it was seen on and everything that is neither a
 * GPU nor the whole machine. names has room for n; 0 when it was seen on no GPU or on all of them,
 * so that no choice is to be made.
 */
size_t attribution_components(const struct meter_component *c, const bool *is_used, size_t n,
                              const char **names);

#endif
