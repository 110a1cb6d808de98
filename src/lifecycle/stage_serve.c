/*
 * serve: a task's requests at a set concurrency, in a closed loop, on the variant's file. The
 * window of each repeat holds engine work only: prompts are ready before, texts are made after. Where
 * one pass over the requests is shorter than a window should be, a repeat is several rounds of them.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/machine.h"
#include "lifecycle/engine_args.h"
#include "lifecycle/phases.h"
#include "lifecycle/prompts.h"
#include "lifecycle/serve_job.h"
#include "lifecycle/served.h"
#include "lifecycle/worker.h"
#include "quality/prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- in the worker ---- */

struct serving {
    struct worker *worker;
    struct engine *engine;
    struct task_set set;
    struct arena arena;
    struct engine_request *requests;
    struct engine_workload work;
    int64_t repeats;
    double window_s; /* a repeat serves the set again until it lasted so long */
    uint64_t rss_before_bytes;
    int64_t peak_kv_tokens;
    size_t n_rounds;
    int64_t n_ok, n_failed;
    int64_t prompt_tokens, output_tokens;
    int64_t duration_ns, engine_ns, wall_ns;
};

static void on_progress(size_t n_done, int64_t n_tokens, void *ctx) {
    struct serving *s = ctx;
    worker_progress(s->worker, s->n_ok + s->n_failed + (int64_t)n_done,
                    s->repeats * (int64_t)s->set.n_items, s->output_tokens + n_tokens);
}

static int prepare_requests(struct serving *s, const json_t *args, struct err *e) {
    s->requests = arena_array(&s->arena, s->set.n_items, sizeof(*s->requests));
    if (!s->requests) {
        return err_set(e, EE_NOMEM, "requests: out of memory");
    }
    for (size_t i = 0; i < s->set.n_items; i++) {
        struct engine_request *q = &s->requests[i];
        int rc = prompts_tokenize(s->engine, &s->set.items[i], &s->arena, q, e);
        if (rc) {
            return err_prefix(e, "item %s", s->set.items[i].id);
        }
        q->max_tokens = (int)json_int_or(args, "max_tokens", 1);
        q->force_length = json_is_true(json_object_get(args, "forced"));
    }
    const json_t *sampling = json_object_get(args, "sampling");
    s->work = (struct engine_workload){
        .requests = s->requests,
        .n_requests = s->set.n_items,
        .concurrency = (int)json_int_or(args, "concurrency", 1),
        .sampling = {.temperature = json_num_or(sampling, "temperature", 0),
                     .top_p = json_num_or(sampling, "top_p", 0),
                     .top_k = (int)json_int_or(sampling, "top_k", 0),
                     .seed = (uint32_t)json_int_or(sampling, "seed", 0)},
        .progress = on_progress,
        .progress_ctx = s,
    };
    return 0;
}

/* Touches weights, caches and code once, so that the first repeat does not pay for it. */
static int warm_up(struct serving *s, struct err *e) {
    struct arena a = ARENA_INIT;
    struct engine_request q = s->requests[0];
    q.max_tokens = 2;
    q.force_length = true;
    const struct engine_workload work = {.requests = &q, .n_requests = 1, .concurrency = 1};
    struct engine_result result;
    struct engine_run_stats stats;
    int rc = engine_run(s->engine, &work, &a, &result, &stats, e);
    arena_release(&a);
    return rc;
}

/* Of later rounds the single token times are left out: the first tells them all. */
static json_t *request_row(const struct serving *s, int64_t repeat, size_t round, size_t i,
                           const struct engine_result *res, const char *text) {
    bool failed = res->finish == ENGINE_ERROR;
    json_t *times = json_array();
    for (size_t k = 0; k < res->n_tokens;
         k += round && k == 0 && res->n_tokens > 1 ? res->n_tokens - 1 : 1) {
        json_array_append_new(times, json_integer((json_int_t)res->token_ns[k]));
    }
    size_t ordinal = round * s->set.n_items + i;
    json_t *row = json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:o}",
                            "repeat", (json_int_t)repeat, "ordinal", (json_int_t)ordinal,
                            "output_tokens", (json_int_t)res->n_tokens, "item", s->set.items[i].id,
                            "status", failed ? "failed" : "ok", "finish",
                            engine_finish_name(res->finish), "prompt_tokens",
                            (json_int_t)s->requests[i].n_prompt, "queued_ns",
                            (json_int_t)res->queued_ns, "started_ns", (json_int_t)res->started_ns,
                            "done_ns", (json_int_t)res->done_ns, "text", text, "token_ns", times);
    if (row && res->error) {
        json_object_set_new(row, "error", json_string(res->error));
    }
    return row;
}

static int send_rows(struct serving *s, int64_t repeat, size_t round,
                     const struct engine_result *results, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = 0;
    for (size_t i = 0; i < s->set.n_items && !rc; i++) {
        if (results[i].finish == ENGINE_ERROR) {
            s->n_failed++;
        } else {
            s->n_ok++;
            s->prompt_tokens += (int64_t)s->requests[i].n_prompt;
            s->output_tokens += (int64_t)results[i].n_tokens;
        }
        buf_clear(&text);
        rc = round ? 0 : engine_answer_text(s->engine, &results[i], &text, e);
        rc = rc ? rc
                : worker_row(s->worker, request_row(s, repeat, round, i, &results[i], text.data),
                             e);
    }
    buf_release(&text);
    return rc;
}

/* A round's answers, until the window is closed and they can be sent. */
struct round {
    struct engine_result *results;
    struct round *next;
};

static int serve_round(struct serving *s, const struct engine_workload *work, struct arena *a,
                       struct round **out, struct engine_run_stats *stats, struct err *e) {
    struct round *round = arena_array(a, 1, sizeof(*round));
    struct engine_result *results = arena_array(a, s->set.n_items, sizeof(*results));
    if (!round || !results) {
        return err_set(e, EE_NOMEM, "answers: out of memory");
    }
    int rc = engine_run(s->engine, work, a, results, stats, e);
    *round = (struct round){.results = results};
    *out = round;
    s->engine_ns += stats->engine_ns;
    s->peak_kv_tokens = stats->peak_kv_tokens > s->peak_kv_tokens ? stats->peak_kv_tokens
                                                                  : s->peak_kv_tokens;
    return rc;
}

/* The whole set, once or in as many rounds as fill the window. */
static int serve_once(struct serving *s, int64_t repeat, struct err *e) {
    char window[32];
    snprintf(window, sizeof(window), "serve/%lld", (long long)repeat);
    struct engine_run_stats stats = {0};
    struct arena a = ARENA_INIT;
    struct round *first = NULL;
    struct round **next = &first;
    struct engine_workload work = s->work;
    work.sampling.seed += (uint32_t)repeat; /* repeats of a sampled run are different draws */
    int64_t begin_ns = 0;
    int rc = worker_window_open(s->worker, window, e);
    while (!rc && (!first || clock_ns_to_s(stats.end_ns - begin_ns) < s->window_s)) {
        bool is_first = !first;
        rc = serve_round(s, &work, &a, next, &stats, e);
        begin_ns = is_first ? stats.begin_ns : begin_ns;
        next = rc ? next : &(*next)->next;
    }
    rc = rc ? rc : worker_window_close(s->worker, window, e);
    s->duration_ns += rc ? 0 : stats.end_ns - begin_ns;
    size_t n = 0;
    for (const struct round *r = first; r && !rc; r = r->next) {
        rc = send_rows(s, repeat, n++, r->results, e);
    }
    s->n_rounds += n;
    arena_release(&a);
    return rc;
}

static json_t *memory_json(const struct serving *s, const struct engine_info *info) {
    uint64_t peak = machine_self_memory_bytes("VmHWM");
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights",
                     (json_int_t)(info->weights_bytes - info->host_weights_bytes), "host_weights",
                     (json_int_t)info->host_weights_bytes, "kv", (json_int_t)info->kv_bytes,
                     "used_kv", (json_int_t)(s->peak_kv_tokens * info->kv_token_bytes),
                     "rss_before", (json_int_t)s->rss_before_bytes, "rss_peak", (json_int_t)peak,
                     "device", (json_int_t)info->device_taken_bytes);
}

static json_t *serving_result(const struct serving *s, const json_t *args) {
    struct engine_info info;
    engine_get_info(s->engine, &info);
    double seconds = clock_ns_to_s(s->duration_ns);
    json_t *v = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:f, s:s, s:i, s:i, s:o}", "concurrency",
        (json_int_t)s->work.concurrency, "requests", (json_int_t)(s->n_ok + s->n_failed), "ok",
        (json_int_t)s->n_ok, "failed", (json_int_t)s->n_failed, "prompt_tokens",
        (json_int_t)s->prompt_tokens, "output_tokens", (json_int_t)s->output_tokens, "duration_s",
        seconds, "output_tokens_per_s", seconds > 0 ? (double)s->output_tokens / seconds : 0,
        "repeats", (json_int_t)s->repeats, "harness_fraction",
        s->duration_ns > 0 ? 1 - (double)s->engine_ns / (double)s->duration_ns : 0, "device",
        info.device, "context", info.n_ctx_seq, "threads", info.n_threads, "memory",
        memory_json(s, &info));
    json_object_set_new(
        v, "lengths",
        json_string(json_is_true(json_object_get(args, "forced")) ? "forced" : "natural"));
    json_object_set_new(v, "rounds", json_integer((json_int_t)s->n_rounds));
    json_object_set_new(v, "device_sampling", json_boolean(info.device_sampling));
    return v;
}

int serve_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct serving s = {.worker = w,
                        .repeats = json_int_or(args, "repeats", 1),
                        .window_s = json_num_or(args, "window_s", 0)};
    struct engine_opts opts = {.n_seq_max = (int)json_int_or(args, "concurrency", 1),
                               .n_ctx_seq = (int)json_int_or(args, "context", 0)};
    struct engine_times times;
    engine_args_read(json_object_get(args, "engine"), &opts);
    s.rss_before_bytes = machine_self_memory_bytes("VmRSS");
    int rc = json_want_str(args, "model", &opts.model_path, e);
    rc = rc ? rc : prompts_load(json_object_get(args, "task"), &s.set, e);
    rc = rc ? rc : engine_open(&opts, &s.engine, &times, e);
    rc = rc ? rc : prepare_requests(&s, args, e);
    rc = rc ? rc : warm_up(&s, e);
    if (!rc && json_is_true(json_object_get(args, "pause"))) {
        rc = worker_pause(w, e); /* the parent measures what a loaded model draws */
    }
    for (int64_t i = 0; i < s.repeats && !rc; i++) {
        rc = serve_once(&s, i, e);
    }
    double phases_s = json_num_or(args, "phases_s", 0);
    json_t *work = NULL;
    if (!rc && phases_s > 0) {
        const struct phases_load load = {.engine = s.engine,
                                         .requests = s.requests,
                                         .n_requests = s.set.n_items,
                                         .concurrency = s.work.concurrency,
                                         .seconds = phases_s};
        rc = phases_run(w, &load, &work, e);
    }
    if (!rc) {
        *result = serving_result(&s, args);
        json_object_set(*result, "phases_work", work);
    }
    json_decref(work);
    engine_close(s.engine);
    task_set_release(&s.set);
    arena_release(&s.arena);
    return rc;
}

/* ---- in the parent ---- */

int64_t serve_context(const struct run *r, const struct variant *v) {
    if (r->plan.serve.context > 0) {
        return r->plan.serve.context;
    }
    return run_model(r, v)->max_prompt_tokens[v->task->kind] + v->task->max_tokens;
}

static json_t *sampling_json(const struct run *r) {
    const struct engine_sampling *s = &r->plan.sampling;
    return json_pack("{s:f, s:f, s:i, s:I}", "temperature", s->temperature, "top_p", s->top_p,
                     "top_k", s->top_k, "seed", (json_int_t)s->seed);
}

int serve_inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) {
    int rc = run_add_artifact_key(r, v, in, e);
    json_object_set_new(in, "task", json_string(v->task->name));
    json_object_set_new(in, "task_hash", json_string(r->task_hash[v->task->kind]));
    json_object_set_new(in, "prompt_version", json_string(PROMPT_VERSION));
    json_object_set_new(in, "items", json_integer((json_int_t)v->task->items));
    json_object_set_new(in, "max_tokens", json_integer((json_int_t)v->task->max_tokens));
    json_object_set_new(in, "concurrency", json_integer((json_int_t)r->plan.serve.concurrency));
    if (r->plan.serve.rate_per_s > 0) {
        const struct arrival_spec *a = &r->plan.serve.arrival;
        json_object_set_new(in, "arrivals",
                            json_pack("{s:f, s:i, s:f, s:i}", "rate", r->plan.serve.rate_per_s,
                                      "kind", (int)a->kind, "cv", a->cv, "burst", a->burst));
    }
    json_object_set_new(in, "context", json_integer((json_int_t)serve_context(r, v)));
    json_object_set_new(in, "sampling", sampling_json(r));
    json_object_set_new(in, "engine", run_engine_json(r));
    return rc;
}

static int inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) {
    json_object_set_new(in, "repeats", json_integer((json_int_t)r->plan.serve.repeats));
    json_object_set_new(in, "lengths", json_string(lengths_names[r->plan.serve.lengths]));
    json_object_set_new(in, "energy_source", json_string(r->plan.energy.source));
    json_object_set_new(in, "phases_s", json_real(r->plan.energy.phases_s));
    if (r->plan.serve.window_s > 0) {
        json_object_set_new(in, "window_s", json_real(r->plan.serve.window_s));
    }
    return serve_inputs(r, v, in, e);
}

static void title(const struct run *r, const struct variant *v, char *buf, size_t size) {
    char words[48];
    (void)r;
    variant_title_words(v, words, sizeof(words));
    snprintf(buf, size, "serve %s %s %s", v->model->id, v->task->name, words);
}

json_t *serve_job_args(const struct run *r, const struct variant *v, const char *path, bool forced,
                       int64_t repeats) {
    return json_pack("{s:s, s:o, s:I, s:b, s:I, s:I, s:I, s:o, s:o}", "model", path, "task",
                     prompts_json(v->task), "max_tokens", (json_int_t)v->task->max_tokens, "forced",
                     forced, "concurrency", (json_int_t)r->plan.serve.concurrency, "repeats",
                     (json_int_t)repeats, "context", (json_int_t)serve_context(r, v), "engine",
                     run_engine_json(r), "sampling", sampling_json(r));
}

struct serve_rows {
    struct stage_rows stage; /* first, so that this is a stage_rows for stage_on_window */
    const struct variant *variant;
    json_t *idle;          /* with the model loaded; NULL: not measured */
    bool drops_text;       /* answers of random weights are noise */
    char first_error[256]; /* of a request; empty when none failed */
};

static int on_pause(void *ctx, struct err *e) {
    struct serve_rows *rows = ctx;
    return idle_measure_resident(rows->stage.run, rows->variant, &rows->idle, e);
}

static int on_row(const json_t *row, void *ctx, struct err *e) {
    struct serve_rows *rows = ctx;
    struct arena a = ARENA_INIT;
    const json_t *times = json_object_get(row, "token_ns");
    size_t n = json_array_size(times);
    int64_t output_tokens = json_int_or(row, "output_tokens", (int64_t)n);
    int64_t *token_ns = arena_array(&a, n + 1, sizeof(*token_ns));
    int rc = token_ns ? 0 : err_set(e, EE_NOMEM, "request: out of memory");
    for (size_t i = 0; i < n && !rc; i++) {
        token_ns[i] = (int64_t)json_integer_value(json_array_get(times, i));
    }
    struct store_request q = {
        .repeat = (int)json_int_or(row, "repeat", 0),
        .ordinal = (int)json_int_or(row, "ordinal", 0),
        .item_id = json_str_or(row, "item", ""),
        .status = json_str_or(row, "status", "failed"),
        .finish = json_str_or(row, "finish", "error"),
        .error = json_str_or(row, "error", NULL),
        .prompt_tokens = json_int_or(row, "prompt_tokens", 0),
        .output_tokens = output_tokens,
        .queued_ns = json_int_or(row, "queued_ns", 0),
        .started_ns = json_int_or(row, "started_ns", 0),
        .done_ns = json_int_or(row, "done_ns", 0),
        .text = rows->drops_text ? NULL : json_str_or(row, "text", NULL),
    };
    if (q.error && !rows->first_error[0]) {
        snprintf(rows->first_error, sizeof(rows->first_error), "%s", q.error);
    }
    if (!rc) {
        /* An answer without a token has no token times: its end stands in for both. */
        q.first_token_ns = n ? token_ns[0] : q.done_ns;
        q.last_token_ns = n ? token_ns[n - 1] : q.done_ns;
        if ((int64_t)n == output_tokens &&
            store_pack_events(&a, token_ns, n, &q.events, &q.events_bytes, NULL)) {
            q.events = NULL; /* an answer of over an hour: its sums stay, its single times do not */
            q.events_bytes = 0;
        }
    }
    rc = rc ? rc : store_request_put(rows->stage.run->store, rows->stage.stage_id, &q, e);
    arena_release(&a);
    return rc;
}

static int put_memory(struct run *r, int64_t stage_id, const json_t *m, struct err *e) {
    const double weights = json_num_or(m, "weights", 0);
    const double host_weights = json_num_or(m, "host_weights", 0);
    const double kv = json_num_or(m, "kv", 0);
    const double rss = json_num_or(m, "rss_peak", 0);
    const double device = json_num_or(m, "device", 0);
    const bool gpu = device > 0;
    const char *where = gpu ? "gpu" : "host";
    /* The engine has no call for its compute buffers: they are what the rest leaves. */
    const double compute = (gpu ? device : rss - json_num_or(m, "rss_before", 0)) - weights - kv;
    const struct store_memory rows[] = {
        {"weights", where, weights, "reported by the engine"},
        {"host_weights", "host", host_weights, "arithmetic: the token embedding stays on the host"},
        {"kv", where, kv, "arithmetic: reserved cells"},
        {"used_kv", where, json_num_or(m, "used_kv", 0), "arithmetic: most tokens held at once"},
        {"rss_peak", "host", rss, "VmHWM of the worker"},
        {"compute", where, compute,
         gpu ? "device memory taken less weights and KV" : "peak RSS less start, weights and KV"},
        {"device_peak", "gpu", device, "device memory taken since before the engine was opened"},
    };
    /* With some layers on the host nobody tells which bytes lie where. */
    bool split = !gpu || r->plan.engine.gpu_layers == ENGINE_ALL_GPU_LAYERS;
    int rc = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++) {
        if ((!split && !strcmp(rows[i].part, "compute")) ||
            (!gpu && !strcmp(rows[i].part, "device_peak")) ||
            (host_weights <= 0 && !strcmp(rows[i].part, "host_weights"))) {
            continue;
        }
        rc = store_memory_put(r->store, stage_id, &rows[i], e);
    }
    return rc;
}

/* ---- joules by phase ---- */

/* The newest samples, many more than the load for the phases lasts. */
enum { KEPT_SAMPLES = 16384 };

/* Which sensors will tell; begins to keep their samples if any does. */
static int begin_phases(struct run *r, struct phases_sensors *sensors, struct err *e) {
    struct meter_component c[METER_MAX_COMPONENTS];
    size_t n = meter_n_components(r->meter);
    for (size_t i = 0; i < n; i++) {
        meter_component_info(r->meter, i, &c[i]);
    }
    phases_choose(c, n, sensors);
    if (r->plan.energy.phases_s <= 0) {
        sensors->reason = "the plan does without (energy: {phases_s: 0})";
    }
    return sensors->reason ? 0 : meter_samples_begin(r->meter, KEPT_SAMPLES, e);
}

/* Puts what came of it into the result, in place of the worker's times. */
static int end_phases(struct run *r, const struct phases_sensors *sensors, json_t *result,
                      struct err *e) {
    json_t *phases = NULL;
    if (sensors->reason) {
        phases = json_pack("{s:s}", "refused", sensors->reason);
    } else {
        struct meter_sample *rows = calloc(KEPT_SAMPLES, sizeof(*rows));
        size_t n = rows ? meter_samples_take(r->meter, rows, KEPT_SAMPLES) : 0;
        meter_samples_end(r->meter);
        phases = rows && result
                     ? phases_result(rows, n, sensors, json_object_get(result, "phases_work"))
                     : NULL;
        free(rows);
    }
    json_object_del(result, "phases_work");
    return !result || json_object_set_new(result, "phases", phases) == 0
               ? 0
               : err_set(e, EE_NOMEM, "joules by phase: out of memory");
}

static int execute(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e) {
    if (r->plan.server.is_used) {
        return serve_by_server(r, v, stage_id, result, e);
    }
    char *path = run_artifact_path(r, v);
    if (!path) {
        return err_set(e, EE_NOMEM, "serve: out of memory");
    }
    json_t *args = serve_job_args(r, v, path, r->plan.serve.lengths == LENGTHS_FORCED,
                                  r->plan.serve.repeats);
    bool wants_idle = r->plan.energy.idle_s > 0 && meter_n_components(r->meter) > 0;
    json_object_set_new(args, "pause", json_boolean(wants_idle));
    json_object_set_new(args, "window_s", json_real(r->plan.serve.window_s));
    struct serve_rows rows = {
        .stage = {r, stage_id}, .variant = v, .drops_text = run_model(r, v)->is_synthetic};
    struct job_spec spec = {.job = "serve",
                            .args = args,
                            .meter = r->meter,
                            .on_pause = on_pause,
                            .on_window = stage_on_window,
                            .on_gpu = stage_on_gpu,
                            .on_row = on_row,
                            .ctx = &rows};
    struct phases_sensors sensors;
    struct job_outcome out = {0};
    int rc = begin_phases(r, &sensors, e);
    if (!rc) {
        json_object_set_new(args, "phases_s",
                            json_real(sensors.reason ? 0 : r->plan.energy.phases_s));
        rc = run_job(r, &spec, &out, e);
        int ended = end_phases(r, &sensors, out.result, rc ? NULL : e);
        rc = rc ? rc : ended;
    }
    rc = rc ? rc : put_memory(r, stage_id, json_object_get(out.result, "memory"), e);
    if (!rc && json_int_or(out.result, "ok", 0) == 0) {
        rc = err_set(e, EE_FAIL, "all %lld requests failed, the first because: %s",
                     (long long)json_int_or(out.result, "failed", 0), rows.first_error);
    }
    if (!rc) {
        json_object_set(out.result, "idle", rows.idle);
        *result = json_incref(out.result);
    }
    json_decref(rows.idle);
    json_decref(out.result);
    json_decref(args);
    free(path);
    return rc;
}

const struct stage_kind stage_serve = {
    .name = "serve",
    .needs = "quantize",
    .version = 2,
    .reads = READS_OWN,
    .inputs = inputs,
    .title = title,
    .execute = execute,
};
