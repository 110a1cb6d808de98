/* Mean, spread and percentiles of latencies, with intervals that know that neighbours are alike. */
#include "serve/measure.h"
#include "stats/percentile.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FOR_INTERVALS = 2000000 }; /* beyond it the intervals are narrower than the clock */

static const double confidence = 0.95;

static void nothing(struct summary *out) {
    const double none = (double)NAN;
    *out = (struct summary){
        .mean = none, .mean_low = none, .mean_high = none, .sd = none, .min = none, .max = none};
    for (int i = 0; i < PERCENTILES; i++) {
        out->p[i] = out->low[i] = out->high[i] = none;
    }
}

static int intervals(const double *x, const double *sorted, size_t n, struct summary *out,
                     struct err *e) {
    struct stats_interval i = stats_mean_in_time(x, n, confidence);
    out->mean_low = i.low;
    out->mean_high = i.high;
    int rc = 0;
    for (int k = 0; k < PERCENTILES && !rc; k++) {
        rc = stats_percentile_in_time(x, sorted, n, percentiles[k], confidence, &i, e);
        out->low[k] = i.low;
        out->high[k] = i.high;
    }
    return rc;
}

int summarize(const double *x, size_t n, struct summary *out, struct err *e) {
    nothing(out);
    out->n = n;
    if (n == 0) {
        return 0;
    }
    double *sorted = malloc(n * sizeof(*sorted));
    if (!sorted) {
        return err_set(e, EE_NOMEM, "percentiles: out of memory");
    }
    memcpy(sorted, x, n * sizeof(*sorted));
    stats_sort(sorted, n);
    out->mean = stats_mean(x, n);
    out->sd = stats_sd(x, n);
    out->min = sorted[0];
    out->max = sorted[n - 1];
    for (int i = 0; i < PERCENTILES; i++) {
        out->p[i] = stats_quantile(sorted, n, percentiles[i]);
    }
    int rc = n <= MAX_FOR_INTERVALS ? intervals(x, sorted, n, out, e) : 0;
    free(sorted);
    return rc;
}
