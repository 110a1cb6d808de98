#include "bench_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Three significant digits, "-" where there is no figure. */
static const char *show(double v, char *buf, size_t size) {
    if (!isfinite(v)) {
        snprintf(buf, size, "%s", isinf(v) ? "inf" : "-");
    } else if (v != 0 && fabs(v) < 0.001) {
        snprintf(buf, size, "%.1e", v);
    } else {
        int digits = v == 0 ? 0 : 2 - (int)floor(log10(fabs(v)));
        snprintf(buf, size, "%.*f", digits < 0 ? 0 : digits, v);
    }
    return buf;
}

static void print_latencies(const struct measures *m) {
    printf("\n%-26s %9s %9s %9s %9s %9s %9s %9s\n", "ms", "n", "mean", "p50", "p90", "p95", "p99",
           "p99.9");
    for (int f = 0; f < FIGURES; f++) {
        const struct summary *s = &m->figures[f];
        if (s->n == 0 && figure_infos[f].is_rare) {
            continue;
        }
        char mean[32];
        printf("%-26s %9zu %9s", figure_infos[f].title, s->n,
               show(1e3 * s->mean, mean, sizeof(mean)));
        for (int i = 0; i < PERCENTILES; i++) {
            char text[32];
            printf(" %9s", show(1e3 * s->p[i], text, sizeof(text)));
        }
        printf("\n");
    }
}

static void print_rates(const char *name, double seconds, double out, double in, double requests) {
    char a[32];
    char b[32];
    char c[32];
    char s[32];
    printf("%-11s %s output tok/s, %s input tok/s, %s requests/s (%s s)\n", name,
           show(out, a, sizeof(a)), show(in, b, sizeof(b)), show(requests, c, sizeof(c)),
           show(seconds, s, sizeof(s)));
}

static void print_throughput(const struct measures *m) {
    const struct window *w = &m->window;
    if (w->is_steady) {
        print_rates("steady", w->end_s - w->begin_s, w->output_rate, w->input_rate,
                    w->request_rate);
    } else {
        printf("%-11s no steady state: %s\n", "steady", w->reason);
    }
    print_rates("whole run", m->whole_s, m->output_rate, m->input_rate, m->request_rate);
    if (m->slos.n > 0) {
        char rate[32];
        printf("%-11s %s requests/s met every limit:", "goodput",
               show(m->goodput, rate, sizeof(rate)));
        for (size_t i = 0; i < m->slos.n; i++) {
            printf(" %s <= %g ms", figure_infos[m->slos.at[i].figure].id,
                   1e3 * m->slos.at[i].limit_s);
        }
        printf("; %.1f %% of requests\n", 100 * m->attained);
    }
}

static void print_outcomes(const struct measures *m) {
    printf("%-11s %zu measured: %zu ok, %zu failed", "requests", m->n_measured,
           m->outcomes[OUTCOME_OK], m->n_failed);
    if (m->outcomes[OUTCOME_CUT]) {
        printf(", %zu cut at the end", m->outcomes[OUTCOME_CUT]);
    }
    if (m->n_warmup) {
        printf("; %zu of the warm-up not counted", m->n_warmup);
    }
    printf("\n");
    for (int i = 0; i < OUTCOMES; i++) {
        if (m->outcomes[i] == 0 || !outcome_is_failure((enum outcome)i)) {
            continue;
        }
        printf("%-11s %zu x %s: %s", "failed", m->outcomes[i], outcome_name((enum outcome)i),
               outcome_meaning((enum outcome)i));
        for (size_t k = 0; i == OUTCOME_STATUS && k < 16 && m->statuses[k].n; k++) {
            printf("%s%d x %zu", k ? ", " : " (", m->statuses[k].status, m->statuses[k].n);
        }
        printf("%s", i == OUTCOME_STATUS ? ")" : "");
        printf(m->messages[i][0] ? "; first: \"%s\"\n" : "%s\n", m->messages[i]);
    }
}

static void print_tokens(const struct bench *b) {
    const struct measures *m = &b->measures;
    const struct token_check *c = &m->check;
    if (m->n_no_usage > 0) {
        printf("%-11s %zu answers came without usage: no token rates (the server must support "
               "stream_options.include_usage)\n",
               "tokens", m->n_no_usage);
    }
    if (m->n_no_event_tokens > 0) {
        printf("%-11s %zu answers have other numbers of events and tokens: not in ITL per token\n",
               "tokens", m->n_no_event_tokens);
    }
    if (c->n_prompts > 0) {
        printf("%-11s prompts: %zu of %zu as long as by the vocabulary (difference %+lld)\n",
               "tokens", c->n_prompts_equal, c->n_prompts, (long long)c->prompt_difference);
    }
    if (c->n_answers > 0) {
        printf("%-11s answers: %zu of %zu as long as by the vocabulary (difference %+lld)\n",
               "tokens", c->n_answers_equal, c->n_answers, (long long)c->answer_difference);
    }
    if (m->n_coalesced > 0) {
        printf("%-11s %.1f %% came in one read with others: gaps are between reads\n", "events",
               100.0 * (double)m->n_coalesced / (double)m->n_events);
    }
}

static void print_client(const struct bench *b) {
    const struct verdict *v = &b->verdict;
    const struct calibration *c = &v->calibration;
    printf("%-11s %s", "client",
           v->validity == VALID     ? "valid"
           : v->validity == INVALID ? "NOT VALID"
                                    : "not known");
    if (v->reasons[0]) {
        printf(": %s", v->reasons);
    }
    printf("; busy %.0f %%", 100 * v->busy);
    if (isfinite(v->lag_p99_s)) {
        const struct summary *s = &b->measures.figures[FIG_SEND_LAG];
        printf(", send lag p50 %.0f us p99 %.0f us", 1e6 * s->p[0], 1e6 * s->p[3]);
    }
    if (c->done) {
        printf("; floor p50 %.0f us p99 %.0f us%s", 1e6 * c->delivery.p[0], 1e6 * c->delivery.p[3],
               c->shared_cpu ? " (on a shared core)" : "");
    }
    printf("\n");
}

void bench_print(const struct bench *b) {
    const struct bench_opts *o = &b->opts;
    char load[160];
    bench_describe_load(o, load, sizeof(load));
    if (o->ops) {
        printf("%-11s %s://%s:%s%s, model %s, %s\n", "server", o->target.scheme, o->target.host,
               o->target.port, o->target.path, o->workload.model, o->ops->name);
    } else {
        printf("%-11s %s, in process\n", "model", o->workload.model);
    }
    printf("%-11s %s; %s; seed %llu\n", "load", load, b->workload->description,
           (unsigned long long)o->seed);
    if (b->result.stopped) {
        printf("%-11s by the user: figures are of what was measured until then\n", "stopped");
    }
    print_outcomes(&b->measures);
    print_throughput(&b->measures);
    print_tokens(b);
    print_client(b);
    print_latencies(&b->measures);
}
