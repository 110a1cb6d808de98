#include "lifecycle/variant.h"

#include "base/buf.h"

#include <stdio.h>

static const char *variant_id(const struct variant *v, struct arena *a) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s.%s.%s.%s", v->model->id, method_names[v->method], v->task->name,
             precision_names[v->precision]);
    const char *id = b.failed ? NULL : arena_strdup(a, b.data);
    buf_release(&b);
    return id;
}

void variant_file_words(const struct variant *v, enum precision p, char *buf, size_t size) {
    if (v->model->shape && variant_is_adapted(v)) {
        snprintf(buf, size, "adapted.%s", precision_names[p]);
        return;
    }
    snprintf(buf, size, "%s%s%s.%s", method_names[v->method], variant_is_adapted(v) ? "." : "",
             variant_is_adapted(v) ? v->task->name : "", precision_names[p]);
}

void variant_title_words(const struct variant *v, char *buf, size_t size) {
    if (v->model->shape) { /* one stage for all methods */
        snprintf(buf, size, "%s", precision_names[v->precision]);
        return;
    }
    snprintf(buf, size, "%s%s%s", variant_is_adapted(v) ? method_names[v->method] : "",
             variant_is_adapted(v) ? " " : "", precision_names[v->precision]);
}

int variants_expand(const struct plan *plan, struct arena *a, struct variant **out, size_t *n,
                    struct err *e) {
    *n = 0;
    *out = arena_array(a, plan->n_models * plan->n_tasks * plan->n_methods * plan->n_precisions,
                       sizeof(**out));
    for (size_t m = 0; *out && m < plan->n_models; m++) {
        for (size_t t = 0; t < plan->n_tasks; t++) {
            for (size_t k = 0; k < plan->n_methods; k++) {
                for (size_t p = 0; p < plan->n_precisions; p++) {
                    if (plan->left_out[plan->methods[k]][plan->precisions[p]]) {
                        continue;
                    }
                    struct variant *v = &(*out)[(*n)++];
                    v->model = &plan->models[m];
                    v->task = &plan->tasks[t];
                    v->method = plan->methods[k];
                    v->precision = plan->precisions[p];
                    v->is_started = !plan->server.is_used || plan->server.command;
                    v->id = variant_id(v, a);
                    if (!v->id) {
                        return err_set(e, EE_NOMEM, "variants: out of memory");
                    }
                }
            }
        }
    }
    return *out ? 0 : err_set(e, EE_NOMEM, "variants: out of memory");
}
