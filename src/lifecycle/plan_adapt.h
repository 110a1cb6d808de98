/*
 * The adapt: section of a plan: how the methods lora and qlora train (docs/plan.md). Settings are
 * those of src/adapt/train_settings.h, by the same names.
 */
#ifndef LIFECYCLE_PLAN_ADAPT_H
#define LIFECYCLE_PLAN_ADAPT_H

#include "adapt/train.h"
#include "base/arena.h"
#include "base/ydoc.h"

struct plan_adapt {
    struct train_opts opts;
    const char *lora_base;        /* as train_opts.base_type; NULL: f16 of what the file holds */
    const char *qlora_base;       /* NULL: the file's four bits, or iq4_nl */
    const char *data[TASK_KINDS]; /* training rows; NULL for tasks that are not in the plan */
    const char *const *command;   /* an external trainer, NULL-terminated; or NULL */

    /* Trained on rows[1] rows, with the energy past the first rows[0] in a window of its own: what a
     * row costs, and so what more rows would. rows[1] 0: trained on what opts says. */
    int64_t rows[2];
    int64_t extrapolate[TASK_KINDS]; /* to so many rows; 0: not */
    bool extrapolate_published;      /* to those of the published training of the same names */
};

struct plan_adapt_places {
    const char *plan_dir; /* paths in the plan begin here */
    const char *data_dir; /* tasks/TASK/train.jsonl */
    struct ynode methods; /* where a missing file is complained about, without an adapt: section */
};

/* Reads n, which may be absent: then everything is a default. kinds: the plan's tasks. Their files of
 * rows must be there where the plan trains. */
int plan_adapt_read(struct ynode n, const struct plan_adapt_places *places, const bool *kinds,
                    bool trains, int64_t seed, struct arena *a, struct plan_adapt *out,
                    struct err *e) EE_MUST_CHECK;
/* [a, b]: two counts of rows, a below b. */
int plan_adapt_rows_read(struct ynode n, const char *what, int64_t rows[2],
                         struct err *e) EE_MUST_CHECK;
/* Whether steps of o end at rows a and b, so that the window between them can be measured. */
int plan_adapt_rows_check(const struct train_opts *o, const int64_t rows[2],
                          struct err *e) EE_MUST_CHECK;

#endif
