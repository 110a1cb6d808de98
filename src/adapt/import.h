/*
 * Checkpoints and adapters of the Hugging Face ecosystem (llama and qwen2 families) made GGUF files
 * as llama.cpp's own converters make them, without Python.
 *
 * Source of the mappings: convert_hf_to_gguf.py and convert_lora_to_gguf.py of llama.cpp v0.5.0,
 * against which the results are tested.
 */
#ifndef ADAPT_IMPORT_H
#define ADAPT_IMPORT_H

#include "base/err.h"

#include <signal.h>
#include <stdint.h>

/* Types a model's matrices can be imported as, NULL-terminated. Vectors are F32. */
extern const char *const import_type_names[];

struct import_opts {
    const char *type; /* one of import_type_names; NULL: as the checkpoint has them, F16 for F32 */
    void (*progress)(void *ctx, int64_t done_bytes, int64_t all_bytes); /* or NULL */
    void *ctx;
    const volatile sig_atomic_t *stop; /* or NULL */
};

/* Writes the checkpoint directory dir to out_path, atomically. */
int import_model(const char *dir, const char *out_path, const struct import_opts *opts,
                 struct err *e) EE_MUST_CHECK;

/* Writes PEFT's LoRA adapter in dir to out_path in F32, atomically; model_path is the GGUF file that
 * it adapts, whose architecture and shapes it must have. */
int import_adapter(const char *dir, const char *model_path, const char *out_path,
                   const struct import_opts *opts, struct err *e) EE_MUST_CHECK;

#endif
