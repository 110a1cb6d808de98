#include "quality/score.h"

#include "quality/prompt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const two_golds[] = {"every day", "daily"};
static const char *const no_gold[] = {""};
static const char *const a_reference[] = {"The cat sat on the mat."};

static const struct task_item answerable = {
    .kind = TASK_RAG, .id = "yes", .golds = two_golds, .n_golds = 2};
static const struct task_item unanswerable = {
    .kind = TASK_RAG, .id = "none", .golds = no_gold, .n_golds = 1, .unanswerable = true};
static const struct task_item summ = {
    .kind = TASK_SUMM, .id = "summ", .golds = a_reference, .n_golds = 1};
static const struct task_item chat = {
    .kind = TASK_CHAT, .id = "chat", .golds = a_reference, .n_golds = 1};

static void check(const char *scorer, const struct task_item *item, const char *prediction,
                  double want) {
    const struct scorer *s = scorer_find(scorer);
    assert_non_null(s);
    double value = -1;
    struct err e = ERR_INIT;
    if (score_item(s, item, prediction, &value, &e)) {
        fail_msg("%s", e.msg);
    }
    if (!(value - want <= 1e-12 && want - value <= 1e-12)) {
        fail_msg("%s of \"%s\" for item %s is %.17g, not %.17g", scorer, prediction, item->id,
                 value, want);
    }
}

static void registry_is_sound(void **state) {
    (void)state;
    size_t primaries[TASK_KINDS] = {0};
    size_t stand_ins[TASK_KINDS] = {0};
    for (size_t i = 0; i < scorer_count(); i++) {
        const struct scorer *s = scorer_at(i);
        assert_ptr_equal(scorer_find(s->id), s);
        assert_true(strlen(s->about) > 0);
        assert_true(s->low < s->high);
        assert_int_equal(s->score != NULL, s->source == SCORED_BY_TEXT);
        size_t tasks = 0;
        for (int k = 0; k < TASK_KINDS; k++) {
            assert_true(s->labels[k] || (!s->primary[k] && !s->stands_in[k]));
            assert_true(!s->stands_in[k] || (s->source == SCORED_BY_TEXT && !s->on_request));
            tasks += s->labels[k] != NULL;
            primaries[k] += s->primary[k];
            stand_ins[k] += s->stands_in[k];
        }
        assert_true(tasks > 0);
    }
    for (int k = 0; k < TASK_KINDS; k++) {
        assert_int_equal(primaries[k], 1);
        assert_int_equal(stand_ins[k], 1);
    }
    assert_string_equal(scorer_primary(TASK_RAG)->id, "entailment");
    assert_string_equal(scorer_primary(TASK_SUMM)->id, "non_contradiction");
    assert_string_equal(scorer_primary(TASK_CHAT)->id, "helpfulness");
    assert_string_equal(scorer_stand_in(TASK_RAG)->id, "f1");
    assert_string_equal(scorer_stand_in(TASK_SUMM)->id, "rougeL");
    assert_string_equal(scorer_stand_in(TASK_CHAT)->id, "rougeL");
    assert_non_null(strstr(scorer_find("rougeL")->labels[TASK_CHAT], "against the reference"));
    assert_null(scorer_find("bleu"));
    assert_false(scorer_find("rougeL")->on_request);
    assert_true(scorer_find("rougeL-stem")->on_request);
}

static void best_gold_counts(void **state) {
    (void)state;
    check("em", &answerable, " Daily!\n", 1);
    check("f1", &answerable, "Daily", 1);
    check("em", &answerable, "every single day", 0);
    check("f1", &answerable, "every single day", 0.8);
    check("f1", &answerable, "", 0);
}

static void no_answer_is_the_empty_answer(void **state) {
    (void)state;
    static const char *const none[] = {"No answer.", "no answer", "NO ANSWER.", " \n No answer. \n",
                                       "",           "  ",        "."};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        check("em", &unanswerable, none[i], 1);
        check("f1", &unanswerable, none[i], 1);
        check("em", &answerable, none[i], 0);
        check("f1", &answerable, none[i], 0);
    }
    static const char *const some[] = {"No",     "No answer is given.", "No answer..",
                                       "answer", "There is no answer.", "every day"};
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        check("em", &unanswerable, some[i], 0);
        check("f1", &unanswerable, some[i], 0);
        assert_false(score_is_no_answer(TASK_RAG, some[i]));
    }
    assert_true(score_is_no_answer(TASK_RAG, prompt_for(TASK_RAG)->no_answer));
    assert_false(score_is_no_answer(TASK_RAG, ""));
    assert_false(score_is_no_answer(TASK_SUMM, "No answer."));
}

static void rouge_scores_the_f_measure(void **state) {
    (void)state;
    check("rouge1", &summ, "the CAT sat", 2 * 1.0 * 0.5 / 1.5);
    check("rouge2", &summ, "the cat sat", 2 * 1.0 * 0.4 / 1.4);
    check("rougeL", &summ, "sat the cat", 2 * (2.0 / 3) * (1.0 / 3) / 1.0);
    check("rougeL", &chat, "The cat sat on the mat.", 1);
    check("rougeL", &chat, "No answer.", 0);
    check("rougeL", &chat, "", 0);
    check("rougeL", &summ, "cats sat", 2 * 1.0 / 2 * (1.0 / 6) / (1.0 / 2 + 1.0 / 6));
    check("rougeL-stem", &summ, "cats sat", 2 * 1.0 * (2.0 / 6) / (1.0 + 2.0 / 6));
    check("rougeLsum", &summ, "sat\nthe cat", 2 * 1.0 * (3.0 / 6) / (1.0 + 3.0 / 6));
    check("chrf", &summ, "The cat sat on the mat.", 1);
    check("chrf", &chat, "", 0);
}

static void what_cannot_be_scored_is_refused(void **state) {
    (void)state;
    double value = -1;
    struct err e = ERR_INIT;
    const struct scorer *f1 = scorer_find("f1");
    assert_int_equal(score_item(f1, &summ, "x", &value, &e), EE_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "f1 does not score the task summ"));
    assert_int_equal(score_item(f1, &answerable, NULL, &value, &e), EE_MISSING);
    assert_non_null(strstr(e.msg, "item yes"));
    const struct scorer *entailment = scorer_find("entailment");
    assert_int_equal(score_item(entailment, &answerable, "x", &value, &e), EE_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "entailment is scored by a model"));
    assert_true(value == -1.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_is_sound),
        cmocka_unit_test(best_gold_counts),
        cmocka_unit_test(no_answer_is_the_empty_answer),
        cmocka_unit_test(rouge_scores_the_f_measure),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
