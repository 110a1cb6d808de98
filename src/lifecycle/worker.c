#include "lifecycle/worker.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/process.h"
#include "base/utf8.h"

#include <string.h>

enum { PROGRESS_INTERVAL_NS = 200 * 1000 * 1000 };

static const struct {
    const char *name;
    worker_job_fn *run;
} jobs[] = {
    {"inspect", inspect_job},
    {"adapt", adapt_job},
    {"merge", merge_job},
    {"quantize", quantize_job},
    {"load", load_job},
    {"serve", serve_job},
    {"fidelity", fidelity_job},
    {"entail", entail_job},
    {"judge", judge_job},
    {"similarity", similarity_job},
    {"likelihood", likelihood_job},
    {"synth", synth_job},
};

/* Sends a message, which it takes over, and waits for the parent's answer. */
static int ask(struct worker *w, json_t *msg, struct err *e) {
    int rc = channel_send(&w->channel, msg, e);
    json_t *answer = NULL;
    rc = rc ? rc : channel_recv(&w->channel, INT64_MAX, &answer, e);
    if (!rc && !answer) {
        rc = err_set(e, EE_CRASH, "the supervising process is gone");
    }
    json_decref(answer);
    return rc;
}

static int edge(struct worker *w, const char *window, bool open, struct err *e) {
    return ask(w, json_pack("{s:s, s:s, s:b}", "t", "edge", "window", window, "open", open), e);
}

int worker_window_open(struct worker *w, const char *window, struct err *e) {
    return edge(w, window, true, e);
}

int worker_window_close(struct worker *w, const char *window, struct err *e) {
    return edge(w, window, false, e);
}

int worker_pause(struct worker *w, struct err *e) {
    return ask(w, json_pack("{s:s}", "t", "pause"), e);
}

void worker_progress(struct worker *w, int64_t done, int64_t total, int64_t tokens) {
    int64_t now_ns = clock_mono_ns();
    if (now_ns - w->last_progress_ns < PROGRESS_INTERVAL_NS) {
        return;
    }
    w->last_progress_ns = now_ns;
    /* A lost progress line costs nothing; a broken channel is met again at the next edge or row. */
    struct err ignored;
    if (channel_send(&w->channel,
                     json_pack("{s:s, s:I, s:I, s:I}", "t", "progress", "done", (json_int_t)done,
                               "total", (json_int_t)total, "tokens", (json_int_t)tokens),
                     &ignored)) {
        return;
    }
}

int worker_row(struct worker *w, json_t *row, struct err *e) {
    return channel_send(&w->channel, json_pack("{s:s, s:o}", "t", "row", "row", row), e);
}

static int run_job(struct worker *w, json_t **result, struct err *e) {
    json_t *job = NULL;
    const char *name = NULL;
    int rc = channel_recv(&w->channel, INT64_MAX, &job, e);
    if (!rc && !job) {
        rc = err_set(e, EE_USAGE, "no job came: workers are started by edge-eval run");
    }
    rc = rc ? rc : json_want_str(job, "job", &name, e);
    if (!rc) {
        rc = err_set(e, EE_USAGE, "unknown job \"%.40s\"", name);
        for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
            if (strcmp(jobs[i].name, name) == 0) {
                rc = jobs[i].run(w, json_object_get(job, "args"), result, e);
                break;
            }
        }
    }
    json_decref(job);
    return rc;
}

/* A message may quote a file name, which need not be UTF-8; JSON must be. */
static json_t *error_message(const struct err *e) {
    struct buf text;
    buf_init(&text);
    utf8_add_repaired(&text, e->msg, strlen(e->msg));
    json_t *msg = json_pack("{s:s, s:s, s:s}", "t", "error", "code", err_code_name(e->code),
                            "message", text.data);
    buf_release(&text);
    return msg;
}

int worker_main(int64_t main_ns) {
    struct worker w = {.main_ns = main_ns};
    struct err e = ERR_INIT;
    json_t *result = NULL;
    channel_init(&w.channel, PROCESS_CHANNEL_FD);
    int rc = run_job(&w, &result, &e);
    struct err send_err;
    json_t *last = rc ? error_message(&e) : json_pack("{s:s, s:o}", "t", "result", "value", result);
    int sent = channel_send(&w.channel, last, &send_err);
    channel_release(&w.channel);
    return rc || sent ? 1 : 0;
}
