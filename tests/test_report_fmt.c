#include "report/fmt.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REPLACED "\xEF\xBF\xBD"

static void check(struct buf *b, const char *want) {
    assert_string_equal(b->data, want);
    buf_release(b);
}

static void numbers_keep_three_digits(void **state) {
    (void)state;
    static const struct {
        double x;
        const char *want;
    } cases[] = {
        {0, "0"},
        {0.0196, "0.0196"},
        {0.5, "0.500"},
        {1, "1"},
        {21.34, "21.3"},
        {118.04, "118"},
        {6929.79, "6930"},
        {-3.14159, "-3.14"},
        {9999999, "9999999"},
        {12000000, "1.2e+07"},
        {0.00002, "2e-05"},
        {INFINITY, "inf"},
        {NAN, "nan"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b;
        buf_init(&b);
        fmt_num(&b, cases[i].x);
        check(&b, cases[i].want);
    }
}

static void full_numbers_survive_a_round_trip(void **state) {
    (void)state;
    const double xs[] = {0.1, 1.0 / 3, 5.137000684339522, 1e-300, 7195.375999999999};
    for (size_t i = 0; i < sizeof(xs) / sizeof(xs[0]); i++) {
        struct buf b;
        buf_init(&b);
        fmt_full(&b, xs[i]);
        assert_true(strtod(b.data, NULL) == xs[i]);
        buf_release(&b);
    }
    struct buf b;
    buf_init(&b);
    fmt_full(&b, NAN);
    check(&b, "");
    fmt_full(&b, INFINITY);
    check(&b, "inf");
    fmt_bytes(&b, 94.32e6);
    buf_addch(&b, ' ');
    fmt_bytes(&b, 12);
    check(&b, "94.3 MB 12 B");
}

static void stored_text_becomes_harmless_utf8(void **state) {
    (void)state;
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"", ""},
        {"na\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC", "na\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC"},
        {"a\nb\tc", "a\nb\tc"},
        {"\x1b[31m", REPLACED "[31m"},
        {"x\xFFy\xE2\x82", "x" REPLACED "y" REPLACED REPLACED},
        {"\xED\xA0\x80", REPLACED REPLACED REPLACED}, /* half a surrogate pair */
        {"\xC2\x9B", REPLACED},                       /* CSI in one character */
        {"\xE2\x80\xAE", REPLACED},                   /* right-to-left override */
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(fmt_utf8(&a, cases[i].in), cases[i].want);
    }
    assert_null(fmt_utf8(&a, NULL));
    arena_release(&a);
}

static void cells_are_exactly_as_wide_as_asked(void **state) {
    (void)state;
    static const struct {
        const char *s;
        size_t width;
        bool right;
        const char *want;
    } cases[] = {
        {"ab", 4, false, "ab  "},
        {"ab", 4, true, "  ab"},
        {"abcdef", 4, false, "abc\xE2\x80\xA6"},
        {"\xE6\x97\xA5\xE6\x9C\xAC", 3, false, "\xE6\x97\xA5\xE2\x80\xA6"}, /* two columns each */
        {"\xE6\x97\xA5\xE6\x9C\xAC", 2, false, "\xE2\x80\xA6 "},
        {"e\xCC\x81", 2, false, "e\xCC\x81 "}, /* a combining mark takes none */
        {"a\nb", 3, false, "a b"},
        {"x", 0, false, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b;
        buf_init(&b);
        fmt_cell(&b, cases[i].s, cases[i].width, cases[i].right);
        assert_int_equal(fmt_columns(b.data), cases[i].width);
        check(&b, cases[i].want);
    }
}

static void long_texts_wrap(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    fmt_wrap(&b, "- ", "one two three", 9);
    check(&b, "- one two\n  three\n");
    fmt_wrap(&b, "- ", "abcdefghij", 6);
    check(&b, "- abcd\n  efgh\n  ij\n");
    fmt_wrap(&b, "- ", "", 6);
    check(&b, "- \n");
    fmt_wrap(&b, "", "a\nb", 10);
    check(&b, "a b\n");
    fmt_wrap(&b, "", "\xE6\x97\xA5\xE6\x9C\xAC", 1); /* no room for even one: must end */
    assert_int_equal(strncmp(b.data, "\xE6", 1), 0);
    buf_release(&b);
}

static void each_format_has_its_escapes(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    fmt_csv(&b, "plain");
    fmt_csv(&b, NULL);
    check(&b, "plain");
    fmt_csv(&b, "a,\"b\"\n");
    check(&b, "\"a,\"\"b\"\"\n\"");
    fmt_html(&b, "<a href='x'>\"&\"</a>");
    fmt_html(&b, NULL);
    check(&b, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;");
    fmt_md(&b, "a|b\n<i>*x*");
    check(&b, "a\\|b &lt;i>\\*x\\*");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_three_digits),
        cmocka_unit_test(full_numbers_survive_a_round_trip),
        cmocka_unit_test(stored_text_becomes_harmless_utf8),
        cmocka_unit_test(cells_are_exactly_as_wide_as_asked),
        cmocka_unit_test(long_texts_wrap),
        cmocka_unit_test(each_format_has_its_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
