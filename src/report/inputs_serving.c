#include "report/inputs.h"

#include "stats/stats.h"

#include "base/clock.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

/* One latency of every request that has it. */
struct sample {
    double *values;
    size_t n;
};

struct latencies {
    struct sample ttft, tpot, e2e;
    int64_t gap_ns; /* between output tokens, all requests together */
    int64_t n_gaps;
    const char *wrong; /* timestamps that cannot be; NULL when all can */
};

/* Makes room for a time of each of n requests. */
static int make_room(struct arena *a, size_t n, struct latencies *l, struct err *e) {
    struct sample *samples[] = {&l->ttft, &l->tpot, &l->e2e};
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        samples[i]->values = arena_array(a, n, sizeof(double));
        if (n && !samples[i]->values) {
            return err_set(e, EE_NOMEM, "latencies: out of memory");
        }
    }
    return 0;
}

static int add_request(const struct store_request_times *r, void *ctx, struct err *e) {
    (void)e;
    struct latencies *l = ctx;
    if (l->wrong || !r->is_ok || r->output_tokens < 1) {
        return 0; /* no first token to time */
    }
    if (r->first_token_ns < r->queued_ns || r->last_token_ns < r->first_token_ns) {
        l->wrong = "a request has a token before it was asked for";
        return 0;
    }
    int64_t stream_ns = r->last_token_ns - r->first_token_ns;
    l->ttft.values[l->ttft.n++] = clock_ns_to_s(r->first_token_ns - r->queued_ns);
    l->e2e.values[l->e2e.n++] = clock_ns_to_s(r->last_token_ns - r->queued_ns);
    if (r->output_tokens > 1) {
        double gaps = (double)(r->output_tokens - 1);
        l->tpot.values[l->tpot.n++] = clock_ns_to_s(stream_ns) / gaps;
        l->gap_ns += stream_ns;
        l->n_gaps += r->output_tokens - 1;
    }
    return 0;
}

/* Sorts the sample. */
static struct report_curve curve_of(struct sample *s) {
    struct report_curve c = {.n = s->n};
    stats_sort(s->values, s->n);
    for (int i = 0; i < REPORT_CURVE_POINTS; i++) {
        c.q[i] = stats_quantile(s->values, s->n, i / (REPORT_CURVE_POINTS - 1.0));
    }
    return c;
}

static struct quantity sample_mean(const struct sample *s) {
    /* No interval: requests of one batch slow each other down, so they are no independent draws. */
    return s->n ? quantity_of(stats_mean(s->values, s->n), s->n)
                : quantity_missing("no request has such a time");
}

/* Of a sorted sample. */
static struct quantity sample_percentile(const struct sample *s, double p) {
    if (s->n == 0) {
        return quantity_missing("no request has such a time");
    }
    if (p > 0.5 && !stats_bounds_quantile(s->n, p)) {
        struct quantity q = quantity_of(s->values[s->n - 1], s->n);
        q.low = q.value;
        q.high = INFINITY;
        q.flags = QUANTITY_AT_LEAST;
        return q;
    }
    return quantity_of(stats_quantile(s->values, s->n, p), s->n);
}

static void set_latencies_missing(struct metrics_input *in, const char *why) {
    struct quantity *all[] = {&in->ttft_mean_s, &in->ttft_p50_s, &in->ttft_p95_s, &in->tpot_mean_s,
                              &in->itl_mean_s,  &in->e2e_mean_s, &in->e2e_p50_s,  &in->e2e_p95_s};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = quantity_missing(why);
    }
}

static int fill_latencies(struct store *s, struct arena *a, struct report_variant *v,
                          struct err *e) {
    struct metrics_input *in = &v->input;
    const int64_t stage_id = v->stages[REPORT_SERVE]->s.stage_id;
    size_t n = 0;
    struct latencies l = {0};
    int rc = store_count_requests(s, stage_id, &n, e);
    rc = rc ? rc : make_room(a, n, &l, e);
    rc = rc ? rc : store_each_request_times(s, stage_id, add_request, &l, e);
    if (rc) {
        return rc;
    }
    if (l.wrong) {
        set_latencies_missing(in, l.wrong);
        return 0;
    }
    v->ttft = curve_of(&l.ttft);
    v->tpot = curve_of(&l.tpot);
    v->e2e = curve_of(&l.e2e);
    in->ttft_mean_s = sample_mean(&l.ttft);
    in->ttft_p50_s = sample_percentile(&l.ttft, 0.5);
    in->ttft_p95_s = sample_percentile(&l.ttft, 0.95);
    in->tpot_mean_s = sample_mean(&l.tpot);
    in->e2e_mean_s = sample_mean(&l.e2e);
    in->e2e_p50_s = sample_percentile(&l.e2e, 0.5);
    in->e2e_p95_s = sample_percentile(&l.e2e, 0.95);
    in->itl_mean_s = l.n_gaps
                         ? quantity_of(clock_ns_to_s(l.gap_ns) / (double)l.n_gaps, (size_t)l.n_gaps)
                         : quantity_missing("no request has two output tokens");
    return 0;
}

static void set_serving_missing(struct metrics_input *in, const char *why) {
    in->requests_ok = quantity_missing(why);
    in->requests_failed = quantity_missing(why);
    in->output_tokens_per_s = quantity_missing(why);
    set_latencies_missing(in, why);
}

/* Counts and throughput as the stage summed them up. */
static void fill_counts(struct arena *a, struct metrics_input *in, const json_t *result) {
    int64_t ok = json_int_or(result, "ok", -1);
    int64_t failed = json_int_or(result, "failed", -1);
    int64_t repeats = json_int_or(result, "repeats", 1);
    const char *lengths = json_str_or(result, "lengths", "natural");
    double rate = json_num_or(result, "output_tokens_per_s", NAN);
    unsigned flags = (failed > 0 ? QUANTITY_SOME_FAILED : 0u) |
                     (strcmp(lengths, "forced") == 0 ? QUANTITY_FORCED : 0u);
    if (ok < 0 || failed < 0) {
        set_serving_missing(in, "the serve stage did not count its requests");
        return;
    }
    in->requests_failed = quantity_of((double)failed, 0);
    if (ok == 0) {
        in->requests_ok = failed ? inputs_missing(a, "all %lld requests failed", (long long)failed)
                                 : quantity_missing("no request was made");
        in->output_tokens_per_s = in->requests_ok;
        return;
    }
    in->requests_ok = quantity_of((double)ok, 0);
    in->requests_ok.flags = flags;
    in->output_tokens_per_s = isfinite(rate)
                                  ? quantity_of(rate, repeats > 0 ? (size_t)repeats : 1)
                                  : quantity_missing("the serve stage did not report it");
    in->output_tokens_per_s.flags = flags;
}

int inputs_serving(struct store *s, struct arena *a, struct report_variant *v, struct err *e) {
    const char *why = NULL;
    int rc = inputs_stage_gap(a, v, REPORT_SERVE, &why, e);
    if (rc || why) {
        set_serving_missing(&v->input, why ? why : "");
        return rc;
    }
    json_t *result = inputs_result(v->stages[REPORT_SERVE]);
    if (!json_is_object(result)) {
        set_serving_missing(&v->input, "the serve stage has no readable result");
    } else {
        fill_counts(a, &v->input, result);
        rc = fill_latencies(s, a, v, e);
    }
    json_decref(result);
    return rc;
}
