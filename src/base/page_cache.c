#include "base/page_cache.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVICT_TRIES = 5, EVICT_PAUSE_NS = 50 * 1000 * 1000, READ_BYTES = 1 << 20 };

static int open_file(const char *path, int *fd, size_t *size, struct err *e) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        return err_errno(e, errno, "cannot open %s", path);
    }
    if (fstat(*fd, &st) != 0 || st.st_size <= 0) {
        close(*fd);
        return err_set(e, EE_IO, "%s is empty or cannot be read", path);
    }
    *size = (size_t)st.st_size;
    return 0;
}

static int resident(int fd, size_t size, const char *path, double *fraction, struct err *e) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t n_pages = (size + page - 1) / page;
    unsigned char *pages = malloc(n_pages);
    if (!pages) {
        return err_set(e, EE_NOMEM, "page cache of %s: out of memory", path);
    }
    int rc = 0;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || mincore(map, size, pages) != 0) {
        rc = err_errno(e, errno, "cannot ask for the page cache of %s", path);
    } else {
        size_t n = 0;
        for (size_t i = 0; i < n_pages; i++) {
            n += pages[i] & 1;
        }
        *fraction = (double)n / (double)n_pages;
    }
    if (map != MAP_FAILED) {
        munmap(map, size);
    }
    free(pages);
    return rc;
}

int page_cache_resident(const char *path, double *fraction, struct err *e) {
    int fd;
    size_t size;
    int rc = open_file(path, &fd, &size, e);
    if (!rc) {
        rc = resident(fd, size, path, fraction, e);
        close(fd);
    }
    return rc;
}

int page_cache_evict(const char *path, double *fraction, struct err *e) {
    int fd;
    size_t size;
    int rc = open_file(path, &fd, &size, e);
    if (rc) {
        return rc;
    }
    for (int i = 0; i < EVICT_TRIES; i++) {
        if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS) {
            rc = err_errno(e, errno, "cannot write %s", path);
            break;
        }
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        rc = resident(fd, size, path, fraction, e);
        if (rc || *fraction == 0) {
            break;
        }
        clock_sleep_until_ns(clock_mono_ns() + EVICT_PAUSE_NS);
    }
    close(fd);
    return rc;
}

int page_cache_fill(const char *path, const volatile sig_atomic_t *stop, double *fraction,
                    struct err *e) {
    int fd;
    size_t size;
    int rc = open_file(path, &fd, &size, e);
    if (rc) {
        return rc;
    }
    char *chunk = malloc(READ_BYTES);
    if (!chunk) {
        rc = err_set(e, EE_NOMEM, "reading %s: out of memory", path);
    }
    ssize_t n = 1;
    while (!rc && n != 0) {
        n = read(fd, chunk, READ_BYTES);
        if (n < 0 && errno != EINTR) {
            rc = err_errno(e, errno, "cannot read %s", path);
        } else if (stop && *stop) {
            rc = err_set(e, EE_STOPPED, "stopped");
        }
    }
    rc = rc ? rc : resident(fd, size, path, fraction, e);
    free(chunk);
    close(fd);
    return rc;
}
