/*
 * When bytes came, by the kernel (SO_TIMESTAMPNS), on CLOCK_MONOTONIC: a reader that woke late does not
 * make them late. The kernel's times are wall clock times, and of the last segment that a read took from.
 * Not thread-safe; one clock a loop.
 */
#ifndef SERVE_KERNEL_TIME_H
#define SERVE_KERNEL_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How far the wall clock is from CLOCK_MONOTONIC, which changes only when somebody sets it. */
struct kernel_clock {
    int64_t apart_ns;
    int64_t doubt_ns; /* of apart_ns, at most */
    bool is_set;      /* steps can be told */
    bool stepped;     /* since the look before this one: no time is believed until the next */
    uint64_t n_steps;
};

/* Looks at both clocks; before each batch of reads. */
void kernel_clock_look(struct kernel_clock *c);
/* The two halves of it: what was read of the wall clock between two readings of the other. */
void kernel_clock_compare(struct kernel_clock *c, int64_t before_ns, int64_t wall_ns,
                          int64_t after_ns);

/* Asks for times on a socket. */
void kernel_time_ask(int fd);

struct read_time {
    int64_t read_ns; /* the read came back */
    int64_t came_ns; /* its last bytes had come; read_ns where the kernel does not tell */
    bool by_kernel;
};

/*
 * As recv, and when. A time of the kernel is taken when it lies between not_before_ns, which the bytes
 * cannot be older than, and the read.
 */
ssize_t kernel_time_recv(const struct kernel_clock *c, int fd, void *buf, size_t size,
                         int64_t not_before_ns, struct read_time *at);

#endif
