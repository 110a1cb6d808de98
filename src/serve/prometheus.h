/*
 * What a server says about itself in Prometheus' text format: counters over a run, gauges during it.
 */
#ifndef SERVE_PROMETHEUS_H
#define SERVE_PROMETHEUS_H

#include "base/arena.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct prom_series {
    const char *name; /* with labels, as written */
    bool is_counter;  /* a counter, or a histogram's or summary's sum or count */
    double first, last, min, max, sum;
    size_t n;
};

struct prometheus {
    struct prom_series *series;
    size_t n, cap;
    size_t n_scrapes, n_failed;
    struct arena names;
};

void prometheus_init(struct prometheus *p);
void prometheus_release(struct prometheus *p);
/*
 * Takes one scrape's text. Buckets of histograms are left out. A line that is no sample is
 * EE_FORMAT; what came before it is kept.
 */
int prometheus_take(struct prometheus *p, const char *text, size_t len,
                    struct err *e) EE_MUST_CHECK;
/* {"scrapes": n, "counters": {name: growth}, "gauges": {name: {"min", "mean", "max", "last"}}} */
json_t *prometheus_json(const struct prometheus *p);

#endif
