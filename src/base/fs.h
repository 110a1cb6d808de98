/*
 * Files and paths. Functions that return a path return memory the caller frees.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Appends the whole file to out. Works on pseudo-files, whose size reads as 0. */
int fs_read(const char *path, struct buf *out, struct err *e) EE_MUST_CHECK;
/* Writes beside path, syncs, renames: a reader sees the old file or the whole new one. */
int fs_write_atomic(const char *path, const void *bytes, size_t len, struct err *e) EE_MUST_CHECK;
/* mkdir -p. */
int fs_mkdirs(const char *path, struct err *e) EE_MUST_CHECK;
bool fs_exists(const char *path);
int fs_size(const char *path, uint64_t *bytes, struct err *e) EE_MUST_CHECK;
/* Bytes an unprivileged writer may still use on the file system of path. */
int fs_free_bytes(const char *path, uint64_t *bytes, struct err *e) EE_MUST_CHECK;
/* "dir/name", or name itself when it is absolute; NULL when memory is out. */
char *fs_join(const char *dir, const char *name);
/* Everything before the last '/', "." without one; NULL when memory is out. */
char *fs_dirname(const char *path);
const char *fs_basename(const char *path);
/* Path of the running executable; NULL when the kernel does not tell. */
char *fs_exe_path(void);

#endif
