/*
 * Growable byte buffer. Invariant: after buf_init, data is never NULL and data[len] is '\0', so
 * a buffer is always usable as a C string. The buffer owns its bytes until buf_detach.
 *
 * Appending never returns an error: the first failed allocation (or passing max_len) sets
 * `failed`, later appends do nothing, and the writer asks once, at the end, with buf_check.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;     /* bytes allocated; 0 while data is the shared empty string */
    size_t max_len; /* 0: no limit */
    bool failed;
};

void buf_init(struct buf *b);
void buf_init_max(struct buf *b, size_t max_len);
void buf_release(struct buf *b); /* frees and reinitialises */
void buf_clear(struct buf *b);   /* keeps the allocation, forgets a failure */
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_addstr(struct buf *b, const char *s);
void buf_addch(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) EE_PRINTF(2, 3);
/* Appends n copies of c. */
void buf_addn(struct buf *b, char c, size_t n);
/* Room for extra more bytes; false (and failed) when there is none. */
bool buf_reserve(struct buf *b, size_t extra);
/* Hands the bytes to the caller, who frees them with free(); NULL after a failure. */
char *buf_detach(struct buf *b);
/* 0, or EE_NOMEM with a message naming what. */
int buf_check(const struct buf *b, const char *what, struct err *e) EE_MUST_CHECK;

#endif
