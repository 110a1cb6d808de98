/* Refusals, labels and the registry. The published figures are in test_metrics_paper.c. */
#include "metrics/metrics.h"

#include "base/buf.h"
#include "base/fs.h"
#include "support/goldens.h"
#include "support/metric_table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const paper_ids[] = {"n_break", "ipw_paper", "rho_sys", "c_tax", "q_ret"};

/* A variant with everything measured. */
static struct metrics_input whole_input(void) {
    struct metrics_input in = {.method = "lora", .precision = "int4", .score_max = 1};
    struct quantity *all[] = {
        &in.ttft_mean_s,       &in.ttft_p50_s,    &in.ttft_p95_s, &in.tpot_mean_s,
        &in.itl_mean_s,        &in.e2e_mean_s,    &in.e2e_p50_s,  &in.e2e_p95_s,
        &in.file_bytes,        &in.weights_bytes, &in.kv_bytes,   &in.compute_bytes,
        &in.memory_peak_bytes,
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = quantity_of((double)i + 1, 0);
    }
    in.score = quantity_of(0.4, 200);
    in.score_fp16 = quantity_of(0.5, 200);
    in.n_weights = quantity_of(1e9, 0);
    in.prepare_j = metric_joules(3.6e6, "CPU");
    in.serve_j = metric_joules(2000, "CPU");
    in.serve_w = metric_joules(50, "CPU");
    in.requests_ok = quantity_of(100, 0);
    in.requests_failed = quantity_of(0, 0);
    in.output_tokens_per_s = quantity_of(250, 5);
    in.load_s = quantity_of(4, 5);
    return in;
}

static const struct metric_row *row(const struct metric_table *t, const char *id) {
    return metric_table_row(t, NULL, id);
}

static void check_value(const struct metric_table *t, const char *id, double want) {
    const struct metric_row *r = row(t, id);
    if (!(fabs(r->value - want) <= 1e-12 * fabs(want))) {
        fail_msg("%s is %.17g (%s), want %.17g", id, r->value, r->reason ? r->reason : "", want);
    }
    assert_null(r->reason);
}

static void check_refused(const struct metric_table *t, const char *id, const char *why) {
    metric_check_refused(row(t, id), why);
}

static void by_hand(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    struct metric_table t = metric_table_of(&in);
    check_value(&t, "n_break", 0.12 / (0.00125 - 20 / 3.6e6 * 0.12));
    check_value(&t, "ipw_paper", 0.4 / 20);
    check_value(&t, "rho_sys", 250 / 0.625);
    check_value(&t, "c_tax", 4.0 * 50 / 20);
    check_value(&t, "q_ret", 80);
    check_value(&t, "joules_per_request", 20);
    check_value(&t, "score", 0.4);
    assert_int_equal(row(&t, "score")->n, 200);
    assert_string_equal(row(&t, "n_break")->label, "scope CPU");
    assert_null(row(&t, "rho_sys")->label);
    arena_release(&t.arena);
}

static void nominal_sizes_are_the_published_ones(void **state) {
    (void)state;
    static const struct {
        const char *size, *precision;
        double gb;
    } sizes[] = {
        {"1B", "fp16", 2},     {"1B", "int8", 1},      {"1B", "int4", 0.625}, {"3B", "fp16", 6},
        {"3B", "int8", 3},     {"3B", "int4", 1.875},  {"7B", "fp16", 14},    {"7B", "int8", 7},
        {"7B", "int4", 4.375}, {"135M", "fp16", 0.27},
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct metrics_input in = whole_input();
        in.precision = sizes[i].precision;
        in.n_weights = quantity_of(metrics_weights_of_label(sizes[i].size), 0);
        struct metric_table t = metric_table_of(&in);
        check_value(&t, "rho_sys", 250 / sizes[i].gb);
        arena_release(&t.arena);
    }
    static const char *const no_sizes[] = {"",    "B",    "large", "1", "1BB",
                                           "-1B", "infB", "nan",   "0B"};
    for (size_t i = 0; i < sizeof(no_sizes) / sizeof(no_sizes[0]); i++) {
        assert_true(isnan(metrics_weights_of_label(no_sizes[i])));
    }
}

/* Every paper metric against every input: exactly those that need it are refused, by its name. */
static void a_missing_input_refuses_what_needs_it(void **state) {
    (void)state;
    static const struct {
        size_t input;
        const char *needed_by[5];
    } cases[] = {
        {offsetof(struct metrics_input, prepare_j), {"n_break"}},
        {offsetof(struct metrics_input, serve_j), {"n_break", "ipw_paper", "c_tax"}},
        {offsetof(struct metrics_input, requests_ok), {"n_break", "ipw_paper", "c_tax"}},
        {offsetof(struct metrics_input, score), {"ipw_paper", "q_ret"}},
        {offsetof(struct metrics_input, score_fp16), {"q_ret"}},
        {offsetof(struct metrics_input, n_weights), {"rho_sys"}},
        {offsetof(struct metrics_input, output_tokens_per_s), {"rho_sys"}},
        {offsetof(struct metrics_input, load_s), {"c_tax"}},
        {offsetof(struct metrics_input, serve_w), {"c_tax"}},
    };
    const double bad[] = {NAN, INFINITY, -1};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t kind = 0; kind < 4; kind++) {
            struct metrics_input in = whole_input();
            struct quantity *q = (struct quantity *)(void *)((char *)&in + cases[i].input);
            *q = kind == 0 ? quantity_missing("the dog ate it") : quantity_of(bad[kind - 1], 1);
            struct metric_table t = metric_table_of(&in);
            for (size_t m = 0; m < sizeof(paper_ids) / sizeof(paper_ids[0]); m++) {
                bool is_needed = false;
                for (size_t k = 0; k < 5 && cases[i].needed_by[k]; k++) {
                    is_needed |= strcmp(cases[i].needed_by[k], paper_ids[m]) == 0;
                }
                if (is_needed) {
                    check_refused(&t, paper_ids[m], kind == 0 ? "the dog ate it" : "");
                } else {
                    assert_false(metric_refused(row(&t, paper_ids[m])));
                }
            }
            arena_release(&t.arena);
        }
    }
}

static void zeros_that_mean_nothing_refuse(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.requests_ok = quantity_of(0, 0);
    struct metric_table t = metric_table_of(&in);
    check_refused(&t, "n_break", "served requests is 0");
    check_refused(&t, "joules_per_request", "served requests is 0");
    arena_release(&t.arena);
    in = whole_input();
    in.serve_j.value = 0;
    in.score_fp16.value = 0;
    t = metric_table_of(&in);
    check_refused(&t, "ipw_paper", "serving energy is 0");
    check_refused(&t, "q_ret", "fp16 score is 0");
    arena_release(&t.arena);
    in = whole_input();
    in.score_max = NAN;
    in.precision = "int3";
    t = metric_table_of(&in);
    check_refused(&t, "ipw_paper", "range");
    check_refused(&t, "rho_sys", "int3");
    arena_release(&t.arena);
}

static void a_score_of_zero_is_a_figure(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.score.value = 0;
    struct metric_table t = metric_table_of(&in);
    check_value(&t, "ipw_paper", 0);
    check_value(&t, "q_ret", 0);
    arena_release(&t.arena);
}

static void dear_electricity_never_breaks_even(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.serve_j = metric_joules(37501.0 * 100,
                               "CPU"); /* a little over $0.00125 of electricity each */
    struct metric_table t = metric_table_of(&in);
    const struct metric_row *r = row(&t, "n_break");
    assert_true(isinf(r->value) && r->value > 0);
    assert_false(metric_refused(r));
    assert_non_null(strstr(r->reason, "never: "));
    arena_release(&t.arena);
}

static void fp16_keeps_itself_by_definition(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.precision = "fp16";
    in.score = quantity_of(0.7683333333333333, 600);
    in.score_fp16 = in.score;
    struct metric_table t = metric_table_of(&in);
    assert_true(row(&t, "q_ret")->value == 100.0);
    arena_release(&t.arena);
}

static void warnings_travel_to_what_they_touch(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.serve_j.flags = QUANTITY_MODELLED | QUANTITY_INSTRUMENT;
    in.serve_j.low = 1000;
    in.serve_j.high = 3000;
    in.load_s.flags = QUANTITY_WARM_CACHE;
    in.score.note = "scorer f1";
    in.score_fp16.note = "scorer f1";
    in.score_fp16.n = 150;
    struct metric_table t = metric_table_of(&in);
    assert_string_equal(row(&t, "n_break")->label, "modelled; scope CPU");
    assert_string_equal(row(&t, "ipw_paper")->label, "modelled; scope CPU; scorer f1");
    assert_string_equal(row(&t, "c_tax")->label, "modelled; warm page cache; scope CPU");
    assert_string_equal(row(&t, "joules_per_request")->label,
                        "modelled; interval: instrument error only; scope CPU");
    assert_true(row(&t, "joules_per_request")->low == 10.0);
    assert_true(row(&t, "joules_per_request")->high == 30.0);
    assert_string_equal(row(&t, "q_ret")->label,
                        "fp16 was scored on another number of items; scorer f1");
    assert_null(row(&t, "rho_sys")->label);
    arena_release(&t.arena);
}

static void unlike_scopes_are_not_combined(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.prepare_j.scope = "GPU only";
    struct metric_table t = metric_table_of(&in);
    check_refused(&t, "n_break", "cannot be combined");
    assert_false(metric_refused(row(&t, "c_tax")));
    arena_release(&t.arena);
}

static void unlike_scorers_are_not_compared(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.score.note = "scorer f1";
    in.score_fp16.note = "scorer em";
    struct metric_table t = metric_table_of(&in);
    check_refused(&t, "q_ret", "another scorer");
    arena_release(&t.arena);
}

static void the_registry_is_complete_and_documented(void **state) {
    (void)state;
    char *path = source_path("docs/metrics.md");
    struct buf doc;
    buf_init(&doc);
    struct err e = ERR_INIT;
    assert_int_equal(fs_read(path, &doc, &e), 0);
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric *m = metrics_at(i);
        assert_ptr_equal(metrics_find_in(m->id, m->profile), m); /* none stands twice */
        assert_true(*m->name && *m->unit && *m->profile && *m->definition);
        struct buf quoted;
        buf_init(&quoted);
        buf_addf(&quoted, "`%s`", m->id);
        if (!strstr(doc.data, quoted.data)) {
            fail_msg("docs/metrics.md does not explain %s", quoted.data);
        }
        buf_release(&quoted);
    }
    assert_null(metrics_find("no_such_metric"));
    buf_release(&doc);
    free(path);
}

/* Two flags of one number would be one warning with two meanings. */
static void every_flag_has_its_own_words(void **state) {
    (void)state;
    struct arena a = ARENA_INIT;
    size_t n = 0;
    for (unsigned flag = 1; flag; flag <<= 1) {
        const char *text = NULL;
        assert_true(quantity_label(flag, NULL, NULL, &a, &text));
        assert_true(!text || !strstr(text, "; "));
        n += text != NULL;
    }
    assert_true(n >= 17);
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flag_has_its_own_words),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(nominal_sizes_are_the_published_ones),
        cmocka_unit_test(a_missing_input_refuses_what_needs_it),
        cmocka_unit_test(zeros_that_mean_nothing_refuse),
        cmocka_unit_test(a_score_of_zero_is_a_figure),
        cmocka_unit_test(dear_electricity_never_breaks_even),
        cmocka_unit_test(fp16_keeps_itself_by_definition),
        cmocka_unit_test(warnings_travel_to_what_they_touch),
        cmocka_unit_test(unlike_scopes_are_not_combined),
        cmocka_unit_test(unlike_scorers_are_not_compared),
        cmocka_unit_test(the_registry_is_complete_and_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
