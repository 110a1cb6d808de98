#include "intervals.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

double *golden_array(const json_t *golden, const char *key, size_t *n) {
    const json_t *list = json_object_get(golden, key);
    *n = json_array_size(list);
    double *x = calloc(*n + 1, sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < *n; i++) {
        x[i] = golden_num(json_array_get(list, i));
    }
    return x;
}

double golden_bound(const json_t *golden, const char *key) {
    const json_t *value = json_object_get(golden, key);
    return json_is_null(value) ? INFINITY : golden_num(value);
}

static void fail_interval(const json_t *golden, const struct stats_interval *got) {
    char *text = json_dumps(golden, JSON_COMPACT);
    print_error("%.17g (%.17g to %.17g), %s, %s; for %.1500s\n", got->estimate, got->low, got->high,
                got->method ? got->method : "no method", got->reason ? got->reason : "no reason",
                text ? text : "?");
    free(text);
    fail();
}

static int is_near(double got, double want, double tolerance) {
    return isinf(want) ? isinf(got) : fabs(got - want) <= tolerance;
}

void check_interval(const json_t *golden, const struct stats_interval *got, double tolerance) {
    double low = golden_bound(golden, "low");
    double high = golden_bound(golden, "high");
    double width = isinf(low) || isinf(high) ? 1 : (high - low) / 2;
    const json_t *estimate = json_object_get(golden, "estimate");
    if (!is_near(got->low, low, tolerance * width) ||
        !is_near(got->high, high, tolerance * width) ||
        (estimate && !is_near(got->estimate, golden_num(estimate), 1e-12 * (1 + width))) ||
        !got->method) {
        fail_interval(golden, got);
    }
}

void check_no_interval(const struct stats_interval *got, double estimate) {
    assert_true(isnan(got->low) && isnan(got->high));
    assert_non_null(got->reason);
    assert_null(got->method);
    if (isnan(estimate)) {
        assert_true(isnan(got->estimate));
    } else {
        assert_true(fabs(got->estimate - estimate) <= 1e-12 * fabs(estimate));
    }
}
