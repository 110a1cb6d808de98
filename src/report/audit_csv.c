/* The audit's table from CSV files. Columns are known by name; docs/audit.md lists them. */
#include "report/audit_set.h"

#include "report/fmt.h"

#include "base/csvdoc.h"
#include "base/fs.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Other names of columns, as other tools and the published files have them. */
static const struct {
    const char *alias;
    enum audit_column column;
} aliases[] = {
    {"infer_s", AUDIT_DURATION_S},
    {"primary_mean", AUDIT_SCORE_MEAN},
};

/* Where each column of the table is in the file; -1: not there. */
struct layout {
    const struct csvdoc *doc;
    const char *name; /* of the file, without its folder */
    int stage;
    int text[AUDIT_TEXTS];
    int x[AUDIT_COLUMNS];
    double step[AUDIT_COLUMNS];
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "audit: out of memory");
}

/* What a decimal's last digit is worth: 0.01 of "3.20", 100 of "1.5e3". */
static double step_of(const char *cell) {
    const char *point = strchr(cell, '.');
    const char *mark = strpbrk(cell, "eE");
    size_t digits_end = mark ? (size_t)(mark - cell) : strlen(cell);
    double decimals = point ? (double)(digits_end - (size_t)(point - cell) - 1) : 0;
    double exponent = mark ? strtod(mark + 1, NULL) : 0;
    return pow(10, exponent - decimals);
}

/* The finest step of the column: "110.4" among "98.23" is 110.40. */
static double column_step(const struct csvdoc *doc, int column) {
    double step = INFINITY;
    double unused;
    for (size_t row = 0; row < csvdoc_n_rows(doc); row++) {
        if (csvdoc_num(doc, row, column, &unused, NULL) == 0) {
            step = fmin(step, step_of(csvdoc_cell(doc, row, column)));
        }
    }
    return isfinite(step) ? step : 0;
}

static bool is_used(const struct layout *l, int column) {
    bool used = column == l->stage;
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        used = used || column == l->text[i];
    }
    for (int i = 0; i < AUDIT_COLUMNS; i++) {
        used = used || column == l->x[i];
    }
    return used;
}

static int note_ignored(struct audit_set *s, const struct layout *l, struct err *e) {
    for (size_t i = 0; i < csvdoc_n_columns(l->doc); i++) {
        const char *name = csvdoc_column(l->doc, i);
        bool is_new = !is_used(l, (int)i);
        for (size_t k = 0; is_new && k < s->n_ignored; k++) {
            is_new = strcmp(s->ignored[k], name) != 0;
        }
        if (!is_new) {
            continue;
        }
        if (s->n_ignored == s->cap_ignored) {
            size_t want = s->cap_ignored ? 2 * s->cap_ignored : 16;
            const char **more = realloc(s->ignored, want * sizeof(*more));
            if (!more) {
                return out_of_memory(e);
            }
            s->ignored = more;
            s->cap_ignored = want;
        }
        const char *clean = fmt_utf8(&s->arena, name);
        if (!clean) {
            return out_of_memory(e);
        }
        s->ignored[s->n_ignored++] = clean;
    }
    return 0;
}

static int find_columns(struct audit_set *s, struct layout *l, struct err *e) {
    size_t n_numbers = 0;
    l->stage = csvdoc_find(l->doc, "stage");
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        l->text[i] = csvdoc_find(l->doc, audit_text_names[i]);
    }
    for (int i = 0; i < AUDIT_COLUMNS; i++) {
        l->x[i] = csvdoc_find(l->doc, audit_column_names[i]);
        for (size_t k = 0; l->x[i] < 0 && k < sizeof(aliases) / sizeof(aliases[0]); k++) {
            if ((int)aliases[k].column == i) {
                l->x[i] = csvdoc_find(l->doc, aliases[k].alias);
            }
        }
        l->step[i] = l->x[i] < 0 ? 0 : column_step(l->doc, l->x[i]);
        n_numbers += l->x[i] >= 0;
    }
    if (n_numbers == 0) {
        return err_set(e, EE_FORMAT,
                       "%s: no column has a known name (energy_j, duration_s, n_requests, score, "
                       "...; docs/audit.md lists them)",
                       csvdoc_name(l->doc));
    }
    return note_ignored(s, l, e);
}

/* What a row is of when no column says: what only that stage has. */
static enum audit_stage guess_stage(const struct layout *l) {
    if (l->x[AUDIT_TRAIN_ROWS] >= 0) {
        return AUDIT_ADAPT;
    }
    if (l->x[AUDIT_N_REQUESTS] >= 0 || l->x[AUDIT_OUTPUT_TOKENS] >= 0) {
        return AUDIT_SERVE;
    }
    return l->x[AUDIT_SCORE_MEAN] >= 0 ? AUDIT_SCORE
           : l->x[AUDIT_LOAD_S] >= 0   ? AUDIT_LOAD
                                       : AUDIT_QUANTIZE;
}

static int add_bad(struct audit_set *s, const struct layout *l, size_t row, const char *what,
                   struct err *e) {
    struct buf where;
    buf_init(&where);
    buf_addf(&where, "%s:%zu", l->name, csvdoc_line(l->doc, row));
    const char *clean = fmt_utf8(&s->arena, what);
    int rc = buf_check(&where, "audit", e);
    rc = rc ? rc : clean ? audit_set_add_bad(s, where.data, clean, e) : out_of_memory(e);
    buf_release(&where);
    return rc;
}

static int find_stage(struct audit_set *s, const struct layout *l, size_t row,
                      enum audit_stage *stage, bool *known, struct err *e) {
    const char *name = csvdoc_cell(l->doc, row, l->stage);
    *known = true;
    *stage = guess_stage(l);
    if (!*name) {
        return 0;
    }
    for (int i = 0; i < AUDIT_STAGES; i++) {
        if (strcasecmp(name, audit_stage_names[i]) == 0) {
            *stage = (enum audit_stage)i;
            return 0;
        }
    }
    *known = false;
    char what[160];
    snprintf(what, sizeof(what),
             "column stage is \"%.40s\"; allowed: adapt, merge, quantize, load, serve, score",
             name);
    return add_bad(s, l, row, what, e);
}

/* Shares are 0..1; nothing else has an upper bound. */
static bool is_share(int column) {
    return column == AUDIT_COVERAGE || column == AUDIT_THROTTLED_SHARE || column == AUDIT_IS_SHORT;
}

/* NAN where the cell is empty or no quantity; then it is reported. */
static int read_number(struct audit_set *s, const struct layout *l, size_t row, int column,
                       double *out, struct err *e) {
    const char *cell = csvdoc_cell(l->doc, row, l->x[column]);
    const char *wrong = NULL;
    double x = NAN;
    *out = NAN;
    if (!*cell) {
        return 0;
    }
    if (csvdoc_num(l->doc, row, l->x[column], &x, NULL)) {
        wrong = "no finite number";
    } else if (x < 0) {
        wrong = "negative";
    } else if (is_share(column) && x > 1) {
        wrong = "above 1";
    }
    if (!wrong) {
        *out = x;
        return 0;
    }
    char what[200];
    snprintf(what, sizeof(what), "column %.60s is \"%.60s\", which is %s",
             csvdoc_column(l->doc, (size_t)l->x[column]), cell, wrong);
    return add_bad(s, l, row, what, e);
}

/* Names of methods, precisions and the like are told apart whatever their case. */
static const char *copy_text(struct arena *a, int text, const char *cell) {
    char *copy = arena_strdup(a, cell);
    bool fold = text == AUDIT_METHOD || text == AUDIT_PRECISION || text == AUDIT_TASK ||
                text == AUDIT_ENERGY_SOURCE || text == AUDIT_LENGTHS;
    for (char *p = copy; copy && fold && *p; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return copy ? fmt_utf8(a, copy) : NULL;
}

static int fill_row(struct audit_set *s, const struct layout *l, size_t row, struct audit_row *r,
                    struct err *e) {
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        r->text[i] = copy_text(&s->arena, i, csvdoc_cell(l->doc, row, l->text[i]));
        if (!r->text[i]) {
            return out_of_memory(e);
        }
    }
    for (int i = 0; i < AUDIT_COLUMNS; i++) {
        int rc = l->x[i] < 0 ? 0 : read_number(s, l, row, i, &r->x[i], e);
        if (rc) {
            return rc;
        }
        r->step[i] = l->step[i];
    }
    if (isnan(r->x[AUDIT_POWER_LIMIT_W]) && *r->text[AUDIT_GPU_MODEL]) {
        r->x[AUDIT_POWER_LIMIT_W] = audit_set_power_limit_w(s, r->text[AUDIT_GPU_MODEL]);
    }
    return 0;
}

static int read_row(struct audit_set *s, const struct layout *l, size_t row, struct err *e) {
    size_t n = csvdoc_row_len(l->doc, row);
    char text[160];
    if (n != csvdoc_n_columns(l->doc)) {
        snprintf(text, sizeof(text), "the row has %zu cells, the header %zu; it is left out", n,
                 csvdoc_n_columns(l->doc));
        return add_bad(s, l, row, text, e);
    }
    enum audit_stage stage = AUDIT_SERVE;
    bool known = false;
    int rc = find_stage(s, l, row, &stage, &known, e);
    if (rc || !known) {
        return rc;
    }
    snprintf(text, sizeof(text), "%.100s:%zu", l->name, csvdoc_line(l->doc, row));
    struct audit_row *r = audit_set_add(s, stage, text);
    return r ? fill_row(s, l, row, r, e) : out_of_memory(e);
}

int audit_set_read_csv(struct audit_set *s, const char *path, struct err *e) {
    struct csvdoc *doc = NULL;
    int rc = csvdoc_load_file(path, &doc, e);
    if (rc) {
        return rc;
    }
    struct layout l = {.doc = doc, .name = fmt_utf8(&s->arena, fs_basename(path))};
    rc = l.name ? find_columns(s, &l, e) : out_of_memory(e);
    for (size_t row = 0; !rc && row < csvdoc_n_rows(doc); row++) {
        rc = read_row(s, &l, row, e);
    }
    csvdoc_free(doc);
    return rc;
}
