#include "lifecycle/models.h"

#include "base/fs.h"
#include "base/ydoc.h"

#include <stdlib.h>
#include <string.h>

static const char *const entry_keys[] = {"id",      "family",    "size",  "params", "architecture",
                                         "license", "file",      "bytes", "sha256", "sources",
                                         "note",    "gguf_type", NULL};

/* Where files of known models are looked for, first to last; %s is the data directory. */
static char *find_file(const char *data_dir, const char *file) {
    const char *cache = getenv("EDGE_EVAL_CACHE");
    struct buf b;
    buf_init(&b);
    const char *const dirs[][2] = {
        {cache ? cache : "", "models"}, {data_dir, "../.cache/models"}, {data_dir, "../models"}};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (!dirs[i][0][0]) {
            continue;
        }
        buf_clear(&b);
        buf_addf(&b, "%s/%s/%s", dirs[i][0], dirs[i][1], file);
        if (!b.failed && fs_exists(b.data)) {
            return buf_detach(&b);
        }
    }
    buf_release(&b);
    return NULL;
}

static int read_text(struct ynode entry, const char *key, struct arena *a, const char **out,
                     struct err *e) {
    const char *text = NULL;
    struct ynode n = ymap_get(entry, key);
    int rc = ynode_str(n, key, &text, e);
    if (!rc && text && strcmp(text, "null") != 0) {
        *out = arena_strdup(a, text);
    }
    return rc;
}

static int read_entry(struct ynode entry, const char *data_dir, struct arena *a, struct model *m,
                      struct err *e) {
    int rc = ymap_check(entry, "a model", entry_keys, e);
    rc = rc ? rc : read_text(entry, "id", a, &m->id, e);
    rc = rc ? rc : read_text(entry, "family", a, &m->family, e);
    rc = rc ? rc : read_text(entry, "size", a, &m->size, e);
    rc = rc ? rc : read_text(entry, "license", a, &m->license, e);
    rc = rc ? rc : read_text(entry, "note", a, &m->note, e);
    rc = rc ? rc : read_text(entry, "file", a, &m->file, e);
    struct ynode bytes = ymap_get(entry, "bytes");
    const char *bytes_text = NULL;
    rc = rc ? rc : ynode_str(bytes, "bytes", &bytes_text, e);
    if (!rc && bytes_text && strcmp(bytes_text, "null") != 0) {
        rc = ynode_int(bytes, "bytes", 0, INT64_MAX, &m->bytes, e);
    }
    if (rc) {
        return rc;
    }
    if (!m->id || !m->family || !m->size || !m->file) {
        return ynode_fail(entry, e, "a model needs id, family, size and file");
    }
    char *path = find_file(data_dir, m->file);
    m->path = path ? arena_strdup(a, path) : NULL;
    free(path);
    return 0;
}

int models_load(const char *data_dir, struct arena *a, struct model **out, size_t *n,
                struct err *e) {
    *out = NULL;
    *n = 0;
    char *path = fs_join(data_dir, "models.yaml");
    if (!path) {
        return err_set(e, EE_NOMEM, "models: out of memory");
    }
    struct ydoc *doc = NULL;
    int rc = ydoc_load_file(path, &doc, e);
    if (rc) {
        goto out;
    }
    struct ynode list = ymap_get(ydoc_root(doc), "models");
    if (!ynode_is_seq(list)) {
        rc = ynode_fail(ydoc_root(doc), e, "\"models\" should be a list");
        goto out;
    }
    size_t count = yseq_len(list);
    struct model *models = arena_array(a, count, sizeof(*models));
    if (!models) {
        rc = err_set(e, EE_NOMEM, "models: out of memory");
        goto out;
    }
    for (size_t i = 0; i < count && !rc; i++) {
        rc = read_entry(yseq_at(list, i), data_dir, a, &models[i], e);
    }
    if (!rc) {
        *out = models;
        *n = count;
    }
out:
    ydoc_free(doc);
    free(path);
    return rc;
}

int models_find_vocabulary(const char *data_dir, const struct known_shape *s, struct buf *out,
                           struct err *e) {
    const char *cache = getenv("EDGE_EVAL_CACHE");
    const char *const dirs[][2] = {{cache ? cache : "", "llama/vocab"},
                                   {data_dir, "../.cache/llama/vocab"},
                                   {data_dir, "../vocab"}};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        buf_clear(out);
        buf_addf(out, "%s/%s/%s.gguf", dirs[i][0], dirs[i][1], s->tokenizer);
        if (dirs[i][0][0] && fs_exists(out->data)) {
            return buf_check(out, "path", e);
        }
    }
    return err_set(e, EE_MISSING,
                   "the vocabulary %s.gguf of %s is not here; scripts/deps.sh fetches it into "
                   ".cache/llama/vocab (EDGE_EVAL_CACHE names another cache)",
                   s->tokenizer, s->id);
}
