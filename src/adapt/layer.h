/*
 * One transformer layer, forward and backward, as graph nodes: RMS norm, attention with RoPE and
 * grouped heads, RMS norm, SwiGLU, with residuals. The backward pass is written by hand, not by
 * autodiff: each line of it stands for one line of the forward pass, so that a layer may be rebuilt
 * from its input (checkpointing) with bit-equal gradients, and every operation is one we chose.
 */
#ifndef ADAPT_LAYER_H
#define ADAPT_LAYER_H

#include "adapt/base_model.h"
#include "adapt/lora.h"
#include "adapt/ops.h"

/* What all layers of one pass share. */
struct layer_env {
    const struct base_model *model;
    const struct lora *lora; /* NULL: the base alone */
    struct ops *ops;
    struct ggml_tensor *positions; /* I32 [n_tokens] */
    const struct segment *segments;
    int n_segments;
    uint64_t dropout_key; /* differs for every micro-batch; 0: no dropout */
};

/* What a layer's backward pass needs of its forward pass. */
struct layer_tape {
    struct ggml_tensor *x;
    struct ggml_tensor *attn_in; /* normed */
    struct attention attention;
    struct ggml_tensor *attn_out;
    struct ggml_tensor *mid;    /* x and attention */
    struct ggml_tensor *ffn_in; /* normed */
    struct ggml_tensor *gate;
    struct ggml_tensor *up;
    struct ggml_tensor *inner; /* silu(gate) * up */
    struct linear_tape linears[MODULE_COUNT];
};

/* [n_embd, n_tokens] to the same. */
struct ggml_tensor *layer_forward(const struct layer_env *v, int layer, struct ggml_tensor *x,
                                  struct layer_tape *tape);
/* The gradient of the layer's input from that of its output; NULL for layer 0, below which nothing
 * is trained. Adapter gradients are added up by the graph. */
struct ggml_tensor *layer_backward(const struct layer_env *v, int layer,
                                   const struct layer_tape *tape, struct ggml_tensor *dy);

#endif
