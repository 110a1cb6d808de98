/* What is asked about an answer, windows over a long premise, and what probabilities add up to. */
#include "quality/entail.h"
#include "stats/softmax.h"

#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct task_item answerable = {
    .kind = TASK_RAG, .id = "yes", .source = "It rains.", .question = "Is it wet?"};
static const struct task_item unanswerable = {.kind = TASK_RAG,
                                              .id = "no",
                                              .source = "It rains.",
                                              .question = "Who is there?",
                                              .unanswerable = true};
static const struct task_item summ = {.kind = TASK_SUMM, .id = "summ", .source = "A long text."};
static const struct task_item chat = {.kind = TASK_CHAT, .id = "chat"};

static void check_asked(const struct task_item *item, const char *answer, const char *want) {
    struct buf h;
    bool decided = true;
    double value = -1;
    struct err e = ERR_INIT;
    buf_init(&h);
    OK(entail_ask(item, answer, &h, &decided, &value, &e));
    assert_false(decided);
    assert_string_equal(h.data, want);
    buf_release(&h);
}

static void check_decided(const struct task_item *item, const char *answer, double want) {
    struct buf h;
    bool decided = false;
    double value = -1;
    struct err e = ERR_INIT;
    buf_init(&h);
    OK(entail_ask(item, answer, &h, &decided, &value, &e));
    assert_true(decided);
    assert_true(value == want);
    assert_int_equal(h.len, 0);
    buf_release(&h);
}

static void answers_become_claims(void **state) {
    (void)state;
    check_asked(&answerable, "Yes.", "Is it wet? Yes.");
    check_asked(&unanswerable, "Bob", "Who is there? Bob");
    check_asked(&summ, "It is long.", "It is long.");
}

static void what_claims_nothing_needs_no_model(void **state) {
    (void)state;
    static const char *const nothing[] = {"", " \n", "No answer.", "no answer"};
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        check_decided(&answerable, nothing[i], 0);
        check_decided(&unanswerable, nothing[i], 1);
    }
    check_decided(&summ, "", 0);
    check_decided(&summ, "\t", 0);
    check_asked(&summ, "No answer.", "No answer.");
    struct buf h;
    bool decided = false;
    double value = -1;
    struct err e = ERR_INIT;
    buf_init(&h);
    REFUSED(entail_ask(&chat, "Hello", &h, &decided, &value, &e), EE_UNSUPPORTED,
            "entailment does not score the task chat");
    buf_release(&h);
}

static void labels_are_known_by_name(void **state) {
    (void)state;
    static const struct {
        const char *names[3];
        int entailment, contradiction;
    } cases[] = {
        {{"contradiction", "entailment", "neutral"}, 1, 0},
        {{"ENTAILMENT", "NEUTRAL", "CONTRADICTION"}, 0, 2},
        {{"not_entailment", "entailment", ""}, 1, -1},
        {{"LABEL_0", "LABEL_1", "LABEL_2"}, -1, -1},
        {{"entailed", "contradicted", "neither"}, 0, 1},
    };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct entail_labels l;
        entail_find_labels(cases[i].names, 3, &l);
        assert_int_equal(l.entailment, cases[i].entailment);
        assert_int_equal(l.contradiction, cases[i].contradiction);
    }
    const struct entail_labels two = {.entailment = 1, .contradiction = -1};
    OK(entail_check_labels(&two, TASK_RAG, "m.gguf", &e));
    REFUSED(entail_check_labels(&two, TASK_SUMM, "m.gguf", &e), EE_UNSUPPORTED,
            "m.gguf has no label \"contradiction\", which the task summ is scored by");
    const struct entail_labels none = {.entailment = -1, .contradiction = -1};
    REFUSED(entail_check_labels(&none, TASK_RAG, "m.gguf", &e), EE_UNSUPPORTED,
            "m.gguf has no label \"entailment\", which the task rag is scored by");
}

/* Every token is in a window, and every run of a quarter of one is whole in one. */
static void windows_cover_the_premise(void **state) {
    (void)state;
    for (size_t room = 4; room < 40; room += 3) {
        for (size_t n = 0; n < 200; n++) {
            size_t count = entail_n_windows(n, room);
            size_t covered = 0;
            assert_true(count >= 1);
            for (size_t i = 0; i < count; i++) {
                struct entail_window w = entail_window_at(n, room, i);
                assert_true(w.n == (n < room ? n : room));
                assert_true(w.begin <= covered && w.begin + w.n <= n);
                assert_true(i == 0 || covered - w.begin >= room / 4);
                covered = w.begin + w.n;
            }
            assert_int_equal(covered, n);
            assert_true(count == 1 || entail_window_at(n, room, count - 2).begin + room < n);
        }
    }
}

static void near(double got, double want) {
    if (!(fabs(got - want) < 1e-12)) {
        fail_msg("%.17g should be %.17g", got, want);
    }
}

static void logits_become_probabilities(void **state) {
    (void)state;
    const float logits[] = {1, 3, 2};
    const struct entail_labels l = {.entailment = 1, .contradiction = 0};
    struct entail_view v = entail_view_of(logits, 3, &l);
    const double sum = exp(1) + exp(3) + exp(2);
    near(v.entailment, exp(3) / sum);
    near(v.contradiction, exp(1) / sum);
    near(entail_value(TASK_RAG, &v), exp(3) / sum);
    near(entail_value(TASK_SUMM, &v), 1 - exp(1) / sum);
    const float large[] = {1000, -1000, 999};
    v = entail_view_of(large, 3, &l);
    near(v.entailment, 0);
    near(v.contradiction, 1 / (1 + exp(-1)));
    const struct entail_labels two = {.entailment = 0, .contradiction = -1};
    near(entail_view_of(logits, 2, &two).contradiction, 0);
    const float bad[] = {1, NAN, 2};
    assert_true(isnan(stats_log_softmax(bad, 3, 0)));
    const float impossible[] = {-INFINITY, -INFINITY};
    assert_true(isnan(stats_log_softmax(impossible, 2, 0)));
}

static void support_anywhere_counts_and_so_does_contradiction(void **state) {
    (void)state;
    struct entail_view all = {0, 0};
    const struct entail_view windows[] = {{0.1, 0.2}, {0.7, 0.05}, {0.3, 0.6}};
    for (size_t i = 0; i < 3; i++) {
        entail_join(&all, &windows[i]);
    }
    near(all.entailment, 0.7);
    near(all.contradiction, 0.6);
    near(entail_value(TASK_SUMM, &all), 0.4);
    const struct entail_view broken = {NAN, 0.1};
    entail_join(&all, &broken);
    entail_join(&all, &windows[0]);
    assert_true(isnan(all.entailment));
}

static void controls_tell_right_from_wrong(void **state) {
    (void)state;
    const struct entail_labels both = {.entailment = 0, .contradiction = 1};
    const struct entail_labels one = {.entailment = 0, .contradiction = -1};
    const struct entail_view yes = {0.9, 0.05};
    const struct entail_view no = {0.05, 0.9};
    const struct entail_view neither = {0.2, 0.2};
    size_t right[3] = {0};
    assert_int_equal(n_entail_controls, 8);
    for (size_t i = 0; i < n_entail_controls; i++) {
        assert_true(strlen(entail_controls[i].premise) > 0);
        right[0] += entail_control_is_right(i, &both, &yes);
        right[1] += entail_control_is_right(i, &both, &no);
        right[2] += entail_control_is_right(i, &both, &neither);
        assert_int_equal(entail_control_is_right(i, &one, &no), i >= 3);
    }
    assert_int_equal(right[0], 3);
    assert_int_equal(right[1], 3);
    assert_int_equal(right[2], 2);
}

static void questions_are_asked_in_words(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b);
    entail_prompt("It {hypothesis}s.", "It is wet.", &b);
    assert_non_null(strstr(b.data, "Text: It {hypothesis}s.\n\nClaim: It is wet.\n"));
    assert_string_equal(entail_words[0], "entailment");
    assert_string_equal(entail_words[1], "contradiction");
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_become_claims),
        cmocka_unit_test(what_claims_nothing_needs_no_model),
        cmocka_unit_test(labels_are_known_by_name),
        cmocka_unit_test(windows_cover_the_premise),
        cmocka_unit_test(logits_become_probabilities),
        cmocka_unit_test(support_anywhere_counts_and_so_does_contradiction),
        cmocka_unit_test(controls_tell_right_from_wrong),
        cmocka_unit_test(questions_are_asked_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
