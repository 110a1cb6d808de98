#include "serve/kernel_time.h"

#include "base/clock.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

static int64_t ns_of(const struct timespec *ts) {
    return (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

int64_t kernel_time_apart_ns(void) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return ns_of(&wall) - clock_mono_ns();
}

void kernel_time_ask(int fd) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

ssize_t kernel_time_recv(int fd, void *buf, size_t size, int64_t apart_ns, int64_t *now_ns,
                         int64_t *wait_ns) {
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
    *now_ns = clock_mono_ns();
    *wait_ns = -1;
    const struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_TIMESTAMPNS) {
        struct timespec came;
        memcpy(&came, CMSG_DATA(h), sizeof(came));
        int64_t ns = *now_ns + apart_ns - ns_of(&came);
        *wait_ns = ns > 0 ? ns : 0;
    }
    return n;
}
