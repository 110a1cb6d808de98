/*
 * A loop over many equal pieces of work, shared out among threads that live as long as it does. For
 * pieces that together take milliseconds: starting a thread takes some tens of microseconds.
 */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include <stdint.h>

enum { PARALLEL_MAX_THREADS = 64 };

/* Does [first, end), as the given one of the threads: 0 to n_threads - 1. */
typedef void parallel_fn(void *ctx, int thread, int64_t first, int64_t end);

/*
 * Calls part once for each of at most n_threads runs that [0, n) is cut into, one in the caller's
 * thread, and returns when all are done. n_threads is held to 1 .. PARALLEL_MAX_THREADS. The runs of
 * threads that cannot be started are done by the caller.
 */
void parallel_for(int64_t n, int n_threads, parallel_fn *part, void *ctx);

#endif
