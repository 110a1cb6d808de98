/* What the store's files share: the handle and one way to bind and read columns. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "store/store.h"

#include <sqlite3.h>

struct store {
    sqlite3 *db;
    char *path;
};

/* Sets e from SQLite's last error; a full disk and a read-only file get codes of their own. */
int store_fail(const struct store *s, struct err *e, const char *doing);
int store_exec(struct store *s, const char *sql, struct err *e) EE_MUST_CHECK;

/*
 * A statement with its parameters, from a format of one letter each:
 * s text (NULL allowed), i int64_t, b int (0 or 1), d double (NAN binds NULL), z blob + size_t.
 */
int store_prepare(struct store *s, sqlite3_stmt **st, struct err *e, const char *sql,
                  const char *types, ...) EE_MUST_CHECK;
/* store_prepare, one step that returns no row, finalize. */
int store_run(struct store *s, struct err *e, const char *sql, const char *types,
              ...) EE_MUST_CHECK;

/* Steps: 1 a row, 0 no more, negative an error. */
int store_step(struct store *s, sqlite3_stmt *st, struct err *e) EE_MUST_CHECK;
/* Column values: text copied into a (NULL stays NULL), numbers with NULL read as NAN. */
const char *store_col_text(sqlite3_stmt *st, int col, struct arena *a);
double store_col_num(sqlite3_stmt *st, int col);
/* Ask once a row is read: for lack of memory a column reads as if it were NULL. */
int store_check_row(const struct store *s, const struct arena *a, struct err *e) EE_MUST_CHECK;

/*
 * Reads every row of st into an array in a: read(st, row, a) fills one element of size bytes.
 * Finalizes st.
 */
int store_collect(struct store *s, sqlite3_stmt *st, struct arena *a, size_t size,
                  void (*read)(sqlite3_stmt *st, void *row, struct arena *a), void **out, size_t *n,
                  struct err *e) EE_MUST_CHECK;

#endif
