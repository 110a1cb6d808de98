#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

static void to_hex(XXH128_hash_t h, char hex[HASH_HEX_SIZE]) {
    snprintf(hex, HASH_HEX_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)h.high64,
             (uint64_t)h.low64);
}

void hash_bytes(const void *bytes, size_t len, char hex[HASH_HEX_SIZE]) {
    to_hex(XXH3_128bits(bytes, len), hex);
}

int hash_file(const char *path, char hex[HASH_HEX_SIZE], struct err *e) {
    enum { CHUNK_BYTES = 1 << 20 };
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(e, errno, "cannot open %s", path);
    }
    unsigned char *chunk = malloc(CHUNK_BYTES);
    XXH3_state_t *state = XXH3_createState();
    if (!chunk || !state) {
        rc = err_set(e, EE_NOMEM, "hashing %s: out of memory", path);
        goto out;
    }
    XXH3_128bits_reset(state);
    for (;;) {
        ssize_t n = read(fd, chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            rc = err_errno(e, errno, "cannot read %s", path);
            goto out;
        }
        if (n == 0) {
            break;
        }
        XXH3_128bits_update(state, chunk, (size_t)n);
    }
    to_hex(XXH3_128bits_digest(state), hex);
out:
    XXH3_freeState(state);
    free(chunk);
    close(fd);
    return rc;
}
