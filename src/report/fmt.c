#include "report/fmt.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <utf8proc.h>

#define REPLACEMENT "\xEF\xBF\xBD"
#define ELLIPSIS "\xE2\x80\xA6"

/* The code point at s and its length in bytes; -1 and 1 where the bytes are not UTF-8. */
static int32_t next_code_point(const char *s, size_t len, size_t *used) {
    utf8proc_int32_t c = -1;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)len, &c);
    *used = n > 0 ? (size_t)n : 1;
    return n > 0 ? c : -1;
}

/* Controls, and the marks that reverse the direction of the text around them. */
static bool is_unwanted(int32_t c) {
    bool is_control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
    bool is_bidi = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
    return c < 0 || is_control || is_bidi;
}

const char *fmt_utf8(struct arena *a, const char *s) {
    if (!s) {
        return NULL;
    }
    struct buf b;
    buf_init(&b);
    size_t len = strlen(s);
    for (size_t i = 0, used; i < len; i += used) {
        if (is_unwanted(next_code_point(s + i, len - i, &used))) {
            buf_addstr(&b, REPLACEMENT);
        } else {
            buf_add(&b, s + i, used);
        }
    }
    const char *clean = b.failed ? NULL : arena_strdup(a, b.data);
    buf_release(&b);
    return clean;
}

void fmt_num(struct buf *out, double x) {
    double size = fabs(x);
    if (isinf(x) || isnan(x)) {
        buf_addstr(out, isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
    } else if (size == 0) {
        buf_addch(out, '0');
    } else if (size < 1e-4 || size >= 1e7) {
        buf_addf(out, "%.3g", x);
    } else if (size == floor(size)) {
        buf_addf(out, "%.0f", x); /* a count, or as good as one */
    } else {
        int decimals = 2 - (int)floor(log10(size));
        buf_addf(out, "%.*f", decimals > 0 ? decimals : 0, x);
    }
}

void fmt_full(struct buf *out, double x) {
    if (isinf(x)) {
        buf_addstr(out, x > 0 ? "inf" : "-inf");
    } else if (!isnan(x)) {
        buf_addf(out, "%.17g", x);
    }
}

void fmt_bytes(struct buf *out, double bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t u = 0;
    while (fabs(bytes) >= 1000 && u + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1000;
        u++;
    }
    fmt_num(out, bytes);
    buf_addf(out, " %s", units[u]);
}

static size_t code_point_columns(int32_t c) {
    if (c < 0x20) {
        return 1; /* a newline or tab, which fmt_cell and fmt_wrap turn into a space */
    }
    int width = utf8proc_charwidth(c);
    return width > 0 ? (size_t)width : 0;
}

size_t fmt_columns(const char *s) {
    size_t columns = 0;
    size_t len = strlen(s);
    for (size_t i = 0, used; i < len; i += used) {
        columns += code_point_columns(next_code_point(s + i, len - i, &used));
    }
    return columns;
}

/* Bytes of the longest prefix of s that fits in width columns; *columns is what it takes. */
static size_t prefix_bytes(const char *s, size_t width, size_t *columns) {
    size_t len = strlen(s);
    size_t i = 0;
    *columns = 0;
    while (i < len) {
        size_t used;
        size_t w = code_point_columns(next_code_point(s + i, len - i, &used));
        if (*columns + w > width) {
            break;
        }
        *columns += w;
        i += used;
    }
    return i;
}

/* Appends len bytes with newlines and tabs as spaces. */
static void add_line(struct buf *out, const char *s, size_t len) {
    size_t start = out->len;
    buf_add(out, s, len);
    for (size_t i = start; i < out->len; i++) {
        if (out->data[i] == '\n' || out->data[i] == '\t') {
            out->data[i] = ' ';
        }
    }
}

void fmt_cell(struct buf *out, const char *s, size_t width, bool right) {
    size_t columns = fmt_columns(s);
    if (columns > width) {
        size_t bytes = prefix_bytes(s, width ? width - 1 : 0, &columns);
        add_line(out, s, bytes);
        buf_addstr(out, width ? ELLIPSIS : "");
        buf_addn(out, ' ', width ? width - 1 - columns : 0); /* half a wide character may be left */
        return;
    }
    buf_addn(out, ' ', right ? width - columns : 0);
    add_line(out, s, strlen(s));
    buf_addn(out, ' ', right ? 0 : width - columns);
}

/* How much of s goes on a line of that width: up to a space, or all that fits of a long word. */
static size_t line_bytes(const char *s, size_t width) {
    size_t columns;
    size_t fits = prefix_bytes(s, width, &columns);
    if (!s[fits]) {
        return fits;
    }
    size_t at = fits;
    while (at > 0 && s[at] != ' ' && s[at] != '\n') {
        at--;
    }
    if (at == 0 && fits == 0) {
        return 1; /* width under one character: never loop */
    }
    return at ? at : fits;
}

void fmt_wrap(struct buf *out, const char *first, const char *s, size_t width) {
    size_t indent = fmt_columns(first);
    size_t room = width > indent + 1 ? width - indent : 1;
    buf_addstr(out, first);
    while (*s) {
        size_t n = line_bytes(s, room);
        add_line(out, s, n);
        s += n;
        while (*s == ' ' || *s == '\n') {
            s++;
        }
        if (*s) {
            buf_addch(out, '\n');
            buf_addn(out, ' ', indent);
        }
    }
    buf_addch(out, '\n');
}

void fmt_wrap_buf(struct buf *out, const char *first, const struct buf *text, size_t width) {
    fmt_wrap(out, first, text->data, width);
    out->failed = out->failed || text->failed;
}

void fmt_csv(struct buf *out, const char *s) {
    if (!s) {
        return;
    }
    if (!strpbrk(s, "\",\r\n") && s[0] != ' ' && (!*s || s[strlen(s) - 1] != ' ')) {
        buf_addstr(out, s);
        return;
    }
    buf_addch(out, '"');
    for (; *s; s++) {
        buf_addstr(out, *s == '"' ? "\"" : "");
        buf_addch(out, *s);
    }
    buf_addch(out, '"');
}

void fmt_html(struct buf *out, const char *s) {
    for (; s && *s; s++) {
        switch (*s) {
        case '&':
            buf_addstr(out, "&amp;");
            break;
        case '<':
            buf_addstr(out, "&lt;");
            break;
        case '>':
            buf_addstr(out, "&gt;");
            break;
        case '"':
            buf_addstr(out, "&quot;");
            break;
        case '\'':
            buf_addstr(out, "&#39;");
            break;
        default:
            buf_addch(out, *s);
        }
    }
}

void fmt_md(struct buf *out, const char *s) {
    for (; s && *s; s++) {
        if (*s == '\n' || *s == '\t') {
            buf_addch(out, ' ');
        } else if (*s == '<' || *s == '&') {
            buf_addstr(out, *s == '<' ? "&lt;" : "&amp;");
        } else {
            buf_addstr(out, strchr("\\`*_{}[]|#~", *s) ? "\\" : "");
            buf_addch(out, *s);
        }
    }
}
