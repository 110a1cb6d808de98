#include "report/audit_set.h"

#include "base/fs.h"
#include "base/ydoc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "audit: out of memory");
}

static int read_board(struct ynode n, struct arena *a, struct audit_board *b, struct err *e) {
    static const char *const keys[] = {"names", "power_limit_w", "source", NULL};
    struct ynode names = ymap_get(n, "names");
    int rc = ymap_check(n, "a board", keys, e);
    if (!rc && (!ynode_is_seq(names) || yseq_len(names) == 0)) {
        rc = ynode_fail(n, e, "a board needs a list of names");
    }
    if (!rc && !ynode_present(ymap_get(n, "power_limit_w"))) {
        rc = ynode_fail(n, e, "a board needs power_limit_w");
    }
    rc = rc ? rc
            : ynode_num(ymap_get(n, "power_limit_w"), "power_limit_w", 1, 1e6, &b->power_limit_w,
                        e);
    if (rc) {
        return rc;
    }
    b->n_names = yseq_len(names);
    b->names = arena_array(a, b->n_names, sizeof(*b->names));
    for (size_t i = 0; b->names && !rc && i < b->n_names; i++) {
        const char *name = NULL;
        rc = ynode_str(yseq_at(names, i), "a name", &name, e);
        b->names[i] = rc ? NULL : arena_strdup(a, name);
    }
    return !rc && a->failed ? out_of_memory(e) : rc;
}

static int load_boards(struct audit_set *s, const char *data_dir, struct err *e) {
    struct ydoc *doc = NULL;
    char *path = fs_join(data_dir, "devices/boards.yaml");
    int rc = path ? ydoc_load_file(path, &doc, e) : out_of_memory(e);
    if (!rc) {
        struct ynode list = ymap_get(ydoc_root(doc), "boards");
        s->n_boards = yseq_len(list);
        s->boards = arena_array(&s->arena, s->n_boards + 1, sizeof(*s->boards));
        rc = !ynode_is_seq(list) ? ynode_fail(ydoc_root(doc), e, "\"boards\" should be a list")
             : s->boards         ? 0
                                 : out_of_memory(e);
        for (size_t i = 0; !rc && i < s->n_boards; i++) {
            rc = read_board(yseq_at(list, i), &s->arena, &s->boards[i], e);
        }
    }
    ydoc_free(doc);
    free(path);
    return rc;
}

int audit_set_new(const char *data_dir, struct audit_set **out, struct err *e) {
    struct audit_set *s = calloc(1, sizeof(*s));
    *out = NULL;
    if (!s) {
        return out_of_memory(e);
    }
    s->width = REPORT_WIDTH;
    int rc = data_dir ? load_boards(s, data_dir, e) : 0;
    if (rc) {
        audit_set_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void audit_set_free(struct audit_set *s) {
    if (s) {
        free(s->table.rows);
        free(s->bad_cells);
        free(s->ignored);
        arena_release(&s->arena);
        free(s);
    }
}

struct audit_row *audit_set_add(struct audit_set *s, enum audit_stage stage, const char *where) {
    if (s->table.n == s->cap_rows) {
        size_t want = s->cap_rows ? 2 * s->cap_rows : 128;
        void *more = realloc(s->table.rows, want * sizeof(*s->table.rows));
        if (!more) {
            return NULL;
        }
        s->table.rows = more;
        s->cap_rows = want;
    }
    const char *copy = arena_strdup(&s->arena, where);
    if (!copy) {
        return NULL;
    }
    struct audit_row *row = &s->table.rows[s->table.n++];
    audit_row_init(row, stage, copy);
    return row;
}

int audit_set_add_bad(struct audit_set *s, const char *where, const char *what, struct err *e) {
    if (s->table.n_bad_cells == s->cap_bad_cells) {
        size_t want = s->cap_bad_cells ? 2 * s->cap_bad_cells : 16;
        void *more = realloc(s->bad_cells, want * sizeof(*s->bad_cells));
        if (!more) {
            return out_of_memory(e);
        }
        s->bad_cells = more;
        s->table.bad_cells = more;
        s->cap_bad_cells = want;
    }
    struct audit_bad_cell *c = &s->bad_cells[s->table.n_bad_cells++];
    c->where = arena_strdup(&s->arena, where);
    c->what = arena_strdup(&s->arena, what);
    return c->where && c->what ? 0 : out_of_memory(e);
}

double audit_set_power_limit_w(const struct audit_set *s, const char *gpu_model) {
    for (size_t i = 0; i < s->n_boards; i++) {
        for (size_t k = 0; k < s->boards[i].n_names; k++) {
            if (strcasecmp(s->boards[i].names[k], gpu_model) == 0) {
                return s->boards[i].power_limit_w;
            }
        }
    }
    return NAN;
}
