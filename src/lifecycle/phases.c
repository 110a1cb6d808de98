#include "lifecycle/phases.h"

#include "base/clock.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Long enough for a few sensor periods each, and often enough that drift is not taken for a phase. */
static const double cycle_s = 5;
static const double prefill_share = 0.4;
static const double decode_share =
    0.4; /* the rest is idle, without which time and tokens go together */
static const double min_period_s = 0.25;
static const double updates_a_period = 3; /* so that a source's lag matters little */

/* ---- in the worker ---- */

static bool add_work(json_t *work, int64_t from_ns, int64_t to_ns, int64_t prefill,
                     int64_t decode) {
    return json_array_append_new(work,
                                 json_pack("[I, I, I, I]", (json_int_t)from_ns, (json_int_t)to_ns,
                                           (json_int_t)prefill, (json_int_t)decode)) == 0;
}

/* A request's prompt until its first token, and its other tokens until the last. */
static int add_request(json_t *work, const struct engine_request *q, const struct engine_result *r,
                       struct err *e) {
    if (!r->queued_ns || !r->done_ns) {
        return 0; /* never taken: the time was up */
    }
    if (r->finish == ENGINE_ERROR) {
        return err_set(e, EE_FAIL, "joules by phase: %s", r->error);
    }
    int64_t first_ns = r->n_tokens ? r->token_ns[0] : r->done_ns;
    bool ok = add_work(work, r->started_ns, first_ns, (int64_t)q->n_prompt, 0);
    if (ok && r->n_tokens > 1) {
        ok = add_work(work, first_ns, r->token_ns[r->n_tokens - 1], 0, (int64_t)r->n_tokens - 1);
    }
    return ok ? 0 : err_set(e, EE_NOMEM, "joules by phase: out of memory");
}

/* Answers of at most max_tokens, over and over until the time is up. */
static int answer_until(const struct phases_load *load, int max_tokens, int64_t until_ns,
                        json_t *work, struct err *e) {
    struct arena a = ARENA_INIT;
    struct engine_request *requests = arena_array(&a, load->n_requests, sizeof(*requests));
    struct engine_result *results = arena_array(&a, load->n_requests, sizeof(*results));
    int rc = requests && results ? 0 : err_set(e, EE_NOMEM, "joules by phase: out of memory");
    for (size_t i = 0; i < load->n_requests && !rc; i++) {
        requests[i] = load->requests[i];
        requests[i].force_length = true;
        if (requests[i].max_tokens > max_tokens) {
            requests[i].max_tokens = max_tokens;
        }
    }
    while (!rc && clock_mono_ns() < until_ns) {
        const struct engine_workload once = {.requests = requests,
                                             .n_requests = load->n_requests,
                                             .concurrency = load->concurrency,
                                             .until_ns = until_ns};
        struct engine_run_stats stats;
        struct arena tokens = ARENA_INIT;
        memset(results, 0, load->n_requests * sizeof(*results));
        rc = engine_run(load->engine, &once, &tokens, results, &stats, e);
        for (size_t i = 0; i < load->n_requests && !rc; i++) {
            rc = add_request(work, &requests[i], &results[i], e);
        }
        arena_release(&tokens);
    }
    arena_release(&a);
    return rc;
}

static int64_t after(double seconds) {
    return clock_mono_ns() + (int64_t)(seconds * 1e9);
}

int phases_run(struct worker *w, const struct phases_load *load, json_t **work, struct err *e) {
    int cycles = (int)fmax(3, round(load->seconds / cycle_s));
    double cycle = load->seconds / cycles;
    *work = json_array();
    int rc = *work ? worker_window_open(w, PHASES_WINDOW, e)
                   : err_set(e, EE_NOMEM, "joules by phase: out of memory");
    for (int i = 0; i < cycles && !rc; i++) {
        rc = answer_until(load, 1, after(prefill_share * cycle), *work, e);
        rc = rc ? rc : answer_until(load, INT32_MAX, after(decode_share * cycle), *work, e);
        clock_sleep_until_ns(after((1 - prefill_share - decode_share) * cycle));
    }
    return rc ? rc : worker_window_close(w, PHASES_WINDOW, e);
}

/* ---- in the parent ---- */

void phases_choose(const struct meter_component *c, size_t n, struct phases_sensors *out) {
    *out = (struct phases_sensors){.period_ns = (int64_t)(min_period_s * 1e9)};
    bool has_parts = false;
    for (size_t i = 0; i < n; i++) {
        has_parts = has_parts || (!c[i].whole && !c[i].modelled && !c[i].unreadable);
    }
    for (size_t i = 0; i < n; i++) {
        if (c[i].modelled || c[i].unreadable || (c[i].whole && has_parts)) {
            continue;
        }
        if (c[i].shared) {
            out->reason = "a sensor covers more than this job: its joules cannot be told apart";
            return;
        }
        int64_t period_ns = (int64_t)(updates_a_period * (double)c[i].update_ns);
        out->period_ns = period_ns > out->period_ns ? period_ns : out->period_ns;
        out->gain = fmax(out->gain, c[i].gain);
        out->at[out->n++] = i;
    }
    if (out->n == 0) {
        out->reason =
            "no sensor: energy modelled from CPU time cannot tell what a token of prefill "
            "and one of decode draw";
    }
}

static json_t *figure_json(const struct attr_figure *f) {
    return isfinite(f->value) && isfinite(f->low) && isfinite(f->high)
               ? json_pack("{s:f, s:f, s:f}", "value", f->value, "low", f->low, "high", f->high)
               : json_null();
}

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *fit_json(const struct attr_fit *f) {
    if (f->refused) {
        return json_pack("{s:s, s:I, s:o}", "refused", f->reason, "periods", (json_int_t)f->n,
                         "condition", number(f->condition));
    }
    return json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "prefill_token_j",
                     figure_json(&f->prefill_j), "decode_token_j", figure_json(&f->decode_j),
                     "base_w", figure_json(&f->base_w), "periods", (json_int_t)f->n, "condition",
                     number(f->condition), "residual_w", number(f->residual_w), "r2", number(f->r2),
                     "total_j", number(f->total_j), "unexplained_j", number(f->unexplained_j));
}

static int64_t work_int(const json_t *entry, size_t i) {
    return (int64_t)json_integer_value(json_array_get(entry, i));
}

/* The entries of work, and the time they span. */
static struct attr_work *read_work(const json_t *work, size_t *n, int64_t *begin_ns,
                                   int64_t *end_ns) {
    *n = json_array_size(work);
    *begin_ns = INT64_MAX;
    *end_ns = 0;
    struct attr_work *list = calloc(*n ? *n : 1, sizeof(*list));
    for (size_t i = 0; list && i < *n; i++) {
        const json_t *entry = json_array_get(work, i);
        list[i] = (struct attr_work){.start_ns = work_int(entry, 0),
                                     .end_ns = work_int(entry, 1),
                                     .prefill_tokens = (double)work_int(entry, 2),
                                     .decode_tokens = (double)work_int(entry, 3)};
        *begin_ns = list[i].start_ns < *begin_ns ? list[i].start_ns : *begin_ns;
        *end_ns = list[i].end_ns > *end_ns ? list[i].end_ns : *end_ns;
    }
    return list;
}

json_t *phases_result(const struct meter_sample *rows, size_t n_rows,
                      const struct phases_sensors *sensors, const json_t *work) {
    const struct attr_fit_opts opts = {.base_w = (double)NAN, .gain = sensors->gain};
    int64_t begin_ns;
    int64_t end_ns;
    size_t n_work;
    json_t *out = NULL;
    struct attr_work *list = read_work(work, &n_work, &begin_ns, &end_ns);
    struct attr_period *periods = calloc(n_rows ? n_rows : 1, sizeof(*periods));
    if (list && periods) {
        /* A row tells of the time since the one before it. */
        size_t from = 0;
        while (from < n_rows && rows[from].t_ns <= begin_ns) {
            from++;
        }
        size_t to = from;
        while (to < n_rows && rows[to].t_ns <= end_ns) {
            to++;
        }
        int64_t start_ns = from > 0 ? rows[from - 1].t_ns : begin_ns;
        struct attr_fit fit;
        size_t n = attribution_periods(rows + from, to - from, start_ns, sensors->at, sensors->n,
                                       list, n_work, sensors->period_ns, periods);
        attribution_fit(periods, n, &opts, &fit);
        out = fit_json(&fit);
    }
    free(list);
    free(periods);
    return out;
}
