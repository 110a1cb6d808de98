/* The growable buffer: its invariant after every step, its limit, and its one sticky failure. */
#include "base/buf.h"

#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void check_invariant(const struct buf *b) {
    assert_non_null(b->data);
    assert_int_equal(b->data[b->len], '\0');
    assert_true(b->cap == 0 ? b->len == 0 : b->cap > b->len);
    assert_true(b->max_len == 0 || b->len <= b->max_len);
}

static void an_empty_buffer_is_a_string(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    check_invariant(&b);
    assert_string_equal(b.data, "");
    buf_add(&b, NULL, 0);
    buf_addstr(&b, "");
    buf_addn(&b, 'x', 0);
    assert_int_equal(b.cap, 0); /* nothing was allocated for nothing */
    buf_addf(&b, "%s", "");
    check_invariant(&b);
    buf_release(&b);
    buf_release(&b);
    check_invariant(&b);
}

static void two_empty_buffers_do_not_share_what_is_written(void **state) {
    (void)state;
    struct buf a;
    struct buf b;
    buf_init(&a);
    buf_init(&b);
    buf_clear(&a);
    buf_addch(&a, 'a');
    assert_string_equal(b.data, "");
    buf_release(&a);
}

static void every_way_to_append_keeps_the_invariant(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, "one");
    buf_addch(&b, ' ');
    buf_add(&b, "two\0three", 9);
    check_invariant(&b);
    buf_addn(&b, '-', 3);
    buf_addf(&b, "%d%%", 42);
    check_invariant(&b);
    assert_int_equal(b.len, 19);
    assert_memory_equal(b.data, "one two\0three---42%", 20);
    buf_release(&b);
}

/* The first growth is to 64 bytes: every length around it must leave room for the '\0'. */
static void growth_at_every_length_keeps_all_bytes(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < 5000; i++) {
        buf_addch(&b, (char)('a' + i % 26));
        check_invariant(&b);
    }
    for (size_t i = 0; i < 5000; i++) {
        assert_int_equal(b.data[i], 'a' + (int)(i % 26));
    }
    buf_release(&b);
    for (size_t n = 60; n < 70; n++) {
        buf_init(&b);
        buf_addn(&b, 'x', n);
        check_invariant(&b);
        assert_int_equal(strlen(b.data), n);
        buf_release(&b);
    }
}

static void formatted_text_larger_than_the_capacity_fits(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, "head ");
    size_t cap = b.cap;
    buf_addf(&b, "%0*d|", 100000, 7);
    assert_true(100000 > cap);
    check_invariant(&b);
    assert_int_equal(b.len, 5 + 100000 + 1);
    assert_memory_equal(b.data, "head 000", 8);
    assert_string_equal(b.data + b.len - 3, "07|");
    /* Exactly to the end of what is allocated, and one past it. */
    for (int over = -1; over <= 1; over++) {
        int room = (int)(b.cap - b.len - 1) + over;
        size_t len = b.len;
        buf_addf(&b, "%*s", room, "");
        assert_int_equal(b.len, len + (size_t)room);
        check_invariant(&b);
    }
    buf_release(&b);
}

static void clear_keeps_the_bytes_allocated(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_addn(&b, 'x', 1000);
    size_t cap = b.cap;
    buf_clear(&b);
    assert_int_equal(b.cap, cap);
    check_invariant(&b);
    assert_string_equal(b.data, "");
    buf_release(&b);
}

static void the_limit_counts_bytes_and_not_the_end(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_max(&b, 5);
    buf_addstr(&b, "12345");
    OK(buf_check(&b, "text", &e));
    buf_addch(&b, '6');
    assert_true(b.failed);
    REFUSED(buf_check(&b, "text", &e), EE_NOMEM,
            "text: out of memory, or larger than the 5 bytes allowed");
    check_invariant(&b);
    assert_string_equal(b.data, "12345");
    buf_release(&b);
    buf_addstr(&b, "123456"); /* release keeps the limit */
    assert_true(b.failed);
    assert_string_equal(b.data, "");
    buf_release(&b);
}

/* What comes after the failure must not make the text look whole again. */
static void a_failure_sticks_until_clear(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_max(&b, 4);
    buf_addstr(&b, "abc");
    buf_addstr(&b, "too long");
    buf_addch(&b, 'd'); /* would fit */
    buf_addstr(&b, "");
    buf_addf(&b, "%d", 1);
    buf_addn(&b, 'z', 1);
    buf_add(&b, "q", 1);
    assert_false(buf_reserve(&b, 0));
    assert_string_equal(b.data, "abc");
    assert_int_equal(buf_check(&b, "it", &e), EE_NOMEM);
    buf_clear(&b);
    OK(buf_check(&b, "it", &e));
    buf_addstr(&b, "abcd");
    OK(buf_check(&b, "it", &e));
    assert_string_equal(b.data, "abcd");
    buf_release(&b);
}

static void sizes_that_overflow_fail_and_write_nothing(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    static const size_t limits[] = {0, 100, SIZE_MAX};
    for (size_t less = 0; less < 5; less++) {
        struct buf b;
        buf_init_max(&b, limits[less % 3]);
        buf_addstr(&b, "kept");
        assert_false(buf_reserve(&b, SIZE_MAX - less));
        assert_string_equal(b.data, "kept");
        assert_int_equal(buf_check(&b, "it", &e), EE_NOMEM);
        assert_int_equal(buf_check(&b, "it", NULL), EE_NOMEM);
        buf_release(&b);
    }
    struct buf b;
    buf_init(&b);
    buf_addn(&b, 'x', SIZE_MAX);
    REFUSED(buf_check(&b, "it", &e), EE_NOMEM, "it: out of memory");
    buf_release(&b);
}

static void reserve_makes_room_that_can_be_written(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(buf_reserve(&b, 100));
    check_invariant(&b);
    assert_true(b.cap >= 101);
    memset(b.data, 'x', 100);
    b.len = 100;
    b.data[100] = '\0';
    assert_true(buf_reserve(&b, 0));
    check_invariant(&b);
    buf_release(&b);
}

static void detach_hands_the_bytes_over(void **state) {
    (void)state;
    struct buf b;
    buf_init_max(&b, 10);
    buf_addstr(&b, "bytes");
    char *bytes = buf_detach(&b);
    assert_string_equal(bytes, "bytes");
    check_invariant(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.max_len, 10);
    buf_addstr(&b, "other");
    assert_string_equal(bytes, "bytes");
    free(bytes);
    buf_release(&b);
}

static void an_empty_buffer_detaches_as_an_empty_string(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    char *bytes = buf_detach(&b);
    assert_non_null(bytes);
    assert_string_equal(bytes, "");
    bytes[0] = 'x'; /* the caller's own, not the shared empty string */
    struct buf other;
    buf_init(&other);
    assert_string_equal(other.data, "");
    free(bytes);
}

static void nothing_is_detached_after_a_failure(void **state) {
    (void)state;
    struct buf b;
    buf_init_max(&b, 3);
    buf_addstr(&b, "abc");
    buf_addstr(&b, "d");
    assert_null(buf_detach(&b));
    assert_int_equal(b.len, 0);
    assert_false(b.failed);
    check_invariant(&b);
    buf_addstr(&b, "xyz");
    assert_string_equal(b.data, "xyz");
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_is_a_string),
        cmocka_unit_test(two_empty_buffers_do_not_share_what_is_written),
        cmocka_unit_test(every_way_to_append_keeps_the_invariant),
        cmocka_unit_test(growth_at_every_length_keeps_all_bytes),
        cmocka_unit_test(formatted_text_larger_than_the_capacity_fits),
        cmocka_unit_test(clear_keeps_the_bytes_allocated),
        cmocka_unit_test(the_limit_counts_bytes_and_not_the_end),
        cmocka_unit_test(a_failure_sticks_until_clear),
        cmocka_unit_test(sizes_that_overflow_fail_and_write_nothing),
        cmocka_unit_test(reserve_makes_room_that_can_be_written),
        cmocka_unit_test(detach_hands_the_bytes_over),
        cmocka_unit_test(an_empty_buffer_detaches_as_an_empty_string),
        cmocka_unit_test(nothing_is_detached_after_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
