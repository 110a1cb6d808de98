/*
 * JSON messages, one a line, over a stream socket: how a worker and its supervisor talk.
 * One struct channel a descriptor, used by one thread at a time. The descriptor is borrowed.
 */
#ifndef BASE_CHANNEL_H
#define BASE_CHANNEL_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct channel {
    int fd;
    struct buf in;
    size_t start;    /* of the unread part of in */
    size_t searched; /* no line ends between start and here */
    bool at_eof;
};

void channel_init(struct channel *c, int fd);
void channel_release(struct channel *c);
/* Sends value and takes over the reference, also on failure. */
int channel_send(struct channel *c, json_t *value, struct err *e) EE_MUST_CHECK;
/*
 * The next message, waiting until deadline_ns (CLOCK_MONOTONIC; 0 takes only what is there,
 * INT64_MAX waits for ever). *out is NULL, and the result 0, when the deadline passed, a signal
 * came, or the peer closed (then at_eof is set). *out is the caller's.
 */
int channel_recv(struct channel *c, int64_t deadline_ns, json_t **out, struct err *e) EE_MUST_CHECK;

#endif
