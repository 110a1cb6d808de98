#include "adapt/gguf_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int gguf_out_write(struct gguf_out *o, const void *bytes, size_t len, struct err *e) {
    const char *p = bytes;
    o->at += len;
    while (len > 0) {
        ssize_t n = write(o->fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_errno(e, errno, "cannot write %s", o->path);
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int gguf_out_reserve(struct gguf_out *o, size_t len, size_t *offset, struct err *e) {
    off_t end = lseek(o->fd, (off_t)len, SEEK_CUR);
    if (end < 0) {
        return err_errno(e, errno, "cannot write %s", o->path);
    }
    o->at += len;
    *offset = (size_t)end - len;
    return 0;
}

int gguf_out_write_at(const struct gguf_out *o, const void *bytes, size_t len, size_t offset) {
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(o->fd, (const char *)bytes + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int gguf_out_pad(struct gguf_out *o, struct err *e) {
    static const char zeros[GGUF_DEFAULT_ALIGNMENT];
    size_t over = o->at % GGUF_DEFAULT_ALIGNMENT;
    int rc = over ? gguf_out_write(o, zeros, GGUF_DEFAULT_ALIGNMENT - over, e) : 0;
    o->at = 0;
    return rc;
}

static int write_header(struct gguf_out *o, const struct gguf_context *g, struct err *e) {
    size_t size = gguf_get_meta_size(g);
    void *header = malloc(size);
    if (!header) {
        return err_set(e, EE_NOMEM, "%s: out of memory", o->path);
    }
    gguf_get_meta_data(g, header);
    int rc = gguf_out_write(o, header, size, e);
    free(header);
    o->at = 0; /* the header is padded already */
    return rc;
}

int gguf_out_begin(struct gguf_out *o, const char *path, const struct gguf_context *g,
                   struct err *e) {
    *o = (struct gguf_out){.path = path, .fd = -1};
    buf_init(&o->part);
    buf_addf(&o->part, "%s.part.%ld", path, (long)getpid());
    int rc = buf_check(&o->part, path, e);
    if (!rc) {
        o->fd = open(o->part.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        rc = o->fd >= 0 ? 0 : err_errno(e, errno, "cannot create %s", path);
    }
    rc = rc ? rc : write_header(o, g, e);
    if (rc) {
        gguf_out_abandon(o);
    }
    return rc;
}

int gguf_out_commit(struct gguf_out *o, struct err *e) {
    int rc = fsync(o->fd) == 0 ? 0 : err_errno(e, errno, "cannot write %s", o->path);
    if (close(o->fd) != 0 && !rc) {
        rc = err_errno(e, errno, "cannot write %s", o->path);
    }
    o->fd = -1;
    if (!rc && rename(o->part.data, o->path) != 0) {
        rc = err_errno(e, errno, "cannot create %s", o->path);
    }
    if (rc) {
        gguf_out_abandon(o);
    } else {
        buf_release(&o->part);
    }
    return rc;
}

void gguf_out_abandon(struct gguf_out *o) {
    if (o->fd >= 0) {
        close(o->fd);
    }
    o->fd = -1;
    if (o->part.len) {
        unlink(o->part.data);
    }
    buf_release(&o->part);
}
