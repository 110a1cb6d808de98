#include "lifecycle/plan_model.h"

#include "base/buf.h"
#include "base/fs.h"
#include "lifecycle/models.h"
#include "lifecycle/plan_read.h"

#include <string.h>

struct reader {
    const struct plan *plan; /* its axes and its server */
    const struct plan_model_places *places;
    struct arena *arena;
    struct model *known;
    size_t n_known;
    struct known_shape *shapes; /* loaded when a model first names one */
    size_t n_shapes;
    const char *shapes_path;
};

static const char file_name_chars[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

bool plan_is_file_name(const char *s) {
    return s[0] != '.' && strspn(s, file_name_chars) == strlen(s);
}

/* "SmolLM2 135M.Q4_1.gguf" gives the id a model without one has: "SmolLM2-135M.Q4_1". */
static const char *id_from_path(struct reader *r, const char *path) {
    const char *base = fs_basename(path);
    size_t len = strlen(base);
    const size_t ext = strlen(".gguf");
    len = len > ext && strcmp(base + len - ext, ".gguf") == 0 ? len - ext : len;
    char *id = arena_strndup(r->arena, base, len);
    for (char *c = id; c && *c; c++) {
        *c = (char)(strchr(file_name_chars, *c) ? *c : '-');
    }
    return id;
}

static int known_model(struct reader *r, struct ynode n, const char *id, struct plan_model *m,
                       struct err *e) {
    struct buf ids;
    buf_init(&ids);
    for (size_t i = 0; i < r->n_known; i++) {
        const struct model *k = &r->known[i];
        if (strcmp(k->id, id) != 0) {
            buf_addf(&ids, "%s%s", i ? ", " : "", k->id);
            continue;
        }
        buf_release(&ids);
        *m = (struct plan_model){
            .id = k->id, .family = k->family, .size = k->size, .path = k->path, .note = k->note};
        if (!k->path) {
            return ynode_fail(n, e,
                              "model \"%s\" is known but its file %s is not here; fetch it with "
                              "\"scripts/fetch-model.py %s\", or give {path: FILE.gguf}",
                              id, k->file, id);
        }
        return 0;
    }
    int rc = ynode_fail(n, e, "unknown model \"%.80s\"; known: %s; or give {path: FILE.gguf}", id,
                        ids.data);
    buf_release(&ids);
    return rc;
}

/* ---- shapes ---- */

static int load_shapes(struct reader *r, struct err *e) {
    const char *own = NULL;
    int rc = ynode_str(r->places->shapes, "shapes", &own, e);
    if (rc || r->shapes_path) {
        return rc;
    }
    r->shapes_path = own ? plan_path(r->places->plan_dir, own, r->arena)
                         : plan_path(r->places->data_dir, "shapes.yaml", r->arena);
    return r->shapes_path ? shapes_load(r->shapes_path, r->arena, &r->shapes, &r->n_shapes, e)
                          : plan_no_memory(e);
}

static int find_shape(struct reader *r, struct ynode n, const char *id, struct plan_model *m,
                      struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = load_shapes(r, e);
    m->shape = rc ? NULL : shapes_find(r->shapes, r->n_shapes, id);
    if (!rc && !m->shape) {
        for (size_t i = 0; i < r->n_shapes; i++) {
            buf_addf(&text, "%s%s", i ? ", " : "", r->shapes[i].id);
        }
        rc = ynode_fail(n, e, "no shape \"%.60s\" in %s; there are: %s", id, r->shapes_path,
                        text.data);
    }
    struct err why = ERR_INIT;
    if (!rc && models_find_vocabulary(r->places->data_dir, m->shape, &text, &why)) {
        rc = ynode_fail(n, e, "%s", why.msg);
    }
    m->shapes_path = r->shapes_path;
    m->vocab_path = rc ? NULL : arena_strdup(r->arena, text.data);
    buf_release(&text);
    return rc || m->vocab_path ? rc : plan_no_memory(e);
}

static int read_rows(struct ynode n, struct plan_model *m, struct err *e) {
    if (!ynode_present(n)) {
        return 0;
    }
    return m->shape ? plan_adapt_rows_read(n, "adapt_rows", m->adapt_rows, e)
                    : ynode_fail(n, e, "adapt_rows is for shapes (synth:)");
}

/* ---- names on a server ---- */

/* name: X where the plan has one precision, else {fp16: X, int8: Y, ...}. */
static int read_served(struct reader *r, struct ynode n, struct plan_model *m, struct err *e) {
    const struct plan *p = r->plan;
    bool is_map = ynode_is_map(n);
    int rc = is_map ? ymap_check(n, "name", precision_names, e) : 0;
    if (!rc && !is_map && p->n_precisions != 1) {
        rc = ynode_fail(n, e,
                        "the plan has %zu precisions: say the name of the model in each, as "
                        "{fp16: NAME, int8: NAME}",
                        p->n_precisions);
    }
    for (size_t i = 0; i < p->n_precisions && !rc; i++) {
        const char *precision = precision_names[p->precisions[i]];
        struct ynode at = is_map ? ymap_get(n, precision) : n;
        const char *name = NULL;
        rc = ynode_str(at, "name", &name, e);
        if (!rc && !name) {
            rc = ynode_fail(n, e, "the plan measures %s: say the model's name in it", precision);
        }
        m->served[p->precisions[i]] = rc ? NULL : arena_strdup(r->arena, name);
        rc = rc || m->served[p->precisions[i]] ? rc : plan_no_memory(e);
    }
    return rc;
}

/* A model that a server has and we do not: its weights are not seen. */
static int check_served(struct reader *r, struct ynode n, const struct plan_model *m,
                        const char *id, struct err *e) {
    const struct plan *p = r->plan;
    if (!p->server.is_used) {
        return ynode_fail(n, e,
                          "a model by its name is served by engine: {server: ...}, which the plan "
                          "does not have; or give path: FILE.gguf");
    }
    if (!id) {
        return ynode_fail(n, e, "a model by its name needs an id: for results");
    }
    for (size_t i = 0; i < p->n_methods; i++) {
        if (p->methods[i] != METHOD_NONE) {
            return ynode_fail(n, e, "%s of %s needs the model's file: give path: FILE.gguf",
                              method_names[p->methods[i]], m->id);
        }
    }
    bool wants_context = plan_server_uses(&p->server, "{context}") ||
                         plan_server_uses(&p->server, "{cells}");
    return wants_context && p->serve.context == 0
               ? ynode_fail(n, e,
                            "how long its prompts are is not known without the model's file: say "
                            "serve: {context: TOKENS} for {context} and {cells}")
               : 0;
}

/* ---- one model ---- */

static int set_names(struct reader *r, const char *id, const char *family, const char *size,
                     struct plan_model *m, struct err *e) {
    const struct known_shape *s = m->shape;
    m->id = id ? arena_strdup(r->arena, id) : s ? s->id : id_from_path(r, m->path ? m->path : "");
    m->family = family ? arena_strdup(r->arena, family) : s ? s->family : m->id;
    m->size = size ? arena_strdup(r->arena, size) : s ? s->size : "";
    return m->id && m->family && m->size ? 0 : plan_no_memory(e);
}

static int check_id(struct ynode n, const struct plan_model *m, struct err *e) {
    return plan_is_file_name(m->id)
               ? 0
               : ynode_fail(ynode_present(ymap_get(n, "id")) ? ymap_get(n, "id") : n, e,
                            "model id \"%.60s\" becomes a file name: letters, digits, '-', '_' "
                            "and '.' only, and no '.' first; set id:",
                            m->id);
}

/* Where the weights are from: one of path, name and synth. */
static int check_origin(struct ynode n, const char *path, const char *shape, struct err *e) {
    const struct ynode name = ymap_get(n, "name");
    if (path && ynode_present(name)) {
        return ynode_fail(name, e,
                          "a model has a path or a name: the name of a file that a server serves "
                          "is engine.server.model");
    }
    if (shape && (path || ynode_present(name))) {
        return ynode_fail(n, e, "a model is a %s or a synth, not both", path ? "path" : "name");
    }
    return path || shape || ynode_present(name)
               ? 0
               : ynode_fail(n, e, "a model needs a path (or write just the id of a known model)");
}

static int read_model(struct reader *r, struct ynode n, struct plan_model *m, struct err *e) {
    static const char *const keys[] = {"path", "name",  "id",         "family",
                                       "size", "synth", "adapt_rows", NULL};
    const char *id = NULL;
    if (ynode_is_scalar(n)) {
        int rc = ynode_str(n, "model", &id, e);
        return rc ? rc : known_model(r, n, id, m, e);
    }
    const char *path = NULL;
    const char *shape = NULL;
    const char *family = NULL;
    const char *size = NULL;
    int rc = ymap_check(n, "a model", keys, e);
    rc = rc ? rc : ynode_str(ymap_get(n, "path"), "path", &path, e);
    rc = rc ? rc : ynode_str(ymap_get(n, "synth"), "synth", &shape, e);
    rc = rc ? rc : ynode_str(ymap_get(n, "id"), "id", &id, e);
    rc = rc ? rc : ynode_str(ymap_get(n, "family"), "family", &family, e);
    rc = rc ? rc : ynode_str(ymap_get(n, "size"), "size", &size, e);
    rc = rc ? rc : check_origin(n, path, shape, e);
    rc = rc || !shape ? rc : find_shape(r, ymap_get(n, "synth"), shape, m, e);
    if (rc) {
        return rc;
    }
    m->path = path ? plan_path(r->places->plan_dir, path, r->arena) : NULL;
    rc = path && !m->path ? plan_no_memory(e) : set_names(r, id, family, size, m, e);
    if (!rc && !path && !shape) {
        rc = check_served(r, n, m, id, e);
        rc = rc ? rc : read_served(r, ymap_get(n, "name"), m, e);
    }
    rc = rc ? rc : check_id(n, m, e);
    rc = rc ? rc : read_rows(ymap_get(n, "adapt_rows"), m, e);
    if (!rc && path && !fs_exists(m->path)) {
        return ynode_fail(ymap_get(n, "path"), e, "no file at %s", m->path);
    }
    return rc;
}

int plan_models_read(struct ynode list, const struct plan_model_places *places, struct arena *a,
                     struct plan *p, struct err *e) {
    struct reader r = {.plan = p, .places = places, .arena = a};
    if (yseq_len(list) == 0) {
        return ynode_fail(list, e, "models should be a list of known ids or {path: FILE.gguf}");
    }
    p->n_models = yseq_len(list);
    p->models = arena_array(a, p->n_models, sizeof(*p->models));
    if (!p->models) {
        return plan_no_memory(e);
    }
    int rc = models_load(places->data_dir, a, &r.known, &r.n_known, e);
    for (size_t i = 0; i < p->n_models && !rc; i++) {
        rc = read_model(&r, yseq_at(list, i), &p->models[i], e);
        for (size_t k = 0; k < i && !rc; k++) {
            if (strcmp(p->models[k].id, p->models[i].id) == 0) {
                rc = ynode_fail(yseq_at(list, i), e,
                                "model id \"%s\" is given twice; set id:", p->models[i].id);
            }
        }
    }
    return rc;
}
