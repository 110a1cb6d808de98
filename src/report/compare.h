/*
 * Variants of one or several runs side by side: which are worth having, who dominates the others,
 * and what the data support about two of them. docs/compare.md describes the output.
 */
#ifndef REPORT_COMPARE_H
#define REPORT_COMPARE_H

#include "report/collect.h"

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct compare_opts {
    /* Words that name two variants, such as {"int4", "fp16"}: those are compared, in each task.
     * NULL: each variant with the fp16 one of its kind. */
    const char *between[2];
    const struct report_what_if *what_if; /* the same for all runs; NULL: as each was stored */
    size_t width;                         /* columns of a terminal; 0: REPORT_WIDTH */
    bool as_json;
};

int compare_format(const char *const *run_dirs, size_t n, const struct compare_opts *opts,
                   struct buf *out, struct err *e) EE_MUST_CHECK;

#endif
