/* The user's own command: it keeps the terminal's things, and nobody kills what it leaves. */
#include "support/scratch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define PATIENCE_NS (60 * NS_PER_S)

static struct process start_shell(const char *script, const struct process_fds *keep) {
    const char *const argv[] = {"sh", "-c", script, NULL};
    const struct process_spec spec = {.argv = argv, .foreground = true, .keep_fds = keep};
    struct process p;
    struct err e = ERR_INIT;
    if (process_spawn(&p, &spec, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    return p;
}

static void wait_unreaped(struct process *p) {
    assert_true(process_wait_unreaped(p, clock_mono_ns() + PATIENCE_NS));
    assert_int_equal(p->end, PROCESS_RUNNING);
}

static int exit_code(struct process *p) {
    wait_unreaped(p);
    assert_true(process_poll(p));
    assert_int_equal(p->end, PROCESS_EXITED);
    int status = p->status;
    process_release(p);
    return status;
}

static void it_stays_in_the_group_of_its_parent(void **state) {
    (void)state;
    struct process p = start_shell("sleep 60", NULL);
    assert_int_equal(getpgid(p.pid), getpgrp());
    assert_false(process_wait_unreaped(&p, clock_mono_ns() + NS_PER_MS));
    process_kill_tree(&p, 0);
    assert_int_equal(p.end, PROCESS_KILLED);
}

static void it_reads_standard_input(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "7\n", 2), 2);
    int saved = dup(STDIN_FILENO);
    dup2(ends[0], STDIN_FILENO);
    struct process p = start_shell("read n && exit $n", NULL);
    assert_int_equal(exit_code(&p), 7);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

/* Until the end is taken, the child's accounts are there. */
static void an_end_is_seen_before_it_is_reaped(void **state) {
    (void)state;
    char path[64];
    struct process p = start_shell("exit 3", NULL);
    wait_unreaped(&p);
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)p.pid);
    assert_true(fs_exists(path));
    assert_true(process_wait_unreaped(&p, 0)); /* ended is ended, whatever the deadline */
    assert_int_equal(exit_code(&p), 3);
    assert_true(process_wait_unreaped(&p, 0));
}

static void a_deadline_comes_first(void **state) {
    (void)state;
    struct process p = start_shell("sleep 60", NULL);
    int64_t begin_ns = clock_mono_ns();
    assert_false(process_wait_unreaped(&p, begin_ns + 20 * NS_PER_MS));
    assert_true(clock_mono_ns() >= begin_ns + 20 * NS_PER_MS);
    process_release(&p);
}

static void on_alarm(int sig) {
    (void)sig;
}

static void a_handler_ends_the_wait(void **state) {
    (void)state;
    struct sigaction act = {.sa_handler = on_alarm};
    struct sigaction old;
    sigaction(SIGALRM, &act, &old);
    struct process p = start_shell("sleep 60", NULL);
    alarm(1);
    assert_false(process_wait_unreaped(&p, clock_mono_ns() + PATIENCE_NS));
    sigaction(SIGALRM, &old, NULL);
    process_release(&p);
}

static void what_was_ignored_stays_so_and_handlers_do_not(void **state) {
    (void)state;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction handle = {.sa_handler = on_alarm};
    struct sigaction old[2];
    sigaction(SIGUSR1, &ignore, &old[0]);
    sigaction(SIGUSR2, &handle, &old[1]);
    struct process p = start_shell("kill -USR1 $$; kill -USR2 $$; exit 0", NULL);
    sigaction(SIGUSR1, &old[0], NULL);
    sigaction(SIGUSR2, &old[1], NULL);
    wait_unreaped(&p);
    assert_true(process_poll(&p));
    assert_int_equal(p.end, PROCESS_SIGNALED);
    assert_int_equal(p.signal, SIGUSR2);
    process_release(&p);
}

/* A descriptor that was there first is the command's; one that a library opened is not. */
static void it_has_the_descriptors_of_its_start(void **state) {
    (void)state;
    struct process_fds fds;
    int mine = open("/dev/null", O_RDONLY);
    process_fds_now(&fds);
    int later = open("/dev/null", O_RDONLY);
    char script[96];
    snprintf(script, sizeof(script), "[ -e /proc/$$/fd/%d ] || exit 1; [ ! -e /proc/$$/fd/%d ]",
             mine, later);
    struct process p = start_shell(script, &fds);
    assert_int_equal(exit_code(&p), 0);
    assert_int_equal(fcntl(later, F_GETFD), 0); /* ours are as they were */
    close(mine);
    close(later);
}

static void what_it_leaves_behind_lives(void **state) {
    const struct scratch *s = *state;
    struct buf text;
    buf_init(&text);
    char script[256];
    snprintf(script, sizeof(script), "sleep 60 & echo $! >'%s/pid'", s->dir);
    char path[256];
    snprintf(path, sizeof(path), "%s/pid", s->dir);
    struct process p = start_shell(script, NULL);
    assert_int_equal(exit_code(&p), 0);
    assert_int_equal(fs_read(path, &text, NULL), 0);
    pid_t left = (pid_t)strtol(text.data, NULL, 10);
    buf_release(&text);
    assert_true(left > 1);
    assert_int_equal(kill(left, 0), 0);
    kill(left, SIGKILL);
    waitpid(left, NULL, 0); /* handed to this process */
}

static void a_process_has_an_account(void **state) {
    (void)state;
    struct process_stat mine, child;
    assert_true(process_stat_read(getpid(), &mine));
    assert_int_equal(mine.parent, getppid());
    assert_int_equal(mine.group, getpgrp());
    assert_int_equal(mine.session, getsid(0));
    struct process p = start_shell("exit 0", NULL);
    wait_unreaped(&p);
    assert_true(process_stat_read(p.pid, &child));
    assert_int_equal(child.state, 'Z');
    assert_int_equal(child.parent, getpid());
    assert_true(child.start_ticks >= mine.start_ticks && mine.start_ticks > 0);
    pid_t pid = p.pid;
    process_release(&p);
    assert_false(process_stat_read(pid, &child));
}

static void a_command_that_cannot_run_is_an_error(void **state) {
    (void)state;
    static const char *const argv[] = {"/nonexistent/command", NULL};
    const struct process_spec spec = {.argv = argv, .foreground = true};
    struct process p;
    struct err e = ERR_INIT;
    assert_int_equal(process_spawn(&p, &spec, &e), EE_MISSING);
    assert_non_null(strstr(e.msg, "cannot run /nonexistent/command: No such file"));
}

int main(void) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stays_in_the_group_of_its_parent),
        cmocka_unit_test(it_reads_standard_input),
        cmocka_unit_test(an_end_is_seen_before_it_is_reaped),
        cmocka_unit_test(a_deadline_comes_first),
        cmocka_unit_test(a_handler_ends_the_wait),
        cmocka_unit_test(what_was_ignored_stays_so_and_handlers_do_not),
        cmocka_unit_test(it_has_the_descriptors_of_its_start),
        cmocka_unit_test_setup_teardown(what_it_leaves_behind_lives, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(a_process_has_an_account),
        cmocka_unit_test(a_command_that_cannot_run_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
