#include "lifecycle/score_source.h"

#include "base/buf.h"
#include "base/hash.h"
#include "quality/entail.h"

static const char *model_of(const struct plan *p, enum scorer_source id) {
    switch (id) {
    case SCORED_BY_ENTAILMENT:
        return p->score.entailment.model;
    default:
        return NULL;
    }
}

static void entail_inputs(const struct run *r, json_t *in) {
    json_object_set_new(in, "entailment",
                        json_pack("{s:s, s:s, s:b}", "version", ENTAIL_VERSION, "model",
                                  r->score_model_hash[SCORED_BY_ENTAILMENT], "mean_pooled",
                                  r->plan.score.entailment.mean_pooled));
}

static void entail_args(const struct run *r, json_t *args) {
    json_object_set_new(args, "model", json_string(r->plan.score.entailment.model));
    json_object_set_new(args, "mean_pooled", json_boolean(r->plan.score.entailment.mean_pooled));
}

const struct score_source score_sources[] = {
    {SCORED_BY_ENTAILMENT, "entail", "score/entailment", entail_inputs, entail_args},
};
const size_t n_score_sources = sizeof(score_sources) / sizeof(score_sources[0]);

bool score_source_is_wanted(const struct run *r, const struct score_source *s,
                            enum task_kind kind) {
    for (size_t i = 0; i < scorer_count(); i++) {
        const struct scorer *scorer = scorer_at(i);
        if (scorer->source == s->id && scorer->labels[kind] &&
            plan_wants_scorer(&r->plan, scorer)) {
            return true;
        }
    }
    return false;
}

void score_gaps(const struct run *r, struct buf *out) {
    for (size_t i = 0; i < r->plan.n_tasks; i++) {
        const struct plan_task *t = &r->plan.tasks[i];
        const char *gap = plan_source_gap(&r->plan, r->plan.score.primary[t->kind]->source);
        if (gap) {
            buf_addf(out, "%s has no score S, nor what is computed from it: %s\n", t->name, gap);
        }
    }
}

int score_sources_prepare(struct run *r, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < n_score_sources && !rc; i++) {
        const char *path = model_of(&r->plan, score_sources[i].id);
        rc = path ? hash_file(path, r->score_model_hash[score_sources[i].id], e) : 0;
    }
    return rc;
}
