#include "base/channel.h"

#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* A message longer than this is a fault, not data: one request's record is a few kilobytes. */
    MAX_MESSAGE_BYTES = 64 * 1024 * 1024,
    MAX_POLL_MS = 60 * 60 * 1000, /* poll counts in int; a longer wait is several polls */
};

void channel_init(struct channel *c, int fd) {
    *c = (struct channel){.fd = fd};
    buf_init_max(&c->in, MAX_MESSAGE_BYTES);
}

void channel_release(struct channel *c) {
    buf_release(&c->in);
}

int channel_send(struct channel *c, json_t *value, struct err *e) {
    struct buf b;
    buf_init(&b);
    int rc = value ? json_write(value, &b, e)
                   : err_set(e, EE_NOMEM,
                             "a message could not be made: out of memory, or text that "
                             "is not UTF-8");
    json_decref(value);
    buf_addch(&b, '\n');
    if (!rc) {
        rc = buf_check(&b, "message", e);
    }
    for (size_t sent = 0; !rc && sent < b.len;) {
        ssize_t n = send(c->fd, b.data + sent, b.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            rc = err_errno(e, errno, "cannot send to the other process");
        } else if (n > 0) {
            sent += (size_t)n;
        }
    }
    buf_release(&b);
    return rc;
}

/* Takes one line out of the buffer if a whole one is there. */
static int take_line(struct channel *c, json_t **out, struct err *e) {
    const char *line = c->in.data + c->start;
    /* A long message comes in many reads; each byte is looked at once. */
    const char *newline = memchr(c->in.data + c->searched, '\n', c->in.len - c->searched);
    if (!newline) {
        c->searched = c->in.len;
        return 0;
    }
    size_t len = (size_t)(newline - line);
    int rc = json_parse(line, len, "message from the other process", out, e);
    c->start += len + 1;
    if (c->start == c->in.len) {
        buf_clear(&c->in);
        c->start = 0;
    }
    c->searched = c->start;
    return rc;
}

static void drop_read_part(struct channel *c) {
    memmove(c->in.data, c->in.data + c->start, c->in.len - c->start);
    c->in.len -= c->start;
    c->searched -= c->start;
    c->start = 0;
}

static int poll_timeout_ms(int64_t deadline_ns) {
    if (deadline_ns == INT64_MAX) {
        return -1;
    }
    int64_t now_ns = clock_mono_ns();
    if (deadline_ns <= now_ns) {
        return 0;
    }
    int64_t left_ms = (deadline_ns - now_ns - 1) / NS_PER_MS + 1;
    return left_ms < MAX_POLL_MS ? (int)left_ms : MAX_POLL_MS;
}

int channel_recv(struct channel *c, int64_t deadline_ns, json_t **out, struct err *e) {
    enum { READ_BYTES = 64 * 1024 };
    *out = NULL;
    for (;;) {
        int rc = take_line(c, out, e);
        if (rc || *out || c->at_eof) {
            return rc;
        }
        struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
        int timeout_ms = poll_timeout_ms(deadline_ns);
        int ready = poll(&pfd, 1, timeout_ms);
        if (ready == 0 && timeout_ms == MAX_POLL_MS) {
            continue;
        }
        if (ready <= 0) {
            return ready < 0 && errno != EINTR ? err_errno(e, errno, "poll failed") : 0;
        }
        if (c->start > 0) {
            drop_read_part(c);
        }
        if (!buf_reserve(&c->in, READ_BYTES)) {
            return buf_check(&c->in, "message from the other process", e);
        }
        ssize_t n = recv(c->fd, c->in.data + c->in.len, READ_BYTES, 0);
        if (n > 0) {
            c->in.len += (size_t)n;
            c->in.data[c->in.len] = '\0';
        } else if (n == 0 || errno == ECONNRESET) {
            c->at_eof = true;
        } else if (errno != EINTR) {
            return err_errno(e, errno, "cannot read from the other process");
        }
    }
}
