/* The parent's side of a comparison of two models. */
#include "lifecycle/fidelity.h"

#include "base/json.h"
#include "lifecycle/supervise.h"

#include <stdio.h>
#include <string.h>

/* A worker is given up when it takes longer: what is compared is minutes of work. */
enum { TIMEOUT_S = 7 * 24 * 3600 };

struct watching {
    const struct fidelity_opts *opts;
    char reading[512]; /* the file that the worker is opening, "" when it opens none */
};

static int on_row(const json_t *row, void *ctx, struct err *e) {
    struct watching *w = ctx;
    (void)e;
    snprintf(w->reading, sizeof(w->reading), "%s", json_str_or(row, "reading", ""));
    return 0;
}

static void on_progress(const struct job_progress *p, void *ctx) {
    const struct watching *w = ctx;
    if (w->opts->on_progress) {
        w->opts->on_progress(p->done, p->total, w->opts->ctx);
    }
}

static json_t *args_of(const struct fidelity_opts *o) {
    json_t *task = o->text_path ? json_null()
                                : json_pack("{s:s, s:s, s:I}", "kind", o->task, "path",
                                            o->task_path, "items", (json_int_t)o->items);
    return json_pack("{s:s, s:s, s:s?, s:o, s:I, s:I, s:b, s:{s:I, s:I}}", "base", o->base_path,
                     "other", o->other_path, "text", o->text_path, "task", task, "windows",
                     (json_int_t)o->windows, "context", (json_int_t)o->context, "compat", o->compat,
                     "engine", "threads", (json_int_t)o->threads, "gpu_layers",
                     (json_int_t)o->gpu_layers);
}

int fidelity_measure(const struct fidelity_opts *opts, json_t **result, struct err *e) {
    struct watching w = {.opts = opts};
    json_t *args = args_of(opts);
    *result = NULL;
    if (!args) {
        return err_set(e, EE_NOMEM, "fidelity: out of memory, or a path that is not UTF-8");
    }
    const struct job_spec spec = {.exe = opts->exe,
                                  .job = "fidelity",
                                  .args = args,
                                  .timeout_s = TIMEOUT_S,
                                  .on_row = on_row,
                                  .on_progress = on_progress,
                                  .ctx = &w};
    struct job_outcome out;
    int rc = supervise_job(&spec, &out, e);
    if ((rc == EE_CRASH || rc == EE_NOMEM) && w.reading[0] && e) {
        rc = err_prefix(e, "opening %s", w.reading);
    }
    *result = out.result;
    json_decref(args);
    return rc;
}
