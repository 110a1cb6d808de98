/* c_tax, cold-start tax: what a load costs, in requests. */
#include "metrics/formulas.h"

#include <math.h>

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

/* --- full: measured to the first token, less what the same token costs warm ------------------------------ */

static void tax(struct calc *c, const struct quantity *load_j, const struct stats_joules *starts) {
    double request_j = 0;
    if (!calc_take(c, load_j, "energy of a load", CALC_NOT_NEGATIVE) ||
        !calc_joules_per_request(c, &request_j)) {
        return;
    }
    if (isfinite(c->in->concurrency)) {
        calc_say(c, "requests at concurrency %g", c->in->concurrency);
    }
    c->row->value = load_j->value / request_j;
    calc_joules_interval(c, starts, &c->in->spread.serve);
}

void c_tax_full(struct calc *c) {
    tax(c, &c->in->load_cold_j, &c->in->spread.load_cold);
}

void c_tax_warm(struct calc *c) {
    tax(c, &c->in->load_warm_j, &c->in->spread.load_warm);
}

void time_tax(struct calc *c) {
    const struct metrics_input *in = c->in;
    const struct quantity *load_s = in->load_cold_s.present ? &in->load_cold_s : &in->load_warm_s;
    if (!calc_take(c, load_s, "time of a load", CALC_NOT_NEGATIVE) ||
        !calc_take(c, &in->e2e_mean_s, "time of a request", CALC_POSITIVE)) {
        return;
    }
    if (!(in->concurrency == 1)) {
        calc_refuse(c, "served at concurrency %g; the time of one request needs concurrency 1",
                    in->concurrency);
        return;
    }
    c->row->value = load_s->value / in->e2e_mean_s.value;
}

/* --- How long an idle model is worth keeping ------------------------------------------------------------ */

/* Idle power is measured until its mean is known to 2 % (docs/energy.md, E5). */
static const double told_apart = 0.02;

static bool both_measured(const struct quantity *a, const struct quantity *b) {
    return !((a->flags | b->flags) & QUANTITY_GIVEN_IDLE);
}

void keep_warm_energy_s(struct calc *c) {
    const struct metrics_input *in = c->in;
    const struct quantity *load_j = in->load_cold_j.present ? &in->load_cold_j : &in->load_warm_j;
    const struct quantity *resident = &in->econ[ECON(idle_w)];
    if (!calc_take(c, load_j, "energy of a load", CALC_NOT_NEGATIVE) ||
        !calc_take(c, resident, "idle power with the model (idle_w)", CALC_NOT_NEGATIVE)) {
        return;
    }
    const struct quantity *unloaded = in->costing ? &in->costing->idle_unloaded_w : NULL;
    if (!unloaded || !unloaded->present) {
        unloaded = &in->idle_unloaded_w;
    }
    if (!unloaded->present) {
        calc_refuse(c, "no idle power after unloading the model: not measured; set "
                       "idle_unloaded_w");
        return;
    }
    if (!calc_take(c, unloaded, "idle power after unloading", CALC_NOT_NEGATIVE)) {
        return;
    }
    double saved_w = resident->value - unloaded->value;
    if (both_measured(resident, unloaded)) {
        if (saved_w == 0 && (resident->flags & QUANTITY_MODELLED)) {
            calc_refuse(c, "modelled power does not tell a machine with a model from one without");
            return;
        }
        if (fabs(saved_w) < told_apart * (resident->value + unloaded->value)) {
            calc_refuse(c,
                        "idle power with the model (%.1f W) and without (%.1f W) is closer than "
                        "the two can be told apart",
                        resident->value, unloaded->value);
            return;
        }
    }
    if (saved_w <= 0) {
        calc_infinite(c, "a machine with the model draws no more than one without: unloading "
                         "saves nothing");
        return;
    }
    c->row->value = load_j->value / saved_w;
}

void keep_warm_cost_s(struct calc *c) {
    struct econ x;
    if (!calc_econ(c, NEED_BILLING, &x)) {
        return;
    }
    if (x.owned > 0) {
        calc_refuse(c, "owned hardware is paid whether it waits or not");
        return;
    }
    if (!c->in->costing->scale_to_zero) {
        calc_refuse(c, "idle capacity is not given back (scale_to_zero is not yes)");
        return;
    }
    c->row->value = econ_billed_s(x.boot_s + x.start_s, x.bill_minimum_s, x.bill_step_s);
}

/* Whether a cold start fits: what the sample shows, and no more. */
static void say_slo(struct calc *c, const struct quantity *p99, double slo_s) {
    if (p99->value > slo_s) {
        calc_say(c, "does not fit the SLO of %g s", slo_s);
    } else if (p99->flags & QUANTITY_AT_LEAST) {
        calc_say(c, "undetermined whether it fits the SLO of %g s: %zu starts are too few", slo_s,
                 p99->n);
    } else {
        calc_say(c, "fits the SLO of %g s", slo_s);
    }
}

void cold_start_p99_s(struct calc *c) {
    const struct quantity *q = &c->in->cold_start_p99_s;
    if (!calc_pass(c, q, "cold starts")) {
        return;
    }
    double slo_s = c->in->costing ? c->in->costing->slo_cold_start_s : (double)NAN;
    if (!isnan(slo_s)) {
        say_slo(c, q, slo_s);
    }
}
