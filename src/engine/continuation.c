#include "engine/continuation.h"

#include "engine/llama_internal.h"
#include "stats/softmax.h"

#include <math.h>
#include <stdlib.h>

/* Takes in what the row of logits before a token says of it. */
static int take_token(struct engine *g, const float *row, int32_t token, struct continuation *c,
                      struct err *e) {
    const size_t n_vocab = engine_n_vocab(g);
    const double log_p = stats_log_softmax(row, n_vocab, (size_t)token);
    if (isnan(log_p)) {
        return err_set(e, EE_FAIL, "the model's output is not a number (NaN)");
    }
    for (size_t i = 0; i < n_vocab && c->is_greedy; i++) {
        c->is_greedy = row[i] <= row[token];
    }
    c->log_p += log_p;
    return 0;
}

/* A step's worth of tokens of sequence 0, and where they stand. */
struct piece {
    const int32_t *tokens;
    size_t n;
    size_t pos;
};

static int compute(struct engine *g, const struct piece *p, bool all_rows,
                   struct engine_token *scratch, const float **rows, struct err *e) {
    for (size_t i = 0; i < p->n; i++) {
        scratch[i] = (struct engine_token){
            .id = p->tokens[i], .pos = (int32_t)(p->pos + i), .output = all_rows || i + 1 == p->n};
    }
    return engine_compute(g, scratch, p->n, rows, e);
}

static size_t step_of(const struct engine *g, size_t left) {
    return left < (size_t)g->n_batch ? left : (size_t)g->n_batch;
}

static int score_prompt(struct engine *g, const int32_t *prompt, size_t n_prompt,
                        struct continuation *c, size_t n, struct engine_token *scratch,
                        struct err *e) {
    const float *row = NULL;
    int rc = 0;
    engine_forget(g, 0, 0);
    for (size_t at = 0, step; at < n_prompt && !rc; at += step) {
        step = step_of(g, n_prompt - at);
        rc = compute(g, &(struct piece){prompt + at, step, at}, false, scratch, &row, e);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        c[i].log_p = 0;
        c[i].is_greedy = true;
        rc = take_token(g, row, c[i].tokens[0], &c[i], e);
    }
    return rc;
}

/* The tokens after the first. */
static int score_rest(struct engine *g, size_t n_prompt, struct continuation *c,
                      struct engine_token *scratch, struct err *e) {
    int rc = 0;
    engine_forget(g, 0, (int32_t)n_prompt);
    for (size_t at = 0, step; at + 1 < c->n && !rc; at += step) {
        const float *rows = NULL;
        step = step_of(g, c->n - 1 - at);
        rc = compute(g, &(struct piece){c->tokens + at, step, n_prompt + at}, true, scratch, &rows,
                     e);
        for (size_t i = 0; i < step && !rc; i++) {
            rc = take_token(g, rows + i * engine_n_vocab(g), c->tokens[at + i + 1], c, e);
        }
    }
    return rc;
}

int continuation_score(struct engine *g, const int32_t *prompt, size_t n_prompt,
                       struct continuation *c, size_t n, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        if (n_prompt == 0 || c[i].n == 0) {
            return err_set(e, EE_USAGE, "a prompt or a continuation has no tokens");
        }
        if (n_prompt + c[i].n > (size_t)g->info.n_ctx_seq) {
            return err_set(e, EE_USAGE,
                           "a prompt of %zu and a continuation of %zu tokens do not fit the "
                           "context of %d",
                           n_prompt, c[i].n, g->info.n_ctx_seq);
        }
    }
    struct engine_token *scratch = calloc((size_t)g->n_batch, sizeof(*scratch));
    if (!scratch) {
        return err_set(e, EE_NOMEM, "scoring continuations: out of memory");
    }
    int rc = score_prompt(g, prompt, n_prompt, c, n, scratch, e);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = score_rest(g, n_prompt, &c[i], scratch, e);
    }
    free(scratch);
    return rc;
}
