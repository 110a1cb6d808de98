/* edge-eval bench: load on a server, and figures that can be believed. */
#include "bench_text.h"
#include "cmd.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "serve/fetch.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const usage[] = {
    "bench URL [--rate R | --concurrency N] [--task NAME | --input N] [--output N]",
    NULL,
};

static volatile sig_atomic_t stop_requested;

static void on_signal(int sig) {
    stop_requested = 1;
    signal(sig, SIG_DFL); /* a second one ends the program */
}

enum { MAX_LIST = 64 };

struct bench_args {
    const char *target;
    const char *api, *model, *auth_env, *ca_file;
    bool http2, insecure;
    const char *concurrency, *rate, *arrival;
    double cv, step_s, duration_s, warmup_s, drain_s;
    int64_t burst, count, seed;
    const char *task, *prompts, *trace, *input, *output, *turn_input, *extra, *tokenizer;
    double trace_speed, think_s, temperature;
    int64_t prefix, prefix_groups, n_prompts, turns;
    bool force_length, send_ids;
    double connect_timeout_s, stall_s, timeout_s;
    int64_t max_connections, connections, loops;
    const char *sources, *cpus;
    const char *slo, *csv;
    bool as_json, no_calibration, quiet;
};

/* ---- from words to settings ---- */

static void raise_descriptor_limit(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

/* Splits at commas, in place; the pieces point into text. */
static int split_list(char *text, const char **out, size_t *n, struct err *e) {
    *n = 0;
    char *save = NULL;
    for (char *piece = strtok_r(text, ",", &save); piece; piece = strtok_r(NULL, ",", &save)) {
        if (*n == MAX_LIST) {
            return err_set(e, EE_USAGE, "a list has more than %d entries", MAX_LIST);
        }
        out[(*n)++] = piece;
    }
    return 0;
}

static int read_cpus(const char *text, int *out, size_t *n, struct err *e) {
    char *copy = strdup(text);
    const char *pieces[MAX_LIST];
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

/* "Authorization: Bearer ..." from the variable; it is never shown or stored. */
static int read_auth(const char *variable, char **out, struct err *e) {
    const char *value = getenv(variable);
    if (!value || !*value) {
        return err_set(e, EE_MISSING,
                       "the environment variable %.60s, named by --auth-env, is "
                       "not set",
                       variable);
    }
    for (const char *c = value; *c; c++) {
        if (*c < ' ' || *c == 0x7f) {
            return err_set(e, EE_USAGE, "the value of %.60s has a control character in it",
                           variable);
        }
    }
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "Authorization: Bearer %s", value);
    *out = buf_detach(&b);
    return *out ? 0 : err_set(e, EE_NOMEM, "out of memory");
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
        {"--max-connections", (double)a->max_connections, 1, 1e6},
        {"--connections", (double)a->connections, 0, 1e6},
        {"--loops", (double)a->loops, 1, 256},
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

struct setup {
    struct bench_opts o;
    struct workload workload;
    struct engine *vocabulary;
    char *auth, *data_dir, *model, *source_text;
    const char *sources[MAX_LIST];
    int cpus[MAX_LIST];
};

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
    t->max_connections = (size_t)a->max_connections;
    t->connect_timeout_ns = (int64_t)(a->connect_timeout_s * 1e9);
    t->stall_ns = (int64_t)(a->stall_s * 1e9);
    t->timeout_ns = (int64_t)(a->timeout_s * 1e9);
    t->http2 = a->http2;
    t->insecure = a->insecure;
    t->ca_file = a->ca_file;
    t->auth = s->auth;
    s->o.ops = transport_for(&s->o.target, a->http2);
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
    struct buf body;
    buf_init(&body);
    const struct fetch_opts fo = {.auth = s->auth,
                                  .ca_file = s->o.transport.ca_file,
                                  .insecure = s->o.transport.insecure,
                                  .timeout_ns = s->o.transport.connect_timeout_ns};
    char path[600];
    int status = 0;
    json_t *list = NULL;
    snprintf(path, sizeof(path), "%s/models", s->o.target.base);
    int rc = fetch(&s->o.target, path, &fo, &body, &status, e);
    if (rc) {
        goto out;
    }
    const char *id = NULL;
    if (status == 200 && json_parse(body.data, body.len, path, &list, NULL) == 0) {
        id = json_str_or(json_array_get(json_object_get(list, "data"), 0), "id", NULL);
    }
    s->model = id ? strdup(id) : NULL;
    if (!s->model) {
        rc = err_set(e, EE_MISSING,
                     "%s://%s:%s%s did not list a model (HTTP status %d): say which with --model",
                     s->o.target.scheme, s->o.target.host, s->o.target.port, path, status);
    }
out:
    json_decref(list);
    buf_release(&body);
    return rc;
}

static int set_workload(const struct bench_args *a, struct setup *s, struct err *e) {
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
                                .extra = a->extra,
                                .auth = s->auth,
                                .vocabulary = s->vocabulary};
    int rc = a->input ? length_range_parse(a->input, "--input", &w->input, e) : 0;
    rc = rc || !a->output ? rc : length_range_parse(a->output, "--output", &w->output, e);
    rc = rc || !a->turn_input
             ? rc
             : length_range_parse(a->turn_input, "--turn-input", &w->turn_input, e);
    if (!rc && a->model) {
        s->model = strdup(a->model);
    } else if (!rc) {
        rc = ask_model(s, e);
    }
    w->model = s->model;
    if (!rc && s->o.count == 0 && s->o.duration_s <= 0 && !a->task && !a->prompts && !a->trace) {
        s->o.duration_s = 30;
        rc = set_load(a, s, e) ? e->code : 0;
    }
    rc = rc ? rc : workload_make(w, &s->o.target, &s->workload, e);
    if (!rc && s->o.count == 0 && s->o.duration_s <= 0 && !a->trace) {
        s->o.count = s->workload.n;
    }
    return rc;
}

static void release_setup(struct setup *s) {
    workload_release(&s->workload);
    engine_close(s->vocabulary);
    free(s->auth);
    free(s->data_dir);
    free(s->model);
    free(s->source_text);
}

static int set_up(const struct bench_args *a, struct setup *s, struct err *e) {
    int rc = check_numbers(a, e);
    enum api api = !strcmp(a->api, "text") ? API_TEXT : API_CHAT;
    rc = rc ? rc : target_parse(a->target, api, &s->o.target, e);
    rc = rc ? rc : fetch_global_init(e);
    rc = rc || !a->auth_env ? rc : read_auth(a->auth_env, &s->auth, e);
    rc = rc || !a->slo ? rc : slo_parse(a->slo, &s->o.slos, e);
    rc = rc ? rc : set_load(a, s, e);
    rc = rc ? rc : set_transport(a, s, e);
    rc = rc || !a->task ? rc : cmd_data_dir(&s->data_dir, e);
    rc = rc || !a->tokenizer ? rc : engine_open_vocabulary(a->tokenizer, &s->vocabulary, e);
    rc = rc ? rc : target_resolve(&s->o.target, e);
    rc = rc ? rc : set_workload(a, s, e);
    s->o.stop = &stop_requested;
    return rc;
}

/* ---- running ---- */

struct ticker {
    bool is_terminal;
    double total_s;
};

static void show_progress(void *ctx, double elapsed_s, uint64_t begun, uint64_t ended,
                          uint64_t failed) {
    const struct ticker *t = ctx;
    if (t->is_terminal) {
        fprintf(stderr, "\r%7.1f s  %llu sent, %llu in flight, %llu failed \033[K", elapsed_s,
                (unsigned long long)begun, (unsigned long long)(begun - ended),
                (unsigned long long)failed);
    }
}

static int calibrate_for(const struct setup *s, struct calibration *out, struct err *e) {
    const struct bench_opts *o = &s->o;
    double level = levels_max(&o->levels);
    const struct calibrate_opts c = {
        .open_loop = o->open_loop,
        .rate = o->workload.trace ? 20 : level,
        .concurrency = o->open_loop ? 16 : (size_t)level,
        .n_loops = o->n_loops,
        .cpus = o->cpus,
        .n_cpus = o->n_cpus,
        .seconds = 1.5,
        .ttft_ms = 10,
        .itl_ms = 10,
        .tokens = 10,
        .seed = o->seed,
        .stop = &stop_requested,
    };
    return calibrate(&c, out, e);
}

static int print_json(const struct bench *b, struct err *e) {
    json_t *o = bench_json(b);
    struct buf text;
    buf_init(&text);
    int rc = json_write(o, &text, e);
    if (!rc) {
        puts(text.data);
    }
    buf_release(&text);
    json_decref(o);
    return rc;
}

static int run(const struct bench_args *a, struct setup *s, struct err *e) {
    struct calibration c = {.reason = "not asked to"};
    struct ticker ticker = {.is_terminal = !a->quiet && isatty(STDERR_FILENO)};
    struct bench b = {0};
    int rc = a->no_calibration ? 0 : calibrate_for(s, &c, e);
    s->o.progress = show_progress;
    s->o.progress_ctx = &ticker;
    rc = rc ? rc : bench_run(&b, &s->o, &s->workload, &c, e);
    if (ticker.is_terminal) {
        fprintf(stderr, "\r\033[K");
    }
    if (rc) {
        return rc;
    }
    if (a->as_json) {
        rc = print_json(&b, e);
    } else {
        bench_print(&b);
    }
    if (!rc && b.measures.outcomes[OUTCOME_OK] == 0) {
        rc = err_set(e, EE_FAIL, "no request was answered");
    }
    bench_release(&b);
    return rc;
}

int cmd_bench(int argc, char **argv) {
    static const char *const apis[] = {"chat", "text", NULL};
    static const char *const arrivals[] = {"constant", "poisson", "gamma", "bursty", NULL};
    struct bench_args a = {.api = "chat",
                           .arrival = "poisson",
                           .cv = 1,
                           .burst = 8,
                           .seed = 1,
                           .trace_speed = 1,
                           .prefix_groups = 1,
                           .turns = 1,
                           .connect_timeout_s = 5,
                           .stall_s = 120,
                           .timeout_s = 600,
                           .max_connections = 4096,
                           .loops = 1};
    const struct opt options[] = {
        {OPT_STR, 'c', "concurrency", &a.concurrency, "N",
         "closed loop: so many in flight (1); "
         "1,2,4 are steps, 1..8 a ramp",
         NULL},
        {OPT_STR, 'r', "rate", &a.rate, "R", "open loop: requests a second; steps and ramps too",
         NULL},
        {OPT_CHOICE, 0, "arrival", &a.arrival, "KIND", "constant, poisson (default), gamma, bursty",
         arrivals},
        {OPT_NUM, 0, "cv", &a.cv, "X", "gamma: coefficient of variation of the gaps (1)", NULL},
        {OPT_INT, 0, "burst", &a.burst, "N", "bursty: requests at one moment (8)", NULL},
        {OPT_NUM, 0, "step", &a.step_s, "S", "seconds of each step", NULL},
        {OPT_INT, 'n', "count", &a.count, "N", "requests in all", NULL},
        {OPT_NUM, 'd', "duration", &a.duration_s, "S", "seconds, the warm-up not counted", NULL},
        {OPT_NUM, 0, "warmup", &a.warmup_s, "S", "seconds of load before measuring (0)", NULL},
        {OPT_NUM, 0, "drain", &a.drain_s, "S", "seconds for what is in flight at the end (60)",
         NULL},
        {OPT_INT, 0, "seed", &a.seed, "N", "of schedule and prompts (1)", NULL},
        {OPT_STR, 0, "task", &a.task, "NAME", "prompts of the task set rag, summ or chat", NULL},
        {OPT_STR, 0, "prompts", &a.prompts, "FILE", "prompts of a JSONL file", NULL},
        {OPT_STR, 0, "trace", &a.trace, "FILE", "times and lengths of a Mooncake or Azure trace",
         NULL},
        {OPT_NUM, 0, "trace-speed", &a.trace_speed, "X", "play it so many times as fast (1)", NULL},
        {OPT_STR, 0, "input", &a.input, "N", "synthetic prompts of N tokens (or N..M)", NULL},
        {OPT_STR, 0, "output", &a.output, "N", "max_tokens of an answer (or N..M)", NULL},
        {OPT_INT, 0, "prefix", &a.prefix, "N", "synthetic: so many tokens shared by prompts", NULL},
        {OPT_INT, 0, "prefix-groups", &a.prefix_groups, "N", "different prefixes (1)", NULL},
        {OPT_INT, 0, "prompt-count", &a.n_prompts, "N", "prompts to make, or to take of a file",
         NULL},
        {OPT_INT, 0, "turns", &a.turns, "N", "synthetic conversations of N user turns (1)", NULL},
        {OPT_STR, 0, "turn-input", &a.turn_input, "N", "words of each further turn (32)", NULL},
        {OPT_NUM, 0, "think", &a.think_s, "S", "seconds before each further turn (0)", NULL},
        {OPT_FLAG, 0, "ignore-eos", &a.force_length, NULL, "ask for answers of full length", NULL},
        {OPT_FLAG, 0, "send-ids", &a.send_ids, NULL, "text completions: send token ids", NULL},
        {OPT_NUM, 0, "temperature", &a.temperature, "T", "sampling (0)", NULL},
        {OPT_STR, 0, "extra", &a.extra, "JSON", "members added to every request", NULL},
        {OPT_STR, 0, "tokenizer", &a.tokenizer, "GGUF",
         "the model's vocabulary: exact lengths, "
         "and a check of the server's counts",
         NULL},
        {OPT_STR, 0, "slo", &a.slo, "LIMITS", "goodput: ttft=200ms,tpot=25ms,e2e=5s", NULL},
        {OPT_CHOICE, 0, "api", &a.api, "KIND", "chat (default) or text completions", apis},
        {OPT_STR, 'm', "model", &a.model, "NAME", "in requests (the first the server lists)", NULL},
        {OPT_STR, 0, "auth-env", &a.auth_env, "NAME", "variable that holds the API key", NULL},
        {OPT_FLAG, 0, "http2", &a.http2, NULL, "HTTP/2", NULL},
        {OPT_STR, 0, "ca-file", &a.ca_file, "FILE", "TLS: certificates to trust", NULL},
        {OPT_FLAG, 0, "insecure", &a.insecure, NULL, "TLS: do not check certificates", NULL},
        {OPT_NUM, 0, "connect-timeout", &a.connect_timeout_s, "S", "(5)", NULL},
        {OPT_NUM, 0, "stall", &a.stall_s, "S", "longest silence of a request (120)", NULL},
        {OPT_NUM, 0, "timeout", &a.timeout_s, "S", "longest request (600)", NULL},
        {OPT_INT, 0, "connections", &a.connections, "N", "opened before the load begins", NULL},
        {OPT_INT, 0, "max-connections", &a.max_connections, "N", "(4096)", NULL},
        {OPT_STR, 0, "source", &a.sources, "ADDR,...", "addresses to connect from, in turn", NULL},
        {OPT_INT, 0, "loops", &a.loops, "N", "event loops, each a thread (1)", NULL},
        {OPT_STR, 0, "cpus", &a.cpus, "N,...", "CPUs the loops are bound to", NULL},
        {OPT_FLAG, 0, "no-calibration", &a.no_calibration, NULL, "do not measure the client first",
         NULL},
        {OPT_FLAG, 0, "json", &a.as_json, NULL, "print JSON", NULL},
        {OPT_FLAG, 'q', "quiet", &a.quiet, NULL, "no progress", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "bench",
        .usage = usage,
        .summary = "Load on an OpenAI-compatible server: latencies, throughput, goodput.",
        .details = "Definitions: docs/serving.md. Without --count and --duration, a task or file\n"
                   "is asked once and synthetic load lasts 30 s. Ctrl-C prints what was measured.",
        .options = options,
        .min_operands = 1,
        .max_operands = 1};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    a.target = argv[0];
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    raise_descriptor_limit();
    struct err e = ERR_INIT;
    struct setup s = {0};
    int rc = set_up(&a, &s, &e);
    rc = rc ? rc : run(&a, &s, &e);
    release_setup(&s);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
