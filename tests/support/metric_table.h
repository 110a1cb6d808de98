/* For tests of metrics: all metrics of an input, found by their ids. */
#ifndef TESTS_SUPPORT_METRIC_TABLE_H
#define TESTS_SUPPORT_METRIC_TABLE_H

#include "base/arena.h"
#include "metrics/metrics.h"

struct metric_table {
    struct arena arena; /* the caller releases it */
    struct metric_row *rows;
};

/* Five samples, in a scope. */
struct quantity metric_joules(double value, const char *scope);
struct metric_table metric_table_of(const struct metrics_input *in);
/* The first with that id in the profile, or in any where that is NULL; the test fails without one. */
const struct metric_row *metric_table_row(const struct metric_table *t, const char *profile,
                                          const char *id);
/* Fails the test unless r has no value and a reason with why in it. */
void metric_check_refused(const struct metric_row *r, const char *why);

#endif
