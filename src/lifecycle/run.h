/*
 * A run: a plan being measured into a directory.
 *
 *   run.db  manifest.json  artifacts/  logs/      (and, from the report: metrics.csv,
 *                                                  metrics.json, report.html)
 *
 * A run killed at any moment is opened again and goes on with the first stage that is not done.
 * One process at a time may hold a run open for writing; a second is refused.
 */
#ifndef LIFECYCLE_RUN_H
#define LIFECYCLE_RUN_H

#include "base/err.h"
#include "energy/meter.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct run_progress {
    int64_t done;
    int64_t total;
    int64_t tokens;        /* -1 where the stage makes none */
    uint64_t memory_bytes; /* resident in the stage's worker now; 0 where that is not known */
    double elapsed_s;
    bool energy_known; /* else watts and joules mean nothing */
    double watts;
    double joules; /* since the stage began */
    enum meter_quality energy_quality;
};

/* What the run tells while it goes. Every callback may be NULL; all come from one thread. */
struct run_observer {
    void *ctx;
    /* index counts from 1; title as "serve rag int4". */
    void (*stage_begin)(void *ctx, size_t index, size_t total, const char *title);
    void (*stage_progress)(void *ctx, const struct run_progress *progress);
    /* status: "done", "reused" (equal work was done before), "failed", "skipped",
     * "stopped". */
    void (*stage_end)(void *ctx, const char *status, double wall_s, const char *message);
    void (*note)(void *ctx, const char *text);
};

struct run_opts {
    const char *exe;      /* this program: workers are started from it */
    const char *data_dir; /* models.yaml, tasks/ */
    const char *version;  /* of this program */
    const char *prices;   /* the price book as text, kept with a new run; NULL: none */
    const struct run_observer *observer;
    const volatile sig_atomic_t *stop; /* non-zero: stop soon, keeping what is done */
    const char
        *scratch;      /* where model files are written; NULL: artifacts/ of the run's directory */
    bool same_machine; /* the user's word that a resumed run is on the machine it began on */
    int64_t deadline_ns; /* CLOCK_MONOTONIC; no stage begins that would not end by then; 0: none */
};

struct run;

/* Creates dir with the plan inside; refused when dir already holds a run. */
int run_create(const char *plan_path, const char *dir, const struct run_opts *opts,
               struct run **out, struct err *e) EE_MUST_CHECK;
/* Opens a run to go on with it; the plan is the one stored in it. */
int run_resume(const char *dir, const struct run_opts *opts, struct run **out,
               struct err *e) EE_MUST_CHECK;
void run_close(struct run *r);
/* A fresh directory for a plan under parent: parent/name, or parent/name-2, ... The caller frees
 * *out. */
int run_default_dir(const char *plan_path, const struct run_opts *opts, const char *parent,
                    char **out, struct err *e) EE_MUST_CHECK;

struct run_outcome {
    size_t n_done; /* stages, counting reused ones */
    size_t n_failed;
    size_t n_skipped; /* not run because a stage they need failed */
};

/*
 * Does all stages, or only those of kind `only` and what they need (NULL: all). A failed stage
 * costs the variants that need it and nothing else: it is reported in out and through the
 * observer, and the result is still 0. EE_STOPPED when the user stopped the run.
 */
int run_execute(struct run *r, const char *only, struct run_outcome *out,
                struct err *e) EE_MUST_CHECK;
bool run_is_stage_kind(const char *name);

/* What run_execute would do, as text for people: the variants, the stages, disk and memory. */
int run_describe(const char *plan_path, const struct run_opts *opts, struct buf *out,
                 struct err *e) EE_MUST_CHECK;

#endif
