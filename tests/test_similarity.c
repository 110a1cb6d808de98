/* Cosines; the vectors themselves are tested in test_encoder.c. */
#include "quality/similarity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void cosines(void **state) {
    (void)state;
    const float a[] = {3, 4, 0};
    const float b[] = {4, 3, 0};
    const float minus_a[] = {-6, -8, 0};
    const float none[] = {0, 0, 0};
    const float large[] = {1e30F, 1e30F, 0};
    const float broken[] = {1, (float)NAN, 0};
    assert_true(fabs(similarity_cosine(a, b, 3) - 24.0 / 25) < 1e-15);
    assert_true(similarity_cosine(a, a, 3) == 1);
    assert_true(similarity_cosine(a, minus_a, 3) == -1);
    assert_true(fabs(similarity_cosine(large, a, 3) - 7 / (5 * sqrt(2))) < 1e-12);
    assert_true(isnan(similarity_cosine(a, none, 3)));
    assert_true(isnan(similarity_cosine(a, broken, 3)));
}

static void controls_are_three_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < n_similarity_controls; i++) {
        const struct similarity_control *c = &similarity_controls[i];
        assert_true(strcmp(c->text, c->like) != 0 && strcmp(c->like, c->unlike) != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cosines),
        cmocka_unit_test(controls_are_three_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
