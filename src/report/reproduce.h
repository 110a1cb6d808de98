/*
 * The 72 published variants recomputed from their published measurements, and the paper's claims
 * beside them. CSV for programs, with every digit; text for people; JSON for both.
 */
#ifndef REPORT_REPRODUCE_H
#define REPORT_REPRODUCE_H

#include "base/buf.h"
#include "base/err.h"

/* "text", "csv", "json", ended by NULL. */
extern const char *const reproduce_format_names[];

/* Appends the recomputation to out. data_dir holds reference/. */
int reproduce_format(const char *data_dir, const char *format, struct buf *out,
                     struct err *e) EE_MUST_CHECK;

#endif
