/*
 * config.json of a Hugging Face checkpoint, for the families that can be imported.
 */
#ifndef ADAPT_HF_CONFIG_H
#define ADAPT_HF_CONFIG_H

#include "base/err.h"
#include "engine/rope.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum hf_rope { HF_ROPE_PLAIN, HF_ROPE_LLAMA3, HF_ROPE_LINEAR, HF_ROPE_YARN };

struct hf_config {
    json_t *doc;      /* config.json, owned */
    const char *arch; /* llama.cpp's name: "llama", "qwen2" */
    bool is_llama;
    int64_t n_layers;
    int64_t n_embd;
    int64_t n_ff;
    int64_t n_head;
    int64_t n_head_kv;
    int64_t head_dim;
    int64_t n_vocab;
    int64_t n_ctx;
    bool states_head_dim; /* in the file, not by division */
    bool tied;            /* the embedding serves as output matrix */
    double rms_eps;
    double rope_base;
    enum hf_rope rope;
    const json_t *scaling;     /* the file's scaling entry; NULL without */
    double rope_factor;        /* linear and yarn */
    int64_t rope_old_context;  /* yarn */
    struct rope_llama3 llama3; /* HF_ROPE_LLAMA3 */
};

/* Reads dir/config.json. What llama.cpp would compute otherwise than the checkpoint means it is
 * EE_UNSUPPORTED, by name. Release with hf_config_release, also after an error. */
int hf_config_read(const char *dir, struct hf_config *c, struct err *e) EE_MUST_CHECK;
void hf_config_release(struct hf_config *c);

#endif
