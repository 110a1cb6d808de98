/*
 * Inside of the meter, shared by meter.c, window.c, idle.c and trace.c, and by tests that drive
 * the clock themselves.
 */
#ifndef ENERGY_METER_IMPL_H
#define ENERGY_METER_IMPL_H

#include "base/rng.h"
#include "energy/meter.h"
#include "energy/sensor.h"
#include "energy/series.h"

#include <pthread.h>

#define METER_MAX_SENSORS 8

/*
 * Time as the meter sees it, and in simulations the sensor too. With `manual` there is no thread:
 * the test calls meter_step.
 */
struct meter_clock {
    int64_t (*now_ns)(void *ctx);
    /* Returns at or after t_ns. Called without the meter's lock. */
    void (*wait_until)(void *ctx, int64_t t_ns);
    void *ctx; /* also the probe's now_ctx */
    bool manual;
    const struct sensor_ops *sensor; /* instead of what the options name; NULL: none */
};

struct channel {
    struct sensor *sensor;
    size_t index; /* of the component within the sensor */
    struct series series;
};

struct window {
    bool open;
    int id, parent_id, n_children;
    char name[48];
    int64_t floor_ns; /* before the readings of the opening edge: later intervals lie inside */
    int64_t start_ns; /* after them */
    struct series_mark mark[METER_MAX_COMPONENTS];
    double peak_w[METER_MAX_COMPONENTS]; /* NAN until an interval ends inside */
};

/* max is even, so that a full trace merges into exactly half. */
struct trace {
    bool running;
    int id;
    int64_t floor_ns, start_ns; /* as a window's */
    size_t max;
    struct trace_component {
        struct trace_point *points; /* max of them, owned */
        size_t n;                   /* finished ones */
        bool begun;                 /* points[n] holds something */
        uint64_t per_point;         /* intervals that make one point: doubles when full */
        uint64_t intervals;         /* of those, already in points[n] */
        int64_t since_ns;           /* time in points[n] that is no whole interval yet */
    } c[METER_MAX_COMPONENTS];
};

struct trace_point {
    int64_t start_ns, end_ns, covered_ns;
    double joules;
};

struct sample_ring {
    bool running;
    size_t capacity, head, n; /* rows head .. head + n - 1, modulo capacity */
    int64_t *t_ns;            /* capacity of them, owned */
    float *watts;             /* a row after the other, owned */
    uint64_t dropped;
    int64_t floor_ns; /* as a window's */
    int64_t last_ns;  /* of the newest row */
    double pending_j[METER_MAX_COMPONENTS];
    int64_t pending_ns[METER_MAX_COMPONENTS];
};

struct meter {
    struct meter_clock clock;
    int64_t period_ns, start_ns, last_full_ns;
    bool jitters;            /* samples at a random moment of each period */
    int64_t slot_ns, due_ns; /* of the thread: the period under way, and its moment */
    struct rng rng;
    const volatile sig_atomic_t *stop;
    struct sensor *sensors[METER_MAX_SENSORS]; /* owned */
    size_t n_sensors;

    pthread_mutex_t lock; /* guards everything below, and every call into a sensor */
    pthread_cond_t wake;  /* on CLOCK_MONOTONIC; signalled by meter_stop */
    pthread_t thread;
    bool has_thread, stopping;

    size_t n;
    struct channel ch[METER_MAX_COMPONENTS];
    struct window windows[METER_MAX_WINDOWS];
    struct trace traces[METER_MAX_TRACES];
    struct sample_ring ring;
    int generation; /* makes window and trace ids differ from those of closed ones */
    bool has_idle;
    struct meter_idle idle;
    struct meter_stats stats;
};

/* meter_start with a clock of the caller's; NULL: the real one. */
int meter_start_clocked(struct meter **out, const struct meter_opts *opts,
                        const struct meter_clock *clock, struct err *e) EE_MUST_CHECK;
/* Finds the sensors that opts asks for and fills m->sensors and m->ch. */
int meter_select(struct meter *m, const struct meter_opts *opts, struct err *e) EE_MUST_CHECK;
/* One periodic sample now: what the thread does at each deadline. */
void meter_step(struct meter *m);

/* The next sampling deadline after that one was kept at now_ns; counts those that are lost. */
void meter_plan_next(struct meter *m, int64_t now_ns);

/* The rest expects the lock to be held. */
/* Component c of idle (NULL: of none) into out, the model's own idle power where it has one; false when
 * there is neither. */
bool meter_idle_of(const struct meter_idle *idle, const struct sensor_component *c,
                   struct meter_idle_component *out);
void meter_sample(struct meter *m, enum sensor_depth depth);
int64_t meter_now_ns(const struct meter *m);
const struct sensor_component *meter_component_of(const struct channel *ch);
void trace_take(struct meter *m, size_t i, const struct series_step *step);
void traces_release(struct meter *m);
void samples_take_step(struct meter *m, size_t i, const struct series_step *step);
void samples_end_pass(struct meter *m, int64_t now_ns);
void samples_release(struct meter *m);

#endif
