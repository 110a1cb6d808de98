/*
 * The published measurements of 72 variants (data/reference/, docs/metrics.md) with the metrics
 * of profile paper computed from them. Read from the data directory, so the same from a checkout
 * and from an installed tree.
 *
 * Everything lies in the arena until published_free. Pure after loading; any thread may read.
 */
#ifndef REPORT_PUBLISHED_H
#define REPORT_PUBLISHED_H

#include "metrics/metrics.h"

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>

struct published_training {
    const char *family, *size, *method, *task;
    double energy_j;
    double duration_s;
    double rows; /* trained on, once each */
};

struct published_variant {
    const char *family, *size, *method, *task, *precision;
    const struct published_training *training; /* shared by the precisions made from it */
    struct metrics_input input;
    struct metric_row *rows; /* metrics_count() of them */
};

struct published {
    struct arena arena;
    struct published_training *trainings;
    size_t n_trainings;
    struct published_variant *variants; /* by family, size, method, task, precision */
    size_t n_variants;
};

/* data_dir holds reference/. A row that cannot be read or has no partner is an error. */
int published_load(const char *data_dir, struct published **out, struct err *e) EE_MUST_CHECK;
void published_free(struct published *p);
/* The variant's value of a metric of the registry; NAN where it was refused. */
double published_value(const struct published_variant *v, const char *metric_id);

#endif
