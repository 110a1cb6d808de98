/*
 * load: cold starts. A fresh process each time, from exec to the first token of one fixed prompt,
 * with the model file in the page cache and with it verifiably out of it; then the same prompt
 * again in the same process, so that loading and answering can be told apart.
 */
#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/page_cache.h"
#include "lifecycle/engine_args.h"
#include "lifecycle/prompts.h"
#include "lifecycle/served.h"
#include "lifecycle/worker.h"
#include "quality/prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the file; what is left after an eviction may be a page or two that the kernel keeps busy. */
static const double max_resident_when_cold = 0.01;

static int inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) {
    int rc = run_add_artifact_key(r, v, in, e);
    json_object_set_new(in, "warm", json_integer((json_int_t)r->plan.load.warm));
    json_object_set_new(in, "cold", json_integer((json_int_t)r->plan.load.cold));
    json_object_set_new(in, "prompt_task", json_string(r->task_hash[r->plan.tasks[0].kind]));
    json_object_set_new(in, "prompt_version", json_string(PROMPT_VERSION));
    json_object_set_new(in, "engine", run_engine_json(r));
    json_object_set_new(in, "energy_source", json_string(r->plan.energy.source));
    return rc;
}

static void title(const struct run *r, const struct variant *v, char *buf, size_t size) {
    char words[48];
    (void)r;
    variant_title_words(v, words, sizeof(words));
    bool is_own = variant_is_adapted(v) && !v->model->shape;
    snprintf(buf, size, "load %s %s%s%s", v->model->id, is_own ? v->task->name : "",
             is_own ? " " : "", words);
}

/* In the worker: the prompt's first token, timed by the engine. */
static int first_token(struct engine *g, const struct engine_request *q, struct arena *a,
                       int64_t *token_ns, struct err *e) {
    const struct engine_workload work = {.requests = q, .n_requests = 1, .concurrency = 1};
    struct engine_result result;
    struct engine_run_stats stats;
    int rc = engine_run(g, &work, a, &result, &stats, e);
    if (!rc && result.finish == ENGINE_ERROR) {
        rc = err_set(e, EE_FAIL, "the cold-start prompt failed: %s", result.error);
    }
    if (!rc) {
        *token_ns = result.n_tokens ? result.token_ns[0] : result.done_ns;
    }
    return rc;
}

int load_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct engine_opts opts = {.n_seq_max = 1, .use_mmap = true, .skip_checks = true};
    struct engine_times times;
    struct engine *g = NULL;
    struct task_set set = {0};
    struct arena a = ARENA_INIT;
    struct engine_request q = {0};
    const char *window = NULL;
    const char *again = NULL;
    int64_t first_ns = 0;
    int64_t warm_ns = 0;
    int64_t send_ns = 0;
    engine_args_read(json_object_get(args, "engine"), &opts);
    opts.n_ctx_seq = (int)json_int_or(args, "context", 0);
    int rc = json_want_str(args, "model", &opts.model_path, e);
    rc = rc ? rc : json_want_str(args, "window", &window, e);
    rc = rc ? rc : json_want_str(args, "window_again", &again, e);
    rc = rc ? rc : engine_open(&opts, &g, &times, e);
    /* One line of a file and its tokens: microseconds beside the load. */
    rc = rc ? rc : prompts_load(json_object_get(args, "task"), &set, e);
    rc = rc ? rc : prompts_tokenize(g, &set.items[0], &a, &q, e);
    q.max_tokens = 1;
    q.force_length = true;
    rc = rc ? rc : first_token(g, &q, &a, &first_ns, e);
    rc = rc ? rc : worker_window_close(w, window, e);
    rc = rc ? rc : worker_window_open(w, again, e);
    send_ns = clock_mono_ns();
    rc = rc ? rc : first_token(g, &q, &a, &warm_ns, e);
    rc = rc ? rc : worker_window_close(w, again, e);
    if (!rc) {
        struct engine_info info;
        engine_get_info(g, &info);
        *result = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "main_ns",
                            (json_int_t)w->main_ns, "backends_ns", (json_int_t)times.backends_ns,
                            "weights_ns", (json_int_t)times.weights_ns, "context_ns",
                            (json_int_t)times.context_ns, "first_token_ns", (json_int_t)first_ns,
                            "warm_ns", (json_int_t)(warm_ns - send_ns), "device", info.device);
    }
    engine_close(g);
    task_set_release(&set);
    arena_release(&a);
    return rc;
}

struct start {
    struct run *run;
    const struct variant *variant;
    const char *path; /* of the model file; NULL: the server's own weights, wherever they are */
    int64_t stage_id;
    char window[32];
    char again[32];
    double joules;
    double warm_joules;
    char device[128];
    int64_t n_done;  /* starts so far, cold and warm */
    json_t *servers; /* what each start of a server told */
};

static int on_window(const struct meter_reading *reading, void *ctx, struct err *e) {
    struct start *s = ctx;
    struct meter_total t;
    meter_total(reading, NULL, 0, &t);
    double j = t.quality == METER_MISSING ? (double)NAN : t.joules;
    if (!strcmp(reading->name, s->window)) {
        s->joules = j;
    } else {
        s->warm_joules = j;
    }
    return energy_rows_put(s->run->store, s->stage_id, reading, e);
}

static int on_gpu(const char *window, const char *component, const struct gpu_looks *looks,
                  void *ctx, struct err *e) {
    const struct start *s = ctx;
    struct stage_rows rows = {s->run, s->stage_id};
    return stage_on_gpu(window, component, looks, &rows, e);
}

static double seconds_from(int64_t begin_ns, const json_t *v, const char *key) {
    return clock_ns_to_s(json_int_or(v, key, begin_ns) - begin_ns);
}

/* One cold start of the server. */
static int one_server_start(struct start *s, const char *cache, int repeat, double resident,
                            struct err *e) {
    struct run *r = s->run;
    struct served_start_row row;
    int rc = load_by_server(r, s->variant, s->stage_id, cache, repeat, true, &row, e);
    if (!rc) {
        row.times.resident_fraction = resident;
        rc = store_cold_start_put(r->store, s->stage_id, &row.times, e);
        json_array_append_new(s->servers,
                              json_pack("{s:s, s:i, s:f, s:f, s:f, s:s}", "cache", cache, "repeat",
                                        repeat, "port_open_s", row.port_s, "ready_s",
                                        row.times.context_s, "first_token_s",
                                        row.times.first_token_s, "version", row.version));
        run_tell_progress(r, &(struct job_progress){.done = ++s->n_done,
                                                    .total = r->plan.load.warm + r->plan.load.cold,
                                                    .tokens = -1});
    }
    return rc;
}

/* One cold start; cache is "warm" or "cold". */
static int one_start(struct start *s, const char *cache, int repeat, double resident,
                     struct err *e) {
    struct run *r = s->run;
    if (r->plan.server.is_used) {
        return one_server_start(s, cache, repeat, resident, e);
    }
    snprintf(s->window, sizeof(s->window), "%s/%d", cache, repeat);
    snprintf(s->again, sizeof(s->again), "%s/%d/again", cache, repeat);
    s->joules = s->warm_joules = (double)NAN;
    /* Whatever the variant's task, so that the variants of one file share their cold starts. */
    const struct plan_task first = {.kind = r->plan.tasks[0].kind,
                                    .name = r->plan.tasks[0].name,
                                    .path = r->plan.tasks[0].path,
                                    .items = 1};
    const struct model_facts *m = run_model(r, s->variant);
    json_t *args = json_pack("{s:s, s:s, s:s, s:o, s:I, s:o}", "model", s->path, "window",
                             s->window, "window_again", s->again, "task", prompts_json(&first),
                             "context", (json_int_t)(m->max_prompt_tokens[first.kind] + 1),
                             "engine", run_engine_json(r));
    struct job_spec spec = {.job = "load",
                            .args = args,
                            .meter = r->meter,
                            .exec_window = s->window,
                            .on_window = on_window,
                            .on_gpu = on_gpu,
                            .ctx = s};
    struct job_outcome out;
    int rc = run_job(r, &spec, &out, e);
    if (!rc) {
        const json_t *v = out.result;
        const struct store_cold_start row = {
            .repeat = repeat,
            .cache = cache,
            .resident_fraction = resident,
            .main_s = seconds_from(out.spawned_ns, v, "main_ns"),
            .backend_s = seconds_from(out.spawned_ns, v, "backends_ns"),
            .weights_s = seconds_from(out.spawned_ns, v, "weights_ns"),
            .context_s = seconds_from(out.spawned_ns, v, "context_ns"),
            .first_token_s = seconds_from(out.spawned_ns, v, "first_token_ns"),
            .warm_first_token_s = clock_ns_to_s(json_int_or(v, "warm_ns", 0)),
            .joules = s->joules,
            .warm_joules = s->warm_joules,
        };
        snprintf(s->device, sizeof(s->device), "%s", json_str_or(v, "device", ""));
        rc = store_cold_start_put(r->store, s->stage_id, &row, e);
        const struct job_progress p = {
            .done = ++s->n_done, .total = r->plan.load.warm + r->plan.load.cold, .tokens = -1};
        run_tell_progress(r, &p);
    }
    json_decref(out.result);
    json_decref(args);
    return rc;
}

/* Cold-cache starts; *why receives a reason when the page cache cannot be emptied here. */
static int cold_starts(struct start *s, int64_t *n, char *why, size_t why_size, struct err *e) {
    if (!s->path) {
        snprintf(why, why_size,
                 "the server has the weights and does not tell in which files they are");
        return 0;
    }
    for (int i = 0; i < s->run->plan.load.cold; i++) {
        double resident = 1;
        int rc = page_cache_evict(s->path, &resident, e);
        if (!rc && resident > max_resident_when_cold) {
            snprintf(why, why_size,
                     "%.0f %% of %s stays in the page cache (another process maps it, or the file "
                     "system lives in memory)",
                     100 * resident, s->path);
            return 0;
        }
        rc = rc ? rc : one_start(s, "cold", i, resident, e);
        if (rc) {
            return rc;
        }
        (*n)++;
    }
    return 0;
}

static int warm_starts(struct start *s, int64_t *n, struct err *e) {
    /* Files that nobody names are brought into the page cache by a start that does not count. */
    if (!s->path && s->run->plan.load.warm > 0) {
        struct served_start_row ignored;
        int rc = load_by_server(s->run, s->variant, s->stage_id, "warm", 0, false, &ignored, e);
        if (rc) {
            return rc;
        }
    }
    for (int i = 0; i < s->run->plan.load.warm; i++) {
        double resident = (double)NAN;
        int rc = s->path ? page_cache_fill(s->path, s->run->opts->stop, &resident, e) : 0;
        rc = rc ? rc : one_start(s, "warm", i, resident, e);
        if (rc) {
            return rc;
        }
        (*n)++;
    }
    return 0;
}

/*
 * Starts are timed without the engine's own checks, and mapped weights that memory cannot hold
 * would be read again for every token, so what cannot fit is refused here.
 */
static int check_memory(const struct run *r, const char *path, struct err *e) {
    const double gib = 1024.0 * 1024.0 * 1024.0;
    uint64_t need = 0;
    uint64_t have = machine_available_memory_bytes();
    int rc = fs_size(path, &need, e);
    if (!rc && !strcmp(r->device, "CPU") && have > 0 && need > have) {
        rc = err_set(e, EE_NOMEM,
                     "%s has %.1f GiB and %.1f GiB of memory are free; use a smaller precision or "
                     "model",
                     path, (double)need / gib, (double)have / gib);
    }
    return rc;
}

static int execute(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e) {
    bool by_server = r->plan.server.is_used;
    char *path = variant_has_file(v) ? run_artifact_path(r, v) : NULL;
    struct start s = {.run = r, .variant = v, .path = path, .stage_id = stage_id};
    char no_cold[512] = "";
    int64_t n_warm = 0;
    int64_t n_cold = 0;
    int rc = path || !variant_has_file(v) ? 0 : err_set(e, EE_NOMEM, "load: out of memory");
    rc = rc || by_server ? rc : check_memory(r, path, e);
    s.servers = json_array();
    rc = rc ? rc : cold_starts(&s, &n_cold, no_cold, sizeof(no_cold), e);
    rc = rc ? rc : warm_starts(&s, &n_warm, e);
    if (!rc && n_warm + n_cold == 0) {
        rc = err_set(e, EE_UNSUPPORTED, "no cold start could be measured: %s", no_cold);
    }
    if (!rc) {
        *result = json_pack("{s:I, s:I, s:s}", "warm", (json_int_t)n_warm, "cold",
                            (json_int_t)n_cold, "device", by_server ? r->device : s.device);
        if (by_server) {
            json_object_set(*result, "starts", s.servers);
        }
        if (no_cold[0]) {
            json_object_set_new(*result, "cold_reason", json_string(no_cold));
            run_note(r, "%s: cold page cache not measured: %s", v->model->id, no_cold);
        }
    }
    json_decref(s.servers);
    free(path);
    return rc;
}

static bool applies(const struct variant *v) {
    return v->is_started;
}

const struct stage_kind stage_load = {
    .name = "load",
    .needs = "quantize",
    .version = 1,
    .reads = READS_OWN,
    .applies = applies,
    .inputs = inputs,
    .title = title,
    .execute = execute,
};
