/*
 * The largest value of each of many rows, by a few threads: a vocabulary of 128,000 for a hundred
 * sequences is 50 MB a step, which one core takes longer to read than an accelerator to compute.
 *
 * Threads sleep between calls, because the engine's own threads need the cores then. One caller at a
 * time.
 */
#ifndef ENGINE_ARGMAX_H
#define ENGINE_ARGMAX_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct argmax_row {
    const float *x;
    int n;
    int32_t best; /* index of the largest value, the first of equals; -1 when none is a number */
};

int32_t argmax(const float *x, int n);

struct argmax_pool;

/* n_threads with the caller's own; 1: none is started. */
int argmax_pool_start(struct argmax_pool **out, int n_threads, struct err *e) EE_MUST_CHECK;
/* Fills best of each row. Few values are left to the caller's thread: waking others takes longer. */
void argmax_pool_run(struct argmax_pool *p, struct argmax_row *rows, size_t n);
/* Joins the threads. NULL is allowed. */
void argmax_pool_stop(struct argmax_pool *p);

#endif
