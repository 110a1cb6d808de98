#include "serve/inprocess.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_PARALLEL = 8,
    MAX_REQUESTS = 1000000,
    REQUESTS_A_SECOND = 200, /* more than a place can answer */
};

struct run {
    struct engine *engine;
    struct bench *bench;
    struct workload *w;
    struct engine_request *requests;
    struct engine_result *results;
    size_t n;
    struct arena arena;
    struct log_store *store;
};

static int no_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "in process: out of memory");
}

/* ---- before ---- */

static int check_load(const struct bench_opts *o, const struct workload *w, struct err *e) {
    if (o->levels.n != 1 || o->levels.steps[0].from != o->levels.steps[0].to) {
        if (!o->open_loop) {
            return err_set(e, EE_UNSUPPORTED,
                           "in process the concurrency cannot change: give one number");
        }
    }
    if (workload_has_turns(w)) {
        return err_set(e, EE_UNSUPPORTED, "conversations need a server");
    }
    return 0;
}

static int longest_request(const struct workload *w) {
    size_t longest = 0;
    for (size_t i = 0; i < w->n; i++) {
        size_t n = w->prompts[i].n_tokens + (size_t)w->prompts[i].max_tokens;
        longest = n > longest ? n : longest;
    }
    return (int)longest;
}

static size_t parallel_of(const struct bench_opts *o, const struct inprocess_opts *in) {
    if (in->n_parallel > 0) {
        return (size_t)in->n_parallel;
    }
    return o->open_loop ? DEFAULT_PARALLEL : (size_t)levels_max(&o->levels);
}

/* Prompts by the vocabulary alone, so that the context can be made to fit them. */
static int make_prompts(struct workload *w, const struct workload_opts *wo, enum api api,
                        const char *model, struct err *e) {
    const struct target nowhere = {.api = api};
    struct workload_opts opts = *wo;
    int rc = engine_open_vocabulary(model, &opts.vocabulary, e);
    rc = rc ? rc : workload_make(&opts, &nowhere, w, e);
    engine_close(opts.vocabulary);
    w->opts.vocabulary = NULL;
    return rc;
}

static int make_requests(struct run *r, struct err *e) {
    const struct bench *b = r->bench;
    const struct bench_opts *o = &b->opts;
    if (o->open_loop) {
        r->n = b->load.n_arrivals;
    } else if (o->count) {
        r->n = o->count;
    } else {
        double most = (o->warmup_s + o->duration_s) * levels_max(&o->levels) * REQUESTS_A_SECOND;
        r->n = most < MAX_REQUESTS ? (size_t)most + 1 : MAX_REQUESTS;
    }
    r->requests = arena_array(&r->arena, r->n, sizeof(*r->requests));
    r->results = arena_array(&r->arena, r->n, sizeof(*r->results));
    if (!r->requests || !r->results) {
        return no_memory(e);
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct ask *p = &r->w->prompts[i % r->w->n];
        r->requests[i] = (struct engine_request){.prompt = p->tokens,
                                                 .n_prompt = p->n_tokens,
                                                 .max_tokens = p->max_tokens,
                                                 .force_length = o->workload.force_length};
    }
    return 0;
}

/* ---- after: results as records ---- */

/* Bytes at the end that begin a character and do not finish it. */
static size_t unfinished(const char *s, size_t len) {
    for (size_t k = 1; k <= 3 && k <= len; k++) {
        unsigned char c = (unsigned char)s[len - k];
        size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (need > 1) {
            return need > k ? k : 0;
        }
        if (c < 0x80) {
            return 0;
        }
    }
    return 0;
}

static int add_event(struct event_writer *log, int64_t ns, json_t *chunk, struct buf *line,
                     struct err *e) {
    buf_clear(line);
    buf_addstr(line, "data: ");
    int rc = chunk ? json_write(chunk, line, e) : no_memory(e);
    json_decref(chunk);
    buf_addch(line, '\n');
    if (!rc) {
        event_writer_add(log, ns, true, false, line->data, line->len);
        event_writer_keep(log);
    }
    return rc;
}

/* A chunk a token, as a server would send: a token that ends within a character adds no text yet. */
static int add_tokens(const struct run *r, const struct engine_result *res,
                      struct event_writer *log, struct buf *line, struct err *e) {
    struct buf held;
    struct buf text;
    buf_init(&held);
    buf_init(&text);
    int rc = 0;
    for (size_t i = 0; i < res->n_tokens && !rc; i++) {
        engine_token_bytes(r->engine, res->tokens[i], &held);
        size_t keep = unfinished(held.data, held.len);
        if (held.len > keep) {
            buf_clear(&text);
            utf8_add_repaired(&text, held.data, held.len - keep);
            rc = add_event(log, res->token_ns[i],
                           json_pack("{s:[{s:i, s:{s:s}, s:n}]}", "choices", "index", 0, "delta",
                                     "content", text.data, "finish_reason"),
                           line, e);
            memmove(held.data, held.data + held.len - keep, keep);
            held.len = keep;
        }
    }
    buf_release(&held);
    buf_release(&text);
    return rc;
}

static int add_log(const struct run *r, const struct engine_request *q,
                   const struct engine_result *res, struct event_writer *log, struct err *e) {
    struct buf line;
    buf_init(&line);
    int rc = 0;
    if (res->finish == ENGINE_ERROR) {
        rc = add_event(log, res->done_ns, json_pack("{s:{s:s?}}", "error", "message", res->error),
                       &line, e);
    } else {
        /* The token that ends an answer was computed like the others, and servers count it. */
        json_int_t n = (json_int_t)res->n_tokens + (res->finish == ENGINE_STOP);
        rc = add_tokens(r, res, log, &line, e);
        rc = rc || !res->done_ns
                 ? rc
                 : add_event(log, res->done_ns,
                             json_pack("{s:[{s:{}, s:s}], s:{s:I, s:I}}", "choices", "delta",
                                       "finish_reason",
                                       res->finish == ENGINE_STOP ? "stop" : "length", "usage",
                                       "prompt_tokens", (json_int_t)q->n_prompt,
                                       "completion_tokens", n),
                             &line, e);
        if (!rc && res->done_ns) {
            static const char done[] = "data: [DONE]\n";
            event_writer_add(log, res->done_ns, false, false, done, sizeof(done) - 1);
        }
    }
    buf_release(&line);
    return rc;
}

static int fill_record(const struct run *r, size_t i, struct record *rec, struct event_writer *log,
                       struct err *e) {
    const struct engine_result *res = &r->results[i];
    const struct engine_request *q = &r->requests[i];
    rec->scheduled_ns = q->arrive_ns ? q->arrive_ns : res->queued_ns;
    rec->begun_ns = res->queued_ns;
    rec->sent_ns = rec->scheduled_ns;
    rec->ended_ns = res->done_ns ? res->done_ns : clock_mono_ns();
    rec->first_byte_ns = res->n_tokens ? res->token_ns[0] : 0;
    rec->prompt = (uint32_t)(i % r->w->n);
    rec->status = 200;
    rec->outcome = (uint8_t)(res->finish == ENGINE_ERROR && res->done_ns ? OUTCOME_ENGINE
                             : res->done_ns                              ? OUTCOME_OK
                                                                         : OUTCOME_CUT);
    event_writer_begin(log, rec->sent_ns);
    int rc = add_log(r, q, res, log, e);
    rec->n_events = log->n;
    rec->log_len = (uint32_t)log->out.len;
    rec->log = log_store_add(r->store, log->out.data, log->out.len);
    return rc || (rec->log && !event_writer_failed(log)) ? rc : no_memory(e);
}

static int make_records(struct run *r, struct load_result *out, struct err *e) {
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        n += r->results[i].queued_ns != 0;
    }
    int64_t start_ns = out->start_ns;
    int64_t end_ns = out->end_ns;
    int rc = load_result_reserve(out, n, e);
    if (rc) {
        return rc;
    }
    struct event_writer log;
    event_writer_init(&log);
    out->start_ns = start_ns;
    out->end_ns = end_ns;
    size_t k = 0;
    for (size_t i = 0; i < r->n && !rc; i++) {
        if (r->results[i].queued_ns) {
            struct record *rec = out->records[k++];
            rc = fill_record(r, i, rec, &log, e);
            out->last_begin_ns = rec->scheduled_ns > out->last_begin_ns ? rec->scheduled_ns
                                                                        : out->last_begin_ns;
        }
    }
    event_writer_release(&log);
    return rc;
}

/* ---- the run ---- */

static void on_progress(size_t n_done, int64_t n_tokens, void *ctx) {
    const struct bench *b = ctx;
    (void)n_tokens;
    if (b->opts.progress) {
        b->opts.progress(b->opts.progress_ctx, clock_ns_to_s(clock_mono_ns() - b->result.start_ns),
                         n_done, n_done, 0);
    }
}

/* Touches weights, caches and code once, so that the first request does not pay for it. */
static int warm_up(struct run *r, struct err *e) {
    struct arena a = ARENA_INIT;
    struct engine_request q = r->requests[0];
    q.max_tokens = 2;
    q.force_length = true;
    q.arrive_ns = 0;
    const struct engine_workload work = {.requests = &q, .n_requests = 1, .concurrency = 1};
    struct engine_result result;
    struct engine_run_stats stats;
    int rc = engine_run(r->engine, &work, &a, &result, &stats, e);
    arena_release(&a);
    return rc;
}

static int run_engine(struct run *r, size_t parallel, struct err *e) {
    struct bench *b = r->bench;
    const struct bench_opts *o = &b->opts;
    int rc = warm_up(r, e);
    rc = rc || !o->edge ? rc : o->edge(o->edge_ctx, true, e);
    b->result.start_ns = clock_mono_ns();
    for (size_t i = 0; i < r->n && o->open_loop; i++) {
        r->requests[i].arrive_ns = b->result.start_ns + b->load.arrivals[i];
    }
    const struct engine_workload work = {
        .requests = r->requests,
        .n_requests = r->n,
        .concurrency = (int)parallel,
        .sampling = {.temperature = o->workload.temperature, .seed = (uint32_t)o->seed},
        .progress = on_progress,
        .progress_ctx = b,
        .until_ns = o->open_loop || o->count
                        ? 0
                        : b->result.start_ns + (int64_t)((o->warmup_s + o->duration_s) * 1e9),
        .stop = o->stop,
    };
    struct engine_run_stats stats;
    rc = rc ? rc : engine_run(r->engine, &work, &r->arena, r->results, &stats, e);
    b->result.end_ns = clock_mono_ns();
    return rc || !o->edge ? rc : o->edge(o->edge_ctx, false, e);
}

static int open_engine(struct run *r, const struct inprocess_opts *in, size_t parallel,
                       struct err *e) {
    struct engine_opts eo = in->engine;
    struct engine_times times;
    eo.n_seq_max = eo.n_seq_max ? eo.n_seq_max : (int)parallel;
    eo.n_ctx_seq = eo.n_ctx_seq ? eo.n_ctx_seq : longest_request(r->w);
    return engine_open(&eo, &r->engine, &times, e);
}

int inprocess_bench(struct bench *b, const struct bench_opts *opts, const struct inprocess_opts *in,
                    struct workload *w, struct err *e) {
    static const struct calibration none = {.reason = "there is no client between"};
    *b = (struct bench){.opts = *opts, .workload = w};
    struct run r = {.bench = b, .w = w};
    struct log_store store = {0};
    r.store = &store;
    clock_wall_iso8601(b->started_utc, sizeof(b->started_utc));
    int rc = make_prompts(w, &opts->workload, opts->target.api, in->engine.model_path, e);
    if (!rc && b->opts.count == 0 && b->opts.duration_s <= 0) {
        b->opts.count = w->n;
    }
    size_t parallel = parallel_of(&b->opts, in);
    rc = rc ? rc : check_load(&b->opts, w, e);
    rc = rc ? rc : bench_schedule(b, e);
    rc = rc ? rc : make_requests(&r, e);
    rc = rc ? rc : open_engine(&r, in, parallel, e);
    rc = rc ? rc : run_engine(&r, parallel, e);
    bool stopped = opts->stop && *opts->stop;
    rc = rc ? rc : make_records(&r, &b->result, e);
    b->result.stopped = stopped;
    rc = rc ? rc : bench_measure(b, e);
    engine_close(r.engine);
    arena_release(&r.arena);
    if (rc) {
        log_store_release(&store);
        bench_release(b);
        return rc;
    }
    load_result_keep_logs(&b->result, &store);
    verdict_make(&b->result, &b->measures, false, &none, &b->verdict);
    b->verdict.validity = VALID;
    b->verdict.reasons[0] = '\0';
    return 0;
}
