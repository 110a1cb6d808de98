/* Single steps of the engine and the logits they give, plain text, and vocabularies compared. */
#include "engine/engine.h"

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

enum { N = 24, BATCH = 16 };

static int set_up(void **state) {
    int rc = scratch_setup(state);
    gguf_make_file(scratch_path(*state, "tiny.gguf"), &gguf_make_default);
    return rc;
}

static struct engine *open_engine(struct scratch *dir, int n_seq_max) {
    const struct engine_opts o = {.model_path = scratch_path(dir, "tiny.gguf"),
                                  .n_threads = 1,
                                  .n_seq_max = n_seq_max,
                                  .n_ctx_seq = 64,
                                  .n_batch = BATCH,
                                  .n_outputs = BATCH};
    struct engine *g = NULL;
    struct engine_times times;
    struct err e = ERR_INIT;
    OK(engine_open(&o, &g, &times, &e));
    return g;
}

static int32_t token_at(int pos) {
    return 10 + (pos * 37) % 200;
}

static size_t largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

/* Computes positions from..to of a sequence, step tokens at once; *rows receives a copy of each row. */
static void compute(struct engine *g, int seq, int from, int to, int step, float **rows) {
    const size_t n_vocab = engine_n_vocab(g);
    for (int at = from; at < to; at += step) {
        struct engine_token t[BATCH];
        const float *logits = NULL;
        struct err e = ERR_INIT;
        int n = to - at < step ? to - at : step;
        for (int i = 0; i < n; i++) {
            t[i] = (struct engine_token){token_at(at + i), at + i, seq, true};
        }
        OK(engine_compute(g, t, (size_t)n, &logits, &e));
        for (int i = 0; i < n; i++) {
            rows[at + i] = malloc(n_vocab * sizeof(float));
            assert_non_null(rows[at + i]);
            memcpy(rows[at + i], logits + (size_t)i * n_vocab, n_vocab * sizeof(float));
        }
    }
}

static void release(float **rows) {
    for (int i = 0; i < N; i++) {
        free(rows[i]);
        rows[i] = NULL;
    }
}

static bool alike(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(a[i] - b[i]) < 1e-3F)) {
            return false;
        }
    }
    return true;
}

static void every_position_has_its_logits(void **state) {
    struct engine *g = open_engine(*state, 1);
    const size_t n_vocab = engine_n_vocab(g);
    float *by_one[N] = {0};
    float *by_many[N] = {0};
    assert_int_equal(n_vocab, 261);
    compute(g, 0, 0, N, 1, by_one);
    engine_forget(g, 0, 0);
    compute(g, 0, 0, N, BATCH, by_many);
    for (int i = 0; i < N; i++) {
        assert_true(alike(by_one[i], by_many[i], n_vocab));
        assert_false(i > 0 && alike(by_one[i], by_one[i - 1], n_vocab));
    }
    release(by_one);
    release(by_many);
    engine_close(g);
}

/* The last row says what greedy answers begin with. */
static void logits_are_those_that_answers_are_picked_from(void **state) {
    struct engine *g = open_engine(*state, 1);
    float *rows[N] = {0};
    int32_t prompt[N];
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct engine_result result;
    struct engine_run_stats stats;
    for (int i = 0; i < N; i++) {
        prompt[i] = token_at(i);
    }
    const struct engine_request q = {
        .prompt = prompt, .n_prompt = N, .max_tokens = 1, .force_length = true};
    const struct engine_workload work = {.requests = &q, .n_requests = 1, .concurrency = 1};
    OK(engine_run(g, &work, &a, &result, &stats, &e));
    engine_forget(g, 0, 0);
    compute(g, 0, 0, N, BATCH, rows);
    assert_int_equal(result.tokens[0], largest(rows[N - 1], engine_n_vocab(g)));
    release(rows);
    arena_release(&a);
    engine_close(g);
}

static void a_sequence_goes_on_from_where_it_was_cut(void **state) {
    struct engine *g = open_engine(*state, 2);
    const size_t n_vocab = engine_n_vocab(g);
    float *whole[N] = {0};
    float *again[N] = {0};
    compute(g, 0, 0, N, BATCH, whole);
    engine_forget(g, 0, N / 2);
    compute(g, 0, N / 2, N, BATCH, again);
    for (int i = N / 2; i < N; i++) {
        assert_true(alike(whole[i], again[i], n_vocab));
    }
    release(again);
    compute(g, 1, 0, N, BATCH, again); /* another sequence, beside the first */
    assert_true(alike(whole[N - 1], again[N - 1], n_vocab));
    release(whole);
    release(again);
    engine_close(g);
}

static void rows_come_for_wanted_tokens_alone(void **state) {
    struct engine *g = open_engine(*state, 1);
    float *rows[N] = {0};
    const size_t n_vocab = engine_n_vocab(g);
    compute(g, 0, 0, 8, BATCH, rows);
    engine_forget(g, 0, 0);
    struct engine_token t[8];
    const float *logits = NULL;
    struct err e = ERR_INIT;
    for (int i = 0; i < 8; i++) {
        t[i] = (struct engine_token){token_at(i), i, 0, i == 2 || i == 7};
    }
    OK(engine_compute(g, t, 8, &logits, &e));
    assert_true(alike(rows[2], logits, n_vocab));
    assert_true(alike(rows[7], logits + n_vocab, n_vocab));
    release(rows);
    engine_close(g);
}

static void a_step_has_its_limit(void **state) {
    struct engine *g = open_engine(*state, 1);
    struct engine_token t[BATCH + 1] = {{0}};
    const float *logits = NULL;
    struct err e = ERR_INIT;
    REFUSED(engine_compute(g, t, BATCH + 1, &logits, &e), EE_USAGE,
            "a step of 17 tokens does not fit the engine's 16");
    REFUSED(engine_compute(g, t, 0, &logits, &e), EE_USAGE,
            "a step of 0 tokens does not fit the engine's 16");
    engine_close(g);
}

static struct engine *vocabulary(struct scratch *dir, const char *name, const struct gguf_make *m) {
    struct engine *g = NULL;
    struct err e = ERR_INIT;
    gguf_make_file(scratch_path(dir, name), m);
    OK(engine_open_vocabulary(scratch_path(dir, name), &g, &e));
    return g;
}

static void plain_text_is_split_without_a_template(void **state) {
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    int32_t *tokens = NULL;
    size_t n = 0;
    struct engine *g = vocabulary(*state, "plain.gguf", &gguf_make_default);
    assert_int_equal(engine_begin_token(g), 1);
    assert_int_equal(engine_end_token(g), -1);
    OK(engine_tokenize_text(g, "</s>", 4, false, &a, &tokens, &n, &e));
    assert_true(n >= 4); /* bytes, and what the tokenizer puts before a word; no control token */
    for (size_t i = 0; i < n; i++) {
        assert_true(tokens[i] > 4);
    }
    size_t without = n;
    OK(engine_tokenize_text(g, "</s>", 4, true, &a, &tokens, &n, &e));
    assert_int_equal(n, without + 1);
    assert_int_equal(tokens[0], 1);
    OK(engine_tokenize_text(g, "", 0, false, &a, &tokens, &n, &e));
    assert_int_equal(n, 0);
    arena_release(&a);
    engine_close(g);
}

static void other_vocabularies_are_told_apart(void **state) {
    struct err e = ERR_INIT;
    struct gguf_make renamed = gguf_make_default;
    struct gguf_make bare = gguf_make_default;
    renamed.token_4 = "<|end|>";
    bare.no_begin_token = true;
    struct engine *a = vocabulary(*state, "a.gguf", &gguf_make_default);
    struct engine *b = vocabulary(*state, "b.gguf", &gguf_make_default);
    struct engine *c = vocabulary(*state, "c.gguf", &renamed);
    struct engine *d = vocabulary(*state, "d.gguf", &bare);
    OK(engine_check_same_vocabulary(a, b, &e));
    REFUSED(engine_check_same_vocabulary(a, c, &e), EE_UNSUPPORTED,
            "their vocabularies differ: token 4 is \"<|im_end|>\" in one and \"<|end|>\" in the "
            "other");
    REFUSED(engine_check_same_vocabulary(a, d, &e), EE_UNSUPPORTED,
            "their vocabularies differ: they begin or end a text with other tokens");
    engine_close(a);
    engine_close(b);
    engine_close(c);
    engine_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_position_has_its_logits),
        cmocka_unit_test(logits_are_those_that_answers_are_picked_from),
        cmocka_unit_test(a_sequence_goes_on_from_where_it_was_cut),
        cmocka_unit_test(rows_come_for_wanted_tokens_alone),
        cmocka_unit_test(a_step_has_its_limit),
        cmocka_unit_test(plain_text_is_split_without_a_template),
        cmocka_unit_test(other_vocabularies_are_told_apart),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_teardown);
}
