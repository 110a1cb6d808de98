#include "engine/synth_plan.h"

#include "base/buf.h"
#include "engine/gguf_info.h"
#include "engine/quantize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { K_QUANT_ROW = 256, TWIN_ROWS = 2, LAYER_TENSORS = 12 };

static const char tokenizer_prefix[] = "tokenizer.";

int64_t synth_tensor_rows(const struct synth_tensor *t) {
    return t->ne[1] * t->ne[2] * t->ne[3];
}

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "synth: out of memory");
}

static struct gguf_context *open_header(const char *path, struct err *e) {
    struct gguf_context *g = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
    if (!g) {
        err_set(e, EE_FORMAT, "%s is not a GGUF file this build can read", path);
    }
    return g;
}

/* --- Keys --------------------------------------------------------------------------------------- */

static void keep_tokenizer_only(struct gguf_context *g) {
    for (int64_t i = gguf_get_n_kv(g) - 1; i >= 0; i--) {
        const char *key = gguf_get_key(g, i);
        if (strncmp(key, tokenizer_prefix, sizeof(tokenizer_prefix) - 1) != 0) {
            char name[128];
            snprintf(name, sizeof(name), "%s", key);
            gguf_remove_key(g, name);
        }
    }
}

/* Vocabularies are padded to a multiple that suits the hardware: the tokens that fill them up. */
static int pad_tokens(struct gguf_context *g, const struct known_shape *s, const char *vocab_path,
                      struct err *e) {
    enum { UNUSED = 5 };
    int64_t id = gguf_find_key(g, "tokenizer.ggml.tokens");
    int64_t type_id = gguf_find_key(g, "tokenizer.ggml.token_type");
    size_t have = id < 0 ? 0 : gguf_get_arr_n(g, id);
    size_t n = (size_t)s->n_vocab;
    if (have == 0 || have > n) {
        return err_set(e, EE_UNSUPPORTED, "%s has %zu tokens and the shape %s has room for %zu",
                       vocab_path, have, s->id, n);
    }
    if (have == n) {
        return 0;
    }
    struct pad_name {
        char text[24];
    } *names = calloc(n - have, sizeof(*names));
    const char **tokens = calloc(n, sizeof(*tokens));
    int32_t *types = calloc(n, sizeof(*types));
    int rc = names && tokens && types ? 0 : out_of_memory(e);
    for (size_t i = 0; i < n && !rc; i++) {
        if (i < have) {
            tokens[i] = gguf_get_arr_str(g, id, i);
            types[i] = type_id < 0 ? 1 : ((const int32_t *)gguf_get_arr_data(g, type_id))[i];
        } else {
            snprintf(names[i - have].text, sizeof(names->text), "[PAD%zu]", i);
            tokens[i] = names[i - have].text;
            types[i] = UNUSED;
        }
    }
    if (!rc) {
        /* The tokens point into the key that is replaced: collect them in another context first. */
        struct gguf_context *copy = gguf_init_empty();
        gguf_set_arr_str(copy, "tokenizer.ggml.tokens", tokens, n);
        gguf_set_arr_data(copy, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, n);
        gguf_set_kv(g, copy);
        gguf_free(copy);
    }
    free(names);
    free(tokens);
    free(types);
    return rc;
}

static void set_u32(struct gguf_context *g, const char *arch, const char *name, int64_t value) {
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", arch, name);
    gguf_set_val_u32(g, key, (uint32_t)value);
}

static void set_f32(struct gguf_context *g, const char *arch, const char *name, double value) {
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", arch, name);
    gguf_set_val_f32(g, key, (float)value);
}

static void set_shape_keys(struct gguf_context *g, const struct known_shape *s) {
    const char *arch = s->architecture;
    char name[160];
    snprintf(name, sizeof(name), "synthetic %s", s->id);
    gguf_set_val_str(g, "general.architecture", arch);
    gguf_set_val_str(g, "general.type", "model");
    gguf_set_val_str(g, "general.name", name);
    gguf_set_val_str(g, "general.size_label", s->size);
    gguf_set_val_str(g, "tokenizer.chat_template", s->template);
    set_u32(g, arch, "block_count", s->n_layers);
    set_u32(g, arch, "context_length", s->n_ctx);
    set_u32(g, arch, "embedding_length", s->n_embd);
    set_u32(g, arch, "feed_forward_length", s->n_ff);
    set_u32(g, arch, "attention.head_count", s->n_head);
    set_u32(g, arch, "attention.head_count_kv", s->n_head_kv);
    set_u32(g, arch, "attention.key_length", s->head_dim);
    set_u32(g, arch, "attention.value_length", s->head_dim);
    set_u32(g, arch, "rope.dimension_count", s->head_dim);
    set_u32(g, arch, "vocab_size", s->n_vocab);
    set_f32(g, arch, "attention.layer_norm_rms_epsilon", s->rms_eps);
    set_f32(g, arch, "rope.freq_base", s->rope_base);
}

/* --- Tensors ------------------------------------------------------------------------------------ */

static void add(struct synth_plan *p, enum synth_fill fill, int64_t row, int64_t n_rows,
                const char *name) {
    struct synth_tensor *t = &p->tensors[p->n++];
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->ne[0] = row;
    t->ne[1] = n_rows;
    t->ne[2] = t->ne[3] = 1;
    t->fill = fill;
    t->type = fill == SYNTH_MATRIX ? GGML_TYPE_F16 : GGML_TYPE_F32;
}

static void add_layer(struct synth_plan *p, const struct known_shape *s, int64_t layer) {
    const int64_t q = s->n_head * s->head_dim;
    const int64_t kv = s->n_head_kv * s->head_dim;
    const bool has_biases = !strcmp(s->architecture, "qwen2");
    const struct {
        const char *name;
        enum synth_fill fill;
        int64_t row, n_rows;
    } rows[] = {
        {"attn_norm.weight", SYNTH_NORM, s->n_embd, 1},
        {"attn_q.weight", SYNTH_MATRIX, s->n_embd, q},
        {"attn_q.bias", SYNTH_BIAS, q, 1},
        {"attn_k.weight", SYNTH_MATRIX, s->n_embd, kv},
        {"attn_k.bias", SYNTH_BIAS, kv, 1},
        {"attn_v.weight", SYNTH_MATRIX, s->n_embd, kv},
        {"attn_v.bias", SYNTH_BIAS, kv, 1},
        {"attn_output.weight", SYNTH_MATRIX, q, s->n_embd},
        {"ffn_norm.weight", SYNTH_NORM, s->n_embd, 1},
        {"ffn_gate.weight", SYNTH_MATRIX, s->n_embd, s->n_ff},
        {"ffn_up.weight", SYNTH_MATRIX, s->n_embd, s->n_ff},
        {"ffn_down.weight", SYNTH_MATRIX, s->n_ff, s->n_embd},
    };
    _Static_assert(sizeof(rows) / sizeof(rows[0]) == LAYER_TENSORS, "room for each");
    for (size_t i = 0; i < LAYER_TENSORS; i++) {
        if (rows[i].fill != SYNTH_BIAS || has_biases) {
            char name[GGML_MAX_NAME];
            snprintf(name, sizeof(name), "blk.%lld.%s", (long long)layer, rows[i].name);
            add(p, rows[i].fill, rows[i].row, rows[i].n_rows, name);
        }
    }
}

static int tensors_of_shape(struct synth_plan *p, const struct known_shape *s, struct err *e) {
    p->tensors = calloc((size_t)s->n_layers * LAYER_TENSORS + 4, sizeof(*p->tensors));
    if (!p->tensors) {
        return out_of_memory(e);
    }
    add(p, SYNTH_MATRIX, s->n_embd, s->n_vocab, "token_embd.weight");
    add(p, SYNTH_NORM, s->n_embd, 1, "output_norm.weight");
    if (!s->tied) {
        add(p, SYNTH_MATRIX, s->n_embd, s->n_vocab, "output.weight");
    }
    if (s->rope_factor > 0) {
        add(p, SYNTH_ROPE, s->head_dim / 2, 1, "rope_freqs.weight");
    }
    for (int64_t layer = 0; layer < s->n_layers; layer++) {
        add_layer(p, s, layer);
    }
    return 0;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static int tensors_like(struct synth_plan *p, const char *path, struct err *e) {
    struct gguf_context *g = open_header(path, e);
    if (!g) {
        return EE_FORMAT;
    }
    const size_t n = (size_t)gguf_get_n_tensors(g);
    p->tensors = calloc(n + 1, sizeof(*p->tensors));
    for (size_t i = 0; p->tensors && i < n; i++) {
        struct synth_tensor *t = &p->tensors[i];
        snprintf(t->name, sizeof(t->name), "%s", gguf_get_tensor_name(g, (int64_t)i));
        memcpy(t->ne, gguf_get_tensor_ne(g, (int64_t)i), sizeof(t->ne));
        t->type = gguf_get_tensor_type(g, (int64_t)i);
        bool is_vector = synth_tensor_rows(t) == 1;
        t->fill = !is_vector                              ? SYNTH_MATRIX
                  : !strcmp(t->name, "rope_freqs.weight") ? SYNTH_ROPE
                  : ends_with(t->name, ".bias")           ? SYNTH_BIAS
                                                          : SYNTH_NORM;
    }
    p->n = n;
    gguf_free(g);
    return p->tensors ? 0 : out_of_memory(e);
}

/* A twin's row has the same remainder by 256, which is all that decides whether a type fits. */
static int64_t twin_row(int64_t row) {
    return row % K_QUANT_ROW ? row % K_QUANT_ROW : K_QUANT_ROW;
}

static int add_to_header(struct gguf_context *g, const struct synth_plan *p, bool as_twin,
                         struct ggml_context **ctx, struct err *e) {
    const struct ggml_init_params params = {
        .mem_size = (p->n + 1) * (ggml_tensor_overhead() +
                                  (as_twin ? K_QUANT_ROW * TWIN_ROWS * sizeof(float) : 0)),
        .no_alloc = !as_twin};
    *ctx = ggml_init(params);
    if (!*ctx) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < p->n; i++) {
        const struct synth_tensor *t = &p->tensors[i];
        bool is_matrix = t->fill == SYNTH_MATRIX;
        int64_t ne[GGML_MAX_DIMS];
        memcpy(ne, t->ne, sizeof(ne));
        if (as_twin) {
            ne[0] = twin_row(ne[0]);
            ne[1] = is_matrix ? TWIN_ROWS : 1;
            ne[2] = ne[3] = 1;
        }
        int n_dims = ne[3] > 1 ? 4 : ne[2] > 1 ? 3 : is_matrix ? 2 : 1;
        struct ggml_tensor *tensor = ggml_new_tensor(*ctx, t->type, n_dims, ne);
        ggml_set_name(tensor, t->name);
        if (as_twin) {
            memset(tensor->data, 0, ggml_nbytes(tensor));
        }
        gguf_add_tensor(g, tensor);
    }
    return 0;
}

/* What libllama makes of the twin: each tensor's type, and the keys that name the whole. */
static int take_types(struct synth_plan *p, const char *twin_path, struct err *e) {
    struct gguf_context *twin = open_header(twin_path, e);
    if (!twin) {
        return EE_FORMAT;
    }
    int rc = 0;
    for (size_t i = 0; i < p->n && !rc; i++) {
        int64_t id = gguf_find_tensor(twin, p->tensors[i].name);
        if (id < 0) {
            rc = err_set(e, EE_FAIL, "synth: the engine dropped tensor %s", p->tensors[i].name);
        } else {
            p->tensors[i].type = gguf_get_tensor_type(twin, id);
        }
    }
    if (!rc) {
        gguf_set_kv(p->header, twin);
    }
    gguf_free(twin);
    return rc;
}

static int decide_types(struct synth_plan *p, const struct synth_opts *opts, struct err *e) {
    struct buf in;
    struct buf out;
    buf_init(&in);
    buf_init(&out);
    buf_addf(&in, "%s.twin.part", opts->out_path);
    buf_addf(&out, "%s.twin.typed.part", opts->out_path);
    struct gguf_context *g = gguf_init_empty();
    struct ggml_context *ctx = NULL;
    int rc = in.failed || out.failed || !g ? out_of_memory(e) : 0;
    for (size_t i = 0; i < p->n && !rc; i++) {
        struct synth_tensor *t = &p->tensors[i];
        t->type = t->fill == SYNTH_MATRIX ? GGML_TYPE_F16 : GGML_TYPE_F32;
    }
    if (!rc) {
        gguf_set_kv(g, p->header);
        rc = add_to_header(g, p, true, &ctx, e);
    }
    if (!rc && !gguf_write_to_file(g, in.data, false)) {
        rc = err_set(e, EE_IO, "cannot write %s", in.data);
    }
    rc = rc ? rc : quantize_file(in.data, out.data, opts->type ? opts->type : "F16", 1, e);
    rc = rc ? rc : take_types(p, out.data, e);
    unlink(in.data);
    unlink(out.data);
    ggml_free(ctx);
    gguf_free(g);
    buf_release(&in);
    buf_release(&out);
    return rc;
}

/* --- The whole ---------------------------------------------------------------------------------- */

/* Takes the keys of the file at path, without its tensors. */
static int take_keys(struct synth_plan *p, const char *path, struct err *e) {
    struct gguf_context *g = open_header(path, e);
    if (!g) {
        return EE_FORMAT;
    }
    p->header = gguf_init_empty();
    if (p->header) {
        gguf_set_kv(p->header, g);
    }
    gguf_free(g);
    return p->header ? 0 : out_of_memory(e);
}

static int plan_of_shape(struct synth_plan *p, const struct synth_opts *opts, struct err *e) {
    int rc = take_keys(p, opts->vocab_path, e);
    if (rc) {
        return rc;
    }
    keep_tokenizer_only(p->header);
    rc = pad_tokens(p->header, opts->shape, opts->vocab_path, e);
    if (!rc) {
        set_shape_keys(p->header, opts->shape);
        rc = tensors_of_shape(p, opts->shape, e);
    }
    return rc;
}

static int plan_like(struct synth_plan *p, const struct synth_opts *opts, struct err *e) {
    struct gguf_info info;
    int rc = gguf_info_read_model(opts->like_path, &info, e);
    rc = rc ? rc : gguf_info_check_answers(&info, opts->like_path, e);
    rc = rc ? rc : take_keys(p, opts->like_path, e);
    return rc ? rc : tensors_like(p, opts->like_path, e);
}

int synth_plan_init(struct synth_plan *plan, const struct synth_opts *opts, struct err *e) {
    *plan = (struct synth_plan){0};
    int rc = opts->shape ? plan_of_shape(plan, opts, e) : plan_like(plan, opts, e);
    if (!rc && (opts->shape || opts->type)) {
        rc = decide_types(plan, opts, e);
    }
    if (rc) {
        return rc;
    }
    gguf_set_val_bool(plan->header, GGUF_KEY_SYNTHETIC, true);
    gguf_set_val_u64(plan->header, "edge_eval.synthetic_seed", opts->seed);
    struct ggml_context *ctx = NULL;
    rc = add_to_header(plan->header, plan, false, &ctx, e);
    ggml_free(ctx);
    return rc;
}

void synth_plan_release(struct synth_plan *plan) {
    gguf_free(plan->header);
    free(plan->tensors);
    *plan = (struct synth_plan){0};
}
