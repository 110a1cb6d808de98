/*
 * Encoders: models that read a text whole and answer with numbers. A classifier reads a pair of
 * texts (premise and hypothesis) and gives a logit a label; an embedding model reads one and gives a
 * vector.
 *
 * As engines, encoders run in worker processes only, and a struct encoder belongs to one thread.
 */
#ifndef ENGINE_ENCODER_H
#define ENGINE_ENCODER_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum encoder_use { ENCODER_CLASSIFY, ENCODER_EMBED };

struct encoder_opts {
    const char *model_path;
    enum encoder_use use;
    int n_threads;    /* 0: one a hardware thread this process may use */
    int n_gpu_layers; /* as engine_opts */
    int max_tokens;   /* of a text or pair; 0: 512, or what the model was trained on if less */
    bool mean_pooled; /* the user's word that a ModernBERT classifier was trained on the mean of
                         all tokens, which the engine takes and the file does not tell */
};

struct encoder;

/*
 * Opens a classifier, or an embedding model. Refuses (EE_UNSUPPORTED) what the engine would compute
 * wrongly: classifiers other than RoBERTa, XLM-R and ModernBERT ones (of plain BERT the engine drops
 * the pooler and the token types), those without labels, embedding models that name no pooling.
 */
int encoder_open(const struct encoder_opts *opts, struct encoder **out,
                 struct err *e) EE_MUST_CHECK;
void encoder_close(struct encoder *c);

/* Tokens that encoder_tokenize may give for a text, or for the two texts of a pair together. */
size_t encoder_room(const struct encoder *c);
int encoder_tokenize(struct encoder *c, const char *text, size_t len, struct arena *a,
                     int32_t **tokens, size_t *n_tokens, struct err *e) EE_MUST_CHECK;

size_t encoder_n_labels(const struct encoder *c);
const char *encoder_label(const struct encoder *c, size_t i);
/* *logits: encoder_n_labels floats, the encoder's until the next call. The two texts must fit
 * encoder_room together. */
int encoder_classify(struct encoder *c, const int32_t *premise, size_t n_premise,
                     const int32_t *hypothesis, size_t n_hypothesis, const float **logits,
                     struct err *e) EE_MUST_CHECK;

size_t encoder_n_embd(const struct encoder *c);
/* *vector: encoder_n_embd floats, the encoder's until the next call; not normalized. */
int encoder_embed(struct encoder *c, const int32_t *tokens, size_t n, const float **vector,
                  struct err *e) EE_MUST_CHECK;

#endif
