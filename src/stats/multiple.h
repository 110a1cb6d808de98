/* Many comparisons at once. */
#ifndef STATS_MULTIPLE_H
#define STATS_MULTIPLE_H

#include "base/err.h"

#include <stddef.h>

/*
 * Holm's adjustment (Scandinavian Journal of Statistics 6:65, 1979): adjusted[i] under 0.05 means
 * that comparison i holds with all n looked at. NAN stays NAN and is not counted.
 */
int stats_holm(const double *p, size_t n, double *adjusted, struct err *e) EE_MUST_CHECK;

#endif
