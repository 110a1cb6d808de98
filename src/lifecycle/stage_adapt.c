/*
 * adapt: an adapter for one model and task, trained in a worker by src/adapt, or by any program that
 * the plan names. Energy windows: "adapt" around everything, "adapt/load", "adapt/steps" and
 * "adapt/save" inside it where the training is ours. Where the plan asks for two counts of rows,
 * "adapt/rows" lies around the steps past the first count: what so many rows cost by themselves.
 */
#include "adapt/adapter_file.h"
#include "adapt/train_rows.h"
#include "adapt/train_settings.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/process.h"
#include "lifecycle/model_files.h"
#include "lifecycle/reference.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/worker.h"
#include "quality/prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAVE_EVERY_STEPS = 20 };

/* ---- in the worker ---- */

static const char *const stage_windows[] = {"adapt/load", "adapt/steps", "adapt/save"};
static const char rows_window[] = "adapt/rows";

struct training {
    struct worker *worker;
    const char *open;  /* the inner window that is open, or NULL */
    int64_t mark_step; /* after which the window of rows opens; 0: never */
    bool is_marked;    /* it is open */
    struct err failed; /* of opening it; code 0 when it did not fail */
    double last_s;     /* when the last step ended */
    json_t *step_s;    /* of the steps in that window */
    json_t *step_tokens;
    int64_t last_tokens;
};

static int on_stage(void *ctx, enum train_stage s, struct err *e) {
    struct training *t = ctx;
    if (t->failed.code) {
        *e = t->failed;
        return t->failed.code;
    }
    int rc = t->is_marked ? worker_window_close(t->worker, rows_window, e) : 0;
    t->is_marked = false;
    rc = rc || !t->open ? rc : worker_window_close(t->worker, t->open, e);
    t->open = rc ? NULL : stage_windows[s];
    return rc ? rc : worker_window_open(t->worker, t->open, e);
}

static void on_step(void *ctx, const struct train_progress *p) {
    struct training *t = ctx;
    worker_progress(t->worker, p->point.step, p->n_steps, p->n_tokens);
    if (t->is_marked) {
        json_array_append_new(t->step_s, json_real(p->elapsed_s - t->last_s));
        json_array_append_new(t->step_tokens,
                              json_integer((json_int_t)(p->n_tokens - t->last_tokens)));
    }
    t->last_s = p->elapsed_s;
    t->last_tokens = p->n_tokens;
    if (t->mark_step && p->point.step == t->mark_step) {
        t->is_marked = worker_window_open(t->worker, rows_window, &t->failed) == 0;
    }
}

/* The whole curve at the end: a resumed training has points of an earlier worker too. */
static int send_curve(struct worker *w, const struct train_result *r, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < r->n_curve && !rc; i++) {
        const struct train_point *p = &r->curve[i];
        json_t *row = json_pack("{s:I, s:I, s:f, s:f, s:f}", "step", (json_int_t)p->step, "epoch",
                                (json_int_t)p->epoch, "loss", p->loss, "rate", p->rate, "norm",
                                p->norm);
        if (isfinite(p->validation_loss)) {
            json_object_set_new(row, "validation_loss", json_real(p->validation_loss));
        }
        rc = worker_row(w, row, e);
    }
    return rc;
}

static int read_opts(const json_t *args, struct train_opts *o, struct err *e) {
    const char *task = NULL;
    *o = train_defaults();
    int rc = json_want_str(args, "model", &o->model_path, e);
    rc = rc ? rc : json_want_str(args, "data", &o->data_path, e);
    rc = rc ? rc : json_want_str(args, "out", &o->out_path, e);
    rc = rc ? rc : json_want_str(args, "checkpoint", &o->checkpoint_path, e);
    rc = rc ? rc : json_want_str(args, "task", &task, e);
    rc = rc ? rc : task_kind_from_name(task, &o->task, e);
    rc = rc ? rc : train_settings_parse(json_object_get(args, "settings"), o, e);
    o->device = json_str_or(args, "device", NULL);
    o->n_threads = (int)json_int_or(args, "threads", 0);
    /* What rows cost is measured in one go: a training that was cut in two has no such figure. */
    bool is_whole = json_int_or(args, "mark_step", 0) > 0;
    o->save_every = is_whole ? 0 : SAVE_EVERY_STEPS;
    o->resume_if_fits = !is_whole; /* what an earlier worker left */
    return rc;
}

static int train_ours(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct training t = {.worker = w,
                         .failed = ERR_INIT,
                         .mark_step = json_int_or(args, "mark_step", 0),
                         .step_s = json_array(),
                         .step_tokens = json_array()};
    const struct train_observer observer = {.ctx = &t, .stage = on_stage, .stepped = on_step};
    struct arena a = ARENA_INIT;
    struct train_opts o;
    struct train_result r;
    int rc = read_opts(args, &o, e);
    o.observer = &observer;
    rc = rc ? rc : train_run(&o, &a, &r, e);
    rc = rc || !t.open ? rc : worker_window_close(w, t.open, e);
    rc = rc ? rc : send_curve(w, &r, e);
    if (!rc) {
        *result = train_result_json(&r, false);
        rc = *result ? 0 : err_set(e, EE_NOMEM, "adapt: out of memory");
    }
    if (!rc && t.mark_step) {
        json_object_set(*result, "row_step_s", t.step_s);
        json_object_set(*result, "row_step_tokens", t.step_tokens);
    }
    json_decref(t.step_s);
    json_decref(t.step_tokens);
    arena_release(&a);
    return rc;
}

/* {model}, {data}, {out} and {task} in an argument stand for the job's. */
static int fill_argument(const char *text, const json_t *args, struct arena *a, const char **out,
                         struct err *e) {
    static const char *const names[] = {"model", "data", "out", "task"};
    struct prompt_field fields[sizeof(names) / sizeof(names[0])];
    struct buf filled;
    buf_init(&filled);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fields[i] = (struct prompt_field){names[i], json_str_or(args, names[i], "")};
    }
    prompt_fill(text, fields, sizeof(names) / sizeof(names[0]), &filled);
    *out = filled.failed ? NULL : arena_strdup(a, filled.data);
    buf_release(&filled);
    return *out ? 0 : err_set(e, EE_NOMEM, "adapt: out of memory");
}

static int wait_for_command(const char *name, const struct process_spec *spec, struct err *e) {
    struct process p;
    int rc = process_spawn(&p, spec, e);
    if (rc) {
        return err_prefix(e, "adapt command");
    }
    while (!process_wait_until(&p, INT64_MAX)) {
    }
    if (p.end != PROCESS_EXITED || p.status != 0) {
        rc = p.end == PROCESS_EXITED
                 ? err_set(e, EE_FAIL, "the adapt command %s ended with status %d; see the log",
                           name, p.status)
                 : err_set(e, EE_CRASH, "the adapt command %s was killed by signal %d", name,
                           p.signal);
    }
    process_release(&p);
    return rc;
}

/* What the command promised to leave: an adapter that can be merged. */
static int check_adapter(const char *path, struct err *e) {
    struct adapter_file f;
    int rc = fs_exists(path)
                 ? adapter_file_open(path, &f, e)
                 : err_set(e, EE_MISSING, "the adapt command ended well and left no %s", path);
    if (!rc) {
        adapter_file_close(&f);
    }
    return rc;
}

static int train_by_command(const json_t *command, const json_t *args, struct err *e) {
    struct arena a = ARENA_INIT;
    size_t n = json_array_size(command);
    const char **argv = arena_array(&a, n + 1, sizeof(*argv));
    const char *out = NULL;
    int rc = argv ? json_want_str(args, "out", &out, e)
                  : err_set(e, EE_NOMEM, "adapt: out of memory");
    for (size_t i = 0; i < n && !rc; i++) {
        rc = fill_argument(json_string_value(json_array_get(command, i)), args, &a, &argv[i], e);
    }
    const struct process_spec spec = {.argv = argv, .log_path = json_str_or(args, "log", NULL)};
    rc = rc ? rc : wait_for_command(argv[0], &spec, e);
    rc = rc ? rc : check_adapter(out, e);
    arena_release(&a);
    return rc;
}

int adapt_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    const json_t *command = json_object_get(args, "command");
    const char *out = NULL;
    uint64_t bytes = 0;
    char hash[HASH_HEX_SIZE];
    int rc = json_want_str(args, "out", &out, e);
    rc = rc ? rc : worker_window_open(w, "adapt", e);
    if (!rc && command) {
        rc = train_by_command(command, args, e);
        *result = rc ? NULL : json_pack("{s:s}", "trainer", "command");
    } else if (!rc) {
        rc = train_ours(w, args, result, e);
    }
    rc = rc ? rc : worker_window_close(w, "adapt", e);
    rc = rc ? rc : fs_size(out, &bytes, e);
    rc = rc ? rc : hash_file(out, hash, e);
    if (!rc) {
        json_object_set_new(*result, "bytes", json_integer((json_int_t)bytes));
        json_object_set_new(*result, "hash", json_string(hash));
    }
    return rc;
}

/* ---- in the parent ---- */

/* What the frozen matrices are held as: sixteen bits or the file's more, or four. */
static const char *base_of(const struct run *r, const struct variant *v) {
    const struct plan_adapt *p = &r->plan.adapt;
    const char *type = run_model(r, v)->file_type;
    if (v->method == METHOD_QLORA) {
        bool has_four_bits = strncmp(type, "Q4", 2) == 0 || strncmp(type, "IQ4", 3) == 0;
        return p->qlora_base ? p->qlora_base : has_four_bits ? NULL : "iq4_nl";
    }
    bool is_full = !strcmp(type, "F16") || !strcmp(type, "BF16") || !strcmp(type, "F32");
    return p->lora_base ? p->lora_base : is_full ? NULL : "f16";
}

/* A shape can be written in the type that is trained on at once; NULL where that is no type of files. */
static const char *checkpoint_type(const char *base) {
    static const char *const types[][2] = {{"f16", "F16"},     {"bf16", "BF16"},
                                           {"q8_0", "Q8_0"},   {"q4_0", "Q4_0"},
                                           {"q4_k", "Q4_K_M"}, {"iq4_nl", "IQ4_NL"}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(base, types[i][0]) == 0) {
            return types[i][1];
        }
    }
    return NULL;
}

const char *run_trained_type(const struct run *r, const struct variant *v) {
    const char *base = base_of(r, v);
    const char *type = base ? checkpoint_type(base) : NULL;
    return type ? type : "F16";
}

char *run_trained_path(const struct run *r, const struct variant *v) {
    if (!variant_is_of_shape(v)) {
        return strdup(v->model->path);
    }
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s/%s.base.%s.gguf", r->artifacts, v->model->id, run_trained_type(r, v));
    return buf_detach(&b);
}

/* The two counts of rows of the variant's training, NULL where it has none. */
static const int64_t *rows_of(const struct run *r, const struct variant *v) {
    const int64_t *rows = v->model->adapt_rows[1] ? v->model->adapt_rows : r->plan.adapt.rows;
    return rows[1] ? rows : NULL;
}

static struct train_opts opts_of(const struct run *r, const struct variant *v) {
    struct train_opts o = r->plan.adapt.opts;
    const int64_t *rows = rows_of(r, v);
    o.task = v->task->kind;
    o.base_type = base_of(r, v);
    if (variant_is_of_shape(v) && o.base_type && checkpoint_type(o.base_type)) {
        o.base_type = NULL; /* the file is of that type */
    }
    o.items = rows ? rows[1] : o.items;
    return o;
}

static json_t *settings_of(const struct run *r, const struct variant *v) {
    const struct train_opts o = opts_of(r, v);
    return train_settings_json(&o);
}

static json_t *command_json(const struct run *r) {
    json_t *list = json_array();
    for (const char *const *c = r->plan.adapt.command; c && *c; c++) {
        json_array_append_new(list, json_string(*c));
    }
    return list;
}

static int inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) {
    json_object_set_new(in, "model_hash", json_string(run_model(r, v)->hash));
    json_object_set_new(in, "method", json_string(method_names[v->method]));
    json_object_set_new(in, "task", json_string(v->task->name));
    json_object_set_new(in, "rows_hash", json_string(r->train_hash[v->task->kind]));
    json_object_set_new(in, "prompt_version", json_string(PROMPT_VERSION));
    json_object_set_new(in, "threads", json_integer((json_int_t)r->plan.engine.threads));
    json_object_set_new(in, "energy_source", json_string(r->plan.energy.source));
    if (variant_is_of_shape(v)) {
        json_object_set_new(in, "checkpoint_type", json_string(run_trained_type(r, v)));
    }
    if (rows_of(r, v)) {
        json_object_set_new(
            in, "rows",
            json_pack("[I, I]", (json_int_t)rows_of(r, v)[0], (json_int_t)rows_of(r, v)[1]));
    }
    if (r->plan.adapt.command) {
        return json_object_set_new(in, "command", command_json(r))
                   ? err_set(e, EE_NOMEM, "adapt: out of memory")
                   : 0;
    }
    return json_object_set_new(in, "settings", settings_of(r, v))
               ? err_set(e, EE_NOMEM, "adapt: out of memory")
               : 0;
}

static void title(const struct run *r, const struct variant *v, char *buf, size_t size) {
    (void)r;
    snprintf(buf, size, "adapt %s %s %s", v->model->id, v->task->name, method_names[v->method]);
}

char *run_adapter_path(const struct run *r, const struct variant *v) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s/%s.%s.%s.adapter.gguf", r->artifacts, v->model->id, method_names[v->method],
             v->task->name);
    return buf_detach(&b);
}

static json_t *job_args(const struct run *r, const struct variant *v, const char *out_path) {
    struct buf checkpoint;
    struct buf log;
    char *model = run_trained_path(r, v);
    const struct train_opts opts = opts_of(r, v);
    buf_init(&checkpoint);
    buf_init(&log);
    buf_addf(&checkpoint, "%s.checkpoint", out_path);
    buf_addf(&log, "%s/logs/adapt-command.log", r->dir);
    json_t *args = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "model",
                             model ? model : "", "data", r->plan.adapt.data[v->task->kind], "out",
                             out_path, "task", v->task->name, "checkpoint", checkpoint.data, "log",
                             log.data, "threads", (json_int_t)r->plan.engine.threads, "settings",
                             settings_of(r, v));
    if (args && r->plan.adapt.opts.device) {
        json_object_set_new(args, "device", json_string(r->plan.adapt.opts.device));
    }
    if (args && r->plan.adapt.command) {
        json_object_set_new(args, "command", command_json(r));
    }
    if (args && rows_of(r, v)) {
        const int64_t step_rows = (int64_t)opts.batch * opts.accumulate;
        json_object_set_new(args, "mark_step",
                            json_integer((json_int_t)(rows_of(r, v)[0] / step_rows)));
    }
    free(model);
    buf_release(&checkpoint);
    buf_release(&log);
    return args;
}

static int on_row(const json_t *row, void *ctx, struct err *e) {
    struct stage_rows *rows = ctx;
    const struct store_training point = {
        .step = json_int_or(row, "step", 0),
        .epoch = json_int_or(row, "epoch", 0),
        .loss = json_num_or(row, "loss", (double)NAN),
        .rate = json_num_or(row, "rate", (double)NAN),
        .gradient_norm = json_num_or(row, "norm", (double)NAN),
        .validation_loss = json_num_or(row, "validation_loss", (double)NAN)};
    return store_training_put(rows->run->store, rows->stage_id, &point, e);
}

static int put_memory(struct run *r, int64_t stage_id, const struct job_outcome *out,
                      struct err *e) {
    const struct store_memory row = {"rss_peak", "host", (double)out->max_rss_bytes,
                                     "peak resident set of the worker"};
    return store_memory_put(r->store, stage_id, &row, e);
}

/* Rows that are both trained on and scored make every score of the variant too good. */
static int warn_of_overlap(const struct run *r, const struct variant *v, struct err *e) {
    size_t n = 0;
    int rc = train_overlap(v->task->kind, r->plan.adapt.data[v->task->kind], v->task->path, &n, e);
    if (!rc && n > 0) {
        run_note(r, "%zu training rows of %s are also scored: its scores will be too good", n,
                 v->task->name);
    }
    return rc;
}

/* What the report needs to tell what more rows would have cost. */
static int add_rows(struct run *r, const struct variant *v, json_t *result, struct err *e) {
    const int64_t *rows = rows_of(r, v);
    int64_t to = r->plan.adapt.extrapolate[v->task->kind];
    int rc = 0;
    if (!rows) {
        return 0;
    }
    if (r->plan.adapt.extrapolate_published) {
        rc = reference_train_rows(r->opts->data_dir, v, &to, e);
    }
    json_object_set_new(result, "rows_low", json_integer((json_int_t)rows[0]));
    json_object_set_new(result, "rows_high", json_integer((json_int_t)rows[1]));
    if (!rc && to > 0) {
        json_object_set_new(result, "rows_wanted", json_integer((json_int_t)to));
    }
    return rc;
}

static int execute(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e) {
    char *out_path = run_adapter_path(r, v);
    json_t *args = out_path ? job_args(r, v, out_path) : NULL;
    struct stage_rows rows = {r, stage_id};
    struct job_spec spec = {.job = "adapt",
                            .args = args,
                            .meter = r->meter,
                            .on_row = on_row,
                            .on_window = stage_on_window,
                            .on_gpu = stage_on_gpu,
                            .ctx = &rows};
    struct job_outcome out = {0};
    int rc = args ? warn_of_overlap(r, v, e) : err_set(e, EE_NOMEM, "adapt: out of memory");
    rc = rc ? rc : run_job(r, &spec, &out, e);
    rc = rc ? rc : run_put_artifact(r, stage_id, out_path, "adapter", out.result, e);
    rc = rc ? rc : put_memory(r, stage_id, &out, e);
    rc = rc ? rc : add_rows(r, v, out.result, e);
    if (!rc) {
        *result = json_incref(out.result);
    }
    json_decref(out.result);
    json_decref(args);
    free(out_path);
    return rc;
}

/* Adapters of shapes are needed until one of them is merged: what is made of it stands for all. */
static bool still_there(struct run *r, const struct variant *v) {
    char *path = run_adapter_path(r, v);
    bool there = path && fs_exists(path);
    bool is_merged = false;
    free(path);
    if (!there && variant_is_of_shape(v)) {
        struct err ignored = ERR_INIT;
        return run_stage_is_done(r, &stage_merge, v, &is_merged, &ignored) == 0 && is_merged;
    }
    return there;
}

const struct stage_kind stage_adapt = {
    .name = "adapt",
    .version = 1,
    .reads = READS_TRAINED,
    .applies = variant_is_adapted,
    .inputs = inputs,
    .title = title,
    .execute = execute,
    .still_there = still_there,
};
