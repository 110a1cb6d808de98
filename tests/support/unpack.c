#include "support/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <zlib.h>

void unpack_base64(const char *text, size_t len, struct buf *out) {
    unsigned char *packed = malloc(len + 1);
    assert_non_null(packed);
    int n = EVP_DecodeBlock(packed, (const unsigned char *)text, (int)len);
    assert_true(n >= 0);
    for (size_t i = len; i > 0 && text[i - 1] == '='; i--) {
        n--; /* which EVP_DecodeBlock counts as bytes */
    }
    z_stream z = {.next_in = packed, .avail_in = (uInt)n};
    assert_int_equal(inflateInit(&z), Z_OK);
    unsigned char piece[4096];
    int rc = Z_OK;
    while (rc == Z_OK) {
        z.next_out = piece;
        z.avail_out = sizeof(piece);
        rc = inflate(&z, Z_NO_FLUSH);
        buf_add(out, piece, sizeof(piece) - z.avail_out);
    }
    assert_int_equal(rc, Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    inflateEnd(&z);
    free(packed);
    assert_false(out->failed);
}
