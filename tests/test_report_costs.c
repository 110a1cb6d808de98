/* Costs of a stored run: from plan, price book, requests, windows and scores to the rows. */
#include "report/report.h"

#include "report/collect.h"

#include "support/scratch.h"

#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct err e;

static const char plan_yaml[] = "seed: 7\n"
                                "models: [x]\n"
                                "cost:\n"
                                "  deployment: owned\n"
                                "  hardware: card\n"
                                "  lifetime: 4y\n"
                                "  maintenance: 0\n"
                                "  electricity: here\n"
                                "  pue: 1\n"
                                "  ops: 0\n"
                                "  labour: 0\n"
                                "  refresh: 0\n"
                                "  traffic: 1000/h\n"
                                "  idle_w: 5\n"
                                "  api: some-api\n"
                                "  accept: 0.5\n"
                                "  fallback: 0.01\n";
static const char prices[] =
    "{\"electricity\": {\"here\": {\"currency\": \"USD\", \"per_kwh\": 0.36, \"source\": \"s\",\n"
    "\"date\": \"2025-12-01\"}}, \"hardware\": {\"card\": {\"currency\": \"USD\", \"price\": 350.4,\n"
    "\"source\": \"s\", \"date\": \"2025-12-01\"}}, \"api\": {\"some-api\": {\"currency\": \"USD\",\n"
    "\"input\": 1, \"output\": 10, \"source\": \"s\", \"date\": \"2025-12-01\"}}}";

enum { REPEATS = 5, PER_REPEAT = 10 };

/* --- The stored run ------------------------------------------------------------------------------------ */

static void put_variant(struct store *s, const char *id, const char *model, const char *precision) {
    const struct store_variant v = {.variant_id = id,
                                    .model_id = model,
                                    .family = "F",
                                    .size = "1B",
                                    .method = "none",
                                    .task = "rag",
                                    .precision = precision,
                                    .engine = "llama.cpp",
                                    .device = "cpu",
                                    .params = 1e9};
    OK(store_variant_put(s, &v, &e));
}

static int64_t put_stage(struct store *s, const char *variant, const char *kind,
                         const char *result) {
    char key[64];
    snprintf(key, sizeof(key), "%s %s", variant, kind);
    const struct store_stage st = {.key = key,
                                   .kind = kind,
                                   .title = key,
                                   .status = "done",
                                   .started_utc = "2026-01-31T12:00:00Z",
                                   .wall_s = 36,
                                   .machine_id = "m1",
                                   .inputs_json = "{}",
                                   .result_json = result};
    int64_t id = 0;
    OK(store_stage_put(s, &st, &id, &e));
    OK(store_variant_stage_put(s, variant, id, &e));
    return id;
}

/* A sensor with a gain of 5 % and an edge of half a joule. */
static void put_energy(struct store *s, int64_t stage, const char *window, double seconds,
                       double joules) {
    struct store_energy g = {.window = window,
                             .start_ns = 0,
                             .end_ns = seconds * 1e9,
                             .component = "cpu",
                             .scope = "cpu",
                             .source = "powercap",
                             .quality = "counter",
                             .joules = joules,
                             .low_j = joules - 0.05 * joules - 0.5,
                             .high_j = joules + 0.05 * joules + 0.5,
                             .above_idle_j = joules - 2 * seconds,
                             .idle_w = 2,
                             .mean_w = joules / seconds,
                             .peak_w = NAN,
                             .coverage = 1};
    OK(store_energy_put(s, stage, &g, &e));
    g.component = "total";
    g.scope = "CPU";
    g.source = "sum";
    OK(store_energy_put(s, stage, &g, &e));
}

/* 10 requests in 10 s a repeat, one of them slow. */
static void put_requests(struct store *s, int64_t stage) {
    for (int i = 0; i < REPEATS * PER_REPEAT; i++) {
        int repeat = i / PER_REPEAT;
        bool is_slow = i % PER_REPEAT == 0;
        int64_t begin_ns = repeat * INT64_C(1000000000000);
        const struct store_request r = {.repeat = repeat,
                                        .ordinal = i % PER_REPEAT,
                                        .item_id = "item",
                                        .status = "ok",
                                        .finish = "stop",
                                        .prompt_tokens = 100,
                                        .output_tokens = 11,
                                        .queued_ns = begin_ns,
                                        .started_ns = begin_ns,
                                        .first_token_ns = begin_ns + 1000000000,
                                        .last_token_ns = begin_ns +
                                                         (is_slow ? 10 : 2) * 1000000000LL,
                                        .done_ns = begin_ns + (is_slow ? 10 : 2) * 1000000000LL};
        OK(store_request_put(s, stage, &r, &e));
    }
}

static void put_measured(struct store *s, const char *variant, double joules, double good) {
    static const char result[] =
        "{\"concurrency\":4,\"requests\":50,\"ok\":50,\"failed\":0,\"prompt_tokens\":5000,"
        "\"output_tokens\":550,\"duration_s\":50.0,\"output_tokens_per_s\":11.0,\"repeats\":5,"
        "\"lengths\":\"natural\"}";
    int64_t id = put_stage(s, variant, "quantize", "{\"bytes\": 1}");
    put_energy(s, id, "quantize", 30, 3600);
    id = put_stage(s, variant, "serve", result);
    for (int i = 0; i < REPEATS; i++) {
        char window[16];
        snprintf(window, sizeof(window), "serve/%d", i);
        put_energy(s, id, window, 10, joules + i);
    }
    put_requests(s, id);
    id = put_stage(s, variant, "score", "{}");
    for (int i = 0; i < 20; i++) {
        char item[8];
        snprintf(item, sizeof(item), "i%02d", i);
        const struct store_score f1 = {item, 0, "f1", i < 20 * good ? 1 : 0, true};
        OK(store_score_put(s, id, &f1, &e));
    }
}

static void put_run(struct scratch *scratch) {
    struct store *s = NULL;
    OK(store_create(scratch_path(scratch, "run.db"), &s, &e));
    OK(store_begin(s, &e));
    OK(store_meta_set(s, "run_id", "r", &e));
    OK(store_meta_set(s, "created_utc", "2026-02-01T00:00:00Z", &e));
    OK(store_meta_set(s, "plan_yaml", plan_yaml, &e));
    OK(store_meta_set(s, "prices", prices, &e));
    OK(store_machine_put(
        s, "m1", "{\"energy_components\": [{\"name\": \"cpu\", \"gain_tolerance\": 0.05}]}", &e));
    put_variant(s, "ours", "ours", "fp16");
    put_measured(s, "ours", 200, 0.8);
    put_variant(s, "theirs", "theirs", "fp16");
    put_measured(s, "theirs", 400, 0.9);
    put_variant(s, "unmeasured", "ours", "int8");
    OK(store_commit(s, &e));
    store_close(s);
}

static int setup(void **state) {
    int rc = scratch_setup(state);
    put_run(*state);
    return rc;
}

static struct report_run *load(void **state, const struct report_what_if *w) {
    struct report_run *run = NULL;
    OK(report_run_load_as(((struct scratch *)*state)->dir, w, &run, &e));
    return run;
}

static const struct metric_row *row(const struct report_run *run, size_t i, const char *id) {
    return report_row_in(&run->variants[i], id, "full");
}

static void value(const struct report_run *run, const char *id, double want) {
    const struct metric_row *r = row(run, 0, id);
    if (!(fabs(r->value - want) <= 1e-9 * fabs(want))) {
        fail_msg("%s is %.17g (%s), want %.17g", id, r->value, r->reason ? r->reason : "", want);
    }
}

static void field(const struct report_run *run, size_t i, size_t f, double want) {
    const struct quantity *q = &run->variants[i].input.econ[f];
    if (!q->present || fabs(q->value - want) > 1e-9 * fabs(want)) {
        fail_msg("%s is %.17g (%s), want %.17g", econ_field(f)->name, q->value,
                 q->reason ? q->reason : "", want);
    }
}

/* --- Tests ------------------------------------------------------------------------------------------------ */

static void measurements_become_fields(void **state) {
    struct report_run *run = load(state, NULL);
    double request_j = (200 + 201 + 202 + 203 + 204) / 50.0;
    field(run, 0, ECON(throughput_per_h), 3600);
    field(run, 0, ECON(capacity_per_h), 3600);
    field(run, 0, ECON(request_j), request_j);
    field(run, 0, ECON(request_above_idle_j), request_j - 5.0 * 50 / 50);
    field(run, 0, ECON(once_j), 3600);
    field(run, 0, ECON(once_s), 36);
    field(run, 0, ECON(input_tokens), 100);
    field(run, 0, ECON(output_tokens), 11);
    field(run, 0, ECON(api_uncached_tokens), 100);
    field(run, 0, ECON(accepted_share), 0.8);
    assert_true(run->variants[0].input.concurrency == 4);
    assert_int_equal(run->seed, 7);
    const struct stats_joules *serve = &run->variants[0].input.spread.serve;
    assert_int_equal(serve->n_windows, REPEATS);
    assert_int_equal(serve->n_devices, 1);
    assert_string_equal(serve->devices[0].device, "m1/cpu");
    assert_true(serve->devices[0].gain == 0.05);
    assert_true(fabs(serve->devices[0].joules[1] - 20.1) < 1e-12); /* of one request */
    assert_true(fabs(serve->devices[0].edge_j[1] - 0.05) < 1e-9);
    report_run_free(run);
}

static void the_rows_are_what_the_formulas_say(void **state) {
    struct report_run *run = load(state, NULL);
    double v = (20.2 - 5) / 3.6e6 * 0.36;
    double f = 350.4 / 35040 + 5 / 1000.0 * 0.36;
    double api = 100e-6 + 110e-6;
    double once = 3600 / 3.6e6 * 0.36 + 0.01 * 36 / 3600;
    value(run, "fixed_usd_per_h", f);
    value(run, "marginal_usd", v);
    value(run, "once_usd", once);
    value(run, "n_break", 1000 * once / (1000 * (api - v) - f));
    value(run, "accepted_usd", f / 1000 + v + 0.2 * 0.01);
    value(run, "ipj_above_idle", 0.8 / ((1010 - 100) / 50.0));
    const struct metric_row *n_break = row(run, 0, "n_break");
    assert_true(n_break->low < n_break->value && n_break->value < n_break->high);
    assert_non_null(strstr(n_break->label, "idle power as given"));
    assert_non_null(strstr(n_break->label, "API tokens as our model counts them"));
    assert_non_null(strstr(n_break->label, "scope CPU"));
    assert_null(strstr(n_break->label, "instrument error only"));
    /* What was not measured has no figure and says so. */
    assert_true(metric_refused(row(run, 2, "n_break")));
    assert_non_null(strstr(row(run, 2, "n_break")->reason, "the run has no serve stage for it"));
    report_run_free(run);
}

static void an_slo_leaves_only_the_good_ones(void **state) {
    static const char *const sets[] = {"slo_e2e=5s"};
    const struct report_what_if w = {.sets = sets, .n_sets = 1};
    struct report_run *run = load(state, &w);
    field(run, 0, ECON(throughput_per_h), 3600);
    field(run, 0, ECON(capacity_per_h), 3600 * 0.9);
    report_run_free(run);
    static const char *const none[] = {"slo_ttft=100ms"};
    const struct report_what_if strict = {.sets = none, .n_sets = 1};
    run = load(state, &strict);
    assert_non_null(
        strstr(row(run, 0, "replicas")->reason, "no request was answered within the SLO"));
    report_run_free(run);
    static const char *const gap[] = {"slo_tpot=150ms"}; /* 0.9 s a token where it was slow */
    const struct report_what_if tpot = {.sets = gap, .n_sets = 1};
    run = load(state, &tpot);
    field(run, 0, ECON(capacity_per_h), 3600 * 0.9);
    report_run_free(run);
}

static void what_if_overrides_plan_and_prices(void **state) {
    struct arena a = ARENA_INIT;
    struct price_book own = {0};
    static const char text[] =
        "currency: USD\n"
        "api: {some-api: {input: 0.01, output: 0.01, source: ours, date: 2026-01-01}}\n";
    OK(prices_load_bytes(text, strlen(text), "own.yaml", &a, &own, &e));
    static const char *const sets[] = {"electricity=0.72", "traffic=500/h"};
    const struct report_what_if w = {.sets = sets, .n_sets = 2, .prices = &own};
    struct report_run *run = load(state, &w);
    value(run, "marginal_usd", (20.2 - 5) / 3.6e6 * 0.72);
    value(run, "api_request_usd", 111 * 0.01e-6);
    assert_true(isinf(row(run, 0, "n_break")->value));
    assert_non_null(strstr(row(run, 0, "n_break")->reason, "never"));
    report_run_free(run);

    static const char *const wrong[] = {"traffic=500"};
    const struct report_what_if bad = {.sets = wrong, .n_sets = 1};
    REFUSED_WITH(report_run_load_as(((struct scratch *)*state)->dir, &bad, &run, &e), EE_USAGE,
                 "traffic is \"500\"");
    arena_release(&a);
}

/* Reports count the age of prices to the day of the run, so that they stay what they were. */
static void prices_age_with_the_day_that_is_asked_for(void **state) {
    struct report_run *run = load(state, NULL);
    assert_null(strstr(row(run, 0, "n_break")->label, "stale price"));
    report_run_free(run);
    const struct report_what_if later = {.as_of = "2027-01-01"};
    run = load(state, &later);
    assert_non_null(strstr(row(run, 0, "n_break")->label, "stale price"));
    report_run_free(run);
}

/* Plans of other versions are stored too: their figures stay readable. */
static void a_stored_plan_that_cannot_be_read_costs_the_costs_alone(void **state) {
    struct store *s = NULL;
    OK(store_open(scratch_path(*state, "run.db"), false, &s, &e));
    OK(store_meta_set(s, "plan_yaml", "seed: 7\ncost: {of_another_version: 1}\n", &e));
    store_close(s);
    struct report_run *run = load(state, NULL);
    const char *reason = row(run, 0, "n_break")->reason;
    if (!strstr(reason, "the run's plan:2:8: unknown key \"of_another_version\" in cost")) {
        fail_msg("%s", reason);
    }
    value(run, "ipj", 0.8 / 20.2);
    report_run_free(run);
}

static void the_apis_answers_decide_what_is_compared(void **state) {
    static const char *const sets[] = {"api_model=theirs", "margin=2"};
    const struct report_what_if w = {.sets = sets, .n_sets = 2};
    struct report_run *run = load(state, &w);
    assert_true(row(run, 0, "n_break")->flags & QUANTITY_NOT_EQUIVALENT);
    assert_null(strstr(row(run, 0, "n_break")->label, "as our model counts"));
    value(run, "api_accepted_usd", 210e-6 + 0.1 * 0.01);
    report_run_free(run);
    static const char *const nobody[] = {"api_model=nobody"};
    const struct report_what_if gone = {.sets = nobody, .n_sets = 1};
    run = load(state, &gone);
    assert_non_null(
        strstr(row(run, 0, "n_break")->reason, "the run has no served rag of api_model nobody"));
    report_run_free(run);
}

static void the_text_takes_it_apart_in_a_hundred_columns(void **state) {
    struct buf text;
    buf_init(&text);
    const struct report_metrics_opts opts = {.format = "text"};
    OK(report_metrics(((struct scratch *)*state)->dir, &opts, &text, &e));
    static const char *const parts[] = {"profile  full: everything that is paid",
                                        "price    electricity here: s, 2025-12-01",
                                        "assumed  ",
                                        "excluded maintenance, ops, labour, refresh",
                                        "ours rag none fp16 (ours)",
                                        "break-even",
                                        "chance of never",
                                        "pays",
                                        "N_break with one input changed",
                                        "API: output",
                                        "<- the plan",
                                        "Refused:",
                                        "npv_12_usd, npv_36_usd, npv_36_falling_usd"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!strstr(text.data, parts[i])) {
            fail_msg("no \"%s\" in:\n%s", parts[i], text.data);
        }
    }
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t columns = 0;
        for (const char *c = line; *c; c++) {
            columns += ((unsigned char)*c & 0xC0) != 0x80;
        }
        if (columns > 100 || (columns && line[strlen(line) - 1] == ' ')) {
            fail_msg("%zu columns: \"%s\"", columns, line);
        }
    }
    buf_release(&text);
    const struct report_metrics_opts unknown = {.format = "text", .variant = "nobody"};
    REFUSED_WITH(report_metrics(((struct scratch *)*state)->dir, &unknown, &text, &e), EE_USAGE,
                 "no variant \"nobody\"; it has: ours, theirs, unmeasured");
    buf_release(&text);
}

/* Another program computes on with what the JSON holds. */
static void the_json_holds_the_flat_fields(void **state) {
    struct buf text;
    buf_init(&text);
    const struct report_metrics_opts opts = {.format = "json"};
    OK(report_metrics(((struct scratch *)*state)->dir, &opts, &text, &e));
    json_t *doc = NULL;
    OK(json_parse(text.data, text.len, "metrics.json", &doc, &e));
    const json_t *first = json_array_get(json_object_get(doc, "variants"), 0);
    const json_t *economics = json_object_get(first, "economics");
    assert_true(json_is_true(json_object_get(economics, "is_complete")));
    struct econ x;
    const json_t *described = json_object_get(doc, "econ_fields");
    assert_int_equal(json_array_size(described), ECON_FIELDS);
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        const char *name = json_str_or(json_array_get(described, i), "name", "");
        assert_string_equal(name, econ_field(i)->name);
        econ_set(&x, i, json_num_or(json_object_get(economics, "fields"), name, (double)NAN));
    }
    struct report_run *run = load(state, NULL);
    assert_true(econ_n_break_planned(&x) == row(run, 0, "n_break")->value);
    const json_t *curve = json_object_get(economics, "curve");
    const json_t *middle = json_array_get(curve, json_array_size(curve) / 2);
    assert_true(fabs(json_num_or(middle, "n_break", 0) - econ_n_break_planned(&x)) <
                1e-9 * econ_n_break_planned(&x));
    assert_true(json_array_size(json_object_get(economics, "tornado")) > 5);
    assert_int_equal(json_int_or(economics, "n_paying", 0), 1);
    const json_t *costing = json_object_get(doc, "costing");
    assert_int_equal(json_array_size(json_object_get(costing, "prices")), 3);
    report_run_free(run);
    json_decref(doc);
    buf_release(&text);
}

static void csv_of_one_profile_leaves_the_other_out(void **state) {
    struct buf text;
    buf_init(&text);
    const struct report_metrics_opts opts = {.format = "csv", .profile = "full"};
    OK(report_metrics(((struct scratch *)*state)->dir, &opts, &text, &e));
    assert_non_null(strstr(text.data, ",n_break,full,"));
    assert_non_null(strstr(text.data, ",score,measured,"));
    assert_null(strstr(text.data, ",paper,"));
    buf_release(&text);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(measurements_become_fields),
        TEST(the_rows_are_what_the_formulas_say),
        TEST(an_slo_leaves_only_the_good_ones),
        TEST(what_if_overrides_plan_and_prices),
        TEST(prices_age_with_the_day_that_is_asked_for),
        TEST(a_stored_plan_that_cannot_be_read_costs_the_costs_alone),
        TEST(the_apis_answers_decide_what_is_compared),
        TEST(the_text_takes_it_apart_in_a_hundred_columns),
        TEST(the_json_holds_the_flat_fields),
        TEST(csv_of_one_profile_leaves_the_other_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
