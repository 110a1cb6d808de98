/*
 * edge-eval bench MODEL.gguf: the engine works in a child, which hands its records over in a file:
 * a model that crashes the engine costs that child. The parent never touches the engine; it has the
 * meter.
 */
#include "bench_around.h"
#include "bench_cmd.h"
#include "cmd.h"

#include "serve/inprocess.h"
#include "serve/raw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

bool bench_is_model(const struct bench_args *a) {
    size_t n = strlen(a->target);
    return n > 5 && !strcmp(a->target + n - 5, ".gguf") && !strstr(a->target, "://");
}

/* What child and parent say: the child when the load begins and ends, and the parent that it may go on
 * because the sensors have been read; at the end the child how it went. */
enum word_kind { WORD_BEGIN, WORD_END, WORD_DONE };

struct word {
    enum word_kind kind;
    struct err err;
};

/* bench_opts.edge of the child. */
static int tell_edge(void *ctx, bool begins, struct err *e) {
    const int *parent_fd = ctx;
    struct word w = {.kind = begins ? WORD_BEGIN : WORD_END};
    if (send(*parent_fd, &w, sizeof(w), MSG_NOSIGNAL) != (ssize_t)sizeof(w) ||
        recv(*parent_fd, &w, sizeof(w), 0) != (ssize_t)sizeof(w)) {
        return err_set(e, EE_IO, "the measuring process is gone");
    }
    *e = w.err;
    return w.err.code;
}

/* In the child: measures and leaves the records in path. */
static int measure_model(const struct bench_args *a, const char *path, int *parent_fd,
                         struct err *e) {
    struct setup s = {0};
    struct bench b = {0};
    struct ticker ticker = {.is_terminal = !a->quiet && isatty(STDERR_FILENO)};
    const struct inprocess_opts in = {.engine = {.model_path = a->target,
                                                 .n_threads = (int)a->threads,
                                                 .n_gpu_layers = (int)a->gpu_layers,
                                                 .n_batch = (int)a->batch,
                                                 .n_ctx_seq = (int)a->context},
                                      .n_parallel = (int)a->parallel};
    int rc = bench_set_up(a, &s, e);
    s.o.progress = bench_show_progress;
    s.o.progress_ctx = &ticker;
    s.o.edge = tell_edge;
    s.o.edge_ctx = parent_fd;
    rc = rc ? rc : inprocess_bench(&b, &s.o, &in, &s.workload, e);
    bench_end_progress(&ticker);
    if (!rc) {
        json_t *result = bench_json(&b);
        rc = raw_write(path, result, &b.result, e);
        rc = rc ? rc : bench_write_prompts(a, &s.workload, e);
        json_decref(result);
        bench_release(&b);
    }
    bench_setup_release(&s);
    return rc;
}

static void child_main(const struct bench_args *a, const char *path, int parent_fd) {
    struct word last = {.kind = WORD_DONE};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int rc = measure_model(a, path, &parent_fd, &last.err);
    ssize_t n = send(parent_fd, &last, sizeof(last), 0);
    _exit(rc || n != (ssize_t)sizeof(last) ? EXIT_FAILED : EXIT_OK);
}

/* Opens and closes the window of the load at the child's word, until its last. False: it is gone. */
static bool listen_to_child(int child_fd, struct around *around, struct word *w) {
    for (;;) {
        ssize_t n = recv(child_fd, w, sizeof(*w), 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n != (ssize_t)sizeof(*w) || w->kind == WORD_DONE) {
            return n == (ssize_t)sizeof(*w);
        }
        around_edge(around, w->kind == WORD_BEGIN, &w->err);
        if (send(child_fd, w, sizeof(*w), MSG_NOSIGNAL) != (ssize_t)sizeof(*w)) {
            return false;
        }
    }
}

static int wait_for_child(pid_t pid, int child_fd, struct around *around, const char *model,
                          struct err *e) {
    struct word last;
    int status = 0;
    bool told = listen_to_child(child_fd, around, &last);
    if (around->meter) {
        meter_unwatch_pid(around->meter, pid);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (told) {
        *e = last.err;
        return last.err.code;
    }
    return WIFSIGNALED(status)
               ? err_set(e, EE_CRASH, "%s: the engine's process was killed by signal %d (%s)",
                         model, WTERMSIG(status), strsignal(WTERMSIG(status)))
               : err_set(e, EE_CRASH, "%s: the engine's process ended without a result", model);
}

/* The child comes first, so that it is made of a process without threads. */
static int run_child(const struct bench_args *a, const char *path, struct around *around,
                     struct err *e) {
    int ends[2];
    struct target nowhere = {.host = ""};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) {
        return err_errno(e, errno, "cannot start the engine's process");
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child_main(a, path, ends[1]);
    }
    close(ends[1]);
    int rc = pid < 0 ? err_errno(e, errno, "cannot start the engine's process")
                     : around_begin(around, a, &nowhere, NULL, NULL, e);
    if (!rc && around->meter) {
        rc = meter_watch_pid(around->meter, pid, e);
    }
    if (rc && pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    rc = rc ? rc : wait_for_child(pid, ends[0], around, a->target, e);
    close(ends[0]);
    return rc;
}

int bench_model(const struct bench_args *a, struct err *e) {
    char dir[] = "/tmp/edge-eval-bench-XXXXXX";
    char path[64];
    struct slo_set slos = {0};
    if (!mkdtemp(dir)) {
        return err_errno(e, errno, "cannot make a directory in /tmp");
    }
    snprintf(path, sizeof(path), "%s/records", dir);
    json_t *result = NULL;
    struct load_result load = {0};
    struct measures m = {0};
    char *out = NULL;
    struct around around = {.args = a};
    int rc = a->slo ? slo_parse(a->slo, &slos, e) : 0;
    rc = rc ? rc : run_child(a, path, &around, e);
    rc = rc ? rc : bench_reread(path, &slos, &result, &load, &m, e);
    unlink(path);
    rmdir(dir);
    if (rc) {
        around_end(&around);
        return rc;
    }
    around_add(&around, &m, result);
    around_end(&around);
    rc = bench_out_dir(a, json_string_value(json_object_get(result, "started_utc")), &out, e);
    rc = rc || !out ? rc : bench_keep(out, "requests", result, &load, e);
    rc = rc ? rc : bench_show(a, result, &load, &m, e);
    if (!rc && m.outcomes[OUTCOME_OK] == 0) {
        rc = err_set(e, EE_FAIL, "no request was answered");
    }
    measures_release(&m);
    load_result_release(&load);
    json_decref(result);
    free(out);
    return rc;
}
