/*
 * From what a plan says about costs, and a price book, to the fields of struct econ: which entry,
 * which value, how old, what was assumed. Pure; everything lies in the arena.
 *
 * A field that the plan does not give is missing without a reason of its own: costing_key tells what
 * to set. One that names a price the book does not have, or has in another currency or with a
 * figure that cannot be, is missing with that reason, and so only what needs it is refused.
 */
#ifndef METRICS_COSTING_H
#define METRICS_COSTING_H

#include "lifecycle/plan_cost.h"
#include "metrics/econ.h"
#include "metrics/prices.h"
#include "metrics/quantity.h"

#include "base/arena.h"
#include "base/err.h"

/* An entry of the price book that figures are made of. */
struct price_use {
    const struct price_entry *entry;
    bool is_stale;
};

enum { COSTING_MAX_USES = 5, COSTING_MAX_NOTES = 16 };

struct costing {
    bool is_given;       /* false: the plan says nothing about costs */
    const char *problem; /* why what it says cannot be read; NULL */
    /* What the plan and the prices tell; what is measured is missing here. */
    struct quantity econ[ECON_FIELDS];
    struct quantity idle_unloaded_w;

    struct price_use uses[COSTING_MAX_USES];
    size_t n_uses;
    const char *assumed[COSTING_MAX_NOTES]; /* "headroom 0.8" */
    size_t n_assumed;
    const char *excluded[COSTING_MAX_NOTES]; /* "ops": set to 0 on purpose */
    size_t n_excluded;

    /* NAN where the plan does not say. */
    double slo_ttft_s, slo_tpot_s, slo_e2e_s, slo_cold_start_s;
    double accept;                  /* score from 0 to 1 */
    double margin;                  /* points of 100 that it may be worse than the API */
    double qret_margin;             /* points of Q_ret */
    double api_cached, api_written; /* shares of input tokens */
    bool scale_to_zero;
    const char *api;       /* name of the price book; NULL */
    const char *api_model; /* of the plan; NULL */
};

/* as_of: YYYY-MM-DD..., the day that prices must be fresh on; NULL: their age does not matter. */
int costing_resolve(const struct plan_cost *cost, const struct price_book *book, const char *as_of,
                    struct arena *a, struct costing *out, struct err *e) EE_MUST_CHECK;
/* The plan's key that sets a field; COST_KEYS where none does: the field is measured. */
enum plan_cost_key costing_key(size_t field);

#endif
