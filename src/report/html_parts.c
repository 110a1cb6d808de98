#include "report/html_parts.h"

#include "report/fmt.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

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
    buf_addf(out, "<td class=\"num\" title=\"%.6g\">", x);
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

/* Rows of one run; the first of all opens the section. */
static size_t add_failures(const struct report_run *run, size_t n, struct buf *out) {
    for (size_t i = 0; i < run->n_stages; i++) {
        const struct report_stage *st = &run->stages[i];
        if (!report_stage_failed(st)) {
            continue;
        }
        if (n++ == 0) {
            buf_addstr(
                out,
                "<section id=\"failures\">\n<h2>Failed stages</h2>\n<div class=\"scroll\"><table>\n"
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
    return n;
}

void html_failures(const struct report_run *const *runs, size_t n, struct buf *out) {
    size_t n_rows = 0;
    for (size_t i = 0; i < n; i++) {
        n_rows = add_failures(runs[i], n_rows, out);
    }
    if (n_rows) {
        buf_addstr(out, "</tbody></table></div>\n</section>\n");
    }
}
