#include "stats/multiple.h"

#include <math.h>
#include <stdlib.h>

struct ranked {
    double p;
    size_t at;
};

static int by_p(const void *a, const void *b) {
    const struct ranked *x = a;
    const struct ranked *y = b;
    return (x->p > y->p) - (x->p < y->p);
}

int stats_holm(const double *p, size_t n, double *adjusted, struct err *e) {
    struct ranked *order = malloc((n ? n : 1) * sizeof(*order));
    if (!order) {
        return err_set(e, EE_NOMEM, "comparisons: out of memory");
    }
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        adjusted[i] = NAN;
        if (!isnan(p[i])) {
            order[m++] = (struct ranked){p[i], i};
        }
    }
    qsort(order, m, sizeof(*order), by_p);
    double largest = 0;
    for (size_t i = 0; i < m; i++) {
        largest = fmax(largest, fmin((double)(m - i) * order[i].p, 1));
        adjusted[order[i].at] = largest;
    }
    free(order);
    return 0;
}
