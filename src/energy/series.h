/*
 * Running totals of one component, and the figure of a window as the difference of two of them.
 * Pure: no clock, no sensor, no lock. Formulas E1 to E5 are in docs/energy.md.
 *
 * A component has up to two series: its energy counter, and the trapezoid integral of its power.
 * A failed reading breaks a series; a window that a break falls into has no figure from it.
 */
#ifndef ENERGY_SERIES_H
#define ENERGY_SERIES_H

#include "energy/sensor.h"

struct series_counter {
    bool valid; /* the last read worked */
    int64_t t_ns;
    double joules;
    int64_t changed_ns; /* last time the value moved */
    uint32_t breaks;
    int64_t mark_ns; /* start of the interval whose mean power is next taken */
    double mark_j;
};

struct series_power {
    bool valid;
    int64_t t_ns;
    double watts;
    double joules; /* since start, trapezoid */
    double gap_j;  /* part of joules from intervals too long to trust */
    int64_t gap_ns;
    double rough_j2; /* sum of squares of (change of power * time): what sampling may have missed */
    uint32_t breaks;
};

/* What a window remembers of its opening edge. */
struct series_mark {
    struct series_counter counter;
    struct series_power power;
};

struct series {
    struct series_mark now;
    char counter_why[256]; /* of the last break */
    char power_why[256];
    double watts; /* newest power, or mean power between counter readings */
    bool has_watts;
    int64_t period_ns;    /* of sampling */
    double low_w, high_w; /* of all power readings so far; NAN before the first */
};

/* The interval that a reading completed. From power where the component has it, else counter. */
struct series_step {
    bool valid;
    int64_t start_ns, end_ns;
    double joules;
    /* A counter read twice in quick succession gives no power worth showing: has_peak is false. */
    bool has_peak;
    int64_t peak_start_ns; /* what peak_w was taken over began here */
    double peak_w;
};

void series_init(struct series *s, int64_t period_ns);
/* Takes one reading; returns the interval it completed. */
struct series_step series_advance(struct series *s, const struct sensor_component *c,
                                  const struct sensor_value *v);

/* Joules since start from the better series, for live figures and batches. */
double series_joules(const struct series *s);
/* True when the newest reading of some series worked. */
bool series_alive(const struct series *s);

/*
 * The window from `open` to the series' present state. peak_w is the highest power seen inside,
 * NAN when unknown. Fills everything but the idle part.
 */
void series_reading(const struct series *s, const struct series_mark *open,
                    const struct sensor_component *c, double peak_w, struct component_reading *out);
/* Adds the idle part. */
void series_subtract_idle(struct component_reading *r, const struct meter_idle_component *baseline);

#endif
