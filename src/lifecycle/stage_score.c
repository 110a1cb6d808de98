/*
 * score: the answers against the references. The answers are those of the serve stage where they
 * ended naturally and are as many as the plan wants scored; else they are made again, unmetered, with
 * natural ends. What compares texts is computed here; what needs a model is a worker's job, whose
 * energy is kept in a window of its own. Answers of random weights are never scored.
 */
#include "base/json.h"
#include "lifecycle/model_files.h"
#include "lifecycle/prompts.h"
#include "lifecycle/reference.h"
#include "lifecycle/score_source.h"
#include "lifecycle/serve_job.h"
#include "lifecycle/served.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_sampled(const struct run *r) {
    return r->plan.sampling.temperature > 0;
}

/* Greedy passes repeat each other: only sampled ones are passes. */
static int64_t n_passes(const struct run *r) {
    if (!is_sampled(r)) {
        return 1;
    }
    return r->plan.score.passes > 0 ? r->plan.score.passes : r->plan.serve.repeats;
}

static bool answers_are_stored(const struct run *r) {
    return r->plan.serve.lengths == LENGTHS_NATURAL && n_passes(r) <= r->plan.serve.repeats;
}

/* The scorers of the variant's task, which the result depends on. */
static json_t *scorers_json(const struct run *r, const struct variant *v) {
    json_t *ids = json_array();
    for (size_t i = 0; i < scorer_count(); i++) {
        const struct scorer *s = scorer_at(i);
        if (s->labels[v->task->kind] && plan_wants_scorer(&r->plan, s)) {
            json_array_append_new(ids, json_string(s->id));
        }
    }
    return ids;
}

static int inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) {
    json_object_set_new(in, "scorers", scorers_json(r, v));
    json_object_set_new(in, "primary", json_string(r->plan.score.primary[v->task->kind]->id));
    for (size_t i = 0; i < n_score_sources; i++) {
        if (score_source_is_wanted(r, &score_sources[i], v->task->kind)) {
            score_sources[i].inputs(r, in);
        }
    }
    json_object_set_new(in, "passes", json_integer((json_int_t)n_passes(r)));
    if (r->plan.published_quality) { /* of one variant each, whatever stages they share */
        json_object_set_new(in, "published_of", json_string(v->id));
    }
    return serve_inputs(r, v, in, e);
}

static void title(const struct run *r, const struct variant *v, char *buf, size_t size) {
    char words[48];
    (void)r;
    variant_title_words(v, words, sizeof(words));
    snprintf(buf, size, "score %s %s %s", v->model->id, v->task->name, words);
}

/* ---- the answers ---- */

struct answer {
    int pass;
    size_t ordinal;
    const struct task_item *item;
    const char *text;
};

/* Values of one scorer, over all answers and over those to items with and without an answer. */
struct tally {
    size_t n;
    double sum;
    size_t n_unanswerable;
    double sum_unanswerable;
};

struct scoring {
    struct stage_rows stage; /* first, so that this is a stage_rows for stage_on_window */
    const struct variant *variant;
    struct arena arena;
    struct answer *answers;
    size_t n_answers;
    size_t cap;
    int64_t n_failed;      /* requests */
    struct tally *tallies; /* one a scorer of the registry */
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "score: out of memory");
}

static int add_answer(struct scoring *s, int pass, size_t ordinal, const char *item_id,
                      const char *text, struct err *e) {
    const struct task_set *set = &s->stage.run->tasks[s->variant->task->kind];
    if (ordinal >= set->n_items || strcmp(set->items[ordinal].id, item_id) != 0) {
        return err_set(e, EE_FORMAT, "the answer to %s has no item in %s: the task file changed",
                       item_id, s->variant->task->path);
    }
    const char *copy = arena_strdup(&s->arena, text);
    if (!copy || s->n_answers == s->cap) {
        return copy ? err_set(e, EE_FAIL, "more answers than the items can have")
                    : out_of_memory(e);
    }
    s->answers[s->n_answers++] = (struct answer){pass, ordinal, &set->items[ordinal], copy};
    return 0;
}

static int gather_stored(struct scoring *s, struct err *e) {
    struct run *r = s->stage.run;
    const struct task_set *set = &r->tasks[s->variant->task->kind];
    struct arena a = ARENA_INIT;
    struct store_stage serve;
    struct store_request *rows = NULL;
    size_t n = 0;
    int rc = store_variant_stage(r->store, s->variant->id, "serve", &a, &serve, e);
    rc = rc ? rc : store_requests(r->store, serve.stage_id, true, &a, &rows, &n, e);
    for (size_t i = 0; i < n && !rc; i++) {
        if (rows[i].repeat >= n_passes(r) || (size_t)rows[i].ordinal >= set->n_items) {
            continue; /* rounds after the first repeat it */
        }
        if (strcmp(rows[i].status, "ok") != 0) {
            s->n_failed++;
            continue;
        }
        rc = add_answer(s, rows[i].repeat, (size_t)rows[i].ordinal, rows[i].item_id,
                        rows[i].text ? rows[i].text : "", e);
    }
    arena_release(&a);
    return rc;
}

static int on_answer(const json_t *row, void *ctx, struct err *e) {
    struct scoring *s = ctx;
    if (strcmp(json_str_or(row, "status", "failed"), "ok") != 0) {
        s->n_failed++;
        return 0;
    }
    return add_answer(s, (int)json_int_or(row, "repeat", 0), (size_t)json_int_or(row, "ordinal", 0),
                      json_str_or(row, "item", ""), json_str_or(row, "text", ""), e);
}

static int gather_fresh(struct scoring *s, struct err *e) {
    if (s->stage.run->plan.server.is_used) {
        return answer_by_server(s->stage.run, s->variant, n_passes(s->stage.run), on_answer, s, e);
    }
    char *path = run_artifact_path(s->stage.run, s->variant);
    if (!path) {
        return out_of_memory(e);
    }
    json_t *args = serve_job_args(s->stage.run, s->variant, path, false, n_passes(s->stage.run));
    struct job_spec spec = {.job = "serve", .args = args, .on_row = on_answer, .ctx = s};
    struct job_outcome out;
    int rc = run_job(s->stage.run, &spec, &out, e);
    json_decref(out.result);
    json_decref(args);
    free(path);
    return rc;
}

static int gather(struct scoring *s, struct err *e) {
    struct run *r = s->stage.run;
    s->cap = r->tasks[s->variant->task->kind].n_items * (size_t)n_passes(r);
    s->answers = arena_array(&s->arena, s->cap, sizeof(*s->answers));
    s->tallies = arena_array(&s->arena, scorer_count(), sizeof(*s->tallies));
    if (!s->answers || !s->tallies) {
        return out_of_memory(e);
    }
    int rc = answers_are_stored(r) ? gather_stored(s, e) : gather_fresh(s, e);
    if (!rc && s->n_answers == 0) {
        rc = err_set(e, EE_FAIL, "no answer to score: %lld requests failed",
                     (long long)s->n_failed);
    }
    return rc;
}

/* ---- the scores ---- */

static int put_score(struct scoring *s, const struct answer *a, size_t scorer, double value,
                     struct err *e) {
    const struct plan_score *plan = &s->stage.run->plan.score;
    struct tally *t = &s->tallies[scorer];
    const struct store_score row = {.item_id = a->item->id,
                                    .pass = a->pass,
                                    .scorer = scorer_at(scorer)->id,
                                    .value = value,
                                    .is_primary = plan->primary[s->variant->task->kind] ==
                                                  scorer_at(scorer)};
    t->n++;
    t->sum += value;
    if (a->item->unanswerable) {
        t->n_unanswerable++;
        t->sum_unanswerable += value;
    }
    return store_score_put(s->stage.run->store, s->stage.stage_id, &row, e);
}

static int score_texts(struct scoring *s, struct err *e) {
    const enum task_kind kind = s->variant->task->kind;
    int rc = 0;
    for (size_t i = 0; i < s->n_answers; i++) {
        for (size_t k = 0; k < scorer_count() && !rc; k++) {
            const struct scorer *scorer = scorer_at(k);
            if (scorer->source != SCORED_BY_TEXT || !scorer->labels[kind] ||
                !plan_wants_scorer(&s->stage.run->plan, scorer)) {
                continue;
            }
            double value = 0;
            rc = score_item(scorer, s->answers[i].item, s->answers[i].text, &value, e);
            rc = rc ? rc : put_score(s, &s->answers[i], k, value, e);
        }
    }
    return rc;
}

static json_t *answers_json(const struct scoring *s) {
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_answers; i++) {
        const struct answer *a = &s->answers[i];
        json_array_append_new(list,
                              json_pack("{s:I, s:s, s:i, s:s}", "ordinal", (json_int_t)a->ordinal,
                                        "item", a->item->id, "pass", a->pass, "text", a->text));
    }
    return list;
}

static int on_score(const json_t *row, void *ctx, struct err *e) {
    struct scoring *s = ctx;
    const char *id = json_str_or(row, "scorer", "");
    int64_t i = json_int_or(row, "answer", -1);
    double value = 0;
    int rc = json_want_num(row, "value", &value, e);
    for (size_t k = 0; k < scorer_count() && !rc; k++) {
        const struct scorer *scorer = scorer_at(k);
        if (strcmp(scorer->id, id) == 0 && scorer->labels[s->variant->task->kind] && i >= 0 &&
            i < (int64_t)s->n_answers) {
            return put_score(s, &s->answers[i], k, value, e);
        }
    }
    return rc ? rc
              : err_set(e, EE_FAIL, "a worker scored what it was not asked: %.40s of answer %lld",
                        id, (long long)i);
}

/* A model that fails on what any must get right has no business judging answers; the user must know. */
static void note_controls(const struct scoring *s, const struct score_source *source,
                          const json_t *controls) {
    int64_t right = json_int_or(controls, "right", 0);
    int64_t of = json_int_or(controls, "of", 0);
    if (right + 1 < of) {
        run_note(
            s->stage.run,
            "%s %s: the model that scores got %lld of %lld control questions right; do not trust "
            "its scores",
            source->window, s->variant->task->name, (long long)right, (long long)of);
    }
}

/* Answers, or questions about them, that have no value: what the score leaves out must be known. */
static void note_failed(const struct scoring *s, const struct score_source *source,
                        const json_t *result) {
    struct buf kinds;
    const char *kind;
    json_t *n;
    json_int_t sum = 0;
    buf_init(&kinds);
    json_object_foreach(json_object_get(result, "failed"), kind, n) {
        sum += json_integer_value(n);
        buf_addf(&kinds, "%s%s %lld", kinds.len ? ", " : "", kind,
                 (long long)json_integer_value(n));
    }
    if (sum > 0) {
        run_note(s->stage.run,
                 "%s %s: %lld without a value (%s); an answer without any has no score",
                 source->window, s->variant->task->name, (long long)sum, kinds.data);
    }
    buf_release(&kinds);
}

/* A judge that says another thing in the other order sees the order, not the answers. */
static void note_orders(const struct scoring *s, const struct score_source *source,
                        const json_t *orders) {
    int64_t pairs = json_int_or(orders, "pairs", 0);
    int64_t consistent = json_int_or(orders, "consistent", 0);
    if (2 * consistent < pairs) {
        run_note(s->stage.run,
                 "%s %s: of %lld pairs the judge said the same in both orders for %lld; its "
                 "preferences go by position",
                 source->window, s->variant->task->name, (long long)pairs, (long long)consistent);
    }
}

/* What a service took for it, which is no cost of the deployment. */
static void note_cost(const struct scoring *s, const struct score_source *source,
                      const json_t *result) {
    double usd = json_num_or(result, "usd", NAN);
    if (isfinite(usd)) {
        char words[48];
        variant_title_words(s->variant, words, sizeof(words));
        run_note(s->stage.run, "%s %s %s: $%.4g for %lld input and %lld output tokens",
                 source->window, s->variant->task->name, words, usd,
                 (long long)json_int_or(result, "prompt_tokens", 0),
                 (long long)json_int_or(result, "output_tokens", 0));
    }
}

/* The wanted scorers whose values are from the source. */
static json_t *scorers_of(const struct scoring *s, const struct score_source *source) {
    json_t *ids = json_array();
    for (size_t i = 0; i < scorer_count(); i++) {
        const struct scorer *scorer = scorer_at(i);
        if (scorer->source == source->id && scorer->labels[s->variant->task->kind] &&
            plan_wants_scorer(&s->stage.run->plan, scorer)) {
            json_array_append_new(ids, json_string(scorer->id));
        }
    }
    return ids;
}

static int score_by_model(struct scoring *s, const struct score_source *source, json_t *results,
                          struct err *e) {
    struct run *r = s->stage.run;
    json_t *args = json_pack("{s:o, s:o, s:o, s:o, s:s}", "task", prompts_json(s->variant->task),
                             "engine", run_engine_json(r), "answers", answers_json(s), "scorers",
                             scorers_of(s, source), "window", source->window);
    source->args(r, s->variant, args);
    struct job_spec spec = {.job = source->job,
                            .args = args,
                            .meter = r->meter,
                            .on_row = on_score,
                            .on_window = stage_on_window,
                            .on_gpu = stage_on_gpu,
                            .ctx = s};
    struct job_outcome out;
    int rc = run_job(r, &spec, &out, e);
    if (!rc) {
        json_object_set(results, source->job, out.result);
        note_controls(s, source, json_object_get(out.result, "controls"));
        note_failed(s, source, out.result);
        note_orders(s, source, json_object_get(out.result, "orders"));
        note_cost(s, source, out.result);
    }
    json_decref(out.result);
    json_decref(args);
    return rc;
}

/* ---- the result ---- */

static json_t *mean_json(size_t n, double sum) {
    return json_pack("{s:I, s:f}", "n", (json_int_t)n, "mean", sum / (double)n);
}

/* {"f1": {"n", "mean", "answerable": {...}, "unanswerable": {...}}, ...}; the two parts, which the
 * script of SQuAD 2.0 calls HasAns and NoAns, where both are there. */
static json_t *means_json(const struct scoring *s) {
    json_t *means = json_object();
    for (size_t k = 0; k < scorer_count(); k++) {
        const struct tally *t = &s->tallies[k];
        if (t->n == 0) {
            continue;
        }
        json_t *m = mean_json(t->n, t->sum);
        if (t->n_unanswerable > 0 && t->n_unanswerable < t->n) {
            json_object_set_new(m, "answerable",
                                mean_json(t->n - t->n_unanswerable, t->sum - t->sum_unanswerable));
            json_object_set_new(m, "unanswerable",
                                mean_json(t->n_unanswerable, t->sum_unanswerable));
        }
        json_object_set_new(means, scorer_at(k)->id, m);
    }
    return means;
}

static json_t *result_json(const struct scoring *s, json_t *models) {
    const enum task_kind kind = s->variant->task->kind;
    const struct scorer *primary = s->stage.run->plan.score.primary[kind];
    const struct tally *t = NULL;
    const char *by = NULL;
    for (size_t k = 0; k < scorer_count(); k++) {
        t = scorer_at(k) == primary ? &s->tallies[k] : t;
    }
    for (size_t i = 0; i < n_score_sources; i++) {
        if (score_sources[i].id == primary->source) {
            by = json_str_or(json_object_get(models, score_sources[i].job), "name", NULL);
        }
    }
    json_t *v = json_pack("{s:s, s:s, s:f, s:f, s:I, s:I, s:o, s:O}", "scorer", primary->id,
                          "label", primary->labels[kind], "low", primary->low, "high",
                          primary->high, "answers", (json_int_t)s->n_answers, "failed",
                          (json_int_t)s->n_failed, "means", means_json(s), "models", models);
    if (by) {
        json_object_set_new(v, "by", json_string(by));
    }
    if (t && t->n > 0) {
        json_object_set_new(v, "items", json_integer((json_int_t)t->n));
        json_object_set_new(v, "unscored", json_integer((json_int_t)(s->n_answers - t->n)));
        json_object_set_new(v, "mean", json_real(t->sum / (double)t->n));
    } else {
        const char *gap = plan_source_gap(&s->stage.run->plan, primary->source);
        json_object_set_new(v, "refused", json_string(gap ? gap : "no answer has this score"));
    }
    return v;
}

/* The score of the published variant of the same names, which is no measurement of ours. */
static int take_published(struct run *r, const struct variant *v, json_t **result, struct err *e) {
    struct reference_quality q;
    int rc = reference_quality(r->opts->data_dir, v, &q, e);
    if (!rc) {
        *result = json_pack("{s:s, s:f, s:f, s:f, s:I, s:I}", "published", q.scorer, "mean", q.mean,
                            "low", q.low, "high", q.high, "items", (json_int_t)q.items, "passes",
                            (json_int_t)q.passes);
    }
    return rc;
}

static int execute(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e) {
    if (r->plan.published_quality && variant_is_of_shape(v)) {
        return take_published(r, v, result, e);
    }
    if (run_model(r, v)->is_synthetic) {
        *result = json_pack("{s:s}", "refused", "random weights: the answers mean nothing");
        return 0;
    }
    struct scoring s = {.stage = {r, stage_id}, .variant = v, .arena = ARENA_INIT};
    json_t *models = json_object();
    int rc = gather(&s, e);
    rc = rc ? rc : score_texts(&s, e);
    for (size_t i = 0; i < n_score_sources && !rc; i++) {
        if (score_source_is_wanted(r, &score_sources[i], v->task->kind)) {
            rc = score_by_model(&s, &score_sources[i], models, e);
        }
    }
    if (!rc) {
        *result = result_json(&s, models);
    }
    json_decref(models);
    arena_release(&s.arena);
    return rc;
}

const struct stage_kind stage_score = {
    .name = "score",
    .needs = "serve",
    .version = 2,
    .inputs = inputs,
    .title = title,
    .execute = execute,
};
