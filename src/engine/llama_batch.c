/*
 * Continuous batching on libllama. A step holds one token of every running answer and, in what
 * room is left, chunks of prompts in the order the requests came. While many places wait for their
 * prompt, steps hold prompts only: the engine computes prompt chunks apart from single tokens
 * anyway, and answers that start together keep the batch full until they end. Tokens go into the
 * batch by place (sequence id), because the engine splits a batch at gaps in the sequence ids.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "engine/llama_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STOP_LOOK_MS = 50 }; /* so often a run that waits looks whether it is to stop */

struct place {
    bool busy;
    size_t request;
    size_t n_prefilled;
    int32_t n_kv;                  /* tokens of it in the cache */
    llama_token pending;           /* sampled, not yet decoded */
    int32_t output_row;            /* its row in this step's batch, -1 for none */
    size_t chunk;                  /* prompt tokens in this step */
    bool decodes;                  /* its pending token is in this step */
    struct llama_sampler *sampler; /* NULL with greedy sampling on the host */
};

struct run {
    struct engine *g;
    const struct engine_workload *work;
    struct engine_result *results;
    struct engine_run_stats *stats;
    struct arena *arena;
    struct place *places;
    struct llama_batch batch;
    size_t next_request;
    size_t n_done;
    int64_t n_output_tokens;
};

static bool is_greedy(const struct engine_sampling *s) {
    return s->temperature <= 0;
}

/* NULL where the grammar is wrong, or memory is out. */
static struct llama_sampler *make_sampler(const struct engine *g, const struct engine_sampling *s,
                                          uint32_t seed) {
    struct llama_sampler *grammar = s->grammar
                                        ? llama_sampler_init_grammar(g->vocab, s->grammar, "root")
                                        : NULL;
    if (s->grammar && !grammar) {
        return NULL;
    }
    struct llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (!chain) {
        if (grammar) {
            llama_sampler_free(grammar);
        }
        return NULL;
    }
    if (grammar) {
        llama_sampler_chain_add(chain, grammar);
    }
    if (is_greedy(s)) {
        llama_sampler_chain_add(chain, llama_sampler_init_greedy());
        return chain;
    }
    if (s->top_k > 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_top_k(s->top_k));
    }
    if (s->top_p > 0 && s->top_p < 1) {
        llama_sampler_chain_add(chain, llama_sampler_init_top_p((float)s->top_p, 1));
    }
    llama_sampler_chain_add(chain, llama_sampler_init_temp((float)s->temperature));
    llama_sampler_chain_add(chain, llama_sampler_init_dist(seed));
    return chain;
}

/* A request's own seed, so that its answer does not depend on which requests ran before it. */
static uint32_t request_seed(const struct engine_sampling *s, size_t request) {
    return s->seed * UINT32_C(2654435761) + (uint32_t)request + 1;
}

static int attach_samplers(struct run *r, struct err *e) {
    const struct engine_sampling *s = &r->work->sampling;
    if (is_greedy(s) && !s->grammar && !r->g->info.device_sampling) {
        return 0;
    }
    for (int i = 0; i < r->work->concurrency; i++) {
        r->places[i].sampler = make_sampler(r->g, s, s->seed);
        if (!r->places[i].sampler) {
            return s->grammar ? err_set(e, EE_FORMAT, "the grammar of the answers does not parse")
                              : err_set(e, EE_NOMEM, "sampling: out of memory");
        }
        if (r->g->info.device_sampling && !llama_set_sampler(r->g->ctx, i, r->places[i].sampler)) {
            r->g->info.device_sampling = false;
        }
    }
    return 0;
}

static void detach_samplers(struct run *r) {
    for (int i = 0; i < r->work->concurrency; i++) {
        if (r->places[i].sampler) {
            llama_set_sampler(r->g->ctx, i, NULL);
            llama_sampler_free(r->places[i].sampler);
        }
    }
}

/* Gives the place's sampler the state that the request's own seed starts with. */
static int reseed(struct run *r, struct place *p, struct err *e) {
    const struct engine_sampling *s = &r->work->sampling;
    if (!p->sampler || (is_greedy(s) && !s->grammar)) {
        return 0; /* nothing in it that an answer leaves behind */
    }
    struct llama_sampler *fresh = make_sampler(r->g, s, request_seed(s, p->request));
    if (!fresh) {
        return err_set(e, EE_NOMEM, "sampling: out of memory");
    }
    if (r->g->info.device_sampling) {
        /* Attaching another sampler would rebuild the compute graph; copying its state does not. */
        llama_sampler_copy(fresh, p->sampler);
        llama_sampler_free(fresh);
    } else {
        llama_sampler_free(p->sampler);
        p->sampler = fresh;
    }
    return 0;
}

static const char *refuse_request(struct run *r, const struct engine_request *q) {
    struct buf why;
    buf_init(&why);
    if (q->n_prompt == 0 || q->max_tokens < 1) {
        buf_addstr(&why, "empty prompt or no tokens asked for");
    } else if (q->n_prompt + (size_t)q->max_tokens > (size_t)r->g->info.n_ctx_seq) {
        buf_addf(&why, "prompt of %zu and answer of %d tokens do not fit the context of %d",
                 q->n_prompt, q->max_tokens, r->g->info.n_ctx_seq);
    } else if (q->n_prompt + (size_t)q->max_tokens > (size_t)llama_model_n_ctx_train(r->g->model)) {
        buf_addf(&why,
                 "prompt of %zu and answer of %d tokens pass the %d that the model was trained on",
                 q->n_prompt, q->max_tokens, llama_model_n_ctx_train(r->g->model));
    }
    const char *text = why.len ? arena_strdup(r->arena, why.data) : NULL;
    buf_release(&why);
    return text;
}

static void finish(struct run *r, size_t request, enum engine_finish how, int64_t now_ns) {
    r->results[request].finish = how;
    r->results[request].done_ns = now_ns;
    r->n_done++;
}

/* Room for the request's answer. */
static int make_result(struct run *r, size_t request, int64_t now_ns, struct err *e) {
    const struct engine_request *q = &r->work->requests[request];
    size_t room = q->max_tokens > 0 ? (size_t)q->max_tokens : 0;
    struct engine_result *res = &r->results[request];
    res->tokens = arena_array(r->arena, room, sizeof(int32_t));
    res->token_ns = arena_array(r->arena, room, sizeof(int64_t));
    res->queued_ns = now_ns;
    return res->tokens && res->token_ns ? 0 : err_set(e, EE_NOMEM, "answers: out of memory");
}

/* Whether the next request may be taken now. */
static bool has_next(const struct run *r, int64_t now_ns) {
    const struct engine_workload *w = r->work;
    return r->next_request < w->n_requests && (w->until_ns == 0 || now_ns < w->until_ns) &&
           w->requests[r->next_request].arrive_ns <= now_ns;
}

/* Fills free places, lowest first, with the next requests. */
static int admit(struct run *r, struct err *e) {
    int64_t now_ns = clock_mono_ns();
    for (int i = 0; i < r->work->concurrency; i++) {
        struct place *p = &r->places[i];
        while (!p->busy && has_next(r, now_ns)) {
            size_t request = r->next_request++;
            struct engine_result *res = &r->results[request];
            int rc = make_result(r, request, now_ns, e);
            if (rc) {
                return rc;
            }
            res->error = refuse_request(r, &r->work->requests[request]);
            if (res->error) {
                res->started_ns = now_ns;
                finish(r, request, ENGINE_ERROR, now_ns);
                continue;
            }
            *p = (struct place){.busy = true, .request = request, .sampler = p->sampler};
            rc = reseed(r, p, e);
            if (rc) {
                return rc;
            }
        }
    }
    return 0;
}

static bool is_prefilled(const struct run *r, const struct place *p) {
    return p->n_prefilled == r->work->requests[p->request].n_prompt;
}

/* Whether a step is for prompts alone: at least one place in five waits for its prompt. */
static bool is_prompt_step(const struct run *r) {
    int waiting = 0;
    int running = 0;
    for (int i = 0; i < r->work->concurrency; i++) {
        const struct place *p = &r->places[i];
        waiting += p->busy && !is_prefilled(r, p);
        running += p->busy && is_prefilled(r, p);
    }
    return waiting > 0 && waiting * 4 >= running;
}

/* Shares the step's room: running answers first, then prompts, oldest request first. */
static void share_room(struct run *r) {
    int room = r->g->n_batch;
    bool prompts_only = is_prompt_step(r);
    for (int i = 0; i < r->work->concurrency; i++) {
        struct place *p = &r->places[i];
        p->chunk = 0;
        p->output_row = -1;
        p->decodes = p->busy && is_prefilled(r, p) && !prompts_only;
        room -= p->decodes;
    }
    while (room > 0) {
        struct place *oldest = NULL;
        for (int i = 0; i < r->work->concurrency; i++) {
            struct place *p = &r->places[i];
            bool waits = p->busy && p->chunk == 0 && !is_prefilled(r, p);
            if (waits && (!oldest || p->request < oldest->request)) {
                oldest = p;
            }
        }
        if (!oldest) {
            break;
        }
        size_t left = r->work->requests[oldest->request].n_prompt - oldest->n_prefilled;
        oldest->chunk = left < (size_t)room ? left : (size_t)room;
        room -= (int)oldest->chunk;
    }
}

static void batch_add(struct llama_batch *b, llama_token token, int32_t pos, int seq, bool output) {
    int i = b->n_tokens++;
    b->token[i] = token;
    b->pos[i] = pos;
    b->n_seq_id[i] = 1;
    b->seq_id[i][0] = seq;
    b->logits[i] = output;
}

static void build_batch(struct run *r) {
    r->batch.n_tokens = 0;
    for (int i = 0; i < r->work->concurrency; i++) {
        struct place *p = &r->places[i];
        const struct engine_request *q = &r->work->requests[p->request];
        if (p->decodes) {
            p->output_row = r->batch.n_tokens;
            batch_add(&r->batch, p->pending, p->n_kv++, i, true);
            continue;
        }
        if (p->n_prefilled == 0 && p->chunk > 0) {
            r->results[p->request].started_ns = clock_mono_ns();
        }
        for (size_t k = 0; k < p->chunk; k++) {
            bool last = ++p->n_prefilled == q->n_prompt;
            if (last) {
                p->output_row = r->batch.n_tokens;
            }
            batch_add(&r->batch, q->prompt[p->n_prefilled - 1], p->n_kv++, i, last);
        }
    }
}

/* Index of the largest value; -1 when no value is a number. Eight chains hide the latency. */
static llama_token argmax(const float *x, int n) {
    enum { LANES = 8 };
    float best[LANES];
    for (int k = 0; k < LANES; k++) {
        best[k] = -INFINITY;
    }
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            best[k] = x[i + k] > best[k] ? x[i + k] : best[k];
        }
    }
    float top = -INFINITY;
    for (int k = 0; k < LANES; k++) {
        top = best[k] > top ? best[k] : top;
    }
    for (; i < n; i++) {
        top = x[i] > top ? x[i] : top;
    }
    for (i = 0; i < n; i++) {
        if (x[i] == top) {
            return i;
        }
    }
    return -1;
}

static llama_token sample(struct run *r, struct place *p) {
    struct engine *g = r->g;
    if (g->info.device_sampling) {
        llama_token token = llama_get_sampled_token_ith(g->ctx, p->output_row);
        if (token != LLAMA_TOKEN_NULL) {
            llama_sampler_accept(p->sampler, token);
            return token;
        }
    }
    if (p->sampler) {
        return llama_sampler_sample(p->sampler, g->ctx, p->output_row);
    }
    const float *logits = llama_get_logits_ith(g->ctx, p->output_row);
    return logits ? argmax(logits, g->n_vocab) : -1;
}

/* Takes the sampled token into the answer; frees the place when the answer is over. */
static void take_token(struct run *r, int seq, llama_token token, int64_t now_ns) {
    struct place *p = &r->places[seq];
    const struct engine_request *q = &r->work->requests[p->request];
    struct engine_result *res = &r->results[p->request];
    enum engine_finish how = q->force_length ? ENGINE_FORCED : ENGINE_LENGTH;
    bool over = false;
    if (token < 0) {
        res->error = "the model's output is not a number (NaN)";
        how = ENGINE_ERROR;
        over = true;
    } else if (!q->force_length && llama_vocab_is_eog(r->g->vocab, token)) {
        how = ENGINE_STOP;
        over = true;
    } else {
        res->tokens[res->n_tokens] = token;
        res->token_ns[res->n_tokens++] = now_ns;
        r->n_output_tokens++;
        p->pending = token;
        over = res->n_tokens == (size_t)q->max_tokens;
    }
    if (over) {
        finish(r, p->request, how, now_ns);
        llama_memory_seq_rm(llama_get_memory(r->g->ctx), seq, -1, -1);
        p->busy = false;
    }
}

static int step(struct run *r, struct err *e) {
    share_room(r);
    build_batch(r);
    int64_t before_ns = clock_mono_ns();
    int rc = llama_decode(r->g->ctx, r->batch);
    if (rc != 0) {
        return llama_fail(e, EE_FAIL, "the engine could not compute a step");
    }
    llama_synchronize(r->g->ctx);
    r->stats->engine_ns += clock_mono_ns() - before_ns;
    r->stats->steps++;

    int64_t held = 0;
    for (int i = 0; i < r->work->concurrency; i++) {
        held += r->places[i].busy ? r->places[i].n_kv : 0;
    }
    r->stats->peak_kv_tokens = held > r->stats->peak_kv_tokens ? held : r->stats->peak_kv_tokens;

    for (int i = 0; i < r->work->concurrency; i++) {
        if (r->places[i].busy && r->places[i].output_row >= 0) {
            llama_token token = sample(r, &r->places[i]);
            take_token(r, i, token, clock_mono_ns());
        }
    }
    if (r->work->progress) {
        r->work->progress(r->n_done, r->n_output_tokens, r->work->progress_ctx);
    }
    return 0;
}

static void add_piece(const struct llama_vocab *vocab, llama_token token, struct buf *out) {
    int32_t room = 64;
    for (int tries = 0; tries < 2 && buf_reserve(out, (size_t)room); tries++) {
        int32_t n = llama_token_to_piece(vocab, token, out->data + out->len, room, 0, false);
        if (n >= 0) {
            out->len += (size_t)n;
            out->data[out->len] = '\0';
            return;
        }
        room = -n;
    }
}

void engine_token_bytes(const struct engine *g, int32_t token, struct buf *out) {
    add_piece(g->vocab, token, out);
}

int engine_answer_text(const struct engine *g, const struct engine_result *result, struct buf *out,
                       struct err *e) {
    struct buf raw;
    buf_init(&raw);
    for (size_t i = 0; i < result->n_tokens; i++) {
        add_piece(g->vocab, result->tokens[i], &raw);
    }
    utf8_add_repaired(out, raw.data, raw.len);
    int rc = buf_check(&raw, "answer", e);
    buf_release(&raw);
    return rc ? rc : buf_check(out, "answer", e);
}

static bool is_idle(const struct run *r) {
    for (int i = 0; i < r->work->concurrency; i++) {
        if (r->places[i].busy) {
            return false;
        }
    }
    return true;
}

/* Nothing is in flight: waits for the next request. False when none comes any more. */
static bool wait_for_next(const struct run *r) {
    const struct engine_workload *w = r->work;
    int64_t now_ns = clock_mono_ns();
    if (r->next_request >= w->n_requests || (w->until_ns && now_ns >= w->until_ns)) {
        return false;
    }
    int64_t next_ns = w->requests[r->next_request].arrive_ns;
    int64_t look_ns = now_ns + STOP_LOOK_MS * NS_PER_MS;
    clock_sleep_until_ns(next_ns < look_ns ? next_ns : look_ns);
    return true;
}

/* Takes requests and steps until all are done, or the workload's end. */
static int run_all(struct run *r, struct err *e) {
    const struct engine_workload *w = r->work;
    int rc = 0;
    while (!rc && r->n_done < w->n_requests && !(w->stop && *w->stop)) {
        rc = admit(r, e);
        if (!rc && !is_idle(r)) {
            rc = step(r, e);
        } else if (!rc && !wait_for_next(r)) {
            break;
        }
    }
    return rc;
}

int engine_run(struct engine *g, const struct engine_workload *work, struct arena *a,
               struct engine_result *results, struct engine_run_stats *stats, struct err *e) {
    *stats = (struct engine_run_stats){0};
    if (work->concurrency < 1 || work->concurrency > g->n_seq_max) {
        return err_set(e, EE_USAGE, "concurrency %d does not fit the engine's %d sequences",
                       work->concurrency, g->n_seq_max);
    }
    struct run r = {.g = g, .work = work, .results = results, .stats = stats, .arena = a};
    r.places = calloc((size_t)work->concurrency, sizeof(*r.places));
    if (!r.places) {
        return err_set(e, EE_NOMEM, "batch: out of memory");
    }
    r.batch = llama_batch_init(g->n_batch, 0, 1);
    llama_memory_clear(llama_get_memory(g->ctx), true);
    memset(results, 0, work->n_requests * sizeof(*results));
    int rc = attach_samplers(&r, e);
    stats->begin_ns = clock_mono_ns();
    rc = rc ? rc : run_all(&r, e);
    stats->end_ns = clock_mono_ns();
    detach_samplers(&r);
    llama_batch_free(r.batch);
    free(r.places);
    return rc;
}
