#include "adapt/base_model.h"

#include "base/fs.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "engine/gguf_info.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const module_tensors[] = {"attn_q",   "attn_k", "attn_v",   "attn_output",
                                      "ffn_gate", "ffn_up", "ffn_down", NULL};
const char *const module_names[] = {"q", "k", "v", "o", "gate", "up", "down", NULL};

void model_module_dims(const struct model_shape *s, enum module m, int64_t *n_in, int64_t *n_out) {
    int64_t q = (int64_t)s->n_head * s->head_dim;
    int64_t kv = (int64_t)s->n_head_kv * s->head_dim;
    *n_in = m == MODULE_O ? q : m == MODULE_DOWN ? s->n_ff : s->n_embd;
    switch (m) {
    case MODULE_Q:
        *n_out = q;
        break;
    case MODULE_K:
    case MODULE_V:
        *n_out = kv;
        break;
    case MODULE_GATE:
    case MODULE_UP:
        *n_out = s->n_ff;
        break;
    default:
        *n_out = s->n_embd;
    }
}

/* --- Shape ---------------------------------------------------------------------------------- */

struct header {
    const struct gguf_context *g;
    const char *path;
    const char *arch;
};

static int64_t find_key(const struct header *h, const char *name) {
    char key[160];
    snprintf(key, sizeof(key), "%s.%s", h->arch, name);
    return gguf_find_key(h->g, key);
}

/* An integer of the architecture; fallback where it is absent, an error where that is negative. */
static int want_int(const struct header *h, const char *name, int64_t fallback, int *out,
                    struct err *e) {
    int64_t id = find_key(h, name);
    int64_t v = fallback;
    if (id >= 0) {
        enum gguf_type type = gguf_get_kv_type(h->g, id);
        if (type == GGUF_TYPE_UINT32) {
            v = gguf_get_val_u32(h->g, id);
        } else if (type == GGUF_TYPE_INT32) {
            v = gguf_get_val_i32(h->g, id);
        } else if (type == GGUF_TYPE_ARRAY) {
            return err_set(e, EE_UNSUPPORTED,
                           "%s: %s.%s differs from layer to layer, which cannot be trained",
                           h->path, h->arch, name);
        } else {
            return err_set(e, EE_FORMAT, "%s: %s.%s is no 32-bit integer", h->path, h->arch, name);
        }
    }
    if (v < 0 || v > INT32_MAX) {
        return err_set(e, EE_FORMAT, "%s: %s.%s is %s", h->path, h->arch, name,
                       id < 0 ? "missing" : "out of range");
    }
    *out = (int)v;
    return 0;
}

static float float_or(const struct header *h, const char *name, float fallback) {
    int64_t id = find_key(h, name);
    return id >= 0 && gguf_get_kv_type(h->g, id) == GGUF_TYPE_FLOAT32 ? gguf_get_val_f32(h->g, id)
                                                                      : fallback;
}

static int read_rope(const struct header *h, struct model_shape *s, struct err *e) {
    int64_t id = find_key(h, "rope.scaling.type");
    const char *scaling = id >= 0 && gguf_get_kv_type(h->g, id) == GGUF_TYPE_STRING
                              ? gguf_get_val_str(h->g, id)
                              : "linear";
    if (strcmp(scaling, "linear") != 0 && strcmp(scaling, "none") != 0) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s scales its RoPE by \"%.40s\"; only linear scaling and llama 3's "
                       "frequency factors can be trained",
                       h->path, scaling);
    }
    float factor = float_or(h, "rope.scaling.factor", float_or(h, "rope.scale_linear", 1));
    s->rope_scale = factor == 0 || strcmp(scaling, "none") == 0 ? 1 : 1 / factor;
    s->rope_base = float_or(h, "rope.freq_base", 10000);
    s->rope_attn_factor = float_or(h, "rope.scaling.attn_factor", 1);
    return want_int(h, "rope.dimension_count", s->head_dim, &s->n_rot, e);
}

static int read_sizes(const struct header *h, struct model_shape *s, struct err *e) {
    int head_dim_v = 0;
    int n_experts = 0;
    int rc = want_int(h, "block_count", -1, &s->n_layers, e);
    rc = rc ? rc : want_int(h, "embedding_length", -1, &s->n_embd, e);
    rc = rc ? rc : want_int(h, "feed_forward_length", -1, &s->n_ff, e);
    rc = rc ? rc : want_int(h, "attention.head_count", -1, &s->n_head, e);
    rc = rc ? rc : want_int(h, "attention.head_count_kv", s->n_head, &s->n_head_kv, e);
    rc = rc ? rc : want_int(h, "context_length", -1, &s->n_ctx, e);
    rc = rc ? rc : want_int(h, "expert_count", 0, &n_experts, e);
    if (!rc && n_experts > 0) {
        rc = err_set(e, EE_UNSUPPORTED, "%s is a mixture of %d experts, which cannot be trained",
                     h->path, n_experts);
    }
    if (!rc && (s->n_layers < 1 || s->n_head < 1 || s->n_head_kv < 1 || s->n_embd < 1 ||
                s->n_ff < 1 || s->n_head % s->n_head_kv != 0)) {
        rc = err_set(e, EE_FORMAT, "%s has no sensible shape: %d layers, %d heads, %d of K and V",
                     h->path, s->n_layers, s->n_head, s->n_head_kv);
    }
    int64_t head_dim = rc ? 1 : s->n_embd / s->n_head;
    rc = rc ? rc : want_int(h, "attention.key_length", head_dim, &s->head_dim, e);
    rc = rc ? rc : want_int(h, "attention.value_length", head_dim, &head_dim_v, e);
    if (!rc && (head_dim_v != s->head_dim || s->head_dim < 1)) {
        rc = err_set(e, EE_UNSUPPORTED, "%s has keys of %d and values of %d: they must be equal",
                     h->path, s->head_dim, head_dim_v);
    }
    return rc;
}

int model_shape_read(const struct gguf_context *g, const char *path, struct model_shape *s,
                     struct err *e) {
    *s = (struct model_shape){0};
    int64_t id = gguf_find_key(g, "general.architecture");
    const char *arch = id >= 0 && gguf_get_kv_type(g, id) == GGUF_TYPE_STRING
                           ? gguf_get_val_str(g, id)
                           : "";
    if (strcmp(arch, "llama") != 0 && strcmp(arch, "qwen2") != 0) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s is a model of the architecture \"%.40s\"; llama and qwen2 can be "
                       "adapted",
                       path, arch);
    }
    const struct header h = {g, path, arch};
    snprintf(s->arch, sizeof(s->arch), "%s", arch);
    s->rope_neox = strcmp(arch, "qwen2") == 0;
    s->rms_eps = float_or(&h, "attention.layer_norm_rms_epsilon", -1);
    int rc = s->rms_eps > 0
                 ? 0
                 : err_set(e, EE_FORMAT, "%s: %s.attention.layer_norm_rms_epsilon is missing", path,
                           arch);
    rc = rc ? rc : read_sizes(&h, s, e);
    rc = rc ? rc : read_rope(&h, s, e);
    s->attn_scale = rc ? 0 : float_or(&h, "attention.scale", 0);
    if (!rc && s->attn_scale == 0) {
        s->attn_scale = 1.0F / sqrtf((float)s->head_dim);
    }
    return rc;
}

/* --- Tensors -------------------------------------------------------------------------------- */

struct slot {
    struct ggml_tensor **at;
    int64_t ne0;
    int64_t ne1; /* 1 for a vector; 0: any, the vocabulary's size */
};

static struct slot layer_slot(struct base_model *m, int layer, const char *rest) {
    const struct model_shape *s = &m->shape;
    struct model_layer *l = &m->layers[layer];
    if (strcmp(rest, "attn_norm.weight") == 0) {
        return (struct slot){&l->attn_norm, s->n_embd, 1};
    }
    if (strcmp(rest, "ffn_norm.weight") == 0) {
        return (struct slot){&l->ffn_norm, s->n_embd, 1};
    }
    for (int k = 0; k < MODULE_COUNT; k++) {
        size_t len = strlen(module_tensors[k]);
        int64_t n_in;
        int64_t n_out;
        if (strncmp(rest, module_tensors[k], len) != 0 || rest[len] != '.') {
            continue;
        }
        model_module_dims(s, (enum module)k, &n_in, &n_out);
        if (strcmp(rest + len, ".weight") == 0) {
            return (struct slot){&l->w[k], n_in, n_out};
        }
        if (strcmp(rest + len, ".bias") == 0) {
            return (struct slot){&l->b[k], n_out, 1};
        }
    }
    return (struct slot){0};
}

/* Where a tensor of the file belongs; at is NULL for one that no such model has. */
static struct slot find_slot(struct base_model *m, const char *name) {
    const struct model_shape *s = &m->shape;
    if (strcmp(name, "token_embd.weight") == 0) {
        return (struct slot){&m->tok_embd, s->n_embd, 0};
    }
    if (strcmp(name, "output.weight") == 0) {
        return (struct slot){&m->output, s->n_embd, 0};
    }
    if (strcmp(name, "output_norm.weight") == 0) {
        return (struct slot){&m->output_norm, s->n_embd, 1};
    }
    if (strcmp(name, "rope_freqs.weight") == 0) {
        return (struct slot){&m->rope_freqs, s->n_rot / 2, 1};
    }
    if (strncmp(name, "blk.", 4) == 0) {
        char *rest;
        long layer = strtol(name + 4, &rest, 10);
        if (layer >= 0 && layer < s->n_layers && *rest == '.') {
            return layer_slot(m, (int)layer, rest + 1);
        }
    }
    return (struct slot){0};
}

/* As asked for; see base_model_load. */
struct held_as {
    enum ggml_type matrices;
    enum ggml_type compute;
};

/* The type a tensor is held in: vectors F32, matrices as asked for where their rows fit. */
static enum ggml_type held_type(const struct ggml_tensor *t, const struct held_as *as) {
    if (t->ne[1] == 1) {
        return GGML_TYPE_F32;
    }
    enum ggml_type type = as->matrices == GGML_TYPE_COUNT                ? t->type
                          : t->ne[0] % ggml_blck_size(as->matrices) == 0 ? as->matrices
                                                                         : GGML_TYPE_F16;
    return as->compute == GGML_TYPE_F32 || ggml_is_quantized(type) ? type : as->compute;
}

static int check_type(const struct ggml_tensor *t, const char *path, struct err *e) {
    if (t->type != GGML_TYPE_F32 && !ggml_get_type_traits(t->type)->to_float) {
        return err_set(e, EE_UNSUPPORTED, "%s: tensor %s is %s, which cannot be read as numbers",
                       path, t->name, ggml_type_name(t->type));
    }
    return 0;
}

/* Declares, in m->ctx, what the file's tensors become. */
static int declare_tensors(struct base_model *m, const struct ggml_context *file, const char *path,
                           const struct held_as *as, struct err *e) {
    for (struct ggml_tensor *t = ggml_get_first_tensor(file); t;
         t = ggml_get_next_tensor(file, t)) {
        const struct slot slot = find_slot(m, t->name);
        int rc = check_type(t, path, e);
        if (rc) {
            return rc;
        }
        if (!slot.at) {
            return err_set(e, EE_UNSUPPORTED,
                           "%s: tensor %s is not part of a %s model that can be trained here", path,
                           t->name, m->shape.arch);
        }
        if (t->ne[0] != slot.ne0 || (slot.ne1 && t->ne[1] != slot.ne1) || t->ne[2] != 1) {
            return err_set(e, EE_FORMAT,
                           "%s: tensor %s is %" PRId64 " x %" PRId64 " where %" PRId64 " x %" PRId64
                           " is due",
                           path, t->name, t->ne[0], t->ne[1], slot.ne0, slot.ne1);
        }
        *slot.at = ggml_new_tensor_2d(m->ctx, held_type(t, as), t->ne[0], t->ne[1]);
        ggml_set_name(*slot.at, t->name);
    }
    return 0;
}

static int missing(const char *path, const char *name, struct err *e) {
    return err_set(e, EE_FORMAT, "%s: tensor %s is missing", path, name);
}

static int check_complete(struct base_model *m, const char *path, struct err *e) {
    if (!m->tok_embd || !m->output_norm) {
        return missing(path, m->tok_embd ? "output_norm.weight" : "token_embd.weight", e);
    }
    for (int i = 0; i < m->shape.n_layers; i++) {
        const struct model_layer *l = &m->layers[i];
        const char *lacks = !l->attn_norm ? "attn_norm" : !l->ffn_norm ? "ffn_norm" : NULL;
        for (int k = 0; k < MODULE_COUNT && !lacks; k++) {
            lacks = l->w[k] ? NULL : module_tensors[k];
        }
        if (lacks) {
            char name[64];
            snprintf(name, sizeof(name), "blk.%d.%s.weight", i, lacks);
            return missing(path, name, e);
        }
    }
    m->output = m->output ? m->output : m->tok_embd;
    m->shape.n_vocab = (int)m->output->ne[1];
    if (m->tok_embd->ne[1] != m->output->ne[1]) {
        return err_set(e, EE_FORMAT, "%s: token_embd and output differ in size", path);
    }
    return 0;
}

/* The model's tensors without memory behind them. *g and *file are the header's. */
static int declare(const char *path, const struct held_as *as, struct base_model *m,
                   struct gguf_context **g, struct ggml_context **file, struct err *e) {
    struct gguf_info info;
    *m = (struct base_model){0};
    *file = NULL;
    *g = NULL;
    int rc = gguf_info_read_model(path, &info, e); /* also: is the file whole? */
    if (rc) {
        return rc;
    }
    *g = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true, .ctx = file});
    if (!*g) {
        return err_set(e, EE_FORMAT, "%s cannot be read as a GGUF file", path);
    }
    rc = model_shape_read(*g, path, &m->shape, e);
    if (rc) {
        return rc;
    }
    m->layers = arena_array(&m->arena, (size_t)m->shape.n_layers, sizeof(*m->layers));
    size_t n_tensors = (size_t)gguf_get_n_tensors(*g);
    m->ctx = ggml_init((struct ggml_init_params){
        .mem_size = (n_tensors + 1) * ggml_tensor_overhead(), .no_alloc = true});
    if (!m->layers || !m->ctx) {
        return err_set(e, EE_NOMEM, "%s: out of memory", path);
    }
    rc = declare_tensors(m, *file, path, as, e);
    return rc ? rc : check_complete(m, path, e);
}

/* --- Reading -------------------------------------------------------------------------------- */

struct loading {
    const char *path;
    int fd;
    void *raw; /* as in the file */
    float *values;
    void *held; /* as it is to be held */
};

static int read_at(struct loading *l, size_t offset, size_t len, struct err *e) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(l->fd, (char *)l->raw + done, len - done, (off_t)(offset + done));
        if (n <= 0) {
            return n < 0 ? err_errno(e, errno, "cannot read %s", l->path)
                         : err_set(e, EE_FORMAT, "%s is cut off", l->path);
        }
        done += (size_t)n;
    }
    return 0;
}

/* Some rows of a chunk: those that one thread converts. */
struct conversion {
    const struct loading *l;
    enum ggml_type from, to;
    int64_t row; /* values in one */
};

static void convert_rows(void *ctx, int thread, int64_t first, int64_t end) {
    const struct conversion *c = ctx;
    const int64_t n = (end - first) * c->row;
    const char *raw = (const char *)c->l->raw + (size_t)first * ggml_row_size(c->from, c->row);
    char *held = (char *)c->l->held + (size_t)first * ggml_row_size(c->to, c->row);
    const float *values = (const float *)(const void *)raw;
    (void)thread;
    if (c->from != GGML_TYPE_F32) {
        float *out = c->l->values + first * c->row;
        ggml_get_type_traits(c->from)->to_float(raw, out, n);
        values = out;
    }
    if (c->to == GGML_TYPE_F32) {
        memcpy(held, values, (size_t)n * sizeof(*values));
    } else if (c->to == GGML_TYPE_IQ4_NL) {
        /* ggml's other way tries fifteen scales a block: 13 times as long for 3 % less error. */
        ggml_get_type_traits(c->to)->from_float_ref(values, held, n);
    } else {
        ggml_quantize_chunk(c->to, values, held, 0, end - first, c->row, NULL);
    }
}

/* The chunk's rows in the type they are held in. Some four-bit types take long to choose their scales,
 * so all threads share the rows. */
static const void *convert(struct loading *l, enum ggml_type from, enum ggml_type to, int64_t rows,
                           int64_t row) {
    struct conversion c = {l, from, to, row};
    if (from == to) {
        return l->raw;
    }
    ggml_quantize_init(to);
    parallel_for(rows, machine_hw_threads(), convert_rows, &c);
    return l->held;
}

/* Reads tensor t of the file, rows at a time, into its place. */
static int read_tensor(struct loading *l, struct ggml_tensor *t, enum ggml_type from, size_t offset,
                       struct err *e) {
    const size_t chunk_bytes = 16U << 20;
    size_t from_row = ggml_row_size(from, t->ne[0]);
    size_t to_row = ggml_row_size(t->type, t->ne[0]);
    int64_t n_rows = t->ne[1];
    int64_t at_once = (int64_t)(chunk_bytes / ((size_t)t->ne[0] * sizeof(float)));
    at_once = at_once < 1 ? 1 : at_once > n_rows ? n_rows : at_once;
    size_t n = (size_t)(at_once * t->ne[0]);
    l->raw = malloc((size_t)at_once * from_row);
    l->values = malloc(n * sizeof(float));
    l->held = malloc((size_t)at_once * to_row);
    int rc = l->raw && l->values && l->held ? 0
                                            : err_set(e, EE_NOMEM, "%s: out of memory", l->path);
    for (int64_t row = 0; row < n_rows && !rc; row += at_once) {
        int64_t rows = n_rows - row < at_once ? n_rows - row : at_once;
        rc = read_at(l, offset + (size_t)row * from_row, (size_t)rows * from_row, e);
        if (!rc) {
            const void *bytes = convert(l, from, t->type, rows, t->ne[0]);
            ggml_backend_tensor_set(t, bytes, (size_t)row * to_row, (size_t)rows * to_row);
        }
    }
    free(l->raw);
    free(l->values);
    free(l->held);
    return rc;
}

static int read_tensors(struct base_model *m, const struct gguf_context *g, const char *path,
                        struct err *e) {
    struct loading l = {.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (l.fd < 0) {
        return err_errno(e, errno, "cannot open %s", path);
    }
    int rc = 0;
    for (int64_t i = 0; i < gguf_get_n_tensors(g) && !rc; i++) {
        struct ggml_tensor *t = *find_slot(m, gguf_get_tensor_name(g, i)).at;
        size_t offset = gguf_get_data_offset(g) + gguf_get_tensor_offset(g, i);
        rc = read_tensor(&l, t, gguf_get_tensor_type(g, i), offset, e);
    }
    close(l.fd);
    return rc;
}

/* Counts what is held, and names the type of most matrices. */
static void sum_up(struct base_model *m) {
    int by_type[GGML_TYPE_COUNT] = {0};
    size_t most = 0;
    m->weights_bytes = 0;
    for (struct ggml_tensor *t = ggml_get_first_tensor(m->ctx); t;
         t = ggml_get_next_tensor(m->ctx, t)) {
        m->weights_bytes += ggml_nbytes(t);
        by_type[t->type] += t->ne[1] > 1;
    }
    for (size_t k = 0; k < GGML_TYPE_COUNT; k++) {
        most = by_type[k] > by_type[most] ? k : most;
    }
    snprintf(m->matrix_type, sizeof(m->matrix_type), "%s", ggml_type_name((enum ggml_type)most));
}

/* The header is of no more use, nor the model after an error. */
static int end_header(struct gguf_context *g, struct ggml_context *file, struct base_model *m,
                      int rc) {
    if (g) {
        gguf_free(g);
    }
    ggml_free(file);
    if (rc) {
        base_model_release(m);
    }
    return rc;
}

int base_model_load(const char *path, const struct device *d, enum ggml_type matrices,
                    struct base_model *m, struct err *e) {
    const struct held_as as = {matrices, d->compute};
    struct gguf_context *g = NULL;
    struct ggml_context *file = NULL;
    int rc = declare(path, &as, m, &g, &file, e);
    if (!rc) {
        sum_up(m);
        m->buffer = ggml_backend_alloc_ctx_tensors(m->ctx, d->backend);
        rc = m->buffer ? 0
                       : err_set(e, EE_NOMEM, "%s: no %.2f GiB for its weights on %s", path,
                                 (double)m->weights_bytes / (1 << 30), d->name);
    }
    rc = rc ? rc : read_tensors(m, g, path, e);
    return end_header(g, file, m, rc);
}

int base_model_declare(const char *path, enum ggml_type matrices, enum ggml_type compute,
                       struct base_model *m, struct err *e) {
    const struct held_as as = {matrices, compute};
    struct gguf_context *g = NULL;
    struct ggml_context *file = NULL;
    int rc = declare(path, &as, m, &g, &file, e);
    if (!rc) {
        sum_up(m);
        device_pretend(m->ctx);
    }
    return end_header(g, file, m, rc);
}

void base_model_release(struct base_model *m) {
    if (m->buffer) {
        ggml_backend_buffer_free(m->buffer);
    }
    ggml_free(m->ctx);
    arena_release(&m->arena);
    *m = (struct base_model){0};
}
