/* From the bench command's arguments to settings, prompts and connections. */
#include "bench_cmd.h"
#include "cmd.h"

#include "serve/access.h"
#include "stop.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CONNECTIONS = 4096 };

/* Splits at commas, in place; the pieces point into text. */
static int split_list(char *text, const char **out, size_t *n, struct err *e) {
    *n = 0;
    char *save = NULL;
    for (char *piece = strtok_r(text, ",", &save); piece; piece = strtok_r(NULL, ",", &save)) {
        if (*n == BENCH_MAX_LIST) {
            return err_set(e, EE_USAGE, "a list has more than %d entries", BENCH_MAX_LIST);
        }
        out[(*n)++] = piece;
    }
    return 0;
}

static int read_cpus(const char *text, int *out, size_t *n, struct err *e) {
    char *copy = strdup(text);
    const char *pieces[BENCH_MAX_LIST];
    int rc = copy ? split_list(copy, pieces, n, e) : err_set(e, EE_NOMEM, "out of memory");
    for (size_t i = 0; !rc && i < *n; i++) {
        char *end = NULL;
        long v = strtol(pieces[i], &end, 10);
        if (end == pieces[i] || *end || v < 0 || v >= CPU_SETSIZE) {
            rc = err_set(e, EE_USAGE, "--cpus should be numbers of CPUs such as 0,2");
        }
        out[i] = (int)v;
    }
    free(copy);
    return rc;
}

static int check_numbers(const struct bench_args *a, struct err *e) {
    const struct {
        const char *name;
        double v, min, max;
    } rows[] = {
        {"--duration", a->duration_s, 0, 1e6},
        {"--warmup", a->warmup_s, 0, 1e6},
        {"--drain", a->drain_s, 0, 1e6},
        {"--step", a->step_s, 0, 1e6},
        {"--cv", a->cv, 0.01, 100},
        {"--burst", (double)a->burst, 1, 1e6},
        {"--count", (double)a->count, 0, ARRIVAL_MAX},
        {"--seed", (double)a->seed, 0, 9e15},
        {"--trace-speed", a->trace_speed, 1e-3, 1e6},
        {"--think", a->think_s, 0, 1e5},
        {"--temperature", a->temperature, 0, 100},
        {"--prefix", (double)a->prefix, 0, 1e6},
        {"--prefix-groups", (double)a->prefix_groups, 1, 1e6},
        {"--prompt-count", (double)a->n_prompts, 0, 1e6},
        {"--turns", (double)a->turns, 1, 1000},
        {"--connect-timeout", a->connect_timeout_s, 1e-3, 1e5},
        {"--stall", a->stall_s, 1e-3, 1e6},
        {"--timeout", a->timeout_s, 1e-3, 1e6},
        {"--max-connections", (double)a->max_connections, 0, 1e6},
        {"--connections", (double)a->connections, 0, 1e6},
        {"--loops", (double)a->loops, 1, 256},
        {"--attain", a->attain, 0, 1},
        {"--ready-timeout", a->ready_timeout_s, 0.1, 1e5},
        {"--idle", a->idle_s, 0, 3600},
        {"--parallel", (double)a->parallel, 0, 4096},
        {"--threads", (double)a->threads, 0, 4096},
        {"--gpu-layers", (double)a->gpu_layers, -1, 1e6},
        {"--batch", (double)a->batch, 0, 1e6},
        {"--context", (double)a->context, 0, 1e8},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!(rows[i].v >= rows[i].min && rows[i].v <= rows[i].max)) {
            return err_set(e, EE_USAGE, "%s is %g; allowed: %g to %g", rows[i].name, rows[i].v,
                           rows[i].min, rows[i].max);
        }
    }
    if (a->rate && a->concurrency) {
        return err_set(e, EE_USAGE,
                       "--rate is an open loop and --concurrency a closed one: give "
                       "one of them");
    }
    if (a->trace && (a->rate || a->concurrency)) {
        return err_set(e, EE_USAGE,
                       "a trace brings its own schedule: neither --rate nor "
                       "--concurrency goes with --trace");
    }
    return 0;
}

static int set_load(const struct bench_args *a, struct setup *s, struct err *e) {
    static const char *const kinds[] = {"constant", "poisson", "gamma", "bursty"};
    struct bench_opts *o = &s->o;
    o->open_loop = a->rate || a->trace;
    o->count = (size_t)a->count;
    o->duration_s = a->duration_s;
    o->warmup_s = a->warmup_s;
    o->drain_s = a->drain_s;
    o->seed = (uint64_t)a->seed;
    for (int i = 0; i < 4; i++) {
        if (!strcmp(a->arrival, kinds[i])) {
            o->arrival.kind = (enum arrival_kind)i;
        }
    }
    o->arrival.cv = a->cv;
    o->arrival.burst = (int)a->burst;
    double total_s = a->duration_s > 0 ? a->warmup_s + a->duration_s : (double)INFINITY;
    return levels_parse(a->rate          ? a->rate
                        : a->concurrency ? a->concurrency
                                         : "1",
                        a->rate ? "--rate" : "--concurrency", total_s, a->step_s,
                        a->rate ? 1e6 : 1e5, &o->levels, e);
}

static int set_transport(const struct bench_args *a, struct setup *s, struct err *e) {
    struct transport_opts *t = &s->o.transport;
    double level = s->o.open_loop ? 0 : levels_max(&s->o.levels);
    t->max_connections = a->max_connections ? (size_t)a->max_connections
                                            : (size_t)fmax(DEFAULT_CONNECTIONS, level);
    t->connect_timeout_ns = (int64_t)(a->connect_timeout_s * 1e9);
    t->stall_ns = (int64_t)(a->stall_s * 1e9);
    t->timeout_ns = (int64_t)(a->timeout_s * 1e9);
    t->http2 = a->http2;
    t->insecure = a->insecure;
    t->read_times = !strcmp(a->timestamps, "read");
    t->ca_file = a->ca_file;
    t->auth = s->auth;
    s->o.ops = transport_for(a->http2);
    s->o.preconnect = (size_t)a->connections;
    s->o.n_loops = (int)a->loops;
    s->o.cpus = s->cpus;
    int rc = 0;
    if (a->sources) {
        s->source_text = strdup(a->sources);
        t->sources = s->sources;
        rc = s->source_text ? split_list(s->source_text, s->sources, &t->n_sources, e)
                            : err_set(e, EE_NOMEM, "out of memory");
    }
    return rc || !a->cpus ? rc : read_cpus(a->cpus, s->cpus, &s->o.n_cpus, e);
}

/* The name that the server lists, if it lists one. */
static int ask_model(struct setup *s, struct err *e) {
    const struct fetch_opts fo = {.auth = s->auth,
                                  .ca_file = s->o.transport.ca_file,
                                  .insecure = s->o.transport.insecure,
                                  .timeout_ns = s->o.transport.connect_timeout_ns};
    return access_first_model(&s->o.target, &fo, "say which with --model", &s->model, e);
}

/* What to ask; how long, where that was left open. */
static int set_prompts(const struct bench_args *a, struct setup *s, struct err *e) {
    struct workload_opts *w = &s->o.workload;
    *w = (struct workload_opts){.task = a->task,
                                .data_dir = s->data_dir,
                                .prompts = a->prompts,
                                .trace = a->trace,
                                .trace_speed = a->trace_speed,
                                .prefix_tokens = (int)a->prefix,
                                .prefix_groups = (int)a->prefix_groups,
                                .n = (size_t)a->n_prompts,
                                .turns = (int)a->turns,
                                .turn_input = {32, 32},
                                .think_s = a->think_s,
                                .force_length = a->force_length,
                                .send_ids = a->send_ids,
                                .temperature = a->temperature,
                                .seed = (uint64_t)a->seed,
                                .extra = a->extra};
    int rc = a->input ? length_range_parse(a->input, "--input", &w->input, e) : 0;
    rc = rc || !a->output ? rc : length_range_parse(a->output, "--output", &w->output, e);
    rc = rc || !a->turn_input
             ? rc
             : length_range_parse(a->turn_input, "--turn-input", &w->turn_input, e);
    if (!rc && s->o.count == 0 && s->o.duration_s <= 0 && !a->task && !a->prompts && !a->trace) {
        s->o.duration_s = 30;
        rc = set_load(a, s, e);
    }
    return rc;
}

static int set_model(const struct bench_args *a, struct setup *s, struct err *e) {
    if (!a->model && !bench_is_model(a)) {
        return ask_model(s, e);
    }
    const char *slash = strrchr(a->target, '/');
    s->model = strdup(a->model ? a->model : slash ? slash + 1 : a->target);
    return s->model ? 0 : err_set(e, EE_NOMEM, "out of memory");
}

void bench_setup_release(struct setup *s) {
    workload_release(&s->workload);
    engine_close(s->vocabulary);
    free(s->auth);
    free(s->data_dir);
    free(s->model);
    free(s->source_text);
}

/* The server, and what to send to it. */
static int set_target(const struct bench_args *a, struct setup *s, struct err *e) {
    int rc = target_parse(a->target, s->o.target.api, &s->o.target, e);
    rc = rc || (!s->o.target.tls && !a->http2) ? rc : fetch_global_init(e);
    rc = rc || !a->auth_env ? rc : access_auth(a->auth_env, "--auth-env", &s->auth, e);
    rc = rc ? rc : set_transport(a, s, e);
    rc = rc || !a->tokenizer ? rc : engine_open_vocabulary(a->tokenizer, &s->vocabulary, e);
    return rc ? rc : target_resolve(&s->o.target, e);
}

int bench_set_up(const struct bench_args *a, struct setup *s, struct err *e) {
    bool in_process = bench_is_model(a);
    s->o.target.api = !strcmp(a->api, "text") ? API_TEXT : API_CHAT;
    s->o.stop = &stop_requested;
    int rc = check_numbers(a, e);
    rc = rc || !a->slo ? rc : slo_parse(a->slo, &s->o.slos, e);
    rc = rc ? rc : set_load(a, s, e);
    rc = rc || !a->task ? rc : cmd_data_dir(&s->data_dir, e);
    rc = rc ? rc : set_prompts(a, s, e);
    if (!rc && in_process) {
        rc = set_model(a, s, e);
        s->o.workload.model = s->model;
        return rc;
    }
    rc = rc ? rc : set_target(a, s, e);
    s->o.workload.vocabulary = s->vocabulary;
    /* Before anything is started or calibrated. */
    return rc ? rc : workload_check(&s->o.workload, s->o.target.api, e);
}

int bench_set_up_prompts(const struct bench_args *a, struct setup *s, struct err *e) {
    int rc = set_model(a, s, e);
    struct workload_opts *w = &s->o.workload;
    w->model = s->model;
    w->auth = s->auth;
    rc = rc ? rc : workload_make(w, &s->o.target, &s->workload, e);
    if (!rc && s->o.count == 0 && s->o.duration_s <= 0 && !a->trace) {
        s->o.count = s->workload.n;
    }
    return rc ? rc : bench_write_prompts(a, &s->workload, e);
}
