/* What pack_base64 made, as a browser would read it. */
#ifndef SUPPORT_UNPACK_H
#define SUPPORT_UNPACK_H

#include "base/buf.h"

#include <stddef.h>

/* Appends the bytes that len characters of packed text hold; fails the test where they hold none. */
void unpack_base64(const char *text, size_t len, struct buf *out);

#endif
