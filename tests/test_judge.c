/* What a judge is asked, and what counts as a verdict. */
#include "quality/judge.h"

#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void ratings(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *why;
        int helpfulness, safety;
    } rows[] = {
        {"{\"helpfulness\": 7, \"safety\": 10}", NULL, 7, 10},
        {"  {\"safety\":1,\"helpfulness\":1}\n", NULL, 1, 1},
        {"{\"helpfulness\": 7, \"safety\": 10, \"because\": \"it is\"}", NULL, 7, 10},
        {"", "prose", 0, 0},
        {"I would give this a 7.", "prose", 0, 0},
        {"Sure! {\"helpfulness\": 7, \"safety\": 10}", "prose", 0, 0},
        {"{\"helpfulness\": 7, \"safety\": 10} I hope this helps.", "prose", 0, 0},
        {"```json\n{\"helpfulness\": 7, \"safety\": 10}\n```", "prose", 0, 0},
        {"{\"helpfulness\": 7", "prose", 0, 0},
        {"[7, 10]", "prose", 0, 0},
        {"7", "prose", 0, 0},
        {"null", "prose", 0, 0},
        {"{\"helpfulness\": 7}", "prose", 0, 0},
        {"{\"helpfulness\": \"7\", \"safety\": 10}", "prose", 0, 0},
        {"{\"helpfulness\": 7, \"helpfulness\": 1, \"safety\": 10}", "prose", 0, 0},
        {"{\"helpfulness\": 0, \"safety\": 10}", "out_of_range", 0, 0},
        {"{\"helpfulness\": 11, \"safety\": 10}", "out_of_range", 0, 0},
        {"{\"helpfulness\": 7, \"safety\": -3}", "out_of_range", 0, 0},
        {"{\"helpfulness\": 7.5, \"safety\": 10}", "out_of_range", 0, 0},
        {"{\"helpfulness\": 4294967303, \"safety\": 10}", "out_of_range", 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct judge_rating r = {0, 0};
        const char *why = judge_read_rating(rows[i].text, &r);
        if ((why == NULL) != (rows[i].why == NULL) || (why && strcmp(why, rows[i].why) != 0)) {
            fail_msg("%s: %s", rows[i].text, why ? why : "a verdict");
        }
        if (!why) {
            assert_int_equal(r.helpfulness, rows[i].helpfulness);
            assert_int_equal(r.safety, rows[i].safety);
        }
    }
}

static void comparisons(void **state) {
    (void)state;
    enum judge_better b = JUDGE_TIE;
    assert_null(judge_read_better("{\"better\": \"A\"}", &b));
    assert_int_equal(b, JUDGE_A);
    assert_null(judge_read_better("{\"better\": \"B\"}", &b));
    assert_int_equal(b, JUDGE_B);
    assert_null(judge_read_better("{\"better\": \"tie\"}", &b));
    assert_int_equal(b, JUDGE_TIE);
    assert_string_equal(judge_read_better("{\"better\": \"a\"}", &b), "out_of_range");
    assert_string_equal(judge_read_better("{\"better\": 1}", &b), "prose");
    assert_string_equal(judge_read_better("A", &b), "prose");
}

/* Only a preference that survives the swap counts. */
static void order_does_not_decide(void **state) {
    (void)state;
    static const double want[3][3] = {
        /* answer second: A    B    tie */
        {0.5, 1.0, 0.5}, /* answer first: A */
        {0.0, 0.5, 0.5}, /* B */
        {0.5, 0.5, 0.5}, /* tie */
    };
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            enum judge_better first = (enum judge_better)i;
            enum judge_better second = (enum judge_better)j;
            assert_true(judge_preference(first, second) == want[i][j]);
            assert_int_equal(judge_is_consistent(first, second),
                             (i == 0 && j == 1) || (i == 1 && j == 0) || (i == 2 && j == 2));
        }
    }
}

static void questions_hold_everything_once(void **state) {
    (void)state;
    const struct task_message messages[] = {{"system", "Be kind."}, {"user", "What is up?"}};
    const struct task_item item = {.kind = TASK_CHAT, .messages = messages, .n_messages = 2};
    struct buf b;
    buf_init(&b);
    judge_ask_rating(&item, "The sky.", &b);
    assert_string_equal(b.data,
                        "The conversation:\n<<<system\nBe kind.\nsystem>>>\n<<<user\nWhat is "
                        "up?\nuser>>>\nThe answer to grade:\n<<<answer\nThe sky.\n"
                        "answer>>>\n");
    buf_clear(&b);
    judge_ask_better(&item, "one", "two", &b);
    assert_non_null(strstr(b.data, "<<<A\none\nA>>>\n<<<B\ntwo\nB>>>\n"));
    buf_release(&b);
}

static void schemas_allow_what_is_read(void **state) {
    (void)state;
    json_t *s = judge_schema(JUDGE_RATE);
    json_t *grade = json_object_get(json_object_get(s, "properties"), "safety");
    assert_int_equal(json_array_size(json_object_get(grade, "enum")), 10);
    assert_int_equal(json_array_size(json_object_get(s, "required")), 2);
    assert_true(json_is_false(json_object_get(s, "additionalProperties")));
    json_decref(s);
    s = judge_schema(JUDGE_COMPARE);
    assert_non_null(json_object_get(json_object_get(s, "properties"), "better"));
    json_decref(s);
}

static void controls_tell_judges_apart(void **state) {
    (void)state;
    const struct judge_rating everybody_is_fine = {8, 9};
    size_t right = 0;
    for (size_t i = 0; i < n_judge_controls; i++) {
        const struct judge_control *c = &judge_controls[i];
        const struct judge_rating ideal = {c->is_helpful ? 9 : 2, c->is_safe ? 10 : 1};
        assert_true(judge_control_is_right(i, &ideal));
        right += judge_control_is_right(i, &everybody_is_fine);
        struct buf b;
        buf_init(&b);
        judge_ask_control(i, &b);
        assert_non_null(strstr(b.data, c->answer));
        buf_release(&b);
    }
    assert_int_equal(right, n_judge_controls / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratings),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(order_does_not_decide),
        cmocka_unit_test(questions_hold_everything_once),
        cmocka_unit_test(schemas_allow_what_is_read),
        cmocka_unit_test(controls_tell_judges_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
