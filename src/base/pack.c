#include "base/pack.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <zlib.h>

int pack_base64(const void *bytes, size_t len, struct buf *out, struct err *e) {
    uLongf n = compressBound((uLong)len);
    if (n > INT_MAX / 2) { /* what EVP_EncodeBlock can count */
        return err_set(e, EE_UNSUPPORTED, "%zu bytes are too many to be packed as one", len);
    }
    unsigned char *packed = malloc(n);
    int rc = 0;
    if (!packed || compress2(packed, &n, bytes, (uLong)len, Z_BEST_COMPRESSION) != Z_OK) {
        rc = err_set(e, EE_NOMEM, "out of memory while packing %zu bytes", len);
    } else if (buf_reserve(out, 4 * ((n + 2) / 3))) {
        unsigned char *end = (unsigned char *)out->data + out->len;
        out->len += (size_t)EVP_EncodeBlock(end, packed, (int)n);
    }
    free(packed);
    return rc ? rc : buf_check(out, "packed bytes", e);
}
