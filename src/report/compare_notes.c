/* What a reader must know of the figures of a comparison before believing it. */
#include "report/compare_impl.h"

#include "report/note_list.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

struct notes {
    const struct compare_group *g;
    struct note_list list;
};

typedef const char *text_fn(const struct compare_variant *c);

static const char *scope_of(const struct compare_variant *c) {
    return c->scope;
}
static const char *work_of(const struct compare_variant *c) {
    return c->work;
}
static const char *scorer_of(const struct compare_variant *c) {
    return c->scorer;
}
static const char *questions_of(const struct compare_variant *c) {
    return c->questions;
}

static size_t count_equal(const struct compare_group *g, text_fn *text, const char *like) {
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        n += strcmp(text(&g->variants[i]), like) == 0;
    }
    return n;
}

/* "start: text (fp16, int8); other text (int4)", when a text differs inside the group. */
static void note_unlike(struct notes *t, text_fn *text, const char *start) {
    const struct compare_group *g = t->g;
    struct buf b;
    buf_init(&b);
    size_t n_texts = 0;
    for (size_t i = 0; i < g->n; i++) {
        const char *own = text(&g->variants[i]);
        bool is_new = *own != '\0';
        for (size_t k = 0; is_new && k < i; k++) {
            is_new = strcmp(text(&g->variants[k]), own) != 0;
        }
        if (!is_new) {
            continue;
        }
        buf_addf(&b, "%s%s (", n_texts++ ? "; " : start, own);
        size_t left = count_equal(g, text, own);
        for (size_t k = i; k < g->n; k++) {
            if (strcmp(text(&g->variants[k]), own) == 0) {
                buf_addf(&b, "%s%s", g->variants[k].name, --left ? ", " : ")");
            }
        }
    }
    if (n_texts > 1 || b.failed) {
        note_list_add(&t->list, &b);
    }
    buf_release(&b);
}

/* Which variants have no figure on an axis, and why the first of them has none. */
static void note_missing(struct notes *t, enum compare_axis axis) {
    const struct compare_group *g = t->g;
    const struct metric_row *first = NULL;
    size_t missing = 0;
    struct buf names;
    buf_init(&names);
    for (size_t i = 0; i < g->n; i++) {
        const struct compare_variant *c = &g->variants[i];
        if (isnan(compare_value(c, axis)) && !summary_not_run(c->v)) {
            buf_addf(&names, "%s%s", missing++ ? ", " : "", c->name);
            first = first ? first : c->rows[axis];
        }
    }
    if (missing) {
        struct buf b;
        buf_init(&b);
        buf_addf(&b, "%s: none for %s", compare_axes[axis].noun,
                 missing == g->n ? "any variant" : names.data);
        buf_addf(&b, " (%s)", first && first->reason ? first->reason : "not measured");
        if (axis == COMPARE_COST) {
            buf_addstr(&b, "; energy a request stands in for it");
        }
        note_list_add(&t->list, &b);
        buf_release(&b);
    }
    t->list.out_of_memory = t->list.out_of_memory || names.failed;
    buf_release(&names);
}

static void note_concurrency(struct notes *t) {
    const struct compare_group *g = t->g;
    long first = g->variants[0].concurrency;
    bool differs = false;
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, "served at unlike concurrency, which moves energy and latency: ");
    for (size_t i = 0; i < g->n; i++) {
        const struct compare_variant *c = &g->variants[i];
        differs = differs || c->concurrency != first;
        buf_addf(&b, "%s%s at %ld", i ? ", " : "", c->name, c->concurrency);
    }
    if (differs) {
        note_list_add(&t->list, &b);
    }
    buf_release(&b);
}

static void note_not_run(struct notes *t) {
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < t->g->n; i++) {
        if (summary_not_run(t->g->variants[i].v)) {
            buf_addf(&b, "%s%s", b.len ? ", " : "not run: ", t->g->variants[i].name);
        }
    }
    if (b.len || b.failed) {
        note_list_add(&t->list, &b);
    }
    buf_release(&b);
}

int compare_notes(const struct compare_group *g, struct arena *a, const char ***notes, size_t *n,
                  struct err *e) {
    struct notes t = {.g = g, .list = {.a = a, .cap = COMPARE_AXES + 8}};
    t.list.items = arena_array(a, t.list.cap, sizeof(*t.list.items));
    if (t.list.items) {
        for (int k = 0; k < COMPARE_AXES; k++) {
            note_missing(&t, (enum compare_axis)k);
        }
        note_unlike(
            &t, scope_of,
            "energy and cost are not compared between unlike scopes, for their joules count "
            "unlike parts of the machine: ");
        note_unlike(&t, work_of, "energy, cost and latency are not compared between unlike work: ");
        note_unlike(&t, scorer_of, "scores are not compared between scorers: ");
        note_unlike(&t, questions_of, "scores are not compared between task data: ");
        note_concurrency(&t);
        note_not_run(&t);
    }
    *notes = t.list.items;
    *n = t.list.n;
    return !t.list.items || t.list.out_of_memory ? err_set(e, EE_NOMEM, "compare: out of memory")
                                                 : 0;
}
