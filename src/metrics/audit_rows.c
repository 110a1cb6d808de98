/* Audit rules on the rows themselves and on what is compared: docs/audit.md, "Rows". */
#include "metrics/audit_impl.h"

#include <math.h>

void audit_bad_cells(struct audit *c) {
    enum { SHOWN = 8 };
    size_t n = c->t->n_bad_cells;
    if (!n) {
        return;
    }
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; i < n && i < SHOWN; i++) {
        buf_addf(&text, "%s%s: %s", i ? "; " : "", c->t->bad_cells[i].where,
                 c->t->bad_cells[i].what);
    }
    if (n > SHOWN) {
        buf_addf(&text, "; and %zu more", n - SHOWN);
    }
    audit_report(c, AUDIT_SERIOUS, NULL, &text);
    buf_release(&text);
}

static bool same_repeat(const struct audit *c, size_t i, size_t j) {
    double a = c->t->rows[i].x[AUDIT_REPEAT];
    double b = c->t->rows[j].x[AUDIT_REPEAT];
    return (isnan(a) && isnan(b)) || a == b;
}

void audit_duplicate_rows(struct audit *c) {
    struct audit_rows all = audit_rows_new(c);
    struct audit_rows twice = audit_rows_new(c);
    struct buf text;
    buf_init(&text);
    for (int stage = 0; all.at && twice.at && stage < AUDIT_STAGES; stage++) {
        all.n = 0;
        for (size_t i = 0; i < c->t->n; i++) {
            if ((int)c->t->rows[i].stage == stage) {
                all.at[all.n++] = i;
            }
        }
        struct audit_groups g = audit_group(c, &all, AUDIT_ALL_KEYS);
        for (size_t k = 0; k < g.n; k++) {
            for (size_t i = g.start[k] + 1; i < g.start[k + 1]; i++) {
                size_t row = g.order[i];
                size_t earlier = g.start[k];
                while (earlier < i && !same_repeat(c, row, g.order[earlier])) {
                    earlier++;
                }
                if (earlier == i) {
                    continue;
                }
                if (twice.n < 5) {
                    buf_addstr(&text, twice.n ? "; " : "");
                    audit_add_name(c, row, &text);
                    buf_addf(&text, " (%s) in %s and %s", audit_stage_names[stage],
                             c->t->rows[g.order[earlier]].where, c->t->rows[row].where);
                }
                twice.at[twice.n++] = row;
            }
        }
    }
    if (twice.n > 5) {
        buf_addf(&text, "; and %zu more", twice.n - 5);
    }
    if (twice.n) {
        audit_report(c, AUDIT_WARNING, &twice, &text);
    }
    audit_check_text(c, &text);
    buf_release(&text);
}

/* --- Unequal conditions --------------------------------------------------------------------------- */

/* What a comparison takes for equal. Requests count with the failed ones. */
static const struct condition {
    enum audit_column column;
    enum audit_column plus; /* AUDIT_COLUMNS: nothing */
    const char *per;        /* "joules a row": what to compare instead; NULL: nothing */
} conditions[] = {
    {AUDIT_TRAIN_ROWS, AUDIT_COLUMNS, "joules a training row"},
    {AUDIT_GPUS, AUDIT_COLUMNS, NULL},
    {AUDIT_N_REQUESTS, AUDIT_N_FAILED, "joules a request"},
    {AUDIT_CONCURRENCY, AUDIT_COLUMNS, NULL},
    {AUDIT_MAX_TOKENS, AUDIT_COLUMNS, NULL},
    {AUDIT_ITEMS, AUDIT_COLUMNS, NULL},
    {AUDIT_PASSES, AUDIT_COLUMNS, NULL},
};

/* Tasks differ by nature; engines and devices are compared knowingly. */
static const enum audit_text factors[] = {AUDIT_FAMILY, AUDIT_SIZE, AUDIT_METHOD, AUDIT_PRECISION};

static double condition_of(const struct audit_row *r, const struct condition *d) {
    double plus = d->plus == AUDIT_COLUMNS ? 0 : r->x[d->plus];
    return r->x[d->column] + (plus > 0 ? plus : 0);
}

struct unequal {
    struct audit_rows rows;
    bool *listed;
    size_t n_pairs, n_unequal;
    size_t i, j; /* the most unequal pair, i with less */
    double ratio;
};

static void look_at_pair(const struct audit *c, const struct condition *d, size_t i, size_t j,
                         struct unequal *u) {
    double a = condition_of(&c->t->rows[i], d);
    double b = condition_of(&c->t->rows[j], d);
    if (isnan(a) || isnan(b)) {
        return;
    }
    u->n_pairs++;
    if (a == b) {
        return;
    }
    u->n_unequal++;
    const size_t both[] = {i, j};
    for (size_t k = 0; k < 2; k++) {
        if (!u->listed[both[k]]) {
            u->listed[both[k]] = true;
            u->rows.at[u->rows.n++] = both[k];
        }
    }
    double ratio = fmax(a, b) / fmax(fmin(a, b), 1e-9);
    if (ratio > u->ratio) {
        u->ratio = ratio;
        u->i = a < b ? i : j;
        u->j = a < b ? j : i;
    }
}

/* All pairs of rows that differ in one factor alone. */
static void look_at_factor(struct audit *c, const struct audit_rows *rows, enum audit_text factor,
                           const struct condition *d, struct unequal *u) {
    enum { MOST_LEVELS = 64 }; /* without keys, all rows are one group */
    struct audit_groups g = audit_group(c, rows, AUDIT_ALL_KEYS & ~AUDIT_KEY(factor));
    for (size_t k = 0; k < g.n; k++) {
        size_t end = g.start[k + 1];
        if (end - g.start[k] > MOST_LEVELS) {
            continue;
        }
        for (size_t i = g.start[k]; i < end; i++) {
            for (size_t j = i + 1; j < end; j++) {
                if (c->id[g.order[i]][factor] != c->id[g.order[j]][factor]) {
                    look_at_pair(c, d, g.order[i], g.order[j], u);
                }
            }
        }
    }
}

/* "Llama 7B lora rag takes 3.45 times the joules of Llama 1B lora rag, and 10.4 times a row." */
static void add_pair(const struct audit *c, const struct condition *d, const struct unequal *u,
                     struct buf *text) {
    const struct audit_row *less = &c->t->rows[u->i];
    const struct audit_row *more = &c->t->rows[u->j];
    buf_addstr(text, ": ");
    audit_add_name(c, u->i, text);
    buf_addf(text, " has %.6g, ", condition_of(less, d));
    audit_add_name(c, u->j, text);
    buf_addf(text, " %.6g", condition_of(more, d));
    double joules = less->x[AUDIT_ENERGY_J] / more->x[AUDIT_ENERGY_J];
    if (d->per && joules > 0 && isfinite(joules)) {
        buf_addf(text,
                 "; the first takes %.3g times the joules of the second, and %.3g times the %s",
                 joules, joules * condition_of(more, d) / condition_of(less, d), d->per);
    }
}

static void compare_condition(struct audit *c, int stage, const struct audit_rows *rows,
                              const struct condition *d) {
    for (size_t f = 0; f < sizeof(factors) / sizeof(factors[0]); f++) {
        struct unequal u = {.rows = audit_rows_new(c),
                            .listed = arena_array(c->arena, c->t->n + 1, sizeof(bool))};
        if (!u.rows.at || !u.listed) {
            c->out_of_memory = true;
            return;
        }
        look_at_factor(c, rows, factors[f], d, &u);
        if (!u.n_unequal) {
            continue;
        }
        struct buf text;
        buf_init(&text);
        buf_addf(&text, "%s differs in %zu of %zu pairs of %s rows that differ in %s alone",
                 audit_column_names[d->column], u.n_unequal, u.n_pairs, audit_stage_names[stage],
                 audit_text_names[factors[f]]);
        add_pair(c, d, &u, &text);
        audit_report(c, AUDIT_WARNING, &u.rows, &text);
        buf_release(&text);
    }
}

void audit_unequal_conditions(struct audit *c) {
    struct audit_rows rows = audit_rows_new(c);
    for (int stage = 0; rows.at && stage < AUDIT_STAGES; stage++) {
        for (size_t d = 0; d < sizeof(conditions) / sizeof(conditions[0]); d++) {
            rows.n = 0;
            for (size_t i = 0; i < c->t->n; i++) {
                const struct audit_row *r = &c->t->rows[i];
                if ((int)r->stage == stage && audit_is_whole(r) &&
                    !isnan(r->x[conditions[d].column])) {
                    rows.at[rows.n++] = i;
                }
            }
            compare_condition(c, stage, &rows, &conditions[d]);
        }
    }
}
