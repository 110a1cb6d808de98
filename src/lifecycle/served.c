#include "lifecycle/served.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/machine.h"
#include "serve/access.h"

#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ASK_TIMEOUT_S = 10, MAX_PARALLEL = 4096 };

static int no_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "the server: out of memory");
}

/* ---- its command ---- */

/* A port that nobody listens on now. */
static int free_port(struct err *e) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
                 getsockname(fd, (struct sockaddr *)&a, &len) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return found ? ntohs(a.sin_port) : err_set(e, EE_IO, "no port of 127.0.0.1 is free");
}

struct filling {
    const char *name;
    const char *value;
};

static void fill_word(struct buf *out, const char *word, const struct filling *f, size_t n) {
    while (*word) {
        size_t i = 0;
        while (i < n && strncmp(word, f[i].name, strlen(f[i].name)) != 0) {
            i++;
        }
        if (i < n) {
            buf_addstr(out, f[i].value);
            word += strlen(f[i].name);
        } else {
            buf_addch(out, *word++);
        }
    }
}

static int fill_command(struct served *s, struct err *e) {
    const struct plan *p = &s->run->plan;
    char *path = variant_has_file(s->variant)
                     ? run_artifact_path(s->run, s->variant)
                     : strdup(s->variant->model->served[s->variant->precision]);
    int64_t context = serve_context(s->run, s->variant);
    char numbers[3][24];
    snprintf(numbers[0], sizeof(numbers[0]), "%lld", (long long)p->serve.concurrency);
    snprintf(numbers[1], sizeof(numbers[1]), "%lld", (long long)context);
    snprintf(numbers[2], sizeof(numbers[2]), "%lld", (long long)(context * p->serve.concurrency));
    const struct filling f[] = {{"{model}", path},
                                {"{port}", s->target.port},
                                {"{concurrency}", numbers[0]},
                                {"{context}", numbers[1]},
                                {"{cells}", numbers[2]}};
    size_t n = 0;
    while (p->server.command[n]) {
        n++;
    }
    const char **argv = arena_array(&s->arena, n + 1, sizeof(*argv));
    int rc = path && argv ? 0 : no_memory(e);
    for (size_t i = 0; i < n && !rc; i++) {
        struct buf word;
        buf_init(&word);
        fill_word(&word, p->server.command[i], f, sizeof(f) / sizeof(f[0]));
        argv[i] = word.failed ? NULL : arena_strdup(&s->arena, word.data ? word.data : "");
        rc = argv[i] ? 0 : no_memory(e);
        buf_release(&word);
    }
    s->spec.argv = argv;
    free(path);
    return rc;
}

/* ---- opening, starting, stopping ---- */

int served_open(struct served *s, struct run *r, const struct variant *v, struct err *e) {
    *s = (struct served){.run = r, .variant = v};
    const struct plan_server *p = &r->plan.server;
    s->deadline_ns = clock_mono_ns() + r->plan.stage_timeout_s * NS_PER_S;
    machine_raise_descriptors();
    struct buf log;
    buf_init(&log);
    buf_addf(&log, "%s/logs/server.log", r->dir);
    s->log_path = buf_detach(&log);
    int rc = s->log_path ? 0 : no_memory(e);
    return rc || !p->auth_env ? rc : access_auth(p->auth_env, "auth_env", &s->auth, e);
}

/* Where it is: the plan's address, or one that is free now. */
static int find_place(struct served *s, struct err *e) {
    const struct plan_server *p = &s->run->plan.server;
    char url[64];
    if (!p->url) {
        int port = free_port(e);
        if (port < 0) {
            return port;
        }
        snprintf(url, sizeof(url), "http://127.0.0.1:%d", port);
    }
    int rc = target_parse(p->url ? p->url : url, p->api, &s->target, e);
    rc = rc || !s->target.tls ? rc : fetch_global_init(e);
    rc = rc ? rc : target_resolve(&s->target, e);
    if (!rc && p->command && !s->target.is_loopback) {
        rc = err_set(e, EE_USAGE,
                     "the plan starts the server itself and says that it is on %s: give a url of "
                     "127.0.0.1, or no command",
                     s->target.host);
    }
    return rc;
}

static uint64_t gpu_memory_bytes(struct meter *m) {
    uint64_t sum = 0;
    for (size_t i = 0; m && i < meter_n_components(m); i++) {
        uint64_t used = 0;
        uint64_t total = 0;
        if (meter_gpu_memory(m, i, &used, &total, NULL) == 0) {
            sum += used;
        }
    }
    return sum;
}

static int start_process(struct served *s, struct err *e) {
    const struct plan_server *p = &s->run->plan.server;
    char *path = arena_alloc(&s->arena, 600);
    if (!path) {
        return no_memory(e);
    }
    snprintf(path, 600, "%.500s%.90s", s->target.root, p->ready);
    s->spec = (struct server_spec){.ready_path = path,
                                   .ready_timeout_s = p->ready_timeout_s,
                                   .timeout_key = "engine.server.ready_timeout_s",
                                   .log_path = s->log_path};
    s->gpu_before_bytes = gpu_memory_bytes(s->run->meter);
    int rc = fill_command(s, e);
    rc = rc ? rc : server_spawn(&s->server, &s->spec, &s->target, e);
    if (!rc && s->run->meter) {
        rc = meter_watch_pid(s->run->meter, s->server.process.pid, e);
        s->watched = rc ? 0 : s->server.process.pid;
    }
    return rc ? rc : server_wait_ready(&s->server, &s->spec, &s->target, s->run->opts->stop, e);
}

/* A member of a JSON document that the server may have. */
static void ask_version(struct served *s, const char *path, const char *member) {
    char full[600];
    struct buf body;
    json_t *v = NULL;
    int status = 0;
    const struct fetch_opts fo = {.auth = s->auth, .timeout_ns = ASK_TIMEOUT_S * NS_PER_S};
    buf_init(&body);
    snprintf(full, sizeof(full), "%.500s%s", s->target.root, path);
    if (!s->version[0] && fetch(&s->target, full, &fo, &body, &status, NULL) == 0 &&
        status == 200 && json_parse(body.data, body.len, path, &v, NULL) == 0) {
        snprintf(s->version, sizeof(s->version), "%.79s", json_str_or(v, member, ""));
    }
    json_decref(v);
    buf_release(&body);
}

/* The model's name in requests: the plan's word, checked where the server lists what it has. */
static int find_model(struct served *s, struct err *e) {
    const struct plan_server *p = &s->run->plan.server;
    const struct fetch_opts fo = {.auth = s->auth, .timeout_ns = ASK_TIMEOUT_S * NS_PER_S};
    const char *served = s->variant->model->served[s->variant->precision];
    const char *name = p->model ? p->model : served;
    free(s->model);
    s->model = NULL;
    if (!name) {
        return access_first_model(&s->target, &fo, "say engine: {server: {model: NAME}}", &s->model,
                                  e);
    }
    s->model = strdup(name);
    return s->model ? access_check_model(&s->target, &fo, name, e) : no_memory(e);
}

/* A message of several lines, such as a server's last words, becomes one. */
static int one_line(struct err *e) {
    for (char *c = e ? e->msg : NULL; c && *c; c++) {
        *c = (char)(*c == '\n' ? '|' : *c);
    }
    return e ? e->code : EE_FAIL;
}

int served_start(struct served *s, struct err *e) {
    arena_release(&s->arena);
    int rc = find_place(s, e);
    rc = rc || !s->run->plan.server.command ? rc : start_process(s, e);
    rc = rc ? rc : find_model(s, e);
    if (rc) {
        one_line(e);
        return rc;
    }
    ask_version(s, "/version", "version");
    ask_version(s, "/props", "build_info");
    return 0;
}

void served_stop(struct served *s) {
    if (s->watched) {
        meter_unwatch_pid(s->run->meter, s->watched);
        s->watched = 0;
    }
    server_stop(&s->server);
}

void served_close(struct served *s) {
    served_stop(s);
    arena_release(&s->arena);
    free(s->auth);
    free(s->model);
    free(s->log_path);
}

/* ---- load ---- */

/* The plan's sampling, in the words of OpenAI's API and of the servers that extend it. */
static int sampling_extra(const struct served *s, int64_t repeat, struct buf *out, struct err *e) {
    const struct engine_sampling *p = &s->run->plan.sampling;
    const char *given = s->run->plan.server.extra;
    json_t *extra = json_object();
    int rc = 0;
    if (given) {
        json_decref(extra);
        extra = NULL;
        rc = json_parse(given, strlen(given), "extra", &extra, e);
    }
    if (!rc && p->temperature > 0) {
        if (p->top_p > 0) {
            json_object_set_new(extra, "top_p", json_real(p->top_p));
        }
        if (p->top_k > 0) {
            json_object_set_new(extra, "top_k", json_integer(p->top_k));
        }
        json_object_set_new(extra, "seed", json_integer((json_int_t)p->seed + repeat));
    }
    rc = rc ? rc : json_write(extra, out, e);
    json_decref(extra);
    return rc;
}

/* Told several times a second: passes on progress, and ends the load when it must end. */
static void on_progress(void *ctx, double elapsed_s, uint64_t begun, uint64_t ended,
                        uint64_t failed) {
    struct served *s = ctx;
    (void)elapsed_s;
    (void)begun;
    (void)failed;
    bool is_gone = s->server.running && process_poll(&s->server.process);
    bool is_stopped = s->run->opts->stop && *s->run->opts->stop;
    s->stop = is_gone || is_stopped || clock_mono_ns() > s->deadline_ns;
    run_tell_progress(s->run, &(struct job_progress){.done = s->n_before + (int64_t)ended,
                                                     .total = s->n_total,
                                                     .tokens = -1});
}

static struct bench_opts bench_opts_of(struct served *s, const struct served_load *load,
                                       const struct workload_opts *w) {
    const struct plan *p = &s->run->plan;
    bool is_open = p->serve.rate_per_s > 0 && !load->alone;
    double level = load->alone ? 1 : is_open ? p->serve.rate_per_s : (double)p->serve.concurrency;
    struct bench_opts o = {.target = s->target,
                           .workload = *w,
                           .ops = transport_for(false),
                           .open_loop = is_open,
                           .arrival = p->serve.arrival,
                           .levels = {.n = 1, .steps = {{level, level, (double)INFINITY}}},
                           .seed = (uint64_t)p->seed + (uint64_t)load->repeat,
                           .stop = &s->stop,
                           .progress = on_progress,
                           .progress_ctx = s,
                           .edge = load->edge,
                           .edge_ctx = load->edge_ctx};
    o.transport = (struct transport_opts){.max_connections = is_open ? MAX_PARALLEL : (size_t)level,
                                          .connect_timeout_ns = ASK_TIMEOUT_S * NS_PER_S,
                                          .stall_ns = (int64_t)(p->server.stall_s * 1e9),
                                          .timeout_ns = (int64_t)(p->server.timeout_s * 1e9),
                                          .auth = s->auth};
    return o;
}

/* Why a load ended before its time, if it did. */
static int check_end(struct served *s, struct err *e) {
    if (s->run->opts->stop && *s->run->opts->stop) {
        return err_set(e, EE_STOPPED, "stopped");
    }
    int rc = server_check(&s->server, &s->spec, "while it served", e);
    if (!rc && clock_mono_ns() > s->deadline_ns) {
        rc = err_set(e, EE_TIMEOUT,
                     "the server did not answer all requests in %lld s; raise stage_timeout_s in "
                     "the plan if it was working",
                     (long long)s->run->plan.stage_timeout_s);
    }
    return rc ? one_line(e) : 0;
}

int served_run(struct served *s, const struct served_load *load, struct bench *b,
               struct workload *w, struct err *e) {
    const struct plan_task *task = s->variant->task;
    struct buf extra;
    buf_init(&extra);
    *b = (struct bench){0};
    *w = (struct workload){0};
    s->stop = 0;
    int rc = sampling_extra(s, load->repeat, &extra, e);
    const struct workload_opts wo = {.task = task->name,
                                     .task_file = task->path,
                                     .n = load->n_items ? load->n_items : (size_t)task->items,
                                     .output = {load->max_tokens, load->max_tokens},
                                     .mark = load->mark,
                                     .force_length = load->force_length,
                                     .temperature = s->run->plan.sampling.temperature,
                                     .model = s->model,
                                     .extra = extra.data,
                                     .auth = s->auth};
    rc = rc ? rc : workload_make(&wo, &s->target, w, e);
    if (!rc) {
        struct bench_opts o = bench_opts_of(s, load, &wo);
        o.count = w->n;
        struct err why = ERR_INIT;
        rc = bench_run(b, &o, w, &s->run->client, &why);
        /* A server that is gone says more than the connections that it took with it. */
        int ended = check_end(s, e);
        rc = ended ? ended : rc ? err_set(e, rc, "%s", why.msg) : 0;
    }
    buf_release(&extra);
    return rc;
}

void served_failure(const struct record *record, const struct reply *reply, char *buf,
                    size_t size) {
    int n = record->status && record->status != 200
                ? snprintf(buf, size, "HTTP status %u", record->status)
                : snprintf(buf, size, "%s", outcome_meaning(reply->outcome));
    if (reply->message[0] && n > 0 && (size_t)n < size) {
        snprintf(buf + n, size - (size_t)n, ": %s", reply->message);
    }
}

/* ---- what is known of it ---- */

const char *served_energy_gap(const struct served *s) {
    if (!s->target.is_loopback) {
        return "the server runs on another machine, whose energy is not measured here";
    }
    for (size_t i = 0; !s->server.running && i < meter_n_components(s->run->meter); i++) {
        struct meter_component c;
        meter_component_info(s->run->meter, i, &c);
        if (c.modelled) {
            return "the CPU's energy is modelled from the CPU time of processes, and the plan did "
                   "not start the server's: give its command";
        }
    }
    return NULL;
}

int served_put_memory(const struct served *s, int64_t stage_id, struct err *e) {
    if (!s->server.running) {
        return 0; /* whose processes they are is not known */
    }
    uint64_t gpu_now = gpu_memory_bytes(s->run->meter);
    uint64_t rss = process_tree_memory_bytes(&s->server.process, "VmHWM");
    const struct store_memory host = {"rss_peak", "host", (double)rss,
                                      "VmHWM of the server's processes, added up"};
    const struct store_memory gpu = {"device_peak", "gpu",
                                     (double)gpu_now - (double)s->gpu_before_bytes,
                                     "device memory taken since before the server was started"};
    int rc = rss ? store_memory_put(s->run->store, stage_id, &host, e) : 0;
    bool on_gpu = gpu_now > s->gpu_before_bytes;
    return rc || !on_gpu ? rc : store_memory_put(s->run->store, stage_id, &gpu, e);
}

json_t *served_json(const struct served *s) {
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "host", s->target.host, "port", s->target.port,
                          "path", s->target.path, "model", s->model ? s->model : "");
    json_object_set_new(o, "version", s->version[0] ? json_string(s->version) : json_null());
    json_t *command = json_array();
    for (const char *const *w = s->spec.argv; w && *w; w++) {
        json_array_append_new(command, json_string(*w));
    }
    json_object_set_new(o, "command", command);
    if (s->server.ready_ns) {
        json_object_set_new(o, "port_open_s",
                            json_real(clock_ns_to_s(s->server.port_ns - s->server.exec_ns)));
        json_object_set_new(o, "ready_s",
                            json_real(clock_ns_to_s(s->server.ready_ns - s->server.exec_ns)));
    }
    return o;
}
