#include "engine/synth.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/rng.h"
#include "engine/rope.h"
#include "engine/synth_plan.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MATRIX_SD 0.02
#define NORM_SD 0.05
#define BIAS_SD 0.1
#define PI 3.14159265358979323846

enum { POOL_VALUES = 1 << 22, CHUNK_BYTES = 1 << 22, PAD_BYTES = 256 };

/* Streams of the seed. */
enum { STREAM_POOL = 1, STREAM_PLACES, STREAM_VECTORS };

/* A pool in one type; rows are copied from any block of it. */
struct pool {
    uint8_t *bytes; /* NULL until needed */
    int64_t n_blocks;
};

struct writer {
    FILE *file;
    const char *path;
    const struct synth_opts *opts;
    uint64_t done_bytes;
    uint64_t all_bytes;
    float *values; /* the pool in F32 */
    int64_t n_values;
    struct pool pools[GGML_TYPE_COUNT];
    struct rng places;
    struct rng vectors;
    uint8_t *chunk;
};

/* Box and Muller, 1958: two independent normal values from two uniform ones. */
static void normal_pair(struct rng *r, double *a, double *b) {
    double radius = sqrt(-2 * log(1 - rng_uniform(r)));
    double angle = 2 * PI * rng_uniform(r);
    *a = radius * cos(angle);
    *b = radius * sin(angle);
}

static int make_values(struct writer *w, int64_t longest_row, struct err *e) {
    struct rng r;
    rng_init_stream(&r, w->opts->seed, STREAM_POOL);
    const int64_t block = 256; /* of the largest blocks, so that the pool is whole in any type */
    w->n_values = POOL_VALUES + (longest_row + block - 1) / block * block;
    w->values = malloc((size_t)w->n_values * sizeof(*w->values));
    if (!w->values) {
        return err_set(e, EE_NOMEM, "synth: out of memory");
    }
    for (int64_t i = 0; i < w->n_values; i += 2) {
        double a;
        double b;
        normal_pair(&r, &a, &b);
        w->values[i] = (float)(MATRIX_SD * a);
        w->values[i + 1] = (float)(MATRIX_SD * b);
    }
    return 0;
}

static int pool_of(struct writer *w, enum ggml_type type, const struct pool **out, struct err *e) {
    struct pool *p = &w->pools[type];
    *out = p;
    if (p->bytes) {
        return 0;
    }
    if (ggml_quantize_requires_imatrix(type)) {
        return err_set(e, EE_UNSUPPORTED, "synth cannot write %s: it needs an importance matrix",
                       ggml_type_name(type));
    }
    p->n_blocks = w->n_values / ggml_blck_size(type);
    p->bytes = malloc(ggml_row_size(type, w->n_values));
    if (!p->bytes) {
        return err_set(e, EE_NOMEM, "synth: out of memory");
    }
    ggml_quantize_chunk(type, w->values, p->bytes, 0, 1, w->n_values, NULL);
    return 0;
}

static int put(struct writer *w, const void *bytes, size_t n, struct err *e) {
    if (w->opts->stop && *w->opts->stop) {
        return err_set(e, EE_STOPPED, "stopped; nothing was left behind");
    }
    if (fwrite(bytes, 1, n, w->file) != n) {
        return err_errno(e, errno, "cannot write %s", w->path);
    }
    w->done_bytes += n;
    if (w->opts->progress) {
        w->opts->progress(w->done_bytes, w->all_bytes, w->opts->progress_ctx);
    }
    return 0;
}

static int put_matrix(struct writer *w, const struct synth_tensor *t, struct err *e) {
    const struct pool *pool;
    int rc = pool_of(w, t->type, &pool, e);
    if (rc) {
        return rc;
    }
    const size_t row_bytes = ggml_row_size(t->type, t->ne[0]);
    const int64_t row_blocks = t->ne[0] / ggml_blck_size(t->type);
    const uint64_t n_places = (uint64_t)(pool->n_blocks - row_blocks + 1);
    size_t fill = 0;
    for (int64_t row = 0; row < synth_tensor_rows(t) && !rc; row++) {
        if (fill + row_bytes > CHUNK_BYTES) {
            rc = put(w, w->chunk, fill, e);
            fill = 0;
        }
        uint64_t place = rng_below(&w->places, n_places);
        memcpy(w->chunk + fill, pool->bytes + place * ggml_type_size(t->type), row_bytes);
        fill += row_bytes;
    }
    return rc ? rc : put(w, w->chunk, fill, e);
}

/* With the constants that all published models of the family share. */
static double rope_divisor(const struct known_shape *s, int64_t pair) {
    const struct rope_llama3 r = {.base = (float)s->rope_base,
                                  .factor = (float)s->rope_factor,
                                  .low = 1,
                                  .high = 4,
                                  .old_context = 8192};
    return rope_llama3_divisor(&r, s->head_dim, pair);
}

static double vector_value(struct writer *w, const struct synth_tensor *t, int64_t i) {
    double a;
    double b;
    switch (t->fill) {
    case SYNTH_NORM:
        normal_pair(&w->vectors, &a, &b);
        return 1 + NORM_SD * a;
    case SYNTH_BIAS:
        normal_pair(&w->vectors, &a, &b);
        return BIAS_SD * a;
    case SYNTH_ROPE:
        return w->opts->shape ? rope_divisor(w->opts->shape, i) : 1;
    case SYNTH_MATRIX:
        break;
    }
    return 0;
}

static int put_vector(struct writer *w, const struct synth_tensor *t, struct err *e) {
    float *values = malloc((size_t)t->ne[0] * sizeof(*values));
    uint8_t *bytes = malloc(ggml_row_size(t->type, t->ne[0]));
    int rc = values && bytes ? 0 : err_set(e, EE_NOMEM, "synth: out of memory");
    for (int64_t i = 0; i < t->ne[0] && !rc; i++) {
        values[i] = (float)vector_value(w, t, i);
    }
    if (!rc && t->type == GGML_TYPE_F32) {
        rc = put(w, values, (size_t)t->ne[0] * sizeof(*values), e);
    } else if (!rc) {
        ggml_quantize_chunk(t->type, values, bytes, 0, 1, t->ne[0], NULL);
        rc = put(w, bytes, ggml_row_size(t->type, t->ne[0]), e);
    }
    free(values);
    free(bytes);
    return rc;
}

static int put_tensors(struct writer *w, const struct synth_plan *plan, struct err *e) {
    static const uint8_t zeros[PAD_BYTES] = {0};
    const size_t alignment = gguf_get_alignment(plan->header);
    if (alignment > PAD_BYTES) {
        return err_set(e, EE_UNSUPPORTED, "synth: an alignment of %zu bytes is not supported",
                       alignment);
    }
    int rc = 0;
    for (size_t i = 0; i < plan->n && !rc; i++) {
        const struct synth_tensor *t = &plan->tensors[i];
        rc = t->fill == SYNTH_MATRIX ? put_matrix(w, t, e) : put_vector(w, t, e);
        size_t rest = gguf_get_tensor_size(plan->header, (int64_t)i) % alignment;
        rc = rc || !rest ? rc : put(w, zeros, alignment - rest, e);
    }
    return rc;
}

static int64_t longest_row(const struct synth_plan *plan) {
    int64_t longest = 0;
    for (size_t i = 0; i < plan->n; i++) {
        longest = plan->tensors[i].ne[0] > longest ? plan->tensors[i].ne[0] : longest;
    }
    return longest;
}

static uint64_t file_bytes(const struct synth_plan *plan) {
    const uint64_t alignment = gguf_get_alignment(plan->header);
    uint64_t bytes = gguf_get_meta_size(plan->header);
    for (size_t i = 0; i < plan->n; i++) {
        uint64_t size = gguf_get_tensor_size(plan->header, (int64_t)i);
        bytes += (size + alignment - 1) / alignment * alignment;
    }
    return bytes;
}

static int check_disk(const struct synth_opts *opts, uint64_t need, struct err *e) {
    char *dir = fs_dirname(opts->out_path);
    uint64_t have = 0;
    int rc = dir ? fs_free_bytes(dir, &have, e) : err_set(e, EE_NOMEM, "synth: out of memory");
    if (!rc && need > have) {
        rc = err_set(e, EE_NOSPACE, "%s needs %.2f GB and %.2f GB are free there", opts->out_path,
                     (double)need / 1e9, (double)have / 1e9);
    }
    free(dir);
    return rc;
}

static int write_file(struct writer *w, const struct synth_plan *plan, struct err *e) {
    w->file = fopen(w->path, "wbe");
    if (!w->file) {
        return err_errno(e, errno, "cannot create %s", w->path);
    }
    int rc = 0;
    if (!gguf_write_to_file_ptr(plan->header, w->file, true)) {
        rc = err_errno(e, errno, "cannot write %s", w->path);
    }
    w->done_bytes = gguf_get_meta_size(plan->header);
    rc = rc ? rc : put_tensors(w, plan, e);
    if (!rc && (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0)) {
        rc = err_errno(e, errno, "cannot write %s", w->path);
    }
    if (fclose(w->file) != 0 && !rc) {
        rc = err_errno(e, errno, "cannot write %s", w->path);
    }
    return rc;
}

int synth_write(const struct synth_opts *opts, struct err *e) {
    struct synth_plan plan = {0};
    struct writer w = {.opts = opts};
    struct buf part;
    buf_init(&part);
    buf_addf(&part, "%s.part", opts->out_path);
    rng_init_stream(&w.places, opts->seed, STREAM_PLACES);
    rng_init_stream(&w.vectors, opts->seed, STREAM_VECTORS);
    int rc = buf_check(&part, "path", e);
    rc = rc ? rc : synth_plan_init(&plan, opts, e);
    if (!rc) {
        w.path = part.data;
        w.all_bytes = file_bytes(&plan);
        w.chunk = malloc(CHUNK_BYTES);
        rc = w.chunk ? check_disk(opts, w.all_bytes, e)
                     : err_set(e, EE_NOMEM, "synth: out of memory");
    }
    rc = rc ? rc : make_values(&w, longest_row(&plan), e);
    if (!rc) {
        rc = write_file(&w, &plan, e);
        if (!rc && rename(part.data, opts->out_path) != 0) {
            rc = err_errno(e, errno, "cannot rename %s", part.data);
        }
        if (rc) {
            unlink(part.data);
        }
    }
    for (int t = 0; t < GGML_TYPE_COUNT; t++) {
        free(w.pools[t].bytes);
    }
    free(w.values);
    free(w.chunk);
    synth_plan_release(&plan);
    buf_release(&part);
    return rc;
}
