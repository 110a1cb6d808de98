/*
 * Inside src/metrics: what a formula works with. Each metric's file holds its formulas, one a
 * profile; the registry in metrics.c names them.
 */
#ifndef METRICS_FORMULAS_H
#define METRICS_FORMULAS_H

#include "metrics/metrics.h"

struct calc {
    const struct metrics_input *in;
    struct arena *arena;
    struct metric_row *row; /* what the formula fills */
    const char *scope;      /* of the joules taken so far */
    const char *note;
    bool out_of_memory;
};

enum calc_range { CALC_NOT_NEGATIVE, CALC_POSITIVE };

/*
 * Takes an input: its warnings join the row. False, with the row refused, when it is missing, not
 * finite, negative, 0 where it must be positive, or counts joules of other parts of the machine than an earlier input.
 */
bool calc_take(struct calc *c, const struct quantity *q, const char *what, enum calc_range range);
/* Gives the row its reason and no value. */
void calc_refuse(struct calc *c, const char *fmt, ...) EE_PRINTF(2, 3);
/* Gives the row the value infinity, with the reason why it never happens. */
void calc_never(struct calc *c, const char *fmt, ...) EE_PRINTF(2, 3);
/* E_serve / n. False, with the row refused, when there is none. */
bool calc_joules_per_request(struct calc *c, double *joules);

typedef void formula_fn(struct calc *c);
formula_fn n_break_paper;
formula_fn ipw_paper;
formula_fn rho_sys_paper;
formula_fn c_tax_paper;
formula_fn q_ret_paper;
formula_fn joules_per_request;

#endif
