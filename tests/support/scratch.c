#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

int scratch_setup(void **state) {
    struct scratch *s = calloc(1, sizeof(*s));
    if (!s) {
        return -1;
    }
    const char *tmp = getenv("TMPDIR");
    snprintf(s->dir, sizeof(s->dir), "%.40s/edge-eval-XXXXXX", tmp ? tmp : "/tmp");
    *state = s;
    /* Open to all: a test may look at it as another user. */
    return mkdtemp(s->dir) && chmod(s->dir, 0755) == 0 ? 0 : -1;
}

static int open_up(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)ftw;
    return type == FTW_D || type == FTW_DNR ? chmod(path, st->st_mode | 0700) : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int scratch_teardown(void **state) {
    struct scratch *s = *state;
    scratch_be_root();
    char small[80];
    snprintf(small, sizeof(small), "%s/small", s->dir);
    umount2(small, MNT_DETACH);
    nftw(s->dir, open_up, 16, FTW_PHYS);
    int rc = nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    arena_release(&s->paths);
    free(s);
    return rc;
}

const char *scratch_path(struct scratch *s, const char *name) {
    size_t dir_len = strlen(s->dir);
    char *path = arena_alloc(&s->paths, dir_len + 1 + strlen(name) + 1);
    assert_non_null(path);
    memcpy(path, s->dir, dir_len);
    path[dir_len] = '/';
    memcpy(path + dir_len + 1, name, strlen(name) + 1);
    return path;
}

const char *scratch_write(struct scratch *s, const char *name, const void *bytes, size_t len) {
    const char *path = scratch_path(s, name);
    FILE *f = fopen(path, "wbe");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}

size_t scratch_count(const char *path) {
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t n = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return n;
}

const char *scratch_small_disk(struct scratch *s, size_t bytes) {
    const char *path = scratch_path(s, "small");
    char options[48];
    snprintf(options, sizeof(options), "size=%zu,mode=0777", bytes);
    assert_int_equal(mkdir(path, 0755), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", path, "tmpfs", 0, options) != 0) {
        print_message("a memory file system cannot be mounted here (%s)\n", strerror(errno));
        return NULL;
    }
    return path;
}

void scratch_fill_disk(const char *dir, size_t left_bytes) {
    char path[128];
    snprintf(path, sizeof(path), "%s/ballast", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    struct statvfs vfs;
    assert_int_equal(statvfs(dir, &vfs), 0);
    size_t avail = (size_t)vfs.f_bavail * vfs.f_bsize;
    assert_true(avail > left_bytes);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)(avail - left_bytes)), 0);
    close(fd);
}

/* The effective user is who the file system asks; the real one stays, so that it can come back. */
void scratch_be_nobody(void) {
    enum { NOBODY = 65534 };
    if (geteuid() == 0) {
        assert_int_equal(seteuid(NOBODY), 0);
    }
}

void scratch_be_root(void) {
    if (getuid() == 0 && geteuid() != 0 && seteuid(0) != 0) {
        abort();
    }
}

void check_ok(int rc, const struct err *e, const char *file, int line) {
    if (rc) {
        print_error("failed with %s: %s\n", err_code_name(rc), e->msg);
        _fail(file, line);
    }
}

static void check_code(int rc, const struct err *e, int code, const char *file, int line) {
    if (rc != code || e->code != code) {
        print_error("returned %s, error has %s, due is %s; message: %s\n", err_code_name(rc),
                    err_code_name(e->code), err_code_name(code), e->msg);
        _fail(file, line);
    }
}

void check_refused(int rc, const struct err *e, int code, const char *msg, const char *file,
                   int line) {
    check_code(rc, e, code, file, line);
    _assert_string_equal(e->msg, msg, file, line);
}

void check_refused_with(int rc, const struct err *e, int code, const char *part, const char *file,
                        int line) {
    check_code(rc, e, code, file, line);
    if (!strstr(e->msg, part)) {
        print_error("message: %s\nlacks:   %s\n", e->msg, part);
        _fail(file, line);
    }
}
