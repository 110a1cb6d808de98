/* Single steps and their logits, plain text as tokens and back, and whether two vocabularies are one. */
#include "base/buf.h"
#include "base/utf8.h"
#include "engine/llama_internal.h"

#include <stdlib.h>
#include <string.h>

int engine_compute(struct engine *g, const struct engine_token *tokens, size_t n,
                   const float **logits, struct err *e) {
    if (n == 0 || n > (size_t)g->n_batch) {
        return err_set(e, EE_USAGE, "a step of %zu tokens does not fit the engine's %d", n,
                       g->n_batch);
    }
    llama_samplers_detach(g); /* with them the logits stay on the device */
    struct llama_batch batch = llama_batch_init((int32_t)n, 0, 1);
    for (size_t i = 0; i < n; i++) {
        batch.token[i] = tokens[i].id;
        batch.pos[i] = tokens[i].pos;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = tokens[i].seq;
        batch.logits[i] = tokens[i].output;
    }
    batch.n_tokens = (int32_t)n;
    int rc = llama_decode(g->ctx, batch) == 0
                 ? 0
                 : llama_fail(e, EE_FAIL, "the engine could not compute a step");
    llama_batch_free(batch);
    if (!rc) {
        *logits = llama_get_logits(g->ctx); /* waits for the device */
    }
    return rc;
}

void engine_forget(struct engine *g, int32_t seq, int32_t pos) {
    llama_memory_seq_rm(llama_get_memory(g->ctx), seq, pos, -1);
}

size_t engine_n_vocab(const struct engine *g) {
    return (size_t)g->n_vocab;
}

int llama_tokens_of(const struct llama_vocab *vocab, const char *text, size_t len, bool special,
                    bool parse, struct arena *a, int32_t **tokens, int32_t *n, struct err *e) {
    *n = 0;
    if (len > INT32_MAX) {
        return err_set(e, EE_UNSUPPORTED, "tokenizing: %zu bytes are more than the engine takes",
                       len);
    }
    int32_t need = -llama_tokenize(vocab, text, (int32_t)len, NULL, 0, special, parse);
    need = need > 0 ? need : 0;
    *tokens = arena_array(a, (size_t)need, sizeof(**tokens));
    if (!*tokens) {
        return err_set(e, EE_NOMEM, "tokenizing: out of memory");
    }
    *n = need ? llama_tokenize(vocab, text, (int32_t)len, *tokens, need, special, parse) : 0;
    return 0;
}

int engine_tokenize_text(struct engine *g, const char *text, size_t len, bool with_special,
                         struct arena *a, int32_t **tokens, size_t *n_tokens, struct err *e) {
    int32_t n = 0;
    int rc = llama_tokens_of(g->vocab, text, len, with_special, false, a, tokens, &n, e);
    *n_tokens = (size_t)n;
    return rc;
}

static void add_piece(const struct llama_vocab *vocab, llama_token token, struct buf *out) {
    int32_t room = 64;
    for (int tries = 0; tries < 2 && buf_reserve(out, (size_t)room); tries++) {
        int32_t n = llama_token_to_piece(vocab, token, out->data + out->len, room, 0, false);
        if (n >= 0) {
            out->len += (size_t)n;
            out->data[out->len] = '\0';
            return;
        }
        room = -n;
    }
}

void engine_token_bytes(const struct engine *g, int32_t token, struct buf *out) {
    add_piece(g->vocab, token, out);
}

int engine_answer_text(const struct engine *g, const struct engine_result *result, struct buf *out,
                       struct err *e) {
    struct buf raw;
    buf_init(&raw);
    for (size_t i = 0; i < result->n_tokens; i++) {
        add_piece(g->vocab, result->tokens[i], &raw);
    }
    utf8_add_repaired(out, raw.data, raw.len);
    int rc = buf_check(&raw, "answer", e);
    buf_release(&raw);
    return rc ? rc : buf_check(out, "answer", e);
}

int32_t engine_begin_token(const struct engine *g) {
    return llama_vocab_get_add_bos(g->vocab) ? llama_vocab_bos(g->vocab) : -1;
}

int32_t engine_end_token(const struct engine *g) {
    return llama_vocab_get_add_eos(g->vocab) ? llama_vocab_eos(g->vocab) : -1;
}

int engine_check_same_vocabulary(const struct engine *a, const struct engine *b, struct err *e) {
    if (a->n_vocab != b->n_vocab) {
        return err_set(e, EE_UNSUPPORTED, "their vocabularies differ: %d and %d tokens", a->n_vocab,
                       b->n_vocab);
    }
    for (llama_token t = 0; t < a->n_vocab; t++) {
        const char *x = llama_vocab_get_text(a->vocab, t);
        const char *y = llama_vocab_get_text(b->vocab, t);
        if (strcmp(x, y) != 0) {
            return err_set(e, EE_UNSUPPORTED,
                           "their vocabularies differ: token %d is \"%.40s\" in one and \"%.40s\" "
                           "in the other",
                           t, x, y);
        }
    }
    if (engine_begin_token(a) != engine_begin_token(b) ||
        engine_end_token(a) != engine_end_token(b)) {
        return err_set(e, EE_UNSUPPORTED,
                       "their vocabularies differ: they begin or end a text with other tokens");
    }
    return 0;
}
