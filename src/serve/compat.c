#include "serve/compat.h"

#include "base/clock.h"
#include "serve/reply.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>

const char *const compat_names[COMPAT_TOOLS + 1] = {"vllm", "guidellm", "aiperf", NULL};

enum series { TTFT, TPOT, ITL, LATENCY, SERIES };

struct values {
    double *x;
    size_t n, cap;
};

/* What the tool has for its requests. */
struct sums {
    enum compat_tool tool;
    struct values series[SERIES];
    size_t n_ok, n_failed;
    int64_t input, output;
    int64_t first_ns, last_ns;
    bool no_memory;
};

static void add(struct sums *s, enum series k, double v) {
    struct values *a = &s->series[k];
    if (a->n == a->cap) {
        size_t cap = a->cap ? 2 * a->cap : 1024;
        double *grown = realloc(a->x, cap * sizeof(*grown));
        if (!grown) {
            s->no_memory = true;
            return;
        }
        a->x = grown;
        a->cap = cap;
    }
    a->x[a->n++] = v;
}

static double seconds(int64_t from_ns, int64_t to_ns) {
    return clock_ns_to_s(to_ns - from_ns);
}

/*
 * vllm bench serve: the clock starts before the connection is taken; every chunk with a choice is a
 * token, the one with the role alone and the one with the finish reason included; gaps of all chunks
 * are pooled, those of one read too.
 */
static void add_vllm(struct sums *s, const struct record *r, const struct reply *p) {
    double ttft = seconds(r->begun_ns, p->choice_ns[0]);
    double latency = seconds(r->begun_ns, p->choice_ns[p->n_choices - 1]);
    add(s, TTFT, ttft);
    add(s, LATENCY, latency);
    for (size_t i = 1; i < p->n_choices; i++) {
        add(s, ITL, seconds(p->choice_ns[i - 1], p->choice_ns[i]));
    }
    if (p->output_tokens > 1) {
        add(s, TPOT, (latency - ttft) / (double)(p->output_tokens - 1));
    }
}

/* GuideLLM: TPOT holds the first token too; its ITL is everybody's TPOT; latency is to the end. */
static void add_guidellm(struct sums *s, const struct record *r, const struct reply *p) {
    add(s, LATENCY, seconds(r->begun_ns, r->ended_ns));
    add(s, TTFT, seconds(r->begun_ns, p->first_token_ns));
    if (p->output_tokens > 0) {
        add(s, TPOT, seconds(r->begun_ns, p->last_token_ns) / (double)p->output_tokens);
    }
    if (p->output_tokens > 1) {
        add(s, ITL, seconds(p->first_token_ns, p->last_token_ns) / (double)(p->output_tokens - 1));
    }
}

/* AIPerf: first and last response with content; ITL is one value a request. */
static void add_aiperf(struct sums *s, const struct record *r, const struct reply *p) {
    double ttft = seconds(r->begun_ns, p->first_token_ns);
    double latency = seconds(r->begun_ns, p->last_token_ns);
    add(s, TTFT, ttft);
    add(s, LATENCY, latency);
    if (p->output_tokens > 1) {
        add(s, ITL, (latency - ttft) / (double)(p->output_tokens - 1));
    }
}

/* Whether the tool would count the request as answered. */
static bool is_answered(enum compat_tool tool, const struct reply *p) {
    bool whole = p->outcome == OUTCOME_OK || p->outcome == OUTCOME_TRUNCATED;
    if (tool == COMPAT_VLLM) {
        return (whole || p->outcome == OUTCOME_EMPTY) && p->n_choices > 0;
    }
    return whole && p->n_events > 0;
}

static void add_request(struct sums *s, const struct record *r, const struct reply *p) {
    if (p->outcome == OUTCOME_CUT || !r->begun_ns) {
        return;
    }
    if (!is_answered(s->tool, p)) {
        s->n_failed++;
        return;
    }
    s->n_ok++;
    s->input += p->prompt_tokens > 0 ? p->prompt_tokens : 0;
    s->output += p->output_tokens > 0 ? p->output_tokens : 0;
    s->first_ns = s->first_ns && s->first_ns < r->begun_ns ? s->first_ns : r->begun_ns;
    s->last_ns = r->ended_ns > s->last_ns ? r->ended_ns : s->last_ns;
    switch (s->tool) {
    case COMPAT_VLLM:
        add_vllm(s, r, p);
        break;
    case COMPAT_GUIDELLM:
        add_guidellm(s, r, p);
        break;
    default:
        add_aiperf(s, r, p);
        break;
    }
}

static void row_of_values(struct compat *out, const char *label, const char *unit, double scale,
                          struct values *v) {
    stats_sort(v->x, v->n);
    out->rows[out->n++] = (struct compat_row){.label = label,
                                              .unit = unit,
                                              .n = v->n,
                                              .mean = scale * stats_mean(v->x, v->n),
                                              .median = scale * stats_quantile(v->x, v->n, 0.5),
                                              .p90 = scale * stats_quantile(v->x, v->n, 0.9),
                                              .p99 = scale * stats_quantile(v->x, v->n, 0.99)};
}

static void row_of_one(struct compat *out, const char *label, const char *unit, double v) {
    const double none = (double)NAN;
    out->rows[out->n++] = (struct compat_row){label, unit, 1, v, none, none, none};
}

static void fill(struct sums *s, struct compat *out) {
    double duration = seconds(s->first_ns, s->last_ns);
    struct values *v = s->series;
    row_of_one(out, "successful requests", "", (double)s->n_ok);
    row_of_one(out, "failed requests", "", (double)s->n_failed);
    row_of_one(out, "benchmark duration", "s", duration);
    row_of_one(out, "input tokens", "", (double)s->input);
    row_of_one(out, "output tokens", "", (double)s->output);
    row_of_one(out, "request throughput", "req/s", (double)s->n_ok / duration);
    row_of_one(out, "output token throughput", "tok/s", (double)s->output / duration);
    row_of_one(out, "total token throughput", "tok/s", (double)(s->input + s->output) / duration);
    row_of_values(out, "TTFT", "ms", 1e3, &v[TTFT]);
    if (s->tool != COMPAT_AIPERF) {
        row_of_values(out, "TPOT", "ms", 1e3, &v[TPOT]);
    }
    row_of_values(out, "ITL", "ms", 1e3, &v[ITL]);
    if (s->tool == COMPAT_GUIDELLM) {
        row_of_values(out, "request latency", "s", 1, &v[LATENCY]);
    } else {
        row_of_values(out, s->tool == COMPAT_VLLM ? "E2EL" : "request latency", "ms", 1e3,
                      &v[LATENCY]);
    }
}

int compat_make(enum compat_tool tool, const struct load_result *load, const struct measures *m,
                struct compat *out, struct err *e) {
    static const char *const titles[] = {"as vllm bench serve would print it",
                                         "as GuideLLM would print it", "as AIPerf would print it"};
    struct sums s = {.tool = tool};
    struct reply_reader reader;
    *out = (struct compat){.title = titles[tool]};
    reply_reader_init(&reader);
    for (size_t i = 0; i < load->n && !s.no_memory; i++) {
        const struct reply *p = m->rows[i].measured ? reply_read(&reader, load->records[i]) : NULL;
        if (p) {
            add_request(&s, load->records[i], p);
        }
        s.no_memory |= m->rows[i].measured && !p;
    }
    reply_reader_release(&reader);
    int rc = s.no_memory ? err_set(e, EE_NOMEM, "%s figures: out of memory", compat_names[tool])
                         : 0;
    if (!rc) {
        fill(&s, out);
    }
    for (int k = 0; k < SERIES; k++) {
        free(s.series[k].x);
    }
    return rc;
}

static json_t *num(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

json_t *compat_json(const struct compat *c) {
    json_t *rows = json_array();
    for (size_t i = 0; i < c->n; i++) {
        const struct compat_row *r = &c->rows[i];
        json_array_append_new(rows, json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "figure",
                                              r->label, "unit", r->unit, "n", (json_int_t)r->n,
                                              "mean", num(r->mean), "median", num(r->median), "p90",
                                              num(r->p90), "p99", num(r->p99)));
    }
    return json_pack("{s:s, s:o}", "title", c->title, "figures", rows);
}
