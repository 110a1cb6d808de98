/* Adapting in the results: what a training row costs, and what the published QLoRA anomaly is made of. */
#include "base/json.h"
#include "report/fmt.h"
#include "report/inputs.h"
#include "report/results_internal.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

static double sum_of(const json_t *list) {
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        sum += json_number_value(json_array_get(list, i));
    }
    return sum;
}

static void describe_settings(const struct report_stage *st, const json_t *result,
                              struct results_training *c) {
    json_t *inputs = NULL;
    const char *text = st->s.inputs_json;
    if (!text || json_parse(text, strlen(text), "inputs", &inputs, NULL)) {
        inputs = NULL;
    }
    const char *type = json_str_or(inputs, "checkpoint_type", json_str_or(result, "base", "?"));
    bool is_kept = json_is_false(json_object_get(inputs, "recompute"));
    snprintf(c->settings, sizeof(c->settings), "%s base, %s, %s", type,
             json_str_or(result, "compute", "f32"), is_kept ? "kept" : "recomputed");
    json_decref(inputs);
}

bool results_training_of(const struct report_stage *st, struct results_training *c) {
    *c = (struct results_training){0};
    json_t *result = st && !report_stage_failed(st) ? inputs_result(st) : NULL;
    if (!result) {
        return false;
    }
    double low = json_num_or(result, "rows_low", 0);
    double high = json_num_or(result, "rows_high", 0);
    bool is_marked = high > low;
    double tokens = is_marked ? sum_of(json_object_get(result, "row_step_tokens"))
                              : json_num_or(result, "tokens", (double)NAN);
    double seconds = 0;
    double joules = results_joules(st, is_marked ? INPUTS_ROWS_WINDOW : "adapt/steps", false,
                                   &seconds);
    c->rows = is_marked ? high - low : json_num_or(result, "rows", (double)NAN);
    c->row_j = joules / c->rows;
    c->row_s = seconds / c->rows;
    c->token_j = joules / tokens;
    c->watts = joules / seconds;
    c->tokens_per_s = tokens / seconds;
    c->row_tokens = tokens / c->rows;
    c->peak_bytes = json_num_or(result, "peak_bytes", 0);
    describe_settings(st, result, c);
    json_decref(result);
    return isfinite(joules) && seconds > 0;
}

double results_training_j(const struct report_variant *v, double rows) {
    const struct report_stage *st = v->stages[REPORT_ADAPT];
    struct results_training c;
    double seconds;
    json_t *result = st && !report_stage_failed(st) ? inputs_result(st) : NULL;
    double measured = json_num_or(result, "rows", (double)NAN);
    json_decref(result);
    return results_training_of(st, &c)
               ? results_joules(st, "adapt", false, &seconds) + c.row_j * (rows - measured)
               : (double)NAN;
}

/* ---- the matrix's own trainings ---- */

/* Ours of a published training. */
static const struct report_stage *find_stage(const struct results *r,
                                             const struct published_training *t) {
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        if (r->theirs->variants[i].training == t && r->ours[i] &&
            r->ours[i]->stages[REPORT_ADAPT]) {
            return r->ours[i]->stages[REPORT_ADAPT];
        }
    }
    return NULL;
}

static void add_trainings(const struct results *r, struct buf *out) {
    buf_addstr(out, "| model | method | task | held and computed | rows measured | tokens/s | W | "
                    "J/token | J/row | publ. J/row | W publ. |\n"
                    "|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < r->theirs->n_trainings; i++) {
        const struct published_training *t = &r->theirs->trainings[i];
        struct results_training c;
        if (!results_training_of(find_stage(r, t), &c)) {
            continue;
        }
        buf_addf(out, "| %s %s | %s | %s | %s |", t->family, t->size, t->method, t->task,
                 c.settings);
        const double cells[] = {c.rows,
                                c.tokens_per_s,
                                c.watts,
                                c.token_j,
                                c.row_j,
                                t->energy_j / t->rows,
                                t->energy_j / t->duration_s};
        for (size_t k = 0; k < sizeof(cells) / sizeof(cells[0]); k++) {
            results_number(out, cells[k]);
        }
        buf_addch(out, '\n');
    }
}

/* ---- QLoRA over LoRA ---- */

static const struct published_training *partner_of(const struct published *p,
                                                   const struct published_training *q) {
    for (size_t i = 0; i < p->n_trainings; i++) {
        const struct published_training *t = &p->trainings[i];
        if (strcmp(t->method, "lora") == 0 && strcmp(t->family, q->family) == 0 &&
            strcmp(t->size, q->size) == 0 && strcmp(t->task, q->task) == 0) {
            return t;
        }
    }
    return NULL;
}

static void add_range(struct buf *out, double *x, size_t n, const char *what) {
    stats_sort(x, n);
    if (n) {
        buf_addf(out, "- %s: %.2f to %.2f times, median %.2f, over %zu pairs.\n", what, x[0],
                 x[n - 1], stats_quantile(x, n, 0.5), n);
    }
}

static void add_anomaly(const struct results *r, struct buf *out) {
    enum { MOST = 64 };
    double ours[MOST];
    double theirs[MOST];
    size_t n = 0;
    buf_addstr(out,
               "\nQLoRA over LoRA, the same rows: joules, split into time and power.\n\n"
               "| model | task | joules, ours | time | power | joules, publ. | time | power |\n"
               "|---|---|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < r->theirs->n_trainings && n < MOST; i++) {
        const struct published_training *q = &r->theirs->trainings[i];
        const struct published_training *l = partner_of(r->theirs, q);
        struct results_training cq;
        struct results_training cl;
        if (strcmp(q->method, "qlora") != 0 || !l || !results_training_of(find_stage(r, q), &cq) ||
            !results_training_of(find_stage(r, l), &cl)) {
            continue;
        }
        double seconds = q->duration_s / q->rows / (l->duration_s / l->rows);
        ours[n] = cq.row_j / cl.row_j;
        theirs[n] = q->energy_j / q->rows / (l->energy_j / l->rows);
        buf_addf(out, "| %s %s | %s |", q->family, q->size, q->task);
        const double cells[] = {ours[n], cq.row_s / cl.row_s, cq.watts / cl.watts, theirs[n],
                                seconds, theirs[n] / seconds};
        for (size_t k = 0; k < sizeof(cells) / sizeof(cells[0]); k++) {
            results_number(out, cells[k]);
        }
        buf_addch(out, '\n');
        n++;
    }
    buf_addch(out, '\n');
    add_range(out, ours, n, "Here QLoRA took LoRA's joules");
    add_range(out, theirs, n, "Published, for the same pairs");
    buf_addstr(out,
               n ? "- Ours differ in the base alone: both compute in the same type and recompute "
                   "activations. The published pairs differ also in compute type (bf16 on cards "
                   "without bf16 units against fp16), checkpointing, and at 7B the number of "
                   "cards.\n"
                 : "No pair of trainings is measured yet.\n");
}

/* ---- trainings of other runs, with other settings ---- */

static void add_others(const struct results *r, struct buf *out) {
    size_t n = 0;
    for (size_t k = 1; k < r->n_runs; k++) {
        const struct report_run *run = r->runs[k];
        for (size_t i = 0; i < run->n_variants; i++) {
            const struct report_variant *v = &run->variants[i];
            struct results_training c;
            bool is_first = i == 0 ||
                            run->variants[i - 1].stages[REPORT_ADAPT] != v->stages[REPORT_ADAPT];
            if (!is_first || !results_training_of(v->stages[REPORT_ADAPT], &c)) {
                continue;
            }
            buf_addstr(out,
                       n++ ? ""
                           : "\nThe same with other settings:\n\n| run | model | method | task | "
                             "held and computed | tokens/s | W | J/token |\n"
                             "|---|---|---|---|---|--:|--:|--:|\n");
            buf_addstr(out, "| ");
            fmt_md(out, run->run_id);
            buf_addf(out, " | %s %s | %s | %s | %s |", v->v.family, v->v.size, v->v.method,
                     v->v.task, c.settings);
            results_number(out, c.tokens_per_s);
            results_number(out, c.watts);
            results_number(out, c.token_j);
            buf_addch(out, '\n');
        }
    }
}

/* One thing changed at a time, by a script that trains on rows of equal length. */
static void add_timings(const struct results *r, struct buf *out) {
    for (size_t i = 0; i < r->n_timings; i++) {
        const json_t *runs = json_object_get(r->timings[i], "runs");
        double base = json_num_or(
            json_object_get(runs, "lora f16"), "j_per_token",
            json_num_or(json_object_get(runs, "lora bf16"), "j_per_token", (double)NAN));
        const char *name;
        json_t *run;
        buf_addf(out, "\nOne thing changed at a time, %s on ",
                 json_str_or(r->timings[i], "shape", "an unknown shape"));
        fmt_md(out, json_str_or(r->timings[i], "gpu", "an unknown GPU"));
        buf_addstr(out,
                   " (`scripts/gpu-adapt.py`: rows of 512 tokens, 4 a step; `kept`: without "
                   "checkpoints of activations; `peft`: PyTorch with PEFT). The last column is "
                   "over LoRA in F16, or in BF16 where that is missing.\n\n"
                   "| training | tokens/s | W | J/token | GiB | J over LoRA |\n"
                   "|---|--:|--:|--:|--:|--:|\n");
        json_object_foreach((json_t *)runs, name, run) {
            double joules = json_num_or(run, "j_per_token", (double)NAN);
            buf_addstr(out, "| ");
            fmt_md(out, name);
            buf_addstr(out, " |");
            results_number(out, json_num_or(run, "tokens_per_s", (double)NAN));
            results_number(out, json_num_or(run, "mean_w", (double)NAN));
            results_number(out, joules);
            results_number(out, json_num_or(run, "peak_gib", (double)NAN));
            results_number(out, joules / base);
            buf_addch(out, '\n');
        }
    }
}

void results_adapting(const struct results *r, struct buf *out) {
    buf_addstr(out,
               "\n## Adapting, and the QLoRA anomaly\n\n"
               "Steps alone, loading and saving left out; joules are the accelerators' own.\n\n");
    add_trainings(r, out);
    add_anomaly(r, out);
    add_others(r, out);
    add_timings(r, out);
}
