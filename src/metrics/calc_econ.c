/* From what is known of costs to the flat struct that econ.h computes with. */
#include "metrics/formulas.h"

#include "base/buf.h"

#include <math.h>
#include <string.h>

enum when { ALWAYS, OWNED, RENTED, IF_EXTRA, RENTED_IF_EXTRA };

/* Which fields a need means. A field is taken once, in this order. */
static const struct {
    unsigned needs;
    enum when when;
    size_t field;
    enum calc_range range;
} rows[] = {
    {NEED_HARDWARE | NEED_FIXED | NEED_MARGINAL | NEED_ONCE | NEED_BUSY | NEED_BILLING, ALWAYS,
     ECON(owned), CALC_NOT_NEGATIVE},
    {NEED_REPLICAS | NEED_FIXED | NEED_CARBON | NEED_EMBODIED, ALWAYS, ECON(traffic_per_h),
     CALC_POSITIVE},
    {NEED_REPLICAS | NEED_FIXED | NEED_CARBON | NEED_EMBODIED, ALWAYS, ECON(peak_ratio),
     CALC_POSITIVE},
    {NEED_REPLICAS | NEED_FIXED | NEED_CARBON | NEED_EMBODIED, ALWAYS, ECON(headroom),
     CALC_POSITIVE},
    {NEED_REPLICAS | NEED_FIXED | NEED_CARBON | NEED_EMBODIED, ALWAYS, ECON(replicas_min),
     CALC_POSITIVE},
    {NEED_REPLICAS | NEED_FIXED | NEED_CARBON | NEED_EMBODIED, ALWAYS, ECON(capacity_per_h),
     CALC_POSITIVE},
    {NEED_HARDWARE | NEED_FIXED | NEED_BUSY | NEED_EMBODIED, ALWAYS, ECON(devices), CALC_POSITIVE},
    {NEED_ONCE, IF_EXTRA, ECON(devices), CALC_POSITIVE},
    {NEED_HARDWARE | NEED_FIXED | NEED_BUSY | NEED_CARBON | NEED_EMBODIED, ALWAYS, ECON(share),
     CALC_POSITIVE},
    {NEED_ONCE, IF_EXTRA, ECON(share), CALC_POSITIVE},
    {NEED_HARDWARE | NEED_FIXED | NEED_BUSY | NEED_ONCE, OWNED, ECON(capex_usd), CALC_NOT_NEGATIVE},
    {NEED_HARDWARE | NEED_FIXED | NEED_BUSY | NEED_ONCE, OWNED, ECON(lifetime_h), CALC_POSITIVE},
    {NEED_EMBODIED, ALWAYS, ECON(lifetime_h), CALC_POSITIVE},
    {NEED_HARDWARE | NEED_FIXED | NEED_BUSY | NEED_ONCE, OWNED, ECON(maintenance_usd_per_h),
     CALC_NOT_NEGATIVE},
    {NEED_HARDWARE | NEED_FIXED | NEED_BUSY, RENTED, ECON(cloud_usd_per_h), CALC_NOT_NEGATIVE},
    {NEED_ONCE, RENTED_IF_EXTRA, ECON(cloud_usd_per_h), CALC_NOT_NEGATIVE},
    {NEED_FIXED | NEED_MARGINAL | NEED_ONCE | NEED_BUSY, OWNED, ECON(kwh_usd), CALC_NOT_NEGATIVE},
    {NEED_FIXED | NEED_MARGINAL | NEED_ONCE | NEED_BUSY, OWNED, ECON(pue), CALC_POSITIVE},
    {NEED_CARBON, ALWAYS, ECON(pue), CALC_POSITIVE},
    {NEED_FIXED, OWNED, ECON(idle_w), CALC_NOT_NEGATIVE},
    {NEED_CARBON, ALWAYS, ECON(idle_w), CALC_NOT_NEGATIVE},
    {NEED_FIXED, ALWAYS, ECON(ops_usd_per_h), CALC_NOT_NEGATIVE},
    {NEED_FIXED, ALWAYS, ECON(refresh_h), CALC_NOT_NEGATIVE},
    {NEED_FIXED, ALWAYS, ECON(recurring_usd), CALC_NOT_NEGATIVE},
    {NEED_MARGINAL, OWNED, ECON(request_above_idle_j), CALC_NOT_NEGATIVE},
    {NEED_CARBON, ALWAYS, ECON(request_above_idle_j), CALC_NOT_NEGATIVE},
    {NEED_MARGINAL | NEED_BUSY, ALWAYS, ECON(variable_usd), CALC_NOT_NEGATIVE},
    {NEED_BUSY, ALWAYS, ECON(throughput_per_h), CALC_POSITIVE},
    {NEED_BUSY, OWNED, ECON(request_j), CALC_NOT_NEGATIVE},
    {NEED_ONCE, ALWAYS, ECON(labour_usd), CALC_NOT_NEGATIVE},
    {NEED_ONCE, ALWAYS, ECON(once_is_extra), CALC_NOT_NEGATIVE},
    {NEED_ONCE, OWNED, ECON(once_j), CALC_NOT_NEGATIVE},
    {NEED_ONCE, IF_EXTRA, ECON(once_s), CALC_NOT_NEGATIVE},
    {NEED_BILLING, RENTED, ECON(bill_minimum_s), CALC_NOT_NEGATIVE},
    {NEED_BILLING, RENTED, ECON(bill_step_s), CALC_NOT_NEGATIVE},
    {NEED_BILLING, RENTED, ECON(boot_s), CALC_NOT_NEGATIVE},
    {NEED_BILLING, RENTED, ECON(start_s), CALC_NOT_NEGATIVE},
    {NEED_ONCE, RENTED_IF_EXTRA, ECON(bill_minimum_s), CALC_NOT_NEGATIVE},
    {NEED_ONCE, RENTED_IF_EXTRA, ECON(bill_step_s), CALC_NOT_NEGATIVE},
    {NEED_ONCE, RENTED_IF_EXTRA, ECON(boot_s), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_uncached_usd_per_mtok), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_cached_usd_per_mtok), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_written_usd_per_mtok), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_output_usd_per_mtok), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_batch_factor), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_uncached_tokens), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_cached_tokens), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_written_tokens), CALC_NOT_NEGATIVE},
    {NEED_API, ALWAYS, ECON(api_output_tokens), CALC_NOT_NEGATIVE},
    {NEED_FALL, ALWAYS, ECON(api_fall_per_year), CALC_NOT_NEGATIVE},
    {NEED_ACCEPTED, ALWAYS, ECON(accepted_share), CALC_NOT_NEGATIVE},
    {NEED_FALLBACK, ALWAYS, ECON(fallback_usd), CALC_NOT_NEGATIVE},
    {NEED_TOKENS, ALWAYS, ECON(input_tokens), CALC_NOT_NEGATIVE},
    {NEED_TOKENS, ALWAYS, ECON(output_tokens), CALC_NOT_NEGATIVE},
    {NEED_DISCOUNT, ALWAYS, ECON(discount_per_year), CALC_NOT_NEGATIVE},
    {NEED_CARBON, ALWAYS, ECON(carbon_g_per_kwh), CALC_NOT_NEGATIVE},
    {NEED_EMBODIED, ALWAYS, ECON(embodied_kg), CALC_NOT_NEGATIVE},
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static bool applies(const struct quantity *econ, enum when when) {
    const struct quantity *owned = &econ[ECON(owned)];
    bool is_owned = owned->present && owned->value > 0;
    bool is_rented = owned->present && !is_owned;
    bool is_extra = econ[ECON(once_is_extra)].present && econ[ECON(once_is_extra)].value > 0;
    switch (when) {
    case ALWAYS:
        return true;
    case OWNED:
        return is_owned;
    case RENTED:
        return is_rented;
    case IF_EXTRA:
        return is_extra;
    case RENTED_IF_EXTRA:
        return is_rented && is_extra;
    }
    return false;
}

/* What is missing, in three kinds: keys to set, figures without a value, and nothing at all. */
struct missing {
    bool keys[COST_KEYS];
    struct buf reasons;
};

static void add_missing(struct missing *m, size_t field, const struct quantity *q) {
    enum plan_cost_key key = costing_key(field);
    if (!q->reason && key != COST_KEYS) {
        m->keys[key] = true;
        return;
    }
    const char *reason = q->reason ? q->reason : "not measured";
    /* Several fields may be missing for one reason. */
    if (!strstr(m->reasons.data, reason)) {
        buf_addf(&m->reasons, "%s%s: %s", m->reasons.len ? "; " : "", econ_field(field)->about,
                 reason);
    }
}

static void refuse_missing(struct calc *c, const struct missing *m) {
    struct buf b;
    buf_init(&b);
    for (int key = 0; key < COST_KEYS; key++) {
        if (m->keys[key]) {
            buf_addf(&b, "%s%s",
                     b.len ? ", " : "not given: ", plan_cost_name((enum plan_cost_key)key));
        }
    }
    if (m->reasons.len) {
        buf_addf(&b, "%s%s", b.len ? "; " : "", m->reasons.data);
    }
    calc_refuse(c, "%s", b.data);
    buf_release(&b);
}

bool calc_econ(struct calc *c, unsigned needs, struct econ *x) {
    const struct quantity *econ = c->in->econ;
    struct missing m = {.keys = {false}};
    bool is_complete = true;
    const struct costing *costing = c->in->costing;
    if (!costing || !costing->is_given) {
        calc_refuse(c, "%s",
                    costing && costing->problem
                        ? costing->problem
                        : "the plan has no cost: section, and nothing was set");
        return false;
    }
    buf_init(&m.reasons);
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        econ_set(x, i, NAN);
    }
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct quantity *q = &econ[rows[i].field];
        if ((rows[i].needs & needs) && applies(econ, rows[i].when) && !q->present) {
            add_missing(&m, rows[i].field, q);
            is_complete = false;
        }
    }
    if (!is_complete) {
        refuse_missing(c, &m);
        buf_release(&m.reasons);
        return false;
    }
    buf_release(&m.reasons);
    for (size_t i = 0; i < N_ROWS; i++) {
        size_t field = rows[i].field;
        if (!(rows[i].needs & needs) || !applies(econ, rows[i].when)) {
            continue;
        }
        const struct econ_field *f = econ_field(field);
        if (!calc_take(c, &econ[field], f->about, rows[i].range)) {
            return false;
        }
        if (econ[field].value > f->high || econ[field].value < f->low) {
            calc_refuse(c, "%s is %g, which cannot be", f->about, econ[field].value);
            return false;
        }
        econ_set(x, field, econ[field].value);
    }
    return true;
}
