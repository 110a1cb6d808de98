/*
 * Inside src/metrics: what a formula works with. Each metric's file holds its formulas, one a
 * profile; the registry in metrics.c names them.
 */
#ifndef METRICS_FORMULAS_H
#define METRICS_FORMULAS_H

#include "metrics/metrics.h"
#include "stats/interval.h"

/* Draws of everything that was measured with an error; arrays of n. */
struct calc_draws {
    double *request_j;
    double *once_j;
    double *rate; /* over its estimate */
    double *accepted;
    size_t n;
};

/* What several rows of one variant need, made when the first one asks. */
struct calc_shared {
    bool has_q_ret;
    struct stats_interval q_ret; /* a ratio, not percent */
    size_t n_paired;
    bool has_draws;
    bool has_gaps; /* uncovered time: two sets, one for either bound */
    struct calc_draws draws[2];
};

struct calc {
    const struct metrics_input *in;
    struct calc_shared *shared;
    struct arena *arena;
    struct metric_row *row; /* what the formula fills */
    const char *scope;      /* of the joules taken so far */
    const char *note;
    const char *said; /* the formula's own notes, joined */
    bool out_of_memory;
};

enum calc_range { CALC_NOT_NEGATIVE, CALC_POSITIVE };

/*
 * Takes an input: its warnings join the row. False, with the row refused, when it is missing, not
 * finite, negative, 0 where it must be positive, or counts joules of other parts of the machine than an earlier input.
 */
bool calc_take(struct calc *c, const struct quantity *q, const char *what, enum calc_range range);
/* Takes a quantity that is not negative as the figure itself, with its interval; false when it was
 * refused. */
bool calc_pass(struct calc *c, const struct quantity *q, const char *what);
/* Gives the row its reason and no value. */
void calc_refuse(struct calc *c, const char *fmt, ...) EE_PRINTF(2, 3);
/* Gives the row the value infinity, with the reason why it never happens. */
void calc_never(struct calc *c, const char *fmt, ...) EE_PRINTF(2, 3);
/* Gives the row the value infinity, with the reason as it is. */
void calc_infinite(struct calc *c, const char *fmt, ...) EE_PRINTF(2, 3);
/* Adds a note to the row's label. */
void calc_say(struct calc *c, const char *fmt, ...) EE_PRINTF(2, 3);
/* E_serve / n. False, with the row refused, when there is none. */
bool calc_joules_per_request(struct calc *c, double *joules);
/* S from 0 to 1 on the scorer's own scale. False, with the row refused, when there is none. */
bool calc_score(struct calc *c, double *score);

/* What an economic figure is made of; which fields that means depends on who owns the hardware. */
enum calc_need {
    NEED_HARDWARE = 1 << 0, /* its hourly price */
    NEED_REPLICAS = 1 << 1, /* how many of them at the plan's traffic */
    NEED_FIXED = 1 << 2,    /* F, with both of those */
    NEED_MARGINAL = 1 << 3, /* v */
    NEED_ONCE = 1 << 4,     /* C_once */
    NEED_API = 1 << 5,      /* c_api */
    NEED_BUSY = 1 << 6,     /* cost while hardware is paid only when busy */
    NEED_ACCEPTED = 1 << 7, /* share of good answers */
    NEED_FALLBACK = 1 << 8,
    NEED_TOKENS = 1 << 9,
    NEED_FALL = 1 << 10, /* of API prices */
    NEED_DISCOUNT = 1 << 11,
    NEED_CARBON = 1 << 12, /* electricity, idle and busy */
    NEED_EMBODIED = 1 << 13,
    NEED_BILLING = 1 << 14, /* of rented machines */
    NEED_SAVING = NEED_FIXED | NEED_MARGINAL | NEED_API,
};
/*
 * Fills the fields that the figure needs, the others being NAN; their warnings join the row. False,
 * with the row refused, when some are missing: the reason names all of them.
 */
bool calc_econ(struct calc *c, unsigned needs, struct econ *x);

/*
 * Gives the row the interval of figure under the errors of what was measured, x being at the
 * estimates. No interval where nothing of it has an error that is known.
 */
void calc_spread(struct calc *c, const struct econ *x, econ_fn *figure);
/* The same for r / figure, INFINITY where the figure may be 0 or less. */
void calc_spread_inverse(struct calc *c, const struct econ *x, econ_fn *figure, double r);
/* The share of draws in which the figure is 0 or less; NAN where nothing is known of errors. */
double calc_share_not_positive(struct calc *c, const struct econ *x, econ_fn *figure);
/* The interval of joules over joules, both per request or load. */
void calc_joules_interval(struct calc *c, const struct stats_joules *a,
                          const struct stats_joules *b);
/* The interval of a figure in proportion to throughput, over repeats. */
void calc_rate_interval(struct calc *c);
/* The interval of score over joules of one request. */
void calc_score_per_joule_interval(struct calc *c);
void calc_shared_free(struct calc_shared *shared);
/* An interval becomes the row's, its method part of the label. */
void calc_take_interval(struct calc *c, const struct stats_interval *i, double scale);

/*
 * Two variants' scores of the same items, from 0 to 1, in one order; *n is 0 when they have none in
 * common. False when memory is out. a and b are the caller's to free.
 */
bool calc_pair_items(struct calc *c, const struct metrics_items *x, const struct metrics_items *y,
                     double **a, double **b, size_t *n);

typedef void formula_fn(struct calc *c);
formula_fn n_break_paper;
formula_fn ipw_paper;
formula_fn rho_sys_paper;
formula_fn c_tax_paper;
formula_fn q_ret_paper;
formula_fn joules_per_request;

formula_fn n_break_full;
formula_fn p_never;
formula_fn break_even_days;
formula_fn saving_usd_per_h;
formula_fn replicas;
formula_fn fixed_usd_per_h;
formula_fn marginal_usd;
formula_fn once_usd;
formula_fn pays_from_per_h;
formula_fn always_pays_from_per_h;
formula_fn rate_one_lost_per_h;
formula_fn n_break_falling;
formula_fn cash_12_usd;
formula_fn cash_36_usd;
formula_fn npv_12_usd;
formula_fn npv_36_usd;
formula_fn npv_36_falling_usd;
formula_fn payback_month;

formula_fn request_usd;
formula_fn api_request_usd;
formula_fn accepted_usd;
formula_fn api_accepted_usd;
formula_fn busy_usd_per_mtok;
formula_fn usd_per_mtok;
formula_fn api_usd_per_mtok;

formula_fn request_gco2e;
formula_fn good_1000_gco2e;
formula_fn embodied_gco2e;

formula_fn ipj;
formula_fn ipj_above_idle;
formula_fn ipw_full;
formula_fn rho_sys_full;
formula_fn rho_sys_used_kv;
formula_fn rho_sys_weights;
formula_fn c_tax_full;
formula_fn c_tax_warm;
formula_fn time_tax;
formula_fn keep_warm_energy_s;
formula_fn keep_warm_cost_s;
formula_fn cold_start_p99_s;
formula_fn q_ret_full;
formula_fn q_ret_detectable;
formula_fn q_ret_items;

#endif
