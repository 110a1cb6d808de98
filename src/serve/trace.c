#include "serve/trace.h"

#include "base/fs.h"
#include "base/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 4 << 20 };

struct reader {
    const char *path;
    size_t line;
    struct arena *arena;
    struct buf rows; /* struct trace_row */
    size_t n_skipped;
    double first_s;
    bool has_first;
    double speed;
};

static int bad_line(const struct reader *r, const char *why, struct err *e) {
    return err_set(e, EE_FORMAT, "%s:%zu: %s", r->path, r->line, why);
}

static int add_row(struct reader *r, double at_s, double in, double out, const json_t *ids,
                   struct err *e) {
    if (!isfinite(at_s) || !(in >= 0) || !(out >= 0) || in > MAX_TOKENS || out > MAX_TOKENS) {
        return bad_line(r, "a time or length that cannot be", e);
    }
    if (in < 1 || out < 1) {
        r->n_skipped++;
        return 0;
    }
    if (!r->has_first) {
        r->first_s = at_s;
        r->has_first = true;
    }
    struct trace_row row = {.at_ns = (int64_t)((at_s - r->first_s) / r->speed * 1e9),
                            .input_tokens = (int)in,
                            .output_tokens = (int)out,
                            .n_hash_ids = json_array_size(ids)};
    if (row.n_hash_ids > 0) {
        int64_t *copy = arena_array(r->arena, row.n_hash_ids, sizeof(*copy));
        for (size_t i = 0; copy && i < row.n_hash_ids; i++) {
            copy[i] = (int64_t)json_integer_value(json_array_get(ids, i));
        }
        row.hash_ids = copy;
    }
    buf_add(&r->rows, &row, sizeof(row));
    return 0;
}

static int read_json_line(struct reader *r, const char *line, size_t len, struct err *e) {
    json_t *v = NULL;
    double at_ms = 0;
    double in = 0;
    double out = 0;
    char what[300];
    snprintf(what, sizeof(what), "%.250s line %zu", r->path, r->line);
    int rc = json_parse(line, len, what, &v, e);
    if (rc) {
        return rc;
    }
    rc = json_want_num(v, "timestamp", &at_ms, e);
    rc = rc ? rc : json_want_num(v, "input_length", &in, e);
    rc = rc ? rc : json_want_num(v, "output_length", &out, e);
    if (rc) {
        rc = err_prefix(e, "%s", what);
    }
    rc = rc ? rc : add_row(r, at_ms / 1000, in, out, json_object_get(v, "hash_ids"), e);
    json_decref(v);
    return rc;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar. */
static int64_t days_of(int y, int m, int d) {
    int64_t yy = m <= 2 ? y - 1 : y;
    int64_t era = (yy >= 0 ? yy : yy - 399) / 400;
    int64_t of_era = yy - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "2023-11-16 18:15:46.6805900" or a number of seconds. */
static bool read_time(const char *text, double *out) {
    int y, m, d, h, min;
    double s;
    if (sscanf(text, "%4d-%2d-%2d%*1[ T]%2d:%2d:%lf", &y, &m, &d, &h, &min, &s) == 6) {
        *out = (double)days_of(y, m, d) * 86400 + h * 3600 + min * 60 + s;
        return m >= 1 && m <= 12 && d >= 1 && d <= 31 && h < 24 && min < 60;
    }
    char *end = NULL;
    *out = strtod(text, &end);
    return end != text && *end == ',';
}

static int read_csv_line(struct reader *r, const char *line, size_t len, struct err *e) {
    char copy[256];
    double at_s;
    if (len >= sizeof(copy)) {
        return bad_line(r, "too long for TIMESTAMP,ContextTokens,GeneratedTokens", e);
    }
    memcpy(copy, line, len);
    copy[len] = '\0';
    const char *comma = strchr(copy, ',');
    char *end = NULL;
    if (!comma || !read_time(copy, &at_s)) {
        return bad_line(r, "expected TIMESTAMP,ContextTokens,GeneratedTokens", e);
    }
    double in = strtod(comma + 1, &end);
    if (end == comma + 1 || *end != ',') {
        return bad_line(r, "ContextTokens is no number", e);
    }
    comma = end;
    double out = strtod(comma + 1, &end);
    if (end == comma + 1 || (*end && *end != ',' && *end != '\r')) {
        return bad_line(r, "GeneratedTokens is no number", e);
    }
    return add_row(r, at_s, in, out, NULL, e);
}

static int by_time(const void *a, const void *b) {
    int64_t x = ((const struct trace_row *)a)->at_ns;
    int64_t y = ((const struct trace_row *)b)->at_ns;
    return x < y ? -1 : x > y;
}

static int read_lines(struct reader *r, const struct buf *text, size_t limit, struct err *e) {
    const char *p = text->data;
    const char *end = p + text->len;
    int rc = 0;
    while (p < end && !rc && (limit == 0 || r->rows.len / sizeof(struct trace_row) < limit)) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((eol ? eol : end) - p);
        r->line++;
        if (strspn(p, " \t\r") < len) {
            bool header = r->line == 1 && strncmp(p, "TIMESTAMP", 9) == 0;
            rc = header      ? 0
                 : *p == '{' ? read_json_line(r, p, len, e)
                             : read_csv_line(r, p, len, e);
        }
        p = eol ? eol + 1 : end;
    }
    return rc;
}

int trace_load(const char *path, size_t limit, double speed, struct arena *a,
               struct trace_row **rows, size_t *n, size_t *n_skipped, struct err *e) {
    struct reader r = {.path = path, .arena = a, .speed = speed};
    struct buf text;
    buf_init(&text);
    buf_init(&r.rows);
    int rc = fs_read(path, &text, e);
    rc = rc ? rc : read_lines(&r, &text, limit, e);
    rc = rc ? rc : buf_check(&r.rows, "trace", e);
    *n = r.rows.len / sizeof(struct trace_row);
    *n_skipped = r.n_skipped;
    if (!rc && *n == 0) {
        rc = err_set(e, EE_FORMAT, "%s has no request with input and output", path);
    }
    *rows = rc ? NULL : arena_array(a, *n, sizeof(**rows));
    if (!rc && (!*rows || a->failed)) {
        rc = err_set(e, EE_NOMEM, "%s: out of memory", path);
    }
    if (!rc) {
        memcpy(*rows, r.rows.data, r.rows.len);
        qsort(*rows, *n, sizeof(**rows), by_time);
        int64_t first_ns = (*rows)[0].at_ns; /* lines out of order: none comes before the start */
        for (size_t i = 0; i < *n; i++) {
            (*rows)[i].at_ns -= first_ns;
        }
    }
    buf_release(&r.rows);
    buf_release(&text);
    return rc;
}
