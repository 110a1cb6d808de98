#include "bench_text.h"

#include "base/json.h"
#include "serve/measure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A number in nested objects, NAN where there is none: get(o, "a", "b", NULL). */
static double get(const json_t *o, const char *key, const char *inner) {
    if (inner) {
        return json_num_or(json_object_get(o, key), inner, (double)NAN);
    }
    return json_num_or(o, key, (double)NAN);
}

static long long whole(const json_t *o, const char *key) {
    return (long long)json_int_or(o, key, 0);
}

/* Three significant digits, "-" where v is not finite. */
static const char *show(double v, char *buf, size_t size) {
    if (!isfinite(v)) {
        snprintf(buf, size, "-");
    } else if (v != 0 && fabs(v) < 0.001) {
        snprintf(buf, size, "%.1e", v);
    } else {
        int digits = v == 0 ? 0 : 2 - (int)floor(log10(fabs(v)));
        snprintf(buf, size, "%.*f", digits < 0 ? 0 : digits, v);
    }
    return buf;
}

static void print_latencies(const json_t *latency) {
    printf("\n%-26s %9s %9s %9s %9s %9s %9s %9s\n", "ms", "n", "mean", "p50", "p90", "p95", "p99",
           "p99.9");
    for (int f = 0; f < FIGURES; f++) {
        const json_t *s = json_object_get(latency, figure_infos[f].id);
        if (!s) {
            continue;
        }
        char text[32];
        printf("%-26s %9lld %9s", figure_infos[f].title, whole(s, "n"),
               show(1e3 * get(s, "mean_s", NULL), text, sizeof(text)));
        for (int i = 0; i < PERCENTILES; i++) {
            char key[24];
            char high[24];
            char cell[40];
            snprintf(key, sizeof(key), "p%g_s", 100 * percentiles[i]);
            snprintf(high, sizeof(high), "p%g_high_s", 100 * percentiles[i]);
            double v = get(s, key, NULL);
            /* ">": so few values cannot bound it from above. */
            bool open = isfinite(v) && json_is_null(json_object_get(s, high)) &&
                        !json_is_null(json_object_get(s, "mean_low_s"));
            snprintf(cell, sizeof(cell), "%s%s", open ? ">" : "",
                     show(1e3 * v, text, sizeof(text)));
            printf(" %9s", cell);
        }
        printf("\n");
    }
}

static void print_rates(const char *name, double seconds, const json_t *o) {
    char text[4][32];
    printf("%-11s %s output tok/s, %s input tok/s, %s requests/s (%s s)\n", name,
           show(get(o, "output_tokens_per_s", NULL), text[0], 32),
           show(get(o, "input_tokens_per_s", NULL), text[1], 32),
           show(get(o, "requests_per_s", NULL), text[2], 32), show(seconds, text[3], 32));
}

static void print_throughput(const json_t *result) {
    const json_t *t = json_object_get(result, "throughput");
    const json_t *steady = json_object_get(t, "steady");
    const json_t *all = json_object_get(t, "whole");
    if (json_is_true(json_object_get(steady, "found"))) {
        print_rates("steady", get(steady, "end_s", NULL) - get(steady, "begin_s", NULL), steady);
    } else {
        printf("%-11s no steady state: %s\n", "steady", json_str_or(steady, "reason", ""));
    }
    print_rates("whole run", get(all, "seconds", NULL), all);
    const json_t *g = json_object_get(result, "goodput");
    if (g) {
        char rate[32];
        const char *figure;
        json_t *limit;
        printf("%-11s %s requests/s met every limit:", "goodput",
               show(get(g, "requests_per_s", NULL), rate, sizeof(rate)));
        json_object_foreach(json_object_get(g, "limits_s"), figure, limit) {
            printf(" %s <= %g ms", figure, 1e3 * json_number_value(limit));
        }
        printf("; %.1f %% of requests\n", 100 * get(g, "attained", NULL));
    }
}

static void print_failures(const json_t *requests) {
    const char *kind;
    json_t *row;
    json_object_foreach(json_object_get(requests, "outcomes"), kind, row) {
        if (!outcome_is_failure(outcome_from_name(kind))) {
            continue;
        }
        printf("%-11s %lld x %s: %s", "failed", whole(row, "n"), kind,
               json_str_or(row, "meaning", ""));
        if (!strcmp(kind, "status")) {
            const char *status;
            json_t *n;
            const char *between = " (";
            json_object_foreach(json_object_get(requests, "statuses"), status, n) {
                printf("%s%s x %lld", between, status, (long long)json_integer_value(n));
                between = ", ";
            }
            printf(")");
        }
        const char *first = json_str_or(row, "first_message", NULL);
        printf(first ? "; first: \"%s\"\n" : "\n", first);
    }
}

static void print_requests(const json_t *requests) {
    printf("%-11s %lld measured: %lld ok, %lld failed", "requests", whole(requests, "measured"),
           whole(requests, "ok"), whole(requests, "failed"));
    if (whole(requests, "cut")) {
        printf(", %lld cut at the end", whole(requests, "cut"));
    }
    if (whole(requests, "warmup")) {
        printf("; %lld of the warm-up not counted", whole(requests, "warmup"));
    }
    printf("\n");
    if (whole(requests, "sent_again")) {
        printf(
            "%-11s %lld were sent again: the server closed a connection it had promised to keep; "
            "%lld opened one of their own\n",
            "requests", whole(requests, "sent_again"), whole(requests, "fresh_connections"));
    }
    print_failures(requests);
}

static void print_tokens(const json_t *tokens) {
    const json_t *check = json_object_get(tokens, "check");
    if (whole(tokens, "answers_without_usage") > 0) {
        printf("%-11s %lld answers came without usage: no token rates (the server must support "
               "stream_options.include_usage)\n",
               "tokens", whole(tokens, "answers_without_usage"));
    }
    if (whole(tokens, "answers_without_event_tokens") > 0) {
        printf("%-11s %lld answers have other numbers of events and tokens: not in ITL per token\n",
               "tokens", whole(tokens, "answers_without_event_tokens"));
    }
    static const char *const kinds[][3] = {
        {"prompts", "prompts_equal", "prompt_difference"},
        {"answers", "answers_equal", "answer_difference"},
    };
    for (int i = 0; i < 2 && check; i++) {
        if (whole(check, kinds[i][0]) > 0) {
            printf("%-11s %s: %lld of %lld as long as by the vocabulary (difference %+lld)\n",
                   "tokens", kinds[i][0], whole(check, kinds[i][1]), whole(check, kinds[i][0]),
                   whole(check, kinds[i][2]));
        }
    }
    if (whole(tokens, "coalesced_events") > 0) {
        printf("%-11s %.1f %% came in one read with others: gaps are between reads\n", "events",
               100.0 * (double)whole(tokens, "coalesced_events") / (double)whole(tokens, "events"));
    }
}

/* Whose times they are, and by how much reading them would have been late. */
static void print_timestamps(const json_t *client) {
    const json_t *waits = json_object_get(client, "read_waits");
    if (!strcmp(json_str_or(client, "timestamps", ""), "kernel")) {
        double share = get(client, "reads_by_kernel", NULL) / get(client, "reads", NULL);
        printf("; times by the kernel");
        if (share < 1) { /* some had none, and that of their read instead */
            printf(" (%.1f %% of reads)", 100 * share);
        }
        if (isfinite(get(waits, "p99_below_s", NULL))) {
            printf(", read within %.0f us p50 %.0f us p99", 1e6 * get(waits, "p50_below_s", NULL),
                   1e6 * get(waits, "p99_below_s", NULL));
        }
    } else if (json_str_or(client, "timestamps_reason", NULL)) {
        printf("; times of reads: %s", json_str_or(client, "timestamps_reason", ""));
    }
}

static void print_client(const json_t *result) {
    const json_t *client = json_object_get(result, "client");
    const json_t *c = json_object_get(client, "calibration");
    const char *verdict = json_str_or(client, "verdict", "unknown");
    const char *reasons = json_str_or(client, "reasons", "");
    const json_t *lag = json_object_get(json_object_get(result, "latency"), "send_lag");
    printf("%-11s %s", "client",
           !strcmp(verdict, "valid")     ? "valid"
           : !strcmp(verdict, "invalid") ? "NOT VALID"
                                         : "not known");
    printf(*reasons ? ": %s" : "", reasons);
    printf("; busy %.0f %%", 100 * get(client, "busy", NULL));
    if (isfinite(get(client, "send_lag_p99_s", NULL))) {
        printf(", send lag p50 %.0f us p99 %.0f us", 1e6 * get(lag, "p50_s", NULL),
               1e6 * get(lag, "p99_s", NULL));
    }
    print_timestamps(client);
    if (json_is_true(json_object_get(c, "done"))) {
        printf("; floor p50 %.0f us p99 %.0f us%s", 1e6 * get(c, "floor_p50_s", NULL),
               1e6 * get(c, "floor_p99_s", NULL),
               json_is_true(json_object_get(c, "shared_cpu")) ? " (on a shared core)" : "");
    }
    printf("\n");
}

static void print_joules(const char *name, const json_t *o) {
    char text[5][32];
    if (json_is_null(json_object_get(o, "joules"))) {
        printf("%-11s not known: %s\n", name, json_str_or(o, "reason", ""));
        return;
    }
    printf("%-11s %s J (%s to %s), %s, %s", name, show(get(o, "joules", NULL), text[0], 32),
           show(get(o, "low_j", NULL), text[1], 32), show(get(o, "high_j", NULL), text[2], 32),
           json_str_or(o, "quality", ""), json_str_or(o, "scope", ""));
    if (json_object_get(o, "per_request_j")) {
        printf("; %s J a request, %s J an output token",
               show(get(o, "per_request_j", NULL), text[3], 32),
               show(get(o, "per_output_token_j", NULL), text[4], 32));
    }
    printf(json_is_true(json_object_get(o, "short")) ? " (a short window)\n" : "\n");
}

static void print_around(const json_t *result) {
    const json_t *s = json_object_get(result, "server");
    const json_t *energy = json_object_get(result, "energy");
    const json_t *metrics = json_object_get(result, "server_metrics");
    if (s) {
        printf("%-11s port open after %.3f s, ready after %.3f s, first token %.3f s later\n",
               "cold start", get(s, "port_open_s", NULL), get(s, "ready_s", NULL),
               get(s, "first_request_ttft_s", NULL));
    }
    if (json_object_get(energy, "cold_start")) {
        print_joules("its energy", json_object_get(energy, "cold_start"));
    }
    if (json_object_get(energy, "load")) {
        print_joules("energy", json_object_get(energy, "load"));
    }
    if (metrics && whole(metrics, "scrapes") == 0) {
        printf("%-11s none: %s\n", "metrics", json_str_or(metrics, "error", ""));
    } else if (metrics) {
        printf("%-11s %zu counters and %zu gauges of the server, %lld scrapes (see --json)\n",
               "metrics", json_object_size(json_object_get(metrics, "counters")),
               json_object_size(json_object_get(metrics, "gauges")), whole(metrics, "scrapes"));
    }
}

static void print_head(const json_t *result) {
    const json_t *t = json_object_get(result, "target");
    const json_t *s = json_object_get(result, "settings");
    if (*json_str_or(t, "host", "")) {
        printf("%-11s %s://%s:%s%s, model %s, %s\n", "server", json_str_or(t, "scheme", ""),
               json_str_or(t, "host", ""), json_str_or(t, "port", ""), json_str_or(t, "path", ""),
               json_str_or(t, "model", ""), json_str_or(t, "transport", ""));
    } else {
        printf("%-11s %s, in process\n", "model", json_str_or(t, "model", ""));
    }
    printf("%-11s %s; %s; seed %lld\n", "load", json_str_or(s, "load", ""),
           json_str_or(s, "prompts", ""), whole(s, "seed"));
    if (json_is_true(json_object_get(result, "stopped"))) {
        printf("%-11s by the user: figures are of what was measured until then\n", "stopped");
    }
}

static void print_compat(const json_t *compat) {
    size_t i;
    json_t *row;
    printf("\n%s\n%-26s %9s %9s %9s %9s %9s\n", json_str_or(compat, "title", ""), "", "n", "mean",
           "median", "p90", "p99");
    json_array_foreach(json_object_get(compat, "figures"), i, row) {
        static const char *const keys[] = {"mean", "median", "p90", "p99"};
        char label[64];
        const char *unit = json_str_or(row, "unit", "");
        snprintf(label, sizeof(label), *unit ? "%s, %s" : "%s", json_str_or(row, "figure", ""),
                 unit);
        printf("%-26s %9lld", label, whole(row, "n"));
        for (int k = 0; k < 4; k++) {
            char text[32];
            printf(" %9s", show(get(row, keys[k], NULL), text, sizeof(text)));
        }
        printf("\n");
    }
}

void bench_print(const json_t *result) {
    print_head(result);
    print_requests(json_object_get(result, "requests"));
    print_throughput(result);
    print_tokens(json_object_get(result, "tokens"));
    print_around(result);
    print_client(result);
    print_latencies(json_object_get(result, "latency"));
    const json_t *compat = json_object_get(result, "compat");
    if (compat) {
        print_compat(compat);
    }
}
