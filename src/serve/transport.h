/*
 * What carries requests to a server and their responses back: HTTP/1.1 on an epoll loop of our
 * own, with TLS or without (transport_plain.c), HTTP/2 on libcurl (transport_curl.c). One transport
 * belongs to one thread.
 *
 * The owner gives requests to send(), and waits in wait(), which comes back now and then. Whatever
 * was sent ends in a call of done(), exactly once, with its outcome in the record; done() may send
 * the next request. No request can wait for ever: connecting, silence and the whole have limits.
 */
#ifndef SERVE_TRANSPORT_H
#define SERVE_TRANSPORT_H

#include "base/err.h"
#include "serve/exchange.h"
#include "serve/record.h"
#include "serve/target.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request as it is sent. bytes hold the whole HTTP/1.1 message; its body starts at body_at. */
struct payload {
    const char *bytes;
    size_t len;
    size_t body_at;
    uint32_t max_tokens;
};

struct transport_opts {
    const struct target *target;
    const char *const *sources; /* addresses to connect from, taken in turn; n_sources may be 0 */
    size_t n_sources;
    size_t max_connections;
    int64_t connect_timeout_ns;
    int64_t stall_ns;   /* longest silence, also before the first byte */
    int64_t timeout_ns; /* of a whole request */
    bool http2;
    bool read_times;     /* events have the time of their read, not the kernel's of their arrival */
    bool insecure;       /* TLS certificates are not checked */
    const char *ca_file; /* certificates to trust instead of the system's; NULL */
    const char *auth;    /* "Authorization: Bearer ..." or NULL; never logged */
    struct log_store *store;
    void (*done)(void *ctx, struct record *r);
    /* Called between events once now_ns >= *next_due_ns, to send what has become due. */
    void (*due)(void *ctx, int64_t now_ns);
    const int64_t *next_due_ns;
    void *ctx;
    int wake_fd; /* wait() comes back when it can be read; its owner reads it. 0: none */
};

enum { READ_WAITS = 40 };

struct transport_stats {
    /* Of reads with the kernel's time: those whose last bytes had waited for less than 2^i ns. */
    uint64_t read_waits[READ_WAITS];
    uint64_t clock_steps; /* times that somebody set the wall clock, whose times were left out */
    uint64_t opened;      /* connections */
    uint64_t reads;       /* that brought bytes */
    uint64_t bytes_in;
    uint64_t waits;   /* for events */
    uint64_t writes;  /* that ended a request; 0 where that is not known */
    int64_t write_ns; /* that they took, all together: they begin when a request counts as sent */
    size_t n_connections; /* now */
};

struct transport;

struct transport_ops {
    const char *name;
    bool has_kernel_times; /* else events have the time of their read, whatever is asked for */
    int (*open)(struct transport **out, const struct transport_opts *opts, struct err *e);
    /* Opens connections until there are n, or until deadline_ns, or until one fails: then e says
     * why. */
    int (*connect)(struct transport *t, size_t n, int64_t deadline_ns, struct err *e);
    /*
     * Begins a request at now_ns. False: no connection is free and no more may be opened; nothing
     * was done. A failure to connect is reported through done().
     */
    bool (*send)(struct transport *t, struct record *r, const struct payload *p, int64_t now_ns);
    /* Deals with what comes until until_ns; returns after each batch of it. */
    void (*wait)(struct transport *t, int64_t until_ns);
    /* Ends all requests in flight with that outcome. */
    void (*abandon)(struct transport *t, enum outcome outcome);
    void (*stats)(const struct transport *t, struct transport_stats *out);
    void (*close)(struct transport *t);
};

extern const struct transport_ops transport_plain;
extern const struct transport_ops transport_curl;

const struct transport_ops *transport_for(bool http2);

#endif
