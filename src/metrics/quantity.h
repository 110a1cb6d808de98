/*
 * A measured quantity on its way into a metric: a value with what a reader must know about it, or
 * the reason why there is none. A missing quantity is never 0 and never a default.
 *
 * Strings are borrowed and must outlive the quantity and every row made from it. Pure.
 */
#ifndef METRICS_QUANTITY_H
#define METRICS_QUANTITY_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

/* Warnings that travel from an input to every metric made of it, and so to the screen. */
enum quantity_flag {
    QUANTITY_MODELLED = 1 << 0,
    QUANTITY_SHORT = 1 << 1,
    QUANTITY_SOME_FAILED = 1 << 2,
    QUANTITY_FORCED = 1 << 3,
    QUANTITY_WARM_CACHE = 1 << 4,
    QUANTITY_FEW_STARTS = 1 << 5,
    QUANTITY_NO_ADAPTATION = 1 << 6,
    QUANTITY_NOTHING_SPENT = 1 << 7,
    QUANTITY_ITEMS_DIFFER = 1 << 8,
    QUANTITY_LABEL_SIZE = 1 << 9,
    QUANTITY_SYNTHETIC = 1 << 13,
    QUANTITY_STALE_PRICE = 1 << 14,
    QUANTITY_GIVEN_IDLE = 1 << 15,
    QUANTITY_NOT_EQUIVALENT = 1 << 16,
    QUANTITY_EXTRAPOLATED = 1 << 17,
    QUANTITY_PUBLISHED = 1 << 18,
    QUANTITY_UNCHECKED_PRICE = 1 << 19,
    QUANTITY_UNSCORED = 1 << 20,
    /* These say what an interval is, and stay with the figure that has it. */
    QUANTITY_INSTRUMENT = 1 << 10,
    QUANTITY_T_INTERVAL = 1 << 11,
    QUANTITY_AT_LEAST = 1 << 12,
    QUANTITY_IN_RANGE = 1 << 21,
};
enum {
    QUANTITY_OF_INTERVAL = QUANTITY_INSTRUMENT | QUANTITY_T_INTERVAL | QUANTITY_AT_LEAST |
                           QUANTITY_IN_RANGE
};

struct quantity {
    bool present;
    double value;
    double low;  /* NAN without an interval */
    double high; /* NAN without an interval, INFINITY where nothing bounds it */
    size_t n;    /* independent observations behind value; 0 when that means nothing */
    unsigned flags;
    const char *scope;  /* of joules and watts: which parts of the machine; else NULL */
    const char *note;   /* "scorer f1", or NULL */
    const char *reason; /* why it is missing; else NULL */
};

struct quantity quantity_of(double value, size_t n);
/* reason must not be NULL. */
struct quantity quantity_missing(const char *reason);
/*
 * Flags, scope and note as one line such as "modelled; scope CPU; scorer f1"; NULL when there is
 * nothing to say. *out lies in the arena; false when memory is out.
 */
bool quantity_label(unsigned flags, const char *scope, const char *note, struct arena *a,
                    const char **out);

#endif
