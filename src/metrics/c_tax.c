/* c_tax, cold-start tax: what a load costs, in requests. */
#include "metrics/formulas.h"

/* paper: the load is priced at serving power, so on one machine this is load time over time per
 * request. */
void c_tax_paper(struct calc *c) {
    double request_j = 0;
    if (!calc_take(c, &c->in->load_s, "load time", CALC_POSITIVE) ||
        !calc_take(c, &c->in->serve_w, "serving power", CALC_POSITIVE) ||
        !calc_joules_per_request(c, &request_j)) {
        return;
    }
    c->row->value = c->in->load_s.value * c->in->serve_w.value / request_j;
}
