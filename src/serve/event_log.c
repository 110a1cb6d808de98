#include "serve/event_log.h"

#include <string.h>

enum { MAX_VARINT = 10, MAX_EVENT_BYTES = 64 << 20 };

void event_writer_init(struct event_writer *w) {
    *w = (struct event_writer){0};
    buf_init(&w->out);
    buf_init(&w->kept);
}

void event_writer_release(struct event_writer *w) {
    buf_release(&w->out);
    buf_release(&w->kept);
}

void event_writer_begin(struct event_writer *w, int64_t base_ns) {
    buf_clear(&w->out);
    buf_clear(&w->kept);
    w->last_ns = base_ns;
    w->previous = w->kept.data;
    w->previous_len = 0;
    w->n = 0;
}

static unsigned char *put_varint(unsigned char *p, uint64_t v) {
    while (v >= 0x80) {
        *p++ = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    *p++ = (unsigned char)v;
    return p;
}

static uint64_t load8(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static size_t common_prefix(const char *a, const char *b, size_t n) {
    size_t i = 0;
    while (i + 8 <= n && load8(a + i) == load8(b + i)) {
        i += 8;
    }
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

/* Of the n bytes that end at a and at b. */
static size_t common_suffix(const char *a, const char *b, size_t n) {
    size_t i = 0;
    while (i + 8 <= n && load8(a - i - 8) == load8(b - i - 8)) {
        i += 8;
    }
    while (i < n && a[-1 - (ptrdiff_t)i] == b[-1 - (ptrdiff_t)i]) {
        i++;
    }
    return i;
}

void event_writer_add(struct event_writer *w, int64_t now_ns, bool new_read, bool rest,
                      const char *event, size_t len) {
    size_t shorter = len < w->previous_len ? len : w->previous_len;
    size_t prefix = common_prefix(w->previous, event, shorter);
    size_t suffix = common_suffix(w->previous + w->previous_len, event + len, shorter - prefix);
    size_t middle = len - prefix - suffix;
    if (!buf_reserve(&w->out, 4 * (size_t)MAX_VARINT + middle)) {
        w->previous_len = 0; /* nothing may be compared with bytes that are about to go */
        return;
    }
    unsigned char *start = (unsigned char *)w->out.data + w->out.len;
    uint64_t gap_ns = now_ns > w->last_ns ? (uint64_t)(now_ns - w->last_ns) : 0;
    unsigned char *p = put_varint(start, gap_ns << 2 | (rest ? 2U : 0U) | (new_read ? 1U : 0U));
    p = put_varint(p, prefix);
    p = put_varint(p, suffix);
    p = put_varint(p, middle);
    memcpy(p, event + prefix, middle);
    w->out.len += (size_t)(p - start) + middle;
    w->last_ns += (int64_t)gap_ns;
    w->previous = event;
    w->previous_len = len;
    w->n++;
}

void event_writer_keep(struct event_writer *w) {
    if (w->previous != w->kept.data) {
        buf_clear(&w->kept);
        buf_add(&w->kept, w->previous, w->previous_len);
        w->previous = w->kept.data;
        w->previous_len = w->kept.len;
    }
}

bool event_writer_failed(const struct event_writer *w) {
    return w->out.failed || w->kept.failed;
}

void event_reader_init(struct event_reader *r) {
    *r = (struct event_reader){0};
    buf_init(&r->event);
}

void event_reader_release(struct event_reader *r) {
    buf_release(&r->event);
}

void event_reader_begin(struct event_reader *r, const void *log, size_t len, int64_t base_ns) {
    r->at = log;
    r->end = r->at + len;
    r->ns = base_ns;
    r->damaged = false;
    buf_clear(&r->event);
}

static bool get_varint(struct event_reader *r, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        unsigned char c = *r->at++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* The event becomes prefix, the bytes of the log, and the last suffix bytes of what it was. */
static bool rebuild(struct event_reader *r, size_t prefix, size_t suffix, size_t middle) {
    struct buf *b = &r->event;
    size_t old_len = b->len;
    size_t len = prefix + middle + suffix;
    if (len > old_len && !buf_reserve(b, len - old_len)) {
        return false;
    }
    if (len > 0) {
        memmove(b->data + prefix + middle, b->data + old_len - suffix, suffix);
        memcpy(b->data + prefix, r->at, middle);
        b->data[len] = '\0';
    }
    b->len = len;
    r->at += middle;
    return true;
}

bool event_reader_next(struct event_reader *r) {
    uint64_t head, prefix, suffix, middle;
    if (r->at >= r->end || r->damaged) {
        return false;
    }
    if (!get_varint(r, &head) || !get_varint(r, &prefix) || !get_varint(r, &suffix) ||
        !get_varint(r, &middle) || prefix > r->event.len || suffix > r->event.len - prefix ||
        middle > (uint64_t)(r->end - r->at) || middle > MAX_EVENT_BYTES ||
        !rebuild(r, (size_t)prefix, (size_t)suffix, (size_t)middle)) {
        r->damaged = true;
        return false;
    }
    r->ns += (int64_t)(head >> 2);
    r->rest = head & 2;
    r->new_read = head & 1;
    return true;
}
