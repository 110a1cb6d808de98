/*
 * What the tables for people have in common: the columns, how a figure is written, and the
 * sentences below the table. A figure never stands without the marks that its label asks for:
 * "~" modelled energy, "-" refused, "never" infinite.
 */
#ifndef REPORT_SUMMARY_H
#define REPORT_SUMMARY_H

#include "report/collect.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum summary_profile { SUMMARY_FULL, SUMMARY_PAPER, SUMMARY_PROFILES };

struct summary_column {
    const char *title;
    const char *metric;  /* id */
    const char *profile; /* of the metric */
    size_t width;        /* in the text table */
};
enum { SUMMARY_MAX_COLUMNS = 8 };
size_t summary_n_columns(void); /* of either profile's table */
const struct summary_column *summary_column_at(enum summary_profile profile, size_t i);
/* "full: everything that is paid, at the plan's traffic". */
const char *summary_profile_title(enum summary_profile profile);

/* What is known of a quantized variant's answers against those of its fp16. */
enum summary_fidelity {
    SUMMARY_UNKNOWN, /* refused, or the items cannot tell at the margin */
    SUMMARY_LOSSY,
    SUMMARY_WITHIN,
    SUMMARY_BASELINE, /* it is the fp16 one */
};
enum summary_fidelity summary_fidelity(const struct report_variant *v);

void summary_cell(const struct report_variant *v, const struct summary_column *c, struct buf *out);
/* "rag lora int4", with the model before it where the run has several, and with engine and device
 * where those differ for one model. */
void summary_variant_name(const struct report_run *run, const struct report_variant *v,
                          struct buf *out);
/* True when the two belong in one table: same model, engine and device. */
bool summary_same_group(const struct report_variant *x, const struct report_variant *y);
/* True when none of its stages has been tried and nothing is known of it otherwise. */
bool summary_not_run(const struct report_variant *v);
/* The stage that failed first, NULL when none did. */
const struct report_stage *summary_failure(const struct report_variant *v);
/* True when the variant has a figure in some column of either table. */
bool summary_has_figures(const struct report_variant *v);

/* "AMD EPYC 7B13, 2 threads, 8 GiB": whatever the description tells, else the id. */
void summary_machine(const struct report_machine *m, struct buf *out);
/* "modelled, +-40 %, GPU + CPU; sources: nvml counter, modelled": how joules were measured. */
void summary_energy(const struct report_run *run, struct buf *out);
/*
 * What a reader must know about the figures of one table, one sentence each, in the arena: what each
 * metric counts, warnings on inputs and whom they concern, what was refused and why.
 */
int summary_notes(const struct report_run *run, enum summary_profile profile, struct arena *a,
                  const char ***notes, size_t *n, struct err *e) EE_MUST_CHECK;

#endif
