#include "goldens.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

char *source_path(const char *relative) {
    const char *root = getenv("EDGE_EVAL_SOURCE_DIR");
    char *path = fs_join(root ? root : ".", relative);
    assert_non_null(path);
    return path;
}

static void check_origin(const json_t *first) {
    static const char *const keys[] = {"package", "version", "script", "date"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        golden_str(json_object_get(first, "origin"), keys[i]);
    }
}

size_t goldens_each(const char *name, golden_fn *each, void *ctx) {
    char *dir = source_path("tests/goldens");
    char *path = fs_join(dir, name);
    struct buf file;
    buf_init(&file);
    struct err e = ERR_INIT;
    if (fs_read(path, &file, &e)) {
        fail_msg("%s", e.msg);
    }
    size_t n = 0;
    char *rest = NULL;
    for (char *line = strtok_r(file.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *golden;
        if (json_parse(line, strlen(line), path, &golden, &e)) {
            fail_msg("%s", e.msg);
        }
        if (n++ == 0) {
            check_origin(golden);
        } else {
            each(golden, ctx);
        }
        json_decref(golden);
    }
    buf_release(&file);
    free(path);
    free(dir);
    return n ? n - 1 : 0;
}

const char *golden_str(const json_t *golden, const char *key) {
    const char *s = json_string_value(json_object_get(golden, key));
    if (!s) {
        fail_msg("a golden has no string \"%s\"", key);
    }
    return s;
}

double golden_num(const json_t *value) {
    if (!json_is_number(value)) {
        fail_msg("a golden has no number where one is due");
    }
    return json_number_value(value);
}

static void fail_golden(const json_t *golden, const char *what, const char *got, const char *want) {
    char *text = json_dumps(golden, JSON_COMPACT);
    fail_msg("%s is %s, the reference has %s, for %.2000s", what, got, want, text ? text : "?");
    free(text);
}

void golden_check_num(const json_t *golden, const char *what, double got, double want) {
    if (!(fabs(got - want) <= 1e-12)) {
        struct buf g;
        struct buf w;
        buf_init(&g);
        buf_init(&w);
        buf_addf(&g, "%.17g", got);
        buf_addf(&w, "%.17g", want);
        fail_golden(golden, what, g.data, w.data);
        buf_release(&g);
        buf_release(&w);
    }
}

void golden_check_str(const json_t *golden, const char *what, const char *got, const char *want) {
    if (strcmp(got, want) != 0) {
        fail_golden(golden, what, got, want);
    }
}
