/*
 * What can be measured here: every sensor found, refused or absent, with the reason and what to do;
 * how often the readable ones really move and what a reading costs; and what precision of joules
 * that makes. For edge-eval doctor. Threads: one.
 */
#ifndef ENERGY_PROBE_H
#define ENERGY_PROBE_H

#include "energy/meter.h"

#define PROBE_MAX_SENSORS 16

enum probe_state {
    PROBE_FOUND,   /* some component of it can be read */
    PROBE_REFUSED, /* it is here and cannot be read */
    PROBE_ABSENT,
};

/* "found", "refused", "absent". */
const char *probe_state_name(enum probe_state s);

/* How a reading behaves. NAN where it was not seen. */
struct probe_timing {
    bool is_there;
    double stated_s;  /* update period or averaging window as its sensor states it */
    double update_s;  /* median time between two changes of its value */
    double call_s;    /* median cost of a call that reads it */
    double slowest_s; /* of the calls that were made */
};

struct probe_component {
    struct meter_component info;
    bool is_readable;
    char why[256], fix[320]; /* where it is not */
    struct probe_timing counter, power;
};

struct probe_sensor {
    const char *name, *what; /* static */
    enum probe_state state;
    bool is_automatic;
    char why[512], fix[512]; /* may be empty */
    size_t n;
    struct probe_component c[METER_MAX_COMPONENTS];
};

struct probe_opts {
    const struct meter_opts *meter; /* root, NVML, perf, GPUs; NULL: this machine */
    bool with_timing;               /* takes a second or so for each component */
};

/* Looks at every sensor but recordings. out has room for PROBE_MAX_SENSORS; returns how many. */
size_t probe_sensors(const struct probe_opts *opts, struct probe_sensor *out);

/* What a window's figures are worth on this machine, from one that was measured. */
struct probe_verdict {
    bool has_figure, is_modelled;
    char scope[64];
    double half_10s,
        half_60s;     /* relative half-width of the total's interval, by length of window */
    double apart_60s; /* what is left of it between two windows of this machine */
    char text[512];   /* in words */
};

void probe_verdict(const struct meter_reading *r, struct probe_verdict *out);

#endif
