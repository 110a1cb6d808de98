/*
 * The file a benchmark's raw records are kept in: every timestamp and every event of every request,
 * so that figures can be computed again under other definitions. Little-endian:
 *   "EEBENCH1", u64 length and bytes of a JSON document (settings and results), u64 requests; for
 *   each request its record (raw.c has the fields) and its event log; "EEBEND.1".
 */
#ifndef SERVE_RAW_H
#define SERVE_RAW_H

#include "serve/load.h"

#include <jansson.h>

/* Writes beside path, syncs, renames. */
int raw_write(const char *path, const json_t *document, const struct load_result *load,
              struct err *e) EE_MUST_CHECK;
/*
 * Reads a file back; load_result_release frees. *document is the caller's. A damaged file is
 * EE_FORMAT.
 */
int raw_read(const char *path, json_t **document, struct load_result *load,
             struct err *e) EE_MUST_CHECK;

#endif
