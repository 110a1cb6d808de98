#include "adapt/import_write.h"

#include "adapt/gguf_out.h"
#include "base/fs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 4 << 20 };

struct writing {
    struct gguf_out out;
    const struct import_opts *opts;
    int64_t done_bytes;
    int64_t all_bytes;
};

/* A part of a tensor on its way; rows of a vector are its single values. */
struct chunk {
    int64_t width;
    int64_t n_rows; /* at most */
    size_t row_bytes;
    char *raw;
    char *reordered; /* NULL where rows stay where they are */
    float *values;   /* F32, where the type changes */
    char *out;
};

int import_check_tensor(const struct safetensors *file, const struct safetensor *t, int n_dims,
                        const int64_t *shape, struct err *e) {
    const char *path = safetensors_path(file);
    bool same = t->n_dims == n_dims;
    for (int i = 0; i < n_dims && same; i++) {
        same = t->shape[i] == shape[i];
    }
    if (!same) {
        const int64_t have[2] = {t->n_dims > 0 ? t->shape[0] : 0, t->n_dims > 1 ? t->shape[1] : 1};
        return err_set(e, EE_FORMAT,
                       "%s: tensor %.200s has %d dimensions, %" PRId64 " x %" PRId64
                       ", where %" PRId64 " x %" PRId64 " is expected",
                       path, t->name, t->n_dims, have[0], have[1], shape[0],
                       n_dims > 1 ? shape[1] : 1);
    }
    if (t->type == GGML_TYPE_COUNT) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s: tensor %.200s is %s; F32, F16 and BF16 can be imported", path, t->name,
                       t->dtype);
    }
    return 0;
}

/* --- One tensor ------------------------------------------------------------------------------ */

/* The checkpoint turns value i of a head with value i + half; llama.cpp turns 2i with 2i + 1. */
static void pair_rows(const struct chunk *c, int64_t rows, int64_t head_rows) {
    const int64_t half = head_rows / 2;
    for (int64_t head = 0; head < rows; head += head_rows) {
        for (int64_t i = 0; i < head_rows; i++) {
            int64_t from = head + i % 2 * half + i / 2;
            memcpy(c->reordered + (size_t)(head + i) * c->row_bytes,
                   c->raw + (size_t)from * c->row_bytes, c->row_bytes);
        }
    }
}

static bool overflows(const ggml_fp16_t *halves, const float *values, int64_t n) {
    const unsigned exponent = 0x7c00;
    for (int64_t i = 0; i < n; i++) {
        if ((halves[i] & exponent) == exponent && values[i] - values[i] == 0) {
            return true;
        }
    }
    return false;
}

/* Bytes of n values in the tensor's type; NULL when F16 cannot hold one of them. */
static const void *convert(const struct import_tensor *t, const struct chunk *c, const char *raw,
                           int64_t n) {
    enum ggml_type from = t->source->type;
    if (from == t->type) {
        return raw;
    }
    if (from == GGML_TYPE_F32) {
        memcpy(c->values, raw, (size_t)n * sizeof(float));
    } else {
        ggml_get_type_traits(from)->to_float(raw, c->values, n);
    }
    if (t->type == GGML_TYPE_F16) {
        ggml_fp16_t *halves = (ggml_fp16_t *)(void *)c->out;
        ggml_fp32_to_fp16_row(c->values, halves, n);
        return overflows(halves, c->values, n) ? NULL : c->out;
    }
    if (t->type == GGML_TYPE_BF16) {
        ggml_fp32_to_bf16_row(c->values, (ggml_bf16_t *)(void *)c->out, n);
        return c->out;
    }
    return c->values;
}

static int begin_chunk(const struct import_tensor *t, struct chunk *c, struct err *e) {
    const int64_t all_rows = t->n_dims > 1 ? t->ne[1] : t->ne[0];
    const int64_t unit = t->head_rows > 0 ? t->head_rows : 1;
    c->width = t->n_dims > 1 ? t->ne[0] : 1;
    c->row_bytes = (size_t)c->width * ggml_type_size(t->source->type);
    c->n_rows = CHUNK_BYTES / (c->width * (int64_t)sizeof(float)) / unit * unit;
    c->n_rows = c->n_rows < unit ? unit : c->n_rows > all_rows ? all_rows : c->n_rows;
    size_t n = (size_t)(c->n_rows * c->width);
    c->raw = malloc((size_t)c->n_rows * c->row_bytes);
    c->reordered = t->head_rows > 0 ? malloc((size_t)c->n_rows * c->row_bytes) : NULL;
    c->values = malloc(n * sizeof(float));
    c->out = malloc(n * ggml_type_size(t->type));
    bool whole = c->raw && c->values && c->out && (c->reordered || t->head_rows <= 0);
    return whole ? 0 : err_set(e, EE_NOMEM, "import: out of memory");
}

static void end_chunk(struct chunk *c) {
    free(c->raw);
    free(c->reordered);
    free(c->values);
    free(c->out);
}

static int put(struct writing *w, const void *bytes, size_t len, struct err *e) {
    int rc = gguf_out_write(&w->out, bytes, len, e);
    w->done_bytes += (int64_t)len;
    if (!rc && w->opts->progress) {
        w->opts->progress(w->opts->ctx, w->done_bytes, w->all_bytes);
    }
    if (!rc && w->opts->stop && *w->opts->stop) {
        rc = err_set(e, EE_STOPPED, "stopped; %s was not written", w->out.path);
    }
    return rc;
}

static int put_rows(struct writing *w, const struct import_tensor *t, const struct chunk *c,
                    int64_t row, int64_t n, struct err *e) {
    int rc = safetensors_read(t->file, t->source, (uint64_t)row * c->row_bytes, c->raw,
                              (size_t)n * c->row_bytes, e);
    if (rc) {
        return rc;
    }
    if (c->reordered) {
        pair_rows(c, n, t->head_rows);
    }
    const void *bytes = convert(t, c, c->reordered ? c->reordered : c->raw, n * c->width);
    if (!bytes) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s: tensor %.200s has values beyond the range of F16; use --type BF16 or "
                       "F32",
                       safetensors_path(t->file), t->source->name);
    }
    return put(w, bytes, (size_t)(n * c->width) * ggml_type_size(t->type), e);
}

static int put_tensor(struct writing *w, const struct import_tensor *t, struct err *e) {
    if (!t->source) {
        int rc = put(w, t->values, (size_t)t->ne[0] * sizeof(float), e);
        return rc ? rc : gguf_out_pad(&w->out, e);
    }
    const int64_t all_rows = t->n_dims > 1 ? t->ne[1] : t->ne[0];
    struct chunk c = {0};
    int rc = begin_chunk(t, &c, e);
    for (int64_t row = 0; row < all_rows && !rc; row += c.n_rows) {
        int64_t n = all_rows - row < c.n_rows ? all_rows - row : c.n_rows;
        rc = put_rows(w, t, &c, row, n, e);
    }
    end_chunk(&c);
    return rc ? rc : gguf_out_pad(&w->out, e);
}

/* --- The file -------------------------------------------------------------------------------- */

static int declare(struct writing *w, struct gguf_context *g, struct ggml_context *ctx,
                   const struct import_tensor *tensors, size_t n, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        if (gguf_find_tensor(g, tensors[i].name) >= 0) {
            return err_set(e, EE_FORMAT, "there are two tensors for %s", tensors[i].name);
        }
        struct ggml_tensor *t = ggml_new_tensor(ctx, tensors[i].type, tensors[i].n_dims,
                                                tensors[i].ne);
        ggml_set_name(t, tensors[i].name);
        gguf_add_tensor(g, t);
        w->all_bytes += (int64_t)ggml_nbytes(t);
    }
    return 0;
}

static int check_disk(const struct writing *w, const char *out_path, const struct gguf_context *g,
                      size_t n, struct err *e) {
    uint64_t need = gguf_get_meta_size(g) + (uint64_t)w->all_bytes + n * GGUF_DEFAULT_ALIGNMENT;
    uint64_t have = 0;
    char *dir = fs_dirname(out_path);
    int rc = dir ? fs_free_bytes(dir, &have, e) : err_set(e, EE_NOMEM, "import: out of memory");
    free(dir);
    if (!rc && have < need) {
        rc = err_set(e, EE_NOSPACE, "%s needs %.2f GB and %.2f GB are free there", out_path,
                     (double)need / 1e9, (double)have / 1e9);
    }
    return rc;
}

int import_write(const char *out_path, struct gguf_context *g, const struct import_tensor *tensors,
                 size_t n, const struct import_opts *opts, struct err *e) {
    struct writing w = {.opts = opts};
    struct ggml_context *ctx = ggml_init(
        (struct ggml_init_params){.mem_size = (n + 1) * ggml_tensor_overhead(), .no_alloc = true});
    if (!ctx) {
        return err_set(e, EE_NOMEM, "import: out of memory");
    }
    int rc = declare(&w, g, ctx, tensors, n, e);
    rc = rc ? rc : check_disk(&w, out_path, g, n, e);
    rc = rc ? rc : gguf_out_begin(&w.out, out_path, g, e);
    if (rc) {
        ggml_free(ctx);
        return rc;
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = put_tensor(&w, &tensors[i], e);
    }
    ggml_free(ctx);
    if (rc) {
        gguf_out_abandon(&w.out);
        return rc;
    }
    return gguf_out_commit(&w.out, e);
}
