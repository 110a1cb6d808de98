/* The chat template in a model file, and the tokens of conversations by it. */
#include "base/buf.h"
#include "engine/llama_internal.h"

#include <string.h>

/* The conversation as the model's template writes it, appended to out; prompts_answer: up to where
 * the next answer begins. */
static int apply_template(const struct engine *g, const struct engine_message *messages, size_t n,
                          bool prompts_answer, struct arena *a, struct buf *out, struct err *e) {
    if (!g->chat_template) {
        return err_set(
            e, EE_UNSUPPORTED,
            "the model file has no chat template: use an instruction-tuned model, or add "
            "tokenizer.chat_template to it");
    }
    struct llama_chat_message *chat = arena_array(a, n, sizeof(*chat));
    if (!chat) {
        return err_set(e, EE_NOMEM, "chat template: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        chat[i] = (struct llama_chat_message){messages[i].role, messages[i].content};
    }
    int32_t need = llama_chat_apply_template(g->chat_template, chat, n, prompts_answer, NULL, 0);
    if (need < 0) {
        return err_set(
            e, EE_UNSUPPORTED,
            "the model's chat template is not one that the engine knows; another template "
            "would change the answers, so the model is refused");
    }
    if (!buf_reserve(out, (size_t)need)) {
        return buf_check(out, "chat template", e);
    }
    llama_chat_apply_template(g->chat_template, chat, n, prompts_answer, out->data, need);
    out->len = (size_t)need;
    out->data[need] = '\0';
    return 0;
}

int engine_tokenize_chat(struct engine *g, const struct engine_message *messages, size_t n_messages,
                         struct arena *a, int32_t **tokens, size_t *n_tokens, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = apply_template(g, messages, n_messages, true, a, &text, e);
    if (rc) {
        goto out;
    }
    int32_t n = 0;
    rc = llama_tokens_of(g->vocab, text.data, text.len, true, true, a, tokens, &n, e);
    if (rc) {
        goto out;
    }
    if (n == 0) {
        rc = err_set(e, EE_FORMAT, "the prompt has no tokens");
        goto out;
    }
    llama_token bos = llama_vocab_bos(g->vocab);
    if (n > 1 && (*tokens)[0] == bos && (*tokens)[1] == bos) {
        /* Both the template and the tokenizer put one there; the model was trained with one. */
        (*tokens)++;
        n--;
    }
    *n_tokens = (size_t)n;
out:
    buf_release(&text);
    return rc;
}

/* What follows the prompt where the template writes the answer too; the plain answer where the template
 * does not begin with the prompt then. */
static int text_after_prompt(const struct engine *g, const struct engine_message *messages,
                             size_t n, const char *answer, struct arena *a, struct buf *out,
                             struct err *e) {
    struct buf prompt;
    struct buf whole;
    buf_init(&prompt);
    buf_init(&whole);
    struct engine_message *all = arena_array(a, n + 1, sizeof(*all));
    int rc = all ? 0 : err_set(e, EE_NOMEM, "chat template: out of memory");
    if (!rc) {
        memcpy(all, messages, n * sizeof(*all));
        all[n] = (struct engine_message){"assistant", answer};
        rc = apply_template(g, messages, n, true, a, &prompt, e);
    }
    rc = rc ? rc : apply_template(g, all, n + 1, false, a, &whole, e);
    if (!rc) {
        bool extends = whole.len > prompt.len && memcmp(whole.data, prompt.data, prompt.len) == 0;
        buf_addstr(out, extends ? whole.data + prompt.len : answer);
        rc = buf_check(out, "chat template", e);
    }
    buf_release(&prompt);
    buf_release(&whole);
    return rc;
}

/* Tokens of text, with room for one more behind them. */
static int tokenize_answer(const struct engine *g, const struct buf *text, struct arena *a,
                           int32_t **tokens, size_t *n, struct err *e) {
    int32_t len = (int32_t)text->len;
    int32_t need = -llama_tokenize(g->vocab, text->data, len, NULL, 0, false, true);
    *tokens = arena_array(a, (size_t)(need > 0 ? need : 0) + 1, sizeof(**tokens));
    if (!*tokens) {
        return err_set(e, EE_NOMEM, "tokenizing: out of memory");
    }
    *n = need > 0 ? (size_t)llama_tokenize(g->vocab, text->data, len, *tokens, need, false, true)
                  : 0;
    return *n > 0 ? 0 : err_set(e, EE_FORMAT, "the answer has no tokens");
}

/* Cuts behind the first token that ends generation; adds one where there is none. */
static void end_answer(const struct engine *g, int32_t *tokens, size_t *n) {
    for (size_t i = 0; i < *n; i++) {
        if (llama_vocab_is_eog(g->vocab, tokens[i])) {
            *n = i + 1;
            return;
        }
    }
    llama_token end = llama_vocab_eot(g->vocab);
    end = end == LLAMA_TOKEN_NULL ? llama_vocab_eos(g->vocab) : end;
    if (end != LLAMA_TOKEN_NULL) {
        tokens[(*n)++] = end;
    }
}

int engine_tokenize_answer(struct engine *g, const struct engine_message *messages,
                           size_t n_messages, const char *answer, struct arena *a, int32_t **tokens,
                           size_t *n_tokens, size_t *n_prompt, struct err *e) {
    struct buf text;
    int32_t *prompt = NULL;
    int32_t *rest = NULL;
    size_t n_rest = 0;
    buf_init(&text);
    int rc = engine_tokenize_chat(g, messages, n_messages, a, &prompt, n_prompt, e);
    rc = rc ? rc : text_after_prompt(g, messages, n_messages, answer, a, &text, e);
    rc = rc ? rc : tokenize_answer(g, &text, a, &rest, &n_rest, e);
    buf_release(&text);
    if (rc) {
        return rc;
    }
    end_answer(g, rest, &n_rest);
    *n_tokens = *n_prompt + n_rest;
    *tokens = arena_array(a, *n_tokens, sizeof(**tokens));
    if (!*tokens) {
        return err_set(e, EE_NOMEM, "tokenizing: out of memory");
    }
    memcpy(*tokens, prompt, *n_prompt * sizeof(**tokens));
    memcpy(*tokens + *n_prompt, rest, n_rest * sizeof(**tokens));
    return 0;
}

int engine_tokenize_prompt(struct engine *g, const char *text, size_t len, struct arena *a,
                           int32_t **tokens, size_t *n_tokens, struct err *e) {
    int32_t n = 0;
    int rc = llama_tokens_of(g->vocab, text, len, true, true, a, tokens, &n, e);
    *n_tokens = (size_t)n;
    return rc;
}
