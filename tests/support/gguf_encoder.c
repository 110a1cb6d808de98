#include "base/buf.h"
#include "support/gguf_make.h"

#include <gguf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum {
    N_LAYERS = 2,
    N_EMBD = GGUF_ENCODER_EMBD,
    N_FF = GGUF_ENCODER_FF,
    N_HEADS = 2,
    N_SPECIAL = 4,
    N_BYTES = 256,
    N_TOKENS = N_SPECIAL + N_BYTES + 1,
    MEMORY = 16 * 1024 * 1024,
};

static const char *const nli_labels[] = {"contradiction", "entailment", "neutral"};

const struct gguf_make_encoder gguf_make_roberta = {.arch = "bert",
                                                    .tokenizer = "gpt2",
                                                    .labels = nli_labels,
                                                    .n_labels = 3,
                                                    .n_outputs = 3,
                                                    .n_token_types = 1,
                                                    .pooling = -1};

struct maker {
    const struct gguf_make_encoder *m;
    struct gguf_context *g;
    struct ggml_context *ctx;
};

static const char *key_of(const struct maker *k, const char *name) {
    static char key[96];
    snprintf(key, sizeof(key), "%s.%s", k->m->arch, name);
    return key;
}

static void set_shape(const struct maker *k) {
    const struct gguf_make_encoder *m = k->m;
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"block_count", N_LAYERS},         {"context_length", GGUF_ENCODER_CONTEXT},
        {"embedding_length", N_EMBD},      {"feed_forward_length", N_FF},
        {"attention.head_count", N_HEADS}, {"vocab_size", N_TOKENS},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        gguf_set_val_u32(k->g, key_of(k, numbers[i].name), numbers[i].value);
    }
    gguf_set_val_f32(k->g, key_of(k, "attention.layer_norm_epsilon"), 1e-5F);
    gguf_set_val_bool(k->g, key_of(k, "attention.causal"), false);
    if (strcmp(m->arch, "modern-bert") == 0) {
        gguf_set_val_u32(k->g, key_of(k, "attention.sliding_window"), 16);
        gguf_set_val_u32(k->g, key_of(k, "attention.sliding_window_pattern"), 2);
        gguf_set_val_f32(k->g, key_of(k, "rope.freq_base"), 160000);
        gguf_set_val_f32(k->g, key_of(k, "rope.freq_base_swa"), 10000);
    }
    if (m->pooling >= 0) {
        gguf_set_val_u32(k->g, key_of(k, "pooling_type"), (uint32_t)m->pooling);
    }
    if (m->labels) {
        gguf_set_arr_str(k->g, key_of(k, "classifier.output_labels"), (const char **)m->labels,
                         m->n_labels);
    }
}

/* GPT-2 writes bytes that do not print as letters from U+0100 on. */
static void byte_letter(int byte, int *next_letter, char out[8]) {
    bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    int cp = prints ? byte : 256 + (*next_letter)++;
    if (cp < 0x80) {
        snprintf(out, 8, "%c", cp);
    } else {
        snprintf(out, 8, "%c%c", 0xC0 | (cp >> 6), 0x80 | (cp & 0x3F));
    }
}

static void set_tokenizer(const struct maker *k) {
    enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3 };
    static const char *const special[N_SPECIAL] = {"<s>", "<pad>", "</s>", "<unk>"};
    static char letters[N_BYTES][8];
    static const char *merges[] = {"t h"};
    const char *tokens[N_TOKENS];
    int32_t types[N_TOKENS];
    int next_letter = 0;
    for (int i = 0; i < N_TOKENS; i++) {
        types[i] = i >= N_SPECIAL ? NORMAL : i == 3 ? UNKNOWN : CONTROL;
        if (i < N_SPECIAL) {
            tokens[i] = special[i];
        } else if (i < N_SPECIAL + N_BYTES) {
            byte_letter(i - N_SPECIAL, &next_letter, letters[i - N_SPECIAL]);
            tokens[i] = letters[i - N_SPECIAL];
        } else {
            tokens[i] = "th";
        }
    }
    gguf_set_val_str(k->g, "tokenizer.ggml.model", k->m->tokenizer);
    gguf_set_val_str(k->g, "tokenizer.ggml.pre", "roberta-bpe");
    gguf_set_arr_str(k->g, "tokenizer.ggml.tokens", tokens, N_TOKENS);
    gguf_set_arr_data(k->g, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, N_TOKENS);
    gguf_set_arr_str(k->g, "tokenizer.ggml.merges", merges, 1);
    gguf_set_val_u32(k->g, "tokenizer.ggml.bos_token_id", 0);
    gguf_set_val_u32(k->g, "tokenizer.ggml.padding_token_id", 1);
    gguf_set_val_u32(k->g, "tokenizer.ggml.eos_token_id", 2);
    gguf_set_val_u32(k->g, "tokenizer.ggml.unknown_token_id", 3);
    gguf_set_val_bool(k->g, "tokenizer.ggml.add_bos_token", true);
    gguf_set_val_bool(k->g, "tokenizer.ggml.add_eos_token", true);
    gguf_set_val_u32(k->g, "tokenizer.ggml.token_type_count", (uint32_t)k->m->n_token_types);
}

static void add(const struct maker *k, const char *name, int64_t row, int64_t n_rows) {
    gguf_make_tensor(k->g, k->ctx, name, GGML_TYPE_F32, row, n_rows, 1);
}

struct part {
    const char *name;
    int64_t row, n_rows;
};

static void add_layers(const struct maker *k, const struct part *parts, size_t n, bool modern) {
    for (int layer = 0; layer < N_LAYERS; layer++) {
        for (size_t i = 0; i < n; i++) {
            if (modern && layer == 0 && strcmp(parts[i].name, "attn_norm.weight") == 0) {
                continue; /* the first layer has none */
            }
            char name[64];
            snprintf(name, sizeof(name), "blk.%d.%s", layer, parts[i].name);
            add(k, name, parts[i].row, parts[i].n_rows);
        }
    }
}

static void add_bert(const struct maker *k) {
    static const struct part parts[] = {
        {"attn_q.weight", N_EMBD, N_EMBD},       {"attn_q.bias", N_EMBD, 1},
        {"attn_k.weight", N_EMBD, N_EMBD},       {"attn_k.bias", N_EMBD, 1},
        {"attn_v.weight", N_EMBD, N_EMBD},       {"attn_v.bias", N_EMBD, 1},
        {"attn_output.weight", N_EMBD, N_EMBD},  {"attn_output.bias", N_EMBD, 1},
        {"attn_output_norm.weight", N_EMBD, 1},  {"attn_output_norm.bias", N_EMBD, 1},
        {"ffn_up.weight", N_EMBD, N_FF},         {"ffn_up.bias", N_FF, 1},
        {"ffn_down.weight", N_FF, N_EMBD},       {"ffn_down.bias", N_EMBD, 1},
        {"layer_output_norm.weight", N_EMBD, 1}, {"layer_output_norm.bias", N_EMBD, 1},
    };
    add(k, "token_types.weight", N_EMBD, k->m->n_token_types);
    add(k, "position_embd.weight", N_EMBD, GGUF_ENCODER_CONTEXT);
    add(k, "token_embd_norm.weight", N_EMBD, 1);
    add(k, "token_embd_norm.bias", N_EMBD, 1);
    add_layers(k, parts, sizeof(parts) / sizeof(parts[0]), false);
    if (k->m->n_outputs > 0 && !k->m->no_dense) {
        add(k, "cls.weight", N_EMBD, N_EMBD);
        add(k, "cls.bias", N_EMBD, 1);
    }
}

static void add_modern_bert(const struct maker *k) {
    static const struct part parts[] = {
        {"attn_norm.weight", N_EMBD, 1},        {"attn_qkv.weight", N_EMBD, 3 * N_EMBD},
        {"attn_output.weight", N_EMBD, N_EMBD}, {"ffn_norm.weight", N_EMBD, 1},
        {"ffn_up.weight", N_EMBD, 2 * N_FF},    {"ffn_down.weight", N_FF, N_EMBD},
    };
    add(k, "token_embd_norm.weight", N_EMBD, 1);
    add(k, "output_norm.weight", N_EMBD, 1);
    add_layers(k, parts, sizeof(parts) / sizeof(parts[0]), true);
    if (k->m->n_outputs > 0 && !k->m->no_dense) {
        add(k, "cls.weight", N_EMBD, N_EMBD);
        add(k, "cls.norm.weight", N_EMBD, 1);
    }
}

void gguf_make_encoder_file(const char *path, const struct gguf_make_encoder *m) {
    struct maker k = {.m = m,
                      .g = gguf_init_empty(),
                      .ctx = ggml_init((struct ggml_init_params){.mem_size = MEMORY})};
    assert_non_null(k.g);
    assert_non_null(k.ctx);
    gguf_set_val_str(k.g, "general.architecture", m->arch);
    gguf_set_val_str(k.g, "general.name", "encoder made for a test");
    set_shape(&k);
    set_tokenizer(&k);
    add(&k, "token_embd.weight", N_EMBD, N_TOKENS);
    if (strcmp(m->arch, "modern-bert") == 0) {
        add_modern_bert(&k);
    } else {
        add_bert(&k);
    }
    if (m->n_outputs > 0) {
        add(&k, "cls.output.weight", N_EMBD, (int64_t)m->n_outputs);
        add(&k, "cls.output.bias", (int64_t)m->n_outputs, 1);
    }
    assert_true(gguf_write_to_file(k.g, path, false));
    gguf_free(k.g);
    ggml_free(k.ctx);
}
