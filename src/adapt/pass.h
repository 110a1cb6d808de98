/*
 * One micro-batch through the model: its loss, and its adapter gradients.
 *
 * Checkpointed, the input of every layer is kept and each layer is rebuilt from it on the way back,
 * so that memory holds one layer's activations; otherwise the whole pass is one graph. Both do the
 * same operations in the same order: gradients are equal bit for bit.
 *
 * The head and the loss see the supervised rows alone, some at a time, because logits are the
 * largest thing there is. One thread at a time may use a pass.
 */
#ifndef ADAPT_PASS_H
#define ADAPT_PASS_H

#include "adapt/base_model.h"
#include "adapt/lora.h"
#include "adapt/ops.h"

/* Sequences behind one another; nothing is padded. */
struct batch {
    int n_tokens;
    const int32_t *tokens;
    const int32_t *positions; /* from 0 in each segment */
    int n_segments;
    const struct segment *segments;
    int n_rows;             /* supervised: predictions that count */
    const int32_t *rows;    /* token whose output predicts ... */
    const int32_t *targets; /* ... this token */
};

struct pass_limits {
    int max_tokens;   /* of a batch */
    int max_segments; /* of a batch */
    int max_segment;  /* tokens of one segment */
    bool checkpoint;
    double dropout; /* rate, 0 for none */
    uint64_t seed;  /* of the dropout stream */
};

struct pass;

/* Time spent, since the pass was created. Without checkpoints all of it counts as backward. */
struct pass_times {
    int64_t forward_ns;
    int64_t backward_ns; /* the head, and layers rebuilt, included */
};

/* Model, adapter and device are borrowed. */
int pass_create(const struct device *d, const struct base_model *m, const struct lora *l,
                const struct pass_limits *limits, struct pass **out, struct err *e) EE_MUST_CHECK;
void pass_free(struct pass *p);

/*
 * Adds the gradient of weight * (sum of the batch's losses) to the adapter's gradients. losses
 * receives n_rows values, unweighted. dropout_key selects the masks; 0 for none.
 */
int pass_train(struct pass *p, const struct batch *b, float weight, uint64_t dropout_key,
               float *losses, struct err *e) EE_MUST_CHECK;
/* The losses alone, without dropout. */
int pass_evaluate(struct pass *p, const struct batch *b, float *losses,
                  struct err *e) EE_MUST_CHECK;
void pass_get_times(const struct pass *p, struct pass_times *t);
/* Bytes allocated on the device. */
uint64_t pass_bytes(const struct pass *p);
/* Logits [n_rows][n_vocab] of the supervised rows; for tests. */
int pass_logits(struct pass *p, const struct batch *b, float *logits, struct err *e) EE_MUST_CHECK;

/* Bytes that passes within the limits need beside weights and adapter; from the graphs themselves,
 * nothing is allocated. m and l need no memory behind them. */
int pass_forecast(const struct device *d, const struct base_model *m, const struct lora *l,
                  const struct pass_limits *limits, uint64_t *bytes, struct err *e) EE_MUST_CHECK;

#endif
