/* n_break, economic break-even: how many requests repay what was spent before serving. */
#include "metrics/formulas.h"

#define J_PER_KWH 3.6e6

/* paper: electricity only, against the input price of an API. */
void n_break_paper(struct calc *c) {
    double request_j = 0;
    if (!calc_take(c, &c->in->prepare_j, "energy before serving", CALC_NOT_NEGATIVE) ||
        !calc_joules_per_request(c, &request_j)) {
        return;
    }
    const struct paper_constants *p = &paper_constants;
    double once_usd = c->in->prepare_j.value / J_PER_KWH * p->kwh_usd;
    double request_usd = request_j / J_PER_KWH * p->kwh_usd;
    double saving_usd = p->api_request_usd - request_usd;
    if (saving_usd <= 0) {
        calc_never(c, "the electricity of one request costs $%.6g, the API asks $%.6g", request_usd,
                   p->api_request_usd);
        return;
    }
    c->row->value = once_usd / saving_usd;
}
