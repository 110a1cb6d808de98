/* Inside src/report: sentences that are gathered one by one, in an arena. */
#ifndef REPORT_NOTE_LIST_H
#define REPORT_NOTE_LIST_H

#include "base/arena.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct note_list {
    struct arena *a;
    const char **items; /* room for cap */
    size_t n, cap;
    bool out_of_memory; /* also where there was no room left */
};

void note_list_add(struct note_list *l, const struct buf *text);

#endif
