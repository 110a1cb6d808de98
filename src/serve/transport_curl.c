/*
 * HTTP/2 on libcurl's multi interface, with our own epoll loop under it. One handle a
 * request, taken from a pool; libcurl keeps the connections.
 */
#include "serve/transport.h"

#include "base/clock.h"
#include "serve/curl_lib.h"
#include "serve/dlist.h"
#include "serve/poller.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_EVENTS = 64, SPIN_NS = 50000, STREAMS_A_CONNECTION = 100 };

struct handle {
    struct dlist link;   /* free, or active in order of activity */
    struct dlist by_age; /* in order of beginning */
    struct handle *next; /* of all */
    struct curl *t;
    CURL *easy;
    struct exchange x;
    int64_t activity_ns;
    int64_t request_ns;
    uint64_t turn; /* of the loop in which bytes came last */
    bool head_told, compressed, event_stream;
    bool probed;          /* its last request only opened a connection */
    enum outcome verdict; /* of the bytes so far */
};

struct curl {
    struct transport_opts o;
    struct poller poller;
    CURLM *multi;
    struct curl_slist *headers;
    char url[1200];
    char probe_url[1200];
    struct dlist free, active, by_age;
    struct handle *handles;
    size_t n_active;
    size_t max_active;
    int64_t timer_ns; /* when libcurl wants to be called; INT64_MAX: not */
    uint64_t turn;
    int64_t turn_ns; /* when its first bytes came; 0: none yet */
    CURLcode probe_failure;
    struct transport_stats stats;
};

/* ---- what libcurl calls ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known) {
    struct curl *t = ctx;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(t->poller.fd, EPOLL_CTL_DEL, fd, NULL);
        t->stats.n_connections -= known != NULL;
        return 0;
    }
    struct epoll_event ev = {.events = (what & CURL_POLL_IN ? EPOLLIN : 0U) |
                                       (what & CURL_POLL_OUT ? EPOLLOUT : 0U),
                             .data = {.fd = fd}};
    if (!known) {
        libcurl()->multi_assign(t->multi, fd, t);
        t->stats.n_connections++;
    }
    /* A socket that the connection cache keeps was taken out, and comes back. */
    if (epoll_ctl(t->poller.fd, EPOLL_CTL_MOD, fd, &ev) != 0) {
        epoll_ctl(t->poller.fd, EPOLL_CTL_ADD, fd, &ev);
    }
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx) {
    struct curl *t = ctx;
    (void)multi;
    t->timer_ns = timeout_ms < 0 ? INT64_MAX : clock_mono_ns() + timeout_ms * NS_PER_MS;
    return 0;
}

/* The time of this turn's bytes; begins a read of the exchange where it is its first in the turn. */
static int64_t arrival_ns(struct handle *h) {
    struct curl *t = h->t;
    if (!t->turn_ns) {
        t->turn_ns = clock_mono_ns();
    }
    if (h->turn != t->turn) {
        h->turn = t->turn;
        h->x.fresh_read = true;
        t->stats.reads++;
        h->activity_ns = t->turn_ns;
        dlist_move_to_end(&t->active, &h->link);
    }
    struct record *r = h->x.record;
    if (!r->first_byte_ns) {
        r->first_byte_ns = t->turn_ns;
        if (!r->sent_ns) {
            r->sent_ns = t->turn_ns;
        }
    }
    return t->turn_ns;
}

static bool header_is(const char *line, size_t len, const char *name, const char **value) {
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) {
        return false;
    }
    *value = line + n + 1;
    while (*value < line + len && **value == ' ') {
        (*value)++;
    }
    return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx) {
    struct handle *h = ctx;
    size_t len = size * n;
    const char *value;
    if (!h->x.record) {
        return len;
    }
    arrival_ns(h);
    h->x.record->bytes_in += len;
    if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
        h->event_stream = h->compressed = false;
    } else if (header_is(line, len, "content-type", &value)) {
        h->event_stream = strncasecmp(value, "text/event-stream", 17) == 0;
    } else if (header_is(line, len, "content-encoding", &value)) {
        h->compressed = strncasecmp(value, "identity", 8) != 0;
    }
    return len;
}

static void tell_head(struct handle *h) {
    long status = 0;
    if (!h->head_told) {
        h->head_told = true;
        libcurl()->easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
        h->verdict = exchange_head(&h->x, (int)status, h->event_stream, h->compressed);
    }
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx) {
    struct handle *h = ctx;
    size_t len = size * n;
    if (!h->x.record) {
        return len;
    }
    int64_t now_ns = arrival_ns(h);
    bool fresh = h->x.fresh_read;
    h->x.record->bytes_in += len;
    h->t->stats.bytes_in += len;
    tell_head(h);
    h->x.fresh_read = fresh;
    if (h->verdict == OUTCOME_PENDING) {
        h->verdict = exchange_body(&h->x, bytes, len, now_ns);
        event_writer_keep(&h->x.log);
    }
    return h->verdict == OUTCOME_PENDING ? len : 0;
}

/* libcurl has no other way to say when the request's last byte was written. */
/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl's type */
static int on_debug(CURL *easy, curl_infotype type, char *bytes, size_t len, void *ctx) {
    struct handle *h = ctx;
    (void)easy;
    (void)bytes;
    (void)len;
    if ((type == CURLINFO_DATA_OUT || type == CURLINFO_HEADER_OUT) && h->x.record &&
        !h->x.record->first_byte_ns) {
        h->x.record->sent_ns = clock_mono_ns();
        h->activity_ns = h->x.record->sent_ns;
    }
    return 0;
}

/* ---- outcomes ---- */

static enum outcome outcome_of_connect(CURL *easy) {
    long errnum = 0;
    libcurl()->easy_getinfo(easy, CURLINFO_OS_ERRNO, &errnum);
    switch (errnum) {
    case ETIMEDOUT:
        return OUTCOME_CONNECT_TIMEOUT;
    case EADDRNOTAVAIL:
    case EADDRINUSE:
        return OUTCOME_NO_PORTS;
    case EMFILE:
    case ENFILE:
        return OUTCOME_NO_FILES;
    case ENETUNREACH:
    case EHOSTUNREACH:
        return OUTCOME_UNREACHABLE;
    default:
        return OUTCOME_REFUSED;
    }
}

static enum outcome outcome_of_code(struct handle *h, CURLcode code) {
    bool begun = h->x.record && h->x.record->first_byte_ns;
    long errnum = 0;
    switch (code) {
    case CURLE_OK:
        return OUTCOME_PENDING;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
        return outcome_of_connect(h->easy);
    case CURLE_COULDNT_RESOLVE_HOST:
        return OUTCOME_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return OUTCOME_CONNECT_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
        return OUTCOME_TLS;
    case CURLE_OUT_OF_MEMORY:
        return OUTCOME_NO_MEMORY;
    case CURLE_GOT_NOTHING:
        return OUTCOME_CLOSED;
    case CURLE_WRITE_ERROR:
        return h->verdict == OUTCOME_PENDING ? OUTCOME_NO_MEMORY : h->verdict;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return OUTCOME_BAD_HTTP;
    case CURLE_RECV_ERROR:
        /* Broken chunks come as this too, but without an error of the system. */
        libcurl()->easy_getinfo(h->easy, CURLINFO_OS_ERRNO, &errnum);
        if (begun && errnum == 0) {
            return OUTCOME_BAD_HTTP;
        }
        return begun ? OUTCOME_DIED : OUTCOME_RESET;
    default:
        return begun ? OUTCOME_DIED : OUTCOME_RESET;
    }
}

/* ---- requests ---- */

static void finish(struct handle *h, enum outcome outcome, int64_t now_ns) {
    struct curl *t = h->t;
    struct record *r = h->x.record;
    long connects = 0;
    libcurl()->easy_getinfo(h->easy, CURLINFO_NUM_CONNECTS, &connects);
    libcurl()->multi_remove_handle(t->multi, h->easy);
    dlist_remove(&h->by_age);
    dlist_move_to_end(&t->free, &h->link);
    t->n_active--;
    t->stats.opened += (uint64_t)connects;
    if (!r) {
        return; /* only opened a connection */
    }
    if (connects > 0) {
        curl_off_t tcp_us = 0;
        curl_off_t tls_us = 0;
        libcurl()->easy_getinfo(h->easy, CURLINFO_CONNECT_TIME_T, &tcp_us);
        libcurl()->easy_getinfo(h->easy, CURLINFO_APPCONNECT_TIME_T, &tls_us);
        r->flags |= RECORD_FRESH_CONNECTION;
        r->connected_ns = r->begun_ns + 1000 * (tls_us > tcp_us ? tls_us : tcp_us);
    }
    exchange_end(&h->x, outcome, now_ns, t->o.store);
    t->o.done(t->o.ctx, r);
}

static struct handle *new_handle(struct curl *t) {
    struct handle *h = calloc(1, sizeof(*h));
    CURL *c = h ? libcurl()->easy_init() : NULL;
    if (!c) {
        free(h);
        return NULL;
    }
    h->next = t->handles;
    t->handles = h;
    h->t = t;
    h->easy = c;
    dlist_init(&h->link);
    dlist_init(&h->by_age);
    exchange_init(&h->x);
    const struct transport_opts *o = &t->o;
    libcurl()->easy_setopt(c, CURLOPT_URL, t->url);
    libcurl()->easy_setopt(c, CURLOPT_PRIVATE, h);
    libcurl()->easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    libcurl()->easy_setopt(c, CURLOPT_PROXY, "");
    libcurl()->easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
    libcurl()->easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    libcurl()->easy_setopt(c, CURLOPT_WRITEDATA, h);
    libcurl()->easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    libcurl()->easy_setopt(c, CURLOPT_HEADERDATA, h);
    libcurl()->easy_setopt(c, CURLOPT_DEBUGFUNCTION, on_debug);
    libcurl()->easy_setopt(c, CURLOPT_DEBUGDATA, h);
    libcurl()->easy_setopt(c, CURLOPT_VERBOSE, 1L);
    libcurl()->easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
    libcurl()->easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)(o->connect_timeout_ns / NS_PER_MS));
    libcurl()->easy_setopt(c, CURLOPT_SSL_VERIFYPEER, o->insecure ? 0L : 1L);
    libcurl()->easy_setopt(c, CURLOPT_SSL_VERIFYHOST, o->insecure ? 0L : 2L);
    libcurl()->easy_setopt(c, CURLOPT_BUFFERSIZE, 64L << 10);
    if (o->ca_file) {
        libcurl()->easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
    }
    if (o->http2) {
        libcurl()->easy_setopt(c, CURLOPT_HTTP_VERSION,
                               o->target->tls ? (long)CURL_HTTP_VERSION_2TLS
                                              : (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
        libcurl()->easy_setopt(c, CURLOPT_PIPEWAIT, 1L);
    } else {
        libcurl()->easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    }
    return h;
}

static bool curl_send(struct transport *transport, struct record *r, const struct payload *p,
                      int64_t now_ns) {
    struct curl *t = (struct curl *)transport;
    if (t->n_active >= t->max_active) {
        return false;
    }
    struct handle *h = dlist_is_empty(&t->free) ? new_handle(t)
                                                : DLIST_OWNER(t->free.prev, struct handle, link);
    if (!h) {
        return false;
    }
    if (h->probed || !r) {
        libcurl()->easy_setopt(h->easy, CURLOPT_URL, r ? t->url : t->probe_url);
        h->probed = !r;
    }
    if (r) {
        r->begun_ns = now_ns;
        libcurl()->easy_setopt(h->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                               (curl_off_t)(p->len - p->body_at));
        libcurl()->easy_setopt(h->easy, CURLOPT_POSTFIELDS, p->bytes + p->body_at);
    } else {
        libcurl()->easy_setopt(h->easy, CURLOPT_HTTPGET, 1L);
    }
    exchange_begin(&h->x, r, p ? 4 * p->max_tokens + 1024 : 0);
    h->head_told = h->compressed = h->event_stream = false;
    h->verdict = OUTCOME_PENDING;
    h->turn = 0;
    h->activity_ns = h->request_ns = now_ns;
    dlist_move_to_end(&t->active, &h->link);
    dlist_move_to_end(&t->by_age, &h->by_age);
    t->n_active++;
    if (libcurl()->multi_add_handle(t->multi, h->easy) != CURLM_OK) {
        h->verdict = OUTCOME_NO_MEMORY;
        h->activity_ns = 0; /* ends at the next look at the deadlines */
        dlist_remove(&h->link);
        h->link.next = t->active.next;
        h->link.prev = &t->active;
        t->active.next->prev = &h->link;
        t->active.next = &h->link;
    }
    t->timer_ns = 0; /* libcurl begins a transfer when it is called next */
    return true;
}

static void collect_done(struct curl *t) {
    CURLMsg *m;
    int left;
    while ((m = libcurl()->multi_info_read(t->multi, &left))) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        struct handle *h = NULL;
        CURLcode code = m->data.result;
        libcurl()->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&h);
        if (code == CURLE_OK && h->x.record) {
            tell_head(h);
        }
        enum outcome o = outcome_of_code(h, code);
        if (!h->x.record && code != CURLE_OK) {
            t->probe_failure = code;
        }
        finish(h, o == OUTCOME_PENDING ? h->verdict : o, clock_mono_ns());
    }
}

static void act(struct curl *t, curl_socket_t fd, int what) {
    int running;
    t->turn++;
    t->turn_ns = 0;
    libcurl()->multi_socket_action(t->multi, fd, what, &running);
    collect_done(t);
}

static struct handle *first_of(struct dlist *list, bool by_age) {
    if (dlist_is_empty(list)) {
        return NULL;
    }
    return by_age ? DLIST_OWNER(list->next, struct handle, by_age)
                  : DLIST_OWNER(list->next, struct handle, link);
}

static int64_t next_deadline(struct curl *t) {
    const struct handle *quiet = first_of(&t->active, false);
    const struct handle *old = first_of(&t->by_age, true);
    int64_t at_ns = t->timer_ns;
    if (quiet && quiet->activity_ns + t->o.stall_ns < at_ns) {
        at_ns = quiet->activity_ns + t->o.stall_ns;
    }
    if (old && old->request_ns + t->o.timeout_ns < at_ns) {
        at_ns = old->request_ns + t->o.timeout_ns;
    }
    return at_ns;
}

static void expire(struct curl *t) {
    int64_t now_ns = clock_mono_ns();
    struct handle *h;
    while ((h = first_of(&t->active, false)) && h->activity_ns + t->o.stall_ns <= now_ns) {
        finish(h, h->verdict == OUTCOME_PENDING ? OUTCOME_STALLED : h->verdict, now_ns);
    }
    while ((h = first_of(&t->by_age, true)) && h->request_ns + t->o.timeout_ns <= now_ns) {
        finish(h, OUTCOME_TIMEOUT, now_ns);
    }
}

static void curl_wait(struct transport *transport, int64_t until_ns) {
    struct curl *t = (struct curl *)transport;
    struct epoll_event events[MAX_EVENTS];
    int64_t deadline_ns = next_deadline(t);
    bool exact = until_ns >= *t->o.next_due_ns && deadline_ns > until_ns;
    int n = poller_wait(&t->poller, events, MAX_EVENTS,
                        deadline_ns < until_ns ? deadline_ns : until_ns, exact ? SPIN_NS : 0);
    t->stats.waits++;
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == t->o.wake_fd) {
            continue;
        }
        act(t, events[i].data.fd,
            (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                (events[i].events & ~(uint32_t)EPOLLOUT ? CURL_CSELECT_IN : 0));
        int64_t now_ns = *t->o.next_due_ns == INT64_MAX ? 0 : clock_mono_ns();
        if (now_ns >= *t->o.next_due_ns) {
            t->o.due(t->o.ctx, now_ns);
        }
    }
    if (t->timer_ns <= clock_mono_ns()) {
        t->timer_ns = INT64_MAX;
        act(t, CURL_SOCKET_TIMEOUT, 0);
    }
    expire(t);
}

/* libcurl opens connections for requests only: these ask for the list of models. */
static int curl_connect(struct transport *transport, size_t n, int64_t deadline_ns, struct err *e) {
    struct curl *t = (struct curl *)transport;
    size_t wanted = t->o.http2 ? 1 : n;
    t->probe_failure = CURLE_OK;
    for (size_t i = 0; i < wanted && curl_send(transport, NULL, NULL, clock_mono_ns()); i++) {
    }
    while (t->n_active > 0 && t->probe_failure == CURLE_OK && clock_mono_ns() < deadline_ns) {
        curl_wait(transport, deadline_ns);
    }
    int64_t now_ns = clock_mono_ns();
    CURLcode failure = t->n_active > 0 && t->probe_failure == CURLE_OK ? CURLE_OPERATION_TIMEDOUT
                                                                       : t->probe_failure;
    while (!dlist_is_empty(&t->by_age)) {
        finish(first_of(&t->by_age, true), OUTCOME_CUT, now_ns);
    }
    return failure == CURLE_OK
               ? 0
               : err_set(e, EE_IO, "no connection to %s port %s: %s", t->o.target->host,
                         t->o.target->port, libcurl()->easy_strerror(failure));
}

static void curl_abandon(struct transport *transport, enum outcome outcome) {
    struct curl *t = (struct curl *)transport;
    int64_t now_ns = clock_mono_ns();
    while (!dlist_is_empty(&t->by_age)) {
        finish(first_of(&t->by_age, true), outcome, now_ns);
    }
}

static void curl_stats(const struct transport *transport, struct transport_stats *out) {
    *out = ((const struct curl *)transport)->stats;
}

static void curl_close(struct transport *transport) {
    struct curl *t = (struct curl *)transport;
    while (t->handles) {
        struct handle *h = t->handles;
        t->handles = h->next;
        libcurl()->easy_cleanup(h->easy);
        exchange_release(&h->x);
        free(h);
    }
    libcurl()->multi_cleanup(t->multi);
    libcurl()->slist_free_all(t->headers);
    poller_close(&t->poller);
    free(t);
}

static int set_up(struct curl *t, struct err *e) {
    const struct target *to = t->o.target;
    bool v6 = strchr(to->host, ':') != NULL;
    snprintf(t->url, sizeof(t->url), "%s://%s%s%s:%s%s", to->scheme, v6 ? "[" : "", to->host,
             v6 ? "]" : "", to->port, to->path);
    snprintf(t->probe_url, sizeof(t->probe_url), "%s://%s%s%s:%s%s/models", to->scheme,
             v6 ? "[" : "", to->host, v6 ? "]" : "", to->port, to->base);
    t->headers = libcurl()->slist_append(NULL, "Content-Type: application/json");
    t->headers = libcurl()->slist_append(t->headers, "Accept: text/event-stream");
    t->headers = libcurl()->slist_append(t->headers,
                                         "Expect:"); /* libcurl would wait a second for it */
    if (t->o.auth) {
        t->headers = libcurl()->slist_append(t->headers, t->o.auth);
    }
    t->multi = libcurl()->multi_init();
    if (!t->multi || !t->headers) {
        return err_set(e, EE_NOMEM, "connections: out of memory");
    }
    libcurl()->multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    libcurl()->multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
    libcurl()->multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    libcurl()->multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
    libcurl()->multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)t->o.max_connections);
    libcurl()->multi_setopt(t->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)t->o.max_connections);
    int rc = poller_open(&t->poller, e);
    struct epoll_event wake = {.events = EPOLLIN, .data = {.fd = t->o.wake_fd}};
    if (!rc && t->o.wake_fd > 0 &&
        epoll_ctl(t->poller.fd, EPOLL_CTL_ADD, t->o.wake_fd, &wake) != 0) {
        rc = err_errno(e, errno, "cannot watch for the next turns");
    }
    return rc;
}

static int curl_open(struct transport **out, const struct transport_opts *opts, struct err *e) {
    *out = NULL;
    if (opts->n_sources > 0) {
        return err_set(e, EE_UNSUPPORTED, "--source goes with plain HTTP/1.1 only");
    }
    struct curl *t = calloc(1, sizeof(*t));
    if (!t) {
        return err_set(e, EE_NOMEM, "connections: out of memory");
    }
    t->o = *opts;
    t->poller.fd = -1;
    t->timer_ns = INT64_MAX;
    t->max_active = opts->max_connections * (opts->http2 ? STREAMS_A_CONNECTION : 1);
    dlist_init(&t->free);
    dlist_init(&t->active);
    dlist_init(&t->by_age);
    int rc = set_up(t, e);
    if (rc) {
        curl_close((struct transport *)t);
        return rc;
    }
    *out = (struct transport *)t;
    return 0;
}

const struct transport_ops transport_curl = {
    .name = "libcurl",
    .open = curl_open,
    .connect = curl_connect,
    .send = curl_send,
    .wait = curl_wait,
    .abandon = curl_abandon,
    .stats = curl_stats,
    .close = curl_close,
};

const struct transport_ops *transport_for(bool http2) {
    return http2 ? &transport_curl : &transport_plain;
}
