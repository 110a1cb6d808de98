/*
 * The parent's side of a worker: starts it, gives it a job, opens and closes energy windows at its
 * word, passes on rows and progress, enforces the deadline and the user's stop, and turns every
 * way of dying into one error.
 */
#ifndef LIFECYCLE_SUPERVISE_H
#define LIFECYCLE_SUPERVISE_H

#include "base/err.h"
#include "energy/meter.h"
#include "lifecycle/gpu_looks.h"

#include <jansson.h>
#include <signal.h>
#include <stdint.h>

struct job_progress {
    int64_t done, total;
    int64_t tokens;
    uint64_t rss_bytes; /* of the worker, now; 0 where /proc does not tell */
};

struct job_spec {
    const char *exe;      /* this program */
    const char *job;      /* name in the worker's table */
    json_t *args;         /* borrowed */
    const char *log_path; /* receives what the worker and its engine print */
    int64_t timeout_s;
    struct meter *meter;     /* NULL: windows are ignored */
    const char *exec_window; /* opened before the process is started; the worker closes it */
    const volatile sig_atomic_t *stop;

    /* Callbacks, on the calling thread; ctx is passed through. A failing one ends the worker. */
    int (*on_row)(const json_t *row, void *ctx, struct err *e);
    /* The worker has nothing to do until this returns; its time is not the worker's. NULL: none. */
    int (*on_pause)(void *ctx, struct err *e);
    int (*on_window)(const struct meter_reading *reading, void *ctx, struct err *e);
    void (*on_progress)(const struct job_progress *progress, void *ctx);
    /* After on_window, for each GPU that was looked at in the window. */
    int (*on_gpu)(const char *window, const char *component, const struct gpu_looks *looks,
                  void *ctx, struct err *e);
    void *ctx;
};

struct job_outcome {
    json_t *result;         /* owned by the caller; NULL after a failure */
    int64_t spawned_ns;     /* just before the process was made */
    uint64_t max_rss_bytes; /* its peak resident set */
};

int supervise_job(const struct job_spec *spec, struct job_outcome *out,
                  struct err *e) EE_MUST_CHECK;

#endif
