#include "store/store.h"

#include "base/fs.h"
#include "store/schema.h"
#include "store/store_internal.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a reader or writer waits for another's lock. */
enum { BUSY_TIMEOUT_MS = 5000 };

int store_fail(const struct store *s, struct err *e, const char *doing) {
    int code = EE_IO;
    switch (sqlite3_errcode(s->db) & 0xff) {
    case SQLITE_FULL:
        code = EE_NOSPACE;
        break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        code = EE_PERM;
        break;
    case SQLITE_CANTOPEN:
        code = EE_MISSING;
        break;
    case SQLITE_NOMEM:
        code = EE_NOMEM;
        break;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        code = EE_FORMAT;
        break;
    default:
        break;
    }
    return err_set(e, code, "%s: %s: %s", s->path, doing, sqlite3_errmsg(s->db));
}

int store_exec(struct store *s, const char *sql, struct err *e) {
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        char what[64];
        snprintf(what, sizeof(what), "%.60s", sql);
        return store_fail(s, e, what);
    }
    return 0;
}

static int bind_all(sqlite3_stmt *st, const char *types, va_list ap) {
    int rc = SQLITE_OK;
    for (int i = 1; *types && rc == SQLITE_OK; types++, i++) {
        switch (*types) {
        case 's':
            rc = sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'i':
            rc = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
            break;
        case 'b':
            rc = sqlite3_bind_int(st, i, va_arg(ap, int) != 0);
            break;
        case 'd': {
            double v = va_arg(ap, double);
            rc = isnan(v) ? sqlite3_bind_null(st, i) : sqlite3_bind_double(st, i, v);
            break;
        }
        case 'z': {
            const void *bytes = va_arg(ap, const void *);
            size_t n = va_arg(ap, size_t);
            rc = sqlite3_bind_blob64(st, i, bytes, n, SQLITE_TRANSIENT);
            break;
        }
        default:
            rc = SQLITE_MISUSE;
        }
    }
    return rc;
}

static int prepare_v(struct store *s, sqlite3_stmt **st, struct err *e, const char *sql,
                     const char *types, va_list ap) {
    if (sqlite3_prepare_v2(s->db, sql, -1, st, NULL) != SQLITE_OK) {
        return store_fail(s, e, "cannot prepare a statement");
    }
    if (bind_all(*st, types, ap) != SQLITE_OK) {
        int rc = store_fail(s, e, "cannot bind a value");
        sqlite3_finalize(*st);
        return rc;
    }
    return 0;
}

int store_prepare(struct store *s, sqlite3_stmt **st, struct err *e, const char *sql,
                  const char *types, ...) {
    va_list ap;
    va_start(ap, types);
    int rc = prepare_v(s, st, e, sql, types, ap);
    va_end(ap);
    return rc;
}

int store_run(struct store *s, struct err *e, const char *sql, const char *types, ...) {
    sqlite3_stmt *st = NULL;
    va_list ap;
    va_start(ap, types);
    int rc = prepare_v(s, &st, e, sql, types, ap);
    va_end(ap);
    if (rc) {
        return rc;
    }
    if (sqlite3_step(st) != SQLITE_DONE) {
        rc = store_fail(s, e, "cannot write");
    }
    sqlite3_finalize(st);
    return rc;
}

int store_step(struct store *s, sqlite3_stmt *st, struct err *e) {
    switch (sqlite3_step(st)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return store_fail(s, e, "cannot read");
    }
}

const char *store_col_text(sqlite3_stmt *st, int col, struct arena *a) {
    const char *text = (const char *)sqlite3_column_text(st, col);
    return text ? arena_strdup(a, text) : NULL;
}

double store_col_num(sqlite3_stmt *st, int col) {
    return sqlite3_column_type(st, col) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, col);
}

int store_collect(struct store *s, sqlite3_stmt *st, struct arena *a, size_t size,
                  void (*read)(sqlite3_stmt *st, void *row, struct arena *a), void **out,
                  size_t *n, struct err *e) {
    char *rows = NULL;
    size_t cap = 0;
    *out = NULL;
    *n = 0;
    int rc;
    while ((rc = store_step(s, st, e)) == 1) {
        if (*n == cap) {
            cap = cap ? cap * 2 : 32;
            char *grown = realloc(rows, cap * size);
            if (!grown) {
                rc = err_set(e, EE_NOMEM, "%s: out of memory", s->path);
                break;
            }
            rows = grown;
        }
        memset(rows + *n * size, 0, size);
        read(st, rows + *n * size, a);
        (*n)++;
    }
    sqlite3_finalize(st);
    if (!rc && *n > 0) {
        *out = arena_array(a, *n, size);
        if (*out) {
            memcpy(*out, rows, *n * size);
        } else {
            rc = err_set(e, EE_NOMEM, "%s: out of memory", s->path);
        }
    }
    free(rows);
    return rc;
}

static int read_schema_version(struct store *s, int *version, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e, "PRAGMA user_version", "");
    if (rc) {
        return rc;
    }
    rc = store_step(s, st, e);
    *version = rc == 1 ? sqlite3_column_int(st, 0) : 0;
    sqlite3_finalize(st);
    return rc < 0 ? rc : 0;
}

static int migrate(struct store *s, int from, struct err *e) {
    for (int v = from; v < STORE_SCHEMA_VERSION; v++) {
        char set_version[48];
        snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", v + 1);
        int rc = store_begin(s, e);
        rc = rc ? rc : store_exec(s, store_migrations[v], e);
        rc = rc ? rc : store_exec(s, set_version, e);
        rc = rc ? rc : store_commit(s, e);
        if (rc) {
            store_rollback(s);
            return rc;
        }
    }
    return 0;
}

static int check_version(struct store *s, bool read_only, bool fresh, struct err *e) {
    int version = 0;
    int rc = read_schema_version(s, &version, e);
    if (rc) {
        return rc;
    }
    if (version > STORE_SCHEMA_VERSION) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s was written by a newer edge-eval (schema %d, this build reads up to %d); "
                       "update edge-eval",
                       s->path, version, STORE_SCHEMA_VERSION);
    }
    if (version == 0 && !fresh) {
        return err_set(e, EE_FORMAT, "%s is not an edge-eval run", s->path);
    }
    if (version < STORE_SCHEMA_VERSION && read_only) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s has the older schema %d; resume the run once to bring it to %d", s->path,
                       version, STORE_SCHEMA_VERSION);
    }
    return migrate(s, version, e);
}

static int open_db(const char *path, int flags, bool fresh, struct store **out, struct err *e) {
    *out = NULL;
    struct store *s = calloc(1, sizeof(*s));
    if (!s || !(s->path = strdup(path))) {
        free(s);
        return err_set(e, EE_NOMEM, "%s: out of memory", path);
    }
    bool read_only = (flags & SQLITE_OPEN_READONLY) != 0;
    int rc = 0;
    if (sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        rc = store_fail(s, e, "cannot open");
        goto fail;
    }
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    rc = store_exec(s, "PRAGMA foreign_keys = ON", e);
    if (!rc && !read_only) {
        rc = store_exec(s, "PRAGMA journal_mode = WAL", e);
        rc = rc ? rc : store_exec(s, "PRAGMA synchronous = FULL", e);
    }
    rc = rc ? rc : check_version(s, read_only, fresh, e);
    if (!rc) {
        *out = s;
        return 0;
    }
fail:
    store_close(s);
    return rc;
}

int store_create(const char *path, struct store **out, struct err *e) {
    *out = NULL;
    if (fs_exists(path)) {
        return err_set(e, EE_USAGE, "%s exists already", path);
    }
    return open_db(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, true, out, e);
}

int store_open(const char *path, bool read_only, struct store **out, struct err *e) {
    *out = NULL;
    if (!fs_exists(path)) {
        return err_errno(e, ENOENT, "cannot open %s", path);
    }
    return open_db(path, read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, false, out, e);
}

void store_close(struct store *s) {
    if (s) {
        sqlite3_close(s->db);
        free(s->path);
        free(s);
    }
}

int store_begin(struct store *s, struct err *e) {
    return store_exec(s, "BEGIN IMMEDIATE", e);
}

int store_commit(struct store *s, struct err *e) {
    return store_exec(s, "COMMIT", e);
}

void store_rollback(struct store *s) {
    if (!sqlite3_get_autocommit(s->db)) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
}
