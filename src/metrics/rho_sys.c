/* rho_sys, system density: throughput for the memory it takes. */
#include "metrics/formulas.h"

#include <string.h>

static double bytes_per_weight(const char *precision) {
    const struct {
        const char *precision;
        double bytes;
    } table[] = {
        {"fp16", paper_constants.bytes_per_weight_fp16},
        {"int8", paper_constants.bytes_per_weight_int8},
        {"int4", paper_constants.bytes_per_weight_int4},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(precision, table[i].precision) == 0) {
            return table[i].bytes;
        }
    }
    return 0;
}

/* paper: a nominal size by precision, whatever the file or the memory really takes. */
void rho_sys_paper(struct calc *c) {
    if (!calc_take(c, &c->in->output_tokens_per_s, "throughput", CALC_POSITIVE) ||
        !calc_take(c, &c->in->n_weights, "number of weights", CALC_POSITIVE)) {
        return;
    }
    double bytes = bytes_per_weight(c->in->precision);
    if (!(bytes > 0)) {
        calc_refuse(c, "no nominal size of precision \"%.40s\"", c->in->precision);
        return;
    }
    double nominal_gb = c->in->n_weights.value * bytes / 1e9;
    c->row->value = c->in->output_tokens_per_s.value / nominal_gb;
}
