/*
 * The earliest of many deadlines: a binary heap of timers that their owners embed. Not thread-safe.
 */
#ifndef SERVE_TIMER_HEAP_H
#define SERVE_TIMER_HEAP_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t due_ns;
    size_t place; /* 1-based place in the heap; 0: not in it */
};

struct timer_heap {
    struct timer **at;
    size_t n;
    size_t cap;
};

void timer_heap_init(struct timer_heap *h);
void timer_heap_release(struct timer_heap *h);
/* Room for n timers, so that setting one cannot fail. */
int timer_heap_reserve(struct timer_heap *h, size_t n, struct err *e) EE_MUST_CHECK;
/* Sets or moves the timer. Room for it must have been reserved. */
void timer_heap_set(struct timer_heap *h, struct timer *t, int64_t due_ns);
/* Takes it out; nothing happens when it is not in. */
void timer_heap_cancel(struct timer_heap *h, struct timer *t);
/* The earliest timer, which stays in; NULL when there is none. */
struct timer *timer_heap_first(const struct timer_heap *h);

#endif
