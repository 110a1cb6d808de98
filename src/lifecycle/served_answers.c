/* The serve stage of a variant behind a server: the task's items as the plan's load, and the answers. */
#include "base/clock.h"
#include "base/json.h"
#include "lifecycle/served.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Cached prompt tokens past this share of all say that the figures are not of prompts new to it. */
static const double max_cached_share = 0.5;

struct answering {
    struct served s;
    int64_t stage_id;
    int window;
    char window_name[32];
    int64_t n_ok, n_failed;
    int64_t prompt_tokens, output_tokens, cached_tokens;
    int64_t n_unknown_events; /* answers whose tokens were not told event by event */
    double duration_s;
    char first_error[256];
    enum validity validity;
    json_t *clients; /* what the client says of itself, a repeat each */
    json_t *idle;    /* power with the server waiting; NULL: not measured */
};

/* ---- energy ---- */

/* What would be measured is not what answers: said, and never 0. */
static int put_no_energy(const struct answering *a, const char *why, int64_t start_ns,
                         struct err *e) {
    const double unknown = (double)NAN;
    const struct store_energy row = {.window = a->window_name,
                                     .start_ns = (double)start_ns,
                                     .end_ns = (double)clock_mono_ns(),
                                     .component = "total",
                                     .scope = "",
                                     .source = "none",
                                     .quality = "missing",
                                     .joules = unknown,
                                     .low_j = unknown,
                                     .high_j = unknown,
                                     .above_idle_j = unknown,
                                     .idle_w = unknown,
                                     .mean_w = unknown,
                                     .peak_w = unknown,
                                     .coverage = unknown,
                                     .reason = why};
    return store_energy_put(a->s.run->store, a->stage_id, &row, e);
}

/* served_load.edge: the window holds the load alone. */
static int on_edge(void *ctx, bool begins, struct err *e) {
    struct answering *a = ctx;
    struct run *r = a->s.run;
    if (begins) {
        a->window = meter_window_open(r->meter, a->window_name, METER_NO_PARENT, e);
        return a->window < 0 ? a->window : 0;
    }
    struct meter_reading reading;
    int rc = meter_window_close(r->meter, a->window, &reading, e);
    const char *gap = served_energy_gap(&a->s);
    if (!rc && gap) {
        return put_no_energy(a, gap, reading.start_ns, e);
    }
    return rc ? rc : energy_rows_put(r->store, a->stage_id, &reading, e);
}

/* ---- rows ---- */

/* A time for each token; n_tokens 0 where nobody told which event brought how many. */
static int64_t *token_times(const struct reply *p, int64_t came, struct arena *arena, size_t *n) {
    int64_t *ns = came > 0 ? arena_array(arena, (size_t)came, sizeof(*ns)) : NULL;
    *n = 0;
    if (!ns || !reply_knows_event_tokens(p, came)) {
        return NULL;
    }
    for (size_t i = 0; i < p->n_events; i++) {
        for (uint32_t k = reply_event_tokens(p, came, i); k > 0; k--) {
            ns[(*n)++] = p->events[i].ns;
        }
    }
    return ns;
}

static int put_answer(struct answering *a, int64_t repeat, const struct record *record,
                      const struct reply *p, struct err *e) {
    struct run *r = a->s.run;
    const struct task_set *set = &r->tasks[a->s.variant->task->kind];
    bool ok = p->outcome == OUTCOME_OK;
    int64_t came = reply_tokens(p);
    char error[300] = "";
    struct arena arena = ARENA_INIT;
    if (ok && (came < 0 || p->prompt_tokens < 0)) {
        return err_set(e, EE_UNSUPPORTED,
                       "the server sent no usage with its answers, so that nobody knows how many "
                       "tokens they have; it must honour stream_options.include_usage");
    }
    if (!ok) {
        served_failure(record, p, error, sizeof(error));
    }
    struct store_request q = {
        .repeat = (int)repeat,
        .ordinal = (int)record->prompt,
        .item_id = set->items[record->prompt].id,
        .status = ok ? "ok" : "failed",
        .finish = !ok            ? "error"
                  : p->finish[0] ? p->finish
                                 : "stop",
        .error = ok ? NULL : error,
        .prompt_tokens = ok ? p->prompt_tokens : 0,
        .output_tokens = ok ? came : 0,
        .queued_ns = record->scheduled_ns,
        .started_ns = record->sent_ns ? record->sent_ns : record->scheduled_ns,
        .first_token_ns = ok ? p->first_token_ns : record->ended_ns,
        .last_token_ns = ok ? p->last_token_ns : record->ended_ns,
        .done_ns = record->ended_ns,
        .text = ok ? (p->content.data ? p->content.data : "") : NULL,
    };
    if (ok) {
        size_t n = 0;
        int64_t *ns = token_times(p, came, &arena, &n);
        a->n_unknown_events += n == 0;
        if (n && store_pack_events(&arena, ns, n, &q.events, &q.events_bytes, NULL)) {
            q.events = NULL;
            q.events_bytes = 0;
        }
        a->n_ok++;
        a->prompt_tokens += p->prompt_tokens;
        a->output_tokens += came;
        a->cached_tokens += p->cached_tokens > 0 ? p->cached_tokens : 0;
    } else {
        a->n_failed++;
        if (!a->first_error[0]) {
            snprintf(a->first_error, sizeof(a->first_error), "%.250s", error);
        }
    }
    int rc = store_request_put(r->store, a->stage_id, &q, e);
    arena_release(&arena);
    return rc;
}

/* Calls on_reply for each request of a load. */
static int each_reply(const struct bench *b,
                      int (*on_reply)(void *ctx, const struct record *record,
                                      const struct reply *reply, struct err *e),
                      void *ctx, struct err *e) {
    struct reply_reader reader;
    reply_reader_init(&reader);
    int rc = 0;
    for (size_t i = 0; i < b->result.n && !rc; i++) {
        const struct reply *p = reply_read(&reader, b->result.records[i]);
        rc = p ? on_reply(ctx, b->result.records[i], p, e)
               : err_set(e, EE_NOMEM, "answers: out of memory");
    }
    reply_reader_release(&reader);
    return rc;
}

struct repeat_rows {
    struct answering *a;
    int64_t repeat;
};

static int store_reply(void *ctx, const struct record *record, const struct reply *reply,
                       struct err *e) {
    const struct repeat_rows *rows = ctx;
    return put_answer(rows->a, rows->repeat, record, reply, e);
}

/* ---- the stage ---- */

/* Touches weights and caches once, so that the first repeat does not pay for it. */
static int warm_up(struct answering *a, struct err *e) {
    const struct served_load load = {
        .n_items = 1, .max_tokens = 2, .mark = "(warm-up) ", .alone = true};
    struct bench b;
    struct workload w;
    int rc = served_run(&a->s, &load, &b, &w, e);
    bench_release(&b);
    workload_release(&w);
    return rc;
}

/* What the loaded server draws while nobody asks. One that ran before the run did is in the machine's
 * own idle power, and tells nothing of the difference. */
static int measure_idle(struct answering *a, struct err *e) {
    struct run *r = a->s.run;
    if (r->plan.energy.idle_s <= 0 || meter_n_components(r->meter) == 0 || !a->s.watched ||
        served_energy_gap(&a->s)) {
        return 0;
    }
    int64_t begin_ns = clock_mono_ns();
    int rc = idle_measure_resident(r, a->s.variant, &a->idle, e);
    a->s.deadline_ns += clock_mono_ns() - begin_ns;
    return rc;
}

static int serve_once(struct answering *a, int64_t repeat, struct err *e) {
    const struct run *r = a->s.run;
    const struct served_load load = {.max_tokens = (int)a->s.variant->task->max_tokens,
                                     .force_length = r->plan.serve.lengths == LENGTHS_FORCED,
                                     .repeat = repeat,
                                     .edge = on_edge,
                                     .edge_ctx = a};
    struct repeat_rows rows = {a, repeat};
    struct bench b;
    struct workload w;
    snprintf(a->window_name, sizeof(a->window_name), "serve/%lld", (long long)repeat);
    a->s.n_before = a->n_ok + a->n_failed;
    int rc = served_run(&a->s, &load, &b, &w, e);
    rc = rc ? rc : each_reply(&b, store_reply, &rows, e);
    if (!rc) {
        /* From the first request's time to the last one's end. */
        a->duration_s += b.measures.whole_s;
        a->validity = b.verdict.validity > a->validity ? b.verdict.validity : a->validity;
        json_array_append_new(a->clients, bench_client_json(&b));
    }
    bench_release(&b);
    workload_release(&w);
    return rc;
}

static json_t *result_json(const struct answering *a) {
    const struct plan *p = &a->s.run->plan;
    bool is_open = p->serve.rate_per_s > 0;
    double seconds = a->duration_s;
    json_t *v = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:s, s:s, s:s, s:o, s:o}",
        "engine", p->server.name, "loop", is_open ? "open" : "closed", "requests",
        (json_int_t)(a->n_ok + a->n_failed), "ok", (json_int_t)a->n_ok, "failed",
        (json_int_t)a->n_failed, "prompt_tokens", (json_int_t)a->prompt_tokens, "cached_tokens",
        (json_int_t)a->cached_tokens, "output_tokens", (json_int_t)a->output_tokens,
        "answers_without_event_tokens", (json_int_t)a->n_unknown_events, "duration_s", seconds,
        "output_tokens_per_s", seconds > 0 ? (double)a->output_tokens / seconds : 0, "repeats",
        (json_int_t)p->serve.repeats, "device", a->s.run->device, "lengths",
        lengths_names[p->serve.lengths], "client_verdict", validity_name(a->validity), "client",
        json_incref(a->clients), "server", served_json(&a->s));
    json_object_set_new(v, "phases",
                        json_pack("{s:s}", "refused",
                                  "a server does not tell when it works on what: joules by phase "
                                  "are measured in process"));
    if (a->idle) {
        json_object_set(v, "idle", a->idle);
    }
    if (is_open) {
        json_object_set_new(v, "rate_per_s", json_real(p->serve.rate_per_s));
    } else {
        json_object_set_new(v, "concurrency", json_integer((json_int_t)p->serve.concurrency));
    }
    return v;
}

/* What a reader of the figures has to know. */
static void note_doubts(const struct answering *a) {
    const struct variant *v = a->s.variant;
    if (a->validity == INVALID) {
        run_note(a->s.run, "%s: the client itself was too slow: do not trust the latencies", v->id);
    }
    if ((double)a->cached_tokens > max_cached_share * (double)a->prompt_tokens) {
        run_note(
            a->s.run,
            "%s: the server had %.0f %% of the prompt tokens in its cache: its figures are not "
            "those of prompts that it sees for the first time",
            v->id, 100 * (double)a->cached_tokens / (double)a->prompt_tokens);
    }
}

static int serve_all(struct answering *a, struct err *e) {
    struct run *r = a->s.run;
    a->s.n_total = r->plan.serve.repeats * (int64_t)r->tasks[a->s.variant->task->kind].n_items;
    int rc = served_start(&a->s, e);
    rc = rc ? rc : warm_up(a, e);
    rc = rc ? rc : measure_idle(a, e);
    for (int64_t i = 0; i < r->plan.serve.repeats && !rc; i++) {
        rc = serve_once(a, i, e);
    }
    rc = rc ? rc : served_put_memory(&a->s, a->stage_id, e);
    if (!rc && a->n_ok == 0) {
        rc = err_set(e, EE_FAIL, "all %lld requests failed, the first because: %s",
                     (long long)a->n_failed, a->first_error);
    }
    return rc;
}

int serve_by_server(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                    struct err *e) {
    struct answering a = {.stage_id = stage_id, .clients = json_array()};
    int rc = served_open(&a.s, r, v, e);
    rc = rc ? rc : serve_all(&a, e);
    if (!rc) {
        if (!a.s.target.is_loopback) {
            rc = power_trace_end(r, 0, e); /* this machine's power is nothing of that server's */
        }
        *result = result_json(&a);
        note_doubts(&a);
    }
    served_close(&a.s);
    json_decref(a.clients);
    json_decref(a.idle);
    return rc;
}

/* ---- answers alone ---- */

struct answer_rows {
    const struct task_set *set;
    int64_t pass;
    int (*on_row)(const json_t *row, void *ctx, struct err *e);
    void *ctx;
};

static int give_reply(void *ctx, const struct record *record, const struct reply *reply,
                      struct err *e) {
    const struct answer_rows *rows = ctx;
    json_t *row = json_pack("{s:I, s:I, s:s, s:s, s:s}", "repeat", (json_int_t)rows->pass,
                            "ordinal", (json_int_t)record->prompt, "item",
                            rows->set->items[record->prompt].id, "status",
                            reply->outcome == OUTCOME_OK ? "ok" : "failed", "text",
                            reply->content.data ? reply->content.data : "");
    int rc = row ? rows->on_row(row, rows->ctx, e) : err_set(e, EE_NOMEM, "answers: out of memory");
    json_decref(row);
    return rc;
}

int answer_by_server(struct run *r, const struct variant *v, int64_t passes,
                     int (*on_row)(const json_t *row, void *ctx, struct err *e), void *ctx,
                     struct err *e) {
    struct served s;
    struct answer_rows rows = {&r->tasks[v->task->kind], 0, on_row, ctx};
    int rc = served_open(&s, r, v, e);
    rc = rc ? rc : served_start(&s, e);
    s.n_total = passes * (int64_t)rows.set->n_items;
    for (; rows.pass < passes && !rc; rows.pass++) {
        const struct served_load load = {.max_tokens = (int)v->task->max_tokens,
                                         .repeat = rows.pass};
        struct bench b;
        struct workload w;
        rc = served_run(&s, &load, &b, &w, e);
        rc = rc ? rc : each_reply(&b, give_reply, &rows, e);
        s.n_before += (int64_t)rows.set->n_items;
        bench_release(&b);
        workload_release(&w);
    }
    served_close(&s);
    return rc;
}
