/* What the files of the llama.cpp engine share. */
#ifndef ENGINE_LLAMA_INTERNAL_H
#define ENGINE_LLAMA_INTERNAL_H

#include "engine/engine.h"

#include <llama.h>

/* What the greedy samplers of one context share while a graph is built. */
struct greedy_picks {
    struct ggml_tensor
        *of_all; /* the token of each row; NULL until one sampler asked for its own */
};

struct engine {
    struct llama_model *model;
    struct llama_context *ctx;
    struct llama_sampler **samplers; /* attached to ctx, one a sequence; NULL: none is */
    struct engine_sampling sampling; /* what they do */
    struct greedy_picks picks;
    const struct llama_vocab *vocab;
    const char *chat_template; /* borrowed from the model */
    struct engine_info info;
    int n_seq_max;
    int n_batch;
    int n_vocab;
    bool kv_unified;
    bool has_states; /* recurrent, wholly or in part: more than a cache belongs to a sequence */
    uint64_t device_free_before; /* on accelerators, before this engine was opened */
};

/* Keeps the engine's error lines for llama_fail, which else it prints. */
void llama_catch_log(void);
/* What failed is told without the engine's lines. */
void llama_forget_errors(void);
/* Starts ggml's backends from the directory libllama lies in, once a process, and catches its log. */
int llama_start_backends(struct err *e) EE_MUST_CHECK;
/* The model at o->model_path, on the devices that o asks for; NULL, with the reason for llama_fail. */
struct llama_model *llama_load_weights(const struct engine_opts *o);
/* llama_tokenize into the arena. special: add what belongs around a document; parse: names of control
 * tokens in the text are those tokens. */
int llama_tokens_of(const struct llama_vocab *vocab, const char *text, size_t len, bool special,
                    bool parse, struct arena *a, int32_t **tokens, int32_t *n,
                    struct err *e) EE_MUST_CHECK;
/* The likeliest token of any text: nothing that an answer leaves behind in a sampler. */
bool llama_is_greedy(const struct engine_sampling *s);
/* A sampler for one request; not llama_is_greedy. */
int llama_make_sampler(const struct llama_vocab *vocab, const struct engine_sampling *s,
                       uint32_t seed, struct llama_sampler **out, struct err *e) EE_MUST_CHECK;
/* Greedy samplers for a context that is to be created with them; free *configs after that. */
int llama_samplers_at_start(struct engine *g, struct llama_sampler_seq_config **configs,
                            struct err *e) EE_MUST_CHECK;
/* Makes the context pick tokens on the device, where the engine is to; forgets all sequences if that
 * takes other samplers than it has. */
int llama_samplers_attach(struct engine *g, const struct engine_sampling *s,
                          struct err *e) EE_MUST_CHECK;
/* The context gives logits again. The samplers are freed. */
void llama_samplers_detach(struct engine *g);
/* Fails with "what: " and the engine's last error lines, which are then forgotten. */
int llama_fail(struct err *e, int code, const char *what);

#endif
