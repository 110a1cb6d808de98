/* Inside src/report: what a run says about costs, from its plan, its price book and what-ifs. */
#ifndef REPORT_COSTS_H
#define REPORT_COSTS_H

#include "report/collect.h"

/* Fills run->prices, run->costing and run->seed. what_if may be NULL. */
int report_load_costs(struct store *s, struct report_run *run, const struct report_what_if *what_if,
                      struct err *e) EE_MUST_CHECK;

#endif
