/*
 * edge-eval bench MODEL.gguf: the engine works in a child, which hands its records over in a file:
 * a model that crashes the engine costs that child. The parent never touches the engine.
 */
#include "bench_cmd.h"
#include "cmd.h"

#include "serve/inprocess.h"
#include "serve/raw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

bool bench_is_model(const struct bench_args *a) {
    size_t n = strlen(a->target);
    return n > 5 && !strcmp(a->target + n - 5, ".gguf") && !strstr(a->target, "://");
}

/* In the child: measures and leaves the records in path. */
static int measure_model(const struct bench_args *a, const char *path, struct err *e) {
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

static void child_main(const struct bench_args *a, const char *path, int report_fd) {
    struct err e = ERR_INIT;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int rc = measure_model(a, path, &e);
    ssize_t n = write(report_fd, &e, sizeof(e));
    _exit(rc || n != (ssize_t)sizeof(e) ? EXIT_FAILED : EXIT_OK);
}

/* Waits for the child's word and end. */
static int wait_for_child(pid_t pid, int report_fd, const char *model, struct err *e) {
    struct err said = ERR_INIT;
    ssize_t n;
    do {
        n = read(report_fd, &said, sizeof(said));
    } while (n < 0 && errno == EINTR);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (n == (ssize_t)sizeof(said)) {
        *e = said;
        return said.code;
    }
    return WIFSIGNALED(status)
               ? err_set(e, EE_CRASH, "%s: the engine's process was killed by signal %d (%s)",
                         model, WTERMSIG(status), strsignal(WTERMSIG(status)))
               : err_set(e, EE_CRASH, "%s: the engine's process ended without a result", model);
}

static int run_child(const struct bench_args *a, const char *path, struct err *e) {
    int ends[2];
    if (pipe(ends) != 0) {
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
                     : wait_for_child(pid, ends[0], a->target, e);
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
    int rc = a->slo ? slo_parse(a->slo, &slos, e) : 0;
    rc = rc ? rc : run_child(a, path, e);
    rc = rc ? rc : bench_reread(path, &slos, &result, &load, &m, e);
    unlink(path);
    rmdir(dir);
    if (rc) {
        return rc;
    }
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
