/*
 * A pass in ggml's own operations, restricted to what its CUDA backend computes too: OUT_PROD in
 * F32 alone, quantized matrices turned to F32 by GET_ROWS (its copies know fewer types), no custom
 * operations, gradients made contiguous where a kernel wants them so.
 */
#include "adapt/ops.h"

#include <float.h>

enum { CUDA_ROW = 256 }; /* GET_ROWS on IQ4_NL takes multiples of this on CUDA */

/* w as F32, whatever it is. */
static struct ggml_tensor *dequantize(struct ops *o, struct ggml_tensor *w) {
    if (w->type == GGML_TYPE_F32) {
        return w;
    }
    if (!ggml_is_quantized(w->type)) {
        return ggml_cast(o->ctx, w, GGML_TYPE_F32);
    }
    int64_t n = ggml_nelements(w);
    int64_t row = w->ne[0] % CUDA_ROW != 0 && n % CUDA_ROW == 0 &&
                          CUDA_ROW % ggml_blck_size(w->type) == 0
                      ? CUDA_ROW
                      : w->ne[0];
    struct ggml_tensor *rows = ggml_reshape_2d(o->ctx, w, row, n / row);
    struct ggml_tensor *ids = ggml_view_1d(o->ctx, o->row_ids, n / row, 0);
    return ggml_reshape_2d(o->ctx, ggml_get_rows(o->ctx, rows, ids), w->ne[0], w->ne[1]);
}

/* w in the type that is computed in. Blocks become F32 first: nothing else is known everywhere. */
static struct ggml_tensor *frozen(struct ops *o, struct ggml_tensor *w) {
    struct ggml_tensor *t = w->type == o->compute ? w : dequantize(o, w);
    return t->type == o->compute ? t : ggml_cast(o->ctx, t, o->compute);
}

static struct ggml_tensor *product(struct ops *o, struct ggml_tensor *a, struct ggml_tensor *b) {
    struct ggml_tensor *c = ggml_mul_mat(o->ctx, a, b);
    ggml_prec_set_acc(c, GGML_PREC_F32);
    return c;
}

/* w x, with w in the type that is computed in; y is F32. ggml rounds x itself. Asked for F32 sums, its
 * CUDA backend would turn the factors into F32 again; in BF16 it sums in F32 as it is. */
static struct ggml_tensor *frozen_product(struct ops *o, struct ggml_tensor *w,
                                          struct ggml_tensor *x) {
    return w->type == GGML_TYPE_F32 ? product(o, w, x) : ggml_mul_mat(o->ctx, w, x);
}

/* The mask of a linear's input, or NULL. */
static struct ggml_tensor *mask(struct ops *o, const struct linear *l,
                                const struct ggml_tensor *x) {
    if (l->mask_offset < 0) {
        return NULL;
    }
    return ggml_view_2d(o->ctx, o->dropout->pool, x->ne[0], x->ne[1],
                        (size_t)x->ne[0] * sizeof(float), (size_t)l->mask_offset * sizeof(float));
}

static struct ggml_tensor *masked(struct ops *o, const struct linear *l, struct ggml_tensor *x) {
    struct ggml_tensor *m = mask(o, l, x);
    return m ? ggml_mul(o->ctx, x, m) : x;
}

static struct ggml_tensor *linear(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                  struct linear_tape *tape) {
    struct ggml_tensor *w = frozen(o, l->w);
    struct ggml_tensor *kept = l->a ? masked(o, l, x) : NULL;
    *tape = o->reuse ? (struct linear_tape){.w = w, .masked = kept} : (struct linear_tape){0};
    /* Not in blocks: ggml would round x to the matrix's, and the gradient is not of that. */
    struct ggml_tensor *y = frozen_product(o, w, x);
    if (l->bias) {
        y = ggml_add(o->ctx, y, l->bias);
    }
    if (l->a) { /* scaled where it is smallest: u is [rank, n] */
        tape->u = ggml_scale(o->ctx, product(o, l->a, kept), l->scale);
        y = ggml_add(o->ctx, y, product(o, l->b, tape->u));
    }
    return y;
}

static void add_to(struct ops *o, struct ggml_tensor *grad, struct ggml_tensor *more) {
    ggml_build_forward_expand(o->graph, ggml_cpy(o->ctx, ggml_add(o->ctx, grad, more), grad));
}

/* w^T dy: dy goes in transposed, which OUT_PROD takes as it is. */
static struct ggml_tensor *transposed_product(struct ops *o, struct ggml_tensor *w,
                                              struct ggml_tensor *dy) {
    return ggml_out_prod(o->ctx, w, ggml_transpose(o->ctx, dy));
}

/* The same for a frozen matrix, in the type that is computed in. OUT_PROD is F32 alone, so that in
 * another type the matrix is turned over, which costs less than making it F32 would. */
static struct ggml_tensor *frozen_transposed_product(struct ops *o, struct ggml_tensor *w,
                                                     struct ggml_tensor *dy) {
    if (w->type == GGML_TYPE_F32) {
        return transposed_product(o, w, dy);
    }
    struct ggml_tensor *turned = ggml_cont(o->ctx, ggml_transpose(o->ctx, w));
    return ggml_mul_mat(o->ctx, turned, dy);
}

static struct ggml_tensor *linear_back(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                       const struct linear_tape *tape, struct ggml_tensor *dy,
                                       struct ggml_tensor *sum, bool want_dx) {
    struct ggml_tensor *du = NULL;
    if (sum) { /* so that the two sums at the end are neighbours, which a device may make one */
        ggml_build_forward_expand(o->graph, sum);
    }
    if (l->a) {
        du = ggml_scale(o->ctx, transposed_product(o, l->b, dy), l->scale);
        struct ggml_tensor *kept = tape->masked ? tape->masked : masked(o, l, x);
        add_to(o, l->grad_b, ggml_out_prod(o->ctx, tape->u, dy));
        add_to(o, l->grad_a, ggml_out_prod(o->ctx, kept, du));
    }
    if (!want_dx) {
        return NULL;
    }
    struct ggml_tensor *dx = frozen_transposed_product(o, tape->w ? tape->w : frozen(o, l->w), dy);
    if (l->a) {
        dx = ggml_add(o->ctx, dx, masked(o, l, transposed_product(o, l->a, du)));
    }
    return sum ? ggml_add(o->ctx, dx, sum) : dx;
}

/* --- Attention, one segment at a time --------------------------------------------------------- */

/* [head_dim, heads, tokens] to the segment's [head_dim, len, heads]; a view. */
static struct ggml_tensor *segment_of(struct ops *o, struct ggml_tensor *t, struct segment s) {
    struct ggml_tensor *part = ggml_view_3d(o->ctx, t, t->ne[0], t->ne[1], s.len, t->nb[1],
                                            t->nb[2], (size_t)s.start * t->nb[2]);
    return ggml_permute(o->ctx, part, 0, 2, 1, 3);
}

static struct ggml_tensor *contiguous_transpose(struct ops *o, struct ggml_tensor *t) {
    return ggml_cont(o->ctx, ggml_transpose(o->ctx, t));
}

/* Appends a segment's [head_dim, len, heads] behind all, as [head_dim, heads, tokens]. */
static struct ggml_tensor *append(struct ops *o, struct ggml_tensor *all, struct ggml_tensor *t) {
    struct ggml_tensor *part = ggml_cont(o->ctx, ggml_permute(o->ctx, t, 0, 2, 1, 3));
    return all ? ggml_concat(o->ctx, all, part, 2) : part;
}

/* 0 where a token may look and -inf elsewhere, for one head: all of them share it, so that the scores
 * are not gone through once more for it. */
static struct ggml_tensor *causal_mask(struct ops *o, struct ggml_tensor *scores) {
    struct ggml_tensor *one = ggml_view_2d(o->ctx, scores, scores->ne[0], scores->ne[1],
                                           scores->nb[1], 0);
    return ggml_diag_mask_inf(o->ctx, ggml_fill(o->ctx, one, 0), 0);
}

static struct ggml_tensor *attention(struct ops *o, struct attention *at) {
    struct ggml_tensor *out = NULL;
    at->probs = arena_array(o->arena, (size_t)at->n_segments, sizeof(struct ggml_tensor *));
    if (!at->probs) {
        return NULL;
    }
    for (int i = 0; i < at->n_segments; i++) {
        struct ggml_tensor *q = segment_of(o, at->q, at->segments[i]);
        struct ggml_tensor *k = segment_of(o, at->k, at->segments[i]);
        struct ggml_tensor *v = segment_of(o, at->v, at->segments[i]);
        struct ggml_tensor *scores = product(o, k, q);
        at->probs[i] = ggml_soft_max_ext(o->ctx, scores, causal_mask(o, scores), at->scale, 0);
        out = append(o, out, product(o, contiguous_transpose(o, v), at->probs[i]));
    }
    return ggml_reshape_2d(o->ctx, out, at->q->ne[0] * at->q->ne[1], at->q->ne[2]);
}

/* Heads that share a K and V add up their gradients: [head_dim, len, n_head] to n_head_kv. */
static struct ggml_tensor *sum_groups(struct ops *o, struct ggml_tensor *t, int64_t n_head_kv) {
    int64_t group = t->ne[2] / n_head_kv;
    if (group == 1) {
        return t;
    }
    struct ggml_tensor *parts = ggml_reshape_4d(o->ctx, t, t->ne[0], t->ne[1], group, n_head_kv);
    struct ggml_tensor *shape = ggml_new_tensor_4d(o->ctx, t->type, t->ne[0], t->ne[1], 1,
                                                   n_head_kv);
    return ggml_reshape_3d(o->ctx, ggml_repeat_back(o->ctx, parts, shape), t->ne[0], t->ne[1],
                           n_head_kv);
}

static void attention_back(struct ops *o, const struct attention *at, struct ggml_tensor *dout,
                           struct ggml_tensor **dq, struct ggml_tensor **dk,
                           struct ggml_tensor **dv) {
    int64_t n_head_kv = at->k->ne[1];
    struct ggml_tensor *heads = ggml_reshape_3d(o->ctx, dout, at->q->ne[0], at->q->ne[1],
                                                at->q->ne[2]);
    *dq = NULL;
    *dk = NULL;
    *dv = NULL;
    for (int i = 0; i < at->n_segments; i++) {
        struct ggml_tensor *q = segment_of(o, at->q, at->segments[i]);
        struct ggml_tensor *k = segment_of(o, at->k, at->segments[i]);
        struct ggml_tensor *v = segment_of(o, at->v, at->segments[i]);
        struct ggml_tensor *d = segment_of(o, heads, at->segments[i]);
        struct ggml_tensor *dprobs = product(o, v, d);
        struct ggml_tensor *dscores = ggml_soft_max_ext_back(o->ctx, dprobs, at->probs[i],
                                                             at->scale, 0);
        *dq = append(o, *dq, product(o, contiguous_transpose(o, k), dscores));
        struct ggml_tensor *dk_heads = ggml_out_prod(o->ctx, q, dscores);
        *dk = append(o, *dk, sum_groups(o, dk_heads, n_head_kv));
        struct ggml_tensor *dv_heads = ggml_out_prod(o->ctx, d, at->probs[i]);
        *dv = append(o, *dv, sum_groups(o, dv_heads, n_head_kv));
    }
}

/* --- Loss ------------------------------------------------------------------------------------ */

/* By gathering: one-hot labels would take as much memory as the logits. */
static void cross_entropy(struct ops *o, struct ggml_tensor *logits, struct ggml_tensor *targets,
                          float weight, struct ggml_tensor **loss, struct ggml_tensor **dlogits) {
    int64_t n_vocab = logits->ne[0];
    int64_t n = logits->ne[1];
    struct ggml_tensor *probs = ggml_soft_max(o->ctx, logits);
    struct ggml_tensor *flat = ggml_reshape_2d(o->ctx, probs, 1, n_vocab * n);
    struct ggml_tensor *of_target = ggml_get_rows(o->ctx, flat, targets);
    struct ggml_tensor *least = ggml_clamp(o->ctx, of_target, FLT_MIN, 1);
    *loss = ggml_reshape_1d(o->ctx, ggml_scale(o->ctx, ggml_log(o->ctx, least), -1), n);
    ggml_build_forward_expand(o->graph, *loss); /* before probs are overwritten */
    struct ggml_tensor *minus_one = ggml_scale_bias(o->ctx, of_target, 1, -1);
    struct ggml_tensor *grads = ggml_set_rows(o->ctx, flat, minus_one, targets);
    *dlogits = ggml_scale(o->ctx, ggml_reshape_2d(o->ctx, grads, n_vocab, n), weight);
}

/* --- Small ones ------------------------------------------------------------------------------ */

static struct ggml_tensor *norm(struct ops *o, struct ggml_tensor *x, struct ggml_tensor *w,
                                float eps) {
    return ggml_mul(o->ctx, ggml_rms_norm(o->ctx, x, eps), w);
}

static struct ggml_tensor *norm_back(struct ops *o, struct ggml_tensor *x, struct ggml_tensor *w,
                                     float eps, struct ggml_tensor *dy, struct ggml_tensor *sum) {
    struct ggml_tensor *dx = ggml_rms_norm_back(o->ctx, ggml_mul(o->ctx, dy, w), x, eps);
    return sum ? ggml_add(o->ctx, sum, dx) : dx;
}

static struct ggml_tensor *swiglu(struct ops *o, struct ggml_tensor *gate, struct ggml_tensor *up) {
    return ggml_swiglu_split(o->ctx, gate, up);
}

static void swiglu_back(struct ops *o, struct ggml_tensor *gate, struct ggml_tensor *up,
                        struct ggml_tensor *dy, struct ggml_tensor **dgate,
                        struct ggml_tensor **d_up) {
    *dgate = ggml_silu_back(o->ctx, ggml_mul(o->ctx, dy, up), gate);
    *d_up = ggml_swiglu_split(o->ctx, gate, dy); /* silu(gate) * dy */
}

const struct ops_kind ops_plain = {.linear = linear,
                                   .linear_back = linear_back,
                                   .attention = attention,
                                   .attention_back = attention_back,
                                   .cross_entropy = cross_entropy,
                                   .norm = norm,
                                   .norm_back = norm_back,
                                   .swiglu = swiglu,
                                   .swiglu_back = swiglu_back};
