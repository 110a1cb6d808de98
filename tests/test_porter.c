#include "quality/porter.h"
#include "support/goldens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    const char *word = golden_str(golden, "word");
    char *stem = strdup(word);
    assert_non_null(stem);
    stem[porter_stem(stem, strlen(word))] = '\0';
    golden_check_str(golden, "the stem", stem, golden_str(golden, "stem"));
    free(stem);
}

static void stems_are_nltks(void **state) {
    (void)state;
    assert_true(goldens_each("quality/porter.jsonl", check_golden, NULL) >= 3000);
}

/* A "word" of a model that repeats itself must not take time squared, nor a stack. */
static void long_words_end(void **state) {
    (void)state;
    enum { LEN = 1 << 20 };
    char *word = malloc(LEN);
    assert_non_null(word);
    memset(word, 'y', LEN);
    assert_int_equal(porter_stem(word, LEN), LEN);
    assert_int_equal(word[LEN - 1], 'i');
    free(word);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stems_are_nltks),
        cmocka_unit_test(long_words_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
