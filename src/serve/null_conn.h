/* What the two halves of the null server share: a connection, and the thread it belongs to. */
#ifndef SERVE_NULL_CONN_H
#define SERVE_NULL_CONN_H

#include "base/buf.h"
#include "serve/kernel_time.h"
#include "serve/null_server.h"
#include "serve/poller.h"
#include "serve/timer_heap.h"
#include "serve/tls.h"

#include <pthread.h>
#include <stdatomic.h>

enum { NULL_READ_BYTES = 64 << 10, NULL_CACHE_LINES = 128 };

enum phase {
    READING,   /* between requests */
    WAITING,   /* for the first token's moment */
    STREAMING, /* between the first token and the last */
    DRIBBLING, /* out goes slice by slice */
    SILENT,    /* never says another word */
};

struct conn {
    struct timer timer; /* first, so that a timer is its connection */
    struct server_thread *thread;
    struct conn *next, **link; /* list of all, then of the dead */
    int fd;                    /* -1: dead */
    struct tls_link *tls;      /* NULL without */
    bool greeted;              /* its handshake is over */
    enum phase phase;
    struct buf in;  /* of a request, until it is whole */
    struct buf out; /* what the socket would not take yet, or what dribbles */
    size_t out_at;
    size_t slice; /* bytes a dribble */
    int64_t slice_gap_ns;
    struct null_ask ask;
    enum null_fault fault;
    int n_tokens, n_sent;
    bool head_sent;
    bool close_after; /* when out is empty */
    bool ended;       /* the answer is written, or in out */
    bool wants_out;
    struct read_time at; /* of the last bytes that came */
    int64_t due_ns;
};

/* Aligned, so that no thread writes where another reads. */
struct server_thread {
    _Alignas(NULL_CACHE_LINES) struct null_server *server;
    pthread_t id;
    bool started;
    int listener;
    struct poller poller;
    struct timer_heap timers;
    struct conn *conns;
    struct conn *dead;
    size_t n_conns;
    struct buf scratch;
    struct kernel_clock clock; /* where the first token has a moment */
    char *read_buf;
    char *plain_buf; /* with TLS: what read_buf says */
    _Atomic uint64_t n_events, n_requests;
    _Atomic int64_t worst_late_ns;
};

struct null_server {
    struct null_script script;
    struct tls *tls; /* NULL without */
    struct server_thread *threads;
    int n_threads;
    int port;
    _Atomic bool stop;
    _Atomic uint64_t n_asked; /* which request it is that may have a fault */
    _Atomic uint64_t n_connections;
};

/* A new connection, watched and counted; the descriptor is closed where that fails. */
void null_conn_add(struct server_thread *t, int fd);
/* Something happened on its socket. */
void null_conn_event(struct conn *c, uint32_t events);
/* Its timer has come. */
void null_conn_timer(struct conn *c, int64_t now_ns);
void null_conn_close(struct conn *c);
/* Frees closed connections; not while events that may point to them are still at hand. */
void null_conn_bury(struct server_thread *t);

#endif
