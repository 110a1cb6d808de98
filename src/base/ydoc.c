#include "base/ydoc.h"

#include "base/buf.h"
#include "base/fs.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* Far above any document a person writes; the readers of documents may recurse. */
enum { MAX_DEPTH = 64 };

struct ydoc {
    yaml_document_t doc;
    char *name;
};

static const yaml_node_t *raw(struct ynode n) {
    if (n.id == 0) {
        return NULL;
    }
    /* libyaml's accessor takes a mutable document and does not change it. */
    return yaml_document_get_node((yaml_document_t *)&n.doc->doc, n.id);
}

struct source {
    const char *text;
    size_t len;
    const char *name; /* of the file, in messages */
};

static int fail_at(const struct source *src, yaml_mark_t at, struct err *e, const char *text) {
    return err_set(e, EE_FORMAT, "%s:%zu:%zu: %s", src->name, at.line + 1, at.column + 1, text);
}

/* Bytes that are no YAML text have an offset and no mark, because they were never decoded. */
static yaml_mark_t mark_of_offset(const struct source *src, size_t offset) {
    yaml_mark_t at = {0};
    for (size_t i = 0; i < offset && i < src->len; i++) {
        if (src->text[i] == '\n') {
            at.line++;
            at.column = 0;
        } else if (((unsigned char)src->text[i] & 0xc0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

/* libyaml's words for a tab do not name it, and it cannot be seen. */
static bool is_tab(const struct source *src, yaml_mark_t at) {
    size_t i = 0;
    for (size_t line = 0; line < at.line && i < src->len; i++) {
        line += src->text[i] == '\n';
    }
    return at.column < src->len && i < src->len - at.column && src->text[i + at.column] == '\t';
}

static int parse_error(const yaml_parser_t *p, const struct source *src, struct err *e) {
    if (p->error == YAML_MEMORY_ERROR || !p->problem) {
        return err_set(e, EE_NOMEM, "%s: out of memory", src->name);
    }
    bool is_undecodable = p->error == YAML_READER_ERROR;
    yaml_mark_t at = is_undecodable ? mark_of_offset(src, p->problem_offset) : p->problem_mark;
    char text[256];
    snprintf(text, sizeof(text), "not valid YAML: %s%s%s%s", p->problem, p->context ? ", " : "",
             p->context ? p->context : "",
             is_tab(src, at) ? " (a tab is here; indent with spaces)" : "");
    return fail_at(src, at, e, text);
}

static bool has_anchor(const yaml_event_t *ev) {
    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return true;
    case YAML_SCALAR_EVENT:
        return ev->data.scalar.anchor != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return ev->data.sequence_start.anchor != NULL;
    case YAML_MAPPING_START_EVENT:
        return ev->data.mapping_start.anchor != NULL;
    default:
        return false;
    }
}

/* What the events of one file have shown so far. */
struct progress {
    int n_documents;
    int depth;
};

static int check_event(const yaml_event_t *ev, const struct source *src, struct progress *seen,
                       struct err *e) {
    if (has_anchor(ev)) {
        return fail_at(src, ev->start_mark, e,
                       "anchors and aliases (&name, *name) are not supported: write the value out");
    }
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++seen->n_documents > 1) {
            return fail_at(src, ev->start_mark, e,
                           "a second document starts here; one file holds one");
        }
        return 0;
    case YAML_SCALAR_EVENT:
        if (memchr(ev->data.scalar.value, '\0', ev->data.scalar.length)) {
            return fail_at(src, ev->start_mark, e, "text must not hold a NUL character");
        }
        return 0;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++seen->depth > MAX_DEPTH) {
            return fail_at(src, ev->start_mark, e, "nested too deeply");
        }
        return 0;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        seen->depth--;
        return 0;
    default:
        return 0;
    }
}

/*
 * A pass over the events before the document is loaded: libyaml resolves an alias to its anchor's
 * node, so that the loaded document no longer shows either, nor where they were.
 */
static int check_events(const struct source *src, struct err *e) {
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p)) {
        return err_set(e, EE_NOMEM, "%s: out of memory", src->name);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)src->text, src->len);
    struct progress seen = {0};
    int rc = 0;
    for (bool more = true; more && !rc;) {
        yaml_event_t ev;
        if (!yaml_parser_parse(&p, &ev)) {
            rc = parse_error(&p, src, e);
            break;
        }
        rc = check_event(&ev, src, &seen, e);
        more = ev.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&p);
    if (!rc && seen.n_documents == 0) {
        rc = fail_at(src, (yaml_mark_t){0}, e, "the file is empty");
    }
    return rc;
}

struct key {
    const char *text;
    int id; /* of the key's node; grows in file order */
};

static int compare_keys(const void *a, const void *b) {
    const struct key *x = a;
    const struct key *y = b;
    int c = strcmp(x->text, y->text);
    return c ? c : (x->id > y->id) - (x->id < y->id);
}

/* The first key, in file order, that its mapping has had before; absent when there is none. */
static struct ynode repeated_key(struct ynode map, struct key *keys) {
    const yaml_node_pair_t *pairs = raw(map)->data.mapping.pairs.start;
    size_t n = (size_t)(raw(map)->data.mapping.pairs.top - pairs);
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *k = raw((struct ynode){map.doc, pairs[i].key});
        keys[i] = (struct key){(const char *)k->data.scalar.value, pairs[i].key};
    }
    qsort(keys, n, sizeof(*keys), compare_keys);
    struct ynode first = {map.doc, 0};
    for (size_t i = 1; i < n; i++) {
        bool repeats = strcmp(keys[i - 1].text, keys[i].text) == 0;
        if (repeats && (first.id == 0 || keys[i].id < first.id)) {
            first.id = keys[i].id;
        }
    }
    return first;
}

static int check_keys_of(struct ynode map, struct err *e) {
    const yaml_node_pair_t *pairs = raw(map)->data.mapping.pairs.start;
    size_t n = (size_t)(raw(map)->data.mapping.pairs.top - pairs);
    for (size_t i = 0; i < n; i++) {
        struct ynode key = {map.doc, pairs[i].key};
        if (!ynode_is_scalar(key)) {
            return ynode_fail(key, e, "keys must be plain text");
        }
    }
    struct key *keys = calloc(n + 1, sizeof(*keys));
    if (!keys) {
        return err_set(e, EE_NOMEM, "%s: out of memory", map.doc->name);
    }
    struct ynode again = repeated_key(map, keys);
    free(keys);
    if (ynode_present(again)) {
        return ynode_fail(again, e, "\"%s\" is given twice",
                          (const char *)raw(again)->data.scalar.value);
    }
    return 0;
}

static int check_keys(const struct ydoc *d, struct err *e) {
    int n = (int)(d->doc.nodes.top - d->doc.nodes.start);
    for (int id = 1; id <= n; id++) {
        struct ynode node = {d, id};
        int rc = ynode_is_map(node) ? check_keys_of(node, e) : 0;
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int load_document(struct ydoc *d, const struct source *src, struct err *e) {
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p)) {
        return err_set(e, EE_NOMEM, "%s: out of memory", src->name);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)src->text, src->len);
    int rc = yaml_parser_load(&p, &d->doc) ? 0 : parse_error(&p, src, e);
    yaml_parser_delete(&p);
    return rc;
}

int ydoc_load_bytes(const char *text, size_t len, const char *name, struct ydoc **out,
                    struct err *e) {
    const struct source src = {text, len, name};
    *out = NULL;
    int rc = check_events(&src, e);
    if (rc) {
        return rc;
    }
    struct ydoc *d = calloc(1, sizeof(*d));
    if (!d || !(d->name = strdup(name))) {
        free(d);
        return err_set(e, EE_NOMEM, "%s: out of memory", name);
    }
    rc = load_document(d, &src, e);
    rc = rc ? rc : check_keys(d, e);
    if (rc) {
        ydoc_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

int ydoc_load_file(const char *path, struct ydoc **out, struct err *e) {
    *out = NULL;
    struct buf b;
    buf_init(&b);
    int rc = fs_read(path, &b, e);
    if (!rc) {
        rc = ydoc_load_bytes(b.data, b.len, path, out, e);
    }
    buf_release(&b);
    return rc;
}

void ydoc_free(struct ydoc *doc) {
    if (doc) {
        yaml_document_delete(&doc->doc);
        free(doc->name);
        free(doc);
    }
}

struct ynode ydoc_root(const struct ydoc *doc) {
    return (struct ynode){doc, 1};
}

bool ynode_present(struct ynode n) {
    return n.id != 0;
}

bool ynode_is_scalar(struct ynode n) {
    const yaml_node_t *r = raw(n);
    return r && r->type == YAML_SCALAR_NODE;
}

bool ynode_is_map(struct ynode n) {
    const yaml_node_t *r = raw(n);
    return r && r->type == YAML_MAPPING_NODE;
}

bool ynode_is_seq(struct ynode n) {
    const yaml_node_t *r = raw(n);
    return r && r->type == YAML_SEQUENCE_NODE;
}

const char *ynode_where(struct ynode n, char *buf, size_t size) {
    const yaml_node_t *r = raw(n);
    if (r) {
        /* A long name gives way to the position. */
        snprintf(buf, size, "%.*s:%zu:%zu", size > 48 ? (int)size - 48 : 0, n.doc->name,
                 r->start_mark.line + 1, r->start_mark.column + 1);
    } else {
        snprintf(buf, size, "%s", n.doc ? n.doc->name : "?");
    }
    return buf;
}

int ynode_fail(struct ynode n, struct err *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    err_setv(e, EE_FORMAT, fmt, ap);
    va_end(ap);
    char where[512];
    err_prefix(e, "%s", ynode_where(n, where, sizeof(where)));
    return EE_FORMAT;
}

static void list_names(struct buf *b, const char *const *names) {
    for (size_t i = 0; names[i]; i++) {
        buf_addf(b, "%s%s", i ? ", " : "", names[i]);
    }
}

static int fail_listing(struct ynode n, struct err *e, const char *text, const char *const *names) {
    struct buf b;
    buf_init(&b);
    list_names(&b, names);
    int rc = ynode_fail(n, e, "%s; allowed: %s", text, b.data);
    buf_release(&b);
    return rc;
}

static bool in_list(const char *s, const char *const *names) {
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(s, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

int ymap_check(struct ynode n, const char *what, const char *const *allowed, struct err *e) {
    if (!ynode_is_map(n)) {
        char text[160];
        snprintf(text, sizeof(text), "%s should be a mapping (key: value)", what);
        return fail_listing(n, e, text, allowed);
    }
    const char *key;
    struct ynode value;
    for (size_t i = 0; ymap_at(n, i, &key, &value); i++) {
        if (!in_list(key, allowed)) {
            char text[256];
            snprintf(text, sizeof(text), "unknown key \"%.80s\" in %s", key, what);
            /* Point at the key, which is the line to change, not at its value. */
            const yaml_node_pair_t *pair = raw(n)->data.mapping.pairs.start + i;
            return fail_listing((struct ynode){n.doc, pair->key}, e, text, allowed);
        }
    }
    return 0;
}

bool ymap_at(struct ynode map, size_t i, const char **key, struct ynode *value) {
    const yaml_node_t *r = raw(map);
    if (!r || r->type != YAML_MAPPING_NODE ||
        i >= (size_t)(r->data.mapping.pairs.top - r->data.mapping.pairs.start)) {
        return false;
    }
    const yaml_node_pair_t *pair = r->data.mapping.pairs.start + i;
    const yaml_node_t *k = raw((struct ynode){map.doc, pair->key});
    *key = (const char *)k->data.scalar.value; /* check_keys let no other kind in */
    *value = (struct ynode){map.doc, pair->value};
    return true;
}

struct ynode ymap_get(struct ynode map, const char *key) {
    const char *k;
    struct ynode value;
    for (size_t i = 0; ymap_at(map, i, &k, &value); i++) {
        if (strcmp(k, key) == 0) {
            return value;
        }
    }
    return (struct ynode){map.doc, 0};
}

size_t yseq_len(struct ynode seq) {
    const yaml_node_t *r = raw(seq);
    if (!r || r->type != YAML_SEQUENCE_NODE) {
        return 0;
    }
    return (size_t)(r->data.sequence.items.top - r->data.sequence.items.start);
}

struct ynode yseq_at(struct ynode seq, size_t i) {
    if (i >= yseq_len(seq)) {
        return (struct ynode){seq.doc, 0};
    }
    return (struct ynode){seq.doc, raw(seq)->data.sequence.items.start[i]};
}

static int scalar_text(struct ynode n, const char *what, const char *expected, const char **out,
                       struct err *e) {
    const yaml_node_t *r = raw(n);
    if (r->type != YAML_SCALAR_NODE) {
        return ynode_fail(n, e, "%s should be %s and is a %s", what, expected,
                          r->type == YAML_MAPPING_NODE ? "mapping" : "list");
    }
    *out = (const char *)r->data.scalar.value;
    return 0;
}

int ynode_str(struct ynode n, const char *what, const char **out, struct err *e) {
    if (!ynode_present(n)) {
        return 0;
    }
    const char *text = NULL;
    int rc = scalar_text(n, what, "text", &text, e);
    if (rc) {
        return rc;
    }
    if (!*text) {
        return ynode_fail(n, e, "%s is empty", what);
    }
    *out = text;
    return 0;
}

int ynode_int(struct ynode n, const char *what, int64_t min, int64_t max, int64_t *out,
              struct err *e) {
    if (!ynode_present(n)) {
        return 0;
    }
    const char *text = NULL;
    int rc = scalar_text(n, what, "a whole number", &text, e);
    if (rc) {
        return rc;
    }
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < min || v > max) {
        return ynode_fail(
            n, e, "%s is \"%.60s\"; it should be a whole number from %" PRId64 " to %" PRId64, what,
            text, min, max);
    }
    *out = v;
    return 0;
}

int ynode_num(struct ynode n, const char *what, double min, double max, double *out,
              struct err *e) {
    if (!ynode_present(n)) {
        return 0;
    }
    const char *text = NULL;
    int rc = scalar_text(n, what, "a number", &text, e);
    if (rc) {
        return rc;
    }
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || v < min || v > max) {
        return ynode_fail(n, e, "%s is \"%.60s\"; it should be a number from %g to %g", what, text,
                          min, max);
    }
    *out = v;
    return 0;
}

int ynode_bool(struct ynode n, const char *what, bool *out, struct err *e) {
    static const char *const names[] = {"false", "true", NULL};
    int v = *out;
    int rc = ynode_enum(n, what, names, &v, e);
    *out = v != 0;
    return rc;
}

int ynode_enum(struct ynode n, const char *what, const char *const *names, int *out,
               struct err *e) {
    if (!ynode_present(n)) {
        return 0;
    }
    const char *text = NULL;
    int rc = scalar_text(n, what, "one word", &text, e);
    if (rc) {
        return rc;
    }
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    char msg[256];
    snprintf(msg, sizeof(msg), "%s is \"%.80s\"", what, text);
    return fail_listing(n, e, msg, names);
}
