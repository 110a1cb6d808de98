/* Files and paths: what a reader sees when a write fails half-way, and errors that name the path. */
#include "base/fs.h"

#include "support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void check_holds(const char *path, const char *want) {
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b);
    OK(fs_read(path, &b, &e));
    assert_string_equal(b.data, want);
    buf_release(&b);
}

/* ---- reading ---- */

static void a_file_is_appended_whole(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    enum { N = 300000 };
    char *bytes = malloc(N);
    assert_non_null(bytes);
    for (size_t i = 0; i < N; i++) {
        bytes[i] = (char)(i * 7 + i / 256);
    }
    const char *path = scratch_write(s, "f", bytes, N);
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, "head");
    OK(fs_read(path, &b, &e));
    assert_int_equal(b.len, 4 + N);
    assert_memory_equal(b.data, "head", 4);
    assert_memory_equal(b.data + 4, bytes, N);
    assert_int_equal(b.data[b.len], '\0');
    buf_release(&b);
    free(bytes);
}

static void an_empty_file_reads_as_nothing(void **state) {
    check_holds(scratch_write(*state, "empty", "", 0), "");
    check_holds("/dev/null", "");
}

/* Their size reads as 0 and they come in several pieces. */
static void pseudo_files_are_read_to_their_end(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b);
    OK(fs_read("/proc/self/status", &b, &e));
    assert_memory_equal(b.data, "Name:", 5);
    assert_non_null(strstr(b.data, "VmRSS:"));
    buf_clear(&b);
    OK(fs_read("/proc/kallsyms", &b, &e)); /* some megabytes, one page a read */
    assert_int_equal(b.data[b.len], '\0');
    buf_clear(&b);
    OK(fs_read("/proc/self/smaps", &b, &e));
    assert_non_null(strstr(b.data, "[stack]"));
    uint64_t size = 1;
    OK(fs_size("/proc/self/status", &size, &e));
    assert_int_equal(size, 0);
    buf_release(&b);
}

static void a_file_that_cannot_be_read_is_named(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct buf b;
    uint64_t n;
    char want[256];
    buf_init(&b);
    const char *none = scratch_path(s, "none");
    snprintf(want, sizeof(want), "cannot open %s: No such file or directory", none);
    REFUSED(fs_read(none, &b, &e), EE_MISSING, want);
    snprintf(want, sizeof(want), "cannot read %s: Is a directory", s->dir);
    REFUSED(fs_read(s->dir, &b, &e), EE_IO, want);
    snprintf(want, sizeof(want), "cannot read %s: No such file or directory", none);
    REFUSED(fs_size(none, &n, &e), EE_MISSING, want);
    snprintf(want, sizeof(want), "cannot ask for free space at %s: No such file or directory",
             none);
    REFUSED(fs_free_bytes(none, &n, &e), EE_MISSING, want);
    const char *secret = scratch_write(s, "secret", "x", 1);
    assert_int_equal(chmod(secret, 0), 0);
    snprintf(want, sizeof(want), "cannot open %s: Permission denied", secret);
    scratch_be_nobody();
    int rc = fs_read(secret, &b, &e);
    scratch_be_root();
    REFUSED(rc, EE_PERM, want);
    assert_int_equal(b.len, 0);
    assert_int_equal(fs_read(none, &b, NULL), EE_MISSING);
    buf_release(&b);
}

static void a_file_past_the_buffers_limit_is_refused(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_max(&b, 100000);
    char *bytes = calloc(1, 200000);
    assert_non_null(bytes);
    const char *path = scratch_write(s, "f", bytes, 200000);
    free(bytes);
    REFUSED_WITH(fs_read(path, &b, &e), EE_NOMEM, path);
    buf_release(&b);
}

/* ---- writing ---- */

static void a_write_replaces_the_whole_file(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    const char *path = scratch_path(s, "f");
    OK(fs_write_atomic(path, "first, longer", 13, &e));
    check_holds(path, "first, longer");
    int before = open(path, O_RDONLY | O_CLOEXEC);
    OK(fs_write_atomic(path, "second", 6, &e));
    check_holds(path, "second");
    OK(fs_write_atomic(path, "", 0, &e));
    check_holds(path, "");
    /* Who had it open keeps the old file, whole. */
    char old[20] = "";
    assert_int_equal(read(before, old, sizeof(old) - 1), 13);
    assert_string_equal(old, "first, longer");
    close(before);
    assert_int_equal(scratch_count(s->dir), 1);
}

static void a_large_write_arrives(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    enum { N = 20 << 20 };
    char *bytes = calloc(1, N);
    assert_non_null(bytes);
    bytes[N - 1] = '.';
    const char *path = scratch_path(s, "f");
    OK(fs_write_atomic(path, bytes, N, &e));
    uint64_t size = 0;
    OK(fs_size(path, &size, &e));
    assert_int_equal(size, N);
    struct buf b;
    buf_init(&b);
    OK(fs_read(path, &b, &e));
    assert_memory_equal(b.data, bytes, N);
    buf_release(&b);
    free(bytes);
}

static void a_write_that_cannot_start_leaves_nothing(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    REFUSED_WITH(fs_write_atomic(scratch_path(s, "none/f"), "x", 1, &e), EE_MISSING, "/none/f");
    const char *dir = scratch_path(s, "dir");
    assert_int_equal(mkdir(dir, 0755), 0);
    const char *path = scratch_write(s, "dir/f", "old", 3);
    assert_int_equal(chmod(dir, 0555), 0);
    scratch_be_nobody();
    int rc = fs_write_atomic(path, "new", 3, &e);
    scratch_be_root();
    REFUSED_WITH(rc, EE_PERM, "Permission denied");
    check_holds(path, "old");
    assert_int_equal(scratch_count(dir), 1);
}

static void a_write_onto_a_directory_leaves_no_temporary(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    const char *dir = scratch_path(s, "dir");
    assert_int_equal(mkdir(dir, 0755), 0);
    char want[256];
    snprintf(want, sizeof(want), "cannot write %s: Is a directory", dir);
    REFUSED(fs_write_atomic(dir, "x", 1, &e), EE_IO, want);
    assert_int_equal(scratch_count(s->dir), 1);
}

static void a_full_disk_keeps_the_old_file_and_no_temporary(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    const char *disk = scratch_small_disk(s, 1 << 20);
    if (!disk) {
        skip();
    }
    const char *path = scratch_path(s, "small/f");
    OK(fs_write_atomic(path, "old", 3, &e));
    scratch_fill_disk(disk, 64 << 10);
    uint64_t free_before = 0;
    OK(fs_free_bytes(disk, &free_before, &e));
    assert_in_range(free_before, 1, 64 << 10);
    char *bytes = calloc(1, 1 << 20);
    assert_non_null(bytes);
    char want[256];
    snprintf(want, sizeof(want), "cannot write %s: No space left on device", path);
    REFUSED(fs_write_atomic(path, bytes, 1 << 20, &e), EE_NOSPACE, want);
    free(bytes);
    check_holds(path, "old");
    assert_int_equal(scratch_count(disk), 2); /* the file and the ballast */
    uint64_t free_after = 0;
    OK(fs_free_bytes(disk, &free_after, &e));
    assert_int_equal(free_after, free_before);
}

/* ---- directories ---- */

static void directories_are_made_on_the_way(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    const char *deep = scratch_path(s, "a/b/c");
    OK(fs_mkdirs(deep, &e));
    assert_true(fs_exists(deep));
    OK(fs_mkdirs(deep, &e)); /* again */
    OK(fs_mkdirs(scratch_path(s, "a//b///d/"), &e));
    assert_true(fs_exists(scratch_path(s, "a/b/d")));
    OK(fs_mkdirs("/", &e));
    OK(fs_mkdirs(".", &e));
    OK(fs_mkdirs(s->dir, &e));
}

static void a_file_in_the_way_is_named(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    char want[512];
    const char *file = scratch_write(s, "file", "x", 1);
    snprintf(want, sizeof(want), "%s exists and is not a directory", file);
    REFUSED(fs_mkdirs(file, &e), EE_IO, want);
    const char *below = scratch_path(s, "file/sub");
    snprintf(want, sizeof(want), "cannot create directory %s: Not a directory", below);
    REFUSED(fs_mkdirs(below, &e), EE_MISSING, want);
    check_holds(file, "x");
    const char *dangling = scratch_path(s, "dangling");
    assert_int_equal(symlink("nowhere", dangling), 0);
    REFUSED_WITH(fs_mkdirs(dangling, &e), EE_MISSING, dangling);
    const char *to_dir = scratch_path(s, "to_dir");
    assert_int_equal(symlink(".", to_dir), 0);
    OK(fs_mkdirs(scratch_path(s, "to_dir/made"), &e));
    assert_true(fs_exists(scratch_path(s, "made")));
}

static void a_directory_name_must_be_one(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    REFUSED(fs_mkdirs("", &e), EE_USAGE, "directory name is empty");
    char *long_name = malloc(6000);
    assert_non_null(long_name);
    memset(long_name, 'x', 5999);
    long_name[5999] = '\0';
    REFUSED(fs_mkdirs(long_name, &e), EE_USAGE, "directory name is too long");
    free(long_name);
    scratch_be_nobody();
    int rc = fs_mkdirs(scratch_path(s, "mine/too"), &e);
    scratch_be_root();
    if (getuid() == 0) {
        REFUSED_WITH(rc, EE_PERM, "/mine: Permission denied");
    }
}

/* ---- paths ---- */

static void check_path(char *got, const char *want) {
    assert_non_null(got);
    assert_string_equal(got, want);
    free(got);
}

static void paths_join_and_split(void **state) {
    (void)state;
    check_path(fs_join("a", "b"), "a/b");
    check_path(fs_join("a/", "b"), "a/b");
    check_path(fs_join("/", "b"), "/b");
    check_path(fs_join("", "b"), "b");
    check_path(fs_join("a", ""), "a/");
    check_path(fs_join("a", "/b"), "/b");
    check_path(fs_join("a/b", "../c d"), "a/b/../c d");
    check_path(fs_dirname("a/b/c"), "a/b");
    check_path(fs_dirname("/a"), "/");
    check_path(fs_dirname("/"), "/");
    check_path(fs_dirname("a"), ".");
    check_path(fs_dirname(""), ".");
    check_path(fs_dirname("a/"), "a");
    assert_string_equal(fs_basename("a/b/c.gguf"), "c.gguf");
    assert_string_equal(fs_basename("c.gguf"), "c.gguf");
    assert_string_equal(fs_basename("/c"), "c");
    assert_string_equal(fs_basename("a/"), "");
}

static void existence_and_size_are_of_the_target(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    const char *file = scratch_write(s, "file", "12345", 5);
    const char *link = scratch_path(s, "link");
    assert_int_equal(symlink("file", link), 0);
    uint64_t size = 0;
    OK(fs_size(link, &size, &e));
    assert_int_equal(size, 5);
    assert_true(fs_exists(link));
    assert_int_equal(unlink(file), 0);
    assert_false(fs_exists(link));
    assert_false(fs_exists(""));
}

static void the_running_program_is_found(void **state) {
    (void)state;
    char *path = fs_exe_path();
    assert_non_null(path);
    assert_int_equal(path[0], '/');
    assert_string_equal(fs_basename(path), "test_fs");
    assert_true(fs_exists(path));
    free(path);
}

#define ON_FILES(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_FILES(a_file_is_appended_whole),
        ON_FILES(an_empty_file_reads_as_nothing),
        cmocka_unit_test(pseudo_files_are_read_to_their_end),
        ON_FILES(a_file_that_cannot_be_read_is_named),
        ON_FILES(a_file_past_the_buffers_limit_is_refused),
        ON_FILES(a_write_replaces_the_whole_file),
        ON_FILES(a_large_write_arrives),
        ON_FILES(a_write_that_cannot_start_leaves_nothing),
        ON_FILES(a_write_onto_a_directory_leaves_no_temporary),
        ON_FILES(a_full_disk_keeps_the_old_file_and_no_temporary),
        ON_FILES(directories_are_made_on_the_way),
        ON_FILES(a_file_in_the_way_is_named),
        ON_FILES(a_directory_name_must_be_one),
        cmocka_unit_test(paths_join_and_split),
        ON_FILES(existence_and_size_are_of_the_target),
        cmocka_unit_test(the_running_program_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
