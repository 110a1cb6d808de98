/*
 * Inside src/report: what a variant's deployment costs, as text, and what moves its break-even.
 */
#ifndef REPORT_ECONOMICS_H
#define REPORT_ECONOMICS_H

#include "report/collect.h"

#include "base/buf.h"

/* Every field that is known, the others NAN. True when break-even has a value, "never" included. */
bool economics_of(const struct report_variant *v, struct econ *x);

/* A point of the break-even curve. */
struct economics_point {
    double traffic_per_h;
    double replicas;
    double own_usd_per_h;
    double api_usd_per_h;
    double n_break; /* INFINITY for never */
};
enum { ECONOMICS_POINTS = 13 };
/* From a hundredth of the plan's traffic to a hundred times that, three points a decade. */
void economics_curve(const struct econ *x, struct economics_point points[ECONOMICS_POINTS]);

/* Where the prices are from, what was assumed and what was left out on purpose. */
void economics_sources(const struct report_run *run, struct buf *out);
/* A line a variant. */
void economics_table(const struct report_run *run, struct buf *out);
/* Cash, paying range, sensitivity and curve of one variant. */
void economics_detail(const struct report_run *run, const struct report_variant *v,
                      struct buf *out);
/* The variant of that id; without one (NULL) that with the cheapest request. NULL: none. */
const struct report_variant *economics_choose(const struct report_run *run, const char *variant_id);
/* Every figure of profile full that was refused, once a reason, with whom it concerns. */
void economics_refusals(const struct report_run *run, struct buf *out);

#endif
