#include "report/note_list.h"

void note_list_add(struct note_list *l, const struct buf *text) {
    const char *s = text->failed || l->n == l->cap ? NULL : arena_strdup(l->a, text->data);
    if (!s) {
        l->out_of_memory = true;
        return;
    }
    l->items[l->n++] = s;
}
