/*
 * Synthetic prompts: random common words, so that no two prompts are alike and no cache can have
 * seen them. With a vocabulary their length is exact in tokens, by counting; without, in words.
 */
#ifndef SERVE_WORDS_H
#define SERVE_WORDS_H

#include "base/buf.h"
#include "base/rng.h"

#include <stddef.h>

/* Appends n words, each with a space before it but the first of an empty buffer. */
void words_add(struct buf *out, struct rng *r, size_t n);

/* Tokens of a text as a whole prompt, by whoever knows; negative: e says why not. */
typedef int words_count_fn(void *ctx, const char *text, struct err *e);

/*
 * Appends words to out until count(out) is n_tokens exactly. What out holds already stays and
 * counts. EE_FORMAT where that cannot be reached, mostly because n_tokens is too few.
 */
int words_fill(struct buf *out, struct rng *r, int n_tokens, words_count_fn *count, void *ctx,
               struct err *e) EE_MUST_CHECK;

#endif
