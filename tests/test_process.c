/*
 * Child processes. The children are this program again: `test_process child MODE ARGS...`. The
 * test takes in orphans, so that it sees how each of them ended.
 */
#include "base/process.h"

#include "support/process_child.h"
#include "support/scratch.h"

#include "base/buf.h"
#include "base/channel.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- helpers of the tests ---- */

static struct process start(const struct process_spec *like, const char *mode, const char *arg) {
    struct err e = ERR_INIT;
    char *exe = fs_exe_path();
    assert_non_null(exe);
    const char *const argv[] = {exe, "child", mode, arg, NULL};
    struct process_spec spec = *like;
    spec.argv = argv;
    struct process p;
    OK(process_spawn(&p, &spec, &e));
    assert_true(p.pid > 0);
    assert_int_equal(p.end, PROCESS_RUNNING);
    assert_true((p.channel_fd >= 0) == spec.with_channel);
    free(exe);
    return p;
}

static const struct process_spec plain = {.with_channel = false};
static const struct process_spec talking = {.with_channel = true};

static json_t *receive(const struct process *p) {
    struct err e = ERR_INIT;
    struct channel c;
    json_t *msg = NULL;
    channel_init(&c, p->channel_fd);
    OK(channel_recv(&c, clock_mono_ns() + PATIENCE_NS, &msg, &e));
    assert_non_null(msg);
    channel_release(&c);
    return msg;
}

static void wait_end(struct process *p) {
    assert_true(process_wait_until(p, clock_mono_ns() + PATIENCE_NS));
}

/* Waits until an orphan, which is ours now, has been killed by SIGKILL. */
static void check_orphan_killed(pid_t pid) {
    int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 || (got < 0 && errno == ECHILD)) {
        if (clock_mono_ns() > deadline_ns) {
            kill(pid, SIGKILL);
            fail_msg("process %d still lives", (int)pid);
        }
        clock_sleep_until_ns(clock_mono_ns() + NS_PER_MS);
    }
    assert_int_equal(got, pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static size_t own_descriptors(void) {
    return scratch_count("/proc/self/fd");
}

static void check_fds(const json_t *report, int n) {
    const json_t *fds = json_object_get(report, "fds");
    char *text = json_dumps(fds, JSON_COMPACT);
    assert_string_equal(text, n == 3 ? "[0,1,2]" : "[0,1,2,3]");
    free(text);
}

static void check_describes(const struct process *p, const char *want) {
    char text[128];
    process_describe_end(p, text, sizeof(text));
    assert_string_equal(text, want);
}

/* ---- ends ---- */

static void the_exit_code_arrives(void **state) {
    (void)state;
    static const struct {
        const char *arg;
        int code;
    } rows[] = {{"0", 0}, {"3", 3}, {"127", 127}, {"255", 255}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct process p = start(&plain, "exit", rows[i].arg);
        wait_end(&p);
        assert_int_equal(p.end, PROCESS_EXITED);
        assert_int_equal(p.status, rows[i].code);
        assert_true(process_poll(&p)); /* and stays ended */
        process_release(&p);
    }
    struct process p = start(&plain, "exit", "3");
    check_describes(&p, "is still running");
    wait_end(&p);
    check_describes(&p, "exited with code 3");
    process_release(&p);
}

static void the_killing_signal_arrives(void **state) {
    (void)state;
    static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        char arg[12];
        snprintf(arg, sizeof(arg), "%d", signals[i]);
        struct process p = start(&plain, "signal", arg);
        wait_end(&p);
        assert_int_equal(p.end, PROCESS_SIGNALED);
        assert_int_equal(p.signal, signals[i]);
        process_release(&p);
    }
    struct process p = start(&plain, "signal", "15");
    wait_end(&p);
    check_describes(&p, "was killed by signal 15 (Terminated)");
    process_release(&p);
}

static void every_end_has_words(void **state) {
    (void)state;
    check_describes(&(struct process){.end = PROCESS_KILLED}, "was stopped");
    check_describes(&(struct process){.end = PROCESS_OOM},
                    "was killed by the kernel because memory ran out");
    check_describes(&(struct process){.end = PROCESS_EXITED, .status = -1},
                    "ended, and how was not recorded");
    char tiny[8];
    process_describe_end(&(struct process){.end = PROCESS_OOM}, tiny, sizeof(tiny));
    assert_string_equal(tiny, "was kil");
}

static void what_the_child_used_is_known(void **state) {
    (void)state;
    struct process p = start(&plain, "use", NULL);
    wait_end(&p);
    assert_int_equal(p.end, PROCESS_EXITED);
    assert_int_equal(p.status, 0);
    assert_true(p.max_rss_bytes >= UINT64_C(96) << 20);
    assert_true(p.cpu_ns >= 50 * NS_PER_MS);
    assert_true(p.cpu_ns < PATIENCE_NS);
    process_release(&p);
}

static void a_deadline_passes_without_an_end(void **state) {
    (void)state;
    struct process p = start(&talking, "hang", "");
    json_decref(receive(&p));
    int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_MS;
    assert_false(process_wait_until(&p, deadline_ns));
    assert_true(clock_mono_ns() >= deadline_ns);
    assert_false(process_wait_until(&p, 0)); /* long past: one look */
    assert_false(process_poll(&p));
    assert_int_equal(p.end, PROCESS_RUNNING);
    process_release(&p);
    assert_int_equal(p.end, PROCESS_KILLED);
}

/* A parent may have been started with SIGCHLD ignored: the kernel then keeps no exit codes. */
static void an_end_that_nobody_kept_is_still_an_end(void **state) {
    (void)state;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    struct process p = start(&plain, "exit", "3");
    bool ended = process_wait_until(&p, clock_mono_ns() + PATIENCE_NS);
    struct process q = start(&talking, "hang", "");
    json_decref(receive(&q));
    if (ended) {
        process_kill_tree(&q, 0); /* must come back */
    }
    signal(SIGCHLD, before);
    assert_true(ended);
    assert_int_equal(p.end, PROCESS_EXITED);
    assert_int_equal(p.status, -1);
    assert_int_equal(q.end, PROCESS_KILLED);
    process_release(&p);
    process_release(&q);
}

/* ---- starts that fail ---- */

static void check_cannot_run(const char *program, int code, const char *msg) {
    struct err e = ERR_INIT;
    struct process p;
    memset(&p, 0xff, sizeof(p));
    size_t before = own_descriptors();
    const char *const argv[] = {program, NULL};
    const struct process_spec spec = {.argv = argv, .with_channel = true};
    REFUSED(process_spawn(&p, &spec, &e), code, msg);
    assert_int_equal(p.pid, -1);
    assert_int_equal(p.channel_fd, -1);
    assert_int_equal(own_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie stays */
    assert_int_equal(errno, ECHILD);
    process_release(&p);
    process_release(&p);
}

static void a_program_that_cannot_run_is_an_error_of_its_own(void **state) {
    struct scratch *s = *state;
    char msg[256];
    assert_int_equal(setenv("PATH", s->dir, 1), 0);
    check_cannot_run("edge-eval-no-such-program", EE_MISSING,
                     "cannot run edge-eval-no-such-program: No such file or directory");
    assert_int_equal(setenv("PATH", "/usr/bin:/bin", 1), 0);
    check_cannot_run("./no/such", EE_MISSING, "cannot run ./no/such: No such file or directory");
    check_cannot_run("", EE_MISSING, "cannot run : No such file or directory");
    const char *file = scratch_write(s, "file", "#!/bin/sh\n", 10);
    snprintf(msg, sizeof(msg), "cannot run %s: Permission denied", file);
    check_cannot_run(file, EE_PERM, msg);
    snprintf(msg, sizeof(msg), "cannot run %s: Permission denied", s->dir);
    check_cannot_run(s->dir, EE_PERM, msg);
    const char *bad = scratch_write(s, "bad", "#!/no/such/interpreter\n", 23);
    assert_int_equal(chmod(bad, 0755), 0);
    snprintf(msg, sizeof(msg), "cannot run %s: No such file or directory", bad);
    check_cannot_run(bad, EE_MISSING, msg);
}

static void a_program_without_a_slash_is_searched_on_path(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct process p;
    const char *const argv[] = {"sh", "-c", "exit 7", NULL};
    const struct process_spec spec = {.argv = argv};
    OK(process_spawn(&p, &spec, &e));
    wait_end(&p);
    assert_int_equal(p.status, 7);
    process_release(&p);
}

/* With every number of descriptors that is too few, and with the first that is enough. */
static void a_start_without_descriptors_is_refused(void **state) {
    struct scratch *s = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const char *log_path = scratch_path(s, "log");
    size_t in_use = own_descriptors();
    char *exe = fs_exe_path();
    const char *const argv[] = {exe, "child", "lines", NULL};
    const struct process_spec spec = {.argv = argv, .log_path = log_path, .with_channel = true};
    const char *const none[] = {"./no/such", NULL};
    const struct process_spec spec_of_none = {.argv = none, .with_channel = true};
    int refusals = 0;
    bool started = false;
    for (rlim_t limit = 3; limit < 64 && !started; limit++) {
        struct err e = ERR_INIT;
        struct process p;
        unlink(log_path);
        const struct rlimit few = {limit, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int rc = process_spawn(&p, &spec, &e);
        struct process q;
        int rc_of_none = process_spawn(&q, &spec_of_none, NULL);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_true(rc_of_none < 0);
        process_release(&q);
        if (rc) {
            refusals++;
            assert_true(rc < 0 && e.code == rc && e.msg[0]);
            assert_int_equal(p.pid, -1);
        } else {
            started = true;
            wait_end(&p);
            assert_int_equal(p.status, 0);
            uint64_t size = 0;
            OK(fs_size(log_path, &size, &e));
            assert_int_equal(size, strlen("to stdout\nto stderr\n"));
        }
        process_release(&p);
        assert_int_equal(own_descriptors(), in_use);
    }
    free(exe);
    assert_true(started);
    assert_true(refusals >= 3);
}

/* ---- what a child finds ---- */

static void a_child_sees_its_own_descriptors_only(void **state) {
    (void)state;
    /* Libraries open files that would be passed on, at any number. */
    int base = open("/dev/null", O_RDONLY);
    int leaks[] = {base, fcntl(base, F_DUPFD, 3), fcntl(base, F_DUPFD, 20),
                   fcntl(base, F_DUPFD, 300)};
    size_t before = own_descriptors();
    struct process p = start(&talking, "report", NULL);
    json_t *report = receive(&p);
    check_fds(report, 4);
    json_decref(report);
    wait_end(&p);
    process_release(&p);
    struct process q = start(&plain, "fds", NULL);
    wait_end(&q);
    assert_int_equal(q.status, 3);
    process_release(&q);
    assert_int_equal(own_descriptors(), before);
    for (size_t i = 0; i < sizeof(leaks) / sizeof(leaks[0]); i++) {
        assert_int_equal(close(leaks[i]), 0);
    }
}

static void a_parent_without_standard_descriptors_starts_whole_children(void **state) {
    (void)state;
    struct process p = start(&talking, "closed-std", NULL);
    json_t *report = receive(&p);
    check_fds(report, 4);
    assert_int_equal(json_int_or(report, "stdin", -1), 0);
    json_decref(report);
    wait_end(&p);
    assert_int_equal(p.status, 0);
    process_release(&p);
}

static void a_child_starts_with_clean_signals_in_its_own_group(void **state) {
    (void)state;
    sigset_t mask;
    sigset_t old_mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGUSR2);
    assert_int_equal(sigprocmask(SIG_BLOCK, &mask, &old_mask), 0);
    void (*old_pipe)(int) = signal(SIGPIPE, SIG_IGN);
    void (*old_int)(int) = signal(SIGINT, SIG_IGN);
    struct process p = start(&talking, "report", NULL);
    signal(SIGPIPE, old_pipe);
    signal(SIGINT, old_int);
    assert_int_equal(sigprocmask(SIG_SETMASK, &old_mask, NULL), 0);
    json_t *report = receive(&p);
    assert_string_equal(json_str_or(report, "blocked", ""), "0000000000000000");
    /* The C library keeps signals 32 and 33 for itself and lets nobody set them: what an ancestor
     * did to them stays. */
    const unsigned long long kept = 3ULL << 31;
    assert_int_equal(strtoull(json_str_or(report, "ignored", "1"), NULL, 16) & ~kept, 0);
    assert_int_equal(json_int_or(report, "pid", 0), p.pid);
    assert_int_equal(json_int_or(report, "pgrp", 0), p.pid);
    assert_int_equal(json_int_or(report, "stdin", -1), 0); /* at its end at once */
    json_decref(report);
    wait_end(&p);
    process_release(&p);
}

static void the_environment_gets_additions(void **state) {
    (void)state;
    static const char *const add[] = {"EE_TEST_NEW=a=b c", "EE_TEST_OLD=replaced", NULL};
    assert_int_equal(setenv("EE_TEST_OLD", "original", 1), 0);
    assert_int_equal(setenv("EE_TEST_NEWER", "kept", 1), 0);
    const struct process_spec spec = {.env_add = add, .with_channel = true};
    struct process p = start(&spec, "report", NULL);
    json_t *report = receive(&p);
    assert_string_equal(json_str_or(report, "new", ""), "a=b c");
    assert_string_equal(json_str_or(report, "old", ""), "replaced");
    assert_string_equal(json_str_or(report, "newer", ""), "kept"); /* EE_TEST_NEW is a prefix */
    json_decref(report);
    wait_end(&p);
    process_release(&p);
    assert_string_equal(getenv("EE_TEST_OLD"), "original");
    assert_null(getenv("EE_TEST_NEW"));
    struct process q = start(&talking, "report", NULL);
    report = receive(&q);
    assert_string_equal(json_str_or(report, "old", ""), "original");
    assert_null(json_str_or(report, "new", NULL));
    json_decref(report);
    process_release(&q);
    unsetenv("EE_TEST_OLD");
    unsetenv("EE_TEST_NEWER");
}

static void the_log_gets_both_streams_appended(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    const char *log_path = scratch_write(s, "log", "before\n", 7);
    const struct process_spec spec = {.log_path = log_path};
    for (int i = 0; i < 2; i++) {
        struct process p = start(&spec, "lines", NULL);
        wait_end(&p);
        process_release(&p);
    }
    struct buf b;
    buf_init(&b);
    OK(fs_read(log_path, &b, &e));
    assert_string_equal(b.data, "before\nto stdout\nto stderr\nto stdout\nto stderr\n");
    buf_release(&b);
    const char *const argv[] = {"true", NULL};
    const struct process_spec no_log = {.argv = argv, .log_path = scratch_path(s, "none/log")};
    struct process p;
    REFUSED_WITH(process_spawn(&p, &no_log, &e), EE_MISSING, "cannot open log file ");
    process_release(&p);
}

/* ---- killing ---- */

static void a_polite_child_ends_within_its_grace(void **state) {
    (void)state;
    struct process p = start(&talking, "exit-on-term", NULL);
    json_decref(receive(&p));
    process_kill_tree(&p, PATIENCE_NS);
    assert_int_equal(p.end, PROCESS_EXITED); /* by its own handler */
    assert_int_equal(p.status, 5);
    process_release(&p);
    struct process q = start(&talking, "hang", "");
    json_decref(receive(&q));
    process_kill_tree(&q, PATIENCE_NS);
    assert_int_equal(q.end, PROCESS_KILLED);
    assert_int_equal(q.signal, SIGTERM);
    check_describes(&q, "was stopped");
    process_release(&q);
}

static void a_stubborn_child_is_killed_after_its_grace(void **state) {
    (void)state;
    struct process p = start(&talking, "hang", "stubborn");
    json_decref(receive(&p));
    process_kill_tree(&p, 20 * NS_PER_MS);
    assert_int_equal(p.end, PROCESS_KILLED);
    assert_int_equal(p.signal, SIGKILL);
    process_kill_tree(&p, 0); /* nothing is left to do */
    process_release(&p);
}

static void a_stopped_child_can_be_killed(void **state) {
    (void)state;
    struct process p = start(&talking, "hang", "");
    json_decref(receive(&p));
    assert_int_equal(kill(p.pid, SIGSTOP), 0);
    assert_false(process_wait_until(&p, clock_mono_ns() + 5 * NS_PER_MS));
    process_kill_tree(&p, 5 * NS_PER_MS);
    assert_int_equal(p.end, PROCESS_KILLED);
    process_release(&p);
}

static void check_tree_dies(int64_t grace_ns) {
    struct process p = start(&talking, "tree", "stay");
    json_t *pids = receive(&p);
    pid_t in_group = (pid_t)json_int_or(pids, "in_group", 0);
    pid_t in_session = (pid_t)json_int_or(pids, "in_session", 0);
    json_decref(pids);
    assert_int_equal(getsid(in_session), in_session); /* out of the group's reach */
    process_kill_tree(&p, grace_ns);
    assert_int_equal(p.end, PROCESS_KILLED);
    check_orphan_killed(in_group);
    check_orphan_killed(in_session);
    process_release(&p);
}

static void a_tree_dies_with_those_that_left_the_group(void **state) {
    (void)state;
    check_tree_dies(0);
}

/* The first ends in its grace, and its descendants' only tie to it is gone with it. */
static void a_tree_whose_root_went_politely_dies_too(void **state) {
    (void)state;
    check_tree_dies(PATIENCE_NS);
}

static void a_group_does_not_outlive_its_child(void **state) {
    (void)state;
    struct process p = start(&talking, "tree", "leave");
    json_t *pids = receive(&p);
    wait_end(&p);
    assert_int_equal(p.end, PROCESS_EXITED);
    assert_int_equal(p.status, 0);
    check_orphan_killed((pid_t)json_int_or(pids, "in_group", 0));
    /* One that left the group and whose parents are gone can no longer be told from others. */
    pid_t in_session = (pid_t)json_int_or(pids, "in_session", 0);
    json_decref(pids);
    kill(in_session, SIGKILL);
    check_orphan_killed(in_session);
    process_release(&p);
}

static void release_kills_what_runs(void **state) {
    (void)state;
    size_t before = own_descriptors();
    struct process p = start(&talking, "hang", "stubborn");
    json_decref(receive(&p));
    process_release(&p);
    assert_int_equal(p.end, PROCESS_KILLED);
    assert_int_equal(p.channel_fd, -1);
    process_release(&p);
    assert_int_equal(own_descriptors(), before);
}

static void a_child_dies_when_its_parent_is_killed(void **state) {
    (void)state;
    struct process p = start(&talking, "parent", NULL);
    json_t *msg = receive(&p);
    pid_t grandchild = (pid_t)json_int_or(msg, "pid", 0);
    json_decref(msg);
    assert_true(grandchild > 1);
    assert_int_equal(getpgid(grandchild), grandchild); /* the kill below does not reach it itself */
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    check_orphan_killed(grandchild);
    wait_end(&p);
    assert_int_equal(p.end, PROCESS_SIGNALED);
    process_release(&p);
}

/* The kernel kills the child; the guard kills what the child has started, and is gone itself. */
static void a_guarded_group_dies_when_its_parent_is_killed(void **state) {
    (void)state;
    struct process p = start(&talking, "guarding-parent", NULL);
    json_t *pids = receive(&p);
    pid_t in_session = (pid_t)json_int_or(pids, "in_session", 0);
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    check_orphan_killed((pid_t)json_int_or(pids, "in_group", 0));
    json_decref(pids);
    kill(in_session, SIGKILL); /* out of the group's reach */
    check_orphan_killed(in_session);
    wait_end(&p);
    process_release(&p);
    int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
    while (waitpid(-1, NULL, WNOHANG) >= 0) { /* the tree's first process and the guard: ours now */
        assert_true(clock_mono_ns() < deadline_ns);
        clock_sleep_until_ns(clock_mono_ns() + NS_PER_MS);
    }
}

/* Not even the other guard's pipe, which its end would otherwise not close. */
static void a_guard_holds_nothing_of_its_parents_but_the_pipe(void **state) {
    (void)state;
    const struct process_spec guarded = {.guarded = true};
    struct process p[2];
    for (int i = 0; i < 2; i++) {
        p[i] = start(&guarded, "signal", "0"); /* which only waits */
    }
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/fd", (int)p[i].guard.pid);
        int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
        while (scratch_count(path) != 1) {
            assert_true(clock_mono_ns() < deadline_ns);
            clock_sleep_until_ns(clock_mono_ns() + NS_PER_MS);
        }
    }
    process_release(&p[0]);
    process_release(&p[1]);
}

static void a_guard_goes_when_its_group_has_ended(void **state) {
    (void)state;
    size_t before = own_descriptors();
    const struct process_spec guarded = {.guarded = true};
    struct process p = start(&guarded, "exit", "0");
    pid_t guard = p.guard.pid;
    assert_true(guard > 0);
    wait_end(&p);
    assert_int_equal(p.end, PROCESS_EXITED);
    assert_int_equal(kill(guard, 0), -1);
    assert_int_equal(own_descriptors(), before);
    process_release(&p);
}

#define ON_FILES(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "child") == 0) {
        return process_child(argc, argv);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_code_arrives),
        cmocka_unit_test(the_killing_signal_arrives),
        cmocka_unit_test(every_end_has_words),
        cmocka_unit_test(what_the_child_used_is_known),
        cmocka_unit_test(a_deadline_passes_without_an_end),
        cmocka_unit_test(an_end_that_nobody_kept_is_still_an_end),
        ON_FILES(a_program_that_cannot_run_is_an_error_of_its_own),
        cmocka_unit_test(a_program_without_a_slash_is_searched_on_path),
        ON_FILES(a_start_without_descriptors_is_refused),
        cmocka_unit_test(a_child_sees_its_own_descriptors_only),
        cmocka_unit_test(a_parent_without_standard_descriptors_starts_whole_children),
        cmocka_unit_test(a_child_starts_with_clean_signals_in_its_own_group),
        cmocka_unit_test(the_environment_gets_additions),
        ON_FILES(the_log_gets_both_streams_appended),
        cmocka_unit_test(a_polite_child_ends_within_its_grace),
        cmocka_unit_test(a_stubborn_child_is_killed_after_its_grace),
        cmocka_unit_test(a_stopped_child_can_be_killed),
        cmocka_unit_test(a_tree_dies_with_those_that_left_the_group),
        cmocka_unit_test(a_tree_whose_root_went_politely_dies_too),
        cmocka_unit_test(a_group_does_not_outlive_its_child),
        cmocka_unit_test(release_kills_what_runs),
        cmocka_unit_test(a_child_dies_when_its_parent_is_killed),
        cmocka_unit_test(a_guarded_group_dies_when_its_parent_is_killed),
        cmocka_unit_test(a_guard_holds_nothing_of_its_parents_but_the_pipe),
        cmocka_unit_test(a_guard_goes_when_its_group_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
