/* Doing a run's stages: what is done already is found by its key, what fails costs its variants. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "lifecycle/model_files.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/score_source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct stage_kind *const stage_kinds[] = {
    &stage_adapt, &stage_merge, &stage_quantize, &stage_load, &stage_serve, &stage_score, NULL};

bool stage_applies(const struct stage_kind *k, const struct variant *v) {
    return !k->applies || k->applies(v);
}

static const struct stage_kind *find_kind(const char *name) {
    for (size_t i = 0; name && stage_kinds[i]; i++) {
        if (strcmp(stage_kinds[i]->name, name) == 0) {
            return stage_kinds[i];
        }
    }
    return NULL;
}

bool run_is_stage_kind(const char *name) {
    return find_kind(name) != NULL;
}

size_t run_model_index(const struct run *r, const struct variant *v) {
    return (size_t)(v->model - r->plan.models);
}

const char *run_engine_name(const struct run *r) {
    return r->plan.server.is_used ? r->plan.server.name : "llama.cpp";
}

const struct model_facts *run_model(const struct run *r, const struct variant *v) {
    return &r->models[run_model_index(r, v)];
}

int stage_key(struct run *r, const struct stage_kind *k, const struct variant *v, char key[33],
              struct buf *inputs_json, struct err *e) {
    json_t *in = json_pack("{s:s, s:i, s:s, s:s}", "stage", k->name, "version", k->version,
                           "engine_version", r->engine_version, "machine", r->key_machine_id);
    if (k != &stage_quantize) {
        /* A backend that was put in since makes the same machine another one. */
        json_object_set_new(in, "device", json_string(r->device));
    }
    int rc = in ? k->inputs(r, v, in, e) : err_set(e, EE_NOMEM, "stage key: out of memory");
    rc = rc ? rc : json_write(in, inputs_json, e);
    if (!rc) {
        hash_bytes(inputs_json->data, inputs_json->len, key);
    }
    json_decref(in);
    return rc;
}

int run_add_stage_key(struct run *r, const struct stage_kind *k, const struct variant *v,
                      const char *name, json_t *inputs, struct err *e) {
    struct buf text;
    char key[HASH_HEX_SIZE];
    buf_init(&text);
    int rc = stage_key(r, k, v, key, &text, e);
    buf_release(&text);
    if (!rc && json_object_set_new(inputs, name, json_string(key)) != 0) {
        rc = err_set(e, EE_NOMEM, "stage key: out of memory");
    }
    return rc;
}

/* ---- jobs ---- */

void run_tell_progress(struct run *r, const struct job_progress *progress) {
    const struct run_observer *o = r->opts->observer;
    if (!o || !o->stage_progress) {
        return;
    }
    struct run_progress p = {.done = progress->done,
                             .total = progress->total,
                             .tokens = progress->tokens,
                             .memory_bytes = progress->rss_bytes,
                             .elapsed_s = clock_ns_to_s(clock_mono_ns() - r->stage_begin_ns)};
    double joules = 0;
    p.energy_known = r->meter && meter_live(r->meter, &p.watts, &joules, &p.energy_quality);
    p.joules = joules - r->stage_begin_j;
    o->stage_progress(o->ctx, &p);
}

/* Adapts a job's callbacks, whose ctx is the stage's, to progress, whose ctx is the run. */
struct job_ctx {
    struct run *run;
    const struct job_spec *stage;
};

static void on_progress(const struct job_progress *progress, void *ctx) {
    const struct job_ctx *j = ctx;
    run_tell_progress(j->run, progress);
}

static int job_row(const json_t *row, void *ctx, struct err *e) {
    const struct job_ctx *j = ctx;
    return j->stage->on_row ? j->stage->on_row(row, j->stage->ctx, e) : 0;
}

static int job_window(const struct meter_reading *reading, void *ctx, struct err *e) {
    const struct job_ctx *j = ctx;
    return j->stage->on_window ? j->stage->on_window(reading, j->stage->ctx, e) : 0;
}

static int job_gpu(const char *window, const char *component, const struct gpu_looks *looks,
                   void *ctx, struct err *e) {
    const struct job_ctx *j = ctx;
    return j->stage->on_gpu ? j->stage->on_gpu(window, component, looks, j->stage->ctx, e) : 0;
}

static int job_pause(void *ctx, struct err *e) {
    const struct job_ctx *j = ctx;
    return j->stage->on_pause ? j->stage->on_pause(j->stage->ctx, e) : 0;
}

int run_job(struct run *r, struct job_spec *spec, struct job_outcome *out, struct err *e) {
    struct buf log;
    struct job_ctx ctx = {r, spec};
    buf_init(&log);
    *out = (struct job_outcome){0};
    if (r->store) {
        buf_addf(&log, "%s/logs/%s.log", r->dir, spec->job);
    }
    int rc = buf_check(&log, "log path", e);
    if (!rc) {
        const struct job_spec full = {.exe = r->opts->exe,
                                      .job = spec->job,
                                      .args = spec->args,
                                      .log_path = log.len ? log.data : NULL,
                                      .timeout_s = r->plan.stage_timeout_s,
                                      .meter = spec->meter,
                                      .exec_window = spec->exec_window,
                                      .stop = r->opts->stop,
                                      .on_row = job_row,
                                      .on_pause = job_pause,
                                      .on_window = job_window,
                                      .on_progress = on_progress,
                                      .on_gpu = spec->on_gpu ? job_gpu : NULL,
                                      .ctx = &ctx};
        rc = supervise_job(&full, out, e);
    }
    buf_release(&log);
    return rc;
}

int run_stage_job(struct run *r, int64_t stage_id, const char *job, json_t *args,
                  struct job_outcome *out, struct err *e) {
    struct stage_rows rows = {r, stage_id};
    struct job_spec spec = {.job = job,
                            .args = args,
                            .meter = r->meter,
                            .on_window = stage_on_window,
                            .on_gpu = stage_on_gpu,
                            .ctx = &rows};
    return run_job(r, &spec, out, e);
}

/* ---- one stage ---- */

enum stage_result { STAGE_DONE, STAGE_REUSED, STAGE_FAILED, STAGE_SKIPPED, STAGE_STOPPED };
static const char *const result_names[] = {"done", "reused", "failed", "skipped", "stopped"};

static int commit_stage(struct run *r, const struct variant *v, int64_t stage_id, double wall_s,
                        const json_t *result, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = json_write(result, &text, e);
    rc = rc ? rc : store_stage_finish(r->store, stage_id, wall_s, text.data, e);
    rc = rc || !v->id ? rc : store_variant_stage_put(r->store, v->id, stage_id, e);
    rc = rc ? rc : store_commit(r->store, e);
    buf_release(&text);
    return rc;
}

/* What identifies a stage before it runs. */
struct stage_ticket {
    char key[HASH_HEX_SIZE];
    char title[256];
    const char *inputs_json;
};

static struct store_stage stage_row(const struct run *r, const struct stage_ticket *t,
                                    const char *kind, const char *started_utc) {
    return (struct store_stage){.key = t->key,
                                .kind = kind,
                                .title = t->title,
                                .status = "done",
                                .started_utc = started_utc,
                                .machine_id = r->machine_id,
                                .inputs_json = t->inputs_json};
}

static int store_failure(struct run *r, const struct variant *v, const struct stage_ticket *t,
                         const char *kind, double wall_s, const struct err *why, struct err *e) {
    char now[24];
    clock_wall_iso8601(now, sizeof(now));
    struct store_stage row = stage_row(r, t, kind, now);
    row.status = "failed";
    row.error_code = err_code_name(why->code);
    row.error = why->msg;
    row.wall_s = wall_s;
    int64_t stage_id = 0;
    int rc = store_begin(r->store, e);
    rc = rc ? rc : store_stage_put(r->store, &row, &stage_id, e);
    rc = rc || !v->id ? rc : store_variant_stage_put(r->store, v->id, stage_id, e);
    rc = rc ? rc : store_commit(r->store, e);
    if (rc) {
        store_rollback(r->store);
    }
    return rc;
}

/* Errors that are the run's, not the stage's: nothing more can be stored or the user said stop. */
static bool ends_run(const struct run *r, int code) {
    uint64_t free_bytes = UINT64_MAX;
    if (code == EE_NOSPACE && fs_free_bytes(r->dir, &free_bytes, NULL) == 0) {
        return free_bytes < 1024 * 1024;
    }
    return code == EE_STOPPED;
}

static void mark_stage_begin(struct run *r) {
    double watts;
    enum meter_quality quality;
    r->stage_begin_ns = clock_mono_ns();
    if (!r->meter || !meter_live(r->meter, &watts, &r->stage_begin_j, &quality)) {
        r->stage_begin_j = 0;
    }
}

/* Does a stage in one transaction. why receives the reason when the result is STAGE_FAILED. */
static int do_stage(struct run *r, const struct stage_kind *k, const struct variant *v,
                    const struct stage_ticket *t, enum stage_result *how, double *wall_s,
                    struct err *why, struct err *e) {
    char started[24];
    clock_wall_iso8601(started, sizeof(started));
    mark_stage_begin(r);
    int rc = model_files_make(r, k, v, why);
    mark_stage_begin(r); /* making the files is no part of the stage */
    const struct store_stage row = stage_row(r, t, k->name, started);
    int64_t stage_id = 0;
    json_t *result = NULL;
    power_trace_begin(r);
    rc = rc ? rc : store_begin(r->store, why);
    rc = rc ? rc : store_stage_put(r->store, &row, &stage_id, why);
    rc = rc ? rc : k->execute(r, v, stage_id, &result, why);
    int trace_rc = power_trace_end(r, rc ? 0 : stage_id, rc ? NULL : why);
    rc = rc ? rc : trace_rc;
    *wall_s = clock_ns_to_s(clock_mono_ns() - r->stage_begin_ns);
    rc = rc ? rc : commit_stage(r, v, stage_id, *wall_s, result, why);
    json_decref(result);
    *how = rc ? STAGE_FAILED : STAGE_DONE;
    if (!rc) {
        return 0;
    }
    store_rollback(r->store);
    if (ends_run(r, rc)) {
        *how = rc == EE_STOPPED ? STAGE_STOPPED : STAGE_FAILED;
        return err_set(e, rc, "%s: %s", t->title, why->msg);
    }
    return store_failure(r, v, t, k->name, *wall_s, why, e);
}

struct execution {
    struct run *run;
    const char *only;
    struct run_outcome *out;
    struct key_set seen; /* stages met in this execution */
    size_t n_total;
};

static void tell_begin(const struct execution *x, const char *title) {
    const struct run_observer *o = x->run->opts->observer;
    if (o && o->stage_begin) {
        o->stage_begin(o->ctx, x->seen.n, x->n_total, title);
    }
}

static void tell_end(struct execution *x, enum stage_result how, double wall_s,
                     const char *message) {
    const struct run_observer *o = x->run->opts->observer;
    x->out->n_done += how == STAGE_DONE || how == STAGE_REUSED;
    x->out->n_failed += how == STAGE_FAILED;
    x->out->n_skipped += how == STAGE_SKIPPED;
    if (o && o->stage_end) {
        o->stage_end(o->ctx, result_names[how], wall_s, message);
    }
}

/* The stage of that key, whatever its status, becomes the variant's too. */
static int link_stage(struct run *r, const struct variant *v, const char *key, struct err *e) {
    struct arena a = ARENA_INIT;
    struct store_stage st = {0};
    int rc = v->id ? store_stage_find(r->store, key, &a, &st, e) : 0;
    if (!rc && st.key) {
        rc = store_variant_stage_drop(r->store, v->id, st.kind, e);
        rc = rc ? rc : store_variant_stage_put(r->store, v->id, st.stage_id, e);
    }
    arena_release(&a);
    return rc;
}

/* Whether the stage was done at an earlier time and what it left is there. One whose files are gone
 * is not done; *gone_id is then its row's, else 0. */
static int find_done(struct run *r, const struct stage_kind *k, const struct variant *v,
                     const char *key, bool *done, int64_t *gone_id, struct err *e) {
    struct arena a = ARENA_INIT;
    struct store_stage st = {0};
    int rc = store_stage_find(r->store, key, &a, &st, e);
    *done = !rc && st.key && strcmp(st.status, "done") == 0;
    *gone_id = 0;
    if (*done && k->still_there && !k->still_there(r, v)) {
        *done = false;
        *gone_id = st.stage_id;
    }
    arena_release(&a);
    return rc;
}

int run_stage_is_done(struct run *r, const struct stage_kind *k, const struct variant *v,
                      bool *done, struct err *e) {
    struct buf inputs_json;
    char key[HASH_HEX_SIZE];
    buf_init(&inputs_json);
    int rc = stage_key(r, k, v, key, &inputs_json, e);
    int64_t gone_id;
    rc = rc ? rc : find_done(r, k, v, key, done, &gone_id, e);
    buf_release(&inputs_json);
    return rc;
}

/* Whether what the stage needs is done; else why says what is not. */
static int needs_met(struct run *r, const struct stage_kind *k, const struct variant *v, bool *met,
                     char *why, size_t why_size, struct err *e) {
    struct arena a = ARENA_INIT;
    struct store_stage st = {0};
    int rc = 0;
    const struct stage_kind *needed = find_kind(k->needs);
    *met = true;
    if (needed && stage_applies(needed, v)) {
        rc = store_variant_stage(r->store, v->id, k->needs, &a, &st, e);
        *met = !rc && st.key && strcmp(st.status, "done") == 0;
        snprintf(why, why_size, "not run, because %s %s", k->needs,
                 st.key ? "failed" : "was not run");
    } else if (k == &stage_quantize && quantize_needs_fp16(r, v)) {
        struct variant source = *v;
        source.precision = PRECISION_FP16;
        rc = run_stage_is_done(r, k, &source, met, e);
        snprintf(why, why_size, "not run, because the FP16 file it starts from could not be made");
    }
    arena_release(&a);
    return rc;
}

static int visit(struct execution *x, const struct stage_kind *k, const struct variant *v,
                 struct err *e);

/* The FP16 file that a quantized one is made from is a stage of its own, whether or not the plan
 * lists that precision. */
static int visit_source(struct execution *x, const struct stage_kind *k, const struct variant *v,
                        struct err *e) {
    if (k != &stage_quantize || !quantize_needs_fp16(x->run, v)) {
        return 0;
    }
    struct variant source = *v;
    source.precision = PRECISION_FP16;
    source.id = NULL; /* no variant of the plan owns it through this one */
    return visit(x, k, &source, e);
}

/* What the variant had of this kind, and of what is made from it, is of other inputs than now. */
static int drop_outdated(struct run *r, const struct stage_kind *k, const struct variant *v,
                         struct err *e) {
    int rc = 0;
    for (size_t i = 0; v->id && stage_kinds[i] && !rc; i++) {
        if (stage_is_wanted(stage_kinds[i]->name, k)) {
            rc = store_variant_stage_drop(r->store, v->id, stage_kinds[i]->name, e);
        }
    }
    return rc;
}

static size_t kind_index(const struct stage_kind *k) {
    size_t i = 0;
    while (stage_kinds[i] != k) {
        i++;
    }
    return i;
}

static void remember_time(struct run *r, const struct stage_kind *k, const struct variant *v,
                          double wall_s) {
    if (r->lasted.model != v->model) {
        memset(&r->lasted, 0, sizeof(r->lasted));
        r->lasted.model = v->model;
    }
    r->lasted.wall_s[kind_index(k)] = wall_s;
}

static int attempt(struct execution *x, const struct stage_kind *k, const struct variant *v,
                   const struct stage_ticket *t, struct err *e) {
    char message[1536] = "";
    bool met = false;
    double wall_s = 0;
    enum stage_result how = STAGE_SKIPPED;
    int rc = drop_outdated(x->run, k, v, e);
    rc = rc ? rc : needs_met(x->run, k, v, &met, message, sizeof(message), e);
    if (!rc && met) {
        struct err why = ERR_INIT;
        rc = do_stage(x->run, k, v, t, &how, &wall_s, &why, e);
        snprintf(message, sizeof(message), "%s", how == STAGE_FAILED ? why.msg : "");
    }
    if (how == STAGE_DONE) {
        remember_time(x->run, k, v, wall_s);
    }
    tell_end(x, how, wall_s, message);
    return rc;
}

/* A stage of the same kind and model takes about as long as the last one. */
static int check_deadline(const struct execution *x, const struct stage_kind *k,
                          const struct variant *v, struct err *e) {
    const struct run *r = x->run;
    if (r->opts->deadline_ns == 0) {
        return 0;
    }
    double needs_s = r->lasted.model == v->model ? r->lasted.wall_s[kind_index(k)] : 0;
    double left_s = clock_ns_to_s(r->opts->deadline_ns - clock_mono_ns());
    return left_s > needs_s ? 0
                            : err_set(e, EE_STOPPED,
                                      "the budget is used up: %zu of %zu stages are done or tried",
                                      x->seen.n, x->n_total);
}

static bool key_set_has(const struct key_set *s, const char *key) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* A model_files_pending: a stage that this execution has yet to do. */
static int is_pending(void *ctx, const struct stage_kind *k, const struct variant *v, bool *pending,
                      struct err *e) {
    const struct execution *x = ctx;
    struct buf inputs_json;
    char key[HASH_HEX_SIZE];
    bool done = false;
    int64_t gone_id;
    *pending = false;
    if (!stage_is_wanted(x->only, k) || !stage_applies(k, v)) {
        return 0;
    }
    buf_init(&inputs_json);
    int rc = stage_key(x->run, k, v, key, &inputs_json, e);
    if (!rc && !key_set_has(&x->seen, key)) {
        rc = find_done(x->run, k, v, key, &done, &gone_id, e);
        *pending = !done;
    }
    buf_release(&inputs_json);
    return rc;
}

/* A stage this execution has not met: found done, or done now. */
static int visit_new(struct execution *x, const struct stage_kind *k, const struct variant *v,
                     const struct stage_ticket *t, struct err *e) {
    bool done = false;
    bool added;
    int64_t gone_id = 0;
    int rc = find_done(x->run, k, v, t->key, &done, &gone_id, e);
    if (!rc && gone_id) {
        rc = store_stage_delete(x->run->store, gone_id, e);
    }
    if (!rc && !done) {
        rc = check_deadline(x, k, v, e);
        rc = rc ? rc : visit_source(x, k, v, e);
    }
    rc = rc ? rc : key_set_add(&x->seen, t->key, &added, e);
    if (rc) {
        return rc;
    }
    tell_begin(x, t->title);
    if (!done) {
        rc = attempt(x, k, v, t, e);
        return rc ? rc : model_files_drop(x->run, v, is_pending, x, e);
    }
    tell_end(x, STAGE_REUSED, 0, "");
    return link_stage(x->run, v, t->key, e);
}

int key_set_add(struct key_set *s, const char *key, bool *added, struct err *e) {
    *added = !key_set_has(s, key);
    if (!*added) {
        return 0;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        char(*grown)[33] = realloc(s->keys, cap * sizeof(*grown));
        if (!grown) {
            return err_set(e, EE_NOMEM, "stages: out of memory");
        }
        s->keys = grown;
        s->cap = cap;
    }
    memcpy(s->keys[s->n++], key, sizeof(s->keys[0]));
    return 0;
}

static int visit(struct execution *x, const struct stage_kind *k, const struct variant *v,
                 struct err *e) {
    struct run *r = x->run;
    if (r->opts->stop && *r->opts->stop) {
        return err_set(e, EE_STOPPED, "stopped");
    }
    struct buf inputs_json;
    struct stage_ticket t;
    buf_init(&inputs_json);
    int rc = stage_key(r, k, v, t.key, &inputs_json, e);
    if (!rc && key_set_has(&x->seen, t.key)) {
        rc = link_stage(r, v, t.key, e);
    } else if (!rc) {
        k->title(r, v, t.title, sizeof(t.title));
        t.inputs_json = inputs_json.data;
        rc = visit_new(x, k, v, &t, e);
    }
    buf_release(&inputs_json);
    return rc;
}

/* ---- the whole run ---- */

bool stage_is_wanted(const char *only, const struct stage_kind *k) {
    if (!only || strcmp(only, k->name) == 0) {
        return true;
    }
    const struct stage_kind *asked = find_kind(only);
    return asked && asked->needs && stage_is_wanted(asked->needs, k);
}

/* Counts a stage once, and with it the FP16 file that it would have to be made from first. */
static int count_stage(struct run *r, const struct stage_kind *k, const struct variant *v,
                       struct key_set *keys, struct err *e) {
    char key[HASH_HEX_SIZE];
    struct buf text;
    bool added = false;
    bool done = false;
    int64_t gone_id;
    buf_init(&text);
    int rc = stage_key(r, k, v, key, &text, e);
    rc = rc ? rc : key_set_add(keys, key, &added, e);
    if (!rc && added && k == &stage_quantize && quantize_needs_fp16(r, v)) {
        rc = find_done(r, k, v, key, &done, &gone_id, e);
        struct variant source = *v;
        source.precision = PRECISION_FP16;
        rc = rc || done ? rc : count_stage(r, k, &source, keys, e);
    }
    buf_release(&text);
    return rc;
}

static int count_stages(struct run *r, const char *only, size_t *n, struct err *e) {
    struct key_set keys = {0};
    int rc = 0;
    for (size_t i = 0; i < r->n_variants; i++) {
        for (size_t k = 0; stage_kinds[k] && !rc; k++) {
            if (stage_is_wanted(only, stage_kinds[k]) &&
                stage_applies(stage_kinds[k], &r->variants[i]) &&
                !run_model(r, &r->variants[i])->failed) {
                rc = count_stage(r, stage_kinds[k], &r->variants[i], &keys, e);
            }
        }
    }
    *n = keys.n;
    for (size_t i = 0; i < r->plan.n_models; i++) {
        *n += r->models[i].failed; /* announced as one failed stage */
    }
    free(keys.keys);
    return rc;
}

/* A model that cannot be read fails the first stage of each of its variants, under a key of its
 * own; once it can be read, that row goes. */
static int record_model(struct run *r, const struct variant *v, struct execution *x,
                        struct err *e) {
    const struct model_facts *m = run_model(r, v);
    struct buf inputs;
    struct arena a = ARENA_INIT;
    struct store_stage old = {0};
    struct stage_ticket t;
    bool added = false;
    buf_init(&inputs);
    buf_addf(&inputs, "{\"stage\":\"quantize\",\"unreadable_model\":\"%s\"}", v->model->id);
    hash_bytes(inputs.data, inputs.len, t.key);
    t.inputs_json = inputs.data;
    stage_quantize.title(r, v, t.title, sizeof(t.title));
    int rc = store_stage_find(r->store, t.key, &a, &old, e);
    if (!rc && !m->failed && old.key) {
        rc = store_stage_delete(r->store, old.stage_id, e);
    }
    if (!rc && m->failed) {
        rc = key_set_add(&x->seen, t.key, &added, e);
        if (!rc && added) {
            struct err why = {.code = m->error_code};
            snprintf(why.msg, sizeof(why.msg), "%s", m->error);
            rc = store_failure(r, v, &t, stage_quantize.name, 0, &why, e);
            tell_begin(x, t.title);
            tell_end(x, STAGE_FAILED, 0, m->error);
        } else if (!rc) {
            rc = link_stage(r, v, t.key, e);
        }
    }
    arena_release(&a);
    buf_release(&inputs);
    return rc;
}

/* What a reader of the variant's figures must know: which weights its FP16 baseline was made of. */
static const char *variant_note(const struct run *r, const struct variant *v, char *buf,
                                size_t size) {
    const struct model_facts *m = run_model(r, v);
    struct variant int8 = *v;
    int8.method = METHOD_NONE;
    int8.precision = PRECISION_INT8;
    if (m->failed || !quantize_needs_fp16(r, &int8)) {
        return NULL;
    }
    snprintf(buf, size, "the model file holds %s weights: FP16 here is these weights dequantized",
             m->file_type);
    return buf;
}

/* What is known of a variant may come later than its row: its model could not be read before. */
static int put_variants(struct run *r, struct err *e) {
    const char *device = r->device[0] ? r->device : "unknown";
    struct arena a = ARENA_INIT;
    struct store_variant *there = NULL;
    size_t n = 0;
    int rc = store_variants(r->store, &a, &there, &n, e);
    for (size_t i = 0; i < r->n_variants && !rc; i++) {
        const struct variant *v = &r->variants[i];
        const struct model_facts *m = run_model(r, v);
        bool is_news = i >= n || there[i].params != (double)m->n_params ||
                       strcmp(there[i].device, device) != 0;
        if (!is_news || (i < n && m->failed)) {
            continue;
        }
        char note[128];
        const struct store_variant row = {
            .variant_id = v->id,
            .model_id = v->model->id,
            .family = v->model->family,
            .size = v->model->size,
            .method = method_names[v->method],
            .task = v->task->name,
            .precision = precision_names[v->precision],
            .engine = run_engine_name(r),
            .device = device,
            .params = m->failed || !variant_has_file(v) ? (double)NAN : (double)m->n_params,
            .note = variant_note(r, v, note, sizeof(note)),
        };
        rc = store_variant_put(r->store, &row, e);
    }
    arena_release(&a);
    return rc;
}

static void note_score_gaps(struct run *r) {
    struct buf gaps;
    buf_init(&gaps);
    score_gaps(r, &gaps);
    char *rest = NULL;
    for (char *line = strtok_r(gaps.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        run_note(r, "%s", line);
    }
    buf_release(&gaps);
}

int run_execute(struct run *r, const char *only, struct run_outcome *out, struct err *e) {
    *out = (struct run_outcome){0};
    struct execution x = {.run = r, .only = only, .out = out};
    note_score_gaps(r);
    int rc = inspect_models(r, e);
    rc = rc ? rc : measure_setup(r, e);
    rc = rc ? rc : put_variants(r, e);
    rc = rc ? rc : manifest_write(r, e);
    rc = rc ? rc : count_stages(r, only, &x.n_total, e);
    for (size_t i = 0; i < r->n_variants && !rc; i++) {
        const struct variant *v = &r->variants[i];
        rc = record_model(r, v, &x, e);
        for (size_t k = 0; stage_kinds[k] && !rc && !run_model(r, v)->failed; k++) {
            if (stage_is_wanted(only, stage_kinds[k]) && stage_applies(stage_kinds[k], v)) {
                rc = visit(&x, stage_kinds[k], v, e);
            }
        }
    }
    free(x.seen.keys);
    return rc;
}
