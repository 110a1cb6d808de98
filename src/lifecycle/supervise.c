#include "lifecycle/supervise.h"

#include "base/buf.h"
#include "base/channel.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/process.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_OPEN_WINDOWS = 4,
    STOP_POLL_NS = 100 * 1000 * 1000,
    STOP_GRACE_NS = 500 * 1000 * 1000,
};

/* The first look comes early, for short windows. */
#define FIRST_LOOK_NS (NS_PER_S / 4)
#define LOOK_NS NS_PER_S

struct open_window {
    int id;
    char name[48];
    struct gpu_looks gpus[METER_MAX_COMPONENTS];
};

struct session {
    const struct job_spec *spec;
    struct job_outcome *out;
    struct process process;
    struct channel channel;
    struct open_window open[MAX_OPEN_WINDOWS];
    int n_open;
    int64_t next_look_ns;
    bool finished; /* a result or an error came */
    int64_t deadline_ns;
    size_t log_begin; /* bytes that earlier workers left in the log */
};

static int open_window(struct session *s, const char *name, struct err *e) {
    if (s->n_open == MAX_OPEN_WINDOWS) {
        return err_set(e, EE_FAIL, "too many energy windows are open");
    }
    int parent = s->n_open ? s->open[s->n_open - 1].id : METER_NO_PARENT;
    int id = meter_window_open(s->spec->meter, name, parent, e);
    if (id < 0) {
        return id;
    }
    struct open_window *w = &s->open[s->n_open++];
    memset(w, 0, sizeof(*w));
    w->id = id;
    int64_t soon_ns = clock_mono_ns() + FIRST_LOOK_NS;
    s->next_look_ns = s->n_open == 1 || soon_ns < s->next_look_ns ? soon_ns : s->next_look_ns;
    snprintf(w->name, sizeof(w->name), "%s", name);
    return 0;
}

static int close_window(struct session *s, const char *name, struct err *e) {
    if (s->n_open == 0 || strcmp(s->open[s->n_open - 1].name, name) != 0) {
        return err_set(e, EE_FAIL, "the worker closed the window \"%.40s\", which is not open",
                       name);
    }
    struct meter_reading reading;
    const struct open_window *w = &s->open[--s->n_open];
    int rc = meter_window_close(s->spec->meter, w->id, &reading, e);
    if (!rc && s->spec->on_window) {
        rc = s->spec->on_window(&reading, s->spec->ctx, e);
    }
    for (size_t i = 0; i < reading.n && !rc && s->spec->on_gpu; i++) {
        if (w->gpus[i].n > 0) {
            rc = s->spec->on_gpu(w->name, reading.c[i].name, &w->gpus[i], s->spec->ctx, e);
        }
    }
    return rc;
}

/* While a window is open, from time to time. */
static void look_at_gpus(struct session *s) {
    if (s->n_open == 0 || !s->spec->on_gpu || clock_mono_ns() < s->next_look_ns) {
        return;
    }
    for (size_t i = 0; i < meter_n_components(s->spec->meter); i++) {
        struct meter_gpu_state state;
        if (meter_gpu_state(s->spec->meter, i, &state, NULL)) {
            continue; /* no GPU */
        }
        for (int k = 0; k < s->n_open; k++) {
            gpu_looks_add(&s->open[k].gpus[i], &state, s->process.pid);
        }
    }
    s->next_look_ns = clock_mono_ns() + LOOK_NS;
}

static void drop_windows(struct session *s) {
    while (s->n_open > 0) {
        struct err ignored;
        if (meter_window_close(s->spec->meter, s->open[--s->n_open].id, NULL, &ignored)) {
            continue; /* the window is gone either way */
        }
    }
}

/* A worker that can no longer be told anything has ended: its last words and the channel's end, which
 * are read next, say how. */
static int tell(struct session *s, json_t *msg, struct err *e) {
    int rc = channel_send(&s->channel, msg, e);
    return rc == EE_IO ? 0 : rc;
}

static int on_edge(struct session *s, const json_t *msg, struct err *e) {
    const char *window = NULL;
    int rc = json_want_str(msg, "window", &window, e);
    if (!rc && s->spec->meter) {
        rc = json_is_true(json_object_get(msg, "open")) ? open_window(s, window, e)
                                                        : close_window(s, window, e);
    }
    return rc ? rc : tell(s, json_pack("{s:s}", "t", "go"), e);
}

static int on_pause(struct session *s, struct err *e) {
    int64_t begin_ns = clock_mono_ns();
    int rc = s->spec->on_pause ? s->spec->on_pause(s->spec->ctx, e) : 0;
    s->deadline_ns += clock_mono_ns() - begin_ns;
    return rc ? rc : tell(s, json_pack("{s:s}", "t", "go"), e);
}

static int on_error(struct session *s, const json_t *msg, struct err *e) {
    s->finished = true;
    return err_set(e, err_code_from_name(json_str_or(msg, "code", "failed")), "%s",
                   json_str_or(msg, "message", "the worker failed without a reason"));
}

static int handle(struct session *s, json_t *msg, struct err *e) {
    const struct job_spec *spec = s->spec;
    const char *type = json_str_or(msg, "t", "");
    if (!strcmp(type, "edge")) {
        return on_edge(s, msg, e);
    }
    if (!strcmp(type, "pause")) {
        return on_pause(s, e);
    }
    if (!strcmp(type, "row")) {
        return spec->on_row ? spec->on_row(json_object_get(msg, "row"), spec->ctx, e) : 0;
    }
    if (!strcmp(type, "progress")) {
        if (spec->on_progress) {
            const struct job_progress p = {
                .done = json_int_or(msg, "done", 0),
                .total = json_int_or(msg, "total", 0),
                .tokens = json_int_or(msg, "tokens", 0),
                .rss_bytes = machine_process_memory_bytes(s->process.pid, "VmRSS")};
            spec->on_progress(&p, spec->ctx);
        }
        return 0;
    }
    if (!strcmp(type, "error")) {
        return on_error(s, msg, e);
    }
    if (!strcmp(type, "result")) {
        s->finished = true;
        s->out->result = json_incref(json_object_get(msg, "value"));
        return 0;
    }
    return err_set(e, EE_FAIL, "the worker sent an unknown message \"%.40s\"", type);
}

/* The last line this worker printed, which names an assertion that ended it. */
static void last_log_line(const struct session *s, char *out, size_t size) {
    const char *path = s->spec->log_path;
    struct buf b;
    buf_init(&b);
    out[0] = '\0';
    if (path && fs_read(path, &b, NULL) == 0 && b.len > s->log_begin) {
        while (b.len > s->log_begin && b.data[b.len - 1] == '\n') {
            b.data[--b.len] = '\0';
        }
        const char *own = b.data + s->log_begin;
        const char *newline = strrchr(own, '\n');
        snprintf(out, size, "%.200s", newline ? newline + 1 : own);
    }
    buf_release(&b);
}

/* The channel closed without a result: say how the process ended. */
static int died(struct session *s, struct err *e) {
    char how[128];
    char line[256];
    if (!process_wait_until(&s->process, clock_mono_ns() + NS_PER_S)) {
        process_kill_tree(&s->process, 0);
    }
    process_describe_end(&s->process, how, sizeof(how));
    last_log_line(s, line, sizeof(line));
    return err_set(e, s->process.end == PROCESS_OOM ? EE_NOMEM : EE_CRASH,
                   "the worker (%s) %s%s%s%s%s", s->spec->job, how,
                   line[0] ? "; it last said: " : "", line, s->spec->log_path ? "; log: " : "",
                   s->spec->log_path ? s->spec->log_path : "");
}

static int talk(struct session *s, struct err *e) {
    s->deadline_ns = clock_mono_ns() + s->spec->timeout_s * NS_PER_S;
    while (!s->finished) {
        if (s->spec->stop && *s->spec->stop) {
            return err_set(e, EE_STOPPED, "stopped");
        }
        int64_t now_ns = clock_mono_ns();
        if (now_ns >= s->deadline_ns) {
            return err_set(e, EE_TIMEOUT,
                           "the worker (%s) did not finish in %lld s and was stopped; raise "
                           "stage_timeout_s in the plan if it was working",
                           s->spec->job, (long long)s->spec->timeout_s);
        }
        int64_t until_ns = now_ns + STOP_POLL_NS < s->deadline_ns ? now_ns + STOP_POLL_NS
                                                                  : s->deadline_ns;
        json_t *msg = NULL;
        look_at_gpus(s);
        int rc = channel_recv(&s->channel, until_ns, &msg, e);
        if (!rc && msg) {
            rc = handle(s, msg, e);
        } else if (!rc && s->channel.at_eof) {
            rc = died(s, e);
        }
        json_decref(msg);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int start(struct session *s, struct err *e) {
    const struct job_spec *spec = s->spec;
    const char *const argv[] = {spec->exe, "worker", NULL};
    const struct process_spec ps = {.argv = argv, .log_path = spec->log_path, .with_channel = true};
    uint64_t log_bytes = 0;
    if (spec->log_path && fs_size(spec->log_path, &log_bytes, NULL) == 0) {
        s->log_begin = (size_t)log_bytes;
    }
    int rc = spec->meter && spec->exec_window ? open_window(s, spec->exec_window, e) : 0;
    rc = rc ? rc : process_spawn(&s->process, &ps, e);
    if (rc) {
        return rc;
    }
    s->out->spawned_ns = s->process.spawned_ns;
    channel_init(&s->channel, s->process.channel_fd);
    if (spec->meter) {
        rc = meter_watch_pid(spec->meter, s->process.pid, e);
    }
    return rc ? rc : tell(s, json_pack("{s:s, s:O}", "job", spec->job, "args", spec->args), e);
}

int supervise_job(const struct job_spec *spec, struct job_outcome *out, struct err *e) {
    *out = (struct job_outcome){0};
    struct session s = {.spec = spec, .out = out, .process = {.pid = -1, .channel_fd = -1}};
    int rc = start(&s, e);
    rc = rc ? rc : talk(&s, e);
    drop_windows(&s);
    if (s.process.pid > 0) {
        if (spec->meter) {
            meter_unwatch_pid(spec->meter, s.process.pid);
        }
        /* After a result the worker only frees memory; otherwise it is told to go. */
        if (rc || !process_wait_until(&s.process, clock_mono_ns() + 30 * NS_PER_S)) {
            process_kill_tree(&s.process, STOP_GRACE_NS);
        }
        out->max_rss_bytes = s.process.max_rss_bytes;
        channel_release(&s.channel);
    }
    process_release(&s.process);
    if (rc) {
        json_decref(out->result);
        out->result = NULL;
    }
    return rc;
}
