/* The page cache's share of a real file: filled, dropped, partly there. */
#include "base/page_cache.h"

#include "support/scratch.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

enum { FILE_BYTES = (4 << 20) + 17 };

static const char *big_file(struct scratch *s) {
    char *bytes = malloc(FILE_BYTES);
    assert_non_null(bytes);
    memset(bytes, 'x', FILE_BYTES);
    const char *path = scratch_write(s, "model", bytes, FILE_BYTES);
    free(bytes);
    return path;
}

/* A memory file system and its kin hold the only copy: there is nothing to drop. */
static bool has_a_disk(const char *path) {
    struct statfs fs;
    assert_int_equal(statfs(path, &fs), 0);
    if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
        fs.f_type == OVERLAYFS_SUPER_MAGIC) {
        print_message("%s is on a file system without a disk; set TMPDIR to one that has one\n",
                      path);
        return false;
    }
    return true;
}

static void a_filled_file_is_resident_and_an_evicted_one_is_not(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    if (!has_a_disk(s->dir)) {
        skip();
    }
    const char *path = big_file(s);
    for (int round = 0; round < 2; round++) {
        double fraction = -1;
        OK(page_cache_fill(path, NULL, &fraction, &e));
        assert_true(fraction == 1);
        OK(page_cache_evict(path, &fraction, &e));
        assert_true(fraction == 0);
        fraction = -1;
        OK(page_cache_resident(path, &fraction, &e));
        assert_true(fraction == 0);
    }
}

static void a_part_that_was_read_is_a_part(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    if (!has_a_disk(s->dir)) {
        skip();
    }
    const char *path = big_file(s);
    double fraction = -1;
    OK(page_cache_evict(path, &fraction, &e));
    assert_true(fraction == 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0); /* no read-ahead */
    char one;
    assert_int_equal(pread(fd, &one, 1, 1 << 20), 1);
    OK(page_cache_resident(path, &fraction, &e));
    close(fd);
    assert_true(fraction > 0 && fraction < 0.5);
}

/* Pages that are mapped and in use stay, and the caller hears of it. */
static void what_stays_is_reported(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    if (!has_a_disk(s->dir)) {
        skip();
    }
    const char *path = big_file(s);
    double fraction = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    void *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    assert_true(map != MAP_FAILED);
    OK(page_cache_evict(path, &fraction, &e));
    assert_true(fraction > 0.9);
    munmap(map, FILE_BYTES);
    close(fd);
    OK(page_cache_evict(path, &fraction, &e));
    assert_true(fraction == 0);
}

static void a_stop_ends_the_reading(void **state) {
    struct err e = ERR_INIT;
    const char *path = big_file(*state);
    volatile sig_atomic_t stop = 1;
    double fraction = -1;
    REFUSED(page_cache_fill(path, &stop, &fraction, &e), EE_STOPPED, "stopped");
    assert_true(fraction == -1);
    stop = 0;
    OK(page_cache_fill(path, &stop, &fraction, &e));
    assert_true(fraction == 1);
}

static void one_byte_is_one_page(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    const char *path = scratch_write(s, "small", "x", 1);
    double fraction = -1;
    OK(page_cache_fill(path, NULL, &fraction, &e));
    assert_true(fraction == 1);
}

static void a_memory_file_system_keeps_its_pages(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    if (!scratch_small_disk(s, 1 << 20)) {
        skip();
    }
    const char *path = scratch_write(s, "small/f", "xyz", 3);
    double fraction = -1;
    OK(page_cache_evict(path, &fraction, &e));
    assert_true(fraction == 1);
}

static void files_without_pages_are_refused_by_name(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    double fraction = -1;
    const char *none = scratch_path(s, "none");
    const char *empty = scratch_write(s, "empty", "", 0);
    REFUSED_WITH(page_cache_resident(none, &fraction, &e), EE_MISSING, "/none: No such file");
    REFUSED_WITH(page_cache_evict(none, &fraction, &e), EE_MISSING, "/none: No such file");
    REFUSED_WITH(page_cache_fill(none, NULL, &fraction, &e), EE_MISSING, "/none: No such file");
    REFUSED_WITH(page_cache_resident(empty, &fraction, &e), EE_IO, "/empty is empty");
    REFUSED_WITH(page_cache_evict(empty, &fraction, &e), EE_IO, "/empty is empty");
    REFUSED_WITH(page_cache_fill(empty, NULL, &fraction, &e), EE_IO, "/empty is empty");
    REFUSED_WITH(page_cache_fill("/dev/zero", NULL, &fraction, &e), EE_IO, "/dev/zero");
    assert_int_equal(page_cache_fill(s->dir, NULL, &fraction, &e), EE_IO);
    assert_int_equal(page_cache_resident(s->dir, &fraction, &e), EE_IO);
    assert_true(fraction == -1);
}

#define ON_FILES(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_FILES(a_filled_file_is_resident_and_an_evicted_one_is_not),
        ON_FILES(a_part_that_was_read_is_a_part),
        ON_FILES(what_stays_is_reported),
        ON_FILES(a_stop_ends_the_reading),
        ON_FILES(one_byte_is_one_page),
        ON_FILES(a_memory_file_system_keeps_its_pages),
        ON_FILES(files_without_pages_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
