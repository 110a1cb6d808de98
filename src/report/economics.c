#include "report/economics.h"

#include "report/fmt.h"
#include "report/summary.h"
#include "report/text_table.h"

#include <math.h>
#include <string.h>

static const struct metric_row *full(const struct report_variant *v, const char *metric) {
    return report_row_in(v, metric, "full");
}

bool economics_of(const struct report_variant *v, struct econ *x) {
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        const struct quantity *q = &v->input.econ[i];
        econ_set(x, i, q->present ? q->value : (double)NAN);
    }
    return !metric_refused(full(v, "n_break"));
}

void economics_curve(const struct econ *x, struct economics_point points[ECONOMICS_POINTS]) {
    const int middle = ECONOMICS_POINTS / 2;
    for (int i = 0; i < ECONOMICS_POINTS; i++) {
        double r = x->traffic_per_h * pow(10, (i - middle) / 3.0);
        points[i] = (struct economics_point){.traffic_per_h = r,
                                             .replicas = econ_replicas(x, r),
                                             .own_usd_per_h = r * econ_request_usd(x, r),
                                             .api_usd_per_h = r * econ_api_usd(x),
                                             .n_break = econ_n_break(x, r)};
    }
}

/* --- Where it is from ---------------------------------------------------------------------------------- */

static void add_line(const struct report_run *run, struct buf *out, const char *start,
                     const char *text) {
    fmt_wrap(out, start, text, run->width);
}

static void add_list(const struct report_run *run, struct buf *out, const char *start,
                     const char *const *items, size_t n) {
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < n; i++) {
        buf_addf(&b, "%s%s", i ? ", " : "", items[i]);
    }
    if (n) {
        add_line(run, out, start, b.data);
    }
    buf_release(&b);
}

void economics_sources(const struct report_run *run, struct buf *out) {
    const struct costing *k = &run->costing;
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < k->n_uses; i++) {
        const struct price_entry *p = k->uses[i].entry;
        buf_clear(&b);
        buf_addf(&b, "%s %s: %s, %s", price_kind_names[p->kind], p->name, p->source, p->date);
        buf_addf(&b, "%s%s%s%s", k->uses[i].is_stale ? " (stale)" : "",
                 price_is_unchecked(p) ? " (unchecked)" : "", p->note ? "; " : "",
                 p->note ? p->note : "");
        add_line(run, out, "price    ", b.data);
    }
    buf_release(&b);
    add_list(run, out, "assumed  ", k->assumed, k->n_assumed);
    add_list(run, out, "excluded ", k->excluded, k->n_excluded);
}

/* --- The table -------------------------------------------------------------------------------------------- */

static const struct {
    const char *title;
    const char *metric;
    double factor;
    size_t width;
} columns[] = {
    {"R", "replicas", 1, 4},
    {"$/h", "fixed_usd_per_h", 1, 8},
    {"$/1k req", "request_usd", 1000, 9},
    {"API", "api_request_usd", 1000, 8},
    {"$/Mtok", "usd_per_mtok", 1, 8},
    {"saving/h", "saving_usd_per_h", 1, 9},
    {"days", "break_even_days", 1, 8},
    {"pays from/h", "pays_from_per_h", 1, 11},
    {"g/req", "request_gco2e", 1, 8},
};
enum { N_COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static void add_figure(const struct metric_row *row, double factor, struct buf *out) {
    if (metric_refused(row)) {
        buf_addch(out, '-');
        return;
    }
    buf_addstr(out, row->flags & QUANTITY_MODELLED ? "~" : "");
    if (isinf(row->value)) {
        buf_addstr(out, "never");
    } else {
        fmt_num(out, row->value * factor);
    }
}

static void add_cells(const struct report_variant *v, const size_t *widths, size_t from, size_t end,
                      struct buf *out) {
    struct buf cell;
    buf_init(&cell);
    text_keys(v, out);
    for (size_t c = from; c < end; c++) {
        buf_clear(&cell);
        add_figure(full(v, columns[c].metric), columns[c].factor, &cell);
        buf_addch(out, ' ');
        fmt_cell(out, cell.data, widths[c], true);
    }
    buf_addch(out, '\n');
    buf_release(&cell);
}

static void fit_columns(const struct report_run *run, size_t *widths) {
    size_t needed[N_COLUMNS];
    struct buf cell;
    buf_init(&cell);
    for (size_t c = 0; c < N_COLUMNS; c++) {
        widths[c] = columns[c].width;
        needed[c] = strlen(columns[c].title);
        for (size_t i = 0; i < run->n_variants; i++) {
            buf_clear(&cell);
            add_figure(full(&run->variants[i], columns[c].metric), columns[c].factor, &cell);
            needed[c] = cell.len > needed[c] ? cell.len : needed[c];
        }
    }
    buf_release(&cell);
    text_fit_widths(run, needed, widths, N_COLUMNS);
}

void economics_table(const struct report_run *run, struct buf *out) {
    size_t widths[N_COLUMNS];
    fit_columns(run, widths);
    for (size_t from = 0, end; from < N_COLUMNS; from = end) {
        end = text_part_end(run, widths, N_COLUMNS, from);
        buf_addstr(out, from ? "\n" : "");
        text_key_titles(out);
        for (size_t c = from; c < end; c++) {
            buf_addch(out, ' ');
            fmt_cell(out, columns[c].title, widths[c], true);
        }
        buf_addch(out, '\n');
        for (size_t i = 0; i < run->n_variants; i++) {
            add_cells(&run->variants[i], widths, from, end, out);
        }
    }
}

/* --- One variant ------------------------------------------------------------------------------------------- */

const struct report_variant *economics_choose(const struct report_run *run,
                                              const char *variant_id) {
    const struct report_variant *best = NULL;
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        if (variant_id) {
            best = strcmp(v->v.variant_id, variant_id) == 0 ? v : best;
            continue;
        }
        const struct metric_row *cost = full(v, "request_usd");
        bool is_known = !metric_refused(full(v, "n_break")) && !metric_refused(cost);
        if (is_known && (!best || cost->value < full(best, "request_usd")->value)) {
            best = v;
        }
    }
    return best;
}

enum { NAME_WIDTH = 34 };

static void add_named(const struct report_run *run, struct buf *out, const char *name,
                      const char *text) {
    struct buf start;
    buf_init(&start);
    fmt_cell(&start, name, NAME_WIDTH, false);
    buf_addch(&start, ' ');
    add_line(run, out, start.data, text);
    buf_release(&start);
}

/* "break-even   57 requests (41..88); modelled; ..." */
static void add_metric(const struct report_run *run, const struct report_variant *v,
                       const char *metric, struct buf *out) {
    const struct metric_row *row = full(v, metric);
    struct buf b;
    buf_init(&b);
    if (metric_refused(row)) {
        buf_addf(&b, "- %s", row->reason);
    } else if (isinf(row->value)) {
        buf_addstr(&b, row->reason);
    } else {
        add_figure(row, 1, &b);
        if (strcmp(row->metric->unit, "1") != 0) {
            buf_addf(&b, " %s", row->metric->unit);
        }
        if (!isnan(row->low)) {
            buf_addstr(&b, " (");
            fmt_num(&b, row->low);
            buf_addstr(&b, "..");
            if (isinf(row->high)) {
                buf_addstr(&b, "never");
            } else {
                fmt_num(&b, row->high);
            }
            buf_addch(&b, ')');
        }
    }
    add_named(run, out, row->metric->name, b.data);
    buf_release(&b);
}

static void add_ranges(const struct report_run *run, const struct econ *x, struct buf *out) {
    enum { SHOWN = 4 };
    struct econ_range ranges[SHOWN];
    double always_from = 0;
    size_t n = econ_paying(x, ranges, SHOWN, &always_from);
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < n && i < SHOWN; i++) {
        buf_addstr(&b, i ? ", " : "from ");
        fmt_num(&b, ranges[i].low);
        buf_addstr(&b, isinf(ranges[i].high) ? " on" : " to ");
        if (!isinf(ranges[i].high)) {
            fmt_num(&b, ranges[i].high);
        }
    }
    if (n > SHOWN) {
        buf_addf(&b, ", %zu more, and always from ", n - SHOWN);
        fmt_num(&b, always_from);
    }
    buf_addstr(&b, n ? " requests/h" : "at no rate");
    add_named(run, out, "pays", b.data);
    buf_release(&b);
}

/* One decimal bar for both ends, so that a screen reader and a log can follow it. */
static void add_bar(const struct econ_bar *bar, size_t name_width, struct buf *out) {
    const struct econ_field *f = econ_field(bar->field);
    struct buf cell;
    buf_init(&cell);
    buf_addstr(out, "  ");
    fmt_cell(out, f->about, name_width, false);
    const double ends[] = {bar->at_low, bar->at_high};
    for (size_t i = 0; i < 2; i++) {
        buf_clear(&cell);
        if (isinf(ends[i])) {
            buf_addstr(&cell, "never");
        } else {
            fmt_num(&cell, ends[i]);
        }
        buf_addch(out, ' ');
        fmt_cell(out, cell.data, 12, true);
    }
    buf_addch(out, '\n');
    buf_release(&cell);
}

static void add_tornado(const struct report_run *run, const struct econ *x, struct buf *out) {
    enum { SHOWN = 10, MOST = 40, REST = 28 };
    size_t name_width = run->width < MOST + REST ? run->width - REST : MOST;
    struct econ_bar bars[ECON_FIELDS];
    size_t n = econ_tornado(x, econ_n_break_planned, bars);
    buf_addch(out, '\n');
    fmt_cell(out, "N_break with one input changed", name_width + 2, false);
    buf_addstr(out, "    20 % less    20 % more\n");
    if (n == 0) {
        buf_addstr(out, "  no single change of 20 % moves it\n");
    }
    for (size_t i = 0; i < n && i < SHOWN; i++) {
        add_bar(&bars[i], name_width, out);
    }
    if (n > SHOWN) {
        buf_addf(out, "  and %zu that move it less\n", n - SHOWN);
    }
}

static void add_curve(const struct report_run *run, const struct econ *x, struct buf *out) {
    static const char *const titles[] = {"requests/h", "R", "here $/h", "API $/h", "N_break"};
    static const size_t wide[] = {12, 8, 13, 13, 13}, narrow[] = {10, 7, 8, 8, 9};
    enum { N = sizeof(wide) / sizeof(wide[0]), WIDE = 80 };
    const size_t *widths = run->width < WIDE ? narrow : wide;
    struct economics_point points[ECONOMICS_POINTS];
    struct buf cell;
    buf_init(&cell);
    economics_curve(x, points);
    buf_addch(out, '\n');
    for (size_t c = 0; c < N; c++) {
        buf_addstr(out, c ? " " : "");
        fmt_cell(out, titles[c], widths[c], true);
    }
    buf_addch(out, '\n');
    for (size_t i = 0; i < ECONOMICS_POINTS; i++) {
        const struct economics_point *p = &points[i];
        const double cells[N] = {p->traffic_per_h, p->replicas, p->own_usd_per_h, p->api_usd_per_h,
                                 p->n_break};
        for (size_t c = 0; c < N; c++) {
            buf_clear(&cell);
            if (isinf(cells[c])) {
                buf_addstr(&cell, "never");
            } else {
                fmt_num(&cell, cells[c]);
            }
            buf_addstr(out, c ? " " : "");
            fmt_cell(out, cell.data, widths[c], true);
        }
        buf_addstr(out, i == ECONOMICS_POINTS / 2 ? " <- the plan\n" : "\n");
    }
    buf_release(&cell);
}

void economics_detail(const struct report_run *run, const struct report_variant *v,
                      struct buf *out) {
    static const char *const metrics[] = {
        "n_break",         "break_even_days",    "p_never",          "once_usd",
        "request_usd",     "accepted_usd",       "api_accepted_usd", "busy_usd_per_mtok",
        "payback_month",   "cash_12_usd",        "cash_36_usd",      "npv_12_usd",
        "npv_36_usd",      "npv_36_falling_usd", "n_break_falling",  "rate_one_lost_per_h",
        "good_1000_gco2e", "embodied_gco2e"};
    struct econ x;
    bool is_known = economics_of(v, &x);
    buf_addch(out, '\n');
    summary_variant_name(run, v, out);
    buf_addf(out, " (%s)\n", v->v.variant_id);
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        add_metric(run, v, metrics[i], out);
    }
    if (!is_known) {
        return;
    }
    const struct metric_row *n_break = full(v, "n_break");
    add_ranges(run, &x, out);
    if (n_break->label) {
        add_named(run, out, "mind", n_break->label);
    }
    add_tornado(run, &x, out);
    add_curve(run, &x, out);
}

/* --- What was refused ------------------------------------------------------------------------------------------ */

static bool refused_for(const struct metric_row *row, const char *reason) {
    return strcmp(row->metric->profile, "full") == 0 && metric_refused(row) &&
           strcmp(row->reason, reason) == 0;
}

static bool is_new_reason(const struct report_run *run, size_t variant, size_t metric) {
    const char *reason = run->variants[variant].rows[metric].reason;
    for (size_t i = 0; i <= variant; i++) {
        for (size_t m = 0; m < (i == variant ? metric : metrics_count()); m++) {
            if (refused_for(&run->variants[i].rows[m], reason)) {
                return false;
            }
        }
    }
    return true;
}

/* "replicas, n_break (rag none int4, ...): reason" */
static void add_refusal(const struct report_run *run, const char *reason, struct buf *out) {
    struct buf b;
    buf_init(&b);
    size_t n_variants = 0;
    for (size_t m = 0; m < metrics_count(); m++) {
        bool is_refused = false;
        for (size_t i = 0; i < run->n_variants; i++) {
            is_refused = is_refused || refused_for(&run->variants[i].rows[m], reason);
        }
        if (is_refused) {
            buf_addf(&b, "%s%s", b.len ? ", " : "", metrics_at(m)->id);
        }
    }
    struct buf names;
    buf_init(&names);
    for (size_t i = 0; i < run->n_variants; i++) {
        bool is_concerned = false;
        for (size_t m = 0; m < metrics_count(); m++) {
            is_concerned = is_concerned || refused_for(&run->variants[i].rows[m], reason);
        }
        if (is_concerned) {
            buf_addstr(&names, n_variants++ ? ", " : "");
            summary_variant_name(run, &run->variants[i], &names);
        }
    }
    if (n_variants < run->n_variants) {
        buf_addf(&b, " of %s", names.data);
    }
    buf_addf(&b, ": %s", reason);
    add_line(run, out, "- ", b.data);
    buf_release(&names);
    buf_release(&b);
}

void economics_refusals(const struct report_run *run, struct buf *out) {
    bool is_first = true;
    for (size_t i = 0; i < run->n_variants; i++) {
        for (size_t m = 0; m < metrics_count(); m++) {
            const struct metric_row *row = &run->variants[i].rows[m];
            if (!metric_refused(row) || strcmp(row->metric->profile, "full") != 0 ||
                !is_new_reason(run, i, m)) {
                continue;
            }
            buf_addstr(out, is_first ? "\nRefused:\n" : "");
            is_first = false;
            add_refusal(run, row->reason, out);
        }
    }
}
