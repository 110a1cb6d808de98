/* Typed JSON: what a wrong document's author is told, and text that comes back as it went in. */
#include "base/json.h"

#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static json_t *parse(const char *text) {
    struct err e = ERR_INIT;
    json_t *v = NULL;
    OK(json_parse(text, strlen(text), "test", &v, &e));
    return v;
}

/* ---- parsing ---- */

static void an_error_names_source_line_and_column(void **state) {
    (void)state;
    static const struct {
        const char *text, *start, *part;
    } rows[] = {
        {"", "f.json:1:0: not valid JSON: ", "'[' or '{' expected"},
        {"  ", "f.json:1:2: not valid JSON: ", "'[' or '{' expected"},
        {"{\"a\": }", "f.json:1:7: not valid JSON: ", "unexpected token near '}'"},
        {"{\n  \"a\": 1,\n  \"b\" 2\n}", "f.json:3:7: not valid JSON: ", "':' expected"},
        {"{\"a\": 1} x", "f.json:1:10: not valid JSON: ", "end of file expected"},
        {"[1, 2", "f.json:1:5: not valid JSON: ", "']' expected"},
        {"{\"a\": 1, \"a\": 2}", "f.json:1:12: not valid JSON: ", "duplicate object key"},
        {"\"text\"", "f.json:1:6: not valid JSON: ", "'[' or '{' expected"},
        {"[99999999999999999999]", "f.json:1:21: not valid JSON: ", "too big integer"},
        {"[1e999]", "f.json:1:6: not valid JSON: ", "real number overflow"},
        {"[NaN]", "f.json:1:4: not valid JSON: ", "invalid token"},
        {"[\"\xff\"]", "f.json:1:2: not valid JSON: ", "unable to decode byte 0xff"},
        {"[\"\xed\xa0\x80\"]", "f.json:1:2: not valid JSON: ", "unable to decode byte 0xed"},
        {"[\"\\ud800\"]", "f.json:1:9: not valid JSON: ", "invalid Unicode '\\uD800'"},
        {"[\"\\u0000\"]", "f.json:1:9: not valid JSON: ", "\\u0000 is not allowed"},
        {"['a']", "f.json:1:2: not valid JSON: ", "invalid token"},
        {"[1,]", "f.json:1:4: not valid JSON: ", "unexpected token near ']'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        json_t *v = (json_t *)&e;
        int rc = json_parse(rows[i].text, strlen(rows[i].text), "f.json", &v, &e);
        REFUSED_WITH(rc, EE_FORMAT, rows[i].part);
        assert_ptr_equal(strstr(e.msg, rows[i].start), e.msg);
        assert_null(v);
    }
}

/* Deep nesting is refused by the parser, not by the stack. */
static void very_deep_nesting_is_refused(void **state) {
    (void)state;
    enum { DEPTH = 200000 };
    char *text = malloc(DEPTH);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    struct err e = ERR_INIT;
    json_t *v = NULL;
    REFUSED_WITH(json_parse(text, DEPTH, "deep", &v, &e), EE_FORMAT, "maximum parsing depth");
    free(text);
}

static void only_the_given_bytes_are_read(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    json_t *v = NULL;
    OK(json_parse("{}garbage", 2, "x", &v, &e));
    json_decref(v);
    assert_int_equal(json_parse("{}\0", 3, "x", &v, &e), EE_FORMAT);
    assert_null(v);
}

static void a_file_is_parsed_under_its_name(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    json_t *v = NULL;
    const char *good = scratch_write(s, "good.json", "{\"k\": [1, 2]}\n", 14);
    OK(json_parse_file(good, &v, &e));
    assert_int_equal(json_array_size(json_object_get(v, "k")), 2);
    json_decref(v);
    REFUSED_WITH(json_parse_file(scratch_write(s, "bad.json", "{\n,", 3), &v, &e), EE_FORMAT,
                 "bad.json:2:1: not valid JSON");
    assert_null(v);
    v = (json_t *)s;
    REFUSED_WITH(json_parse_file(scratch_path(s, "none.json"), &v, &e), EE_MISSING, "none.json");
    assert_null(v);
}

/* ---- members ---- */

#define ALL_TYPES                                                                                  \
    "{\"o\": {}, \"a\": [], \"s\": \"text\", \"i\": 7, \"r\": 1.5, \"t\": true, \"f\": false, "    \
    "\"n\": null}"

static void a_wrong_member_is_named_with_what_it_is(void **state) {
    (void)state;
    static const struct {
        const char *key, *is;
    } rows[] = {
        {"o", "an object"},  {"a", "an array"}, {"s", "a string"},
        {"i", "an integer"}, {"r", "a number"}, {"t", "true"},
        {"f", "false"},      {"n", "null"},     {"x", "absent"},
    };
    json_t *doc = parse(ALL_TYPES);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        char want[100];
        const char *key = rows[i].key;
        const char *text = "untouched";
        int64_t whole = -1;
        double number = -1;
        snprintf(want, sizeof(want), "\"%s\" should be a string and is %s", key, rows[i].is);
        if (*key != 's') {
            REFUSED(json_want_str(doc, key, &text, &e), EE_FORMAT, want);
            assert_string_equal(text, "untouched");
        }
        snprintf(want, sizeof(want), "\"%s\" should be an integer and is %s", key, rows[i].is);
        if (*key != 'i') {
            REFUSED(json_want_int(doc, key, &whole, &e), EE_FORMAT, want);
            assert_int_equal(whole, -1);
        }
        snprintf(want, sizeof(want), "\"%s\" should be a number and is %s", key, rows[i].is);
        if (*key != 'i' && *key != 'r') {
            REFUSED(json_want_num(doc, key, &number, &e), EE_FORMAT, want);
            assert_true(number == -1);
        }
    }
    json_decref(doc);
}

static void right_members_are_returned(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    json_t *doc = parse("{\"s\": \"caf\xc3\xa9\", \"i\": -9223372036854775808, \"r\": -0.5}");
    const char *text = NULL;
    int64_t whole = 0;
    double number = 0;
    OK(json_want_str(doc, "s", &text, &e));
    assert_string_equal(text, "caf\xc3\xa9");
    OK(json_want_int(doc, "i", &whole, &e));
    assert_true(whole == INT64_MIN);
    OK(json_want_num(doc, "r", &number, &e));
    assert_true(number == -0.5);
    OK(json_want_num(doc, "i", &number, &e)); /* a whole number is a number */
    assert_true(number == -0x1p63);
    json_decref(doc);
}

static void a_member_of_no_object_is_absent(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    const char *text = NULL;
    json_t *list = parse("[1]");
    REFUSED(json_want_str(list, "k", &text, &e), EE_FORMAT,
            "\"k\" should be a string and is absent");
    REFUSED(json_want_str(NULL, "k", &text, &e), EE_FORMAT,
            "\"k\" should be a string and is absent");
    assert_int_equal(json_int_or(NULL, "k", 5), 5);
    json_decref(list);
}

static void a_fallback_stands_for_anything_else(void **state) {
    (void)state;
    json_t *doc = parse(ALL_TYPES);
    assert_string_equal(json_str_or(doc, "s", "d"), "text");
    assert_int_equal(json_int_or(doc, "i", 1), 7);
    assert_true(json_num_or(doc, "r", 2) == 1.5);
    assert_true(json_num_or(doc, "i", 2) == 7);
    static const char *const others[] = {"o", "a", "t", "f", "n", "x"};
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(json_str_or(doc, others[i], "d"), "d");
        assert_null(json_str_or(doc, others[i], NULL));
        assert_int_equal(json_int_or(doc, others[i], -3), -3);
        assert_true(isnan(json_num_or(doc, others[i], NAN)));
    }
    assert_int_equal(json_int_or(doc, "r", 1), 1); /* 1.5 is not cut to a whole number */
    assert_int_equal(json_int_or(doc, "s", 1), 1);
    json_decref(doc);
}

/* ---- writing ---- */

static void text_is_compact_and_in_the_order_of_insertion(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"z\":1,\"a\":[true,false,null],\"m\":{\"b\":\"x\",\"a\":-1}}",
        "[]",
        "{}",
        "[\"\\\"\\\\\\n\\t\\u0001\"]",
        "[\"caf\xc3\xa9 \xf0\x9f\x98\x80\"]",
        "[9223372036854775807,-9223372036854775808]",
        "[0.1,1e-300,5e-324,1.7976931348623157e308]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct err e = ERR_INIT;
        struct buf b;
        buf_init(&b);
        buf_addstr(&b, "> ");
        json_t *v = parse(texts[i]);
        OK(json_write(v, &b, &e));
        assert_null(strchr(b.data, '\n'));
        json_t *again = parse(b.data + 2);
        assert_true(json_equal(v, again)); /* numbers exactly, too */
        if (i < 6) {
            assert_string_equal(b.data + 2, texts[i]);
        }
        json_decref(v);
        json_decref(again);
        buf_release(&b);
    }
}

static void a_scalar_can_be_written(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b);
    json_t *v = json_string("x");
    OK(json_write(v, &b, &e));
    assert_string_equal(b.data, "\"x\"");
    json_decref(v);
    buf_release(&b);
}

static void what_json_cannot_hold_is_refused(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b);
    json_t *bad = json_string_nocheck("\xff");
    REFUSED_WITH(json_write(bad, &b, &e), EE_FORMAT, "UTF-8");
    json_decref(bad);
    REFUSED_WITH(json_write(NULL, &b, &e), EE_FORMAT, "cannot be written as JSON");
    json_t *loop = json_array();
    json_t *inner = json_array();
    json_array_append_new(loop, inner);
    json_array_append(inner, loop);
    assert_int_equal(json_write(loop, &b, &e), EE_FORMAT);
    json_array_clear(inner);
    json_decref(loop);
    buf_release(&b);
}

static void a_full_buffer_is_reported(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_max(&b, 5);
    json_t *v = parse("[1,2,3,4]");
    REFUSED(json_write(v, &b, &e), EE_NOMEM,
            "JSON: out of memory, or larger than the 5 bytes allowed");
    json_decref(v);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_names_source_line_and_column),
        cmocka_unit_test(very_deep_nesting_is_refused),
        cmocka_unit_test(only_the_given_bytes_are_read),
        cmocka_unit_test_setup_teardown(a_file_is_parsed_under_its_name, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(a_wrong_member_is_named_with_what_it_is),
        cmocka_unit_test(right_members_are_returned),
        cmocka_unit_test(a_member_of_no_object_is_absent),
        cmocka_unit_test(a_fallback_stands_for_anything_else),
        cmocka_unit_test(text_is_compact_and_in_the_order_of_insertion),
        cmocka_unit_test(a_scalar_can_be_written),
        cmocka_unit_test(what_json_cannot_hold_is_refused),
        cmocka_unit_test(a_full_buffer_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
