/*
 * Profile full: the examples that docs/metrics.md works out by hand, what is refused and why, and
 * what the labels say.
 */
#include "support/metric_table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_ITEMS = 400 };

static char id_texts[N_ITEMS][8];
static const char *ids[N_ITEMS];
static double scores[N_ITEMS];
static double fp16_scores[N_ITEMS];
static struct costing costing;

static void set(struct metrics_input *in, size_t field, double value) {
    in->econ[field] = quantity_of(value, 0);
}

/* The deployment of the document's example. */
static void set_econ(struct metrics_input *in) {
    const struct {
        size_t field;
        double value;
    } given[] = {
        {ECON(owned), 1},
        {ECON(devices), 1},
        {ECON(share), 1},
        {ECON(capex_usd), 3504},
        {ECON(lifetime_h), 35040},
        {ECON(maintenance_usd_per_h), 0.02},
        {ECON(kwh_usd), 0.30},
        {ECON(pue), 1.2},
        {ECON(ops_usd_per_h), 0.05},
        {ECON(labour_usd), 400},
        {ECON(recurring_usd), 14.4},
        {ECON(refresh_h), 720},
        {ECON(variable_usd), 0},
        {ECON(traffic_per_h), 500},
        {ECON(peak_ratio), 3},
        {ECON(headroom), 0.8},
        {ECON(replicas_min), 1},
        {ECON(capacity_per_h), 2000},
        {ECON(throughput_per_h), 2400},
        {ECON(idle_w), 50},
        {ECON(request_j), 100},
        {ECON(request_above_idle_j), 25},
        {ECON(once_j), 7.2e6},
        {ECON(once_s), 7200},
        {ECON(once_is_extra), 1},
        {ECON(start_s), 12.5},
        {ECON(input_tokens), 600},
        {ECON(output_tokens), 200},
        {ECON(accepted_share), 0.9},
        {ECON(api_uncached_tokens), 600},
        {ECON(api_cached_tokens), 0},
        {ECON(api_written_tokens), 0},
        {ECON(api_output_tokens), 200},
        {ECON(api_uncached_usd_per_mtok), 0.40},
        {ECON(api_cached_usd_per_mtok), 0},
        {ECON(api_written_usd_per_mtok), 0},
        {ECON(api_output_usd_per_mtok), 1.60},
        {ECON(api_batch_factor), 1},
        {ECON(api_fall_per_year), 0.5},
        {ECON(fallback_usd), 0.01},
        {ECON(discount_per_year), 0.08},
        {ECON(carbon_g_per_kwh), 400},
        {ECON(embodied_kg), 175.2},
    };
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        in->econ[i] = quantity_missing(NULL);
    }
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        set(in, given[i].field, given[i].value);
    }
}

/* Right or wrong, 0.77 right in both; every twentieth item is another's. */
static void set_items(void) {
    for (int i = 0; i < N_ITEMS; i++) {
        snprintf(id_texts[i], sizeof(id_texts[i]), "%04d", i);
        ids[i] = id_texts[i];
        fp16_scores[i] = i % 100 < 77;
        scores[i] = fp16_scores[i];
    }
    for (int i = 0; i < N_ITEMS; i += 40) { /* 10 lost, 10 won */
        scores[i] = 0;
        scores[(i / 40) * 40 + 39] = 1;
    }
}

static struct metrics_input whole_input(void) {
    struct metrics_input in = {
        .method = "none", .precision = "int4", .score_max = 1, .concurrency = 8, .seed = 1};
    set_items();
    set_econ(&in);
    costing = (struct costing){.is_given = true,
                               .api = "some-api",
                               .qret_margin = 1,
                               .margin = NAN,
                               .accept = 0.5,
                               .slo_cold_start_s = NAN,
                               .slo_ttft_s = NAN,
                               .slo_tpot_s = NAN,
                               .slo_e2e_s = NAN,
                               .idle_unloaded_w = quantity_of(30, 0)};
    in.costing = &costing;
    in.items = (struct metrics_items){ids, scores, N_ITEMS};
    in.items_fp16 = (struct metrics_items){ids, fp16_scores, N_ITEMS};
    in.score = quantity_of(0.4, N_ITEMS);
    in.score_fp16 = quantity_of(0.5, N_ITEMS);
    in.prepare_j = metric_joules(7.2e6, "CPU");
    in.serve_j = metric_joules(2000, "CPU");
    in.serve_above_idle_j = metric_joules(1500, "CPU");
    in.serve_w = metric_joules(50, "CPU");
    in.requests_ok = quantity_of(100, 0);
    in.output_tokens_per_s = quantity_of(250, 5);
    in.e2e_mean_s = quantity_of(2, 100);
    in.weights_bytes = quantity_of(0.5e9, 0);
    in.kv_bytes = quantity_of(0.3e9, 0);
    in.used_kv_bytes = quantity_of(0.1e9, 0);
    in.compute_bytes = quantity_of(0.2e9, 0);
    in.memory_peak_bytes = quantity_of(1.1e9, 0);
    in.load_cold_j = metric_joules(100, "CPU");
    in.load_warm_j = metric_joules(60, "CPU");
    in.load_cold_s = quantity_of(10, 5);
    in.cold_start_p99_s = quantity_of(12, 5);
    in.cold_start_p99_s.flags = QUANTITY_AT_LEAST;
    return in;
}

static const struct metric_row *row(const struct metric_table *t, const char *id) {
    return metric_table_row(t, "full", id);
}

static void value(const struct metric_table *t, const char *id, double want) {
    const struct metric_row *r = row(t, id);
    if (!(fabs(r->value - want) <= 1e-9 * fabs(want))) {
        fail_msg("%s is %.17g (%s), by hand %.17g", id, r->value, r->reason ? r->reason : "", want);
    }
}

static void refused(const struct metric_table *t, const char *id, const char *why) {
    metric_check_refused(row(t, id), why);
}

static void labelled(const struct metric_table *t, const char *id, const char *part) {
    const struct metric_row *r = row(t, id);
    if (!r->label || !strstr(r->label, part)) {
        fail_msg("%s has the label \"%s\", want \"%s\"", id, r->label ? r->label : "", part);
    }
}

/* --- The document's examples ------------------------------------------------------------------------ */

static void the_economics_by_hand(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    struct metric_table t = metric_table_of(&in);
    double saving = 500 * (0.00056 - 2.5e-6) - 0.208;
    double request = 0.208 / 500 + 2.5e-6;
    value(&t, "replicas", 1);
    value(&t, "fixed_usd_per_h", 0.208);
    value(&t, "marginal_usd", 2.5e-6);
    value(&t, "once_usd", 400.96);
    value(&t, "api_request_usd", 0.00056);
    value(&t, "saving_usd_per_h", saving);
    value(&t, "n_break", 500 * 400.96 / saving);
    value(&t, "break_even_days", 400.96 / saving / 24);
    value(&t, "request_usd", request);
    value(&t, "accepted_usd", request + 0.1 * 0.01);
    value(&t, "usd_per_mtok", request / 800 * 1e6);
    value(&t, "busy_usd_per_mtok", (0.12 / 2400 + 100 / 3.6e6 * 1.2 * 0.30) / 800 * 1e6);
    value(&t, "api_usd_per_mtok", 0.7);
    value(&t, "pays_from_per_h", 0.208 / 0.0005575);
    value(&t, "always_pays_from_per_h", 0.346 / 0.0005575);
    value(&t, "rate_one_lost_per_h", 0);
    value(&t, "cash_12_usd", -(400.72 + 2 * 0.02) - 3504 + 12 * 730 * (0.07075 + 0.10));
    value(&t, "payback_month", 32);
    value(&t, "request_gco2e", (0.05 / 500 + 25 / 3.6e6) * 1.2 * 400);
    value(&t, "good_1000_gco2e", 1000 * (0.05 / 500 + 25 / 3.6e6) * 1.2 * 400 / 0.9);
    value(&t, "embodied_gco2e", 0.01);
    labelled(&t, "pays_from_per_h", "pays from 373.1 to 533.3/h; pays from 620.6/h on");
    labelled(&t, "n_break", "not tested whether the answers are as good as the API's");
    arena_release(&t.arena);
}

static void quality_for_energy_by_hand(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    struct metric_table t = metric_table_of(&in);
    value(&t, "ipj", 0.02);
    value(&t, "ipj_above_idle", 0.4 / 15);
    labelled(&t, "ipj", "concurrency 8");
    refused(&t, "ipw", "concurrency 8; the power of one request needs concurrency 1");
    arena_release(&t.arena);
    in.concurrency = 1;
    t = metric_table_of(&in);
    value(&t, "ipw", 0.008);
    arena_release(&t.arena);
    in.score = quantity_of(6.4, 100); /* a judge's 1 to 10 */
    in.score_min = 1;
    in.score_max = 10;
    t = metric_table_of(&in);
    value(&t, "ipj", 0.03);
    arena_release(&t.arena);
}

static void density_by_hand(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    struct metric_table t = metric_table_of(&in);
    value(&t, "rho_sys", 250);
    value(&t, "rho_sys_used_kv", 312.5);
    value(&t, "rho_sys_weights", 500);
    arena_release(&t.arena);
    in.memory_peak_bytes = quantity_of(0.9e9, 0);
    t = metric_table_of(&in);
    refused(&t, "rho_sys", "more than the 9e+08 in use at most");
    value(&t, "rho_sys_used_kv", 312.5);
    arena_release(&t.arena);
    in.compute_bytes = quantity_of(-5e6, 0);
    t = metric_table_of(&in);
    refused(&t, "rho_sys", "compute buffers in memory is negative");
    value(&t, "rho_sys_weights", 500);
    arena_release(&t.arena);
}

static void cold_starts_by_hand(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    struct metric_table t = metric_table_of(&in);
    value(&t, "c_tax", 5);
    value(&t, "c_tax_warm", 3);
    labelled(&t, "c_tax", "requests at concurrency 8");
    refused(&t, "time_tax", "concurrency 1");
    value(&t, "keep_warm_energy_s", 5);
    refused(&t, "keep_warm_cost_s", "owned hardware");
    arena_release(&t.arena);

    in.concurrency = 1;
    costing.idle_unloaded_w = quantity_of(50, 0);
    costing.idle_unloaded_w.flags = QUANTITY_GIVEN_IDLE;
    t = metric_table_of(&in);
    value(&t, "time_tax", 5);
    assert_true(isinf(row(&t, "keep_warm_energy_s")->value));
    assert_non_null(strstr(row(&t, "keep_warm_energy_s")->reason, "unloading saves nothing"));
    arena_release(&t.arena);

    set(&in, ECON(owned), 0);
    set(&in, ECON(cloud_usd_per_h), 0.72);
    set(&in, ECON(bill_minimum_s), 60);
    set(&in, ECON(bill_step_s), 60);
    set(&in, ECON(boot_s), 180);
    t = metric_table_of(&in);
    refused(&t, "keep_warm_cost_s", "scale_to_zero is not yes");
    arena_release(&t.arena);
    costing.scale_to_zero = true;
    t = metric_table_of(&in);
    value(&t, "keep_warm_cost_s", 240);
    arena_release(&t.arena);
}

/* The joules of a load are its own: a disk that keeps a processor waiting draws less than serving does. */
static void a_load_is_not_priced_at_serving_power(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.load_s = in.load_cold_s = quantity_of(1000, 5);
    struct metric_table t = metric_table_of(&in);
    value(&t, "c_tax", 5);
    value(&t, "c_tax_warm", 3);
    value(&t, "keep_warm_energy_s", 5);
    arena_release(&t.arena);
    in.serve_w = metric_joules(5000, "CPU");
    t = metric_table_of(&in);
    value(&t, "c_tax", 5);
    arena_release(&t.arena);
    in.load_cold_j = quantity_missing("gpu0: GPU is lost");
    t = metric_table_of(&in);
    refused(&t, "c_tax", "GPU is lost");
    arena_release(&t.arena);
}

/* Idle power as it was measured stands in for what the plan does not give. */
static void keeping_warm_by_measured_idle_power(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    costing.idle_unloaded_w = quantity_missing(NULL);
    in.idle_unloaded_w = quantity_missing("not measured");
    struct metric_table t = metric_table_of(&in);
    refused(&t, "keep_warm_energy_s", "set idle_unloaded_w");
    arena_release(&t.arena);
    in.idle_unloaded_w = quantity_of(30, 0);
    t = metric_table_of(&in);
    value(&t, "keep_warm_energy_s", 5);
    arena_release(&t.arena);
    in.idle_unloaded_w = quantity_of(48.5, 0); /* each mean is known to 2 % */
    t = metric_table_of(&in);
    refused(&t, "keep_warm_energy_s", "(50.0 W) and without (48.5 W) is closer than");
    arena_release(&t.arena);
    in.idle_unloaded_w = quantity_of(50, 0);
    in.econ[ECON(idle_w)].flags = QUANTITY_MODELLED;
    t = metric_table_of(&in);
    refused(&t, "keep_warm_energy_s", "modelled power does not tell");
    arena_release(&t.arena);
}

static void a_cold_start_fits_its_slo_or_not(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    costing.slo_cold_start_s = 10;
    struct metric_table t = metric_table_of(&in);
    labelled(&t, "cold_start_p99_s", "does not fit the SLO of 10 s");
    arena_release(&t.arena);
    costing.slo_cold_start_s = 30;
    t = metric_table_of(&in);
    labelled(&t, "cold_start_p99_s", "undetermined whether it fits the SLO of 30 s: 5 starts");
    arena_release(&t.arena);
    in.cold_start_p99_s = quantity_of(12, 400);
    t = metric_table_of(&in);
    labelled(&t, "cold_start_p99_s", "fits the SLO of 30 s");
    arena_release(&t.arena);
}

static void fidelity_has_three_verdicts(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    struct metric_table t = metric_table_of(&in);
    const struct metric_row *r = row(&t, "q_ret");
    /* Ten items lost and as many won, but two of those were right before. */
    double right = 0;
    for (int i = 0; i < N_ITEMS; i++) {
        right += scores[i];
    }
    value(&t, "q_ret", 100 * right / (0.77 * N_ITEMS));
    assert_true(r->low < r->value && r->high > r->value);
    labelled(&t, "q_ret", "undetermined at a margin of 1: these items would show a loss of");
    double needed = row(&t, "q_ret_items")->value;
    double width = (r->high - r->low) / 2;
    assert_true(fabs(needed - N_ITEMS * width * width) <= 1); /* for +-1 point */
    assert_true(row(&t, "q_ret_detectable")->value > 1);
    arena_release(&t.arena);

    costing.qret_margin = 20;
    t = metric_table_of(&in);
    labelled(&t, "q_ret", "within the margin of 20");
    arena_release(&t.arena);

    costing.qret_margin = 1;
    for (int i = 0; i < N_ITEMS; i += 3) {
        scores[i] = 0;
    }
    t = metric_table_of(&in);
    labelled(&t, "q_ret", "lossy: more than 1 lost");
    arena_release(&t.arena);

    in.precision = "fp16";
    t = metric_table_of(&in);
    value(&t, "q_ret", 100);
    labelled(&t, "q_ret", "the baseline itself");
    arena_release(&t.arena);
}

static void fidelity_pairs_items_by_their_ids(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.items_fp16 = (struct metrics_items){ids + 100, fp16_scores + 100, 200};
    struct metric_table t = metric_table_of(&in);
    labelled(&t, "q_ret", "over the 200 items scored in both precisions");
    assert_int_equal(row(&t, "q_ret")->n, 200);
    arena_release(&t.arena);
    in.items = (struct metrics_items){ids, scores, 50};
    t = metric_table_of(&in);
    refused(&t, "q_ret", "no item was scored in both precisions");
    arena_release(&t.arena);
}

/* --- Same work? ----------------------------------------------------------------------------------------- */

static void answers_must_be_as_good_as_the_apis(void **state) {
    (void)state;
    static double api[N_ITEMS];
    struct metrics_input in = whole_input();
    memcpy(api, scores, sizeof(api));
    in.items_api = (struct metrics_items){ids, api, N_ITEMS};
    costing.margin = 2;
    struct metric_table t = metric_table_of(&in);
    labelled(&t, "n_break", "answers as good as the API's within 2 points");
    assert_false(row(&t, "n_break")->flags & QUANTITY_NOT_EQUIVALENT);
    arena_release(&t.arena);

    for (int i = 0; i < N_ITEMS; i += 4) {
        api[i] = 1;
        scores[i] = 0;
    }
    t = metric_table_of(&in);
    assert_true(row(&t, "n_break")->flags & QUANTITY_NOT_EQUIVALENT);
    labelled(&t, "n_break", "not equivalent");
    labelled(&t, "n_break", "worse than the API's by 25 points");
    /* The API's own answers: what its accepted ones cost. */
    double good = 0;
    for (int i = 0; i < N_ITEMS; i++) {
        good += api[i] / N_ITEMS;
    }
    value(&t, "api_accepted_usd", 0.00056 + (1 - good) * 0.01);
    arena_release(&t.arena);

    in.items_api.n = 4; /* too few to show anything */
    costing.margin = 0.5;
    t = metric_table_of(&in);
    labelled(&t, "n_break", "not shown to be as good as the API's within 0.5 points (4 items)");
    assert_true(row(&t, "n_break")->flags & QUANTITY_NOT_EQUIVALENT);
    arena_release(&t.arena);
}

/* --- Refusals ------------------------------------------------------------------------------------------------ */

static void without_costs_only_costs_are_refused(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.costing = NULL;
    struct metric_table t = metric_table_of(&in);
    refused(&t, "n_break", "the plan has no cost: section");
    refused(&t, "request_gco2e", "the plan has no cost: section");
    value(&t, "ipj", 0.02);
    value(&t, "c_tax", 5);
    assert_false(metric_refused(row(&t, "q_ret")));
    arena_release(&t.arena);
}

static void everything_that_is_missing_is_named_at_once(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.econ[ECON(ops_usd_per_h)] = quantity_missing(NULL);
    in.econ[ECON(labour_usd)] = quantity_missing(NULL);
    in.econ[ECON(refresh_h)] = quantity_missing(NULL);
    in.econ[ECON(kwh_usd)] = quantity_missing("p.yaml:3:18: per_kwh is -0.1, which is negative");
    struct metric_table t = metric_table_of(&in);
    refused(&t, "n_break", "not given: ops, labour, refresh; ");
    refused(&t, "n_break", "electricity: p.yaml:3:18: per_kwh is -0.1, which is negative");
    refused(&t, "marginal_usd", "electricity: p.yaml");
    value(&t, "api_request_usd", 0.00056);
    value(&t, "replicas", 1);
    arena_release(&t.arena);
}

/* Each field against every figure: without it those that need it are refused, the others stand. */
static void a_missing_field_refuses_what_needs_it(void **state) {
    (void)state;
    static const struct {
        size_t field;
        const char *refused, *stands;
    } cases[] = {
        {ECON(traffic_per_h), "replicas", "once_usd"},
        {ECON(capacity_per_h), "fixed_usd_per_h", "busy_usd_per_mtok"},
        {ECON(throughput_per_h), "busy_usd_per_mtok", "n_break"},
        {ECON(lifetime_h), "n_break", "api_usd_per_mtok"},
        {ECON(idle_w), "fixed_usd_per_h", "marginal_usd"},
        {ECON(request_above_idle_j), "marginal_usd", "fixed_usd_per_h"},
        {ECON(once_j), "once_usd", "saving_usd_per_h"},
        {ECON(once_s), "once_usd", "saving_usd_per_h"},
        {ECON(api_output_usd_per_mtok), "saving_usd_per_h", "request_usd"},
        {ECON(accepted_share), "accepted_usd", "n_break"},
        {ECON(fallback_usd), "accepted_usd", "good_1000_gco2e"},
        {ECON(discount_per_year), "npv_12_usd", "cash_12_usd"},
        {ECON(api_fall_per_year), "n_break_falling", "npv_36_usd"},
        {ECON(carbon_g_per_kwh), "request_gco2e", "embodied_gco2e"},
        {ECON(embodied_kg), "embodied_gco2e", "request_gco2e"},
        {ECON(owned), "n_break", "api_request_usd"},
    };
    const double bad[] = {NAN, INFINITY, -1};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t b = 0; b <= sizeof(bad) / sizeof(bad[0]); b++) {
            struct metrics_input in = whole_input();
            if (b == 0) {
                in.econ[cases[i].field] = quantity_missing("because");
            } else {
                set(&in, cases[i].field, bad[b - 1]);
            }
            struct metric_table t = metric_table_of(&in);
            refused(&t, cases[i].refused, "");
            if (metric_refused(row(&t, cases[i].stands))) {
                fail_msg("%s is refused without %s: %s", cases[i].stands,
                         econ_field(cases[i].field)->name, row(&t, cases[i].stands)->reason);
            }
            arena_release(&t.arena);
        }
    }
}

static void unlike_scopes_are_never_added(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.econ[ECON(once_j)].scope = "GPU only";
    in.econ[ECON(request_above_idle_j)].scope = "GPU + CPU";
    struct metric_table t = metric_table_of(&in);
    refused(&t, "n_break", "they cannot be combined");
    assert_false(metric_refused(row(&t, "saving_usd_per_h")));
    in.load_cold_j.scope = "GPU only";
    struct metric_table u = metric_table_of(&in);
    refused(&u, "c_tax", "they cannot be combined");
    arena_release(&t.arena);
    arena_release(&u.arena);
}

static void never_says_why(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    set(&in, ECON(traffic_per_h), 600);
    struct metric_table t = metric_table_of(&in);
    assert_true(isinf(row(&t, "n_break")->value));
    assert_non_null(strstr(row(&t, "n_break")->reason,
                           "never: at 600 requests/h: 2 replicas cost $0.346 an hour and save "
                           "$0.3345; it pays from 620.6/h"));
    arena_release(&t.arena);
    set(&in, ECON(api_output_usd_per_mtok), 0);
    t = metric_table_of(&in);
    assert_non_null(
        strstr(row(&t, "n_break")->reason, "at any traffic: a full replica saves less"));
    assert_true(isinf(row(&t, "pays_from_per_h")->value));
    arena_release(&t.arena);
    set(&in, ECON(api_uncached_usd_per_mtok), 0);
    t = metric_table_of(&in);
    assert_non_null(strstr(row(&t, "n_break")->reason, "the API asks $0"));
    arena_release(&t.arena);
}

static void warnings_reach_what_they_concern(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    in.econ[ECON(kwh_usd)].flags = QUANTITY_STALE_PRICE;
    in.econ[ECON(idle_w)].flags = QUANTITY_GIVEN_IDLE;
    in.econ[ECON(request_j)].flags = QUANTITY_MODELLED;
    struct metric_table t = metric_table_of(&in);
    labelled(&t, "n_break", "stale price; idle power as given, not measured");
    labelled(&t, "busy_usd_per_mtok", "modelled; stale price");
    assert_null(strstr(row(&t, "api_request_usd")->label, "stale"));
    assert_null(row(&t, "replicas")->label);
    arena_release(&t.arena);
}

/* --- Intervals ------------------------------------------------------------------------------------------------- */

enum { N_REPEATS = 6 };

static const double repeat_j[N_REPEATS] = {98, 101, 100, 99, 102, 100};
static const double once_window_j[1] = {7.2e6};
static const struct stats_device_joules serve_device = {
    .device = "m/cpu", .gain = 0.05, .joules = repeat_j};
static const struct stats_device_joules once_device = {
    .device = "m/cpu", .gain = 0.05, .joules = once_window_j};

static void set_spread(struct metrics_input *in) {
    in->spread.serve = (struct stats_joules){&serve_device, 1, N_REPEATS, false};
    in->spread.once = (struct stats_joules){&once_device, 1, 1, true};
}

static void break_even_has_an_interval_and_a_chance_of_never(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    struct metric_table without = metric_table_of(&in);
    refused(&without, "p_never", "nothing in it was measured with a known error");
    set_spread(&in);
    struct metric_table t = metric_table_of(&in);
    const struct metric_row *r = row(&t, "n_break");
    assert_true(r->low < r->value && r->value < r->high && isfinite(r->high));
    labelled(&t, "n_break", "Monte Carlo");
    assert_false(r->flags & QUANTITY_INSTRUMENT);
    value(&t, "p_never", 0);
    const struct metric_row *days = row(&t, "break_even_days");
    assert_true(fabs(days->low - r->low / 500 / 24) <= 1e-9 * days->low);
    /* Nothing measured is in the API's price. */
    assert_true(isnan(row(&t, "api_request_usd")->low));
    assert_true(row(&t, "request_usd")->low < row(&t, "request_usd")->value);
    struct metric_table again = metric_table_of(&in);
    assert_true(row(&again, "n_break")->high == r->high);
    arena_release(&without.arena);
    arena_release(&again.arena);
    arena_release(&t.arena);

    /* Just above break-even, "never" is within the error. */
    set(&in, ECON(traffic_per_h), 0.208 / 0.0005575 * 1.0002);
    t = metric_table_of(&in);
    r = row(&t, "n_break");
    double never = row(&t, "p_never")->value;
    assert_true(isfinite(r->value) && isinf(r->high));
    assert_true(never > 0.02 && never < 0.5);
    arena_release(&t.arena);
}

/* With fewer than five repeats their spread is unknown, and the label says so. */
static void few_repeats_leave_the_instruments_error(void **state) {
    (void)state;
    struct metrics_input in = whole_input();
    set_spread(&in);
    in.spread.serve.n_windows = 2;
    struct metric_table t = metric_table_of(&in);
    labelled(&t, "n_break", "interval: instrument error only");
    arena_release(&t.arena);
}

static void score_per_joule_and_density_have_intervals(void **state) {
    (void)state;
    static const double rates[N_REPEATS] = {98, 101, 100, 99, 102, 100};
    struct metrics_input in = whole_input();
    set_spread(&in);
    in.spread.rates = rates;
    in.spread.n_rates = N_REPEATS;
    struct metric_table t = metric_table_of(&in);
    const struct metric_row *r = row(&t, "rho_sys");
    assert_true(r->low > 245 && r->low < 250 && r->high > 250 && r->high < 255);
    assert_int_equal(r->n, N_REPEATS);
    r = row(&t, "ipj");
    assert_false(isnan(r->low) || isnan(r->high));
    labelled(&t, "ipj", "joules: repeats alone +-");
    labelled(&t, "ipj", "instrument alone +-");
    arena_release(&t.arena);
    in.spread.n_rates = 2;
    in.spread.serve.n_windows = 2;
    t = metric_table_of(&in);
    assert_true(isnan(row(&t, "rho_sys")->low));
    labelled(&t, "ipj", "energy: instrument error only");
    assert_null(strstr(row(&t, "ipj")->label, "alone"));
    arena_release(&t.arena);
}

static void the_gain_cancels_in_the_tax(void **state) {
    (void)state;
    static const double load_j[5] = {99, 100, 101, 100, 100};
    static const double request_j[N_REPEATS] = {20.1, 19.9, 20, 20, 20.1, 19.9};
    static const struct stats_device_joules load_device = {
        .device = "m/cpu", .gain = 0.4, .joules = load_j};
    static const struct stats_device_joules request_device = {
        .device = "m/cpu", .gain = 0.4, .joules = request_j};
    struct metrics_input in = whole_input();
    in.spread.load_cold = (struct stats_joules){&load_device, 1, 5, false};
    in.spread.serve = (struct stats_joules){&request_device, 1, N_REPEATS, false};
    struct metric_table t = metric_table_of(&in);
    const struct metric_row *r = row(&t, "c_tax");
    value(&t, "c_tax", 5);
    assert_true(r->low > 4.8 && r->low < 5 && r->high > 5 && r->high < 5.2);
    assert_int_equal(r->n, 5);
    arena_release(&t.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_economics_by_hand),
        cmocka_unit_test(quality_for_energy_by_hand),
        cmocka_unit_test(density_by_hand),
        cmocka_unit_test(cold_starts_by_hand),
        cmocka_unit_test(a_load_is_not_priced_at_serving_power),
        cmocka_unit_test(keeping_warm_by_measured_idle_power),
        cmocka_unit_test(a_cold_start_fits_its_slo_or_not),
        cmocka_unit_test(fidelity_has_three_verdicts),
        cmocka_unit_test(fidelity_pairs_items_by_their_ids),
        cmocka_unit_test(answers_must_be_as_good_as_the_apis),
        cmocka_unit_test(without_costs_only_costs_are_refused),
        cmocka_unit_test(everything_that_is_missing_is_named_at_once),
        cmocka_unit_test(a_missing_field_refuses_what_needs_it),
        cmocka_unit_test(unlike_scopes_are_never_added),
        cmocka_unit_test(never_says_why),
        cmocka_unit_test(warnings_reach_what_they_concern),
        cmocka_unit_test(break_even_has_an_interval_and_a_chance_of_never),
        cmocka_unit_test(few_repeats_leave_the_instruments_error),
        cmocka_unit_test(score_per_joule_and_density_have_intervals),
        cmocka_unit_test(the_gain_cancels_in_the_tax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
