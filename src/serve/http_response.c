#include "serve/http_response.h"

#include <string.h>
#include <strings.h>

enum { MAX_HEAD_BYTES = 64 << 10, MAX_CHUNK_DIGITS = 15 };

enum chunk_part {
    CHUNK_SIZE,      /* hexadecimal digits */
    CHUNK_EXTENSION, /* whatever is left of that line */
    CHUNK_DATA,
    CHUNK_DATA_END, /* the line end behind the data */
    CHUNK_TRAILER,  /* lines behind the last chunk; left counts the bytes of this one */
};

void http_response_init(struct http_response *r) {
    *r = (struct http_response){0};
    buf_init_max(&r->head, MAX_HEAD_BYTES);
    http_response_restart(r);
}

void http_response_release(struct http_response *r) {
    buf_release(&r->head);
}

void http_response_restart(struct http_response *r) {
    struct buf head = r->head;
    buf_clear(&head);
    *r = (struct http_response){.head = head, .keep_alive = true, .until_close = true};
}

static bool broken(struct http_response *r, const char *problem) {
    r->phase = HTTP_BROKEN;
    r->problem = problem;
    return false;
}

/* ---- head ---- */

/* The value, if the line is a header of that name. */
static const char *value_of(const char *line, size_t len, const char *name, size_t name_len,
                            size_t *value_len) {
    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0) {
        return NULL;
    }
    const char *v = line + name_len + 1;
    const char *end = line + len;
    while (v < end && (*v == ' ' || *v == '\t')) {
        v++;
    }
    while (end > v && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) {
        end--;
    }
    *value_len = (size_t)(end - v);
    return v;
}

#define VALUE_OF(line, len, name, n) value_of(line, len, name, sizeof(name) - 1, n)

static bool begins_with(const char *v, size_t n, const char *word) {
    size_t len = strlen(word);
    return n >= len && strncasecmp(v, word, len) == 0;
}

static bool take_length(struct http_response *r, const char *v, size_t n) {
    r->left = 0;
    r->until_close = false;
    for (size_t i = 0; i < n; i++) {
        if (v[i] < '0' || v[i] > '9' || r->left > UINT64_MAX / 20) {
            return broken(r, "content-length is no number");
        }
        r->left = 10 * r->left + (uint64_t)(v[i] - '0');
    }
    return n > 0 || broken(r, "content-length is empty");
}

/* "gzip, chunked" is chunked too. */
static bool ends_with_chunked(const char *v, size_t n) {
    return n >= 7 && strncasecmp(v + n - 7, "chunked", 7) == 0;
}

static bool take_header(struct http_response *r, const char *line, size_t len) {
    const char *v;
    size_t n;
    switch (line[0] | 0x20) {
    case 'c':
        if ((v = VALUE_OF(line, len, "content-length", &n))) {
            return take_length(r, v, n);
        }
        if ((v = VALUE_OF(line, len, "content-type", &n))) {
            r->event_stream = begins_with(v, n, "text/event-stream");
        } else if ((v = VALUE_OF(line, len, "content-encoding", &n))) {
            r->compressed = !begins_with(v, n, "identity");
        } else if ((v = VALUE_OF(line, len, "connection", &n)) && begins_with(v, n, "close")) {
            r->keep_alive = false;
        }
        return true;
    case 't':
        if ((v = VALUE_OF(line, len, "transfer-encoding", &n))) {
            r->chunked = ends_with_chunked(v, n);
        }
        return true;
    default:
        return true;
    }
}

static bool take_status_line(struct http_response *r, const char *line, size_t len) {
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ') {
        return broken(r, "not an HTTP/1 response");
    }
    r->status = 0;
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return broken(r, "the status is no number");
        }
        r->status = 10 * r->status + (line[i] - '0');
    }
    r->keep_alive = line[7] != '0';
    return true;
}

/* Parses a whole head, which ends with an empty line. */
static bool take_head(struct http_response *r, const char *text, size_t len) {
    const char *end = text + len;
    const char *line = text;
    while (line < end) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        size_t n = (size_t)((eol ? eol : end) - line);
        bool ok = line == text ? take_status_line(r, line, n) : take_header(r, line, n);
        if (!ok) {
            return false;
        }
        line = eol ? eol + 1 : end;
    }
    if (r->status < 200 && r->status != 101) { /* "100 Continue": the real one follows */
        http_response_restart(r);
        return true;
    }
    r->phase = HTTP_BODY;
    if (r->chunked) {
        r->until_close = false;
        r->left = 0;
        r->chunk_part = CHUNK_SIZE;
        r->chunk_digits = 0;
    } else if (r->status == 204 || r->status == 304 || (!r->until_close && r->left == 0)) {
        r->phase = HTTP_DONE;
    }
    r->keep_alive = r->keep_alive && !r->until_close;
    return true;
}

/* True when a whole head was taken. */
static bool read_head(struct http_response *r, const char **p, const char *end) {
    size_t n = (size_t)(end - *p);
    if (r->head.len == 0) {
        const char *stop = memmem(*p, n, "\r\n\r\n", 4);
        if (stop) {
            const char *text = *p;
            *p = stop + 4;
            return take_head(r, text, (size_t)(stop + 2 - text));
        }
    }
    size_t had = r->head.len;
    buf_add(&r->head, *p, n);
    if (r->head.failed) {
        return broken(r, "the response's head is too long");
    }
    size_t from = had > 3 ? had - 3 : 0;
    const char *stop = memmem(r->head.data + from, r->head.len - from, "\r\n\r\n", 4);
    if (!stop) {
        *p = end;
        return false;
    }
    size_t head_len = (size_t)(stop + 4 - r->head.data);
    *p += head_len - had;
    bool ok = take_head(r, r->head.data, head_len - 2);
    buf_clear(&r->head);
    return ok;
}

/* ---- body ---- */

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool end_of_size_line(struct http_response *r) {
    if (r->chunk_digits == 0) {
        return broken(r, "a chunk without a size");
    }
    r->chunk_digits = 0;
    r->chunk_part = r->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    return true;
}

static bool take_size_byte(struct http_response *r, char c) {
    int v = hex_value(c);
    if (v >= 0 && r->chunk_digits < MAX_CHUNK_DIGITS) {
        r->left = 16 * r->left + (uint64_t)v;
        r->chunk_digits++;
        return true;
    }
    if (c == '\n') {
        return end_of_size_line(r);
    }
    if ((c == '\r' || c == ';' || c == ' ') && r->chunk_digits > 0) {
        r->chunk_part = CHUNK_EXTENSION;
        return true;
    }
    return broken(r, "a chunk's size is no number");
}

/* A byte of the framing between chunks. False: broken. */
static bool take_framing_byte(struct http_response *r, char c) {
    switch (r->chunk_part) {
    case CHUNK_SIZE:
        return take_size_byte(r, c);
    case CHUNK_EXTENSION:
        return c != '\n' || end_of_size_line(r);
    case CHUNK_DATA_END:
        if (c == '\n') {
            r->chunk_part = CHUNK_SIZE;
            r->left = 0;
            return true;
        }
        return c == '\r' || broken(r, "a chunk is longer than its size says");
    default: /* CHUNK_TRAILER: an empty line ends the response */
        if (c == '\n') {
            if (r->left == 0) {
                r->phase = HTTP_DONE;
            }
            r->left = 0;
        } else if (c != '\r') {
            r->left++;
        }
        return true;
    }
}

static bool next_of_chunks(struct http_response *r, const char **p, const char *end,
                           const char **body, size_t *len) {
    while (*p < end && r->phase == HTTP_BODY) {
        if (r->chunk_part != CHUNK_DATA) {
            if (!take_framing_byte(r, *(*p)++)) {
                return false;
            }
            continue;
        }
        size_t n = (size_t)(end - *p);
        *len = n < r->left ? n : (size_t)r->left;
        *body = *p;
        *p += *len;
        r->left -= *len;
        if (r->left == 0) {
            r->chunk_part = CHUNK_DATA_END;
        }
        return true;
    }
    return false;
}

bool http_response_next(struct http_response *r, const char **p, const char *end, const char **body,
                        size_t *len) {
    while (r->phase == HTTP_HEAD && *p < end) {
        if (!read_head(r, p, end) && r->phase == HTTP_HEAD) {
            return false;
        }
    }
    if (r->phase != HTTP_BODY || *p >= end) {
        return false;
    }
    if (r->chunked) {
        return next_of_chunks(r, p, end, body, len);
    }
    size_t n = (size_t)(end - *p);
    *len = r->until_close || n < r->left ? n : (size_t)r->left;
    *body = *p;
    *p += *len;
    if (!r->until_close) {
        r->left -= *len;
        if (r->left == 0) {
            r->phase = HTTP_DONE;
        }
    }
    return true;
}

void http_response_closed(struct http_response *r) {
    if (r->phase == HTTP_BODY && r->until_close) {
        r->phase = HTTP_DONE;
    } else if (r->phase != HTTP_DONE) {
        broken(r, "the connection closed before the response was whole");
    }
}
