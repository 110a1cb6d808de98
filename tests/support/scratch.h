/*
 * For tests that touch files: a temporary directory, a disk that is nearly full, a user who may
 * not write; and the two ways a fallible call is looked at.
 */
#ifndef TESTS_SUPPORT_SCRATCH_H
#define TESTS_SUPPORT_SCRATCH_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct scratch {
    char dir[64];
    struct arena paths;
};

/* A cmocka setup and teardown: *state is a struct scratch whose directory goes with everything in
 * it, whoever it belongs to by then. */
int scratch_setup(void **state);
int scratch_teardown(void **state);
/* dir/name; valid until the teardown. */
const char *scratch_path(struct scratch *s, const char *name);
/* Writes dir/name in place and returns its path. */
const char *scratch_write(struct scratch *s, const char *name, const void *bytes, size_t len);
/* How many entries the directory at path has, "." and ".." left out. */
size_t scratch_count(const char *path);

/*
 * Mounts a memory file system of that size on a new directory dir/small and returns its path. The
 * mount belongs to this process alone and goes with it. NULL where it is not permitted.
 */
const char *scratch_small_disk(struct scratch *s, size_t bytes);
/* Fills the file system of dir, leaving room for about left_bytes. */
void scratch_fill_disk(const char *dir, size_t left_bytes);

/*
 * From here on the file system sees a user without rights; a no-op for one who is not root. The
 * teardown, or scratch_be_root, ends it.
 */
void scratch_be_nobody(void);
void scratch_be_root(void);

/* The test fails, showing the message, unless rc is 0. */
void check_ok(int rc, const struct err *e, const char *file, int line);
/* The test fails unless rc and e->code are code and the message is exactly msg. */
void check_refused(int rc, const struct err *e, int code, const char *msg, const char *file,
                   int line);
/* As check_refused for a message that contains part. */
void check_refused_with(int rc, const struct err *e, int code, const char *part, const char *file,
                        int line);
#define OK(call) check_ok((call), &e, __FILE__, __LINE__)
#define REFUSED(call, code, msg) check_refused((call), &e, (code), (msg), __FILE__, __LINE__)
#define REFUSED_WITH(call, code, part)                                                             \
    check_refused_with((call), &e, (code), (part), __FILE__, __LINE__)

#endif
