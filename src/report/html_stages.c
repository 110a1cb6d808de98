/* The sections of report.html on stages: what each took. The page's scripts add the energy windows. */
#include "report/html_parts.h"

#include "report/fmt.h"

#include <math.h>
#include <string.h>

static bool is_total(const struct store_energy *g) {
    return strcmp(g->component, "total") == 0;
}

/* A window inside another one of its stage, whose joules are in the other's already. */
static bool is_nested(const struct report_stage *st, const struct store_energy *g) {
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *h = &st->energies[i];
        bool is_longer = h->end_ns - h->start_ns > g->end_ns - g->start_ns;
        if (is_total(h) && is_longer && h->start_ns <= g->start_ns && h->end_ns >= g->end_ns) {
            return true;
        }
    }
    return false;
}

/* What a stage's windows add up to. */
struct stage_energy {
    double joules, low_j, high_j, seconds;
    size_t n;
    size_t n_short;
    const struct store_energy *first;
    const struct store_energy *missing; /* a window without a reading; NULL when all have one */
};

static void sum_stage(const struct report_stage *st, struct stage_energy *sum) {
    *sum = (struct stage_energy){0};
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        if (!is_total(g) || is_nested(st, g)) {
            continue;
        }
        sum->first = sum->first ? sum->first : g;
        sum->missing = isnan(g->joules) ? g : sum->missing;
        sum->joules += g->joules;
        sum->low_j += g->low_j;
        sum->high_j += g->high_j;
        sum->seconds += (g->end_ns - g->start_ns) / 1e9;
        sum->n_short += g->is_short;
        sum->n++;
    }
}

static void add_interval(struct buf *out, double low, double high) {
    buf_addstr(out, "<td class=\"num\">");
    if (isfinite(low) && isfinite(high)) {
        fmt_num(out, low);
        buf_addstr(out, " to ");
        fmt_num(out, high);
    }
    buf_addstr(out, "</td>");
}

static void add_stage(const struct report_stage *st, struct buf *out) {
    struct stage_energy sum;
    sum_stage(st, &sum);
    bool has_energy = sum.n && !sum.missing;
    buf_addstr(out, "<tr>");
    html_cell(out, "", st->s.title);
    html_cell(out, report_stage_failed(st) ? "error" : "", st->s.status);
    html_number(out, st->s.wall_s);
    html_number(out, sum.n ? sum.seconds : (double)NAN);
    html_number(out, has_energy ? sum.joules : (double)NAN);
    add_interval(out, has_energy ? sum.low_j : (double)NAN, has_energy ? sum.high_j : (double)NAN);
    html_number(out, has_energy ? sum.joules / sum.seconds : (double)NAN);
    buf_addstr(out, "<td class=\"label\">");
    if (sum.n == 0) {
        buf_addstr(out, "no energy window");
    } else if (sum.missing) {
        buf_addstr(out, "missing: ");
        fmt_html(out, sum.missing->reason);
    } else {
        fmt_html(out, sum.first->quality);
        buf_addstr(out, "; ");
        fmt_html(out, sum.first->scope);
        if (sum.n > 1) {
            buf_addf(out, "; %zu windows", sum.n);
        }
        buf_addstr(out, sum.n_short ? "; short" : "");
    }
    buf_addstr(out, "</td></tr>\n");
}

static bool same_text(const char *x, const char *y) {
    return strcmp(x ? x : "", y ? y : "") == 0;
}

static bool same_source(const struct store_energy *x, const struct store_energy *y) {
    return same_text(x->component, y->component) && same_text(x->source, y->source) &&
           same_text(x->reason, y->reason);
}

/* True when no reading before the j-th of stage i came from the same source. */
static bool is_new_source(const struct report_run *run, size_t i, size_t j) {
    const struct store_energy *g = &run->stages[i].energies[j];
    for (size_t k = 0; k <= i; k++) {
        const struct report_stage *st = &run->stages[k];
        for (size_t m = 0; m < (k == i ? j : st->n_energies); m++) {
            if (same_source(&st->energies[m], g)) {
                return false;
            }
        }
    }
    return true;
}

/* What is to be known of each source, once. */
static void add_sources(const struct report_run *run, struct buf *out) {
    buf_addstr(out, "<ul class=\"notes\">\n");
    for (size_t i = 0; i < run->n_stages; i++) {
        for (size_t j = 0; j < run->stages[i].n_energies; j++) {
            const struct store_energy *g = &run->stages[i].energies[j];
            if (is_total(g) || isnan(g->joules) || !is_new_source(run, i, j)) {
                continue;
            }
            buf_addstr(out, "<li>");
            fmt_html(out, g->component);
            buf_addstr(out, ": ");
            fmt_html(out, g->source);
            buf_addstr(out, g->reason && *g->reason ? "; " : "");
            fmt_html(out, g->reason);
            buf_addstr(out, "</li>\n");
        }
    }
    buf_addstr(out, "</ul>\n");
}

void html_stages(const struct report_run *const *runs, size_t n, size_t r, struct buf *out) {
    const struct report_run *run = runs[r];
    if (run->n_stages == 0) {
        return;
    }
    html_open_section(runs, n, r, "stages", "Stages: time and energy", out);
    buf_addstr(out, "<div class=\"scroll\"><table>\n"
                    "<thead><tr><th>stage</th><th>status</th><th class=\"num\">took, s</th>"
                    "<th class=\"num\">metered, s</th><th class=\"num\">J</th>"
                    "<th class=\"num\">interval</th><th class=\"num\">mean W</th>"
                    "<th>how it was measured</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < run->n_stages; i++) {
        add_stage(&run->stages[i], out);
    }
    buf_addstr(out, "</tbody></table></div>\n");
    add_sources(run, out);
    buf_addf(
        out,
        "<details data-part=\"windows\" data-run=\"%zu\"><summary>All energy windows</summary>\n"
        "</details>\n</section>\n",
        r);
}
