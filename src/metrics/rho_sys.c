/* rho_sys, system density: throughput for the memory it takes. */
#include "metrics/formulas.h"

#include <math.h>
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

/* --- full: what it takes, by use ---------------------------------------------------------------------- */

/* Joins no source to the label: three parts have three. */
static bool take_bytes(struct calc *c, const struct quantity *q, const char *what, double *sum) {
    const char *note = c->note;
    if (!calc_take(c, q, what, CALC_NOT_NEGATIVE)) {
        return false;
    }
    c->note = note;
    *sum += q->value;
    return true;
}

static void density(struct calc *c, double bytes) {
    const struct metrics_input *in = c->in;
    if (!calc_take(c, &in->output_tokens_per_s, "throughput", CALC_POSITIVE)) {
        return;
    }
    /* Parts that are more than the whole were not measured in one place. */
    if (in->memory_peak_bytes.present && bytes > in->memory_peak_bytes.value) {
        calc_refuse(c, "its parts are %.4g bytes, more than the %.4g in use at most", bytes,
                    in->memory_peak_bytes.value);
        return;
    }
    if (!(bytes > 0)) {
        calc_refuse(c, "it took no memory");
        return;
    }
    if (isfinite(in->concurrency)) {
        calc_say(c, "concurrency %g", in->concurrency);
    }
    c->row->value = in->output_tokens_per_s.value / (bytes / 1e9);
    calc_rate_interval(c);
}

void rho_sys_full(struct calc *c) {
    const struct metrics_input *in = c->in;
    double bytes = 0;
    if (take_bytes(c, &in->weights_bytes, "weights in memory", &bytes) &&
        take_bytes(c, &in->kv_bytes, "KV cache in memory", &bytes) &&
        take_bytes(c, &in->compute_bytes, "compute buffers in memory", &bytes)) {
        density(c, bytes);
    }
}

/* With the part of the KV cache that held tokens: what is set aside must not decide. */
void rho_sys_used_kv(struct calc *c) {
    const struct metrics_input *in = c->in;
    double bytes = 0;
    if (take_bytes(c, &in->weights_bytes, "weights in memory", &bytes) &&
        take_bytes(c, &in->used_kv_bytes, "used KV cache", &bytes) &&
        take_bytes(c, &in->compute_bytes, "compute buffers in memory", &bytes)) {
        density(c, bytes);
    }
}

void rho_sys_weights(struct calc *c) {
    double bytes = 0;
    if (take_bytes(c, &c->in->weights_bytes, "weights in memory", &bytes)) {
        density(c, bytes);
    }
}
