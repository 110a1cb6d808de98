#include "base/process.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXEC_FAILED_STATUS = 127, REAP_POLL_NS = 1000 * 1000 };

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
    pid_t parent;
};

/* Runs between fork and exec: async-signal-safe calls only. */
static void run_child(const struct child_setup *c) {
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
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null_fd, STDIN_FILENO);
    dup2(c->log_fd >= 0 ? c->log_fd : null_fd, STDOUT_FILENO);
    dup2(c->log_fd >= 0 ? c->log_fd : null_fd, STDERR_FILENO);
    if (c->channel_fd == PROCESS_CHANNEL_FD) {
        fcntl(c->channel_fd, F_SETFD, 0);
    } else if (c->channel_fd >= 0) {
        dup2(c->channel_fd, PROCESS_CHANNEL_FD);
    }
    execvpe(c->spec->argv[0], (char *const *)c->spec->argv, c->env);
    int errnum = errno;
    ssize_t ignored = write(c->report_fd, &errnum, sizeof(errnum));
    (void)ignored;
    _exit(EXEC_FAILED_STATUS);
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

/* Moves fd above the channel's number, so that dup2 in the child cannot clobber it. */
static int move_high(int fd) {
    int high = fcntl(fd, F_DUPFD_CLOEXEC, PROCESS_CHANNEL_FD + 1);
    close(fd);
    return high;
}

int process_spawn(struct process *p, const struct process_spec *spec, struct err *e) {
    *p = (struct process){.pid = -1, .channel_fd = -1};
    int sock[2] = {-1, -1};
    int report[2] = {-1, -1};
    int rc = 0;
    struct child_setup child = {.spec = spec, .channel_fd = -1, .log_fd = -1, .parent = getpid()};

    child.env = merged_environment(spec->env_add);
    if (!child.env) {
        rc = err_set(e, EE_NOMEM, "starting %s: out of memory", spec->argv[0]);
        goto out;
    }
    if (spec->log_path) {
        child.log_fd = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (child.log_fd < 0) {
            rc = err_errno(e, errno, "cannot open log file %s", spec->log_path);
            goto out;
        }
        child.log_fd = move_high(child.log_fd);
    }
    if ((spec->with_channel && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) != 0) ||
        pipe2(report, O_CLOEXEC) != 0) {
        rc = err_errno(e, errno, "starting %s: cannot open a channel", spec->argv[0]);
        goto out;
    }
    report[1] = move_high(report[1]);
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
    setpgid(p->pid, p->pid); /* both sides set it, so that neither has to wait for the other */
    close(report[1]);
    report[1] = -1;
    int exec_errno = read_exec_error(report[0]);
    if (exec_errno) {
        waitpid(p->pid, NULL, 0);
        p->pid = -1;
        rc = err_errno(e, exec_errno, "cannot run %s", spec->argv[0]);
        goto out;
    }
    p->channel_fd = sock[0];
    sock[0] = -1;
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
    int status;
    struct rusage ru;
    if (wait4(p->pid, &status, WNOHANG, &ru) == p->pid) {
        record_end(p, status, &ru);
        return true;
    }
    return false;
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

static pid_t parent_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    struct buf b;
    buf_init(&b);
    long ppid = -1;
    if (fs_read(path, &b, NULL) == 0) {
        /* The command name may hold spaces and parentheses: fields start after the last ')'. */
        const char *after = strrchr(b.data, ')');
        if (after) {
            sscanf(after + 1, " %*c %ld", &ppid);
        }
    }
    buf_release(&b);
    return (pid_t)ppid;
}

static bool descends_from(pid_t pid, pid_t ancestor) {
    for (int depth = 0; depth < 64 && pid > 1; depth++) {
        pid = parent_of(pid);
        if (pid == ancestor) {
            return true;
        }
    }
    return false;
}

static void kill_descendants(pid_t ancestor) {
    DIR *proc = opendir("/proc");
    if (!proc) {
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(proc))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (isdigit((unsigned char)entry->d_name[0]) && descends_from(pid, ancestor)) {
            kill(pid, SIGKILL);
        }
    }
    closedir(proc);
}

void process_kill_tree(struct process *p, int64_t grace_ns) {
    if (process_poll(p)) {
        return;
    }
    p->killed_by_us = true;
    if (grace_ns > 0) {
        kill(-p->pid, SIGTERM);
        if (process_wait_until(p, clock_mono_ns() + grace_ns)) {
            kill(-p->pid, SIGKILL); /* members of the group that ignored SIGTERM */
            return;
        }
    }
    kill_descendants(p->pid);
    kill(-p->pid, SIGKILL);
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
        snprintf(buf, size, "exited with code %d", p->status);
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
