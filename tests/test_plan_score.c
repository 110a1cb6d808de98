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

static void primary_scores(void **state) {
    struct arena a;
    struct plan p;
    check(*state, START, &a, &p);
    assert_string_equal(p.score.primary[TASK_RAG]->id, "entailment");
    assert_string_equal(p.score.primary[TASK_SUMM]->id, "non_contradiction");
    assert_non_null(strstr(plan_source_gap(&p, SCORED_BY_ENTAILMENT), "score.entailment.model"));
    assert_null(plan_source_gap(&p, SCORED_BY_TEXT));
    assert_string_equal(p.score.primary[TASK_CHAT]->id, "helpfulness");
    assert_non_null(strstr(plan_source_gap(&p, SCORED_BY_JUDGE), "score.judge"));
    assert_false(plan_wants_scorer(&p, scorer_find("entailment")));
    arena_release(&a);

    check(*state, START "score: {primary: text}\n", &a, &p);
    for (int k = 0; k < TASK_KINDS; k++) {
        assert_ptr_equal(p.score.primary[k], scorer_stand_in((enum task_kind)k));
    }
    arena_release(&a);

    check(*state, START "score: {primary: {summ: rouge2, chat: chrf}}\n", &a, &p);
    assert_string_equal(p.score.primary[TASK_RAG]->id, "entailment");
    assert_string_equal(p.score.primary[TASK_SUMM]->id, "rouge2");
    assert_string_equal(p.score.primary[TASK_CHAT]->id, "chrf");
    assert_true(plan_wants_scorer(&p, scorer_find("chrf")));
    arena_release(&a);
}

static void models_that_score(void **state) {
    struct arena a;
    struct plan p;
    check(*state, START "score: {entailment: {model: own.gguf, pooling: mean}}\n", &a, &p);
    assert_non_null(strstr(p.score.entailment.model, "/own.gguf"));
    assert_true(p.score.entailment.mean_pooled);
    assert_null(plan_source_gap(&p, SCORED_BY_ENTAILMENT));
    assert_true(plan_wants_scorer(&p, scorer_find("entailment")));
    assert_true(plan_wants_scorer(&p, scorer_find("non_contradiction")));
    arena_release(&a);
    check(*state,
          START "sampling: {temperature: 1}\nscore: {passes: 3, entailment: {model: own.gguf}, "
                "primary: {rag: entailment, summ: rougeL}}\n",
          &a, &p);
    assert_false(p.score.entailment.mean_pooled);
    assert_false(plan_wants_scorer(&p, scorer_find("similarity")));
    assert_int_equal(p.score.passes, 3);
    assert_string_equal(p.score.primary[TASK_SUMM]->id, "rougeL");
    arena_release(&a);
}

static void judges(void **state) {
    struct arena a;
    struct plan p;
    check(*state, START "score: {judge: {model: own.gguf}}\n", &a, &p);
    assert_non_null(strstr(p.score.judge.model, "/own.gguf"));
    assert_null(p.score.judge.url);
    assert_int_equal(p.score.judge.passes, 1);
    assert_false(p.score.judge.has_temperature);
    assert_true(plan_wants_scorer(&p, scorer_find("helpfulness")));
    assert_true(plan_wants_scorer(&p, scorer_find("safety")));
    assert_false(plan_wants_scorer(&p, scorer_find("preference")));
    arena_release(&a);
    check(*state,
          START
          "score: {also: [preference], judge: {url: 'https://api.example.com/v1', model: big, "
          "auth_env: JUDGE_KEY_2, passes: 3, temperature: 0.7, output: json, timeout_s: 9, "
          "price: {input: 2.5, output: 10}}}\n",
          &a, &p);
    assert_string_equal(p.score.judge.model, "big");
    assert_string_equal(p.score.judge.url, "https://api.example.com/v1");
    assert_string_equal(p.score.judge.auth_env, "JUDGE_KEY_2");
    assert_int_equal(p.score.judge.passes, 3);
    assert_int_equal(p.score.judge.output, JUDGE_OUTPUT_JSON);
    assert_int_equal(p.score.judge.timeout_s, 9);
    assert_true(p.score.judge.has_price && p.score.judge.usd_per_mtok_in == 2.5);
    assert_true(p.score.judge.usd_per_mtok_out == 10);
    assert_true(p.score.judge.has_temperature && p.score.judge.temperature == 0.7);
    assert_true(plan_wants_scorer(&p, scorer_find("preference")));
    arena_release(&a);
}

static void mistakes_about_judges_are_named(void **state) {
    static const struct {
        const char *text;
        const char *want;
    } rows[] = {
        {"{}", "3:16: judge needs a model: a GGUF file, or with url the name of one there"},
        {"{url: 'http://h/v1'}",
         "3:16: judge needs a model: a GGUF file, or with url the name of one there"},
        {"{model: own.gguf, auth_env: KEY}", "3:44: auth_env goes with url; a model file has none"},
        {"{url: 'http://h/v1', model: m, auth_env: sk-123-secret}",
         "3:57: auth_env should be the name of an environment variable in capitals, such as "
         "JUDGE_API_KEY; a key itself has no place in a plan"},
        {"{url: 'ftp://h', model: m}",
         "3:22: \"ftp://h\" is no address of a server: it must begin with http:// or https://; give "
         "one such as http://127.0.0.1:8080/v1"},
        {"{url: 'http://me:secret@h', model: m}",
         "3:22: \"(hidden)\" is no address of a server: a user name or password in it would be "
         "stored; give one such as http://127.0.0.1:8080/v1"},
        {"{model: own.gguf, passes: 2}",
         "3:42: the passes of a judge repeat each other with greedy decoding; set its temperature"},
        {"{model: own.gguf, passes: 0}",
         "3:42: passes is \"0\"; it should be a whole number from 1 to 100"},
        {"{url: 'http://h/v1', model: m, price: {input: 1}}",
         "3:54: price needs input and output: $ per million tokens"},
        {"{url: 'http://h/v1', model: m, output: xml}",
         "3:55: output is \"xml\"; allowed: schema, json, text"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "%sscore: {judge: %s}\n", START, rows[i].text);
        refuses(*state, text, rows[i].want);
    }
    refuses(
        *state, START "score: {also: [preference]}\n",
        "3:16: preference cannot be scored: no model judges answers: name one in score.judge, or "
        "let the comparison of texts stand in with score: {primary: text}");
}

static void embedding_models(void **state) {
    struct arena a;
    struct plan p;
    check(*state, START "score: {similarity: {model: own.gguf, prefix: 'query: '}}\n", &a, &p);
    assert_non_null(strstr(p.score.similarity.model, "/own.gguf"));
    assert_string_equal(p.score.similarity.prefix, "query: ");
    assert_true(plan_wants_scorer(&p, scorer_find("similarity")));
    arena_release(&a);
}

/* Likelihoods are the engine's; the answers of a server are all there is of it. */
static void servers_have_no_likelihoods(void **state) {
    struct arena a;
    struct plan p;
    check(*state, START, &a, &p);
    assert_null(plan_source_gap(&p, SCORED_BY_LIKELIHOOD));
    assert_true(plan_wants_scorer(&p, scorer_find("acc_norm")));
    assert_false(plan_wants_scorer(&p, scorer_find("reference_logp")));
    arena_release(&a);
    check(*state, START "engine: {server: {url: 'http://127.0.0.1:1/v1', model: m}}\n", &a, &p);
    assert_non_null(strstr(plan_source_gap(&p, SCORED_BY_LIKELIHOOD), "a server answers"));
    assert_false(plan_wants_scorer(&p, scorer_find("acc_norm")));
    assert_true(plan_wants_scorer(&p, scorer_find("choice")));
    arena_release(&a);
}

#define ON_REQUEST                                                                                 \
    "preference, reference_logp, rougeLsum, rouge1-stem, rouge2-stem, rougeL-stem, rougeLsum-stem, chrf"

static void mistakes_are_named(void **state) {
    static const struct {
        const char *text;
        const char *want;
    } rows[] = {
        {"score: {as: 1}\n",
         "3:9: unknown key \"as\" in score; allowed: primary, also, passes, entailment, "
         "judge, similarity"},
        {"score: {also: chrf}\n", "3:15: also should be a list of scorers such as [rougeL-stem]"},
        {"score: {also: [chrf, bleu]}\n",
         "3:22: \"bleu\" is no scorer on request; there are " ON_REQUEST},
        {"score: {also: [f1]}\n", "3:16: \"f1\" is no scorer on request; there are " ON_REQUEST},
        {"score: {also: [chrf, chrf]}\n", "3:22: \"chrf\" is listed twice in also"},
        {"score: {primary: f1}\n", "3:18: primary is \"f1\"; it should be text, or a scorer for "
                                   "each task such as {rag: f1}"},
        {"score: {primary: {rag: rougeL}}\n", "3:24: \"rougeL\" is no primary scorer of rag; there "
                                              "are entailment, em, f1"},
        {"score: {primary: {qa: f1}}\n",
         "3:19: unknown key \"qa\" in primary; allowed: rag, summ, chat, choice"},
        {"score: {primary: {rag: entailment}}\n",
         "3:24: entailment cannot be the primary score: no model judges entailment: name one in "
         "score.entailment.model, or let the comparison of texts stand in with score: {primary: "
         "text}"},
        {"score: {entailment: {}}\n", "3:21: entailment needs a model: a GGUF file"},
        {"score: {entailment: {model: own.gguf, pooling: cls}}\n",
         "3:48: pooling is \"cls\"; allowed: mean"},
        {"score: {similarity: {prefix: x}}\n",
         "3:21: similarity needs a model: an embedding model's GGUF file"},
        {"score: {similarity: yes}\n",
         "3:21: similarity should be a mapping (key: value); allowed: model, prefix"},
        {"score: {passes: 3}\n",
         "3:17: passes repeat each other word for word with greedy decoding; "
         "set sampling.temperature"},
        {"score: {passes: 0}\n",
         "3:17: passes is \"0\"; it should be a whole number from 1 to 1000"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "%s%s", START, rows[i].text);
        refuses(*state, text, rows[i].want);
    }
    struct arena a;
    struct plan p;
    struct err e = ERR_INIT;
    assert_int_equal(parse(*state, START "score: {entailment: {model: no.gguf}}\n", &a, &p, &e),
                     EE_FORMAT);
    assert_non_null(strstr(e.msg, "p.yaml:3:29: no file at "));
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scorers_on_request, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(primary_scores, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(models_that_score, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(embedding_models, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(servers_have_no_likelihoods, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(judges, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(mistakes_about_judges_are_named, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(mistakes_are_named, setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
