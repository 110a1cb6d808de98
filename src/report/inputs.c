#include "report/inputs.h"

#include "stats/choose.h"
#include "stats/stats.h"
#include "quality/score.h"
#include "report/fmt.h"

#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE 0.95

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "metric inputs: out of memory");
}

struct quantity inputs_missing(struct arena *a, const char *fmt, ...) {
    struct err text = ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    err_setv(&text, EE_MISSING, fmt, ap);
    va_end(ap);
    const char *reason = arena_strdup(a, text.msg);
    return quantity_missing(reason ? reason : "not measured");
}

int inputs_stage_gap(struct arena *a, const struct report_variant *v, enum report_kind kind,
                     const char **why, struct err *e) {
    const struct report_stage *st = v->stages[kind];
    *why = NULL;
    if (st && !report_stage_failed(st)) {
        return 0;
    }
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, st ? "" : "the run has no ");
    buf_addstr(&b, st ? "" : report_kind_name(kind));
    buf_addstr(&b, st ? "" : " stage for it");
    /* Stages after a failed one are not run, so the failure is the reason for those too. */
    for (int k = 0; k < REPORT_KINDS; k++) {
        const struct report_stage *failed = v->stages[k];
        if (failed && report_stage_failed(failed) && (!st || failed == st)) {
            buf_addf(&b, "%s%s failed: %s", st ? "" : ": ", report_kind_name((enum report_kind)k),
                     failed->s.error);
            break;
        }
    }
    *why = b.failed ? NULL : arena_strdup(a, b.data);
    buf_release(&b);
    return *why ? 0 : out_of_memory(e);
}

json_t *inputs_result(const struct report_stage *st) {
    json_t *result = NULL;
    const char *text = st->s.result_json;
    if (!text || json_parse(text, strlen(text), "stage result", &result, NULL)) {
        return NULL;
    }
    return result;
}

struct quantity inputs_mean(const double *x, size_t n) {
    struct quantity q = quantity_of(stats_mean(x, n), n);
    if (stats_t_interval(x, n, CONFIDENCE, &q.low, &q.high)) {
        q.flags |= QUANTITY_T_INTERVAL;
    }
    return q;
}

static void fill_weights(struct report_variant *v) {
    double params = v->v.params;
    if (!isnan(params)) {
        v->input.n_weights = quantity_of(params, 0);
        return;
    }
    params = metrics_weights_of_label(v->v.size);
    v->input.n_weights = isnan(params)
                             ? quantity_missing("neither the model nor its size label tells")
                             : quantity_of(params, 0);
    v->input.n_weights.flags |= isnan(params) ? 0 : QUANTITY_LABEL_SIZE;
}

static int compare_items(const void *a, const void *b) {
    const struct store_score *x = a;
    const struct store_score *y = b;
    int by_item = strcmp(x->item_id, y->item_id);
    return by_item ? by_item : (x->pass > y->pass) - (x->pass < y->pass);
}

/* Keeps the primary scorer's rows, sorted by item; why not in *wrong. */
static size_t keep_primary(struct store_score *rows, size_t n, const char **wrong) {
    size_t kept = 0;
    *wrong = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].is_primary) {
            continue;
        }
        if (kept && strcmp(rows[i].scorer, rows[0].scorer) != 0) {
            *wrong = "two scorers claim to be the primary one";
        } else if (!isfinite(rows[i].value)) {
            *wrong = "an item's score is not a number";
        }
        rows[kept++] = rows[i];
    }
    if (kept == 0) {
        *wrong = "no item has a score";
    }
    if (kept) {
        qsort(rows, kept, sizeof(*rows), compare_items);
    }
    return kept;
}

/* One value an item: the mean of its passes, which are no independent draws. */
static size_t item_means(const struct store_score *rows, size_t n, const char **ids,
                         double *means) {
    size_t n_items = 0;
    for (size_t i = 0, end; i < n; i = end) {
        double sum = 0;
        for (end = i; end < n && strcmp(rows[end].item_id, rows[i].item_id) == 0; end++) {
            sum += rows[end].value;
        }
        ids[n_items] = rows[i].item_id;
        means[n_items++] = sum / (double)(end - i);
    }
    return n_items;
}

/* by: the model whose word it is; NULL where texts were compared. */
/* The mean over items. A score has a range, and so has its interval; without one it is Student's t. */
static int score_mean(struct arena *a, const double *x, size_t n, const struct scorer *scorer,
                      struct quantity *out, struct err *e) {
    *out = inputs_mean(x, n);
    double range = scorer ? scorer->high - scorer->low : (double)NAN;
    if (!(range > 0) || !isfinite(range)) {
        return 0;
    }
    const struct stats_opts opts = {.confidence = CONFIDENCE, .use = "score", .bound = 1};
    struct stats_interval i;
    double *share = arena_array(a, n, sizeof(*share));
    if (!share) {
        return out_of_memory(e);
    }
    for (size_t k = 0; k < n; k++) {
        share[k] = (x[k] - scorer->low) / range;
    }
    int rc = stats_mean_of(share, n, &opts, &i, e);
    if (!rc) {
        *out = quantity_of(out->value, n);
        out->low = i.method ? scorer->low + range * i.low : (double)NAN;
        out->high = i.method ? scorer->low + range * i.high : (double)NAN;
        out->flags |= i.method ? QUANTITY_IN_RANGE : 0;
    }
    return rc;
}

static const char *scorer_note(struct arena *a, const char *scorer, const char *by) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "scorer %s", scorer);
    if (by) {
        buf_addf(&b, " (%s)", by);
    }
    const char *note = fmt_utf8(a, b.data);
    buf_release(&b);
    return note;
}

/* The score of a published row, which a plan of shapes may ask for; false where the stage has none. */
static bool fill_published(struct arena *a, const json_t *result, struct metrics_input *in) {
    const char *scorer = json_str_or(result, "published", NULL);
    if (!scorer) {
        return false;
    }
    /* Passes over items that are not here: there is nothing to resample. */
    in->score = quantity_of(json_num_or(result, "mean", (double)NAN),
                            (size_t)json_int_or(result, "items", 0));
    in->score.flags = QUANTITY_PUBLISHED;
    in->score.note = scorer_note(a, scorer, NULL);
    in->score_min = json_num_or(result, "low", (double)NAN);
    in->score_max = json_num_or(result, "high", (double)NAN);
    return true;
}

static int fill_score(struct store *s, struct arena *a, struct report_variant *v, struct err *e) {
    struct metrics_input *in = &v->input;
    const char *why = NULL;
    int rc = inputs_stage_gap(a, v, REPORT_SCORE, &why, e);
    if (rc || why) {
        in->score = quantity_missing(why ? why : "");
        return rc;
    }
    struct store_score *rows = NULL;
    size_t n = 0;
    rc = store_scores(s, v->stages[REPORT_SCORE]->s.stage_id, a, &rows, &n, e);
    if (rc) {
        return rc;
    }
    n = keep_primary(rows, n, &why);
    json_t *result = inputs_result(v->stages[REPORT_SCORE]);
    const char *refused = json_str_or(result, "refused", NULL);
    why = refused ? fmt_utf8(a, refused) : why;
    bool is_published = fill_published(a, result, in);
    const char *by = json_str_or(result, "by", NULL);
    const char *note = why || is_published ? NULL : scorer_note(a, rows[0].scorer, by);
    bool has_unscored = json_int_or(result, "unscored", 0) > 0;
    json_decref(result);
    if (is_published) {
        return in->score.note ? 0 : out_of_memory(e);
    }
    if (why) {
        in->score = quantity_missing(why);
        return 0;
    }
    double *means = arena_array(a, n, sizeof(*means));
    const char **ids = arena_array(a, n, sizeof(*ids));
    if (!means || !ids) {
        return out_of_memory(e);
    }
    size_t n_items = item_means(rows, n, ids, means);
    const struct scorer *scorer = scorer_find(rows[0].scorer);
    rc = score_mean(a, means, n_items, scorer, &in->score, e);
    if (rc) {
        return rc;
    }
    in->score.note = note;
    in->score.flags |= has_unscored ? QUANTITY_UNSCORED : 0u;
    in->items = (struct metrics_items){ids, means, n_items};
    in->score_max = scorer ? scorer->high : NAN;
    in->score_min = scorer ? scorer->low : NAN;
    return in->score.note ? 0 : out_of_memory(e);
}

static struct quantity memory_sum(struct arena *a, const struct store_memory *rows, size_t n,
                                  const char *part) {
    struct quantity q = quantity_of(0, 0);
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].part, part) == 0) {
            q.value += rows[i].bytes;
            q.note = fmt_utf8(a, rows[i].source);
            found = true;
        }
    }
    return found ? q : quantity_missing("neither the engine nor the system told");
}

static int fill_memory(struct store *s, struct arena *a, struct report_variant *v, struct err *e) {
    struct metrics_input *in = &v->input;
    const char *why = NULL;
    struct store_memory *rows = NULL;
    size_t n = 0;
    int rc = inputs_stage_gap(a, v, REPORT_SERVE, &why, e);
    if (!rc && !why) {
        rc = store_memories(s, v->stages[REPORT_SERVE]->s.stage_id, a, &rows, &n, e);
    }
    if (rc) {
        return rc;
    }
    in->weights_bytes = memory_sum(a, rows, n, "weights");
    in->kv_bytes = memory_sum(a, rows, n, "kv");
    in->used_kv_bytes = memory_sum(a, rows, n, "used_kv");
    in->compute_bytes = memory_sum(a, rows, n, "compute");
    in->memory_peak_bytes = memory_sum(a, rows, n, "device_peak");
    if (!in->memory_peak_bytes.present) {
        in->memory_peak_bytes = memory_sum(a, rows, n, "rss_peak");
    }
    struct quantity *all[] = {&in->weights_bytes, &in->kv_bytes, &in->used_kv_bytes,
                              &in->compute_bytes, &in->memory_peak_bytes};
    for (size_t i = 0; why && i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = quantity_missing(why);
    }
    return 0;
}

static int fill_file(struct arena *a, struct report_variant *v, struct err *e) {
    struct quantity *q = &v->input.file_bytes;
    const char *why = NULL;
    int rc = inputs_stage_gap(a, v, REPORT_QUANTIZE, &why, e);
    if (rc || why) {
        *q = quantity_missing(why ? why : "");
        return rc;
    }
    json_t *result = inputs_result(v->stages[REPORT_QUANTIZE]);
    double bytes = json_num_or(result, "bytes", NAN);
    json_decref(result);
    *q = isfinite(bytes) ? quantity_of(bytes, 0)
                         : quantity_missing("the quantize stage did not report it");
    return 0;
}

/* What was measured on random weights says so in every figure. */
static void mark_synthetic(struct report_variant *v) {
    const struct report_stage *st = v->stages[REPORT_QUANTIZE];
    json_t *result = st ? inputs_result(st) : NULL;
    struct metrics_input *in = &v->input;
    struct quantity *measured[] = {&in->prepare_j, &in->serve_j, &in->serve_w,
                                   &in->output_tokens_per_s, &in->load_s};
    bool is_synthetic = json_is_true(json_object_get(result, "synthetic"));
    for (size_t i = 0; is_synthetic && i < sizeof(measured) / sizeof(measured[0]); i++) {
        measured[i]->flags |= QUANTITY_SYNTHETIC;
    }
    json_decref(result);
}

int inputs_fill(struct store *s, struct report_run *run, struct report_variant *v, struct err *e) {
    struct arena *a = &run->arena;
    v->input.method = v->v.method;
    v->input.precision = v->v.precision;
    fill_weights(v);
    int rc = fill_score(s, a, v, e);
    rc = rc ? rc : inputs_load(s, a, v, e);
    rc = rc ? rc : inputs_serving(s, run, v, e);
    rc = rc ? rc : inputs_energy(a, v, e);
    rc = rc ? rc : fill_memory(s, a, v, e);
    rc = rc ? rc : fill_file(a, v, e);
    mark_synthetic(v);
    return rc;
}

static bool same_but_precision(const struct store_variant *x, const struct store_variant *y) {
    const char *const left[] = {x->model_id, x->family, x->size,  x->method,
                                x->task,     x->engine, x->device};
    const char *const right[] = {y->model_id, y->family, y->size,  y->method,
                                 y->task,     y->engine, y->device};
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        if (strcmp(left[i], right[i]) != 0) {
            return false;
        }
    }
    return true;
}

int inputs_fill_fp16(struct store *s, struct report_run *run, struct err *e) {
    struct arena *a = &run->arena;
    for (size_t i = 0; i < run->n_variants; i++) {
        struct report_variant *v = &run->variants[i];
        const struct report_variant *base = NULL;
        for (size_t j = 0; j < run->n_variants; j++) {
            if (strcmp(run->variants[j].v.precision, "fp16") == 0 &&
                same_but_precision(&v->v, &run->variants[j].v)) {
                base = &run->variants[j];
            }
        }
        if (base) {
            v->input.items_fp16 = base->input.items;
        }
        v->input.score_fp16 = base ? base->input.score
                                   : inputs_missing(a, "the run has no fp16 variant of %s %s",
                                                    v->v.task, v->v.method);
        if (!v->input.score_fp16.present && !v->input.score_fp16.reason) {
            return out_of_memory(e);
        }
        int rc = inputs_fidelity(s, a, v, base, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}
