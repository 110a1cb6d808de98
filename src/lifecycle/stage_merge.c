/* merge: the model and its variant's adapter as one F16 file, the FP16 baseline of adapted variants. */
#include "adapt/merge.h"
#include "base/hash.h"
#include "base/json.h"
#include "engine/gguf_info.h"
#include "lifecycle/model_files.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/worker.h"

#include <stdio.h>
#include <stdlib.h>

static int inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) {
    if (variant_is_of_shape(v)) { /* whichever adapter it is */
        json_object_set_new(in, "model_hash", json_string(run_model(r, v)->hash));
        json_object_set_new(in, "rank", json_integer(r->plan.adapt.opts.rank));
        json_object_set_new(in, "modules", json_string(r->plan.adapt.opts.modules));
        return 0;
    }
    return run_add_stage_key(r, &stage_adapt, v, "adapter", in, e);
}

static void title(const struct run *r, const struct variant *v, char *buf, size_t size) {
    (void)r;
    if (variant_is_of_shape(v)) {
        snprintf(buf, size, "merge %s", v->model->id);
        return;
    }
    snprintf(buf, size, "merge %s %s %s", v->model->id, v->task->name, method_names[v->method]);
}

static void on_progress(void *ctx, int64_t done_bytes, int64_t all_bytes) {
    worker_progress(ctx, done_bytes, all_bytes, -1);
}

int merge_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    const char *model = NULL;
    const char *adapter = NULL;
    const char *out = NULL;
    json_t *types = NULL;
    struct gguf_info info;
    struct merge_result merged;
    char hash[HASH_HEX_SIZE];
    const struct merge_opts opts = {.progress = on_progress, .ctx = w};
    int rc = json_want_str(args, "model", &model, e);
    rc = rc ? rc : json_want_str(args, "adapter", &adapter, e);
    rc = rc ? rc : json_want_str(args, "out", &out, e);
    rc = rc ? rc : worker_window_open(w, "merge", e);
    rc = rc ? rc : merge_files(model, adapter, out, &opts, &merged, e);
    rc = rc ? rc : worker_window_close(w, "merge", e);
    rc = rc ? rc : gguf_info_read(out, &info, &types, e);
    rc = rc ? rc : artifact_hash(args, out, hash, e);
    if (!rc) {
        *result = json_pack("{s:I, s:s, s:O, s:I}", "bytes", (json_int_t)info.file_bytes, "hash",
                            hash, "types", types, "merged", (json_int_t)merged.n_merged);
    }
    json_decref(types);
    return rc;
}

static int execute(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e) {
    char *adapter = run_adapter_path(r, v);
    char *out_path = run_merged_path(r, v);
    json_t *args = adapter && out_path
                       ? json_pack("{s:s, s:s, s:s, s:b}", "model", v->model->path, "adapter",
                                   adapter, "out", out_path, "of_shape", variant_is_of_shape(v))
                       : NULL;
    struct job_outcome out = {0};
    int rc = args ? run_stage_job(r, stage_id, "merge", args, &out, e)
                  : err_set(e, EE_NOMEM, "merge: out of memory");
    rc = rc ? rc : run_put_artifact(r, stage_id, out_path, "gguf", out.result, e);
    if (!rc) {
        *result = json_pack("{s:I, s:I}", "bytes", (json_int_t)json_int_or(out.result, "bytes", 0),
                            "merged", (json_int_t)json_int_or(out.result, "merged", 0));
    }
    json_decref(out.result);
    json_decref(args);
    free(adapter);
    free(out_path);
    return rc;
}

static bool still_there(struct run *r, const struct variant *v) {
    return model_file_remains(v, run_merged_path(r, v));
}

uint64_t merge_disk_bytes(const struct run *r, const struct variant *v) {
    return (uint64_t)run_model(r, v)->n_params * 2;
}

const struct stage_kind stage_merge = {
    .name = "merge",
    .needs = "adapt",
    .version = 1,
    .reads = READS_BASE | READS_ADAPTER,
    .applies = variant_is_adapted,
    .inputs = inputs,
    .title = title,
    .execute = execute,
    .still_there = still_there,
};
