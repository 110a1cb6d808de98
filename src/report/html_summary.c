/* The sections of report.html that come first: the verdict, and the tables of each run. */
#include "report/html_parts.h"

#include "report/fmt.h"
#include "report/summary.h"
#include "report/verdict.h"

#include <string.h>

int html_verdict(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    struct verdict_text v;
    int rc = verdict_write(runs, n, &a, &v, e);
    if (!rc && v.n[VERDICT_WHICH]) {
        buf_addstr(out, "<section id=\"verdict\">\n<h2>Verdict</h2>\n<p class=\"brief\">");
        for (int part = 0; part < VERDICT_PARTS; part++) {
            buf_addstr(out, part ? " " : "");
            fmt_html(out, v.brief[part]);
        }
        buf_addstr(out, "</p>\n<dl>\n");
        for (int part = 0; part < VERDICT_PARTS; part++) {
            buf_addf(out, "<dt>%s?</dt>\n", verdict_part_title((enum verdict_part)part));
            for (size_t i = 0; i < v.n[part]; i++) {
                buf_addstr(out, "<dd>");
                fmt_html(out, v.items[part][i]);
                buf_addstr(out, "</dd>\n");
            }
        }
        buf_addstr(out, "</dl>\n</section>\n");
    }
    arena_release(&a);
    return rc;
}

static void add_summary_head(const struct report_variant *v, enum summary_profile profile,
                             struct buf *out) {
    buf_addstr(out, "<h3>");
    fmt_html(out, v->v.model_id);
    buf_addstr(out, " <small>");
    const char *const parts[] = {v->v.family, v->v.size, v->v.engine, v->v.device};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        buf_addstr(out, i && *parts[i] ? " &middot; " : "");
        fmt_html(out, parts[i]);
    }
    buf_addstr(out, "</small></h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>task</th>"
                    "<th>method</th><th>precision</th>");
    for (size_t i = 0; i < summary_n_columns(); i++) {
        const struct summary_column *c = summary_column_at(profile, i);
        const struct metric *m = metrics_find_in(c->metric, c->profile);
        buf_addstr(out, "<th class=\"num\" title=\"");
        fmt_html(out, m->definition);
        buf_addstr(out, "\">");
        fmt_html(out, c->title);
        buf_addstr(out, "<span class=\"unit\">");
        fmt_html(out, strcmp(m->unit, "1") == 0 ? "" : m->unit);
        buf_addstr(out, "</span></th>");
    }
    buf_addstr(out, "</tr></thead>\n<tbody>\n");
}

static void add_failure(const struct report_stage *failure, size_t columns, struct buf *out) {
    buf_addf(out, "<td class=\"error\" colspan=\"%zu\">failed: ", columns);
    fmt_html(out, failure->s.kind);
    buf_addstr(out, ": ");
    fmt_html(out, failure->s.error);
    buf_addstr(out, "</td></tr>\n");
}

static void add_figures(const struct report_variant *v, enum summary_profile profile,
                        struct buf *out) {
    for (size_t i = 0; i < summary_n_columns(); i++) {
        const struct summary_column *c = summary_column_at(profile, i);
        const struct metric_row *row = report_row_in(v, c->metric, c->profile);
        buf_addf(out, "<td class=\"num%s\" title=\"", metric_refused(row) ? " refused" : "");
        fmt_html(out, row->reason ? row->reason : row->label);
        buf_addstr(out, "\">");
        summary_cell(v, c, out);
        buf_addstr(out, "</td>");
    }
    buf_addstr(out, "</tr>\n");
}

static void add_summary_row(const struct report_variant *v, enum summary_profile profile,
                            struct buf *out) {
    const char *const names[] = {v->v.task, v->v.method, v->v.precision};
    const size_t n_names = sizeof(names) / sizeof(names[0]);
    const struct report_stage *failure = summary_failure(v);
    bool has_figures = summary_has_figures(v);
    buf_addstr(out, failure && !has_figures ? "<tr class=\"failed\">" : "<tr>");
    for (size_t i = 0; i < n_names; i++) {
        buf_addstr(out, "<td class=\"key\">");
        fmt_html(out, names[i]);
        buf_addstr(out, "</td>");
    }
    if (summary_not_run(v)) {
        buf_addf(out, "<td class=\"refused\" colspan=\"%zu\">not run</td></tr>\n",
                 summary_n_columns());
    } else if (failure && !has_figures) {
        add_failure(failure, summary_n_columns(), out);
    } else {
        add_figures(v, profile, out);
    }
    if (failure && has_figures) {
        buf_addf(out, "<tr class=\"failed\"><td colspan=\"%zu\"></td>", n_names);
        add_failure(failure, summary_n_columns(), out);
    }
}

static int add_table(const struct report_run *run, enum summary_profile profile, struct buf *out,
                     struct err *e) {
    buf_addstr(out, "<p class=\"profile\">Profile ");
    fmt_html(out, summary_profile_title(profile));
    buf_addstr(out, "</p>\n");
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        bool is_first = i == 0 || !summary_same_group(&run->variants[i - 1], v);
        if (is_first) {
            buf_addstr(out, i ? "</tbody></table></div>\n" : "");
            add_summary_head(v, profile, out);
        }
        add_summary_row(v, profile, out);
    }
    buf_addstr(out, "</tbody></table></div>\n");
    struct arena a = ARENA_INIT;
    const char **notes = NULL;
    size_t n = 0;
    int rc = summary_notes(run, profile, &a, &notes, &n, e);
    buf_addstr(out, "<ul class=\"notes\">\n");
    for (size_t i = 0; i < n; i++) {
        buf_addstr(out, "<li>");
        fmt_html(out, notes[i]);
        buf_addstr(out, "</li>\n");
    }
    buf_addstr(out, "</ul>\n");
    arena_release(&a);
    return rc;
}

void html_open_section(const struct report_run *const *runs, size_t n, size_t i, const char *id,
                       const char *title, struct buf *out) {
    buf_addf(out, "<section id=\"%s", id);
    if (i) {
        buf_addf(out, "-%zu", i + 1);
    }
    buf_addf(out, "\">\n<h2>%s", title);
    if (n > 1) {
        buf_addstr(out, " <small>");
        fmt_html(out, runs[i]->run_id);
        buf_addstr(out, "</small>");
    }
    buf_addstr(out, "</h2>\n");
}

int html_summary(const struct report_run *const *runs, size_t n, size_t i, struct buf *out,
                 struct err *e) {
    const struct report_run *run = runs[i];
    html_open_section(runs, n, i, "summary", "Summary", out);
    buf_addstr(out, run->n_variants ? "" : "<p>The run has no variants yet.</p>\n");
    int rc = 0;
    for (int p = run->published ? SUMMARY_PAPER : 0; !rc && run->n_variants && p < SUMMARY_PROFILES;
         p++) {
        rc = add_table(run, (enum summary_profile)p, out, e);
    }
    buf_addstr(out, "</section>\n");
    return rc;
}
