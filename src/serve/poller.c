#include "serve/poller.h"

#include "base/clock.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int poller_open(struct poller *p, struct err *e) {
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    p->has_pwait2 = true;
    return p->fd >= 0 ? 0 : err_errno(e, errno, "cannot make an epoll instance");
}

void poller_close(struct poller *p) {
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
}

void poller_sharpen_thread(void) {
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

int poller_add(struct poller *p, int fd, uint32_t events, void *ptr, struct err *e) {
    struct epoll_event ev = {.events = events, .data = {.ptr = ptr}};
    return epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &ev) == 0
               ? 0
               : err_errno(e, errno, "cannot watch a connection");
}

void poller_change(struct poller *p, int fd, uint32_t events, void *ptr) {
    struct epoll_event ev = {.events = events, .data = {.ptr = ptr}};
    epoll_ctl(p->fd, EPOLL_CTL_MOD, fd, &ev);
}

/* One system call that sleeps at most for_ns; errno is EINTR's or a count comes back. */
static int sleep_in_epoll(struct poller *p, struct epoll_event *events, int max, int64_t for_ns) {
#ifdef SYS_epoll_pwait2
    if (p->has_pwait2) {
        const struct timespec ts = {.tv_sec = (time_t)(for_ns / NS_PER_S),
                                    .tv_nsec = (long)(for_ns % NS_PER_S)};
        long n = syscall(SYS_epoll_pwait2, p->fd, events, max, &ts, NULL, (size_t)0);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return (int)n;
        }
        p->has_pwait2 = false;
    }
#endif
    int64_t ms = for_ns / NS_PER_MS;
    return epoll_wait(p->fd, events, max, ms > 60000 ? 60000 : (int)ms);
}

int poller_wait(struct poller *p, struct epoll_event *events, int max, int64_t until_ns,
                int64_t spin_ns) {
    for (;;) {
        int64_t left_ns = until_ns - clock_mono_ns();
        int64_t sleep_ns = left_ns - spin_ns;
        int n = sleep_in_epoll(p, events, max, sleep_ns > 0 ? sleep_ns : 0);
        if (n > 0) {
            return n;
        }
        if (n < 0 || clock_mono_ns() >= until_ns) {
            return 0;
        }
    }
}
