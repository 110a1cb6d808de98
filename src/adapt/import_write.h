/*
 * What both imports share: tensors of safetensors files into a GGUF file, streamed, in another type
 * where asked for, with the rows of each head reordered where llama.cpp's rotary code pairs other
 * rows than the checkpoint's. Memory holds one chunk of one tensor.
 */
#ifndef ADAPT_IMPORT_WRITE_H
#define ADAPT_IMPORT_WRITE_H

#include "adapt/import.h"
#include "engine/safetensors.h"

#include <gguf.h>

struct import_tensor {
    char name[GGML_MAX_NAME];
    int n_dims;
    int64_t ne[2]; /* fastest first, as ggml has them */
    enum ggml_type type;
    const struct safetensors *file; /* where its values lie; or, with source NULL, */
    const struct safetensor *source;
    const float *values; /* they are these */
    int64_t head_rows;   /* over 0: reorder the halves of every so many rows into pairs */
};

/* EE_FORMAT, naming tensor and file, unless t has exactly this shape (slowest first); and
 * EE_UNSUPPORTED for values that are no F32, F16 or BF16. */
int import_check_tensor(const struct safetensors *file, const struct safetensor *t, int n_dims,
                        const int64_t *shape, struct err *e) EE_MUST_CHECK;

/* Writes header g, to which the tensors are added, and the tensors to out_path: whole or not at
 * all. Refuses before the first byte when the disk has too little room. */
int import_write(const char *out_path, struct gguf_context *g, const struct import_tensor *tensors,
                 size_t n, const struct import_opts *opts, struct err *e) EE_MUST_CHECK;

#endif
