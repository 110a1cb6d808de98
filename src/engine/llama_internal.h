/* What the files of the llama.cpp engine share. */
#ifndef ENGINE_LLAMA_INTERNAL_H
#define ENGINE_LLAMA_INTERNAL_H

#include "engine/engine.h"

#include <llama.h>

struct engine {
    struct llama_model *model;
    struct llama_context *ctx;
    const struct llama_vocab *vocab;
    const char *chat_template; /* borrowed from the model */
    struct engine_info info;
    int n_seq_max;
    int n_batch;
    int n_vocab;
    uint64_t device_free_before; /* on accelerators, before this engine was opened */
};

/*
 * Starts ggml's backends from the directory libllama lies in, once a process, and keeps the
 * engine's last error lines for llama_take_error.
 */
int llama_start_backends(struct err *e) EE_MUST_CHECK;
/* The model at o->model_path, on the devices that o asks for; NULL, with the reason for llama_fail. */
struct llama_model *llama_load_weights(const struct engine_opts *o);
/* llama_tokenize into the arena. special: add what belongs around a document; parse: names of control
 * tokens in the text are those tokens. */
int llama_tokens_of(const struct llama_vocab *vocab, const char *text, size_t len, bool special,
                    bool parse, struct arena *a, int32_t **tokens, int32_t *n,
                    struct err *e) EE_MUST_CHECK;
/* Fails with "what: " and the engine's last error lines, which are then forgotten. */
int llama_fail(struct err *e, int code, const char *what);

#endif
