#include "base/json.h"

#include "base/fs.h"

#include <stdlib.h>

int json_parse(const char *text, size_t len, const char *what, json_t **out, struct err *e) {
    json_error_t je;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    /* jansson has no words for most of its failed allocations. */
    if (!*out && (!je.text[0] || json_error_code(&je) == json_error_out_of_memory)) {
        return err_set(e, EE_NOMEM, "%s: out of memory", what);
    }
    if (!*out) {
        return err_set(e, EE_FORMAT, "%s:%d:%d: not valid JSON: %s", what, je.line, je.column,
                       je.text);
    }
    return 0;
}

int json_parse_file(const char *path, json_t **out, struct err *e) {
    struct buf b;
    buf_init(&b);
    *out = NULL;
    int rc = fs_read(path, &b, e);
    if (!rc) {
        rc = json_parse(b.data, b.len, path, out, e);
    }
    buf_release(&b);
    return rc;
}

static int append_bytes(const char *bytes, size_t len, void *out) {
    buf_add(out, bytes, len);
    return 0;
}

int json_write(const json_t *value, struct buf *out, struct err *e) {
    if (json_dump_callback(value, append_bytes, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0) {
        return err_set(e, EE_FORMAT,
                       "a value cannot be written as JSON (NaN, infinity, text that is "
                       "not UTF-8, or no memory)");
    }
    return buf_check(out, "JSON", e);
}

static const char *type_name(const json_t *v) {
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};
    return v ? names[json_typeof(v)] : "absent";
}

int json_want_str(const json_t *obj, const char *key, const char **out, struct err *e) {
    const json_t *v = json_object_get(obj, key);
    if (!json_is_string(v)) {
        return err_set(e, EE_FORMAT, "\"%s\" should be a string and is %s", key, type_name(v));
    }
    *out = json_string_value(v);
    return 0;
}

int json_want_int(const json_t *obj, const char *key, int64_t *out, struct err *e) {
    const json_t *v = json_object_get(obj, key);
    if (!json_is_integer(v)) {
        return err_set(e, EE_FORMAT, "\"%s\" should be an integer and is %s", key, type_name(v));
    }
    *out = (int64_t)json_integer_value(v);
    return 0;
}

int json_want_num(const json_t *obj, const char *key, double *out, struct err *e) {
    const json_t *v = json_object_get(obj, key);
    if (!json_is_number(v)) {
        return err_set(e, EE_FORMAT, "\"%s\" should be a number and is %s", key, type_name(v));
    }
    *out = json_number_value(v);
    return 0;
}

const char *json_str_or(const json_t *obj, const char *key, const char *fallback) {
    const json_t *v = json_object_get(obj, key);
    return json_is_string(v) ? json_string_value(v) : fallback;
}

int64_t json_int_or(const json_t *obj, const char *key, int64_t fallback) {
    const json_t *v = json_object_get(obj, key);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : fallback;
}

double json_num_or(const json_t *obj, const char *key, double fallback) {
    const json_t *v = json_object_get(obj, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}
