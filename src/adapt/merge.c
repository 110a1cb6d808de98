#include "adapt/merge.h"

#include "adapt/adapter_file.h"
#include "adapt/cpu_kernels.h"
#include "adapt/gguf_out.h"
#include "base/fs.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "engine/gguf_info.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Between looks at stop, of F32 values; and what a thread has in hand, for its cache. */
enum { CHUNK_BYTES = 256 << 20, BLOCK_BYTES = 1 << 20 };
enum { MAX_THREADS = 16, FILE_TYPE_F16 = 1 };

struct merging {
    const char *base_path;
    struct gguf_context *base;
    struct ggml_context *tensors; /* of the base, shapes alone */
    int fd;
    struct adapter_file adapter;
    struct gguf_context *out_header;
    struct ggml_context *out_tensors;
    struct gguf_out out;
    const struct merge_opts *opts;
    struct merge_result *result;
    int64_t done_bytes;
    int64_t all_bytes;
};

/* --- Checks ---------------------------------------------------------------------------------- */

static int check_pair(const struct merging *m, const char *matrix, const struct ggml_tensor *a,
                      const struct ggml_tensor *b, struct err *e) {
    const struct ggml_tensor *w = ggml_get_tensor(m->tensors, matrix);
    if (!w) {
        return err_set(e, EE_USAGE, "%s adapts %s, which %s does not have", m->adapter.path, matrix,
                       m->base_path);
    }
    if (a->ne[0] != w->ne[0] || b->ne[1] != w->ne[1]) {
        return err_set(
            e, EE_USAGE,
            "%s adapts %s as %" PRId64 " x %" PRId64 "; in %s it is %" PRId64 " x %" PRId64,
            m->adapter.path, matrix, a->ne[0], b->ne[1], m->base_path, w->ne[0], w->ne[1]);
    }
    return 0;
}

static int check_match(const struct merging *m, struct err *e) {
    int64_t id = gguf_find_key(m->base, "general.architecture");
    const char *arch = id >= 0 && gguf_get_kv_type(m->base, id) == GGUF_TYPE_STRING
                           ? gguf_get_val_str(m->base, id)
                           : "";
    if (strcmp(arch, m->adapter.arch) != 0) {
        return err_set(e, EE_USAGE, "%s is for the architecture \"%s\" and %s is \"%s\"",
                       m->adapter.path, m->adapter.arch, m->base_path, arch);
    }
    for (struct ggml_tensor *t = ggml_get_first_tensor(m->adapter.tensors); t;
         t = ggml_get_next_tensor(m->adapter.tensors, t)) {
        char matrix[GGML_MAX_NAME];
        const struct ggml_tensor *a;
        const struct ggml_tensor *b;
        size_t len = strlen(t->name) - strlen(".lora_a");
        memcpy(matrix, t->name, len);
        matrix[len] = '\0';
        adapter_file_find(&m->adapter, matrix, &a, &b);
        int rc = check_pair(m, matrix, a, b, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int check_disk(const struct merging *m, const char *out_path, struct err *e) {
    char *dir = fs_dirname(out_path);
    uint64_t have = 0;
    if (!dir) {
        return err_set(e, EE_NOMEM, "merge: out of memory");
    }
    int rc = fs_free_bytes(dir, &have, e);
    free(dir);
    if (!rc && have < (uint64_t)m->all_bytes) {
        rc = err_set(e, EE_NOSPACE, "%s needs %.2f GB and %.2f GB are free there", out_path,
                     (double)m->all_bytes / 1e9, (double)have / 1e9);
    }
    return rc;
}

/* --- Header ---------------------------------------------------------------------------------- */

static enum ggml_type out_type(const struct ggml_tensor *t) {
    return t->ne[1] > 1 ? GGML_TYPE_F16 : GGML_TYPE_F32;
}

static int make_header(struct merging *m, struct err *e) {
    size_t n = (size_t)gguf_get_n_tensors(m->base);
    m->out_header = gguf_init_empty();
    m->out_tensors = ggml_init(
        (struct ggml_init_params){.mem_size = (n + 1) * ggml_tensor_overhead(), .no_alloc = true});
    if (!m->out_header || !m->out_tensors) {
        return err_set(e, EE_NOMEM, "merge: out of memory");
    }
    gguf_set_kv(m->out_header, m->base);
    gguf_remove_key(m->out_header, "general.alignment"); /* we write with the default one */
    gguf_set_val_u32(m->out_header, "general.file_type", FILE_TYPE_F16);
    for (struct ggml_tensor *t = ggml_get_first_tensor(m->tensors); t;
         t = ggml_get_next_tensor(m->tensors, t)) {
        struct ggml_tensor *o = ggml_new_tensor(m->out_tensors, out_type(t), GGML_MAX_DIMS, t->ne);
        ggml_set_name(o, t->name);
        gguf_add_tensor(m->out_header, o);
        m->all_bytes += (int64_t)ggml_nbytes(o);
    }
    return 0;
}

/* --- Tensors --------------------------------------------------------------------------------- */

/* Some rows of one tensor on their way; the threads share them, each a block of them at a time. */
struct rows {
    char *raw;      /* as in the base, `block` rows a thread */
    float *values;  /* F32 */
    void *halves;   /* F16 */
    float *scratch; /* SCRATCH_VALUES a thread */
    int64_t block;
    float *a; /* the pair; NULL without */
    float *b;
    int64_t rank;

    const struct merging *m;
    const struct ggml_tensor *t;
    int64_t first;          /* of these rows, in the tensor */
    size_t from;            /* its offset in the base */
    size_t to;              /* and in the file that is written */
    atomic_int read_error;  /* errno of a thread; -1: the file is cut off */
    atomic_int write_error; /* errno */
};

enum {
    PACK_VALUES = GEMM_KC * GEMM_NC,
    SCRATCH_VALUES = PACK_VALUES + GEMM_MAX_PANEL * GEMM_KC,
};

/* 0, errno, or -1 where the file ends. */
static int read_base(const struct merging *m, void *to, size_t offset, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(m->fd, (char *)to + done, len - done, (off_t)(offset + done));
        if (n <= 0) {
            return n < 0 ? errno : -1;
        }
        done += (size_t)n;
    }
    return 0;
}

/* A thread's values += alpha / rank * B A, for n rows of the tensor from first on. */
static void add_pair(const struct rows *r, int thread, int64_t first, int64_t n) {
    const int64_t width = r->t->ne[0];
    float *values = r->values + thread * r->block * width;
    float *scratch = r->scratch + (size_t)thread * SCRATCH_VALUES;
    struct cpu_scratch memory = {.b = scratch, .rows = scratch + PACK_VALUES};
    const struct gemm g = {.m = n,
                           .n = width,
                           .c = values,
                           .c_row = width,
                           .add = true,
                           .n_terms = 1,
                           .terms = {{.k = r->rank,
                                      .a = r->b + first * r->rank,
                                      .a_row = r->rank,
                                      .a_col = 1,
                                      .b = r->a,
                                      .b_type = GGML_TYPE_F32,
                                      .b_row_bytes = (size_t)width * sizeof(float),
                                      .alpha = r->m->adapter.alpha / (float)r->rank}}};
    cpu_kernels_best()->gemm(&g, &memory, 0, 1);
}

static size_t out_row_bytes(const struct ggml_tensor *t) {
    return ggml_row_size(out_type(t), t->ne[0]);
}

/* n rows, the first-th of those at hand on, from the base to where they are written. */
static void merge_block(struct rows *r, int thread, int64_t first, int64_t n) {
    const struct ggml_tensor *t = r->t;
    const int64_t width = t->ne[0];
    const size_t row_bytes = ggml_row_size(t->type, width);
    char *raw = r->raw + (size_t)(thread * r->block) * row_bytes;
    float *values = r->values + thread * r->block * width;
    ggml_fp16_t *halves = (ggml_fp16_t *)r->halves + thread * r->block * width;
    int rc = read_base(r->m, raw, r->from + (size_t)first * row_bytes, (size_t)n * row_bytes);
    if (rc) {
        r->read_error = rc;
        return;
    }
    if (t->type == GGML_TYPE_F32) {
        memcpy(values, raw, (size_t)n * row_bytes);
    } else {
        ggml_get_type_traits(t->type)->to_float(raw, values, n * width);
    }
    if (r->a) {
        add_pair(r, thread, r->first + first, n);
    }
    bool halved = out_type(t) == GGML_TYPE_F16;
    if (halved) {
        ggml_fp32_to_fp16_row(values, halves, n * width);
    }
    rc = gguf_out_write_at(&r->m->out, halved ? (void *)halves : values,
                           (size_t)n * out_row_bytes(t), r->to + (size_t)first * out_row_bytes(t));
    if (rc) {
        r->write_error = rc;
    }
}

static void merge_rows(void *ctx, int thread, int64_t first, int64_t end) {
    struct rows *r = ctx;
    for (int64_t row = first; row < end && !r->read_error && !r->write_error; row += r->block) {
        merge_block(r, thread, row, end - row < r->block ? end - row : r->block);
    }
}

static int write_rows(struct merging *m, struct rows *r, int64_t n, int n_threads, struct err *e) {
    size_t bytes = (size_t)n * out_row_bytes(r->t);
    int rc = gguf_out_reserve(&m->out, bytes, &r->to, e);
    if (rc) {
        return rc;
    }
    parallel_for(n, n_threads, merge_rows, r);
    m->done_bytes += (int64_t)bytes;
    if (r->read_error) {
        return r->read_error > 0 ? err_errno(e, r->read_error, "cannot read %s", m->base_path)
                                 : err_set(e, EE_FORMAT, "%s is cut off", m->base_path);
    }
    return r->write_error ? err_errno(e, r->write_error, "cannot write %s", m->out.path) : 0;
}

static int read_pair(const struct merging *m, const struct ggml_tensor *t, struct rows *r,
                     struct err *e) {
    const struct ggml_tensor *a;
    const struct ggml_tensor *b;
    adapter_file_find(&m->adapter, t->name, &a, &b);
    if (!a) {
        return 0;
    }
    r->rank = a->ne[1];
    m->result->n_merged++;
    int rc = adapter_file_values(&m->adapter, a, &r->a, e);
    return rc ? rc : adapter_file_values(&m->adapter, b, &r->b, e);
}

static int allocate_rows(struct rows *r, int n_threads, struct err *e) {
    const struct ggml_tensor *t = r->t;
    size_t rows = (size_t)(n_threads * r->block);
    size_t values = rows * (size_t)t->ne[0];
    r->raw = malloc(rows * ggml_row_size(t->type, t->ne[0]));
    r->values = malloc(values * sizeof(float));
    r->halves = malloc(values * sizeof(ggml_fp16_t));
    r->scratch = malloc((size_t)n_threads * SCRATCH_VALUES * sizeof(float));
    return r->raw && r->values && r->halves && r->scratch
               ? 0
               : err_set(e, EE_NOMEM, "merge: out of memory");
}

/* Rows whose F32 values take so many bytes; at least one, at most n. */
static int64_t rows_in(const struct ggml_tensor *t, int64_t bytes, int64_t n) {
    int64_t rows = bytes / (t->ne[0] * (int64_t)sizeof(float));
    return rows < 1 ? 1 : rows > n ? n : rows;
}

static int merge_tensor(struct merging *m, int64_t id, struct err *e) {
    const struct ggml_tensor *t = ggml_get_tensor(m->tensors, gguf_get_tensor_name(m->base, id));
    const size_t offset = gguf_get_data_offset(m->base) + gguf_get_tensor_offset(m->base, id);
    const int64_t n_rows = ggml_nrows(t);
    int n_threads = machine_hw_threads();
    n_threads = n_threads < MAX_THREADS ? n_threads : MAX_THREADS;
    const int64_t at_once = rows_in(t, CHUNK_BYTES, n_rows);
    struct rows r = {.m = m, .t = t, .block = rows_in(t, BLOCK_BYTES, n_rows)};
    int rc = allocate_rows(&r, n_threads, e);
    rc = rc ? rc : read_pair(m, t, &r, e);
    for (int64_t row = 0; row < n_rows && !rc; row += at_once) {
        int64_t n = n_rows - row < at_once ? n_rows - row : at_once;
        r.first = row;
        r.from = offset + (size_t)row * ggml_row_size(t->type, t->ne[0]);
        rc = write_rows(m, &r, n, n_threads, e);
        if (!rc && m->opts->progress) {
            m->opts->progress(m->opts->ctx, m->done_bytes, m->all_bytes);
        }
        if (!rc && m->opts->stop && *m->opts->stop) {
            rc = err_set(e, EE_STOPPED, "stopped; %s was not written", m->out.path);
        }
    }
    free(r.raw);
    free(r.values);
    free(r.halves);
    free(r.scratch);
    free(r.a);
    free(r.b);
    return rc ? rc : gguf_out_pad(&m->out, e);
}

static int write_out(struct merging *m, const char *out_path, struct err *e) {
    int rc = gguf_out_begin(&m->out, out_path, m->out_header, e);
    if (rc) {
        return rc;
    }
    for (int64_t id = 0; id < gguf_get_n_tensors(m->base) && !rc; id++) {
        rc = merge_tensor(m, id, e);
    }
    if (rc) {
        gguf_out_abandon(&m->out);
        return rc;
    }
    return gguf_out_commit(&m->out, e);
}

int merge_files(const char *base_path, const char *adapter_path, const char *out_path,
                const struct merge_opts *opts, struct merge_result *result, struct err *e) {
    struct merging m = {.base_path = base_path, .fd = -1, .opts = opts, .result = result};
    struct gguf_info info;
    *result = (struct merge_result){0};
    m.adapter.fd = -1;
    int rc = gguf_info_read_model(base_path, &info, e);
    rc = rc ? rc : adapter_file_open(adapter_path, &m.adapter, e);
    if (rc) {
        return rc;
    }
    m.base = gguf_init_from_file(base_path,
                                 (struct gguf_init_params){.no_alloc = true, .ctx = &m.tensors});
    m.fd = open(base_path, O_RDONLY | O_CLOEXEC);
    if (!m.base || m.fd < 0) {
        rc = err_errno(e, errno, "cannot read %s", base_path);
    }
    rc = rc ? rc : check_match(&m, e);
    rc = rc ? rc : make_header(&m, e);
    rc = rc ? rc : check_disk(&m, out_path, e);
    rc = rc ? rc : write_out(&m, out_path, e);
    rc = rc ? rc : gguf_info_read(out_path, &info, NULL, e); /* is it whole? */
    result->out_bytes = rc ? 0 : info.file_bytes;
    if (m.fd >= 0) {
        close(m.fd);
    }
    if (m.base) {
        gguf_free(m.base);
    }
    ggml_free(m.tensors);
    if (m.out_header) {
        gguf_free(m.out_header);
    }
    ggml_free(m.out_tensors);
    adapter_file_close(&m.adapter);
    return rc;
}
