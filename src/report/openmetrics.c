/*
 * OpenMetrics 1.0 text: a gauge family a metric, for a file that a collector picks up. A refused
 * figure has no sample; never is +Inf; bounds of intervals are families of their own.
 */
#include "report/writers.h"

#include "report/fmt.h"

#include <math.h>
#include <string.h>

/* Label values and help texts: backslash, quote and newline are escaped, all else is as it is. */
static void add_escaped(const char *s, struct buf *out) {
    for (; *s; s++) {
        if (*s == '\n') {
            buf_addstr(out, "\\n");
            continue;
        }
        if (*s == '\\' || *s == '"') {
            buf_addch(out, '\\');
        }
        buf_addch(out, *s);
    }
}

static void add_label(const char *name, const char *value, struct buf *out) {
    buf_addf(out, ",%s=\"", name);
    add_escaped(value, out);
    buf_addch(out, '"');
}

static void add_number(double x, struct buf *out) {
    if (isinf(x)) {
        buf_addstr(out, x > 0 ? "+Inf" : "-Inf");
    } else {
        fmt_full(out, x);
    }
}

/* bound: "low", "high"; NULL for the value itself. */
static void add_sample(const struct report_run *run, const struct report_variant *v,
                       const struct metric_row *row, const char *bound, double x, struct buf *out) {
    const char *const labels[][2] = {
        {"variant", v->v.variant_id},
        {"model", v->v.model_id},
        {"family", v->v.family},
        {"size", v->v.size},
        {"task", v->v.task},
        {"method", v->v.method},
        {"precision", v->v.precision},
        {"engine", v->v.engine},
        {"device", v->v.device},
        {"profile", row->metric->profile},
        {"source", row->flags & QUANTITY_MODELLED ? "modelled" : "measured"},
    };
    buf_addf(out, "edge_eval_%s%s{run=\"", row->metric->id, bound ? "_bound" : "");
    add_escaped(run->run_id, out);
    buf_addch(out, '"');
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        add_label(labels[i][0], labels[i][1], out);
    }
    if (bound) {
        add_label("bound", bound, out);
    }
    buf_addstr(out, "} ");
    add_number(x, out);
    buf_addch(out, '\n');
}

static void add_head(const struct metric *m, const char *suffix, const char *what,
                     struct buf *out) {
    buf_addf(out, "# TYPE edge_eval_%s%s gauge\n", m->id, suffix);
    buf_addf(out, "# HELP edge_eval_%s%s %s", m->id, suffix, what);
    add_escaped(m->name, out);
    buf_addstr(out, " [");
    add_escaped(m->unit, out);
    buf_addstr(out, "]: ");
    add_escaped(m->definition, out);
    buf_addch(out, '\n');
}

typedef bool has_fn(const struct metric_row *row);

static bool has_value(const struct metric_row *row) {
    return !metric_refused(row);
}

static bool has_bounds(const struct metric_row *row) {
    return !metric_refused(row) && !isnan(row->low) && !isnan(row->high);
}

static void add_row(const struct report_run *run, const struct report_variant *v,
                    const struct metric_row *row, bool bounds, struct buf *out) {
    if (bounds) {
        add_sample(run, v, row, "low", row->low, out);
        add_sample(run, v, row, "high", row->high, out);
    } else {
        add_sample(run, v, row, NULL, row->value, out);
    }
}

/* A family holds all profiles of its metric: its samples must stand together. */
static void add_family(const struct report_run *run, const char *id, bool bounds, struct buf *out) {
    has_fn *has = bounds ? has_bounds : has_value;
    bool has_head = false;
    for (size_t i = 0; i < run->n_variants; i++) {
        for (size_t k = 0; k < metrics_count(); k++) {
            const struct metric_row *row = &run->variants[i].rows[k];
            if (strcmp(row->metric->id, id) != 0 || !has(row)) {
                continue;
            }
            if (!has_head) {
                add_head(row->metric, bounds ? "_bound" : "", bounds ? "interval of " : "", out);
                has_head = true;
            }
            add_row(run, &run->variants[i], row, bounds, out);
        }
    }
}

static bool is_first_of_id(size_t metric) {
    for (size_t k = 0; k < metric; k++) {
        if (strcmp(metrics_at(k)->id, metrics_at(metric)->id) == 0) {
            return false;
        }
    }
    return true;
}

int report_openmetrics(const struct report_run *const *runs, size_t n, struct buf *out,
                       struct err *e) {
    (void)e;
    for (size_t k = 0; k < metrics_count(); k++) {
        for (size_t i = 0; is_first_of_id(k) && i < n; i++) {
            add_family(runs[i], metrics_at(k)->id, false, out);
            add_family(runs[i], metrics_at(k)->id, true, out);
        }
    }
    buf_addstr(out, "# EOF\n");
    return 0;
}
