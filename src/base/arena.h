/*
 * Arena: many allocations, one release. For data with one lifetime (a plan, a task set).
 * Not thread-safe. Pointers stay valid until arena_release.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *head;
    bool failed; /* something since the last release returned NULL */
};

#define ARENA_INIT                                                                                 \
    { 0 }

/* Zeroed bytes aligned for any type; NULL when memory is out. */
void *arena_alloc(struct arena *a, size_t size);
/* Zeroed array; NULL also when count * size overflows. */
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *s);
/* Copies exactly len bytes and puts a '\0' behind them. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
void arena_release(struct arena *a);

#endif
