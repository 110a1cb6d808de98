/* Which variant of a task is worth taking, as far as the data tell. */
#include "report/verdict_impl.h"

#include <math.h>
#include <string.h>

const struct metric_row *verdict_full(const struct compare_variant *c, const char *metric) {
    return report_row_in(c->v, metric, "full");
}

bool verdict_is_scored(const struct compare_variant *c) {
    return !isnan(compare_value(c, COMPARE_QUALITY));
}

bool verdict_keeps_score(const struct compare_variant *c) {
    enum summary_fidelity known = summary_fidelity(c->v);
    return verdict_is_scored(c) && (known == SUMMARY_WITHIN || known == SUMMARY_BASELINE);
}

static bool same_kind(const struct compare_variant *x, const struct compare_variant *y) {
    return x->run == y->run && summary_same_group(x->v, y->v) &&
           strcmp(x->v->v.method, y->v->v.method) == 0;
}

/* Inside one kind Q_ret has judged already. */
static int is_beaten(const struct compare_group *g, const struct compare_variant *c, bool *beaten,
                     struct err *e) {
    *beaten = false;
    for (size_t i = 0; !*beaten && i < g->n; i++) {
        const struct compare_variant *o = &g->variants[i];
        if (o == c || !verdict_keeps_score(o) || same_kind(o, c)) {
            continue;
        }
        struct compare_change change;
        int rc = compare_differ_on(c, o, COMPARE_QUALITY, &change, e);
        if (rc) {
            return rc;
        }
        *beaten = change.verdict == COMPARE_LESS;
    }
    return 0;
}

static bool has_figure(const struct compare_variant *c, enum compare_axis axis) {
    return isfinite(compare_value(c, axis));
}

/* Money where every acceptable variant has a price, else joules where every one has them; any price,
 * any joules where none is acceptable. */
static enum compare_axis choose_axis(const struct compare_group *g) {
    static const enum compare_axis axes[] = {COMPARE_COST, COMPARE_ENERGY};
    for (size_t k = 0; k < sizeof(axes) / sizeof(axes[0]); k++) {
        size_t known = 0;
        size_t missing = 0;
        for (size_t i = 0; i < g->n; i++) {
            const struct compare_variant *c = &g->variants[i];
            known += verdict_is_scored(c) && has_figure(c, axes[k]);
            missing += verdict_keeps_score(c) && !has_figure(c, axes[k]);
        }
        if (known && !missing) {
            return axes[k];
        }
    }
    return COMPARE_AXES;
}

bool verdict_is_cheaper(const struct choice *k, const struct compare_variant *x,
                        const struct compare_variant *than) {
    return !than || compare_value(x, k->axis) < compare_value(than, k->axis);
}

int verdict_choose(const struct compare_group *g, struct choice *k, struct err *e) {
    *k = (struct choice){.g = g, .axis = choose_axis(g)};
    for (size_t i = 0; i < g->n; i++) {
        const struct compare_variant *c = &g->variants[i];
        if (!verdict_is_scored(c)) {
            continue;
        }
        k->n_scored++;
        if (k->axis != COMPARE_AXES && has_figure(c, k->axis) &&
            verdict_is_cheaper(k, c, k->cheapest)) {
            k->cheapest = c;
        }
        bool beaten = false;
        int rc = verdict_keeps_score(c) ? is_beaten(g, c, &beaten, e) : 0;
        if (rc) {
            return rc;
        }
        if (!verdict_keeps_score(c) || beaten) {
            continue;
        }
        k->n_acceptable++;
        if (k->axis == COMPARE_AXES) {
            continue;
        }
        if (verdict_is_cheaper(k, c, k->taken)) {
            k->rival = k->taken;
            k->taken = c;
        } else if (verdict_is_cheaper(k, c, k->rival)) {
            k->rival = c;
        }
    }
    return k->rival ? compare_differ_on(k->taken, k->rival, k->axis, &k->lead, e) : 0;
}
