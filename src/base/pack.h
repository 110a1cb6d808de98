/*
 * Bytes as text that takes less room: a zlib stream (RFC 1950) in base64 (RFC 4648) without line
 * breaks. A browser reads it with atob and DecompressionStream("deflate"). Pure; any thread may call.
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

/* Appends len packed bytes to out. Equal bytes give equal text as long as zlib is the same. */
int pack_base64(const void *bytes, size_t len, struct buf *out, struct err *e) EE_MUST_CHECK;

#endif
