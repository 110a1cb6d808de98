/*
 * Child processes under supervision. A child runs in a process group of its own, so that a
 * terminal's Ctrl-C reaches only the parent, and is killed by the kernel when the parent dies. It
 * inherits no descriptor but 0, 1, 2 and the channel. What it leaves behind in its group when it
 * ends is killed then. A command in the foreground is left alone in all of this.
 *
 * The thread that spawns must outlive the child: the kernel ties "parent dies" to that thread.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include "base/err.h"
#include "base/guard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* In the child, the far end of the channel of process_spec.with_channel. */
enum { PROCESS_CHANNEL_FD = 3 };

/* Descriptors that were open at some moment, numbers under PROCESS_MAX_FDS. */
enum { PROCESS_MAX_FDS = 1024 };
struct process_fds {
    uint64_t bits[PROCESS_MAX_FDS / 64];
};

void process_fds_now(struct process_fds *fds);

struct process_spec {
    const char *const *argv;    /* NULL-terminated; argv[0] is searched on PATH without a '/' */
    const char *const *env_add; /* "NAME=value", NULL-terminated; or NULL */
    const char *log_path;       /* receives stdout and stderr, appended; NULL discards both */
    bool with_channel;          /* a stream socket between parent and child */
    bool guarded;      /* its whole group dies with the parent, not the child alone (guard.h) */
    const int *out_fd; /* receives stdout instead; above 2, borrowed; NULL: none */
    /*
     * The user's own command instead of a child of ours: it keeps standard input, output and
     * error, this process group (so that a terminal's signals reach it), what was ignored, and the
     * descriptors in keep_fds, which the caller took before it opened any; it and what it starts
     * may outlive us. Goes with neither log_path nor with_channel.
     */
    bool foreground;
    const struct process_fds *keep_fds;
};

enum process_end {
    PROCESS_RUNNING,
    PROCESS_EXITED,   /* status is the exit code, -1 when the kernel did not keep it */
    PROCESS_SIGNALED, /* signal killed it, not by us */
    PROCESS_OOM,      /* SIGKILL while the kernel's out-of-memory counter rose */
    PROCESS_KILLED,   /* by process_kill_tree */
};

struct process {
    pid_t pid;
    int channel_fd;     /* -1 without a channel; owned */
    struct guard guard; /* of a guarded one */
    int64_t spawned_ns;
    uint64_t oom_kills_before;
    bool foreground;
    bool killed_by_us;
    enum process_end end;
    int status;
    int signal;
    uint64_t max_rss_bytes; /* peak resident set, at least the parent's when it was spawned;
                             * known once it has ended */
    int64_t cpu_ns;         /* user and system time; known once it has ended */
};

int process_spawn(struct process *p, const struct process_spec *spec, struct err *e) EE_MUST_CHECK;
/* Reaps the child if it has ended; true once it has. */
bool process_poll(struct process *p);
/* Waits until deadline_ns (CLOCK_MONOTONIC) for the end; true if it came. */
bool process_wait_until(struct process *p, int64_t deadline_ns);
/*
 * Sleeps until the child has ended, without reaping it, so that its accounts in /proc can still be
 * read; false when deadline_ns came first or a signal handler ran.
 */
bool process_wait_unreaped(struct process *p, int64_t deadline_ns);
/*
 * SIGTERM to the group, grace_ns later SIGKILL to the group and to every descendant that left it;
 * returns when the child is reaped.
 */
void process_kill_tree(struct process *p, int64_t grace_ns);
/* A field of /proc/PID/status in bytes ("VmHWM", "VmRSS"), added up over the child and its descendants. */
uint64_t process_tree_memory_bytes(const struct process *p, const char *field);
/* Kills what still runs and closes the channel. */
void process_release(struct process *p);
/* A process as /proc shows it. With its start it is one process, and no later one of its number. */
struct process_stat {
    char state; /* 'R', 'S', 'Z' for one that ended and was not reaped, ... */
    pid_t parent, group, session;
    unsigned long long start_ticks; /* since boot */
};

/* False when there is no such process. */
bool process_stat_read(pid_t pid, struct process_stat *out);
/* "exited with code 3", "was killed by signal 11 (Segmentation fault)", ... */
void process_describe_end(const struct process *p, char *buf, size_t size);

#endif
