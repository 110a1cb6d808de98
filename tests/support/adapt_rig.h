/*
 * For tests of training: a tiny model, its adapter with numbers in A and B, a batch of two sequences,
 * and a pass over them.
 */
#ifndef TESTS_SUPPORT_ADAPT_RIG_H
#define TESTS_SUPPORT_ADAPT_RIG_H

#include "adapt/pass.h"
#include "support/gguf_make.h"
#include "support/scratch.h"

enum { RIG_TOKENS = 41, RIG_SEGMENTS = 2, RIG_ROWS = 33 };

struct adapt_rig {
    struct device device;
    struct base_model model;
    struct lora lora;
    struct pass *pass;
    struct batch batch;
    float losses[RIG_ROWS];
};

struct rig_opts {
    enum ggml_type matrices; /* converted to while loading; GGML_TYPE_COUNT: as made */
    bool plain_ops;
    const char *compute; /* as device_set_compute */
    bool whole;          /* one graph instead of checkpoints */
    int n_threads;
    double dropout;
};

extern const struct rig_opts rig_default;
/* In F32: one with frequency factors; one with biases and an output matrix of its own. */
extern const struct gguf_make rig_llama;
extern const struct gguf_make rig_qwen2;

/* Makes the model file and opens everything; the test fails where that fails. */
void rig_open(struct adapt_rig *r, struct scratch *dir, const struct gguf_make *m,
              const struct rig_opts *o);
void rig_close(struct adapt_rig *r);
/* Sum of the losses, and with train the gradients of it (weight 1), cleared before. */
double rig_loss(struct adapt_rig *r, bool train);
/* All of a flat tensor of the adapter; the caller frees it. */
float *rig_values(const struct ggml_tensor *flat);
/* Largest difference between two flat tensors' values over the largest value. */
double rig_difference(const struct ggml_tensor *a, const struct ggml_tensor *b);

#endif
