/* Multiple choice: which one is preferred, and which one an answer names. */
#include "quality/choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const colours[] = {"Red", "Sky blue", "\xC3\xA9t\xC3\xA9", "A cat"};
static const struct task_item item = {
    .kind = TASK_CHOICE, .choices = colours, .n_choices = 4, .right = 1};

static struct choice_value decide(double red, double sky_blue, double ete, double cat) {
    const double log_p[] = {red, sky_blue, ete, cat};
    return choice_decide(&item, log_p);
}

/* Lengths are 3, 8, 3 and 5 characters, whatever their bytes. */
static void likelihoods(void **state) {
    (void)state;
    struct choice_value v = decide(-9, -8, -10, -11);
    assert_true(v.acc == 1 && v.acc_norm == 1);
    v = decide(-6, -8, -10, -11); /* a nat a character, against two */
    assert_true(v.acc == 0 && v.acc_norm == 1);
    v = decide(-2.9, -8, -10, -11);
    assert_true(v.acc == 0 && v.acc_norm == 0);
    v = decide(-9, -8, -2.9, -11); /* by bytes it would be -0.58 each, by characters -0.97 */
    assert_true(v.acc == 0 && v.acc_norm == 0);
    v = decide(-9, -8, -4, -11); /* by bytes it would win: -0.8 against -1 */
    assert_true(v.acc == 0 && v.acc_norm == 1);
}

static void the_first_of_equals_is_chosen(void **state) {
    (void)state;
    struct choice_value v = decide(-8, -8, -9, -9);
    assert_true(v.acc == 0);
    v = decide(-9, -8, -9, -8);
    assert_true(v.acc == 1);
}

static void answers_name_choices(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        int want;
    } rows[] = {
        {"B", 1},           {"b", 1},        {" B. ", 1},
        {"(B)", 1},         {"B) it is", 1}, {"B: Sky blue", 1},
        {"B.\nBecause", 1}, {"sky blue", 1}, {"Sky blue.", 1},
        {"a cat", 3},       {"D", 3},        {"E", -1},
        {"", -1},           {"Blue", -1},    {"A dog", -1},
        {"I think B", -1},  {"(", -1},       {"\xC3\xA9t\xC3\xA9", 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int got = choice_named(&item, rows[i].answer);
        if (got != rows[i].want) {
            fail_msg("\"%s\" names %d, not %d", rows[i].answer, got, rows[i].want);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likelihoods),
        cmocka_unit_test(the_first_of_equals_is_chosen),
        cmocka_unit_test(answers_name_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
