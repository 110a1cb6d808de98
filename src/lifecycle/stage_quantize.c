/* quantize: the model's weights in the variant's precision, as a file of this run. */
#include "base/buf.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "engine/gguf_info.h"
#include "engine/quantize.h"
#include "lifecycle/model_files.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * GGUF types behind the precisions. K-quants need rows that are multiples of 256: on other shapes
 * they would silently fall back tensor by tensor, so Q4_0 is chosen for the whole file instead. The
 * plan may ask for Q4_0 anyhow.
 */
static const char *target_type(const struct run *r, const struct variant *v, enum precision p) {
    const struct model_facts *m = run_model(r, v);
    switch (p) {
    case PRECISION_INT8:
        return "Q8_0";
    case PRECISION_INT4:
        return r->plan.int4_type ? r->plan.int4_type : m->rows_fit_k_quants ? "Q4_K_M" : "Q4_0";
    case PRECISION_FP16:
    case PRECISION_COUNT:
        break;
    }
    return "F16";
}

static bool is_full_precision(const struct model_facts *m) {
    return !strcmp(m->file_type, "F16") || !strcmp(m->file_type, "BF16") ||
           !strcmp(m->file_type, "F32");
}

/* An F16 file serves as it is, and so does the one that merging made; nothing is written. */
static bool used_as_is(const struct run *r, const struct variant *v, enum precision p) {
    return p == PRECISION_FP16 &&
           (variant_is_adapted(v) || !strcmp(run_model(r, v)->file_type, "F16"));
}

/* Quantizing starts from full precision: the model file where it has that, else our F16 of it. */
static bool starts_from_fp16_artifact(const struct run *r, const struct variant *v,
                                      enum precision p) {
    return p != PRECISION_FP16 && variant_has_file(v) &&
           (variant_is_adapted(v) || !is_full_precision(run_model(r, v)));
}

static char *artifact_path(const struct run *r, const struct variant *v, enum precision p) {
    if (used_as_is(r, v, p) && !variant_is_adapted(v)) {
        return strdup(v->model->path);
    }
    char words[64];
    struct buf b;
    buf_init(&b);
    variant_file_words(v, p, words, sizeof(words));
    buf_addf(&b, "%s/%s.%s.gguf", r->artifacts, v->model->id, words);
    return buf_detach(&b);
}

char *run_merged_path(const struct run *r, const struct variant *v) {
    return artifact_path(r, v, PRECISION_FP16);
}

char *run_artifact_path(const struct run *r, const struct variant *v) {
    return artifact_path(r, v, v->precision);
}

const char *run_artifact_type(const struct run *r, const struct variant *v) {
    return target_type(r, v, v->precision);
}

static int inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) {
    const struct model_facts *m = run_model(r, v);
    const char *method = variant_is_of_shape(v) && variant_is_adapted(v) ? "any"
                                                                         : method_names[v->method];
    json_object_set_new(in, "model_hash", json_string(m->hash));
    json_object_set_new(in, "source_type", json_string(m->file_type));
    json_object_set_new(in, "target_type", json_string(run_artifact_type(r, v)));
    json_object_set_new(in, "method", json_string(method));
    json_object_set_new(in, "threads", json_integer((json_int_t)r->plan.engine.threads));
    return variant_is_adapted(v) ? run_add_stage_key(r, &stage_merge, v, "merged", in, e) : 0;
}

static void title(const struct run *r, const struct variant *v, char *buf, size_t size) {
    char words[48];
    (void)r;
    variant_title_words(v, words, sizeof(words));
    bool is_own = variant_is_adapted(v) && !variant_is_of_shape(v);
    snprintf(buf, size, "quantize %s %s%s%s", v->model->id, is_own ? v->task->name : "",
             is_own ? " " : "", words);
}

int artifact_hash(const json_t *args, const char *path, char hash[HASH_HEX_SIZE], struct err *e) {
    hash[0] = '\0';
    return json_is_true(json_object_get(args, "of_shape")) ? 0 : hash_file(path, hash, e);
}

int quantize_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    const char *in_path = NULL;
    const char *out_path = NULL;
    const char *type = NULL;
    json_t *types = NULL;
    struct gguf_info info;
    char hash[HASH_HEX_SIZE];
    int rc = json_want_str(args, "in", &in_path, e);
    rc = rc ? rc : json_want_str(args, "out", &out_path, e);
    rc = rc ? rc : json_want_str(args, "type", &type, e);
    bool convert = !rc && strcmp(in_path, out_path) != 0;
    if (convert) {
        rc = worker_window_open(w, "quantize", e);
        rc = rc ? rc
                : quantize_file(in_path, out_path, type, (int)json_int_or(args, "threads", 0), e);
        rc = rc ? rc : worker_window_close(w, "quantize", e);
    }
    rc = rc ? rc : gguf_info_read(out_path, &info, &types, e);
    rc = rc ? rc : artifact_hash(args, out_path, hash, e);
    if (!rc) {
        *result = json_pack("{s:I, s:s, s:o}", "bytes", (json_int_t)info.file_bytes, "hash", hash,
                            "types", types);
    }
    return rc;
}

/* Bits a weight takes, scales and the tensors kept in more precision included, rounded up. */
static double bits_per_weight(const char *type) {
    static const struct {
        const char *type;
        double bits;
    } table[] = {{"F16", 16.1}, {"Q8_0", 8.6}, {"Q4_0", 5.3}, {"Q4_K_M", 5.3}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (!strcmp(table[i].type, type)) {
            return table[i].bits;
        }
    }
    return 16.1;
}

uint64_t quantize_disk_bytes(const struct run *r, const struct variant *v) {
    const struct model_facts *m = run_model(r, v);
    if (used_as_is(r, v, v->precision)) {
        return 0;
    }
    return (uint64_t)((double)m->n_params * bits_per_weight(run_artifact_type(r, v)) / 8);
}

static int check_disk(const struct run *r, const struct variant *v, struct err *e) {
    uint64_t need = quantize_disk_bytes(r, v);
    uint64_t have = 0;
    int rc = fs_free_bytes(r->artifacts, &have, e);
    if (!rc && need > have) {
        rc = err_set(
            e, EE_NOSPACE,
            "the %s file of %s needs about %.2f GB and %.2f GB are free at %s; free some or "
            "choose another --out",
            precision_names[v->precision], v->model->id, (double)need / 1e9, (double)have / 1e9,
            r->artifacts);
    }
    return rc;
}

int run_put_artifact(struct run *r, int64_t stage_id, const char *path, const char *kind,
                     const json_t *value, struct err *e) {
    struct buf detail;
    buf_init(&detail);
    const json_t *types = json_object_get(value, "types");
    json_t *d = types ? json_pack("{s:O}", "types", types) : json_object();
    int rc = json_write(d, &detail, e);
    struct buf own;
    buf_init(&own);
    bool inside = strncmp(path, r->artifacts, strlen(r->artifacts)) == 0 &&
                  path[strlen(r->artifacts)] == '/';
    buf_addf(&own, "artifacts/%s", fs_basename(path));
    rc = rc ? rc : buf_check(&own, "path", e);
    const struct store_artifact row = {.path = inside ? own.data : path,
                                       .kind = kind,
                                       .bytes = json_num_or(value, "bytes", 0),
                                       .hash = json_str_or(value, "hash", ""),
                                       .detail_json = detail.data};
    rc = rc ? rc : store_artifact_put(r->store, stage_id, &row, e);
    buf_release(&own);
    json_decref(d);
    buf_release(&detail);
    return rc;
}

static int convert(struct run *r, const struct variant *v, int64_t stage_id, const char *in_path,
                   const char *out_path, json_t **result, struct err *e) {
    const struct model_facts *m = run_model(r, v);
    const char *type = run_artifact_type(r, v);
    bool as_is = strcmp(in_path, out_path) == 0;
    struct buf part;
    buf_init(&part);
    buf_addf(&part, "%s%s", out_path, as_is ? "" : ".part");
    json_t *args = json_pack("{s:s, s:s, s:s, s:I, s:b}", "in", in_path, "out", part.data, "type",
                             type, "threads", (json_int_t)r->plan.engine.threads, "of_shape",
                             variant_is_of_shape(v));
    struct job_outcome out = {0};
    int rc = buf_check(&part, "path", e);
    rc = rc ? rc : run_stage_job(r, stage_id, "quantize", args, &out, e);
    if (!rc && !as_is && rename(part.data, out_path) != 0) {
        rc = err_errno(e, errno, "cannot rename %s", part.data);
    }
    rc = rc ? rc : run_put_artifact(r, stage_id, out_path, "gguf", out.result, e);
    if (rc && !as_is) {
        unlink(part.data);
    }
    if (!rc) {
        *result = json_pack("{s:s, s:s, s:I, s:b, s:b}", "type", type, "source_type",
                            starts_from_fp16_artifact(r, v, v->precision) ? "F16" : m->file_type,
                            "bytes", (json_int_t)json_int_or(out.result, "bytes", 0), "used_as_is",
                            as_is, "synthetic", m->is_synthetic);
    }
    json_decref(out.result);
    json_decref(args);
    buf_release(&part);
    return rc;
}

/* The FP16 file was made for this one too: its joules stand beside this stage's own. */
static int copy_source_energy(struct run *r, const struct variant *v, int64_t stage_id,
                              struct err *e) {
    struct variant source = *v;
    source.precision = PRECISION_FP16;
    struct arena a = ARENA_INIT;
    struct buf inputs_json;
    struct store_stage st = {0};
    struct store_energy *rows = NULL;
    size_t n = 0;
    char key[HASH_HEX_SIZE];
    buf_init(&inputs_json);
    int rc = stage_key(r, &stage_quantize, &source, key, &inputs_json, e);
    rc = rc ? rc : store_stage_find(r->store, key, &a, &st, e);
    rc = rc || !st.key ? rc : store_energies(r->store, st.stage_id, &a, &rows, &n, e);
    for (size_t i = 0; i < n && !rc; i++) {
        if (strcmp(rows[i].window, "quantize") == 0) {
            rows[i].window = "quantize/source";
            rc = store_energy_put(r->store, stage_id, &rows[i], e);
        }
    }
    buf_release(&inputs_json);
    arena_release(&a);
    return rc;
}

static int execute(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e) {
    bool from_fp16 = starts_from_fp16_artifact(r, v, v->precision);
    char *in_path = from_fp16 || variant_is_adapted(v) ? artifact_path(r, v, PRECISION_FP16)
                                                       : strdup(v->model->path);
    char *out_path = run_artifact_path(r, v);
    int rc = in_path && out_path ? 0 : err_set(e, EE_NOMEM, "quantize: out of memory");
    rc = rc ? rc : check_disk(r, v, e);
    rc = rc ? rc : convert(r, v, stage_id, in_path, out_path, result, e);
    rc = rc || !quantize_needs_fp16(r, v) ? rc : copy_source_energy(r, v, stage_id, e);
    free(in_path);
    free(out_path);
    return rc;
}

static bool still_there(struct run *r, const struct variant *v) {
    return model_file_remains(v, run_artifact_path(r, v));
}

int run_add_artifact_key(struct run *r, const struct variant *v, json_t *inputs, struct err *e) {
    if (variant_has_file(v)) {
        return run_add_stage_key(r, &stage_quantize, v, "artifact", inputs, e);
    }
    int failed = json_object_set_new(inputs, "served", json_string(v->model->served[v->precision]));
    return failed ? err_set(e, EE_NOMEM, "stage key: out of memory") : 0;
}

bool quantize_needs_fp16(const struct run *r, const struct variant *v) {
    return !variant_is_adapted(v) && starts_from_fp16_artifact(r, v, v->precision);
}

const struct stage_kind stage_quantize = {
    .name = "quantize",
    .needs = "merge",
    .version = 2,
    .reads = READS_FP16,
    .applies = variant_has_file,
    .inputs = inputs,
    .title = title,
    .execute = execute,
    .still_there = still_there,
};
