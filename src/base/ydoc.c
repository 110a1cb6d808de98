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

static int parse_error(const yaml_parser_t *p, const char *name, struct err *e) {
    return err_set(e, EE_FORMAT, "%s:%zu:%zu: not valid YAML: %s%s%s", name,
                   p->problem_mark.line + 1, p->problem_mark.column + 1,
                   p->problem ? p->problem : "unreadable", p->context ? ", " : "",
                   p->context ? p->context : "");
}

/* libyaml resolves an alias to its anchor's node, so a node met twice was aliased. */
static int check_no_aliases(const struct ydoc *d, struct err *e) {
    const yaml_node_t *first = d->doc.nodes.start;
    size_t n = (size_t)(d->doc.nodes.top - first);
    unsigned char *met = calloc(n + 1, 1);
    if (!met) {
        return err_set(e, EE_NOMEM, "%s: out of memory", d->name);
    }
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        const yaml_node_t *node = &first[i];
        const int *ids = NULL;
        size_t n_ids = 0;
        if (node->type == YAML_SEQUENCE_NODE) {
            ids = node->data.sequence.items.start;
            n_ids = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
        } else if (node->type == YAML_MAPPING_NODE) {
            ids = (const int *)node->data.mapping.pairs.start;
            n_ids = 2 * (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
        }
        for (size_t k = 0; k < n_ids && !rc; k++) {
            if (met[ids[k]]++) {
                rc = ynode_fail((struct ynode){d, ids[k]}, e,
                                "anchors and aliases (&name, *name) are not supported: write the "
                                "value out");
            }
        }
    }
    free(met);
    return rc;
}

static int check_duplicate_keys(const struct ydoc *d, struct err *e) {
    for (const yaml_node_t *n = d->doc.nodes.start; n < d->doc.nodes.top; n++) {
        if (n->type != YAML_MAPPING_NODE) {
            continue;
        }
        struct ynode map = {d, (int)(n - d->doc.nodes.start) + 1};
        const char *key;
        struct ynode value;
        for (size_t i = 0; ymap_at(map, i, &key, &value); i++) {
            if (!key) {
                return ynode_fail(map, e, "keys must be plain text");
            }
            struct ynode first = ymap_get(map, key);
            if (first.id != value.id) {
                return ynode_fail(value, e, "\"%s\" is given twice", key);
            }
        }
    }
    return 0;
}

int ydoc_load_bytes(const char *text, size_t len, const char *name, struct ydoc **out,
                    struct err *e) {
    *out = NULL;
    struct ydoc *d = calloc(1, sizeof(*d));
    if (!d || !(d->name = strdup(name))) {
        free(d);
        return err_set(e, EE_NOMEM, "%s: out of memory", name);
    }
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p)) {
        free(d->name);
        free(d);
        return err_set(e, EE_NOMEM, "%s: out of memory", name);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
    if (!yaml_parser_load(&p, &d->doc)) {
        int rc = parse_error(&p, name, e);
        yaml_parser_delete(&p);
        free(d->name);
        free(d);
        return rc;
    }
    int rc = 0;
    yaml_document_t extra;
    if (!yaml_document_get_root_node(&d->doc)) {
        rc = err_set(e, EE_FORMAT, "%s:1:1: the file is empty", name);
    } else if (!yaml_parser_load(&p, &extra)) {
        rc = parse_error(&p, name, e);
    } else {
        if (yaml_document_get_root_node(&extra)) {
            rc = err_set(e, EE_FORMAT, "%s:%zu:1: a second document starts here; one file holds one",
                         name, extra.start_mark.line + 1);
        }
        yaml_document_delete(&extra);
    }
    yaml_parser_delete(&p);
    if (!rc) {
        rc = check_no_aliases(d, e);
    }
    if (!rc) {
        rc = check_duplicate_keys(d, e);
    }
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
        snprintf(buf, size, "%s:%zu:%zu", n.doc->name, r->start_mark.line + 1,
                 r->start_mark.column + 1);
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

static int fail_listing(struct ynode n, struct err *e, const char *text,
                        const char *const *names) {
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
    *key = k->type == YAML_SCALAR_NODE ? (const char *)k->data.scalar.value : NULL;
    *value = (struct ynode){map.doc, pair->value};
    return true;
}

struct ynode ymap_get(struct ynode map, const char *key) {
    const char *k;
    struct ynode value;
    for (size_t i = 0; ymap_at(map, i, &k, &value); i++) {
        if (k && strcmp(k, key) == 0) {
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
        return ynode_fail(n, e,
                          "%s is \"%.60s\"; it should be a whole number from %" PRId64
                          " to %" PRId64,
                          what, text, min, max);
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
