/* The score section of plans. */
#include "lifecycle/plan.h"

#include "support/scratch.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/stat.h>

static int setup(void **state) {
    if (scratch_setup(state) != 0) {
        return -1;
    }
    static const char *const dirs[] = {"tasks", "tasks/rag", "tasks/summ", "tasks/chat"};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (mkdir(scratch_path(*state, dirs[i]), 0755) != 0) {
            return -1;
        }
    }
    scratch_write(*state, "models.yaml", "models: []\n", 11);
    scratch_write(*state, "tasks/rag/eval.jsonl", "", 0);
    scratch_write(*state, "tasks/summ/eval.jsonl", "", 0);
    scratch_write(*state, "tasks/chat/eval.jsonl", "", 0);
    scratch_write(*state, "own.gguf", "", 0);
    return 0;
}

#define START "models: [{path: own.gguf}]\ntasks: {rag: {}, summ: {}, chat: {}}\n"

static int parse(struct scratch *dir, const char *text, struct arena *a, struct plan *p,
                 struct err *e) {
    char path[600];
    snprintf(path, sizeof(path), "%s", scratch_path(dir, "p.yaml"));
    *a = (struct arena)ARENA_INIT;
    return plan_parse(text, strlen(text), path, dir->dir, a, p, e);
}

static void check(struct scratch *dir, const char *text, struct arena *a, struct plan *p) {
    struct err e = ERR_INIT;
    if (parse(dir, text, a, p, &e)) {
        fail_msg("%s", e.msg);
    }
}

/* The message must be "...p.yaml:" and then want. */
static void refuses(struct scratch *dir, const char *text, const char *want) {
    struct arena a;
    struct plan p;
    struct err e = ERR_INIT;
    assert_int_equal(parse(dir, text, &a, &p, &e), EE_FORMAT);
    const char *at = strstr(e.msg, "p.yaml:");
    assert_non_null(at);
    assert_string_equal(at + strlen("p.yaml:"), want);
    arena_release(&a);
}

static void scorers_on_request(void **state) {
    struct arena a;
    struct plan p;
    check(*state, START, &a, &p);
    assert_true(plan_wants_scorer(&p, scorer_find("rougeL")));
    assert_false(plan_wants_scorer(&p, scorer_find("rougeL-stem")));
    arena_release(&a);
    check(*state, START "score: {also: [rougeL-stem, chrf]}\n", &a, &p);
    assert_int_equal(p.score.n_also, 2);
    assert_true(plan_wants_scorer(&p, scorer_find("rougeL")));
    assert_true(plan_wants_scorer(&p, scorer_find("rougeL-stem")));
    assert_true(plan_wants_scorer(&p, scorer_find("chrf")));
    assert_false(plan_wants_scorer(&p, scorer_find("rougeLsum")));
    arena_release(&a);
}

#define ON_REQUEST "rougeLsum, rouge1-stem, rouge2-stem, rougeL-stem, rougeLsum-stem, chrf"

static void mistakes_are_named(void **state) {
    refuses(*state, START "score: {as: 1}\n", "3:9: unknown key \"as\" in score; allowed: also");
    refuses(*state, START "score: {also: chrf}\n",
            "3:15: also should be a list of scorers such as [rougeL-stem]");
    refuses(*state, START "score: {also: [chrf, bleu]}\n",
            "3:22: \"bleu\" is no scorer on request; there are " ON_REQUEST);
    refuses(*state, START "score: {also: [f1]}\n",
            "3:16: \"f1\" is no scorer on request; there are " ON_REQUEST);
    refuses(*state, START "score: {also: [chrf, chrf]}\n",
            "3:22: \"chrf\" is listed twice in also");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scorers_on_request, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(mistakes_are_named, setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
