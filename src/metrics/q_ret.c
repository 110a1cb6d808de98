/* q_ret, quantization fidelity: the share of the fp16 model's score that is left. */
#include "metrics/formulas.h"

#include "stats/choose.h"
#include "stats/power.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Takes both scores; false, with the row refused, when they cannot be compared. */
static bool take_scores(struct calc *c) {
    const struct quantity *score = &c->in->score;
    const struct quantity *fp16 = &c->in->score_fp16;
    if (!calc_take(c, fp16, "fp16 score", CALC_POSITIVE) ||
        !calc_take(c, score, "score", CALC_NOT_NEGATIVE)) {
        return false;
    }
    if (score->note && fp16->note && strcmp(score->note, fp16->note) != 0) {
        calc_refuse(c, "scored by another scorer than fp16 (%s, %s)", score->note, fp16->note);
        return false;
    }
    return true;
}

static bool is_fp16(const struct calc *c) {
    return strcmp(c->in->precision, "fp16") == 0;
}

/* paper: a ratio of two means, without an interval; 100 for fp16 itself. */
void q_ret_paper(struct calc *c) {
    if (!take_scores(c)) {
        return;
    }
    if (c->in->score.n != c->in->score_fp16.n) {
        c->row->flags |= QUANTITY_ITEMS_DIFFER;
    }
    /* By definition: 100 * S / S need not round to 100. */
    c->row->value = is_fp16(c) ? 100 : 100 * c->in->score.value / c->in->score_fp16.value;
}

/* --- full: paired items, an interval and a verdict -------------------------------------------------- */

#define CONFIDENCE 0.95
#define POWER 0.8

static double margin(const struct calc *c) {
    return c->in->costing ? c->in->costing->qret_margin : 1;
}

/* The ratio over the items that both answered; false, with the row refused, without it. */
static bool take_ratio(struct calc *c) {
    struct calc_shared *s = c->shared;
    if (!take_scores(c)) {
        return false;
    }
    if (!(c->in->score_max > c->in->score_min)) {
        calc_refuse(c, "the scorer's range is unknown");
        return false;
    }
    if (!s->has_q_ret) {
        const struct stats_opts opts = {
            .confidence = CONFIDENCE, .seed = c->in->seed, .use = "q_ret", .bound = 1};
        double *a = NULL;
        double *b = NULL;
        s->q_ret = stats_no_interval(NAN, 0, "no item was scored in both precisions");
        if (calc_pair_items(c, &c->in->items, &c->in->items_fp16, &a, &b, &s->n_paired) &&
            s->n_paired > 0 && stats_paired_ratio(a, b, s->n_paired, &opts, &s->q_ret, NULL)) {
            c->out_of_memory = true;
        }
        free(a);
        free(b);
        s->has_q_ret = true;
    }
    if (isnan(s->q_ret.estimate)) {
        calc_refuse(c, "%s", s->q_ret.reason ? s->q_ret.reason : "the ratio does not exist");
        return false;
    }
    if (s->n_paired < c->in->items.n || s->n_paired < c->in->items_fp16.n) {
        calc_say(c, "over the %zu items scored in both precisions", s->n_paired);
    }
    return true;
}

static void say_verdict(struct calc *c) {
    const struct stats_interval *q = &c->shared->q_ret;
    double m = margin(c);
    double limit = (100 - m) / 100;
    if (!q->method) {
        calc_say(c, "undetermined at a margin of %g: %s", m,
                 q->reason ? q->reason : "there is no interval");
    } else if (q->low >= limit) {
        calc_say(c, "within the margin of %g", m);
    } else if (q->high < limit) {
        calc_say(c, "lossy: more than %g lost", m);
    } else {
        const double needed = stats_needed_n(q,
                                             m / 100); /* no number where the interval has no end */
        calc_say(c, "undetermined at a margin of %g: these items would show a loss of %.2g", m,
                 100 * stats_detectable_loss(q, CONFIDENCE, POWER));
        if (isfinite(needed)) {
            calc_say(c, "about %.0f items would bring the interval to +-%g", needed, m);
        }
    }
}

void q_ret_full(struct calc *c) {
    if (is_fp16(c)) {
        if (take_scores(c)) {
            c->row->value = 100;
            calc_say(c, "the baseline itself");
        }
        return;
    }
    if (!take_ratio(c)) {
        return;
    }
    const struct stats_interval *q = &c->shared->q_ret;
    c->row->value = 100 * q->estimate;
    c->row->n = q->n;
    say_verdict(c);
    calc_take_interval(c, q, 100);
}

/* What the sample could show, and what it would take to know more. */
static void from_ratio(struct calc *c, double value) {
    if (isfinite(value)) {
        c->row->value = value;
    } else {
        calc_refuse(c, "%s",
                    c->shared->q_ret.reason ? c->shared->q_ret.reason
                                            : "the ratio has no interval");
    }
}

void q_ret_detectable(struct calc *c) {
    if (is_fp16(c)) {
        calc_refuse(c, "fp16 is the baseline itself");
    } else if (take_ratio(c)) {
        from_ratio(c, 100 * stats_detectable_loss(&c->shared->q_ret, CONFIDENCE, POWER));
    }
}

void q_ret_items(struct calc *c) {
    if (is_fp16(c)) {
        calc_refuse(c, "fp16 is the baseline itself");
    } else if (take_ratio(c)) {
        calc_say(c, "for an interval of +-%g", margin(c));
        from_ratio(c, stats_needed_n(&c->shared->q_ret, margin(c) / 100));
    }
}
