/* One small document from a server: its model list, its metrics, whether it is ready. */
#ifndef SERVE_FETCH_H
#define SERVE_FETCH_H

#include "base/buf.h"
#include "base/err.h"
#include "serve/target.h"

#include <stdint.h>

struct fetch_opts {
    const char *auth;    /* a header line, or NULL; never logged */
    const char *ca_file; /* or NULL */
    bool insecure;
    int64_t timeout_ns;
    const char *post; /* the JSON body of a POST; NULL: GET */
};

/* Once, before other threads exist, where TLS or HTTP/2 will be spoken. */
int fetch_global_init(struct err *e) EE_MUST_CHECK;
/*
 * Appends the body of scheme://host:port/path to out (at most 64 MiB). Redirects are not followed.
 * 0 whenever there was a response: *status is its HTTP status.
 */
int fetch(const struct target *t, const char *path, const struct fetch_opts *opts, struct buf *out,
          int *status, struct err *e) EE_MUST_CHECK;

#endif
