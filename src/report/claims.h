/*
 * What the EDGE-EVAL paper claims, in our words, beside what its published rows
 * give. Whether a claim holds is computed from the rows each time, never written down.
 */
#ifndef REPORT_CLAIMS_H
#define REPORT_CLAIMS_H

#include "report/published.h"

enum verdict {
    VERDICT_HOLDS,
    VERDICT_IN_PART, /* for other rows than those it is said of, or for some of them */
    VERDICT_FAILS,
};

struct claim {
    const char *id;
    const char *claim;  /* one sentence */
    double stated;      /* the figure in it */
    double found;       /* the same figure from the rows it is said of */
    const char *unit;   /* of both */
    const char *detail; /* what the rows give, and by how much that differs */
    enum verdict verdict;
};

const char *verdict_name(enum verdict v);
/* All claims, in the arena. */
int claims_check(const struct published *p, struct arena *a, struct claim **out, size_t *n,
                 struct err *e) EE_MUST_CHECK;

#endif
