/* Events out of bytes: the standard's own cases, every split, and random bytes against a parser
 * written from the definition. */
#include "serve/sse.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* All events, each followed by '|'. */
static void split(const char *text, size_t len, const size_t *cuts, size_t n_cuts,
                  struct buf *out) {
    struct sse s;
    sse_init(&s);
    size_t at = 0;
    for (size_t i = 0; i <= n_cuts; i++) {
        size_t to = i < n_cuts ? cuts[i] : len;
        char *piece = malloc(to - at + 1); /* of its own, so that a read too far is seen */
        assert_non_null(piece);
        memcpy(piece, text + at, to - at);
        const char *p = piece;
        const char *event;
        size_t n;
        while (sse_next(&s, &p, piece + (to - at), &event, &n)) {
            buf_add(out, event, n);
            buf_addch(out, '|');
        }
        assert_ptr_equal(p, piece + (to - at));
        free(piece);
        at = to;
    }
    const char *rest;
    size_t n;
    sse_rest(&s, &rest, &n);
    buf_add(out, rest, n);
    sse_release(&s);
}

/* By the definition: lines end in LF, a CR before it is no part of them, an empty line ends an
 * event that has lines. */
static void split_by_definition(const char *text, size_t len, struct buf *out) {
    size_t begin = 0;
    size_t line = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\n') {
            continue;
        }
        size_t n = i - line;
        if (n > 0 && text[i - 1] == '\r') {
            n--;
        }
        if (n == 0) {
            if (line > begin) {
                buf_add(out, text + begin, line - begin);
                buf_addch(out, '|');
            }
            begin = i + 1;
        }
        line = i + 1;
    }
    buf_add(out, text + begin, len - begin);
}

static void check_split(const char *text, size_t len, const size_t *cuts, size_t n_cuts) {
    struct buf got;
    struct buf want;
    buf_init(&got);
    buf_init(&want);
    split(text, len, cuts, n_cuts, &got);
    split_by_definition(text, len, &want);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
    buf_release(&got);
    buf_release(&want);
}

static const char stream[] =
    ": ping\n\ndata: {\"a\":1}\n\nevent: error\r\ndata: one\r\ndata: two\r\n\r\n"
    "\n\r\ndata: \xc3\xb6\xe2\x82\xac\n\ndata: [DONE]\n\ndata: unfin";

static void events_are_the_same_however_they_are_split(void **state) {
    (void)state;
    size_t len = strlen(stream);
    check_split(stream, len, NULL, 0);
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            const size_t cuts[] = {a, b};
            check_split(stream, len, cuts, 2);
        }
    }
}

static void random_bytes_are_split_by_the_definition(void **state) {
    (void)state;
    static const char letters[] = "\n\n\n\r\rda: \xc3\xb6";
    struct rng r;
    rng_init(&r, 5);
    char text[64];
    for (int i = 0; i < 50000; i++) {
        size_t len = rng_below(&r, sizeof(text));
        for (size_t k = 0; k < len; k++) {
            text[k] = letters[rng_below(&r, sizeof(letters) - 1)];
        }
        size_t cuts[3];
        size_t n_cuts = rng_below(&r, 4);
        for (size_t k = 0; k < n_cuts; k++) {
            cuts[k] = rng_below(&r, len + 1);
        }
        for (size_t k = 0; k + 1 < n_cuts; k++) { /* ascending */
            for (size_t m = k + 1; m < n_cuts; m++) {
                if (cuts[m] < cuts[k]) {
                    size_t t = cuts[k];
                    cuts[k] = cuts[m];
                    cuts[m] = t;
                }
            }
        }
        check_split(text, len, cuts, n_cuts);
    }
}

static void an_event_beyond_measure_is_given_up(void **state) {
    (void)state;
    struct sse s;
    sse_init(&s);
    char block[4096];
    memset(block, 'x', sizeof(block));
    for (int i = 0; i < SSE_MAX_EVENT_BYTES / 4096 + 2; i++) {
        const char *p = block;
        const char *event;
        size_t n;
        assert_false(sse_next(&s, &p, block + sizeof(block), &event, &n));
    }
    assert_true(s.carry.failed);
    sse_restart(&s);
    assert_false(s.carry.failed);
    sse_release(&s);
}

static void check_message(const char *event, bool has_data, const char *data, bool is_error) {
    struct sse_message m;
    buf_init(&m.data);
    sse_parse(event, strlen(event), &m);
    assert_int_equal(m.has_data, has_data);
    assert_string_equal(m.data.data, data);
    assert_int_equal(m.is_error, is_error);
    buf_release(&m.data);
}

static void messages_are_read_by_the_standard(void **state) {
    (void)state;
    check_message("data: x\n", true, "x", false);
    check_message("data:x\n", true, "x", false);
    check_message("data:  x\n", true, " x", false);
    check_message("data\n", true, "", false);
    check_message("data: one\ndata: two\n", true, "one\ntwo", false);
    check_message("data: one\r\ndata: two\r\n", true, "one\ntwo", false);
    check_message(": data: no\n", false, "", false);
    check_message(":\n", false, "", false);
    check_message("database: no\n", false, "", false);
    check_message("event: error\ndata: {}\n", true, "{}", true);
    check_message("event: message\ndata: {}\n", true, "{}", false);
    check_message("id: 7\nretry: 10\n", false, "", false);
    check_message("\xef\xbb\xbf"
                  "data: x\n",
                  true, "x", false);
    check_message("data: no line end", true, "no line end", false);
    check_message("", false, "", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_however_they_are_split),
        cmocka_unit_test(random_bytes_are_split_by_the_definition),
        cmocka_unit_test(an_event_beyond_measure_is_given_up),
        cmocka_unit_test(messages_are_read_by_the_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
