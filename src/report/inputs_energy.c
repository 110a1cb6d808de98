#include "report/inputs.h"

#include "base/json.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The sum of some windows' totals. */
struct window_sum {
    double joules, low_j, high_j, above_idle_j, seconds;
    size_t n;
    unsigned flags;
    const char *scope;
    const char *gap; /* why there is no sum; NULL while there is one */
};

static const char *energy_gap(const struct store_energy *g) {
    if (strcmp(g->quality, "missing") == 0 || !isfinite(g->joules)) {
        return g->reason && *g->reason ? g->reason : "the window has no reading";
    }
    if (!isfinite(g->start_ns) || !isfinite(g->end_ns) || g->end_ns <= g->start_ns) {
        return "the window has no length";
    }
    return NULL;
}

static void add_window(struct window_sum *sum, const struct store_energy *g) {
    const char *gap = energy_gap(g);
    if (!gap && sum->scope && strcmp(sum->scope, g->scope) != 0) {
        gap = "its windows count different parts of the machine";
    }
    sum->gap = sum->gap ? sum->gap : gap;
    sum->scope = g->scope;
    sum->joules += g->joules;
    sum->low_j += g->low_j; /* the gain error is one for all windows: bounds add up */
    sum->high_j += g->high_j;
    sum->above_idle_j += g->above_idle_j; /* NAN without an idle baseline, and then for all */
    sum->seconds += (g->end_ns - g->start_ns) / 1e9;
    sum->n++;
    sum->flags |= strcmp(g->quality, "modelled") == 0 ? QUANTITY_MODELLED : 0;
    sum->flags |= g->is_short ? QUANTITY_SHORT : 0;
}

/* Adds up the totals of the stage's own window, or of its repeats. */
static void sum_windows(const struct report_stage *st, const char *kind, bool repeats,
                        struct window_sum *sum) {
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        bool is_ours = repeats ? report_is_repeat(g->window, kind) : strcmp(g->window, kind) == 0;
        if (is_ours && strcmp(g->component, "total") == 0) {
            add_window(sum, g);
        }
    }
}

struct inputs_rows inputs_adapt_rows(const struct report_stage *st) {
    struct inputs_rows rows = {0, (double)NAN};
    json_t *result = st ? inputs_result(st) : NULL;
    double low = json_num_or(result, "rows_low", 0);
    double high = json_num_or(result, "rows_high", 0);
    double wanted = json_num_or(result, "rows_wanted", 0);
    if (wanted > high && high > low) {
        rows.factor = (wanted - high) / (high - low);
    }
    const json_t *steps = json_object_get(result, "row_step_s");
    enum { MOST = 10000 };
    static const size_t few = 2;
    size_t n = json_array_size(steps) < MOST ? json_array_size(steps) : MOST;
    double *seconds = n >= few ? malloc(n * sizeof(*seconds)) : NULL;
    for (size_t i = 0; seconds && i < n; i++) {
        seconds[i] = json_number_value(json_array_get(steps, i));
    }
    double mean_low;
    double mean_high;
    if (seconds && stats_t_interval(seconds, n, 0.95, &mean_low, &mean_high)) {
        rows.spread = (mean_high - mean_low) / (mean_high + mean_low);
    }
    free(seconds);
    json_decref(result);
    return rows;
}

/* Rows that were not trained cost what the last ones did, each. */
static void add_rows(const struct report_stage *st, struct window_sum *sum) {
    const struct inputs_rows rows = inputs_adapt_rows(st);
    struct window_sum more = {0};
    if (rows.factor == 0) {
        return;
    }
    sum_windows(st, INPUTS_ROWS_WINDOW, false, &more);
    sum->gap = sum->gap ? sum->gap : more.n ? more.gap : "its rows have no energy window";
    double spread_j = more.joules * rows.factor * rows.spread; /* NAN: no interval */
    sum->joules += more.joules * rows.factor;
    sum->low_j += more.low_j * rows.factor - spread_j;
    sum->high_j += more.high_j * rows.factor + spread_j;
    sum->above_idle_j += more.above_idle_j * rows.factor;
    sum->seconds += more.seconds * rows.factor;
    sum->flags |= more.flags | QUANTITY_EXTRAPOLATED;
}

static struct quantity sum_quantity(const struct window_sum *sum) {
    struct quantity q = quantity_of(sum->joules, sum->n);
    q.flags = sum->flags;
    q.scope = sum->scope;
    if (isfinite(sum->low_j) && isfinite(sum->high_j)) {
        q.low = sum->low_j;
        q.high = sum->high_j;
        /* What is extrapolated has the spread of its steps in the bounds too. */
        q.flags |= sum->flags & QUANTITY_EXTRAPOLATED ? 0 : QUANTITY_INSTRUMENT;
    }
    return q;
}

bool inputs_used_as_is(const struct report_stage *st) {
    json_t *result = inputs_result(st);
    bool as_is = json_is_true(json_object_get(result, "used_as_is"));
    json_decref(result);
    return as_is;
}

/* A worker that was killed took its windows with it; the next one went on from its checkpoint. */
const char *inputs_resumed(const struct report_stage *st) {
    json_t *result = inputs_result(st);
    bool resumed = json_int_or(result, "resumed_from", 0) > 0;
    json_decref(result);
    return resumed ? "the training was resumed, and its first steps are in no window" : NULL;
}

/* Whether a stage that is not there leaves the sum unknown. What was served without having been
 * quantized had nothing to quantize. */
static bool is_needed(const struct report_variant *v, enum report_kind kind) {
    const struct report_stage *serve = v->stages[REPORT_SERVE];
    bool is_served = serve && !report_stage_failed(serve);
    return (kind == REPORT_ADAPT && strcmp(v->v.method, "none") != 0) ||
           (kind == REPORT_QUANTIZE && !is_served);
}

/*
 * E_adapt: what was spent before serving. Stages that the variant does not use cost nothing; one
 * that it used and that was not measured leaves the sum unknown.
 */
static int fill_prepare(struct arena *a, struct report_variant *v, struct err *e) {
    static const enum report_kind kinds[] = {REPORT_ADAPT, REPORT_MERGE, REPORT_QUANTIZE};
    struct quantity *q = &v->input.prepare_j;
    bool is_adapted = strcmp(v->v.method, "none") != 0;
    struct window_sum sum = {0};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *why = NULL;
        int rc = inputs_stage_gap(a, v, kinds[i], &why, e);
        if (rc) {
            return rc;
        }
        const struct report_stage *st = v->stages[kinds[i]];
        if ((!st && !is_needed(v, kinds[i])) || (!why && inputs_used_as_is(st))) {
            continue;
        }
        if (why) {
            *q = inputs_missing(a, "%s", why);
            return 0;
        }
        size_t before = sum.n;
        sum_windows(st, report_kind_name(kinds[i]), false, &sum);
        if (kinds[i] == REPORT_QUANTIZE) {
            sum_windows(st, "quantize/source", false, &sum);
        } else if (kinds[i] == REPORT_ADAPT) {
            add_rows(st, &sum);
            sum.gap = sum.gap ? sum.gap : inputs_resumed(st);
        }
        if (sum.n == before || sum.gap) {
            *q = inputs_missing(a, "%s: %s", report_kind_name(kinds[i]),
                                sum.gap ? sum.gap : "the stage has no energy window");
            return 0;
        }
    }
    if (sum.n == 0) {
        *q = quantity_of(0, 0);
        q->flags = QUANTITY_NOTHING_SPENT;
        return 0;
    }
    *q = sum_quantity(&sum);
    q->flags |= is_adapted ? 0 : QUANTITY_NO_ADAPTATION;
    return 0;
}

/* E_serve and mean power: all repeats together, since all their requests are counted. */
static int fill_serve(struct arena *a, struct report_variant *v, struct err *e) {
    struct metrics_input *in = &v->input;
    const char *why = NULL;
    int rc = inputs_stage_gap(a, v, REPORT_SERVE, &why, e);
    if (rc) {
        return rc;
    }
    struct window_sum sum = {0};
    if (!why) {
        sum_windows(v->stages[REPORT_SERVE], "serve", true, &sum);
        why = sum.n ? sum.gap : "the serve stage has no energy window";
    }
    if (!why && in->output_tokens_per_s.present && sum.n != in->output_tokens_per_s.n) {
        in->serve_j = inputs_missing(a, "%zu of %zu repeats have an energy window", sum.n,
                                     in->output_tokens_per_s.n);
        in->serve_w = in->serve_j;
        in->serve_above_idle_j = in->serve_j;
        return 0;
    }
    if (why) {
        in->serve_j = inputs_missing(a, "%s", why);
        in->serve_w = in->serve_j;
        in->serve_above_idle_j = in->serve_j;
        return 0;
    }
    in->serve_j = sum_quantity(&sum);
    in->serve_above_idle_j = in->serve_j;
    in->serve_above_idle_j.value = sum.above_idle_j;
    in->serve_above_idle_j.low = in->serve_above_idle_j.high = (double)NAN;
    if (isnan(sum.above_idle_j)) {
        in->serve_above_idle_j = quantity_missing("the machine's idle power was not measured");
    }
    in->serve_w = in->serve_j;
    in->serve_w.value /= sum.seconds;
    in->serve_w.low /= sum.seconds;
    in->serve_w.high /= sum.seconds;
    return 0;
}

static struct quantity phase_quantity(struct arena *a, const json_t *phases, const char *name,
                                      const char *note) {
    const json_t *figure = json_object_get(phases, name);
    struct quantity q = quantity_of(json_num_or(figure, "value", (double)NAN),
                                    (size_t)json_int_or(phases, "periods", 0));
    if (!isfinite(q.value)) {
        return quantity_missing("the load had no such tokens");
    }
    q.low = json_num_or(figure, "low", (double)NAN);
    q.high = json_num_or(figure, "high", (double)NAN);
    q.note = note;
    if (q.value < 0) {
        return inputs_missing(a, "too little to be told from noise: %.3g (%.3g to %.3g) J", q.value,
                              q.low, q.high);
    }
    return q;
}

/* Joules of a token by phase, or why not. */
static int fill_phases(struct arena *a, struct report_variant *v, struct err *e) {
    struct metrics_input *in = &v->input;
    const char *why = NULL;
    int rc = inputs_stage_gap(a, v, REPORT_SERVE, &why, e);
    if (rc) {
        return rc;
    }
    json_t *result = why ? NULL : inputs_result(v->stages[REPORT_SERVE]);
    const json_t *phases = json_object_get(result, "phases");
    const char *refused = json_str_or(phases, "refused", NULL);
    if (!why && !phases) {
        why = "the serve stage did not measure joules by phase";
    }
    if (why || refused) {
        in->prefill_token_j = inputs_missing(a, "%s", why ? why : refused);
        in->decode_token_j = in->prefill_token_j;
    } else {
        struct err note = ERR_INIT; /* for its formatting */
        err_set(&note, EE_FAIL, "residual %.3g W, R2 %.3f", json_num_or(phases, "residual_w", NAN),
                json_num_or(phases, "r2", NAN));
        const char *kept = arena_strdup(a, note.msg);
        in->prefill_token_j = phase_quantity(a, phases, "prefill_token_j", kept);
        in->decode_token_j = phase_quantity(a, phases, "decode_token_j", kept);
    }
    json_decref(result);
    return 0;
}

int inputs_energy(struct arena *a, struct report_variant *v, struct err *e) {
    int rc = fill_prepare(a, v, e);
    rc = rc ? rc : fill_serve(a, v, e);
    return rc ? rc : fill_phases(a, v, e);
}
