#include "report/audit_report.h"

#include "report/audit_set.h"
#include "report/fmt.h"
#include "report/jobj.h"

#include "base/fs.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ROWS_SHOWN = 6 };

/* --- Sources -------------------------------------------------------------------------------------- */

static int is_csv(const struct dirent *entry) {
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".csv") == 0;
}

static int read_folder(struct audit_set *s, const char *dir, struct err *e) {
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, is_csv, alphasort);
    int rc = n > 0 ? 0
                   : err_set(e, EE_MISSING,
                             "%s is neither a run directory (it has no run.db) nor a folder with "
                             "CSV files",
                             dir);
    for (int i = 0; i < n; i++) {
        char *path = fs_join(dir, entries[i]->d_name);
        if (!rc) {
            rc = path ? audit_set_read_csv(s, path, e)
                      : err_set(e, EE_NOMEM, "audit: out of memory");
        }
        free(path);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int read_source(struct audit_set *s, const char *source, struct err *e) {
    struct stat st;
    if (stat(source, &st) != 0) {
        return err_set(e, EE_MISSING, "there is no run directory and no CSV file %s", source);
    }
    if (!S_ISDIR(st.st_mode)) {
        return audit_set_read_csv(s, source, e);
    }
    char *db = fs_join(source, "run.db");
    int rc = !db             ? err_set(e, EE_NOMEM, "audit: out of memory")
             : fs_exists(db) ? audit_set_read_run(s, source, e)
                             : read_folder(s, source, e);
    free(db);
    return rc;
}

/* --- Text ----------------------------------------------------------------------------------------- */

struct totals {
    size_t by_severity[AUDIT_SERIOUS + 1];
    size_t n_refused;
};

static struct totals count(const struct audit_result *r) {
    struct totals t = {0};
    for (size_t i = 0; i < r->n_findings; i++) {
        t.by_severity[r->findings[i].severity]++;
    }
    for (size_t i = 0; i < r->n_checks; i++) {
        t.n_refused += r->checks[i].refused != NULL;
    }
    return t;
}

static void add_paragraph(const struct audit_set *s, struct buf *out, const char *start,
                          const struct buf *text) {
    fmt_wrap_buf(out, start, text, s->width);
}

static void add_rows(const struct audit_set *s, const struct audit_finding *f, struct buf *text) {
    char name[160];
    unsigned keys = audit_differing_keys(&s->table);
    for (size_t i = 0; i < f->n_rows && i < ROWS_SHOWN; i++) {
        const struct audit_row *r = &s->table.rows[f->rows[i]];
        audit_row_name(r, keys, name, sizeof(name));
        buf_addf(text, "%s%s%s(%s)", i ? ", " : "", name, *name ? " " : "", r->where);
    }
    if (f->n_rows > ROWS_SHOWN) {
        buf_addf(text, " and %zu more", f->n_rows - ROWS_SHOWN);
    }
}

static void add_finding(const struct audit_set *s, const struct audit_finding *f, struct buf *out) {
    struct buf text;
    buf_init(&text);
    char start[16];
    snprintf(start, sizeof(start), "%-8s ", audit_severity_name(f->severity));
    buf_addch(out, '\n');
    buf_addf(&text, "%s: %s", f->rule->id, f->rule->title);
    add_paragraph(s, out, start, &text);
    buf_clear(&text);
    buf_addf(&text, "%s.", f->text);
    add_paragraph(s, out, "         ", &text);
    buf_clear(&text);
    if (f->n_rows) {
        add_rows(s, f, &text);
        add_paragraph(s, out, "   rows  ", &text);
        buf_clear(&text);
    }
    buf_addstr(&text, f->rule->why);
    add_paragraph(s, out, "   why   ", &text);
    buf_clear(&text);
    buf_addstr(&text, f->rule->advice);
    add_paragraph(s, out, "   do    ", &text);
    buf_release(&text);
}

/* Several findings of one rule share their why and do. */
static void add_more(const struct audit_set *s, const struct audit_finding *f, struct buf *out) {
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "%s.", f->text);
    add_paragraph(s, out, "   also  ", &text);
    buf_clear(&text);
    if (f->n_rows) {
        add_rows(s, f, &text);
        add_paragraph(s, out, "   rows  ", &text);
    }
    buf_release(&text);
}

static void list_refused(const struct audit_result *r, struct buf *text) {
    for (size_t i = 0; i < r->n_checks; i++) {
        if (r->checks[i].refused) {
            buf_addf(text, "%s%s (%s)", text->len ? "; " : "", r->checks[i].rule->id,
                     r->checks[i].refused);
        }
    }
}

static void list_clean(const struct audit_result *r, struct buf *text) {
    for (size_t i = 0; i < r->n_checks; i++) {
        if (!r->checks[i].refused && r->checks[i].n_findings == 0) {
            buf_addf(text, "%s%s", text->len ? ", " : "", r->checks[i].rule->id);
        }
    }
}

static void add_refused(const struct audit_set *s, const struct audit_result *r, struct buf *out) {
    struct buf text;
    buf_init(&text);
    list_refused(r, &text);
    if (text.len || text.failed) {
        buf_addch(out, '\n');
        add_paragraph(s, out, "could not look: ", &text);
    }
    buf_release(&text);
}

static void add_clean(const struct audit_set *s, const struct audit_result *r, struct buf *out) {
    struct buf text;
    buf_init(&text);
    list_clean(r, &text);
    if (text.len || text.failed) {
        buf_addch(out, '\n');
        add_paragraph(s, out, "nothing found:  ", &text);
    }
    buf_release(&text);
}

static void add_ignored(const struct audit_set *s, struct buf *out) {
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; i < s->n_ignored; i++) {
        buf_addf(&text, "%s%s", i ? ", " : "", s->ignored[i]);
    }
    if (text.len || text.failed) {
        buf_addch(out, '\n');
        add_paragraph(s, out, "columns that no rule reads: ", &text);
    }
    buf_release(&text);
}

static void add_count(size_t n, const char *what, struct buf *out) {
    buf_addf(out, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

static void add_totals(const struct audit_set *s, const struct audit_result *r, struct buf *out) {
    struct totals t = count(r);
    if (s->table.n == 0) {
        buf_addstr(out, "Nothing to look at: no stage that is done has figures. ");
    }
    add_count(s->table.n, "row", out);
    buf_addstr(out, ", ");
    add_count(r->n_checks, "rule", out);
    buf_addstr(out, ": ");
    add_count(t.by_severity[AUDIT_SERIOUS], "serious finding", out);
    buf_addstr(out, ", ");
    add_count(t.by_severity[AUDIT_WARNING], "warning", out);
    buf_addstr(out, ", ");
    add_count(t.by_severity[AUDIT_NOTE], "note", out);
    if (t.n_refused) {
        buf_addstr(out, "; ");
        add_count(t.n_refused, "rule", out);
        buf_addstr(out, " could not look");
    }
}

static int write_text(const struct audit_set *s, const struct audit_result *r, struct buf *out,
                      struct err *e) {
    (void)e;
    struct buf totals;
    buf_init(&totals);
    add_totals(s, r, &totals);
    add_paragraph(s, out, "", &totals);
    buf_release(&totals);
    for (size_t i = 0; i < r->n_findings; i++) {
        const struct audit_finding *f = &r->findings[i];
        if (i && r->findings[i - 1].rule == f->rule && r->findings[i - 1].severity == f->severity) {
            add_more(s, f, out);
        } else {
            add_finding(s, f, out);
        }
    }
    add_clean(s, r, out);
    add_refused(s, r, out);
    add_ignored(s, out);
    return 0;
}

void audit_report_rules(struct buf *out) {
    for (size_t i = 0; i < audit_n_rules(); i++) {
        const struct audit_rule *r = audit_rule_at(i);
        buf_addf(out, "%-19s %s\n", r->id, r->title);
    }
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static struct jobj row_object(const struct audit_row *r) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "where", r->where);
    jobj_put_str(&o, "stage", audit_stage_names[r->stage]);
    for (int k = 0; k < AUDIT_KEYS; k++) {
        jobj_put_str(&o, audit_text_names[k], *r->text[k] ? r->text[k] : NULL);
    }
    if (!isnan(r->x[AUDIT_REPEAT])) {
        jobj_put_num(&o, "repeat", r->x[AUDIT_REPEAT]);
    }
    return o;
}

static struct jobj finding_object(const struct audit_set *s, const struct audit_finding *f) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "rule", f->rule->id);
    jobj_put_str(&o, "severity", audit_severity_name(f->severity));
    jobj_put_str(&o, "title", f->rule->title);
    jobj_put_str(&o, "finding", f->text);
    jobj_put_str(&o, "why", f->rule->why);
    jobj_put_str(&o, "advice", f->rule->advice);
    json_t *rows = json_array();
    for (size_t i = 0; i < f->n_rows; i++) {
        jobj_append(&o, rows, row_object(&s->table.rows[f->rows[i]]));
    }
    jobj_put(&o, "rows", rows);
    return o;
}

static struct jobj check_object(const struct audit_check *c) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "rule", c->rule->id);
    jobj_put(&o, "rows", json_integer((json_int_t)c->n_rows));
    jobj_put(&o, "findings", json_integer((json_int_t)c->n_findings));
    jobj_put_str(&o, "refused", c->refused);
    return o;
}

static int write_json(const struct audit_set *s, const struct audit_result *r, struct buf *out,
                      struct err *e) {
    struct jobj doc = jobj_new();
    jobj_put_str(&doc, "format", "edge-eval audit");
    jobj_put(&doc, "format_version", json_integer(1));
    jobj_put(&doc, "rows", json_integer((json_int_t)s->table.n));
    json_t *findings = json_array();
    for (size_t i = 0; i < r->n_findings; i++) {
        jobj_append(&doc, findings, finding_object(s, &r->findings[i]));
    }
    jobj_put(&doc, "findings", findings);
    json_t *checks = json_array();
    for (size_t i = 0; i < r->n_checks; i++) {
        jobj_append(&doc, checks, check_object(&r->checks[i]));
    }
    jobj_put(&doc, "rules", checks);
    json_t *ignored = json_array();
    for (size_t i = 0; i < s->n_ignored; i++) {
        doc.failed = json_array_append_new(ignored, json_string(s->ignored[i])) || doc.failed;
    }
    jobj_put(&doc, "ignored_columns", ignored);
    return jobj_write(&doc, "audit", out, e);
}

/* --- A section of report.html --------------------------------------------------------------------- */

static void add_html(struct buf *out, const char *before, const char *text, const char *after) {
    buf_addstr(out, before);
    fmt_html(out, text);
    buf_addstr(out, after);
}

static void add_html_finding(const struct audit_set *s, const struct audit_finding *f,
                             struct buf *out) {
    struct buf rows;
    buf_init(&rows);
    add_html(out, "<p>", f->text, ".</p>\n");
    if (f->n_rows) {
        add_rows(s, f, &rows);
        add_html(out, "<p class=\"note\"><b>Rows:</b> ", rows.data, "</p>\n");
    }
    out->failed = out->failed || rows.failed;
    buf_release(&rows);
}

static bool continues(const struct audit_result *r, size_t i) {
    return i && i < r->n_findings && r->findings[i - 1].rule == r->findings[i].rule &&
           r->findings[i - 1].severity == r->findings[i].severity;
}

static void add_html_findings(const struct audit_set *s, const struct audit_result *r,
                              struct buf *out) {
    for (size_t i = 0; i < r->n_findings; i++) {
        const struct audit_finding *f = &r->findings[i];
        const char *severity = audit_severity_name(f->severity);
        if (!continues(r, i)) {
            buf_addf(out, "<article class=\"finding %s\">\n<h3>", severity);
            add_html(out, "", f->rule->title, " <small>");
            buf_addf(out, "%s, <code>%s</code></small></h3>\n", severity, f->rule->id);
        }
        add_html_finding(s, f, out);
        if (!continues(r, i + 1)) {
            add_html(out, "<p><b>Why it matters:</b> ", f->rule->why, "</p>\n");
            add_html(out, "<p><b>What to do:</b> ", f->rule->advice, "</p>\n</article>\n");
        }
    }
}

static int write_section(const struct audit_set *s, const struct audit_result *r, struct buf *out,
                         struct err *e) {
    (void)e;
    struct buf text;
    buf_init(&text);
    add_totals(s, r, &text);
    add_html(out, "<section id=\"audit\">\n<h2>Audit</h2>\n<p class=\"note\">", text.data,
             "</p>\n");
    add_html_findings(s, r, out);
    buf_clear(&text);
    list_clean(r, &text);
    if (text.len) {
        add_html(out, "<p class=\"note\"><b>Nothing found:</b> ", text.data, "</p>\n");
    }
    buf_clear(&text);
    list_refused(r, &text);
    if (text.len) {
        add_html(out, "<p class=\"note\"><b>Could not look:</b> ", text.data, "</p>\n");
    }
    buf_addstr(out, "</section>\n");
    out->failed = out->failed || text.failed;
    buf_release(&text);
    return 0;
}

/* --- All ------------------------------------------------------------------------------------------ */

/* Frees s. */
static int write_audit(struct audit_set *s, enum audit_format format, struct buf *out,
                       struct err *e) {
    static int (*const write[])(const struct audit_set *, const struct audit_result *, struct buf *,
                                struct err *) = {
        [AUDIT_TEXT] = write_text, [AUDIT_JSON] = write_json, [AUDIT_SECTION] = write_section};
    struct arena a = ARENA_INIT;
    struct audit_result result;
    int rc = audit_run(&s->table, &a, &result, e);
    rc = rc ? rc : write[format](s, &result, out, e);
    arena_release(&a);
    audit_set_free(s);
    return rc ? rc : buf_check(out, "audit", e);
}

int audit_report_format(const char *const *sources, size_t n, const char *data_dir,
                        enum audit_format format, size_t width, struct buf *out, struct err *e) {
    struct audit_set *s = NULL;
    int rc = audit_set_new(data_dir, &s, e);
    if (!rc) {
        s->width = report_width(width);
    }
    for (size_t i = 0; !rc && i < n; i++) {
        rc = read_source(s, sources[i], e);
    }
    if (rc) {
        audit_set_free(s);
        return rc;
    }
    return write_audit(s, format, out, e);
}

int audit_report_runs(const struct report_run *const *runs, size_t n, const char *data_dir,
                      enum audit_format format, struct buf *out, struct err *e) {
    struct audit_set *s = NULL;
    int rc = audit_set_new(data_dir, &s, e);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = audit_set_add_run(s, runs[i], e);
    }
    if (rc) {
        audit_set_free(s);
        return rc;
    }
    return write_audit(s, format, out, e);
}
