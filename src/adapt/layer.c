#include "adapt/layer.h"

#include "adapt/dropout.h"

#include "base/rng.h"

static struct linear linear_of(const struct layer_env *v, int layer, enum module m) {
    const struct model_layer *l = &v->model->layers[layer];
    struct linear lin = {.w = l->w[m], .bias = l->b[m], .mask_offset = -1};
    const struct lora_pair *p = v->lora ? lora_pair_at(v->lora, layer, m) : NULL;
    if (!p || !p->a) {
        return lin;
    }
    lin.a = p->a;
    lin.b = p->b;
    lin.grad_a = p->grad_a;
    lin.grad_b = p->grad_b;
    lin.scale = v->lora->alpha / (float)v->lora->rank;
    const struct dropout *d = v->ops->dropout;
    if (v->dropout_key && d && d->rate > 0) {
        struct rng rng;
        rng_init_stream(&rng, v->dropout_key, (uint64_t)layer * MODULE_COUNT + (uint64_t)m);
        lin.mask_offset = (int64_t)rng_below(&rng, DROPOUT_WINDOWS);
        lin.scale /= (float)(1 - d->rate);
    }
    return lin;
}

static struct ggml_tensor *apply(const struct layer_env *v, int layer, enum module m,
                                 struct ggml_tensor *x, struct layer_tape *tape) {
    const struct linear l = linear_of(v, layer, m);
    return ops_linear(v->ops, &l, x, &tape->linears[m]);
}

/* The gradient of a module's input x, added to sum. */
static struct ggml_tensor *apply_back(const struct layer_env *v, int layer, enum module m,
                                      const struct layer_tape *tape, struct ggml_tensor *x,
                                      struct ggml_tensor *dy, struct ggml_tensor *sum) {
    const struct linear l = linear_of(v, layer, m);
    bool below_is_trained = layer > 0 || m == MODULE_O || m >= MODULE_GATE;
    return ops_linear_back(v->ops, &l, x, &tape->linears[m], dy, sum, below_is_trained);
}

static struct ggml_tensor *heads(struct ggml_context *ctx, struct ggml_tensor *t, int head_dim) {
    return ggml_reshape_3d(ctx, t, head_dim, t->ne[0] / head_dim, t->ne[1]);
}

static struct ggml_tensor *rope(const struct layer_env *v, struct ggml_tensor *t) {
    const struct model_shape *s = &v->model->shape;
    return ggml_rope_ext(v->ops->ctx, t, v->positions, v->model->rope_freqs, s->n_rot,
                         s->rope_neox ? GGML_ROPE_TYPE_NEOX : GGML_ROPE_TYPE_NORMAL, s->n_ctx,
                         s->rope_base, s->rope_scale, 0, s->rope_attn_factor, 0, 0);
}

/* Also flattens the heads again: [head_dim, n, tokens] to [head_dim * n, tokens]. */
static struct ggml_tensor *rope_back(const struct layer_env *v, struct ggml_tensor *t) {
    const struct model_shape *s = &v->model->shape;
    struct ggml_tensor *r = ggml_rope_ext_back(
        v->ops->ctx, t, v->positions, v->model->rope_freqs, s->n_rot,
        s->rope_neox ? GGML_ROPE_TYPE_NEOX : GGML_ROPE_TYPE_NORMAL, s->n_ctx, s->rope_base,
        s->rope_scale, 0, s->rope_attn_factor, 0, 0);
    return ggml_reshape_2d(v->ops->ctx, r, r->ne[0] * r->ne[1], r->ne[2]);
}

struct ggml_tensor *layer_forward(const struct layer_env *v, int layer, struct ggml_tensor *x,
                                  struct layer_tape *t) {
    const struct model_shape *s = &v->model->shape;
    const struct model_layer *l = &v->model->layers[layer];
    const struct ops_kind *kind = v->ops->kind;
    struct ggml_context *ctx = v->ops->ctx;
    t->x = x;
    t->attn_in = kind->norm(v->ops, x, l->attn_norm, s->rms_eps);
    struct ggml_tensor *q = apply(v, layer, MODULE_Q, t->attn_in, t);
    struct ggml_tensor *k = apply(v, layer, MODULE_K, t->attn_in, t);
    struct ggml_tensor *val = apply(v, layer, MODULE_V, t->attn_in, t);
    t->attention = (struct attention){.q = rope(v, heads(ctx, q, s->head_dim)),
                                      .k = rope(v, heads(ctx, k, s->head_dim)),
                                      .v = heads(ctx, val, s->head_dim),
                                      .segments = v->segments,
                                      .n_segments = v->n_segments,
                                      .scale = s->attn_scale};
    t->attn_out = kind->attention(v->ops, &t->attention);
    t->mid = ggml_add(ctx, apply(v, layer, MODULE_O, t->attn_out, t), x);
    t->ffn_in = kind->norm(v->ops, t->mid, l->ffn_norm, s->rms_eps);
    t->gate = apply(v, layer, MODULE_GATE, t->ffn_in, t);
    t->up = apply(v, layer, MODULE_UP, t->ffn_in, t);
    t->inner = kind->swiglu(v->ops, t->gate, t->up);
    return ggml_add(ctx, apply(v, layer, MODULE_DOWN, t->inner, t), t->mid);
}

/* From the gradient of the attention's output to that of the layer's input, added to dmid. */
static struct ggml_tensor *attention_block_back(const struct layer_env *v, int layer,
                                                const struct layer_tape *t,
                                                struct ggml_tensor *dmid) {
    const struct model_shape *s = &v->model->shape;
    const struct ops_kind *kind = v->ops->kind;
    struct ggml_tensor *dout = apply_back(v, layer, MODULE_O, t, t->attn_out, dmid, NULL);
    struct ggml_tensor *dq;
    struct ggml_tensor *dk;
    struct ggml_tensor *dv;
    kind->attention_back(v->ops, &t->attention, dout, &dq, &dk, &dv);
    struct ggml_tensor *dval = ggml_reshape_2d(v->ops->ctx, ggml_cont(v->ops->ctx, dv),
                                               dv->ne[0] * dv->ne[1], dv->ne[2]);
    struct ggml_tensor *din = apply_back(v, layer, MODULE_V, t, t->attn_in, dval, NULL);
    din = apply_back(v, layer, MODULE_K, t, t->attn_in, rope_back(v, dk), din);
    din = apply_back(v, layer, MODULE_Q, t, t->attn_in, rope_back(v, dq), din);
    return din ? kind->norm_back(v->ops, t->x, v->model->layers[layer].attn_norm, s->rms_eps, din,
                                 dmid)
               : NULL;
}

struct ggml_tensor *layer_backward(const struct layer_env *v, int layer, const struct layer_tape *t,
                                   struct ggml_tensor *dy) {
    const struct ops_kind *kind = v->ops->kind;
    struct ggml_tensor *dinner = apply_back(v, layer, MODULE_DOWN, t, t->inner, dy, NULL);
    struct ggml_tensor *dgate;
    struct ggml_tensor *d_up;
    kind->swiglu_back(v->ops, t->gate, t->up, dinner, &dgate, &d_up);
    struct ggml_tensor *din = apply_back(v, layer, MODULE_UP, t, t->ffn_in, d_up, NULL);
    din = apply_back(v, layer, MODULE_GATE, t, t->ffn_in, dgate, din);
    struct ggml_tensor *dmid = kind->norm_back(v->ops, t->mid, v->model->layers[layer].ffn_norm,
                                               v->model->shape.rms_eps, din, dy);
    return attention_block_back(v, layer, t, dmid);
}
