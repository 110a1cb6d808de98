/* Reading a model file before planning stages for it, in a worker: a damaged file may kill it. */
#include "base/hash.h"
#include "base/json.h"
#include "engine/engine.h"
#include "engine/gguf_info.h"
#include "lifecycle/model_files.h"
#include "lifecycle/prompts.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The longest prompt of one task, in tokens. */
static int longest_prompt(struct engine *g, const json_t *task, json_t *out, struct err *e) {
    struct task_set set;
    int rc = prompts_load(task, &set, e);
    if (rc) {
        return rc;
    }
    struct arena a = ARENA_INIT;
    size_t longest = 0;
    for (size_t i = 0; i < set.n_items && !rc; i++) {
        struct engine_request q;
        rc = prompts_tokenize(g, &set.items[i], &a, &q, e);
        longest = !rc && q.n_prompt > longest ? q.n_prompt : longest;
    }
    if (!rc) {
        json_object_set_new(out, task_kind_name(set.kind), json_integer((json_int_t)longest));
    }
    arena_release(&a);
    task_set_release(&set);
    return rc;
}

static int measure_prompts(const char *path, const json_t *tasks, json_t **out, struct err *e) {
    struct engine *g = NULL;
    int rc = engine_open_vocabulary(path, &g, e);
    *out = json_object();
    size_t i;
    json_t *task;
    json_array_foreach(tasks, i, task) {
        rc = rc ? rc : longest_prompt(g, task, *out, e);
    }
    engine_close(g);
    return rc;
}

static int inspect_file(const json_t *args, json_t **facts, struct err *e) {
    const char *path = NULL;
    struct gguf_info info;
    char hash[HASH_HEX_SIZE];
    json_t *lengths = NULL;
    int rc = json_want_str(args, "path", &path, e);
    rc = rc ? rc : gguf_info_read_model(path, &info, e);
    rc = rc ? rc : gguf_info_check_answers(&info, path, e);
    rc = rc ? rc : measure_prompts(path, json_object_get(args, "tasks"), &lengths, e);
    rc = rc ? rc : hash_file(path, hash, e);
    if (!rc) {
        *facts = json_pack(
            "{s:s, s:s, s:s, s:I, s:I, s:b, s:b, s:O}", "hash", hash, "arch", info.arch,
            "file_type", info.file_type, "n_params", (json_int_t)info.n_params, "kv_token_bytes",
            (json_int_t)gguf_info_kv_token_bytes(&info), "rows_fit_k_quants",
            info.rows_fit_k_quants, "synthetic", info.is_synthetic, "max_prompt_tokens", lengths);
    }
    json_decref(lengths);
    return rc;
}

/* Of a shape that has no file yet: what prompts become shows a file with its tokenizer and template. */
static int inspect_shape(struct worker *w, const json_t *args, json_t **facts, struct err *e) {
    char dir[] = "/tmp/edge-eval-shape-XXXXXX";
    struct buf path;
    json_t *lengths = NULL;
    buf_init(&path);
    int rc = mkdtemp(dir) ? 0 : err_errno(e, errno, "cannot create %s", dir);
    buf_addf(&path, "%s/narrow.gguf", dir);
    rc = rc ? rc : buf_check(&path, "path", e);
    rc = rc ? rc : model_files_write(w, json_object_get(args, "shape"), path.data, true, facts, e);
    rc = rc ? rc : measure_prompts(path.data, json_object_get(args, "tasks"), &lengths, e);
    if (!rc) {
        json_object_set(*facts, "max_prompt_tokens", lengths);
    }
    unlink(path.data);
    rmdir(dir);
    json_decref(lengths);
    buf_release(&path);
    return rc;
}

int inspect_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    char device[128];
    char warning[512];
    json_t *facts = NULL;
    int rc = engine_device_name((int)json_int_or(args, "gpu_layers", 0), device, sizeof(device), e);
    rc = rc ? rc : engine_unusable_backend(warning, sizeof(warning), e);
    rc = rc                               ? rc
         : json_object_get(args, "shape") ? inspect_shape(w, args, &facts, e)
                                          : inspect_file(args, &facts, e);
    if (rc) {
        json_decref(facts);
        return rc;
    }
    json_object_set_new(facts, "engine_version", json_string(engine_version()));
    json_object_set_new(facts, "device", json_string(device));
    json_object_set_new(facts, "warning", json_string(warning));
    *result = facts;
    return 0;
}

static void take_facts(struct run *r, struct model_facts *m, const json_t *v) {
    snprintf(m->hash, sizeof(m->hash), "%s", json_str_or(v, "hash", ""));
    snprintf(m->arch, sizeof(m->arch), "%s", json_str_or(v, "arch", ""));
    snprintf(m->file_type, sizeof(m->file_type), "%s", json_str_or(v, "file_type", ""));
    m->n_params = json_int_or(v, "n_params", 0);
    m->kv_token_bytes = json_int_or(v, "kv_token_bytes", 0);
    m->rows_fit_k_quants = json_is_true(json_object_get(v, "rows_fit_k_quants"));
    m->is_synthetic = json_is_true(json_object_get(v, "synthetic"));
    for (int k = 0; k < TASK_KINDS; k++) {
        m->max_prompt_tokens[k] = json_int_or(json_object_get(v, "max_prompt_tokens"),
                                              task_kind_name((enum task_kind)k), 0);
    }
    snprintf(r->engine_version, sizeof(r->engine_version), "%s",
             json_str_or(v, "engine_version", ""));
    snprintf(r->device, sizeof(r->device), "%s", json_str_or(v, "device", "CPU"));
}

static int inspect_one(struct run *r, size_t i, struct err *e) {
    json_t *tasks = json_array();
    for (size_t t = 0; t < r->plan.n_tasks; t++) {
        json_array_append_new(tasks, prompts_json(&r->plan.tasks[t]));
    }
    json_t *args = json_pack("{s:s, s:o, s:I}", "path", r->plan.models[i].path, "tasks", tasks,
                             "gpu_layers", (json_int_t)r->plan.engine.gpu_layers);
    if (r->plan.models[i].shape) {
        json_object_set_new(args, "shape", model_files_shape_json(r, &r->plan.models[i], "F16"));
    }
    struct job_spec spec = {.job = "inspect", .args = args};
    struct job_outcome out;
    int rc = run_job(r, &spec, &out, e);
    if (!rc) {
        take_facts(r, &r->models[i], out.result);
        const char *warning = json_str_or(out.result, "warning", "");
        if (warning[0] && i == 0) {
            run_note(r, "%s", warning);
        }
    }
    json_decref(out.result);
    json_decref(args);
    return rc;
}

int inspect_models(struct run *r, struct err *e) {
    r->models = arena_array(&r->arena, r->plan.n_models, sizeof(*r->models));
    if (!r->models) {
        return err_set(e, EE_NOMEM, "models: out of memory");
    }
    for (size_t i = 0; i < r->plan.n_models; i++) {
        if (!r->plan.models[i].path) {
            continue; /* a server's own: nothing of it is here to be read */
        }
        struct err why = ERR_INIT;
        int rc = inspect_one(r, i, &why);
        if (rc == EE_STOPPED) {
            return err_set(e, rc, "%s", why.msg);
        }
        if (rc) {
            r->models[i].failed = true;
            r->models[i].error_code = rc;
            snprintf(r->models[i].error, sizeof(r->models[i].error), "%s", why.msg);
            run_note(r, "model %s cannot be used: %s", r->plan.models[i].id, why.msg);
        }
    }
    if (r->plan.server.is_used) {
        snprintf(r->device, sizeof(r->device), "%s", r->plan.server.device);
    }
    return 0;
}
