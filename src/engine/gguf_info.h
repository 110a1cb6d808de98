/*
 * What a GGUF file holds, read from its header alone (a few megabytes, no weights).
 */
#ifndef ENGINE_GGUF_INFO_H
#define ENGINE_GGUF_INFO_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The key by which a file with random weights says so. */
#define GGUF_KEY_SYNTHETIC "edge_eval.synthetic"

struct gguf_info {
    char arch[64];
    char name[128];     /* general.name, may be empty */
    char file_type[16]; /* most used weight type among matrices: "F16", "Q4_1" */
    int64_t n_params;
    int64_t tensor_bytes;
    int64_t
        host_bytes; /* of them: what the engine keeps on the host for looking up tokens, even where
                           an accelerator holds the rest; 0 where it is the output's matrix as well */
    int64_t file_bytes;
    int64_t n_layers;
    int64_t n_embd;
    int64_t n_head;
    int64_t n_head_kv; /* largest over the layers */
    int64_t head_dim_k;
    int64_t head_dim_v;
    int64_t n_ctx_train;
    bool has_tokenizer;
    bool has_chat_template;
    bool is_causal;         /* false for encoders, which see what comes after a token */
    bool rows_fit_k_quants; /* every matrix row is a multiple of 256 */
    bool is_adapter;        /* what is added to a model, and none by itself */
    bool is_synthetic;      /* random weights in a real shape: its answers mean nothing */
};

/*
 * Reads and checks the header. A file that is shorter than its header promises, is no GGUF or is
 * a version this build cannot read is EE_FORMAT. types, when not NULL, receives a new object
 * {"Q4_0": 210, ...}: tensors by type.
 */
int gguf_info_read(const char *path, struct gguf_info *info, json_t **types,
                   struct err *e) EE_MUST_CHECK;
/* The same of a file that is to be a model: EE_UNSUPPORTED for an adapter. */
int gguf_info_read_model(const char *path, struct gguf_info *info, struct err *e) EE_MUST_CHECK;

/* EE_UNSUPPORTED for a file, read well, that cannot answer a prompt: no tokenizer, no weights, or an
 * encoder. path is for the message. */
int gguf_info_check_answers(const struct gguf_info *info, const char *path,
                            struct err *e) EE_MUST_CHECK;

/* Tokens that the model was trained to read at once, at most so many; so many if it does not say. */
size_t gguf_info_context(const struct gguf_info *info, size_t most);
/* KV cache bytes of one token of one sequence at 16 bits, all layers. */
int64_t gguf_info_kv_token_bytes(const struct gguf_info *info);

#endif
