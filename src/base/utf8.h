/* UTF-8 as bytes from outside need it: checked, and repaired where they must be shown. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Length of the valid sequence that starts at s (1 to 4), 0 when there is none. */
size_t utf8_sequence_len(const char *s, size_t len);
bool utf8_is_valid(const char *s, size_t len);
/* Appends s with each byte that belongs to no valid sequence replaced by U+FFFD. */
void utf8_add_repaired(struct buf *out, const char *s, size_t len);

#endif
