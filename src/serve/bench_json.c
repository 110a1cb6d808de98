/* A benchmark as JSON: everything the text shows, and what it is made of. */
#include "serve/bench.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/machine.h"
#include "serve/raw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *num(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *seconds_of(int64_t from_ns, int64_t to_ns) {
    return from_ns && to_ns ? json_real(clock_ns_to_s(to_ns - from_ns)) : json_null();
}

static void put(json_t *o, const char *key, json_t *v) {
    json_object_set_new(o, key, v);
}

static json_t *count(size_t n) {
    return json_integer((json_int_t)n);
}

static json_t *summary_json(const struct summary *s) {
    json_t *o = json_object();
    put(o, "n", count(s->n));
    put(o, "mean_s", num(s->mean));
    put(o, "mean_low_s", num(s->mean_low));
    put(o, "mean_high_s", num(s->mean_high));
    put(o, "sd_s", num(s->sd));
    put(o, "min_s", num(s->min));
    put(o, "max_s", num(s->max));
    for (int i = 0; i < PERCENTILES; i++) {
        char key[32];
        const char *const parts[] = {"", "_low", "_high"};
        const double values[] = {s->p[i], s->low[i], s->high[i]};
        for (int k = 0; k < 3; k++) {
            snprintf(key, sizeof(key), "p%g%s_s", 100 * percentiles[i], parts[k]);
            put(o, key, num(values[k]));
        }
    }
    return o;
}

static json_t *levels_json(const struct levels *l) {
    json_t *a = json_array();
    for (size_t i = 0; i < l->n; i++) {
        json_array_append_new(a, json_pack("{s:f, s:f, s:o}", "from", l->steps[i].from, "to",
                                           l->steps[i].to, "seconds", num(l->steps[i].seconds)));
    }
    return a;
}

static json_t *settings_json(const struct bench *b) {
    static const char *const arrivals[] = {"constant", "poisson", "gamma", "bursty"};
    const struct bench_opts *o = &b->opts;
    char load[160];
    bench_describe_load(o, load, sizeof(load));
    json_t *s = json_object();
    put(s, "load", json_string(load));
    put(s, "loop", json_string(o->open_loop ? "open" : "closed"));
    if (o->open_loop) {
        bool trace = b->workload->arrivals != NULL;
        put(s, "arrival", json_string(trace ? "trace" : arrivals[o->arrival.kind]));
        put(s, "cv", o->arrival.kind == ARRIVAL_GAMMA ? num(o->arrival.cv) : json_null());
        put(s, "burst",
            o->arrival.kind == ARRIVAL_BURSTY ? json_integer(o->arrival.burst) : json_null());
    }
    put(s, o->open_loop ? "rate" : "concurrency", levels_json(&o->levels));
    put(s, "count", o->count ? count(o->count) : json_null());
    put(s, "duration_s", o->duration_s > 0 ? num(o->duration_s) : json_null());
    put(s, "warmup_s", num(o->warmup_s));
    put(s, "seed", json_integer((json_int_t)o->seed));
    put(s, "loops", count(b->result.n_loops));
    put(s, "prompts", json_string(b->workload->description));
    put(s, "temperature", num(o->workload.temperature));
    put(s, "force_length", json_boolean(o->workload.force_length));
    put(s, "extra", o->workload.extra ? json_string(o->workload.extra) : json_null());
    put(s, "connect_timeout_s", num(clock_ns_to_s(o->transport.connect_timeout_ns)));
    put(s, "stall_s", num(clock_ns_to_s(o->transport.stall_ns)));
    put(s, "timeout_s", num(clock_ns_to_s(o->transport.timeout_ns)));
    return s;
}

static json_t *target_json(const struct bench *b) {
    const struct target *t = &b->opts.target;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "scheme", t->scheme, "host", t->host,
                     "port", t->port, "path", t->path, "api", t->api == API_CHAT ? "chat" : "text",
                     "model", b->opts.workload.model, "transport",
                     b->opts.ops ? b->opts.ops->name : "in process");
}

static json_t *calibration_json(const struct calibration *c) {
    json_t *o = json_object();
    put(o, "done", json_boolean(c->done));
    put(o, "reason", c->reason ? json_string(c->reason) : json_null());
    if (c->done) {
        put(o, "seconds", num(c->seconds));
        put(o, "requests", count(c->n));
        put(o, "failed", count(c->n_failed));
        put(o, "delivery", summary_json(&c->delivery));
        put(o, "write_mean_s", num(c->write_mean_s));
        put(o, "floor_p50_s", num(calibration_floor_s(c, 0)));
        put(o, "floor_p99_s", num(calibration_floor_s(c, 3)));
        put(o, "send_lag", summary_json(&c->send_lag));
        put(o, "busy", num(c->busy));
        put(o, "shared_cpu", json_boolean(c->shared_cpu));
    }
    return o;
}

/* How long bytes lay in the kernel before they were read; null where it told of none. */
static json_t *read_waits_json(const uint64_t *n, uint64_t total) {
    if (total == 0) {
        return json_null();
    }
    json_t *o = json_pack("{s:I}", "reads", (json_int_t)total);
    uint64_t below = 0;
    for (int k = 0; k < READ_WAITS; k++) {
        below += n[k];
        const struct {
            const char *key;
            double share;
        } bounds[] = {{"p50_below_s", 0.5}, {"p99_below_s", 0.99}, {"max_below_s", 1}};
        for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
            if (!json_object_get(o, bounds[i].key) &&
                (double)below >= bounds[i].share * (double)total) {
                put(o, bounds[i].key, json_real(clock_ns_to_s(INT64_C(1) << k)));
            }
        }
    }
    return o;
}

/* Whose times events have, how many reads had the kernel's, and how late reads were by it. */
static void put_timestamps(const struct bench *b, json_t *client) {
    const struct transport_ops *ops = b->opts.ops;
    uint64_t n[READ_WAITS] = {0};
    uint64_t by_kernel = 0;
    uint64_t reads = 0;
    uint64_t steps = 0;
    for (size_t i = 0; i < b->result.n_loops; i++) {
        const struct transport_stats *st = &b->result.loops[i].stats;
        reads += st->reads;
        steps += st->clock_steps;
        for (int k = 0; k < READ_WAITS; k++) {
            n[k] += st->read_waits[k];
            by_kernel += st->read_waits[k];
        }
    }
    bool kernel = ops && ops->has_kernel_times && !b->opts.transport.read_times;
    put(client, "timestamps", ops ? json_string(kernel ? "kernel" : "read") : json_null());
    put(client, "timestamps_reason",
        ops && !ops->has_kernel_times && !b->opts.transport.read_times
            ? json_string("HTTP/2 is read by libcurl, which does not pass the kernel's times on")
            : json_null());
    put(client, "reads", count(reads));
    put(client, "reads_by_kernel", count(by_kernel));
    put(client, "clock_steps", count(steps));
    put(client, "read_waits", read_waits_json(n, by_kernel));
    put(client, "write_mean_s", num(load_write_mean_s(&b->result)));
}

json_t *bench_client_json(const struct bench *b) {
    const struct verdict *v = &b->verdict;
    json_t *lags = json_array();
    for (int i = 0; i < LAG_BUCKETS; i++) {
        json_array_append_new(lags,
                              json_pack("{s:o, s:I}", "below_s",
                                        i < LAG_BUCKETS - 1 ? num(lag_limits_s[i]) : json_null(),
                                        "n", (json_int_t)v->lag[i]));
    }
    json_t *loops = json_array();
    for (size_t i = 0; i < b->result.n_loops; i++) {
        const struct loop_result *l = &b->result.loops[i];
        json_array_append_new(
            loops,
            json_pack("{s:f, s:f, s:I, s:I, s:I}", "cpu_s", clock_ns_to_s(l->cpu_ns), "wall_s",
                      clock_ns_to_s(l->wall_ns), "connections", (json_int_t)l->stats.opened,
                      "reads", (json_int_t)l->stats.reads, "bytes", (json_int_t)l->stats.bytes_in));
    }
    json_t *o = json_pack("{s:s, s:s, s:f, s:o, s:o, s:o, s:o, s:f, s:I, s:I}", "verdict",
                          validity_name(v->validity), "reasons", v->reasons, "busy", v->busy,
                          "send_lag_p99_s", num(v->lag_p99_s), "send_lag_histogram", lags, "loops",
                          loops, "calibration", calibration_json(&v->calibration), "connect_s",
                          b->result.connect_s, "peak_rss_bytes",
                          (json_int_t)b->result.peak_rss_bytes, "anonymous_bytes",
                          (json_int_t)b->result.anon_rss_bytes);
    put_timestamps(b, o);
    return o;
}

static json_t *outcomes_json(const struct measures *m) {
    json_t *o = json_object();
    for (int i = 0; i < OUTCOMES; i++) {
        if (m->outcomes[i] > 0) {
            json_t *row = json_pack("{s:I, s:s}", "n", (json_int_t)m->outcomes[i], "meaning",
                                    outcome_meaning((enum outcome)i));
            if (i != OUTCOME_OK && m->messages[i][0]) {
                put(row, "first_message", json_string(m->messages[i]));
            }
            put(o, outcome_name((enum outcome)i), row);
        }
    }
    return o;
}

static json_t *statuses_json(const struct measures *m) {
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof(m->statuses) / sizeof(m->statuses[0]) && m->statuses[i].n; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", m->statuses[i].status);
        put(o, key, count(m->statuses[i].n));
    }
    return o;
}

static json_t *requests_json(const struct measures *m) {
    json_t *o = json_object();
    put(o, "all", count(m->n));
    put(o, "warmup", count(m->n_warmup));
    put(o, "measured", count(m->n_measured));
    put(o, "ok", count(m->outcomes[OUTCOME_OK]));
    put(o, "failed", count(m->n_failed));
    put(o, "cut", count(m->outcomes[OUTCOME_CUT]));
    put(o, "outcomes", outcomes_json(m));
    put(o, "statuses", statuses_json(m));
    put(o, "without_done", count(m->n_no_done));
    put(o, "fresh_connections", count(m->n_fresh));
    put(o, "sent_again", count(m->n_sent_again));
    return o;
}

static json_t *tokens_json(const struct measures *m, bool has_vocabulary) {
    const struct token_check *c = &m->check;
    json_t *o = json_object();
    bool counted = m->outcomes[OUTCOME_OK] > 0 && m->n_no_usage == 0;
    put(o, "prompt", counted ? json_integer(m->prompt_tokens) : json_null());
    put(o, "output", counted ? json_integer(m->output_tokens) : json_null());
    put(o, "cached", counted ? json_integer(m->cached_tokens) : json_null());
    put(o, "source", json_string("usage"));
    put(o, "answers_without_usage", count(m->n_no_usage));
    put(o, "answers_without_event_tokens", count(m->n_no_event_tokens));
    put(o, "events", count(m->n_events));
    put(o, "coalesced_events", count(m->n_coalesced));
    if (has_vocabulary) {
        put(o, "check",
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "prompts", (json_int_t)c->n_prompts,
                      "prompts_equal", (json_int_t)c->n_prompts_equal, "prompt_difference",
                      (json_int_t)c->prompt_difference, "answers", (json_int_t)c->n_answers,
                      "answers_equal", (json_int_t)c->n_answers_equal, "answer_difference",
                      (json_int_t)c->answer_difference));
    }
    return o;
}

static json_t *throughput_json(const struct measures *m) {
    const struct window *w = &m->window;
    json_t *steady = json_object();
    put(steady, "found", json_boolean(w->is_steady));
    put(steady, "reason", w->reason ? json_string(w->reason) : json_null());
    put(steady, "begin_s", num(w->begin_s));
    put(steady, "end_s", num(w->end_s));
    put(steady, "output_tokens_per_s", num(w->output_rate));
    put(steady, "input_tokens_per_s", num(w->input_rate));
    put(steady, "requests_per_s", num(w->request_rate));
    json_t *whole = json_object();
    put(whole, "seconds", num(m->whole_s));
    put(whole, "output_tokens_per_s", num(m->output_rate));
    put(whole, "input_tokens_per_s", num(m->input_rate));
    put(whole, "requests_per_s", num(m->request_rate));
    return json_pack("{s:o, s:o}", "steady", steady, "whole", whole);
}

static json_t *goodput_json(const struct measures *m) {
    json_t *limits = json_object();
    for (size_t i = 0; i < m->slos.n; i++) {
        put(limits, figure_infos[m->slos.at[i].figure].id, num(m->slos.at[i].limit_s));
    }
    return json_pack("{s:o, s:I, s:o, s:o}", "limits_s", limits, "met", (json_int_t)m->n_met,
                     "attained", num(m->attained), "requests_per_s", num(m->goodput));
}

json_t *measures_json(const struct measures *m, bool has_vocabulary) {
    json_t *o = json_object();
    put(o, "requests", requests_json(m));
    put(o, "tokens", tokens_json(m, has_vocabulary));
    put(o, "throughput", throughput_json(m));
    if (m->slos.n > 0) {
        put(o, "goodput", goodput_json(m));
    }
    json_t *latency = json_object();
    for (int f = 0; f < FIGURES; f++) {
        if (m->figures[f].n > 0 || !figure_infos[f].is_rare) {
            put(latency, figure_infos[f].id, summary_json(&m->figures[f]));
        }
    }
    put(o, "latency", latency);
    return o;
}

/* What measuring the records again needs beside them. */
static json_t *raw_json(const struct bench *b) {
    const struct load_result *l = &b->result;
    int64_t measured_from_ns = l->start_ns + (int64_t)(b->opts.warmup_s * 1e9);
    return json_pack("{s:I, s:I, s:I, s:I}", "start_ns", (json_int_t)l->start_ns,
                     "measured_from_ns", (json_int_t)measured_from_ns, "last_begin_ns",
                     (json_int_t)l->last_begin_ns, "end_ns", (json_int_t)l->end_ns);
}

json_t *bench_json(const struct bench *b) {
    struct machine machine;
    machine_describe(&machine);
    json_t *o = json_object();
    put(o, "format", json_string("edge-eval bench 1"));
    put(o, "version", json_string(EDGE_EVAL_VERSION));
    put(o, "started_utc", json_string(b->started_utc));
    put(o, "client_machine",
        json_pack("{s:s, s:s, s:i}", "cpu", machine.cpu_model, "kernel", machine.kernel,
                  "hw_threads", machine.hw_threads));
    put(o, "target", target_json(b));
    put(o, "settings", settings_json(b));
    put(o, "client", bench_client_json(b));
    put(o, "stopped", json_boolean(b->result.stopped));
    put(o, "load_s", seconds_of(b->result.start_ns, b->result.end_ns));
    json_t *figures = measures_json(&b->measures, b->opts.workload.vocabulary != NULL);
    json_object_update(o, figures);
    json_decref(figures);
    put(o, "raw", raw_json(b));
    return o;
}

int bench_reread(const char *path, const struct slo_set *slos, json_t **document,
                 struct load_result *load, struct measures *m, struct err *e) {
    int rc = raw_read(path, document, load, e);
    if (rc) {
        return rc;
    }
    const json_t *raw = json_object_get(*document, "raw");
    load->start_ns = json_int_or(raw, "start_ns", 0);
    load->last_begin_ns = json_int_or(raw, "last_begin_ns", 0);
    load->end_ns = json_int_or(raw, "end_ns", 0);
    struct measure_opts mo = {.measured_from_ns = json_int_or(raw, "measured_from_ns", 0),
                              .slos = *slos};
    rc = measure(load, &mo, m, e);
    if (rc) {
        load_result_release(load);
        json_decref(*document);
        *document = NULL;
        return rc;
    }
    json_t *check = json_incref(json_object_get(json_object_get(*document, "tokens"), "check"));
    json_t *figures = measures_json(m, false);
    json_object_update(*document, figures);
    if (check) { /* the vocabulary is not at hand again */
        json_object_set(json_object_get(*document, "tokens"), "check", check);
    }
    json_decref(check);
    json_decref(figures);
    return 0;
}
