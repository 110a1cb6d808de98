/* The matrix of a plan: models x methods x tasks x precisions, less the cells it leaves out. */
#ifndef LIFECYCLE_VARIANT_H
#define LIFECYCLE_VARIANT_H

#include "lifecycle/plan.h"

struct variant {
    const char *id; /* "smollm2-135m-instruct.none.rag.int4" */
    const struct plan_model *model;
    const struct plan_task *task;
    enum method method;
    enum precision precision;
    bool is_started; /* what serves it is started by us, so that it has a cold start */
};

/* Whether we have its weights; else they are the server's. */
static inline bool variant_has_file(const struct variant *v) {
    return v->model->path != NULL;
}

static inline bool variant_is_adapted(const struct variant *v) {
    return v->method != METHOD_NONE;
}
/* "none.int4", "lora.rag.int4", "adapted.int4" where the model is a shape: what sets the variant's model file apart from others of its model. */
void variant_file_words(const struct variant *v, enum precision p, char *buf, size_t size);
/* "int4", "lora int4": the same for people, in a title that names the task already. */
void variant_title_words(const struct variant *v, char *buf, size_t size);

/* In report order: model, task, method, precision. Lives in a. */
int variants_expand(const struct plan *plan, struct arena *a, struct variant **out, size_t *n,
                    struct err *e) EE_MUST_CHECK;

#endif
