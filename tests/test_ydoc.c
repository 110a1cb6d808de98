/* YAML documents: what the author of a wrong plan is told, word for word and position for position. */
#include "base/ydoc.h"

#include "support/scratch.h"

#include "base/buf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct ydoc *load(const char *text) {
    struct err e = ERR_INIT;
    struct ydoc *d = NULL;
    OK(ydoc_load_bytes(text, strlen(text), "p.yaml", &d, &e));
    return d;
}

/* Text with its length, so that a NUL can be inside. */
#define TEXT(s) (s), sizeof(s) - 1

struct refusal {
    const char *text;
    size_t len;
    const char *msg;
};

static void check_refusals(const struct refusal *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct err e = ERR_INIT;
        struct ydoc *d = (struct ydoc *)&e;
        REFUSED(ydoc_load_bytes(rows[i].text, rows[i].len, "p.yaml", &d, &e), EE_FORMAT,
                rows[i].msg);
        assert_null(d);
    }
}

/* ---- documents that are refused as a whole ---- */

static void a_file_holds_one_document(void **state) {
    (void)state;
    static const struct refusal rows[] = {
        {TEXT(""), "p.yaml:1:1: the file is empty"},
        {TEXT("\n\n  \n"), "p.yaml:1:1: the file is empty"},
        {TEXT("# a comment\n# and another\n"), "p.yaml:1:1: the file is empty"},
        {TEXT("\xef\xbb\xbf"), "p.yaml:1:1: the file is empty"},
        {TEXT("a: 1\n---\nb: 2\n"),
         "p.yaml:2:1: a second document starts here; one file holds one"},
        {TEXT("---\na: 1\n...\n# more\n--- b\n"),
         "p.yaml:5:1: a second document starts here; one file holds one"},
        {TEXT("a: 1\n---\n"), "p.yaml:2:1: a second document starts here; one file holds one"},
    };
    check_refusals(rows, sizeof(rows) / sizeof(rows[0]));
    static const char *const fine[] = {"---\na: 1\n", "a: 1\n...\n", "---\na: 1\n...\n",
                                       "# c\n---\na: 1"};
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        ydoc_free(load(fine[i]));
    }
}

#define NO_ALIAS "anchors and aliases (&name, *name) are not supported: write the value out"

static void anchors_and_aliases_are_refused_where_they_stand(void **state) {
    (void)state;
    static const struct refusal rows[] = {
        {TEXT("a: &x 1\n"), "p.yaml:1:4: " NO_ALIAS},
        {TEXT("a: 1\nb: &list\n  - 1\n"), "p.yaml:2:4: " NO_ALIAS},
        {TEXT("a: 1\nb: &map\n  k: 1\n"), "p.yaml:2:4: " NO_ALIAS},
        {TEXT("a: 1\nb: [x, *y]\n"), "p.yaml:2:8: " NO_ALIAS},
        {TEXT("a: 1\n<<: *base\n"), "p.yaml:2:5: " NO_ALIAS},
        {TEXT("&k key: 1\n"), "p.yaml:1:1: " NO_ALIAS},
        {TEXT("&self [*self]"), "p.yaml:1:1: " NO_ALIAS}, /* a document without an end */
        {TEXT("&self {a: *self}"), "p.yaml:1:1: " NO_ALIAS},
    };
    check_refusals(rows, sizeof(rows) / sizeof(rows[0]));
    ydoc_free(load("a: \"&x\"\nb: '*y'\nc: x & y * z\n")); /* text that only looks like it */
}

static void repeated_keys_are_refused_at_the_second(void **state) {
    (void)state;
    static const struct refusal rows[] = {
        {TEXT("a: 1\nb: 2\na: 3\n"), "p.yaml:3:1: \"a\" is given twice"},
        {TEXT("a: 1\n\"a\": 2\n"), "p.yaml:2:1: \"a\" is given twice"},
        {TEXT("m:\n  k: 1\n  j: 2\n  k: 1\n"), "p.yaml:4:3: \"k\" is given twice"},
        {TEXT("{z: 1, b: 2, z: 3, b: 4}"), "p.yaml:1:14: \"z\" is given twice"},
        {TEXT("- {a: 1}\n- {a: 1, a: 1}\n"), "p.yaml:2:10: \"a\" is given twice"},
        {TEXT("? [a, b]\n: 1\n"), "p.yaml:1:3: keys must be plain text"},
        {TEXT("a: 1\n{b: c}: 1\n"), "p.yaml:2:1: keys must be plain text"},
    };
    check_refusals(rows, sizeof(rows) / sizeof(rows[0]));
    ydoc_free(load("a: {k: 1}\nb: {k: 1}\nA: 1\n")); /* in other mappings, in other case */
}

#define NO_TOKEN "found character that cannot start any token, while scanning for the next token"

static void what_is_not_yaml_is_refused_where_it_stops(void **state) {
    (void)state;
    static const struct refusal rows[] = {
        {TEXT("a: b: c\n"),
         "p.yaml:1:5: not valid YAML: mapping values are not allowed in this context"},
        {TEXT("a: 1\nb: 2\n c: 3\n"),
         "p.yaml:3:3: not valid YAML: mapping values are not allowed in this context"},
        {TEXT("a: \"open\nb: 1\n"), "p.yaml:3:1: not valid YAML: found unexpected end of stream, "
                                    "while scanning a quoted scalar"},
        {TEXT("a: [1, 2\n"), "p.yaml:2:1: not valid YAML: did not find expected ',' or ']', while "
                             "parsing a flow sequence"},
        {TEXT("- a\nb: 1\n"), "p.yaml:2:1: not valid YAML: did not find expected '-' indicator, "
                              "while parsing a block collection"},
        {TEXT("a: 1\nb: @x\n"), "p.yaml:2:4: not valid YAML: " NO_TOKEN},
        {TEXT("%YAML 9.9\n---\na: 1\n"),
         "p.yaml:1:1: not valid YAML: found incompatible YAML document"},
    };
    check_refusals(rows, sizeof(rows) / sizeof(rows[0]));
}

static void a_tab_is_called_a_tab(void **state) {
    (void)state;
    static const struct refusal rows[] = {
        {TEXT("\ta: 1\n"),
         "p.yaml:1:1: not valid YAML: " NO_TOKEN " (a tab is here; indent with spaces)"},
        {TEXT("# caf\xc3\xa9\r\na:\r\n\tb: 1\r\n"),
         "p.yaml:3:1: not valid YAML: " NO_TOKEN " (a tab is here; indent with spaces)"},
        {TEXT("a:\n  b: 1\n\tc: 2\n"),
         "p.yaml:3:1: not valid YAML: found a tab character that violates indentation, while "
         "scanning a plain scalar (a tab is here; indent with spaces)"},
    };
    check_refusals(rows, sizeof(rows) / sizeof(rows[0]));
    struct ydoc *d = load("a:\t1\t# a tab that indents nothing\nb: x\ty\n");
    struct err e = ERR_INIT;
    const char *text = NULL;
    OK(ynode_str(ymap_get(ydoc_root(d), "b"), "b", &text, &e));
    assert_string_equal(text, "x\ty");
    ydoc_free(d);
}

/* libyaml gives these an offset in bytes and no line. */
static void bytes_that_are_no_text_are_refused_where_they_stand(void **state) {
    (void)state;
    static const struct refusal rows[] = {
        {TEXT("a: 1\nb: \xff\n"), "p.yaml:2:4: not valid YAML: invalid leading UTF-8 octet"},
        {TEXT("a: \xc3\xa9\xe2\x82\xac \xc3(\n"),
         "p.yaml:1:8: not valid YAML: invalid trailing UTF-8 octet"},
        {TEXT("\xef\xbb\xbf"
              "a: 1\r\nbb: \xc0\x80\r\n"),
         "p.yaml:2:5: not valid YAML: invalid length of a UTF-8 sequence"},
        {TEXT("a: 1\nb: caf\xc3"), "p.yaml:2:7: not valid YAML: incomplete UTF-8 octet sequence"},
        {TEXT("a: \xed\xa0\x80\n"), "p.yaml:1:4: not valid YAML: invalid Unicode character"},
        {TEXT("a: 1\nb: \x01\n"), "p.yaml:2:4: not valid YAML: control characters are not allowed"},
        {TEXT("a: 1\0b: 2\n"), "p.yaml:1:5: not valid YAML: control characters are not allowed"},
    };
    check_refusals(rows, sizeof(rows) / sizeof(rows[0]));
}

/* C strings would end there, and a path or a command would silently be another one. */
static void text_with_a_nul_in_it_is_refused(void **state) {
    (void)state;
    static const struct refusal rows[] = {
        {TEXT("a: 1\nb: \"x\\0y\"\n"), "p.yaml:2:4: text must not hold a NUL character"},
        {TEXT("a: 1\n\"a\\0\": 2\n"), "p.yaml:2:1: text must not hold a NUL character"},
        {TEXT("[\"\\x00\"]"), "p.yaml:1:2: text must not hold a NUL character"},
    };
    check_refusals(rows, sizeof(rows) / sizeof(rows[0]));
}

/* ---- sizes ---- */

static void check_depth(const char *open, size_t times, const char *close, const char *msg) {
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < times; i++) {
        buf_addstr(&b, open);
    }
    buf_addstr(&b, "x");
    for (size_t i = 0; i < times; i++) {
        buf_addstr(&b, close);
    }
    struct err e = ERR_INIT;
    struct ydoc *d = NULL;
    int rc = ydoc_load_bytes(b.data, b.len, "p.yaml", &d, &e);
    if (msg) {
        REFUSED(rc, EE_FORMAT, msg);
    } else {
        OK(rc);
    }
    ydoc_free(d);
    buf_release(&b);
}

static void nesting_has_a_limit(void **state) {
    (void)state;
    check_depth("[", 64, "]", NULL);
    check_depth("[", 65, "]", "p.yaml:1:65: nested too deeply");
    check_depth("{a: ", 64, "}", NULL);
    check_depth("{a: ", 65, "}", "p.yaml:1:257: nested too deeply");
    check_depth("- ", 64, "", NULL);
    check_depth("- ", 65, "", "p.yaml:1:129: nested too deeply");
    check_depth("[", 1000000, "", "p.yaml:1:65: nested too deeply");
    check_depth("{a: ", 200000, "", "p.yaml:1:257: nested too deeply");
    check_depth("- ", 1000000, "", "p.yaml:1:129: nested too deeply");
    check_depth("? ", 200000, "", "p.yaml:1:129: nested too deeply");
}

/* Neither may take time that grows with the square of the keys. */
static void a_huge_file_is_read_and_its_last_fault_found(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    enum { N = 100000 };
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < N; i++) {
        buf_addf(&b, "key-%d: [%d, \"text of entry %d\"]\n", i, i, i);
    }
    assert_true(b.len > 3 << 20);
    struct ydoc *d = NULL;
    OK(ydoc_load_file(scratch_write(s, "big.yaml", b.data, b.len), &d, &e));
    const char *key;
    struct ynode value;
    assert_true(ymap_at(ydoc_root(d), N - 1, &key, &value));
    assert_string_equal(key, "key-99999");
    assert_int_equal(yseq_len(value), 2);
    assert_false(ymap_at(ydoc_root(d), N, &key, &value));
    ydoc_free(d);
    buf_addstr(&b, "key-77: x\n");
    REFUSED(ydoc_load_bytes(b.data, b.len, "big.yaml", &d, &e), EE_FORMAT,
            "big.yaml:100001:1: \"key-77\" is given twice");
    buf_release(&b);
}

static void a_long_scalar_is_kept_whole(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    struct buf b;
    struct err e = ERR_INIT;
    buf_init(&b);
    buf_addstr(&b, "a: \"");
    buf_addn(&b, 'x', N);
    buf_addstr(&b, "\"\n");
    struct ydoc *d = load(b.data);
    const char *text = NULL;
    int64_t number = -1;
    OK(ynode_str(ymap_get(ydoc_root(d), "a"), "a", &text, &e));
    assert_int_equal(strlen(text), N);
    /* Quoted in a message, it is cut there. */
    assert_int_equal(ynode_int(ymap_get(ydoc_root(d), "a"), "a", 0, 9, &number, &e), EE_FORMAT);
    assert_non_null(strstr(e.msg, "it should be a whole number from 0 to 9"));
    ydoc_free(d);
    buf_release(&b);
}

/* ---- files ---- */

static void a_file_is_known_by_its_path(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct ydoc *d = (struct ydoc *)&e;
    char want[256];
    const char *none = scratch_path(s, "none.yaml");
    snprintf(want, sizeof(want), "cannot open %s: No such file or directory", none);
    REFUSED(ydoc_load_file(none, &d, &e), EE_MISSING, want);
    assert_null(d);
    const char *bad = scratch_write(s, "bad.yaml", "a:\n  b: [\n", 10);
    REFUSED_WITH(ydoc_load_file(bad, &d, &e), EE_FORMAT, "/bad.yaml:3:1: not valid YAML");
    assert_int_equal(ydoc_load_file(s->dir, &d, &e), EE_IO);
}

static void a_long_file_name_leaves_the_position(void **state) {
    (void)state;
    char name[900];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct err e = ERR_INIT;
    struct ydoc *d = NULL;
    OK(ydoc_load_bytes("a:\n  - x\n", 9, name, &d, &e));
    int64_t v = 0;
    assert_int_equal(ynode_int(yseq_at(ymap_get(ydoc_root(d), "a"), 0), "a", 0, 1, &v, &e),
                     EE_FORMAT);
    assert_non_null(strstr(e.msg, "n:2:5: a is \"x\""));
    ydoc_free(d);
}

static void line_ends_and_byte_order_marks_do_not_move_positions(void **state) {
    (void)state;
    static const char *const texts[] = {
        "a: 1\nb:\n  c: x\n", "a: 1\r\nb:\r\n  c: x\r\n",
        "\xef\xbb\xbf"
        "a: 1\nb:\n  c: x\n",
        "\xef\xbb\xbf"
        "a: 1\r\nb:\r\n  c: x", /* no end of line at all */
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct err e = ERR_INIT;
        struct ydoc *d = load(texts[i]);
        struct ynode c = ymap_get(ymap_get(ydoc_root(d), "b"), "c");
        const char *text = NULL;
        char where[64];
        OK(ynode_str(c, "c", &text, &e));
        assert_string_equal(text, "x");
        assert_string_equal(ynode_where(c, where, sizeof(where)), "p.yaml:3:6");
        ydoc_free(d);
    }
}

static void columns_count_characters(void **state) {
    (void)state;
    struct ydoc *d = load("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80: x\n");
    const char *key;
    struct ynode value;
    char where[64];
    assert_true(ymap_at(ydoc_root(d), 0, &key, &value));
    assert_string_equal(ynode_where(value, where, sizeof(where)), "p.yaml:1:6");
    ydoc_free(d);
}

/* ---- walking ---- */

static void kinds_and_members_are_told_apart(void **state) {
    (void)state;
    struct ydoc *d = load("m: {a: 1, b: 2}\ns: [x, y, z]\nt: text\nn:\ne: {}\nl: []\n");
    struct ynode root = ydoc_root(d);
    struct ynode m = ymap_get(root, "m");
    struct ynode s = ymap_get(root, "s");
    struct ynode t = ymap_get(root, "t");
    struct ynode none = ymap_get(root, "no such key");
    assert_true(ynode_is_map(m) && !ynode_is_seq(m) && !ynode_is_scalar(m));
    assert_true(!ynode_is_map(s) && ynode_is_seq(s) && !ynode_is_scalar(s));
    assert_true(!ynode_is_map(t) && !ynode_is_seq(t) && ynode_is_scalar(t));
    assert_true(ynode_is_scalar(ymap_get(root, "n"))); /* "n:" is there and empty */
    assert_true(ynode_present(t) && !ynode_present(none));
    assert_false(ynode_is_map(none) || ynode_is_seq(none) || ynode_is_scalar(none));
    assert_int_equal(yseq_len(s), 3);
    assert_int_equal(yseq_len(ymap_get(root, "l")), 0);
    assert_int_equal(yseq_len(m), 0);
    assert_int_equal(yseq_len(none), 0);
    assert_true(ynode_present(yseq_at(s, 2)));
    assert_false(ynode_present(yseq_at(s, 3)));
    assert_false(ynode_present(yseq_at(s, SIZE_MAX)));
    assert_false(ynode_present(yseq_at(m, 0)));
    assert_false(ynode_present(ymap_get(s, "a")));
    assert_false(ynode_present(ymap_get(t, "a")));
    assert_false(ynode_present(ymap_get(none, "a")));
    char where[64];
    assert_string_equal(ynode_where(none, where, sizeof(where)), "p.yaml");
    assert_string_equal(ynode_where((struct ynode){0}, where, sizeof(where)), "?");
    ydoc_free(d);
    ydoc_free(NULL);
}

static void pairs_come_in_file_order(void **state) {
    (void)state;
    static const char *const keys[] = {"z", "a", "m"};
    struct ydoc *d = load("z: 1\na: 2\nm: 3\n");
    const char *key = NULL;
    struct ynode value = {0};
    for (size_t i = 0; i < 3; i++) {
        int64_t v = 0;
        struct err e = ERR_INIT;
        assert_true(ymap_at(ydoc_root(d), i, &key, &value));
        assert_string_equal(key, keys[i]);
        OK(ynode_int(value, key, 0, 9, &v, &e));
        assert_int_equal(v, i + 1);
    }
    assert_false(ymap_at(ydoc_root(d), 3, &key, &value));
    assert_false(ymap_at(value, 0, &key, &value)); /* of no mapping */
    ydoc_free(d);
}

/* ---- checks that name what is accepted ---- */

static void an_unknown_key_is_shown_with_those_allowed(void **state) {
    (void)state;
    static const char *const allowed[] = {"models", "tasks", NULL};
    static const char *const none[] = {NULL};
    struct err e = ERR_INIT;
    struct ydoc *d = load("models: [a]\nwhat:\n  deep: 1\ntasks: [b]\n");
    struct ynode root = ydoc_root(d);
    REFUSED(ymap_check(root, "the plan", allowed, &e), EE_FORMAT,
            "p.yaml:2:1: unknown key \"what\" in the plan; allowed: models, tasks");
    REFUSED(ymap_check(ymap_get(root, "models"), "load", allowed, &e), EE_FORMAT,
            "p.yaml:1:9: load should be a mapping (key: value); allowed: models, tasks");
    REFUSED(ymap_check(root, "x", none, &e), EE_FORMAT,
            "p.yaml:1:1: unknown key \"models\" in x; allowed: ");
    static const char *const all[] = {"what", "models", "tasks", "unused", NULL};
    OK(ymap_check(root, "the plan", all, &e));
    assert_int_equal(ymap_check(ymap_get(root, "absent"), "it", all, &e), EE_FORMAT);
    assert_string_equal(
        e.msg, "p.yaml: it should be a mapping (key: value); allowed: what, models, tasks, unused");
    assert_int_equal(ymap_check(root, "the plan", allowed, NULL), EE_FORMAT);
    ydoc_free(d);
    d = load("{}");
    OK(ymap_check(ydoc_root(d), "the plan", none, &e));
    ydoc_free(d);
}

static void text_is_any_scalar_that_is_not_empty(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct ydoc *d = load("a: plain words\nb: 12\nc:\nd: ''\ne: [x]\nf: {k: v}\n"
                          "g: |\n  two\n  lines\nh: ' '\n");
    struct ynode r = ydoc_root(d);
    const char *text = NULL;
    OK(ynode_str(ymap_get(r, "a"), "a", &text, &e));
    assert_string_equal(text, "plain words");
    OK(ynode_str(ymap_get(r, "b"), "b", &text, &e));
    assert_string_equal(text, "12");
    OK(ynode_str(ymap_get(r, "g"), "g", &text, &e));
    assert_string_equal(text, "two\nlines\n");
    OK(ynode_str(ymap_get(r, "h"), "h", &text, &e));
    assert_string_equal(text, " ");
    OK(ynode_str(ymap_get(r, "absent"), "x", &text, &e));
    assert_string_equal(text, " ");
    REFUSED(ynode_str(ymap_get(r, "c"), "c", &text, &e), EE_FORMAT, "p.yaml:3:3: c is empty");
    REFUSED(ynode_str(ymap_get(r, "d"), "d", &text, &e), EE_FORMAT, "p.yaml:4:4: d is empty");
    REFUSED(ynode_str(ymap_get(r, "e"), "e", &text, &e), EE_FORMAT,
            "p.yaml:5:4: e should be text and is a list");
    REFUSED(ynode_str(ymap_get(r, "f"), "f", &text, &e), EE_FORMAT,
            "p.yaml:6:4: f should be text and is a mapping");
    assert_string_equal(text, " ");
    ydoc_free(d);
}

static int read_int(const char *value, int64_t min, int64_t max, int64_t *out, struct err *e) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "k: %s\n", value);
    struct ydoc *d = load(b.data);
    int rc = ynode_int(ymap_get(ydoc_root(d), "k"), "steps", min, max, out, e);
    ydoc_free(d);
    buf_release(&b);
    return rc;
}

static void whole_numbers_have_bounds_and_no_tail(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    static const char *const bad[] = {"4",
                                      "0",
                                      "-1",
                                      "1.5",
                                      "1e0",
                                      "two",
                                      "0x1",
                                      "'1 '",
                                      "1_0",
                                      "''",
                                      "~",
                                      "1,0",
                                      "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t v = 77;
        REFUSED_WITH(read_int(bad[i], 1, 3, &v, &e), EE_FORMAT,
                     "\"; it should be a whole number from 1 to 3");
        assert_int_equal(v, 77);
    }
    int64_t v = 0;
    REFUSED(read_int("4", 1, 3, &v, &e), EE_FORMAT,
            "p.yaml:1:4: steps is \"4\"; it should be a whole number from 1 to 3");
    REFUSED(read_int("[1]", 1, 3, &v, &e), EE_FORMAT,
            "p.yaml:1:4: steps should be a whole number and is a list");
    OK(read_int("1", 1, 3, &v, &e));
    assert_int_equal(v, 1);
    OK(read_int("\"3\"", 1, 3, &v, &e));
    assert_int_equal(v, 3);
    OK(read_int("007", 0, 10, &v, &e)); /* decimal, not octal */
    assert_int_equal(v, 7);
    OK(read_int("-9223372036854775808", INT64_MIN, INT64_MAX, &v, &e));
    assert_true(v == INT64_MIN);
    OK(read_int("9223372036854775807", INT64_MIN, INT64_MAX, &v, &e));
    assert_true(v == INT64_MAX);
    /* One past the ends must not be taken for the ends. */
    assert_int_equal(read_int("9223372036854775808", INT64_MIN, INT64_MAX, &v, &e), EE_FORMAT);
    assert_int_equal(read_int("-9223372036854775809", INT64_MIN, INT64_MAX, &v, &e), EE_FORMAT);
}

static int read_num(const char *value, double min, double max, double *out, struct err *e) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "a: 1\nk: %s\n", value);
    struct ydoc *d = load(b.data);
    int rc = ynode_num(ymap_get(ydoc_root(d), "k"), "price", min, max, out, e);
    ydoc_free(d);
    buf_release(&b);
    return rc;
}

static void numbers_are_finite_and_in_range(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    static const char *const bad[] = {"2.01",  "-0.01", ".inf", "inf",  "nan", ".nan",
                                      "1e999", "1,5",   "1.5x", "$1.5", "''",  "~"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        double v = 77;
        REFUSED_WITH(read_num(bad[i], 0, 2, &v, &e), EE_FORMAT,
                     "\"; it should be a number from 0 to 2");
        assert_true(v == 77);
    }
    double v = 0;
    REFUSED(read_num("2.5", 0, 2, &v, &e), EE_FORMAT,
            "p.yaml:2:4: price is \"2.5\"; it should be a number from 0 to 2");
    REFUSED(read_num("{a: 1}", 0, 2, &v, &e), EE_FORMAT,
            "p.yaml:2:4: price should be a number and is a mapping");
    assert_int_equal(read_num("inf", -HUGE_VAL, HUGE_VAL, &v, &e), EE_FORMAT);
    OK(read_num("1.5e-3", 0, 2, &v, &e));
    assert_true(v == 1.5e-3);
    OK(read_num("2", 0, 2, &v, &e));
    assert_true(v == 2);
    OK(read_num("-1e300", -HUGE_VAL, HUGE_VAL, &v, &e));
    assert_true(v == -1e300);
}

static void truth_is_true_or_false(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct ydoc *d = load("a: true\nb: false\nc: yes\nd: True\ne: 1\nf: []\n");
    struct ynode r = ydoc_root(d);
    bool v = false;
    OK(ynode_bool(ymap_get(r, "a"), "a", &v, &e));
    assert_true(v);
    OK(ynode_bool(ymap_get(r, "absent"), "x", &v, &e));
    assert_true(v);
    OK(ynode_bool(ymap_get(r, "b"), "b", &v, &e));
    assert_false(v);
    v = true;
    REFUSED(ynode_bool(ymap_get(r, "c"), "c", &v, &e), EE_FORMAT,
            "p.yaml:3:4: c is \"yes\"; allowed: false, true");
    assert_int_equal(ynode_bool(ymap_get(r, "d"), "d", &v, &e), EE_FORMAT);
    assert_int_equal(ynode_bool(ymap_get(r, "e"), "e", &v, &e), EE_FORMAT);
    REFUSED(ynode_bool(ymap_get(r, "f"), "f", &v, &e), EE_FORMAT,
            "p.yaml:6:4: f should be one word and is a list");
    assert_true(v);
    ydoc_free(d);
}

static void a_word_is_one_of_a_list(void **state) {
    (void)state;
    static const char *const names[] = {"fp16", "int8", "int4", NULL};
    struct err e = ERR_INIT;
    struct ydoc *d = load("precision:\n  - int4\n  - INT8\n  - int\n  - {}\n");
    struct ynode s = ymap_get(ydoc_root(d), "precision");
    int v = -1;
    OK(ynode_enum(yseq_at(s, 0), "precision", names, &v, &e));
    assert_int_equal(v, 2);
    OK(ynode_enum(yseq_at(s, 9), "precision", names, &v, &e));
    assert_int_equal(v, 2);
    REFUSED(ynode_enum(yseq_at(s, 1), "precision", names, &v, &e), EE_FORMAT,
            "p.yaml:3:5: precision is \"INT8\"; allowed: fp16, int8, int4");
    REFUSED(ynode_enum(yseq_at(s, 2), "precision", names, &v, &e), EE_FORMAT,
            "p.yaml:4:5: precision is \"int\"; allowed: fp16, int8, int4");
    REFUSED(ynode_enum(yseq_at(s, 3), "precision", names, &v, &e), EE_FORMAT,
            "p.yaml:5:5: precision should be one word and is a mapping");
    assert_int_equal(v, 2);
    ydoc_free(d);
}

/* What the author wrote is quoted, never used as a format. */
static void hostile_text_is_quoted(void **state) {
    (void)state;
    static const char *const allowed[] = {"k", NULL};
    struct err e = ERR_INIT;
    struct ydoc *d = load("\"%s%n%d\": 1\n");
    REFUSED(ymap_check(ydoc_root(d), "%s", allowed, &e), EE_FORMAT,
            "p.yaml:1:1: unknown key \"%s%n%d\" in %s; allowed: k");
    ydoc_free(d);
    d = load("k: '%s%n'\n");
    int v = 0;
    REFUSED(ynode_enum(ymap_get(ydoc_root(d), "k"), "k", allowed, &v, &e), EE_FORMAT,
            "p.yaml:1:4: k is \"%s%n\"; allowed: k");
    ydoc_free(d);
    REFUSED(ydoc_load_bytes("", 0, "%s%n", &d, &e), EE_FORMAT, "%s%n:1:1: the file is empty");
}

#define ON_FILES(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_holds_one_document),
        cmocka_unit_test(anchors_and_aliases_are_refused_where_they_stand),
        cmocka_unit_test(repeated_keys_are_refused_at_the_second),
        cmocka_unit_test(what_is_not_yaml_is_refused_where_it_stops),
        cmocka_unit_test(a_tab_is_called_a_tab),
        cmocka_unit_test(bytes_that_are_no_text_are_refused_where_they_stand),
        cmocka_unit_test(text_with_a_nul_in_it_is_refused),
        cmocka_unit_test(nesting_has_a_limit),
        ON_FILES(a_huge_file_is_read_and_its_last_fault_found),
        cmocka_unit_test(a_long_scalar_is_kept_whole),
        ON_FILES(a_file_is_known_by_its_path),
        cmocka_unit_test(a_long_file_name_leaves_the_position),
        cmocka_unit_test(line_ends_and_byte_order_marks_do_not_move_positions),
        cmocka_unit_test(columns_count_characters),
        cmocka_unit_test(kinds_and_members_are_told_apart),
        cmocka_unit_test(pairs_come_in_file_order),
        cmocka_unit_test(an_unknown_key_is_shown_with_those_allowed),
        cmocka_unit_test(text_is_any_scalar_that_is_not_empty),
        cmocka_unit_test(whole_numbers_have_bounds_and_no_tail),
        cmocka_unit_test(numbers_are_finite_and_in_range),
        cmocka_unit_test(truth_is_true_or_false),
        cmocka_unit_test(a_word_is_one_of_a_list),
        cmocka_unit_test(hostile_text_is_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
