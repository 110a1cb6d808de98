/*
 * HTTP/1.1 on epoll, with TLS where the target asks for it. In the hot path a request costs one send,
 * one receive and its share of a wait; the bytes of a read are split where they lie, with one
 * timestamp for all of them, the kernel's (kernel_time.h).
 */
#include "serve/transport.h"

#include "base/clock.h"
#include "serve/dlist.h"
#include "serve/http_response.h"
#include "serve/kernel_time.h"
#include "serve/poller.h"
#include "serve/sources.h"
#include "serve/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 << 10,
    MAX_EVENTS = 64,
    SPIN_NS = 50000,        /* before a send becomes due */
    CONNECTS_AT_ONCE = 256, /* so that the server's backlog does not overflow */
    STALE_ENOUGH = 3, /* a server that closes connections it promised to keep is not believed */
};

enum conn_state {
    CONN_CONNECTING,
    CONN_HANDSHAKE, /* of TLS */
    CONN_IDLE,
    CONN_SENDING,
    CONN_WAITING,
    CONN_FAILED
};

struct conn {
    struct dlist link; /* by state: connecting, idle, active in order of activity, failed */
    struct conn *next_dead;
    struct dlist by_age; /* with a request: in order of its beginning */
    struct plain *t;
    int fd;
    struct tls_link *tls; /* NULL without TLS */
    enum conn_state state;
    uint32_t number;
    bool wants_out;
    bool head_told;
    uint32_t n_served;    /* requests before this one */
    enum outcome failure; /* with CONN_FAILED */
    int64_t activity_ns;  /* last progress */
    struct read_time at;  /* of what was read last */
    int64_t request_ns;   /* when its request began */
    const struct payload *payload;
    size_t n_sent;
    int64_t write_ns; /* when its last write began */
    struct http_response http;
    struct exchange x;
};

struct plain {
    struct transport_opts o;
    struct poller poller;
    struct sources sources;
    struct kernel_clock clock;
    struct dlist connecting, idle, active, failed;
    struct dlist by_age;
    struct conn *dead;
    size_t n_connecting;
    struct transport_stats stats;
    size_t n_stale; /* requests that met a used connection that was closed */
    char *buf;
    struct tls *tls; /* NULL without */
    char *sealed;    /* with TLS: what came, before it is read */
};

static struct conn *conn_of(struct dlist *link) {
    return DLIST_OWNER(link, struct conn, link);
}

/* ---- the ends of connections and requests ---- */

static void close_fd(struct conn *c) {
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
        c->t->stats.n_connections--;
    }
}

/* On its way to a connection that can carry requests. */
static bool is_opening(const struct conn *c) {
    return c->state == CONN_CONNECTING || c->state == CONN_HANDSHAKE;
}

/* Closes; freed after the batch, since an event of it may still point here. */
static void retire(struct conn *c) {
    c->t->n_connecting -= is_opening(c);
    close_fd(c);
    dlist_remove(&c->by_age);
    dlist_remove(&c->link);
    c->next_dead = c->t->dead;
    c->t->dead = c;
}

static void free_dead(struct plain *t) {
    while (t->dead) {
        struct conn *c = t->dead;
        t->dead = c->next_dead;
        http_response_release(&c->http);
        exchange_release(&c->x);
        tls_link_free(c->tls);
        free(c);
    }
}

static void become_idle(struct conn *c) {
    c->t->n_connecting -= is_opening(c);
    c->state = CONN_IDLE;
    dlist_remove(&c->by_age);
    dlist_move_to_end(&c->t->idle, &c->link); /* the last one in is the first one out */
}

/* Ends the request; the connection goes on when the response allows that. */
static void finish(struct conn *c, enum outcome outcome, int64_t now_ns, bool reusable) {
    struct record *r = c->x.record;
    struct plain *t = c->t;
    exchange_end(&c->x, outcome, now_ns, t->o.store);
    c->n_served++;
    if (reusable && t->n_stale < STALE_ENOUGH) {
        become_idle(c);
    } else {
        retire(c);
    }
    t->o.done(t->o.ctx, r);
}

/* Fails from within send(): told later, so that done() cannot call itself. */
static void fail_later(struct conn *c, enum outcome outcome) {
    c->t->n_connecting -= is_opening(c);
    c->state = CONN_FAILED;
    c->failure = outcome;
    close_fd(c);
    dlist_move_to_end(&c->t->failed, &c->link);
}

/* ---- sending ---- */

static void watch_out(struct conn *c, bool on) {
    if (c->wants_out != on) {
        c->wants_out = on;
        poller_change(&c->t->poller, c->fd, EPOLLIN | (on ? EPOLLOUT : 0U), c);
    }
}

/* Sends what TLS has to say: 0, or an errno. *all: nothing is left. */
static int push_sealed(struct conn *c, bool *all) {
    const char *bytes;
    size_t len;
    while ((len = tls_link_pending(c->tls, &bytes)) > 0) {
        c->write_ns = clock_mono_ns();
        ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0) {
            *all = false;
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
        }
        tls_link_sent(c->tls, (size_t)n);
    }
    *all = true;
    return 0;
}

static int push_plain(struct conn *c, bool *all) {
    const struct payload *p = c->payload;
    *all = false;
    while (c->n_sent < p->len) {
        c->write_ns = clock_mono_ns();
        ssize_t n = send(c->fd, p->bytes + c->n_sent, p->len - c->n_sent, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
        }
        c->n_sent += (size_t)n;
    }
    *all = true;
    return 0;
}

/* 0, or an errno. */
static int push_request(struct conn *c) {
    bool all = false;
    if (c->tls && c->n_sent == 0) {
        if (!tls_link_write(c->tls, c->payload->bytes, c->payload->len)) {
            return ECONNRESET;
        }
        c->n_sent = c->payload->len;
    }
    int errnum = c->tls ? push_sealed(c, &all) : push_plain(c, &all);
    if (errnum) {
        return errnum;
    }
    watch_out(c, !all);
    if (all) {
        /* Not when the write came back: its bytes may have woken the server on our core before. */
        c->activity_ns = c->x.record->sent_ns = c->write_ns;
        c->t->stats.writes++;
        c->t->stats.write_ns += clock_mono_ns() - c->write_ns;
        c->state = CONN_WAITING;
    }
    return 0;
}

static int start_request(struct conn *c, int64_t now_ns) {
    c->state = CONN_SENDING;
    c->activity_ns = now_ns;
    c->n_sent = 0;
    c->head_told = false;
    http_response_restart(&c->http);
    dlist_move_to_end(&c->t->active, &c->link);
    return push_request(c);
}

static void attach(struct conn *c, struct record *r, const struct payload *p, int64_t now_ns) {
    r->begun_ns = r->begun_ns ? r->begun_ns : now_ns;
    r->connection = c->number;
    c->payload = p;
    c->request_ns = c->at.came_ns = now_ns;
    exchange_begin(&c->x, r, 4 * p->max_tokens + 1024);
    dlist_move_to_end(&c->t->by_age, &c->by_age);
}

/* ---- connecting ---- */

/* Opens a socket and begins to connect: 0 or an errno. */
static int begin_connect(struct conn *c) {
    struct plain *t = c->t;
    const struct target *to = t->o.target;
    int on = 1;
    c->fd = socket(to->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return errno;
    }
    t->stats.n_connections++;
    t->stats.opened++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!t->o.read_times) {
        kernel_time_ask(c->fd);
    }
    int errnum = sources_bind(&t->sources, c->fd);
    if (!errnum && connect(c->fd, (const struct sockaddr *)&to->addr, to->addr_len) != 0 &&
        errno != EINPROGRESS) {
        errnum = errno;
    }
    c->wants_out = true;
    if (!errnum && poller_add(&t->poller, c->fd, EPOLLIN | EPOLLOUT, c, NULL)) {
        errnum = ENOMEM;
    }
    return errnum;
}

/* A new connection that is being opened; *errnum says when that failed at once. NULL: no memory. */
static struct conn *open_conn(struct plain *t, int64_t now_ns, int *errnum) {
    struct conn *c = calloc(1, sizeof(*c));
    if (!c) {
        return NULL;
    }
    c->t = t;
    c->number = (uint32_t)t->stats.opened;
    c->state = CONN_CONNECTING;
    c->activity_ns = now_ns;
    dlist_init(&c->link);
    dlist_init(&c->by_age);
    http_response_init(&c->http);
    exchange_init(&c->x);
    *errnum = begin_connect(c);
    dlist_append(&t->connecting, &c->link);
    t->n_connecting++;
    return c;
}

/*
 * A server may close a connection that it kept at the moment a request is sent on it, which says
 * nothing about the request: it is sent once more, on a connection of its own. False: that does not
 * apply, or cannot be done.
 */
static bool send_again(struct conn *c, int64_t now_ns) {
    struct record *r = c->x.record;
    struct plain *t = c->t;
    int errnum = 0;
    if (c->n_served == 0 || r->first_byte_ns) {
        return false;
    }
    struct conn *fresh = open_conn(t, now_ns, &errnum);
    if (!fresh) {
        return false;
    }
    t->n_stale++;
    r->sent_ns = 0;
    r->flags |= RECORD_SENT_AGAIN | RECORD_FRESH_CONNECTION;
    attach(fresh, r, c->payload, now_ns);
    if (errnum) {
        fail_later(fresh, outcome_of_errno(errnum));
    }
    c->x.record = NULL;
    retire(c);
    return true;
}

static void on_connect_failed(struct conn *c, enum outcome outcome) {
    if (c->x.record) {
        finish(c, outcome, clock_mono_ns(), false);
    } else {
        c->failure = outcome;
        fail_later(c, outcome); /* plain_connect looks for it there */
    }
}

/* It can carry requests now. */
static void on_open(struct conn *c) {
    if (!c->x.record) {
        become_idle(c);
        watch_out(c, false);
        return;
    }
    int64_t now_ns = clock_mono_ns();
    c->x.record->connected_ns = now_ns;
    c->t->n_connecting--;
    int errnum = start_request(c, now_ns);
    if (errnum) {
        finish(c, outcome_of_errno(errnum), now_ns, false);
    }
}

static void shake_hands(struct conn *c) {
    bool all = true;
    enum tls_step step = tls_link_handshake(c->tls);
    int errnum = push_sealed(c, &all); /* also why we refuse, if we do */
    if (step == TLS_FAILED || errnum) {
        on_connect_failed(c, OUTCOME_TLS);
    } else if (step == TLS_DONE && all) {
        on_open(c);
    } else {
        watch_out(c, !all);
    }
}

/* The next words of a handshake. */
static void on_handshake(struct conn *c, uint32_t events) {
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = recv(c->fd, c->t->sealed, READ_BYTES, 0);
        bool again = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
        if (!again && (n <= 0 || !tls_link_feed(c->tls, c->t->sealed, (size_t)n))) {
            on_connect_failed(c, OUTCOME_TLS);
            return;
        }
    }
    shake_hands(c);
}

static void on_connected(struct conn *c) {
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
    if (errnum) {
        on_connect_failed(c, outcome_of_errno(errnum));
        return;
    }
    if (!c->t->tls) {
        on_open(c);
        return;
    }
    c->tls = tls_link_new(c->t->tls);
    if (!c->tls) {
        on_connect_failed(c, OUTCOME_NO_MEMORY);
        return;
    }
    c->state = CONN_HANDSHAKE;
    shake_hands(c);
}

/* ---- receiving ---- */

static enum outcome lost(const struct conn *c, enum outcome before_answer) {
    return c->x.record->first_byte_ns ? OUTCOME_DIED : before_answer;
}

static void on_closed(struct conn *c, int64_t now_ns) {
    http_response_closed(&c->http);
    if (c->http.phase == HTTP_DONE) {
        finish(c, OUTCOME_PENDING, now_ns, false);
    } else if (!send_again(c, now_ns)) {
        finish(c, lost(c, OUTCOME_CLOSED), now_ns, false);
    }
}

/* Splits a read into events; PENDING unless the request has failed. */
static enum outcome take_bytes(struct conn *c, const char *p, const char *end) {
    const char *body;
    size_t len;
    enum outcome outcome = OUTCOME_PENDING;
    bool more = true;
    while (more && outcome == OUTCOME_PENDING) {
        more = http_response_next(&c->http, &p, end, &body, &len);
        if (!c->head_told && (c->http.phase == HTTP_BODY || c->http.phase == HTTP_DONE)) {
            c->head_told = true;
            outcome = exchange_head(&c->x, c->http.status, c->http.event_stream,
                                    c->http.compressed);
        }
        if (more && outcome == OUTCOME_PENDING) {
            outcome = exchange_body(&c->x, body, len, c->at.came_ns);
        }
    }
    if (outcome == OUTCOME_PENDING && c->http.phase == HTTP_BROKEN) {
        outcome = OUTCOME_BAD_HTTP;
    }
    if (c->http.phase == HTTP_DONE && p < end) {
        c->http.keep_alive = false; /* bytes that nobody asked for */
    }
    return outcome;
}

/* Bytes of the response. */
static enum outcome take_read(struct conn *c, const char *bytes, size_t n) {
    struct plain *t = c->t;
    struct record *r = c->x.record;
    if (!r->sent_ns) {
        r->sent_ns = c->at.came_ns; /* an answer before the request was over: an error, mostly */
        c->http.keep_alive = false;
    }
    if (c->at.came_ns < r->sent_ns) {
        c->at.came_ns = r->sent_ns; /* before the request was over, which was sent all the same */
    }
    r->first_byte_ns = r->first_byte_ns ? r->first_byte_ns : c->at.came_ns;
    r->bytes_in += (uint64_t)n;
    t->stats.bytes_in += (uint64_t)n;
    c->activity_ns = c->at.read_ns;
    return take_bytes(c, bytes, bytes + n);
}

/* All records of a read are that read. *closed: the peer has said that it was the last. */
static enum outcome take_sealed(struct conn *c, size_t n, bool *closed) {
    struct plain *t = c->t;
    enum outcome outcome = OUTCOME_PENDING;
    ssize_t len = 0;
    if (!tls_link_feed(c->tls, t->sealed, n)) {
        return OUTCOME_NO_MEMORY;
    }
    while (outcome == OUTCOME_PENDING && (len = tls_link_read(c->tls, t->buf, READ_BYTES)) > 0) {
        outcome = take_read(c, t->buf, (size_t)len);
        event_writer_keep(&c->x.log); /* the next record is going to lie where this one does */
    }
    *closed = len < 0;
    bool all;
    return outcome == OUTCOME_PENDING && push_sealed(c, &all) != 0 ? lost(c, OUTCOME_RESET)
                                                                   : outcome;
}

/* Without a request, TLS may have something to say for itself; anything else ends the connection: the
 * server has closed it, or talks out of turn. */
static void on_idle_readable(struct conn *c, ssize_t n) {
    if (n <= 0 || !c->tls || !tls_link_feed(c->tls, c->t->sealed, (size_t)n) ||
        tls_link_read(c->tls, c->t->buf, READ_BYTES) != 0) {
        retire(c);
    }
}

/* As recv; c->at says when. */
static ssize_t read_bytes(struct conn *c, char *buf) {
    struct plain *t = c->t;
    if (t->o.read_times) {
        ssize_t n = recv(c->fd, buf, READ_BYTES, 0);
        c->at.read_ns = c->at.came_ns = clock_mono_ns();
        return n;
    }
    return kernel_time_recv(&t->clock, c->fd, buf, READ_BYTES, c->at.came_ns, &c->at);
}

/* A read that brought bytes of a response. */
static void count_read(struct conn *c) {
    struct transport_stats *s = &c->t->stats;
    uint64_t wait_ns = (uint64_t)(c->at.read_ns - c->at.came_ns);
    int octave = wait_ns ? 64 - __builtin_clzll(wait_ns) : 0;
    s->reads++;
    if (c->at.by_kernel) {
        s->read_waits[octave < READ_WAITS ? octave : READ_WAITS - 1]++;
    }
}

static void on_readable(struct conn *c) {
    struct plain *t = c->t;
    ssize_t n = read_bytes(c, c->tls ? t->sealed : t->buf);
    int64_t now_ns = c->at.read_ns;
    bool closed = false;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (!c->x.record) {
        on_idle_readable(c, n);
        return;
    }
    if (n < 0) {
        enum outcome o = outcome_of_errno(errno);
        if (!send_again(c, now_ns)) {
            finish(c, lost(c, o), now_ns, false);
        }
        return;
    }
    if (n == 0) {
        on_closed(c, now_ns);
        return;
    }
    const struct record *r = c->x.record;
    uint64_t had = r->bytes_in; /* TLS may have talked of itself */
    enum outcome outcome = c->tls ? take_sealed(c, (size_t)n, &closed)
                                  : take_read(c, t->buf, (size_t)n);
    if (r->bytes_in > had) {
        count_read(c);
    }
    if (outcome != OUTCOME_PENDING) {
        finish(c, outcome, now_ns, false);
    } else if (c->http.phase == HTTP_DONE) {
        bool reusable = c->http.keep_alive && c->state == CONN_WAITING && !closed;
        finish(c, OUTCOME_PENDING, now_ns, reusable);
    } else if (closed) {
        on_closed(c, now_ns);
    } else {
        exchange_read_over(&c->x);
        dlist_move_to_end(&t->active, &c->link);
    }
}

static void on_event(struct conn *c, uint32_t events) {
    if (c->fd < 0) {
        return;
    }
    if (c->state == CONN_CONNECTING) {
        on_connected(c);
        return;
    }
    if (c->state == CONN_HANDSHAKE) {
        on_handshake(c, events);
        return;
    }
    if ((events & EPOLLOUT) && c->state == CONN_SENDING) {
        int errnum = push_request(c);
        if (errnum) {
            int64_t now_ns = clock_mono_ns();
            if (!send_again(c, now_ns)) {
                finish(c, outcome_of_errno(errnum), now_ns, false);
            }
            return;
        }
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        on_readable(c);
    }
}

/* ---- deadlines ---- */

/* The first member's activity and the limit since then; INT64_MAX for an empty list. */
static int64_t first_deadline(struct dlist *list, int64_t limit_ns) {
    return dlist_is_empty(list) ? INT64_MAX : conn_of(list->next)->activity_ns + limit_ns;
}

static int64_t first_age_deadline(const struct plain *t) {
    if (dlist_is_empty(&t->by_age)) {
        return INT64_MAX;
    }
    return DLIST_OWNER(t->by_age.next, struct conn, by_age)->request_ns + t->o.timeout_ns;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void expire(struct plain *t, int64_t now_ns) {
    while (first_deadline(&t->active, t->o.stall_ns) <= now_ns) {
        finish(conn_of(t->active.next), OUTCOME_STALLED, now_ns, false);
    }
    while (first_deadline(&t->connecting, t->o.connect_timeout_ns) <= now_ns) {
        on_connect_failed(conn_of(t->connecting.next), OUTCOME_CONNECT_TIMEOUT);
    }
    while (first_age_deadline(t) <= now_ns) {
        finish(DLIST_OWNER(t->by_age.next, struct conn, by_age), OUTCOME_TIMEOUT, now_ns, false);
    }
}

static void tell_failures(struct plain *t) {
    struct dlist told; /* what fails meanwhile is told next time */
    dlist_init(&told);
    while (!dlist_is_empty(&t->failed)) {
        dlist_move_to_end(&told, t->failed.next);
    }
    while (!dlist_is_empty(&told)) {
        struct conn *c = conn_of(told.next);
        if (c->x.record) {
            finish(c, c->failure, clock_mono_ns(), false);
        } else {
            retire(c);
        }
    }
}

static void plain_wait(struct transport *transport, int64_t until_ns) {
    struct plain *t = (struct plain *)transport;
    struct epoll_event events[MAX_EVENTS];
    int64_t deadline_ns = earlier(first_deadline(&t->active, t->o.stall_ns), first_age_deadline(t));
    deadline_ns = earlier(deadline_ns, first_deadline(&t->connecting, t->o.connect_timeout_ns));
    if (!dlist_is_empty(&t->failed)) {
        deadline_ns = 0;
    }
    bool exact = until_ns >= *t->o.next_due_ns && deadline_ns > until_ns;
    int n = poller_wait(&t->poller, events, MAX_EVENTS, earlier(until_ns, deadline_ns),
                        exact ? SPIN_NS : 0);
    t->stats.waits++;
    if (n > 0 && !t->o.read_times) {
        kernel_clock_look(&t->clock);
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr) { /* else the owner is called */
            on_event(events[i].data.ptr, events[i].events);
        }
        int64_t now_ns = *t->o.next_due_ns == INT64_MAX ? 0 : clock_mono_ns();
        if (now_ns >= *t->o.next_due_ns) {
            t->o.due(t->o.ctx, now_ns);
        }
    }
    expire(t, clock_mono_ns());
    tell_failures(t);
    free_dead(t);
}

/* ---- the interface ---- */

static bool plain_send(struct transport *transport, struct record *r, const struct payload *p,
                       int64_t now_ns) {
    struct plain *t = (struct plain *)transport;
    if (!dlist_is_empty(&t->idle)) {
        struct conn *c = conn_of(t->idle.prev);
        attach(c, r, p, now_ns);
        int errnum = start_request(c, now_ns);
        if (errnum && !send_again(c, now_ns)) {
            fail_later(c, outcome_of_errno(errnum));
        }
        return true;
    }
    if (t->stats.n_connections >= t->o.max_connections) {
        return false;
    }
    int errnum = 0;
    struct conn *c = open_conn(t, now_ns, &errnum);
    if (!c) {
        return false;
    }
    r->flags |= RECORD_FRESH_CONNECTION;
    attach(c, r, p, now_ns);
    if (errnum) {
        fail_later(c, outcome_of_errno(errnum));
    }
    return true;
}

static int plain_connect(struct transport *transport, size_t n, int64_t deadline_ns,
                         struct err *e) {
    struct plain *t = (struct plain *)transport;
    const struct target *to = t->o.target;
    struct epoll_event events[MAX_EVENTS];
    enum outcome failure = OUTCOME_OK;
    while (failure == OUTCOME_OK && (t->stats.n_connections < n || t->n_connecting > 0)) {
        while (failure == OUTCOME_OK && t->stats.n_connections < n &&
               t->n_connecting < CONNECTS_AT_ONCE) {
            int errnum = 0;
            if (!open_conn(t, clock_mono_ns(), &errnum)) {
                errnum = ENOMEM;
            }
            failure = errnum ? outcome_of_errno(errnum) : OUTCOME_OK;
        }
        int count = failure == OUTCOME_OK
                        ? poller_wait(&t->poller, events, MAX_EVENTS, deadline_ns, 0)
                        : 0;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                on_event(events[i].data.ptr, events[i].events);
            }
        }
        if (!dlist_is_empty(&t->failed)) {
            failure = conn_of(t->failed.next)->failure;
        } else if (failure == OUTCOME_OK && clock_mono_ns() >= deadline_ns) {
            failure = OUTCOME_CONNECT_TIMEOUT;
        }
    }
    tell_failures(t);
    free_dead(t);
    return failure == OUTCOME_OK
               ? 0
               : err_set(e, EE_IO, "no connection to %s port %s after %zu of %zu: %s", to->host,
                         to->port, t->stats.n_connections - t->n_connecting, n,
                         outcome_meaning(failure));
}

static void plain_abandon(struct transport *transport, enum outcome outcome) {
    struct plain *t = (struct plain *)transport;
    int64_t now_ns = clock_mono_ns();
    while (!dlist_is_empty(&t->by_age)) {
        struct conn *c = DLIST_OWNER(t->by_age.next, struct conn, by_age);
        finish(c, c->state == CONN_FAILED ? c->failure : outcome, now_ns, false);
    }
    free_dead(t);
}

static void plain_stats(const struct transport *transport, struct transport_stats *out) {
    const struct plain *t = (const struct plain *)transport;
    *out = t->stats;
    out->clock_steps = t->clock.n_steps;
}

static void retire_all(struct dlist *list) {
    while (!dlist_is_empty(list)) {
        retire(conn_of(list->next));
    }
}

static void plain_close(struct transport *transport) {
    struct plain *t = (struct plain *)transport;
    retire_all(&t->connecting);
    retire_all(&t->idle);
    retire_all(&t->active);
    retire_all(&t->failed);
    free_dead(t);
    poller_close(&t->poller);
    tls_close(t->tls);
    sources_close(&t->sources);
    free(t->sealed);
    free(t->buf);
    free(t);
}

static int plain_open(struct transport **out, const struct transport_opts *opts, struct err *e) {
    struct plain *t = calloc(1, sizeof(*t));
    *out = NULL;
    if (!t) {
        return err_set(e, EE_NOMEM, "connections: out of memory");
    }
    t->o = *opts;
    t->poller.fd = -1;
    struct dlist *lists[] = {&t->connecting, &t->idle, &t->active, &t->failed, &t->by_age};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        dlist_init(lists[i]);
    }
    t->buf = malloc(READ_BYTES);
    t->sealed = opts->target->tls ? malloc(READ_BYTES) : NULL;
    int rc = t->buf && (t->sealed || !opts->target->tls)
                 ? 0
                 : err_set(e, EE_NOMEM, "connections: out of memory");
    if (!rc && opts->target->tls) {
        rc = tls_open(&t->tls, opts->target, opts->ca_file, opts->insecure, e);
    }
    rc = rc ? rc : sources_open(&t->sources, opts, e);
    rc = rc ? rc : poller_open(&t->poller, e);
    if (!rc && opts->wake_fd > 0) {
        rc = poller_add(&t->poller, opts->wake_fd, EPOLLIN, NULL, e);
    }
    if (rc) {
        plain_close((struct transport *)t);
        return rc;
    }
    *out = (struct transport *)t;
    return 0;
}

const struct transport_ops transport_plain = {
    .name = "HTTP/1.1",
    .has_kernel_times = true,
    .open = plain_open,
    .connect = plain_connect,
    .send = plain_send,
    .wait = plain_wait,
    .abandon = plain_abandon,
    .stats = plain_stats,
    .close = plain_close,
};
