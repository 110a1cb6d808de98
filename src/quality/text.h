/*
 * Unicode text as Python's str sees it, because the reference implementations of the scores are
 * Python programs and a score that differs in its whitespace is a different score.
 *
 * Text is UTF-8 with a length. A model may stop in the middle of a character, so ill-formed bytes
 * are no error here: each maximal ill-formed part counts as U+FFFD, as in Python's
 * bytes.decode("utf-8", "replace"). Pure functions; any thread may call.
 */
#ifndef QUALITY_TEXT_H
#define QUALITY_TEXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_ILL_FORMED = -1 };

/* Decodes the first character of s; len > 0. Returns the bytes it took, at least 1. */
size_t text_decode(const char *s, size_t len, int32_t *cp);
/* Appends cp as UTF-8. */
void text_encode(int32_t cp, struct buf *out);
/* True when s is well-formed; else *bad_at is the offset of the first wrong byte. */
bool text_is_utf8(const char *s, size_t len, size_t *bad_at);

/* str.isspace() of one character. */
bool text_is_space(int32_t cp);
/* \w of Python's re: letters, numbers, underscore; not combining marks. */
bool text_is_word(int32_t cp);

/* Appends str.lower() of s to out: full mapping, with the final sigma. */
void text_lower(const char *s, size_t len, struct buf *out);
/* str.strip(): returns the first byte that stays and sets *len to how many do. */
const char *text_trim(const char *s, size_t *len);
/* Whether nothing would stay. */
bool text_is_blank(const char *s);

#endif
