/* What the verdict rests on: items, requests, windows, and how the energy was read. */
#include "report/verdict_impl.h"

#include <math.h>

struct sample {
    double fewest_items, most_items;
    double fewest_requests, most_requests;
    double most_needed; /* items, where Q_ret is not known to be within its margin; 0: nowhere */
    size_t fewest_windows;
    size_t n; /* variants, and of them: */
    size_t n_short, n_modelled, n_energy, n_failed, n_not_run, n_synthetic, n_published;
};

static void widen(double *fewest, double *most, double x) {
    if (isfinite(x)) {
        *fewest = fmin(*fewest, x);
        *most = fmax(*most, x);
    }
}

static void count_variant(const struct compare_variant *c, struct sample *s) {
    const struct metric_row *joules = c->rows[COMPARE_ENERGY];
    const struct metric_row *requests = report_row_in(c->v, "requests_ok", "measured");
    s->n_not_run += summary_not_run(c->v);
    s->n_failed += summary_failure(c->v) != NULL;
    if (c->rows[COMPARE_QUALITY]->flags & QUANTITY_PUBLISHED) {
        s->n_published++;
    } else if (verdict_is_scored(c)) {
        const struct metric_row *needed = verdict_full(c, "q_ret_items");
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

static struct sample sample_of(const struct compare_set *s) {
    struct sample k = {.fewest_items = INFINITY,
                       .most_items = -INFINITY,
                       .fewest_requests = INFINITY,
                       .most_requests = -INFINITY};
    for (size_t i = 0; i < s->n_groups; i++) {
        for (size_t j = 0; j < s->groups[i].n; j++) {
            count_variant(&s->groups[i].variants[j], &k);
            k.n++;
        }
    }
    return k;
}

void verdict_say_scores(const struct compare_set *s, struct buf *out) {
    struct sample k = sample_of(s);
    if (k.most_items < 0) {
        buf_addstr(out, "no score was measured");
    } else {
        buf_addstr(out, "each score rests on ");
        add_span(k.fewest_items, k.most_items, "items", out);
    }
}

void verdict_say_sample(const struct compare_set *s, struct buf *out) {
    struct sample k = sample_of(s);
    const size_t n = k.n;
    if (k.most_items < 0 && k.most_requests < 0) {
        buf_addstr(out, "Nothing was scored and no request was counted");
        add_weakness(k.n_failed, n, "a failed stage", out);
        add_weakness(k.n_not_run, n, "nothing run", out);
        buf_addch(out, '.');
        return;
    }
    if (k.most_items < 0) {
        buf_addstr(out, "No score was measured; each energy rests on ");
    } else {
        buf_addstr(out, "Each score rests on ");
        add_span(k.fewest_items, k.most_items, "items", out);
        if (k.most_needed > 0) {
            buf_addf(out, " (what is undetermined would take up to about %.0f)", k.most_needed);
        }
        buf_addstr(out, ", each energy on ");
    }
    add_span(k.fewest_requests, k.most_requests, "requests", out);
    if (k.n_energy) {
        buf_addf(out, " in %zu metered window%s%s", k.fewest_windows,
                 k.fewest_windows == 1 ? "" : "s",
                 k.fewest_windows ? " or more" : " with a known error");
    }
    add_weakness(k.n_published, n, "the score of a published row", out);
    add_weakness(k.n_modelled, k.n_energy, "energy modelled, wholly or in part,", out);
    add_weakness(k.n_short, k.n_energy, "energy windows too short for their sensor", out);
    add_weakness(k.n_synthetic, n, "synthetic figures", out);
    add_weakness(k.n_failed, n, "a failed stage", out);
    add_weakness(k.n_not_run, n, "nothing run", out);
    buf_addch(out, '.');
}

void verdict_say_energy(const struct report_run *run, bool with_name, struct buf *out) {
    if (with_name) {
        buf_addf(out, "%s: ", run->run_id);
    }
    buf_addstr(out, with_name ? "energy: " : "Energy: ");
    summary_energy(run, out);
    buf_addch(out, '.');
}
