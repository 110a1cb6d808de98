/*
 * A hardware energy counter made continuous: raw readings go in, joules since the first reading
 * come out. A reading that does not fit (it went back, it jumped further than the hardware can
 * have drawn) is refused, and counting starts again from it: it never becomes a phantom wrap.
 */
#ifndef ENERGY_COUNTER_H
#define ENERGY_COUNTER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct counter {
    double unit_j;  /* joules of one step of the raw value */
    uint64_t range; /* the raw value after which it starts at 0 again; 0: it never wraps */
    double max_w;   /* more than the hardware can draw: tells a wrap from a reset */

    bool started;
    uint64_t raw;
    int64_t t_ns;
    uint64_t total; /* raw steps since the first reading */
};

/* Takes a reading at t_ns; 0, or EE_FORMAT with the reason in why (why_size bytes). */
int counter_advance(struct counter *c, uint64_t raw, int64_t t_ns, char *why,
                    size_t why_size) EE_MUST_CHECK;
/* After a failed read: the next reading starts afresh instead of being compared to an old one. */
void counter_forget(struct counter *c);
double counter_joules(const struct counter *c);

#endif
