/* What the economics of a variant are made of: the plan's part as it is, and what was measured. */
#include "report/inputs.h"

#include "base/clock.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

#define S_PER_HOUR 3600.0

/* --- Serving: rates, tokens, energy ------------------------------------------------------------------ */

/* The rate at which one replica answers, and answers within the SLO. An open loop tells neither: its
 * rate is what was asked for, not what the replica can do. */
static void fill_rates(struct report_variant *v, double seconds, bool is_open) {
    struct metrics_input *in = &v->input;
    struct quantity *all = &in->econ[ECON(throughput_per_h)];
    struct quantity *good = &in->econ[ECON(capacity_per_h)];
    if (!in->requests_ok.present || !(seconds > 0)) {
        *all = in->requests_ok.present ? quantity_missing("the serve stage did not tell how long "
                                                          "it took")
                                       : in->requests_ok;
        *good = *all;
        return;
    }
    if (is_open) {
        *all = quantity_missing("served in an open loop: its rate is what was offered, not what "
                                "the server can do");
        *good = *all;
        return;
    }
    *all = in->requests_ok;
    all->value = in->requests_ok.value / seconds * S_PER_HOUR;
    *good = *all;
    if (!inputs_has_slo(v->input.costing)) {
        return;
    }
    good->value = (double)v->n_within_slo / seconds * S_PER_HOUR;
    if (v->n_within_slo == 0) {
        *good = quantity_missing("no request was answered within the SLO");
    }
}

static struct quantity per_request(const struct quantity *requests, double tokens) {
    if (!requests->present) {
        return *requests;
    }
    if (!(tokens >= 0)) {
        return quantity_missing("the serve stage did not count its tokens");
    }
    struct quantity q = *requests;
    q.value = tokens / requests->value;
    return q;
}

/* {"watts", "low_w", "high_w", "quality", "scope"} of the serve stage, or why there is none. */
static struct quantity idle_quantity(struct arena *a, const json_t *idle, const char *which) {
    const json_t *o = json_object_get(idle, which);
    double watts = json_num_or(o, "watts", (double)NAN);
    if (!(watts >= 0)) {
        return quantity_missing(arena_strdup(a, json_str_or(o, "reason", "")));
    }
    struct quantity q = quantity_of(watts, 0);
    q.low = json_num_or(o, "low_w", (double)NAN);
    q.high = json_num_or(o, "high_w", (double)NAN);
    q.scope = arena_strdup(a, json_str_or(o, "scope", ""));
    q.flags = QUANTITY_INSTRUMENT;
    q.flags |= strcmp(json_str_or(o, "quality", ""), "modelled") == 0 ? QUANTITY_MODELLED : 0;
    return q;
}

/* Idle power with the model and without, as measured; what the plan gives goes before it. */
static void fill_idle(struct arena *a, struct metrics_input *in, const json_t *result) {
    const json_t *idle = json_object_get(result, "idle");
    struct quantity *resident = &in->econ[ECON(idle_w)];
    in->idle_unloaded_w = quantity_missing("not measured");
    if (!json_is_object(idle)) {
        return;
    }
    in->idle_unloaded_w = idle_quantity(a, idle, "bare");
    if (!resident->present) {
        *resident = idle_quantity(a, idle, "resident");
    }
}

static void fill_serving(struct arena *a, struct report_variant *v) {
    struct metrics_input *in = &v->input;
    const struct report_stage *st = v->stages[REPORT_SERVE];
    json_t *result = st && !report_stage_failed(st) ? inputs_result(st) : NULL;
    in->concurrency = json_num_or(result, "concurrency", (double)NAN);
    in->econ[ECON(input_tokens)] = per_request(&in->requests_ok,
                                               json_num_or(result, "prompt_tokens", -1));
    in->econ[ECON(output_tokens)] = per_request(&in->requests_ok,
                                                json_num_or(result, "output_tokens", -1));
    fill_idle(a, in, result);
    bool is_open = strcmp(json_str_or(result, "loop", "closed"), "open") == 0;
    fill_rates(v, json_num_or(result, "duration_s", -1), is_open);
    json_decref(result);
}

/* Joules of one request, gross and above the idle of a replica that holds the model. */
static void fill_energy(struct metrics_input *in) {
    struct quantity *gross = &in->econ[ECON(request_j)];
    struct quantity *above = &in->econ[ECON(request_above_idle_j)];
    const struct quantity *idle = &in->econ[ECON(idle_w)];
    *gross = in->serve_j.present ? in->requests_ok : in->serve_j;
    if (in->serve_j.present && in->requests_ok.present) {
        *gross = in->serve_j;
        gross->value = in->serve_j.value / in->requests_ok.value;
        gross->low = in->serve_j.low / in->requests_ok.value;
        gross->high = in->serve_j.high / in->requests_ok.value;
        gross->flags |= in->requests_ok.flags;
    }
    *above = *gross;
    if (gross->present && !idle->present) {
        *above = *idle;
    } else if (gross->present) {
        double seconds = in->serve_j.value / in->serve_w.value;
        above->value -= idle->value * seconds / in->requests_ok.value;
        above->low = above->high = (double)NAN;
        above->flags |= idle->flags & ~(unsigned)QUANTITY_OF_INTERVAL;
        if (above->value < 0) {
            *above = quantity_missing("idle_w is more than the machine drew while serving");
        }
    }
}

/* --- Before serving ------------------------------------------------------------------------------------ */

/* Seconds of a window of the stage; 0 without it. */
static double window_s(const struct report_stage *st, const char *window) {
    for (size_t i = 0; i < st->n_energies; i++) {
        if (strcmp(st->energies[i].window, window) == 0) {
            return (st->energies[i].end_ns - st->energies[i].start_ns) / 1e9;
        }
    }
    return 0;
}

/* Hardware time of the stages whose energy prepare_j counts. */
static void fill_once(struct metrics_input *in, const struct report_variant *v) {
    static const enum report_kind kinds[] = {REPORT_ADAPT, REPORT_MERGE, REPORT_QUANTIZE};
    struct quantity *seconds = &in->econ[ECON(once_s)];
    in->econ[ECON(once_j)] = in->prepare_j;
    if (in->prepare_j.present && (in->prepare_j.flags & QUANTITY_NOTHING_SPENT)) {
        *seconds = quantity_of(0, 0);
        return;
    }
    *seconds = quantity_of(0, 0);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct report_stage *st = v->stages[kinds[i]];
        if (st && report_stage_failed(st)) {
            *seconds = in->prepare_j;
            return;
        }
        const char *resumed = st && kinds[i] == REPORT_ADAPT ? inputs_resumed(st) : NULL;
        if (resumed) {
            *seconds = quantity_missing(resumed);
            return;
        }
        if (st && !inputs_used_as_is(st)) {
            seconds->value += st->s.wall_s + window_s(st, "quantize/source") +
                              window_s(st, INPUTS_ROWS_WINDOW) * inputs_adapt_rows(st).factor;
        }
    }
    if (strcmp(v->v.method, "none") != 0 && !v->stages[REPORT_ADAPT]) {
        *seconds = quantity_missing("the run has no adapt stage for it");
    }
}

/* --- Quality and the API --------------------------------------------------------------------------------- */

static void fill_accepted(const struct costing *k, struct metrics_input *in) {
    struct quantity *q = &in->econ[ECON(accepted_share)];
    double range = in->score_max - in->score_min;
    if (isnan(k->accept)) {
        *q = quantity_missing(NULL);
        return;
    }
    if (!in->score.present || !(range > 0)) {
        *q = in->score.present ? quantity_missing("the scorer's range is unknown") : in->score;
        return;
    }
    size_t n_good = 0;
    for (size_t i = 0; i < in->items.n; i++) {
        n_good += (in->items.scores[i] - in->score_min) / range >= k->accept;
    }
    *q = quantity_of((double)n_good / (double)in->items.n, in->items.n);
    q->note = in->score.note;
}

/* The variant whose answers stand for the API's; NULL where the plan names none that there is. */
static const struct report_variant *api_variant(const struct report_run *run,
                                                const struct report_variant *v) {
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *w = &run->variants[i];
        if (strcmp(w->v.model_id, run->costing.api_model) == 0 &&
            strcmp(w->v.task, v->v.task) == 0 && w->input.requests_ok.present) {
            return w;
        }
    }
    return NULL;
}

static struct quantity scaled(const struct quantity *q, double factor) {
    struct quantity out = *q;
    out.value *= factor;
    return out;
}

/* Token counts are the API's own where the run has them, else as our model counts them. */
static void fill_api(struct report_run *run, struct report_variant *v) {
    const struct costing *k = &run->costing;
    struct metrics_input *in = &v->input;
    const struct metrics_input *from = in;
    if (k->api_model) {
        const struct report_variant *api = api_variant(run, v);
        from = api ? &api->input : NULL;
        if (api) {
            in->items_api = api->input.items;
        }
    }
    struct quantity none = inputs_missing(&run->arena, "the run has no served %s of api_model %s",
                                          v->v.task, k->api_model ? k->api_model : "");
    struct quantity input = from ? from->econ[ECON(input_tokens)] : none;
    struct quantity output = from ? from->econ[ECON(output_tokens)] : none;
    double uncached = 1 - k->api_cached - k->api_written;
    in->econ[ECON(api_uncached_tokens)] = scaled(&input, uncached);
    in->econ[ECON(api_cached_tokens)] = scaled(&input, k->api_cached);
    in->econ[ECON(api_written_tokens)] = scaled(&input, k->api_written);
    in->econ[ECON(api_output_tokens)] = output;
    if (!k->api_model && in->econ[ECON(api_output_tokens)].present) {
        in->econ[ECON(api_output_tokens)].note = "API tokens as our model counts them";
    }
}

int inputs_costs(struct report_run *run, struct err *e) {
    int rc = 0;
    for (size_t i = 0; !rc && i < run->n_variants; i++) {
        struct report_variant *v = &run->variants[i];
        struct metrics_input *in = &v->input;
        in->costing = &run->costing;
        in->seed = run->seed;
        memcpy(in->econ, run->costing.econ, sizeof(in->econ));
        in->econ[ECON(start_s)] = in->load_s;
        fill_serving(&run->arena, v);
        fill_energy(in);
        fill_once(in, v);
        fill_accepted(&run->costing, in);
        rc = inputs_spread(run, v, e);
    }
    for (size_t i = 0; !rc && i < run->n_variants; i++) {
        fill_api(run, &run->variants[i]);
    }
    return rc;
}
