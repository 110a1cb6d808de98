#include "store/store.h"

#include "base/buf.h"
#include "base/fs.h"
#include "store/schema.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a reader or writer waits for another's lock. */
enum { BUSY_TIMEOUT_MS = 5000 };
/* Of the file of shared memory beside a database. */
enum { SHM_BYTES = 32 * 1024 };

/* SQLite calls it an I/O error when that file cannot be made. */
static bool disk_is_full(const char *path) {
    uint64_t free_bytes = UINT64_MAX;
    return fs_free_bytes(path, &free_bytes, NULL) == 0 && free_bytes < SHM_BYTES;
}

/* SQLite has one code for all that the operating system refuses; its errno tells more. */
static int code_of_system_errno(const struct store *s, int otherwise) {
    switch (sqlite3_system_errno(s->db)) {
    case ENOSPC:
    case EDQUOT:
        return EE_NOSPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return EE_PERM;
    default:
        return otherwise;
    }
}

int store_fail(const struct store *s, struct err *e, const char *doing) {
    int code = EE_FAIL;
    const char *advice = "";
    switch (sqlite3_errcode(s->db) & 0xff) {
    case SQLITE_IOERR:
        code = code_of_system_errno(s, disk_is_full(s->path) ? EE_NOSPACE : EE_IO);
        break;
    case SQLITE_CANTOPEN:
        code = code_of_system_errno(s, EE_MISSING);
        break;
    case SQLITE_FULL:
        code = EE_NOSPACE;
        break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        code = EE_PERM;
        break;
    case SQLITE_BUSY:
        code = EE_IO;
        advice = "; another process is writing to it: wait until it has ended";
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
    return err_set(e, code, "%s: %s: %s%s", s->path, doing, sqlite3_errmsg(s->db), advice);
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

int store_check_row(const struct store *s, const struct arena *a, struct err *e) {
    if (a->failed || sqlite3_errcode(s->db) == SQLITE_NOMEM) {
        return err_set(e, EE_NOMEM, "%s: out of memory", s->path);
    }
    return 0;
}

double store_col_num(sqlite3_stmt *st, int col) {
    return sqlite3_column_type(st, col) == SQLITE_NULL ? (double)NAN
                                                       : sqlite3_column_double(st, col);
}

int store_collect(struct store *s, sqlite3_stmt *st, struct arena *a, size_t size,
                  void (*read)(sqlite3_stmt *st, void *row, struct arena *a), void **out, size_t *n,
                  struct err *e) {
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
        rc = store_check_row(s, a, e);
        if (rc) {
            break;
        }
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

/* Other programs number their schemas too: the tables tell. */
static int check_is_run(struct store *s, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN"
                           " ('meta', 'machine', 'variant', 'stage', 'variant_stage')",
                           "");
    if (rc) {
        return rc;
    }
    rc = store_step(s, st, e);
    bool is_run = rc == 1 && sqlite3_column_int(st, 0) == 5;
    sqlite3_finalize(st);
    if (rc >= 0 && !is_run) {
        rc = err_set(e, EE_FORMAT, "%s is not an edge-eval run", s->path);
    }
    return rc < 0 ? rc : 0;
}

/* Looks before anything is written: a file that is refused stays as it was. */
static int check_version(struct store *s, int *version, struct err *e) {
    int rc = read_schema_version(s, version, e);
    rc = rc ? rc : check_is_run(s, e);
    if (rc) {
        return rc;
    }
    if (*version > STORE_SCHEMA_VERSION) {
        return err_set(
            e, EE_UNSUPPORTED,
            "%s was written by a newer edge-eval (schema %d, this build reads up to %d); "
            "update edge-eval",
            s->path, *version, STORE_SCHEMA_VERSION);
    }
    if (*version < 1) {
        return err_set(e, EE_FORMAT, "%s is not an edge-eval run", s->path);
    }
    return 0;
}

static int connect_to(struct store *s, const char *name, int flags, struct err *e) {
    sqlite3_close(s->db);
    s->db = NULL;
    if (sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        return store_fail(s, e, "cannot open");
    }
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    return store_exec(s, "PRAGMA foreign_keys = ON", e);
}

/* The path as a URI; SQLite takes '?', '#' and '%' in it for itself. */
static void add_uri(struct buf *out, const char *path) {
    buf_addstr(out, path[0] == '/' ? "file://" : "file:");
    for (; *path; path++) {
        if (strchr("?#%", *path)) {
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*path);
        } else {
            buf_addch(out, *path);
        }
    }
    buf_addstr(out, "?immutable=1");
}

/*
 * A reader of a WAL file makes files beside it, which a read-only directory refuses. There, a run
 * that was closed is read as one that cannot change; the log of one that was not is needed.
 */
static int open_immutable(struct store *s, int *version, struct err *e) {
    struct buf name;
    buf_init(&name);
    buf_addf(&name, "%s-wal", s->path);
    uint64_t wal_bytes = 0;
    bool has_log = fs_size(name.data, &wal_bytes, NULL) == 0 && wal_bytes > 0;
    buf_clear(&name);
    add_uri(&name, s->path);
    int rc = buf_check(&name, s->path, e);
    if (!rc && has_log) {
        rc = err_set(e, EE_PERM,
                     "%s was not closed, and reading it needs to write beside it; copy the run's "
                     "directory to where you can write",
                     s->path);
    }
    rc = rc ? rc : connect_to(s, name.data, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, e);
    rc = rc ? rc : check_version(s, version, e);
    buf_release(&name);
    return rc;
}

/* After a read failed. */
static bool is_read_only_directory(const struct store *s) {
    int code = sqlite3_extended_errcode(s->db);
    return code == SQLITE_READONLY_DIRECTORY || code == SQLITE_CANTOPEN;
}

static int open_existing(struct store *s, bool read_only, int *version, struct err *e) {
    int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int rc = connect_to(s, s->path, flags, e);
    if (!rc && !read_only && sqlite3_db_readonly(s->db, "main")) {
        rc = err_set(e, EE_PERM, "%s is read-only, and a run that goes on is written to", s->path);
    }
    rc = rc ? rc : check_version(s, version, e);
    if (rc && read_only && is_read_only_directory(s)) {
        rc = open_immutable(s, version, e);
    }
    return rc;
}

/* Goes on with a copy in memory, which may be migrated while the file stays as it is. */
static int read_from_copy(struct store *s, int version, struct err *e) {
    sqlite3 *copy = NULL;
    int rc = sqlite3_open_v2(":memory:", &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_backup *b = rc == SQLITE_OK ? sqlite3_backup_init(copy, "main", s->db, "main") : NULL;
    bool copied = b && sqlite3_backup_step(b, -1) == SQLITE_DONE;
    copied = sqlite3_backup_finish(b) == SQLITE_OK && copied;
    if (!copied) {
        sqlite3_close(copy);
        return err_set(e, EE_IO, "cannot read %s into memory to bring its schema %d to %d", s->path,
                       version, STORE_SCHEMA_VERSION);
    }
    sqlite3_close(s->db);
    s->db = copy;
    return migrate(s, version, e);
}

static int prepare_to_write(struct store *s, int version, struct err *e) {
    int rc = store_exec(s, "PRAGMA journal_mode = WAL", e);
    rc = rc ? rc : store_exec(s, "PRAGMA synchronous = FULL", e);
    return rc ? rc : migrate(s, version, e);
}

static struct store *new_store(const char *path, struct err *e) {
    struct store *s = calloc(1, sizeof(*s));
    if (!s || !(s->path = strdup(path))) {
        free(s);
        err_set(e, EE_NOMEM, "%s: out of memory", path);
        return NULL;
    }
    return s;
}

static void remove_files(const char *path) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        struct buf name;
        buf_init(&name);
        buf_addf(&name, "%s%s", path, suffixes[i]);
        if (!name.failed) {
            unlink(name.data);
        }
        buf_release(&name);
    }
}

int store_create(const char *path, struct store **out, struct err *e) {
    *out = NULL;
    /* Ours from here on, so that a failure below may remove it. */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return errno == EEXIST ? err_set(e, EE_USAGE, "%s exists already", path)
                               : err_errno(e, errno, "cannot create %s", path);
    }
    close(fd);
    struct store *s = new_store(path, e);
    int rc = s ? connect_to(s, path, SQLITE_OPEN_READWRITE, e) : EE_NOMEM;
    rc = rc ? rc : prepare_to_write(s, 0, e);
    if (rc) {
        store_close(s);
        remove_files(path);
        return rc;
    }
    *out = s;
    return 0;
}

int store_open(const char *path, bool read_only, struct store **out, struct err *e) {
    *out = NULL;
    if (!fs_exists(path)) {
        return err_errno(e, ENOENT, "cannot open %s", path);
    }
    struct store *s = new_store(path, e);
    if (!s) {
        return EE_NOMEM;
    }
    int version = 0;
    int rc = open_existing(s, read_only, &version, e);
    if (!rc && !read_only) {
        rc = prepare_to_write(s, version, e);
    } else if (!rc && version < STORE_SCHEMA_VERSION) {
        rc = read_from_copy(s, version, e);
    }
    if (rc) {
        store_close(s);
        return rc;
    }
    *out = s;
    return 0;
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
