/* Known checkpoints: what models.yaml may hold, and where a file of one is looked for. */
#include "lifecycle/models.h"

#include "support/scratch.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/stat.h>

static char shipped[512]; /* the data directory of the project */

static int remember_shipped(void **state) {
    (void)state;
    const char *data = getenv("EDGE_EVAL_DATA");
    snprintf(shipped, sizeof(shipped), "%s", data ? data : "data");
    return 0;
}

static int setup(void **state) {
    static const char *const dirs[] = {"data",          "models", ".cache",
                                       ".cache/models", "own",    "own/models"};
    int rc = scratch_setup(state);
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        rc = rc ? rc : mkdir(scratch_path(*state, dirs[i]), 0755);
    }
    unsetenv("EDGE_EVAL_CACHE");
    return rc;
}

static int load(void **state, const char *yaml, struct arena *a, struct model **m, size_t *n,
                struct err *e) {
    scratch_write(*state, "data/models.yaml", yaml, strlen(yaml));
    return models_load(scratch_path(*state, "data"), a, m, n, e);
}

#define ENTRY "{id: a, family: F, size: 1B, file: a.gguf"

static void an_entry_has_its_fields(void **state) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct model *m = NULL;
    size_t n = 0;
    OK(load(
        state,
        "models:\n"
        "  - {id: a, family: F, size: 1B, params: 5, architecture: llama, license: MIT,\n"
        "     gguf_type: F16, file: a.gguf, bytes: 12345678901, sha256: abc,\n"
        "     sources: [{hub: 'https://example.org/a.gguf'}], note: Mind this.}\n"
        "  - {id: b, family: G, size: 2B, file: b.gguf, license: null, bytes: null, note: null}\n"
        "  - {id: c, family: G, size: 2B, file: c.gguf}\n",
        &a, &m, &n, &e));
    assert_int_equal(n, 3);
    assert_string_equal(m[0].id, "a");
    assert_string_equal(m[0].family, "F");
    assert_string_equal(m[0].size, "1B");
    assert_string_equal(m[0].license, "MIT");
    assert_string_equal(m[0].note, "Mind this.");
    assert_string_equal(m[0].file, "a.gguf");
    assert_int_equal(m[0].bytes, 12345678901);
    assert_null(m[0].path);
    for (size_t i = 1; i < 3; i++) {
        assert_null(m[i].license);
        assert_null(m[i].note);
        assert_int_equal(m[i].bytes, 0);
    }
    arena_release(&a);
}

static void check_found(void **state, const char *where) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct model *m = NULL;
    size_t n = 0;
    OK(load(state, "models: [" ENTRY "}]\n", &a, &m, &n, &e));
    if (where) {
        assert_non_null(m[0].path);
        struct stat found;
        struct stat due;
        assert_int_equal(stat(m[0].path, &found), 0);
        assert_int_equal(stat(scratch_path(*state, where), &due), 0);
        assert_int_equal(found.st_ino, due.st_ino);
    } else {
        assert_null(m[0].path);
    }
    arena_release(&a);
}

static void a_file_is_looked_for_in_one_order(void **state) {
    static const char *const last_to_first[] = {"models/a.gguf", ".cache/models/a.gguf",
                                                "own/models/a.gguf"};
    check_found(state, NULL);
    setenv("EDGE_EVAL_CACHE", scratch_path(*state, "own"), 1);
    check_found(state, NULL);
    for (size_t i = 0; i < sizeof(last_to_first) / sizeof(last_to_first[0]); i++) {
        scratch_write(*state, last_to_first[i], "x", 1);
        check_found(state, last_to_first[i]);
    }
    unsetenv("EDGE_EVAL_CACHE");
    check_found(state, ".cache/models/a.gguf");
}

static void mistakes_are_named_with_their_place(void **state) {
    static const struct {
        const char *yaml;
        const char *msg; /* after the file's name */
    } rows[] = {
        {"models: {a: b}\n", ":1:1: \"models\" should be a list"},
        {"model: []\n", ":1:1: \"models\" should be a list"},
        {"models: [a]\n",
         ":1:10: a model should be a mapping (key: value); allowed: id, family, size, "
         "params, architecture, license, file, bytes, sha256, sources, note, gguf_type"},
        {"models: [" ENTRY ", url: x}]\n",
         ":1:53: unknown key \"url\" in a model; allowed: id, family, size, params, architecture, "
         "license, file, bytes, sha256, sources, note, gguf_type"},
        {"models: [{id: a, family: F, size: 1B}]\n",
         ":1:10: a model needs id, family, size and file"},
        {"models:\n  - " ENTRY "}\n  - {family: F, size: 1B, file: f}\n",
         ":3:5: a model needs id, family, size and file"},
        {"models: [" ENTRY ", bytes: many}]\n",
         ":1:60: bytes is \"many\"; it should be a whole number from 0 to 9223372036854775807"},
        {"models: [" ENTRY ", note: [x]}]\n", ":1:59: note should be text and is a list"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct arena a = ARENA_INIT;
        struct model *m = (struct model *)&e;
        size_t n = 1;
        struct buf msg;
        buf_init(&msg);
        buf_addf(&msg, "%s%s", scratch_path(*state, "data/models.yaml"), rows[i].msg);
        REFUSED(load(state, rows[i].yaml, &a, &m, &n, &e), EE_FORMAT, msg.data);
        assert_null(m);
        assert_int_equal(n, 0);
        buf_release(&msg);
        arena_release(&a);
    }
}

static void the_shipped_list_is_whole(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct model *m = NULL;
    size_t n = 0;
    OK(models_load(shipped, &a, &m, &n, &e));
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(m[i].license);
        assert_non_null(strstr(m[i].file, ".gguf"));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(m[i].id, m[k].id);
            assert_string_not_equal(m[i].file, m[k].file);
        }
    }
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entry_has_its_fields, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_file_is_looked_for_in_one_order, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(mistakes_are_named_with_their_place, setup,
                                        scratch_teardown),
        cmocka_unit_test(the_shipped_list_is_whole),
    };
    return cmocka_run_group_tests(tests, remember_shipped, NULL);
}
