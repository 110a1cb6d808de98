/*
 * report.html: one page that holds everything and asks for nothing from anywhere. What decides is
 * plain HTML; the charts and the long tables are drawn by the page's own scripts from its data
 * block (html_data). Scripts and data are packed, so that the page stays small enough for a mail:
 * web/report/unpack.js puts them in place. All stored text passes fmt_html or is packed, and the
 * page's policy runs only scripts that carry its nonce, in case something slips through.
 */
#include "report/writers.h"

#include "report/audit_report.h"
#include "report/fmt.h"
#include "report/html_parts.h"
#include "report/summary.h"

#include "report_assets.h"

#include "base/hash.h"
#include "base/pack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void add_names(const struct html_page *page, struct buf *out) {
    for (size_t i = 0; i < page->n; i++) {
        buf_addstr(out, i ? ", " : "");
        fmt_html(out, page->runs[i]->run_id);
    }
}

static void add_head(const struct html_page *page, const char *nonce, struct buf *out) {
    buf_addstr(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'; script-src 'nonce-");
    buf_addstr(out, nonce);
    buf_addstr(out, "'\">\n<title>edge-eval: ");
    add_names(page, out);
    buf_addstr(out, "</title>\n<style>\n");
    buf_add(out, asset_report_css, asset_report_css_len);
    buf_addstr(out, "</style>\n</head>\n<body>\n<main>\n");
}

/* What was measured where. */
static void add_origin(const struct report_run *run, bool with_name, struct buf *out) {
    struct buf text;
    buf_init(&text);
    buf_addstr(out, "<dl class=\"facts\">\n");
    if (with_name) {
        html_fact(out, "Run", run->run_id);
    }
    if (run->published) {
        html_fact(out, "Source", run->published);
    }
    for (size_t i = 0; i < run->n_machines; i++) {
        buf_clear(&text);
        summary_machine(&run->machines[i], &text);
        html_fact(out, "Machine", text.data);
    }
    if (!run->published) {
        buf_clear(&text);
        summary_energy(run, &text);
        html_fact(out, "Energy", text.data);
    }
    const char *created = report_fact(run, "created_utc");
    if (created) {
        html_fact(out, "Started", created);
    }
    buf_addstr(out, "</dl>\n");
    buf_release(&text);
}

static void add_title(const struct html_page *page, struct buf *out) {
    buf_addstr(out, "<header>\n<button type=\"button\" id=\"theme\">light / dark</button>\n"
                    "<p class=\"brand\">edge-eval report</p>\n<h1>");
    if (page->n == 1) {
        fmt_html(out, page->runs[0]->run_id);
    } else {
        buf_addf(out, "%zu runs side by side", page->n);
    }
    buf_addstr(out, "</h1>\n");
    for (size_t i = 0; i < page->n; i++) {
        add_origin(page->runs[i], page->n > 1, out);
    }
    buf_addstr(out, "</header>\n");
}

enum part_flag {
    NEEDS_STAGES = 1 << 0, /* what published rows do not have */
    NEEDS_TRAINING = 1 << 1,
    SHOWS_JOULES = 1 << 2,
};

/* Sections that the scripts fill. */
static const struct part {
    const char *id;
    const char *title;
    const char *about;
    unsigned flags;
} parts[] = {
    {"frontier", "Quality against cost",
     "Up and to the left is better; the dashed line joins the variants that no other of their task "
     "beats. Size: peak memory, where it is known.",
     SHOWS_JOULES},
    {"calculator", "What if",
     "Change any number: everything here follows at once, by the formulas of "
     "edge-eval metrics --set. It takes for granted that the answers are good enough.",
     NEEDS_STAGES},
    {"metrics", "One metric, all variants", NULL, SHOWS_JOULES},
    {"energy", "Energy", "Pale: the share that the machine takes when idle.",
     NEEDS_STAGES | SHOWS_JOULES},
    {"adaptation", "Adaptation",
     "Loss of every step on the training set (line) and on what was held out (dots), and the joules "
     "of loading, steps and saving.",
     NEEDS_TRAINING | SHOWS_JOULES},
    {"power", "Power over time",
     "One band a stage, in the order they ran; time between stages is left out.", NEEDS_STAGES},
    {"latency", "Latency", "Every request, from when it could have started.", NEEDS_STAGES},
    {"starts", "Cold start", NULL, NEEDS_STAGES},
    {"figures", "All figures", NULL, 0},
};
enum { N_PARTS = sizeof(parts) / sizeof(parts[0]) };

static bool has_variants(const struct html_page *page) {
    for (size_t i = 0; i < page->n; i++) {
        if (page->runs[i]->n_variants) {
            return true;
        }
    }
    return false;
}

static bool has_training(const struct html_page *page) {
    for (size_t r = 0; r < page->n; r++) {
        for (size_t i = 0; i < page->runs[r]->n_stages; i++) {
            if (page->runs[r]->stages[i].n_trainings) {
                return true;
            }
        }
    }
    return false;
}

static bool is_shown(const struct html_page *page, const struct part *part) {
    return has_variants(page) && !((part->flags & NEEDS_TRAINING) && !has_training(page)) &&
           !((part->flags & NEEDS_STAGES) && page->runs[0]->published);
}

static const char *first_scope(const struct html_page *page) {
    for (size_t i = 0; i < page->n; i++) {
        for (size_t j = 0; j < page->runs[i]->n_variants; j++) {
            const char *scope = page->runs[i]->variants[j].input.serve_j.scope;
            if (scope) {
                return scope;
            }
        }
    }
    return NULL;
}

static bool has_unlike_scopes(const struct html_page *page) {
    const char *first = first_scope(page);
    for (size_t i = 0; i < page->n; i++) {
        for (size_t j = 0; j < page->runs[i]->n_variants; j++) {
            const char *scope = page->runs[i]->variants[j].input.serve_j.scope;
            if (scope && strcmp(scope, first) != 0) {
                return true;
            }
        }
    }
    return false;
}

static void add_parts(const struct html_page *page, struct buf *out) {
    bool is_unlike = has_unlike_scopes(page);
    for (size_t i = 0; i < N_PARTS; i++) {
        if (!is_shown(page, &parts[i])) {
            continue;
        }
        buf_addf(out, "<section id=\"%s\" data-part=\"%s\">\n<h2>%s</h2>\n", parts[i].id,
                 parts[i].id, parts[i].title);
        if (parts[i].about) {
            buf_addf(out, "<p class=\"note\">%s</p>\n", parts[i].about);
        }
        if (is_unlike && (parts[i].flags & SHOWS_JOULES)) {
            buf_addstr(out,
                       "<p class=\"unlike\">The joules of these variants count unlike parts of "
                       "their machines, as the scope in each figure's label says: what they cost "
                       "and take is not to be compared across scopes.</p>\n");
        }
        buf_addstr(out, "</section>\n");
    }
}

static bool has_failures(const struct html_page *page) {
    for (size_t r = 0; r < page->n; r++) {
        for (size_t i = 0; i < page->runs[r]->n_stages; i++) {
            if (report_stage_failed(&page->runs[r]->stages[i])) {
                return true;
            }
        }
    }
    return false;
}

static bool has_stages(const struct html_page *page) {
    for (size_t i = 0; i < page->n; i++) {
        if (page->runs[i]->n_stages) {
            return true;
        }
    }
    return false;
}

static void add_link(const char *id, const char *title, struct buf *out) {
    buf_addf(out, "<li><a href=\"#%s\">%s</a></li>\n", id, title);
}

static void add_contents(const struct html_page *page, struct buf *out) {
    buf_addstr(out, "<nav id=\"contents\" aria-label=\"Sections\">\n<ul>\n");
    if (has_variants(page)) {
        add_link(page->lead ? "claims" : "verdict", page->lead ? "Claims" : "Verdict", out);
    }
    add_link("summary", "Summary", out);
    if (has_failures(page)) {
        add_link("failures", "Failed stages", out);
    }
    for (size_t i = 0; i < N_PARTS; i++) {
        if (is_shown(page, &parts[i])) {
            add_link(parts[i].id, parts[i].title, out);
        }
    }
    if (has_variants(page)) {
        add_link("audit", "Audit", out);
    }
    if (has_stages(page)) {
        add_link("stages", "Stages", out);
    }
    if (!page->runs[0]->published) {
        add_link("run", "Run and machine", out);
    }
    add_link("definitions", "Definitions", out);
    buf_addstr(out, "</ul>\n</nav>\n");
    buf_addstr(out,
               "<noscript><p class=\"error\">Charts, the table of all figures and that of energy "
               "windows need scripts, which this viewer does not run. metrics.csv and metrics.json "
               "beside this file hold every figure.</p></noscript>\n");
}

/* Bytes that unpack.js makes a script element of that type of. */
static int add_packed(const char *id, const char *type, const void *bytes, size_t len,
                      struct buf *out, struct err *e) {
    buf_addf(out, "<script type=\"text/plain\" id=\"%s\" data-packed=\"%s\">", id, type);
    int rc = pack_base64(bytes, len, out, e);
    buf_addstr(out, "</script>\n");
    return rc;
}

static int add_data(const struct html_page *page, struct buf *out, struct err *e) {
    struct buf json;
    buf_init(&json);
    int rc = html_data(page->runs, page->n, &json, e);
    rc = rc ? rc : add_packed("data", "application/json", json.data, json.len, out, e);
    buf_release(&json);
    return rc;
}

static int add_scripts(const struct html_page *page, const char *nonce, struct buf *out,
                       struct err *e) {
    const struct {
        const char *id;
        const unsigned char *bytes;
        size_t len;
    } scripts[] = {
        {"script-d3", asset_d3_min_js, asset_d3_min_js_len},
        {"script-plot", asset_plot_umd_min_js, asset_plot_umd_min_js_len},
        {"script-data", asset_data_js, asset_data_js_len},
        {"script-charts", asset_charts_js, asset_charts_js_len},
        {"script-econ", asset_econ_js, asset_econ_js_len},
        {"script-whatif", asset_whatif_js, asset_whatif_js_len},
        {"script-figures", asset_figures_js, asset_figures_js_len},
        {"script-windows", asset_windows_js, asset_windows_js_len},
        {"script-variant", asset_variant_js, asset_variant_js_len},
        {"script-main", asset_main_js, asset_main_js_len},
    };
    int rc = add_data(page, out, e);
    for (size_t i = 0; !rc && i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        rc = add_packed(scripts[i].id, "text/javascript", scripts[i].bytes, scripts[i].len, out, e);
    }
    buf_addf(out, "<script nonce=\"%s\">\n", nonce);
    buf_add(out, asset_unpack_js, asset_unpack_js_len);
    buf_addstr(out, "</script>\n");
    return rc;
}

/* Unknown to whoever chose a model's name or a prompt, and the same for the same runs. */
static void make_nonce(const struct html_page *page, char nonce[HASH_HEX_SIZE]) {
    struct buf seed;
    buf_init(&seed);
    for (size_t r = 0; r < page->n; r++) {
        const struct report_run *run = page->runs[r];
        buf_addf(&seed, "%s\n", run->run_id);
        for (size_t i = 0; i < run->n_stages; i++) {
            buf_addf(&seed, "%s %.17g\n", run->stages[i].s.key, run->stages[i].s.wall_s);
        }
    }
    hash_bytes(seed.data, seed.len, nonce);
    buf_release(&seed);
}

/* All runs as one table; those without variants have no rows. */
static int add_audit(const struct html_page *page, struct buf *out, struct err *e) {
    const struct report_run *first = page->runs[0];
    if (!has_variants(page)) {
        return 0;
    }
    return first->published
               ? audit_report_format(&first->dir, 1, first->data_dir, AUDIT_SECTION, 0, out, e)
               : audit_report_runs(page->runs, page->n, first->data_dir, AUDIT_SECTION, out, e);
}

static int add_lead(const struct html_page *page, struct buf *out, struct err *e) {
    if (page->lead) {
        buf_addstr(out, page->lead);
        return 0;
    }
    return html_verdict(page->runs, page->n, out, e);
}

int report_html_page(const struct html_page *page, struct buf *out, struct err *e) {
    char nonce[HASH_HEX_SIZE];
    make_nonce(page, nonce);
    add_head(page, nonce, out);
    add_title(page, out);
    add_contents(page, out);
    int rc = add_lead(page, out, e);
    for (size_t i = 0; !rc && i < page->n; i++) {
        rc = html_summary(page->runs, page->n, i, out, e);
    }
    if (rc) {
        return rc;
    }
    html_failures(page->runs, page->n, out);
    add_parts(page, out);
    rc = add_audit(page, out, e);
    for (size_t i = 0; i < page->n; i++) {
        html_stages(page->runs, page->n, i, out);
    }
    for (size_t i = 0; i < page->n && !page->runs[0]->published; i++) {
        html_facts(page->runs, page->n, i, out);
    }
    html_definitions(out);
    buf_addstr(out, "</main>\n");
    rc = rc ? rc : add_scripts(page, nonce, out, e);
    buf_addstr(out, "</body>\n</html>\n");
    return rc;
}

int report_html(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    const struct html_page page = {.runs = runs, .n = n};
    return report_html_page(&page, out, e);
}
