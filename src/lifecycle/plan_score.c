/* The score section of plans. */
#include "base/buf.h"
#include "lifecycle/plan.h"
#include "lifecycle/plan_read.h"

#include <stdio.h>
#include <string.h>

struct reader {
    const char *plan_dir;
    struct arena *arena;
    struct plan_score *score;
    struct plan *plan;
};

const char *plan_source_gap(const struct plan *p, enum scorer_source source) {
    static const char *const gaps[SCORER_SOURCES] = {
        [SCORED_BY_ENTAILMENT] =
            "no model judges entailment: name one in score.entailment.model, or "
            "let the comparison of texts stand in with score: {primary: text}",
        [SCORED_BY_LIKELIHOOD] =
            "a server answers, and servers are not asked for likelihoods: let its answers be read "
            "with score: {primary: text}",
        [SCORED_BY_SIMILARITY] =
            "no embedding model compares answers: name one in score.similarity",
        [SCORED_BY_JUDGE] = "no model judges answers: name one in score.judge, or let the "
                            "comparison of texts stand in with score: {primary: text}",
    };
    const bool there[SCORER_SOURCES] = {
        [SCORED_BY_TEXT] = true,
        [SCORED_BY_LIKELIHOOD] = !p->server.is_used,
        [SCORED_BY_ENTAILMENT] = p->score.entailment.model != NULL,
        [SCORED_BY_JUDGE] = p->score.judge.model != NULL,
        [SCORED_BY_SIMILARITY] = p->score.similarity.model != NULL,
    };
    return there[source] ? NULL : gaps[source];
}

static bool is_asked_for(const struct plan_score *p, const struct scorer *s) {
    for (size_t i = 0; i < p->n_also; i++) {
        if (p->also[i] == s) {
            return true;
        }
    }
    for (int k = 0; k < TASK_KINDS; k++) {
        if (p->primary[k] == s) {
            return true;
        }
    }
    return false;
}

bool plan_wants_scorer(const struct plan *p, const struct scorer *s) {
    return !plan_source_gap(p, s->source) && (!s->on_request || is_asked_for(&p->score, s));
}

/* ---- which scorers ---- */

typedef bool scorer_filter(const struct scorer *s, enum task_kind kind);

static bool is_on_request(const struct scorer *s, enum task_kind kind) {
    (void)kind;
    return s->on_request;
}

/* A mean that metrics divide by cannot be negative. */
static bool can_be_primary(const struct scorer *s, enum task_kind kind) {
    return s->labels[kind] && s->low >= 0;
}

static int unknown_scorer(struct ynode n, const char *what, scorer_filter *fits,
                          enum task_kind kind, const char *id, struct err *e) {
    struct buf known;
    buf_init(&known);
    for (size_t i = 0; i < scorer_count(); i++) {
        if (fits(scorer_at(i), kind)) {
            buf_addf(&known, "%s%s", known.len ? ", " : "", scorer_at(i)->id);
        }
    }
    int rc = ynode_fail(n, e, "\"%.40s\" is no %s; there are %s", id, what, known.data);
    buf_release(&known);
    return rc;
}

static int read_also(struct reader *r, struct ynode list, struct err *e) {
    struct plan_score *p = r->score;
    size_t n = yseq_len(list);
    if (ynode_present(list) && n == 0) {
        return ynode_fail(list, e, "also should be a list of scorers such as [rougeL-stem]");
    }
    p->also = arena_array(r->arena, n, sizeof(struct scorer *));
    if (!p->also) {
        return plan_no_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        const char *id = NULL;
        int rc = ynode_str(yseq_at(list, i), "a scorer", &id, e);
        if (rc) {
            return rc;
        }
        const struct scorer *s = scorer_find(id);
        if (!s || !s->on_request) {
            return unknown_scorer(yseq_at(list, i), "scorer on request", is_on_request, TASK_RAG,
                                  id, e);
        }
        if (is_asked_for(p, s)) {
            return ynode_fail(yseq_at(list, i), e, "\"%s\" is listed twice in also", id);
        }
        p->also[p->n_also++] = s;
    }
    return 0;
}

static int read_primary_of(struct reader *r, enum task_kind kind, struct ynode n, struct err *e) {
    const char *id = NULL;
    int rc = ynode_str(n, "a scorer", &id, e);
    if (rc || !id) {
        return rc;
    }
    const struct scorer *s = scorer_find(id);
    if (!s || !can_be_primary(s, kind)) {
        char what[64];
        snprintf(what, sizeof(what), "primary scorer of %s", task_kind_name(kind));
        return unknown_scorer(n, what, can_be_primary, kind, id, e);
    }
    const char *gap = plan_source_gap(r->plan, s->source);
    if (gap) {
        return ynode_fail(n, e, "%s cannot be the primary score: %s", id, gap);
    }
    r->score->primary[kind] = s;
    return 0;
}

/* After the models, which a primary scorer may need. */
static int read_primary(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"rag", "summ", "chat", "choice", NULL};
    const char *word = NULL;
    if (ynode_is_scalar(n)) {
        int rc = ynode_str(n, "primary", &word, e);
        if (!rc && strcmp(word, "text") != 0) {
            rc = ynode_fail(
                n, e,
                "primary is \"%.40s\"; it should be text, or a scorer for each task such "
                "as {rag: f1}",
                word);
        }
        for (int k = 0; k < TASK_KINDS && !rc; k++) {
            r->score->primary[k] = scorer_stand_in((enum task_kind)k);
        }
        return rc;
    }
    if (!ynode_present(n)) {
        return 0;
    }
    int rc = ymap_check(n, "primary", keys, e);
    for (int k = 0; k < TASK_KINDS && !rc; k++) {
        const char *name = task_kind_name((enum task_kind)k);
        rc = read_primary_of(r, (enum task_kind)k, ymap_get(n, name), e);
    }
    return rc;
}

/* ---- models that score ---- */

static int read_model_path(struct reader *r, struct ynode n, const char **out, struct err *e) {
    return plan_read_file(n, "model", r->plan_dir, r->arena, out, e);
}

static int read_entailment(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"model", "pooling", NULL};
    static const char *const poolings[] = {"mean", NULL};
    if (!ynode_present(n)) {
        return 0;
    }
    int pooling = -1;
    int rc = ymap_check(n, "entailment", keys, e);
    rc = rc ? rc : read_model_path(r, ymap_get(n, "model"), &r->score->entailment.model, e);
    rc = rc ? rc : ynode_enum(ymap_get(n, "pooling"), "pooling", poolings, &pooling, e);
    r->score->entailment.mean_pooled = pooling == 0;
    if (!rc && !r->score->entailment.model) {
        rc = ynode_fail(n, e, "entailment needs a model: a GGUF file");
    }
    return rc;
}

/* After the models, which a scorer on request may need. */
static int check_also(const struct reader *r, struct ynode list, struct err *e) {
    for (size_t i = 0; i < r->score->n_also; i++) {
        const struct scorer *s = r->score->also[i];
        const char *gap = plan_source_gap(r->plan, s->source);
        if (gap) {
            return ynode_fail(yseq_at(list, i), e, "%s cannot be scored: %s", s->id, gap);
        }
    }
    return 0;
}

static int read_similarity(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"model", "prefix", NULL};
    const char *prefix = "";
    int rc = ymap_check(n, "similarity", keys, e);
    rc = rc ? rc : read_model_path(r, ymap_get(n, "model"), &r->score->similarity.model, e);
    rc = rc ? rc : ynode_str(ymap_get(n, "prefix"), "prefix", &prefix, e);
    if (!rc && !r->score->similarity.model) {
        rc = ynode_fail(n, e, "similarity needs a model: an embedding model's GGUF file");
    }
    r->score->similarity.prefix = rc ? NULL : arena_strdup(r->arena, prefix);
    return rc || r->score->similarity.prefix ? rc : plan_no_memory(e);
}

static int read_passes(struct reader *r, struct ynode n, struct err *e) {
    int rc = ynode_int(n, "passes", 1, 1000, &r->score->passes, e);
    if (!rc && r->score->passes > 1 && r->plan->sampling.temperature <= 0) {
        rc = ynode_fail(n, e,
                        "passes repeat each other word for word with greedy decoding; set "
                        "sampling.temperature");
    }
    return rc;
}

int plan_score_read(struct ynode n, const char *plan_dir, struct arena *a, struct plan *p,
                    struct err *e) {
    static const char *const keys[] = {"primary", "also",       "passes", "entailment",
                                       "judge",   "similarity", NULL};
    struct reader r = {.plan_dir = plan_dir, .arena = a, .score = &p->score, .plan = p};
    for (int k = 0; k < TASK_KINDS; k++) {
        p->score.primary[k] = scorer_primary((enum task_kind)k);
    }
    if (!ynode_present(n)) {
        return 0;
    }
    int rc = ymap_check(n, "score", keys, e);
    rc = rc ? rc : read_also(&r, ymap_get(n, "also"), e);
    rc = rc ? rc : read_passes(&r, ymap_get(n, "passes"), e);
    rc = rc ? rc : read_entailment(&r, ymap_get(n, "entailment"), e);
    rc = rc ? rc : plan_judge_read(ymap_get(n, "judge"), plan_dir, a, &p->score.judge, e);
    if (!rc && ynode_present(ymap_get(n, "similarity"))) {
        rc = read_similarity(&r, ymap_get(n, "similarity"), e);
    }
    rc = rc ? rc : check_also(&r, ymap_get(n, "also"), e);
    return rc ? rc : read_primary(&r, ymap_get(n, "primary"), e);
}
