#include "quality/squad.h"
#include "support/goldens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_GOLDS = 8 };

static size_t read_golds(const json_t *golden, const char *golds[MAX_GOLDS]) {
    const json_t *list = json_object_get(golden, "golds");
    size_t n = json_array_size(list);
    assert_true(json_is_array(list) && n <= MAX_GOLDS);
    for (size_t i = 0; i < n; i++) {
        golds[i] = json_string_value(json_array_get(list, i));
        assert_non_null(golds[i]);
    }
    return n;
}

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    const char *golds[MAX_GOLDS] = {0};
    size_t n = read_golds(golden, golds);
    const char *prediction = golden_str(golden, "prediction");
    struct buf normal;
    buf_init(&normal);
    squad_normalize(prediction, &normal);
    assert_false(normal.failed);
    golden_check_str(golden, "normal form", normal.data, golden_str(golden, "normalized"));
    buf_release(&normal);

    struct squad_value v;
    struct err e = ERR_INIT;
    assert_int_equal(squad_score(golds, n, prediction, &v, &e), 0);
    golden_check_num(golden, "EM", v.em, golden_num(json_object_get(golden, "em")));
    golden_check_num(golden, "F1", v.f1, golden_num(json_object_get(golden, "f1")));
}

static void scores_are_the_official_ones(void **state) {
    (void)state;
    assert_true(goldens_each("quality/squad.jsonl", check_golden, NULL) >= 300);
}

struct compared {
    size_t same;
    size_t other;
};

/* The two scripts differ only where a gold normalizes to nothing: 1.1 knows no empty answer. */
static void check_golden_11(const json_t *golden, void *ctx) {
    struct compared *c = ctx;
    const char *golds[MAX_GOLDS] = {0};
    size_t n = read_golds(golden, golds);
    struct squad_value v;
    struct err e = ERR_INIT;
    assert_int_equal(squad_score(golds, n, golden_str(golden, "prediction"), &v, &e), 0);
    double em = golden_num(json_object_get(golden, "em"));
    double f1 = golden_num(json_object_get(golden, "f1"));
    if (json_is_true(json_object_get(golden, "gold_is_empty"))) {
        c->other += v.em != em || v.f1 != f1;
    } else {
        golden_check_num(golden, "EM", v.em, em);
        golden_check_num(golden, "F1", v.f1, f1);
        c->same++;
    }
}

static void scores_are_those_of_the_first_script_too(void **state) {
    (void)state;
    struct compared c = {0, 0};
    assert_true(goldens_each("quality/squad11.jsonl", check_golden_11, &c) >= 300);
    assert_true(c.same >= 300);
    assert_true(c.other > 0);
}

/* A model that is cut off inside a character must be scored, not refused. */
static void ill_formed_prediction_counts_as_text(void **state) {
    (void)state;
    const char *golds[] = {"every day"};
    struct squad_value v;
    struct err e = ERR_INIT;
    assert_int_equal(squad_score(golds, 1, "every day \xE2\x82", &v, &e), 0);
    assert_true(v.em == 0.0);
    assert_true(v.f1 > 0.79 && v.f1 < 0.81);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_the_official_ones),
        cmocka_unit_test(scores_are_those_of_the_first_script_too),
        cmocka_unit_test(ill_formed_prediction_counts_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
