#include "serve/kernel_time.h"

#include "base/clock.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    LOOKS = 3,              /* at most, until nothing came between the readings */
    CALM_NS = 1000,         /* two readings of a clock are not so far apart, undisturbed */
    STEP_NS = 10 * CALM_NS, /* beyond the doubt of both: somebody set the clock */
};

static int64_t ns_of(const struct timespec *ts) {
    return (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

static int64_t wall_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ns_of(&ts);
}

void kernel_clock_compare(struct kernel_clock *c, int64_t before_ns, int64_t at_wall_ns,
                          int64_t after_ns) {
    int64_t doubt_ns = (after_ns - before_ns + 1) / 2;
    int64_t apart_ns = at_wall_ns - before_ns - doubt_ns;
    int64_t moved_ns = apart_ns > c->apart_ns ? apart_ns - c->apart_ns : c->apart_ns - apart_ns;
    c->stepped = c->is_set && moved_ns > doubt_ns + c->doubt_ns + STEP_NS;
    c->n_steps += c->stepped;
    if (!c->is_set || c->stepped || doubt_ns < c->doubt_ns) {
        c->apart_ns = apart_ns;
        c->doubt_ns = doubt_ns;
    }
    c->is_set = true;
}

void kernel_clock_look(struct kernel_clock *c) {
    int64_t before_ns = 0;
    int64_t at_wall_ns = 0;
    int64_t after_ns = 0;
    for (int i = 0; i < LOOKS && (i == 0 || after_ns - before_ns > CALM_NS); i++) {
        before_ns = clock_mono_ns();
        at_wall_ns = wall_ns();
        after_ns = clock_mono_ns();
    }
    kernel_clock_compare(c, before_ns, at_wall_ns, after_ns);
}

void kernel_time_ask(int fd) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

ssize_t kernel_time_recv(const struct kernel_clock *c, int fd, void *buf, size_t size,
                         int64_t not_before_ns, struct read_time *at) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct timespec)) + 64];
        struct cmsghdr align;
    } control;
    struct iovec part = {buf, size};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(fd, &m, 0);
    at->read_ns = at->came_ns = clock_mono_ns();
    at->by_kernel = false;
    const struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_TIMESTAMPNS && !c->stepped) {
        struct timespec came;
        memcpy(&came, CMSG_DATA(h), sizeof(came));
        int64_t came_ns = ns_of(&came) - c->apart_ns;
        at->by_kernel = came_ns >= not_before_ns && came_ns <= at->read_ns + c->doubt_ns;
        at->came_ns = at->by_kernel && came_ns < at->read_ns ? came_ns : at->read_ns;
    }
    return n;
}
