/*
 * epoll with deadlines in nanoseconds, for loops whose lateness is measured. One poller belongs to
 * one thread.
 */
#ifndef SERVE_POLLER_H
#define SERVE_POLLER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct poller {
    int fd;
    bool has_pwait2; /* Linux 5.11: timeouts in ns; else ms, and the rest is spun */
};

int poller_open(struct poller *p, struct err *e) EE_MUST_CHECK;
void poller_close(struct poller *p);
/* Makes this thread's timeouts as exact as the kernel can: the default slack is 50 us. */
void poller_sharpen_thread(void);
/* Level-triggered events of fd; ptr comes back in data.ptr. */
int poller_add(struct poller *p, int fd, uint32_t events, void *ptr, struct err *e) EE_MUST_CHECK;
/* Changes the events of a descriptor that was added. */
void poller_change(struct poller *p, int fd, uint32_t events, void *ptr);
/*
 * Waits until something happens or until_ns (CLOCK_MONOTONIC) has come, whichever is first: sleeps
 * until spin_ns before it, then asks without sleeping. The number of events; 0 at the deadline or
 * when a signal came.
 */
int poller_wait(struct poller *p, struct epoll_event *events, int max, int64_t until_ns,
                int64_t spin_ns);

#endif
