/*
 * In which order rows are seen, and what shares a micro-batch. Sequences lie behind one another and
 * see only themselves, so nothing is padded either way: a micro-batch is `batch` rows, or, packed, as
 * many whole rows as fit in batch x the longest row's tokens.
 */
#ifndef ADAPT_TRAIN_BATCHES_H
#define ADAPT_TRAIN_BATCHES_H

#include "adapt/pass.h"
#include "adapt/train_rows.h"

struct batching {
    const struct train_rows *rows;
    const size_t *chosen; /* rows that take part */
    size_t n_chosen;
    int batch;
    bool pack;
    bool all_tokens; /* the loss counts the prompt's tokens too */
    uint64_t seed;
};

/* One epoch's order: micro-batch i is order[starts[i]] to order[starts[i + 1]]. */
struct epoch_order {
    size_t *order;
    size_t *starts;
    size_t n_micro;
};

/* Shuffled by (seed, epoch); in the rows' own order where epoch is negative. Lives in a. */
int epoch_order_make(const struct batching *g, int64_t epoch, struct arena *a,
                     struct epoch_order *out, struct err *e) EE_MUST_CHECK;

/* Most tokens, sequences and supervised rows any micro-batch can have. */
void batching_limits(const struct batching *g, struct pass_limits *limits);

/* Supervised rows of a training row. */
int batching_loss_rows(const struct batching *g, const struct train_row *r);

/* Memory for micro-batches within the limits; reused. */
struct batch_memory;
int batch_memory_create(const struct pass_limits *limits, struct batch_memory **out,
                        struct err *e) EE_MUST_CHECK;
void batch_memory_free(struct batch_memory *m);
/* Micro-batch i of an epoch; valid until the next call. */
const struct batch *batch_fill(struct batch_memory *m, const struct batching *g,
                               const struct epoch_order *o, size_t i);

#endif
