#include "metrics/pareto.h"

#include <math.h>

bool pareto_compares(const struct pareto *p, size_t i, size_t j, size_t axis) {
    return !isnan(p->value(p->ctx, i, axis)) && !isnan(p->value(p->ctx, j, axis)) &&
           (!p->comparable || p->comparable(p->ctx, i, j, axis));
}

bool pareto_dominates(const struct pareto *p, size_t i, size_t j) {
    size_t n_compared = 0;
    bool is_better = false;
    if (!pareto_compares(p, i, j, 0)) {
        return false;
    }
    for (size_t axis = 0; axis < p->n_axes; axis++) {
        if (!pareto_compares(p, i, j, axis)) {
            continue;
        }
        double ahead = p->value(p->ctx, i, axis) - p->value(p->ctx, j, axis);
        ahead = p->more_is_better[axis] ? ahead : -ahead;
        if (ahead < 0) {
            return false;
        }
        is_better = is_better || ahead > 0;
        n_compared++;
    }
    return is_better && n_compared > 1;
}

static bool is_dominated(const struct pareto *p, size_t j) {
    for (size_t i = 0; i < p->n; i++) {
        if (i != j && pareto_dominates(p, i, j)) {
            return true;
        }
    }
    return false;
}

size_t pareto_dominator(const struct pareto *p, size_t j) {
    size_t found = p->n;
    for (size_t i = 0; i < p->n; i++) {
        if (i == j || !pareto_dominates(p, i, j)) {
            continue;
        }
        if (!is_dominated(p, i)) {
            return i;
        }
        found = found == p->n ? i : found;
    }
    return found;
}
