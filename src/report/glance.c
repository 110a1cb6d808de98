/* Inside the text report: the two figures that most is decided by, as bars with their intervals. */
#include "report/text_table.h"

#include "report/fmt.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

enum { BAR_CELLS = 10, FIGURE_WIDTH = 25 };

static const char *const metrics[] = {"score", "joules_per_request"};
enum { N_METRICS = sizeof(metrics) / sizeof(metrics[0]) };

static const struct metric_row *row_of(const struct report_variant *v, size_t k) {
    return report_row_in(v, metrics[k], "measured");
}

/* The longest bar of a task is its largest figure. */
static double largest(const struct report_run *run, const char *task, size_t k) {
    double most = 0;
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        double x = row_of(v, k)->value;
        if (strcmp(v->v.task, task) == 0 && isfinite(x)) {
            most = fmax(most, x);
        }
    }
    return most;
}

static void add_bar(double x, double most, struct buf *out) {
    long full = most > 0 ? lround(BAR_CELLS * fmax(x, 0) / most) : 0;
    for (long i = 0; i < BAR_CELLS; i++) {
        buf_addstr(out, i < full ? "\xE2\x96\x88" : "\xE2\x96\x91");
    }
    buf_addch(out, ' ');
}

/* "~1.43 (0.85 to 2.01)" */
static void add_figure(const struct metric_row *row, bool is_last, struct buf *out) {
    struct buf cell;
    buf_init(&cell);
    buf_addstr(&cell, row->flags & QUANTITY_MODELLED ? "~" : "");
    fmt_num(&cell, row->value);
    if (isfinite(row->low) && isfinite(row->high)) {
        buf_addstr(&cell, " (");
        fmt_num(&cell, row->low);
        buf_addstr(&cell, " to ");
        fmt_num(&cell, row->high);
        buf_addch(&cell, ')');
    }
    if (is_last) {
        buf_addstr(out, cell.data);
    } else {
        fmt_cell(out, cell.data, FIGURE_WIDTH, false);
    }
    buf_release(&cell);
}

static void add_variant(const struct report_run *run, const struct report_variant *v,
                        struct buf *out) {
    text_keys(v, out);
    for (size_t k = 0; k < N_METRICS; k++) {
        const struct metric_row *row = row_of(v, k);
        buf_addch(out, ' ');
        if (isfinite(row->value)) {
            add_bar(row->value, largest(run, v->v.task, k), out);
            add_figure(row, k + 1 == N_METRICS, out);
        } else {
            fmt_cell(out, "-", k + 1 < N_METRICS ? BAR_CELLS + 1 + FIGURE_WIDTH : 1, false);
        }
    }
    buf_addch(out, '\n');
}

static bool has_figure(const struct report_variant *v) {
    return isfinite(row_of(v, 0)->value) || isfinite(row_of(v, 1)->value);
}

static void add_titles(struct buf *out) {
    text_key_titles(out);
    buf_addch(out, ' ');
    fmt_cell(out, "score", BAR_CELLS + 1 + FIGURE_WIDTH, false);
    buf_addstr(out, " J/request\n");
}

void text_glance(const struct report_run *run, struct buf *out) {
    const struct report_variant *last = NULL;
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        if (!has_figure(v)) {
            continue;
        }
        if (!last) {
            buf_addstr(out, "\nat a glance: bounds as metrics.csv labels them; a full bar is the "
                            "task's largest\n");
        }
        if (!last || !summary_same_group(last, v)) {
            struct buf name;
            buf_init(&name);
            buf_addf(&name, "%s on %s %s", v->v.model_id, v->v.engine, v->v.device);
            buf_addch(out, '\n');
            fmt_wrap(out, "", name.data, TEXT_WIDTH);
            buf_release(&name);
            add_titles(out);
        }
        last = v;
        add_variant(run, v, out);
    }
}
