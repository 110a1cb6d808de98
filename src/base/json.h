/*
 * Typed access to JSON (jansson) with errors that name the key and what was found.
 * Returned strings and members are borrowed from the object.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

/* Parses one document; what names the source in errors. *out is owned by the caller. */
int json_parse(const char *text, size_t len, const char *what, json_t **out,
               struct err *e) EE_MUST_CHECK;
int json_parse_file(const char *path, json_t **out, struct err *e) EE_MUST_CHECK;
/* Compact single-line text, keys in insertion order, appended to out. */
int json_write(const json_t *value, struct buf *out, struct err *e) EE_MUST_CHECK;

int json_want_str(const json_t *obj, const char *key, const char **out,
                  struct err *e) EE_MUST_CHECK;
int json_want_int(const json_t *obj, const char *key, int64_t *out, struct err *e) EE_MUST_CHECK;
int json_want_num(const json_t *obj, const char *key, double *out, struct err *e) EE_MUST_CHECK;

/* The member's value, or the fallback where it is absent, null or of another type. */
const char *json_str_or(const json_t *obj, const char *key, const char *fallback);
int64_t json_int_or(const json_t *obj, const char *key, int64_t fallback);
double json_num_or(const json_t *obj, const char *key, double fallback);

#endif
