/*
 * A worker: the child process in which a stage touches an engine. It is this same program, started
 * by supervise.h, with a channel on PROCESS_CHANNEL_FD. It gets one job, and answers with progress
 * lines, rows, window edges, and in the end one result or one error.
 *
 * A window edge is a handshake: the worker waits until the parent has read its energy counters, so
 * that work and window begin and end together.
 */
#ifndef LIFECYCLE_WORKER_H
#define LIFECYCLE_WORKER_H

#include "base/channel.h"
#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

struct worker {
    struct channel channel;
    int64_t main_ns; /* when main() was entered */
    int64_t last_progress_ns;
};

/* Runs the job that comes over the channel; the process's exit status. */
int worker_main(int64_t main_ns);

/* A job: reads args, returns 0 with *result (owned by the caller) or fails. */
typedef int worker_job_fn(struct worker *w, const json_t *args, json_t **result, struct err *e);

int worker_window_open(struct worker *w, const char *window, struct err *e) EE_MUST_CHECK;
int worker_window_close(struct worker *w, const char *window, struct err *e) EE_MUST_CHECK;
/* Does nothing until the parent has done what it does while the worker holds what it has. */
int worker_pause(struct worker *w, struct err *e) EE_MUST_CHECK;
/* Sent at most five times a second; the rest is dropped. */
void worker_progress(struct worker *w, int64_t done, int64_t total, int64_t tokens);
/* A row for the parent to store; takes over the reference. */
int worker_row(struct worker *w, json_t *row, struct err *e) EE_MUST_CHECK;

/* In a job that made a file: its hash, "" for one that follows from its shape and can be made again. */
int artifact_hash(const json_t *args, const char *path, char hash[33], struct err *e) EE_MUST_CHECK;

/* The jobs, each beside the stage that sends it. */
worker_job_fn inspect_job;
worker_job_fn synth_job;
worker_job_fn adapt_job;
worker_job_fn merge_job;
worker_job_fn quantize_job;
worker_job_fn load_job;
worker_job_fn serve_job;
worker_job_fn fidelity_job;
worker_job_fn entail_job;
worker_job_fn judge_job;
worker_job_fn similarity_job;
worker_job_fn likelihood_job;

#endif
