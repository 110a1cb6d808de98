/*
 * The vocabulary of a Hugging Face checkpoint (tokenizer.json, tokenizer_config.json, chat
 * template) as the keys that llama.cpp reads. Byte-level BPE alone, with the pre-tokenizers whose
 * twin in llama.cpp is known; any other is refused, since it would cut texts differently.
 */
#ifndef ADAPT_HF_VOCAB_H
#define ADAPT_HF_VOCAB_H

#include "adapt/hf_config.h"

#include <gguf.h>

/* Sets tokenizer.* in g. */
int hf_vocab_write(const char *dir, const struct hf_config *c, struct gguf_context *g,
                   struct err *e) EE_MUST_CHECK;

#endif
