/*
 * Reads the golden files under tests/goldens: JSON lines, the first of which is
 * {"origin": {package, version, script, date, ...}}. Any problem fails the running test.
 */
#ifndef TESTS_SUPPORT_GOLDENS_H
#define TESTS_SUPPORT_GOLDENS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef void golden_fn(const json_t *golden, void *ctx);

/* A path inside the repository; EDGE_EVAL_SOURCE_DIR says where that is, "." without it. The
 * caller frees it. */
char *source_path(const char *relative);
/* Calls each for every golden of tests/goldens/NAME; returns how many there were. */
size_t goldens_each(const char *name, golden_fn *each, void *ctx);
/* Strings and numbers of a golden; the test fails where there is none. */
const char *golden_str(const json_t *golden, const char *key);
double golden_num(const json_t *value);
/* Fails the test, showing the golden, unless got is within 1e-12 of want. */
void golden_check_num(const json_t *golden, const char *what, double got, double want);
void golden_check_str(const json_t *golden, const char *what, const char *got, const char *want);

#endif
