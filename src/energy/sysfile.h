/* Small pseudo-files read without allocating, for the sampling path. */
#ifndef ENERGY_SYSFILE_H
#define ENERGY_SYSFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYSFILE_PATH_MAX 512

/* Reads up to size - 1 bytes and ends them with '\0'. Returns the length, or -errno. */
long sysfile_read(const char *path, char *out, size_t size);
/* As sysfile_read, less the trailing white space. */
long sysfile_read_line(const char *path, char *out, size_t size);
/* A decimal number alone in its file: 0, or -errno (-EINVAL where it is no number). */
int sysfile_read_u64(const char *path, uint64_t *out);
/* As sysfile_read_u64 with a sign. */
int sysfile_read_i64(const char *path, int64_t *out);
/* root, dir and file joined by nothing and '/'; false when they do not fit SYSFILE_PATH_MAX. */
bool sysfile_path(char *out, const char *root, const char *dir, const char *file);

#endif
