#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every empty buffer points here; it is never written to. */
static char empty_string[1];

void buf_init_max(struct buf *b, size_t max_len) {
    *b = (struct buf){.data = empty_string, .max_len = max_len};
}

void buf_init(struct buf *b) {
    buf_init_max(b, 0);
}

void buf_release(struct buf *b) {
    if (b->cap) {
        free(b->data);
    }
    buf_init_max(b, b->max_len);
}

void buf_clear(struct buf *b) {
    b->len = 0;
    b->failed = false;
    if (b->cap) {
        b->data[0] = '\0';
    }
}

bool buf_reserve(struct buf *b, size_t extra) {
    if (b->failed) {
        return false;
    }
    if (extra > SIZE_MAX - b->len - 1 || (b->max_len && b->len + extra > b->max_len)) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + extra + 1;
    if (need <= b->cap) {
        return true;
    }
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    char *grown = realloc(b->cap ? b->data : NULL, cap);
    if (!grown) {
        b->failed = true;
        return false;
    }
    grown[b->len] = '\0';
    b->data = grown;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t len) {
    if (len == 0 || !buf_reserve(b, len)) {
        return;
    }
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_addstr(struct buf *b, const char *s) {
    buf_add(b, s, strlen(s));
}

void buf_addch(struct buf *b, char c) {
    buf_add(b, &c, 1);
}

void buf_addn(struct buf *b, char c, size_t n) {
    if (n == 0 || !buf_reserve(b, n)) {
        return;
    }
    memset(b->data + b->len, c, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_addf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
    } else if (buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

char *buf_detach(struct buf *b) {
    if (b->failed || !buf_reserve(b, 0)) {
        buf_release(b);
        return NULL;
    }
    char *bytes = b->data;
    buf_init_max(b, b->max_len);
    return bytes;
}

int buf_check(const struct buf *b, const char *what, struct err *e) {
    if (!b->failed) {
        return 0;
    }
    if (b->max_len) {
        return err_set(e, EE_NOMEM, "%s: out of memory, or larger than the %zu bytes allowed", what,
                       b->max_len);
    }
    return err_set(e, EE_NOMEM, "%s: out of memory", what);
}
