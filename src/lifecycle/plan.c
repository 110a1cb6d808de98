#include "lifecycle/plan.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/ydoc.h"
#include "lifecycle/plan_model.h"
#include "lifecycle/plan_read.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

const char *const precision_names[] = {"fp16", "int8", "int4", NULL};
const char *const method_names[] = {"none", "lora", "qlora", NULL};
const char *const lengths_names[] = {"natural", "forced", NULL};
static const char *const task_names[] = {"rag", "summ", "chat", "choice", NULL};

_Static_assert(sizeof(precision_names) / sizeof(char *) == PRECISION_COUNT + 1, "names match");
_Static_assert(sizeof(method_names) / sizeof(char *) == METHOD_COUNT + 1, "names match");
_Static_assert(sizeof(task_names) / sizeof(char *) == TASK_KINDS + 1, "names match");

struct reader {
    const char *data_dir;
    char *plan_dir; /* relative paths in a plan start here */
    struct arena *arena;
    struct plan *plan;
};

/* A list of distinct names into indices; an absent list keeps what is there. */
static int read_names(struct ynode list, const char *what, const char *const *names, int *out,
                      size_t *n_out, struct err *e) {
    if (!ynode_present(list)) {
        return 0;
    }
    if (yseq_len(list) == 0) {
        return ynode_fail(list, e, "%s should be a list such as [%s]", what, names[0]);
    }
    *n_out = 0;
    for (size_t i = 0; i < yseq_len(list); i++) {
        int v = 0;
        int rc = ynode_enum(yseq_at(list, i), what, names, &v, e);
        if (rc) {
            return rc;
        }
        for (size_t k = 0; k < *n_out; k++) {
            if (out[k] == v) {
                return ynode_fail(yseq_at(list, i), e, "\"%s\" is listed twice in %s", names[v],
                                  what);
            }
        }
        out[(*n_out)++] = v;
    }
    return 0;
}

static bool is_measured(const struct plan *p, enum precision precision) {
    for (size_t i = 0; i < p->n_precisions; i++) {
        if (p->precisions[i] == precision) {
            return true;
        }
    }
    return false;
}

/* methods: {lora: [fp16, int4], qlora: [int4]}: each with the precisions it is measured in, which are
 * among the plan's. */
static int read_method_cells(struct plan *p, struct ynode map, struct err *e) {
    const char *name;
    struct ynode list;
    p->n_methods = 0;
    int rc = ymap_check(map, "methods", method_names, e);
    for (size_t i = 0; !rc && ymap_at(map, i, &name, &list); i++) {
        int listed[PRECISION_COUNT];
        bool wanted[PRECISION_COUNT] = {false};
        size_t n = 0;
        size_t m = 0;
        while (m + 1 < METHOD_COUNT && strcmp(method_names[m], name) != 0) { /* it is one of them */
            m++;
        }
        p->methods[p->n_methods++] = (enum method)m;
        if (!ynode_is_seq(list)) {
            return ynode_fail(list, e, "%s should be a list of precisions such as [int4]", name);
        }
        rc = read_names(list, name, precision_names, listed, &n, e);
        for (size_t k = 0; k < n && !rc; k++) {
            wanted[listed[k]] = true;
            rc = is_measured(p, (enum precision)listed[k])
                     ? 0
                     : ynode_fail(yseq_at(list, k), e, "%s is not among the plan's precisions",
                                  precision_names[listed[k]]);
        }
        for (size_t k = 0; k < PRECISION_COUNT; k++) {
            p->left_out[m][k] = !wanted[k];
        }
    }
    return rc || p->n_methods ? rc : ynode_fail(map, e, "methods is empty");
}

static int read_axes(struct reader *r, struct ynode root, struct err *e) {
    struct plan *p = r->plan;
    int methods[METHOD_COUNT] = {METHOD_NONE};
    int precisions[PRECISION_COUNT] = {PRECISION_FP16, PRECISION_INT8, PRECISION_INT4};
    p->n_methods = 1;
    p->n_precisions = PRECISION_COUNT;
    const struct ynode by_method = ymap_get(root, "methods");
    int rc = ynode_is_map(by_method)
                 ? 0
                 : read_names(by_method, "methods", method_names, methods, &p->n_methods, e);
    rc = rc ? rc
            : read_names(ymap_get(root, "precisions"), "precisions", precision_names, precisions,
                         &p->n_precisions, e);
    for (size_t i = 0; i < p->n_methods && i < METHOD_COUNT; i++) {
        p->methods[i] = (enum method)methods[i];
    }
    for (size_t i = 0; i < p->n_precisions && i < PRECISION_COUNT; i++) {
        p->precisions[i] = (enum precision)precisions[i];
    }
    if (!rc && ynode_is_map(by_method)) {
        rc = read_method_cells(p, by_method, e);
    }
    return rc;
}

static int read_quantize(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"int4", NULL};
    static const char *const types[] = {"auto", "Q4_0", NULL};
    int type = 0;
    if (!ynode_present(n)) {
        return 0;
    }
    int rc = ymap_check(n, "quantize", keys, e);
    rc = rc ? rc : ynode_enum(ymap_get(n, "int4"), "int4", types, &type, e);
    r->plan->int4_type = type ? types[type] : NULL;
    return rc;
}

static int read_quality(struct reader *r, struct ynode n, struct err *e) {
    static const char *const names[] = {"measured", "reference", NULL};
    int i = 0;
    int rc = ynode_enum(n, "quality", names, &i, e);
    r->plan->published_quality = i == 1;
    for (size_t m = 0; m < r->plan->n_models && !rc && i == 1; m++) {
        if (!r->plan->models[m].shape) {
            return ynode_fail(n, e,
                              "quality: reference is for shapes (models: [{synth: ...}]); the "
                              "answers of %s are scored",
                              r->plan->models[m].id);
        }
    }
    return rc;
}

static int read_task(struct reader *r, const char *name, struct ynode n, struct plan_task *t,
                     struct err *e) {
    static const char *const keys[] = {"items", "max_tokens", "data", NULL};
    static const int64_t default_max_tokens[TASK_KINDS] = {150, 200, 100, 8};
    const char *data = NULL;
    int rc = task_kind_from_name(name, &t->kind, e);
    if (rc) {
        return rc;
    }
    t->name = task_kind_name(t->kind);
    t->max_tokens = default_max_tokens[t->kind];
    rc = ymap_check(n, "a task", keys, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "items"), "items", 1, 1000000, &t->items, e);
    rc = rc ? rc
            : ynode_int(ymap_get(n, "max_tokens"), "max_tokens", 1, 1000000, &t->max_tokens, e);
    rc = rc ? rc : ynode_str(ymap_get(n, "data"), "data", &data, e);
    if (rc) {
        return rc;
    }
    struct buf own;
    buf_init(&own);
    buf_addf(&own, "tasks/%s/eval.jsonl", t->name);
    t->path = data ? plan_path(r->plan_dir, data, r->arena)
                   : plan_path(r->data_dir, own.data, r->arena);
    buf_release(&own);
    if (!t->path) {
        return plan_no_memory(e);
    }
    if (!fs_exists(t->path)) {
        return ynode_fail(n, e, "no task file at %s%s", t->path,
                          data ? "" : "; name yours with data: FILE");
    }
    return 0;
}

static int read_tasks(struct reader *r, struct ynode map, struct err *e) {
    struct plan *p = r->plan;
    int rc = ymap_check(map, "tasks", task_names, e);
    if (rc) {
        return rc;
    }
    p->tasks = arena_array(r->arena, TASK_KINDS, sizeof(*p->tasks));
    if (!p->tasks) {
        return plan_no_memory(e);
    }
    const char *name;
    struct ynode value;
    for (size_t i = 0; ymap_at(map, i, &name, &value); i++) {
        rc = read_task(r, name, value, &p->tasks[p->n_tasks++], e);
        if (rc) {
            return rc;
        }
    }
    return p->n_tasks ? 0 : ynode_fail(map, e, "tasks is empty; allowed: rag, summ, chat, choice");
}

/* An open loop: requests come when they come, not when one before has ended. */
static int read_arrivals(struct reader *r, struct ynode n, struct err *e) {
    static const char *const kinds[] = {"constant", "poisson", "gamma", "bursty", NULL};
    struct plan *p = r->plan;
    int kind = ARRIVAL_POISSON;
    int64_t burst = 8;
    p->serve.arrival.cv = 1;
    int rc = ynode_num(ymap_get(n, "rate"), "rate (requests a second)", 1e-6, 1e6,
                       &p->serve.rate_per_s, e);
    rc = rc ? rc : ynode_enum(ymap_get(n, "arrival"), "arrival", kinds, &kind, e);
    rc = rc ? rc : ynode_num(ymap_get(n, "cv"), "cv", 0.01, 100, &p->serve.arrival.cv, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "burst"), "burst", 1, 1000000, &burst, e);
    p->serve.arrival.kind = (enum arrival_kind)kind;
    p->serve.arrival.burst = (int)burst;
    if (!rc && p->serve.rate_per_s > 0 && ynode_present(ymap_get(n, "concurrency"))) {
        rc = ynode_fail(n, e,
                        "rate is an open loop and concurrency a closed one: give one of them");
    }
    if (!rc && p->serve.rate_per_s > 0 && !p->server.is_used) {
        rc = ynode_fail(ymap_get(n, "rate"), e,
                        "a rate needs engine: {server: ...}; without one the loop is closed");
    }
    return rc;
}

static int read_serve(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"concurrency", "repeats", "context", "lengths",  "rate",
                                       "arrival",     "cv",      "burst",   "window_s", NULL};
    struct plan *p = r->plan;
    p->serve.concurrency = 8;
    p->serve.repeats = 1;
    if (!ynode_present(n)) {
        return 0;
    }
    int rc = ymap_check(n, "serve", keys, e);
    rc = rc ? rc
            : ynode_int(ymap_get(n, "concurrency"), "concurrency", 1,
                        p->server.is_used ? 100000 : 256, &p->serve.concurrency, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "repeats"), "repeats", 1, 1000, &p->serve.repeats, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "context"), "context", 16, 10000000, &p->serve.context, e);
    rc = rc ? rc : read_arrivals(r, n, e);
    rc = rc ? rc : ynode_num(ymap_get(n, "window_s"), "window_s", 0, 3600, &p->serve.window_s, e);
    if (!rc && p->serve.window_s > 0 && p->server.is_used) {
        rc = ynode_fail(
            ymap_get(n, "window_s"), e,
            "window_s is for engine: in process; with a server, repeats make it longer");
    }
    return rc ? rc
              : ynode_enum(ymap_get(n, "lengths"), "lengths", lengths_names, &p->serve.lengths, e);
}

static int read_load(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"warm", "cold", NULL};
    struct plan *p = r->plan;
    p->load.warm = 5;
    p->load.cold = 5;
    if (!ynode_present(n)) {
        return 0;
    }
    int rc = ymap_check(n, "load", keys, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "warm"), "warm", 0, 1000, &p->load.warm, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "cold"), "cold", 0, 1000, &p->load.cold, e);
    if (!rc && p->load.warm + p->load.cold == 0) {
        return ynode_fail(n, e, "load needs at least one warm or cold start");
    }
    return rc;
}

static int read_sampling(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"temperature", "top_p", "top_k", NULL};
    struct engine_sampling *s = &r->plan->sampling;
    int64_t top_k = 0;
    if (!ynode_present(n)) {
        return 0;
    }
    int rc = ymap_check(n, "sampling", keys, e);
    rc = rc ? rc : ynode_num(ymap_get(n, "temperature"), "temperature", 0, 10, &s->temperature, e);
    rc = rc ? rc : ynode_num(ymap_get(n, "top_p"), "top_p", 0, 1, &s->top_p, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "top_k"), "top_k", 0, 1000000, &top_k, e);
    s->top_k = (int)top_k;
    return rc;
}

static int read_gpu_layers(struct ynode n, int64_t *layers, struct err *e) {
    const char *text = NULL;
    int rc = ynode_str(n, "gpu_layers", &text, e);
    if (rc || !text || strcmp(text, "all") == 0) {
        return rc;
    }
    return ynode_int(n, "gpu_layers (a number, or all)", 0, 10000, layers, e);
}

static int read_engine(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"threads",         "gpu_layers", "batch", "kv",
                                       "device_sampling", "server",     NULL};
    static const char *const kv_names[] = {"per_sequence", "unified", NULL};
    static const char *const sampling_names[] = {"auto", "on", "off", NULL};
    struct plan *p = r->plan;
    p->engine.gpu_layers = ENGINE_ALL_GPU_LAYERS;
    p->engine.batch = 512;
    if (!ynode_present(n)) {
        return 0;
    }
    int kv = 0;
    int rc = ymap_check(n, "engine", keys, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "threads"), "threads", 1, 1024, &p->engine.threads, e);
    rc = rc ? rc : read_gpu_layers(ymap_get(n, "gpu_layers"), &p->engine.gpu_layers, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "batch"), "batch", 1, 65536, &p->engine.batch, e);
    rc = rc ? rc : ynode_enum(ymap_get(n, "kv"), "kv", kv_names, &kv, e);
    p->engine.kv_unified = kv == 1;
    return rc ? rc
              : ynode_enum(ymap_get(n, "device_sampling"), "device_sampling", sampling_names,
                           &p->engine.device_sampling, e);
}

static int read_energy(struct reader *r, struct ynode n, struct err *e) {
    static const char *const keys[] = {"source", "gpus", "idle_s", "phases_s", NULL};
    struct plan *p = r->plan;
    const char *source = "auto";
    const char *gpus = NULL;
    p->energy.idle_s = 10;
    p->energy.phases_s = 15;
    if (ynode_present(n)) {
        int rc = ymap_check(n, "energy", keys, e);
        rc = rc ? rc : ynode_str(ymap_get(n, "source"), "source", &source, e);
        rc = rc ? rc : ynode_str(ymap_get(n, "gpus"), "gpus", &gpus, e);
        rc = rc ? rc : ynode_num(ymap_get(n, "idle_s"), "idle_s", 0, 3600, &p->energy.idle_s, e);
        rc = rc ? rc
                : ynode_num(ymap_get(n, "phases_s"), "phases_s", 0, 600, &p->energy.phases_s, e);
        if (rc) {
            return rc;
        }
    }
    p->energy.source = arena_strdup(r->arena, source);
    p->energy.gpus = gpus ? arena_strdup(r->arena, gpus) : NULL;
    return p->energy.source && (p->energy.gpus || !gpus) ? 0 : plan_no_memory(e);
}

static int read_adapt(struct reader *r, struct ynode root, struct err *e) {
    struct plan *p = r->plan;
    const struct plan_adapt_places places = {r->plan_dir, r->data_dir, ymap_get(root, "methods")};
    bool kinds[TASK_KINDS] = {false};
    bool trains = false;
    for (size_t i = 0; i < p->n_tasks; i++) {
        kinds[p->tasks[i].kind] = true;
    }
    for (size_t i = 0; i < p->n_methods; i++) {
        trains = trains || p->methods[i] != METHOD_NONE;
    }
    int rc = plan_adapt_read(ymap_get(root, "adapt"), &places, kinds, trains, p->seed, r->arena,
                             &p->adapt, e);
    for (size_t i = 0; i < p->n_models && !rc; i++) {
        struct err why = ERR_INIT;
        if (p->models[i].adapt_rows[1] &&
            plan_adapt_rows_check(&p->adapt.opts, p->models[i].adapt_rows, &why)) {
            rc = ynode_fail(yseq_at(ymap_get(root, "models"), i), e, "%s", why.msg);
        }
    }
    return rc;
}

static int read_root(struct reader *r, struct ynode root, struct err *e) {
    static const char *const keys[] = {
        "name",  "seed",     "models",   "methods", "precisions", "tasks",           "serve",
        "load",  "sampling", "engine",   "energy",  "score",      "stage_timeout_s", "cost",
        "adapt", "shapes",   "quantize", "quality", NULL};
    struct plan *p = r->plan;
    const char *name = "run";
    p->seed = 1;
    p->stage_timeout_s = 6 * 3600;
    int rc = ymap_check(root, "the plan", keys, e);
    rc = rc ? rc : ynode_str(ymap_get(root, "name"), "name", &name, e);
    rc = rc ? rc : ynode_int(ymap_get(root, "seed"), "seed", 0, UINT32_MAX, &p->seed, e);
    rc = rc ? rc
            : ynode_int(ymap_get(root, "stage_timeout_s"), "stage_timeout_s", 1, 30 * 24 * 3600,
                        &p->stage_timeout_s, e);
    if (rc) {
        return rc;
    }
    if (!plan_is_file_name(name)) {
        return ynode_fail(ymap_get(root, "name"), e,
                          "name \"%.60s\" becomes a directory: letters, digits, '-', '_' and '.' "
                          "only, and no '.' first",
                          name);
    }
    p->name = arena_strdup(r->arena, name);
    if (!ynode_present(ymap_get(root, "models")) || !ynode_present(ymap_get(root, "tasks"))) {
        return ynode_fail(root, e, "a plan needs at least models: and tasks:");
    }
    const struct plan_model_places places = {r->plan_dir, r->data_dir, ymap_get(root, "shapes")};
    rc = plan_server_read(ymap_get(ymap_get(root, "engine"), "server"), r->arena, &p->server, e);
    rc = rc ? rc : read_serve(r, ymap_get(root, "serve"), e);
    rc = rc ? rc : read_axes(r, root, e);
    rc = rc ? rc : plan_models_read(ymap_get(root, "models"), &places, r->arena, p, e);
    rc = rc ? rc : read_tasks(r, ymap_get(root, "tasks"), e);
    rc = rc ? rc : read_load(r, ymap_get(root, "load"), e);
    rc = rc ? rc : read_sampling(r, ymap_get(root, "sampling"), e);
    rc = rc ? rc : read_engine(r, ymap_get(root, "engine"), e);
    rc = rc ? rc : read_energy(r, ymap_get(root, "energy"), e);
    rc = rc ? rc : plan_cost_read(ymap_get(root, "cost"), r->arena, &p->cost, e);
    rc = rc ? rc : plan_score_read(ymap_get(root, "score"), r->plan_dir, r->arena, p, e);
    rc = rc ? rc : read_adapt(r, root, e);
    rc = rc ? rc : read_quantize(r, ymap_get(root, "quantize"), e);
    rc = rc ? rc : read_quality(r, ymap_get(root, "quality"), e);
    p->sampling.seed = (uint32_t)p->seed;
    return !rc && !p->name ? plan_no_memory(e) : rc;
}

int plan_parse(const char *text, size_t len, const char *path, const char *data_dir,
               struct arena *a, struct plan *out, struct err *e) {
    *out = (struct plan){0};
    struct reader r = {.data_dir = data_dir, .arena = a, .plan = out};
    struct ydoc *doc = NULL;
    int rc = ydoc_load_bytes(text, len, path, &doc, e);
    if (rc) {
        return rc;
    }
    out->path = arena_strdup(a, path);
    out->text = arena_strndup(a, text, len);
    r.plan_dir = fs_dirname(path);
    if (!out->path || !out->text || !r.plan_dir) {
        rc = plan_no_memory(e);
    }
    rc = rc ? rc : read_root(&r, ydoc_root(doc), e);
    free(r.plan_dir);
    ydoc_free(doc);
    return rc;
}

int plan_load(const char *path, const char *data_dir, struct arena *a, struct plan *out,
              struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = fs_read(path, &text, e);
    rc = rc ? rc : plan_parse(text.data, text.len, path, data_dir, a, out, e);
    buf_release(&text);
    return rc;
}
