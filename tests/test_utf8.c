/* UTF-8 against an encoder and a validator written from the definition, not from the tables. */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static size_t encode(uint32_t cp, char out[4]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    out[0] = (char)(lead[n] | cp);
    return n;
}

/*
 * The definition: take the length from the lead's leading ones, decode, and accept only what is
 * the shortest form of a code point that is no surrogate and not above U+10FFFF.
 */
static size_t defined_len(const unsigned char *u, size_t len) {
    size_t n = u[0] < 0x80 ? 1 : u[0] < 0xc0 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    if (n == 0 || u[0] >= 0xf8 || n > len) {
        return 0;
    }
    uint32_t cp = n == 1 ? u[0] : u[0] & (0xffU >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80) {
            return 0;
        }
        cp = cp << 6 | (u[i] & 0x3f);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    return cp < smallest[n] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff) ? 0 : n;
}

static void every_code_point_is_one_sequence(void **state) {
    (void)state;
    char s[5];
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        size_t n = encode(cp, s);
        s[n] = 'x';
        size_t want = cp >= 0xd800 && cp <= 0xdfff ? 0 : n;
        assert_int_equal(utf8_sequence_len(s, n), want);
        assert_int_equal(utf8_sequence_len(s, n + 1), want);
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_equal(utf8_sequence_len(s, cut), 0);
        }
    }
}

/* Every pair of leading bytes with every class of what may follow. */
static void sequences_are_as_the_definition_has_them(void **state) {
    (void)state;
    static const unsigned char tails[][2] = {{0x80, 0x80}, {0xbf, 0xbf}, {0x7f, 0x80},
                                             {0x80, 0x7f}, {0xc0, 0x80}, {0x80, 0xc0},
                                             {0, 0},       {0x80, 0xff}};
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            for (size_t t = 0; t < sizeof(tails) / sizeof(tails[0]); t++) {
                const unsigned char u[] = {(unsigned char)a, (unsigned char)b, tails[t][0],
                                           tails[t][1]};
                for (size_t len = 1; len <= 4; len++) {
                    assert_int_equal(utf8_sequence_len((const char *)u, len), defined_len(u, len));
                }
            }
        }
    }
}

static void known_bad_sequences_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80",             /* continuation alone */
        "\xbf",             /* */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong U+007F */
        "\xe0\x80\xaf",     /* overlong '/' */
        "\xe0\x9f\xbf",     /* overlong U+07FF */
        "\xf0\x80\x80\xaf", /* overlong '/' in four */
        "\xf0\x8f\xbf\xbf", /* overlong U+FFFF */
        "\xed\xa0\x80",     /* U+D800 */
        "\xed\xbf\xbf",     /* U+DFFF */
        "\xf4\x90\x80\x80", /* U+110000 */
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xfc\x84\x80\x80\x80\x80",
        "\xfe",
        "\xff",
        "\xe2\x82",     /* cut */
        "\xe2\x82x",    /* broken */
        "\xf0\x9f\x98", /* cut */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
        assert_int_equal(utf8_sequence_len(bad[i], strlen(bad[i])), 0);
    }
    static const char *const good[] = {"",
                                       "plain",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(utf8_is_valid(good[i], strlen(good[i])));
    }
    assert_true(utf8_is_valid("a\0b", 3)); /* NUL is a code point */
    assert_false(utf8_is_valid("a\0\xff", 3));
}

#define R "\xef\xbf\xbd"

static void bad_bytes_are_replaced_one_by_one(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"plain", "plain"},
        {"\xff", R},
        {"\xff\xfe", R R},
        {"a\x80z", "a" R "z"},
        {"\x80z", R "z"},
        {"z\x80", "z" R},
        {"\xe2\x82", R R},
        {"\xe2\x82\xac", "\xe2\x82\xac"},
        {"\xe2\x82\xe2\x82\xac", R R "\xe2\x82\xac"},
        {"\xed\xa0\x80", R R R},
        {"\xf0\x9f\x98x", R R R "x"},
        {"caf\xc3\xa9 \xe9t\xe9 \xf0\x9f\x98\x80!", "caf\xc3\xa9 " R "t" R " \xf0\x9f\x98\x80!"},
        {"\xc0\xaf..", R R ".."},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b;
        buf_init(&b);
        buf_addstr(&b, ">");
        utf8_add_repaired(&b, rows[i].in, strlen(rows[i].in));
        assert_string_equal(b.data + 1, rows[i].out);
        buf_release(&b);
    }
    struct buf b;
    buf_init(&b);
    utf8_add_repaired(&b, "a\0\xff\0", 4);
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "a\0" R "\0", 7);
    buf_release(&b);
}

static void what_is_repaired_is_valid_and_repairs_to_itself(void **state) {
    (void)state;
    uint32_t x = 12345;
    for (int round = 0; round < 20000; round++) {
        char in[24];
        size_t len = (size_t)(round % 24);
        for (size_t i = 0; i < len; i++) {
            x = x * 1664525 + 1013904223;
            /* Mostly bytes above 0x7f, so that sequences form and break. */
            in[i] = (char)(x >> 24 | (x & 0x300 ? 0x80 : 0));
        }
        struct buf once;
        struct buf twice;
        buf_init(&once);
        buf_init(&twice);
        utf8_add_repaired(&once, in, len);
        assert_true(utf8_is_valid(once.data, once.len));
        utf8_add_repaired(&twice, once.data, once.len);
        assert_int_equal(once.len, twice.len);
        assert_memory_equal(once.data, twice.data, once.len);
        buf_release(&once);
        buf_release(&twice);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_one_sequence),
        cmocka_unit_test(sequences_are_as_the_definition_has_them),
        cmocka_unit_test(known_bad_sequences_are_refused),
        cmocka_unit_test(bad_bytes_are_replaced_one_by_one),
        cmocka_unit_test(what_is_repaired_is_valid_and_repairs_to_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
