/* What the data support about two variants: a difference on each axis, as an interval and in words. */
#include "report/compare_impl.h"

#include "report/fmt.h"
#include "report/summary.h"
#include "stats/choose.h"
#include "stats/multiple.h"
#include "stats/power.h"
#include "stats/repeats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONFIDENCE 0.95
#define ONE_POINT 1.0

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "compare: out of memory");
}

static struct stats_interval no_interval(double estimate, const char *reason) {
    return (struct stats_interval){
        .estimate = estimate, .low = NAN, .high = NAN, .p_value = NAN, .reason = reason};
}

/* --- Differences ------------------------------------------------------------------------------------ */

static struct stats_opts opts_for(const struct compare_variant *a, const char *use) {
    return (struct stats_opts){.confidence = CONFIDENCE, .seed = a->v->input.seed, .use = use};
}

/* Over the items that both answered, in pairs. */
static int differ_in_quality(const struct compare_variant *a, const struct compare_variant *b,
                             struct compare_change *c, struct err *e) {
    const struct metrics_items *x = &a->v->input.items;
    const struct metrics_items *y = &b->v->input.items;
    double low = a->v->input.score_min;
    double high = a->v->input.score_max;
    if (!(high > low)) {
        c->refused = "the scorer's range is unknown";
        return 0;
    }
    double *s = calloc(x->n + 1, sizeof(*s));
    double *t = calloc(x->n + 1, sizeof(*t));
    int rc = s && t ? 0 : out_of_memory(e);
    struct stats_opts opts = opts_for(a, "compare/quality");
    opts.bound = 1;
    if (!rc) {
        size_t n = metrics_pair_items(x, y, low, high, s, t);
        c->i = no_interval(NAN, "no item was scored in both");
        rc = n ? stats_paired_difference(s, t, n, &opts, &c->i, e) : 0;
    }
    c->i.estimate *= 100;
    c->i.low *= 100;
    c->i.high *= 100;
    c->refused = !rc && isnan(c->i.estimate) ? c->i.reason : NULL;
    free(s);
    free(t);
    return rc;
}

/* Joules of one request; sensors that both used share their gain. */
static int differ_in_energy(const struct compare_variant *a, const struct compare_variant *b,
                            struct compare_change *c, struct err *e) {
    const struct stats_joules *x = &a->v->input.spread.serve;
    const struct stats_joules *y = &b->v->input.spread.serve;
    double ratio = compare_value(a, COMPARE_ENERGY) / compare_value(b, COMPARE_ENERGY);
    c->i = no_interval(ratio, "what its sensors may be off by is not known");
    if (!x->n_windows || !y->n_windows) {
        return 0;
    }
    const struct stats_opts opts = opts_for(a, "compare/energy");
    struct stats_joules_interval out;
    int rc = stats_joules_ratio(x, y, &opts, &out, e);
    if (!rc && isfinite(out.total.estimate)) {
        c->i = out.total;
        c->is_instrument_only = !out.sampling.method;
    }
    return rc;
}

static struct stats_interval interval_of(const struct metric_row *row) {
    return (struct stats_interval){.estimate = row->value,
                                   .low = row->low,
                                   .high = row->high,
                                   .p_value = NAN,
                                   .n = row->n,
                                   .method = isnan(row->low) ? NULL : "of the cost"};
}

/* Taken for independent: what both costs share makes the true interval narrower. */
static void differ_in_cost(const struct compare_variant *a, const struct compare_variant *b,
                           struct compare_change *c) {
    struct stats_interval x = interval_of(a->rows[COMPARE_COST]);
    struct stats_interval y = interval_of(b->rows[COMPARE_COST]);
    c->i = x.method && y.method ? stats_quotient(&x, &y)
                                : no_interval(x.estimate / y.estimate, "one of the costs has none");
    unsigned flags = a->rows[COMPARE_COST]->flags | b->rows[COMPARE_COST]->flags;
    c->is_instrument_only = (flags & QUANTITY_INSTRUMENT) != 0;
}

static void differ_in_latency(const struct compare_variant *a, const struct compare_variant *b,
                              struct compare_change *c) {
    double ratio = compare_value(a, COMPARE_LATENCY) / compare_value(b, COMPARE_LATENCY);
    c->i = stats_quotient(&a->p95, &b->p95);
    if (!c->i.method || !stats_is_bounded(&c->i)) {
        c->i = no_interval(ratio, "too few requests to bound a 95th percentile");
    }
    c->i.estimate = ratio;
}

/* Without repeats an interval holds what the sensor may be off by, not what another run would give. */
static enum compare_verdict judge(const struct compare_change *c, double nothing) {
    if (c->refused) {
        return COMPARE_REFUSED;
    }
    if (c->is_instrument_only) {
        return COMPARE_UNDETERMINED;
    }
    return c->i.low > nothing    ? COMPARE_MORE
           : c->i.high < nothing ? COMPARE_LESS
                                 : COMPARE_UNDETERMINED;
}

int compare_differ_on(const struct compare_variant *a, const struct compare_variant *b,
                      enum compare_axis axis, struct compare_change *c, struct err *e) {
    *c = (struct compare_change){.refused = compare_obstacle(a, b, axis), .adjusted_p = NAN};
    double ratio = compare_value(a, axis) / compare_value(b, axis);
    int rc = 0;
    if (!c->refused && axis != COMPARE_QUALITY && !(ratio > 0 && isfinite(ratio))) {
        c->refused = "a figure of 0 or without end has no ratio";
    }
    if (c->refused) {
        c->verdict = COMPARE_REFUSED;
        return 0;
    }
    switch (axis) {
    case COMPARE_QUALITY:
        rc = differ_in_quality(a, b, c, e);
        break;
    case COMPARE_COST:
        differ_in_cost(a, b, c);
        break;
    case COMPARE_ENERGY:
        rc = differ_in_energy(a, b, c, e);
        break;
    case COMPARE_LATENCY:
        differ_in_latency(a, b, c);
        break;
    case COMPARE_MEMORY: /* read off, with no error to speak of */
        c->i = no_interval(ratio, NULL);
        c->verdict = ratio < 1 ? COMPARE_LESS : ratio > 1 ? COMPARE_MORE : COMPARE_SAME;
        return 0;
    case COMPARE_AXES:
        break;
    }
    c->verdict = judge(c, axis == COMPARE_QUALITY ? 0 : 1);
    return rc;
}

int compare_differ(const struct compare_variant *a, const struct compare_variant *b,
                   struct compare_difference *out, struct err *e) {
    *out = (struct compare_difference){.a = a, .b = b};
    int rc = 0;
    for (int k = 0; !rc && k < COMPARE_AXES; k++) {
        rc = compare_differ_on(a, b, (enum compare_axis)k, &out->changes[k], e);
    }
    return rc;
}

/* --- Which ones ------------------------------------------------------------------------------------- */

static bool is_word_of(const struct compare_variant *c, const char *word, size_t len) {
    const struct store_variant *v = &c->v->v;
    const char *const texts[] = {c->run->run_id, v->variant_id, v->model_id,  v->family, v->size,
                                 v->method,      v->task,       v->precision, v->engine, v->device};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strncasecmp(texts[i], word, len) == 0 && texts[i][len] == '\0') {
            return true;
        }
    }
    return false;
}

/* The variant has that name, or every word of it as a model, method, precision and so on. */
static bool is_meant(const struct compare_variant *c, const char *words) {
    if (strcasecmp(c->name, words) == 0) {
        return true;
    }
    size_t n_words = 0;
    for (const char *p = words + strspn(words, " "); *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (!is_word_of(c, p, len)) {
            return false;
        }
        n_words++;
        p += len;
    }
    return n_words > 0;
}

/* How many of the group are meant; the first of them in *found. */
static size_t find_meant(const struct compare_group *g, const char *words,
                         const struct compare_variant **found) {
    size_t n = 0;
    *found = NULL;
    for (size_t i = 0; i < g->n; i++) {
        if (is_meant(&g->variants[i], words)) {
            *found = *found ? *found : &g->variants[i];
            n++;
        }
    }
    return n;
}

static int refuse_words(const struct compare_set *s, const char *words, const char *what,
                        struct err *e) {
    struct buf names;
    buf_init(&names);
    for (size_t i = 0; i < s->n_groups; i++) {
        for (size_t k = 0; k < s->groups[i].n; k++) {
            buf_addf(&names, "%s%s %s", names.len ? ", " : "", s->groups[i].task,
                     s->groups[i].variants[k].name);
        }
    }
    int rc = err_set(e, EE_USAGE, "\"%.80s\" %s; there are: %s", words, what, names.data);
    buf_release(&names);
    return rc;
}

static int choose_pairs(struct compare_set *s, const char *const between[2],
                        struct compare_differences *out, struct err *e) {
    bool is_known[2] = {false, false};
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct compare_variant *pair[2];
        size_t n[2];
        for (int k = 0; k < 2; k++) {
            n[k] = find_meant(&s->groups[i], between[k], &pair[k]);
            is_known[k] = is_known[k] || n[k];
            if (n[k] > 1) {
                return refuse_words(s, between[k], "names several variants of one task", e);
            }
        }
        if (n[0] && n[1] && pair[0] != pair[1]) {
            int rc = compare_differ(pair[0], pair[1], &out->items[out->n++], e);
            if (rc) {
                return rc;
            }
        }
    }
    for (int k = 0; k < 2; k++) {
        if (!is_known[k]) {
            return refuse_words(s, between[k], "names no variant", e);
        }
    }
    return out->n
               ? 0
               : refuse_words(s, between[0], "and the other are not two variants of one task", e);
}

/* The fp16 variant of the same model, method, engine and device, first in the same run. */
static const struct compare_variant *base_of(const struct compare_group *g,
                                             const struct compare_variant *c) {
    const struct compare_variant *found = NULL;
    for (size_t i = 0; i < g->n; i++) {
        const struct compare_variant *o = &g->variants[i];
        bool same_kind = summary_same_group(o->v, c->v) &&
                         strcmp(o->v->v.method, c->v->v.method) == 0 &&
                         strcmp(o->v->v.precision, "fp16") == 0;
        if (same_kind && o->run == c->run) {
            return o;
        }
        found = same_kind && !found ? o : found;
    }
    return found;
}

static bool has_figures(const struct compare_variant *c) {
    for (int k = 0; k < COMPARE_AXES; k++) {
        if (!isnan(compare_value(c, (enum compare_axis)k))) {
            return true;
        }
    }
    return false;
}

/* Each variant against its base; what has none against the group's first, so that nothing that was
 * measured goes without a word. */
static int choose_bases(struct compare_set *s, struct compare_differences *out, struct err *e) {
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct compare_group *g = &s->groups[i];
        for (size_t k = 0; k < g->n; k++) {
            const struct compare_variant *c = &g->variants[k];
            const struct compare_variant *base = base_of(g, c);
            base = base && base != c ? base : &g->variants[0];
            if (base == c || !has_figures(c) || !has_figures(base)) {
                continue;
            }
            int rc = compare_differ(c, base, &out->items[out->n++], e);
            if (rc) {
                return rc;
            }
        }
    }
    return 0;
}

/* Many looks find something by chance: Holm's correction over all scores that are shown. */
static int adjust(struct compare_set *s, struct compare_differences *d, struct err *e) {
    double *p = arena_array(&s->arena, d->n + 1, sizeof(*p));
    double *adjusted = arena_array(&s->arena, d->n + 1, sizeof(*adjusted));
    if (!p || !adjusted) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < d->n; i++) {
        const struct compare_change *c = &d->items[i].changes[COMPARE_QUALITY];
        p[i] = c->verdict == COMPARE_REFUSED || !c->i.method ? (double)NAN : c->i.p_value;
    }
    int rc = stats_holm(p, d->n, adjusted, e);
    for (size_t i = 0; !rc && i < d->n; i++) {
        d->items[i].changes[COMPARE_QUALITY].adjusted_p = adjusted[i];
    }
    return rc;
}

int compare_choose(struct compare_set *s, const char *const between[2],
                   struct compare_differences *out, struct err *e) {
    size_t most = s->n_groups;
    for (size_t i = 0; i < s->n_groups; i++) {
        most += s->groups[i].n;
    }
    *out = (struct compare_differences){
        .items = arena_array(&s->arena, most + 1, sizeof(*out->items))};
    if (!out->items) {
        return out_of_memory(e);
    }
    int rc = between[0] ? choose_pairs(s, between, out, e) : choose_bases(s, out, e);
    return rc ? rc : adjust(s, out, e);
}

int compare_weak_axes(const struct compare_group *g, size_t variant, struct buf *out,
                      struct err *e) {
    const struct compare_variant *worse = &g->variants[variant];
    struct compare_difference d;
    int rc = compare_differ(&g->variants[worse->dominator], worse, &d, e);
    size_t n = 0;
    for (int k = 0; !rc && k < COMPARE_AXES; k++) {
        if (d.changes[k].verdict == COMPARE_UNDETERMINED) {
            buf_addf(out, "%s%s", n++ ? ", " : "", compare_axes[k].noun);
        }
    }
    return rc;
}

/* --- In words --------------------------------------------------------------------------------------- */

static void add_points(double points, struct buf *out) {
    buf_addf(out, points < 9.95 ? "%.1f" : "%.0f", points);
}

/* "0.3 to 2.2 points", of a difference whose sign the words before have told. */
static void add_point_bounds(const struct compare_change *c, struct buf *out) {
    double x = fabs(c->i.low);
    double y = fabs(c->i.high);
    buf_addstr(out, " (95 % interval ");
    add_points(fmin(x, y), out);
    buf_addstr(out, " to ");
    add_points(fmax(x, y), out);
    buf_addf(out, ", %zu items)", c->i.n);
}

static const char *more_or_fewer(double points) {
    return points < 0 ? "fewer" : "more";
}

static void add_quality(const struct compare_difference *d, struct buf *out) {
    const struct compare_change *c = &d->changes[COMPARE_QUALITY];
    double points = c->i.estimate;
    if (c->verdict == COMPARE_LESS || c->verdict == COMPARE_MORE) {
        buf_addstr(out, c->verdict == COMPARE_LESS ? "it loses " : "it gains ");
        add_points(fabs(points), out);
        buf_addf(out, " points of %s", d->a->scorer);
        add_point_bounds(c, out);
        if (c->adjusted_p >= 0.05) {
            buf_addf(out, ", which among all that is compared here may be chance (Holm: p = %.2g)",
                     c->adjusted_p);
        }
        return;
    }
    buf_addf(out, "%s is undetermined: ", d->a->scorer);
    add_points(fabs(points), out);
    buf_addf(out, " points %s", more_or_fewer(points));
    if (!c->i.method) {
        buf_addf(out, ", without an interval (%s)", c->i.reason ? c->i.reason : "no spread");
        return;
    }
    buf_addstr(out, " (95 % interval ");
    add_points(fabs(c->i.low), out);
    buf_addf(out, " %s to ", more_or_fewer(c->i.low));
    add_points(fabs(c->i.high), out);
    buf_addf(out, " %s, %zu items", more_or_fewer(c->i.high), c->i.n);
    double needed = stats_needed_n(&c->i, ONE_POINT);
    if (isfinite(needed) && needed > (double)c->i.n) {
        buf_addf(out, "; about %.0f would tell within a point", needed);
    }
    buf_addch(out, ')');
}

static const char *less_or_more(double ratio) {
    return ratio < 1 ? "less" : "more";
}

static void add_percent(double ratio, struct buf *out) {
    double percent = 100 * fabs(ratio - 1);
    buf_addf(out, percent < 9.95 ? "%.1f" : "%.0f", percent);
}

/* "35 to 47 % less", "12 % less to 7 % more". */
static void add_ratio_bounds(const struct stats_interval *i, struct buf *out) {
    bool same_side = (i->low < 1) == (i->high < 1);
    double nearer = same_side && i->low < 1 ? i->high : i->low;
    double farther = nearer == i->low ? i->high : i->low;
    add_percent(nearer, out);
    if (!same_side) {
        buf_addf(out, " %% %s", less_or_more(nearer));
    }
    buf_addstr(out, " to ");
    add_percent(farther, out);
    buf_addf(out, " %% %s", less_or_more(farther));
}

static void add_evidence(const struct compare_change *c, struct buf *out) {
    if (c->is_instrument_only) {
        buf_addstr(out, ", but fewer than 5 repeats show no spread");
    }
    if (c->i.method) {
        buf_addf(out, " (%s ", c->is_instrument_only ? "instrument error alone:" : "95 % interval");
        add_ratio_bounds(&c->i, out);
        buf_addch(out, ')');
    } else if (c->i.reason) {
        buf_addf(out, ", without an interval (%s)", c->i.reason);
    }
}

static void add_payment(const struct compare_difference *d, enum compare_axis axis,
                        struct buf *out) {
    const struct compare_change *c = &d->changes[axis];
    const struct compare_axis_info *info = &compare_axes[axis];
    if (c->verdict == COMPARE_SAME) {
        buf_addf(out, "it %s the same %s", info->verb, info->rest);
        return;
    }
    bool is_shown = c->verdict == COMPARE_LESS || c->verdict == COMPARE_MORE;
    buf_addf(out, is_shown ? "it %s " : "%s is undetermined: ", is_shown ? info->verb : info->noun);
    add_percent(c->i.estimate, out);
    buf_addf(out, " %% %s", less_or_more(c->i.estimate));
    if (is_shown) {
        buf_addf(out, " %s", info->rest);
    }
    add_evidence(c, out);
}

void compare_sentence(const struct compare_difference *d, struct buf *out) {
    buf_addf(out, "%s against %s: ", d->a->name, d->b->name);
    size_t n = 0;
    for (int k = 0; k < COMPARE_AXES; k++) {
        if (d->changes[k].verdict == COMPARE_REFUSED) {
            continue;
        }
        buf_addstr(out, n++ ? "; " : "");
        if (k == COMPARE_QUALITY) {
            add_quality(d, out);
        } else {
            add_payment(d, (enum compare_axis)k, out);
        }
    }
    for (int k = 0; k < COMPARE_AXES; k++) {
        const struct compare_change *c = &d->changes[k];
        bool is_news = c->verdict == COMPARE_REFUSED &&
                       !isnan(compare_value(d->a, (enum compare_axis)k)) &&
                       !isnan(compare_value(d->b, (enum compare_axis)k));
        if (is_news) {
            buf_addf(out, "%s%s is not compared: %s", n++ ? "; " : "", compare_axes[k].noun,
                     c->refused);
        }
    }
    buf_addstr(out, n ? "." : "nothing can be compared.");
}
