/*
 * The requests of a serve stage, read once and one by one, since there may be a million: 24 bytes of
 * each are kept until their percentiles are known, and nothing after that. The gaps between their
 * tokens are counted only.
 */
#include "report/inputs.h"

#include "stats/histogram.h"
#include "stats/stats.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A repeat's number is from a file: one that no run has is refused, not allocated for. */
enum { MOST_REPEATS = 100000 };

/* One latency of every request that has it. */
struct sample {
    double *values;
    size_t n;
};

struct reading {
    const struct costing *costing;
    struct sample ttft, tpot, e2e;
    struct histogram *gaps_us;
    int64_t gap_ns; /* between output tokens, all requests together */
    int64_t n_gaps;
    size_t n_within_slo;
    struct report_repeat *repeats;
    size_t n_repeats, cap_repeats;
    const char *wrong; /* what cannot be; NULL when all can */
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "requests: out of memory");
}

/* --- One request ------------------------------------------------------------------------------------ */

bool inputs_has_slo(const struct costing *k) {
    return !isnan(k->slo_ttft_s) || !isnan(k->slo_tpot_s) || !isnan(k->slo_e2e_s);
}

static bool within_slo(const struct costing *k, const struct store_request_times *r) {
    double ttft = clock_ns_to_s(r->first_token_ns - r->queued_ns);
    double e2e = clock_ns_to_s(r->last_token_ns - r->queued_ns);
    double gaps = (double)(r->output_tokens - 1);
    double tpot = gaps > 0 ? (e2e - ttft) / gaps : 0;
    /* A limit that is not set is NAN, and nothing is over it. */
    return !(ttft > k->slo_ttft_s) && !(e2e > k->slo_e2e_s) && !(tpot > k->slo_tpot_s);
}

/* NULL, with l->wrong or e set, where there is no such repeat. */
static struct report_repeat *repeat_of(struct reading *l, int repeat, struct err *e) {
    if (repeat < 0 || repeat >= MOST_REPEATS) {
        l->wrong = "a request is of a repeat that no run has";
        return NULL;
    }
    size_t need = (size_t)repeat + 1;
    if (need > l->cap_repeats) {
        size_t cap = need * 2;
        struct report_repeat *more = realloc(l->repeats, cap * sizeof(*more));
        if (!more) {
            out_of_memory(e);
            return NULL;
        }
        memset(more + l->cap_repeats, 0, (cap - l->cap_repeats) * sizeof(*more));
        l->repeats = more;
        l->cap_repeats = cap;
    }
    l->n_repeats = need > l->n_repeats ? need : l->n_repeats;
    return &l->repeats[repeat];
}

static void add_to_repeat(struct report_repeat *s, const struct store_request_times *q) {
    bool is_first = s->ok + s->failed == 0;
    s->begin_ns = is_first || q->queued_ns < s->begin_ns ? q->queued_ns : s->begin_ns;
    s->end_ns = is_first || q->done_ns > s->end_ns ? q->done_ns : s->end_ns;
    if (!q->is_ok) {
        s->failed++;
        return;
    }
    s->ok++;
    s->tokens += (double)q->output_tokens;
    s->longest = fmax(s->longest, (double)q->output_tokens);
    s->ttft_s += clock_ns_to_s(q->first_token_ns - q->queued_ns);
    s->gap_s += clock_ns_to_s(q->last_token_ns - q->first_token_ns);
    s->gaps += q->output_tokens > 1 ? (double)(q->output_tokens - 1) : 0;
    s->slowest_s = fmax(s->slowest_s, clock_ns_to_s(q->last_token_ns - q->queued_ns));
}

/* Where the times of single tokens were not stored there are none. */
static void add_gaps(struct reading *l, const struct store_request_times *r) {
    uint32_t before = 0;
    for (size_t i = 0; i < r->events_bytes / 4; i++) {
        uint32_t us = store_event_us(r->events, i);
        if (us < before) {
            l->wrong = "a request's tokens are not in the order of their times";
            return;
        }
        histogram_add(l->gaps_us, us - before);
        before = us;
    }
}

static void add_latencies(struct reading *l, const struct store_request_times *r) {
    if (l->wrong || r->output_tokens < 1) {
        return; /* no first token to time */
    }
    if (r->first_token_ns < r->queued_ns || r->last_token_ns < r->first_token_ns) {
        l->wrong = "a request has a token before it was asked for";
        return;
    }
    int64_t stream_ns = r->last_token_ns - r->first_token_ns;
    l->ttft.values[l->ttft.n++] = clock_ns_to_s(r->first_token_ns - r->queued_ns);
    l->e2e.values[l->e2e.n++] = clock_ns_to_s(r->last_token_ns - r->queued_ns);
    if (r->output_tokens > 1) {
        double gaps = (double)(r->output_tokens - 1);
        l->tpot.values[l->tpot.n++] = clock_ns_to_s(stream_ns) / gaps;
        l->gap_ns += stream_ns;
        l->n_gaps += r->output_tokens - 1;
        add_gaps(l, r);
    }
}

static int add_request(const struct store_request_times *r, void *ctx, struct err *e) {
    struct reading *l = ctx;
    struct report_repeat *repeat = repeat_of(l, r->repeat, e);
    if (!repeat) {
        return l->wrong ? 0 : EE_NOMEM;
    }
    add_to_repeat(repeat, r);
    if (r->is_ok) {
        l->n_within_slo += within_slo(l->costing, r);
        add_latencies(l, r);
    }
    return 0;
}

/* --- All of them ------------------------------------------------------------------------------------ */

/* Sorts the sample. */
static struct report_curve curve_of(struct sample *s) {
    struct report_curve c = {.n = s->n};
    stats_sort(s->values, s->n);
    for (int i = 0; i < REPORT_CURVE_POINTS; i++) {
        c.q[i] = stats_quantile(s->values, s->n, i / (REPORT_CURVE_POINTS - 1.0));
    }
    return c;
}

static struct report_curve gap_curve(const struct histogram *us) {
    struct report_curve c = {.n = (size_t)histogram_count(us)};
    for (int i = 0; i < REPORT_CURVE_POINTS; i++) {
        c.q[i] = 1e-6 * histogram_quantile(us, i / (REPORT_CURVE_POINTS - 1.0));
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

void inputs_no_latencies(struct metrics_input *in, const char *why) {
    struct quantity *all[] = {&in->ttft_mean_s, &in->ttft_p50_s, &in->ttft_p95_s, &in->tpot_mean_s,
                              &in->itl_mean_s,  &in->e2e_mean_s, &in->e2e_p50_s,  &in->e2e_p95_s};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = quantity_missing(why);
    }
}

static void fill_latencies(struct report_variant *v, struct reading *l) {
    struct metrics_input *in = &v->input;
    if (l->wrong) {
        inputs_no_latencies(in, l->wrong);
        return;
    }
    v->ttft = curve_of(&l->ttft);
    v->tpot = curve_of(&l->tpot);
    v->e2e = curve_of(&l->e2e);
    v->itl = gap_curve(l->gaps_us);
    in->ttft_mean_s = sample_mean(&l->ttft);
    in->ttft_p50_s = sample_percentile(&l->ttft, 0.5);
    in->ttft_p95_s = sample_percentile(&l->ttft, 0.95);
    in->tpot_mean_s = sample_mean(&l->tpot);
    in->e2e_mean_s = sample_mean(&l->e2e);
    in->e2e_p50_s = sample_percentile(&l->e2e, 0.5);
    in->e2e_p95_s = sample_percentile(&l->e2e, 0.95);
    in->itl_mean_s = l->n_gaps ? quantity_of(clock_ns_to_s(l->gap_ns) / (double)l->n_gaps,
                                             (size_t)l->n_gaps)
                               : quantity_missing("no request has two output tokens");
}

static int keep_repeats(struct arena *a, struct report_variant *v, const struct reading *l,
                        struct err *e) {
    v->repeats = arena_array(a, l->n_repeats, sizeof(*v->repeats));
    if (l->n_repeats && !v->repeats) {
        return out_of_memory(e);
    }
    if (l->n_repeats) {
        memcpy(v->repeats, l->repeats, l->n_repeats * sizeof(*v->repeats));
    }
    v->n_repeats = l->n_repeats;
    v->n_within_slo = l->n_within_slo;
    return 0;
}

int inputs_requests(struct store *s, struct report_run *run, struct report_variant *v,
                    struct err *e) {
    const int64_t stage_id = v->stages[REPORT_SERVE]->s.stage_id;
    struct reading l = {.costing = &run->costing, .gaps_us = histogram_new()};
    struct sample *samples[] = {&l.ttft, &l.tpot, &l.e2e};
    size_t n = 0;
    int rc = l.gaps_us ? store_count_requests(s, stage_id, &n, e) : out_of_memory(e);
    for (size_t i = 0; !rc && i < sizeof(samples) / sizeof(samples[0]); i++) {
        samples[i]->values = malloc((n + 1) * sizeof(double));
        rc = samples[i]->values ? 0 : out_of_memory(e);
    }
    rc = rc ? rc : store_each_request_times(s, stage_id, add_request, &l, e);
    if (!rc) {
        fill_latencies(v, &l);
        rc = keep_repeats(&run->arena, v, &l, e);
    }
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        free(samples[i]->values);
    }
    histogram_free(l.gaps_us);
    free(l.repeats);
    return rc;
}
