#include "report/jobj.h"

#include "base/json.h"

#include <math.h>

struct jobj jobj_new(void) {
    json_t *json = json_object();
    return (struct jobj){.json = json, .failed = !json};
}

void jobj_put(struct jobj *o, const char *key, json_t *value) {
    if (!value || json_object_set_new(o->json, key, value)) {
        o->failed = true;
    }
}

void jobj_put_str(struct jobj *o, const char *key, const char *s) {
    jobj_put(o, key, s ? json_string(s) : json_null());
}

void jobj_put_num(struct jobj *o, const char *key, double x) {
    jobj_put(o, key, isfinite(x) ? json_real(x) : json_null());
}

void jobj_put_object(struct jobj *o, const char *key, struct jobj child) {
    o->failed = o->failed || child.failed;
    jobj_put(o, key, child.json);
}

void jobj_append(struct jobj *o, json_t *array, struct jobj child) {
    o->failed = o->failed || child.failed;
    if (json_array_append_new(array, child.json)) {
        o->failed = true;
    }
}

int jobj_write(struct jobj *o, const char *what, struct buf *out, struct err *e) {
    int rc = o->failed ? err_set(e, EE_NOMEM, "%s: out of memory", what)
                       : json_write(o->json, out, e);
    json_decref(o->json);
    *o = (struct jobj){0};
    buf_addstr(out, rc ? "" : "\n");
    return rc;
}
