/* The table that a person reads, in the manner of perf stat. */
#include "energy/measurement.h"
#include "energy/note.h"

#include <math.h>
#include <string.h>

#define MAX_COLUMNS 11
#define MAX_ROWS (METER_MAX_COMPONENTS + 2) /* header, components, total */
#define DISAGREEMENT_WORTH_A_NOTE 0.05
#define LATE_SHARE_WORTH_A_NOTE 0.01

struct table {
    size_t n_rows, n_columns;
    struct table_cell {
        char text[64];
        bool right; /* aligned to the right */
    } cells[MAX_ROWS][MAX_COLUMNS];
};

static void cell(struct table *t, bool right, const char *text) {
    struct table_cell *c = &t->cells[t->n_rows][t->n_columns++];
    note_set(c->text, sizeof(c->text), "%s", text);
    c->right = right;
}

/* Columns on a screen: bytes that begin a character. */
static size_t screen_width(const char *text) {
    size_t n = 0;
    for (const char *c = text; *c; c++) {
        n += ((unsigned char)*c & 0xc0) != 0x80;
    }
    return n;
}

static void table_write(const struct table *t, size_t n_columns, struct buf *out) {
    size_t width[MAX_COLUMNS] = {0};
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t c = 0; c < n_columns; c++) {
            size_t len = screen_width(t->cells[r][c].text);
            width[c] = len > width[c] ? len : width[c];
        }
    }
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t c = 0; c < n_columns; c++) {
            const struct table_cell *x = &t->cells[r][c];
            size_t pad = width[c] - screen_width(x->text);
            bool last = c + 1 == n_columns;
            buf_addstr(out, c ? "  " : " ");
            buf_addn(out, ' ', x->right ? pad : 0);
            buf_addstr(out, x->text);
            buf_addn(out, ' ', x->right || last ? 0 : pad);
        }
        buf_addch(out, '\n');
    }
}

/* Four digits or so, never an exponent. */
static void number(char *out, size_t size, double x) {
    double a = fabs(x);
    int decimals = a >= 1000 ? 0 : a >= 100 ? 1 : a >= 10 ? 2 : a >= 1 ? 3 : 4;
    if (isnan(x)) {
        note_set(out, size, "-");
    } else {
        note_set(out, size, "%.*f", decimals, x);
    }
}

static void cell_number(struct table *t, double x) {
    char text[40];
    number(text, sizeof(text), x);
    cell(t, true, text);
}

static void cell_range(struct table *t, double low, double high) {
    char a[40];
    char b[40];
    char both[96];
    number(a, sizeof(a), low);
    number(b, sizeof(b), high);
    note_set(both, sizeof(both), "%s..%s", a, b);
    cell(t, false, isnan(low) || isnan(high) ? "" : both);
}

static void cell_spread(struct table *t, const struct measurement_row *row) {
    char text[40] = "-";
    if (row->has_spread && row->joules > 0) {
        note_set(text, sizeof(text), "±%.2g %%",
                 100 * (row->spread_high_j - row->joules) / row->joules);
    }
    cell(t, false, text);
}

static bool any_idle(const struct measurement_summary *s) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->rows[i].has_idle) {
            return true;
        }
    }
    return false;
}

struct layout {
    bool repeats, idle;
};

static size_t header(struct table *t, const struct layout *l) {
    cell(t, false, "component");
    cell(t, true, "joules");
    cell(t, false, "interval");
    if (l->repeats) {
        cell(t, false, "spread");
    }
    if (l->idle) {
        cell(t, true, "above idle");
        cell(t, false, "interval");
    }
    cell(t, true, "mean W");
    cell(t, true, "peak W");
    cell(t, true, "covered");
    cell(t, false, "quality");
    cell(t, false, "source");
    size_t n_columns = t->n_columns;
    t->n_rows++;
    t->n_columns = 0;
    return n_columns;
}

static void table_row(struct table *t, const struct layout *l, const struct measurement_row *row,
                      const char *source) {
    char covered[16] = "-";
    bool missing = row->quality == METER_MISSING;
    if (!missing) {
        note_set(covered, sizeof(covered), "%.0f %%", 100 * row->coverage);
    }
    cell(t, false, row->name);
    cell_number(t, row->joules);
    cell_range(t, row->low_j, row->high_j);
    if (l->repeats) {
        cell_spread(t, row);
    }
    if (l->idle) {
        cell_number(t, row->has_idle ? row->above_idle_j : NAN);
        cell_range(t, row->has_idle ? row->above_idle_low_j : NAN, row->above_idle_high_j);
    }
    cell_number(t, row->mean_w);
    cell_number(t, row->peak_w);
    cell(t, true, covered);
    cell(t, false, meter_quality_name(row->quality));
    cell(t, false, source);
    t->n_rows++;
    t->n_columns = 0;
}

static void add_process(const struct measurement *m, struct buf *out) {
    double cpu_s = 0;
    uint64_t rss = 0;
    if (m->n_runs == 0 || !m->runs[0].has_process) {
        return;
    }
    for (size_t k = 0; k < m->n_runs; k++) {
        cpu_s += m->runs[k].cpu_s / (double)m->n_runs;
        rss = m->runs[k].max_rss_bytes > rss ? m->runs[k].max_rss_bytes : rss;
    }
    buf_addf(out, ", %.3f s of CPU time, at most %.1f MB of memory", cpu_s, (double)rss / 1e6);
}

/* Three digits of a sum of money that may be a millionth of a cent, without an exponent. */
static void add_usd(double usd, struct buf *out) {
    int decimals = usd > 0 ? 2 - (int)floor(log10(usd)) : 2;
    buf_addf(out, "%.*f", decimals < 2 ? 2 : decimals, usd);
}

static void add_cost(const struct measurement *m, const struct measurement_summary *s,
                     struct buf *out) {
    if (isnan(m->usd_per_kwh)) {
        return;
    }
    if (isnan(s->usd)) {
        buf_addstr(out, " cost: none, because the total is missing\n");
        return;
    }
    buf_addstr(out, " cost: $");
    add_usd(s->usd, out);
    buf_addstr(out, " (");
    add_usd(s->usd_low, out);
    buf_addstr(out, "..");
    add_usd(s->usd_high, out);
    buf_addf(out, ") of electricity at $%g/kWh%s%s%s, for %s\n", m->usd_per_kwh,
             m->price_source ? " (" : "", m->price_source ? m->price_source : "",
             m->price_source ? ")" : "", s->total.scope);
}

/* ---- notes ---- */

static void note_row(const struct measurement_row *row, struct buf *out) {
    if (row->quality == METER_MISSING) {
        buf_addf(out, " %s: missing: %s\n", row->name, row->reason);
        return;
    }
    if (row->reason[0]) {
        buf_addf(out, " %s: not from the better source: %s\n", row->name, row->reason);
    }
    if (row->is_short) {
        buf_addf(out,
                 " %s: too short for this sensor: most of the interval is what happened at its "
                 "edges\n",
                 row->name);
    }
    if (fabs(row->disagreement) > DISAGREEMENT_WORTH_A_NOTE) {
        buf_addf(out, " %s: the integral of its power differs from its counter by %+.1f %%\n",
                 row->name, 100 * row->disagreement);
    }
    if (row->whole) {
        buf_addf(out, " %s: the whole machine; the total is of its parts\n", row->name);
    }
    if (row->has_idle && row->above_idle_high_j < 0) {
        buf_addf(out,
                 " %s: used less than its idle baseline: measure that again (--idle measure)\n",
                 row->name);
    }
    if (row->detail[0]) {
        buf_addf(out, " %s: %s\n", row->name, row->detail);
    }
}

static void note_gpu(const struct measurement *m, size_t i, struct buf *out) {
    const struct measurement_gpu *g = &m->gpus[i];
    char why[128];
    if (g->n_looks == 0 || g->n_throttled == 0) {
        return;
    }
    meter_throttle_text(g->throttle, why, sizeof(why));
    buf_addf(out, " %s: its clocks were held back in %zu of %zu looks (%s); %.0f to %.0f MHz\n",
             m->components[i].name, g->n_throttled, g->n_looks, why, g->min_sm_mhz, g->max_sm_mhz);
}

static void note_total(const struct measurement *m, const struct measurement_summary *s,
                       struct buf *out) {
    if (s->total_is_chosen) {
        buf_addstr(out, " total: of the GPUs, only those that the job's processes were seen on:");
        for (size_t i = 0; i < m->n_components; i++) {
            buf_addf(out, "%s%s", m->gpus[i].is_used ? " " : "",
                     m->gpus[i].is_used ? m->components[i].name : "");
        }
        buf_addch(out, '\n');
    }
    if (s->total.shared && s->total.quality != METER_MISSING) {
        buf_addstr(out, " total: holds a part that others share, so it is not this job's alone\n");
    }
    if (s->n == 0) {
        buf_addf(out, " total: missing: %s\n", s->total.reason);
    }
}

static void note_share(const struct measurement_summary *s, struct buf *out) {
    if (s->share.refused) {
        return;
    }
    char value[40];
    char low[40];
    char high[40];
    number(value, sizeof(value), s->share.joules.value);
    number(low, sizeof(low), s->share.joules.low);
    number(high, sizeof(high), s->share.joules.high);
    buf_addf(out,
             " cpu: %.0f %% of the machine's CPU time was this job's: %s J (%s..%s) of what is "
             "above idle\n",
             100 * s->share.share.value, value, low, high);
}

static void note_processes(const struct measurement *m, struct buf *out) {
    size_t n_left = 0;
    for (size_t k = 0; k < m->n_runs; k++) {
        n_left += m->runs[k].has_process ? m->runs[k].n_left : 0;
    }
    if (n_left > 0) {
        buf_addf(out,
                 " the command ended and left %zu process%s running: what they used after its end "
                 "is not counted; --pid measures a running process\n",
                 n_left, n_left == 1 ? "" : "es");
    }
    for (size_t k = 0; k < m->n_runs && m->n_runs > 1; k++) {
        if (m->runs[k].has_process && m->runs[k].exit_status != 0) {
            buf_addf(out, " run %zu ended with status %d\n", k + 1, m->runs[k].exit_status);
        }
    }
}

static void note_meter(const struct measurement *m, struct buf *out) {
    double late = m->stats.samples ? (double)m->stats.missed_deadlines / (double)m->stats.samples
                                   : 0;
    if (late > LATE_SHARE_WORTH_A_NOTE) {
        buf_addf(out, " the meter missed %llu of %llu sampling times, the latest by %.0f ms\n",
                 (unsigned long long)m->stats.missed_deadlines,
                 (unsigned long long)(m->stats.samples + m->stats.missed_deadlines),
                 (double)m->stats.worst_late_ns / 1e6);
    }
    if (m->idle_note && m->idle_note[0]) {
        buf_addf(out, " idle: %s\n", m->idle_note);
    }
    if (m->has_idle && m->idle_age_s > 0) {
        buf_addf(out, " idle: the baseline was measured %.1f h ago\n", m->idle_age_s / 3600);
    }
}

void measurement_text(const struct measurement *m, const struct measurement_summary *s,
                      struct buf *out) {
    struct table t = {0};
    const struct layout l = {m->n_runs > 1, any_idle(s)};
    buf_addf(out, "\n Energy of %s", m->label);
    if (m->n_runs > 1) {
        buf_addf(out, ", mean of %zu runs", m->n_runs);
    }
    buf_addstr(out, "\n\n");
    size_t n_columns = header(&t, &l);
    for (size_t i = 0; i < s->n; i++) {
        table_row(&t, &l, &s->rows[i], s->rows[i].source);
    }
    table_row(&t, &l, &s->total, s->total.scope);
    table_write(&t, n_columns, out);
    buf_addf(out, "\n %.3f s", s->seconds);
    add_process(m, out);
    buf_addch(out, '\n');
    add_cost(m, s, out);
    for (size_t i = 0; i < s->n; i++) {
        note_row(&s->rows[i], out);
        note_gpu(m, i, out);
    }
    note_share(s, out);
    note_total(m, s, out);
    note_processes(m, out);
    note_meter(m, out);
}
