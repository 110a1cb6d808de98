#include "base/process.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/machine.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EXEC_FAILED_STATUS = 127,
    REAP_POLL_NS = 1000 * 1000,
    UNREAPED_POLL_NS = 5 * 1000 * 1000, /* where the kernel has no pidfd */
    CLOSE_ONE_BY_ONE_MAX = 1 << 16,
    CLOSE_AT_EXEC = 1 << 2, /* CLOSE_RANGE_CLOEXEC, which older headers lack */
};

extern char **environ;

/* The kernel's count of out-of-memory kills since boot; 0 where it does not tell. */
static uint64_t count_oom_kills(void) {
    struct buf b;
    buf_init(&b);
    uint64_t n = 0;
    if (fs_read("/proc/vmstat", &b, NULL) == 0) {
        const char *line = strstr(b.data, "\noom_kill ");
        n = line ? strtoull(line + strlen("\noom_kill "), NULL, 10) : 0;
    }
    buf_release(&b);
    return n;
}

/* environ with the spec's additions; the array is malloc'ed, the strings are borrowed. */
static char **merged_environment(const char *const *add) {
    size_t n = 0;
    size_t n_add = 0;
    while (environ[n]) {
        n++;
    }
    while (add && add[n_add]) {
        n_add++;
    }
    char **env = calloc(n + n_add + 1, sizeof(*env));
    if (!env) {
        return NULL;
    }
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        bool replaced = false;
        for (size_t k = 0; k < n_add; k++) {
            size_t name_len = strcspn(add[k], "=");
            replaced |= strncmp(environ[i], add[k], name_len + 1) == 0;
        }
        if (!replaced) {
            env[out++] = environ[i];
        }
    }
    for (size_t k = 0; k < n_add; k++) {
        env[out++] = (char *)add[k];
    }
    return env;
}

struct child_setup {
    const struct process_spec *spec;
    char **env;
    int channel_fd;
    int log_fd;
    int report_fd;
    int n_fds; /* that the parent can have open at most */
    pid_t parent;
};

/*
 * Libraries open descriptors that exec would pass on. Kernels before 5.11 cannot mark a range at
 * once; there the numbers in practice used are marked one by one.
 */
static void close_at_exec_from(int first, int n_fds) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, (unsigned)CLOSE_AT_EXEC) == 0) {
        return;
    }
#endif
    for (int fd = first; fd < n_fds && fd < CLOSE_ONE_BY_ONE_MAX; fd++) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

void process_fds_now(struct process_fds *fds) {
    memset(fds, 0, sizeof(*fds));
    for (int fd = 0; fd < PROCESS_MAX_FDS; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            fds->bits[fd / 64] |= UINT64_C(1) << (fd % 64);
        }
    }
}

/* Handlers do not survive exec, but one that runs before it would swallow the signal. */
static void default_handled_signals(void) {
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    struct sigaction old;
    for (int s = 1; s < NSIG; s++) {
        if (sigaction(s, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(s, &dfl, NULL);
        }
    }
}

static void exec_child(const struct child_setup *c) {
    execvpe(c->spec->argv[0], (char *const *)c->spec->argv, c->env);
    int errnum = errno;
    ssize_t ignored = write(c->report_fd, &errnum, sizeof(errnum));
    (void)ignored;
    _exit(EXEC_FAILED_STATUS);
}

static void run_foreground(const struct child_setup *c) {
    default_handled_signals();
    for (int fd = STDERR_FILENO + 1; c->spec->keep_fds && fd < PROCESS_MAX_FDS; fd++) {
        if (!(c->spec->keep_fds->bits[fd / 64] >> (fd % 64) & 1)) {
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
    exec_child(c);
}

/* Runs between fork and exec: async-signal-safe calls only. */
static void run_child(const struct child_setup *c) {
    if (c->spec->foreground) {
        run_foreground(c);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++) {
        sigaction(s, &dfl, NULL);
    }
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != c->parent) {
        _exit(EXEC_FAILED_STATUS); /* the parent died before prctl took effect */
    }
    /* Without O_CLOEXEC: where the parent's 0 is closed, this is the child's, and dup2 does nothing.
     * The others are above PROCESS_CHANNEL_FD and cannot be in each other's way. */
    int null_fd = open("/dev/null", O_RDWR);
    dup2(null_fd, STDIN_FILENO);
    int log_fd = c->log_fd >= 0 ? c->log_fd : null_fd;
    dup2(c->spec->out_fd ? *c->spec->out_fd : log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    if (c->channel_fd >= 0) {
        dup2(c->channel_fd, PROCESS_CHANNEL_FD);
    }
    close_at_exec_from(c->channel_fd >= 0 ? PROCESS_CHANNEL_FD + 1 : PROCESS_CHANNEL_FD, c->n_fds);
    exec_child(c);
}

/* An exec that worked closes the pipe; one that failed writes its errno first. */
static int read_exec_error(int fd) {
    int errnum = 0;
    ssize_t n;
    do {
        n = read(fd, &errnum, sizeof(errnum));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(errnum) ? errnum : 0;
}

/* Moves *fd above the channel's number, so that dup2 in the child cannot clobber it. */
static bool move_high(int *fd) {
    int low = *fd;
    *fd = fcntl(low, F_DUPFD_CLOEXEC, PROCESS_CHANNEL_FD + 1);
    int errnum = errno;
    close(low);
    errno = errnum;
    return *fd >= 0;
}

static void reap(pid_t pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

int process_spawn(struct process *p, const struct process_spec *spec, struct err *e) {
    *p = (struct process){.pid = -1, .channel_fd = -1, .foreground = spec->foreground};
    int sock[2] = {-1, -1};
    int report[2] = {-1, -1};
    int rc = 0;
    struct child_setup child = {.spec = spec, .channel_fd = -1, .log_fd = -1, .parent = getpid()};
    child.n_fds = (int)sysconf(_SC_OPEN_MAX);

    child.env = merged_environment(spec->env_add);
    if (!child.env) {
        rc = err_set(e, EE_NOMEM, "starting %s: out of memory", spec->argv[0]);
        goto out;
    }
    if (spec->log_path) {
        child.log_fd = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (child.log_fd < 0 || !move_high(&child.log_fd)) {
            rc = err_errno(e, errno, "cannot open log file %s", spec->log_path);
            goto out;
        }
    }
    if ((spec->with_channel &&
         (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) != 0 || !move_high(&sock[1]))) ||
        pipe2(report, O_CLOEXEC) != 0 || !move_high(&report[1])) {
        rc = err_errno(e, errno, "starting %s: cannot open a channel", spec->argv[0]);
        goto out;
    }
    child.channel_fd = sock[1];
    child.report_fd = report[1];
    p->oom_kills_before = count_oom_kills();
    p->spawned_ns = clock_mono_ns();
    p->pid = fork();
    if (p->pid == 0) {
        run_child(&child);
    }
    if (p->pid < 0) {
        rc = err_errno(e, errno, "cannot start %s", spec->argv[0]);
        goto out;
    }
    if (!spec->foreground) {
        setpgid(p->pid, p->pid); /* both sides set it, so that neither has to wait for the other */
    }
    close(report[1]);
    report[1] = -1;
    int exec_errno = read_exec_error(report[0]);
    if (exec_errno) {
        reap(p->pid);
        p->pid = -1;
        rc = err_errno(e, exec_errno, "cannot run %s", spec->argv[0]);
        goto out;
    }
    p->channel_fd = sock[0];
    sock[0] = -1;
    if (spec->guarded) {
        rc = guard_start(&p->guard, p->pid, e);
    }
    if (rc) {
        process_release(p);
    }
out:
    for (int i = 0; i < 2; i++) {
        if (sock[i] >= 0) {
            close(sock[i]);
        }
        if (report[i] >= 0) {
            close(report[i]);
        }
    }
    if (child.log_fd >= 0) {
        close(child.log_fd);
    }
    free(child.env);
    return rc;
}

static void record_end(struct process *p, int status, const struct rusage *ru) {
    p->max_rss_bytes = (uint64_t)ru->ru_maxrss * 1024;
    p->cpu_ns = ((int64_t)ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * NS_PER_S +
                ((int64_t)ru->ru_utime.tv_usec + ru->ru_stime.tv_usec) * 1000;
    if (WIFEXITED(status)) {
        p->end = PROCESS_EXITED;
        p->status = WEXITSTATUS(status);
        return;
    }
    p->signal = WTERMSIG(status);
    if (p->killed_by_us) {
        p->end = PROCESS_KILLED;
    } else if (p->signal == SIGKILL && count_oom_kills() > p->oom_kills_before) {
        p->end = PROCESS_OOM;
    } else {
        p->end = PROCESS_SIGNALED;
    }
}

bool process_poll(struct process *p) {
    if (p->pid < 0 || p->end != PROCESS_RUNNING) {
        return true;
    }
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD) {
        /* SIGCHLD is ignored here, or someone else took the status. */
        p->end = p->killed_by_us ? PROCESS_KILLED : PROCESS_EXITED;
        p->status = -1;
        guard_end(&p->guard);
        return true;
    }
    if (info.si_pid != p->pid) {
        return false;
    }
    if (!p->foreground) {
        /* Not reaped yet, the child still holds its number, so this group is its own. */
        kill(-p->pid, SIGKILL);
    }
    guard_end(&p->guard); /* while the number is taken */
    int status;
    struct rusage ru;
    while (wait4(p->pid, &status, 0, &ru) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    record_end(p, status, &ru);
    return true;
}

bool process_wait_until(struct process *p, int64_t deadline_ns) {
    while (!process_poll(p)) {
        int64_t now = clock_mono_ns();
        if (now >= deadline_ns) {
            return false;
        }
        clock_sleep_until_ns(now + REAP_POLL_NS < deadline_ns ? now + REAP_POLL_NS : deadline_ns);
    }
    return true;
}

/* A descriptor that becomes readable when the process ends; -1 before Linux 5.3. */
static int open_pidfd(pid_t pid) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0U);
#else
    (void)pid;
    return -1;
#endif
}

static bool has_ended(const struct process *p) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

bool process_wait_unreaped(struct process *p, int64_t deadline_ns) {
    if (p->pid < 0 || p->end != PROCESS_RUNNING || has_ended(p)) {
        return true;
    }
    int fd = open_pidfd(p->pid);
    bool interrupted = false;
    int64_t now_ns = clock_mono_ns();
    while (now_ns < deadline_ns && !interrupted && !has_ended(p)) {
        int64_t left_ns = deadline_ns - now_ns;
        left_ns = fd < 0 && left_ns > UNREAPED_POLL_NS ? UNREAPED_POLL_NS : left_ns;
        struct timespec left = {.tv_sec = (time_t)(left_ns / NS_PER_S),
                                .tv_nsec = (long)(left_ns % NS_PER_S)};
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN}; /* a negative fd is left out */
        interrupted = ppoll(&poll_fd, 1, &left, NULL) < 0 && errno == EINTR;
        now_ns = clock_mono_ns();
    }
    if (fd >= 0) {
        close(fd);
    }
    return has_ended(p);
}

bool process_stat_read(pid_t pid, struct process_stat *out) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    struct buf b;
    buf_init(&b);
    bool ok = false;
    if (fs_read(path, &b, NULL) == 0) {
        /* The command name may hold spaces and parentheses: fields start after the last ')'. */
        const char *after = strrchr(b.data, ')');
        long ids[3] = {-1, -1, -1};
        ok = after && sscanf(after + 1,
                             " %c %ld %ld %ld %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                             " %*s %*s %llu",
                             &out->state, &ids[0], &ids[1], &ids[2], &out->start_ticks) == 5;
        out->parent = (pid_t)ids[0];
        out->group = (pid_t)ids[1];
        out->session = (pid_t)ids[2];
    }
    buf_release(&b);
    return ok;
}

static bool descends_from(pid_t pid, pid_t ancestor) {
    struct process_stat st;
    for (int depth = 0; depth < 64 && pid > 1 && process_stat_read(pid, &st); depth++) {
        pid = st.parent;
        if (pid == ancestor) {
            return true;
        }
    }
    return false;
}

struct descendant {
    pid_t pid;
    unsigned long long start_ticks;
};

/* Appends every descendant as a struct descendant. */
static void list_descendants(pid_t ancestor, struct buf *list) {
    DIR *proc = opendir("/proc");
    if (!proc) {
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(proc))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        struct process_stat st;
        if (isdigit((unsigned char)entry->d_name[0]) && descends_from(pid, ancestor) &&
            process_stat_read(pid, &st)) {
            const struct descendant d = {pid, st.start_ticks};
            buf_add(list, &d, sizeof(d));
        }
    }
    closedir(proc);
}

uint64_t process_tree_memory_bytes(const struct process *p, const char *field) {
    struct buf list;
    buf_init(&list);
    list_descendants(p->pid, &list);
    uint64_t sum = machine_process_memory_bytes(p->pid, field);
    for (size_t at = 0; at < list.len; at += sizeof(struct descendant)) {
        struct descendant d;
        memcpy(&d, list.data + at, sizeof(d));
        sum += machine_process_memory_bytes(d.pid, field);
    }
    buf_release(&list);
    return sum;
}

/* A number that a new process has by now is left alone. */
static void kill_listed(const struct buf *list) {
    for (size_t at = 0; at < list->len; at += sizeof(struct descendant)) {
        struct descendant d;
        memcpy(&d, list->data + at, sizeof(d));
        struct process_stat st;
        if (process_stat_read(d.pid, &st) && st.start_ticks == d.start_ticks) {
            kill(d.pid, SIGKILL);
        }
    }
}

void process_kill_tree(struct process *p, int64_t grace_ns) {
    if (process_poll(p)) {
        return;
    }
    const pid_t target = p->foreground ? p->pid : -p->pid;
    p->killed_by_us = true;
    /* Listed before anything dies: a descendant whose parent is gone is nobody's descendant. */
    struct buf descendants;
    buf_init(&descendants);
    list_descendants(p->pid, &descendants);
    bool ended = false;
    if (grace_ns > 0) {
        kill(target, SIGTERM);
        ended = process_wait_until(p, clock_mono_ns() + grace_ns);
    }
    if (!ended) {
        list_descendants(p->pid, &descendants);
        kill(target, SIGKILL);
    }
    kill_listed(&descendants);
    buf_release(&descendants);
    while (!process_wait_until(p, clock_mono_ns() + NS_PER_S)) {
        kill(p->pid, SIGKILL);
    }
}

void process_release(struct process *p) {
    if (p->pid > 0) {
        process_kill_tree(p, 0);
    }
    if (p->channel_fd >= 0) {
        close(p->channel_fd);
    }
    p->channel_fd = -1;
}

void process_describe_end(const struct process *p, char *buf, size_t size) {
    switch (p->end) {
    case PROCESS_RUNNING:
        snprintf(buf, size, "is still running");
        break;
    case PROCESS_EXITED:
        if (p->status < 0) {
            snprintf(buf, size, "ended, and how was not recorded");
        } else {
            snprintf(buf, size, "exited with code %d", p->status);
        }
        break;
    case PROCESS_SIGNALED:
        snprintf(buf, size, "was killed by signal %d (%s)", p->signal, strsignal(p->signal));
        break;
    case PROCESS_OOM:
        snprintf(buf, size, "was killed by the kernel because memory ran out");
        break;
    case PROCESS_KILLED:
        snprintf(buf, size, "was stopped");
        break;
    }
}
