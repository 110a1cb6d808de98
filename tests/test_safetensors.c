/* The reader of safetensors files: whole ones, cut off at every place, lying and random ones. */
#include "engine/safetensors.h"

#include "support/scratch.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* A length, the header, and n_data bytes 0, 1, 2, ... Returns the file's length. */
static size_t make(uint8_t *to, const char *header, size_t n_data) {
    uint64_t n = strlen(header);
    for (int i = 0; i < 8; i++) {
        to[i] = (uint8_t)(n >> (8 * i));
    }
    for (size_t i = 0; i < n; i++) {
        to[8 + i] = (uint8_t)header[i];
    }
    for (size_t i = 0; i < n_data; i++) {
        to[8 + n + i] = (uint8_t)i;
    }
    return 8 + n + n_data;
}

static const char *write_file(void **state, const char *header, size_t n_data) {
    uint8_t bytes[4096];
    return scratch_write(*state, "t.safetensors", bytes, make(bytes, header, n_data));
}

static const char two_tensors[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"w\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
    "\"n\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
enum { TWO_TENSORS_BYTES = 16 };

static void a_file_is_read(void **state) {
    struct err e = ERR_INIT;
    struct safetensors *s;
    const char *path = write_file(state, two_tensors, TWO_TENSORS_BYTES);
    OK(safetensors_open(path, &s, &e));
    assert_int_equal(safetensors_count(s), 2);
    assert_string_equal(safetensors_at(s, 0)->name, "n");
    assert_string_equal(safetensors_path(s), path);
    const struct safetensor *w = safetensors_at(s, 1);
    assert_string_equal(w->name, "w");
    assert_string_equal(w->dtype, "BF16");
    assert_int_equal(w->type, GGML_TYPE_BF16);
    assert_int_equal(w->n_dims, 2);
    assert_int_equal(w->shape[0], 2);
    assert_int_equal(w->shape[1], 3);
    assert_int_equal(w->bytes, 12);
    uint8_t part[4];
    const uint8_t expected[4] = {10, 11, 12, 13};
    OK(safetensors_read(s, w, 6, part, sizeof(part), &e));
    assert_memory_equal(part, expected, sizeof(part));
    safetensors_close(s);
    safetensors_close(NULL);
}

static void a_file_without_tensors_is_fine(void **state) {
    struct err e = ERR_INIT;
    struct safetensors *s;
    OK(safetensors_open(write_file(state, "{}", 0), &s, &e));
    assert_int_equal(safetensors_count(s), 0);
    safetensors_close(s);
}

static void a_file_cut_off_anywhere_is_refused(void **state) {
    uint8_t bytes[4096];
    size_t n = make(bytes, two_tensors, TWO_TENSORS_BYTES);
    for (size_t len = 0; len < n; len++) {
        struct err e = ERR_INIT;
        struct safetensors *s;
        const char *path = scratch_write(*state, "cut.safetensors", bytes, len);
        REFUSED_WITH(safetensors_open(path, &s, &e), EE_FORMAT, "cut.safetensors");
        assert_null(s);
    }
}

#define ONE(fields) "{\"w\":{" fields "}}"

static void lies_are_refused_by_name(void **state) {
    static const struct {
        const char *header;
        size_t n_data;
        int code;
        const char *part;
    } cases[] = {
        {"[1]", 0, EE_FORMAT, "the header is no object"},
        {"{\"w\":", 0, EE_FORMAT, "not valid JSON"},
        {"{\"w\":7}", 0, EE_FORMAT, "tensor w has no dtype"},
        {ONE("\"dtype\":\"F7\",\"shape\":[1],\"data_offsets\":[0,4]"), 4, EE_UNSUPPORTED,
         "tensor w has the unknown dtype \"F7\""},
        {ONE("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, EE_FORMAT, "tensor w has no shape"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4,
         EE_FORMAT, "has no shape of at most 8"},
        {ONE("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), 4, EE_FORMAT,
         "impossible shape"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]"), 4, EE_FORMAT,
         "impossible shape"},
        {ONE("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"), 4,
         EE_FORMAT, "impossible shape"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1]"), 4, EE_FORMAT, "no data_offsets [from, to]"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), 4, EE_FORMAT,
         "no data_offsets [from, to]"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]"), 4, EE_FORMAT,
         "no data_offsets [from, to]"},
        {ONE("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 4, EE_FORMAT,
         "tensor w has 4 bytes where its shape needs 8"},
        {ONE("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"), 4, EE_FORMAT,
         "cut off: tensor w ends at byte 8 of 4"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), 8, EE_FORMAT,
         "tensor w leaves a gap before it"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 7, EE_FORMAT,
         "3 bytes at its end belong to no tensor"},
        {"{\"w\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"x\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, EE_FORMAT, "tensor x overlaps the one before it"},
        {"{\"w\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"w\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, EE_FORMAT, "duplicate"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = ERR_INIT;
        struct safetensors *s;
        const char *path = write_file(state, cases[i].header, cases[i].n_data);
        REFUSED_WITH(safetensors_open(path, &s, &e), cases[i].code, cases[i].part);
    }
}

static void a_file_of_something_else_is_refused(void **state) {
    struct err e = ERR_INIT;
    struct safetensors *s;
    const char *path = scratch_write(*state, "g", "GGUF\3\0\0\0aaaaaaaaaaaaaaaa", 24);
    REFUSED_WITH(safetensors_open(path, &s, &e), EE_FORMAT, "is not a safetensors file");
    path = scratch_path(*state, "missing.safetensors");
    REFUSED_WITH(safetensors_open(path, &s, &e), EE_MISSING, "missing.safetensors");
}

/* Damaged bytes are read or refused; what is read lies in the file. */
static void damaged_files_are_survived(void **state) {
    enum { ROUNDS = 2000 };
    uint8_t whole[4096];
    uint8_t bytes[4096];
    size_t n = make(whole, two_tensors, TWO_TENSORS_BYTES);
    struct rng r;
    rng_init_stream(&r, 1, 1);
    int n_read = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct err e = ERR_INIT;
        struct safetensors *s;
        memcpy(bytes, whole, n);
        for (uint64_t flips = 1 + rng_below(&r, 3); flips > 0; flips--) {
            bytes[rng_below(&r, n)] = (uint8_t)rng_below(&r, 256);
        }
        const char *path = scratch_write(*state, "fuzz.safetensors", bytes, n);
        if (safetensors_open(path, &s, &e)) {
            assert_true(e.msg[0]);
            continue;
        }
        for (size_t i = 0; i < safetensors_count(s); i++) {
            const struct safetensor *t = safetensors_at(s, i);
            assert_true(t->offset + t->bytes <= n);
            OK(safetensors_read(s, t, 0, bytes, (size_t)t->bytes, &e));
        }
        safetensors_close(s);
        n_read++;
    }
    assert_in_range(n_read, 1, ROUNDS - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_read, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_file_without_tensors_is_fine, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_file_cut_off_anywhere_is_refused, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(lies_are_refused_by_name, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_file_of_something_else_is_refused, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(damaged_files_are_survived, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
