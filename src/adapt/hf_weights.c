#include "adapt/hf_weights.h"

#include "base/fs.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static int nomem(struct err *e) {
    return err_set(e, EE_NOMEM, "weights: out of memory");
}

/* Room for one file more. */
static int grow(struct hf_weights *w, struct err *e) {
    void *files = realloc(w->files, (w->n_files + 1) * sizeof(struct safetensors *));
    if (!files) {
        return nomem(e);
    }
    w->files = files;
    return 0;
}

static int open_file(struct hf_weights *w, const char *dir, const char *name, struct err *e) {
    char *path = fs_join(dir, name);
    int rc = path ? grow(w, e) : nomem(e);
    if (!rc && !fs_exists(path)) {
        rc = err_set(e, EE_MISSING, "%s is not there", path);
    }
    rc = rc ? rc : safetensors_open(path, &w->files[w->n_files], e);
    w->n_files += !rc;
    free(path);
    return rc;
}

static int check_shard_name(const char *name, const char *index, struct err *e) {
    bool plain = name && name[0] && !strchr(name, '/');
    return plain ? 0 : err_set(e, EE_FORMAT, "%s: a tensor's file is no name of a file", index);
}

/* Opens each file of the index once. */
static int open_shards(struct hf_weights *w, const char *dir, const char *index, json_t *map,
                       struct err *e) {
    const char *tensor;
    json_t *file;
    json_t *opened = json_object();
    int rc = opened ? 0 : nomem(e);
    json_object_foreach(map, tensor, file) {
        const char *name = json_string_value(file);
        rc = rc ? rc : check_shard_name(name, index, e);
        if (rc || json_object_get(opened, name)) {
            continue;
        }
        rc = open_file(w, dir, name, e);
        rc = rc ? err_prefix(e, "%s names a file for %.100s", index, tensor) : 0;
        json_object_set_new(opened, name, json_true());
    }
    json_decref(opened);
    return rc;
}

static int by_name(const void *a, const void *b) {
    const struct hf_weight *x = a;
    const struct hf_weight *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

static int gather(struct hf_weights *w, struct err *e) {
    size_t n = 0;
    for (size_t f = 0; f < w->n_files; f++) {
        n += safetensors_count(w->files[f]);
    }
    w->by_name = calloc(n + 1, sizeof(*w->by_name));
    if (!w->by_name) {
        return nomem(e);
    }
    for (size_t f = 0; f < w->n_files; f++) {
        for (size_t i = 0; i < safetensors_count(w->files[f]); i++) {
            w->by_name[w->n++] = (struct hf_weight){.file = w->files[f],
                                                    .tensor = safetensors_at(w->files[f], i)};
        }
    }
    qsort(w->by_name, w->n, sizeof(*w->by_name), by_name);
    for (size_t i = 1; i < w->n; i++) {
        if (by_name(&w->by_name[i - 1], &w->by_name[i]) == 0) {
            return err_set(e, EE_FORMAT, "tensor %.200s is in %s and in %s",
                           w->by_name[i].tensor->name, safetensors_path(w->by_name[i - 1].file),
                           safetensors_path(w->by_name[i].file));
        }
    }
    return 0;
}

static int check_index(const struct hf_weights *w, const char *dir, json_t *map, struct err *e) {
    const char *tensor;
    json_t *file;
    json_object_foreach(map, tensor, file) {
        if (!hf_weights_find(w, tensor)) {
            return err_set(e, EE_MISSING, "%s/%s has no tensor %.200s, though the index names it",
                           dir, json_string_value(file), tensor);
        }
    }
    return 0;
}

int hf_weights_open(const char *dir, struct hf_weights *w, struct err *e) {
    *w = (struct hf_weights){0};
    json_t *doc = NULL;
    json_t *map = NULL;
    char *index = fs_join(dir, "model.safetensors.index.json");
    int rc = index ? 0 : nomem(e);
    if (!rc && fs_exists(index)) {
        rc = json_parse_file(index, &doc, e);
        map = json_object_get(doc, "weight_map");
        if (!rc && json_object_size(map) == 0) {
            rc = err_set(e, EE_FORMAT, "%s has no weight_map", index);
        }
        rc = rc ? rc : open_shards(w, dir, index, map, e);
    } else if (!rc) {
        rc = open_file(w, dir, "model.safetensors", e);
    }
    rc = rc ? rc : gather(w, e);
    rc = rc ? rc : check_index(w, dir, map, e);
    json_decref(doc);
    free(index);
    return rc;
}

void hf_weights_close(struct hf_weights *w) {
    for (size_t i = 0; i < w->n_files; i++) {
        safetensors_close(w->files[i]);
    }
    free(w->files);
    free(w->by_name);
    *w = (struct hf_weights){0};
}

static int name_against(const void *key, const void *item) {
    const struct hf_weight *w = item;
    return strcmp(key, w->tensor->name);
}

struct hf_weight *hf_weights_find(const struct hf_weights *w, const char *name) {
    return w->n ? bsearch(name, w->by_name, w->n, sizeof(*w->by_name), name_against) : NULL;
}
