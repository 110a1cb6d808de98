#include "serve/sse.h"

#include <string.h>

void sse_init(struct sse *s) {
    buf_init_max(&s->carry, SSE_MAX_EVENT_BYTES);
    s->given = false;
}

void sse_release(struct sse *s) {
    buf_release(&s->carry);
}

void sse_restart(struct sse *s) {
    buf_clear(&s->carry);
    s->given = false;
}

/* Whether the carry ends in an empty line; *len is what lies before that line. */
static bool ends_in_empty_line(const struct buf *carry, size_t *len) {
    size_t n = carry->len - 1; /* the last byte is LF */
    if (n > 0 && carry->data[n - 1] == '\r') {
        n--;
    }
    *len = n;
    return n == 0 || carry->data[n - 1] == '\n';
}

/* Goes on with an event whose beginning is in the carry. */
static bool next_carried(struct sse *s, const char **p, const char *end, const char **event,
                         size_t *len) {
    while (*p < end) {
        const char *eol = memchr(*p, '\n', (size_t)(end - *p));
        const char *stop = eol ? eol + 1 : end;
        buf_add(&s->carry, *p, (size_t)(stop - *p));
        *p = stop;
        if (!eol || s->carry.failed || !ends_in_empty_line(&s->carry, len)) {
            continue;
        }
        if (*len == 0) { /* a stray empty line */
            buf_clear(&s->carry);
            return false;
        }
        *event = s->carry.data;
        s->given = true;
        return true;
    }
    return false;
}

bool sse_next(struct sse *s, const char **p, const char *end, const char **event, size_t *len) {
    if (s->given) {
        buf_clear(&s->carry);
        s->given = false;
    }
    if (s->carry.len > 0) {
        if (next_carried(s, p, end, event, len)) {
            return true;
        }
        if (*p == end) {
            return false;
        }
    }
    const char *start = *p;
    const char *line = start;
    const char *eol;
    while (line < end && (eol = memchr(line, '\n', (size_t)(end - line)))) {
        bool empty = eol == line || (eol == line + 1 && *line == '\r');
        if (empty && line > start) {
            *event = start;
            *len = (size_t)(line - start);
            *p = eol + 1;
            return true;
        }
        line = eol + 1;
        start = empty ? line : start;
    }
    buf_add(&s->carry, start, (size_t)(end - start));
    *p = end;
    return false;
}

void sse_rest(const struct sse *s, const char **text, size_t *len) {
    *text = s->carry.data;
    *len = s->given ? 0 : s->carry.len;
}

/* The value of the line, if its field is name; one space after the colon is not part of it. */
static const char *field(const char *line, size_t len, const char *name, size_t *value_len) {
    size_t n = strlen(name);
    if (len < n || memcmp(line, name, n) != 0 || (len > n && line[n] != ':')) {
        return NULL;
    }
    const char *v = line + n + (len > n);
    const char *end = line + len;
    if (v < end && *v == ' ') {
        v++;
    }
    *value_len = (size_t)(end - v);
    return v;
}

void sse_parse(const char *event, size_t len, struct sse_message *m) {
    static const char mark[] = "\xef\xbb\xbf"; /* that a stream may begin with */
    const char *end = event + len;
    if (len >= 3 && memcmp(event, mark, 3) == 0) {
        event += 3;
    }
    m->has_data = m->is_error = false;
    buf_clear(&m->data);
    while (event < end) {
        const char *eol = memchr(event, '\n', (size_t)(end - event));
        size_t n = (size_t)((eol ? eol : end) - event);
        if (n > 0 && event[n - 1] == '\r') {
            n--;
        }
        size_t value_len;
        const char *v = field(event, n, "data", &value_len);
        if (v) {
            if (m->has_data) {
                buf_addch(&m->data, '\n');
            }
            buf_add(&m->data, v, value_len);
            m->has_data = true;
        } else if ((v = field(event, n, "event", &value_len))) {
            m->is_error = value_len == 5 && memcmp(v, "error", 5) == 0;
        }
        event = eol ? eol + 1 : end;
    }
}
