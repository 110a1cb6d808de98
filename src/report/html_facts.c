/* The sections of report.html that come last: the run, its machine and plan, the definitions. */
#include "report/html_parts.h"

#include "report/fmt.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

void html_fact(struct buf *out, const char *name, const char *value) {
    buf_addstr(out, "<div><dt>");
    fmt_html(out, name);
    buf_addstr(out, "</dt><dd>");
    fmt_html(out, value);
    buf_addstr(out, "</dd></div>\n");
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
        html_fact(out, title.data, name.data);
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

void html_facts(const struct report_run *const *runs, size_t n, size_t r, struct buf *out) {
    const struct report_run *run = runs[r];
    html_open_section(runs, n, r, "run", "Run and machine", out);
    buf_addstr(out, "<dl class=\"facts wide\">\n");
    for (size_t i = 0; i < run->n_facts; i++) {
        html_fact(out, run->facts[i].name, run->facts[i].value);
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

void html_definitions(struct buf *out) {
    const struct paper_constants *p = &paper_constants;
    buf_addstr(
        out,
        "<section id=\"definitions\">\n<h2>Definitions</h2>\n<p>E joules, n requests served, S task score "
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
