/*
 * 128-bit content hashes (XXH3) as 32 hexadecimal digits. Fast identity, not a signature: they
 * tell equal inputs apart from changed ones, and say nothing about tampering.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/err.h"

#include <stddef.h>

enum { HASH_HEX_SIZE = 33 };

void hash_bytes(const void *bytes, size_t len, char hex[HASH_HEX_SIZE]);
int hash_file(const char *path, char hex[HASH_HEX_SIZE], struct err *e) EE_MUST_CHECK;

#endif
