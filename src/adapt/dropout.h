/* The random stream that dropout masks are windows of; see struct dropout. */
#ifndef ADAPT_DROPOUT_H
#define ADAPT_DROPOUT_H

#include "adapt/ops.h"

enum { DROPOUT_WINDOWS = 1 << 20 }; /* offsets a mask may begin at */

/* Draws the stream for masks of at most n_mask values: in memory for our kernels, else declared as a
 * tensor of ctx. rate 0: nothing is made. */
int dropout_declare(struct dropout *d, struct ggml_context *ctx, bool own_kernels, double rate,
                    int64_t n_mask, uint64_t seed, struct arena *a, struct err *e) EE_MUST_CHECK;
/* Fills the tensor once it has memory. */
int dropout_upload(const struct dropout *d, struct err *e) EE_MUST_CHECK;

#endif
