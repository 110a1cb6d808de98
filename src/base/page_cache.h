/*
 * The page cache's share of a file: what makes a cold start cold. Linux.
 */
#ifndef BASE_PAGE_CACHE_H
#define BASE_PAGE_CACHE_H

#include "base/err.h"

#include <signal.h>

/* Share of the file's pages that are in memory, 0..1, by mincore. */
int page_cache_resident(const char *path, double *fraction, struct err *e) EE_MUST_CHECK;
/*
 * Writes the file's dirty pages and drops its clean ones, then looks whether they went: *fraction
 * is what stayed. Pages that another process maps stay, and so do those of a memory file system.
 */
int page_cache_evict(const char *path, double *fraction, struct err *e) EE_MUST_CHECK;
/*
 * Reads the whole file, so that as much of it as fits is in memory. Ends early with EE_STOPPED once
 * *stop is not zero; stop may be NULL.
 */
int page_cache_fill(const char *path, const volatile sig_atomic_t *stop, double *fraction,
                    struct err *e) EE_MUST_CHECK;

#endif
