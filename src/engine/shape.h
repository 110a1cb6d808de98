/*
 * Shapes of known models: what decides how long a step takes and how many bytes it moves, without
 * the weights themselves. Read from data/shapes.yaml, or from a file of the user's in the same form.
 */
#ifndef ENGINE_SHAPE_H
#define ENGINE_SHAPE_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct known_shape {
    const char *id;
    const char *family;       /* label: "Llama-3.2" */
    const char *size;         /* label: "1B" */
    const char *architecture; /* llama, qwen2 */
    const char *tokenizer;    /* vocabulary file without its ending: "llama-bpe" */
    const char *chat;         /* key of chat_templates */
    const char *template;     /* the chat template itself */
    int64_t n_layers;
    int64_t n_embd;
    int64_t n_ff;
    int64_t n_head;
    int64_t n_head_kv;
    int64_t head_dim;
    int64_t n_vocab;
    int64_t n_ctx;
    bool tied; /* no output matrix: the token embedding serves twice */
    double rms_eps;
    double rope_base;
    double rope_factor; /* Llama 3's long-context scaling; 0 without */
    int64_t params;     /* as published, 0 when the file does not say */
};

/* Everything lies in a. Errors name file:line:column. */
int shapes_load(const char *path, struct arena *a, struct known_shape **out, size_t *n,
                struct err *e) EE_MUST_CHECK;
/* NULL when there is none of that id. */
const struct known_shape *shapes_find(const struct known_shape *shapes, size_t n, const char *id);
/* Weights by arithmetic: matrices, norms and biases. */
int64_t shape_params(const struct known_shape *s);

#endif
