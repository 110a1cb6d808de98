#include "report/verdict.h"

#include "report/fmt.h"
#include "report/verdict_impl.h"

#include <math.h>
#include <string.h>

const char *verdict_part_title(enum verdict_part part) {
    static const char *const titles[] = {
        [VERDICT_WHICH] = "Which one",
        [VERDICT_PAYS] = "Does it pay",
        [VERDICT_SURE] = "How sure",
    };
    return titles[part];
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
    const struct metric_row *row = verdict_full(c, "q_ret");
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
    return verdict_is_scored(c) && !verdict_keeps_score(c) &&
           (!k->taken || verdict_is_cheaper(k, c, k->taken));
}

static bool shares_refusal(const struct compare_variant *c, const char *reason) {
    const char *own = verdict_full(c, "q_ret")->reason;
    return own && strcmp(own, reason) == 0;
}

/* "int8, int4 have no Q_ret: reason", for the first of those that share it. */
static void add_refusal(const struct choice *k, size_t first, struct buf *out) {
    const char *reason = verdict_full(&k->g->variants[first], "q_ret")->reason;
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
    const char *reason = verdict_full(&k->g->variants[i], "q_ret")->reason;
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
        bool is_refused = metric_refused(verdict_full(c, "q_ret"));
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
    const struct metric_row *row = verdict_full(c, "p_never");
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

bool verdict_is_untested(const struct metric_row *n_break) {
    return n_break->label && strstr(n_break->label, "not tested whether the answers");
}

static void add_equivalence(const struct metric_row *row, struct buf *out) {
    if (verdict_is_untested(row)) {
        buf_addstr(out, " It is not tested whether its answers are as good as the API's.");
    }
}

const struct compare_variant *verdict_asked(const struct choice *k) {
    return k->taken ? k->taken : k->cheapest;
}

enum payment verdict_payment(const struct choice *k) {
    const struct compare_variant *c = verdict_asked(k);
    if (!c || metric_refused(verdict_full(c, "n_break"))) {
        return PAYS_UNKNOWN;
    }
    const struct metric_row *n_break = verdict_full(c, "n_break");
    const struct metric_row *saving = verdict_full(c, "saving_usd_per_h");
    bool is_shown = !metric_refused(saving) && saving->low > 0 &&
                    !(saving->flags & QUANTITY_INSTRUMENT);
    return n_break->flags & QUANTITY_NOT_EQUIVALENT ? PAYS_INCOMPARABLE
           : isinf(n_break->value)                  ? PAYS_NEVER
           : is_shown                               ? PAYS
                                                    : PAYS_BY_ESTIMATE;
}

static void add_saving(const struct compare_variant *c, struct buf *out) {
    const struct metric_row *saving = verdict_full(c, "saving_usd_per_h");
    if (!metric_refused(saving)) {
        add_figure(saving, out);
        buf_addstr(out, " at the plan's traffic and ");
    }
    buf_addstr(out, "has repaid its preparation after ");
    add_figure(verdict_full(c, "n_break"), out);
    buf_addch(out, '.');
}

static void say_pays(const struct choice *k, struct buf *out) {
    const struct compare_variant *c = verdict_asked(k);
    if (!c) {
        buf_addstr(out, "nothing can be said without a variant to ask it of.");
        return;
    }
    const struct metric_row *n_break = verdict_full(c, "n_break");
    switch (verdict_payment(k)) {
    case PAYS_UNKNOWN:
    case PAYMENTS:
        buf_addf(out, "it cannot be said whether it pays: %s.", n_break->reason);
        return;
    case PAYS_INCOMPARABLE:
        buf_addf(out, "%s cannot be set against the API: %s.", c->name, n_break->label);
        return;
    case PAYS_NEVER:
        buf_addf(out, "%s never pays by estimate (%s", c->name, never_reason(n_break));
        add_source(n_break, out);
        buf_addstr(out, ").");
        break;
    case PAYS:
        buf_addf(out, "%s pays: it saves ", c->name);
        add_saving(c, out);
        break;
    case PAYS_BY_ESTIMATE:
        buf_addf(out, "%s pays by estimate, unproven: it saves ", c->name);
        add_saving(c, out);
        break;
    }
    add_never(c, out);
    add_equivalence(n_break, out);
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
        verdict_say_energy(s->runs[i], s->n_runs > 1, &b);
        w->out_of_memory = w->out_of_memory || b.failed;
        add_sentence(w, VERDICT_SURE, "", b.data);
    }
    buf_clear(&b);
    verdict_say_sample(s, &b);
    w->out_of_memory = w->out_of_memory || b.failed;
    add_sentence(w, VERDICT_SURE, "", b.data);
    buf_release(&b);
}

static void say_briefly(struct writer *w, const struct compare_set *s,
                        const struct choice *choices) {
    for (int part = 0; part < VERDICT_PARTS; part++) {
        struct buf b;
        buf_init(&b);
        verdict_brief(s, choices, (enum verdict_part)part, &b);
        w->out->brief[part] = b.failed ? NULL : arena_strdup(w->a, b.data);
        w->out_of_memory = w->out_of_memory || !w->out->brief[part];
        buf_release(&b);
    }
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
        int rc = verdict_choose(&s->groups[i], &choices[i], e);
        if (rc) {
            return rc;
        }
    }
    if (!w->out_of_memory) {
        say_of_tasks(w, VERDICT_WHICH, say_which, choices, s->n_groups);
        say_of_tasks(w, VERDICT_PAYS, say_pays, choices, s->n_groups);
        say_how_sure(w, s);
        say_briefly(w, s, choices);
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
