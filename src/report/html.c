/*
 * report.html: one page that holds everything and asks for nothing from anywhere. The tables are
 * plain HTML; the charts and the table of figures are drawn by the page's own scripts from its
 * data block (html_data). All stored text passes fmt_html or is inert JSON, and the page's policy
 * runs only scripts that carry its nonce, in case something slips through.
 */
#include "report/writers.h"

#include "report/audit_report.h"
#include "report/fmt.h"
#include "report/html_parts.h"
#include "report/summary.h"
#include "report/verdict.h"

#include "report_assets.h"

#include "base/hash.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

static void add_head(const struct report_run *run, const char *nonce, struct buf *out) {
    buf_addstr(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'; script-src 'nonce-");
    buf_addstr(out, nonce);
    buf_addstr(out, "'\">\n<title>edge-eval: ");
    fmt_html(out, run->run_id);
    buf_addstr(out, "</title>\n<style>\n");
    buf_add(out, asset_report_css, asset_report_css_len);
    buf_addstr(out, "</style>\n</head>\n<body>\n<main>\n");
}

static void add_fact(struct buf *out, const char *name, const char *value) {
    buf_addstr(out, "<div><dt>");
    fmt_html(out, name);
    buf_addstr(out, "</dt><dd>");
    fmt_html(out, value);
    buf_addstr(out, "</dd></div>\n");
}

static void add_title(const struct report_run *run, struct buf *out) {
    struct buf text;
    buf_init(&text);
    buf_addstr(out, "<header>\n<button type=\"button\" id=\"theme\">light / dark</button>\n"
                    "<p class=\"brand\">edge-eval report</p>\n<h1>");
    fmt_html(out, run->run_id);
    buf_addstr(out, "</h1>\n<dl class=\"facts\">\n");
    for (size_t i = 0; i < run->n_machines; i++) {
        buf_clear(&text);
        summary_machine(&run->machines[i], &text);
        add_fact(out, "Machine", text.data);
    }
    buf_clear(&text);
    summary_energy(run, &text);
    add_fact(out, "Energy", text.data);
    const char *created = report_fact(run, "created_utc");
    if (created) {
        add_fact(out, "Started", created);
    }
    buf_addstr(out, "</dl>\n</header>\n");
    buf_release(&text);
}

/* Nothing for a run without variants, whose summary says so. */
static int add_verdict(const struct report_run *const *runs, size_t n, struct buf *out,
                       struct err *e) {
    struct arena a = ARENA_INIT;
    struct verdict_text v;
    int rc = verdict_write(runs, n, &a, &v, e);
    if (!rc && v.n[VERDICT_WHICH]) {
        buf_addstr(out, "<section id=\"verdict\">\n<h2>Verdict</h2>\n<dl>\n");
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
        buf_addstr(out, i ? " &middot; " : "");
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

static int add_summary(const struct report_run *run, struct buf *out, struct err *e) {
    buf_addstr(out, "<section>\n<h2>Summary</h2>\n");
    buf_addstr(out, run->n_variants ? "" : "<p>The run has no variants yet.</p>\n");
    int rc = 0;
    for (int p = 0; !rc && run->n_variants && p < SUMMARY_PROFILES; p++) {
        rc = add_table(run, (enum summary_profile)p, out, e);
    }
    buf_addstr(out, "</section>\n");
    return rc;
}

/* Stored JSON as facts, whatever its shape: "gpus 0 name". */
static void add_json_facts(const char *prefix, const json_t *value, struct buf *out) {
    const char *key;
    const json_t *child;
    size_t i;
    struct buf name;
    buf_init(&name);
    json_object_foreach((json_t *)value, key, child) {
        buf_clear(&name);
        buf_addf(&name, "%s%s%s", prefix, *prefix ? " " : "", key);
        add_json_facts(name.data, child, out);
    }
    json_array_foreach(value, i, child) {
        buf_clear(&name);
        buf_addf(&name, "%s %zu", prefix, i);
        add_json_facts(name.data, child, out);
    }
    buf_clear(&name);
    if (json_is_string(value)) {
        buf_addstr(&name, json_string_value(value));
    } else if (json_is_real(value)) {
        fmt_num(&name, json_real_value(value));
    } else if (!json_is_object(value) && !json_is_array(value) && json_write(value, &name, NULL)) {
        buf_clear(&name);
    }
    if (name.len) {
        struct buf title;
        buf_init(&title);
        buf_addstr(&title, prefix);
        for (char *p = title.data; *p; p++) {
            *p = *p == '_' ? ' ' : *p;
        }
        add_fact(out, title.data, name.data);
        buf_release(&title);
    }
    buf_release(&name);
}

static void add_stored_facts(const char *prefix, const char *text, struct buf *out) {
    json_t *json = NULL;
    if (text && json_parse(text, strlen(text), prefix, &json, NULL) == 0) {
        add_json_facts(prefix, json, out);
    }
    json_decref(json);
}

static void add_facts(const struct report_run *run, struct buf *out) {
    buf_addstr(out, "<section>\n<h2>Run and machine</h2>\n<dl class=\"facts wide\">\n");
    for (size_t i = 0; i < run->n_facts; i++) {
        add_fact(out, run->facts[i].name, run->facts[i].value);
    }
    for (size_t i = 0; i < run->n_machines; i++) {
        add_stored_facts("", run->machines[i].json, out);
    }
    add_stored_facts("idle", run->idle_json, out);
    buf_addstr(out, "</dl>\n");
    if (run->plan_yaml) {
        buf_addstr(out, "<details><summary>Plan</summary><pre>");
        fmt_html(out, run->plan_yaml);
        buf_addstr(out, "</pre></details>\n");
    }
    buf_addstr(out, "</section>\n");
}

static void add_definitions(struct buf *out) {
    const struct paper_constants *p = &paper_constants;
    buf_addstr(out, "<section>\n<h2>Definitions</h2>\n<p>E joules, n requests served, S task score "
                    "(0 to 1; a 1-to-10 score divided by 10), P watts. ");
    buf_addf(out, "The paper profile fixes $%g per kWh and $%g for one API request.</p>\n",
             p->kwh_usd, p->api_request_usd);
    buf_addstr(out, "<div class=\"scroll\"><table>\n<thead><tr><th>metric</th><th>profile</th>"
                    "<th>unit</th><th>definition</th><th>formula</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric *m = metrics_at(i);
        const char *const cells[] = {m->profile, m->unit, m->definition};
        buf_addstr(out, "<tr><td><code>");
        fmt_html(out, m->id);
        buf_addstr(out, "</code></td>");
        for (size_t c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
            buf_addstr(out, "<td>");
            fmt_html(out, cells[c]);
            buf_addstr(out, "</td>");
        }
        buf_addstr(out, m->formula ? "<td><code>" : "<td>");
        fmt_html(out, m->formula);
        buf_addstr(out, m->formula ? "</code></td></tr>\n" : "</td></tr>\n");
    }
    buf_addstr(out, "</tbody></table></div>\n</section>\n");
}

/* Sections that the scripts fill. */
static const struct {
    const char *part;
    const char *title;
    const char *about;
} parts[] = {
    {"frontier", "Quality against cost",
     "Up and to the left is better; the dashed line joins the variants that no other of their task "
     "beats. Size: peak memory."},
    {"calculator", "What if",
     "Change any number: everything here follows at once, by the formulas of "
     "edge-eval metrics --set. It takes for granted that the answers are good enough."},
    {"metrics", "One metric, all variants", NULL},
    {"energy", "Energy", "Pale: the share that the machine takes when idle."},
    {"power", "Power over time",
     "One band a stage, in the order they ran; time between stages is left out."},
    {"latency", "Latency", "Every request, from when it could have started."},
    {"starts", "Cold start", NULL},
    {"figures", "All figures", NULL},
};

static void add_parts(struct buf *out) {
    buf_addstr(out,
               "<noscript><p class=\"error\">Charts and the table of all figures need scripts, "
               "which this viewer does not run. metrics.csv and metrics.json beside this file "
               "hold every figure.</p></noscript>\n");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        buf_addf(out, "<section id=\"%s\" data-part=\"%s\">\n<h2>%s</h2>\n", parts[i].part,
                 parts[i].part, parts[i].title);
        if (parts[i].about) {
            buf_addf(out, "<p class=\"note\">%s</p>\n", parts[i].about);
        }
        buf_addstr(out, "</section>\n");
    }
}

static int add_scripts(const struct report_run *run, const char *nonce, struct buf *out,
                       struct err *e) {
    const struct {
        const unsigned char *bytes;
        size_t len;
    } scripts[] = {
        {asset_d3_min_js, asset_d3_min_js_len},
        {asset_plot_umd_min_js, asset_plot_umd_min_js_len},
        {asset_data_js, asset_data_js_len},
        {asset_charts_js, asset_charts_js_len},
        {asset_econ_js, asset_econ_js_len},
        {asset_whatif_js, asset_whatif_js_len},
        {asset_figures_js, asset_figures_js_len},
        {asset_main_js, asset_main_js_len},
    };
    buf_addf(out, "<script type=\"application/json\" id=\"data\" nonce=\"%s\">", nonce);
    int rc = html_data(run, out, e);
    buf_addstr(out, "</script>\n");
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        buf_addf(out, "<script nonce=\"%s\">\n", nonce);
        buf_add(out, scripts[i].bytes, scripts[i].len);
        buf_addstr(out, "</script>\n");
    }
    return rc;
}

/* Unknown to whoever chose a model's name or a prompt, and the same for the same run. */
static void make_nonce(const struct report_run *run, char nonce[HASH_HEX_SIZE]) {
    struct buf seed;
    buf_init(&seed);
    buf_addf(&seed, "%s\n", run->run_id);
    for (size_t i = 0; i < run->n_stages; i++) {
        buf_addf(&seed, "%s %.17g\n", run->stages[i].s.key, run->stages[i].s.wall_s);
    }
    hash_bytes(seed.data, seed.len, nonce);
    buf_release(&seed);
}

int report_html(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        char nonce[HASH_HEX_SIZE];
        make_nonce(runs[i], nonce);
        add_head(runs[i], nonce, out);
        add_title(runs[i], out);
        int rc = add_verdict(&runs[i], 1, out, e);
        rc = rc ? rc : add_summary(runs[i], out, e);
        if (rc) {
            return rc;
        }
        html_failures(runs[i], out);
        if (runs[i]->n_variants) {
            add_parts(out);
        }
        rc = runs[i]->n_variants
                 ? audit_report_format(&runs[i]->dir, 1, runs[i]->data_dir, AUDIT_SECTION, out, e)
                 : 0;
        if (rc) {
            return rc;
        }
        html_stages(runs[i], out);
        add_facts(runs[i], out);
        add_definitions(out);
        buf_addstr(out, "</main>\n");
        rc = add_scripts(runs[i], nonce, out, e);
        if (rc) {
            return rc;
        }
        buf_addstr(out, "</body>\n</html>\n");
    }
    return 0;
}
