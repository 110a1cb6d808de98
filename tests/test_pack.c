/* Packed bytes come back as they were, whatever they are. */
#include "base/pack.h"

#include "support/scratch.h"
#include "support/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void check_round_trip(const char *bytes, size_t len) {
    struct err e = ERR_INIT;
    struct buf packed;
    struct buf back;
    buf_init(&packed);
    buf_init(&back);
    buf_addstr(&packed, "before ");
    OK(pack_base64(bytes, len, &packed, &e));
    assert_memory_equal(packed.data, "before ", 7);
    assert_int_equal(packed.data[packed.len], '\0');
    assert_int_equal(strlen(packed.data), packed.len);
    assert_int_equal(strspn(packed.data + 7, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                             "0123456789+/="),
                     packed.len - 7);
    unpack_base64(packed.data + 7, packed.len - 7, &back);
    assert_int_equal(back.len, len);
    assert_memory_equal(back.data, bytes, len);
    buf_release(&back);
    buf_release(&packed);
}

static void every_length_comes_back(void **state) {
    (void)state;
    char bytes[700];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)(i * 167 + (i >> 3) * 13); /* NUL and bytes that are not UTF-8 too */
    }
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        check_round_trip(bytes, len);
    }
}

static void what_repeats_takes_less_room(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf text;
    struct buf packed;
    buf_init(&text);
    buf_init(&packed);
    for (int i = 0; i < 20000; i++) {
        buf_addf(&text, "[%d,null,\"modelled\"],", i % 10);
    }
    check_round_trip(text.data, text.len);
    OK(pack_base64(text.data, text.len, &packed, &e));
    assert_true(packed.len < text.len / 50);
    buf_release(&packed);
    buf_release(&text);
}

static void a_full_buffer_is_an_error(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf packed;
    buf_init_max(&packed, 4);
    assert_int_equal(pack_base64("some bytes", 10, &packed, &e), EE_NOMEM);
    buf_release(&packed);
}

static void too_much_is_refused(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf packed;
    buf_init(&packed);
    assert_int_equal(pack_base64("", (size_t)1 << 32, &packed, &e), EE_UNSUPPORTED);
    assert_int_equal(packed.len, 0);
    buf_release(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(what_repeats_takes_less_room),
        cmocka_unit_test(a_full_buffer_is_an_error),
        cmocka_unit_test(too_much_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
