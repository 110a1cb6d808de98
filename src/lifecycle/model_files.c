#include "lifecycle/model_files.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "engine/synth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the way weights are drawn: raised when the same seed gives others. */
enum { WEIGHTS_VERSION = 1 };

/* ---- in the worker ---- */

static void on_progress(uint64_t done_bytes, uint64_t all_bytes, void *ctx) {
    worker_progress(ctx, (int64_t)done_bytes, (int64_t)all_bytes, -1);
}

/* What a real file would tell of itself. */
static json_t *facts_json(const struct known_shape *s, const json_t *described) {
    char key[HASH_HEX_SIZE];
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "%d %s %lld %lld %lld %lld %lld %lld %lld %d %g %g %g %lld", WEIGHTS_VERSION,
             s->architecture, (long long)s->n_layers, (long long)s->n_embd, (long long)s->n_ff,
             (long long)s->n_head, (long long)s->n_head_kv, (long long)s->head_dim,
             (long long)s->n_vocab, (int)s->tied, s->rms_eps, s->rope_base, s->rope_factor,
             (long long)json_int_or(described, "seed", 1));
    buf_addf(&text, " %s %s", s->tokenizer, s->template);
    hash_bytes(text.data, text.len, key);
    buf_release(&text);
    const int64_t block = 256; /* of K-quants */
    const int64_t kv_token_bytes = 2 * 2 * s->n_layers * s->n_head_kv * s->head_dim;
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:b}", "hash", key, "arch", s->architecture,
                     "file_type", "F16", "n_params", (json_int_t)shape_params(s), "kv_token_bytes",
                     (json_int_t)kv_token_bytes, "rows_fit_k_quants",
                     s->n_embd % block == 0 && s->n_ff % block == 0 &&
                         s->n_head * s->head_dim % block == 0,
                     "synthetic", true);
}

static struct known_shape narrowed(const struct known_shape *s) {
    struct known_shape n = *s;
    n.n_layers = 1;
    n.n_embd = n.n_ff = n.head_dim = 32;
    n.n_head = n.n_head_kv = 1;
    n.tied = true;
    n.params = 0;
    return n;
}

int model_files_write(struct worker *w, const json_t *shape, const char *out_path, bool narrow,
                      json_t **facts, struct err *e) {
    const char *path = NULL;
    const char *id = NULL;
    struct arena a = ARENA_INIT;
    struct known_shape *shapes = NULL;
    size_t n = 0;
    int rc = json_want_str(shape, "shapes", &path, e);
    rc = rc ? rc : json_want_str(shape, "shape", &id, e);
    rc = rc ? rc : shapes_load(path, &a, &shapes, &n, e);
    const struct known_shape *s = rc ? NULL : shapes_find(shapes, n, id);
    if (!rc && !s) {
        rc = err_set(e, EE_MISSING, "%s has no shape %s any more", path, id);
    }
    if (!rc) {
        const struct known_shape small = narrowed(s);
        const struct synth_opts opts = {.shape = narrow ? &small : s,
                                        .vocab_path = json_str_or(shape, "vocab", ""),
                                        .out_path = out_path,
                                        .type = json_str_or(shape, "type", "F16"),
                                        .seed = (uint64_t)json_int_or(shape, "seed", 1),
                                        .progress = on_progress,
                                        .progress_ctx = w};
        rc = synth_write(&opts, e);
    }
    if (!rc && facts) {
        *facts = facts_json(s, shape);
    }
    arena_release(&a);
    return rc;
}

int synth_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    const char *out = NULL;
    int rc = json_want_str(args, "out", &out, e);
    rc = rc ? rc : model_files_write(w, json_object_get(args, "shape"), out, false, NULL, e);
    *result = rc ? NULL : json_object();
    return rc;
}

/* ---- in the parent ---- */

json_t *model_files_shape_json(const struct run *r, const struct plan_model *m, const char *type) {
    return json_pack("{s:s, s:s, s:s, s:s, s:I}", "shapes", m->shapes_path, "shape", m->shape->id,
                     "vocab", m->vocab_path, "type", type, "seed", (json_int_t)r->plan.seed);
}

enum { MOST_FILES = 5 };

struct file {
    char *path;
    const char *type; /* NULL: cannot be written from the shape */
};

/* The files of v that reads asks for. */
static size_t list_files(const struct run *r, const struct variant *v, unsigned reads,
                         struct file files[MOST_FILES]) {
    size_t n = 0;
    if (reads & READS_TRAINED) {
        files[n++] = (struct file){run_trained_path(r, v), run_trained_type(r, v)};
    }
    if (reads & READS_BASE) {
        files[n++] = (struct file){strdup(v->model->path), "F16"};
    }
    if (reads & READS_ADAPTER) {
        files[n++] = (struct file){run_adapter_path(r, v), NULL};
    }
    if (reads & READS_FP16) {
        struct variant fp16 = *v;
        fp16.precision = PRECISION_FP16;
        files[n++] = (struct file){run_artifact_path(r, &fp16), "F16"};
    }
    if (reads & READS_OWN) {
        files[n++] = (struct file){run_artifact_path(r, v), run_artifact_type(r, v)};
    }
    return n;
}

/* A file of n weights in that type, about. */
static double file_bytes(double n_weights, const char *type) {
    const double bits = strcmp(type, "F16") == 0 || strcmp(type, "BF16") == 0 ? 16.1
                        : strcmp(type, "Q8_0") == 0                           ? 8.6
                                                                              : 5.3;
    const double vocabulary = 8e6;
    return vocabulary + n_weights * bits / 8;
}

/* Deletes what can be written again and is not among the stage's own. */
static void drop_others(struct run *r, const struct file *own, size_t n_own) {
    const unsigned all = READS_TRAINED | READS_BASE | READS_FP16 | READS_OWN;
    for (size_t i = 0; i < r->n_variants; i++) {
        const struct variant *v = &r->variants[i];
        struct file files[MOST_FILES];
        size_t n = variant_is_of_shape(v) ? list_files(r, v, all, files) : 0;
        for (size_t k = 0; k < n; k++) {
            bool is_own = !files[k].path;
            for (size_t o = 0; o < n_own && !is_own; o++) {
                is_own = own[o].path && strcmp(own[o].path, files[k].path) == 0;
            }
            if (!is_own) {
                unlink(files[k].path); /* most are not there */
            }
            free(files[k].path);
        }
    }
}

/* A disk that cannot hold all files of a model at once holds those of one stage. */
static void make_room(struct run *r, const struct stage_kind *k, const struct variant *v,
                      const struct file *files, size_t n) {
    static const double margin = 1.05;
    uint64_t have = 0;
    const double n_weights = (double)run_model(r, v)->n_params;
    double need = k == &stage_merge      ? file_bytes(n_weights, "F16")
                  : k == &stage_quantize ? file_bytes(n_weights, run_artifact_type(r, v))
                                         : 0;
    for (size_t i = 0; i < n; i++) {
        if (files[i].path && files[i].type && !fs_exists(files[i].path)) {
            need += file_bytes(n_weights, files[i].type);
        }
    }
    if (fs_free_bytes(r->artifacts, &have, NULL) == 0 && (double)have < need * margin) {
        run_note(r, "%s: the disk is short, so other files of the model are written again later",
                 v->model->id);
        drop_others(r, files, n);
    }
}

static int write_file(struct run *r, const struct plan_model *m, const struct file *f,
                      struct err *e) {
    int64_t begin_ns = clock_mono_ns();
    uint64_t bytes = 0;
    json_t *args = json_pack("{s:s, s:o}", "out", f->path, "shape",
                             model_files_shape_json(r, m, f->type));
    struct job_spec spec = {.job = "synth", .args = args};
    struct job_outcome out = {0};
    int rc = args ? run_job(r, &spec, &out, e) : err_set(e, EE_NOMEM, "synth: out of memory");
    rc = rc ? rc : fs_size(f->path, &bytes, e);
    if (!rc) {
        run_note(r, "wrote %s, random weights: %.2f GB in %.1f s", fs_basename(f->path),
                 (double)bytes / 1e9, clock_ns_to_s(clock_mono_ns() - begin_ns));
    }
    json_decref(out.result);
    json_decref(args);
    return rc;
}

int model_files_make(struct run *r, const struct stage_kind *k, const struct variant *v,
                     struct err *e) {
    if (!variant_is_of_shape(v)) {
        return 0;
    }
    struct file files[MOST_FILES];
    size_t n = list_files(r, v, k->reads, files);
    int rc = 0;
    make_room(r, k, v, files, n);
    for (size_t i = 0; i < n; i++) {
        if (!rc && !files[i].path) {
            rc = err_set(e, EE_NOMEM, "model files: out of memory");
        }
        if (!rc && files[i].type && !fs_exists(files[i].path)) {
            rc = write_file(r, v->model, &files[i], e);
        }
        free(files[i].path);
    }
    return rc;
}

bool model_file_remains(const struct variant *v, char *path) {
    bool there = path && fs_exists(path);
    free(path);
    return there || variant_is_of_shape(v);
}

/* ---- deleting ---- */

struct needed {
    const char **paths;
    size_t n;
    size_t cap;
};

static bool is_needed(const struct needed *s, const char *path) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->paths[i], path) == 0) {
            return true;
        }
    }
    return false;
}

static int add_needed(struct run *r, const struct variant *v, unsigned reads, struct arena *a,
                      struct needed *s, struct err *e) {
    struct file files[MOST_FILES];
    size_t n = list_files(r, v, reads, files);
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        const char *kept = files[i].path ? arena_strdup(a, files[i].path) : NULL;
        if (!kept || s->n == s->cap) {
            rc = err_set(e, EE_NOMEM, "model files: out of memory");
        } else if (!is_needed(s, kept)) {
            s->paths[s->n++] = kept;
        }
        free(files[i].path);
    }
    return rc;
}

static int find_needed(struct run *r, const struct plan_model *m, model_files_pending *pending,
                       void *ctx, struct arena *a, struct needed *s, struct err *e) {
    s->cap = r->n_variants * MOST_FILES;
    s->paths = arena_array(a, s->cap, sizeof(*s->paths));
    int rc = s->paths ? 0 : err_set(e, EE_NOMEM, "model files: out of memory");
    for (size_t i = 0; i < r->n_variants && !rc; i++) {
        const struct variant *v = &r->variants[i];
        unsigned reads = 0;
        for (size_t k = 0; v->model == m && stage_kinds[k] && !rc; k++) {
            bool is_pending = false;
            rc = pending(ctx, stage_kinds[k], v, &is_pending, e);
            reads |= is_pending ? stage_kinds[k]->reads : 0;
        }
        rc = rc ? rc : add_needed(r, v, reads, a, s, e);
    }
    return rc;
}

int model_files_drop(struct run *r, const struct variant *v, model_files_pending *pending,
                     void *ctx, struct err *e) {
    if (!variant_is_of_shape(v)) {
        return 0;
    }
    struct arena a = ARENA_INIT;
    struct needed s = {0};
    int rc = find_needed(r, v->model, pending, ctx, &a, &s, e);
    const unsigned all = READS_TRAINED | READS_BASE | READS_ADAPTER | READS_FP16 | READS_OWN;
    for (size_t i = 0; i < r->n_variants && !rc; i++) {
        struct file files[MOST_FILES];
        size_t n = r->variants[i].model == v->model ? list_files(r, &r->variants[i], all, files)
                                                    : 0;
        for (size_t k = 0; k < n; k++) {
            if (files[k].path && !is_needed(&s, files[k].path) && unlink(files[k].path) != 0 &&
                errno != ENOENT) {
                rc = err_errno(e, errno, "cannot delete %s", files[k].path);
            }
            free(files[k].path);
        }
    }
    arena_release(&a);
    return rc;
}

uint64_t model_files_disk_bytes(const struct run *r) {
    double most = 0;
    for (size_t m = 0; m < r->plan.n_models; m++) {
        struct arena a = ARENA_INIT;
        struct needed seen = {.cap = r->n_variants * MOST_FILES};
        double sum = 0;
        seen.paths = arena_array(&a, seen.cap, sizeof(*seen.paths));
        for (size_t i = 0; seen.paths && i < r->n_variants; i++) {
            const struct variant *v = &r->variants[i];
            struct file files[MOST_FILES];
            bool counts = v->model == &r->plan.models[m] && variant_is_of_shape(v) &&
                          !run_model(r, v)->failed;
            unsigned reads = READS_BASE | READS_OWN;
            reads |= variant_is_adapted(v) ? READS_TRAINED | READS_FP16 : 0;
            size_t n = counts ? list_files(r, v, reads, files) : 0;
            for (size_t k = 0; k < n; k++) {
                const char *kept = files[k].path ? arena_strdup(&a, files[k].path) : NULL;
                if (kept && !is_needed(&seen, kept)) {
                    seen.paths[seen.n++] = kept;
                    sum += file_bytes((double)run_model(r, v)->n_params, files[k].type);
                }
                free(files[k].path);
            }
        }
        most = sum > most ? sum : most;
        arena_release(&a);
    }
    return (uint64_t)most;
}
