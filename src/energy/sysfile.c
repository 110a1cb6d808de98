#include "energy/sysfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

long sysfile_read(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    size_t len = 0;
    long rc = 0;
    while (len < size - 1) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            rc = -errno;
            break;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    close(fd);
    out[len] = '\0';
    return rc < 0 ? rc : (long)len;
}

long sysfile_read_line(const char *path, char *out, size_t size) {
    long len = sysfile_read(path, out, size);
    while (len > 0 && isspace((unsigned char)out[len - 1])) {
        out[--len] = '\0';
    }
    return len;
}

int sysfile_read_u64(const char *path, uint64_t *out) {
    char text[64] = "";
    long len = sysfile_read_line(path, text, sizeof(text));
    if (len < 0) {
        return (int)len;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (len == 0 || errno != 0 || *end != '\0' || text[0] == '-') {
        return -EINVAL;
    }
    *out = value;
    return 0;
}

int sysfile_read_i64(const char *path, int64_t *out) {
    char text[64] = "";
    long len = sysfile_read_line(path, text, sizeof(text));
    if (len < 0) {
        return (int)len;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (len == 0 || errno != 0 || *end != '\0') {
        return -EINVAL;
    }
    *out = value;
    return 0;
}

bool sysfile_path(char *out, const char *root, const char *dir, const char *file) {
    int len = snprintf(out, SYSFILE_PATH_MAX, "%s%s/%s", root, dir, file);
    return len > 0 && len < SYSFILE_PATH_MAX;
}
