#include "engine/shape.h"

#include "base/ydoc.h"

#include <stddef.h>
#include <string.h>

#define SHAPE(field) offsetof(struct known_shape, field)

/* One row a key; an absent "required" key is an error. */
static const struct text_key {
    const char *key;
    size_t offset;
} texts[] = {{"id", SHAPE(id)},
             {"family", SHAPE(family)},
             {"size", SHAPE(size)},
             {"architecture", SHAPE(architecture)},
             {"tokenizer", SHAPE(tokenizer)},
             {"chat", SHAPE(chat)}};

static const struct int_key {
    const char *key;
    size_t offset;
    int64_t max;
} ints[] = {{"layers", SHAPE(n_layers), 1000},    {"embd", SHAPE(n_embd), 1 << 20},
            {"ff", SHAPE(n_ff), 1 << 20},         {"heads", SHAPE(n_head), 1 << 12},
            {"kv_heads", SHAPE(n_head_kv), 4096}, {"head_dim", SHAPE(head_dim), 4096},
            {"vocab", SHAPE(n_vocab), 1 << 20},   {"context", SHAPE(n_ctx), 1 << 24}};

static const struct num_key {
    const char *key;
    size_t offset;
    double max;
    bool optional;
} nums[] = {{"rms_eps", SHAPE(rms_eps), 1, false},
            {"rope_base", SHAPE(rope_base), 1e9, false},
            {"rope_factor", SHAPE(rope_factor), 1024, true}};

static const char *const shape_keys[] = {
    "id",   "family", "size",    "architecture", "tokenizer",   "chat",  "layers",
    "embd", "ff",     "heads",   "kv_heads",     "head_dim",    "vocab", "context",
    "tied", "params", "rms_eps", "rope_base",    "rope_factor", NULL};
static const char *const architectures[] = {"llama", "qwen2", NULL};

static void *field(struct known_shape *s, size_t offset) {
    return (char *)s + offset;
}

static int want(struct ynode entry, const char *key, struct ynode *out, struct err *e) {
    *out = ymap_get(entry, key);
    return ynode_present(*out) ? 0 : ynode_fail(entry, e, "a shape needs \"%s\"", key);
}

static int read_fields(struct ynode entry, struct arena *a, struct known_shape *s, struct err *e) {
    struct ynode n;
    int rc = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && !rc; i++) {
        const char *text = NULL;
        rc = want(entry, texts[i].key, &n, e);
        rc = rc ? rc : ynode_str(n, texts[i].key, &text, e);
        *(const char **)field(s, texts[i].offset) = rc ? NULL : arena_strdup(a, text);
    }
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]) && !rc; i++) {
        rc = want(entry, ints[i].key, &n, e);
        rc = rc ? rc
                : ynode_int(n, ints[i].key, 1, ints[i].max, (int64_t *)field(s, ints[i].offset), e);
    }
    for (size_t i = 0; i < sizeof(nums) / sizeof(nums[0]) && !rc; i++) {
        n = ymap_get(entry, nums[i].key);
        rc = nums[i].optional ? 0 : want(entry, nums[i].key, &n, e);
        rc = rc ? rc
                : ynode_num(n, nums[i].key, 0, nums[i].max, (double *)field(s, nums[i].offset), e);
    }
    rc = rc ? rc : want(entry, "tied", &n, e);
    rc = rc ? rc : ynode_bool(n, "tied", &s->tied, e);
    rc = rc ? rc : ynode_int(ymap_get(entry, "params"), "params", 0, INT64_MAX, &s->params, e);
    return rc;
}

static int read_shape(struct ynode entry, struct ynode templates, struct arena *a,
                      struct known_shape *s, struct err *e) {
    int arch = 0;
    int rc = ymap_check(entry, "a shape", shape_keys, e);
    rc = rc ? rc : read_fields(entry, a, s, e);
    rc = rc ? rc
            : ynode_enum(ymap_get(entry, "architecture"), "architecture", architectures, &arch, e);
    if (rc) {
        return rc;
    }
    const char *template = NULL;
    rc = ynode_str(ymap_get(templates, s->chat), "chat template", &template, e);
    if (!rc && !template) {
        rc = ynode_fail(ymap_get(entry, "chat"), e, "chat_templates has no \"%s\"", s->chat);
    }
    if (!rc && s->n_head % s->n_head_kv != 0) {
        rc = ynode_fail(entry, e, "heads (%lld) must be a multiple of kv_heads (%lld)",
                        (long long)s->n_head, (long long)s->n_head_kv);
    }
    if (!rc && (s->head_dim % 2 != 0 || s->n_embd % 32 != 0 || s->n_ff % 32 != 0)) {
        rc = ynode_fail(entry, e, "embd and ff must be multiples of 32 and head_dim even");
    }
    s->template = rc ? NULL : arena_strdup(a, template);
    return rc;
}

int shapes_load(const char *path, struct arena *a, struct known_shape **out, size_t *n,
                struct err *e) {
    static const char *const keys[] = {"chat_templates", "shapes", NULL};
    struct ydoc *doc = NULL;
    *out = NULL;
    *n = 0;
    int rc = ydoc_load_file(path, &doc, e);
    rc = rc ? rc : ymap_check(ydoc_root(doc), "a file of shapes", keys, e);
    if (rc) {
        goto out;
    }
    struct ynode list = ymap_get(ydoc_root(doc), "shapes");
    if (!ynode_is_seq(list)) {
        rc = ynode_fail(ydoc_root(doc), e, "\"shapes\" should be a list");
        goto out;
    }
    size_t count = yseq_len(list);
    struct known_shape *shapes = arena_array(a, count, sizeof(*shapes));
    if (!shapes) {
        rc = err_set(e, EE_NOMEM, "%s: out of memory", path);
        goto out;
    }
    struct ynode templates = ymap_get(ydoc_root(doc), "chat_templates");
    for (size_t i = 0; i < count && !rc; i++) {
        rc = read_shape(yseq_at(list, i), templates, a, &shapes[i], e);
    }
    *out = rc ? NULL : shapes;
    *n = rc ? 0 : count;
out:
    ydoc_free(doc);
    return rc;
}

const struct known_shape *shapes_find(const struct known_shape *shapes, size_t n, const char *id) {
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(shapes[i].id, id)) {
            return &shapes[i];
        }
    }
    return NULL;
}

int64_t shape_params(const struct known_shape *s) {
    const int64_t q = s->n_head * s->head_dim;
    const int64_t kv = s->n_head_kv * s->head_dim;
    const int64_t biases = !strcmp(s->architecture, "qwen2") ? q + 2 * kv : 0;
    const int64_t layer = 2 * s->n_embd * (q + kv) + 3 * s->n_embd * s->n_ff + 2 * s->n_embd +
                          biases;
    return s->n_vocab * s->n_embd * (s->tied ? 1 : 2) + s->n_embd + s->n_layers * layer;
}
