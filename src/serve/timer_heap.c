#include "serve/timer_heap.h"

#include <stdlib.h>

void timer_heap_init(struct timer_heap *h) {
    *h = (struct timer_heap){0};
}

void timer_heap_release(struct timer_heap *h) {
    free(h->at);
    timer_heap_init(h);
}

int timer_heap_reserve(struct timer_heap *h, size_t n, struct err *e) {
    if (n <= h->cap) {
        return 0;
    }
    size_t cap = n > 2 * h->cap ? n : 2 * h->cap;
    struct timer **at = reallocarray(h->at, cap, sizeof(void *));
    if (!at) {
        return err_set(e, EE_NOMEM, "timers: out of memory");
    }
    h->at = at;
    h->cap = cap;
    return 0;
}

static void put(struct timer_heap *h, size_t place, struct timer *t) {
    h->at[place - 1] = t;
    t->place = place;
}

static void sift_up(struct timer_heap *h, size_t place) {
    struct timer *t = h->at[place - 1];
    while (place > 1 && h->at[place / 2 - 1]->due_ns > t->due_ns) {
        put(h, place, h->at[place / 2 - 1]);
        place /= 2;
    }
    put(h, place, t);
}

static void sift_down(struct timer_heap *h, size_t place) {
    struct timer *t = h->at[place - 1];
    for (;;) {
        size_t child = 2 * place;
        if (child > h->n) {
            break;
        }
        if (child < h->n && h->at[child]->due_ns < h->at[child - 1]->due_ns) {
            child++;
        }
        if (h->at[child - 1]->due_ns >= t->due_ns) {
            break;
        }
        put(h, place, h->at[child - 1]);
        place = child;
    }
    put(h, place, t);
}

void timer_heap_set(struct timer_heap *h, struct timer *t, int64_t due_ns) {
    t->due_ns = due_ns;
    if (t->place == 0) {
        put(h, ++h->n, t);
    }
    sift_up(h, t->place);
    sift_down(h, t->place);
}

void timer_heap_cancel(struct timer_heap *h, struct timer *t) {
    size_t place = t->place;
    if (place == 0) {
        return;
    }
    struct timer *last = h->at[--h->n];
    t->place = 0;
    if (last != t) {
        put(h, place, last);
        sift_up(h, place);
        sift_down(h, last->place);
    }
}

struct timer *timer_heap_first(const struct timer_heap *h) {
    return h->n > 0 ? h->at[0] : NULL;
}
