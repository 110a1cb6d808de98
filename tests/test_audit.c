/*
 * Every audit rule on a clean set, which it must leave alone, and on the same set with the one
 * fault that it is there for.
 */
#include "metrics/audit.h"

#include "base/rng.h"
#include "support/audit_rows.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct audit_clean set;
static struct arena arena;

static struct audit_result run_audit(void) {
    struct err e = ERR_INIT;
    struct audit_result r;
    OK(audit_run(&set.table, &arena, &r, &e));
    return r;
}

static const struct audit_finding *find(const struct audit_result *r, const char *rule) {
    for (size_t i = 0; i < r->n_findings; i++) {
        if (strcmp(r->findings[i].rule->id, rule) == 0) {
            return &r->findings[i];
        }
    }
    return NULL;
}

static const struct audit_check *check_of(const struct audit_result *r, const char *rule) {
    for (size_t i = 0; i < r->n_checks; i++) {
        if (strcmp(r->checks[i].rule->id, rule) == 0) {
            return &r->checks[i];
        }
    }
    fail_msg("no rule %s", rule);
    return NULL;
}

static void assert_nothing_found(const struct audit_result *r, const char *what) {
    if (r->n_findings) {
        fail_msg("%s: %s: %s", what, r->findings[0].rule->id, r->findings[0].text);
    }
}

static int teardown(void **state) {
    (void)state;
    arena_release(&arena);
    return 0;
}

/* ---- the clean set ---- */

static void every_rule_looks_at_the_clean_set_and_finds_nothing(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        audit_clean_make(&set, seed);
        struct audit_result r = run_audit();
        assert_int_equal(r.n_checks, audit_n_rules());
        assert_nothing_found(&r, "clean");
        for (size_t i = 0; i < r.n_checks; i++) {
            if (r.checks[i].refused) {
                fail_msg("%s could not look: %s", r.checks[i].rule->id, r.checks[i].refused);
            }
            bool needs_rows = strcmp(r.checks[i].rule->id, "bad-cell") != 0;
            assert_true(r.checks[i].n_rows > 0 || !needs_rows);
        }
        arena_release(&arena);
    }
}

static void an_empty_table_is_refused_rule_by_rule(void **state) {
    (void)state;
    set.table = (struct audit_table){.rows = set.rows};
    struct audit_result r = run_audit();
    assert_int_equal(r.n_findings, 0);
    for (size_t i = 0; i < r.n_checks; i++) {
        bool needs_rows = strcmp(r.checks[i].rule->id, "bad-cell") != 0;
        assert_int_equal(r.checks[i].refused != NULL, needs_rows);
    }
}

/* ---- faults ---- */

static struct audit_row *serve(size_t i) {
    return audit_clean_row(&set, AUDIT_SERVE, i);
}

static void for_each(enum audit_stage stage, void (*change)(struct audit_row *r)) {
    for (size_t i = 0; i < set.table.n; i++) {
        if (set.rows[i].stage == stage) {
            change(&set.rows[i]);
        }
    }
}

static void bad_cell(void) {
    static const struct audit_bad_cell cells[] = {
        {"a.csv:3", "column energy_j is \"-5\", which is negative"}};
    set.table.bad_cells = cells;
    set.table.n_bad_cells = 1;
}

static void duplicate_row(void) {
    set.rows[set.table.n++] = *audit_clean_row(&set, AUDIT_QUANTIZE, 3);
}

static void round_window(struct audit_row *r) {
    r->x[AUDIT_POWER_MEAN_W] = round(100 * r->x[AUDIT_POWER_MEAN_W]) / 100;
    r->x[AUDIT_DURATION_S] = round(100 * r->x[AUDIT_DURATION_S]) / 100;
    r->x[AUDIT_ENERGY_J] = round(100 * r->x[AUDIT_POWER_MEAN_W] * r->x[AUDIT_DURATION_S]) / 100;
    r->step[AUDIT_POWER_MEAN_W] = r->step[AUDIT_DURATION_S] = r->step[AUDIT_ENERGY_J] = 0.01;
}

static void power_times_time(struct audit_row *r) {
    round_window(r);
    r->text[AUDIT_ENERGY_SOURCE] = "";
}

static void energy_power_time(void) {
    for_each(AUDIT_QUANTIZE, power_times_time);
}

static void energy_mismatch(void) {
    audit_clean_row(&set, AUDIT_QUANTIZE, 5)->x[AUDIT_ENERGY_J] *= 1.18;
}

static void draw_60_watts(struct audit_row *r) {
    r->x[AUDIT_ENERGY_J] = 60 * r->x[AUDIT_DURATION_S];
}

static void constant_power(void) {
    for_each(AUDIT_SERVE, draw_60_watts);
}

static void power_limit(void) {
    for (size_t k = 0; k < AUDIT_CLEAN_REPEATS; k++) {
        audit_clean_repeat(&set, 2, k)->x[AUDIT_GPU_POWER_MEAN_W] = 120;
    }
}

static void short_window(void) {
    audit_clean_repeat(&set, 1, 2)->x[AUDIT_IS_SHORT] = 1;
}

static void coverage_gap(void) {
    audit_clean_repeat(&set, 1, 2)->x[AUDIT_COVERAGE] = 0.9;
}

static void modelled_energy(void) {
    audit_clean_repeat(&set, 1, 2)->text[AUDIT_ENERGY_SOURCE] = "modelled";
}

static void mixed_scopes(void) {
    serve(1)->text[AUDIT_SCOPE] = "CPU + DRAM";
}

static void throttling(void) {
    audit_clean_repeat(&set, 1, 2)->x[AUDIT_THROTTLED_SHARE] = 0.3;
}

static void other_processes(void) {
    audit_clean_repeat(&set, 1, 2)->x[AUDIT_OTHER_PROCESSES] = 2;
}

/* Waiting is left out: the same serving with a quarter of its latency. */
static void batch_latency(void) {
    for (size_t k = 0; k < AUDIT_CLEAN_REPEATS; k++) {
        struct audit_row *r = audit_clean_repeat(&set, 4, k);
        r->x[AUDIT_TTFT_MEAN_MS] /= 4;
        r->x[AUDIT_ITL_MEAN_MS] /= 4;
        r->x[AUDIT_E2E_MAX_MS] /= 4;
    }
}

static void answer_with_128(struct audit_row *r) {
    double old = r->x[AUDIT_OUTPUT_TOKENS];
    r->x[AUDIT_OUTPUT_TOKENS] = 128 * r->x[AUDIT_N_REQUESTS];
    r->x[AUDIT_OUTPUT_TOKENS_PER_S] *= r->x[AUDIT_OUTPUT_TOKENS] / old;
    r->x[AUDIT_ITL_MEAN_MS] *= old / r->x[AUDIT_OUTPUT_TOKENS];
}

static void constant_tokens(void) {
    for_each(AUDIT_SERVE, answer_with_128);
}

static void impossible_tokens_by_rate(void) {
    serve(6)->x[AUDIT_OUTPUT_TOKENS_PER_S] *= 1.1;
}

static void impossible_tokens_by_limit(void) {
    audit_clean_repeat(&set, 6, 1)->x[AUDIT_OUTPUT_TOKENS_MAX] = 401;
}

static void forget_limits(struct audit_row *r) {
    r->x[AUDIT_MAX_TOKENS] = r->x[AUDIT_OUTPUT_TOKENS_MAX] = NAN;
}

static void impossible_tokens_in_all(void) {
    for_each(AUDIT_SERVE, forget_limits);
    serve(6)->x[AUDIT_MAX_TOKENS] = 100;
}

static void impossible_tokens_by_fraction(void) {
    serve(6)->x[AUDIT_OUTPUT_TOKENS] += 0.5;
}

static void failed_requests(void) {
    serve(7)->x[AUDIT_N_REQUESTS] -= 3;
    serve(7)->x[AUDIT_N_FAILED] = 3;
}

static void many_failed_requests(void) {
    serve(7)->x[AUDIT_N_REQUESTS] -= 50;
    serve(7)->x[AUDIT_N_FAILED] = 50;
}

static void slow_down(size_t variant, size_t repeat, double factor) {
    struct audit_row *r = audit_clean_repeat(&set, variant, repeat);
    r->x[AUDIT_DURATION_S] *= factor;
    r->x[AUDIT_ENERGY_J] *= factor;
    r->x[AUDIT_OUTPUT_TOKENS_PER_S] /= factor;
    r->x[AUDIT_TTFT_MEAN_MS] *= factor;
    r->x[AUDIT_ITL_MEAN_MS] *= factor;
    r->x[AUDIT_E2E_MAX_MS] *= factor;
}

static void repeat_drift(void) {
    for (size_t k = 0; k < AUDIT_CLEAN_REPEATS; k++) {
        slow_down(9, k, 1 + 0.05 * (double)k);
    }
}

static void repeat_scatter(void) {
    slow_down(9, 2, 1.4);
}

/* Requests of a watt-second: electricity vanishes beside the API's price. */
static void serve_cheaply(struct audit_row *r) {
    static const enum audit_column times[] = {AUDIT_DURATION_S, AUDIT_ENERGY_J, AUDIT_TTFT_MEAN_MS,
                                              AUDIT_ITL_MEAN_MS, AUDIT_E2E_MAX_MS};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        r->x[times[i]] /= 100;
    }
    r->x[AUDIT_OUTPUT_TOKENS_PER_S] *= 100;
}

static void insensitive_metric(void) {
    for_each(AUDIT_SERVE, serve_cheaply);
}

static void forget_load_j(struct audit_row *r) {
    round_window(r);
    r->x[AUDIT_LOAD_J] = NAN;
}

static void c_tax_ratio(void) {
    for_each(AUDIT_SERVE, forget_load_j);
}

/* The trainings of int8 and int4 are gone; those of fp16 stand for all precisions. */
static void share_trainings(size_t n_shared) {
    size_t kept = 0;
    for (size_t i = 0; i < set.table.n; i++) {
        struct audit_row *r = &set.rows[i];
        bool is_other = r->stage == AUDIT_ADAPT && strcmp(r->text[AUDIT_PRECISION], "fp16") != 0;
        if (!is_other) {
            set.rows[kept++] = *r;
        }
    }
    set.table.n = kept;
    for (size_t i = 0; i < n_shared; i++) {
        audit_clean_row(&set, AUDIT_ADAPT, i)->text[AUDIT_PRECISION] = "";
    }
}

static void repeated_training_alike(void) {
    share_trainings(8);
}

static void repeated_training_unlike(void) {
    share_trainings(4);
}

static void unequal_conditions(void) {
    audit_clean_row(&set, AUDIT_ADAPT, 0)->x[AUDIT_TRAIN_ROWS] = 15000;
}

static void unequal_requests(void) {
    serve(0)->x[AUDIT_N_REQUESTS] -= 100;
    serve(0)->x[AUDIT_OUTPUT_TOKENS] -= 20137;
    serve(0)->x[AUDIT_DURATION_S] *= 0.8;
    serve(0)->x[AUDIT_ENERGY_J] *= 0.8;
    serve(0)->x[AUDIT_OUTPUT_TOKENS_PER_S] = serve(0)->x[AUDIT_OUTPUT_TOKENS] /
                                             serve(0)->x[AUDIT_DURATION_S];
}

static void score_few(struct audit_row *r) {
    r->x[AUDIT_ITEMS] = 200;
    r->x[AUDIT_SCORE_SE] = NAN;
    r->x[AUDIT_SCORE_MEAN] = strcmp(r->text[AUDIT_PRECISION], "fp16") == 0 ? 0.8 : 0.78;
}

static void retention_noise(void) {
    for_each(AUDIT_SCORE, score_few);
}

static void outlier(void) {
    struct audit_row *r = audit_clean_row(&set, AUDIT_ADAPT, 11);
    r->x[AUDIT_ENERGY_J] *= 5;
    r->x[AUDIT_DURATION_S] *= 5;
}

static const struct {
    const char *rule;
    void (*fault)(void);
    enum audit_severity severity;
    size_t n_rows;
    const char *text;
} faults[] = {
    {"bad-cell", bad_cell, AUDIT_SERIOUS, 0,
     "a.csv:3: column energy_j is \"-5\", which is negative"},
    {"duplicate-row", duplicate_row, AUDIT_WARNING, 1,
     "B 3B rag fp16 (quantize) in clean and clean"},
    {"energy-power-time", energy_power_time, AUDIT_WARNING, 24, "24 of 24 quantize rows"},
    {"energy-mismatch", energy_mismatch, AUDIT_SERIOUS, 1, "B 1B chat fp16 (quantize): "},
    {"constant-power", constant_power, AUDIT_SERIOUS, 120, "the same mean power, 60 W"},
    {"power-limit", power_limit, AUDIT_SERIOUS, 5,
     "5 of 120 serve rows are above the limit of one board (Tesla T4, 70 W each); the highest, "
     "A 3B rag fp16 with 120 W, takes at least 2 boards"},
    {"short-window", short_window, AUDIT_WARNING, 1, "1 of 168 windows are short"},
    {"coverage-gap", coverage_gap, AUDIT_WARNING, 1, "the worst for 90.0 %"},
    {"modelled-energy", modelled_energy, AUDIT_WARNING, 1, "1 of 168 windows is modelled"},
    {"mixed-scopes", mixed_scopes, AUDIT_SERIOUS, 192, "2 scopes: GPU only, CPU + DRAM"},
    {"throttling", throttling, AUDIT_WARNING, 1, "the worst for 30 %"},
    {"other-processes", other_processes, AUDIT_WARNING, 1, "up to 2 of them at once"},
    {"batch-latency", batch_latency, AUDIT_SERIOUS, 5, "gives 2 to 2 requests in flight"},
    {"constant-tokens", constant_tokens, AUDIT_SERIOUS, 24,
     "128 tokens in each answer of 12 rows; "},
    {"impossible-tokens", impossible_tokens_by_rate, AUDIT_SERIOUS, 1, "(+10.0 %)"},
    {"impossible-tokens", impossible_tokens_by_limit, AUDIT_SERIOUS, 1,
     "an answer of 401 tokens at a limit of 400"},
    {"impossible-tokens", impossible_tokens_in_all, AUDIT_SERIOUS, 1,
     "in 500 answers of at most 100"},
    {"impossible-tokens", impossible_tokens_by_fraction, AUDIT_SERIOUS, 1, ", which is no count"},
    {"failed-requests", failed_requests, AUDIT_WARNING, 1, "3 of their 500 requests"},
    {"failed-requests", many_failed_requests, AUDIT_SERIOUS, 1, "lost 10.0 %"},
    {"repeat-drift", repeat_drift, AUDIT_WARNING, 5, "tokens/s falls by "},
    {"repeat-drift", repeat_scatter, AUDIT_WARNING, 5, "differs by up to "},
    {"insensitive-metric", insensitive_metric, AUDIT_WARNING, 24,
     "twice the energy of a request moves n_break by at most "},
    {"c-tax-ratio", c_tax_ratio, AUDIT_WARNING, 24,
     "24 of 24 rows: c_tax is n_requests times load_s / duration_s"},
    {"repeated-training", repeated_training_alike, AUDIT_NOTE, 8,
     "8 trainings stand behind 24 variants: 8 of them count 3 times"},
    {"repeated-training", repeated_training_unlike, AUDIT_WARNING, 4, "4 of them count 3 times"},
    {"unequal-conditions", unequal_conditions, AUDIT_WARNING, 0,
     "train_rows differs in 1 of 12 pairs"},
    {"unequal-conditions", unequal_requests, AUDIT_WARNING, 0,
     "n_requests differs in 1 of 12 pairs"},
    {"retention-noise", retention_noise, AUDIT_WARNING, 16,
     "16 of 16 ratios to fp16 are undetermined"},
    {"outlier", outlier, AUDIT_WARNING, 1, "B 3B rag int8 (adapt): energy_j "},
};
enum { N_FAULTS = sizeof(faults) / sizeof(faults[0]) };

static void every_fault_is_found_by_its_rule_and_by_no_other(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAULTS; i++) {
        audit_clean_make(&set, 100 + i);
        faults[i].fault();
        struct audit_result r = run_audit();
        const struct audit_finding *f = find(&r, faults[i].rule);
        if (!f) {
            fail_msg("fault %zu: %s found nothing", i, faults[i].rule);
            return;
        }
        assert_int_equal(f->severity, faults[i].severity);
        if (faults[i].n_rows && f->n_rows != faults[i].n_rows) {
            fail_msg("%s: %zu rows, not %zu: %s", faults[i].rule, f->n_rows, faults[i].n_rows,
                     f->text);
        }
        if (!strstr(f->text, faults[i].text)) {
            fail_msg("%s: \"%s\" is not in: %s", faults[i].rule, faults[i].text, f->text);
        }
        assert_true(check_of(&r, faults[i].rule)->n_findings > 0);
        for (size_t k = 0; k < r.n_findings; k++) {
            if (strcmp(r.findings[k].rule->id, faults[i].rule) != 0) {
                fail_msg("fault %zu, %s: also %s: %s", i, faults[i].rule, r.findings[k].rule->id,
                         r.findings[k].text);
            }
        }
        arena_release(&arena);
    }
}

static void every_rule_has_a_fault_here(void **state) {
    (void)state;
    for (size_t i = 0; i < audit_n_rules(); i++) {
        bool has = false;
        for (size_t k = 0; k < N_FAULTS; k++) {
            has = has || strcmp(faults[k].rule, audit_rule_at(i)->id) == 0;
        }
        if (!has) {
            fail_msg("no fault for rule %s", audit_rule_at(i)->id);
        }
        const struct audit_rule *r = audit_rule_at(i);
        assert_true(r->title[0] && r->why[0] && r->advice[0]);
    }
}

/* ---- what looks like a fault and is none ---- */

static void counter_that_fits(struct audit_row *r) {
    round_window(r); /* the source is stated */
}

static void stated_source(void) {
    for_each(AUDIT_QUANTIZE, counter_that_fits);
}

/* Whole joules and watts fit power times time whatever they are. */
static void coarse(struct audit_row *r) {
    r->x[AUDIT_POWER_MEAN_W] = 1;
    r->x[AUDIT_ENERGY_J] = r->x[AUDIT_DURATION_S] = 60;
    r->step[AUDIT_POWER_MEAN_W] = r->step[AUDIT_ENERGY_J] = r->step[AUDIT_DURATION_S] = 1;
    r->text[AUDIT_ENERGY_SOURCE] = "";
}

static void coarse_rounding(void) {
    for_each(AUDIT_QUANTIZE, coarse);
}

static void small_mismatch(void) {
    struct audit_row *r = audit_clean_row(&set, AUDIT_QUANTIZE, 5);
    r->x[AUDIT_ENERGY_J] = 1.04 * r->x[AUDIT_POWER_MEAN_W] * r->x[AUDIT_DURATION_S];
}

static void at_the_limit(void) {
    audit_clean_repeat(&set, 2, 0)->x[AUDIT_GPU_POWER_MEAN_W] = 72; /* a sensor is not that good */
}

static void two_boards(void) {
    for (size_t i = 0; i < set.table.n; i++) {
        if (set.rows[i].stage == AUDIT_QUANTIZE) {
            set.rows[i].x[AUDIT_GPUS] = 2;
            set.rows[i].x[AUDIT_GPU_POWER_MEAN_W] = 130;
        }
    }
}

/* Of a whole machine, and so of more than the board. */
static void whole_machine(struct audit_row *r) {
    r->x[AUDIT_POWER_MEAN_W] *= 3;
    r->x[AUDIT_ENERGY_J] *= 3;
    r->text[AUDIT_SCOPE] = "node";
}

static void node_power(void) {
    for (int stage = 0; stage < AUDIT_STAGES; stage++) {
        for_each((enum audit_stage)stage, whole_machine);
    }
}

static void forced(struct audit_row *r) {
    answer_with_128(r);
    r->text[AUDIT_LENGTHS] = "forced";
}

static void forced_lengths(void) {
    for_each(AUDIT_SERVE, forced);
}

/* One slow answer at the end of a small batch of natural lengths. */
static void long_tail(void) {
    struct audit_row *r = audit_clean_repeat(&set, 4, 0);
    r->x[AUDIT_N_REQUESTS] = 8;
    r->x[AUDIT_OUTPUT_TOKENS] = 1611;
    r->x[AUDIT_E2E_MAX_MS] = 1000 * r->x[AUDIT_DURATION_S];
    r->x[AUDIT_OUTPUT_TOKENS_PER_S] = 1611 / r->x[AUDIT_DURATION_S];
    for (size_t k = 1; k < AUDIT_CLEAN_REPEATS; k++) {
        *audit_clean_repeat(&set, 4, k) = *r;
        audit_clean_repeat(&set, 4, k)->x[AUDIT_REPEAT] = (double)k;
    }
}

static void small_drift(void) {
    for (size_t k = 0; k < AUDIT_CLEAN_REPEATS; k++) {
        slow_down(9, k, 1 + 0.01 * (double)k);
    }
}

static void lose_much(struct audit_row *r) {
    r->x[AUDIT_SCORE_MEAN] = strcmp(r->text[AUDIT_PRECISION], "fp16") == 0 ? 0.8 : 0.5;
    r->x[AUDIT_SCORE_SE] = NAN;
    r->x[AUDIT_ITEMS] = 400;
}

static void clear_loss(void) {
    for_each(AUDIT_SCORE, lose_much);
}

/* Families and precisions that differ tenfold, with interactions, are a pattern. */
static void strong_pattern(void) {
    for (size_t i = 0; i < set.table.n; i++) {
        struct audit_row *r = &set.rows[i];
        bool is_b = strcmp(r->text[AUDIT_FAMILY], "B") == 0;
        bool is_int4 = strcmp(r->text[AUDIT_PRECISION], "int4") == 0;
        if (r->stage == AUDIT_ADAPT) {
            double factor = (is_b ? 10 : 1) * (is_b && is_int4 ? 7 : 1);
            r->x[AUDIT_ENERGY_J] *= factor;
            r->x[AUDIT_DURATION_S] *= factor;
        }
    }
}

static void what_looks_like_a_fault_and_is_none(void **state) {
    (void)state;
    static const struct {
        const char *name;
        void (*change)(void);
    } rows[] = {
        {"stated source", stated_source}, {"small mismatch", small_mismatch},
        {"at the limit", at_the_limit},   {"two boards", two_boards},
        {"node power", node_power},       {"forced lengths", forced_lengths},
        {"long tail", long_tail},         {"small drift", small_drift},
        {"clear loss", clear_loss},       {"strong pattern", strong_pattern},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        audit_clean_make(&set, 200 + i);
        rows[i].change();
        struct audit_result r = run_audit();
        assert_nothing_found(&r, rows[i].name);
        arena_release(&arena);
    }
    audit_clean_make(&set, 300);
    coarse_rounding();
    struct audit_result r = run_audit();
    assert_null(find(&r, "energy-power-time"));
}

/* ---- refusal ---- */

static void a_missing_column_refuses_only_its_rules(void **state) {
    (void)state;
    audit_clean_make(&set, 1);
    for (size_t i = 0; i < set.table.n; i++) {
        set.rows[i].x[AUDIT_CONCURRENCY] = NAN;
        set.rows[i].text[AUDIT_SCOPE] = "";
    }
    struct audit_result r = run_audit();
    for (size_t i = 0; i < r.n_checks; i++) {
        const char *id = r.checks[i].rule->id;
        if (strcmp(id, "batch-latency") == 0) {
            assert_string_equal(r.checks[i].refused, "no serve row has concurrency");
        } else if (strcmp(id, "mixed-scopes") == 0) {
            assert_string_equal(r.checks[i].refused, "no row has scope");
        } else {
            assert_null(r.checks[i].refused);
        }
    }
    assert_nothing_found(&r, "missing column");
}

/* Columns that are there, but never in one row. */
static void columns_apart_are_refused(void **state) {
    (void)state;
    audit_clean_make(&set, 1);
    for (size_t i = 0; i < set.table.n; i++) {
        set.rows[i].x[i % 2 ? AUDIT_ENERGY_J : AUDIT_COVERAGE] = NAN;
    }
    struct audit_result r = run_audit();
    assert_string_equal(check_of(&r, "coverage-gap")->refused, "no row has all that it needs");
}

/* ---- outliers ---- */

/* Rows of a full design whose logarithms add up, with noise of that standard deviation. */
static void make_design(struct rng *rng, double sd) {
    set.table = (struct audit_table){.rows = set.rows};
    double effects[4][3];
    for (int f = 0; f < 4; f++) {
        for (int level = 0; level < 3; level++) {
            effects[f][level] = 3 * rng_uniform(rng);
        }
    }
    static const char *const levels[] = {"a", "b", "c"};
    for (int i = 0; i < 36; i++) {
        struct audit_row *r = &set.rows[set.table.n++];
        audit_row_init(r, AUDIT_ADAPT, "design");
        const int at[] = {i % 2, i / 2 % 3, i / 6 % 2, i / 12};
        double log_j = 10;
        for (int f = 0; f < 4; f++) {
            r->text[f] = levels[at[f]];
            log_j += effects[f][at[f]];
        }
        double gauss = -6;
        for (int k = 0; k < 12; k++) {
            gauss += rng_uniform(rng);
        }
        r->x[AUDIT_ENERGY_J] = exp(log_j + sd * gauss);
    }
}

static void noise_alone_is_hardly_ever_an_outlier(void **state) {
    (void)state;
    static const double noises[] = {0, 0.02, 0.1, 0.2, 0.4, 0.8};
    struct rng rng;
    rng_init(&rng, 7);
    for (size_t k = 0; k < sizeof(noises) / sizeof(noises[0]); k++) {
        int found = 0;
        for (int i = 0; i < 100; i++) {
            make_design(&rng, noises[k]);
            struct audit_result r = run_audit();
            found += find(&r, "outlier") != NULL;
            arena_release(&arena);
        }
        if (found > 5) {
            fail_msg("noise %g: %d of 100 sets have an outlier", noises[k], found);
        }
    }
}

static void one_outlier_is_found_wherever_it_is(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 8);
    for (size_t i = 0; i < 36; i++) {
        make_design(&rng, 0.1);
        set.rows[i].x[AUDIT_ENERGY_J] *= i % 2 ? 4 : 0.25;
        struct audit_result r = run_audit();
        const struct audit_finding *f = find(&r, "outlier");
        assert_non_null(f);
        assert_int_equal(f->n_rows, 1);
        assert_int_equal(f->rows[0], i);
        arena_release(&arena);
    }
}

static void too_few_rows_have_no_outlier(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 9);
    make_design(&rng, 0.01);
    set.table.n = 11;
    set.rows[4].x[AUDIT_ENERGY_J] *= 100;
    struct audit_result r = run_audit();
    assert_null(find(&r, "outlier"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_rule_looks_at_the_clean_set_and_finds_nothing, teardown),
        cmocka_unit_test_teardown(an_empty_table_is_refused_rule_by_rule, teardown),
        cmocka_unit_test_teardown(every_fault_is_found_by_its_rule_and_by_no_other, teardown),
        cmocka_unit_test_teardown(every_rule_has_a_fault_here, teardown),
        cmocka_unit_test_teardown(what_looks_like_a_fault_and_is_none, teardown),
        cmocka_unit_test_teardown(a_missing_column_refuses_only_its_rules, teardown),
        cmocka_unit_test_teardown(columns_apart_are_refused, teardown),
        cmocka_unit_test_teardown(noise_alone_is_hardly_ever_an_outlier, teardown),
        cmocka_unit_test_teardown(one_outlier_is_found_wherever_it_is, teardown),
        cmocka_unit_test_teardown(too_few_rows_have_no_outlier, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
