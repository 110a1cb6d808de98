#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int fs_read(const char *path, struct buf *out, struct err *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(e, errno, "cannot open %s", path);
    }
    int rc = 0;
    for (;;) {
        if (!buf_reserve(out, 16 * 1024)) {
            rc = buf_check(out, path, e);
            break;
        }
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            rc = err_errno(e, errno, "cannot read %s", path);
            break;
        }
        if (n == 0) {
            break;
        }
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    close(fd);
    return rc;
}

static int write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int fs_write_atomic(const char *path, const void *bytes, size_t len, struct err *e) {
    struct buf tmp;
    buf_init(&tmp);
    buf_addf(&tmp, "%s.tmp.%ld", path, (long)getpid());
    int rc = buf_check(&tmp, path, e);
    if (rc) {
        goto out;
    }
    int fd = open(tmp.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        rc = err_errno(e, errno, "cannot create %s", tmp.data);
        goto out;
    }
    int errnum = write_all(fd, bytes, len);
    if (!errnum && fsync(fd) != 0) {
        errnum = errno;
    }
    if (close(fd) != 0 && !errnum) {
        errnum = errno;
    }
    if (!errnum && rename(tmp.data, path) != 0) {
        errnum = errno;
    }
    if (errnum) {
        unlink(tmp.data);
        rc = err_errno(e, errnum, "cannot write %s", path);
    }
out:
    buf_release(&tmp);
    return rc;
}

int fs_mkdirs(const char *path, struct err *e) {
    char partial[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(partial)) {
        return err_set(e, EE_USAGE, "directory name is %s", len ? "too long" : "empty");
    }
    for (size_t i = 1; i <= len; i++) {
        if (i < len && path[i] != '/') {
            continue;
        }
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST) {
            return err_errno(e, errno, "cannot create directory %s", partial);
        }
    }
    struct stat st;
    if (stat(path, &st) != 0) {
        return err_errno(e, errno, "cannot create directory %s", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return err_set(e, EE_IO, "%s exists and is not a directory", path);
    }
    return 0;
}

bool fs_exists(const char *path) {
    return access(path, F_OK) == 0;
}

int fs_size(const char *path, uint64_t *bytes, struct err *e) {
    struct stat st;
    if (stat(path, &st) != 0) {
        return err_errno(e, errno, "cannot read %s", path);
    }
    *bytes = (uint64_t)st.st_size;
    return 0;
}

int fs_free_bytes(const char *path, uint64_t *bytes, struct err *e) {
    struct statvfs vfs;
    if (statvfs(path, &vfs) != 0) {
        return err_errno(e, errno, "cannot ask for free space at %s", path);
    }
    *bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return 0;
}

char *fs_join(const char *dir, const char *name) {
    if (name[0] == '/') {
        return strdup(name);
    }
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, dir);
    if (b.len > 0 && b.data[b.len - 1] != '/') {
        buf_addch(&b, '/');
    }
    buf_addstr(&b, name);
    return buf_detach(&b);
}

char *fs_dirname(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

const char *fs_basename(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *fs_exe_path(void) {
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    return n > 0 ? strndup(path, (size_t)n) : NULL;
}
