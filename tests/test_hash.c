/* Content hashes against another binding of XXH3, from memory and from files alike. */
#include "base/hash.h"

#include "support/goldens.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* The bytes that scripts/goldens/make_base_goldens.py hashed; the caller frees them. */
static unsigned char *pattern(size_t n) {
    unsigned char *bytes = malloc(n + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(i * 167 + (i >> 8) * 13);
    }
    return bytes;
}

static void check_golden(const json_t *golden, void *ctx) {
    struct err e = ERR_INIT;
    size_t n = (size_t)golden_num(json_object_get(golden, "len"));
    unsigned char *bytes = pattern(n);
    char hex[HASH_HEX_SIZE];
    hash_bytes(bytes, n, hex);
    golden_check_str(golden, "hash of bytes", hex, golden_str(golden, "hash"));
    memset(hex, 0, sizeof(hex));
    OK(hash_file(scratch_write(ctx, "f", bytes, n), hex, &e));
    golden_check_str(golden, "hash of a file", hex, golden_str(golden, "hash"));
    free(bytes);
}

static void hashes_are_those_of_the_reference(void **state) {
    assert_int_equal(goldens_each("base/hash.jsonl", check_golden, *state), 35);
}

static void one_bit_changes_the_hash(void **state) {
    (void)state;
    enum { N = 300 };
    unsigned char *bytes = pattern(N);
    char before[HASH_HEX_SIZE];
    char after[HASH_HEX_SIZE];
    hash_bytes(bytes, N, before);
    for (size_t i = 0; i < N; i++) {
        bytes[i] ^= 1;
        hash_bytes(bytes, N, after);
        assert_string_not_equal(before, after);
        bytes[i] ^= 1;
    }
    hash_bytes(bytes, N, after);
    assert_string_equal(before, after);
    free(bytes);
}

static void a_file_that_cannot_be_read_is_named(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    char hex[HASH_HEX_SIZE];
    REFUSED_WITH(hash_file(scratch_path(s, "none"), hex, &e), EE_MISSING, "/none: No such file");
    REFUSED_WITH(hash_file(s->dir, hex, &e), EE_IO, s->dir);
    scratch_be_nobody();
    const char *secret = "/proc/1/mem";
    int rc = hash_file(secret, hex, &e);
    scratch_be_root();
    REFUSED_WITH(rc, EE_PERM, "cannot open /proc/1/mem");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hashes_are_those_of_the_reference, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(one_bit_changes_the_hash),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_is_named, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
