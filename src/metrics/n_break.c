/* n_break, economic break-even: how many requests repay what was spent before serving. */
#include "metrics/formulas.h"

#include "stats/choose.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* paper: electricity only, against the input price of an API. */
void n_break_paper(struct calc *c) {
    double request_j = 0;
    if (!calc_take(c, &c->in->prepare_j, "energy before serving", CALC_NOT_NEGATIVE) ||
        !calc_joules_per_request(c, &request_j)) {
        return;
    }
    const struct paper_constants *p = &paper_constants;
    double once_usd = c->in->prepare_j.value / ECON_J_PER_KWH * p->kwh_usd;
    double request_usd = request_j / ECON_J_PER_KWH * p->kwh_usd;
    double saving_usd = p->api_request_usd - request_usd;
    if (saving_usd <= 0) {
        calc_never(c, "the electricity of one request costs $%.6g, the API asks $%.6g", request_usd,
                   p->api_request_usd);
        return;
    }
    c->row->value = once_usd / saving_usd;
}

/* --- full: everything that is paid, at the plan's traffic ---------------------------------------- */

/* A rate for a sentence: four digits, or all before the point. */
enum { RATE_SIZE = 32 };
static const char *rate_text(double per_h, char text[RATE_SIZE]) {
    if (fabs(per_h) < 1e4 || fabs(per_h) >= 1e12) {
        snprintf(text, RATE_SIZE, "%.4g", per_h);
    } else {
        snprintf(text, RATE_SIZE, "%.0f", per_h);
    }
    return text;
}

/* Why it never pays at this rate: per request where that alone is a loss, else per hour. */
static void never_pays(struct calc *c, const struct econ *x) {
    double api = econ_api_usd(x);
    double marginal = econ_marginal_usd(x);
    double r = x->traffic_per_h;
    if (api <= marginal) {
        calc_never(c, "at any traffic: one more request costs $%.4g, the API asks $%.4g", marginal,
                   api);
        return;
    }
    double n = econ_replicas(x, r);
    struct econ_range range;
    double always_from = 0;
    size_t n_ranges = econ_paying(x, &range, 1, &always_from);
    if (n_ranges == 0) {
        calc_never(c,
                   "at any traffic: a full replica saves less than its $%.4g an hour; at %g "
                   "requests/h %g cost $%.4g an hour and save $%.4g",
                   econ_fixed_usd_per_h(x, 1) - econ_fixed_usd_per_h(x, 0), r, n,
                   econ_fixed_usd_per_h(x, n), r * (api - marginal));
        return;
    }
    char from[RATE_SIZE];
    calc_never(c,
               "at %g requests/h: %g replica%s cost $%.4g an hour and save $%.4g; it pays from "
               "%s/h",
               r, n, n == 1 ? "" : "s", econ_fixed_usd_per_h(x, n), r * (api - marginal),
               rate_text(r < range.low ? range.low : always_from, from));
}

/* Whether the answers are as good as the API's: without that the two are not the same purchase. */
static void say_equivalence(struct calc *c) {
    const struct costing *costing = c->in->costing;
    double m = costing->margin;
    double *own = NULL;
    double *api = NULL;
    size_t n = 0;
    struct stats_interval d = stats_no_interval(NAN, 0, NULL);
    if (isnan(m) || c->in->items_api.n == 0 || !(c->in->score_max > c->in->score_min)) {
        calc_say(c, "not tested whether the answers are as good as the API's (api_model, margin)");
        return;
    }
    const struct stats_opts opts = {.seed = c->in->seed, .use = "api", .bound = 1};
    if (calc_pair_items(c, &c->in->items, &c->in->items_api, &own, &api, &n) && n > 0 &&
        stats_paired_difference(own, api, n, &opts, &d, NULL)) {
        c->out_of_memory = true;
    }
    free(own);
    free(api);
    bool is_known = d.method != NULL;
    if (is_known && 100 * d.low >= -m) {
        calc_say(c, "answers as good as the API's within %g points", m);
        return;
    }
    c->row->flags |= QUANTITY_NOT_EQUIVALENT;
    if (is_known && 100 * d.high < -m) {
        calc_say(c, "answers worse than the API's by %.3g points (%.3g to %.3g)", -100 * d.estimate,
                 -100 * d.high, -100 * d.low);
    } else {
        calc_say(c, "not shown to be as good as the API's within %g points (%zu items)", m, n);
    }
}

/* saving / C_once [1/h]: N_break is r over it, and "never" is where it reaches 0. */
static double repaid_per_h(const struct econ *x) {
    return econ_saving_usd_per_h(x, x->traffic_per_h) / econ_once_usd(x);
}

static bool take_break_even(struct calc *c, econ_fn *figure, struct econ *x) {
    if (!calc_econ(c, NEED_SAVING | NEED_ONCE, x)) {
        return false;
    }
    say_equivalence(c);
    c->row->value = figure(x);
    if (isinf(c->row->value)) {
        never_pays(c, x);
    }
    return econ_once_usd(x) > 0;
}

void n_break_full(struct calc *c) {
    struct econ x;
    if (take_break_even(c, econ_n_break_planned, &x)) {
        calc_spread_inverse(c, &x, repaid_per_h, x.traffic_per_h);
    }
}

void break_even_days(struct calc *c) {
    struct econ x;
    if (take_break_even(c, econ_break_even_days, &x)) {
        calc_spread_inverse(c, &x, repaid_per_h, 1.0 / 24);
    }
}

static double saving_planned(const struct econ *x) {
    return econ_saving_usd_per_h(x, x->traffic_per_h);
}

void p_never(struct calc *c) {
    struct econ x;
    if (!calc_econ(c, NEED_SAVING, &x)) {
        return;
    }
    c->row->value = calc_share_not_positive(c, &x, saving_planned);
    if (isnan(c->row->value)) {
        calc_refuse(c, "nothing in it was measured with a known error");
    }
}

/* The figure at the plan's traffic; most of the formulas below are this. */
static void planned(struct calc *c, unsigned needs, econ_fn *figure) {
    struct econ x;
    if (calc_econ(c, needs, &x)) {
        c->row->value = figure(&x);
    }
}

void saving_usd_per_h(struct calc *c) {
    struct econ x;
    if (calc_econ(c, NEED_SAVING, &x)) {
        c->row->value = saving_planned(&x);
        calc_spread(c, &x, saving_planned);
    }
}

static double replicas_planned(const struct econ *x) {
    return econ_replicas(x, x->traffic_per_h);
}

void replicas(struct calc *c) {
    planned(c, NEED_REPLICAS, replicas_planned);
}

static double fixed_planned(const struct econ *x) {
    return econ_fixed_usd_per_h(x, replicas_planned(x));
}

void fixed_usd_per_h(struct calc *c) {
    planned(c, NEED_FIXED, fixed_planned);
}

void marginal_usd(struct calc *c) {
    planned(c, NEED_MARGINAL, econ_marginal_usd);
}

void once_usd(struct calc *c) {
    planned(c, NEED_ONCE, econ_once_usd);
}

void rate_one_lost_per_h(struct calc *c) {
    planned(c, NEED_REPLICAS, econ_rate_one_lost_per_h);
}

/* --- The rates that pay ------------------------------------------------------------------------------ */

static void say_ranges(struct calc *c, const struct econ_range *ranges, size_t n, size_t shown,
                       double always_from) {
    for (size_t i = 0; i < shown; i++) {
        char low[RATE_SIZE];
        char high[RATE_SIZE];
        if (isinf(ranges[i].high)) {
            calc_say(c, "pays from %s/h on", rate_text(ranges[i].low, low));
        } else {
            calc_say(c, "pays from %s to %s/h", rate_text(ranges[i].low, low),
                     rate_text(ranges[i].high, high));
        }
    }
    if (n > shown) {
        char from[RATE_SIZE];
        calc_say(c, "%zu more ranges, and from %s/h on always", n - shown,
                 rate_text(always_from, from));
    }
}

static bool paying(struct calc *c, struct econ_range *first, double *always_from) {
    enum { SHOWN = 3 };
    struct econ_range ranges[SHOWN];
    struct econ x;
    if (!calc_econ(c, NEED_SAVING, &x)) {
        return false;
    }
    size_t n = econ_paying(&x, ranges, SHOWN, always_from);
    if (n == 0) {
        never_pays(c, &x);
        return false;
    }
    say_ranges(c, ranges, n, n < SHOWN ? n : SHOWN, *always_from);
    *first = ranges[0];
    return true;
}

void pays_from_per_h(struct calc *c) {
    struct econ_range first;
    double always_from = 0;
    if (paying(c, &first, &always_from)) {
        c->row->value = first.low;
    }
}

void always_pays_from_per_h(struct calc *c) {
    struct econ_range first;
    double always_from = 0;
    if (paying(c, &first, &always_from)) {
        c->row->value = always_from;
    }
}

/* --- Over time ------------------------------------------------------------------------------------------ */

void n_break_falling(struct calc *c) {
    struct econ x;
    if (!calc_econ(c, NEED_SAVING | NEED_ONCE | NEED_FALL, &x)) {
        return;
    }
    calc_say(c, "API prices fall %g %% a year", 100 * x.api_fall_per_year);
    c->row->value = econ_n_break_falling(&x);
    if (isinf(c->row->value)) {
        calc_never(c, "the API gets cheaper than this before what was spent is repaid");
    }
}

enum { NEED_CASH = NEED_SAVING | NEED_ONCE };

static double cash_12(const struct econ *x) {
    return econ_cash_usd(x, 12, 0);
}

void cash_12_usd(struct calc *c) {
    planned(c, NEED_CASH, cash_12);
}

static double cash_36(const struct econ *x) {
    return econ_cash_usd(x, 36, 0);
}

void cash_36_usd(struct calc *c) {
    planned(c, NEED_CASH, cash_36);
}

static double npv_12(const struct econ *x) {
    return econ_npv_usd(x, 12, 0);
}

void npv_12_usd(struct calc *c) {
    planned(c, NEED_CASH | NEED_DISCOUNT, npv_12);
}

static double npv_36(const struct econ *x) {
    return econ_npv_usd(x, 36, 0);
}

void npv_36_usd(struct calc *c) {
    planned(c, NEED_CASH | NEED_DISCOUNT, npv_36);
}

static double npv_36_falling(const struct econ *x) {
    return econ_npv_usd(x, 36, x->api_fall_per_year);
}

void npv_36_falling_usd(struct calc *c) {
    planned(c, NEED_CASH | NEED_DISCOUNT | NEED_FALL, npv_36_falling);
}

void payback_month(struct calc *c) {
    enum { HORIZON = 120 };
    struct econ x;
    if (!calc_econ(c, NEED_CASH, &x)) {
        return;
    }
    int month = econ_payback_month(&x, HORIZON, 0);
    if (month == 0) {
        calc_never(c, "not within %d months", (int)HORIZON);
        return;
    }
    c->row->value = month;
}
