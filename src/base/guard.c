#include "base/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Kernels before 5.9 close one by one. */
static void close_from(int first, int n_fds) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0U) == 0) {
        return;
    }
#endif
    for (int fd = first; fd < n_fds; fd++) {
        close(fd);
    }
}

/* Between fork and exit: async-signal-safe calls only. It keeps nothing of its parent's but the pipe. */
static void watch(int fd, int n_fds, pid_t group) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    prctl(PR_SET_NAME, "edge-eval-guard");
    dup2(fd, STDIN_FILENO);
    close_from(STDIN_FILENO + 1, n_fds);
    char nothing;
    if (read(STDIN_FILENO, &nothing, 1) == 0) { /* nobody writes: its parent is gone */
        kill(-group, SIGKILL);
    }
    _exit(0);
}

int guard_start(struct guard *g, pid_t group, struct err *e) {
    int ends[2];
    *g = (struct guard){0};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return err_errno(e, errno, "cannot guard a process: no pipe");
    }
    int n_fds = (int)sysconf(_SC_OPEN_MAX);
    pid_t pid = fork();
    if (pid == 0) {
        watch(ends[0], n_fds, group);
    }
    int errnum = errno;
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return err_errno(e, errnum, "cannot guard a process");
    }
    *g = (struct guard){.pid = pid, .fd = ends[1]};
    return 0;
}

void guard_end(struct guard *g) {
    if (g->pid > 0) {
        kill(g->pid, SIGKILL); /* before it could see the pipe end */
        while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        close(g->fd);
        g->pid = 0;
    }
}
