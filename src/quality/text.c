#include "quality/text.h"

#include <string.h>
#include <utf8proc.h>

enum {
    REPLACEMENT = 0xFFFD,
    CAPITAL_SIGMA = 0x03A3,
    SMALL_SIGMA = 0x03C3,
    FINAL_SIGMA = 0x03C2,
    CAPITAL_I_WITH_DOT = 0x0130,
    COMBINING_DOT_ABOVE = 0x0307,
};

/* Well-formed UTF-8 byte sequences (Unicode Standard, table 3-7), by lead byte. Bytes after the
 * second are 80..BF in every row. */
static const struct {
    unsigned char lead_low, lead_high, second_low, second_high, length;
} utf8_rows[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
    {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
    {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

size_t text_decode(const char *s, size_t len, int32_t *cp) {
    const unsigned char *b = (const unsigned char *)s;
    if (b[0] < 0x80) {
        *cp = b[0];
        return 1;
    }
    *cp = TEXT_ILL_FORMED;
    size_t row = 0;
    const size_t rows = sizeof(utf8_rows) / sizeof(utf8_rows[0]);
    while (row < rows && (b[0] < utf8_rows[row].lead_low || b[0] > utf8_rows[row].lead_high)) {
        row++;
    }
    if (row == rows) {
        return 1;
    }
    const size_t length = utf8_rows[row].length;
    int32_t value = b[0] & (0x7F >> length);
    for (size_t i = 1; i < length; i++) {
        unsigned char low = i == 1 ? utf8_rows[row].second_low : 0x80;
        unsigned char high = i == 1 ? utf8_rows[row].second_high : 0xBF;
        if (i >= len || b[i] < low || b[i] > high) {
            return i;
        }
        value = (value << 6) | (b[i] & 0x3F);
    }
    *cp = value;
    return length;
}

void text_encode(int32_t cp, struct buf *out) {
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(cp, bytes);
    buf_add(out, bytes, (size_t)n);
}

bool text_is_utf8(const char *s, size_t len, size_t *bad_at) {
    for (size_t i = 0; i < len;) {
        int32_t cp;
        size_t n = text_decode(s + i, len - i, &cp);
        if (cp == TEXT_ILL_FORMED) {
            *bad_at = i;
            return false;
        }
        i += n;
    }
    return true;
}

bool text_is_space(int32_t cp) {
    return (cp >= 0x09 && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool text_is_word(int32_t cp) {
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return cp == '_';
    }
}

/* Unicode's Case_Ignorable: it stands between a sigma and the letters that decide its form. */
static bool is_case_ignorable(int32_t cp) {
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        break;
    }
    switch (cp) { /* Word_Break: MidLetter, MidNumLet, Single_Quote */
    case 0x0027:
    case 0x002E:
    case 0x003A:
    case 0x00B7:
    case 0x0387:
    case 0x055F:
    case 0x05F4:
    case 0x2018:
    case 0x2019:
    case 0x2024:
    case 0x2027:
    case 0xFE13:
    case 0xFE52:
    case 0xFE55:
    case 0xFF07:
    case 0xFF0E:
    case 0xFF1A:
        return true;
    default:
        return false;
    }
}

/* Unicode's Cased, for characters that are not case-ignorable. */
static bool is_cased(int32_t cp) {
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
        return true;
    default: /* Other_Lowercase and Other_Uppercase */
        return cp == 0xAA || cp == 0xBA || (cp >= 0x2160 && cp <= 0x217F) ||
               (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) ||
               (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
    }
}

static bool cased_follows(const char *s, size_t len) {
    for (size_t i = 0; i < len;) {
        int32_t cp;
        i += text_decode(s + i, len - i, &cp);
        if (!is_case_ignorable(cp)) {
            return is_cased(cp);
        }
    }
    return false;
}

static bool is_ascii_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Appends the ASCII characters that s begins with, and returns how many. *after_cased is kept for
 * what follows them. Most text is ASCII, and this is most of what scoring it costs. */
static size_t lower_ascii(const char *s, size_t len, struct buf *out, bool *after_cased) {
    if (!buf_reserve(out, len)) {
        return len;
    }
    char *to = out->data + out->len;
    size_t n = 0;
    for (; n < len && (unsigned char)s[n] < 0x80; n++) {
        to[n] = (char)(s[n] + ((unsigned char)(s[n] - 'A') < 26 ? 'a' - 'A' : 0));
    }
    out->len += n;
    out->data[out->len] = '\0';
    for (size_t i = n; i > 0; i--) {
        if (!is_case_ignorable(s[i - 1])) {
            *after_cased = is_ascii_letter(s[i - 1]);
            break;
        }
    }
    return n;
}

void text_lower(const char *s, size_t len, struct buf *out) {
    bool after_cased = false; /* the last character that is not case-ignorable is cased */
    for (size_t i = 0; i < len;) {
        i += lower_ascii(s + i, len - i, out, &after_cased);
        if (i == len) {
            break;
        }
        int32_t cp;
        i += text_decode(s + i, len - i, &cp);
        if (cp == TEXT_ILL_FORMED) {
            cp = REPLACEMENT;
        }
        if (cp == CAPITAL_SIGMA) {
            bool final = after_cased && !cased_follows(s + i, len - i);
            text_encode(final ? FINAL_SIGMA : SMALL_SIGMA, out);
        } else if (cp == CAPITAL_I_WITH_DOT) { /* the one lower case of two characters */
            buf_addch(out, 'i');
            text_encode(COMBINING_DOT_ABOVE, out);
        } else {
            text_encode(utf8proc_tolower(cp), out);
        }
        if (!is_case_ignorable(cp)) {
            after_cased = is_cased(cp);
        }
    }
}

const char *text_trim(const char *s, size_t *len) {
    bool started = false;
    size_t first = 0;
    size_t end = 0;
    for (size_t i = 0; i < *len;) {
        int32_t cp;
        size_t n = text_decode(s + i, *len - i, &cp);
        if (!text_is_space(cp)) {
            first = started ? first : i;
            started = true;
            end = i + n;
        }
        i += n;
    }
    *len = end - first;
    return s + first;
}

bool text_is_blank(const char *s) {
    size_t len = strlen(s);
    text_trim(s, &len);
    return len == 0;
}
