/*
 * Many JSON documents posted to one path of a server, some at once, each until it is answered: for a
 * judge that is a service. Not for measuring: what fails in passing is tried again.
 *
 * Tried again are lost connections, 408, 429 and 5xx, after what Retry-After says or else half a second
 * and twice as long each time, until the question's time is over. Redirects are not followed. Proxies
 * are those of the environment, as for any client of a service. Call fetch_global_init first; one
 * ask_all at a time, on one thread.
 */
#ifndef SERVE_ASK_H
#define SERVE_ASK_H

#include "base/buf.h"
#include "base/err.h"
#include "serve/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the last try of a question ended. What it points to is gone after the callback. */
struct ask_reply {
    int status;        /* HTTP; 0: there was no whole response */
    const char *cause; /* why not, where status is 0: "connection refused" or the like */
    bool timed_out;    /* the server was silent until the question's time was over */
    const char *body;
    size_t len;
    int n_tries;
};

/* Appends the document of question i. */
typedef int ask_body_fn(void *ctx, size_t i, struct buf *out, struct err *e);
/* Returns false to ask nothing more; questions under way are dropped. */
typedef bool ask_done_fn(void *ctx, size_t i, const struct ask_reply *reply);

struct ask_opts {
    const struct target *target;
    const char *auth;    /* a header line, or NULL; never logged */
    const char *ca_file; /* or NULL */
    size_t n_parallel;   /* at least 1 */
    int64_t timeout_ns;  /* of a question, all its tries together */
    ask_body_fn *body;
    ask_done_fn *done;
    void *ctx;
};

/* Asks n questions on the target's path, in order; done is called once for each that was not dropped,
 * as they end. 0 unless the client itself failed. */
int ask_all(const struct ask_opts *o, size_t n, struct err *e) EE_MUST_CHECK;

#endif
