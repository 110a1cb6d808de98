/* Inside src/report: what the two files of results share. */
#ifndef REPORT_RESULTS_INTERNAL_H
#define REPORT_RESULTS_INTERNAL_H

#include "report/collect.h"
#include "report/published.h"

#include "base/buf.h"

#include <jansson.h>

struct results {
    struct arena arena;
    struct report_run **runs;
    size_t n_runs;
    json_t **timings; /* files of scripts/gpu-adapt.py */
    size_t n_timings;
    const struct report_run *run; /* the first, with the matrix */
    struct published *theirs;
    const struct report_variant **ours; /* one a published variant; NULL where the run has none */
    double bandwidth; /* of the run's device over that of two T4; NAN when it is not known */
    double flops;     /* FP16 peaks, likewise */
    size_t n_there;
    size_t n_served;
};

/* Joules of a stage's window, or of its repeats: the accelerators' where there are any, else all; and
 * its seconds. NAN when there is no such window. */
double results_joules(const struct report_stage *st, const char *window, bool repeats,
                      double *seconds);
/* Opens the sources and the published rows and pairs them; results_close after success and failure. */
int results_open(struct results *r, const char *data_dir, const char *const *sources, size_t n,
                 struct err *e) EE_MUST_CHECK;
void results_close(struct results *r);

/* What a training cost by the row and by the token, where its window of rows was measured, else over all
 * its steps. Joules are the accelerators' where there are any. */
struct results_training {
    double rows;
    double row_tokens;
    double row_j;
    double row_s;
    double token_j;
    double watts;
    double tokens_per_s;
    double peak_bytes;
    char settings[96]; /* "F16 base, bf16, recomputed" */
};
/* False when the stage is missing, failed, or has no energy. */
bool results_training_of(const struct report_stage *st, struct results_training *t);
/* Accelerator joules of the variant's training, extrapolated to so many rows; NAN without. */
double results_training_j(const struct report_variant *v, double rows);
/* " 1.23 |"; "-" for NAN, "never" for infinity. */
void results_number(struct buf *out, double x);
/* The section on adapting: LoRA against QLoRA. */
void results_adapting(const struct results *r, struct buf *out);

#endif
