/*
 * A base model and an adapter made one model in F16. Tensors stream through: memory holds some rows
 * of one matrix and its pair, whatever the model's size.
 */
#ifndef ADAPT_MERGE_H
#define ADAPT_MERGE_H

#include "base/err.h"

#include <signal.h>
#include <stdint.h>

struct merge_opts {
    void (*progress)(void *ctx, int64_t done_bytes, int64_t all_bytes); /* or NULL */
    void *ctx;
    const volatile sig_atomic_t *stop; /* or NULL */
};

struct merge_result {
    int64_t n_merged;  /* matrices that the adapter changed */
    int64_t out_bytes; /* of the file */
};

/*
 * Writes base + adapter to out_path, atomically: matrices in F16, vectors in F32, metadata as in the
 * base. Refused, by name: an adapter for another architecture or for matrices the base does not have
 * in that shape; files that are not whole; a disk without room.
 */
int merge_files(const char *base_path, const char *adapter_path, const char *out_path,
                const struct merge_opts *opts, struct merge_result *result,
                struct err *e) EE_MUST_CHECK;

#endif
