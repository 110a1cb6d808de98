/*
 * Which of several things are worth having: those that no other beats on every axis. Pure.
 *
 * A value that is missing (NAN), and a pair that may not be compared on an axis (joules of unlike
 * scopes), leave that axis out for that pair; what is left must hold the first axis and one more.
 */
#ifndef METRICS_PARETO_H
#define METRICS_PARETO_H

#include <stdbool.h>
#include <stddef.h>

struct pareto {
    size_t n;                   /* things */
    size_t n_axes;              /* 2 or more; the first one is what the others are paid for */
    const bool *more_is_better; /* by axis */
    double (*value)(const void *ctx, size_t i, size_t axis);              /* NAN: missing */
    bool (*comparable)(const void *ctx, size_t i, size_t j, size_t axis); /* NULL: all are */
    const void *ctx;
};

/* Whether i and j can be compared on an axis. */
bool pareto_compares(const struct pareto *p, size_t i, size_t j, size_t axis);
/* No worse than j on every axis that compares them, and better on one. */
bool pareto_dominates(const struct pareto *p, size_t i, size_t j);
/* The first thing on the frontier that dominates j, else any that does; n when none does. */
size_t pareto_dominator(const struct pareto *p, size_t j);

#endif
