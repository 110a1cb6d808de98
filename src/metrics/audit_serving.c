/* Audit rules on requests, tokens and repeats: docs/audit.md, "Serving". */
#include "metrics/audit_impl.h"

#include "stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the batch may last beyond what its latencies explain. */
#define BATCH_SLACK 1.1
#define BATCH_SLACK_WITHOUT_SLOWEST 2
#define TOKEN_TOLERANCE 0.02
#define MANY_FAILED 0.05
enum { ENOUGH_VARIANTS = 3, ENOUGH_REPEATS = 4 };
#define MOST_DRIFT 0.10
#define STEADY_DRIFT 0.8 /* Kendall's tau of a drift that hardly turns */
#define MOST_SPREAD 0.25

static bool is_whole_number(double x) {
    return x >= 1 && fabs(x - round(x)) < 1e-9 * x;
}

/* --- Latencies and the batch -------------------------------------------------------------------- */

/* Mean latency of a request: the first token, then the gaps. */
static double request_s(const struct audit_row *r) {
    double tokens = r->x[AUDIT_OUTPUT_TOKENS] / r->x[AUDIT_N_REQUESTS];
    return (r->x[AUDIT_TTFT_MEAN_MS] + (tokens - 1) * r->x[AUDIT_ITL_MEAN_MS]) / 1000;
}

/*
 * The longest that serving can take when `concurrency` places are busy until the requests run
 * out: all latencies shared among the places, and the slowest request at the end. Without the
 * slowest one only answers of one length tell, which are all near the mean.
 */
static double longest_batch_s(const struct audit_row *r) {
    double n = r->x[AUDIT_N_REQUESTS];
    double places = fmin(r->x[AUDIT_CONCURRENCY], n);
    if (!isnan(r->x[AUDIT_E2E_MAX_MS])) {
        return BATCH_SLACK * (n / places * request_s(r) + r->x[AUDIT_E2E_MAX_MS] / 1000);
    }
    return is_whole_number(r->x[AUDIT_OUTPUT_TOKENS] / n)
               ? BATCH_SLACK_WITHOUT_SLOWEST * ceil(n / places) * request_s(r)
               : INFINITY;
}

void audit_batch_latency(struct audit *c) {
    struct audit_rows off = audit_rows_new(c);
    double *in_flight = audit_numbers(c);
    double *lengths = audit_numbers(c);
    double slowest_ttft_ms = 0, stated = 0;
    size_t n = 0;
    if (!off.at || !in_flight || !lengths) {
        return;
    }
    for (size_t i = 0; i < c->t->n; i++) {
        const struct audit_row *r = &c->t->rows[i];
        if (!audit_wanted(c, i) || !c->is_part[i] || !(r->x[AUDIT_DURATION_S] > 0) ||
            !(r->x[AUDIT_N_REQUESTS] >= 1) || !(r->x[AUDIT_CONCURRENCY] >= 1) ||
            !(request_s(r) > 0)) {
            continue;
        }
        n++;
        bool too_long = r->x[AUDIT_DURATION_S] > longest_batch_s(r);
        bool outlasts_batch = request_s(r) > BATCH_SLACK * r->x[AUDIT_DURATION_S];
        if (too_long || outlasts_batch) {
            in_flight[off.n] = r->x[AUDIT_N_REQUESTS] * request_s(r) / r->x[AUDIT_DURATION_S];
            lengths[off.n] = r->x[AUDIT_DURATION_S] / request_s(r);
            off.at[off.n++] = i;
            slowest_ttft_ms = fmax(slowest_ttft_ms, r->x[AUDIT_TTFT_MEAN_MS]);
            stated = fmax(stated, fmin(r->x[AUDIT_CONCURRENCY], r->x[AUDIT_N_REQUESTS]));
        }
    }
    if (!off.n) {
        return;
    }
    stats_sort(in_flight, off.n);
    stats_sort(lengths, off.n);
    struct buf text;
    buf_init(&text);
    buf_addf(&text,
             "%zu of %zu rows: throughput times mean latency gives %.0f to %.0f requests in flight "
             "where up to %.0f are stated; serving lasts %.2g to %.2g mean latencies, and the mean "
             "time to first token is %.3g ms at most, so waiting is not in the latencies",
             off.n, n, in_flight[0], in_flight[off.n - 1], stated, lengths[0], lengths[off.n - 1],
             slowest_ttft_ms);
    audit_report(c, AUDIT_SERIOUS, &off, &text);
    buf_release(&text);
}

/* --- Tokens ------------------------------------------------------------------------------------- */

/* All rows of a task answer with one whole number of tokens; *tokens is it. */
static bool has_one_length(const struct audit *c, const size_t *rows, size_t n, double *tokens) {
    for (size_t i = 0; i < n; i++) {
        const struct audit_row *r = &c->t->rows[rows[i]];
        double each = r->x[AUDIT_OUTPUT_TOKENS] / r->x[AUDIT_N_REQUESTS];
        if (!is_whole_number(each) || (i > 0 && fabs(each - *tokens) > 1e-9 * each)) {
            return false;
        }
        *tokens = each;
    }
    return n > 0;
}

void audit_constant_tokens(struct audit *c) {
    struct audit_rows whole = audit_rows_new(c);
    struct audit_rows same = audit_rows_new(c);
    for (size_t i = 0; whole.at && same.at && i < c->t->n; i++) {
        const struct audit_row *r = &c->t->rows[i];
        if (audit_wanted(c, i) && audit_is_whole(r) && r->x[AUDIT_N_REQUESTS] > 1 &&
            strcmp(r->text[AUDIT_LENGTHS], "forced") != 0) {
            whole.at[whole.n++] = i;
        }
    }
    struct audit_groups g = audit_group(c, &whole, AUDIT_KEY(AUDIT_TASK));
    struct buf text;
    buf_init(&text);
    for (size_t k = 0; k < g.n; k++) {
        const size_t *rows = g.order + g.start[k];
        size_t n = g.start[k + 1] - g.start[k];
        double tokens = 0;
        if (n < ENOUGH_VARIANTS || !has_one_length(c, rows, n, &tokens)) {
            continue;
        }
        const struct audit_row *first = &c->t->rows[rows[0]];
        buf_addf(&text, "%s%s%s%.0f tokens in each answer of %zu rows", text.len ? "; " : "",
                 first->text[AUDIT_TASK], *first->text[AUDIT_TASK] ? ": " : "", tokens, n);
        if (tokens == first->x[AUDIT_MAX_TOKENS]) {
            buf_addstr(&text, " (the limit)");
        }
        for (size_t i = 0; i < n; i++) {
            same.at[same.n++] = rows[i];
        }
    }
    if (same.n) {
        audit_report(c, AUDIT_SERIOUS, &same, &text);
    }
    audit_check_text(c, &text);
    buf_release(&text);
}

/* What is wrong with a row's tokens, into why; false when nothing is. */
static bool tokens_are_wrong(const struct audit_row *r, struct buf *why) {
    double tokens = r->x[AUDIT_OUTPUT_TOKENS];
    double limit = r->x[AUDIT_MAX_TOKENS];
    double n = r->x[AUDIT_N_REQUESTS];
    double rate = r->x[AUDIT_OUTPUT_TOKENS_PER_S];
    double seconds = r->x[AUDIT_DURATION_S];
    buf_clear(why);
    if (tokens != round(tokens)) {
        buf_addf(why, "%.6g tokens, which is no count", tokens);
    } else if (tokens == 0 && n > 0) {
        buf_addf(why, "no token in %.0f answers", n);
    } else if (r->x[AUDIT_OUTPUT_TOKENS_MAX] > limit) {
        buf_addf(why, "an answer of %.0f tokens at a limit of %.0f", r->x[AUDIT_OUTPUT_TOKENS_MAX],
                 limit);
    } else if (tokens > n * limit) {
        buf_addf(why, "%.0f tokens in %.0f answers of at most %.0f", tokens, n, limit);
    } else if (rate > 0 && seconds > 0) {
        double rounding = 0.5 * (r->step[AUDIT_OUTPUT_TOKENS_PER_S] / rate +
                                 r->step[AUDIT_DURATION_S] / seconds);
        double off = rate * seconds / tokens - 1;
        if (fabs(off) > TOKEN_TOLERANCE + rounding) {
            buf_addf(why, "%.6g tokens/s for %.6g s are %.0f tokens, not %.0f (%+.1f %%)", rate,
                     seconds, rate * seconds, tokens, 100 * off);
        }
    }
    return why->len > 0;
}

void audit_impossible_tokens(struct audit *c) {
    struct audit_rows wrong = audit_rows_new(c);
    struct buf text, why;
    buf_init(&text);
    buf_init(&why);
    for (size_t i = 0; wrong.at && i < c->t->n; i++) {
        bool is_wrong = audit_wanted(c, i) && tokens_are_wrong(&c->t->rows[i], &why);
        audit_check_text(c, &why);
        if (is_wrong) {
            wrong.at[wrong.n++] = i;
            if (wrong.n <= 5) {
                buf_addstr(&text, wrong.n > 1 ? "; " : "");
                audit_add_name(c, i, &text);
                buf_addf(&text, ": %s", why.data);
            }
        }
    }
    if (wrong.n > 5) {
        buf_addf(&text, "; and %zu more", wrong.n - 5);
    }
    if (wrong.n) {
        audit_report(c, AUDIT_SERIOUS, &wrong, &text);
    }
    buf_release(&why);
    buf_release(&text);
}

/* --- Failures ----------------------------------------------------------------------------------- */

void audit_failed_requests(struct audit *c) {
    struct audit_rows rows = audit_rows_new(c);
    size_t n = 0;
    double worst = 0, failed = 0, all = 0;
    for (size_t i = 0; rows.at && i < c->t->n; i++) {
        const struct audit_row *r = &c->t->rows[i];
        if (!audit_wanted(c, i) || !audit_is_whole(r)) {
            continue;
        }
        n++;
        if (r->x[AUDIT_N_FAILED] > 0) {
            double tried = r->x[AUDIT_N_REQUESTS] + r->x[AUDIT_N_FAILED];
            rows.at[rows.n++] = i;
            failed += r->x[AUDIT_N_FAILED];
            all += tried;
            worst = fmax(worst, r->x[AUDIT_N_FAILED] / tried);
        }
    }
    if (!rows.n) {
        return;
    }
    struct buf text;
    buf_init(&text);
    buf_addf(&text,
             "%zu of %zu rows have failures: %.0f of their %.0f requests; the worst lost "
             "%.1f %%",
             rows.n, n, failed, all, 100 * worst);
    audit_report(c, worst > MANY_FAILED ? AUDIT_SERIOUS : AUDIT_WARNING, &rows, &text);
    buf_release(&text);
}

/* --- Repeats ------------------------------------------------------------------------------------ */

/* Repeats of one measurement in their order. */
struct series {
    double *at, *x;
    double *scratch; /* n * (n - 1) / 2 slopes */
    size_t n;
};

/* Theil and Sen's slope times the range of the repeats, over the median; Kendall's tau in *tau. */
static double relative_drift(const struct series *s, double *tau) {
    size_t n_slopes = 0;
    double concordant = 0;
    double first = INFINITY, last = -INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        first = fmin(first, s->at[i]);
        last = fmax(last, s->at[i]);
        for (size_t j = i + 1; j < s->n; j++) {
            double dt = s->at[j] - s->at[i];
            double dx = s->x[j] - s->x[i];
            if (dt != 0) {
                s->scratch[n_slopes++] = dx / dt;
                concordant += (dx / dt > 0) - (dx / dt < 0);
            }
        }
    }
    *tau = n_slopes ? concordant / (double)n_slopes : 0;
    stats_sort(s->scratch, n_slopes);
    double slope = stats_quantile(s->scratch, n_slopes, 0.5);
    for (size_t i = 0; i < s->n; i++) {
        s->scratch[i] = s->x[i];
    }
    stats_sort(s->scratch, s->n);
    return slope * (last - first) / stats_quantile(s->scratch, s->n, 0.5);
}

static double relative_spread(const struct series *s) {
    double low = INFINITY, high = 0;
    for (size_t i = 0; i < s->n; i++) {
        low = fmin(low, s->x[i]);
        high = fmax(high, s->x[i]);
    }
    return high / low - 1;
}

static const struct drifting {
    const char *name;
    enum audit_column column;
    enum audit_column per; /* AUDIT_COLUMNS: none */
} drifting[] = {
    {"tokens/s", AUDIT_OUTPUT_TOKENS_PER_S, AUDIT_COLUMNS},
    {"joules a request", AUDIT_ENERGY_J, AUDIT_N_REQUESTS},
    {"seconds a request", AUDIT_DURATION_S, AUDIT_N_REQUESTS},
    {"time to first token", AUDIT_TTFT_MEAN_MS, AUDIT_COLUMNS},
    {"load time", AUDIT_LOAD_S, AUDIT_COLUMNS},
    {"joules of a load", AUDIT_LOAD_J, AUDIT_COLUMNS},
};

static void take_series(const struct audit *c, const size_t *rows, size_t n,
                        const struct drifting *d, struct series *s) {
    s->n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct audit_row *r = &c->t->rows[rows[i]];
        double x = r->x[d->column] / (d->per == AUDIT_COLUMNS ? 1 : r->x[d->per]);
        if (x > 0 && isfinite(x)) {
            s->at[s->n] = r->x[AUDIT_REPEAT];
            s->x[s->n++] = x;
        }
    }
}

/* The first figure of a group that drifts or scatters, into why. */
static bool group_moves(const struct audit *c, const size_t *rows, size_t n, struct series *s,
                        struct buf *why) {
    for (size_t d = 0; d < sizeof(drifting) / sizeof(drifting[0]); d++) {
        take_series(c, rows, n, &drifting[d], s);
        if (s->n < ENOUGH_REPEATS) {
            continue;
        }
        double tau = 0;
        double drift = relative_drift(s, &tau);
        double spread = relative_spread(s);
        buf_clear(why);
        if (fabs(drift) > MOST_DRIFT && fabs(tau) >= STEADY_DRIFT) {
            buf_addf(why, "%s %s by %.0f %% over %zu repeats", drifting[d].name,
                     drift > 0 ? "rises" : "falls", 100 * fabs(drift), s->n);
            return true;
        }
        if (spread > MOST_SPREAD) {
            buf_addf(why, "%s differs by up to %.0f %% between %zu repeats", drifting[d].name,
                     100 * spread, s->n);
            return true;
        }
    }
    return false;
}

static bool series_new(struct audit *c, size_t longest, struct series *s) {
    size_t n_slopes = longest * longest / 2 + longest;
    *s = (struct series){.at = audit_numbers(c),
                         .x = audit_numbers(c),
                         .scratch = arena_array(c->arena, n_slopes + 1, sizeof(double))};
    c->out_of_memory = c->out_of_memory || !s->scratch;
    return !c->out_of_memory;
}

/* Every pair of repeats is looked at, so there may not be too many. */
enum { MOST_REPEATS = 1000 };

void audit_repeat_drift(struct audit *c) {
    struct audit_rows repeats = audit_rows_new(c);
    struct audit_rows moving = audit_rows_new(c);
    struct buf text, why;
    buf_init(&text);
    buf_init(&why);
    size_t n_moving = 0;
    for (int stage = 0; repeats.at && moving.at && stage < AUDIT_STAGES; stage++) {
        repeats.n = 0;
        for (size_t i = 0; i < c->t->n; i++) {
            if ((int)c->t->rows[i].stage == stage && audit_wanted(c, i)) {
                repeats.at[repeats.n++] = i;
            }
        }
        struct audit_groups g = audit_group(c, &repeats, AUDIT_ALL_KEYS);
        size_t longest = 0;
        for (size_t k = 0; k < g.n; k++) {
            size_t n = g.start[k + 1] - g.start[k];
            longest = n > longest ? n : longest;
        }
        longest = longest > MOST_REPEATS ? MOST_REPEATS : longest;
        struct series s;
        if (!g.n || !series_new(c, longest, &s)) {
            continue;
        }
        for (size_t k = 0; k < g.n; k++) {
            const size_t *rows = g.order + g.start[k];
            size_t n = g.start[k + 1] - g.start[k];
            n = n > MOST_REPEATS ? MOST_REPEATS : n;
            bool moves = group_moves(c, rows, n, &s, &why);
            audit_check_text(c, &why);
            if (!moves) {
                continue;
            }
            for (size_t i = 0; i < n; i++) {
                moving.at[moving.n++] = rows[i];
            }
            if (++n_moving <= 5) {
                buf_addstr(&text, n_moving > 1 ? "; " : "");
                audit_add_name(c, rows[0], &text);
                buf_addf(&text, " (%s): %s", audit_stage_names[stage], why.data);
            }
        }
    }
    if (n_moving > 5) {
        buf_addf(&text, "; and %zu more measurements", n_moving - 5);
    }
    if (n_moving) {
        audit_report(c, AUDIT_WARNING, &moving, &text);
    }
    buf_release(&why);
    buf_release(&text);
}
