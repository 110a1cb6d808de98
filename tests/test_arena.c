/* The arena: every piece zeroed, aligned, its own, and gone at once. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void check_zeroed(const unsigned char *p, size_t size) {
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(p[i], 0);
    }
}

static void pieces_of_every_size_are_aligned_zeroed_and_apart(void **state) {
    (void)state;
    enum { N = 600 };
    static unsigned char *pieces[N];
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < N; i++) {
        pieces[i] = arena_alloc(&a, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        check_zeroed(pieces[i], i);
        memset(pieces[i], (int)(i % 251) + 1, i);
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_int_equal(pieces[i][k], i % 251 + 1);
        }
    }
    arena_release(&a);
    assert_null(a.head);
}

/* Blocks hold 16 KiB: sizes around that must neither run over nor be refused. */
static void pieces_around_and_above_a_block_fit(void **state) {
    (void)state;
    static const size_t sizes[] = {16383, 16384, 16385, 16400, 1, 16384, 5000000, 3, 32768};
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *p = arena_alloc(&a, sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        check_zeroed(p, sizes[i]);
        memset(p, 0xff, sizes[i]);
    }
    arena_release(&a);
}

/* Memory from a released arena is not clean; the next owner must not see it. */
static void a_new_arena_does_not_show_the_old_ones_bytes(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct arena a = ARENA_INIT;
        for (int i = 0; i < 20; i++) {
            unsigned char *p = arena_alloc(&a, 10000);
            assert_non_null(p);
            check_zeroed(p, 10000);
            memset(p, 0xee, 10000);
        }
        arena_release(&a);
    }
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    struct arena a = ARENA_INIT;
    char *kept = arena_strdup(&a, "kept");
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    assert_null(arena_alloc(&a, SIZE_MAX - 40));
    assert_null(arena_array(&a, SIZE_MAX / 8 + 1, 8));
    assert_null(arena_array(&a, SIZE_MAX, SIZE_MAX));
    assert_null(arena_array(&a, 2, SIZE_MAX / 2 + 1));
    assert_true(a.failed);
    assert_string_equal(kept, "kept");
    assert_string_equal(arena_strdup(&a, "still works"), "still works");
    assert_true(a.failed); /* until release: one look at the end is enough */
    arena_release(&a);
    assert_false(a.failed);
}

static void an_array_of_nothing_is_no_failure(void **state) {
    (void)state;
    struct arena a = ARENA_INIT;
    assert_non_null(arena_array(&a, 0, 8));
    assert_non_null(arena_array(&a, 8, 0));
    assert_non_null(arena_array(&a, 0, 0));
    int64_t *numbers = arena_array(&a, 1000, sizeof(*numbers));
    assert_non_null(numbers);
    check_zeroed((const unsigned char *)numbers, 1000 * sizeof(*numbers));
    assert_false(a.failed);
    arena_release(&a);
}

static void strings_are_copies_with_an_end(void **state) {
    (void)state;
    char text[] = "hello, world";
    struct arena a = ARENA_INIT;
    char *whole = arena_strdup(&a, text);
    char *part = arena_strndup(&a, text, 5);
    char *none = arena_strndup(&a, text, 0);
    char *exact = arena_strndup(&a, text, 12);
    char *with_nul = arena_strndup(&a, "a\0b", 3);
    text[0] = 'J';
    assert_string_equal(whole, "hello, world");
    assert_string_equal(part, "hello");
    assert_string_equal(none, "");
    assert_string_equal(exact, "hello, world");
    assert_memory_equal(with_nul, "a\0b", 4);
    arena_release(&a);
}

static void releasing_twice_and_reusing_is_fine(void **state) {
    (void)state;
    struct arena a = ARENA_INIT;
    arena_release(&a);
    assert_non_null(arena_alloc(&a, 10));
    arena_release(&a);
    arena_release(&a);
    assert_string_equal(arena_strdup(&a, "again"), "again");
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_every_size_are_aligned_zeroed_and_apart),
        cmocka_unit_test(pieces_around_and_above_a_block_fit),
        cmocka_unit_test(a_new_arena_does_not_show_the_old_ones_bytes),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(an_array_of_nothing_is_no_failure),
        cmocka_unit_test(strings_are_copies_with_an_end),
        cmocka_unit_test(releasing_twice_and_reusing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
