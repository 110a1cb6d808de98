/* The matrix of a plan: models x methods x tasks x precisions. */
#ifndef LIFECYCLE_VARIANT_H
#define LIFECYCLE_VARIANT_H

#include "lifecycle/plan.h"

struct variant {
    const char *id; /* "smollm2-135m-instruct.none.rag.int4" */
    const struct plan_model *model;
    const struct plan_task *task;
    enum method method;
    enum precision precision;
};

/* In report order: model, task, method, precision. Lives in a. */
int variants_expand(const struct plan *plan, struct arena *a, struct variant **out, size_t *n,
                    struct err *e) EE_MUST_CHECK;

#endif
