/* A doubly linked list whose links its members embed. A member is in one list or in none. */
#ifndef SERVE_DLIST_H
#define SERVE_DLIST_H

#include <stdbool.h>
#include <stddef.h>

struct dlist {
    struct dlist *prev, *next; /* of a list's head: its last and its first member */
};

static inline void dlist_init(struct dlist *l) {
    l->prev = l->next = l;
}

static inline bool dlist_is_empty(const struct dlist *l) {
    return l->next == l;
}

static inline void dlist_remove(struct dlist *m) {
    m->prev->next = m->next;
    m->next->prev = m->prev;
    dlist_init(m);
}

static inline void dlist_append(struct dlist *l, struct dlist *m) {
    m->prev = l->prev;
    m->next = l;
    l->prev->next = m;
    l->prev = m;
}

/* Takes the member out of where it is and puts it last. */
static inline void dlist_move_to_end(struct dlist *l, struct dlist *m) {
    dlist_remove(m);
    dlist_append(l, m);
}

#define DLIST_OWNER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#endif
