/* The comparison for people: a table a task, who is dominated, what the data support. */
#include "report/compare_impl.h"

#include "report/fmt.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

/* The last column tells frontier from dominated. */
enum { LONGEST_NAME = 30, STATE = COMPARE_AXES, N_COLUMNS };
static const size_t widths[N_COLUMNS] = {13, 9, 9, 9, 9, 10};

static size_t width_of(const struct compare_set *s) {
    return s->n_runs ? s->runs[0]->width : REPORT_WIDTH;
}

static void add_machines(const struct compare_set *s, struct buf *out) {
    struct buf b;
    buf_init(&b);
    const char *first = NULL;
    bool differ = false;
    for (size_t r = 0; r < s->n_runs; r++) {
        for (size_t m = 0; m < s->runs[r]->n_machines; m++) {
            const struct report_machine *machine = &s->runs[r]->machines[m];
            first = first ? first : machine->machine_id;
            differ = differ || strcmp(machine->machine_id, first) != 0;
            buf_clear(&b);
            buf_addf(&b, "%s on ", s->runs[r]->run_id);
            summary_machine(machine, &b);
            fmt_wrap_buf(out, "run      ", &b, width_of(s));
        }
    }
    if (differ) {
        fmt_wrap(
            out, "mind     ",
            "the runs are from unlike machines: what differs between them is the machine's too",
            width_of(s));
    }
    buf_release(&b);
}

static void add_what_if(const struct compare_set *s, struct buf *out) {
    if (!s->what_if) {
        return;
    }
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < s->what_if->n_sets; i++) {
        buf_addf(&b, "%s, ", s->what_if->sets[i]);
    }
    buf_addf(&b, "prices of %.10s; else as the runs' plans have it", s->what_if->as_of);
    fmt_wrap_buf(out, "what if  ", &b, width_of(s));
    buf_release(&b);
}

/* A mark for modelled energy, as in reports. */
static void add_cell(const struct compare_variant *c, enum compare_axis axis, struct buf *cell) {
    const struct metric_row *row = c->rows[axis];
    if (!row || metric_refused(row)) {
        buf_addch(cell, '-');
    } else if (axis == COMPARE_QUALITY) {
        const struct summary_column column = {.metric = compare_axes[axis].metric,
                                              .profile = compare_axes[axis].profile,
                                              .width = 13};
        summary_cell(c->v, &column, cell);
    } else {
        buf_addstr(cell, row->flags & QUANTITY_MODELLED ? "~" : "");
        buf_addstr(cell, row->flags & QUANTITY_AT_LEAST ? "\xE2\x89\xA5" : "");
        if (axis == COMPARE_MEMORY) {
            fmt_bytes(cell, row->value);
        } else {
            fmt_num(cell, row->value);
        }
    }
}

static size_t name_width(const struct compare_group *g) {
    size_t width = strlen("variant");
    for (size_t i = 0; i < g->n; i++) {
        size_t columns = fmt_columns(g->variants[i].name);
        width = columns > width ? columns : width;
    }
    return width < LONGEST_NAME ? width : LONGEST_NAME;
}

static void add_header(const struct compare_group *g, struct buf *out) {
    buf_addf(out, "\n%s", g->task);
    for (size_t i = 0; i < g->n; i++) {
        if (*g->variants[i].scorer) {
            buf_addf(out, ", scored by %s", g->variants[i].scorer);
            break;
        }
    }
    buf_addch(out, '\n');
}

static void add_titles(size_t name, size_t from, size_t end, struct buf *out) {
    fmt_cell(out, "variant", name, false);
    for (size_t k = from; k < end && k < STATE; k++) {
        buf_addch(out, ' ');
        fmt_cell(out, compare_axes[k].title, widths[k], true);
    }
    buf_addch(out, '\n');
}

static void add_variant(const struct compare_group *g, const struct compare_variant *c, size_t name,
                        size_t from, size_t end, struct buf *out) {
    struct buf cell;
    buf_init(&cell);
    fmt_cell(out, c->name, name, false);
    for (size_t k = from; k < end && k < STATE; k++) {
        buf_clear(&cell);
        add_cell(c, (enum compare_axis)k, &cell);
        buf_addch(out, ' ');
        fmt_cell(out, cell.data, widths[k], true);
        out->failed = out->failed || cell.failed;
    }
    if (end == N_COLUMNS) {
        bool has_quality = !isnan(compare_value(c, COMPARE_QUALITY));
        buf_addf(out, "  %s", c->dominator < g->n ? "dominated" : has_quality ? "frontier" : "");
    }
    buf_addch(out, '\n');
    buf_release(&cell);
}

/* In parts, one below the other, where it is wider than the terminal. */
static void add_table(const struct compare_set *s, const struct compare_group *g, struct buf *out) {
    size_t name = name_width(g);
    for (size_t from = 0, end; from < N_COLUMNS; from = end) {
        size_t used = name;
        for (end = from; end < N_COLUMNS && (end == from || used + 1 + widths[end] <= width_of(s));
             end++) {
            used += 1 + widths[end];
        }
        buf_addch(out, '\n');
        add_titles(name, from, end, out);
        for (size_t i = 0; i < g->n; i++) {
            add_variant(g, &g->variants[i], name, from, end, out);
        }
    }
}

static int add_dominated(const struct compare_set *s, const struct compare_group *g,
                         struct buf *out, struct err *e) {
    struct buf b, weak;
    buf_init(&b);
    buf_init(&weak);
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n; i++) {
        const struct compare_variant *c = &g->variants[i];
        if (c->dominator == g->n) {
            continue;
        }
        buf_clear(&b);
        buf_clear(&weak);
        rc = compare_weak_axes(g, i, &weak, e);
        buf_addf(&b, "%s is dominated by %s, which is no worse on any axis that compares them",
                 c->name, g->variants[c->dominator].name);
        if (weak.len) {
            buf_addf(&b, "; its lead in %s is within the error", weak.data);
        }
        buf_addch(&b, '.');
        out->failed = out->failed || weak.failed;
        fmt_wrap_buf(out, "- ", &b, width_of(s));
    }
    buf_release(&weak);
    buf_release(&b);
    return rc;
}

static bool is_of(const struct compare_group *g, const struct compare_difference *d) {
    return d->a >= g->variants && d->a < g->variants + g->n;
}

static void add_differences(const struct compare_set *s, const struct compare_group *g,
                            const struct compare_differences *d, struct buf *out) {
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < d->n; i++) {
        if (is_of(g, &d->items[i])) {
            buf_clear(&b);
            compare_sentence(&d->items[i], &b);
            fmt_wrap_buf(out, "- ", &b, width_of(s));
        }
    }
    buf_release(&b);
}

static int add_group(const struct compare_set *s, const struct compare_group *g,
                     const struct compare_differences *d, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    const char **notes = NULL;
    size_t n = 0;
    add_header(g, out);
    add_table(s, g, out);
    buf_addch(out, '\n');
    add_differences(s, g, d, out);
    int rc = add_dominated(s, g, out, e);
    rc = rc ? rc : compare_notes(g, &a, &notes, &n, e);
    for (size_t i = 0; !rc && i < n; i++) {
        fmt_wrap(out, "- ", notes[i], width_of(s));
    }
    arena_release(&a);
    return rc;
}

int compare_text(const struct compare_set *s, const struct compare_differences *d, struct buf *out,
                 struct err *e) {
    add_machines(s, out);
    add_what_if(s, out);
    int rc = 0;
    for (size_t i = 0; !rc && i < s->n_groups; i++) {
        rc = add_group(s, &s->groups[i], d, out, e);
    }
    buf_addstr(out, s->n_groups ? "" : "There are no variants yet.\n");
    buf_addch(out, '\n');
    fmt_wrap(out, "",
             "~ an estimate: modelled energy; \xE2\x89\xA5 the largest seen, too few to bound; "
             "- refused",
             width_of(s));
    return rc;
}
