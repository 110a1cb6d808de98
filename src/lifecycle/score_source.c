#include "lifecycle/score_source.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/hash.h"
#include "quality/choice.h"
#include "quality/entail.h"
#include "quality/judge.h"
#include "quality/similarity.h"
#include "serve/access.h"
#include "serve/target.h"

#include <stdlib.h>
#include <string.h>

/* The file of the source's model; NULL where there is none. */
static const char *model_of(const struct plan *p, enum scorer_source id) {
    switch (id) {
    case SCORED_BY_ENTAILMENT:
        return p->score.entailment.model;
    case SCORED_BY_JUDGE:
        return p->score.judge.url ? NULL : p->score.judge.model;
    case SCORED_BY_SIMILARITY:
        return p->score.similarity.model;
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

static void entail_args(const struct run *r, const struct variant *v, json_t *args) {
    (void)v;
    json_object_set_new(args, "model", json_string(r->plan.score.entailment.model));
    json_object_set_new(args, "mean_pooled", json_boolean(r->plan.score.entailment.mean_pooled));
}

/* What shapes verdicts. Of a service the name of its model is all that is known beforehand. */
static json_t *judge_json(const struct run *r) {
    const struct plan_judge *p = &r->plan.score.judge;
    json_t *j = json_pack("{s:s, s:I, s:i, s:I}", "model", p->model, "passes",
                          (json_int_t)p->passes, "output", p->output, "max_tokens",
                          (json_int_t)p->max_tokens);
    if (p->url) {
        json_object_set_new(j, "url", json_string(p->url));
    }
    if (p->has_temperature) {
        json_object_set_new(j, "temperature", json_real(p->temperature));
    }
    return j;
}

static void judge_inputs(const struct run *r, json_t *in) {
    json_t *j = judge_json(r);
    json_object_set_new(j, "version", json_string(JUDGE_VERSION));
    if (!r->plan.score.judge.url) {
        json_object_set_new(j, "model", json_string(r->score_model_hash[SCORED_BY_JUDGE]));
    }
    json_object_set_new(in, "judge", j);
}

/* The key itself is read where it is used; here is only the name of its variable. */
static void judge_args(const struct run *r, const struct variant *v, json_t *args) {
    (void)v;
    const struct plan_judge *p = &r->plan.score.judge;
    json_t *j = judge_json(r);
    json_object_set_new(j, "concurrency", json_integer((json_int_t)p->concurrency));
    json_object_set_new(j, "timeout_s", json_integer((json_int_t)p->timeout_s));
    if (p->has_price) {
        json_object_set_new(
            j, "price",
            json_pack("{s:f, s:f}", "input", p->usd_per_mtok_in, "output", p->usd_per_mtok_out));
    }
    if (p->auth_env) {
        json_object_set_new(j, "auth_env", json_string(p->auth_env));
    }
    if (p->ca_file) {
        json_object_set_new(j, "ca_file", json_string(p->ca_file));
    }
    json_object_set_new(args, "judge", j);
    json_object_set_new(args, "seed", json_integer((json_int_t)r->plan.seed));
}

static void similarity_inputs(const struct run *r, json_t *in) {
    json_object_set_new(in, "similarity",
                        json_pack("{s:s, s:s, s:s}", "version", SIMILARITY_VERSION, "model",
                                  r->score_model_hash[SCORED_BY_SIMILARITY], "prefix",
                                  r->plan.score.similarity.prefix));
}

static void similarity_args(const struct run *r, const struct variant *v, json_t *args) {
    (void)v;
    json_object_set_new(args, "model", json_string(r->plan.score.similarity.model));
    json_object_set_new(args, "prefix", json_string(r->plan.score.similarity.prefix));
}

static void likelihood_inputs(const struct run *r, json_t *in) {
    (void)r;
    json_object_set_new(in, "likelihood", json_string(CHOICE_VERSION));
}

static void likelihood_args(const struct run *r, const struct variant *v, json_t *args) {
    char *path = run_artifact_path(r, v);
    json_object_set_new(args, "model", json_string(path));
    free(path);
}

const struct score_source score_sources[] = {
    {SCORED_BY_ENTAILMENT, "entail", "score/entailment", entail_inputs, entail_args},
    {SCORED_BY_JUDGE, "judge", "score/judge", judge_inputs, judge_args},
    {SCORED_BY_SIMILARITY, "similarity", "score/similarity", similarity_inputs, similarity_args},
    {SCORED_BY_LIKELIHOOD, "likelihood", "score/likelihood", likelihood_inputs, likelihood_args},
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

/* Whether the key leaves this machine unencrypted. */
static bool shows_key(const struct plan_judge *j) {
    struct target t;
    return j->auth_env && target_parse(j->url, API_CHAT, &t, NULL) == 0 && !t.tls &&
           strcmp(t.host, "localhost") != 0 && strcmp(t.host, "::1") != 0 &&
           strncmp(t.host, "127.", 4) != 0;
}

void score_gaps(const struct run *r, struct buf *out) {
    for (size_t i = 0; i < r->plan.n_tasks; i++) {
        const struct plan_task *t = &r->plan.tasks[i];
        const char *gap = plan_source_gap(&r->plan, r->plan.score.primary[t->kind]->source);
        if (gap && !r->plan.published_quality) {
            buf_addf(out, "%s has no score S, nor what is computed from it: %s\n", t->name, gap);
        }
    }
    if (shows_key(&r->plan.score.judge)) {
        buf_addf(out, "the judge's key goes over the network for all to read: use https in %s\n",
                 r->plan.score.judge.url);
    }
}

/* Found out before anything is measured, not hours later. */
static int check_key(const struct plan_judge *j, struct err *e) {
    char *auth = NULL;
    int rc = j->auth_env ? access_auth(j->auth_env, "score.judge.auth_env", &auth, e) : 0;
    free(auth);
    return rc;
}

int score_sources_prepare(struct run *r, struct err *e) {
    int rc = check_key(&r->plan.score.judge, e);
    for (size_t i = 0; i < n_score_sources && !rc; i++) {
        const char *path = model_of(&r->plan, score_sources[i].id);
        rc = path ? hash_file(path, r->score_model_hash[score_sources[i].id], e) : 0;
    }
    return rc;
}

json_t *score_sources_json(const struct run *r) {
    const struct plan_judge *judge = &r->plan.score.judge;
    json_t *list = json_array();
    for (size_t i = 0; i < n_score_sources; i++) {
        const char *path = model_of(&r->plan, score_sources[i].id);
        if (path) {
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "job", score_sources[i].job,
                                                  "model", fs_basename(path), "hash",
                                                  r->score_model_hash[score_sources[i].id]));
        }
    }
    if (judge->url) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "job", "judge", "model",
                                              judge->model, "url", judge->url));
    }
    return list;
}
