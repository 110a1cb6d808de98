/* The audit's table from a run: one row a stage, and one a repeat where a stage has repeats. */
#include "report/audit_set.h"

#include "report/collect.h"
#include "report/fmt.h"
#include "stats/stats.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct audit_set *set;
    const struct report_run *run;
    const char *gpu_model; /* "" without a GPU */
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "audit: out of memory");
}

/* --- Parts of a row ------------------------------------------------------------------------------- */

/* Strings move to the set, which outlives the run. */
static int set_text(struct reader *r, struct audit_row *row, enum audit_text text, const char *s,
                    struct err *e) {
    row->text[text] = s ? arena_strdup(&r->set->arena, s) : "";
    return row->text[text] ? 0 : out_of_memory(e);
}

/* The keys that rows of this stage are told apart by: one adaptation serves all precisions. */
static int set_keys(struct reader *r, const struct store_variant *v, struct audit_row *row,
                    struct err *e) {
    bool has_task = row->stage == AUDIT_SERVE || row->stage == AUDIT_SCORE ||
                    row->stage == AUDIT_ADAPT || row->stage == AUDIT_MERGE;
    bool has_precision = row->stage != AUDIT_ADAPT && row->stage != AUDIT_MERGE;
    const char *const keys[AUDIT_KEYS] = {
        [AUDIT_FAMILY] = v->family,
        [AUDIT_SIZE] = v->size,
        [AUDIT_METHOD] = v->method,
        [AUDIT_TASK] = has_task ? v->task : "",
        [AUDIT_PRECISION] = has_precision ? v->precision : "",
        [AUDIT_ENGINE] = v->engine,
        [AUDIT_DEVICE] = v->device,
    };
    int rc = 0;
    for (int k = 0; !rc && k < AUDIT_KEYS; k++) {
        rc = set_text(r, row, (enum audit_text)k, keys[k], e);
    }
    return rc;
}

static bool is_gpu(const struct store_energy *g) {
    return strncmp(g->component, "gpu", 3) == 0;
}

/* The boards of the window: how many were measured, and their power together. */
static void set_boards(struct reader *r, const struct report_stage *st, const char *window,
                       struct audit_row *row) {
    double watts = 0;
    double boards = 0;
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        if (is_gpu(g) && strcmp(g->window, window) == 0 && isfinite(g->mean_w)) {
            watts += g->mean_w;
            boards++;
        }
    }
    if (boards > 0) {
        row->x[AUDIT_GPU_POWER_MEAN_W] = watts;
        row->x[AUDIT_GPUS] = boards;
        row->text[AUDIT_GPU_MODEL] = r->gpu_model;
        row->x[AUDIT_POWER_LIMIT_W] = audit_set_power_limit_w(r->set, r->gpu_model);
    }
}

/* What the window's GPUs were seen to do: the worst of them. */
static void set_looks(const struct report_stage *st, const char *window, struct audit_row *row) {
    for (size_t i = 0; i < st->n_looks; i++) {
        const struct store_gpu_look *look = &st->looks[i];
        if (strcmp(look->window, window) == 0) {
            double *share = &row->x[AUDIT_THROTTLED_SHARE];
            double *others = &row->x[AUDIT_OTHER_PROCESSES];
            *share = fmax(*share, look->throttled_share); /* of a NAN the other */
            *others = fmax(*others, look->other_processes);
        }
    }
}

static int set_window(struct reader *r, const struct report_stage *st, const struct store_energy *g,
                      struct audit_row *row, struct err *e) {
    row->x[AUDIT_ENERGY_J] = g->joules;
    row->x[AUDIT_POWER_MEAN_W] = g->mean_w;
    row->x[AUDIT_DURATION_S] = (g->end_ns - g->start_ns) / 1e9;
    row->x[AUDIT_COVERAGE] = g->coverage;
    row->x[AUDIT_IS_SHORT] = g->is_short ? 1 : 0;
    set_boards(r, st, g->window, row);
    set_looks(st, g->window, row);
    int rc = set_text(r, row, AUDIT_SCOPE, g->scope, e);
    return rc ? rc
              : set_text(r, row, AUDIT_ENERGY_SOURCE,
                         strcmp(g->quality, "missing") == 0 ? "" : g->quality, e);
}

static const struct store_energy *find_total(const struct report_stage *st, const char *window) {
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        if (strcmp(g->window, window) == 0 && strcmp(g->component, "total") == 0) {
            return g;
        }
    }
    return NULL;
}

/* Sets e and returns NULL when memory is out. */
static struct audit_row *add_row(struct reader *r, const struct report_variant *v,
                                 enum audit_stage stage, const struct report_stage *st,
                                 const char *window, struct err *e) {
    char where[200];
    snprintf(where, sizeof(where), "%.120s%s%.60s", st->s.title, *window ? ", " : "", window);
    struct audit_row *row = audit_set_add(r->set, stage, where);
    if (!row) {
        out_of_memory(e);
        return NULL;
    }
    return set_keys(r, &v->v, row, e) ? NULL : row;
}

/* --- Serving -------------------------------------------------------------------------------------- */

static struct report_repeat sum_of(const struct report_variant *v) {
    struct report_repeat all = {0};
    for (size_t i = 0; i < v->n_repeats; i++) {
        const struct report_repeat *r = &v->repeats[i];
        all.ok += r->ok;
        all.failed += r->failed;
        all.tokens += r->tokens;
        all.longest = fmax(all.longest, r->longest);
        all.ttft_s += r->ttft_s;
        all.gap_s += r->gap_s;
        all.gaps += r->gaps;
        all.slowest_s = fmax(all.slowest_s, r->slowest_s);
    }
    return all;
}

/* A window's name is text from a file: its repeat may be one that has no requests. */
static size_t repeat_of(const struct store_energy *g) {
    return strtoul(g->window + strlen("serve/"), NULL, 10);
}

static bool is_repeat_total(const struct store_energy *g) {
    return strcmp(g->component, "total") == 0 && report_is_repeat(g->window, "serve");
}

static void set_requests(const struct report_repeat *s, struct audit_row *row) {
    row->x[AUDIT_N_REQUESTS] = s->ok;
    row->x[AUDIT_N_FAILED] = s->failed;
    if (s->ok > 0) {
        row->x[AUDIT_OUTPUT_TOKENS] = s->tokens;
        row->x[AUDIT_OUTPUT_TOKENS_MAX] = s->longest;
        row->x[AUDIT_TTFT_MEAN_MS] = 1000 * s->ttft_s / s->ok;
        row->x[AUDIT_E2E_MAX_MS] = 1000 * s->slowest_s;
    }
    if (s->gaps > 0) {
        row->x[AUDIT_ITL_MEAN_MS] = 1000 * s->gap_s / s->gaps;
    }
}

/*
 * How the stage was to serve, and its own count of tokens as a rate over the windows: the audit
 * holds that against the count of the requests.
 */
static int set_settings(struct reader *r, const struct report_stage *st, struct audit_row *row,
                        struct err *e) {
    json_t *in = NULL;
    json_t *result = NULL;
    if (json_parse(st->s.inputs_json, strlen(st->s.inputs_json), "inputs", &in, NULL)) {
        in = NULL;
    }
    if (!st->s.result_json ||
        json_parse(st->s.result_json, strlen(st->s.result_json), "result", &result, NULL)) {
        result = NULL;
    }
    row->x[AUDIT_CONCURRENCY] = json_num_or(in, "concurrency", NAN);
    row->x[AUDIT_MAX_TOKENS] = json_num_or(in, "max_tokens", NAN);
    if (isnan(row->x[AUDIT_REPEAT])) {
        row->x[AUDIT_OUTPUT_TOKENS_PER_S] = json_num_or(result, "output_tokens", NAN) /
                                            row->x[AUDIT_DURATION_S];
    }
    int rc = set_text(r, row, AUDIT_LENGTHS, json_str_or(result, "lengths", ""), e);
    json_decref(result);
    json_decref(in);
    return rc;
}

static int add_repeat(struct reader *r, const struct report_variant *v,
                      const struct report_stage *st, const struct store_energy *g, struct err *e) {
    struct audit_row *row = add_row(r, v, AUDIT_SERVE, st, g->window, e);
    if (!row) {
        return EE_NOMEM;
    }
    static const struct report_repeat none = {0};
    size_t repeat = repeat_of(g);
    const struct report_repeat *sums = repeat < v->n_repeats ? &v->repeats[repeat] : &none;
    row->x[AUDIT_REPEAT] = (double)repeat;
    int rc = set_window(r, st, g, row, e);
    set_requests(sums, row);
    if (sums->ok > 0) {
        row->x[AUDIT_OUTPUT_TOKENS_PER_S] = sums->tokens / row->x[AUDIT_DURATION_S];
    }
    return rc ? rc : set_settings(r, st, row, e);
}

static double present_or_nan(const struct quantity *q) {
    return q->present ? q->value : (double)NAN;
}

/* Mean joules of the starts that load_s is the mean of: from a cold page cache, else warm. */
static double mean_load_j(const struct report_variant *v) {
    static const char *const caches[] = {"cold", "warm"};
    for (size_t c = 0; c < 2; c++) {
        double sum = 0;
        double starts = 0;
        for (size_t i = 0; i < v->n_starts; i++) {
            const struct store_cold_start *s = &v->starts[i];
            if (strcmp(s->cache, caches[c]) == 0 && isfinite(s->joules)) {
                sum += s->joules;
                starts++;
            }
        }
        if (starts > 0) {
            return sum / starts;
        }
    }
    return NAN;
}

/* All repeats together. */
static int add_serving(struct reader *r, const struct report_variant *v,
                       const struct report_stage *st, struct err *e) {
    struct audit_row *row = add_row(r, v, AUDIT_SERVE, st, "", e);
    if (!row) {
        return EE_NOMEM;
    }
    const struct metrics_input *in = &v->input;
    const struct report_repeat all = sum_of(v);
    double seconds = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < st->n_energies; i++) {
        if (is_repeat_total(&st->energies[i])) {
            rc = set_window(r, st, &st->energies[i], row, e); /* source and scope; sums follow */
            seconds += row->x[AUDIT_DURATION_S];
        }
    }
    row->x[AUDIT_ENERGY_J] = present_or_nan(&in->serve_j);
    row->x[AUDIT_POWER_MEAN_W] = present_or_nan(&in->serve_w);
    row->x[AUDIT_DURATION_S] = seconds > 0 ? seconds : (double)NAN;
    row->x[AUDIT_LOAD_S] = present_or_nan(&in->load_s);
    row->x[AUDIT_LOAD_J] = mean_load_j(v);
    set_requests(&all, row);
    return rc ? rc : set_settings(r, st, row, e);
}

static int read_serve(struct reader *r, const struct report_variant *v,
                      const struct report_stage *st, struct err *e) {
    int rc = add_serving(r, v, st, e);
    for (size_t i = 0; !rc && i < st->n_energies; i++) {
        if (is_repeat_total(&st->energies[i])) {
            rc = add_repeat(r, v, st, &st->energies[i], e);
        }
    }
    return rc;
}

/* --- The other stages ------------------------------------------------------------------------------ */

/* Stages that are measured once: adapt, merge, quantize. */
static int read_once(struct reader *r, const struct report_variant *v,
                     const struct report_stage *st, enum audit_stage stage, struct err *e) {
    const struct store_energy *g = find_total(st, st->s.kind);
    if (!g) {
        return 0; /* a file that was used as it is */
    }
    struct audit_row *row = add_row(r, v, stage, st, "", e);
    if (!row) {
        return EE_NOMEM;
    }
    int rc = set_window(r, st, g, row, e);
    json_t *in = NULL;
    if (!rc && json_parse(st->s.inputs_json, strlen(st->s.inputs_json), "inputs", &in, NULL) == 0) {
        row->x[AUDIT_TRAIN_ROWS] = json_num_or(in, "train_rows", NAN);
    }
    json_decref(in);
    return rc;
}

/* One row a start; from a cold page cache where there were such starts, as load_s. */
static int read_load(struct reader *r, const struct report_variant *v,
                     const struct report_stage *st, struct err *e) {
    size_t n_cold = 0;
    int rc = 0;
    for (size_t i = 0; i < v->n_starts; i++) {
        n_cold += strcmp(v->starts[i].cache, "cold") == 0;
    }
    for (size_t i = 0; !rc && i < v->n_starts; i++) {
        const struct store_cold_start *c = &v->starts[i];
        if (strcmp(c->cache, n_cold ? "cold" : "warm") != 0) {
            continue;
        }
        char window[40];
        snprintf(window, sizeof(window), "%s/%d", c->cache, c->repeat);
        const struct store_energy *g = find_total(st, window);
        struct audit_row *row = add_row(r, v, AUDIT_LOAD, st, window, e);
        rc = !row ? EE_NOMEM : g ? set_window(r, st, g, row, e) : 0;
        if (!rc) {
            row->x[AUDIT_REPEAT] = c->repeat;
            row->x[AUDIT_LOAD_S] = c->context_s;
            row->x[AUDIT_LOAD_J] = c->joules;
        }
    }
    return rc;
}

static int read_score(struct reader *r, const struct report_variant *v,
                      const struct report_stage *st, struct err *e) {
    const struct quantity *q = &v->input.score;
    if (!q->present) {
        return 0;
    }
    struct audit_row *row = add_row(r, v, AUDIT_SCORE, st, "", e);
    if (!row) {
        return EE_NOMEM;
    }
    row->x[AUDIT_SCORE_MEAN] = q->value;
    row->x[AUDIT_SCORE_MAX] = v->input.score_max;
    row->x[AUDIT_ITEMS] = (double)q->n;
    double sd = stats_sd(v->input.items.scores, v->input.items.n);
    if (sd > 0) {
        row->x[AUDIT_SCORE_SE] = sd / sqrt((double)q->n);
    }
    return 0;
}

static int read_stage(struct reader *r, const struct report_variant *v, enum report_kind kind,
                      struct err *e) {
    const struct report_stage *st = v->stages[kind];
    switch (kind) {
    case REPORT_ADAPT:
        return read_once(r, v, st, AUDIT_ADAPT, e);
    case REPORT_MERGE:
        return read_once(r, v, st, AUDIT_MERGE, e);
    case REPORT_QUANTIZE:
        return read_once(r, v, st, AUDIT_QUANTIZE, e);
    case REPORT_LOAD:
        return read_load(r, v, st, e);
    case REPORT_SERVE:
        return read_serve(r, v, st, e);
    case REPORT_SCORE:
        return read_score(r, v, st, e);
    case REPORT_KINDS:
        break;
    }
    return 0;
}

static bool is_read_before(const struct report_run *run, size_t variant, enum report_kind kind) {
    for (size_t i = 0; i < variant; i++) {
        if (run->variants[i].stages[kind] == run->variants[variant].stages[kind]) {
            return true;
        }
    }
    return false;
}

static int read_variants(struct reader *r, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < r->run->n_variants; i++) {
        const struct report_variant *v = &r->run->variants[i];
        for (int kind = 0; !rc && kind < REPORT_KINDS; kind++) {
            const struct report_stage *st = v->stages[kind];
            if (st && !report_stage_failed(st) &&
                !is_read_before(r->run, i, (enum report_kind)kind)) {
                rc = read_stage(r, v, (enum report_kind)kind, e);
            }
        }
    }
    return rc;
}

/* The first GPU's name; runs on unlike GPUs at once do not exist. */
static int find_gpu_model(struct reader *r, struct err *e) {
    json_t *machine = NULL;
    r->gpu_model = "";
    if (r->run->n_machines == 0 ||
        json_parse(r->run->machines[0].json, strlen(r->run->machines[0].json), "machine", &machine,
                   NULL)) {
        return 0;
    }
    const json_t *gpu = json_array_get(json_object_get(machine, "gpus"), 0);
    const char *name = json_is_string(gpu) ? json_string_value(gpu) : json_str_or(gpu, "name", "");
    r->gpu_model = fmt_utf8(&r->set->arena, name);
    json_decref(machine);
    return r->gpu_model ? 0 : out_of_memory(e);
}

int audit_set_add_run(struct audit_set *s, const struct report_run *run, struct err *e) {
    struct reader r = {.set = s, .run = run};
    int rc = find_gpu_model(&r, e);
    return rc ? rc : read_variants(&r, e);
}

int audit_set_read_run(struct audit_set *s, const char *run_dir, struct err *e) {
    struct report_run *run = NULL;
    int rc = report_run_load(run_dir, &run, e);
    rc = rc ? rc : audit_set_add_run(s, run, e);
    report_run_free(run);
    return rc;
}
