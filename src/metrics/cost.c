/* What a request, an accepted answer and a million tokens cost, here and at the API. */
#include "metrics/formulas.h"

#include <math.h>

/* With the hardware that waits, at the plan's traffic. */
static bool take_request_usd(struct calc *c, unsigned more, struct econ *x, double *usd) {
    if (!calc_econ(c, NEED_FIXED | NEED_MARGINAL | more, x)) {
        return false;
    }
    *usd = econ_request_usd(x, x->traffic_per_h);
    return true;
}

static double request_planned(const struct econ *x) {
    return econ_request_usd(x, x->traffic_per_h);
}

void request_usd(struct calc *c) {
    struct econ x;
    double usd = 0;
    if (take_request_usd(c, 0, &x, &usd)) {
        c->row->value = usd;
        calc_spread(c, &x, request_planned);
    }
}

static bool take_api_usd(struct calc *c, unsigned more, struct econ *x, double *usd) {
    if (!calc_econ(c, NEED_API | more, x)) {
        return false;
    }
    *usd = econ_api_usd(x);
    calc_say(c, "%s", c->in->costing->api);
    return true;
}

void api_request_usd(struct calc *c) {
    struct econ x;
    double usd = 0;
    if (take_api_usd(c, 0, &x, &usd)) {
        c->row->value = usd;
    }
}

static double accepted_planned(const struct econ *x) {
    return econ_accepted_usd(x, request_planned(x));
}

void accepted_usd(struct calc *c) {
    struct econ x;
    double usd = 0;
    if (take_request_usd(c, NEED_ACCEPTED | NEED_FALLBACK, &x, &usd)) {
        calc_say(c, "%.3g %% accepted", 100 * x.accepted_share);
        c->row->value = econ_accepted_usd(&x, usd);
        calc_spread(c, &x, accepted_planned);
    }
}

/* The share of items whose score is good enough; NAN without items. */
static double accepted_share(const struct metrics_input *in, const struct metrics_items *items) {
    size_t n = 0;
    double range = in->score_max - in->score_min;
    for (size_t i = 0; i < items->n; i++) {
        n += (items->scores[i] - in->score_min) / range >= in->costing->accept;
    }
    return items->n ? (double)n / (double)items->n : (double)NAN;
}

void api_accepted_usd(struct calc *c) {
    struct econ x;
    double usd = 0;
    if (!take_api_usd(c, NEED_FALLBACK | NEED_ACCEPTED, &x, &usd)) {
        return;
    }
    x.accepted_share = accepted_share(c->in, &c->in->items_api);
    if (isnan(x.accepted_share)) {
        calc_refuse(c, "the run has no scored answers of the API (api_model)");
        return;
    }
    calc_say(c, "%.3g %% accepted", 100 * x.accepted_share);
    c->row->value = econ_accepted_usd(&x, usd);
}

static void per_mtok(struct calc *c, double usd, double tokens) {
    if (!(tokens > 0)) {
        calc_refuse(c, "a request has no tokens");
        return;
    }
    c->row->value = usd / tokens * 1e6;
}

void busy_usd_per_mtok(struct calc *c) {
    struct econ x;
    if (calc_econ(c, NEED_BUSY | NEED_TOKENS, &x)) {
        per_mtok(c, econ_busy_request_usd(&x), x.input_tokens + x.output_tokens);
    }
}

void usd_per_mtok(struct calc *c) {
    struct econ x;
    double usd = 0;
    if (take_request_usd(c, NEED_TOKENS, &x, &usd)) {
        per_mtok(c, usd, x.input_tokens + x.output_tokens);
    }
}

void api_usd_per_mtok(struct calc *c) {
    struct econ x;
    double usd = 0;
    if (take_api_usd(c, 0, &x, &usd)) {
        per_mtok(c, usd,
                 x.api_uncached_tokens + x.api_cached_tokens + x.api_written_tokens +
                     x.api_output_tokens);
    }
}
