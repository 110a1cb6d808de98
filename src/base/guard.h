/*
 * A process that waits for this one to be killed, and then kills a process group. The kernel can do that
 * to a child alone (PR_SET_PDEATHSIG), not to what the child has started.
 */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include "base/err.h"

#include <sys/types.h>

/* Zeroed: there is none. */
struct guard {
    pid_t pid;
    int fd; /* closed by our end, however it comes */
};

int guard_start(struct guard *g, pid_t group, struct err *e) EE_MUST_CHECK;
/* The group is over: the guard goes without killing anything. Nothing happens where there is none. */
void guard_end(struct guard *g);

#endif
