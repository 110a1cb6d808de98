#include "report/devices.h"

#include "base/fs.h"
#include "base/ydoc.h"

#include <stdlib.h>
#include <strings.h>

static int read_names(struct ynode list, struct arena *a, const char *const **out, struct err *e) {
    size_t n = yseq_len(list);
    const char **names = arena_array(a, n + 1, sizeof(*names));
    int rc = names ? 0 : err_set(e, EE_NOMEM, "devices: out of memory");
    for (size_t i = 0; i < n && !rc; i++) {
        const char *text = NULL;
        rc = ynode_str(yseq_at(list, i), "a name", &text, e);
        names[i] = rc ? NULL : arena_strdup(a, text);
    }
    *out = names;
    return rc;
}

/* A number that must be there, times scale. */
static int want(struct ynode entry, const char *key, double scale, double *out, struct err *e) {
    struct ynode n = ymap_get(entry, key);
    int rc = ynode_present(n) ? ynode_num(n, key, 1e-3, 1e7, out, e)
                              : ynode_fail(entry, e, "a device needs %s", key);
    *out *= scale;
    return rc;
}

static int read_device(struct ynode entry, struct arena *a, struct known_device *d, struct err *e) {
    static const char *const keys[] = {"id",     "names",         "memory_gb", "bandwidth_gb_s",
                                       "tflops", "power_limit_w", "idle_w",    "source",
                                       NULL};
    static const double idle_share = 1.0 / 8;
    const char *id = NULL;
    const char *source = NULL;
    int rc = ymap_check(entry, "a device", keys, e);
    rc = rc ? rc : ynode_str(ymap_get(entry, "id"), "id", &id, e);
    rc = rc ? rc : ynode_str(ymap_get(entry, "source"), "source", &source, e);
    if (!rc && (!id || !source)) {
        rc = ynode_fail(entry, e, "a device needs an id and a source");
    }
    rc = rc ? rc : read_names(ymap_get(entry, "names"), a, &d->names, e);
    rc = rc ? rc : want(entry, "memory_gb", 1e9, &d->memory_bytes, e);
    rc = rc ? rc : want(entry, "bandwidth_gb_s", 1e9, &d->bytes_per_s, e);
    rc = rc ? rc : want(entry, "tflops", 1e12, &d->flops, e);
    rc = rc ? rc : want(entry, "power_limit_w", 1, &d->power_limit_w, e);
    d->idle_w = d->power_limit_w * idle_share;
    rc = rc ? rc : ynode_num(ymap_get(entry, "idle_w"), "idle_w", 0, 1e4, &d->idle_w, e);
    d->id = rc ? NULL : arena_strdup(a, id);
    return rc;
}

int devices_load(const char *data_dir, struct arena *a, struct known_device **out, size_t *n,
                 struct err *e) {
    struct ydoc *doc = NULL;
    char *path = fs_join(data_dir, "devices.yaml");
    int rc = path ? ydoc_load_file(path, &doc, e) : err_set(e, EE_NOMEM, "devices: out of memory");
    free(path);
    if (rc) {
        return rc;
    }
    struct ynode list = ymap_get(ydoc_root(doc), "devices");
    *n = yseq_len(list);
    *out = arena_array(a, *n + 1, sizeof(**out));
    rc = *n == 0 ? ynode_fail(ydoc_root(doc), e, "\"devices\" should be a list")
         : *out  ? 0
                 : err_set(e, EE_NOMEM, "devices: out of memory");
    for (size_t i = 0; i < *n && !rc; i++) {
        rc = read_device(yseq_at(list, i), a, &(*out)[i], e);
    }
    ydoc_free(doc);
    return rc;
}

const struct known_device *devices_find(const struct known_device *devices, size_t n,
                                        const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(devices[i].id, name) == 0) {
            return &devices[i];
        }
        for (const char *const *k = devices[i].names; *k; k++) {
            if (strcasecmp(*k, name) == 0) {
                return &devices[i];
            }
        }
    }
    return NULL;
}
