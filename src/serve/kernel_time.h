/* The kernel's own time of when bytes came (SO_TIMESTAMPNS), to tell how late they are read. */
#ifndef SERVE_KERNEL_TIME_H
#define SERVE_KERNEL_TIME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CLOCK_REALTIME, which the kernel's times are of, less CLOCK_MONOTONIC, now. */
int64_t kernel_time_apart_ns(void);
/* Asks for times on a socket. */
void kernel_time_ask(int fd);
/*
 * recv at *now_ns (CLOCK_MONOTONIC). *wait_ns: since the last of the bytes came; -1 where the kernel
 * does not tell.
 */
ssize_t kernel_time_recv(int fd, void *buf, size_t size, int64_t apart_ns, int64_t *now_ns,
                         int64_t *wait_ns);

#endif
