#include "adapt/hf_config.h"
#include "adapt/hf_vocab.h"
#include "adapt/hf_weights.h"
#include "adapt/import_write.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/gguf_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const import_type_names[] = {"F16", "BF16", "F32", NULL};

/* With llama.cpp's numbers for general.file_type. */
static const struct out_type {
    enum ggml_type type;
    uint32_t file_type;
} out_types[] = {{GGML_TYPE_F16, 1}, {GGML_TYPE_BF16, 32}, {GGML_TYPE_F32, 0}};

struct importing {
    const char *dir;
    struct hf_config config;
    struct hf_weights weights;
    struct gguf_context *g;
    struct out_type type;
    struct import_tensor *tensors;
    size_t n;
    float *rope_freqs;
};

/* --- Keys ------------------------------------------------------------------------------------ */

static void set_u32(struct importing *m, const char *key, int64_t value) {
    char full[96];
    snprintf(full, sizeof(full), "%s.%s", m->config.arch, key);
    gguf_set_val_u32(m->g, full, (uint32_t)value);
}

static void set_f32(struct importing *m, const char *key, double value) {
    char full[96];
    snprintf(full, sizeof(full), "%s.%s", m->config.arch, key);
    gguf_set_val_f32(m->g, full, (float)value);
}

static void set_str(struct importing *m, const char *key, const char *value) {
    char full[96];
    snprintf(full, sizeof(full), "%s.%s", m->config.arch, key);
    gguf_set_val_str(m->g, full, value);
}

static void set_scaling(struct importing *m) {
    static const char *const yarn_keys[][2] = {
        {"extrapolation_factor", "rope.scaling.yarn_ext_factor"},
        {"attention_factor", "rope.scaling.yarn_attn_factor"},
        {"beta_fast", "rope.scaling.yarn_beta_fast"},
        {"beta_slow", "rope.scaling.yarn_beta_slow"}};
    const struct hf_config *c = &m->config;
    if (c->rope != HF_ROPE_LINEAR && c->rope != HF_ROPE_YARN) {
        return;
    }
    set_str(m, "rope.scaling.type", c->rope == HF_ROPE_LINEAR ? "linear" : "yarn");
    set_f32(m, "rope.scaling.factor", c->rope_factor);
    if (c->rope == HF_ROPE_YARN) {
        set_u32(m, "rope.scaling.original_context_length", c->rope_old_context);
        for (size_t i = 0; i < sizeof(yarn_keys) / sizeof(yarn_keys[0]); i++) {
            if (json_is_number(json_object_get(c->scaling, yarn_keys[i][0]))) {
                set_f32(m, yarn_keys[i][1], json_num_or(c->scaling, yarn_keys[i][0], 0));
            }
        }
    }
}

/* The directory's own name; of "." the one it stands for. */
static void set_name(struct importing *m) {
    char *real = realpath(m->dir, NULL);
    gguf_set_val_str(m->g, "general.name", fs_basename(real ? real : m->dir));
    free(real);
}

static void set_keys(struct importing *m) {
    enum { QUANTIZATION_VERSION = 2 };
    const struct hf_config *c = &m->config;
    gguf_set_val_str(m->g, "general.architecture", c->arch);
    gguf_set_val_str(m->g, "general.type", "model");
    set_name(m);
    gguf_set_val_u32(m->g, "general.file_type", m->type.file_type);
    gguf_set_val_u32(m->g, "general.quantization_version", QUANTIZATION_VERSION);
    set_u32(m, "block_count", c->n_layers);
    set_u32(m, "context_length", c->n_ctx);
    set_u32(m, "embedding_length", c->n_embd);
    set_u32(m, "feed_forward_length", c->n_ff);
    set_u32(m, "attention.head_count", c->n_head);
    set_u32(m, "attention.head_count_kv", c->n_head_kv);
    set_f32(m, "attention.layer_norm_rms_epsilon", c->rms_eps);
    set_f32(m, "rope.freq_base", c->rope_base);
    if (c->is_llama) {
        set_u32(m, "vocab_size", c->n_vocab);
        set_u32(m, "rope.dimension_count", c->head_dim);
    }
    if (c->is_llama || c->states_head_dim) {
        set_u32(m, "attention.key_length", c->head_dim);
        set_u32(m, "attention.value_length", c->head_dim);
    }
    set_scaling(m);
}

/* --- Tensors --------------------------------------------------------------------------------- */

/* Lengths by name, so that the tables below can be read. */
enum length { EMBD, FF, VOCAB, Q_ROWS, KV_ROWS };

static int64_t length_of(const struct hf_config *c, enum length l) {
    switch (l) {
    case EMBD:
        return c->n_embd;
    case FF:
        return c->n_ff;
    case VOCAB:
        return c->n_vocab;
    case Q_ROWS:
        return c->n_head * c->head_dim;
    case KV_ROWS:
        return c->n_head_kv * c->head_dim;
    }
    return 0;
}

struct weight_row {
    const char *hf;
    const char *gguf;
    enum length rows;
    enum length columns; /* of matrices */
    bool is_vector;      /* a norm; biases are looked for beside every matrix that may have one */
    bool may_have_bias;
    bool rotates; /* q and k */
};

static const struct weight_row model_rows[] = {
    {"model.embed_tokens", "token_embd", VOCAB, EMBD, false, false, false},
    {"model.norm", "output_norm", EMBD, EMBD, true, false, false}};

static const struct weight_row head_row = {"lm_head", "output", VOCAB, EMBD, false, false, false};

static const struct weight_row layer_rows[] = {
    {"input_layernorm", "attn_norm", EMBD, EMBD, true, false, false},
    {"self_attn.q_proj", "attn_q", Q_ROWS, EMBD, false, true, true},
    {"self_attn.k_proj", "attn_k", KV_ROWS, EMBD, false, true, true},
    {"self_attn.v_proj", "attn_v", KV_ROWS, EMBD, false, true, false},
    {"self_attn.o_proj", "attn_output", EMBD, Q_ROWS, false, true, false},
    {"post_attention_layernorm", "ffn_norm", EMBD, EMBD, true, false, false},
    {"mlp.gate_proj", "ffn_gate", FF, EMBD, false, true, false},
    {"mlp.up_proj", "ffn_up", FF, EMBD, false, true, false},
    {"mlp.down_proj", "ffn_down", EMBD, FF, false, true, false}};

enum { N_MODEL_ROWS = sizeof(model_rows) / sizeof(model_rows[0]) };
enum { N_LAYER_ROWS = sizeof(layer_rows) / sizeof(layer_rows[0]) };

/* Takes PREFIX + row.hf + ending; *taken tells whether it is there. */
static int take(struct importing *m, const struct weight_row *row, int64_t layer,
                const char *ending, bool *taken, struct err *e) {
    const bool is_matrix = !row->is_vector && !strcmp(ending, "weight");
    const struct hf_config *c = &m->config;
    const int64_t shape[2] = {length_of(c, row->rows), length_of(c, row->columns)};
    struct import_tensor *t = &m->tensors[m->n];
    char hf[128];
    if (layer < 0) {
        snprintf(hf, sizeof(hf), "%s.%s", row->hf, ending);
        snprintf(t->name, sizeof(t->name), "%s.%s", row->gguf, ending);
    } else {
        snprintf(hf, sizeof(hf), "model.layers.%" PRId64 ".%s.%s", layer, row->hf, ending);
        snprintf(t->name, sizeof(t->name), "blk.%" PRId64 ".%s.%s", layer, row->gguf, ending);
    }
    struct hf_weight *w = hf_weights_find(&m->weights, hf);
    *taken = w != NULL;
    if (!w) {
        return 0;
    }
    w->used = true;
    t->n_dims = is_matrix ? 2 : 1;
    t->ne[0] = is_matrix ? shape[1] : shape[0];
    t->ne[1] = is_matrix ? shape[0] : 1;
    t->type = is_matrix ? m->type.type : GGML_TYPE_F32;
    t->file = w->file;
    t->source = w->tensor;
    t->head_rows = row->rotates && c->is_llama ? c->head_dim : 0;
    m->n++;
    return import_check_tensor(w->file, w->tensor, t->n_dims, shape, e);
}

static int take_row(struct importing *m, const struct weight_row *row, int64_t layer,
                    struct err *e) {
    bool taken = false;
    int rc = take(m, row, layer, "weight", &taken, e);
    if (!rc && !taken) {
        char prefix[48] = "";
        if (layer >= 0) {
            snprintf(prefix, sizeof(prefix), "model.layers.%" PRId64 ".", layer);
        }
        return err_set(e, EE_MISSING, "%s has no tensor %s%s.weight", m->dir, prefix, row->hf);
    }
    if (rc || !row->may_have_bias) {
        return rc;
    }
    rc = take(m, row, layer, "bias", &taken, e);
    bool is_qkv = !strncmp(row->hf, "self_attn.", 10) && row->columns == EMBD;
    if (!rc && !m->config.is_llama && is_qkv && !taken) {
        rc = err_set(e, EE_MISSING, "%s has no tensor model.layers.%" PRId64 ".%s.bias", m->dir,
                     layer, row->hf);
    } else if (!rc && !m->config.is_llama && !is_qkv && taken) {
        rc = err_set(e, EE_UNSUPPORTED,
                     "%s has the tensor model.layers.%" PRId64
                     ".%s.bias, which qwen2 does not have",
                     m->dir, layer, row->hf);
    }
    return rc;
}

static int take_head(struct importing *m, struct err *e) {
    bool taken = false;
    int rc = take(m, &head_row, -1, "weight", &taken, e);
    if (!rc && !taken && !m->config.tied) {
        rc = err_set(e, EE_MISSING,
                     "%s has no tensor lm_head.weight, and tie_word_embeddings is not true",
                     m->dir);
    }
    return rc;
}

/* Buffers that old checkpoints keep among their weights. */
static bool is_buffer(const char *name) {
    static const char *const endings[] = {".rotary_emb.inv_freq", ".attention.bias",
                                          ".attention.masked_bias"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t len = strlen(endings[i]);
        if (n > len && !strcmp(name + n - len, endings[i])) {
            return true;
        }
    }
    return false;
}

static int check_all_used(const struct importing *m, struct err *e) {
    for (size_t i = 0; i < m->weights.n; i++) {
        const struct hf_weight *w = &m->weights.by_name[i];
        if (!w->used && !is_buffer(w->tensor->name)) {
            return err_set(e, EE_UNSUPPORTED,
                           "%s: tensor %.200s has no place in a %s model of %" PRId64 " layers",
                           safetensors_path(w->file), w->tensor->name, m->config.arch,
                           m->config.n_layers);
        }
    }
    return 0;
}

static int add_rope_freqs(struct importing *m, struct err *e) {
    const struct hf_config *c = &m->config;
    const int64_t n = c->head_dim / 2;
    if (c->rope != HF_ROPE_LLAMA3) {
        return 0;
    }
    m->rope_freqs = malloc((size_t)n * sizeof(float));
    if (!m->rope_freqs) {
        return err_set(e, EE_NOMEM, "import: out of memory");
    }
    for (int64_t i = 0; i < n; i++) {
        m->rope_freqs[i] = rope_llama3_divisor(&c->llama3, c->head_dim, i);
    }
    m->tensors[m->n++] = (struct import_tensor){.name = "rope_freqs.weight",
                                                .n_dims = 1,
                                                .ne = {n, 1},
                                                .type = GGML_TYPE_F32,
                                                .values = m->rope_freqs};
    return 0;
}

static int take_tensors(struct importing *m, struct err *e) {
    size_t most = N_MODEL_ROWS + 2 + (size_t)m->config.n_layers * N_LAYER_ROWS * 2;
    m->tensors = calloc(most, sizeof(*m->tensors));
    int rc = m->tensors ? 0 : err_set(e, EE_NOMEM, "import: out of memory");
    rc = rc ? rc : add_rope_freqs(m, e);
    for (size_t i = 0; i < N_MODEL_ROWS && !rc; i++) {
        rc = take_row(m, &model_rows[i], -1, e);
    }
    rc = rc ? rc : take_head(m, e);
    for (int64_t layer = 0; layer < m->config.n_layers && !rc; layer++) {
        for (size_t i = 0; i < N_LAYER_ROWS && !rc; i++) {
            rc = take_row(m, &layer_rows[i], layer, e);
        }
    }
    return rc ? rc : check_all_used(m, e);
}

/* By its name; without one the checkpoint's 16-bit type, F16 for what has 32. */
static struct out_type choose_type(const struct importing *m, const char *name) {
    for (size_t i = 0; name && import_type_names[i]; i++) {
        if (!strcmp(name, import_type_names[i])) {
            return out_types[i];
        }
    }
    const struct hf_weight *w = hf_weights_find(&m->weights, "model.embed_tokens.weight");
    return w && w->tensor->type == GGML_TYPE_BF16 ? out_types[1] : out_types[0];
}

int import_model(const char *dir, const char *out_path, const struct import_opts *opts,
                 struct err *e) {
    struct importing m = {.dir = dir};
    struct gguf_info info;
    int rc = hf_config_read(dir, &m.config, e);
    rc = rc ? rc : hf_weights_open(dir, &m.weights, e);
    if (!rc) {
        m.type = choose_type(&m, opts->type);
        rc = take_tensors(&m, e);
    }
    if (!rc) {
        m.g = gguf_init_empty();
        rc = m.g ? 0 : err_set(e, EE_NOMEM, "import: out of memory");
    }
    if (!rc) {
        set_keys(&m);
        rc = hf_vocab_write(dir, &m.config, m.g, e);
    }
    rc = rc ? rc : import_write(out_path, m.g, m.tensors, m.n, opts, e);
    rc = rc ? rc : gguf_info_read(out_path, &info, NULL, e); /* is it whole? */
    if (m.g) {
        gguf_free(m.g);
    }
    free(m.tensors);
    free(m.rope_freqs);
    hf_weights_close(&m.weights);
    hf_config_release(&m.config);
    return rc;
}
