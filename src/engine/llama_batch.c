/*
 * Continuous batching on libllama. A step first computes chunks of prompts, in the order the requests
 * came, then one token of every running answer. While many places wait for their prompt, steps hold
 * prompts only: answers that start together keep the batch full until they end.
 *
 * The engine computes at once what it can of a batch: the same number of tokens of sequences with
 * adjacent ids. Each such pass reads all weights, so everything here is arranged for few of them:
 * adjacent prompts of one length go together, answers apart from prompts, and where answers that
 * ended leave a gap that no request fills, a running one is moved into it. It also keeps the results
 * in the batch's order, which the engine would else restore by moving rows of logits.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "engine/argmax.h"
#include "engine/llama_internal.h"

#include <stdlib.h>
#include <string.h>

enum { STOP_LOOK_MS = 50 }; /* so often a run that waits looks whether it is to stop */

struct place {
    bool busy;
    size_t request;
    size_t n_prefilled;
    int32_t n_kv;                  /* tokens of it in the cache */
    llama_token pending;           /* sampled, not yet decoded */
    int32_t output_row;            /* its row in the batch, -1 for none */
    size_t chunk;                  /* prompt tokens in this step */
    struct llama_sampler *sampler; /* NULL: greedy on the host */
};

struct run {
    struct engine *g;
    const struct engine_workload *work;
    struct engine_result *results;
    struct engine_run_stats *stats;
    struct arena *arena;
    struct place *places;
    struct argmax_pool *pool; /* greedy picking on the host; else NULL */
    struct argmax_row *rows;  /* room for one a place */
    struct llama_batch batch;
    size_t next_request;
    size_t n_done;
    int64_t n_output_tokens;
};

/* A request's own seed, so that its answer does not depend on which requests ran before it. */
static uint32_t request_seed(const struct engine_sampling *s, size_t request) {
    return s->seed * UINT32_C(2654435761) + (uint32_t)request + 1;
}

/* Each place's sampler: the context's own on the device; on the host a new one, unless greedy. */
static int take_samplers(struct run *r, struct err *e) {
    const struct engine_sampling *s = &r->work->sampling;
    int rc = llama_samplers_attach(r->g, s, e);
    for (int i = 0; i < r->work->concurrency && !rc; i++) {
        if (r->g->samplers) {
            r->places[i].sampler = r->g->samplers[i];
        } else if (!llama_is_greedy(s)) {
            rc = llama_make_sampler(r->g->vocab, s, s->seed, &r->places[i].sampler, e);
        }
    }
    return rc;
}

static void drop_samplers(struct run *r) {
    for (int i = 0; i < r->work->concurrency && !r->g->samplers; i++) {
        if (r->places[i].sampler) {
            llama_sampler_free(r->places[i].sampler);
        }
    }
}

/* Gives the place's sampler the state that the request's own seed starts with. */
static int reseed(struct run *r, struct place *p, struct err *e) {
    const struct engine_sampling *s = &r->work->sampling;
    if (llama_is_greedy(s)) {
        return 0;
    }
    struct llama_sampler *fresh = NULL;
    int rc = llama_make_sampler(r->g->vocab, s, request_seed(s, p->request), &fresh, e);
    if (rc) {
        return rc;
    }
    if (r->g->samplers) {
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
            *p = (struct place){
                .busy = true, .request = request, .output_row = -1, .sampler = p->sampler};
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

/* Shares a step's room for prompts, oldest request first. */
static void share_room(struct run *r) {
    int room = r->g->n_batch;
    for (int i = 0; i < r->work->concurrency; i++) {
        r->places[i].chunk = 0;
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

static void batch_add_prompt(struct run *r, int seq) {
    struct place *p = &r->places[seq];
    const struct engine_request *q = &r->work->requests[p->request];
    if (p->n_prefilled == 0) {
        r->results[p->request].started_ns = clock_mono_ns();
    }
    for (size_t k = 0; k < p->chunk; k++) {
        bool last = ++p->n_prefilled == q->n_prompt;
        if (last) {
            p->output_row = r->batch.n_tokens;
        }
        batch_add(&r->batch, q->prompt[p->n_prefilled - 1], p->n_kv++, seq, last);
    }
}

static llama_token sample(struct run *r, struct place *p) {
    struct engine *g = r->g;
    if (g->samplers) {
        llama_token token = llama_get_sampled_token_ith(g->ctx, p->output_row);
        if (token != LLAMA_TOKEN_NULL) {
            llama_sampler_accept(p->sampler, token);
            return token;
        }
    }
    return llama_sampler_sample(p->sampler, g->ctx, p->output_row);
}

/* The largest logit of each row of the batch, in the order of places. */
static void pick_greedily(struct run *r) {
    size_t n = 0;
    for (int i = 0; i < r->work->concurrency; i++) {
        if (r->places[i].output_row >= 0) {
            const float *logits = llama_get_logits_ith(r->g->ctx, r->places[i].output_row);
            r->rows[n] = (struct argmax_row){.x = logits, .n = logits ? r->g->n_vocab : 0};
            n++;
        }
    }
    argmax_pool_run(r->pool, r->rows, n);
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

/* Computes the batch and takes the tokens it gives. */
static int compute(struct run *r, struct err *e) {
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

    size_t n = 0;
    if (r->pool) {
        pick_greedily(r);
    }
    for (int i = 0; i < r->work->concurrency; i++) {
        struct place *p = &r->places[i];
        if (p->output_row >= 0) {
            llama_token token = r->pool ? r->rows[n++].best : sample(r, p);
            p->output_row = -1;
            take_token(r, i, token, clock_mono_ns());
        }
    }
    return 0;
}

/* Prompts, adjacent chunks of one length together. */
static int compute_prompts(struct run *r, struct err *e) {
    int rc = 0;
    share_room(r);
    for (int i = 0; i < r->work->concurrency && !rc; i++) {
        size_t chunk = r->places[i].chunk;
        if (chunk == 0) {
            continue;
        }
        r->batch.n_tokens = 0;
        batch_add_prompt(r, i);
        while (i + 1 < r->work->concurrency && r->places[i + 1].chunk == chunk) {
            batch_add_prompt(r, ++i);
        }
        r->stats->passes++;
        rc = compute(r, e);
    }
    return rc;
}

static bool decodes(const struct run *r, int place) {
    return r->places[place].busy && is_prefilled(r, &r->places[place]);
}

/* Moves a running answer, with all that the model holds of it, into a free place. */
static void move_place(struct run *r, int from, int to) {
    struct place *src = &r->places[from];
    struct place *dst = &r->places[to];
    llama_memory_t memory = llama_get_memory(r->g->ctx);
    llama_memory_seq_cp(memory, from, to, -1, -1);
    llama_memory_seq_rm(memory, from, -1, -1);
    struct llama_sampler *free_sampler = dst->sampler;
    *dst = *src;
    *src = (struct place){.output_row = -1, .sampler = free_sampler};
    if (r->g->samplers) { /* those belong to their sequence */
        src->sampler = dst->sampler;
        dst->sampler = free_sampler;
        if (!llama_is_greedy(&r->work->sampling)) {
            llama_sampler_copy(src->sampler, dst->sampler);
        }
    }
}

/*
 * Closes gaps with the last of the running answers. The engine copies all the cache that a sequence
 * may have: that pays where it is less than the weights, which each further pass reads.
 */
static void close_gaps(struct run *r) {
    const struct engine_info *info = &r->g->info;
    if (r->g->kv_unified || r->g->has_states ||
        info->kv_token_bytes * info->n_ctx_seq > info->weights_bytes) {
        return;
    }
    int last = r->work->concurrency - 1;
    for (int gap = 0; gap < last; gap++) {
        while (last > gap && !decodes(r, last)) {
            last--;
        }
        if (!r->places[gap].busy && last > gap) {
            move_place(r, last, gap);
        }
    }
}

/* One token of each running answer. */
static int compute_answers(struct run *r, struct err *e) {
    close_gaps(r);
    r->batch.n_tokens = 0;
    bool after_gap = true;
    for (int i = 0; i < r->work->concurrency; i++) {
        struct place *p = &r->places[i];
        if (!decodes(r, i)) {
            after_gap = !r->g->kv_unified || r->batch.n_tokens == 0;
            continue;
        }
        r->stats->passes += after_gap;
        after_gap = false;
        p->output_row = r->batch.n_tokens;
        batch_add(&r->batch, p->pending, p->n_kv++, i, true);
    }
    return r->batch.n_tokens > 0 ? compute(r, e) : 0;
}

static int step(struct run *r, struct err *e) {
    bool prompts_only = is_prompt_step(r);
    int rc = compute_prompts(r, e);
    if (!rc && !prompts_only) {
        rc = compute_answers(r, e);
    }
    if (!rc && r->work->progress) {
        r->work->progress(r->n_done, r->n_output_tokens, r->work->progress_ctx);
    }
    return rc;
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
    r.rows = calloc((size_t)work->concurrency, sizeof(*r.rows));
    if (!r.places || !r.rows) {
        free(r.places);
        free(r.rows);
        return err_set(e, EE_NOMEM, "batch: out of memory");
    }
    for (int i = 0; i < work->concurrency; i++) {
        r.places[i].output_row = -1;
    }
    r.batch = llama_batch_init(g->n_batch, 0, 1);
    llama_memory_clear(llama_get_memory(g->ctx), true);
    memset(results, 0, work->n_requests * sizeof(*results));
    int rc = take_samplers(&r, e);
    if (!rc && llama_is_greedy(&work->sampling) && !g->samplers) {
        rc = argmax_pool_start(&r.pool, g->info.n_threads, e);
    }
    stats->begin_ns = clock_mono_ns();
    rc = rc ? rc : run_all(&r, e);
    stats->end_ns = clock_mono_ns();
    drop_samplers(&r);
    argmax_pool_stop(r.pool);
    llama_batch_free(r.batch);
    free(r.places);
    free(r.rows);
    return rc;
}
