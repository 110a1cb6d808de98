/* Divergences of rows of logits, exact and as llama-perplexity rounds them, and their summaries. */
#include "quality/fidelity.h"
#include "quality/fidelity_compat.h"

#include "support/goldens.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_VOCAB = 512 };

struct logits {
    float base[MAX_VOCAB];
    float other[MAX_VOCAB];
    size_t n;
    int32_t next;
};

static size_t read_floats(const json_t *list, float *out) {
    size_t n = json_array_size(list);
    assert_true(n <= MAX_VOCAB);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)golden_num(json_array_get(list, i));
    }
    return n;
}

static void read_logits(const json_t *golden, struct logits *l) {
    l->n = read_floats(json_object_get(golden, "base"), l->base);
    assert_int_equal(read_floats(json_object_get(golden, "other"), l->other), l->n);
    l->next = (int32_t)json_integer_value(json_object_get(golden, "next"));
}

static double want(const json_t *golden, const char *part, const char *key) {
    const json_t *v = json_object_get(json_object_get(golden, part), key);
    return json_is_boolean(v) ? json_is_true(v) : golden_num(v);
}

static void near(const json_t *golden, const char *what, double got, double due, double within) {
    if (!(fabs(got - due) <= within)) {
        char *text = json_dumps(golden, JSON_COMPACT);
        fail_msg("%s is %.12g and should be %.12g: %.500s", what, got, due, text);
    }
}

struct all_rows {
    struct fidelity *f;
    json_t *summary;
};

static void check_exact(const json_t *golden, void *ctx) {
    struct all_rows *all = ctx;
    if (json_object_get(golden, "summary")) {
        all->summary = json_deep_copy(json_object_get(golden, "summary"));
        return;
    }
    struct logits l;
    struct fidelity_row r;
    struct err e = ERR_INIT;
    read_logits(golden, &l);
    fidelity_compare(l.base, l.other, l.n, l.next, &r);
    golden_check_num(golden, "KL", r.kl, want(golden, "exact", "kl"));
    golden_check_num(golden, "base's NLL", r.nll_base, want(golden, "exact", "nll_base"));
    golden_check_num(golden, "other's NLL", r.nll_other, want(golden, "exact", "nll_other"));
    assert_int_equal(r.same_top, (int)want(golden, "exact", "same_top"));
    OK(fidelity_add(all->f, &r, 1, &e));
}

static void rows_and_their_summary_are_the_reference_s(void **state) {
    (void)state;
    struct all_rows all = {0};
    struct err e = ERR_INIT;
    struct fidelity_summary s;
    OK(fidelity_new(&all.f, &e));
    assert_true(goldens_each("quality/fidelity.jsonl", check_exact, &all) >= 100);
    OK(fidelity_summarize(all.f, &s, &e));
    const struct {
        const char *key;
        double got;
    } due[] = {{"kl_mean", s.mean_kl.value},
               {"kl_median", s.kl_median},
               {"kl_p99", s.kl_p99},
               {"kl_max", s.kl_max},
               {"same_top", s.same_top.value},
               {"ppl_base", s.ppl_base.value},
               {"ppl_other", s.ppl_other.value},
               {"ppl_ratio", s.ppl_ratio.value}};
    assert_int_equal(s.n_tokens, s.n_windows);
    for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
        double v = golden_num(json_object_get(all.summary, due[i].key));
        near(all.summary, due[i].key, due[i].got, v, 1e-12 * (1 + v));
    }
    assert_true(s.mean_kl.low < s.mean_kl.value && s.mean_kl.value < s.mean_kl.high);
    assert_true(s.ppl_ratio.low < s.ppl_ratio.value && s.ppl_ratio.value < s.ppl_ratio.high);
    fidelity_free(all.f);
    json_decref(all.summary);
}

static void one_model_is_itself(void **state) {
    (void)state;
    static const float row[] = {0.5F, -3.25F, 7.0F, 1e-3F};
    struct fidelity_row r;
    fidelity_compare(row, row, 4, 1, &r);
    assert_true(r.kl == 0.0 && r.same_top && r.nll_base == r.nll_other);
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    static const float fine[] = {1, 2, 3};
    static const float nan_first[] = {NAN, 2, 3};
    static const float nan_last[] = {1, 2, NAN};
    static const float impossible[] = {1, -INFINITY, 3};
    const struct {
        const float *base;
        const float *other;
        bool is_whole;
    } cases[] = {{fine, nan_first, false},       {nan_first, fine, false},
                 {fine, nan_last, false},        {fine, impossible, false},
                 {impossible, impossible, true}, {impossible, fine, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fidelity *f = NULL;
        struct fidelity_row rows[2];
        struct err e = ERR_INIT;
        OK(fidelity_new(&f, &e));
        fidelity_compare(fine, fine, 3, 0, &rows[0]);
        fidelity_compare(cases[i].base, cases[i].other, 3, 0, &rows[1]);
        if (cases[i].is_whole) {
            OK(fidelity_add(f, rows, 2, &e));
        } else {
            REFUSED_WITH(fidelity_add(f, rows, 2, &e), EE_UNSUPPORTED,
                         "no finite divergence at token 2 of window 1");
        }
        fidelity_free(f);
    }
}

static void few_windows_show_no_interval(void **state) {
    (void)state;
    static const float a[] = {1, 2, 3};
    static const float b[] = {3, 2, 1};
    struct fidelity *f = NULL;
    struct fidelity_row rows[2];
    struct fidelity_summary s;
    struct err e = ERR_INIT;
    OK(fidelity_new(&f, &e));
    REFUSED(fidelity_summarize(f, &s, &e), EE_MISSING, "no tokens were compared");
    fidelity_compare(a, b, 3, 0, &rows[0]);
    fidelity_compare(a, a, 3, 0, &rows[1]);
    OK(fidelity_add(f, rows, 2, &e));
    OK(fidelity_add(f, rows, 0, &e));
    OK(fidelity_summarize(f, &s, &e));
    assert_int_equal(s.n_tokens, 2);
    assert_int_equal(s.n_windows, 1);
    assert_true(s.same_top.value == 0.5);
    assert_true(isnan(s.mean_kl.low) && isnan(s.mean_kl.high) && isnan(s.ppl_base.low));
    OK(fidelity_add(f, rows, 1, &e));
    OK(fidelity_summarize(f, &s, &e));
    assert_true(s.mean_kl.low < s.mean_kl.value && s.mean_kl.high > s.mean_kl.value);
    fidelity_free(f);
}

/* ---- as the tool ---- */

static void check_tool(const json_t *golden, void *ctx) {
    struct compat *c = ctx;
    if (json_object_get(golden, "summary")) {
        return;
    }
    struct logits l;
    struct compat_row r;
    uint16_t rounded[MAX_VOCAB];
    read_logits(golden, &l);
    compat_compare(l.base, l.other, l.n, l.next, rounded, &r);
    const double within = 2e-5;
    near(golden, "tool's exact NLL", r.nll_exact, want(golden, "tool", "nll_exact"), within);
    near(golden, "tool's base NLL", r.nll_base, want(golden, "tool", "nll_base"), within);
    near(golden, "tool's other NLL", r.nll_other, want(golden, "tool", "nll_other"), within);
    near(golden, "tool's KL", r.kl, want(golden, "tool", "kl"), within);
    near(golden, "tool's p diff", r.p_diff, want(golden, "tool", "p_diff"), within);
    assert_int_equal(r.same_top, (int)want(golden, "tool", "same_top"));
    compat_add(c, &r, 1);
}

static void rounded_rows_are_the_tool_s(void **state) {
    (void)state;
    struct compat *c = NULL;
    struct compat_summary s;
    struct err e = ERR_INIT;
    OK(compat_new(1000, &c, &e));
    size_t n = goldens_each("quality/fidelity.jsonl", check_tool, c) - 1;
    OK(compat_summarize(c, &s, &e));
    assert_int_equal(s.n_tokens, n);
    assert_true(s.kl_min <= s.kl_001 && s.kl_001 <= s.kl_50 && s.kl_50 <= s.kl_99);
    assert_true(s.kl_99 <= s.kl_999 && s.kl_999 <= s.kl_max);
    assert_true(s.p_min <= s.p_25 && s.p_25 <= s.p_50 && s.p_50 <= s.p_75 && s.p_75 <= s.p_max);
    assert_true(fabs(s.ratio.value - exp(s.log_ratio.value)) < 1e-12);
    assert_true(fabs(s.difference.value - (s.ppl_other.value - s.ppl_base.value)) < 1e-9);
    compat_free(c);
}

static void the_tool_wants_a_hundred_positions(void **state) {
    (void)state;
    static const float a[] = {1, 2, 3};
    struct compat *c = NULL;
    struct compat_summary s;
    struct compat_row r;
    uint16_t rounded[3];
    struct err e = ERR_INIT;
    OK(compat_new(100, &c, &e));
    compat_compare(a, a, 3, 0, rounded, &r);
    for (int i = 0; i < 99; i++) {
        compat_add(c, &r, 1);
    }
    REFUSED_WITH(compat_summarize(c, &s, &e), EE_MISSING, "fewer than 100 positions");
    compat_add(c, &r, 1);
    OK(compat_summarize(c, &s, &e));
    assert_true(fabs(s.kl.value) < 1e-4 && s.same_top.value == 1.0);
    compat_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_their_summary_are_the_reference_s),
        cmocka_unit_test(one_model_is_itself),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(few_windows_show_no_interval),
        cmocka_unit_test(rounded_rows_are_the_tool_s),
        cmocka_unit_test(the_tool_wants_a_hundred_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
