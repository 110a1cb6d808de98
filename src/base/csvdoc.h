/*
 * CSV documents (RFC 4180: commas, optional double quotes, LF or CRLF) with a header line, read
 * with errors that name file and line. Columns are found by name, so their order means nothing.
 *
 * A struct csvdoc owns everything; strings borrowed from it live until csvdoc_free. Cells are
 * given without the spaces around them. Blank lines are skipped. Refused as a whole: a file
 * without a header, a column without a name or named twice, a quote that is never closed, text
 * that is not UTF-8, a NUL. A row with too few or too many cells is there and tells its length:
 * its reader decides.
 */
#ifndef BASE_CSVDOC_H
#define BASE_CSVDOC_H

#include "base/err.h"

#include <stddef.h>

struct csvdoc;

int csvdoc_load_file(const char *path, struct csvdoc **out, struct err *e) EE_MUST_CHECK;
/* name stands for the file in messages. */
int csvdoc_load_bytes(const char *text, size_t len, const char *name, struct csvdoc **out,
                      struct err *e) EE_MUST_CHECK;
void csvdoc_free(struct csvdoc *doc);

const char *csvdoc_name(const struct csvdoc *doc);
size_t csvdoc_n_columns(const struct csvdoc *doc);
/* The name of a column; column < csvdoc_n_columns. */
const char *csvdoc_column(const struct csvdoc *doc, size_t column);
/* The column of that name, -1 when there is none. */
int csvdoc_find(const struct csvdoc *doc, const char *column);

/* Rows below the header. */
size_t csvdoc_n_rows(const struct csvdoc *doc);
/* The line of the file, from 1, on which a row starts. */
size_t csvdoc_line(const struct csvdoc *doc, size_t row);
/* How many cells the row has: csvdoc_n_columns unless the row is broken. */
size_t csvdoc_row_len(const struct csvdoc *doc, size_t row);
/* A cell; "" where the row ends before it or column is -1. */
const char *csvdoc_cell(const struct csvdoc *doc, size_t row, int column);
/*
 * A cell as a decimal number. Refused with "file:line: column NAME ...": an empty cell, text, an
 * infinity, a NaN.
 */
int csvdoc_num(const struct csvdoc *doc, size_t row, int column, double *out,
               struct err *e) EE_MUST_CHECK;

#endif
