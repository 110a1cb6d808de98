#include "metrics/costing.h"

#include "base/buf.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#define CURRENCY "USD"
#define SECONDS_PER_HOUR 3600.0

/* Plain fields: a number of the plan, in another unit perhaps. */
static const struct {
    size_t field;
    enum plan_cost_key key;
    double divide_by;
    double fallback; /* what is assumed, and said to be; NAN: nothing can be */
    bool is_told;    /* an explicit 0 is told as "excluded" */
} plain[] = {
    {ECON(devices), COST_DEVICES, 1, 1, false},
    {ECON(share), COST_SHARE, 1, 1, false},
    {ECON(lifetime_h), COST_LIFETIME, SECONDS_PER_HOUR, (double)NAN, false},
    {ECON(maintenance_usd_per_h), COST_MAINTENANCE, 1, (double)NAN, true},
    {ECON(bill_minimum_s), COST_BILL_MINIMUM, 1, (double)NAN, false},
    {ECON(bill_step_s), COST_BILL_STEP, 1, (double)NAN, false},
    {ECON(boot_s), COST_BOOT, 1, (double)NAN, true},
    {ECON(pue), COST_PUE, 1, (double)NAN, false},
    {ECON(ops_usd_per_h), COST_OPS, 1, (double)NAN, true},
    {ECON(labour_usd), COST_LABOUR, 1, (double)NAN, true},
    {ECON(refresh_h), COST_REFRESH, SECONDS_PER_HOUR, (double)NAN, true},
    {ECON(recurring_usd), COST_RECURRING, 1, (double)NAN, false},
    {ECON(variable_usd), COST_VARIABLE, 1, 0, false},
    {ECON(traffic_per_h), COST_TRAFFIC, 1, (double)NAN, false},
    {ECON(headroom), COST_HEADROOM, 1, 0.8, false},
    {ECON(replicas_min), COST_REPLICAS, 1, 1, false},
    {ECON(api_fall_per_year), COST_API_FALL, 1, 0.5, false},
    {ECON(fallback_usd), COST_FALLBACK, 1, (double)NAN, false},
    {ECON(discount_per_year), COST_DISCOUNT, 1, (double)NAN, false},
    {ECON(embodied_kg), COST_EMBODIED, 1, (double)NAN, false},
    {ECON(idle_w), COST_IDLE_W, 1, (double)NAN, false},
};
enum { N_PLAIN = sizeof(plain) / sizeof(plain[0]) };

/* Fields that more than one key goes into. */
static const struct {
    size_t field;
    enum plan_cost_key key;
} others[] = {
    {ECON(owned), COST_DEPLOYMENT},
    {ECON(capex_usd), COST_HARDWARE},
    {ECON(cloud_usd_per_h), COST_CLOUD},
    {ECON(kwh_usd), COST_ELECTRICITY},
    {ECON(peak_ratio), COST_TRAFFIC},
    {ECON(once_is_extra), COST_PREPARE},
    {ECON(request_above_idle_j), COST_IDLE_W},
    {ECON(accepted_share), COST_ACCEPT},
    {ECON(api_uncached_usd_per_mtok), COST_API},
    {ECON(api_cached_usd_per_mtok), COST_API},
    {ECON(api_written_usd_per_mtok), COST_API},
    {ECON(api_output_usd_per_mtok), COST_API},
    {ECON(api_batch_factor), COST_API},
    {ECON(carbon_g_per_kwh), COST_CARBON},
};

enum plan_cost_key costing_key(size_t field) {
    for (size_t i = 0; i < N_PLAIN; i++) {
        if (plain[i].field == field) {
            return plain[i].key;
        }
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i].field == field) {
            return others[i].key;
        }
    }
    return COST_KEYS;
}

struct resolver {
    const struct plan_cost *cost;
    const struct price_book *book;
    const char *as_of;
    struct arena *arena;
    struct costing *out;
    bool out_of_memory;
};

static const char *text_of(struct resolver *r, const char *fmt, ...) EE_PRINTF(2, 3);

static const char *text_of(struct resolver *r, const char *fmt, ...) {
    struct err text = ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    err_setv(&text, EE_MISSING, fmt, ap);
    va_end(ap);
    const char *kept = arena_strdup(r->arena, text.msg);
    r->out_of_memory = r->out_of_memory || !kept;
    return kept ? kept : "out of memory";
}

static void add_note(const char **list, size_t *n, const char *text) {
    if (*n < COSTING_MAX_NOTES) {
        list[(*n)++] = text;
    }
}

static const struct plan_cost_value *given(const struct resolver *r, enum plan_cost_key key) {
    return r->cost->v[key].given ? &r->cost->v[key] : NULL;
}

static struct quantity *econ(struct resolver *r, size_t field) {
    return &r->out->econ[field];
}

static void assume(struct resolver *r, size_t field, double value, const char *text) {
    *econ(r, field) = quantity_of(value, 0);
    add_note(r->out->assumed, &r->out->n_assumed, text);
}

static void resolve_plain(struct resolver *r) {
    for (size_t i = 0; i < N_PLAIN; i++) {
        const struct plan_cost_value *v = given(r, plain[i].key);
        const char *name = plan_cost_name(plain[i].key);
        if (v) {
            *econ(r, plain[i].field) = quantity_of(v->number / plain[i].divide_by, 0);
            if (plain[i].is_told && v->number == 0) {
                add_note(r->out->excluded, &r->out->n_excluded, name);
            }
        } else if (!isnan(plain[i].fallback)) {
            assume(r, plain[i].field, plain[i].fallback,
                   text_of(r, "%s %g", name, plain[i].fallback));
        }
    }
    if (econ(r, ECON(idle_w))->present) {
        econ(r, ECON(idle_w))->flags = QUANTITY_GIVEN_IDLE;
    }
    const struct plan_cost_value *refresh = given(r, COST_REFRESH);
    if (refresh && refresh->number == 0) {
        *econ(r, ECON(recurring_usd)) = quantity_of(0, 0);
    }
}

static void resolve_choices(struct resolver *r) {
    const struct plan_cost_value *deployment = given(r, COST_DEPLOYMENT);
    const struct plan_cost_value *prepare = given(r, COST_PREPARE);
    const struct plan_cost_value *traffic = given(r, COST_TRAFFIC);
    const struct plan_cost_value *peak = given(r, COST_PEAK);
    if (deployment) {
        *econ(r, ECON(owned)) = quantity_of(deployment->number == DEPLOYMENT_OWNED, 0);
    }
    if (prepare) {
        *econ(r, ECON(once_is_extra)) = quantity_of(prepare->number == PREPARE_EXTRA, 0);
    } else {
        assume(r, ECON(once_is_extra), 1, "prepare extra");
    }
    if (traffic && !peak) {
        assume(r, ECON(peak_ratio), 1, "peak as traffic");
    } else if (traffic && peak->number < traffic->number) {
        *econ(r, ECON(peak_ratio)) = quantity_missing(text_of(
            r, "peak is %g/h, less than the traffic of %g/h", peak->number, traffic->number));
    } else if (traffic) {
        *econ(r, ECON(peak_ratio)) = quantity_of(peak->number / traffic->number, 0);
    }
}

/* The entry that the key names, ready for use; NULL with *missing set when it cannot be used. */
static const struct price_entry *find_price(struct resolver *r, enum plan_cost_key key,
                                            enum price_kind kind, struct quantity *missing) {
    const char *name = r->cost->v[key].name;
    const struct price_entry *entry = prices_find(r->book, kind, name);
    if (!entry) {
        struct buf names;
        buf_init(&names);
        prices_list_names(r->book, kind, &names);
        *missing = quantity_missing(text_of(r, "the price book has no %s \"%.60s\"; it has: %s",
                                            price_kind_names[kind], name, names.data));
        buf_release(&names);
        return NULL;
    }
    if (entry->problem) {
        *missing = quantity_missing(entry->problem);
        return NULL;
    }
    if (entry->currency && strcmp(entry->currency, CURRENCY) != 0) {
        *missing = quantity_missing(text_of(
            r, "%s %s is in %s, all else in " CURRENCY ": convert it in the price file, or set %s",
            price_kind_names[kind], name, entry->currency, plan_cost_name(key)));
        return NULL;
    }
    if (r->out->n_uses < COSTING_MAX_USES) {
        r->out->uses[r->out->n_uses++] = (struct price_use){entry, price_is_stale(entry, r->as_of)};
    }
    return entry;
}

static struct quantity price_quantity(struct resolver *r, const struct price_entry *entry,
                                      const char *field) {
    double value = price_value(entry, field);
    if (isnan(value)) {
        return quantity_missing(text_of(r, "the price book has no %s of %s %s", field,
                                        price_kind_names[entry->kind], entry->name));
    }
    struct quantity q = quantity_of(value, 0);
    q.flags = (price_is_stale(entry, r->as_of) ? QUANTITY_STALE_PRICE : 0u) |
              (price_is_unchecked(entry) ? QUANTITY_UNCHECKED_PRICE : 0u);
    return q;
}

/* A key that is a number or a name with one figure. */
static const struct price_entry *resolve_price(struct resolver *r, enum plan_cost_key key,
                                               enum price_kind kind, const char *price,
                                               size_t field) {
    const struct plan_cost_value *v = given(r, key);
    if (!v) {
        return NULL;
    }
    if (!v->name) {
        *econ(r, field) = quantity_of(v->number, 0);
        return NULL;
    }
    const struct price_entry *entry = find_price(r, key, kind, econ(r, field));
    if (entry) {
        *econ(r, field) = price_quantity(r, entry, price);
    }
    return entry;
}

static void resolve_hardware(struct resolver *r) {
    const struct price_entry *cloud = resolve_price(r, COST_CLOUD, PRICE_CLOUD, "per_hour",
                                                    ECON(cloud_usd_per_h));
    if (cloud && !given(r, COST_BILL_MINIMUM)) {
        *econ(r, ECON(bill_minimum_s)) = price_quantity(r, cloud, "bill_minimum_s");
    }
    if (cloud && !given(r, COST_BILL_STEP)) {
        *econ(r, ECON(bill_step_s)) = price_quantity(r, cloud, "bill_step_s");
    }
    double gpus = cloud ? price_value(cloud, "gpus") : 1;
    if (gpus > econ(r, ECON(devices))->value) {
        add_note(r->out->assumed, &r->out->n_assumed,
                 text_of(r, "the other devices of %s, rented as %g, are paid by other work",
                         cloud->name, gpus));
    }
    const struct price_entry *bought = resolve_price(r, COST_HARDWARE, PRICE_HARDWARE, "price",
                                                     ECON(capex_usd));
    if (bought && !given(r, COST_EMBODIED)) {
        *econ(r, ECON(embodied_kg)) = price_quantity(r, bought, "embodied_kg");
    }
}

static double share_of(struct resolver *r, enum plan_cost_key key, const char *assumed) {
    const struct plan_cost_value *v = given(r, key);
    if (!v) {
        add_note(r->out->assumed, &r->out->n_assumed, assumed);
    }
    return v ? v->number : 0;
}

static void resolve_api(struct resolver *r) {
    struct costing *out = r->out;
    if (!given(r, COST_API)) {
        return;
    }
    out->api = r->cost->v[COST_API].name;
    out->api_cached = share_of(r, COST_API_CACHED, "api_cached 0");
    out->api_written = share_of(r, COST_API_WRITTEN, "api_written 0");
    struct quantity missing = {0};
    const struct price_entry *entry = find_price(r, COST_API, PRICE_API, &missing);
    const struct {
        size_t field;
        const char *price;
        bool occurs;
    } parts[] = {
        {ECON(api_uncached_usd_per_mtok), "input", true},
        {ECON(api_cached_usd_per_mtok), "cached_input", out->api_cached > 0},
        {ECON(api_written_usd_per_mtok), "cache_write", out->api_written > 0},
        {ECON(api_output_usd_per_mtok), "output", true},
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        /* Tokens that do not occur need no price. */
        *econ(r, parts[i].field) = !parts[i].occurs ? quantity_of(0, 0)
                                   : entry          ? price_quantity(r, entry, parts[i].price)
                                                    : missing;
    }
    if (out->api_cached + out->api_written > 1) {
        *econ(r, ECON(api_uncached_usd_per_mtok)) = quantity_missing(
            "api_cached and api_written are more than all input tokens together");
    }
    const struct plan_cost_value *batch = given(r, COST_API_BATCH);
    *econ(r, ECON(api_batch_factor)) = !batch || batch->number == 0 ? quantity_of(1, 0)
                                       : entry ? price_quantity(r, entry, "batch_factor")
                                               : missing;
}

static double number_or(const struct resolver *r, enum plan_cost_key key, double fallback) {
    const struct plan_cost_value *v = given(r, key);
    return v ? v->number : fallback;
}

static void resolve_rest(struct resolver *r) {
    struct costing *out = r->out;
    out->slo_ttft_s = number_or(r, COST_SLO_TTFT, (double)NAN);
    out->slo_tpot_s = number_or(r, COST_SLO_TPOT, (double)NAN);
    out->slo_e2e_s = number_or(r, COST_SLO_E2E, (double)NAN);
    out->slo_cold_start_s = number_or(r, COST_SLO_COLD_START, (double)NAN);
    out->accept = number_or(r, COST_ACCEPT, (double)NAN);
    out->margin = number_or(r, COST_MARGIN, (double)NAN);
    out->qret_margin = number_or(r, COST_QRET_MARGIN, 1);
    out->scale_to_zero = number_or(r, COST_SCALE_TO_ZERO, 0) > 0;
    out->api_model = r->cost->v[COST_API_MODEL].name;
    if (out->is_given && isnan(out->slo_ttft_s) && isnan(out->slo_tpot_s) &&
        isnan(out->slo_e2e_s)) {
        add_note(out->assumed, &out->n_assumed, "no SLO: every answer counts");
    }
    const struct plan_cost_value *unloaded = given(r, COST_IDLE_UNLOADED_W);
    if (unloaded) {
        out->idle_unloaded_w = quantity_of(unloaded->number, 0);
        out->idle_unloaded_w.flags = QUANTITY_GIVEN_IDLE;
    }
}

int costing_resolve(const struct plan_cost *cost, const struct price_book *book, const char *as_of,
                    struct arena *a, struct costing *out, struct err *e) {
    struct resolver r = {cost, book, as_of, a, out, false};
    *out = (struct costing){.idle_unloaded_w = quantity_missing(NULL)};
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        out->econ[i] = quantity_missing(NULL);
    }
    for (int i = 0; i < COST_KEYS; i++) {
        out->is_given = out->is_given || cost->v[i].given;
    }
    resolve_rest(&r);
    if (out->is_given) {
        resolve_plain(&r);
        resolve_choices(&r);
        resolve_hardware(&r);
        resolve_price(&r, COST_ELECTRICITY, PRICE_ELECTRICITY, "per_kwh", ECON(kwh_usd));
        resolve_price(&r, COST_CARBON, PRICE_CARBON, "g_per_kwh", ECON(carbon_g_per_kwh));
        resolve_api(&r);
    }
    return r.out_of_memory ? err_set(e, EE_NOMEM, "costs: out of memory") : 0;
}
