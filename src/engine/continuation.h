/*
 * How likely a model finds texts that may follow a prompt: the sum of the log-probabilities of their
 * tokens. For choosing among answers without generating one. Errors, threads: as engine.h.
 */
#ifndef ENGINE_CONTINUATION_H
#define ENGINE_CONTINUATION_H

#include "engine/engine.h"

struct continuation {
    const int32_t *tokens;
    size_t n;       /* at least 1 */
    double log_p;   /* natural; set by continuation_score */
    bool is_greedy; /* every token is the likeliest one: greedy decoding would give this text */
};

/*
 * Scores n continuations of one prompt of at least one token; the prompt is computed once. The engine
 * must have been opened with n_outputs of at least its n_batch, and is used in sequence 0. EE_USAGE
 * where prompt and continuation do not fit its context; EE_FAIL where the model gives no numbers.
 */
int continuation_score(struct engine *g, const int32_t *prompt, size_t n_prompt,
                       struct continuation *c, size_t n, struct err *e) EE_MUST_CHECK;

#endif
