/*
 * Counts of whole numbers from 0 to 2^32 - 1, where there are too many of them to keep: those under
 * 2048 exactly, larger ones to within 0.05 %. One object takes 190 kB; one thread at a time.
 */
#ifndef STATS_HISTOGRAM_H
#define STATS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

struct histogram;

/* Empty; NULL when memory is out. The caller frees it. */
struct histogram *histogram_new(void);
void histogram_free(struct histogram *h);
void histogram_add(struct histogram *h, uint32_t x);
uint64_t histogram_count(const struct histogram *h);
/* As stats_quantile of what was added; NAN when nothing was or p is outside 0..1. */
double histogram_quantile(const struct histogram *h, double p);

#endif
