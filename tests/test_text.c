#include "quality/text.h"
#include "support/goldens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CODE_POINTS = 0x110000 };

static char *lower_of(const char *s, size_t len) {
    struct buf out;
    buf_init(&out);
    text_lower(s, len, &out);
    char *lower = buf_detach(&out);
    assert_non_null(lower);
    return lower;
}

/* True when a capital sigma after prefix and cp ends a word. */
static bool decides_sigma(const char *prefix, int32_t cp) {
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, prefix);
    text_encode(cp, &b);
    text_encode(0x3A3, &b);
    char *lower = lower_of(b.data, b.len);
    size_t len = strlen(lower);
    bool final = len >= 2 && strcmp(lower + len - 2, "\xCF\x82") == 0;
    free(lower);
    buf_release(&b);
    return final;
}

static bool is_cased(int32_t cp) {
    return decides_sigma("", cp);
}

static bool is_case_ignorable(int32_t cp) {
    return decides_sigma("A", cp) && !is_cased(cp);
}

static const struct {
    const char *name;
    bool (*has)(int32_t cp);
} classes[] = {
    {"space", text_is_space},
    {"word", text_is_word},
    {"cased", is_cased},
    {"case_ignorable", is_case_ignorable},
};

struct seen {
    unsigned char *assigned; /* one flag a code point */
    unsigned char *changed;  /* those with another lower case */
    size_t n_assigned;
    size_t classes;
    size_t lowers;
    size_t ill_formed;
};

static size_t fill_ranges(const json_t *golden, unsigned char *flags) {
    size_t n = 0;
    size_t i;
    const json_t *range;
    json_array_foreach(json_object_get(golden, "ranges"), i, range) {
        json_int_t last = json_integer_value(json_array_get(range, 1));
        for (json_int_t cp = json_integer_value(json_array_get(range, 0)); cp <= last; cp++) {
            flags[cp] = 1;
            n++;
        }
    }
    return n;
}

static void check_class(const json_t *golden, const char *name, struct seen *seen) {
    if (strcmp(name, "assigned") == 0) {
        seen->n_assigned = fill_ranges(golden, seen->assigned);
        return;
    }
    unsigned char *want = calloc(CODE_POINTS, 1);
    assert_non_null(want);
    assert_true(fill_ranges(golden, want) > 0);
    for (size_t k = 0; k < sizeof(classes) / sizeof(classes[0]); k++) {
        if (strcmp(classes[k].name, name) != 0) {
            continue;
        }
        seen->classes++;
        for (int32_t cp = 1; cp < CODE_POINTS; cp++) {
            if (seen->assigned[cp] && classes[k].has(cp) != (want[cp] == 1)) {
                fail_msg("U+%04X: %s is %d, Python has %d", (unsigned)cp, name, !want[cp],
                         want[cp]);
            }
        }
    }
    free(want);
}

static void check_ill_formed(const json_t *golden, const char *hex, struct seen *seen) {
    char bytes[64];
    size_t len = strlen(hex) / 2;
    assert_true(len <= sizeof(bytes));
    for (size_t i = 0; i < len; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (char)strtol(digits, NULL, 16);
    }
    struct buf out;
    buf_init(&out);
    bool well_formed = true;
    for (size_t i = 0; i < len;) {
        int32_t cp;
        i += text_decode(bytes + i, len - i, &cp);
        well_formed = well_formed && cp != TEXT_ILL_FORMED;
        text_encode(cp == TEXT_ILL_FORMED ? 0xFFFD : cp, &out);
    }
    golden_check_str(golden, "decoded text", out.data, golden_str(golden, "decoded"));
    size_t bad_at = 0;
    assert_int_equal(text_is_utf8(bytes, len, &bad_at), well_formed);
    buf_release(&out);
    seen->ill_formed++;
}

static void check_golden(const json_t *golden, void *ctx) {
    struct seen *seen = ctx;
    const char *class = json_string_value(json_object_get(golden, "class"));
    const char *hex = json_string_value(json_object_get(golden, "hex"));
    if (class) {
        check_class(golden, class, seen);
    } else if (hex) {
        check_ill_formed(golden, hex, seen);
    } else {
        const char *s = golden_str(golden, "text");
        char *lower = lower_of(s, strlen(s));
        golden_check_str(golden, "lower case", lower, golden_str(golden, "lower"));
        free(lower);
        int32_t cp;
        if (*s && text_decode(s, strlen(s), &cp) == strlen(s)) {
            seen->changed[cp] = 1;
        }
        seen->lowers++;
    }
}

/* The goldens have every character with another lower case; the rest must stay as they are. */
static void check_unchanged(const struct seen *seen) {
    struct buf b;
    buf_init(&b);
    for (int32_t cp = 1; cp < CODE_POINTS; cp++) {
        if (!seen->assigned[cp] || seen->changed[cp]) {
            continue;
        }
        buf_clear(&b);
        text_encode(cp, &b);
        char *lower = lower_of(b.data, b.len);
        if (strcmp(lower, b.data) != 0) {
            fail_msg("U+%04X: its lower case is another character, not so in Python", (unsigned)cp);
        }
        free(lower);
    }
    buf_release(&b);
}

static void text_is_as_in_python(void **state) {
    (void)state;
    struct seen seen = {.assigned = calloc(CODE_POINTS, 1), .changed = calloc(CODE_POINTS, 1)};
    assert_non_null(seen.assigned);
    assert_non_null(seen.changed);
    size_t n = goldens_each("quality/text.jsonl", check_golden, &seen);
    assert_true(n >= 300);
    assert_true(seen.n_assigned > 100000);
    assert_int_equal(seen.classes, sizeof(classes) / sizeof(classes[0]));
    assert_true(seen.lowers > 1400);
    assert_true(seen.ill_formed > 200);
    check_unchanged(&seen);
    free(seen.assigned);
    free(seen.changed);
}

static void ill_formed_text_is_located(void **state) {
    (void)state;
    size_t bad_at = 99;
    assert_true(text_is_utf8("", 0, &bad_at));
    assert_true(text_is_utf8("\xC3\xA9t\xC3\xA9", 5, &bad_at));
    assert_int_equal(bad_at, 99);
    assert_false(text_is_utf8("ab\xFFz", 4, &bad_at));
    assert_int_equal(bad_at, 2);
    assert_false(text_is_utf8("\xE4\xB8", 2, &bad_at));
    assert_int_equal(bad_at, 0);
}

static void trim_is_as_in_python(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", ""},
        {" \n\t ", ""},
        {"x", "x"},
        {"  a b \n", "a b"},
        {"\xC2\xA0\xE3\x80\x80word\xE2\x80\x83\x1F", "word"},
        {"\xE2\x80\x8Bword", "\xE2\x80\x8Bword"}, /* a zero-width space is no space */
        {" \xFF ", "\xFF"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].text);
        const char *got = text_trim(cases[i].text, &len);
        assert_int_equal(len, strlen(cases[i].want));
        assert_memory_equal(got, cases[i].want, len);
        assert_int_equal(text_is_blank(cases[i].text), cases[i].want[0] == '\0');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_as_in_python),
        cmocka_unit_test(ill_formed_text_is_located),
        cmocka_unit_test(trim_is_as_in_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
