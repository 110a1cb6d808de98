/* fetch over plain HTTP. libcurl could do it, but bringing up its TLS takes 4 MiB that a client of
 * plain servers has no use for. */
#include "serve/fetch_plain.h"

#include "base/clock.h"
#include "serve/http_response.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 16 << 10 };

/* 0 once the socket can do what events asks for, or an errno. */
static int wait_for(int fd, short events, int64_t deadline_ns) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left_ms = (deadline_ns - clock_mono_ns()) / NS_PER_MS;
        if (left_ms <= 0) {
            return ETIMEDOUT;
        }
        int n = poll(&p, 1, left_ms < 60000 ? (int)left_ms : 60000);
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return errno;
        }
    }
}

static int open_socket(const struct target *t, int64_t deadline_ns, int *fd) {
    *fd = socket(t->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0) {
        return errno;
    }
    if (connect(*fd, (const struct sockaddr *)&t->addr, t->addr_len) == 0) {
        return 0;
    }
    int errnum = errno == EINPROGRESS ? wait_for(*fd, POLLOUT, deadline_ns) : errno;
    socklen_t len = sizeof(errnum);
    if (!errnum) {
        getsockopt(*fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
    }
    return errnum;
}

static int send_all(int fd, const struct buf *request, int64_t deadline_ns) {
    for (size_t sent = 0; sent < request->len;) {
        ssize_t n = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        int errnum = errno == EAGAIN || errno == EINTR ? wait_for(fd, POLLOUT, deadline_ns) : errno;
        if (errnum) {
            return errnum;
        }
    }
    return 0;
}

/* The pieces of the body that came in a read. */
static int take(struct http_response *h, const char *p, const char *end, size_t max_bytes,
                struct buf *out) {
    const char *body;
    size_t len;
    while (http_response_next(h, &p, end, &body, &len)) {
        buf_add(out, body, len);
        if (out->failed || out->len > max_bytes) {
            return out->failed ? ENOMEM : EFBIG;
        }
    }
    return h->phase == HTTP_BROKEN ? EPROTO : 0;
}

static int receive(int fd, struct http_response *h, int64_t deadline_ns, size_t max_bytes,
                   struct buf *out) {
    char bytes[READ_BYTES];
    while (h->phase != HTTP_DONE) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        int errnum = 0;
        if (n > 0) {
            errnum = take(h, bytes, bytes + n, max_bytes, out);
        } else if (n == 0) {
            http_response_closed(h);
            errnum = h->phase == HTTP_DONE ? 0 : ECONNRESET;
        } else {
            errnum = errno == EAGAIN || errno == EINTR ? wait_for(fd, POLLIN, deadline_ns) : errno;
        }
        if (errnum) {
            return errnum;
        }
    }
    return 0;
}

static void add_request(const struct target *t, const char *path, const struct fetch_opts *o,
                        struct buf *out) {
    bool v6 = strchr(t->host, ':') != NULL;
    buf_addf(out,
             "%s %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUser-Agent: edge-eval/" EDGE_EVAL_VERSION "\r\n"
             "Accept: */*\r\nConnection: close\r\n%s%s",
             o->post ? "POST" : "GET", path, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port,
             o->auth ? o->auth : "", o->auth ? "\r\n" : "");
    if (o->post) {
        buf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(o->post));
    }
    buf_addf(out, "\r\n%s", o->post ? o->post : "");
}

int fetch_plain(const struct target *t, const char *path, const struct fetch_opts *opts,
                size_t max_bytes, struct buf *out, int *status, struct err *e) {
    int64_t deadline_ns = clock_mono_ns() + opts->timeout_ns;
    struct http_response h;
    struct buf request;
    int fd = -1;
    http_response_init(&h);
    buf_init(&request);
    add_request(t, path, opts, &request);
    int errnum = request.failed ? ENOMEM : open_socket(t, deadline_ns, &fd);
    errnum = errnum ? errnum : send_all(fd, &request, deadline_ns);
    errnum = errnum ? errnum : receive(fd, &h, deadline_ns, max_bytes, out);
    *status = h.status;
    if (fd >= 0) {
        close(fd);
    }
    buf_release(&request);
    http_response_release(&h);
    return errnum ? err_set(e, errnum == ETIMEDOUT ? EE_TIMEOUT : EE_IO, "http://%s:%s%s: %s",
                            t->host, t->port, path, strerror(errnum))
                  : 0;
}
