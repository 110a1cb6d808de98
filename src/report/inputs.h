/*
 * Inside src/report: from a variant's stages in the store to the inputs of its metrics. What is
 * not there, failed or makes no sense becomes a missing quantity with its reason.
 */
#ifndef REPORT_INPUTS_H
#define REPORT_INPUTS_H

#include "report/collect.h"

#include <jansson.h>

/* Fills v->input but for score_fp16, which needs the other variants' scores, and for what
 * inputs_costs fills. Needs the run's costing. */
int inputs_fill(struct store *s, struct report_run *run, struct report_variant *v,
                struct err *e) EE_MUST_CHECK;
/* Fills what compares with the fp16 variant, of all variants. */
int inputs_fill_fp16(struct store *s, struct report_run *run, struct err *e) EE_MUST_CHECK;

/* Fills what costs and intervals are made of, once all variants are there. */
int inputs_costs(struct report_run *run, struct err *e) EE_MUST_CHECK;

/* Inside: one file a kind of measurement. Each fills its part of v->input. */
int inputs_energy(struct arena *a, struct report_variant *v, struct err *e) EE_MUST_CHECK;
int inputs_serving(struct store *s, struct report_run *run, struct report_variant *v,
                   struct err *e) EE_MUST_CHECK;
/* Reads the requests of a serve stage that is done, once: latencies, repeats, SLO. */
int inputs_requests(struct store *s, struct report_run *run, struct report_variant *v,
                    struct err *e) EE_MUST_CHECK;
/* True where the plan limits a request's times. */
bool inputs_has_slo(const struct costing *k);
/* All latencies missing, and why. */
void inputs_no_latencies(struct metrics_input *in, const char *why);
int inputs_load(struct store *s, struct arena *a, struct report_variant *v,
                struct err *e) EE_MUST_CHECK;
/* Needs the run's machines: how far each sensor may be off. */
int inputs_spread(struct report_run *run, struct report_variant *v, struct err *e) EE_MUST_CHECK;

/* fp16: the variant's, itself perhaps; NULL where the run has none. */
int inputs_fidelity(struct store *s, struct arena *a, struct report_variant *v,
                    const struct report_variant *fp16, struct err *e) EE_MUST_CHECK;

/* The mean of x with its interval, where it has one. */
struct quantity inputs_mean(const double *x, size_t n);
/* A missing quantity with a formatted reason; when memory is out, with a fixed one. */
struct quantity inputs_missing(struct arena *a, const char *fmt, ...) EE_PRINTF(2, 3);
/* A stage's result_json, NULL where it has none that parses. The caller owns it. */
json_t *inputs_result(const struct report_stage *st);
/*
 * What training more rows than were trained would have added: joules and seconds of the window around
 * the last rows, times factor. spread is how far that may be off because rows differ, as a share.
 */
struct inputs_rows {
    double factor; /* 0: nothing is extrapolated */
    double spread; /* NAN where too few steps tell */
};
struct inputs_rows inputs_adapt_rows(const struct report_stage *st);
#define INPUTS_ROWS_WINDOW "adapt/rows"
/* True when the model file already had the precision asked for, so that nothing was converted. */
bool inputs_used_as_is(const struct report_stage *st);
/* Why an adapt stage's windows and seconds are not all that it took; NULL when they are. */
const char *inputs_resumed(const struct report_stage *st);
/* Why a stage has no figures, in *why: NULL when it is there and done. */
int inputs_stage_gap(struct arena *a, const struct report_variant *v, enum report_kind kind,
                     const char **why, struct err *e) EE_MUST_CHECK;

#endif
