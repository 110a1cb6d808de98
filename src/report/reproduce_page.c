#include "report/reproduce_page.h"

#include "report/claims.h"
#include "report/fmt.h"
#include "report/html_parts.h"

#include "base/fs.h"

#include <stdlib.h>

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "reproduce: out of memory");
}

/* --- The claims --------------------------------------------------------------------------------- */

static void add_claim(const struct claim *c, struct buf *out) {
    buf_addstr(out, "<tr>");
    html_cell(out, "", c->claim);
    html_number(out, c->stated);
    html_number(out, c->found);
    html_cell(out, "", c->unit);
    html_cell(out, c->verdict == VERDICT_FAILS ? "error" : "", verdict_name(c->verdict));
    html_cell(out, "label", c->detail);
    buf_addstr(out, "</tr>\n");
}

static int write_claims(const struct published *p, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    struct claim *claims = NULL;
    size_t n = 0;
    int rc = claims_check(p, &a, &claims, &n, e);
    buf_addstr(out,
               "<section id=\"claims\">\n<h2>What the paper says, and what its rows give</h2>\n"
               "<div class=\"scroll\"><table>\n<thead><tr><th>claim</th>"
               "<th class=\"num\">stated</th><th class=\"num\">found</th><th>unit</th>"
               "<th></th><th>what the rows give</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; !rc && i < n; i++) {
        add_claim(&claims[i], out);
    }
    buf_addstr(out, "</tbody></table></div>\n</section>\n");
    arena_release(&a);
    return rc ? rc : buf_check(out, "reproduce", e);
}

/* --- The rows as a run ---------------------------------------------------------------------------- */

static int fill_variant(struct arena *a, const struct published_variant *p,
                        struct report_variant *v, struct err *e) {
    struct buf model;
    struct buf id;
    buf_init(&model);
    buf_init(&id);
    buf_addf(&model, "%s %s", p->family, p->size);
    buf_addf(&id, "%s.%s.%s.%s", model.data, p->method, p->task, p->precision);
    *v = (struct report_variant){
        .v = {.variant_id = arena_strdup(a, id.data),
              .model_id = arena_strdup(a, model.data),
              .family = p->family,
              .size = p->size,
              .method = p->method,
              .task = p->task,
              .precision = p->precision,
              .engine = "",
              .device = ""},
        .input = p->input,
        .rows = p->rows,
    };
    bool failed = a->failed || model.failed || id.failed;
    buf_release(&id);
    buf_release(&model);
    return failed ? out_of_memory(e) : 0;
}

/* run->arena holds what is new; the rows stay those of p. */
static int fill_run(const struct published *p, struct report_run *run, struct err *e) {
    run->run_id = "The published variants, recomputed";
    run->published = "the rows of the EDGE-EVAL paper (data/reference), profile paper";
    run->variants = arena_array(&run->arena, p->n_variants, sizeof(*run->variants));
    run->n_variants = run->variants ? p->n_variants : 0;
    int rc = run->variants ? 0 : out_of_memory(e);
    for (size_t i = 0; !rc && i < p->n_variants; i++) {
        rc = fill_variant(&run->arena, &p->variants[i], &run->variants[i], e);
    }
    return rc;
}

int reproduce_page(const struct published *p, const char *data_dir, struct buf *out,
                   struct err *e) {
    char *dir = fs_join(data_dir, "reference");
    struct report_run run = {.dir = dir, .data_dir = data_dir};
    struct buf lead;
    buf_init(&lead);
    int rc = dir ? fill_run(p, &run, e) : out_of_memory(e);
    rc = rc ? rc : write_claims(p, &lead, e);
    if (!rc) {
        const struct report_run *const runs[] = {&run};
        const struct html_page page = {.runs = runs, .n = 1, .lead = lead.data};
        rc = report_html_page(&page, out, e);
    }
    buf_release(&lead);
    arena_release(&run.arena);
    free(dir);
    return rc;
}
