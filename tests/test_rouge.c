#include "quality/rouge.h"
#include "support/goldens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *name;
    enum rouge_kind kind;
    bool stem;
} kinds[] = {
    {"rouge1", ROUGE_1, false},     {"rouge2", ROUGE_2, false},
    {"rougeL", ROUGE_L, false},     {"rougeLsum", ROUGE_LSUM, false},
    {"rouge1-stem", ROUGE_1, true}, {"rouge2-stem", ROUGE_2, true},
    {"rougeL-stem", ROUGE_L, true}, {"rougeLsum-stem", ROUGE_LSUM, true},
};

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    const char *target = golden_str(golden, "target");
    const char *prediction = golden_str(golden, "prediction");
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        const json_t *want = json_object_get(golden, kinds[k].name);
        struct rouge_value v;
        struct err e = ERR_INIT;
        assert_int_equal(rouge_score(kinds[k].kind, kinds[k].stem, target, prediction, &v, &e), 0);
        golden_check_num(golden, kinds[k].name, v.precision, golden_num(json_array_get(want, 0)));
        golden_check_num(golden, kinds[k].name, v.recall, golden_num(json_array_get(want, 1)));
        golden_check_num(golden, kinds[k].name, v.fmeasure, golden_num(json_array_get(want, 2)));
    }
}

static void scores_are_those_of_rouge_score(void **state) {
    (void)state;
    assert_true(goldens_each("quality/rouge.jsonl", check_golden, NULL) >= 300);
}

static void ill_formed_bytes_separate_words(void **state) {
    (void)state;
    struct rouge_value v;
    struct err e = ERR_INIT;
    assert_int_equal(rouge_score(ROUGE_L, false, "one two", "one\xFFtwo\xE2\x82", &v, &e), 0);
    assert_true(v.fmeasure == 1.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_rouge_score),
        cmocka_unit_test(ill_formed_bytes_separate_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
