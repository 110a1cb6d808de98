/* The table for a terminal: one line a variant, or one in each part of the table; notes below. */
#include "report/text_table.h"
#include "report/writers.h"

#include "report/adaptation.h"
#include "report/fmt.h"
#include "report/summary.h"
#include "report/verdict.h"

#include <string.h>

/* The columns that say which variant a line is about. */
static const struct {
    const char *title;
    size_t width;
} keys[] = {{"task", 4}, {"method", 6}, {"prec", 4}};

/* One text, wrapped behind a fixed start. */
static void add_line(const struct report_run *run, struct buf *out, const char *start,
                     const struct buf *text) {
    fmt_wrap(out, start, text->data, run->width);
}

static void add_header(const struct report_run *run, struct buf *out) {
    struct buf b;
    buf_init(&b);
    const char *created = report_fact(run, "created_utc");
    const char *version = report_fact(run, "version");
    buf_addf(&b, "%s%s%s%s%s", run->run_id, created ? ", " : "", created ? created : "",
             version ? ", edge-eval " : "", version ? version : "");
    add_line(run, out, "run      ", &b);
    for (size_t i = 0; i < run->n_machines; i++) {
        buf_clear(&b);
        summary_machine(&run->machines[i], &b);
        add_line(run, out, "machine  ", &b);
    }
    buf_clear(&b);
    summary_energy(run, &b);
    add_line(run, out, "energy   ", &b);
    buf_release(&b);
}

void text_key_titles(struct buf *out) {
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        fmt_cell(out, keys[i].title, keys[i].width, false);
        buf_addch(out, ' ');
    }
}

void text_keys(const struct report_variant *v, struct buf *out) {
    const char *const names[] = {v->v.task, v->v.method, v->v.precision};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        fmt_cell(out, names[i], keys[i].width, false);
        buf_addch(out, ' ');
    }
}

void text_fit_widths(const struct report_run *run, const size_t *needed, size_t *widths, size_t n) {
    for (size_t i = 0; i < n; i++) {
        widths[i] = needed[i] > widths[i] ? needed[i] : widths[i];
    }
    if (text_part_end(run, widths, n, 0) < n) {
        memcpy(widths, needed, n * sizeof(*widths));
    }
}

size_t text_part_end(const struct report_run *run, const size_t *widths, size_t n, size_t from) {
    size_t used = 0;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        used += keys[i].width + 1;
    }
    size_t end = from;
    while (end < n && (end == from || used + 1 + widths[end] <= run->width)) {
        used += 1 + widths[end++];
    }
    return end;
}

/* Columns from to end of a table. */
struct part {
    enum summary_profile profile;
    size_t from, end;
    size_t widths[SUMMARY_MAX_COLUMNS];
};

static void add_titles(const struct part *p, struct buf *out) {
    text_key_titles(out);
    for (size_t i = p->from; i < p->end; i++) {
        const struct summary_column *c = summary_column_at(p->profile, i);
        buf_addch(out, ' ');
        fmt_cell(out, c->title, p->widths[i], true);
    }
    buf_addch(out, '\n');
}

static void add_figures(const struct report_variant *v, const struct part *p, struct buf *out) {
    struct buf cell;
    buf_init(&cell);
    for (size_t i = p->from; i < p->end; i++) {
        const struct summary_column *c = summary_column_at(p->profile, i);
        buf_clear(&cell);
        summary_cell(v, c, &cell);
        buf_addch(out, ' ');
        fmt_cell(out, cell.data, p->widths[i], true);
    }
    buf_release(&cell);
    buf_addch(out, '\n');
}

/* What failed is said in the table's first part. */
static void add_failure(const struct report_run *run, const struct report_stage *failure,
                        struct buf *start, bool has_figures, struct buf *out) {
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "failed: %s: %s", failure->s.kind, failure->s.error);
    size_t indent = start->len;
    if (has_figures) {
        buf_clear(start);
        buf_addn(start, ' ', indent);
    }
    buf_addch(start, ' ');
    add_line(run, out, start->data, &text);
    buf_release(&text);
}

static void add_variant(const struct report_run *run, const struct report_variant *v,
                        const struct part *p, struct buf *out) {
    struct buf start;
    buf_init(&start);
    text_keys(v, &start);
    const struct report_stage *failure = summary_failure(v);
    bool has_figures = summary_has_figures(v);
    if (summary_not_run(v)) {
        buf_add(out, start.data, start.len);
        buf_addstr(out, " not run\n");
    } else if (has_figures || !failure) {
        buf_add(out, start.data, start.len);
        add_figures(v, p, out);
    }
    if (failure && p->from == 0) {
        add_failure(run, failure, &start, has_figures, out);
    }
    buf_release(&start);
}

static void fit_group(const struct report_run *run, size_t first, size_t last, struct part *p) {
    size_t needed[SUMMARY_MAX_COLUMNS] = {0};
    struct buf cell;
    buf_init(&cell);
    for (size_t c = 0; c < summary_n_columns(); c++) {
        const struct summary_column *column = summary_column_at(p->profile, c);
        p->widths[c] = column->width;
        needed[c] = fmt_columns(column->title);
        for (size_t i = first; i <= last; i++) {
            buf_clear(&cell);
            summary_cell(&run->variants[i], column, &cell);
            size_t columns = fmt_columns(cell.data);
            needed[c] = columns > needed[c] ? columns : needed[c];
        }
    }
    buf_release(&cell);
    text_fit_widths(run, needed, p->widths, summary_n_columns());
}

/* Variants first to last of one model on one engine and device. */
static void add_group(const struct report_run *run, size_t first, size_t last,
                      enum summary_profile profile, struct buf *out) {
    const struct store_variant *v = &run->variants[first].v;
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s (%s%s%s) on %s %s", v->model_id, v->family, v->size[0] ? " " : "", v->size,
             v->engine, v->device);
    buf_addch(out, '\n');
    add_line(run, out, "", &b);
    buf_release(&b);
    struct part p = {.profile = profile};
    fit_group(run, first, last, &p);
    for (; p.from < summary_n_columns(); p.from = p.end) {
        p.end = text_part_end(run, p.widths, summary_n_columns(), p.from);
        buf_addch(out, '\n');
        add_titles(&p, out);
        for (size_t i = first; i <= last; i++) {
            add_variant(run, &run->variants[i], &p, out);
        }
    }
}

static int add_notes(const struct report_run *run, enum summary_profile profile, struct buf *out,
                     struct err *e) {
    struct arena a = ARENA_INIT;
    const char **notes = NULL;
    size_t n = 0;
    int rc = summary_notes(run, profile, &a, &notes, &n, e);
    buf_addch(out, '\n');
    for (size_t i = 0; i < n; i++) {
        /* The mark's own line starts with the mark. */
        bool is_mark = notes[i][0] == '~';
        fmt_wrap(out, is_mark ? "~ " : "- ", is_mark ? notes[i] + 2 : notes[i], run->width);
    }
    arena_release(&a);
    return rc;
}

int text_table(const struct report_run *run, enum summary_profile profile, struct buf *out,
               struct err *e) {
    struct buf title;
    buf_init(&title);
    buf_addstr(&title, summary_profile_title(profile));
    buf_addch(out, '\n');
    add_line(run, out, "profile  ", &title);
    buf_release(&title);
    for (size_t first = 0, last; first < run->n_variants; first = last + 1) {
        for (last = first; last + 1 < run->n_variants; last++) {
            if (!summary_same_group(&run->variants[last], &run->variants[last + 1])) {
                break;
            }
        }
        add_group(run, first, last, profile, out);
    }
    return add_notes(run, profile, out, e);
}

void text_header(const struct report_run *run, struct buf *out) {
    add_header(run, out);
    if (run->n_variants == 0) {
        buf_addstr(out, "\nThe run has no variants yet.\n");
    }
}

static int add_verdict(const struct report_run *run, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    struct verdict_text v;
    int rc = verdict_write(&run, 1, &a, &v, e);
    if (!rc && v.brief[VERDICT_WHICH]) {
        buf_addch(out, '\n');
        for (int part = 0; part < VERDICT_PARTS; part++) {
            fmt_wrap(out, "", v.brief[part], run->width);
        }
    }
    for (int part = 0; !rc && part < VERDICT_PARTS; part++) {
        buf_addf(out, "\n%s?\n", verdict_part_title((enum verdict_part)part));
        for (size_t i = 0; i < v.n[part]; i++) {
            fmt_wrap(out, "  ", v.items[part][i], run->width);
        }
    }
    arena_release(&a);
    return rc;
}

static int add_adaptation(const struct report_run *run, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    const char **lines = NULL;
    size_t n = 0;
    int rc = adaptation_lines(run, &a, &lines, &n, e);
    if (!rc && n > 0) {
        buf_addstr(out,
                   "\nadapting: joules by phase where a phase has a window of its own; forward, "
                   "backward and\noptimiser take turns faster than windows can be metered, and "
                   "have seconds alone\n\n");
    }
    for (size_t i = 0; !rc && i < n; i++) {
        fmt_wrap(out, "- ", lines[i], run->width);
    }
    arena_release(&a);
    return rc;
}

static int add_run(const struct report_run *run, struct buf *out, struct err *e) {
    text_header(run, out);
    int rc = run->n_variants ? add_verdict(run, out, e) : 0;
    text_glance(run, out);
    rc = rc ? rc : add_adaptation(run, out, e);
    for (int p = 0; !rc && run->n_variants && p < SUMMARY_PROFILES; p++) {
        rc = text_table(run, (enum summary_profile)p, out, e);
    }
    return rc;
}

int report_text(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        buf_addstr(out, i ? "\n" : "");
        int rc = add_run(runs[i], out, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}
