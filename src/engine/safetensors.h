/*
 * Tensors of a safetensors file: an 8-byte little-endian length, a JSON object that names each
 * tensor's type, shape and place, then the bytes. The header is read and checked; bytes are read
 * when asked for. One thread at a time.
 */
#ifndef ENGINE_SAFETENSORS_H
#define ENGINE_SAFETENSORS_H

#include "base/err.h"

#include <ggml.h>
#include <stddef.h>
#include <stdint.h>

enum { SAFETENSORS_MAX_DIMS = 8 };

struct safetensor {
    const char *name;
    const char *dtype;   /* as written in the file: "BF16" */
    enum ggml_type type; /* F32, F16 or BF16; GGML_TYPE_COUNT for any other dtype */
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS]; /* slowest first, as the file has them */
    uint64_t offset;                     /* in the file */
    uint64_t bytes;
};

struct safetensors;

/*
 * Opens and checks: every tensor's bytes agree with its type and shape, and together they are the
 * file, no more and no less. A file that is cut off or damaged is EE_FORMAT, an unknown dtype
 * EE_UNSUPPORTED.
 */
int safetensors_open(const char *path, struct safetensors **out, struct err *e) EE_MUST_CHECK;
void safetensors_close(struct safetensors *s); /* NULL is fine */

const char *safetensors_path(const struct safetensors *s);
size_t safetensors_count(const struct safetensors *s);
/* In the order of their bytes. */
const struct safetensor *safetensors_at(const struct safetensors *s, size_t i);
/* len bytes of t from offset on; they must lie in t. */
int safetensors_read(const struct safetensors *s, const struct safetensor *t, uint64_t offset,
                     void *to, size_t len, struct err *e) EE_MUST_CHECK;

#endif
