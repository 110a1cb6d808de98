/*
 * The models: list of a plan: known ids, files, and shapes whose weights are synthetic
 * (docs/plan.md).
 */
#ifndef LIFECYCLE_PLAN_MODEL_H
#define LIFECYCLE_PLAN_MODEL_H

#include "lifecycle/plan.h"

struct plan_model_places {
    const char *plan_dir; /* paths in the plan begin here */
    const char *data_dir; /* models.yaml, shapes.yaml */
    struct ynode shapes;  /* the plan's own file of shapes, or absent */
};

/* Fills p->models. Files, shapes and vocabularies must be there. */
int plan_models_read(struct ynode list, const struct plan_model_places *places, struct arena *a,
                     struct plan *p, struct err *e) EE_MUST_CHECK;
/* Whether a name of the plan may become one of a file. */
bool plan_is_file_name(const char *s);

#endif
