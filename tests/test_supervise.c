/* Workers under supervision: the real program where it can be had to misbehave, scripts elsewhere. */
#include "lifecycle/supervise.h"

#include "support/gguf_make.h"
#include "support/scratch.h"

#include "base/machine.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Long enough that a job which ends by itself never meets it. */
enum { PATIENCE_S = 120 };

static const char *program(void) {
    const char *path = getenv("EDGE_EVAL");
    path = path ? path : "build/edge-eval";
    if (access(path, X_OK) != 0) {
        print_message("%s is not there; set EDGE_EVAL\n", path);
        skip();
    }
    return path;
}

/* A program of this test's own in the worker's place. */
static const char *script(void **state, const char *lines) {
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "#!/bin/sh\n%s\n", lines);
    const char *path = scratch_write(*state, "worker.sh", text.data, text.len);
    buf_release(&text);
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

static int supervise(struct job_spec *spec, json_t *args, struct job_outcome *out, struct err *e) {
    spec->args = args;
    spec->timeout_s = spec->timeout_s ? spec->timeout_s : PATIENCE_S;
    int rc = supervise_job(spec, out, e);
    json_decref(args);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* every child was reaped */
    assert_int_equal(errno, ECHILD);
    if (rc) {
        assert_null(out->result);
    }
    return rc;
}

/* A job of the real worker that takes a file as it is: read, counted and hashed. */
static json_t *as_it_is(const char *path) {
    return json_pack("{s:s, s:s, s:s}", "in", path, "out", path, "type", "F16");
}

/* The same job on a pipe that nobody writes to: the worker waits in it without end. */
static json_t *without_end(void **state) {
    const char *path = scratch_path(*state, "pipe");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    return as_it_is(path);
}

static void a_job_gives_its_result(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    const char *path = scratch_path(*state, "made.gguf");
    gguf_make_file(path, &gguf_make_default);
    uint64_t bytes = 0;
    OK(fs_size(path, &bytes, &e));
    int64_t before_ns = clock_mono_ns();
    struct job_spec spec = {.exe = program(), .job = "quantize"};
    OK(supervise(&spec, as_it_is(path), &out, &e));
    assert_int_equal(json_int_or(out.result, "bytes", 0), bytes);
    assert_int_equal(strlen(json_str_or(out.result, "hash", "")), 32);
    assert_int_equal(json_int_or(json_object_get(out.result, "types"), "f16", 0), 15);
    assert_true(out.spawned_ns >= before_ns && out.spawned_ns <= clock_mono_ns());
    assert_true(out.max_rss_bytes > 1024 * 1024);
    json_decref(out.result);
}

static void a_model_is_inspected(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    const char *path = scratch_path(*state, "made.gguf");
    static const char item[] = "{\"context\": \"c\", \"question\": \"q\", \"answers\": [\"a\"]}\n";
    const char *items = scratch_write(*state, "items.jsonl", item, sizeof(item) - 1);
    gguf_make_file(path, &gguf_make_default);
    struct job_spec spec = {.exe = program(), .job = "inspect"};
    json_t *args = json_pack("{s:s, s:[{s:s, s:s, s:i}]}", "path", path, "tasks", "kind", "rag",
                             "path", items, "items", 0);
    OK(supervise(&spec, args, &out, &e));
    assert_string_equal(json_str_or(out.result, "arch", ""), "llama");
    assert_string_equal(json_str_or(out.result, "file_type", ""), "F16");
    assert_string_equal(json_str_or(out.result, "device", ""), "CPU");
    assert_int_equal(json_int_or(out.result, "kv_token_bytes", 0), 512);
    /* A token a byte: the prompt's text and the template's around it. */
    int64_t longest = json_int_or(json_object_get(out.result, "max_prompt_tokens"), "rag", 0);
    assert_in_range(longest, 100, 1000);
    json_decref(out.result);

    struct gguf_make m = gguf_make_default;
    m.template = "{{ messages | of_our_own }}";
    gguf_make_file(path, &m);
    args = json_pack("{s:s, s:[{s:s, s:s, s:i}]}", "path", path, "tasks", "kind", "rag", "path",
                     items, "items", 0);
    REFUSED_WITH(supervise(&spec, args, &out, &e), EE_UNSUPPORTED,
                 "chat template is not one that the engine knows");
}

static void what_the_worker_refuses_keeps_its_code_and_words(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct job_spec spec = {.exe = program(), .job = "dance"};
    REFUSED(supervise(&spec, json_object(), &out, &e), EE_USAGE, "unknown job \"dance\"");
    spec.job = "quantize";
    REFUSED(supervise(&spec, json_object(), &out, &e), EE_FORMAT,
            "\"in\" should be a string and is absent");
    const char *path = scratch_write(*state, "text.gguf", "hello", 5);
    REFUSED_WITH(supervise(&spec, as_it_is(path), &out, &e), EE_FORMAT,
                 "text.gguf is not a GGUF file this build can read");
}

/* ---- ends that were not planned ---- */

static pid_t only_child(void) {
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    pid_t child = 0;
    while (!child && (entry = readdir(proc))) {
        char path[300];
        struct buf stat;
        long ppid = 0;
        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        buf_init(&stat);
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && fs_read(path, &stat, NULL) == 0) {
            const char *after = strrchr(stat.data, ')');
            if (after && sscanf(after + 1, " %*c %ld", &ppid) == 1 && ppid == (long)getpid()) {
                child = (pid_t)strtol(entry->d_name, NULL, 10);
            }
        }
        buf_release(&stat);
    }
    closedir(proc);
    return child;
}

struct meddling {
    int signal; /* for the worker; 0: raise stop instead */
    volatile sig_atomic_t stop;
};

/* Waits until the worker sits in its pipe, then does what the test asks. */
static void *meddle(void *ctx) {
    struct meddling *m = ctx;
    pid_t child = 0;
    while (!(child = only_child())) {
        clock_sleep_until_ns(clock_mono_ns() + NS_PER_MS);
    }
    clock_sleep_until_ns(clock_mono_ns() + 300 * NS_PER_MS);
    if (m->signal) {
        kill(child, m->signal);
    } else {
        m->stop = 1;
    }
    return NULL;
}

static void a_worker_that_is_killed_is_a_crash(void **state) {
    static const struct {
        int signal;
        const char *words;
    } rows[] = {{SIGABRT, "the worker (quantize) was killed by signal 6 (Aborted)"},
                {SIGKILL, "the worker (quantize) was killed by signal 9 (Killed)"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct job_outcome out;
        struct meddling m = {.signal = rows[i].signal};
        struct job_spec spec = {.exe = program(), .job = "quantize"};
        json_t *args = without_end(state);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, meddle, &m), 0);
        REFUSED(supervise(&spec, args, &out, &e), EE_CRASH, rows[i].words);
        pthread_join(thread, NULL);
    }
}

static void a_worker_that_hangs_meets_its_deadline(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct job_spec spec = {.exe = program(), .job = "quantize", .timeout_s = 1};
    int64_t begin_ns = clock_mono_ns();
    REFUSED(supervise(&spec, without_end(state), &out, &e), EE_TIMEOUT,
            "the worker (quantize) did not finish in 1 s and was stopped; raise stage_timeout_s in "
            "the plan if it was working");
    assert_true(clock_mono_ns() - begin_ns >= NS_PER_S);
}

static void the_users_stop_ends_a_worker(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct meddling m = {.signal = 0};
    struct job_spec spec = {.exe = program(), .job = "quantize", .stop = &m.stop};
    json_t *args = without_end(state);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, meddle, &m), 0);
    REFUSED(supervise(&spec, args, &out, &e), EE_STOPPED, "stopped");
    pthread_join(thread, NULL);
}

/* It is asked first, and made to when it does not listen. */
static void a_worker_that_will_not_go_is_made_to(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct job_spec spec = {.exe = script(state, "trap '' TERM\nwhile :; do sleep 1; done"),
                            .job = "any",
                            .timeout_s = 1};
    REFUSED_WITH(supervise(&spec, json_object(), &out, &e), EE_TIMEOUT, "did not finish in 1 s");
}

static void a_program_that_is_not_there_is_named(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct job_spec spec = {.exe = "/no/such/program", .job = "any"};
    REFUSED(supervise(&spec, json_object(), &out, &e), EE_MISSING,
            "cannot run /no/such/program: No such file or directory");
    struct job_spec bad_log = {
        .exe = script(state, "exit 0"), .job = "any", .log_path = "/no/such/log"};
    REFUSED_WITH(supervise(&bad_log, json_object(), &out, &e), EE_MISSING,
                 "cannot open log file /no/such/log");
}

static void the_last_line_said_is_quoted(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    const char *log = scratch_write(*state, "job.log", "what an earlier worker said\n", 28);
    struct buf due;
    buf_init(&due);

    struct job_spec silent = {.exe = script(state, "exit 3"), .job = "any", .log_path = log};
    buf_addf(&due, "the worker (any) exited with code 3; log: %s", log);
    REFUSED(supervise(&silent, json_object(), &out, &e), EE_CRASH, due.data);

    struct job_spec loud = {.exe = script(state, "echo first; echo 'ASSERT(x) failed' >&2; exit 4"),
                            .job = "any",
                            .log_path = log};
    buf_clear(&due);
    buf_addf(&due, "the worker (any) exited with code 4; it last said: ASSERT(x) failed; log: %s",
             log);
    REFUSED(supervise(&loud, json_object(), &out, &e), EE_CRASH, due.data);
    buf_release(&due);
}

static void what_is_no_message_is_refused(void **state) {
    static const struct {
        const char *line;
        int code;
        const char *part;
    } rows[] = {
        {"printf 'hello\\n' >&3", EE_FORMAT, "message from the other process"},
        {"printf '{\"t\":\"dance\"}\\n' >&3", EE_FAIL,
         "the worker sent an unknown message \"dance\""},
        {"printf '{}\\n' >&3", EE_FAIL, "the worker sent an unknown message \"\""},
        {"printf '{\"t\":\"error\"}\\n' >&3", EE_FAIL, "the worker failed without a reason"},
        {"printf '{\"t\":\"error\",\"code\":\"disk_full\",\"message\":\"no room\"}\\n' >&3",
         EE_NOSPACE, "no room"},
        {"printf '{\"t\":\"result\"' >&3", EE_CRASH, "exited with code 0"},
        {"printf '{\"t\":\"edge\"}\\n' >&3; sleep 60", EE_FORMAT, "\"window\" should be a string"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct job_outcome out;
        struct job_spec spec = {.exe = script(state, rows[i].line), .job = "any"};
        REFUSED_WITH(supervise(&spec, json_object(), &out, &e), rows[i].code, rows[i].part);
    }
}

/* ---- rows, progress and windows ---- */

struct heard {
    int rows, progress, windows;
    int64_t tokens;
    char window[48];
    int fail_row; /* refuse the row of this number, from 1 */
};

static int hear_row(const json_t *row, void *ctx, struct err *e) {
    struct heard *h = ctx;
    h->rows++;
    assert_int_equal(json_int_or(row, "n", 0), h->rows);
    return h->rows == h->fail_row ? err_set(e, EE_NOSPACE, "no room for a row") : 0;
}

static int hear_window(const struct meter_reading *reading, void *ctx, struct err *e) {
    struct heard *h = ctx;
    (void)e;
    h->windows++;
    snprintf(h->window, sizeof(h->window), "%s", reading->name);
    assert_true(reading->end_ns >= reading->start_ns);
    return 0;
}

static void hear_progress(const struct job_progress *p, void *ctx) {
    struct heard *h = ctx;
    h->progress++;
    h->tokens = p->tokens;
    assert_true(p->done <= p->total);
    /* 0 where the script has ended meanwhile */
    assert_true(p->rss_bytes < machine_available_memory_bytes());
}

#define SAY(json) "printf '%s\\n' '" json "' >&3\n"

static void rows_come_in_order_and_a_refused_one_ends_the_job(void **state) {
    static const char lines[] = SAY("{\"t\":\"row\",\"row\":{\"n\":1}}")
        SAY("{\"t\":\"progress\",\"done\":1,\"total\":2,\"tokens\":7}")
            SAY("{\"t\":\"row\",\"row\":{\"n\":2}}") SAY("{\"t\":\"result\",\"value\":{\"v\":3}}");
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct heard h = {0};
    struct job_spec spec = {.exe = script(state, lines),
                            .job = "any",
                            .on_row = hear_row,
                            .on_progress = hear_progress,
                            .ctx = &h};
    OK(supervise(&spec, json_object(), &out, &e));
    assert_int_equal(h.rows, 2);
    assert_int_equal(h.progress, 1);
    assert_int_equal(h.tokens, 7);
    assert_int_equal(json_int_or(out.result, "v", 0), 3);
    json_decref(out.result);

    h = (struct heard){.fail_row = 1};
    REFUSED(supervise(&spec, json_object(), &out, &e), EE_NOSPACE, "no room for a row");
    assert_int_equal(h.rows, 1);

    spec.on_row = NULL;
    spec.on_progress = NULL;
    OK(supervise(&spec, json_object(), &out, &e));
    json_decref(out.result);
}

static struct meter *start_meter(void) {
    struct meter *m = NULL;
    struct err e = ERR_INIT;
    const struct meter_opts opts = {.source = "model"};
    OK(meter_start(&m, &opts, &e));
    return m;
}

static void a_conversion_has_its_window(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct heard h = {0};
    struct meter *meter = start_meter();
    const char *in = scratch_path(*state, "made.gguf");
    const char *to = scratch_path(*state, "q8.gguf");
    gguf_make_file(in, &gguf_make_default);
    struct job_spec spec = {
        .exe = program(), .job = "quantize", .meter = meter, .on_window = hear_window, .ctx = &h};
    OK(supervise(
        &spec, json_pack("{s:s, s:s, s:s, s:i}", "in", in, "out", to, "type", "Q8_0", "threads", 1),
        &out, &e));
    assert_int_equal(h.windows, 1);
    assert_string_equal(h.window, "quantize");
    assert_int_equal(json_int_or(json_object_get(out.result, "types"), "q8_0", 0), 15);
    json_decref(out.result);
    meter_stop(meter);
}

#define EDGE(window, open)                                                                         \
    SAY("{\"t\":\"edge\",\"window\":\"" window "\",\"open\":" open "}") "read go <&3\n"

static void windows_nest_and_open_ones_do_not_outlive_a_worker(void **state) {
    static const struct {
        const char *lines, *part;
        int code, windows;
    } rows[] = {
        {EDGE("a", "true") EDGE("b", "true") EDGE("b", "false") EDGE("a", "false")
             SAY("{\"t\":\"result\",\"value\":1}"),
         NULL, 0, 2},
        {EDGE("a", "true") "exit 5", "exited with code 5", EE_CRASH, 0},
        {EDGE("a", "true") EDGE("b", "true") EDGE("a", "false"),
         "the worker closed the window \"a\", which is not open", EE_FAIL, 0},
        {EDGE("a", "false"), "the worker closed the window \"a\", which is not open", EE_FAIL, 0},
        {EDGE("a", "true") EDGE("a", "true") EDGE("a", "true") EDGE("a", "true") EDGE("a", "true"),
         "too many energy windows are open", EE_FAIL, 0},
    };
    struct meter *meter = start_meter();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct job_outcome out;
        struct heard h = {0};
        struct job_spec spec = {.exe = script(state, rows[i].lines),
                                .job = "any",
                                .meter = meter,
                                .on_window = hear_window,
                                .ctx = &h};
        if (rows[i].part) {
            REFUSED_WITH(supervise(&spec, json_object(), &out, &e), rows[i].code, rows[i].part);
        } else {
            OK(supervise(&spec, json_object(), &out, &e));
            json_decref(out.result);
        }
        assert_int_equal(h.windows, rows[i].windows);
    }
    /* As many as a meter can hold: none was left open. */
    struct err e = ERR_INIT;
    for (int i = 0; i < METER_MAX_WINDOWS; i++) {
        assert_true(meter_window_open(meter, "w", METER_NO_PARENT, &e) >= 0);
    }
    meter_stop(meter);
}

/* A cold start's window begins before there is a process; one that never closes it gives nothing. */
static void a_window_can_begin_before_the_process(void **state) {
    struct err e = ERR_INIT;
    struct job_outcome out;
    struct heard h = {0};
    struct meter *meter = start_meter();
    struct job_spec spec = {
        .exe = script(state, EDGE("start", "false") SAY("{\"t\":\"result\",\"value\":1}")),
        .job = "any",
        .meter = meter,
        .exec_window = "start",
        .on_window = hear_window,
        .ctx = &h};
    OK(supervise(&spec, json_object(), &out, &e));
    assert_int_equal(h.windows, 1);
    assert_string_equal(h.window, "start");
    json_decref(out.result);

    h = (struct heard){0};
    spec.exe = "/no/such/program";
    REFUSED_WITH(supervise(&spec, json_object(), &out, &e), EE_MISSING, "cannot run");
    assert_int_equal(h.windows, 0);
    meter_stop(meter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_gives_its_result),
        cmocka_unit_test(a_model_is_inspected),
        cmocka_unit_test(what_the_worker_refuses_keeps_its_code_and_words),
        cmocka_unit_test(a_worker_that_is_killed_is_a_crash),
        cmocka_unit_test(a_worker_that_hangs_meets_its_deadline),
        cmocka_unit_test(the_users_stop_ends_a_worker),
        cmocka_unit_test(a_worker_that_will_not_go_is_made_to),
        cmocka_unit_test(a_program_that_is_not_there_is_named),
        cmocka_unit_test(the_last_line_said_is_quoted),
        cmocka_unit_test(what_is_no_message_is_refused),
        cmocka_unit_test(rows_come_in_order_and_a_refused_one_ends_the_job),
        cmocka_unit_test(a_conversion_has_its_window),
        cmocka_unit_test(windows_nest_and_open_ones_do_not_outlive_a_worker),
        cmocka_unit_test(a_window_can_begin_before_the_process),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
