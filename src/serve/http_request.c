#include "serve/http_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The value of the header line, if its name is name (lower or upper case); else NULL. */
static const char *value_of(const char *line, size_t len, const char *name, size_t *value_len) {
    size_t name_len = strlen(name);
    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0) {
        return NULL;
    }
    size_t at = name_len + 1;
    while (at < len && (line[at] == ' ' || line[at] == '\t')) {
        at++;
    }
    *value_len = len - at;
    return line + at;
}

static bool parse_length(const char *s, size_t len, size_t *out) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9' || n > HTTP_REQUEST_MAX_BYTES) {
            return false;
        }
        n = 10 * n + (size_t)(s[i] - '0');
    }
    *out = n;
    return len > 0 && n <= HTTP_REQUEST_MAX_BYTES;
}

/* False for a line that makes the request one that is not understood. */
static bool take_header(const char *line, size_t len, struct http_request *out) {
    size_t n;
    const char *v = value_of(line, len, "content-length", &n);
    if (v) {
        return parse_length(v, n, &out->body_len);
    }
    v = value_of(line, len, "connection", &n);
    if (v && n == 5 && strncasecmp(v, "close", 5) == 0) {
        out->keep_alive = false;
    }
    v = value_of(line, len, "expect", &n);
    if (v && n >= 4 && strncmp(v, "100-", 4) == 0) {
        out->expects_continue = true;
    }
    return value_of(line, len, "transfer-encoding", &n) == NULL;
}

static bool take_request_line(const char *line, size_t len, struct http_request *out) {
    const char *space = memchr(line, ' ', len);
    if (!space) {
        return false;
    }
    out->method = line;
    out->method_len = (size_t)(space - line);
    out->path = space + 1;
    size_t left = len - out->method_len - 1;
    space = memchr(out->path, ' ', left);
    if (!space) {
        return false;
    }
    out->path_len = (size_t)(space - out->path);
    left -= out->path_len + 1;
    out->keep_alive = left == 8 && memcmp(space + 1, "HTTP/1.1", 8) == 0;
    return left == 8 && memcmp(space + 1, "HTTP/1.", 7) == 0;
}

enum http_request_state http_request_parse(const char *text, size_t len, struct http_request *out,
                                           size_t *used) {
    *out = (struct http_request){0};
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    if (!end) {
        return len > (64 << 10) ? HTTP_REQUEST_BAD : HTTP_REQUEST_PARTIAL;
    }
    const char *line = text;
    bool ok = true;
    while (ok && line < end + 2) {
        const char *eol = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (!eol) {
            break;
        }
        size_t n = (size_t)(eol - line);
        ok = line == text ? take_request_line(line, n, out) : take_header(line, n, out);
        line = eol + 2;
    }
    if (!ok) {
        return HTTP_REQUEST_BAD;
    }
    out->body = end + 4;
    *used = (size_t)(out->body - text) + out->body_len;
    return len >= *used ? HTTP_REQUEST_WHOLE : HTTP_REQUEST_PARTIAL;
}
