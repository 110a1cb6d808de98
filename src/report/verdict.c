#include "report/verdict.h"

#include "report/compare_impl.h"
#include "report/fmt.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

/* One task's part in the verdict. */
struct choice {
    const struct compare_group *g;
    enum compare_axis axis; /* what "cheapest" is judged by; COMPARE_AXES: no figure for it */
    const struct compare_variant *taken;    /* NULL: none is acceptable */
    const struct compare_variant *cheapest; /* of all that were scored; NULL: none has a figure */
    const struct compare_variant *rival;    /* the next acceptable one on the axis; NULL */
    struct compare_change lead;             /* of taken over rival */
    size_t n_scored, n_acceptable;
};

const char *verdict_part_title(enum verdict_part part) {
    static const char *const titles[] = {
        [VERDICT_WHICH] = "Which one",
        [VERDICT_PAYS] = "Does it pay",
        [VERDICT_SURE] = "How sure",
    };
    return titles[part];
}

static const struct metric_row *full(const struct compare_variant *c, const char *metric) {
    return report_row_in(c->v, metric, "full");
}

static const struct metric_row *measured(const struct compare_variant *c, const char *metric) {
    return report_row_in(c->v, metric, "measured");
}

/* --- Choosing --------------------------------------------------------------------------------------- */

static bool is_scored(const struct compare_variant *c) {
    return !isnan(compare_value(c, COMPARE_QUALITY));
}

static bool keeps_score(const struct compare_variant *c) {
    enum summary_fidelity known = summary_fidelity(c->v);
    return is_scored(c) && (known == SUMMARY_WITHIN || known == SUMMARY_BASELINE);
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
        if (o == c || !keeps_score(o) || same_kind(o, c)) {
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
            known += is_scored(c) && has_figure(c, axes[k]);
            missing += keeps_score(c) && !has_figure(c, axes[k]);
        }
        if (known && !missing) {
            return axes[k];
        }
    }
    return COMPARE_AXES;
}

static bool is_cheaper(const struct choice *k, const struct compare_variant *x,
                       const struct compare_variant *than) {
    return !than || compare_value(x, k->axis) < compare_value(than, k->axis);
}

static int choose(const struct compare_group *g, struct choice *k, struct err *e) {
    *k = (struct choice){.g = g, .axis = choose_axis(g)};
    for (size_t i = 0; i < g->n; i++) {
        const struct compare_variant *c = &g->variants[i];
        if (!is_scored(c)) {
            continue;
        }
        k->n_scored++;
        if (k->axis != COMPARE_AXES && has_figure(c, k->axis) && is_cheaper(k, c, k->cheapest)) {
            k->cheapest = c;
        }
        bool beaten = false;
        int rc = keeps_score(c) ? is_beaten(g, c, &beaten, e) : 0;
        if (rc) {
            return rc;
        }
        if (!keeps_score(c) || beaten) {
            continue;
        }
        k->n_acceptable++;
        if (k->axis == COMPARE_AXES) {
            continue;
        }
        if (is_cheaper(k, c, k->taken)) {
            k->rival = k->taken;
            k->taken = c;
        } else if (is_cheaper(k, c, k->rival)) {
            k->rival = c;
        }
    }
    return k->rival ? compare_differ_on(k->taken, k->rival, k->axis, &k->lead, e) : 0;
}

/* --- Figures with their labels ------------------------------------------------------------------------ */

static void add_value(double x, struct buf *out) {
    if (isinf(x)) {
        buf_addstr(out, x > 0 ? "without bound" : "-without bound");
    } else {
        fmt_num(out, x);
    }
}

/* "modelled", "measured; short window": what a reader must know, in few words; the tables have all. */
static void add_source(const struct metric_row *row, struct buf *out) {
    struct arena a = ARENA_INIT;
    const char *label = NULL;
    unsigned flags = row->flags & ~(unsigned)QUANTITY_OF_INTERVAL;
    if (!quantity_label(flags, NULL, NULL, &a, &label)) {
        out->failed = true;
    }
    buf_addf(out, "; %s%s", flags & (QUANTITY_MODELLED | QUANTITY_SYNTHETIC) ? "" : "measured",
             label && !(flags & (QUANTITY_MODELLED | QUANTITY_SYNTHETIC)) ? "; " : "");
    buf_addstr(out, label ? label : "");
    arena_release(&a);
}

static void add_interval(const struct metric_row *row, struct buf *out) {
    if (isnan(row->low)) {
        buf_addstr(out, "no interval");
        return;
    }
    add_value(row->low, out);
    buf_addstr(out, " to ");
    add_value(row->high, out);
    buf_addstr(out, row->flags & QUANTITY_INSTRUMENT ? ", instrument error alone" : "");
}

/* "~1.43 J/request (0.9 to 2.1, instrument error alone; modelled)" */
static void add_figure(const struct metric_row *row, struct buf *out) {
    buf_addstr(out, row->flags & QUANTITY_MODELLED ? "~" : "");
    fmt_num(out, row->value);
    buf_addf(out, " %s (", row->metric->unit);
    add_interval(row, out);
    add_source(row, out);
    buf_addch(out, ')');
}

/* "Q_ret 99.1 % (98.2 to 99.9; measured; f1 over 400 items; not known to be within the margin)". */
static void add_fidelity(const struct compare_variant *c, struct buf *out) {
    const struct metric_row *row = full(c, "q_ret");
    static const char *const words[] = {
        [SUMMARY_UNKNOWN] = "not known to be within the margin",
        [SUMMARY_LOSSY] = "lossy",
        [SUMMARY_WITHIN] = "within the margin",
        [SUMMARY_BASELINE] = "the baseline",
    };
    buf_addstr(out, "Q_ret ");
    fmt_num(out, row->value);
    buf_addstr(out, " % (");
    add_interval(row, out);
    add_source(row, out);
    buf_addf(out, "; %s over %zu items; %s)", c->scorer, row->n, words[summary_fidelity(c->v)]);
}

static void add_price(const struct choice *k, const struct compare_variant *c, struct buf *out) {
    add_figure(c->rows[k->axis], out);
}

/* --- Which ---------------------------------------------------------------------------------------------- */

static void add_lead(const struct choice *k, struct buf *out) {
    const struct compare_change *c = &k->lead;
    const char *noun = compare_axes[k->axis].noun;
    if (!k->rival) {
        return;
    }
    if (c->verdict == COMPARE_REFUSED) {
        buf_addf(out, " Its %s is not compared with that of %s: %s.", noun, k->rival->name,
                 c->refused);
    } else if (c->verdict == COMPARE_LESS) {
        buf_addf(out, " The data show its lead over %s, the next: %.0f %% less (%.0f to %.0f %%).",
                 k->rival->name, 100 * (1 - c->i.estimate), 100 * (1 - c->i.high),
                 100 * (1 - c->i.low));
    } else {
        buf_addf(out, " Its lead over %s, the next, is an estimate that the data do not prove%s.",
                 k->rival->name,
                 c->is_instrument_only ? ": fewer than 5 repeats show no spread" : "");
    }
}

static bool is_tempting(const struct choice *k, const struct compare_variant *c) {
    return is_scored(c) && !keeps_score(c) && (!k->taken || is_cheaper(k, c, k->taken));
}

static bool shares_refusal(const struct compare_variant *c, const char *reason) {
    const char *own = full(c, "q_ret")->reason;
    return own && strcmp(own, reason) == 0;
}

/* "int8, int4 have no Q_ret: reason", for the first of those that share it. */
static void add_refusal(const struct choice *k, size_t first, struct buf *out) {
    const char *reason = full(&k->g->variants[first], "q_ret")->reason;
    size_t n = 0;
    for (size_t i = first; i < k->g->n; i++) {
        const struct compare_variant *c = &k->g->variants[i];
        if (is_tempting(k, c) && shares_refusal(c, reason)) {
            buf_addf(out, "%s%s", n++ ? ", " : "", c->name);
        }
    }
    buf_addf(out, " %s no Q_ret (%s)", n > 1 ? "have" : "has", reason);
}

static bool is_refused_before(const struct choice *k, size_t i) {
    const char *reason = full(&k->g->variants[i], "q_ret")->reason;
    for (size_t j = 0; j < i; j++) {
        const struct compare_variant *c = &k->g->variants[j];
        if (is_tempting(k, c) && shares_refusal(c, reason)) {
            return true;
        }
    }
    return false;
}

/* What is known of each that is cheaper than the taken one and not acceptable. */
static void add_cheaper(const struct choice *k, struct buf *out) {
    size_t n = 0;
    for (size_t i = 0; i < k->g->n; i++) {
        const struct compare_variant *c = &k->g->variants[i];
        bool is_refused = metric_refused(full(c, "q_ret"));
        if (!is_tempting(k, c) || (is_refused && is_refused_before(k, i))) {
            continue;
        }
        buf_addstr(out, n++        ? "; "
                        : k->taken ? " Cheaper by estimate, but not known to be as good: "
                                   : " ");
        if (is_refused) {
            add_refusal(k, i, out);
        } else {
            buf_addf(out, "%s, ", c->name);
            add_fidelity(c, out);
        }
    }
    buf_addstr(out, n ? "." : "");
}

static void say_taken(const struct choice *k, struct buf *out) {
    bool is_baseline = summary_fidelity(k->taken->v) == SUMMARY_BASELINE;
    buf_addf(out, "take %s%s", k->taken->name,
             k->n_scored == 1                      ? ", the only one with a score"
             : is_baseline && k->n_acceptable == 1 ? ", as no other is known to keep its score"
             : k->n_acceptable == 1                ? ", the only one known to keep its score"
                                                   : "");
    if (k->n_acceptable > 1) {
        buf_addf(out, ", of the %zu that are known to keep their score the one with the lowest %s",
                 k->n_acceptable, compare_axes[k->axis].noun);
    }
    buf_addstr(out, ", at ");
    add_price(k, k->taken, out);
    if (!is_baseline) {
        buf_addstr(out, ", ");
        add_fidelity(k->taken, out);
    }
    buf_addch(out, '.');
    add_lead(k, out);
    add_cheaper(k, out);
}

/* The first reason why nothing was scored, or has no joules. */
static const char *first_reason(const struct compare_group *g, enum compare_axis axis) {
    for (size_t i = 0; i < g->n; i++) {
        const struct metric_row *row = g->variants[i].rows[axis];
        if (summary_not_run(g->variants[i].v)) {
            continue;
        }
        const struct report_stage *failure = summary_failure(g->variants[i].v);
        if (row && row->reason && !(failure && axis == COMPARE_QUALITY)) {
            return row->reason;
        }
        if (failure) {
            return failure->s.error;
        }
    }
    return "nothing was run";
}

static void say_which(const struct choice *k, struct buf *out) {
    if (k->n_scored == 0) {
        buf_addf(out, "no variant can be named, for none has a score: %s.",
                 first_reason(k->g, COMPARE_QUALITY));
    } else if (k->axis == COMPARE_AXES) {
        buf_addf(
            out,
            "no variant can be named, for neither a cost nor an energy is known of all that keep their score: %s.",
            first_reason(k->g, COMPARE_ENERGY));
    } else if (!k->taken) {
        buf_addf(out, "no variant can be named, for none is known to keep its score:");
        add_cheaper(k, out);
        if (k->cheapest) {
            buf_addf(out, " Cheapest by estimate is %s, at ", k->cheapest->name);
            add_price(k, k->cheapest, out);
            buf_addch(out, '.');
        }
    } else {
        say_taken(k, out);
    }
}

/* --- Whether it pays -------------------------------------------------------------------------------------- */

static void add_never(const struct compare_variant *c, struct buf *out) {
    const struct metric_row *row = full(c, "p_never");
    if (metric_refused(row)) {
        return;
    }
    buf_addstr(out, " P(never), by the error of what was measured: ");
    if (row->value > 0.99) {
        buf_addstr(out, "over 0.99.");
    } else if (row->value < 0.01) {
        buf_addstr(out, "under 0.01.");
    } else {
        buf_addf(out, "%.2f.", row->value);
    }
}

/* Without the word that metrics begin it with. */
static const char *never_reason(const struct metric_row *row) {
    static const char word[] = "never: ";
    const char *reason = row->reason ? row->reason : "no saving at this rate";
    return strncmp(reason, word, strlen(word)) == 0 ? reason + strlen(word) : reason;
}

static void add_equivalence(const struct metric_row *row, struct buf *out) {
    if (row->label && strstr(row->label, "not tested whether the answers")) {
        buf_addstr(out, " It is not tested whether its answers are as good as the API's.");
    }
}

static void say_pays(const struct choice *k, struct buf *out) {
    const struct compare_variant *c = k->taken ? k->taken : k->cheapest;
    if (!c) {
        buf_addstr(out, "nothing can be said without a variant to ask it of.");
        return;
    }
    const struct metric_row *n_break = full(c, "n_break");
    const struct metric_row *saving = full(c, "saving_usd_per_h");
    if (metric_refused(n_break)) {
        buf_addf(out, "it cannot be said whether it pays: %s.", n_break->reason);
        return;
    }
    buf_addf(out, "%s ", c->name);
    if (n_break->flags & QUANTITY_NOT_EQUIVALENT) {
        buf_addf(out, "cannot be set against the API: %s.", n_break->label);
        return;
    }
    if (isinf(n_break->value)) {
        buf_addf(out, "never pays by estimate (%s", never_reason(n_break));
        add_source(n_break, out);
        buf_addstr(out, ").");
    } else {
        bool is_shown = !metric_refused(saving) && saving->low > 0 &&
                        !(saving->flags & QUANTITY_INSTRUMENT);
        buf_addstr(out, is_shown ? "pays: it saves " : "pays by estimate, unproven: it saves ");
        if (!metric_refused(saving)) {
            add_figure(saving, out);
            buf_addstr(out, " at the plan's traffic and ");
        }
        buf_addstr(out, "has repaid its preparation after ");
        add_figure(n_break, out);
        buf_addch(out, '.');
    }
    add_never(c, out);
    add_equivalence(n_break, out);
}

/* --- How sure ---------------------------------------------------------------------------------------------- */

struct sample {
    double fewest_items, most_items;
    double fewest_requests, most_requests;
    double most_needed; /* items, where Q_ret is not known to be within its margin; 0: nowhere */
    size_t fewest_windows;
    size_t n_short, n_modelled, n_energy, n_failed, n_not_run, n_synthetic;
};

static void widen(double *fewest, double *most, double x) {
    if (isfinite(x)) {
        *fewest = fmin(*fewest, x);
        *most = fmax(*most, x);
    }
}

static void count_variant(const struct compare_variant *c, struct sample *s) {
    const struct metric_row *joules = c->rows[COMPARE_ENERGY];
    const struct metric_row *requests = measured(c, "requests_ok");
    s->n_not_run += summary_not_run(c->v);
    s->n_failed += summary_failure(c->v) != NULL;
    if (is_scored(c)) {
        const struct metric_row *needed = full(c, "q_ret_items");
        widen(&s->fewest_items, &s->most_items, (double)c->v->input.items.n);
        if (!metric_refused(needed) && summary_fidelity(c->v) == SUMMARY_UNKNOWN) {
            s->most_needed = fmax(s->most_needed, needed->value);
        }
    }
    widen(&s->fewest_requests, &s->most_requests, requests->value);
    if (isnan(joules->value)) {
        return;
    }
    size_t windows = c->v->input.spread.serve.n_windows;
    s->fewest_windows = s->n_energy ? (windows < s->fewest_windows ? windows : s->fewest_windows)
                                    : windows;
    s->n_energy++;
    s->n_short += (joules->flags & QUANTITY_SHORT) != 0;
    s->n_modelled += (joules->flags & QUANTITY_MODELLED) != 0;
    s->n_synthetic += (joules->flags & QUANTITY_SYNTHETIC) != 0;
}

static void add_span(double fewest, double most, const char *what, struct buf *out) {
    if (fewest > most) {
        buf_addf(out, "no %s", what);
    } else if (fewest < most) {
        buf_addf(out, "%.0f to %.0f %s", fewest, most, what);
    } else {
        buf_addf(out, "%.0f %s", most, what);
    }
}

static void add_weakness(size_t n, size_t of, const char *what, struct buf *out) {
    if (n) {
        buf_addf(out, "; %s%s", what, n == of ? " for every variant" : "");
        if (n < of) {
            buf_addf(out, " for %zu of %zu variants", n, of);
        }
    }
}

static void say_sample(const struct compare_set *s, struct buf *out) {
    struct sample k = {.fewest_items = INFINITY,
                       .most_items = -INFINITY,
                       .fewest_requests = INFINITY,
                       .most_requests = -INFINITY};
    size_t n = 0;
    for (size_t i = 0; i < s->n_groups; i++) {
        for (size_t j = 0; j < s->groups[i].n; j++) {
            count_variant(&s->groups[i].variants[j], &k);
            n++;
        }
    }
    buf_addstr(out, "Each score rests on ");
    add_span(k.fewest_items, k.most_items, "items", out);
    if (k.most_needed > 0) {
        buf_addf(out, " (what is undetermined would take up to about %.0f)", k.most_needed);
    }
    buf_addstr(out, ", each energy on ");
    add_span(k.fewest_requests, k.most_requests, "requests", out);
    if (k.n_energy) {
        buf_addf(out, " in %zu metered window%s%s", k.fewest_windows,
                 k.fewest_windows == 1 ? "" : "s",
                 k.fewest_windows ? " or more" : " with a known error");
    }
    add_weakness(k.n_modelled, k.n_energy, "modelled energy, read from no sensor,", out);
    add_weakness(k.n_short, k.n_energy, "energy windows too short for their sensor", out);
    add_weakness(k.n_synthetic, n, "synthetic figures", out);
    add_weakness(k.n_failed, n, "a failed stage", out);
    add_weakness(k.n_not_run, n, "nothing run", out);
    buf_addch(out, '.');
}

static void say_energy(const struct report_run *run, bool with_name, struct buf *out) {
    if (with_name) {
        buf_addf(out, "%s: ", run->run_id);
    }
    buf_addstr(out, with_name ? "energy: " : "Energy: ");
    summary_energy(run, out);
    buf_addch(out, '.');
}

/* --- Writing ------------------------------------------------------------------------------------------------- */

struct writer {
    struct arena *a;
    struct verdict_text *out;
    bool out_of_memory;
};

static void add_sentence(struct writer *w, enum verdict_part part, const char *start,
                         const char *text) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s%s", start, text);
    const char *s = b.failed ? NULL : arena_strdup(w->a, b.data);
    buf_release(&b);
    w->out_of_memory = w->out_of_memory || !s;
    if (s) {
        w->out->items[part][w->out->n[part]++] = s;
    }
}

typedef void say_fn(const struct choice *k, struct buf *out);

/* A sentence that holds of all tasks is said once. */
static void say_of_tasks(struct writer *w, enum verdict_part part, say_fn *say,
                         const struct choice *choices, size_t n) {
    struct buf first, text;
    buf_init(&first);
    buf_init(&text);
    bool all_same = n > 1;
    for (size_t i = 0; i < n; i++) {
        buf_clear(&text);
        say(&choices[i], i ? &text : &first);
        all_same = all_same && (i == 0 || strcmp(first.data, text.data) == 0);
    }
    for (size_t i = 0; i < (all_same ? 1 : n); i++) {
        struct buf start;
        buf_init(&start);
        if (n > 1) {
            buf_addf(&start, "%s: ", all_same ? "All tasks" : choices[i].g->task);
        }
        buf_clear(&text);
        say(&choices[i], &text);
        w->out_of_memory = w->out_of_memory || text.failed || start.failed;
        add_sentence(w, part, start.data, text.data);
        buf_release(&start);
    }
    buf_release(&text);
    buf_release(&first);
}

static void say_how_sure(struct writer *w, const struct compare_set *s) {
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < s->n_runs; i++) {
        buf_clear(&b);
        say_energy(s->runs[i], s->n_runs > 1, &b);
        w->out_of_memory = w->out_of_memory || b.failed;
        add_sentence(w, VERDICT_SURE, "", b.data);
    }
    buf_clear(&b);
    say_sample(s, &b);
    w->out_of_memory = w->out_of_memory || b.failed;
    add_sentence(w, VERDICT_SURE, "", b.data);
    buf_release(&b);
}

static int write_set(const struct compare_set *s, struct writer *w, struct err *e) {
    struct choice *choices = arena_array(w->a, s->n_groups + 1, sizeof(*choices));
    w->out_of_memory = !choices;
    for (int p = 0; p < VERDICT_PARTS; p++) {
        w->out->items[p] = arena_array(w->a, s->n_groups + s->n_runs + 1,
                                       sizeof(*w->out->items[p]));
        w->out_of_memory = w->out_of_memory || !w->out->items[p];
    }
    for (size_t i = 0; !w->out_of_memory && i < s->n_groups; i++) {
        int rc = choose(&s->groups[i], &choices[i], e);
        if (rc) {
            return rc;
        }
    }
    if (!w->out_of_memory) {
        say_of_tasks(w, VERDICT_WHICH, say_which, choices, s->n_groups);
        say_of_tasks(w, VERDICT_PAYS, say_pays, choices, s->n_groups);
        say_how_sure(w, s);
    }
    return w->out_of_memory ? err_set(e, EE_NOMEM, "report: out of memory") : 0;
}

int verdict_write(const struct report_run *const *runs, size_t n, struct arena *a,
                  struct verdict_text *out, struct err *e) {
    struct compare_set *s = NULL;
    *out = (struct verdict_text){0};
    int rc = compare_set_of(runs, n, &s, e);
    if (!rc && s->n_groups) {
        struct writer w = {.a = a, .out = out};
        rc = write_set(s, &w, e);
    }
    compare_set_free(s);
    return rc;
}
