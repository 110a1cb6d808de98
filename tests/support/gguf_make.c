#include "support/gguf_make.h"

#include "base/rng.h"

#include <gguf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { HEAD = 32, N_BYTE_TOKENS = 256, MEMORY = 64 * 1024 * 1024 };

const char gguf_make_chatml[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}";

const struct gguf_make gguf_make_default = {.arch = "llama",
                                            .type = GGML_TYPE_F16,
                                            .n_layers = 2,
                                            .n_embd = 64,
                                            .n_ff = 96,
                                            .template = gguf_make_chatml};

struct maker {
    const struct gguf_make *m;
    struct gguf_context *g;
    struct ggml_context *ctx;
};

static void set_int(const struct maker *k, const char *name, uint32_t value) {
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", k->m->arch ? k->m->arch : "none", name);
    gguf_set_val_u32(k->g, key, value);
}

static void set_shape(const struct maker *k) {
    const struct gguf_make *m = k->m;
    const uint32_t n_head = (uint32_t)m->n_embd / HEAD;
    set_int(k, "block_count", (uint32_t)m->n_layers);
    set_int(k, "context_length", 2048);
    set_int(k, "embedding_length", (uint32_t)m->n_embd);
    set_int(k, "feed_forward_length", (uint32_t)m->n_ff);
    set_int(k, "attention.head_count", n_head);
    set_int(k, "rope.dimension_count", HEAD);
    if (m->per_layer_heads) {
        uint32_t heads[64];
        for (int i = 0; i < m->n_layers && i < 64; i++) {
            heads[i] = (uint32_t)i + 1;
        }
        gguf_set_arr_data(k->g, "llama.attention.head_count_kv", GGUF_TYPE_UINT32, heads,
                          (size_t)m->n_layers);
    } else {
        set_int(k, "attention.head_count_kv", m->n_head_kv ? (uint32_t)m->n_head_kv : n_head);
    }
    char key[96];
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", m->arch ? m->arch : "llama");
    gguf_set_val_f32(k->g, key, 1e-5F);
    if (m->encoder) {
        gguf_set_val_bool(k->g, "llama.attention.causal", false);
    }
}

/* A vocabulary of every byte, so that any text has tokens. */
static void set_tokenizer(const struct maker *k) {
    enum { N_SPECIAL = 5, N = N_SPECIAL + N_BYTE_TOKENS };
    enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6 };
    static const char *const special[N_SPECIAL] = {"<unk>", "<s>", "</s>", "<|im_start|>",
                                                   "<|im_end|>"};
    static char names[N_BYTE_TOKENS][8];
    const char *tokens[N];
    float scores[N];
    int32_t types[N];
    for (int i = 0; i < N; i++) {
        scores[i] = 0;
        types[i] = i >= N_SPECIAL ? BYTE : i ? CONTROL : UNKNOWN;
        tokens[i] = i < N_SPECIAL ? special[i] : names[i - N_SPECIAL];
        if (i >= N_SPECIAL) {
            snprintf(names[i - N_SPECIAL], sizeof(names[0]), "<0x%02X>", (unsigned)(i - N_SPECIAL));
        }
    }
    tokens[4] = k->m->token_4 ? k->m->token_4 : tokens[4];
    gguf_set_val_str(k->g, "tokenizer.ggml.model", "llama");
    gguf_set_arr_str(k->g, "tokenizer.ggml.tokens", tokens, N);
    gguf_set_arr_data(k->g, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, N);
    gguf_set_arr_data(k->g, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, N);
    gguf_set_val_u32(k->g, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(k->g, "tokenizer.ggml.eos_token_id", 4);
    if (k->m->no_begin_token) {
        gguf_set_val_bool(k->g, "tokenizer.ggml.add_bos_token", false);
    }
    set_int(k, "vocab_size", N);
}

/* Random weights, the same for a name each time: a regular pattern would give tokens equal logits,
 * and which of those is picked is nobody's promise. */
void gguf_make_tensor(struct gguf_context *g, struct ggml_context *ctx, const char *name,
                      enum ggml_type type, int64_t row, int64_t n_rows, float spread) {
    struct ggml_tensor *t = n_rows > 1 ? ggml_new_tensor_2d(ctx, type, row, n_rows)
                                       : ggml_new_tensor_1d(ctx, type, row);
    assert_non_null(t);
    ggml_set_name(t, name);
    size_t n = (size_t)ggml_nelements(t);
    float *values = malloc(n * sizeof(*values));
    assert_non_null(values);
    uint64_t stream = 0;
    for (const char *c = name; *c; c++) {
        stream = stream * 31 + (unsigned char)*c;
    }
    struct rng rng;
    rng_init_stream(&rng, 1, stream);
    for (size_t i = 0; i < n; i++) {
        values[i] = ((float)rng_uniform(&rng) - 0.5F) * spread;
    }
    if (type == GGML_TYPE_F32) {
        memcpy(t->data, values, n * sizeof(*values));
    } else {
        ggml_quantize_chunk(type, values, t->data, 0, n_rows, row, NULL);
    }
    free(values);
    gguf_add_tensor(g, t);
}

static void add_tensor(const struct maker *k, const char *name, enum ggml_type type, int64_t row,
                       int64_t n_rows) {
    gguf_make_tensor(k->g, k->ctx, name, type, row, n_rows, k->m->spread > 0 ? k->m->spread : 1);
}

static void add_rope_freqs(const struct maker *k) {
    struct ggml_tensor *t = ggml_new_tensor_1d(k->ctx, GGML_TYPE_F32, HEAD / 2);
    assert_non_null(t);
    ggml_set_name(t, "rope_freqs.weight");
    for (int i = 0; i < HEAD / 2; i++) {
        ((float *)t->data)[i] = 1 + 0.25F * (float)i;
    }
    gguf_add_tensor(k->g, t);
}

static void add_weights(const struct maker *k) {
    const struct gguf_make *m = k->m;
    const int64_t kv_rows = m->n_head_kv ? (int64_t)m->n_head_kv * HEAD : m->n_embd;
    const struct {
        const char *name;
        int64_t row, n_rows;
    } in_layer[] = {
        {"attn_norm", m->n_embd, 1},           {"attn_q", m->n_embd, m->n_embd},
        {"attn_k", m->n_embd, kv_rows},        {"attn_v", m->n_embd, kv_rows},
        {"attn_output", m->n_embd, m->n_embd}, {"ffn_norm", m->n_embd, 1},
        {"ffn_gate", m->n_embd, m->n_ff},      {"ffn_up", m->n_embd, m->n_ff},
        {"ffn_down", m->n_ff, m->n_embd},
    };
    add_tensor(k, "token_embd.weight", m->type, m->n_embd, 5 + N_BYTE_TOKENS);
    add_tensor(k, "output_norm.weight", GGML_TYPE_F32, m->n_embd, 1);
    if (m->untied) {
        add_tensor(k, "output.weight", m->type, m->n_embd, 5 + N_BYTE_TOKENS);
    }
    if (m->rope_freqs) {
        add_rope_freqs(k);
    }
    for (int layer = 0; layer < m->n_layers; layer++) {
        for (size_t i = 0; i < sizeof(in_layer) / sizeof(in_layer[0]); i++) {
            char name[64];
            snprintf(name, sizeof(name), "blk.%d.%s.weight", layer, in_layer[i].name);
            add_tensor(k, name, in_layer[i].n_rows > 1 ? m->type : GGML_TYPE_F32, in_layer[i].row,
                       in_layer[i].n_rows);
        }
        for (size_t i = 1; i <= 3 && m->biases; i++) {
            char name[64];
            snprintf(name, sizeof(name), "blk.%d.%s.bias", layer, in_layer[i].name);
            add_tensor(k, name, GGML_TYPE_F32, in_layer[i].n_rows, 1);
        }
    }
}

void gguf_make_file(const char *path, const struct gguf_make *m) {
    struct maker k = {.m = m,
                      .g = gguf_init_empty(),
                      .ctx = ggml_init((struct ggml_init_params){.mem_size = MEMORY})};
    assert_non_null(k.g);
    assert_non_null(k.ctx);
    if (m->arch) {
        gguf_set_val_str(k.g, "general.architecture", m->arch);
    }
    gguf_set_val_str(k.g, "general.name", "made for a test");
    set_shape(&k);
    if (!m->no_tokenizer) {
        set_tokenizer(&k);
    }
    if (m->template) {
        gguf_set_val_str(k.g, "tokenizer.chat_template", m->template);
    }
    if (!m->no_weights) {
        add_weights(&k);
    }
    assert_true(gguf_write_to_file(k.g, path, false));
    gguf_free(k.g);
    ggml_free(k.ctx);
}
