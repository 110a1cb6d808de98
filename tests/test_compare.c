/*
 * Comparisons over small stored runs whose differences are known: a frontier, who dominates whom,
 * what data support, and what may not be compared.
 */
#include "report/compare.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/rng.h"
#include "store/store.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* --- Runs ------------------------------------------------------------------------------------------- */

/* One variant as a test wants it; 0 and NULL are the defaults below. */
struct wanted {
    const char *task, *precision;
    double score;      /* mean over items, of 0 or 1 each */
    double discordant; /* share of items on which it differs from the pattern */
    double request_j;
    double latency_s;
    double memory_bytes;
    const char *scope; /* "GPU only" */
    const char *hash;  /* of the task data */
    int repeats;       /* 5 */
    int concurrency;   /* 8 */
    const char *scorer;
    bool not_run;
};
enum { ITEMS = 200, REQUESTS_A_REPEAT = 40 };

struct run_wanted {
    const char *id;
    const char *machine; /* "m1" */
    const char *plan_yaml;
    const struct wanted *variants;
    size_t n;
};

static struct err e;
#define TRY(call) check_ok((call), &e, __FILE__, __LINE__)

static int64_t put_stage(struct store *s, const struct run_wanted *r, const char *variant,
                         const char *kind, const char *inputs, const char *result) {
    char key[96];
    snprintf(key, sizeof(key), "%s %s", variant, kind);
    const struct store_stage st = {.key = key,
                                   .kind = kind,
                                   .title = key,
                                   .status = "done",
                                   .started_utc = "2026-01-31T12:00:00Z",
                                   .wall_s = 1,
                                   .machine_id = r->machine ? r->machine : "m1",
                                   .inputs_json = inputs,
                                   .result_json = result};
    int64_t id = 0;
    TRY(store_stage_put(s, &st, &id, &e));
    TRY(store_variant_stage_put(s, variant, id, &e));
    return id;
}

/* Items are right in a fixed pattern, so that pairs agree but for those about the score's edge, which
 * change sides both ways. */
static void put_scores(struct store *s, int64_t stage, const struct wanted *w) {
    for (size_t i = 0; i < ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "q%03zu", i);
        double rank = (double)(i * 37 % ITEMS) + 0.5;
        double past_edge = rank - w->score * ITEMS;
        bool flips = fabs(past_edge) < w->discordant * ITEMS / 2;
        const struct store_score row = {.item_id = id,
                                        .scorer = w->scorer ? w->scorer : "em",
                                        .value = (past_edge < 0) != flips ? 1 : 0,
                                        .is_primary = true};
        TRY(store_score_put(s, stage, &row, &e));
    }
}

static void put_energy(struct store *s, int64_t stage, const struct wanted *w, int repeat) {
    char window[24];
    double joules = w->request_j * REQUESTS_A_REPEAT * (1 + 0.01 * (repeat % 3 - 1));
    snprintf(window, sizeof(window), "serve/%d", repeat);
    struct store_energy g = {.window = window,
                             .start_ns = 0,
                             .end_ns = 20e9,
                             .component = "gpu0",
                             .scope = "gpu",
                             .source = "nvml counter",
                             .quality = "counter",
                             .joules = joules,
                             .low_j = 0.95 * joules - 1,
                             .high_j = 1.05 * joules + 1,
                             .above_idle_j = NAN,
                             .idle_w = NAN,
                             .mean_w = joules / 20,
                             .peak_w = NAN,
                             .coverage = 1};
    TRY(store_energy_put(s, stage, &g, &e));
    g.component = "total";
    g.source = "sum";
    g.scope = w->scope ? w->scope : "GPU only";
    TRY(store_energy_put(s, stage, &g, &e));
}

static void put_requests(struct store *s, int64_t stage, const struct wanted *w, int repeats) {
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < repeats * REQUESTS_A_REPEAT; i++) {
        int64_t start_ns = (int64_t)i * 500000000;
        int64_t ns = (int64_t)(1e9 * w->latency_s * (0.9 + 0.2 * rng_uniform(&rng)));
        const struct store_request q = {.repeat = i / REQUESTS_A_REPEAT,
                                        .ordinal = i % REQUESTS_A_REPEAT,
                                        .item_id = "q",
                                        .status = "ok",
                                        .finish = "stop",
                                        .prompt_tokens = 10,
                                        .output_tokens = 20,
                                        .queued_ns = start_ns,
                                        .started_ns = start_ns,
                                        .first_token_ns = start_ns + ns / 10,
                                        .last_token_ns = start_ns + ns,
                                        .done_ns = start_ns + ns};
        TRY(store_request_put(s, stage, &q, &e));
    }
}

static void put_variant(struct store *s, const struct run_wanted *r, const struct wanted *w) {
    char id[64], inputs[200], result[200];
    const char *task = w->task ? w->task : "rag";
    int repeats = w->repeats ? w->repeats : 5;
    snprintf(id, sizeof(id), "%s.%s", task, w->precision);
    const struct store_variant v = {.variant_id = id,
                                    .model_id = "model",
                                    .family = "Family",
                                    .size = "1B",
                                    .method = "none",
                                    .task = task,
                                    .precision = w->precision,
                                    .engine = "llama.cpp",
                                    .device = "GPU",
                                    .params = 1e9};
    TRY(store_variant_put(s, &v, &e));
    if (w->not_run) {
        return;
    }
    snprintf(inputs, sizeof(inputs),
             "{\"task_hash\":\"%s\",\"items\":40,\"max_tokens\":32,\"concurrency\":%d}",
             w->hash ? w->hash : "abcdef0123", w->concurrency ? w->concurrency : 8);
    snprintf(result, sizeof(result),
             "{\"ok\":%d,\"failed\":0,\"repeats\":%d,\"output_tokens\":%d,\"prompt_tokens\":%d,"
             "\"duration_s\":%d,\"output_tokens_per_s\":40,\"lengths\":\"natural\"}",
             repeats * REQUESTS_A_REPEAT, repeats, repeats * REQUESTS_A_REPEAT * 20,
             repeats * REQUESTS_A_REPEAT * 10, repeats * 20);
    int64_t serve = put_stage(s, r, id, "serve", inputs, result);
    for (int k = 0; k < repeats; k++) {
        put_energy(s, serve, w, k);
    }
    put_requests(s, serve, w, repeats);
    const struct store_memory m = {.part = "device_peak",
                                   .device = "gpu",
                                   .bytes = w->memory_bytes,
                                   .source = "device memory"};
    TRY(store_memory_put(s, serve, &m, &e));
    put_scores(s, put_stage(s, r, id, "score", inputs, "{}"), w);
}

static const char *make_run(struct scratch *scratch, const struct run_wanted *r) {
    const char *dir = scratch_path(scratch, r->id);
    char name[80];
    snprintf(name, sizeof(name), "%s/run.db", r->id);
    struct store *s = NULL;
    TRY(fs_mkdirs(dir, &e));
    TRY(store_create(scratch_path(scratch, name), &s, &e));
    const char *machine = r->machine ? r->machine : "m1";
    char json[200];
    snprintf(json, sizeof(json),
             "{\"cpu\":\"CPU of %s\",\"energy_components\":[{\"name\":\"gpu0\","
             "\"gain_tolerance\":0.05}]}",
             machine);
    TRY(store_begin(s, &e));
    TRY(store_machine_put(s, machine, json, &e));
    TRY(store_meta_set(s, "run_id", r->id, &e));
    TRY(store_meta_set(s, "machine_id", machine, &e));
    TRY(store_meta_set(s, "created_utc", "2026-01-31T12:00:00Z", &e));
    if (r->plan_yaml) {
        TRY(store_meta_set(s, "plan_yaml", r->plan_yaml, &e));
    }
    for (size_t i = 0; i < r->n; i++) {
        put_variant(s, r, &r->variants[i]);
    }
    TRY(store_commit(s, &e));
    store_close(s);
    return dir;
}

#define RUN(scratch, run_id, ...)                                                                  \
    make_run((scratch),                                                                            \
             &(const struct run_wanted){.id = (run_id),                                            \
                                        .variants = (const struct wanted[]){__VA_ARGS__},          \
                                        .n = sizeof((const struct wanted[]){__VA_ARGS__}) /        \
                                             sizeof(struct wanted)})

/* --- Comparing -------------------------------------------------------------------------------------- */

static char *compare_text_of(const char *const *dirs, size_t n, const char *a, const char *b) {
    const struct compare_opts opts = {.between = {a, b}};
    struct buf out;
    buf_init(&out);
    TRY(compare_format(dirs, n, &opts, &out, &e));
    return buf_detach(&out);
}

static json_t *compare_json_of(const char *const *dirs, size_t n, const char *a, const char *b) {
    const struct compare_opts opts = {.between = {a, b}, .as_json = true};
    struct buf out;
    json_t *doc = NULL;
    buf_init(&out);
    TRY(compare_format(dirs, n, &opts, &out, &e));
    TRY(json_parse(out.data, out.len, "compare", &doc, &e));
    buf_release(&out);
    return doc;
}

static json_t *group_at(json_t *doc, size_t i) {
    return json_array_get(json_object_get(doc, "groups"), i);
}

static json_t *by_name(json_t *array, const char *key, const char *name) {
    size_t i;
    json_t *v;
    json_array_foreach(array, i, v) {
        if (strcmp(json_str_or(v, key, ""), name) == 0) {
            return v;
        }
    }
    fail_msg("there is no %s", name);
    return NULL;
}

static json_t *variant(json_t *doc, const char *name) {
    return by_name(json_object_get(group_at(doc, 0), "variants"), "name", name);
}

static json_t *difference(json_t *doc, const char *a) {
    return by_name(json_object_get(group_at(doc, 0), "differences"), "a", a);
}

static const char *verdict(json_t *d, const char *axis) {
    return json_str_or(json_object_get(d, axis), "verdict", "");
}

static void assert_says(const char *text, const char *part) {
    if (!strstr(text, part)) {
        fail_msg("\"%s\" is not in: %s", part, text);
    }
}

/* A good one, a cheaper and clearly worse one, and one that is behind the first in everything. */
static const struct wanted three[] = {
    {.precision = "fp16", .score = 0.7, .request_j = 10, .latency_s = 4, .memory_bytes = 4e9},
    {.precision = "int8", .score = 0.72, .request_j = 6, .latency_s = 2, .memory_bytes = 2e9},
    {.precision = "int4", .score = 0.5, .request_j = 5, .latency_s = 1.5, .memory_bytes = 1e9},
};

static void the_frontier_and_who_dominates(void **state) {
    const char *dir = RUN(*state, "run", three[0], three[1], three[2]);
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    assert_true(json_is_false(json_object_get(variant(doc, "fp16"), "frontier")));
    assert_string_equal(json_str_or(variant(doc, "fp16"), "dominated_by", ""), "int8");
    assert_true(json_is_true(json_object_get(variant(doc, "int8"), "frontier")));
    assert_true(json_is_true(json_object_get(variant(doc, "int4"), "frontier")));
    json_decref(doc);
    char *text = compare_text_of(&dir, 1, NULL, NULL);
    assert_says(text,
                "fp16 is dominated by int8, which is no worse on any axis that compares them");
    free(text);
}

/* 200 items in a fixed pattern: int4 loses 20 points exactly, all discordant items one way. */
static void what_the_data_support(void **state) {
    const char *dir = RUN(*state, "run", three[0], three[1], three[2]);
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    json_t *d = difference(doc, "int4");
    assert_string_equal(json_str_or(d, "b", ""), "fp16");
    assert_string_equal(verdict(d, "quality"), "less");
    json_t *q = json_object_get(d, "quality");
    double points = json_num_or(q, "points", NAN);
    assert_true(points > -20.5 && points < -19); /* Bonett and Price shrink it a little */
    assert_true(json_num_or(q, "low", NAN) < points && json_num_or(q, "high", NAN) > points);
    assert_true(json_num_or(q, "high", NAN) < 0);
    assert_true(json_num_or(q, "holm_p", NAN) < 0.05);
    assert_int_equal(json_int_or(q, "n", 0), ITEMS);
    assert_string_equal(verdict(d, "energy"), "less");
    assert_true(fabs(json_num_or(json_object_get(d, "energy"), "ratio", NAN) - 0.5) < 1e-9);
    assert_string_equal(verdict(d, "latency"), "less");
    assert_true(fabs(json_num_or(json_object_get(d, "latency"), "ratio", NAN) - 0.375) < 0.01);
    assert_string_equal(verdict(d, "memory"), "less");
    const char *sentence = json_str_or(d, "sentence", "");
    assert_says(sentence, "int4 against fp16: it loses ");
    assert_says(sentence, " points of em (95 % interval 14 to 25, 200 items)");
    assert_says(sentence, "it takes 50 % less energy a request (95 % interval ");
    assert_says(sentence, "it has 63 % less p95 latency (95 % interval ");
    assert_says(sentence, "it needs 75 % less memory.");
    json_decref(doc);
}

/* Two points of 200 items, with discordant items both ways, are nothing that can be told. */
static void what_they_do_not_decide_is_undetermined(void **state) {
    const char *dir = RUN(*state, "run", three[0],
                          {.precision = "int8",
                           .score = 0.7,
                           .discordant = 0.1,
                           .request_j = 9.99,
                           .latency_s = 4,
                           .memory_bytes = 4e9});
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    json_t *d = difference(doc, "int8");
    assert_string_equal(verdict(d, "quality"), "undetermined");
    assert_string_equal(verdict(d, "energy"), "undetermined");
    assert_string_equal(verdict(d, "latency"), "undetermined");
    assert_string_equal(verdict(d, "memory"), "same");
    const char *sentence = json_str_or(d, "sentence", "");
    assert_says(sentence, "em is undetermined: ");
    assert_says(sentence, " items; about ");
    assert_says(sentence, "energy a request is undetermined: 0.1 % less (95 % interval ");
    assert_says(sentence, "p95 latency is undetermined: ");
    assert_says(sentence, "it needs the same memory");
    json_decref(doc);
}

static void one_measurement_shows_no_spread(void **state) {
    const char *dir = RUN(*state, "run", three[0],
                          {.precision = "int4",
                           .score = 0.7,
                           .request_j = 5,
                           .latency_s = 4,
                           .memory_bytes = 4e9,
                           .repeats = 1});
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    json_t *d = difference(doc, "int4");
    assert_string_equal(verdict(d, "energy"), "undetermined");
    assert_says(
        json_str_or(d, "sentence", ""),
        "energy a request is undetermined: 50 % less, but fewer than 5 repeats show no spread "
        "(instrument error alone: ");
    assert_says(json_str_or(d, "sentence", ""), "too few requests to bound a 95th percentile");
    json_decref(doc);
}

static void unlike_scopes_are_not_compared(void **state) {
    const char *dir = RUN(*state, "run", three[0],
                          {.precision = "int8",
                           .score = 0.72,
                           .request_j = 6,
                           .latency_s = 2,
                           .memory_bytes = 2e9,
                           .scope = "CPU + DRAM"});
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    json_t *d = difference(doc, "int8");
    assert_string_equal(verdict(d, "energy"), "refused");
    assert_string_equal(verdict(d, "latency"), "less");
    assert_says(json_str_or(d, "sentence", ""),
                "energy a request is not compared: their joules count unlike parts of the machine");
    /* Dominated all the same: by score, latency and memory. */
    assert_string_equal(json_str_or(variant(doc, "fp16"), "dominated_by", ""), "int8");
    json_decref(doc);
    char *text = compare_text_of(&dir, 1, NULL, NULL);
    assert_says(text, "not compared between unlike scopes");
    assert_says(text, "GPU only (fp16); CPU + DRAM (int8)");
    free(text);
}

static void unlike_work_and_unlike_scores_are_not_compared(void **state) {
    const char *dir = RUN(*state, "run", three[0],
                          {.precision = "int8",
                           .score = 0.9,
                           .request_j = 6,
                           .latency_s = 2,
                           .memory_bytes = 2e9,
                           .hash = "0123abcdef"});
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    json_t *d = difference(doc, "int8");
    assert_string_equal(verdict(d, "quality"), "refused");
    assert_string_equal(verdict(d, "energy"), "refused");
    assert_string_equal(verdict(d, "latency"), "refused");
    assert_string_equal(verdict(d, "memory"), "less");
    assert_true(json_is_null(json_object_get(variant(doc, "fp16"), "dominated_by")));
    json_decref(doc);
    dir = RUN(*state, "other", three[0],
              {.precision = "int8",
               .score = 0.9,
               .request_j = 6,
               .latency_s = 2,
               .memory_bytes = 2e9,
               .scorer = "f1",
               .concurrency = 1});
    char *text = compare_text_of(&dir, 1, NULL, NULL);
    assert_says(text, "scored by unlike scorers");
    assert_says(text, "scores are not compared between scorers: em (fp16); f1 (int8)");
    assert_says(
        text, "served at unlike concurrency, which moves energy and latency: fp16 at 8, int8 at 1");
    free(text);
}

static void runs_of_unlike_machines_say_so(void **state) {
    const char *dirs[2];
    dirs[0] = RUN(*state, "left", three[0]);
    dirs[1] = make_run(*state, &(const struct run_wanted){
                                   .id = "right", .machine = "m2", .variants = &three[2], .n = 1});
    char *text = compare_text_of(dirs, 2, NULL, NULL);
    assert_says(text, "left on CPU of m1");
    assert_says(text, "right on CPU of m2");
    assert_says(text, "the runs are from unlike machines");
    assert_says(text, "right int4 against left fp16: it loses ");
    free(text);
    /* Their sensors are two, so their gains do not cancel. */
    json_t *doc = compare_json_of(dirs, 2, NULL, NULL);
    json_t *energy = json_object_get(difference(doc, "right int4"), "energy");
    assert_true(json_num_or(energy, "high", NAN) - json_num_or(energy, "low", NAN) > 0.04);
    json_decref(doc);
    dirs[1] = RUN(*state, "same", three[2]);
    doc = compare_json_of(dirs, 2, NULL, NULL);
    energy = json_object_get(difference(doc, "same int4"), "energy");
    assert_true(json_num_or(energy, "high", NAN) - json_num_or(energy, "low", NAN) < 0.02);
    json_decref(doc);
}

static void a_run_given_twice_is_told_apart(void **state) {
    const char *dir = RUN(*state, "run", three[0]);
    const char *dirs[] = {dir, dir};
    json_t *doc = compare_json_of(dirs, 2, NULL, NULL);
    assert_non_null(variant(doc, "fp16"));
    json_t *d = difference(doc, "fp16 #2");
    assert_string_equal(verdict(d, "quality"), "undetermined");
    json_decref(doc);
}

static const char cost_yaml[] =
    "cost: {deployment: cloud, cloud: 0.35, traffic: 50/h, peak: 50/h, ops: 0, labour: 0, "
    "variable: 0, refresh: 0, recurring: 0, accept: 0.5, fallback: 0.01}\n";

static void costs_are_compared_where_they_are_known(void **state) {
    const char *dir = make_run(
        *state,
        &(const struct run_wanted){.id = "run", .plan_yaml = cost_yaml, .variants = three, .n = 3});
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    double cost = json_num_or(json_object_get(variant(doc, "fp16"), "cost"), "value", NAN);
    assert_true(fabs(cost - (0.35 / 50 + 0.3 * 0.01)) < 1e-12);
    json_t *d = difference(doc, "int4"); /* 0.012 against 0.010 dollars */
    assert_true(fabs(json_num_or(json_object_get(d, "cost"), "ratio", NAN) - 1.2) < 1e-9);
    assert_string_equal(verdict(d, "cost"), "more");
    assert_says(json_str_or(d, "sentence", ""),
                "it costs 20 % more an accepted answer (95 % interval ");
    assert_int_equal(json_array_size(json_object_get(group_at(doc, 0), "notes")), 0);
    json_decref(doc);
    dir = RUN(*state, "free", three[0], three[1]);
    char *text = compare_text_of(&dir, 1, NULL, NULL);
    assert_says(text, "cost of an accepted answer: none for any variant (");
    assert_says(text, "energy a request stands in for");
    free(text);
}

static void two_are_chosen_by_words(void **state) {
    struct wanted all[4] = {three[0], three[2], three[0], three[2]};
    all[2].task = all[3].task = "summ";
    const char *dir = make_run(*state,
                               &(const struct run_wanted){.id = "run", .variants = all, .n = 4});
    json_t *doc = compare_json_of(&dir, 1, "INT4", "fp16");
    for (size_t i = 0; i < 2; i++) { /* in both tasks */
        json_t *d = json_object_get(group_at(doc, i), "differences");
        assert_int_equal(json_array_size(d), 1);
        assert_string_equal(json_str_or(json_array_get(d, 0), "a", ""), "int4");
    }
    json_decref(doc);
    doc = compare_json_of(&dir, 1, "fp16 summ", "none int4 model");
    assert_int_equal(json_array_size(json_object_get(group_at(doc, 0), "differences")), 0);
    assert_int_equal(json_array_size(json_object_get(group_at(doc, 1), "differences")), 1);
    json_decref(doc);
    static const struct {
        const char *a, *b, *part;
    } wrong[] = {
        {"int5", "fp16", "\"int5\" names no variant; there are: rag fp16, rag int4, summ fp16"},
        {"fp16", "bf16", "\"bf16\" names no variant"},
        {"model", "fp16", "\"model\" names several variants of one task"},
        {"rag fp16", "summ int4", "are not two variants of one task"},
        {"fp16", "fp16", "are not two variants of one task"},
        {" ", "fp16", "names no variant"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct compare_opts opts = {.between = {wrong[i].a, wrong[i].b}};
        struct buf out;
        buf_init(&out);
        int rc = compare_format(&dir, 1, &opts, &out, &e);
        check_refused_with(rc, &e, EE_USAGE, wrong[i].part, __FILE__, __LINE__);
        buf_release(&out);
    }
}

static void what_was_not_run_is_said(void **state) {
    const char *dir = RUN(*state, "run", three[0], {.precision = "int8", .not_run = true});
    json_t *doc = compare_json_of(&dir, 1, NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(group_at(doc, 0), "differences")), 0);
    assert_true(json_is_false(json_object_get(variant(doc, "int8"), "frontier")));
    json_decref(doc);
    char *text = compare_text_of(&dir, 1, NULL, NULL);
    assert_says(text, "not run: int8");
    free(text);
}

static void no_runs_and_no_variants(void **state) {
    const char *dir = make_run(*state, &(const struct run_wanted){.id = "empty"});
    char *text = compare_text_of(&dir, 1, NULL, NULL);
    assert_says(text, "There are no variants yet.");
    free(text);
    const char *none = scratch_path(*state, "none");
    const struct compare_opts opts = {0};
    struct buf out;
    buf_init(&out);
    check_refused_with(compare_format(&none, 1, &opts, &out, &e), &e, EE_MISSING,
                       "there is no run directory", __FILE__, __LINE__);
    buf_release(&out);
}

static void text_fits_100_columns(void **state) {
    const char *dirs[2];
    dirs[0] = RUN(*state, "a-run-with-quite-a-long-name", three[0], three[1], three[2]);
    dirs[1] = RUN(*state, "another-run-with-quite-a-long-name", three[0], three[1], three[2]);
    char *text = compare_text_of(dirs, 2, NULL, NULL);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t columns = 0;
        for (const char *p = line; *p; p++) {
            columns += ((unsigned char)*p & 0xC0) != 0x80;
        }
        if (columns > 100) {
            fail_msg("%zu columns: %s", columns, line);
        }
    }
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_frontier_and_who_dominates),
        TEST(what_the_data_support),
        TEST(what_they_do_not_decide_is_undetermined),
        TEST(one_measurement_shows_no_spread),
        TEST(unlike_scopes_are_not_compared),
        TEST(unlike_work_and_unlike_scores_are_not_compared),
        TEST(runs_of_unlike_machines_say_so),
        TEST(a_run_given_twice_is_told_apart),
        TEST(costs_are_compared_where_they_are_known),
        TEST(two_are_chosen_by_words),
        TEST(what_was_not_run_is_said),
        TEST(no_runs_and_no_variants),
        TEST(text_fits_100_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
