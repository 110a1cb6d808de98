/* Cold starts: their time, their energy, and both above what the same prompt takes when warm. */
#include "report/inputs.h"

#include "stats/percentile.h"
#include "stats/stats.h"

#include "base/buf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Under this many cold starts their mean is a rough figure. */
enum { FEW_STARTS = 5 };

static const char *const caches[] = {"cold", "warm"};

/* One figure of a start; NAN where it has none. */
typedef double start_fn(const struct store_cold_start *start);

static double load_s_of(const struct store_cold_start *s) {
    return s->context_s;
}

static double first_token_s_of(const struct store_cold_start *s) {
    return s->first_token_s;
}

/* T_load and E_load: the same prompt answered warm is what loading does not cause. */
static double load_time_of(const struct store_cold_start *s) {
    return s->first_token_s - s->warm_first_token_s;
}

static double load_joules_of(const struct store_cold_start *s) {
    return s->joules - s->warm_joules;
}

/* The figures of all starts from that cache, in values. */
static size_t starts_from(const struct store_cold_start *rows, size_t n, const char *cache,
                          start_fn *figure, double *values) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        double x = figure(&rows[i]);
        if (strcmp(rows[i].cache, cache) == 0 && isfinite(x)) {
            values[used++] = x;
        }
    }
    return used;
}

static struct quantity starts_quantity(const double *values, size_t n, bool is_warm,
                                       const char *missing) {
    if (n == 0) {
        return quantity_missing(missing);
    }
    struct quantity q = inputs_mean(values, n);
    q.flags |= is_warm ? QUANTITY_WARM_CACHE : 0;
    q.flags |= n < FEW_STARTS ? QUANTITY_FEW_STARTS : 0;
    return q;
}

/* What the windows of the starts from one cache say about their joules. */
static void add_energy_label(const struct report_stage *st, const char *cache, struct quantity *q) {
    char prefix[16];
    snprintf(prefix, sizeof(prefix), "%s/", cache);
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        if (strncmp(g->window, prefix, strlen(prefix)) != 0 || strcmp(g->component, "total") != 0) {
            continue;
        }
        if (strcmp(g->quality, "missing") == 0) {
            q->reason = g->reason && *g->reason ? g->reason : q->reason;
            continue;
        }
        q->flags |= strcmp(g->quality, "modelled") == 0 ? QUANTITY_MODELLED : 0;
        q->flags |= g->is_short ? QUANTITY_SHORT : 0;
        q->scope = g->scope;
    }
}

static void fill_joules(const struct report_stage *st, const struct store_cold_start *rows,
                        size_t n, double *values, struct quantity *cold, struct quantity *warm) {
    struct quantity *both[] = {cold, warm};
    for (size_t c = 0; c < 2; c++) {
        size_t used = starts_from(rows, n, caches[c], load_joules_of, values);
        *both[c] = starts_quantity(values, used, c == 1,
                                   c ? "no start from a warm page cache has its energy"
                                     : "no start from a cold page cache has its energy");
        add_energy_label(st, caches[c], both[c]);
    }
}

static struct quantity p99_of(double *values, size_t n, bool is_warm) {
    const double p = 0.99;
    if (n == 0) {
        return quantity_missing("no start was timed to its first token");
    }
    stats_sort(values, n);
    struct stats_interval i = stats_percentile(values, n, p, 0.95);
    struct quantity q = quantity_of(i.estimate, n);
    q.low = i.method ? i.low : (double)NAN;
    q.high = i.method ? i.high : (double)NAN;
    q.flags |= is_warm ? QUANTITY_WARM_CACHE : 0;
    if (!stats_bounds_quantile(n, p)) {
        q.value = values[n - 1];
        q.low = q.value;
        q.high = INFINITY;
        q.flags |= QUANTITY_AT_LEAST;
    }
    return q;
}

static void set_missing(struct metrics_input *in, const char *why) {
    struct quantity *all[] = {&in->load_s,      &in->load_cold_j, &in->load_warm_j,
                              &in->load_cold_s, &in->load_warm_s, &in->cold_start_p99_s};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = quantity_missing(why);
    }
}

int inputs_load(struct store *s, struct arena *a, struct report_variant *v, struct err *e) {
    struct metrics_input *in = &v->input;
    const struct report_stage *st = v->stages[REPORT_LOAD];
    const char *why = NULL;
    int rc = inputs_stage_gap(a, v, REPORT_LOAD, &why, e);
    if (rc || why) {
        set_missing(in, why ? why : "");
        return rc;
    }
    struct store_cold_start *rows = NULL;
    size_t n = 0;
    rc = store_cold_starts(s, st->s.stage_id, a, &rows, &n, e);
    double *values = rc ? NULL : arena_array(a, n + 1, sizeof(*values));
    if (!rc && !values) {
        rc = err_set(e, EE_NOMEM, "cold starts: out of memory");
    }
    if (rc) {
        return rc;
    }
    v->starts = rows;
    v->n_starts = n;
    /* From cold page cache where such starts were made, else from warm. */
    size_t used = starts_from(rows, n, "cold", load_s_of, values);
    bool is_warm = used == 0;
    used = is_warm ? starts_from(rows, n, "warm", load_s_of, values) : used;
    in->load_s = starts_quantity(values, used, is_warm, "no start was timed");

    static const char *const no_times[] = {"no start from a cold page cache was timed",
                                           "no start from a warm page cache was timed"};
    struct quantity *times[] = {&in->load_cold_s, &in->load_warm_s};
    for (size_t c = 0; c < 2; c++) {
        used = starts_from(rows, n, caches[c], load_time_of, values);
        *times[c] = starts_quantity(values, used, c == 1, no_times[c]);
    }
    fill_joules(st, rows, n, values, &in->load_cold_j, &in->load_warm_j);

    used = starts_from(rows, n, "cold", first_token_s_of, values);
    is_warm = used == 0;
    used = is_warm ? starts_from(rows, n, "warm", first_token_s_of, values) : used;
    in->cold_start_p99_s = p99_of(values, used, is_warm);
    return 0;
}
