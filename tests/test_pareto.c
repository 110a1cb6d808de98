/* Pareto frontiers: by definition on random points, and what may not be compared. */
#include "metrics/pareto.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { AXES = 3, MOST = 40 };

struct points {
    double x[MOST][AXES];
    int scope[MOST]; /* of axis 1 */
};

static double value(const void *ctx, size_t i, size_t axis) {
    return ((const struct points *)ctx)->x[i][axis];
}

static bool same_scope(const void *ctx, size_t i, size_t j, size_t axis) {
    const struct points *p = ctx;
    return axis != 1 || p->scope[i] == p->scope[j];
}

static const bool more[AXES] = {true, false, false};

static struct pareto pareto_of(const struct points *p, size_t n) {
    return (struct pareto){.n = n,
                           .n_axes = AXES,
                           .more_is_better = more,
                           .value = value,
                           .comparable = same_scope,
                           .ctx = p};
}

static void more_quality_for_less_dominates(void **state) {
    (void)state;
    const struct points p = {
        .x = {{0.8, 10, 1}, {0.7, 12, 1}, {0.9, 20, 3}, {0.8, 10, 1}, {0.8, 9, 2}}};
    struct pareto f = pareto_of(&p, 5);
    assert_true(pareto_dominates(&f, 0, 1));
    assert_false(pareto_dominates(&f, 1, 0));
    assert_false(pareto_dominates(&f, 0, 2)); /* less quality */
    assert_false(pareto_dominates(&f, 2, 0)); /* dearer */
    assert_false(pareto_dominates(&f, 0, 3)); /* equals do not beat each other */
    assert_false(pareto_dominates(&f, 4, 0));
    assert_int_equal(pareto_dominator(&f, 1), 0);
    assert_int_equal(pareto_dominator(&f, 0), 5);
    assert_int_equal(pareto_dominator(&f, 2), 5);
}

static void an_axis_counts_only_where_both_have_it(void **state) {
    (void)state;
    struct points p = {
        .x = {{0.8, 10, 1}, {0.7, NAN, 2}, {0.7, 5, 2}, {NAN, 99, 99}, {0.7, NAN, NAN}}};
    struct pareto f = pareto_of(&p, 5);
    assert_true(pareto_dominates(&f, 0, 1));
    assert_false(pareto_dominates(&f, 0, 2));
    assert_false(pareto_dominates(&f, 0, 3)); /* without quality nothing is said */
    assert_false(pareto_dominates(&f, 0, 4)); /* nor by quality alone */
    p.scope[2] = 1;                           /* joules that cannot be compared */
    assert_true(pareto_dominates(&f, 0, 2));
}

static void the_dominator_named_is_on_the_frontier(void **state) {
    (void)state;
    const struct points p = {.x = {{0.7, 12, 3}, {0.75, 11, 2}, {0.8, 10, 1}}};
    struct pareto f = pareto_of(&p, 3);
    assert_true(pareto_dominates(&f, 1, 0));
    assert_int_equal(pareto_dominator(&f, 0), 2);
    assert_int_equal(pareto_dominator(&f, 1), 2);
}

/* Whole numbers, so that ties are common. */
static void on_random_points_the_definition_holds(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int round = 0; round < 200; round++) {
        struct points p = {0};
        for (size_t i = 0; i < MOST; i++) {
            for (size_t k = 0; k < AXES; k++) {
                p.x[i][k] = (double)rng_below(&rng, 6);
            }
        }
        struct pareto f = pareto_of(&p, MOST);
        size_t n_frontier = 0;
        for (size_t j = 0; j < MOST; j++) {
            size_t by = pareto_dominator(&f, j);
            n_frontier += by == MOST ? 1 : 0;
            if (by == MOST) {
                continue;
            }
            assert_true(p.x[by][0] >= p.x[j][0] && p.x[by][1] <= p.x[j][1] &&
                        p.x[by][2] <= p.x[j][2]);
            assert_true(p.x[by][0] > p.x[j][0] || p.x[by][1] < p.x[j][1] || p.x[by][2] < p.x[j][2]);
            assert_int_equal(pareto_dominator(&f, by), MOST);
        }
        assert_true(n_frontier > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_quality_for_less_dominates),
        cmocka_unit_test(an_axis_counts_only_where_both_have_it),
        cmocka_unit_test(the_dominator_named_is_on_the_frontier),
        cmocka_unit_test(on_random_points_the_definition_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
