/* The random stream that dropout masks are windows of; see struct dropout. */
#ifndef ADAPT_DROPOUT_H
#define ADAPT_DROPOUT_H

#include "adapt/ops.h"

enum { DROPOUT_WINDOWS = 1 << 20 }; /* offsets a mask may begin at */

/* Sets the stream's size, for masks of at most n_mask values; where ggml's operations compute, its
 * tensor is declared in ctx. rate 0: there is none. */
void dropout_declare(struct dropout *d, struct ggml_context *ctx, bool own_kernels, double rate,
                     int64_t n_mask);
/* Draws the stream, into a, and into the tensor once that has memory. */
int dropout_fill(struct dropout *d, uint64_t seed, struct arena *a, struct err *e) EE_MUST_CHECK;

#endif
