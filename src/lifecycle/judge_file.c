/*
 * A judge that is a model file: it is loaded here, and a grammar lets it say nothing but verdicts.
 */
#include "base/json.h"
#include "engine/engine.h"
#include "engine/gguf_info.h"
#include "lifecycle/engine_args.h"
#include "lifecycle/judge_ask.h"

enum { VERDICT_TOKENS = 64, BATCH = 512, CHUNK = 64 };

struct judge_model {
    struct judge_session *session;
    struct engine *engine;
    int context; /* tokens of a question and its verdict */
    int places;
    struct engine_sampling sampling;
};

static int tokenize(struct engine *g, const struct judge_question *q, struct arena *a,
                    struct engine_request *r, struct err *e) {
    struct buf user;
    int32_t *tokens = NULL;
    buf_init(&user);
    judge_question_text(q, &user);
    int rc = buf_check(&user, "a question", e);
    const struct engine_message chat[] = {{"system", judge_rubric(q->form)}, {"user", user.data}};
    rc = rc ? rc : engine_tokenize_chat(g, chat, 2, a, &tokens, &r->n_prompt, e);
    r->prompt = tokens;
    r->max_tokens = VERDICT_TOKENS;
    buf_release(&user);
    return rc;
}

static int settle(struct judge_model *m, struct judge_question *q, const struct engine_request *r,
                  const struct engine_result *res, struct err *e) {
    struct judge_session *s = m->session;
    struct buf said;
    int rc = 0;
    buf_init(&said);
    s->n_tries++;
    if (res->finish == ENGINE_ERROR) {
        bool fits = r->n_prompt + VERDICT_TOKENS <= (size_t)m->context;
        judge_settle_failed(s, q, fits ? "not_computed" : "too_long",
                            arena_strdup(s->arena, res->error));
    } else {
        s->n_replies++;
        s->n_counted++;
        s->prompt_tokens += (int64_t)r->n_prompt;
        s->output_tokens += (int64_t)res->n_tokens;
        rc = engine_answer_text(m->engine, res, &said, e);
        if (!rc) {
            judge_settle(s, q, said.data, arena_strdup(s->arena, said.data));
        }
    }
    buf_release(&said);
    return rc;
}

/* Asks the next questions that are of one form and one pass, at most CHUNK; *n is how many those were. */
static int ask_chunk(struct judge_model *m, size_t begin, size_t *n, struct err *e) {
    struct judge_question *q = &m->session->questions[begin];
    struct engine_request requests[CHUNK] = {{0}};
    struct engine_result results[CHUNK];
    struct engine_run_stats stats;
    struct arena a = ARENA_INIT;
    int rc = 0;
    for (*n = 0; *n < CHUNK && begin + *n < m->session->n && q[*n].form == q->form &&
                 q[*n].pass == q->pass && !rc;
         (*n)++) {
        rc = tokenize(m->engine, &q[*n], &a, &requests[*n], e);
    }
    struct engine_workload w = {
        .requests = requests, .n_requests = *n, .concurrency = m->places, .sampling = m->sampling};
    w.sampling.grammar = judge_grammar(q->form);
    w.sampling.seed += (uint32_t)(begin * 31 + (size_t)q->pass);
    rc = rc ? rc : engine_run(m->engine, &w, &a, results, &stats, e);
    for (size_t i = 0; i < *n && !rc; i++) {
        rc = settle(m, &q[i], &requests[i], &results[i], e);
    }
    arena_release(&a);
    return rc;
}

/* Tokens of the longest question and its verdict: the context that is needed, and no more. */
static int measure_questions(const struct judge_session *s, const char *path, int *n_tokens,
                             struct err *e) {
    struct engine *vocabulary = NULL;
    int rc = engine_open_vocabulary(path, &vocabulary, e);
    *n_tokens = 0;
    for (size_t i = 0; i < s->n && !rc; i++) {
        struct arena a = ARENA_INIT;
        struct engine_request r = {0};
        rc = tokenize(vocabulary, &s->questions[i], &a, &r, e);
        int n = (int)r.n_prompt + VERDICT_TOKENS;
        *n_tokens = n > *n_tokens ? n : *n_tokens;
        arena_release(&a);
    }
    engine_close(vocabulary);
    return rc;
}

static int open_model(struct judge_model *m, struct err *e) {
    const json_t *judge = json_object_get(m->session->args, "judge");
    struct engine_opts opts = {0};
    struct engine_times times;
    struct engine_info made;
    struct gguf_info file;
    engine_args_read(json_object_get(m->session->args, "engine"), &opts);
    int rc = json_want_str(judge, "model", &opts.model_path, e);
    rc = rc ? rc : gguf_info_read_model(opts.model_path, &file, e);
    rc = rc ? rc : gguf_info_check_answers(&file, opts.model_path, e);
    rc = rc ? rc : measure_questions(m->session, opts.model_path, &opts.n_ctx_seq, e);
    if (rc) {
        return rc;
    }
    if (file.n_ctx_train > 0 && file.n_ctx_train < opts.n_ctx_seq) {
        opts.n_ctx_seq =
            (int)file.n_ctx_train; /* what does not fit is refused question by question */
    }
    m->places = (int)json_int_or(judge, "concurrency", 1);
    opts.n_seq_max = m->places;
    opts.n_batch = BATCH;
    opts.use_mmap = true;
    opts.kv_unified = false;
    opts.device_sampling = ENGINE_OFF;
    m->sampling.temperature = json_num_or(judge, "temperature", 0);
    m->sampling.seed = (uint32_t)json_int_or(m->session->args, "seed", 0);
    rc = engine_open(&opts, &m->engine, &times, e);
    if (!rc) {
        engine_get_info(m->engine, &made);
        m->context = made.n_ctx_seq < (int)file.n_ctx_train || file.n_ctx_train <= 0
                         ? made.n_ctx_seq
                         : (int)file.n_ctx_train;
    }
    return rc;
}

int judge_ask_file(struct judge_session *s, struct err *e) {
    struct judge_model m = {.session = s};
    int rc = open_model(&m, e);
    for (size_t at = 0, n; at < s->n && !rc; at += n) {
        rc = ask_chunk(&m, at, &n, e);
    }
    engine_close(m.engine);
    return rc;
}
