#include "report/html_parts.h"

#include "report/fmt.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

/* With more variants than this their figures are folded away. */
enum { FOLD_ABOVE = 4 };

void html_cell(struct buf *out, const char *class_name, const char *text) {
    buf_addf(out, *class_name ? "<td class=\"%s\">" : "<td>", class_name);
    fmt_html(out, text);
    buf_addstr(out, "</td>");
}

void html_number(struct buf *out, double x) {
    if (isnan(x)) {
        buf_addstr(out, "<td class=\"num\"></td>");
        return;
    }
    buf_addstr(out, "<td class=\"num\" title=\"");
    fmt_full(out, x);
    buf_addstr(out, "\">");
    fmt_num(out, x);
    buf_addstr(out, "</td>");
}

static void add_users(const struct report_run *run, const struct report_stage *st,
                      struct buf *out) {
    struct buf names;
    buf_init(&names);
    for (size_t i = 0; i < run->n_variants; i++) {
        for (int kind = 0; kind < REPORT_KINDS; kind++) {
            if (run->variants[i].stages[kind] == st) {
                buf_addstr(&names, names.len ? ", " : "");
                summary_variant_name(run, &run->variants[i], &names);
            }
        }
    }
    html_cell(out, "", names.data);
    buf_release(&names);
}

void html_failures(const struct report_run *run, struct buf *out) {
    size_t n = 0;
    for (size_t i = 0; i < run->n_stages; i++) {
        const struct report_stage *st = &run->stages[i];
        if (!report_stage_failed(st)) {
            continue;
        }
        if (n++ == 0) {
            buf_addstr(out, "<section>\n<h2>Failed stages</h2>\n<div class=\"scroll\"><table>\n"
                            "<thead><tr><th>stage</th><th>kind of error</th><th>error</th>"
                            "<th class=\"num\">after, s</th><th>variants</th></tr></thead>\n"
                            "<tbody>\n");
        }
        buf_addstr(out, "<tr>");
        html_cell(out, "", st->s.title);
        html_cell(out, "", st->s.error_code);
        html_cell(out, "error", st->s.error);
        html_number(out, st->s.wall_s);
        add_users(run, st, out);
        buf_addstr(out, "</tr>\n");
    }
    if (n) {
        buf_addstr(out, "</tbody></table></div>\n</section>\n");
    }
}

static void add_value(struct buf *out, const struct metric_row *r) {
    bool is_bytes = strcmp(r->metric->unit, "bytes") == 0;
    buf_addf(out, "<td class=\"num%s\" title=\"", metric_refused(r) ? " refused" : "");
    fmt_full(out, r->value);
    buf_addstr(out, "\">");
    buf_addstr(out, r->flags & QUANTITY_AT_LEAST ? "&ge; " : "");
    buf_addstr(out, !metric_refused(r) && r->flags & QUANTITY_MODELLED ? "~" : "");
    if (metric_refused(r)) {
        buf_addch(out, '-');
    } else if (isinf(r->value)) {
        buf_addstr(out, "never");
    } else {
        (is_bytes ? fmt_bytes : fmt_num)(out, r->value);
    }
    buf_addstr(out, "</td><td class=\"num\">");
    if (isfinite(r->low) && isfinite(r->high)) {
        (is_bytes ? fmt_bytes : fmt_num)(out, r->low);
        buf_addstr(out, " to ");
        (is_bytes ? fmt_bytes : fmt_num)(out, r->high);
    }
    buf_addstr(out, "</td><td class=\"num\">");
    if (r->n) {
        buf_addf(out, "%zu", r->n);
    }
    buf_addstr(out, "</td>");
}

static void add_row(const struct metric_row *r, struct buf *out) {
    bool is_bytes = strcmp(r->metric->unit, "bytes") == 0;
    buf_addstr(out, "<tr><td title=\"");
    fmt_html(out, r->metric->definition);
    buf_addstr(out, "\">");
    fmt_html(out, r->metric->name);
    buf_addstr(out, " <code>");
    fmt_html(out, r->metric->id);
    buf_addstr(out, "</code></td>");
    html_cell(out, "", r->metric->profile);
    add_value(out, r);
    html_cell(out, "", is_bytes || metric_refused(r) ? "" : r->metric->unit);
    buf_addstr(out, "<td class=\"label\">");
    fmt_html(out, r->label);
    if (r->reason) {
        buf_addstr(out, r->label ? "; <span class=\"reason\">" : "<span class=\"reason\">");
        buf_addstr(out, metric_refused(r) ? "refused: " : "");
        fmt_html(out, r->reason);
        buf_addstr(out, "</span>");
    }
    buf_addstr(out, "</td></tr>\n");
}

static void add_rows(const struct report_variant *v, struct buf *out) {
    buf_addstr(
        out,
        "<div class=\"scroll\"><table class=\"figures\">\n<thead><tr><th>metric</th><th>profile</th>"
        "<th class=\"num\">value</th><th class=\"num\">interval</th>"
        "<th class=\"num\">n</th><th>unit</th><th>label</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < metrics_count(); i++) {
        add_row(&v->rows[i], out);
    }
    buf_addstr(out, "</tbody></table></div>\n");
}

static void add_variant(const struct report_run *run, const struct report_variant *v,
                        struct buf *out) {
    struct buf name;
    buf_init(&name);
    summary_variant_name(run, v, &name);
    buf_addf(out, "<details%s><summary>", run->n_variants > FOLD_ABOVE ? "" : " open");
    fmt_html(out, name.data);
    buf_release(&name);
    buf_addstr(out, "</summary>\n");
    if (v->v.note) {
        buf_addstr(out, "<p class=\"note\">");
        fmt_html(out, v->v.note);
        buf_addstr(out, "</p>\n");
    }
    if (summary_has_figures(v)) {
        add_rows(v, out);
    } else {
        /* A table of refusals would say one thing thirty times; metrics.csv has it. */
        const struct report_stage *failure = summary_failure(v);
        buf_addstr(out, "<p class=\"error\">No figures: ");
        buf_addstr(out, failure ? "failed: " : "the variant was not run");
        fmt_html(out, failure ? failure->s.error : "");
        buf_addstr(out, "</p>\n");
    }
    buf_addstr(out, "</details>\n");
}

void html_figures(const struct report_run *run, struct buf *out) {
    if (run->n_variants == 0) {
        return;
    }
    buf_addstr(out, "<section>\n<h2>All figures</h2>\n");
    for (size_t i = 0; i < run->n_variants; i++) {
        add_variant(run, &run->variants[i], out);
    }
    buf_addstr(out, "</section>\n");
}
