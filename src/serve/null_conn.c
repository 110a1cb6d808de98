/* Connections of the null server: requests in, scripted answers out, every fault at its moment. */
#include "serve/null_conn.h"

#include "base/clock.h"
#include "serve/http_request.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WRITES_A_TURN = 16, /* then other connections have theirs */
    HEADER_BYTE_MS = 5,
    SPLIT_GAP_US = 500,
};

/* ---- connections ---- */

void null_conn_close(struct conn *c) {
    struct server_thread *t = c->thread;
    timer_heap_cancel(&t->timers, &c->timer);
    close(c->fd);
    c->fd = -1;
    *c->link = c->next;
    if (c->next) {
        c->next->link = c->link;
    }
    t->n_conns--;
    c->next = t->dead; /* an event of this batch may still point to it */
    t->dead = c;
}

static void reset_conn(struct conn *c) {
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    null_conn_close(c);
}

void null_conn_bury(struct server_thread *t) {
    while (t->dead) {
        struct conn *c = t->dead;
        t->dead = c->next;
        buf_release(&c->in);
        buf_release(&c->out);
        tls_link_free(c->tls);
        free(c);
    }
}

static void watch_out(struct conn *c, bool on) {
    if (c->wants_out != on) {
        c->wants_out = on;
        poller_change(&c->thread->poller, c->fd, EPOLLIN | (on ? EPOLLOUT : 0U), c);
    }
}

static bool has_out(const struct conn *c) {
    const char *sealed;
    return c->out_at < c->out.len || (c->tls && tls_link_pending(c->tls, &sealed) > 0);
}

/* Bytes sent; 0 when the socket takes none now; -1 when the connection is gone. */
static ssize_t send_plain(const struct conn *c, const char *bytes, size_t len) {
    ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    }
    return n;
}

/* Sends what TLS has ready. False: the connection is gone. */
static bool flush_sealed(struct conn *c) {
    const char *bytes;
    size_t len;
    ssize_t n = 1;
    while (n > 0 && (len = tls_link_pending(c->tls, &bytes)) > 0) {
        n = send_plain(c, bytes, len);
        tls_link_sent(c->tls, n > 0 ? (size_t)n : 0);
    }
    return n >= 0;
}

/* As send_plain; with TLS one write is under way at a time, which has_out tells. */
static ssize_t send_some(struct conn *c, const char *bytes, size_t len) {
    const char *sealed;
    if (!c->tls) {
        return send_plain(c, bytes, len);
    }
    if (!flush_sealed(c)) {
        return -1;
    }
    if (len == 0 || tls_link_pending(c->tls, &sealed) > 0) {
        return 0;
    }
    return tls_link_write(c->tls, bytes, len) && flush_sealed(c) ? (ssize_t)len : -1;
}

/* Sends bytes, or keeps what does not go out now. False: the connection is gone. */
static bool send_or_keep(struct conn *c, const char *bytes, size_t len) {
    ssize_t n = has_out(c) ? 0 : send_some(c, bytes, len);
    if (n < 0) {
        null_conn_close(c);
        return false;
    }
    if ((size_t)n < len) {
        buf_add(&c->out, bytes + n, len - (size_t)n);
    }
    if (has_out(c)) {
        watch_out(c, true);
    }
    return true;
}

/* Lets out go slice by slice, beginning now. */
static void dribble(struct conn *c, const char *bytes, size_t len, size_t slice, int64_t gap_ns) {
    buf_clear(&c->out);
    c->out_at = 0;
    buf_add(&c->out, bytes, len);
    c->slice = slice;
    c->slice_gap_ns = gap_ns;
    c->phase = DRIBBLING;
    timer_heap_set(&c->thread->timers, &c->timer, clock_mono_ns());
}

/* ---- what an answer is made of ---- */

static const struct null_pieces *pieces_of(const struct conn *c) {
    const struct null_script *s = &c->thread->server->script;
    return c->ask.chat ? &s->chat : &s->text;
}

static void add_piece(struct buf *out, const struct null_piece *p) {
    buf_add(out, p->bytes, p->len);
}

/* A token event, which says when it was written and how late that is. */
static void add_token(struct buf *out, const struct null_piece *p, int64_t now_ns, int64_t due_ns) {
    size_t at = out->len;
    add_piece(out, p);
    if (!out->failed) {
        null_stamp(out->data + at + p->stamps_at, now_ns, now_ns - due_ns);
    }
}

static void add_ending(struct conn *c, struct buf *out) {
    const struct null_pieces *p = pieces_of(c);
    const struct null_opts *o = &c->thread->server->script.opts;
    if (c->fault != NULL_FAULT_TRUNCATED) {
        bool cut = c->ask.max_tokens > 0 && c->n_tokens >= c->ask.max_tokens;
        add_piece(out, cut ? &p->finish_length : &p->finish_stop);
        if ((c->ask.wants_usage || (o->shape & NULL_SHAPE_USAGE)) &&
            !(o->shape & NULL_SHAPE_NO_USAGE)) {
            null_script_usage(&c->thread->server->script, c->ask.chat, c->n_tokens, out);
        }
        if (c->fault != NULL_FAULT_NO_DONE) {
            add_piece(out, &p->done);
        }
    }
    buf_add(out, p->end.bytes, p->end.len);
    c->ended = true;
    c->close_after = o->shape & NULL_SHAPE_CLOSE;
}

/* The fault in the middle of a stream, if it is due. False: the connection is gone. */
static bool add_fault(struct conn *c, struct buf *out) {
    const struct null_pieces *p = pieces_of(c);
    if (c->n_sent < (c->n_tokens + 1) / 2) {
        return true;
    }
    switch (c->fault) {
    case NULL_FAULT_DIE:
        c->ended = c->close_after = true;
        break;
    case NULL_FAULT_STALL:
        c->phase = SILENT;
        break;
    case NULL_FAULT_BAD_CHUNK:
        add_piece(out, &p->bad_chunk);
        c->phase = SILENT;
        break;
    case NULL_FAULT_BAD_UTF8:
        add_piece(out, &p->bad_utf8);
        c->fault = NULL_FAULT_NONE;
        break;
    case NULL_FAULT_BAD_JSON:
        add_piece(out, &p->bad_json);
        c->fault = NULL_FAULT_NONE;
        break;
    case NULL_FAULT_ERROR_EVENT:
        add_piece(out, &p->error_event);
        add_piece(out, &p->done);
        buf_add(out, p->end.bytes, p->end.len);
        c->ended = true;
        break;
    default:
        break;
    }
    return true;
}

/* Appends the next write of the answer. */
static void add_write(struct conn *c, struct buf *out) {
    const struct null_opts *o = &c->thread->server->script.opts;
    const struct null_pieces *p = pieces_of(c);
    int64_t now_ns = clock_mono_ns();
    /* A stream without gaps has a moment for its first write alone. */
    int64_t due_ns = o->itl_ms > 0 || c->n_sent == 0 ? c->due_ns : now_ns;
    if (!c->head_sent) {
        add_piece(out, &p->head);
        if (c->ask.chat && (o->shape & NULL_SHAPE_ROLE)) {
            add_piece(out, &p->role);
        }
        c->head_sent = true;
    }
    c->phase = STREAMING;
    int events = 0;
    for (; events < o->events_per_write && c->phase == STREAMING && !c->ended; events++) {
        const struct null_piece *sizes = c->n_sent < o->reasoning_tokens && c->ask.chat
                                             ? p->reasoning
                                             : p->token;
        add_token(out, &sizes[c->n_sent / o->tokens_per_event % o->n_sizes], now_ns, due_ns);
        c->n_sent += o->tokens_per_event;
        add_fault(c, out);
        if (c->phase == STREAMING && !c->ended && c->n_sent >= c->n_tokens &&
            c->fault != NULL_FAULT_ENDLESS) {
            c->n_tokens = c->n_sent;
            add_ending(c, out);
        }
    }
    c->thread->n_events += (uint64_t)events;
}

/* ---- progress of a connection ---- */

static void take_requests(struct conn *c, const char *text, size_t len);

/* After an answer: the next request, if its bytes came already. */
static void answer_over(struct conn *c) {
    if (c->close_after) {
        null_conn_close(c);
        return;
    }
    c->phase = READING;
    if (c->in.len > 0) {
        struct buf waiting = c->in;
        c->at.came_ns = clock_mono_ns(); /* one that waited for the answer before it */
        buf_init(&c->in);
        take_requests(c, waiting.data, waiting.len);
        buf_release(&waiting);
    }
}

/* Writes what is due, and says when the next write is. */
static void produce(struct conn *c) {
    struct server_thread *t = c->thread;
    const struct null_opts *o = &t->server->script.opts;
    int64_t itl_ns = (int64_t)(o->itl_ms * 1e6);
    for (int i = 0; i < WRITES_A_TURN; i++) {
        buf_clear(&t->scratch);
        add_write(c, &t->scratch);
        if (o->shape & NULL_SHAPE_SPLIT) {
            const char *cut = memrchr(t->scratch.data, 0xc3, t->scratch.len);
            size_t first = cut ? (size_t)(cut - t->scratch.data) + 1 : t->scratch.len;
            dribble(c, t->scratch.data, t->scratch.len, first, SPLIT_GAP_US * 1000);
            return;
        }
        if (!send_or_keep(c, t->scratch.data, t->scratch.len)) {
            return;
        }
        if (c->phase == SILENT || has_out(c)) {
            return;
        }
        if (c->ended) {
            answer_over(c);
            return;
        }
        if (itl_ns > 0) {
            c->due_ns += itl_ns;
            timer_heap_set(&t->timers, &c->timer, c->due_ns);
            return;
        }
    }
    timer_heap_set(&t->timers, &c->timer, clock_mono_ns());
}

/* Out is empty again, or a dribble has ended. */
static void go_on(struct conn *c) {
    buf_clear(&c->out);
    c->out_at = 0;
    if (c->ended) {
        answer_over(c);
    } else if (c->phase == STREAMING) {
        int64_t itl_ns = (int64_t)(c->thread->server->script.opts.itl_ms * 1e6);
        c->due_ns += itl_ns;
        timer_heap_set(&c->thread->timers, &c->timer, c->due_ns);
    }
}

static void on_writable(struct conn *c) {
    ssize_t n = send_some(c, c->out.data + c->out_at, c->out.len - c->out_at);
    if (n < 0) {
        null_conn_close(c);
        return;
    }
    c->out_at += (size_t)n;
    if (!has_out(c)) {
        watch_out(c, false);
        go_on(c);
    }
}

static void dribble_on(struct conn *c) {
    size_t left = c->out.len - c->out_at;
    ssize_t n = send_some(c, c->out.data + c->out_at, left < c->slice ? left : c->slice);
    if (n < 0) {
        null_conn_close(c);
        return;
    }
    c->out_at += (size_t)n;
    if (has_out(c)) {
        timer_heap_set(&c->thread->timers, &c->timer, clock_mono_ns() + c->slice_gap_ns);
        return;
    }
    c->phase = STREAMING;
    if (c->n_sent == 0 && !c->ended) { /* only the head was said */
        c->phase = WAITING;
        buf_clear(&c->out);
        c->out_at = 0;
        timer_heap_set(&c->thread->timers, &c->timer, c->due_ns);
        return;
    }
    go_on(c);
}

void null_conn_timer(struct conn *c, int64_t now_ns) {
    struct server_thread *t = c->thread;
    if (c->phase == DRIBBLING) {
        dribble_on(c);
        return;
    }
    if (now_ns - c->timer.due_ns > t->worst_late_ns) {
        t->worst_late_ns = now_ns - c->timer.due_ns;
    }
    produce(c);
}

/* ---- requests ---- */

static void answer_whole(struct conn *c, const struct buf *answer) {
    c->ended = true;
    c->phase = STREAMING;
    if (send_or_keep(c, answer->data, answer->len) && !has_out(c)) {
        answer_over(c);
    }
}

static void add_metrics(const struct null_server *s, struct buf *out) {
    struct null_stats st;
    null_server_stats(s, &st);
    char body[512];
    snprintf(body, sizeof(body),
             "# HELP null_requests_total Requests begun.\n# TYPE null_requests_total counter\n"
             "null_requests_total %" PRIu64 "\n"
             "# TYPE null_events_total counter\nnull_events_total{kind=\"token\"} %" PRIu64 "\n"
             "# TYPE null_worst_late_seconds gauge\nnull_worst_late_seconds %g\n",
             st.requests, st.events, (double)st.worst_late_ns / 1e9);
    null_script_page("text/plain; version=0.0.4", body, out);
}

static bool path_is(const struct http_request *q, const char *path) {
    return q->path_len == strlen(path) && memcmp(q->path, path, q->path_len) == 0;
}

/* Answers everything that is no completion. */
static void answer_page(struct conn *c, const struct http_request *q) {
    struct null_server *s = c->thread->server;
    struct buf *out = &c->thread->scratch;
    buf_clear(out);
    if (path_is(q, "/v1/models")) {
        char body[256];
        snprintf(body, sizeof(body),
                 "{\"object\":\"list\",\"data\":[{\"id\":\"%.100s\",\"object\":\"model\"}]}",
                 s->script.opts.model ? s->script.opts.model : "null");
        null_script_page("application/json", body, out);
    } else if (path_is(q, "/health")) {
        null_script_page("application/json", "{\"status\":\"ok\"}", out);
    } else if (path_is(q, "/metrics")) {
        add_metrics(s, out);
    } else {
        null_script_not_found("no such path", out);
    }
    answer_whole(c, out);
}

static enum null_fault next_fault(struct server_thread *t) {
    struct null_server *s = t->server;
    const struct null_opts *o = &s->script.opts;
    uint64_t every = (uint64_t)o->fault_every;
    t->n_requests++;
    if (o->n_faults == 0) {
        return NULL_FAULT_NONE; /* and nothing is shared with other threads */
    }
    uint64_t n = ++s->n_asked;
    return n % every ? NULL_FAULT_NONE : o->faults[(n / every - 1) % (uint64_t)o->n_faults];
}

/* A fault that takes the place of a stream. True: it was dealt with. */
static bool refuse(struct conn *c) {
    struct buf *out = &c->thread->scratch;
    buf_clear(out);
    if (c->fault == NULL_FAULT_RESET) {
        reset_conn(c);
        return true;
    }
    if (c->fault == NULL_FAULT_HANG) {
        c->phase = SILENT;
        return true;
    }
    null_script_refusal(c->fault, out);
    if (out->len > 0) {
        answer_whole(c, out);
        return true;
    }
    return false;
}

static void begin_answer(struct conn *c) {
    struct server_thread *t = c->thread;
    const struct null_opts *o = &t->server->script.opts;
    const struct null_piece *head = &pieces_of(c)->head;
    c->due_ns = c->at.came_ns + (int64_t)(o->ttft_ms * 1e6);
    c->phase = WAITING;
    if (c->fault == NULL_FAULT_SLOW_HEADERS) {
        c->head_sent = true;
        dribble(c, head->bytes, head->len, 1, HEADER_BYTE_MS * NS_PER_MS);
        return;
    }
    if ((o->shape & NULL_SHAPE_EARLY_HEAD)) {
        c->head_sent = true;
        if (!send_or_keep(c, head->bytes, head->len)) {
            return;
        }
    }
    if (o->ttft_ms > 0) {
        timer_heap_set(&t->timers, &c->timer, c->due_ns);
    } else {
        produce(c);
    }
}

static void begin_request(struct conn *c, const struct http_request *q) {
    struct null_server *s = c->thread->server;
    const struct null_opts *o = &s->script.opts;
    c->ended = c->head_sent = false;
    c->n_sent = 0;
    c->close_after = !q->keep_alive;
    c->fault = NULL_FAULT_NONE;
    bool completion = q->method_len == 4 && memcmp(q->method, "POST", 4) == 0 &&
                      memmem(q->path, q->path_len, "completions", 11);
    if (!completion) {
        answer_page(c, q);
        return;
    }
    null_script_read(&s->script, q->path, q->path_len, q->body, q->body_len, &c->ask);
    c->fault = next_fault(c->thread);
    c->n_tokens = c->ask.max_tokens > 0 && c->ask.max_tokens < o->tokens ? c->ask.max_tokens
                                                                         : o->tokens;
    if (refuse(c)) {
        return;
    }
    if (!c->ask.model_known || !c->ask.stream) {
        struct buf *out = &c->thread->scratch;
        buf_clear(out);
        if (!c->ask.model_known) {
            null_script_not_found("the model does not exist", out);
        } else {
            null_script_answer(&s->script, c->ask.chat, c->n_tokens, out);
        }
        answer_whole(c, out);
        return;
    }
    begin_answer(c);
}

/* Takes requests out of text while the connection is free; keeps what is left. */
static void take_requests(struct conn *c, const char *text, size_t len) {
    while (c->fd >= 0 && c->phase == READING && len > 0) {
        struct http_request q;
        size_t used = 0;
        enum http_request_state state = http_request_parse(text, len, &q, &used);
        if (state == HTTP_REQUEST_BAD) {
            null_conn_close(c);
            return;
        }
        if (state == HTTP_REQUEST_PARTIAL) {
            static const char go_ahead[] = "HTTP/1.1 100 Continue\r\n\r\n";
            if (q.expects_continue && c->in.len == 0) {
                send_or_keep(c, go_ahead, sizeof(go_ahead) - 1);
            }
            break;
        }
        begin_request(c, &q);
        text += used;
        len -= used;
    }
    if (c->fd >= 0) {
        buf_add(&c->in, text, len);
    }
}

static void take_bytes(struct conn *c, const char *bytes, size_t n) {
    if (c->in.len + n > 2 * (size_t)HTTP_REQUEST_MAX_BYTES) {
        null_conn_close(c);
        return;
    }
    if (c->phase != READING || c->in.len > 0) {
        buf_add(&c->in, bytes, n);
        if (c->phase == READING) {
            answer_over(c); /* parses what is there now */
        }
        return;
    }
    take_requests(c, bytes, n);
}

/* A handshake goes on, or requests come. */
static void take_sealed(struct conn *c, size_t n) {
    struct server_thread *t = c->thread;
    bool ok = tls_link_feed(c->tls, t->read_buf, n);
    if (ok && !c->greeted) {
        enum tls_step step = tls_link_handshake(c->tls);
        c->greeted = step == TLS_DONE;
        ok = step != TLS_FAILED && flush_sealed(c);
        watch_out(c, ok && has_out(c));
    }
    ssize_t len = 0;
    while (ok && c->greeted && c->fd >= 0 &&
           (len = tls_link_read(c->tls, t->plain_buf, NULL_READ_BYTES)) > 0) {
        take_bytes(c, t->plain_buf, (size_t)len);
    }
    if (c->fd >= 0 && (!ok || len < 0)) {
        null_conn_close(c);
    }
}

/* As recv. A script counts from the kernel's time of the request: a server that wakes late is in time. */
static ssize_t read_bytes(struct conn *c) {
    struct server_thread *t = c->thread;
    if (t->server->script.opts.ttft_ms > 0) {
        return kernel_time_recv(&t->clock, c->fd, t->read_buf, NULL_READ_BYTES, c->at.came_ns,
                                &c->at);
    }
    ssize_t n = recv(c->fd, t->read_buf, NULL_READ_BYTES, MSG_DONTWAIT);
    c->at.came_ns = clock_mono_ns();
    return n;
}

static void on_readable(struct conn *c) {
    struct server_thread *t = c->thread;
    ssize_t n = read_bytes(c);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        null_conn_close(c);
    } else if (c->tls) {
        take_sealed(c, (size_t)n);
    } else {
        take_bytes(c, t->read_buf, (size_t)n);
    }
}

void null_conn_add(struct server_thread *t, int fd) {
    struct conn *c = calloc(1, sizeof(*c));
    if (c && t->server->tls) {
        c->tls = tls_link_new(t->server->tls);
    }
    if (!c || (t->server->tls && !c->tls) || timer_heap_reserve(&t->timers, t->n_conns + 1, NULL)) {
        tls_link_free(c ? c->tls : NULL);
        free(c);
        close(fd);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (t->server->script.opts.ttft_ms > 0) {
        kernel_time_ask(fd);
    }
    c->thread = t;
    c->fd = fd;
    buf_init(&c->in);
    buf_init(&c->out);
    if (poller_add(&t->poller, fd, EPOLLIN, c, NULL)) {
        close(fd);
        tls_link_free(c->tls);
        free(c);
        return;
    }
    c->next = t->conns;
    c->link = &t->conns;
    if (c->next) {
        c->next->link = &c->next;
    }
    t->conns = c;
    t->n_conns++;
    t->server->n_connections++;
}

void null_conn_event(struct conn *c, uint32_t events) {
    if (c->fd >= 0 && (events & EPOLLOUT) && has_out(c) && c->phase != DRIBBLING) {
        on_writable(c);
    }
    if (c->fd >= 0 && (events & ~(uint32_t)EPOLLOUT)) {
        on_readable(c);
    }
}
