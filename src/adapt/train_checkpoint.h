/*
 * An interrupted training on disk: parameters, moments and where it was, in one GGUF file written
 * atomically, so that a kill at any moment leaves the last whole one.
 */
#ifndef ADAPT_TRAIN_CHECKPOINT_H
#define ADAPT_TRAIN_CHECKPOINT_H

#include "adapt/lora.h"

#include <jansson.h>

/* settings and state are kept as JSON text; best holds the best parameters so far, or is NULL. */
int train_checkpoint_write(const char *path, const struct lora *l, const float *best,
                           const json_t *settings, const json_t *state,
                           struct err *e) EE_MUST_CHECK;
/* Into l, best and a new *state. Refuses a file of other settings, naming the first that differs. */
int train_checkpoint_read(const char *path, struct lora *l, float *best, const json_t *settings,
                          json_t **state, struct err *e) EE_MUST_CHECK;

#endif
