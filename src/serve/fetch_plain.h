/* Behind fetch.h: the part of it that needs no TLS. */
#ifndef SERVE_FETCH_PLAIN_H
#define SERVE_FETCH_PLAIN_H

#include "serve/fetch.h"

/* As fetch, of at most max_bytes. */
int fetch_plain(const struct target *t, const char *path, const struct fetch_opts *opts,
                size_t max_bytes, struct buf *out, int *status, struct err *e) EE_MUST_CHECK;

#endif
