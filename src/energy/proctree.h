/*
 * CPU time of some processes and everything they start, in nanoseconds.
 *
 * Each live process is read by its CPU-time clock (clock_getcpuclockid), which counts all of its
 * threads, ended ones too, in nanoseconds; /proc/PID/schedstat covers the first thread only and
 * utime + stime in /proc/PID/stat count ticks of 10 ms. A process that ended between two updates
 * is found in its parent's cutime + cstime. A process once seen stays counted when its parent
 * ends and it is handed to another.
 *
 * Nothing here allocates; not thread-safe.
 */
#ifndef ENERGY_PROCTREE_H
#define ENERGY_PROCTREE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCTREE_MAX 1024
#define PROCTREE_MAX_ROOTS 64

struct proc_entry {
    pid_t pid;
    uint64_t start_ticks; /* tells a process from a later one with its number */
    int64_t own_ns;       /* CPU time of the process at the last update */
    int64_t reaped_ns;    /* CPU time of its children that ended and were waited for */
    bool seen;
};

struct proc_root {
    pid_t pid;
    uint64_t start_ticks;
};

struct proctree {
    const char *root; /* "" or a directory that stands for "/"; owned by the caller */
    bool clocks;      /* false for a fake root: its processes have no clock */
    bool listed;      /* the kernel lists children (CONFIG_PROC_CHILDREN): no need to walk /proc */
    struct proc_root roots[PROCTREE_MAX_ROOTS];
    size_t n_roots;
    struct proc_entry entries[PROCTREE_MAX];
    size_t n;
    bool overflow;  /* more processes than fit: the time is a lower bound */
    int64_t cpu_ns; /* since the processes were watched */
};

void proctree_init(struct proctree *t, const char *root);
/* Counts from now on. EE_MISSING when there is no such process. */
int proctree_watch(struct proctree *t, pid_t pid, struct err *e) EE_MUST_CHECK;
/* Call proctree_update first: what was used since the last one is dropped. */
void proctree_unwatch(struct proctree *t, pid_t pid);
/*
 * Brings cpu_ns up to date. With look, looks for new and ended processes; without, reads only
 * those known, which is cheap.
 */
void proctree_update(struct proctree *t, bool look);

#endif
