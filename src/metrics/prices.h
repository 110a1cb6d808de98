/*
 * The price book: what electricity, cloud hours, hardware, APIs and carbon cost, each entry with its
 * source and date (docs/prices.md). Loading reads files; nothing that computes does.
 *
 * A book is filled from any number of texts; an entry replaces one of the same kind and name, so a
 * user's file overrides single entries. Everything lies in the caller's arena. A file that does not
 * parse is an error with file:line:column. A figure that cannot be (a negative price) is not: its
 * entry carries the problem, and what depends on it is refused.
 */
#ifndef METRICS_PRICES_H
#define METRICS_PRICES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum price_kind {
    PRICE_ELECTRICITY,
    PRICE_CARBON,
    PRICE_CLOUD,
    PRICE_HARDWARE,
    PRICE_API,
    PRICE_KINDS,
};
/* "electricity", ...: the keys of a price file. */
extern const char *const price_kind_names[];

enum { PRICE_MAX_FIELDS = 5 };

/* "source": compared with the source; "secondary": with a table of others that names the source;
 * "unchecked": with neither. Ended by NULL. */
extern const char *const price_qualities[];

struct price_entry {
    enum price_kind kind;
    const char *name;
    const char *currency; /* "USD"; NULL where the kind has no money in it */
    const char *source;
    const char *date;                /* YYYY-MM-DD */
    const char *note;                /* NULL without one */
    const char *quality;             /* of price_qualities; NULL: nobody said, a user's own */
    const char *gpu;                 /* of a cloud machine; NULL elsewhere */
    const char *problem;             /* "prices.yaml:3:14: per_hour is negative (-1)"; NULL */
    double values[PRICE_MAX_FIELDS]; /* in the order of the kind's fields; NAN where absent */
};

struct price_book {
    struct price_entry *entries; /* in the order in which their names first came */
    size_t n;
};

/* Adds the entries of one YAML text to the book; name stands for the file in messages. */
int prices_load_bytes(const char *text, size_t len, const char *name, struct arena *a,
                      struct price_book *book, struct err *e) EE_MUST_CHECK;
/* The same from a file, or from every *.yaml of a directory in the order of their names. */
int prices_load(const char *path, struct arena *a, struct price_book *book,
                struct err *e) EE_MUST_CHECK;
/* Adds the entries of another book, whose texts must live as long. */
int prices_merge(const struct price_book *from, struct arena *a, struct price_book *book,
                 struct err *e) EE_MUST_CHECK;
/* Appends the whole book as text that prices_load_bytes reads back. */
int prices_dump(const struct price_book *book, struct buf *out, struct err *e) EE_MUST_CHECK;

/* NULL when there is none. */
const struct price_entry *prices_find(const struct price_book *book, enum price_kind kind,
                                      const char *name);
/* "germany, france, ...": the names of a kind, for an error. Appends to out. */
void prices_list_names(const struct price_book *book, enum price_kind kind, struct buf *out);
/* The field's value, NAN where the entry does not have it. field must be one of the kind's. */
double price_value(const struct price_entry *entry, const char *field);

bool price_is_unchecked(const struct price_entry *entry);

/* Days from date to as_of, both starting with YYYY-MM-DD; false when one is no date. */
bool prices_age_days(const char *date, const char *as_of, long *days);
/*
 * True when the entry is older at as_of than its kind stays fresh: half a year for cloud and API
 * prices, one for hardware, two for electricity and carbon, which are published a year late.
 * False when as_of is NULL or no date.
 */
bool price_is_stale(const struct price_entry *entry, const char *as_of);

#endif
