/* Inside the text report: the two figures that most is decided by, as bars with their intervals. */
#include "report/text_table.h"

#include "report/fmt.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

/* Two bars and two figures; under NARROW columns shorter bars, under LEAST none of it, as every figure
 * is in the tables too. */
enum { BAR_CELLS = 10, SHORT_BAR = 6, FIGURE_WIDTH = 25, NARROW = 92, LEAST = 78 };

static size_t bar_cells(const struct report_run *run) {
    return run->width < NARROW ? SHORT_BAR : BAR_CELLS;
}

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

static void add_bar(double x, double most, size_t cells, struct buf *out) {
    long full = most > 0 ? lround((double)cells * fmax(x, 0) / most) : 0;
    for (long i = 0; i < (long)cells; i++) {
        buf_addstr(out, i < full ? "\xE2\x96\x88" : "\xE2\x96\x91");
    }
    buf_addch(out, ' ');
}

/* "~1.43 (0.85 to 2.01)"; where that is more than room columns without the interval, which the
 * tables have. */
static void add_figure(const struct metric_row *row, size_t room, struct buf *out) {
    struct buf cell;
    buf_init(&cell);
    buf_addstr(&cell, row->flags & QUANTITY_MODELLED ? "~" : "");
    fmt_num(&cell, row->value);
    size_t bare = cell.len;
    if (isfinite(row->low) && isfinite(row->high)) {
        buf_addstr(&cell, " (");
        fmt_num(&cell, row->low);
        buf_addstr(&cell, " to ");
        fmt_num(&cell, row->high);
        buf_addch(&cell, ')');
    }
    buf_add(out, cell.data, fmt_columns(cell.data) <= room ? cell.len : bare);
    buf_release(&cell);
}

static void add_variant(const struct report_run *run, const struct report_variant *v,
                        struct buf *out) {
    struct buf line, cell;
    buf_init(&line);
    buf_init(&cell);
    text_keys(v, &line);
    for (size_t k = 0; k < N_METRICS; k++) {
        const struct metric_row *row = row_of(v, k);
        bool is_last = k + 1 == N_METRICS;
        buf_addch(&line, ' ');
        buf_clear(&cell);
        if (isfinite(row->value)) {
            size_t before = fmt_columns(line.data) + bar_cells(run) + 1;
            size_t room = is_last ? run->width - before : FIGURE_WIDTH;
            add_bar(row->value, largest(run, v->v.task, k), bar_cells(run), &cell);
            add_figure(row, room, &cell);
        } else {
            buf_addch(&cell, '-');
        }
        size_t columns = is_last ? fmt_columns(cell.data) : bar_cells(run) + 1 + FIGURE_WIDTH;
        fmt_cell(&line, cell.data, columns, false);
    }
    buf_addch(&line, '\n');
    buf_add(out, line.data, line.len);
    out->failed = out->failed || line.failed || cell.failed;
    buf_release(&cell);
    buf_release(&line);
}

static bool has_figure(const struct report_variant *v) {
    return isfinite(row_of(v, 0)->value) || isfinite(row_of(v, 1)->value);
}

static void add_titles(const struct report_run *run, struct buf *out) {
    text_key_titles(out);
    buf_addch(out, ' ');
    fmt_cell(out, "score", bar_cells(run) + 1 + FIGURE_WIDTH, false);
    buf_addstr(out, " J/request\n");
}

void text_glance(const struct report_run *run, struct buf *out) {
    const struct report_variant *last = NULL;
    for (size_t i = 0; i < run->n_variants && run->width >= LEAST; i++) {
        const struct report_variant *v = &run->variants[i];
        if (!has_figure(v)) {
            continue;
        }
        if (!last) {
            buf_addstr(out, "\nat a glance: bounds as in metrics.csv; a full bar is the task's "
                            "largest\n");
        }
        if (!last || !summary_same_group(last, v)) {
            struct buf name;
            buf_init(&name);
            buf_addf(&name, "%s on %s %s", v->v.model_id, v->v.engine, v->v.device);
            buf_addch(out, '\n');
            fmt_wrap(out, "", name.data, run->width);
            buf_release(&name);
            add_titles(run, out);
        }
        last = v;
        add_variant(run, v, out);
    }
}
