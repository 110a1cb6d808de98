/*
 * The heavy operations of a pass, added to a graph being built. There are two roads: ggml's own
 * operations, which any backend computes, and our CPU kernels, which give the same values up to
 * rounding. Elementwise operations in between are ggml's and stand in layer.c.
 *
 * Nothing is computed here. What an operation needs later than the graph's building (segments,
 * masks) is borrowed and must live until the graph was computed.
 */
#ifndef ADAPT_OPS_H
#define ADAPT_OPS_H

#include "adapt/device.h"
#include "base/arena.h"

#include <ggml.h>

/* One sequence of a batch: tokens [start, start + len) that see only those before them in it. */
struct segment {
    int start;
    int len;
};

/*
 * Dropout: one random stream of keep and drop, made once; each mask is a window of it at an offset
 * drawn for (step, layer, module). So a mask can be had twice without being stored, and a device
 * needs no random numbers of its own.
 */
struct dropout {
    double rate;              /* 0: none, and the rest is NULL */
    const uint8_t *keep;      /* 1 keep, 0 drop; for our kernels */
    struct ggml_tensor *pool; /* the same as F32 on the device; for ggml's operations */
    int64_t n;                /* values in it */
};

/* A frozen matrix with its adapter: y = w x + bias + scale * b (a (keep x)). */
struct linear {
    struct ggml_tensor *w;
    struct ggml_tensor *bias; /* or NULL */
    struct ggml_tensor *a;    /* NULL: no adapter */
    struct ggml_tensor *b;
    struct ggml_tensor *grad_a; /* gradients are added to these */
    struct ggml_tensor *grad_b;
    float scale;
    int64_t mask_offset; /* into dropout's stream; -1: no dropout */
};

/* What a linear's backward pass needs of its forward pass, or may use again. */
struct linear_tape {
    struct ggml_tensor *u; /* of the adapter: scale or not, a (keep x) */
    /* Where ops.reuse is set and the road has them; else NULL, and they are made again: */
    struct ggml_tensor *w;      /* the frozen matrix, in the type that is computed in */
    struct ggml_tensor *masked; /* keep x */
};

/* What attention's backward pass needs of its forward pass. */
struct attention {
    struct ggml_tensor *q; /* [head_dim, n_head, n_tokens], with RoPE */
    struct ggml_tensor *k; /* [head_dim, n_head_kv, n_tokens] */
    struct ggml_tensor *v;
    const struct segment *segments;
    int n_segments;
    float scale;
    struct ggml_tensor **probs; /* of each segment, where the road keeps them */
};

struct ops {
    const struct ops_kind *kind;
    const struct dropout *dropout;
    struct ggml_tensor *row_ids; /* 0, 1, 2 ... on the device, enough for any matrix's rows */
    void *work;                  /* our kernels' memory */
    enum ggml_type compute;      /* as the device has it */

    /* Of the graph being built. */
    struct ggml_context *ctx;
    struct ggml_cgraph *graph;
    bool
        reuse; /* the graph is of one layer or the head alone: what linears made may stay in memory */
    struct arena *arena;
};

struct ops_kind {
    /* y [n_out, n] */
    struct ggml_tensor *(*linear)(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                  struct linear_tape *tape);
    /* dx [n_in, n], added to `sum` where that is not NULL; the adapter's gradients go into the graph.
     * Without want_dx, NULL. */
    struct ggml_tensor *(*linear_back)(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                       const struct linear_tape *tape, struct ggml_tensor *dy,
                                       struct ggml_tensor *sum, bool want_dx);
    /* [head_dim * n_head, n_tokens] */
    struct ggml_tensor *(*attention)(struct ops *o, struct attention *at);
    /* Gradients of q, k and v, in their shapes, rows perhaps apart. */
    void (*attention_back)(struct ops *o, const struct attention *at, struct ggml_tensor *dout,
                           struct ggml_tensor **dq, struct ggml_tensor **dk,
                           struct ggml_tensor **dv);
    /*
     * logits [n_vocab, n] to their losses, *loss [n], and *dlogits, the gradient of weight * sum of
     * losses. targets (I32 [n]) holds row * n_vocab + token. logits may be overwritten.
     */
    void (*cross_entropy)(struct ops *o, struct ggml_tensor *logits, struct ggml_tensor *targets,
                          float weight, struct ggml_tensor **loss, struct ggml_tensor **dlogits);
    /* rms_norm(x) * w */
    struct ggml_tensor *(*norm)(struct ops *o, struct ggml_tensor *x, struct ggml_tensor *w,
                                float eps);
    /* Gradient of norm's x, added to sum (NULL: nothing). */
    struct ggml_tensor *(*norm_back)(struct ops *o, struct ggml_tensor *x, struct ggml_tensor *w,
                                     float eps, struct ggml_tensor *dy, struct ggml_tensor *sum);
    /* silu(gate) * up */
    struct ggml_tensor *(*swiglu)(struct ops *o, struct ggml_tensor *gate, struct ggml_tensor *up);
    void (*swiglu_back)(struct ops *o, struct ggml_tensor *gate, struct ggml_tensor *up,
                        struct ggml_tensor *dy, struct ggml_tensor **dgate,
                        struct ggml_tensor **d_up);
};

extern const struct ops_kind ops_plain;
extern const struct ops_kind ops_cpu;

/* kind->linear and kind->linear_back of o. */
struct ggml_tensor *ops_linear(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                               struct linear_tape *tape);
struct ggml_tensor *ops_linear_back(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                    const struct linear_tape *tape, struct ggml_tensor *dy,
                                    struct ggml_tensor *sum, bool want_dx);

#endif
