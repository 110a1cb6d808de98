#include "quality/chrf.h"
#include "support/goldens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_GOLDS = 4 };

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    const json_t *list = json_object_get(golden, "golds");
    const char *golds[MAX_GOLDS];
    size_t n = json_array_size(list);
    assert_true(n >= 1 && n <= MAX_GOLDS);
    for (size_t i = 0; i < n; i++) {
        golds[i] = json_string_value(json_array_get(list, i));
        assert_non_null(golds[i]);
    }
    double value = -1;
    struct err e = ERR_INIT;
    assert_int_equal(chrf_score(golds, n, golden_str(golden, "prediction"), &value, &e), 0);
    golden_check_num(golden, "chrF", value, golden_num(json_object_get(golden, "chrf")) / 100);
}

static void scores_are_those_of_sacrebleu(void **state) {
    (void)state;
    assert_true(goldens_each("quality/chrf.jsonl", check_golden, NULL) >= 300);
}

static void nothing_to_compare_scores_nothing(void **state) {
    (void)state;
    double value = -1;
    struct err e = ERR_INIT;
    assert_int_equal(chrf_score(NULL, 0, "text", &value, &e), 0);
    assert_true(value == 0.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_sacrebleu),
        cmocka_unit_test(nothing_to_compare_scores_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
