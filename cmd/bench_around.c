#include "bench_around.h"
#include "cmd.h"

#include "base/clock.h"
#include "base/fs.h"
#include "serve/fetch.h"
#include "stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCRAPE_TIMEOUT_MS = 1000 };

bool around_is_wanted(const struct bench_args *a) {
    return a->server || a->energy || a->metrics;
}

/* ---- the meter ---- */

static int start_meter(struct around *r, struct err *e) {
    const struct meter_opts o = {.source = r->args->energy_source, .stop = &stop_requested};
    int rc = meter_start(&r->meter, &o, e);
    if (!rc && r->args->idle_s > 0) {
        rc = meter_measure_idle(r->meter, r->args->idle_s, &r->idle, e);
        if (!rc) {
            meter_set_idle(r->meter, &r->idle);
            r->has_idle = true;
        }
    }
    return rc;
}

/* ---- the server's metrics ---- */

static void scrape(struct around *r) {
    const struct fetch_opts o = {.auth = r->auth,
                                 .ca_file = r->args->ca_file,
                                 .insecure = r->args->insecure,
                                 .timeout_ns = SCRAPE_TIMEOUT_MS * NS_PER_MS};
    char path[600];
    struct buf body;
    struct err e = ERR_INIT;
    int status = 0;
    buf_init(&body);
    snprintf(path, sizeof(path), "%.500s%s", r->target->root,
             r->args->metrics ? r->args->metrics : "/metrics");
    int rc = fetch(r->target, path, &o, &body, &status, &e);
    if (!rc && status != 200) {
        rc = err_set(&e, EE_IO, "%s answered with status %d", path, status);
    }
    rc = rc ? rc : prometheus_take(&r->metrics, body.data, body.len, &e);
    if (rc) {
        snprintf(r->scrape_error, sizeof(r->scrape_error), "%.190s", e.msg);
    }
    buf_release(&body);
}

void around_tick(struct around *r) {
    if (r->scrapes && clock_mono_ns() >= r->next_scrape_ns) {
        r->next_scrape_ns = clock_mono_ns() + NS_PER_S;
        scrape(r);
    }
}

/* ---- the server ---- */

static int start_server(struct around *r, const char *dir, struct err *e) {
    const struct bench_args *a = r->args;
    int window = meter_window_open(r->meter, "cold start", METER_NO_PARENT, e);
    if (window < 0) {
        return window;
    }
    if (dir) {
        r->log_path = fs_join(dir, "server.log");
    }
    char *path = arena_alloc(&r->arena, 600);
    if (!path || (dir && !r->log_path)) {
        return err_set(e, EE_NOMEM, "out of memory");
    }
    snprintf(path, 600, "%.500s%s", r->target->root, a->ready ? a->ready : "/health");
    r->spec.ready_path = path;
    r->spec.ready_timeout_s = a->ready_timeout_s;
    r->spec.timeout_key = "--ready-timeout";
    r->spec.log_path = r->log_path;
    r->window = window;
    int rc = server_split(a->server, &r->arena, &r->spec.argv, e);
    rc = rc ? rc : server_spawn(&r->server, &r->spec, r->target, e);
    rc = rc ? rc : meter_watch_pid(r->meter, r->server.process.pid, e);
    return rc ? rc : server_wait_ready(&r->server, &r->spec, r->target, &stop_requested, e);
}

int around_begin(struct around *r, const struct bench_args *a, const struct target *t,
                 const char *auth, const char *dir, struct err *e) {
    *r = (struct around){.args = a, .target = t, .auth = auth};
    prometheus_init(&r->metrics);
    r->scrapes = t->host[0] && (a->metrics || a->server);
    int rc = a->energy || (a->server && t->host[0]) ? start_meter(r, e) : 0;
    return rc || !a->server || !t->host[0] ? rc : start_server(r, dir, e);
}

int around_first_token(struct around *r, const char *model, struct err *e) {
    if (!r->server.running) {
        return 0;
    }
    const struct workload_opts wo = {.input = {8, 8},
                                     .output = {1, 1},
                                     .n = 1,
                                     .model = model,
                                     .auth = r->auth,
                                     .seed = (uint64_t)r->args->seed};
    struct workload w = {0};
    struct bench b = {0};
    const struct calibration none = {.reason = "not asked to"};
    struct bench_opts o = {.target = *r->target,
                           .workload = wo,
                           .levels = {.n = 1, .steps = {{1, 1, (double)INFINITY}}},
                           .count = 1,
                           .stop = &stop_requested};
    o.ops = transport_for(r->args->http2);
    o.transport = (struct transport_opts){
        .max_connections = 1,
        .connect_timeout_ns = (int64_t)(r->args->connect_timeout_s * 1e9),
        .stall_ns = (int64_t)(r->args->stall_s * 1e9),
        .timeout_ns = (int64_t)(r->args->timeout_s * 1e9),
        .http2 = r->args->http2,
        .insecure = r->args->insecure,
        .ca_file = r->args->ca_file,
        .auth = r->auth};
    int rc = workload_make(&wo, r->target, &w, e);
    rc = rc ? rc : bench_run(&b, &o, &w, &none, e);
    if (!rc && b.measures.figures[FIG_TTFT].n == 0) {
        enum outcome how = b.measures.n ? b.measures.rows[0].outcome : OUTCOME_CUT;
        rc = err_set(e, EE_FAIL, "the server is ready and its first request failed: %s; %.150s",
                     outcome_meaning(how), b.measures.messages[how]);
    }
    if (!rc) {
        r->first_token_s = b.measures.figures[FIG_TTFT].p[0];
        rc = meter_window_close(r->meter, r->window, &r->cold_start, e);
        r->has_cold_start = !rc;
    }
    bench_release(&b);
    workload_release(&w);
    return rc;
}

int around_edge(void *around, bool begins, struct err *e) {
    struct around *r = around;
    if (r->scrapes) {
        scrape(r);
        r->next_scrape_ns = clock_mono_ns() + NS_PER_S;
    }
    if (!r->meter) {
        return 0;
    }
    if (begins) {
        r->window = meter_window_open(r->meter, "load", METER_NO_PARENT, e);
        return r->window < 0 ? r->window : 0;
    }
    int rc = meter_window_close(r->meter, r->window, &r->load, e);
    r->has_load = !rc;
    return rc;
}

void around_end(struct around *r) {
    if (r->meter && r->server.running) {
        meter_unwatch_pid(r->meter, r->server.process.pid);
    }
    server_stop(&r->server);
    meter_stop(r->meter);
    prometheus_release(&r->metrics);
    arena_release(&r->arena);
    free(r->log_path);
    *r = (struct around){0};
}

/* ---- what comes of it ---- */

static json_t *num(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *component_json(const struct component_reading *c) {
    bool missing = c->quality == METER_MISSING;
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s}", "name", c->name, "source", c->source, "quality",
        meter_quality_name(c->quality), "joules", missing ? json_null() : num(c->joules), "low_j",
        missing ? json_null() : num(c->low_j), "high_j", missing ? json_null() : num(c->high_j),
        "mean_w", missing ? json_null() : num(c->mean_w), "reason", c->reason);
}

static json_t *reading_json(const struct meter_reading *reading, struct meter_total *t) {
    meter_total(reading, NULL, 0, t);
    bool missing = t->quality == METER_MISSING;
    json_t *parts = json_array();
    for (size_t i = 0; i < reading->n; i++) {
        json_array_append_new(parts, component_json(&reading->c[i]));
    }
    return json_pack("{s:f, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:b, s:o}", "seconds",
                     clock_ns_to_s(reading->end_ns - reading->start_ns), "quality",
                     meter_quality_name(t->quality), "scope", t->scope, "joules",
                     missing ? json_null() : num(t->joules), "low_j",
                     missing ? json_null() : num(t->low_j), "high_j",
                     missing ? json_null() : num(t->high_j), "mean_w",
                     missing ? json_null() : num(t->mean_w), "above_idle_j",
                     !missing && t->has_idle ? num(t->above_idle_j) : json_null(), "reason",
                     t->reason, "short", t->is_short, "components", parts);
}

/* Joules of the load over everything that was answered in it, warm-up included. */
static void add_shares(json_t *load, const struct meter_total *t, const struct measures *m) {
    size_t answers = 0;
    int64_t tokens = 0;
    bool counted = true;
    for (size_t i = 0; i < m->n; i++) {
        if (m->rows[i].outcome == OUTCOME_OK) {
            answers++;
            counted = counted && m->rows[i].output_tokens >= 0;
            tokens += m->rows[i].output_tokens;
        }
    }
    bool known = t->quality != METER_MISSING && answers > 0;
    json_object_set_new(load, "per_request_j",
                        known ? num(t->joules / (double)answers) : json_null());
    json_object_set_new(load, "per_output_token_j",
                        known && counted && tokens > 0 ? num(t->joules / (double)tokens)
                                                       : json_null());
}

static json_t *server_json(const struct around *r) {
    const struct server *s = &r->server;
    double port_s = clock_ns_to_s(s->port_ns - s->exec_ns);
    double ready_s = clock_ns_to_s(s->ready_ns - s->exec_ns);
    json_t *command = json_array();
    for (const char *const *w = r->spec.argv; *w; w++) {
        json_array_append_new(command, json_string(*w));
    }
    return json_pack("{s:o, s:s, s:f, s:f, s:f, s:f}", "command", command, "ready_path",
                     r->spec.ready_path, "port_open_s", port_s, "ready_s", ready_s,
                     "first_request_ttft_s", r->first_token_s, "cold_start_s",
                     ready_s + r->first_token_s);
}

void around_add(const struct around *r, const struct measures *m, json_t *result) {
    struct meter_total t;
    if (r->args->server && r->spec.argv) {
        json_object_set_new(result, "server", server_json(r));
    }
    if (r->meter) {
        json_t *energy = json_object();
        if (r->has_cold_start) {
            json_object_set_new(energy, "cold_start", reading_json(&r->cold_start, &t));
        }
        if (r->has_load) {
            json_t *load = reading_json(&r->load, &t);
            add_shares(load, &t, m);
            json_object_set_new(energy, "load", load);
        }
        json_object_set_new(result, "energy", energy);
    }
    if (r->scrapes) {
        json_t *metrics = prometheus_json(&r->metrics);
        json_object_set_new(metrics, "error",
                            r->scrape_error[0] ? json_string(r->scrape_error) : json_null());
        json_object_set_new(result, "server_metrics", metrics);
    }
}
