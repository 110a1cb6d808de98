/* The null server's threads and listeners; null_conn.c has the connections. */
#include "serve/null_server.h"

#include "base/clock.h"
#include "serve/null_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_EVENTS = 64,
    IDLE_WAIT_MS = 50,
    SPIN_NS = 20000,
    AWAKE_NS = 60 * NS_PER_MS, /* longer than any wait here */
};

static void accept_all(struct server_thread *t) {
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    int fd;
    while ((fd = accept4(t->listener, (struct sockaddr *)&from, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        null_conn_add(t, fd);
    }
}

static void fire_due(struct server_thread *t) {
    struct timer *first = timer_heap_first(&t->timers);
    int64_t now_ns = first ? clock_mono_ns() : 0;
    while (first && first->due_ns <= now_ns) {
        timer_heap_cancel(&t->timers, first);
        null_conn_timer((struct conn *)first, now_ns);
        first = timer_heap_first(&t->timers);
        now_ns = clock_mono_ns();
    }
}

static void *thread_main(void *arg) {
    struct server_thread *t = arg;
    struct epoll_event events[MAX_EVENTS];
    const bool awake = t->server->script.opts.awake;
    poller_sharpen_thread();
    while (!t->server->stop) {
        const struct timer *first = timer_heap_first(&t->timers);
        int64_t until_ns = clock_mono_ns() + IDLE_WAIT_MS * NS_PER_MS;
        bool timed = first && first->due_ns < until_ns;
        int n = poller_wait(&t->poller, events, MAX_EVENTS, timed ? first->due_ns : until_ns,
                            awake   ? AWAKE_NS
                            : timed ? SPIN_NS
                                    : 0);
        fire_due(t);
        if (n > 0 && t->server->script.opts.ttft_ms > 0) {
            kernel_clock_look(&t->clock);
        }
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) {
                null_conn_event(events[i].data.ptr, events[i].events);
            } else {
                accept_all(t);
            }
            fire_due(t);
        }
        null_conn_bury(t);
    }
    while (t->conns) {
        null_conn_close(t->conns);
    }
    null_conn_bury(t);
    return NULL;
}

static int open_listener(int *port, bool listening, int *out, struct err *e) {
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)*port),
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(addr);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *out = fd;
    if (fd < 0) {
        return err_errno(e, errno, "null server: no socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        (listening && listen(fd, 8192) != 0) ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        return err_errno(e, errno, "null server: cannot listen on 127.0.0.1:%d", *port);
    }
    *port = ntohs(addr.sin_port);
    return 0;
}

/* Whether someone else, who also shares ports, listens there: half of the requests would be its. */
static bool port_is_taken(int port) {
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool taken = fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return taken;
}

static int start_thread(struct server_thread *t, struct null_server *s, bool listening,
                        struct err *e) {
    t->server = s;
    t->poller.fd = -1;
    t->listener = -1;
    buf_init(&t->scratch);
    timer_heap_init(&t->timers);
    t->read_buf = malloc(NULL_READ_BYTES);
    t->plain_buf = s->tls ? malloc(NULL_READ_BYTES) : NULL;
    int rc = t->read_buf && (t->plain_buf || !s->tls)
                 ? 0
                 : err_set(e, EE_NOMEM, "null server: out of memory");
    rc = rc ? rc : open_listener(&s->port, listening, &t->listener, e);
    rc = rc ? rc : poller_open(&t->poller, e);
    if (!rc && listening) {
        rc = poller_add(&t->poller, t->listener, EPOLLIN, NULL, e);
    }
    if (!rc) {
        int errnum = pthread_create(&t->id, NULL, thread_main, t);
        rc = errnum ? err_errno(e, errnum, "null server: no thread") : 0;
        t->started = !rc;
    }
    return rc;
}

int null_server_start(struct null_server **out, const struct null_opts *opts, struct err *e) {
    *out = NULL;
    struct null_server *s = calloc(1, sizeof(*s));
    if (!s) {
        return err_set(e, EE_NOMEM, "null server: out of memory");
    }
    int rc = null_script_init(&s->script, opts, e);
    rc = rc || !opts->pem ? rc : tls_open_server(&s->tls, opts->pem, e);
    bool listening = true;
    for (int i = 0; !rc && i < s->script.opts.n_faults; i++) {
        listening = listening && s->script.opts.faults[i] != NULL_FAULT_REFUSE;
    }
    if (!rc) {
        s->port = s->script.opts.port;
        size_t bytes = (size_t)s->script.opts.n_threads * sizeof(*s->threads);
        s->threads = aligned_alloc(NULL_CACHE_LINES, bytes);
        rc = s->threads ? 0 : err_set(e, EE_NOMEM, "null server: out of memory");
        if (!rc) {
            memset(s->threads, 0, bytes);
        }
    }
    if (!rc && s->port && port_is_taken(s->port)) {
        rc = err_set(e, EE_USAGE, "null server: port %d is in use; choose another", s->port);
    }
    for (int i = 0; !rc && i < s->script.opts.n_threads; i++) {
        s->n_threads++;
        rc = start_thread(&s->threads[i], s, listening, e);
    }
    if (rc) {
        null_server_stop(s);
        return rc;
    }
    *out = s;
    return 0;
}

int null_server_port(const struct null_server *s) {
    return s->port;
}

void null_server_stats(const struct null_server *s, struct null_stats *out) {
    *out = (struct null_stats){.connections = s->n_connections};
    for (int i = 0; i < s->n_threads; i++) {
        out->events += s->threads[i].n_events;
        out->requests += s->threads[i].n_requests;
        int64_t late_ns = s->threads[i].worst_late_ns;
        out->worst_late_ns = late_ns > out->worst_late_ns ? late_ns : out->worst_late_ns;
    }
}

void null_server_stop(struct null_server *s) {
    if (!s) {
        return;
    }
    s->stop = true;
    for (int i = 0; s->threads && i < s->n_threads; i++) {
        struct server_thread *t = &s->threads[i];
        if (t->started) {
            pthread_join(t->id, NULL);
        }
        if (t->listener >= 0) {
            close(t->listener);
        }
        poller_close(&t->poller);
        timer_heap_release(&t->timers);
        buf_release(&t->scratch);
        free(t->read_buf);
        free(t->plain_buf);
    }
    tls_close(s->tls);
    free(s->threads);
    null_script_release(&s->script);
    free(s);
}
