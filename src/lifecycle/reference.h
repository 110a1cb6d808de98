/*
 * The published rows (data/reference) as a plan uses them: how many rows a training had, what an answer
 * was worth. A variant's row is that of the same family, size, method, task and precision.
 */
#ifndef LIFECYCLE_REFERENCE_H
#define LIFECYCLE_REFERENCE_H

#include "lifecycle/variant.h"

#include <jansson.h>

/* Rows of the published training that the variant's stands for; EE_MISSING when there is none. */
int reference_train_rows(const char *data_dir, const struct variant *v, int64_t *rows,
                         struct err *e) EE_MUST_CHECK;

struct reference_quality {
    double mean; /* primary score, on the task's published scale */
    double low;  /* of that scale */
    double high;
    int64_t items;
    int64_t passes;
    const char *scorer; /* "published entailment" */
};
int reference_quality(const char *data_dir, const struct variant *v, struct reference_quality *out,
                      struct err *e) EE_MUST_CHECK;

#endif
