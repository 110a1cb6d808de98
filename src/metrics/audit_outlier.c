/*
 * The outlier rule: a median polish of each figure's logarithm over the variants' keys, with
 * two-way interactions where the rows are enough for them, and rows that it leaves far off.
 * Medians, because an outlier must not hide itself. Tukey, Exploratory Data Analysis (1977),
 * chapter 11; the robust z is that of Iglewicz and Hoaglin (1993). docs/audit.md, "outlier".
 */
#include "metrics/audit_impl.h"

#include "stats/stats.h"

#include <math.h>

enum {
    FEWEST_ROWS = 12,
    MOST_ROWS = 20000,
    MOST_SWEEPS = 50,
    MOST_TERMS = AUDIT_KEYS + AUDIT_KEYS * (AUDIT_KEYS - 1) / 2,
};
#define MAD_TO_SD 1.4826
/* Off by this factor, and by so many robust standard deviations of what the polish leaves. */
#define FAR_FACTOR 2.0
#define FAR_Z 4.5
/* Differences under a per cent are no scale to judge others by. */
#define LEAST_SCALE 0.01
/* More than this share is a pattern that the model does not have, and no set of outliers. */
#define MOST_OUTLIERS 0.1

/* Scores have a rule of their own, which knows their sampling error. */
static const enum audit_column figures[] = {
    AUDIT_ENERGY_J,     AUDIT_DURATION_S,  AUDIT_POWER_MEAN_W,        AUDIT_LOAD_S,
    AUDIT_TTFT_MEAN_MS, AUDIT_ITL_MEAN_MS, AUDIT_OUTPUT_TOKENS_PER_S,
};
enum { N_FIGURES = sizeof(figures) / sizeof(figures[0]) };

/* Residuals by row of the table, and the groups within which each term's effect is taken out. */
struct polish {
    struct audit *c;
    struct audit_rows rows;
    double *residual;
    double *scratch;
    struct audit_groups terms[MOST_TERMS];
    size_t n_terms;
    size_t n_effects; /* free parameters of all terms */
};

static size_t count_levels(struct polish *p, unsigned keys) {
    return audit_group(p->c, &p->rows, keys).n;
}

static void add_term(struct polish *p, unsigned keys, size_t n_effects) {
    p->terms[p->n_terms++] = audit_group(p->c, &p->rows, keys);
    p->n_effects += n_effects;
}

/* All keys that differ; their pairs too where half of the rows stay for judging by. */
static void choose_terms(struct polish *p) {
    enum audit_text keys[AUDIT_KEYS] = {0};
    size_t levels[AUDIT_KEYS] = {0};
    size_t n = 0;
    p->n_terms = 0;
    p->n_effects = 1;
    for (int k = 0; k < AUDIT_KEYS; k++) {
        levels[n] = count_levels(p, AUDIT_KEY(k));
        if (levels[n] > 1) {
            add_term(p, AUDIT_KEY(k), levels[n] - 1);
            keys[n++] = (enum audit_text)k;
        }
    }
    size_t n_main = p->n_terms;
    size_t main_effects = p->n_effects;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            unsigned both = AUDIT_KEY(keys[i]) | AUDIT_KEY(keys[j]);
            size_t cells = count_levels(p, both);
            size_t used = levels[i] + levels[j] - 1;
            add_term(p, both, cells > used ? cells - used : 0);
        }
    }
    if (p->n_effects > p->rows.n * 2 / 3) {
        p->n_terms = n_main;
        p->n_effects = main_effects;
    }
}

static double median(double *x, size_t n) {
    stats_sort(x, n);
    return stats_quantile(x, n, 0.5);
}

/* Takes the median of each group out of its rows; the largest of them. */
static double sweep(struct polish *p, const struct audit_groups *g) {
    double largest = 0;
    for (size_t k = 0; k < g->n; k++) {
        size_t n = g->start[k + 1] - g->start[k];
        const size_t *rows = g->order + g->start[k];
        for (size_t i = 0; i < n; i++) {
            p->scratch[i] = p->residual[rows[i]];
        }
        double m = median(p->scratch, n);
        for (size_t i = 0; i < n; i++) {
            p->residual[rows[i]] -= m;
        }
        largest = fmax(largest, fabs(m));
    }
    return largest;
}

/*
 * The robust standard deviation of what is left. A fit by medians leaves as many rows at 0 as it
 * has parameters; those say nothing, so the median is of the others.
 */
static double scale_of(struct polish *p) {
    for (size_t i = 0; i < p->rows.n; i++) {
        p->scratch[i] = fabs(p->residual[p->rows.at[i]]);
    }
    stats_sort(p->scratch, p->rows.n);
    size_t n_free = p->rows.n - p->n_effects;
    double sd = MAD_TO_SD * stats_quantile(p->scratch + p->n_effects, n_free, 0.5);
    return fmax(sd, LEAST_SCALE);
}

/* Fits figure over stage; false when there is too little to fit. */
static bool fit(struct polish *p, int stage, enum audit_column figure) {
    p->rows.n = 0;
    for (size_t i = 0; i < p->c->t->n; i++) {
        const struct audit_row *r = &p->c->t->rows[i];
        if ((int)r->stage == stage && audit_is_whole(r) && r->x[figure] > 0) {
            p->rows.at[p->rows.n++] = i;
            p->residual[i] = log(r->x[figure]);
        }
    }
    if (p->rows.n < FEWEST_ROWS || p->rows.n > MOST_ROWS) {
        return false;
    }
    choose_terms(p);
    if (p->c->out_of_memory || p->n_terms == 0 || p->n_effects > p->rows.n * 2 / 3) {
        return false;
    }
    for (int i = 0; i < MOST_SWEEPS; i++) {
        double largest = 0;
        for (size_t t = 0; t < p->n_terms; t++) {
            largest = fmax(largest, sweep(p, &p->terms[t]));
        }
        if (largest < 1e-9) {
            break;
        }
    }
    return true;
}

/* What is off in each row of a stage, as text by row. */
struct findings {
    struct buf *text; /* one a row of the table */
    struct audit_rows rows;
};

static void collect(struct polish *p, enum audit_column figure, struct findings *f) {
    double scale = scale_of(p);
    size_t n_far = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < p->rows.n; i++) {
            size_t row = p->rows.at[i];
            double off = p->residual[row];
            if (fabs(off) < log(FAR_FACTOR) || fabs(off) < FAR_Z * scale) {
                continue;
            }
            if (pass == 0) {
                n_far++;
                continue;
            }
            struct buf *text = &f->text[row];
            if (!text->len) {
                f->rows.at[f->rows.n++] = row;
            }
            buf_addf(text, "%s%s %.3g times what the others suggest (%.1f robust sd)",
                     text->len ? ", " : "", audit_column_names[figure], exp(off), off / scale);
        }
        if ((double)n_far > fmax(1, MOST_OUTLIERS * (double)p->rows.n)) {
            return;
        }
    }
}

static void report(struct audit *c, int stage, const struct findings *f) {
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; i < f->rows.n; i++) {
        buf_addstr(&text, i ? "; " : "");
        audit_add_name(c, f->rows.at[i], &text);
        buf_addf(&text, " (%s): %s", audit_stage_names[stage], f->text[f->rows.at[i]].data);
    }
    audit_report(c, AUDIT_WARNING, &f->rows, &text);
    buf_release(&text);
}

void audit_outliers(struct audit *c) {
    struct polish p = {.c = c,
                       .rows = audit_rows_new(c),
                       .residual = audit_numbers(c),
                       .scratch = audit_numbers(c)};
    struct findings f = {.text = arena_array(c->arena, c->t->n + 1, sizeof(*f.text)),
                         .rows = audit_rows_new(c)};
    if (c->out_of_memory || !f.text) {
        c->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < c->t->n; i++) {
        buf_init(&f.text[i]);
    }
    for (int stage = 0; stage < AUDIT_STAGES && !c->out_of_memory; stage++) {
        f.rows.n = 0;
        for (size_t k = 0; k < N_FIGURES; k++) {
            if (fit(&p, stage, figures[k])) {
                collect(&p, figures[k], &f);
            }
        }
        if (f.rows.n) {
            report(c, stage, &f);
        }
    }
    for (size_t i = 0; i < c->t->n; i++) {
        audit_check_text(c, &f.text[i]);
        buf_release(&f.text[i]);
    }
}
