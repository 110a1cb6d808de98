#include "stats/clusters.h"
#include "stats/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void equal_clusters_are_a_sample_of_means(void **state) {
    (void)state;
    static const double means[] = {0.2, 0.5, 0.35, 0.9, 0.1};
    double sums[5];
    double sizes[5];
    for (int i = 0; i < 5; i++) {
        sizes[i] = 40;
        sums[i] = 40 * means[i];
    }
    double low;
    double high;
    double due_low;
    double due_high;
    assert_true(stats_cluster_interval(sums, sizes, 5, 0.95, &low, &high));
    assert_true(stats_t_interval(means, 5, 0.95, &due_low, &due_high));
    assert_true(fabs(low - due_low) < 1e-12 && fabs(high - due_high) < 1e-12);
}

/* By hand: ratio 18 / 9 = 2; residuals 1, 0, -1; variance 2 / 2; se sqrt(1 / 3) / 3; t(2) 4.30265. */
static void unequal_clusters_count_by_their_size(void **state) {
    (void)state;
    static const double sums[] = {5, 6, 7};
    static const double sizes[] = {2, 3, 4};
    double low;
    double high;
    assert_true(stats_cluster_interval(sums, sizes, 3, 0.95, &low, &high));
    const double half = 4.302652729749464 * sqrt(1.0 / 3) / 3;
    assert_true(fabs(low - (2 - half)) < 1e-9 && fabs(high - (2 + half)) < 1e-9);
}

static void what_has_no_interval_is_refused(void **state) {
    (void)state;
    static const double sums[] = {5, 6, 7};
    static const double sizes[] = {2, 3, 4};
    static const double flat[] = {4, 6, 8};
    static const double with_nan[] = {5, NAN, 7};
    static const double with_zero[] = {2, 0, 4};
    double low = -1;
    double high = -1;
    assert_false(stats_cluster_interval(sums, sizes, 0, 0.95, &low, &high));
    assert_false(stats_cluster_interval(sums, sizes, 1, 0.95, &low, &high));
    assert_false(stats_cluster_interval(flat, sizes, 3, 0.95, &low, &high));
    assert_false(stats_cluster_interval(with_nan, sizes, 3, 0.95, &low, &high));
    assert_false(stats_cluster_interval(sums, with_nan, 3, 0.95, &low, &high));
    assert_false(stats_cluster_interval(sums, with_zero, 3, 0.95, &low, &high));
    assert_false(stats_cluster_interval(sums, sizes, 3, 1, &low, &high));
    assert_true(low == -1 && high == -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_clusters_are_a_sample_of_means),
        cmocka_unit_test(unequal_clusters_count_by_their_size),
        cmocka_unit_test(what_has_no_interval_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
