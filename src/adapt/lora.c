#include "adapt/lora.h"

#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* Tensors inside the flat ones begin on cache lines. */
enum { ALIGN_VALUES = 16, N_FLAT = 4 };

static int64_t padded(int64_t n) {
    return (n + ALIGN_VALUES - 1) / ALIGN_VALUES * ALIGN_VALUES;
}

int lora_check(const struct model_shape *s, int rank, unsigned modules, struct err *e) {
    if (modules == 0) {
        return err_set(e, EE_USAGE, "no modules to adapt; there are q, k, v, o, gate, up, down");
    }
    for (int m = 0; m < MODULE_COUNT; m++) {
        int64_t n_in;
        int64_t n_out;
        model_module_dims(s, (enum module)m, &n_in, &n_out);
        int64_t least = n_in < n_out ? n_in : n_out;
        if ((modules & (1U << m)) && (rank < 1 || rank > least)) {
            return err_set(e, EE_USAGE,
                           "rank %d is not between 1 and %" PRId64
                           ", the smaller dimension of %s (%" PRId64 " x %" PRId64 ")",
                           rank, least, module_tensors[m], n_in, n_out);
        }
    }
    return 0;
}

/* Values of one flat tensor, and the parameters in it. */
static int64_t flat_values(const struct model_shape *s, int rank, unsigned modules,
                           int64_t *n_params) {
    int64_t n = 0;
    *n_params = 0;
    for (int m = 0; m < MODULE_COUNT; m++) {
        if (modules & (1U << m)) {
            int64_t n_in;
            int64_t n_out;
            model_module_dims(s, (enum module)m, &n_in, &n_out);
            *n_params += (n_in + n_out) * rank * s->n_layers;
            n += (padded(n_in * rank) + padded(n_out * rank)) * s->n_layers;
        }
    }
    return (n + LORA_ROW - 1) / LORA_ROW * LORA_ROW;
}

uint64_t lora_bytes(const struct model_shape *s, int rank, unsigned modules) {
    int64_t n_params;
    return (uint64_t)flat_values(s, rank, modules, &n_params) * sizeof(float) * N_FLAT;
}

static struct ggml_tensor *view(struct lora *l, struct ggml_tensor *flat, int64_t ne0, int64_t ne1,
                                int64_t at) {
    return ggml_view_2d(l->ctx, flat, ne0, ne1, (size_t)ne0 * sizeof(float),
                        (size_t)at * sizeof(float));
}

/* Views of every pair; needs the flat tensors. */
static void make_pairs(struct lora *l, const struct model_shape *s) {
    int64_t at = 0;
    for (int layer = 0; layer < s->n_layers; layer++) {
        for (int m = 0; m < MODULE_COUNT; m++) {
            if (!(l->modules & (1U << m))) {
                continue;
            }
            int64_t n_in;
            int64_t n_out;
            model_module_dims(s, (enum module)m, &n_in, &n_out);
            struct lora_pair *p = lora_pair_at(l, layer, (enum module)m);
            p->a = view(l, l->params, n_in, l->rank, at);
            p->grad_a = view(l, l->grads, n_in, l->rank, at);
            at += padded(n_in * l->rank);
            p->b = view(l, l->params, l->rank, n_out, at);
            p->grad_b = view(l, l->grads, l->rank, n_out, at);
            at += padded(n_out * l->rank);
        }
    }
}

/* Uniform in +-1 / sqrt(n_in): Kaiming's rule as PEFT applies it to A. */
static int fill_a(const struct lora_pair *p, uint64_t seed, uint64_t stream, struct err *e) {
    size_t n = (size_t)ggml_nelements(p->a);
    float *values = malloc(n * sizeof(*values));
    if (!values) {
        return err_set(e, EE_NOMEM, "adapter: out of memory");
    }
    struct rng rng;
    rng_init_stream(&rng, seed, stream);
    float bound = 1.0F / sqrtf((float)p->a->ne[0]);
    for (size_t i = 0; i < n; i++) {
        values[i] = bound * (float)(2 * rng_uniform(&rng) - 1);
    }
    ggml_backend_tensor_set(p->a, values, 0, n * sizeof(*values));
    free(values);
    return 0;
}

/* Everything but memory and numbers. */
static int declare(const struct model_shape *s, int rank, float alpha, unsigned modules,
                   struct lora *l, struct err *e) {
    *l = (struct lora){.rank = rank, .alpha = alpha, .modules = modules, .n_layers = s->n_layers};
    int rc = lora_check(s, rank, modules, e);
    if (rc) {
        return rc;
    }
    size_t n_pairs = (size_t)s->n_layers * MODULE_COUNT;
    int64_t n = flat_values(s, rank, modules, &l->n_params);
    l->pairs = arena_array(&l->arena, n_pairs, sizeof(*l->pairs));
    l->ctx = ggml_init((struct ggml_init_params){
        .mem_size = (n_pairs * 4 + N_FLAT) * ggml_tensor_overhead(), .no_alloc = true});
    if (!l->pairs || !l->ctx) {
        lora_release(l);
        return err_set(e, EE_NOMEM, "adapter: out of memory");
    }
    struct ggml_tensor **flat[N_FLAT] = {&l->params, &l->grads, &l->moment1, &l->moment2};
    for (int i = 0; i < N_FLAT; i++) {
        *flat[i] = ggml_new_tensor_2d(l->ctx, GGML_TYPE_F32, LORA_ROW, n / LORA_ROW);
    }
    ggml_set_param(l->params);
    return 0;
}

int lora_declare(const struct model_shape *s, int rank, float alpha, unsigned modules,
                 struct lora *l, struct err *e) {
    int rc = declare(s, rank, alpha, modules, l, e);
    if (!rc) {
        device_pretend(l->ctx);
        make_pairs(l, s);
    }
    return rc;
}

int lora_init(const struct model_shape *s, const struct device *d, int rank, float alpha,
              unsigned modules, uint64_t seed, struct lora *l, struct err *e) {
    int rc = declare(s, rank, alpha, modules, l, e);
    if (rc) {
        return rc;
    }
    l->buffer = ggml_backend_alloc_ctx_tensors(l->ctx, d->backend);
    if (!l->buffer) {
        lora_release(l);
        return err_set(e, EE_NOMEM, "no memory on %s for an adapter of %.0f MiB", d->name,
                       (double)lora_bytes(s, rank, modules) / (1 << 20));
    }
    ggml_backend_buffer_clear(l->buffer, 0);
    make_pairs(l, s);
    for (size_t i = 0; i < (size_t)s->n_layers * MODULE_COUNT && !rc; i++) {
        rc = l->pairs[i].a ? fill_a(&l->pairs[i], seed, i, e) : 0;
    }
    if (rc) {
        lora_release(l);
    }
    return rc;
}

void lora_release(struct lora *l) {
    if (l->buffer) {
        ggml_backend_buffer_free(l->buffer);
    }
    ggml_free(l->ctx);
    arena_release(&l->arena);
    *l = (struct lora){0};
}
