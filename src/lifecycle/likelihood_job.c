/*
 * The worker that asks the variant's own model how likely it finds texts: the choices of a
 * multiple-choice item, or the reference of any other. What it says depends on the item and not on an
 * answer, so every pass has the same value.
 */
#include "base/buf.h"
#include "base/json.h"
#include "engine/continuation.h"
#include "engine/gguf_info.h"
#include "lifecycle/prompts.h"
#include "lifecycle/score_job.h"
#include "quality/choice.h"
#include "quality/prompt.h"
#include "quality/text.h"

#include <math.h>
#include <string.h>

enum { BATCH = 128, MAX_CONTEXT = 8192 };

/* What is known of an item. */
struct known {
    bool is_done;
    bool fits;
    struct choice_value choice;
    double mean_log_p; /* of the reference's tokens */
};

struct asking {
    struct score_job job;
    struct engine *engine;
    size_t context;
    struct arena arena;
    struct known *items; /* by ordinal */
    double sum_log_p;    /* of all references' tokens */
    size_t n_tokens;
};

static int open_engine(struct asking *s, const json_t *args, struct err *e) {
    const char *path = NULL;
    struct gguf_info info;
    int rc = json_want_str(args, "model", &path, e);
    rc = rc ? rc : gguf_info_read_model(path, &info, e);
    if (rc) {
        return rc;
    }
    s->context = gguf_info_context(&info, MAX_CONTEXT);
    return score_job_engine(args, path, s->context, BATCH, &s->engine, e);
}

static int tokenize(struct asking *s, const char *text, size_t len, struct arena *a,
                    int32_t **tokens, size_t *n, struct err *e) {
    int rc = engine_tokenize_text(s->engine, text, len, true, a, tokens, n, e);
    *n -= !rc && *n > 0 && (*tokens)[*n - 1] == engine_end_token(s->engine); /* more is to come */
    return rc;
}

/* ---- multiple choice ---- */

/*
 * As the harness cuts them: the query without the white space at its end is the prompt; a choice is
 * what the tokens of query, space and choice together have behind as many tokens as the query has.
 */
static int tokenize_choice(struct asking *s, const struct task_item *item, size_t i, size_t n_query,
                           struct arena *a, struct continuation *c, struct err *e) {
    struct buf text;
    int32_t *tokens = NULL;
    size_t n = 0;
    buf_init(&text);
    buf_addf(&text, "%s %s", item->question, item->choices[i]);
    int rc = buf_check(&text, "a choice", e);
    rc = rc ? rc : tokenize(s, text.data, text.len, a, &tokens, &n, e);
    if (!rc && n <= n_query) {
        rc = err_set(e, EE_FORMAT, "choice %zu adds no token to its query", i + 1);
    }
    if (!rc) {
        *c = (struct continuation){.tokens = tokens + n_query, .n = n - n_query};
    }
    buf_release(&text);
    return rc;
}

/* Length of the query without white space at its end. */
static size_t query_length(const char *query) {
    size_t len = strlen(query);
    const char *begin = text_trim(query, &len);
    return (size_t)(begin - query) + len;
}

static int weigh_choices(struct asking *s, const struct task_item *item, struct known *k,
                         struct err *e) {
    struct arena a = ARENA_INIT;
    size_t n_query = 0;
    int32_t *query = NULL;
    struct continuation *c = arena_array(&a, item->n_choices, sizeof(*c));
    double *log_p = arena_array(&a, item->n_choices, sizeof(*log_p));
    int rc = c && log_p ? 0 : err_set(e, EE_NOMEM, "choices: out of memory");
    rc = rc ? rc
            : tokenize(s, item->question, query_length(item->question), &a, &query, &n_query, e);
    k->fits = true;
    for (size_t i = 0; i < item->n_choices && !rc; i++) {
        rc = tokenize_choice(s, item, i, n_query, &a, &c[i], e);
        k->fits = k->fits && n_query + c[i].n <= s->context;
    }
    if (!rc && k->fits) {
        rc = continuation_score(s->engine, query, n_query, c, item->n_choices, e);
        for (size_t i = 0; i < item->n_choices; i++) {
            log_p[i] = c[i].log_p;
        }
        k->choice = choice_decide(item, log_p);
    }
    arena_release(&a);
    return rc;
}

/* ---- references ---- */

/* The reference that the model finds likeliest, by the mean over its tokens. */
static int weigh_references(struct asking *s, const struct task_item *item, struct known *k,
                            struct err *e) {
    struct arena a = ARENA_INIT;
    struct engine_request q = {0};
    struct continuation best = {.log_p = -INFINITY, .n = 1};
    int rc = prompts_tokenize(s->engine, item, &a, &q, e);
    k->fits = true;
    for (size_t i = 0; i < item->n_golds && !rc && k->fits; i++) {
        const char *gold = item->unanswerable ? prompt_for(item->kind)->no_answer : item->golds[i];
        struct continuation c = {0};
        int32_t *tokens = NULL;
        rc = engine_tokenize_text(s->engine, gold, strlen(gold), false, &a, &tokens, &c.n, e);
        c.tokens = tokens;
        k->fits = !rc && q.n_prompt + c.n <= s->context;
        rc = k->fits ? continuation_score(s->engine, q.prompt, q.n_prompt, &c, 1, e) : rc;
        if (!rc && k->fits && c.log_p / (double)c.n > best.log_p / (double)best.n) {
            best = c;
        }
    }
    if (!rc && k->fits) {
        k->mean_log_p = best.log_p / (double)best.n;
        s->sum_log_p += best.log_p;
        s->n_tokens += best.n;
    }
    arena_release(&a);
    return rc;
}

/* ---- the answers ---- */

static int send_values(struct asking *s, size_t i, const struct known *k, struct err *e) {
    if (!k->fits) {
        score_job_fail(&s->job, "too_long");
        return 0;
    }
    if (s->job.set.kind != TASK_CHOICE) {
        return score_job_value(&s->job, i, "reference_logp", k->mean_log_p, e);
    }
    int rc = score_job_value(&s->job, i, "acc", k->choice.acc, e);
    return rc ? rc : score_job_value(&s->job, i, "acc_norm", k->choice.acc_norm, e);
}

static int score(void *ctx, size_t i, struct err *e) {
    struct asking *s = ctx;
    const struct task_item *item = NULL;
    const char *text = NULL;
    int rc = score_job_answer(&s->job, i, &item, &text, e);
    if (rc) {
        return rc;
    }
    struct known *k = &s->items[item - s->job.set.items];
    if (!k->is_done) {
        rc = item->kind == TASK_CHOICE ? weigh_choices(s, item, k, e)
                                       : weigh_references(s, item, k, e);
        k->is_done = true;
    }
    return rc ? err_prefix(e, "item %s", item->id) : send_values(s, i, k, e);
}

int likelihood_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct asking s = {.arena = ARENA_INIT};
    int rc = score_job_open(&s.job, w, args, e);
    if (rc) {
        return rc;
    }
    s.items = arena_array(&s.arena, s.job.set.n_items, sizeof(*s.items));
    rc = s.items ? open_engine(&s, args, e) : err_set(e, EE_NOMEM, "likelihoods: out of memory");
    rc = rc ? rc : score_job_each(&s.job, score, &s, e);
    if (!rc) {
        *result = json_pack("{s:O}", "failed", s.job.failed);
        if (s.n_tokens > 0) {
            json_object_set_new(*result, "reference_tokens", json_integer((json_int_t)s.n_tokens));
            json_object_set_new(*result, "reference_perplexity",
                                json_real(exp(-s.sum_log_p / (double)s.n_tokens)));
        }
    }
    engine_close(s.engine);
    arena_release(&s.arena);
    score_job_close(&s.job);
    return rc;
}
