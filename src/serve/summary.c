/* Mean, spread and percentiles of latencies. */
#include "serve/measure.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void nothing(struct summary *out) {
    const double none = (double)NAN;
    *out = (struct summary){
        .mean = none, .mean_low = none, .mean_high = none, .sd = none, .min = none, .max = none};
    for (int i = 0; i < PERCENTILES; i++) {
        out->p[i] = out->low[i] = out->high[i] = none;
    }
}

int summarize(const double *x, size_t n, uint64_t seed, struct summary *out, struct err *e) {
    (void)seed;
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
    free(sorted);
    return 0;
}
