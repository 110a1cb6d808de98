/*
 * The trained parameters: for each adapted matrix W [n_in, n_out] a pair A [n_in, rank] and
 * B [rank, n_out], so that W x becomes W x + alpha / rank * B (A x). A starts random, B zero
 * (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models").
 *
 * All pairs lie behind one another in one F32 tensor, and so do their gradients and AdamW's two
 * moments, so that norm, clipping and step are one operation each.
 */
#ifndef ADAPT_LORA_H
#define ADAPT_LORA_H

#include "adapt/base_model.h"

struct lora_pair {
    struct ggml_tensor *a; /* [n_in, rank]; NULL: the matrix has no adapter */
    struct ggml_tensor *b; /* [rank, n_out] */
    struct ggml_tensor *grad_a;
    struct ggml_tensor *grad_b;
};

struct lora {
    int rank;
    float alpha;
    unsigned modules; /* bits of enum module */
    int n_layers;
    struct lora_pair *pairs; /* n_layers x MODULE_COUNT */
    int64_t n_params;        /* without the padding between tensors */

    /* [LORA_ROW, rows] each; views above point into them */
    struct ggml_tensor *params;
    struct ggml_tensor *grads;
    struct ggml_tensor *moment1;
    struct ggml_tensor *moment2;

    struct arena arena;
    struct ggml_context *ctx;
    ggml_backend_buffer_t buffer;
};

enum { LORA_ROW = 256 };

/* Refuses a rank above the smallest dimension of an adapted matrix. */
int lora_check(const struct model_shape *s, int rank, unsigned modules,
               struct err *e) EE_MUST_CHECK;
/* Bytes of parameters, gradients and moments together. */
uint64_t lora_bytes(const struct model_shape *s, int rank, unsigned modules);

/* Parameters as they start for this seed; gradients and moments are zero. */
int lora_init(const struct model_shape *s, const struct device *d, int rank, float alpha,
              unsigned modules, uint64_t seed, struct lora *l, struct err *e) EE_MUST_CHECK;
/* The same without memory, for forecasts; see device_pretend. */
int lora_declare(const struct model_shape *s, int rank, float alpha, unsigned modules,
                 struct lora *l, struct err *e) EE_MUST_CHECK;
void lora_release(struct lora *l);

static inline struct lora_pair *lora_pair_at(const struct lora *l, int layer, enum module m) {
    return &l->pairs[(size_t)layer * MODULE_COUNT + (size_t)m];
}

#endif
