#include "metrics/econ.h"

#include <math.h>
#include <stdlib.h>

/* --- The fields ------------------------------------------------------------------------------------ */

#define FIELD(name, unit, about, low, high, varies)                                                \
    [ECON(name)] = {#name, unit, about, low, high, varies}

static const struct econ_field fields[ECON_FIELDS] = {
    FIELD(owned, "1", "1 for owned hardware, 0 for rented", 0, 1, false),
    FIELD(devices, "1", "devices of one replica", 1, INFINITY, false),
    FIELD(share, "1", "reserved share of each device", 0, 1, false),
    FIELD(capex_usd, "$", "price of one device", 0, INFINITY, true),
    FIELD(lifetime_h, "h", "how long a device is used", 0, INFINITY, true),
    FIELD(maintenance_usd_per_h, "$/h", "upkeep of one device", 0, INFINITY, true),
    FIELD(cloud_usd_per_h, "$/h", "rent of one device", 0, INFINITY, true),
    FIELD(bill_minimum_s, "s", "shortest bill", 0, INFINITY, false),
    FIELD(bill_step_s, "s", "what bills are rounded up to", 0, INFINITY, false),
    FIELD(boot_s, "s", "boot and image pull", 0, INFINITY, true),
    FIELD(kwh_usd, "$/kWh", "electricity", 0, INFINITY, true),
    FIELD(pue, "1", "power usage effectiveness", 1, INFINITY, true),
    FIELD(ops_usd_per_h, "$/h", "running it", 0, INFINITY, true),
    FIELD(labour_usd, "$", "work before serving", 0, INFINITY, true),
    FIELD(recurring_usd, "$", "one refresh of the model", 0, INFINITY, true),
    FIELD(refresh_h, "h", "time between refreshes, 0 never", 0, INFINITY, true),
    FIELD(variable_usd, "$/request", "other cost of a request", 0, INFINITY, true),
    FIELD(traffic_per_h, "1/h", "mean rate of requests", 0, INFINITY, true),
    FIELD(peak_ratio, "1", "highest rate over mean rate", 1, INFINITY, true),
    FIELD(headroom, "1", "share of capacity planned with", 0, 1, true),
    FIELD(replicas_min, "1", "fewest replicas", 1, INFINITY, false),
    FIELD(capacity_per_h, "1/h", "requests of one replica within the SLO", 0, INFINITY, true),
    FIELD(throughput_per_h, "1/h", "requests of one replica", 0, INFINITY, true),
    FIELD(idle_w, "W", "power of an idle replica", 0, INFINITY, true),
    FIELD(request_j, "J", "energy of one request, gross", 0, INFINITY, true),
    FIELD(request_above_idle_j, "J", "energy of one request above idle", 0, INFINITY, true),
    FIELD(once_j, "J", "energy before serving", 0, INFINITY, true),
    FIELD(once_s, "s", "hardware time before serving", 0, INFINITY, true),
    FIELD(once_is_extra, "1", "1 where that time is paid by itself", 0, 1, false),
    FIELD(start_s, "s", "start of the engine", 0, INFINITY, true),
    FIELD(input_tokens, "1", "input tokens of one request", 0, INFINITY, true),
    FIELD(output_tokens, "1", "output tokens of one request", 0, INFINITY, true),
    FIELD(accepted_share, "1", "share of answers accepted", 0, 1, true),
    FIELD(api_uncached_tokens, "1", "API: input tokens not cached", 0, INFINITY, true),
    FIELD(api_cached_tokens, "1", "API: input tokens from its cache", 0, INFINITY, true),
    FIELD(api_written_tokens, "1", "API: input tokens into its cache", 0, INFINITY, true),
    FIELD(api_output_tokens, "1", "API: output tokens", 0, INFINITY, true),
    FIELD(api_uncached_usd_per_mtok, "$/Mtok", "API: input", 0, INFINITY, true),
    FIELD(api_cached_usd_per_mtok, "$/Mtok", "API: cached input", 0, INFINITY, true),
    FIELD(api_written_usd_per_mtok, "$/Mtok", "API: cache writes", 0, INFINITY, true),
    FIELD(api_output_usd_per_mtok, "$/Mtok", "API: output", 0, INFINITY, true),
    FIELD(api_batch_factor, "1", "API: batch price over normal price", 0, 1, false),
    FIELD(api_fall_per_year, "1/year", "API: fall of its prices", 0, 1, true),
    FIELD(fallback_usd, "$", "answering what was not accepted", 0, INFINITY, true),
    FIELD(discount_per_year, "1/year", "discount rate", 0, INFINITY, true),
    FIELD(carbon_g_per_kwh, "g/kWh", "carbon of electricity", 0, INFINITY, true),
    FIELD(embodied_kg, "kg", "carbon of making one device", 0, INFINITY, true),
};

const struct econ_field *econ_field(size_t i) {
    return &fields[i];
}

double econ_at(const struct econ *x, size_t i) {
    return ((const double *)x)[i];
}

void econ_set(struct econ *x, size_t i, double value) {
    ((double *)x)[i] = value;
}

/* --- Costs --------------------------------------------------------------------------------------- */

double econ_billed_s(double seconds, double minimum_s, double step_s) {
    if (seconds <= 0) {
        return 0;
    }
    double rounded = step_s > 0 ? ceil(seconds / step_s) * step_s : seconds;
    return fmax(rounded, minimum_s);
}

double econ_hardware_usd_per_h(const struct econ *x) {
    double device = x->owned > 0 ? x->capex_usd / x->lifetime_h + x->maintenance_usd_per_h
                                 : x->cloud_usd_per_h;
    return x->devices * x->share * device;
}

/* Electricity of so many joules; in the price already where it is rented. */
static double joules_usd(const struct econ *x, double joules) {
    return x->owned > 0 ? joules / ECON_J_PER_KWH * x->pue * x->kwh_usd : 0;
}

static double idle_usd_per_h(const struct econ *x) {
    return x->owned > 0 ? x->share * x->idle_w / 1000 * x->pue * x->kwh_usd : 0;
}

/* What one replica adds to F, and what F has without any. */
static double replica_usd_per_h(const struct econ *x) {
    return econ_hardware_usd_per_h(x) + idle_usd_per_h(x);
}

static double common_usd_per_h(const struct econ *x) {
    return x->ops_usd_per_h + (x->refresh_h > 0 ? x->recurring_usd / x->refresh_h : 0);
}

/* The mean rate that one replica carries. */
static double replica_traffic_per_h(const struct econ *x) {
    return x->capacity_per_h * x->headroom / x->peak_ratio;
}

double econ_replicas(const struct econ *x, double traffic_per_h) {
    return fmax(x->replicas_min, ceil(traffic_per_h / replica_traffic_per_h(x)));
}

double econ_fixed_usd_per_h(const struct econ *x, double replicas) {
    return replicas * replica_usd_per_h(x) + common_usd_per_h(x);
}

double econ_marginal_usd(const struct econ *x) {
    return joules_usd(x, x->owned > 0 ? x->request_above_idle_j : 0) + x->variable_usd;
}

/* Hardware time before serving that is paid by itself, at an hourly price. */
static double once_hardware_usd(const struct econ *x, double usd_per_h) {
    if (!(x->once_is_extra > 0) || !(x->once_s > 0)) {
        return 0;
    }
    double seconds = x->owned > 0
                         ? x->once_s
                         : econ_billed_s(x->once_s + x->boot_s, x->bill_minimum_s, x->bill_step_s);
    return usd_per_h * seconds / 3600;
}

static double once_usd(const struct econ *x, double usd_per_h) {
    return x->labour_usd + joules_usd(x, x->owned > 0 ? x->once_j : 0) +
           once_hardware_usd(x, usd_per_h);
}

double econ_once_usd(const struct econ *x) {
    return once_usd(x, econ_hardware_usd_per_h(x));
}

/* Tokens that do not occur need no price. */
static double tokens_usd(double tokens, double usd_per_mtok) {
    return tokens > 0 ? tokens * usd_per_mtok / 1e6 : 0;
}

double econ_api_usd(const struct econ *x) {
    return x->api_batch_factor * (tokens_usd(x->api_uncached_tokens, x->api_uncached_usd_per_mtok) +
                                  tokens_usd(x->api_cached_tokens, x->api_cached_usd_per_mtok) +
                                  tokens_usd(x->api_written_tokens, x->api_written_usd_per_mtok) +
                                  tokens_usd(x->api_output_tokens, x->api_output_usd_per_mtok));
}

double econ_request_usd(const struct econ *x, double traffic_per_h) {
    double fixed = econ_fixed_usd_per_h(x, econ_replicas(x, traffic_per_h));
    return fixed / traffic_per_h + econ_marginal_usd(x);
}

double econ_busy_request_usd(const struct econ *x) {
    return econ_hardware_usd_per_h(x) / x->throughput_per_h +
           joules_usd(x, x->owned > 0 ? x->request_j : 0) + x->variable_usd;
}

double econ_accepted_usd(const struct econ *x, double request_usd) {
    return request_usd + (1 - x->accepted_share) * x->fallback_usd;
}

/* --- Break-even ------------------------------------------------------------------------------------ */

double econ_saving_usd_per_h(const struct econ *x, double traffic_per_h) {
    return traffic_per_h * (econ_api_usd(x) - econ_marginal_usd(x)) -
           econ_fixed_usd_per_h(x, econ_replicas(x, traffic_per_h));
}

double econ_n_break(const struct econ *x, double traffic_per_h) {
    double saving = econ_saving_usd_per_h(x, traffic_per_h);
    return saving > 0 ? traffic_per_h * econ_once_usd(x) / saving : INFINITY;
}

double econ_n_break_planned(const struct econ *x) {
    return econ_n_break(x, x->traffic_per_h);
}

double econ_break_even_days(const struct econ *x) {
    double saving = econ_saving_usd_per_h(x, x->traffic_per_h);
    return saving > 0 ? econ_once_usd(x) / saving / 24 : INFINITY;
}

/* What has been saved after so many hours, while the API's price shrinks at the rate k an hour. */
static double saved_usd(double api_usd_per_h, double own_usd_per_h, double k, double hours) {
    return api_usd_per_h * (k < 0 ? expm1(k * hours) / k : hours) - own_usd_per_h * hours;
}

double econ_n_break_falling(const struct econ *x) {
    double r = x->traffic_per_h;
    double once = econ_once_usd(x);
    double k = log1p(-x->api_fall_per_year) / ECON_HOURS_PER_YEAR;
    double api = r * econ_api_usd(x);
    double own = r * econ_request_usd(x, r);
    if (api <= own || !(k < 0) || !(once > 0)) {
        return econ_n_break(x, r);
    }
    /* Savings grow until the API costs as much as we do. */
    double low = 0;
    double high = log(own / api) / k;
    if (own > 0 && saved_usd(api, own, k, high) < once) {
        return INFINITY;
    }
    if (!(own > 0)) { /* free to run: what the API will ever ask for is -api / k */
        if (-api / k <= once) {
            return INFINITY;
        }
        high = log1p(once * k / api) / k;
        return r * high;
    }
    for (int i = 0; i < 200; i++) {
        double middle = low + (high - low) / 2;
        if (saved_usd(api, own, k, middle) < once) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return r * high;
}

double econ_rate_one_lost_per_h(const struct econ *x) {
    return (econ_replicas(x, x->traffic_per_h) - 1) * x->capacity_per_h;
}

size_t econ_paying(const struct econ *x, struct econ_range *out, size_t cap, double *always_from) {
    double per_request = econ_api_usd(x) - econ_marginal_usd(x);
    double each = replica_usd_per_h(x);
    double common = common_usd_per_h(x);
    double carries = replica_traffic_per_h(x);
    double gain = carries * per_request - each; /* of a replica that is full */
    *always_from = INFINITY;
    if (!(per_request > 0) || !(gain > 0)) {
        return 0;
    }
    /*
     * So many replicas pay when full from "first" on, and from their first request on from "last"
     * on. Between the two each has a range of its own; that of last - 1 reaches last's.
     */
    double first = fmax(x->replicas_min, floor(common / gain) + 1);
    double last = ceil((common + carries * per_request) / gain);
    double endless = fmax(first, last - 1);
    size_t n = 0;
    for (; n < cap && first + (double)n <= endless; n++) {
        double r = first + (double)n;
        double low = (r * each + common) / per_request;
        out[n] = (struct econ_range){low, r < endless ? r * carries : INFINITY};
    }
    *always_from = (endless * each + common) / per_request;
    return (size_t)fmin(endless - first, 1e15) + 1;
}

/* --- Over time --------------------------------------------------------------------------------------- */

/* The hourly price of hardware that is paid by the hour: a purchase is paid when it is made. */
static double rent_usd_per_h(const struct econ *x) {
    return x->devices * x->share * (x->owned > 0 ? x->maintenance_usd_per_h : x->cloud_usd_per_h);
}

/* What goes out and comes in, apart from when. */
struct cash_flow {
    double once_usd;
    double purchase_usd;
    double lifetime_months; /* INFINITY where nothing is bought */
    double own_usd_per_h;
    double api_usd_per_h;
    double fall_per_year;
};

static struct cash_flow cash_flow(const struct econ *x, double fall_per_year) {
    double r = x->traffic_per_h;
    double replicas = econ_replicas(x, r);
    double rent = rent_usd_per_h(x);
    struct cash_flow f = {
        .once_usd = once_usd(x, rent),
        .lifetime_months = INFINITY,
        .own_usd_per_h = replicas * (rent + idle_usd_per_h(x)) + common_usd_per_h(x) +
                         r * econ_marginal_usd(x),
        .api_usd_per_h = r * econ_api_usd(x),
        .fall_per_year = fall_per_year,
    };
    if (x->owned > 0) {
        f.purchase_usd = replicas * x->devices * x->share * x->capex_usd;
        f.lifetime_months = x->lifetime_h / ECON_HOURS_PER_MONTH;
    }
    return f;
}

/*
 * What month m (1, 2, ...) brings, purchases in it included, discounted at a yearly rate. Months come
 * in their order; *bought counts the purchases.
 */
static double month_usd(const struct cash_flow *f, int m, double discount, double *bought) {
    double price = f->fall_per_year > 0 ? pow(1 - f->fall_per_year, (m - 0.5) / 12) : 1;
    double net = ECON_HOURS_PER_MONTH * (f->api_usd_per_h * price - f->own_usd_per_h);
    double cash = discount > 0 ? net / pow(1 + discount, m / 12.0) : net;
    if (isinf(f->lifetime_months)) {
        return cash;
    }
    while (*bought * f->lifetime_months < m) {
        cash -= f->purchase_usd / pow(1 + discount, *bought * f->lifetime_months / 12);
        ++*bought;
    }
    return cash;
}

static double cash_usd(const struct econ *x, int months, double fall_per_year, double discount) {
    const struct cash_flow f = cash_flow(x, fall_per_year);
    double cash = -f.once_usd;
    double bought = 0;
    for (int m = 1; m <= months; m++) {
        cash += month_usd(&f, m, discount, &bought);
    }
    return cash;
}

double econ_cash_usd(const struct econ *x, int months, double fall_per_year) {
    return cash_usd(x, months, fall_per_year, 0);
}

double econ_npv_usd(const struct econ *x, int months, double fall_per_year) {
    return cash_usd(x, months, fall_per_year, x->discount_per_year);
}

int econ_payback_month(const struct econ *x, int months, double fall_per_year) {
    const struct cash_flow f = cash_flow(x, fall_per_year);
    double cash = -f.once_usd;
    double bought = 0;
    for (int m = 1; m <= months; m++) {
        cash += month_usd(&f, m, 0, &bought);
        if (cash >= 0) {
            return m;
        }
    }
    return 0;
}

/* --- Carbon -------------------------------------------------------------------------------------------- */

double econ_request_g(const struct econ *x) {
    double r = x->traffic_per_h;
    double idle_kwh = econ_replicas(x, r) * x->share * x->idle_w / 1000 / r;
    double served_kwh = x->request_above_idle_j / ECON_J_PER_KWH;
    return (idle_kwh + served_kwh) * x->pue * x->carbon_g_per_kwh;
}

double econ_embodied_g(const struct econ *x) {
    double r = x->traffic_per_h;
    return econ_replicas(x, r) * x->devices * x->share * x->embodied_kg * 1000 / x->lifetime_h / r;
}

/* --- What matters most --------------------------------------------------------------------------------- */

static double swing(const struct econ_bar *b) {
    double width = fabs(b->at_high - b->at_low);
    return isnan(width) ? 0 : width; /* never and never */
}

static int compare_bars(const void *a, const void *b) {
    const struct econ_bar *x = a;
    const struct econ_bar *y = b;
    double wx = swing(x);
    double wy = swing(y);
    return wx != wy ? (wx < wy) - (wx > wy) : (x->field > y->field) - (x->field < y->field);
}

static double varied(const struct econ *x, econ_fn *figure, size_t field, double factor) {
    const struct econ_field *f = &fields[field];
    struct econ y = *x;
    econ_set(&y, field, fmin(fmax(econ_at(x, field) * factor, f->low), f->high));
    return figure(&y);
}

size_t econ_tornado(const struct econ *x, econ_fn *figure, struct econ_bar *bars) {
    size_t n = 0;
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        double value = econ_at(x, i);
        if (!fields[i].varies || !isfinite(value) || value == 0) {
            continue;
        }
        bars[n] = (struct econ_bar){i, varied(x, figure, i, 0.8), varied(x, figure, i, 1.2)};
        n += swing(&bars[n]) > 0;
    }
    qsort(bars, n, sizeof(*bars), compare_bars);
    return n;
}
