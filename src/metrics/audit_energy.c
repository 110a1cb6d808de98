/* Audit rules on joules and watts: docs/audit.md, "Energy". */
#include "metrics/audit_impl.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Where so many rows agree, and nearly all do, it is no accident. */
enum { ENOUGH_ROWS = 4 };
#define NEARLY_ALL 0.9
/* A coarser rounding than this would let unlike figures agree. */
#define COARSEST_ROUNDING 0.005
#define SENSOR_TOLERANCE 0.05
#define SHORT_S 5
#define ENOUGH_COVERAGE 0.95
/* Mean powers closer than this are one constant. */
#define SAME_POWER 1e-4
#define UNLIKE_LENGTHS 1.2
#define SOME_THROTTLING 0.01

/* Energy over mean power times time: 1 by definition of the mean. */
static double energy_ratio(const struct audit_row *r) {
    return r->x[AUDIT_ENERGY_J] / (r->x[AUDIT_POWER_MEAN_W] * r->x[AUDIT_DURATION_S]);
}

/* How far rounding to the printed digits can move that ratio from 1. */
static double ratio_rounding(const struct audit_row *r) {
    static const enum audit_column columns[] = {AUDIT_ENERGY_J, AUDIT_POWER_MEAN_W,
                                                AUDIT_DURATION_S};
    double sum = 1e-9;
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        sum += 0.5 * r->step[columns[i]] / r->x[columns[i]];
    }
    return sum;
}

static bool ratio_exists(const struct audit *c, size_t i) {
    const struct audit_row *r = &c->t->rows[i];
    return audit_wanted(c, i) && c->is_part[i] && r->x[AUDIT_ENERGY_J] > 0 &&
           r->x[AUDIT_POWER_MEAN_W] > 0 && r->x[AUDIT_DURATION_S] > 0;
}

/* Who says where the joules come from has answered the question. */
static bool source_is_stated(const struct audit_row *r) {
    return *r->text[AUDIT_ENERGY_SOURCE] != '\0';
}

static void add_identical(struct audit *c, int stage, struct audit_rows *same, struct buf *text) {
    size_t before = same->n;
    size_t n = 0;
    for (size_t i = 0; i < c->t->n; i++) {
        const struct audit_row *r = &c->t->rows[i];
        if ((int)r->stage != stage || !ratio_exists(c, i) || source_is_stated(r) ||
            ratio_rounding(r) > COARSEST_ROUNDING) {
            continue;
        }
        n++;
        if (fabs(energy_ratio(r) - 1) <= ratio_rounding(r)) {
            same->at[same->n++] = i;
        }
    }
    if (same->n - before < ENOUGH_ROWS || (double)(same->n - before) < NEARLY_ALL * (double)n) {
        same->n = before;
        return;
    }
    buf_addf(text, "%s%zu of %zu %s rows", text->len ? ", " : "", same->n - before, n,
             audit_stage_names[stage]);
}

void audit_energy_power_time(struct audit *c) {
    struct audit_rows same = audit_rows_new(c);
    struct buf text;
    buf_init(&text);
    for (int stage = 0; same.at && stage < AUDIT_STAGES; stage++) {
        add_identical(c, stage, &same, &text);
    }
    if (same.n) {
        buf_addstr(&text,
                   ": energy_j equals power_mean_w times duration_s to the last digit printed");
        audit_report(c, AUDIT_WARNING, &same, &text);
    }
    audit_check_text(c, &text);
    buf_release(&text);
}

void audit_energy_mismatch(struct audit *c) {
    struct audit_rows off = audit_rows_new(c);
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; off.at && i < c->t->n; i++) {
        if (!ratio_exists(c, i)) {
            continue;
        }
        double ratio = energy_ratio(&c->t->rows[i]);
        if (fabs(ratio - 1) > SENSOR_TOLERANCE + ratio_rounding(&c->t->rows[i])) {
            off.at[off.n++] = i;
            if (off.n <= 5) {
                buf_addstr(&text, off.n > 1 ? "; " : "");
                audit_add_name(c, i, &text);
                buf_addf(&text, " (%s): %.10g J, but %.10g W times %.10g s are %.2f J (%+.1f %%)",
                         audit_stage_names[c->t->rows[i].stage], c->t->rows[i].x[AUDIT_ENERGY_J],
                         c->t->rows[i].x[AUDIT_POWER_MEAN_W], c->t->rows[i].x[AUDIT_DURATION_S],
                         c->t->rows[i].x[AUDIT_ENERGY_J] / ratio, 100 * (ratio - 1));
            }
        }
    }
    if (off.n > 5) {
        buf_addf(&text, "; and %zu more", off.n - 5);
    }
    if (off.n) {
        audit_report(c, AUDIT_SERIOUS, &off, &text);
    }
    audit_check_text(c, &text);
    buf_release(&text);
}

void audit_constant_power(struct audit *c) {
    struct audit_rows rows = audit_rows_new(c);
    for (int stage = 0; rows.at && stage < AUDIT_STAGES; stage++) {
        double low_w = INFINITY, high_w = 0, shortest_s = INFINITY, longest_s = 0;
        rows.n = 0;
        for (size_t i = 0; i < c->t->n; i++) {
            const struct audit_row *r = &c->t->rows[i];
            if ((int)r->stage != stage || !audit_wanted(c, i) || !c->is_part[i] ||
                !(r->x[AUDIT_DURATION_S] > 0) || !(r->x[AUDIT_ENERGY_J] > 0)) {
                continue;
            }
            double watts = r->x[AUDIT_ENERGY_J] / r->x[AUDIT_DURATION_S];
            low_w = fmin(low_w, watts);
            high_w = fmax(high_w, watts);
            shortest_s = fmin(shortest_s, r->x[AUDIT_DURATION_S]);
            longest_s = fmax(longest_s, r->x[AUDIT_DURATION_S]);
            rows.at[rows.n++] = i;
        }
        if (rows.n < ENOUGH_ROWS || high_w > low_w * (1 + SAME_POWER) ||
            longest_s < UNLIKE_LENGTHS * shortest_s) {
            continue;
        }
        struct buf text;
        buf_init(&text);
        buf_addf(&text, "%zu %s rows between %.3g and %.3g s long have the same mean power, %.6g W",
                 rows.n, audit_stage_names[stage], shortest_s, longest_s, high_w);
        audit_report(c, AUDIT_SERIOUS, &rows, &text);
        buf_release(&text);
    }
}

/* Watts of the boards of a row; NAN where they cannot be told from the rest of the machine. */
static double board_power_w(const struct audit_row *r) {
    if (!isnan(r->x[AUDIT_GPU_POWER_MEAN_W])) {
        return r->x[AUDIT_GPU_POWER_MEAN_W];
    }
    const char *scope = r->text[AUDIT_SCOPE];
    bool is_boards = !*scope || strcmp(scope, "gpu") == 0 || strcmp(scope, "GPU only") == 0;
    return is_boards ? r->x[AUDIT_POWER_MEAN_W] : (double)NAN;
}

static double boards_of(const struct audit_row *r) {
    return r->x[AUDIT_GPUS] >= 1 ? r->x[AUDIT_GPUS] : 1;
}

/* Peaks of some samples may pass a limit for moments; means may not. */
static size_t count_peaks_above(const struct audit *c, const struct audit_rows *rows,
                                double boards) {
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const struct audit_row *r = &c->t->rows[rows->at[i]];
        n += r->x[AUDIT_POWER_PEAK_W] > boards * r->x[AUDIT_POWER_LIMIT_W];
    }
    return n;
}

static void report_limit(struct audit *c, const struct audit_rows *above, size_t n, size_t worst) {
    const struct audit_row *r = &c->t->rows[worst];
    double needed = ceil(board_power_w(r) / r->x[AUDIT_POWER_LIMIT_W]);
    size_t peaks = count_peaks_above(c, above, needed);
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "%zu of %zu %s rows are above the limit of ", above->n, n,
             audit_stage_names[r->stage]);
    buf_addf(&text, boards_of(r) > 1 ? "%.0f boards" : "one board", boards_of(r));
    buf_addf(&text, " (%s%s%.4g W each); the highest, ", r->text[AUDIT_GPU_MODEL],
             *r->text[AUDIT_GPU_MODEL] ? ", " : "", r->x[AUDIT_POWER_LIMIT_W]);
    audit_add_name(c, worst, &text);
    buf_addf(&text, " with %.4g W, takes at least %.0f boards", board_power_w(r), needed);
    if (peaks) {
        buf_addf(&text, "; the peak of %zu rows is above what even %.0f can draw", peaks, needed);
    }
    audit_report(c, AUDIT_SERIOUS, above, &text);
    buf_release(&text);
}

void audit_power_limit(struct audit *c) {
    struct audit_rows above = audit_rows_new(c);
    for (int stage = 0; above.at && stage < AUDIT_STAGES; stage++) {
        size_t n = 0;
        size_t worst_row = 0;
        double worst = 0;
        above.n = 0;
        for (size_t i = 0; i < c->t->n; i++) {
            const struct audit_row *r = &c->t->rows[i];
            double share = board_power_w(r) / (boards_of(r) * r->x[AUDIT_POWER_LIMIT_W]);
            if ((int)r->stage != stage || !audit_wanted(c, i) || !c->is_part[i] || isnan(share)) {
                continue;
            }
            n++;
            if (share > 1) {
                above.at[above.n++] = i;
            }
            if (share > worst) {
                worst = share;
                worst_row = i;
            }
        }
        if (worst > 1 + SENSOR_TOLERANCE) {
            report_limit(c, &above, n, worst_row);
        }
    }
}

typedef bool row_test_fn(const struct audit_row *r);

/* The windows that the running rule wants and that test picks; n: all that it wants. */
static struct audit_rows parts_where(struct audit *c, row_test_fn *test, size_t *n) {
    struct audit_rows rows = audit_rows_new(c);
    *n = 0;
    for (size_t i = 0; rows.at && i < c->t->n; i++) {
        if (audit_wanted(c, i) && c->is_part[i]) {
            ++*n;
            if (test(&c->t->rows[i])) {
                rows.at[rows.n++] = i;
            }
        }
    }
    return rows;
}

struct range {
    double low, high;
};

static struct range range_of(const struct audit *c, const struct audit_rows *rows,
                             enum audit_column column) {
    struct range range = {INFINITY, -INFINITY};
    for (size_t i = 0; i < rows->n; i++) {
        range.low = fmin(range.low, c->t->rows[rows->at[i]].x[column]);
        range.high = fmax(range.high, c->t->rows[rows->at[i]].x[column]);
    }
    return range;
}

/* Reports rows, when there are some, with a formatted text. */
static void report_rows(struct audit *c, const struct audit_rows *rows, const char *fmt, ...)
    EE_PRINTF(3, 4);

static void report_rows(struct audit *c, const struct audit_rows *rows, const char *fmt, ...) {
    if (!rows->n) {
        return;
    }
    char line[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, line);
    audit_report(c, AUDIT_WARNING, rows, &text);
    buf_release(&text);
}

/* As the meter judged, which knows the sensor; else by length alone. */
static bool is_short(const struct audit_row *r) {
    return isnan(r->x[AUDIT_IS_SHORT]) ? r->x[AUDIT_DURATION_S] < SHORT_S
                                       : r->x[AUDIT_IS_SHORT] > 0;
}

void audit_short_windows(struct audit *c) {
    size_t n;
    struct audit_rows rows = parts_where(c, is_short, &n);
    report_rows(c, &rows,
                "%zu of %zu windows are short (as the meter judged, else under %d s); the shortest "
                "lasts %.3g s",
                rows.n, n, SHORT_S, range_of(c, &rows, AUDIT_DURATION_S).low);
}

static bool has_gap(const struct audit_row *r) {
    return r->x[AUDIT_COVERAGE] < ENOUGH_COVERAGE;
}

void audit_coverage(struct audit *c) {
    size_t n;
    struct audit_rows rows = parts_where(c, has_gap, &n);
    report_rows(c, &rows,
                "%zu of %zu windows are covered for less than %.0f %% of their time; the worst for "
                "%.1f %%",
                rows.n, n, 100 * ENOUGH_COVERAGE, 100 * range_of(c, &rows, AUDIT_COVERAGE).low);
}

static bool is_modelled(const struct audit_row *r) {
    return strcmp(r->text[AUDIT_ENERGY_SOURCE], "modelled") == 0;
}

void audit_modelled_energy(struct audit *c) {
    size_t n;
    struct audit_rows rows = parts_where(c, is_modelled, &n);
    report_rows(c, &rows, "the energy of %zu of %zu windows is modelled, wholly or in part", rows.n,
                n);
}

static bool is_throttled(const struct audit_row *r) {
    return r->x[AUDIT_THROTTLED_SHARE] > SOME_THROTTLING;
}

void audit_throttling(struct audit *c) {
    size_t n;
    struct audit_rows rows = parts_where(c, is_throttled, &n);
    report_rows(c, &rows,
                "%zu of %zu windows were throttled for more than %.0f %% of their time; the worst "
                "for %.0f %%",
                rows.n, n, 100 * SOME_THROTTLING,
                100 * range_of(c, &rows, AUDIT_THROTTLED_SHARE).high);
}

static bool has_company(const struct audit_row *r) {
    return r->x[AUDIT_OTHER_PROCESSES] > 0;
}

void audit_other_processes(struct audit *c) {
    size_t n;
    struct audit_rows rows = parts_where(c, has_company, &n);
    report_rows(c, &rows,
                "others used the device in %zu of %zu windows, up to %.0f of them at once", rows.n,
                n, range_of(c, &rows, AUDIT_OTHER_PROCESSES).high);
}

void audit_mixed_scopes(struct audit *c) {
    struct audit_rows rows = audit_rows_new(c);
    struct buf text;
    buf_init(&text);
    size_t n_scopes = 0;
    for (size_t i = 0; rows.at && i < c->t->n; i++) {
        if (!audit_wanted(c, i)) {
            continue;
        }
        size_t same = 0;
        while (same < rows.n && c->id[rows.at[same]][AUDIT_SCOPE] != c->id[i][AUDIT_SCOPE]) {
            same++;
        }
        if (same == rows.n) {
            buf_addf(&text, "%s%s", n_scopes++ ? ", " : "", c->t->rows[i].text[AUDIT_SCOPE]);
        }
        rows.at[rows.n++] = i;
    }
    if (n_scopes > 1) {
        struct buf sentence;
        buf_init(&sentence);
        buf_addf(&sentence, "%zu rows with energy have %zu scopes: %s", rows.n, n_scopes,
                 text.data);
        audit_report(c, AUDIT_SERIOUS, &rows, &sentence);
        buf_release(&sentence);
    }
    audit_check_text(c, &text);
    buf_release(&text);
}
