/*
 * For tests of the energy layer: a clock that the test moves, and a directory that stands for "/".
 */
#ifndef TESTS_SUPPORT_ENERGY_FAKE_H
#define TESTS_SUPPORT_ENERGY_FAKE_H

#include "energy/meter_impl.h"

/* Time starts at 1000 s, far from 0, where an unset time would look right. */
struct fake_clock {
    int64_t now_ns;
    struct meter *m; /* stepped once a period while time passes; may be NULL */
};

#define FAKE_CLOCK_INIT                                                                            \
    { .now_ns = INT64_C(1000000000000) }

struct meter_clock fake_clock_hooks(struct fake_clock *c);
/* One step of time and one sample, however long the step. */
void fake_step_ns(struct fake_clock *c, int64_t ns);
/* Time passes with a sample every 100 ms; a rest below that passes without one. */
void fake_run_s(struct fake_clock *c, double seconds);

/* Starts a meter on the fake clock and remembers it in c. Fails the test when it cannot. */
struct meter *fake_meter(struct fake_clock *c, const struct meter_opts *opts);
/* As fake_meter with source replay of this text. */
struct meter *fake_replay(struct fake_clock *c, const char *recording);

/* A window over `seconds` of fake time. */
void fake_window(struct fake_clock *c, double seconds, struct meter_reading *out);

/* A temporary directory, removed with everything in it by fake_root_remove. */
struct fake_root {
    char dir[64];
};

void fake_root_make(struct fake_root *r);
void fake_root_remove(struct fake_root *r);
/* Writes dir/path in place, making the directories on the way. */
void fake_write(const struct fake_root *r, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void fake_unlink(const struct fake_root *r, const char *path);
void fake_mkdir(const struct fake_root *r, const char *path);

/*
 * A machine with one Intel package of one thread and no sensor, to which a test adds; a cmocka setup
 * and teardown, with *state the struct fake_machine. The teardown stops clock.m.
 */
struct fake_machine {
    struct fake_root root;
    struct fake_clock clock;
    struct meter_perf_calls *perf; /* given to the meter; NULL: the kernel's */
};

int fake_machine_setup(void **state);
int fake_machine_teardown(void **state);
/* Starts its meter, without NVML. */
void fake_machine_start(struct fake_machine *m, const char *source);
/* The one component of that name; the test fails without it. */
const struct component_reading *fake_component(const struct meter_reading *r, const char *name);

/* Relative equality to 1e-9. */
void check_close(double actual, double expected, const char *file, int line);
#define assert_close(actual, expected) check_close(actual, expected, __FILE__, __LINE__)

#endif
