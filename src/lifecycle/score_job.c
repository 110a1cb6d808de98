#include "lifecycle/score_job.h"

#include "base/json.h"
#include "lifecycle/engine_args.h"
#include "lifecycle/prompts.h"

#include <math.h>
#include <string.h>

int score_job_open(struct score_job *j, struct worker *w, const json_t *args, struct err *e) {
    *j = (struct score_job){.worker = w,
                            .answers = json_object_get(args, "answers"),
                            .scorers = json_object_get(args, "scorers")};
    j->n = json_array_size(j->answers);
    int rc = json_want_str(args, "window", &j->window, e);
    rc = rc ? rc : prompts_load(json_object_get(args, "task"), &j->set, e);
    if (!rc) {
        j->failed = json_object();
        if (!j->failed) {
            task_set_release(&j->set);
            rc = err_set(e, EE_NOMEM, "score: out of memory");
        }
    }
    return rc;
}

void score_job_close(struct score_job *j) {
    json_decref(j->failed);
    task_set_release(&j->set);
}

bool score_job_wants(const struct score_job *j, const char *scorer) {
    for (size_t i = 0; i < json_array_size(j->scorers); i++) {
        if (strcmp(json_string_value(json_array_get(j->scorers, i)), scorer) == 0) {
            return true;
        }
    }
    return false;
}

int score_job_answer(const struct score_job *j, size_t i, const struct task_item **item,
                     const char **text, struct err *e) {
    const json_t *a = json_array_get(j->answers, i);
    int64_t ordinal = 0;
    const char *id = NULL;
    int rc = json_want_int(a, "ordinal", &ordinal, e);
    rc = rc ? rc : json_want_str(a, "item", &id, e);
    rc = rc ? rc : json_want_str(a, "text", text, e);
    if (!rc && (ordinal < 0 || (size_t)ordinal >= j->set.n_items ||
                strcmp(j->set.items[ordinal].id, id) != 0)) {
        rc = err_set(e, EE_FORMAT, "the task file has no item %.80s any more", id);
    }
    *item = rc ? NULL : &j->set.items[ordinal];
    return rc;
}

int score_job_value(struct score_job *j, size_t i, const char *scorer, double value,
                    struct err *e) {
    if (!isfinite(value)) {
        return err_set(e, EE_FAIL, "answer %zu: the model's output is not a number", i);
    }
    return worker_row(
        j->worker,
        json_pack("{s:I, s:s, s:f}", "answer", (json_int_t)i, "scorer", scorer, "value", value), e);
}

void score_job_fail(struct score_job *j, const char *kind) {
    json_int_t n = json_integer_value(json_object_get(j->failed, kind));
    json_object_set_new(j->failed, kind, json_integer(n + 1));
}

int score_job_engine(const json_t *args, const char *path, size_t context, int batch,
                     struct engine **out, struct err *e) {
    struct engine_opts opts = {0};
    struct engine_times times;
    engine_args_read(json_object_get(args, "engine"), &opts);
    opts.model_path = path;
    opts.n_seq_max = 1;
    opts.n_ctx_seq = (int)context;
    opts.n_batch = batch;
    opts.n_outputs = batch;
    opts.use_mmap = true;
    opts.device_sampling = ENGINE_OFF;
    return engine_open(&opts, out, &times, e);
}

int score_job_each(struct score_job *j, int (*score)(void *ctx, size_t i, struct err *e), void *ctx,
                   struct err *e) {
    int rc = worker_window_open(j->worker, j->window, e);
    for (size_t i = 0; i < j->n && !rc; i++) {
        rc = score(ctx, i, e);
        worker_progress(j->worker, (int64_t)i + 1, (int64_t)j->n, -1);
    }
    return rc ? rc : worker_window_close(j->worker, j->window, e);
}
