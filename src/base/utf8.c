#include "base/utf8.h"

/* Unicode 15, table 3-7: which second bytes keep a sequence shortest-form and off surrogates. */
static bool second_byte_ok(unsigned char first, unsigned char second) {
    switch (first) {
    case 0xe0:
        return second >= 0xa0 && second <= 0xbf;
    case 0xed:
        return second >= 0x80 && second <= 0x9f;
    case 0xf0:
        return second >= 0x90 && second <= 0xbf;
    case 0xf4:
        return second >= 0x80 && second <= 0x8f;
    default:
        return second >= 0x80 && second <= 0xbf;
    }
}

size_t utf8_sequence_len(const char *s, size_t len) {
    if (len == 0) {
        return 0;
    }
    const unsigned char *u = (const unsigned char *)s;
    size_t n;
    if (u[0] < 0x80) {
        return 1;
    } else if (u[0] >= 0xc2 && u[0] <= 0xdf) {
        n = 2;
    } else if (u[0] >= 0xe0 && u[0] <= 0xef) {
        n = 3;
    } else if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        n = 4;
    } else {
        return 0;
    }
    if (len < n || !second_byte_ok(u[0], u[1])) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if (u[i] < 0x80 || u[i] > 0xbf) {
            return 0;
        }
    }
    return n;
}

bool utf8_is_valid(const char *s, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence_len(s + i, len - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

void utf8_add_repaired(struct buf *out, const char *s, size_t len) {
    size_t good = 0;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence_len(s + i, len - i);
        if (n) {
            good += n;
            i += n;
            continue;
        }
        buf_add(out, s + i - good, good);
        buf_addstr(out, "\xef\xbf\xbd");
        good = 0;
        i++;
    }
    buf_add(out, s + len - good, good);
}
