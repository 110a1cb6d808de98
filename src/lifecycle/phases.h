/*
 * Joules of prefill and of decode, while serving in process: stretches of nothing but prefill, of
 * answers, and of nothing at all, one after the other, and a regression of power on the tokens of each
 * (A1 of docs/energy.md). Where no sensor measures, or the stretches do not tell the two apart, there
 * is a reason instead.
 */
#ifndef LIFECYCLE_PHASES_H
#define LIFECYCLE_PHASES_H

#include "energy/attribution.h"
#include "engine/engine.h"
#include "lifecycle/worker.h"

/* The energy window that holds the designed load. */
#define PHASES_WINDOW "phases"

/* ---- in the worker ---- */

struct phases_load {
    struct engine *engine;
    const struct engine_request *requests; /* answers of these lengths, forced */
    size_t n_requests;
    int concurrency;
    double seconds;
};

/*
 * Runs the load in its window. *work receives [[start_ns, end_ns, prefill tokens, decode tokens], ...],
 * which the caller owns.
 */
int phases_run(struct worker *w, const struct phases_load *load, json_t **work,
               struct err *e) EE_MUST_CHECK;

/* ---- in the parent ---- */

/* Which components measure, of those a meter has. */
struct phases_sensors {
    size_t at[METER_MAX_COMPONENTS];
    size_t n;
    double gain;        /* the largest of theirs */
    int64_t period_ns;  /* long enough for the slowest of them */
    const char *reason; /* why there is none; NULL */
};

/* What sensors there are for it: measured, each of its own job, parts rather than the whole. */
void phases_choose(const struct meter_component *c, size_t n, struct phases_sensors *out);
/*
 * The result as {"prefill_token_j": {"value", "low", "high"}, "decode_token_j", "base_w", ...}, or
 * {"refused": reason}. rows are the meter's samples, in order; those outside of the work's time are
 * left out. NULL when memory is out.
 */
json_t *phases_result(const struct meter_sample *rows, size_t n_rows,
                      const struct phases_sensors *sensors, const json_t *work);

#endif
