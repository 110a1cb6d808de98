/* ipw, intelligence per watt: what a unit of energy buys in task quality. */
#include "metrics/formulas.h"

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
