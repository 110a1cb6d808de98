/*
 * Compares intervals with goldens, whose "low" and "high" are null where there is no bound. Any
 * difference fails the running test, showing the golden.
 */
#ifndef TESTS_SUPPORT_INTERVALS_H
#define TESTS_SUPPORT_INTERVALS_H

#include "support/goldens.h"

#include "stats/interval.h"

/* A golden's array of numbers; the caller frees it. */
double *golden_array(const json_t *golden, const char *key, size_t *n);
/* The number at key; INFINITY for null. */
double golden_bound(const json_t *golden, const char *key);
/*
 * Bounds within tolerance, a share of the golden's half-width (an absolute one where a bound is
 * missing), and the estimate, where the golden has one, to 12 digits.
 */
void check_interval(const json_t *golden, const struct stats_interval *got, double tolerance);
/* No interval, a reason, and this estimate (NAN: none). */
void check_no_interval(const struct stats_interval *got, double estimate);

#endif
