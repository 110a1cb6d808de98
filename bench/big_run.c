/*
 * Makes a run as large as serving tests get: two variants, five repeats each, and as many stored
 * requests in all as asked for, with answers and token times, a score an item. Nothing is served;
 * the figures are seeded noise in the shape of real ones. bench/big_run.py times reports of it.
 *
 * usage: big_run DIR [REQUESTS]
 */
#include "store/store.h"

#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { VARIANTS = 2, REPEATS = 5, TOKENS = 16, STARTS = 5 };
#define NS_PER_S 1000000000

static const char plan[] =
    "name: big\n"
    "models: [big-model]\n"
    "precisions: [fp16, int4]\n"
    "tasks:\n"
    "  rag: {}\n"
    "cost: {deployment: owned, hardware: 2500, lifetime: 4y, maintenance: 0.02,\n"
    "  electricity: 0.12, pue: 1.3, idle_w: 24, ops: 0.05, labour: 400,\n"
    "  refresh: 30d, recurring: 14, traffic: 5000/h, peak: 9000/h, api: some,\n"
    "  slo_ttft: 0.3s, accept: 0.5, fallback: 0.01, carbon: 400}\n";

static const char prices[] = "currency: USD\n"
                             "api:\n"
                             "  some: {input: 1, output: 4, source: none, date: 2026-01-01}\n";

struct maker {
    struct store *s;
    struct rng rng;
    size_t per_repeat;
    int64_t stage_id;
};

static int put_stage(struct maker *m, const char *variant_id, const char *kind, const char *result,
                     struct err *e) {
    char key[64];
    snprintf(key, sizeof(key), "%s-%s", variant_id, kind);
    const struct store_stage st = {.key = key,
                                   .kind = kind,
                                   .title = key,
                                   .status = "done",
                                   .started_utc = "2026-01-31T12:00:00Z",
                                   .wall_s = 100,
                                   .machine_id = "m1",
                                   .inputs_json = "{\"concurrency\":8,\"max_tokens\":16}",
                                   .result_json = result};
    int rc = store_stage_put(m->s, &st, &m->stage_id, e);
    return rc ? rc : store_variant_stage_put(m->s, variant_id, m->stage_id, e);
}

static int put_energy(struct maker *m, const char *window, double seconds, double watts,
                      struct err *e) {
    static const char *const components[] = {"cpu", "total"};
    int rc = 0;
    for (size_t i = 0; !rc && i < 2; i++) {
        double joules = watts * seconds * (0.99 + 0.02 * rng_uniform(&m->rng));
        const struct store_energy g = {.window = window,
                                       .start_ns = NS_PER_S,
                                       .end_ns = NS_PER_S * (1 + seconds),
                                       .component = components[i],
                                       .scope = "cpu",
                                       .source = "rapl",
                                       .quality = "counter",
                                       .joules = joules,
                                       .low_j = 0.97 * joules,
                                       .high_j = 1.03 * joules,
                                       .above_idle_j = 0.6 * joules,
                                       .idle_w = 0.4 * watts,
                                       .mean_w = watts,
                                       .peak_w = 1.2 * watts,
                                       .coverage = 1};
        rc = store_energy_put(m->s, m->stage_id, &g, e);
    }
    return rc;
}

/* ms, with a tail as of waiting in a queue. */
static int64_t skewed_ns(struct rng *r, double ms) {
    return (int64_t)(1e6 * ms * (0.5 - 0.5 * log(1 - rng_uniform(r))));
}

static int put_request(struct maker *m, int repeat, size_t i, struct err *e) {
    struct arena a = ARENA_INIT;
    char item[24];
    snprintf(item, sizeof(item), "item-%08zu", i);
    int64_t times_ns[TOKENS];
    int64_t queued_ns = NS_PER_S + (int64_t)i * 1000000;
    times_ns[0] = queued_ns + skewed_ns(&m->rng, 80);
    for (size_t k = 1; k < TOKENS; k++) {
        times_ns[k] = times_ns[k - 1] + skewed_ns(&m->rng, 12);
    }
    bool failed = rng_uniform(&m->rng) < 0.001;
    struct store_request r = {.repeat = repeat,
                              .ordinal = (int)i,
                              .item_id = item,
                              .status = failed ? "failed" : "ok",
                              .finish = failed ? "error" : "stop",
                              .error = failed ? "connection reset" : NULL,
                              .prompt_tokens = 200,
                              .output_tokens = failed ? 0 : TOKENS,
                              .queued_ns = queued_ns,
                              .started_ns = queued_ns + 1000,
                              .first_token_ns = times_ns[0],
                              .last_token_ns = times_ns[TOKENS - 1],
                              .done_ns = times_ns[TOKENS - 1],
                              .text = "an answer of about as many words as sixteen tokens make"};
    int rc = store_pack_events(&a, times_ns, TOKENS, &r.events, &r.events_bytes, e);
    rc = rc ? rc : store_request_put(m->s, m->stage_id, &r, e);
    arena_release(&a);
    return rc;
}

static int put_serve(struct maker *m, const char *variant_id, struct err *e) {
    char result[400];
    size_t n = m->per_repeat * REPEATS;
    snprintf(result, sizeof(result),
             "{\"concurrency\":8,\"requests\":%zu,\"ok\":%zu,\"failed\":%zu,\"prompt_tokens\":%zu,"
             "\"output_tokens\":%zu,\"duration_s\":%zu,\"output_tokens_per_s\":800,\"repeats\":%d,"
             "\"lengths\":\"natural\"}",
             n, n - n / 1000, n / 1000, n * 200, n * TOKENS, n / 50 + 1, REPEATS);
    int rc = put_stage(m, variant_id, "serve", result, e);
    for (int repeat = 0; !rc && repeat < REPEATS; repeat++) {
        char window[24];
        snprintf(window, sizeof(window), "serve/%d", repeat);
        rc = put_energy(m, window, (double)m->per_repeat / 50 + 1, 60, e);
        for (size_t i = 0; !rc && i < m->per_repeat; i++) {
            rc = put_request(m, repeat, i, e);
        }
    }
    static const char *const parts[] = {"weights", "kv", "compute", "rss_peak"};
    for (size_t i = 0; !rc && i < sizeof(parts) / sizeof(parts[0]); i++) {
        rc = store_memory_put(
            m->s, m->stage_id,
            &(struct store_memory){
                .part = parts[i], .device = "host", .bytes = i < 3 ? 1e8 : 4e8, .source = "none"},
            e);
    }
    return rc;
}

static int put_score(struct maker *m, const char *variant_id, struct err *e) {
    int rc = put_stage(m, variant_id, "score", "{\"scorer\":\"f1\"}", e);
    for (size_t i = 0; !rc && i < m->per_repeat; i++) {
        char item[24];
        snprintf(item, sizeof(item), "item-%08zu", i);
        const struct store_score score = {
            .item_id = item, .scorer = "f1", .value = rng_uniform(&m->rng), .is_primary = true};
        rc = store_score_put(m->s, m->stage_id, &score, e);
    }
    return rc;
}

static int put_load(struct maker *m, const char *variant_id, struct err *e) {
    int rc = put_stage(m, variant_id, "load", "{}", e);
    for (int i = 0; !rc && i < STARTS; i++) {
        char window[24];
        snprintf(window, sizeof(window), "cold/%d", i);
        const struct store_cold_start c = {.cache = "cold",
                                           .repeat = i,
                                           .main_s = 0.01,
                                           .backend_s = 0.05,
                                           .weights_s = 1,
                                           .context_s = 1.1,
                                           .first_token_s = 1.3,
                                           .warm_first_token_s = 0.1,
                                           .joules = 60,
                                           .warm_joules = 4};
        rc = store_cold_start_put(m->s, m->stage_id, &c, e);
        rc = rc ? rc : put_energy(m, window, 1.3, 46, e);
    }
    return rc;
}

static int put_variant(struct maker *m, const char *precision, struct err *e) {
    char id[32];
    snprintf(id, sizeof(id), "big-rag-%s", precision);
    const struct store_variant v = {.variant_id = id,
                                    .model_id = "big-model",
                                    .family = "Big",
                                    .size = "1B",
                                    .method = "none",
                                    .task = "rag",
                                    .precision = precision,
                                    .engine = "llama.cpp",
                                    .device = "cpu",
                                    .params = 1e9};
    int rc = store_variant_put(m->s, &v, e);
    rc = rc ? rc : put_stage(m, id, "quantize", "{\"bytes\":1e9,\"used_as_is\":true}", e);
    rc = rc ? rc : put_load(m, id, e);
    rc = rc ? rc : put_serve(m, id, e);
    return rc ? rc : put_score(m, id, e);
}

static int make_run(struct maker *m, struct err *e) {
    static const char *const facts[][2] = {
        {"run_id", "big"},    {"created_utc", "2026-01-31T12:00:00Z"},
        {"version", "bench"}, {"plan_name", "big"},
        {"plan_yaml", plan},  {"prices", prices},
        {"machine_id", "m1"}};
    int rc = store_begin(m->s, e);
    for (size_t i = 0; !rc && i < sizeof(facts) / sizeof(facts[0]); i++) {
        rc = store_meta_set(m->s, facts[i][0], facts[i][1], e);
    }
    rc = rc ? rc
            : store_machine_put(m->s, "m1",
                                "{\"cpu\":\"none\",\"energy_components\":[{\"name\":\"cpu\","
                                "\"scope\":\"cpu\",\"source\":\"rapl\",\"gain_tolerance\":0.02}]}",
                                e);
    rc = rc ? rc : put_variant(m, "fp16", e);
    rc = rc ? rc : put_variant(m, "int4", e);
    return rc ? rc : store_commit(m->s, e);
}

int main(int argc, char **argv) {
    size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
    if (argc < 2 || argc > 3 || n < VARIANTS * REPEATS) {
        fprintf(stderr, "usage: big_run DIR [REQUESTS]\n");
        return 2;
    }
    struct err e = ERR_INIT;
    struct maker m = {.per_repeat = n / (VARIANTS * REPEATS)};
    rng_init(&m.rng, 1);
    if (mkdir(argv[1], 0755) != 0) {
        fprintf(stderr, "big_run: cannot make %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    char *path = fs_join(argv[1], "run.db");
    int rc = path ? store_create(path, &m.s, &e) : err_set(&e, EE_NOMEM, "out of memory");
    rc = rc ? rc : make_run(&m, &e);
    store_close(m.s);
    free(path);
    if (rc) {
        fprintf(stderr, "big_run: %s\n", e.msg);
    }
    return rc ? 1 : 0;
}
