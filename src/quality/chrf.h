/*
 * chrF (Popović, 2015) as sacreBLEU computes it for a sentence with its defaults: character n-grams
 * of 1 to 6 without white space, case kept, recall weighted by beta = 2, no words, no smoothing.
 * sacreBLEU prints it times 100. Pure; any thread may call.
 */
#ifndef QUALITY_CHRF_H
#define QUALITY_CHRF_H

#include "base/err.h"

#include <stddef.h>

/* *out in 0..1, against the closest of n_golds references. */
int chrf_score(const char *const *golds, size_t n_golds, const char *prediction, double *out,
               struct err *e) EE_MUST_CHECK;

#endif
