/* The in-process engine on a tiny model that the tests write: batching, sampling, refusals. */
#include "engine/engine.h"

#include "support/gguf_make.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N_REQUESTS = 7, MAX_PROMPT = 96, MAX_OUTPUT = 24 };

static int set_up(void **state) {
    int rc = scratch_setup(state);
    gguf_make_file(scratch_path(*state, "tiny.gguf"), &gguf_make_default);
    return rc;
}

static struct engine *open_engine(struct scratch *dir, struct engine_opts o) {
    struct engine *g = NULL;
    struct engine_times times;
    struct err e = ERR_INIT;
    o.model_path = scratch_path(dir, "tiny.gguf");
    o.n_threads = 1;
    o.n_ctx_seq = MAX_PROMPT + MAX_OUTPUT;
    if (engine_open(&o, &g, &times, &e)) {
        fail_msg("engine_open: %s", e.msg);
    }
    assert_true(times.backends_ns <= times.weights_ns);
    assert_true(times.weights_ns <= times.context_ns);
    return g;
}

struct answers {
    struct arena arena;
    struct engine_result results[N_REQUESTS];
    struct engine_run_stats stats;
};

/* Prompts of different lengths, so that places are freed and filled at different steps. */
static void make_requests(struct arena *a, struct engine_request *q, bool forced) {
    for (int i = 0; i < N_REQUESTS; i++) {
        size_t n = (size_t)(5 + 13 * i);
        int32_t *prompt = arena_array(a, n, sizeof(*prompt));
        assert_non_null(prompt);
        for (size_t k = 0; k < n; k++) {
            prompt[k] = (int32_t)(10 + (k * 7 + (size_t)i * 31) % 200);
        }
        q[i] = (struct engine_request){
            .prompt = prompt, .n_prompt = n, .max_tokens = MAX_OUTPUT - i, .force_length = forced};
    }
}

static void run_all(struct engine *g, int concurrency, struct engine_sampling sampling,
                    struct answers *out) {
    struct err e = ERR_INIT;
    struct engine_request q[N_REQUESTS];
    *out = (struct answers){0};
    make_requests(&out->arena, q, true);
    const struct engine_workload work = {
        .requests = q, .n_requests = N_REQUESTS, .concurrency = concurrency, .sampling = sampling};
    if (engine_run(g, &work, &out->arena, out->results, &out->stats, &e)) {
        fail_msg("engine_run: %s", e.msg);
    }
}

static bool same_tokens(const struct answers *a, const struct answers *b) {
    for (int i = 0; i < N_REQUESTS; i++) {
        const struct engine_result *x = &a->results[i];
        const struct engine_result *y = &b->results[i];
        if (x->n_tokens != y->n_tokens ||
            memcmp(x->tokens, y->tokens, x->n_tokens * sizeof(*x->tokens)) != 0) {
            return false;
        }
    }
    return true;
}

static void forced_lengths_and_times(void **state) {
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 3, .n_batch = 32});
    struct answers a;
    run_all(g, 3, (struct engine_sampling){0}, &a);
    for (int i = 0; i < N_REQUESTS; i++) {
        const struct engine_result *r = &a.results[i];
        assert_int_equal(r->finish, ENGINE_FORCED);
        assert_int_equal(r->n_tokens, MAX_OUTPUT - i);
        assert_true(r->queued_ns <= r->started_ns && r->started_ns <= r->token_ns[0]);
        for (size_t k = 1; k < r->n_tokens; k++) {
            assert_true(r->token_ns[k] >= r->token_ns[k - 1]);
        }
        assert_true(r->done_ns >= r->token_ns[r->n_tokens - 1]);
    }
    /* A closed loop of three: the fourth is offered only when one of the first three is done. */
    assert_true(a.results[2].queued_ns <= a.results[0].started_ns);
    int64_t first_done = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        first_done = a.results[i].done_ns < first_done ? a.results[i].done_ns : first_done;
    }
    assert_true(a.results[3].queued_ns >= first_done);
    assert_true(a.stats.engine_ns > 0 && a.stats.engine_ns <= a.stats.end_ns - a.stats.begin_ns);
    assert_true(a.stats.peak_kv_tokens > 0 &&
                a.stats.peak_kv_tokens <= 3 * (MAX_PROMPT + MAX_OUTPUT));
    arena_release(&a.arena);
    engine_close(g);
}

static void equal_workloads_give_equal_answers(void **state) {
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 3, .n_batch = 32});
    struct answers a;
    struct answers b;
    run_all(g, 3, (struct engine_sampling){0}, &a);
    run_all(g, 3, (struct engine_sampling){0}, &b);
    assert_true(same_tokens(&a, &b));
    assert_int_equal(a.stats.steps, b.stats.steps);
    arena_release(&a.arena);
    arena_release(&b.arena);
    engine_close(g);
}

/* Sampling on the compute device: the CPU backend has it too, so its path is tested without a GPU. */
static void device_sampling_picks_the_same_tokens(void **state) {
    const struct engine_sampling greedy = {0};
    struct engine *host = open_engine(
        *state, (struct engine_opts){.n_seq_max = 3, .n_batch = 64, .device_sampling = ENGINE_OFF});
    struct engine *device = open_engine(
        *state, (struct engine_opts){.n_seq_max = 3, .n_batch = 64, .device_sampling = ENGINE_ON});
    struct engine_info info;
    struct answers a;
    struct answers b;
    run_all(host, 3, greedy, &a);
    run_all(device, 3, greedy, &b);
    engine_get_info(device, &info);
    assert_true(info.device_sampling);
    engine_get_info(host, &info);
    assert_false(info.device_sampling);
    assert_true(same_tokens(&a, &b));
    arena_release(&a.arena);
    arena_release(&b.arena);
    engine_close(host);
    engine_close(device);
}

static void seeds_decide_sampled_answers(void **state) {
    const enum engine_switch where[] = {ENGINE_OFF, ENGINE_ON};
    for (size_t i = 0; i < 2; i++) {
        struct engine *g = open_engine(
            *state,
            (struct engine_opts){.n_seq_max = 3, .n_batch = 64, .device_sampling = where[i]});
        struct answers a;
        struct answers again;
        struct answers other;
        run_all(g, 3, (struct engine_sampling){.temperature = 2, .seed = 7}, &a);
        run_all(g, 3, (struct engine_sampling){.temperature = 2, .seed = 7}, &again);
        run_all(g, 3, (struct engine_sampling){.temperature = 2, .seed = 8}, &other);
        assert_true(same_tokens(&a, &again));
        assert_false(same_tokens(&a, &other));
        arena_release(&a.arena);
        arena_release(&again.arena);
        arena_release(&other.arena);
        engine_close(g);
    }
}

/* A prompt in one step or in chunks of eight is the same prompt. */
static void chunked_prefill_keeps_the_answer(void **state) {
    struct answers whole;
    struct answers chunked;
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 1, .n_batch = 128});
    run_all(g, 1, (struct engine_sampling){0}, &whole);
    engine_close(g);
    g = open_engine(*state, (struct engine_opts){.n_seq_max = 1, .n_batch = 8});
    run_all(g, 1, (struct engine_sampling){0}, &chunked);
    engine_close(g);
    assert_true(chunked.stats.steps > whole.stats.steps);
    for (int i = 0; i < N_REQUESTS; i++) {
        assert_int_equal(whole.results[i].tokens[0], chunked.results[i].tokens[0]);
    }
    arena_release(&whole.arena);
    arena_release(&chunked.arena);
}

/* Answers that end at different times leave gaps. They are closed by moving others: each call of the
 * engine stays one pass of the model, and a moved answer goes on as if it were alone. */
static void gaps_are_closed_and_answers_stay(void **state) {
    const enum engine_switch where[] = {ENGINE_OFF, ENGINE_ON};
    const struct engine_sampling sampling[] = {{0}, {.temperature = 2, .seed = 3}};
    for (size_t i = 0; i < 4; i++) {
        struct answers together;
        struct answers alone;
        struct engine *g = open_engine(
            *state, (struct engine_opts){
                        .n_seq_max = N_REQUESTS, .n_batch = 512, .device_sampling = where[i / 2]});
        run_all(g, N_REQUESTS, sampling[i % 2], &together);
        run_all(g, 1, sampling[i % 2], &alone);
        engine_close(g);
        assert_true(same_tokens(&together, &alone));
        assert_int_equal(together.stats.passes, together.stats.steps);
        assert_int_equal(together.stats.steps, N_REQUESTS + MAX_OUTPUT - 1);
        arena_release(&together.arena);
        arena_release(&alone.arena);
    }
}

/* The samplers stay with the engine; other settings replace them, and logits remove them. */
static void samplers_change_between_runs(void **state) {
    struct engine *g = open_engine(
        *state, (struct engine_opts){.n_seq_max = 3, .n_batch = 64, .device_sampling = ENGINE_ON});
    struct answers greedy;
    struct answers drawn;
    struct answers again;
    struct err e = ERR_INIT;
    const float *logits = NULL;
    const struct engine_token one = {.id = 12, .output = true};
    run_all(g, 3, (struct engine_sampling){0}, &greedy);
    run_all(g, 2, (struct engine_sampling){.temperature = 2, .top_k = 40, .seed = 7}, &drawn);
    assert_false(same_tokens(&greedy, &drawn));
    engine_forget(g, 0, 0);
    assert_int_equal(engine_compute(g, &one, 1, &logits, &e), 0);
    assert_true(logits != NULL && logits[0] == logits[0]);
    run_all(g, 3, (struct engine_sampling){0}, &again);
    assert_true(same_tokens(&greedy, &again));
    arena_release(&greedy.arena);
    arena_release(&drawn.arena);
    arena_release(&again.arena);
    engine_close(g);
}

static void a_request_that_does_not_fit_fails_alone(void **state) {
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 2});
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct engine_info info;
    engine_get_info(g, &info);
    struct engine_request q[N_REQUESTS];
    struct engine_result results[N_REQUESTS];
    struct engine_run_stats stats;
    make_requests(&a, q, true);
    q[1].max_tokens = info.n_ctx_seq;
    q[4].n_prompt = 0;
    const struct engine_workload work = {.requests = q, .n_requests = N_REQUESTS, .concurrency = 2};
    assert_int_equal(engine_run(g, &work, &a, results, &stats, &e), 0);
    for (int i = 0; i < N_REQUESTS; i++) {
        bool bad = i == 1 || i == 4;
        assert_int_equal(results[i].finish, bad ? ENGINE_ERROR : ENGINE_FORCED);
        assert_true((results[i].error != NULL) == bad);
    }
    assert_non_null(strstr(results[1].error, "do not fit the context"));
    arena_release(&a);
    engine_close(g);
}

static void concurrency_beyond_the_engine_is_refused(void **state) {
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 2});
    struct engine_run_stats stats;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    const struct engine_workload work = {.concurrency = 3};
    assert_int_equal(engine_run(g, &work, &a, NULL, &stats, &e), EE_USAGE);
    assert_non_null(strstr(e.msg, "concurrency 3"));
    engine_close(g);
}

static void info_adds_up(void **state) {
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 4});
    struct engine_info info;
    engine_get_info(g, &info);
    assert_string_equal(info.arch, "llama");
    assert_string_equal(info.device, "CPU");
    assert_true(info.n_ctx_seq >= MAX_PROMPT + MAX_OUTPUT);
    assert_int_equal(info.kv_bytes, info.kv_token_bytes * info.n_ctx_seq * 4);
    assert_true(info.weights_bytes > 0 && info.n_params > 0);
    engine_close(g);
}

static void chat_templates(void **state) {
    const struct engine_message chat[] = {{"system", "Be brief."}, {"user", "Hello"}};
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct engine *g = NULL;
    int32_t *tokens = NULL;
    size_t n = 0;
    assert_int_equal(engine_open_vocabulary(scratch_path(*state, "tiny.gguf"), &g, &e), 0);
    assert_int_equal(engine_tokenize_chat(g, chat, 2, &a, &tokens, &n, &e), 0);
    assert_true(n > 0 && tokens != NULL);
    engine_close(g);

    static const char *const bad[] = {"{{ not a known template }}", NULL};
    static const char *const said[] = {"not one that the engine knows", "no chat template"};
    for (size_t i = 0; i < 2; i++) {
        struct gguf_make m = gguf_make_default;
        m.template = bad[i];
        const char *path = scratch_path(*state, i == 0 ? "unknown.gguf" : "none.gguf");
        gguf_make_file(path, &m);
        assert_int_equal(engine_open_vocabulary(path, &g, &e), 0);
        assert_int_equal(engine_tokenize_chat(g, chat, 2, &a, &tokens, &n, &e), EE_UNSUPPORTED);
        assert_non_null(strstr(e.msg, said[i]));
        engine_close(g);
    }
    arena_release(&a);
}

static void files_that_cannot_answer_are_refused(void **state) {
    struct engine_times times;
    struct err e = ERR_INIT;
    struct engine *g = NULL;
    struct gguf_make no_tokenizer = gguf_make_default;
    no_tokenizer.no_tokenizer = true;
    struct gguf_make unknown = gguf_make_default;
    unknown.arch = "nosuch";
    const struct {
        const struct gguf_make *make;
        int code;
        const char *said;
    } cases[] = {
        {&no_tokenizer, EE_UNSUPPORTED, "no tokenizer"},
        {&unknown, EE_FORMAT, "cannot load"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = scratch_path(*state, "bad.gguf");
        gguf_make_file(path, cases[i].make);
        const struct engine_opts o = {.model_path = path};
        assert_int_equal(engine_open(&o, &g, &times, &e), cases[i].code);
        assert_null(g);
        assert_non_null(strstr(e.msg, cases[i].said));
        assert_non_null(strstr(e.msg, "bad.gguf"));
    }
}

/* A token that is not the text's end may hold half a character. */
static void answers_are_utf8(void **state) {
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 1});
    struct buf text;
    struct err e = ERR_INIT;
    int32_t tokens[] = {12, 13, 14};
    const struct engine_result r = {.n_tokens = 3, .tokens = tokens};
    buf_init(&text);
    assert_int_equal(engine_answer_text(g, &r, &text, &e), 0);
    assert_true(text.len > 0);
    buf_release(&text);
    engine_close(g);
}

/* Whatever the random weights would say, an answer is a sentence of the grammar, and ends with it. */
static void answers_follow_a_grammar(void **state) {
    const enum engine_switch where[] = {ENGINE_OFF, ENGINE_ON};
    for (size_t k = 0; k < 4; k++) {
        struct engine *g = open_engine(
            *state,
            (struct engine_opts){.n_seq_max = 3, .n_batch = 64, .device_sampling = where[k % 2]});
        struct arena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct engine_request q[N_REQUESTS];
        struct engine_result results[N_REQUESTS];
        struct engine_run_stats stats;
        make_requests(&a, q, false);
        const struct engine_workload work = {
            .requests = q,
            .n_requests = N_REQUESTS,
            .concurrency = 3,
            .sampling = {.temperature = k < 2 ? 0 : 2,
                         .grammar = "root ::= \"{\" (\"yes\" | \"no\") \"}\""}};
        assert_int_equal(engine_run(g, &work, &a, results, &stats, &e), 0);
        for (size_t i = 0; i < N_REQUESTS; i++) {
            struct buf text;
            buf_init(&text);
            assert_int_equal(engine_answer_text(g, &results[i], &text, &e), 0);
            assert_int_equal(results[i].finish, ENGINE_STOP);
            assert_true(!strcmp(text.data, "{yes}") || !strcmp(text.data, "{no}"));
            buf_release(&text);
        }
        arena_release(&a);
        engine_close(g);
    }
}

static void a_grammar_that_does_not_parse_is_refused(void **state) {
    struct engine *g = open_engine(*state, (struct engine_opts){.n_seq_max = 1});
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct engine_request q[N_REQUESTS];
    struct engine_result results[N_REQUESTS];
    struct engine_run_stats stats;
    make_requests(&a, q, false);
    const struct engine_workload work = {.requests = q,
                                         .n_requests = 1,
                                         .concurrency = 1,
                                         .sampling = {.grammar = "root ::= (\"a\""}};
    assert_int_equal(engine_run(g, &work, &a, results, &stats, &e), EE_FORMAT);
    assert_non_null(strstr(e.msg, "grammar"));
    arena_release(&a);
    engine_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_follow_a_grammar),
        cmocka_unit_test(a_grammar_that_does_not_parse_is_refused),
        cmocka_unit_test(forced_lengths_and_times),
        cmocka_unit_test(equal_workloads_give_equal_answers),
        cmocka_unit_test(device_sampling_picks_the_same_tokens),
        cmocka_unit_test(seeds_decide_sampled_answers),
        cmocka_unit_test(chunked_prefill_keeps_the_answer),
        cmocka_unit_test(gaps_are_closed_and_answers_stay),
        cmocka_unit_test(samplers_change_between_runs),
        cmocka_unit_test(a_request_that_does_not_fit_fails_alone),
        cmocka_unit_test(concurrency_beyond_the_engine_is_refused),
        cmocka_unit_test(info_adds_up),
        cmocka_unit_test(chat_templates),
        cmocka_unit_test(files_that_cannot_answer_are_refused),
        cmocka_unit_test(answers_are_utf8),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_teardown);
}
