#include "base/csvdoc.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/utf8.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct csv_row {
    size_t line;
    size_t first; /* index of its first cell */
    size_t n;
};

struct csvdoc {
    struct arena arena;
    const char *name;
    const char **cells; /* all rows one after the other, the header first */
    size_t n_cells, cap_cells;
    struct csv_row *rows; /* rows[0] is the header */
    size_t n_rows, cap_rows;
};

/* Where the reader is. */
struct reader {
    const char *at, *end;
    size_t line;
};

static int out_of_memory(const char *name, struct err *e) {
    return err_set(e, EE_NOMEM, "%s: out of memory", name);
}

static int grow(void **items, size_t *cap, size_t n, size_t size, const char *name, struct err *e) {
    if (n < *cap) {
        return 0;
    }
    size_t want = *cap ? 2 * *cap : 64;
    void *more = realloc(*items, want * size);
    if (!more) {
        return out_of_memory(name, e);
    }
    *items = more;
    *cap = want;
    return 0;
}

static bool at_line_end(const struct reader *r) {
    return r->at == r->end || *r->at == '\n' ||
           (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n');
}

static void skip_line_end(struct reader *r) {
    if (r->at < r->end && *r->at == '\r') {
        r->at++;
    }
    if (r->at < r->end) {
        r->at++;
        r->line++;
    }
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static void skip_spaces(struct reader *r) {
    while (r->at < r->end && is_space(*r->at)) {
        r->at++;
    }
}

/* What stands between quotes, "" in it being one quote. */
static int read_quoted(struct reader *r, const char *name, struct buf *out, struct err *e) {
    size_t line = r->line;
    for (r->at++; r->at < r->end; r->at++) {
        if (*r->at == '"' && (r->at + 1 == r->end || r->at[1] != '"')) {
            r->at++;
            skip_spaces(r);
            if (!at_line_end(r) && *r->at != ',') {
                return err_set(e, EE_FORMAT, "%s:%zu: text after a closing quote", name, r->line);
            }
            return 0;
        }
        r->at += *r->at == '"';
        r->line += *r->at == '\n';
        buf_addch(out, *r->at);
    }
    return err_set(e, EE_FORMAT, "%s:%zu: a quote is opened and never closed", name, line);
}

static void read_plain(struct reader *r, struct buf *out) {
    const char *start = r->at;
    while (!at_line_end(r) && *r->at != ',') {
        r->at++;
    }
    const char *stop = r->at;
    while (stop > start && is_space(stop[-1])) {
        stop--;
    }
    buf_add(out, start, (size_t)(stop - start));
}

static int read_cell(struct csvdoc *d, struct reader *r, struct buf *text, struct err *e) {
    buf_clear(text);
    skip_spaces(r);
    int rc = 0;
    if (r->at < r->end && *r->at == '"') {
        rc = read_quoted(r, d->name, text, e);
    } else {
        read_plain(r, text);
    }
    rc = rc ? rc
            : grow((void **)&d->cells, &d->cap_cells, d->n_cells, sizeof(*d->cells), d->name, e);
    if (rc) {
        return rc;
    }
    char *cell = text->failed ? NULL : arena_strdup(&d->arena, text->data);
    if (!cell) {
        return out_of_memory(d->name, e);
    }
    d->cells[d->n_cells++] = cell;
    return 0;
}

static int read_row(struct csvdoc *d, struct reader *r, struct buf *text, struct err *e) {
    int rc = grow((void **)&d->rows, &d->cap_rows, d->n_rows, sizeof(*d->rows), d->name, e);
    if (rc) {
        return rc;
    }
    struct csv_row *row = &d->rows[d->n_rows];
    *row = (struct csv_row){.line = r->line, .first = d->n_cells};
    for (;;) {
        rc = read_cell(d, r, text, e);
        if (rc) {
            return rc;
        }
        if (at_line_end(r)) {
            break;
        }
        r->at++; /* the comma */
    }
    skip_line_end(r);
    row->n = d->n_cells - row->first;
    bool is_blank = row->n == 1 && !*d->cells[row->first];
    if (is_blank) {
        d->n_cells = row->first;
    } else {
        d->n_rows++;
    }
    return 0;
}

static int check_header(const struct csvdoc *d, struct err *e) {
    if (d->n_rows == 0) {
        return err_set(e, EE_FORMAT, "%s: the file is empty; its first line names the columns",
                       d->name);
    }
    const struct csv_row *h = &d->rows[0];
    if (h->n == 1 && strchr(d->cells[0], ';')) {
        return err_set(e, EE_FORMAT, "%s:%zu: the cells are separated by \";\"; write commas",
                       d->name, h->line);
    }
    for (size_t i = 0; i < h->n; i++) {
        if (!*d->cells[i]) {
            return err_set(e, EE_FORMAT, "%s:%zu: column %zu has no name", d->name, h->line, i + 1);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(d->cells[i], d->cells[j]) == 0) {
                return err_set(e, EE_FORMAT, "%s:%zu: two columns are named \"%.60s\"", d->name,
                               h->line, d->cells[i]);
            }
        }
    }
    return 0;
}

static size_t line_of(const char *text, const char *at) {
    size_t line = 1;
    for (const char *p = text; p < at; p++) {
        line += *p == '\n';
    }
    return line;
}

static int check_bytes(const char *text, size_t len, const char *name, struct err *e) {
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence_len(text + i, len - i);
        if (n == 0 || text[i] == '\0') {
            return err_set(e, EE_FORMAT, "%s:%zu: %s; save the file as UTF-8", name,
                           line_of(text, text + i), n ? "a NUL byte" : "bytes that are not UTF-8");
        }
        i += n;
    }
    return 0;
}

static int read_all(struct csvdoc *d, const char *text, size_t len, struct err *e) {
    static const char bom[] = "\xEF\xBB\xBF";
    size_t skip = len >= 3 && memcmp(text, bom, 3) == 0 ? 3 : 0;
    struct reader r = {.at = text + skip, .end = text + len, .line = 1};
    struct buf cell;
    buf_init(&cell);
    int rc = 0;
    while (!rc && r.at < r.end) {
        rc = read_row(d, &r, &cell, e);
    }
    buf_release(&cell);
    return rc;
}

int csvdoc_load_bytes(const char *text, size_t len, const char *name, struct csvdoc **out,
                      struct err *e) {
    *out = NULL;
    int rc = check_bytes(text, len, name, e);
    if (rc) {
        return rc;
    }
    struct csvdoc *d = calloc(1, sizeof(*d));
    if (!d) {
        return out_of_memory(name, e);
    }
    d->name = arena_strdup(&d->arena, name);
    rc = d->name ? read_all(d, text, len, e) : out_of_memory(name, e);
    rc = rc ? rc : check_header(d, e);
    if (rc) {
        csvdoc_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

int csvdoc_load_file(const char *path, struct csvdoc **out, struct err *e) {
    struct buf text;
    buf_init(&text);
    *out = NULL;
    int rc = fs_read(path, &text, e);
    rc = rc ? rc : csvdoc_load_bytes(text.data, text.len, path, out, e);
    buf_release(&text);
    return rc;
}

void csvdoc_free(struct csvdoc *d) {
    if (d) {
        arena_release(&d->arena);
        free(d->cells);
        free(d->rows);
        free(d);
    }
}

const char *csvdoc_name(const struct csvdoc *d) {
    return d->name;
}

size_t csvdoc_n_columns(const struct csvdoc *d) {
    return d->rows[0].n;
}

const char *csvdoc_column(const struct csvdoc *d, size_t column) {
    return d->cells[column];
}

int csvdoc_find(const struct csvdoc *d, const char *column) {
    for (size_t i = 0; i < csvdoc_n_columns(d); i++) {
        if (strcmp(d->cells[i], column) == 0) {
            return (int)i;
        }
    }
    return -1;
}

size_t csvdoc_n_rows(const struct csvdoc *d) {
    return d->n_rows - 1;
}

size_t csvdoc_line(const struct csvdoc *d, size_t row) {
    return d->rows[row + 1].line;
}

size_t csvdoc_row_len(const struct csvdoc *d, size_t row) {
    return d->rows[row + 1].n;
}

const char *csvdoc_cell(const struct csvdoc *d, size_t row, int column) {
    const struct csv_row *r = &d->rows[row + 1];
    return column < 0 || (size_t)column >= r->n ? "" : d->cells[r->first + (size_t)column];
}

int csvdoc_num(const struct csvdoc *d, size_t row, int column, double *out, struct err *e) {
    const char *cell = csvdoc_cell(d, row, column);
    const char *name = column < 0 ? "?" : csvdoc_column(d, (size_t)column);
    char *end = NULL;
    if (!*cell) {
        return err_set(e, EE_FORMAT, "%s:%zu: column %.60s is empty", d->name, csvdoc_line(d, row),
                       name);
    }
    double x = strtod(cell, &end);
    /* strtod also reads "nan", "inf" and hexadecimal. */
    bool is_decimal = cell[strspn(cell, "+-.0123456789eE")] == '\0';
    if (*end || !is_decimal || !isfinite(x)) {
        return err_set(e, EE_FORMAT, "%s:%zu: column %.60s is \"%.60s\", which is no finite number",
                       d->name, csvdoc_line(d, row), name, cell);
    }
    *out = x;
    return 0;
}
