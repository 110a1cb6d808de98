/* ipw, intelligence per watt: what a unit of energy buys in task quality. */
#include "metrics/formulas.h"

#include <math.h>

/* E_serve / n, itself a figure of the report. */
bool calc_joules_per_request(struct calc *c, double *joules) {
    if (!calc_take(c, &c->in->requests_ok, "served requests", CALC_POSITIVE) ||
        !calc_take(c, &c->in->serve_j, "serving energy", CALC_POSITIVE)) {
        return false;
    }
    *joules = c->in->serve_j.value / c->in->requests_ok.value;
    return true;
}

void joules_per_request(struct calc *c) {
    if (!calc_joules_per_request(c, &c->row->value)) {
        return;
    }
    const struct quantity *energy = &c->in->serve_j;
    c->row->low = energy->low / c->in->requests_ok.value;
    c->row->high = energy->high / c->in->requests_ok.value;
    c->row->n = energy->n;
    c->row->flags |= energy->flags;
}

/* paper: score per joule of a request, published under the name "per watt". */
void ipw_paper(struct calc *c) {
    double request_j = 0;
    if (!calc_take(c, &c->in->score, "score", CALC_NOT_NEGATIVE) ||
        !calc_joules_per_request(c, &request_j)) {
        return;
    }
    if (!(c->in->score_max > 0)) {
        calc_refuse(c, "the scorer's range is unknown");
        return;
    }
    c->row->value = c->in->score.value / c->in->score_max / request_j;
}

/* --- full ------------------------------------------------------------------------------------------- */

bool calc_score(struct calc *c, double *score) {
    const struct metrics_input *in = c->in;
    if (!calc_take(c, &in->score, "score", CALC_NOT_NEGATIVE)) {
        return false;
    }
    if (!(in->score_max > in->score_min)) {
        calc_refuse(c, "the scorer's range is unknown");
        return false;
    }
    *score = (in->score.value - in->score_min) / (in->score_max - in->score_min);
    return true;
}

static void say_concurrency(struct calc *c) {
    if (isfinite(c->in->concurrency)) {
        calc_say(c, "concurrency %g", c->in->concurrency);
    }
}

void ipj(struct calc *c) {
    double score = 0;
    double request_j = 0;
    if (calc_score(c, &score) && calc_joules_per_request(c, &request_j)) {
        say_concurrency(c);
        c->row->value = score / request_j;
        calc_score_per_joule_interval(c);
    }
}

void ipj_above_idle(struct calc *c) {
    double score = 0;
    const struct metrics_input *in = c->in;
    if (calc_score(c, &score) && calc_take(c, &in->requests_ok, "served requests", CALC_POSITIVE) &&
        calc_take(c, &in->serve_above_idle_j, "serving energy above idle", CALC_POSITIVE)) {
        say_concurrency(c);
        calc_say(c, "above the idle of the bare machine");
        c->row->value = score / (in->serve_above_idle_j.value / in->requests_ok.value);
    }
}

/* Score over watts means one request only where one is served at a time. */
void ipw_full(struct calc *c) {
    double score = 0;
    if (!calc_score(c, &score) || !calc_take(c, &c->in->serve_w, "serving power", CALC_POSITIVE)) {
        return;
    }
    if (!(c->in->concurrency == 1)) {
        calc_refuse(c, "served at concurrency %g; the power of one request needs concurrency 1",
                    c->in->concurrency);
        return;
    }
    c->row->value = score / c->in->serve_w.value;
}
