/*
 * Text for people and for files: numbers, cells, escapes. Everything appends to a buffer, whose
 * owner checks it once. Strings are UTF-8 that has passed fmt_utf8. Pure; any thread may call.
 */
#ifndef REPORT_FMT_H
#define REPORT_FMT_H

#include "base/arena.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * s as valid UTF-8 without control characters: bytes of neither kind become U+FFFD, so that no
 * stored text can move a cursor or break a JSON file. Newlines and tabs stay. NULL stays NULL, and
 * is also the answer when memory is out.
 */
const char *fmt_utf8(struct arena *a, const char *s);

/* Three significant digits, more where the integer part has them, none after the point of a whole
 * number: 0.0196, 21.3, 20, 6930, 1.2e+07. */
void fmt_num(struct buf *out, double x);
/* 17 significant digits: the double itself. "inf" for infinity, nothing for NAN. */
void fmt_full(struct buf *out, double x);
/* "94.3 MB" (powers of 1000). */
void fmt_bytes(struct buf *out, double bytes);

/* Terminal columns of s; newlines and tabs count as one. */
size_t fmt_columns(const char *s);
/* s in exactly width columns: padded with spaces, or cut with an ellipsis. One line. */
void fmt_cell(struct buf *out, const char *s, size_t width, bool right);
/*
 * s as lines of at most width columns, broken at spaces where possible; the first line is preceded
 * by first, the others by the same number of spaces.
 */
void fmt_wrap(struct buf *out, const char *first, const char *s, size_t width);
/* The same; a text that failed for want of memory fails out as well, so that one check is enough. */
void fmt_wrap_buf(struct buf *out, const char *first, const struct buf *text, size_t width);

/* One RFC 4180 field: quoted only where it must be. NULL is an empty field. */
void fmt_csv(struct buf *out, const char *s);
/* For element content and quoted attribute values. NULL writes nothing. */
void fmt_html(struct buf *out, const char *s);
/* For a cell of a GitHub-flavoured table, where no markup may take effect. */
void fmt_md(struct buf *out, const char *s);

#endif
