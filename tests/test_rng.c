/* Random numbers: the very values of an implementation in another language, and no bias. */
#include "base/rng.h"

#include "support/goldens.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t hex(const char *text) {
    char *end;
    uint64_t v = strtoull(text, &end, 16);
    assert_true(*text && !*end);
    return v;
}

static uint64_t golden_hex(const json_t *golden, const char *key) {
    return hex(golden_str(golden, key));
}

static void check_u64(const json_t *golden, size_t i, uint64_t got, uint64_t want) {
    if (got != want) {
        char *text = json_dumps(golden, JSON_COMPACT);
        print_error("value %zu is %" PRIx64 ", the reference has %" PRIx64 ", for %.300s\n", i, got,
                    want, text);
        free(text);
        fail();
    }
}

static uint64_t draw(const json_t *golden, const char *kind, struct rng *r) {
    return strcmp(kind, "below") == 0 ? rng_below(r, golden_hex(golden, "n")) : rng_u64(r);
}

static void check_golden(const json_t *golden, void *ctx) {
    (void)ctx;
    const char *kind = golden_str(golden, "kind");
    struct rng r;
    if (strcmp(kind, "stream") == 0) {
        rng_init_stream(&r, golden_hex(golden, "seed"), golden_hex(golden, "stream"));
    } else {
        rng_init(&r, golden_hex(golden, "seed"));
    }
    size_t i;
    json_t *value;
    const json_t *first = json_object_get(golden, "first");
    assert_true(json_array_size(first) >= 4);
    json_array_foreach(first, i, value) {
        if (strcmp(kind, "uniform") == 0) {
            assert_true(rng_uniform(&r) == golden_num(value));
        } else {
            check_u64(golden, i, draw(golden, kind, &r), hex(json_string_value(value)));
        }
    }
    if (strcmp(kind, "u64") == 0) {
        for (; i < 999; i++) {
            rng_u64(&r);
        }
        check_u64(golden, 999, rng_u64(&r), golden_hex(golden, "at_1000"));
    }
}

static void values_are_those_of_the_reference(void **state) {
    (void)state;
    assert_int_equal(goldens_each("base/rng.jsonl", check_golden, NULL), 27);
}

/*
 * Pearson's chi-square over n cells, n - 1 degrees of freedom. The streams are fixed, so a pass is
 * a pass for ever; the bound is 6 standard deviations above the mean of the distribution.
 */
static void check_uniform(uint64_t seed, uint64_t n, size_t draws) {
    size_t *cells = calloc((size_t)n, sizeof(*cells));
    assert_non_null(cells);
    struct rng r;
    rng_init(&r, seed);
    for (size_t i = 0; i < draws; i++) {
        uint64_t v = rng_below(&r, n);
        assert_true(v < n);
        cells[v]++;
    }
    double expected = (double)draws / (double)n;
    double chi2 = 0;
    for (uint64_t i = 0; i < n; i++) {
        double d = (double)cells[i] - expected;
        chi2 += d * d / expected;
    }
    free(cells);
    double df = (double)(n - 1);
    double bound = 6;
    /* chi2 - df < 6 sqrt(2 df), and not suspiciously even either. */
    assert_true((chi2 - df) * (chi2 - df) < bound * bound * 2 * df);
}

static void small_ranges_are_even(void **state) {
    (void)state;
    check_uniform(1, 2, 100000);
    check_uniform(2, 3, 100000);
    check_uniform(3, 7, 100000);
    check_uniform(4, 100, 200000);
    check_uniform(5, 1000, 1000000);
}

/*
 * For n = 3 * 2^62 a bare modulo gives the lowest third of the range twice its share: 1/2 and not
 * 1/3. 30000 draws tell these apart by 60 standard deviations.
 */
static void large_ranges_have_no_modulo_bias(void **state) {
    (void)state;
    const uint64_t n = UINT64_C(3) << 62;
    struct rng r;
    rng_init(&r, 11);
    size_t low = 0;
    for (int i = 0; i < 30000; i++) {
        low += rng_below(&r, n) < UINT64_C(1) << 62;
    }
    assert_in_range(low, 9500, 10500);
}

static void ranges_without_a_choice_give_zero(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 1);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rng_below(&r, 0), 0);
        assert_int_equal(rng_below(&r, 1), 0);
    }
}

static void uniform_values_stay_below_one_and_average_a_half(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 3);
    double sum = 0;
    for (int i = 0; i < 200000; i++) {
        double v = rng_uniform(&r);
        assert_true(v >= 0 && v < 1);
        sum += v;
    }
    assert_true(sum / 200000 > 0.497 && sum / 200000 < 0.503);
    /* The two ends of what the generator can say. */
    struct rng ends = {{0, 0, 0, 0}};
    assert_true(rng_uniform(&ends) == 0);
}

static void equal_seeds_give_equal_streams(void **state) {
    (void)state;
    struct rng a;
    struct rng b;
    rng_init_stream(&a, 99, 3);
    rng_init_stream(&b, 99, 3);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rng_u64(&a), rng_u64(&b));
    }
}

/* Small numbers are what callers pass: no two of these pairs may share a stream. */
static void streams_of_small_seeds_and_numbers_are_all_different(void **state) {
    (void)state;
    enum { N = 40 };
    static uint64_t first[N * N];
    for (uint64_t seed = 0; seed < N; seed++) {
        for (uint64_t stream = 0; stream < N; stream++) {
            struct rng r;
            rng_init_stream(&r, seed, stream);
            first[seed * N + stream] = rng_u64(&r);
        }
    }
    for (size_t i = 0; i < N * N; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_true(first[i] != first[k]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_the_reference),
        cmocka_unit_test(small_ranges_are_even),
        cmocka_unit_test(large_ranges_have_no_modulo_bias),
        cmocka_unit_test(ranges_without_a_choice_give_zero),
        cmocka_unit_test(uniform_values_stay_below_one_and_average_a_half),
        cmocka_unit_test(equal_seeds_give_equal_streams),
        cmocka_unit_test(streams_of_small_seeds_and_numbers_are_all_different),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
