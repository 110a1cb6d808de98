/* Carbon of serving, location-based: electricity by itself, and the share in making the devices. */
#include "metrics/formulas.h"

void request_gco2e(struct calc *c) {
    struct econ x;
    if (calc_econ(c, NEED_CARBON, &x)) {
        c->row->value = econ_request_g(&x);
    }
}

void good_1000_gco2e(struct calc *c) {
    struct econ x;
    if (!calc_econ(c, NEED_CARBON | NEED_ACCEPTED, &x)) {
        return;
    }
    if (!(x.accepted_share > 0)) {
        calc_refuse(c, "no answer was good");
        return;
    }
    c->row->value = 1000 * econ_request_g(&x) / x.accepted_share;
}

void embodied_gco2e(struct calc *c) {
    struct econ x;
    if (calc_econ(c, NEED_EMBODIED, &x)) {
        c->row->value = econ_embodied_g(&x);
    }
}
