/*
 * Small GGUF files for tests: a llama-shaped (or, with arch, qwen2-shaped) model with as many layers and tokens as asked for,
 * whole enough to be inspected and quantized, or with parts left out.
 */
#ifndef TESTS_SUPPORT_GGUF_MAKE_H
#define TESTS_SUPPORT_GGUF_MAKE_H

#include <ggml.h>
#include <stdbool.h>
#include <stddef.h>

struct gguf_make {
    const char *arch;    /* NULL: the key is left out */
    enum ggml_type type; /* of the matrices; vectors are F32 */
    int n_layers;
    int n_embd; /* a row; heads of 32 */
    int n_ff;   /* a row of ffn_down */
    bool no_tokenizer;
    bool no_weights;
    bool per_layer_heads; /* head_count_kv as an array, one value a layer: 1, 2, ... */
    bool encoder;         /* ARCH.attention.causal is false */
    const char *template; /* NULL: the key is left out */
    int n_head_kv;        /* 0: as many as heads */
    bool biases;          /* of Q, K and V, as qwen2 has them */
    bool untied;          /* output.weight is there */
    bool rope_freqs;      /* llama 3's frequency factors: 1, 1.25, 1.5, ... */
    float spread;         /* of the weights, around 0; 0: 1 */
    const char *token_4;  /* instead of <|im_end|>; NULL: as it is */
    bool no_begin_token;  /* the tokenizer puts none before a text */
};

/* A template that the engine knows. */
extern const char gguf_make_chatml[];
/* Two layers of 64, F16, with a tokenizer and gguf_make_chatml. */
extern const struct gguf_make gguf_make_default;

/* Weights are seeded random numbers, so that equal parameters make equal files. The test fails when path
 * cannot be written. */
void gguf_make_file(const char *path, const struct gguf_make *m);

/* A tensor of a file being made, with the random numbers that belong to its name, spread wide. */
struct gguf_context;
void gguf_make_tensor(struct gguf_context *g, struct ggml_context *ctx, const char *name,
                      enum ggml_type type, int64_t row, int64_t n_rows, float spread);

/*
 * Encoders of two layers of 64 with heads of 32, in F32, on a byte-level vocabulary of 261 tokens:
 * 0 <s>, 1 <pad>, 2 </s>, 3 <unk>, then the 256 bytes in the order of GPT-2's alphabet, and "th".
 */
struct gguf_make_encoder {
    const char *arch;          /* "bert" or "modern-bert" */
    const char *tokenizer;     /* "gpt2", or "bert" for a plain BERT's */
    const char *const *labels; /* NULL: the key is left out */
    size_t n_labels;
    size_t n_outputs; /* of the classification head; 0: no head */
    int n_token_types;
    int pooling;   /* llama.cpp's number of a pooling type; -1: the key is left out */
    bool no_dense; /* the head has its last layer alone */
};
/* Of a RoBERTa classifier: contradiction, entailment, neutral. */
extern const struct gguf_make_encoder gguf_make_roberta;

enum { GGUF_ENCODER_CONTEXT = 96, GGUF_ENCODER_EMBD = 64, GGUF_ENCODER_FF = 96 };

void gguf_make_encoder_file(const char *path, const struct gguf_make_encoder *m);

#endif
