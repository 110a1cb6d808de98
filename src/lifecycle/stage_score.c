/*
 * score: the answers against the references. The answers are those of the serve stage where they
 * ended naturally; where lengths were forced they are made again, unmetered, with natural ends.
 * Answers of random weights are never scored.
 */
#include "base/json.h"
#include "lifecycle/serve_job.h"
#include "quality/score.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool answers_are_stored(const struct run *r) {
    return r->plan.serve.lengths == LENGTHS_NATURAL;
}

/* Greedy passes repeat each other: only sampled ones are passes. */
static int64_t n_passes(const struct run *r) {
    return r->plan.sampling.temperature > 0 ? r->plan.serve.repeats : 1;
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
    json_object_set_new(in, "passes", json_integer((json_int_t)n_passes(r)));
    return serve_inputs(r, v, in, e);
}

static void title(const struct run *r, const struct variant *v, char *buf, size_t size) {
    char words[48];
    (void)r;
    variant_title_words(v, words, sizeof(words));
    snprintf(buf, size, "score %s %s %s", v->model->id, v->task->name, words);
}

struct scoring {
    struct run *run;
    const struct variant *variant;
    int64_t stage_id;
    int64_t n_items;
    int64_t n_failed;
    double primary_sum;
};

static const struct task_item *find_item(const struct task_set *set, size_t ordinal,
                                         const char *id) {
    bool there = ordinal < set->n_items && strcmp(set->items[ordinal].id, id) == 0;
    return there ? &set->items[ordinal] : NULL;
}

/* Scores one answer with every scorer of its task. */
static int score_answer(struct scoring *s, int pass, size_t ordinal, const char *item_id,
                        const char *text, struct err *e) {
    const enum task_kind kind = s->variant->task->kind;
    const struct task_item *item = find_item(&s->run->tasks[kind], ordinal, item_id);
    if (!item) {
        return err_set(e, EE_FORMAT, "the answer to %s has no item in %s: the task file changed",
                       item_id, s->variant->task->path);
    }
    for (size_t i = 0; i < scorer_count(); i++) {
        const struct scorer *scorer = scorer_at(i);
        if (!scorer->labels[kind] || !plan_wants_scorer(&s->run->plan, scorer)) {
            continue;
        }
        struct store_score row = {.item_id = item_id,
                                  .pass = pass,
                                  .scorer = scorer->id,
                                  .is_primary = scorer->primary[kind]};
        int rc = score_item(scorer, item, text, &row.value, e);
        rc = rc ? rc : store_score_put(s->run->store, s->stage_id, &row, e);
        if (rc) {
            return rc;
        }
        s->primary_sum += row.is_primary ? row.value : 0;
    }
    s->n_items++;
    return 0;
}

static int score_stored(struct scoring *s, struct err *e) {
    struct arena a = ARENA_INIT;
    struct store_stage serve;
    struct store_request *rows = NULL;
    size_t n = 0;
    int rc = store_variant_stage(s->run->store, s->variant->id, "serve", &a, &serve, e);
    rc = rc ? rc : store_requests(s->run->store, serve.stage_id, true, &a, &rows, &n, e);
    for (size_t i = 0; i < n && !rc; i++) {
        if (rows[i].repeat >= n_passes(s->run)) {
            continue;
        }
        if (strcmp(rows[i].status, "ok") != 0) {
            s->n_failed++;
            continue;
        }
        rc = score_answer(s, rows[i].repeat, (size_t)rows[i].ordinal, rows[i].item_id,
                          rows[i].text ? rows[i].text : "", e);
    }
    arena_release(&a);
    return rc;
}

static int on_row(const json_t *row, void *ctx, struct err *e) {
    struct scoring *s = ctx;
    if (strcmp(json_str_or(row, "status", "failed"), "ok") != 0) {
        s->n_failed++;
        return 0;
    }
    return score_answer(s, (int)json_int_or(row, "repeat", 0),
                        (size_t)json_int_or(row, "ordinal", 0), json_str_or(row, "item", ""),
                        json_str_or(row, "text", ""), e);
}

static int score_fresh(struct scoring *s, struct err *e) {
    char *path = run_artifact_path(s->run, s->variant);
    if (!path) {
        return err_set(e, EE_NOMEM, "score: out of memory");
    }
    json_t *args = serve_job_args(s->run, s->variant, path, false, n_passes(s->run));
    struct job_spec spec = {.job = "serve", .args = args, .on_row = on_row, .ctx = s};
    struct job_outcome out;
    int rc = run_job(s->run, &spec, &out, e);
    json_decref(out.result);
    json_decref(args);
    free(path);
    return rc;
}

static int execute(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e) {
    struct scoring s = {.run = r, .variant = v, .stage_id = stage_id};
    if (run_model(r, v)->is_synthetic) {
        *result = json_pack("{s:s}", "refused", "random weights: the answers mean nothing");
        return 0;
    }
    int rc = answers_are_stored(r) ? score_stored(&s, e) : score_fresh(&s, e);
    if (!rc && s.n_items == 0) {
        rc = err_set(e, EE_FAIL, "no answer to score: %lld requests failed", (long long)s.n_failed);
    }
    if (!rc) {
        const struct scorer *primary = scorer_primary(v->task->kind);
        *result = json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:f}", "scorer", primary->id, "label",
                            primary->labels[v->task->kind], "items", (json_int_t)s.n_items,
                            "failed", (json_int_t)s.n_failed, "mean",
                            s.primary_sum / (double)s.n_items, "low", primary->low, "high",
                            primary->high);
    }
    return rc;
}

const struct stage_kind stage_score = {
    .name = "score",
    .needs = "serve",
    .version = 1,
    .inputs = inputs,
    .title = title,
    .execute = execute,
};
