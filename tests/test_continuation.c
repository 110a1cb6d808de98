/* Log-probabilities of continuations, against the logits that the engine gives step by step. */
#include "engine/continuation.h"

#include "stats/softmax.h"
#include "support/gguf_make.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_PROMPT = 21, BATCH = 8, CONTEXT = 256 };

static int set_up(void **state) {
    int rc = scratch_setup(state);
    gguf_make_file(scratch_path(*state, "tiny.gguf"), &gguf_make_default);
    return rc;
}

static struct engine *open_engine(struct scratch *dir) {
    const struct engine_opts o = {.model_path = scratch_path(dir, "tiny.gguf"),
                                  .n_threads = 1,
                                  .n_ctx_seq = CONTEXT,
                                  .n_batch = BATCH,
                                  .n_outputs = BATCH};
    struct engine *g = NULL;
    struct engine_times times;
    struct err e = ERR_INIT;
    OK(engine_open(&o, &g, &times, &e));
    return g;
}

static void make_prompt(int32_t prompt[N_PROMPT]) {
    for (int i = 0; i < N_PROMPT; i++) {
        prompt[i] = 10 + (i * 37) % 200;
    }
}

/* One token at a time, from nothing. */
static double by_hand(struct engine *g, const int32_t *prompt, const int32_t *tokens, size_t n,
                      bool *greedy) {
    double sum = 0;
    *greedy = true;
    engine_forget(g, 0, 0);
    for (size_t i = 0; i + 1 < N_PROMPT + n; i++) {
        const struct engine_token t = {i < N_PROMPT ? prompt[i] : tokens[i - N_PROMPT], (int32_t)i,
                                       0, true};
        const float *row = NULL;
        struct err e = ERR_INIT;
        OK(engine_compute(g, &t, 1, &row, &e));
        if (i + 1 >= N_PROMPT) {
            int32_t next = tokens[i + 1 - N_PROMPT];
            sum += stats_log_softmax(row, engine_n_vocab(g), (size_t)next);
            for (size_t k = 0; k < engine_n_vocab(g); k++) {
                *greedy = *greedy && row[k] <= row[next];
            }
        }
    }
    return sum;
}

static void sums_are_those_of_single_steps(void **state) {
    static const int32_t one[] = {50};
    static const int32_t few[] = {60, 61, 62};
    static const int32_t many[] = {70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80,
                                   81, 82, 83, 84, 85, 86, 87, 88, 89, 90};
    struct engine *g = open_engine(*state);
    int32_t prompt[N_PROMPT];
    make_prompt(prompt);
    struct continuation c[] = {
        {.tokens = few, .n = 3}, {.tokens = one, .n = 1}, {.tokens = many, .n = 21}};
    struct err e = ERR_INIT;
    OK(continuation_score(g, prompt, N_PROMPT, c, 3, &e));
    for (size_t i = 0; i < 3; i++) {
        bool greedy = false;
        double due = by_hand(g, prompt, c[i].tokens, c[i].n, &greedy);
        assert_true(c[i].log_p < 0);
        assert_true(fabs(c[i].log_p - due) < 1e-2);
        assert_int_equal(c[i].is_greedy, greedy);
    }
    engine_close(g);
}

/* What greedy decoding answers is what is called greedy, and nothing else is likelier at its start. */
static void greedy_answers_are_told(void **state) {
    struct engine *g = open_engine(*state);
    int32_t prompt[N_PROMPT];
    make_prompt(prompt);
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct engine_result r;
    struct engine_run_stats stats;
    const struct engine_request q = {
        .prompt = prompt, .n_prompt = N_PROMPT, .max_tokens = 5, .force_length = true};
    const struct engine_workload work = {.requests = &q, .n_requests = 1, .concurrency = 1};
    OK(engine_run(g, &work, &a, &r, &stats, &e));
    int32_t other[5];
    memcpy(other, r.tokens, sizeof(other));
    other[0] = other[0] == 20 ? 21 : 20;
    struct continuation c[] = {
        {.tokens = r.tokens, .n = 5}, {.tokens = other, .n = 1}, {.tokens = r.tokens, .n = 1}};
    OK(continuation_score(g, prompt, N_PROMPT, c, 3, &e));
    assert_true(c[0].is_greedy && !c[1].is_greedy && c[2].is_greedy);
    assert_true(c[2].log_p > c[1].log_p && c[2].log_p >= c[0].log_p);
    arena_release(&a);
    engine_close(g);
}

static void what_does_not_fit_is_refused(void **state) {
    struct engine *g = open_engine(*state);
    int32_t prompt[CONTEXT] = {0};
    int32_t token = 10;
    for (int i = 0; i < CONTEXT; i++) {
        prompt[i] = 10;
    }
    struct continuation c = {.tokens = &token, .n = 1};
    struct err e = ERR_INIT;
    REFUSED(continuation_score(g, prompt, CONTEXT, &c, 1, &e), EE_USAGE,
            "a prompt of 256 and a continuation of 1 tokens do not fit the context of 256");
    REFUSED_WITH(continuation_score(g, prompt, 0, &c, 1, &e), EE_USAGE, "has no tokens");
    c.n = 0;
    REFUSED_WITH(continuation_score(g, prompt, 1, &c, 1, &e), EE_USAGE, "has no tokens");
    engine_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_single_steps),
        cmocka_unit_test(greedy_answers_are_told),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_teardown);
}
