#include "adapt/optim.h"

#include <ggml-alloc.h>
#include <math.h>
#include <stdlib.h>

enum { GRAPH_NODES = 16, ADAMW_PARAMS = 7 };

const char *const schedule_names[] = {"constant", "linear", "cosine", NULL};

double schedule_rate(enum schedule s, double peak, int64_t step, int64_t n_steps,
                     int64_t n_warmup) {
    if (step <= n_warmup) {
        return peak * (double)step / (double)n_warmup;
    }
    /* The share of the way already gone when this step begins. */
    double gone = n_steps > n_warmup ? (double)(step - 1 - n_warmup) / (double)(n_steps - n_warmup)
                                     : 0;
    switch (s) {
    case SCHEDULE_LINEAR:
        return peak * (1 - gone);
    case SCHEDULE_COSINE:
        return peak * 0.5 * (1 + cos(acos(-1.0) * gone));
    default:
        return peak;
    }
}

struct optim {
    const struct device *device;
    const struct lora *lora;
    ggml_gallocr_t alloc;
    void *memory; /* of a graph */
    size_t bytes;
    float *row_sums;
};

int optim_create(const struct device *d, const struct lora *l, struct optim **out, struct err *e) {
    struct optim *o = calloc(1, sizeof(*o));
    *out = o;
    if (!o) {
        return err_set(e, EE_NOMEM, "optimiser: out of memory");
    }
    o->device = d;
    o->lora = l;
    o->bytes = GRAPH_NODES * ggml_tensor_overhead() +
               ggml_graph_overhead_custom(GRAPH_NODES, false);
    o->memory = malloc(o->bytes);
    o->row_sums = malloc((size_t)l->params->ne[1] * sizeof(float));
    o->alloc = ggml_gallocr_new(ggml_backend_get_default_buffer_type(d->backend));
    if (!o->memory || !o->row_sums || !o->alloc) {
        optim_free(o);
        *out = NULL;
        return err_set(e, EE_NOMEM, "optimiser: out of memory");
    }
    return 0;
}

void optim_free(struct optim *o) {
    if (o) {
        if (o->alloc) {
            ggml_gallocr_free(o->alloc);
        }
        free(o->memory);
        free(o->row_sums);
        free(o);
    }
}

void optim_clear_gradients(const struct lora *l) {
    ggml_backend_tensor_memset(l->grads, 0, 0, ggml_nbytes(l->grads));
}

static int run(struct optim *o, struct ggml_cgraph *graph, struct err *e) {
    if (ggml_backend_graph_compute(o->device->backend, graph) != GGML_STATUS_SUCCESS) {
        return err_set(e, EE_FAIL, "%s failed in the optimiser", o->device->name);
    }
    return 0;
}

/* Memory for the graph that ends in `last`; its inputs may be set then. */
static int allocate(struct optim *o, struct ggml_cgraph *graph, struct ggml_tensor *last,
                    struct err *e) {
    ggml_build_forward_expand(graph, last);
    return ggml_gallocr_alloc_graph(o->alloc, graph)
               ? 0
               : err_set(e, EE_NOMEM, "no memory on %s for the optimiser", o->device->name);
}

static struct ggml_context *graph_context(struct optim *o) {
    return ggml_init(
        (struct ggml_init_params){.mem_size = o->bytes, .mem_buffer = o->memory, .no_alloc = true});
}

/* Sums of squares by row on the device, their sum here, in double. */
static int gradient_norm(struct optim *o, double *norm, struct err *e) {
    struct ggml_context *ctx = graph_context(o);
    struct ggml_cgraph *graph = ggml_new_graph_custom(ctx, GRAPH_NODES, false);
    struct ggml_tensor *sums = ggml_sum_rows(ctx, ggml_sqr(ctx, o->lora->grads));
    ggml_set_output(sums);
    int rc = allocate(o, graph, sums, e);
    rc = rc ? rc : run(o, graph, e);
    double sum = 0;
    if (!rc) {
        ggml_backend_tensor_get(sums, o->row_sums, 0, ggml_nbytes(sums));
        for (int64_t i = 0; i < ggml_nelements(sums); i++) {
            sum += (double)o->row_sums[i];
        }
    }
    *norm = sqrt(sum);
    ggml_free(ctx);
    return rc;
}

static void set_adamw_params(struct ggml_tensor *t, const struct optim_step *s) {
    const double beta1 = 0.9;
    const double beta2 = 0.999;
    const float values[ADAMW_PARAMS] = {(float)s->rate,
                                        (float)beta1,
                                        (float)beta2,
                                        1e-8F,
                                        (float)s->weight_decay,
                                        (float)(1 / (1 - pow(beta1, (double)s->step))),
                                        (float)(1 / (1 - pow(beta2, (double)s->step)))};
    ggml_backend_tensor_set(t, values, 0, sizeof(values));
}

int optim_update(struct optim *o, const struct optim_step *s, double *norm, struct err *e) {
    const double unscale = s->loss_scale > 0 ? 1 / s->loss_scale : 1;
    int rc = gradient_norm(o, norm, e);
    *norm *= unscale;
    if (rc || !isfinite(*norm)) {
        return rc;
    }
    double scale = unscale * (s->clip > 0 && *norm > s->clip ? s->clip / *norm : 1);
    const struct lora *l = o->lora;
    struct ggml_context *ctx = graph_context(o);
    struct ggml_cgraph *graph = ggml_new_graph_custom(ctx, GRAPH_NODES, false);
    struct ggml_tensor *params = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, ADAMW_PARAMS);
    ggml_set_input(params);
    struct ggml_tensor *grads = scale != 1 ? ggml_scale(ctx, l->grads, (float)scale) : l->grads;
    struct ggml_tensor *step = ggml_opt_step_adamw(ctx, l->params, grads, l->moment1, l->moment2,
                                                   params);
    rc = allocate(o, graph, step, e);
    if (!rc) {
        set_adamw_params(params, s);
        rc = run(o, graph, e);
    }
    ggml_free(ctx);
    return rc;
}
