#include "metrics/prices.h"

#include "base/fs.h"
#include "base/json.h"
#include "base/ydoc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const price_kind_names[] = {"electricity", "carbon", "cloud", "hardware", "api", NULL};

static const char unchecked[] = "unchecked";
const char *const price_qualities[] = {"source", "secondary", unchecked, NULL};

struct price_field {
    const char *name; /* NULL past the last */
    bool required;
};

/* What entries of a kind are made of, beside currency, source, date, note and quality. */
static const struct {
    struct price_field fields[PRICE_MAX_FIELDS];
    bool has_money;
    bool has_gpu;
    long fresh_days;
} kinds[PRICE_KINDS] = {
    [PRICE_ELECTRICITY] = {{{"per_kwh", true}}, true, false, 730},
    [PRICE_CARBON] = {{{"g_per_kwh", true}}, false, false, 730},
    [PRICE_CLOUD] =
        {{{"per_hour", true}, {"gpus", true}, {"bill_minimum_s", true}, {"bill_step_s", true}},
         true,
         true,
         183},
    [PRICE_HARDWARE] = {{{"price", true}, {"embodied_kg", false}}, true, false, 365},
    [PRICE_API] = {{{"input", true},
                    {"cached_input", false},
                    {"cache_write", false},
                    {"output", true},
                    {"batch_factor", false}},
                   true,
                   false,
                   183},
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "price book: out of memory");
}

static size_t n_fields(enum price_kind kind) {
    size_t n = 0;
    while (n < PRICE_MAX_FIELDS && kinds[kind].fields[n].name) {
        n++;
    }
    return n;
}

double price_value(const struct price_entry *entry, const char *field) {
    for (size_t i = 0; i < n_fields(entry->kind); i++) {
        if (strcmp(kinds[entry->kind].fields[i].name, field) == 0) {
            return entry->values[i];
        }
    }
    return NAN;
}

/* --- Dates -------------------------------------------------------------------------------------- */

static bool two_digits(const char *s, int *out) {
    if (!isdigit((unsigned char)s[0]) || !isdigit((unsigned char)s[1])) {
        return false;
    }
    *out = (s[0] - '0') * 10 + (s[1] - '0');
    return true;
}

/* Days since 1 March of year 0 in the Gregorian calendar: leap days come last in such a year. */
static bool day_number(const char *s, long *days) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century = 0, year = 0, month = 0, day = 0;
    if (strlen(s) < 10 || !two_digits(s, &century) || !two_digits(s + 2, &year) || s[4] != '-' ||
        !two_digits(s + 5, &month) || s[7] != '-' || !two_digits(s + 8, &day)) {
        return false;
    }
    year += 100 * century;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (month == 2 && is_leap ? 1 : 0)) {
        return false;
    }
    long y = month > 2 ? year : year - 1;
    long m = month > 2 ? month - 3 : month + 9;
    *days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    return true;
}

bool prices_age_days(const char *date, const char *as_of, long *days) {
    long from = 0;
    long to = 0;
    if (!day_number(date, &from) || !day_number(as_of, &to)) {
        return false;
    }
    *days = to - from;
    return true;
}

bool price_is_stale(const struct price_entry *entry, const char *as_of) {
    long days = 0;
    return as_of && prices_age_days(entry->date, as_of, &days) &&
           days > kinds[entry->kind].fresh_days;
}

bool price_is_unchecked(const struct price_entry *entry) {
    return entry->quality && strcmp(entry->quality, unchecked) == 0;
}

/* --- Reading ------------------------------------------------------------------------------------ */

struct reader {
    struct arena *arena;
    struct price_book *book;
    const char *currency; /* of the file; NULL */
};

static int keep_str(struct reader *r, struct ynode n, const char *what, const char **out,
                    struct err *e) {
    const char *text = NULL;
    int rc = ynode_str(n, what, &text, e);
    if (!rc && text) {
        *out = arena_strdup(r->arena, text);
        rc = *out ? 0 : out_of_memory(e);
    }
    return rc;
}

static int read_currency(struct reader *r, struct ynode n, const char **out, struct err *e) {
    int rc = keep_str(r, n, "currency", out, e);
    if (!rc && *out && strlen(*out) != 3) {
        rc = ynode_fail(n, e, "currency is \"%.20s\"; it should be three letters such as USD",
                        *out);
    }
    return rc;
}

/* The first figure that cannot be becomes the entry's problem. */
static int check_value(struct reader *r, struct price_entry *entry, struct ynode n,
                       const char *field, double value, struct err *e) {
    bool is_factor = strcmp(field, "batch_factor") == 0;
    if (entry->problem || (value >= 0 && !(is_factor && value > 1))) {
        return 0;
    }
    char where[256];
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s: %s of %s %s is %g, which is %s", ynode_where(n, where, sizeof(where)), field,
             price_kind_names[entry->kind], entry->name, value, value < 0 ? "negative" : "over 1");
    entry->problem = b.failed ? NULL : arena_strdup(r->arena, b.data);
    buf_release(&b);
    return entry->problem ? 0 : out_of_memory(e);
}

static int read_values(struct reader *r, struct ynode map, struct price_entry *entry,
                       struct err *e) {
    for (size_t i = 0; i < n_fields(entry->kind); i++) {
        const struct price_field *f = &kinds[entry->kind].fields[i];
        struct ynode n = ymap_get(map, f->name);
        entry->values[i] = NAN;
        if (!ynode_present(n)) {
            if (f->required) {
                return ynode_fail(map, e, "%s %s has no %s", price_kind_names[entry->kind],
                                  entry->name, f->name);
            }
            continue;
        }
        int rc = ynode_num(n, f->name, -DBL_MAX, DBL_MAX, &entry->values[i], e);
        rc = rc ? rc : check_value(r, entry, n, f->name, entry->values[i], e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int check_keys(struct ynode map, enum price_kind kind, const char *what, struct err *e) {
    const char *allowed[PRICE_MAX_FIELDS + 7];
    size_t n = 0;
    for (size_t i = 0; i < n_fields(kind); i++) {
        allowed[n++] = kinds[kind].fields[i].name;
    }
    if (kinds[kind].has_gpu) {
        allowed[n++] = "gpu";
    }
    if (kinds[kind].has_money) {
        allowed[n++] = "currency";
    }
    allowed[n++] = "source";
    allowed[n++] = "date";
    allowed[n++] = "note";
    allowed[n++] = "quality";
    allowed[n] = NULL;
    return ymap_check(map, what, allowed, e);
}

static int read_quality(struct reader *r, struct ynode n, const char **out, struct err *e) {
    int rc = keep_str(r, n, "quality", out, e);
    for (size_t i = 0; !rc && *out && price_qualities[i]; i++) {
        if (strcmp(*out, price_qualities[i]) == 0) {
            return 0;
        }
    }
    return rc || !*out ? rc
                       : ynode_fail(n, e,
                                    "quality is \"%.20s\"; it should be source, secondary or "
                                    "unchecked",
                                    *out);
}

static int read_entry(struct reader *r, struct ynode map, struct price_entry *entry,
                      struct err *e) {
    char what[128];
    long ignored = 0;
    snprintf(what, sizeof(what), "%s %.80s", price_kind_names[entry->kind], entry->name);
    int rc = check_keys(map, entry->kind, what, e);
    rc = rc ? rc : read_values(r, map, entry, e);
    rc = rc ? rc : keep_str(r, ymap_get(map, "source"), "source", &entry->source, e);
    rc = rc ? rc : keep_str(r, ymap_get(map, "date"), "date", &entry->date, e);
    rc = rc ? rc : keep_str(r, ymap_get(map, "note"), "note", &entry->note, e);
    rc = rc ? rc : keep_str(r, ymap_get(map, "gpu"), "gpu", &entry->gpu, e);
    rc = rc ? rc : read_quality(r, ymap_get(map, "quality"), &entry->quality, e);
    if (rc) {
        return rc;
    }
    if (!entry->source || !entry->date) {
        return ynode_fail(map, e,
                          "%s needs a source and a date: a price without them cannot be "
                          "checked",
                          what);
    }
    if (strlen(entry->date) != 10 || !prices_age_days(entry->date, entry->date, &ignored)) {
        return ynode_fail(ymap_get(map, "date"), e, "date is \"%.40s\"; it should be YYYY-MM-DD",
                          entry->date);
    }
    if (!kinds[entry->kind].has_money) {
        return 0;
    }
    entry->currency = r->currency;
    rc = read_currency(r, ymap_get(map, "currency"), &entry->currency, e);
    if (!rc && !entry->currency) {
        rc = ynode_fail(map, e, "%s has no currency; put \"currency: USD\" at the file's top",
                        what);
    }
    return rc;
}

/* Room for one more; grown in steps because an arena cannot give back. */
static int add_entry(struct arena *a, struct price_book *book, const struct price_entry *entry,
                     struct err *e) {
    for (size_t i = 0; i < book->n; i++) {
        if (book->entries[i].kind == entry->kind &&
            strcmp(book->entries[i].name, entry->name) == 0) {
            book->entries[i] = *entry;
            return 0;
        }
    }
    const size_t step = 32;
    if (book->n % step == 0) {
        struct price_entry *more = arena_array(a, book->n + step, sizeof(*more));
        if (!more) {
            return out_of_memory(e);
        }
        if (book->n) {
            memcpy(more, book->entries, book->n * sizeof(*more));
        }
        book->entries = more;
    }
    book->entries[book->n++] = *entry;
    return 0;
}

static int read_kind(struct reader *r, enum price_kind kind, struct ynode map, struct err *e) {
    if (ynode_present(map) && !ynode_is_map(map)) {
        return ynode_fail(map, e, "%s should be a mapping from names to prices",
                          price_kind_names[kind]);
    }
    const char *name = NULL;
    struct ynode value;
    for (size_t i = 0; ymap_at(map, i, &name, &value); i++) {
        struct price_entry entry = {.kind = kind, .name = arena_strdup(r->arena, name)};
        int rc = entry.name ? read_entry(r, value, &entry, e) : out_of_memory(e);
        rc = rc ? rc : add_entry(r->arena, r->book, &entry, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

int prices_merge(const struct price_book *from, struct arena *a, struct price_book *book,
                 struct err *e) {
    for (size_t i = 0; i < from->n; i++) {
        int rc = add_entry(a, book, &from->entries[i], e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

int prices_load_bytes(const char *text, size_t len, const char *name, struct arena *a,
                      struct price_book *book, struct err *e) {
    static const char *const allowed[] = {"currency", "electricity", "carbon", "cloud",
                                          "hardware", "api",         NULL};
    struct reader r = {.arena = a, .book = book};
    struct ydoc *doc = NULL;
    int rc = ydoc_load_bytes(text, len, name, &doc, e);
    if (rc) {
        return rc;
    }
    struct ynode root = ydoc_root(doc);
    rc = ymap_check(root, "a price file", allowed, e);
    rc = rc ? rc : read_currency(&r, ymap_get(root, "currency"), &r.currency, e);
    for (int kind = 0; kind < PRICE_KINDS && !rc; kind++) {
        rc = read_kind(&r, (enum price_kind)kind, ymap_get(root, price_kind_names[kind]), e);
    }
    ydoc_free(doc);
    return rc;
}

static int load_file(const char *path, struct arena *a, struct price_book *book, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = fs_read(path, &text, e);
    rc = rc ? rc : prices_load_bytes(text.data, text.len, path, a, book, e);
    buf_release(&text);
    return rc;
}

static int is_yaml(const struct dirent *d) {
    size_t len = strlen(d->d_name);
    const size_t ext = strlen(".yaml");
    return d->d_name[0] != '.' && len > ext && strcmp(d->d_name + len - ext, ".yaml") == 0;
}

static int load_dir(const char *path, struct arena *a, struct price_book *book, struct err *e) {
    struct dirent **names = NULL;
    int n = scandir(path, &names, is_yaml, alphasort);
    int rc = n < 0 ? err_errno(e, errno, "cannot read %s", path) : 0;
    if (n == 0) {
        rc = err_set(e, EE_MISSING, "%s has no *.yaml: it is no directory of prices", path);
    }
    for (int i = 0; i < n; i++) {
        char *file = rc ? NULL : fs_join(path, names[i]->d_name);
        if (!rc) {
            rc = file ? load_file(file, a, book, e) : out_of_memory(e);
        }
        free(file);
        free(names[i]);
    }
    free(names);
    return rc;
}

int prices_load(const char *path, struct arena *a, struct price_book *book, struct err *e) {
    struct stat st;
    bool is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    return is_dir ? load_dir(path, a, book, e) : load_file(path, a, book, e);
}

/* --- Finding and writing ------------------------------------------------------------------------ */

const struct price_entry *prices_find(const struct price_book *book, enum price_kind kind,
                                      const char *name) {
    for (size_t i = 0; i < book->n; i++) {
        if (book->entries[i].kind == kind && strcmp(book->entries[i].name, name) == 0) {
            return &book->entries[i];
        }
    }
    return NULL;
}

void prices_list_names(const struct price_book *book, enum price_kind kind, struct buf *out) {
    bool is_first = true;
    for (size_t i = 0; i < book->n; i++) {
        if (book->entries[i].kind == kind) {
            buf_addf(out, "%s%s", is_first ? "" : ", ", book->entries[i].name);
            is_first = false;
        }
    }
}

static bool put_str(json_t *o, const char *key, const char *s) {
    return !s || json_object_set_new(o, key, json_string(s)) == 0;
}

static json_t *entry_json(const struct price_entry *entry) {
    json_t *o = json_object();
    bool ok = o && put_str(o, "gpu", entry->gpu) && put_str(o, "currency", entry->currency);
    for (size_t i = 0; ok && i < n_fields(entry->kind); i++) {
        if (!isnan(entry->values[i])) {
            const char *name = kinds[entry->kind].fields[i].name;
            ok = json_object_set_new(o, name, json_real(entry->values[i])) == 0;
        }
    }
    ok = ok && put_str(o, "source", entry->source) && put_str(o, "date", entry->date) &&
         put_str(o, "note", entry->note) && put_str(o, "quality", entry->quality);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* JSON is YAML, so one reader serves both. */
int prices_dump(const struct price_book *book, struct buf *out, struct err *e) {
    json_t *root = json_object();
    bool ok = root != NULL;
    for (int kind = 0; ok && kind < PRICE_KINDS; kind++) {
        json_t *map = json_object();
        ok = json_object_set_new(root, price_kind_names[kind], map) == 0;
        for (size_t i = 0; ok && i < book->n; i++) {
            const struct price_entry *entry = &book->entries[i];
            if ((int)entry->kind == kind) {
                ok = json_object_set_new(map, entry->name, entry_json(entry)) == 0;
            }
        }
    }
    int rc = ok ? json_write(root, out, e) : out_of_memory(e);
    json_decref(root);
    return rc;
}
