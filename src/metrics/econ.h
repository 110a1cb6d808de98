/*
 * The economics of one deployment: break-even, cost, paying range, cash flow and carbon as pure
 * functions of one flat struct of numbers. docs/metrics.md gives each formula under the name of its
 * function and works it out by hand; other programs (the report's calculator) follow that text and
 * must agree to 1e-9, so nothing here may depend on anything but the struct.
 *
 * Every field is a finite number >= 0; who fills it refuses what is missing. Fields that a function
 * does not need may be NAN. owned chooses between two sets of fields by a condition, never by a
 * factor, so that the set not chosen may be NAN.
 */
#ifndef METRICS_ECON_H
#define METRICS_ECON_H

#include <stdbool.h>
#include <stddef.h>

#define ECON_J_PER_KWH 3.6e6
#define ECON_HOURS_PER_YEAR 8760.0
#define ECON_HOURS_PER_MONTH 730.0

/* Doubles only: econ_at and the JSON export take it as an array. */
struct econ {
    /* Where it runs. */
    double owned;                 /* 1: we pay hardware and electricity; 0: an hourly price */
    double devices;               /* of one replica */
    double share;                 /* of each device that is reserved, 0..1 */
    double capex_usd;             /* of one device; owned */
    double lifetime_h;            /* of one device */
    double maintenance_usd_per_h; /* of one device; owned */
    double cloud_usd_per_h;       /* of one device; not owned */
    double bill_minimum_s;        /* not owned */
    double bill_step_s;           /* not owned; 0: to the instant */
    double boot_s;                /* ordering a machine to starting the engine; not owned */
    double kwh_usd;               /* owned */
    double pue;
    double ops_usd_per_h;
    double labour_usd;    /* once */
    double recurring_usd; /* of one refresh */
    double refresh_h;     /* 0: never */
    double variable_usd;  /* of one request, beside electricity */

    /* What it has to carry. */
    double traffic_per_h;    /* requests */
    double peak_ratio;       /* highest rate over mean rate */
    double headroom;         /* share of a replica's capacity that is planned with, 0..1 */
    double replicas_min;     /* fewest */
    double capacity_per_h;   /* requests that one replica answers within the SLO */
    double throughput_per_h; /* requests that one replica answers at all */

    /* What was measured. */
    double idle_w;               /* of a replica that holds the model and serves nothing */
    double request_j;            /* of one request, gross */
    double request_above_idle_j; /* the same above idle_w */
    double once_j;               /* adapting, merging, quantizing */
    double once_s;               /* the same as hours of a replica's hardware, in seconds */
    double once_is_extra;        /* 1: those hours are paid; 0: they are in the fixed cost */
    double start_s;              /* exec to ready */
    double input_tokens;         /* of one request */
    double output_tokens;
    double accepted_share; /* of answers, 0..1 */

    /* What it is compared with. */
    double api_uncached_tokens; /* of one request */
    double api_cached_tokens;
    double api_written_tokens;
    double api_output_tokens; /* hidden reasoning included */
    double api_uncached_usd_per_mtok;
    double api_cached_usd_per_mtok;
    double api_written_usd_per_mtok;
    double api_output_usd_per_mtok;
    double api_batch_factor;  /* 1 where answers cannot wait */
    double api_fall_per_year; /* share by which its prices fall, in the scenario */
    double fallback_usd;      /* of answering a request whose answer was not accepted */

    double discount_per_year;
    double carbon_g_per_kwh;
    double embodied_kg; /* of one device */
};

enum { ECON_FIELDS = sizeof(struct econ) / sizeof(double) };
/* Index of a field. */
#define ECON(field) (offsetof(struct econ, field) / sizeof(double))

struct econ_field {
    const char *name;
    const char *unit;
    const char *about;
    double low, high; /* what the field may be */
    bool varies;      /* part of the tornado: a figure with an error, not a choice */
};
const struct econ_field *econ_field(size_t i);
double econ_at(const struct econ *x, size_t i);
void econ_set(struct econ *x, size_t i, double value);

/* --- Costs; in US dollars ----------------------------------------------------------------------- */

/* A bill of that many seconds in the provider's terms; 0 for 0. */
double econ_billed_s(double seconds, double minimum_s, double step_s);
/* hardware [$/h]: of one replica. */
double econ_hardware_usd_per_h(const struct econ *x);
/* R(r): replicas for a mean rate of requests, the peak in proportion. */
double econ_replicas(const struct econ *x, double traffic_per_h);
/* F(R) [$/h]. */
double econ_fixed_usd_per_h(const struct econ *x, double replicas);
/* v [$/request]. */
double econ_marginal_usd(const struct econ *x);
/* C_once [$]. */
double econ_once_usd(const struct econ *x);
/* c_api [$/request]. */
double econ_api_usd(const struct econ *x);
/* F(R(r)) / r + v: what a request costs with the hardware that waits. */
double econ_request_usd(const struct econ *x, double traffic_per_h);
/* What it costs while hardware is paid only when busy. */
double econ_busy_request_usd(const struct econ *x);
/* request_usd + (1 - p) * fallback. */
double econ_accepted_usd(const struct econ *x, double request_usd);

/* --- Break-even --------------------------------------------------------------------------------- */

/* saving [$/h] at a mean rate. */
double econ_saving_usd_per_h(const struct econ *x, double traffic_per_h);
/* N_break [requests] at a mean rate; INFINITY for never. */
double econ_n_break(const struct econ *x, double traffic_per_h);
/* ... in days. */
double econ_break_even_days(const struct econ *x);
/* N_break at the plan's rate while the API's prices fall. */
double econ_n_break_falling(const struct econ *x);
/* The highest rate [1/h] within the SLO with one replica lost; 0 where there is only one. */
double econ_rate_one_lost_per_h(const struct econ *x);

struct econ_range {
    double low, high; /* requests an hour; high may be INFINITY */
};
/*
 * The mean rates at which saving > 0, ascending; at most cap, the first ones. More replicas make
 * savings a sawtooth, so there may be several; the last one has no end. Returns how many there are:
 * 0 for never. *always_from is where the last one begins, INFINITY for never.
 */
size_t econ_paying(const struct econ *x, struct econ_range *out, size_t cap, double *always_from);

/* --- Over time ---------------------------------------------------------------------------------- */

/* Cash that has come in after so many months, less what has gone out; API prices fall by fall. */
double econ_cash_usd(const struct econ *x, int months, double fall_per_year);
/* Its present value. */
double econ_npv_usd(const struct econ *x, int months, double fall_per_year);
/* The first month after which the cash is >= 0; 0 when none up to months. */
int econ_payback_month(const struct econ *x, int months, double fall_per_year);

/* --- Carbon; in grams of CO2-equivalent ----------------------------------------------------------- */

/* Of one request's electricity at the plan's rate, idle replicas included. */
double econ_request_g(const struct econ *x);
/* Of its share in making the devices. */
double econ_embodied_g(const struct econ *x);

/* --- What matters most ------------------------------------------------------------------------------ */

typedef double econ_fn(const struct econ *x);
struct econ_bar {
    size_t field;
    double at_low;  /* the figure with the field 20 % lower, */
    double at_high; /* and higher; both within what the field may be */
};
/* The widest bars first, those that do nothing left out. bars has room for ECON_FIELDS. */
size_t econ_tornado(const struct econ *x, econ_fn *figure, struct econ_bar *bars);
/* econ_n_break at the plan's rate, for econ_tornado. */
double econ_n_break_planned(const struct econ *x);

#endif
