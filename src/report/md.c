/* GitHub-flavoured Markdown: the verdict, a table a profile over all runs, and each run's notes as lists. */
#include "report/writers.h"

#include "report/adaptation.h"
#include "report/fmt.h"
#include "report/summary.h"
#include "report/verdict.h"

static const char *const keys[] = {"run", "model", "task", "method", "precision"};
enum { N_KEYS = sizeof(keys) / sizeof(keys[0]) };

static void add_header(enum summary_profile profile, struct buf *out) {
    for (size_t i = 0; i < N_KEYS; i++) {
        buf_addf(out, "| %s ", keys[i]);
    }
    for (size_t i = 0; i < summary_n_columns(); i++) {
        buf_addstr(out, "| ");
        fmt_md(out, summary_column_at(profile, i)->title);
        buf_addch(out, ' ');
    }
    buf_addstr(out, "|\n");
    for (size_t i = 0; i < N_KEYS + summary_n_columns(); i++) {
        buf_addstr(out, i < N_KEYS ? "|---" : "|---:");
    }
    buf_addstr(out, "|\n");
}

static void add_variant(const struct report_run *run, const struct report_variant *v,
                        enum summary_profile profile, struct buf *out) {
    struct buf model;
    buf_init(&model);
    buf_addf(&model, "%s %s, %s %s", v->v.family, v->v.size, v->v.engine, v->v.device);
    const char *const names[N_KEYS] = {run->run_id, model.data, v->v.task, v->v.method,
                                       v->v.precision};
    for (size_t i = 0; i < N_KEYS; i++) {
        buf_addstr(out, "| ");
        fmt_md(out, names[i]);
        buf_addch(out, ' ');
    }
    buf_release(&model);
    for (size_t i = 0; i < summary_n_columns(); i++) {
        buf_addstr(out, "| ");
        summary_cell(v, summary_column_at(profile, i), out);
        buf_addch(out, ' ');
    }
    buf_addstr(out, "|\n");
}

static void add_failures(const struct report_run *run, struct buf *out) {
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_stage *failure = summary_failure(&run->variants[i]);
        if (failure) {
            struct buf text;
            buf_init(&text);
            summary_variant_name(run, &run->variants[i], &text);
            buf_addf(&text, " failed: %s: %s", failure->s.kind, failure->s.error);
            buf_addstr(out, "- ");
            fmt_md(out, text.data);
            buf_addch(out, '\n');
            buf_release(&text);
        }
    }
}

static int add_profile_notes(const struct report_run *run, enum summary_profile profile,
                             struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    const char **notes = NULL;
    size_t n = 0;
    int rc = summary_notes(run, profile, &a, &notes, &n, e);
    buf_addstr(out, "\nProfile ");
    fmt_md(out, summary_profile_title(profile));
    buf_addstr(out, "\n\n");
    for (size_t i = 0; i < n; i++) {
        buf_addstr(out, "- ");
        fmt_md(out, notes[i]);
        buf_addch(out, '\n');
    }
    arena_release(&a);
    return rc;
}

static int add_adaptation(const struct report_run *run, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    const char **lines = NULL;
    size_t n = 0;
    int rc = adaptation_lines(run, &a, &lines, &n, e);
    buf_addstr(out, !rc && n > 0 ? "\nAdapting\n\n" : "");
    for (size_t i = 0; !rc && i < n; i++) {
        buf_addstr(out, "- ");
        fmt_md(out, lines[i]);
        buf_addch(out, '\n');
    }
    arena_release(&a);
    return rc;
}

static int add_notes(const struct report_run *run, struct buf *out, struct err *e) {
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "Run %s: energy ", run->run_id);
    summary_energy(run, &text);
    for (size_t i = 0; i < run->n_machines; i++) {
        buf_addstr(&text, i ? "; " : "; on ");
        summary_machine(&run->machines[i], &text);
    }
    buf_addch(out, '\n');
    fmt_md(out, text.data);
    buf_addstr(out, "\n\n");
    buf_release(&text);
    add_failures(run, out);
    int rc = add_adaptation(run, out, e);
    for (int p = 0; !rc && p < SUMMARY_PROFILES; p++) {
        rc = add_profile_notes(run, (enum summary_profile)p, out, e);
    }
    return rc;
}

static int add_verdict(const struct report_run *const *runs, size_t n, struct buf *out,
                       struct err *e) {
    struct arena a = ARENA_INIT;
    struct verdict_text v;
    int rc = verdict_write(runs, n, &a, &v, e);
    for (int part = 0; !rc && v.brief[VERDICT_WHICH] && part < VERDICT_PARTS; part++) {
        fmt_md(out, v.brief[part]);
        buf_addstr(out, part + 1 < VERDICT_PARTS ? " " : "\n\n");
    }
    for (int part = 0; !rc && part < VERDICT_PARTS; part++) {
        for (size_t i = 0; i < v.n[part]; i++) {
            buf_addstr(out, i ? "" : "- **");
            buf_addstr(out, i ? " " : verdict_part_title((enum verdict_part)part));
            buf_addstr(out, i ? "" : "?** ");
            fmt_md(out, v.items[part][i]);
        }
        buf_addstr(out, v.n[part] ? "\n" : "");
    }
    buf_addstr(out, v.n[VERDICT_WHICH] ? "\n" : "");
    arena_release(&a);
    return rc;
}

int report_md(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    int rc = add_verdict(runs, n, out, e);
    if (rc) {
        return rc;
    }
    for (int p = 0; p < SUMMARY_PROFILES; p++) {
        enum summary_profile profile = (enum summary_profile)p;
        buf_addf(out, "%sProfile ", p ? "\n" : "");
        fmt_md(out, summary_profile_title(profile));
        buf_addstr(out, "\n\n");
        add_header(profile, out);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < runs[i]->n_variants; j++) {
                add_variant(runs[i], &runs[i]->variants[j], profile, out);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        rc = add_notes(runs[i], out, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}
