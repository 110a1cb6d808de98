/*
 * Inside src/report: JSON objects that are filled key by key. One failed allocation marks the
 * object and all above it; whoever writes the document asks once, with jobj_write.
 */
#ifndef REPORT_JOBJ_H
#define REPORT_JOBJ_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

struct jobj {
    json_t *json;
    bool failed;
};

struct jobj jobj_new(void);
/* Takes over value. */
void jobj_put(struct jobj *o, const char *key, json_t *value);
/* NULL becomes null. */
void jobj_put_str(struct jobj *o, const char *key, const char *s);
/* JSON has neither NAN nor infinity: both are null, and the caller says which it was. */
void jobj_put_num(struct jobj *o, const char *key, double x);
/* Takes over child. */
void jobj_put_object(struct jobj *o, const char *key, struct jobj child);
/* Appends child, which it takes over, to an array that will be part of o. */
void jobj_append(struct jobj *o, json_t *array, struct jobj child);
/* Appends the document and a newline to out; what names it in errors. Frees the object. */
int jobj_write(struct jobj *o, const char *what, struct buf *out, struct err *e) EE_MUST_CHECK;

#endif
