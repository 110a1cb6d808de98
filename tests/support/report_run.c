#include "report_run.h"

#include "store/store.h"

#include "base/fs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct err err;

void assert_ok(int rc, const char *what, int line) {
    if (rc) {
        fail_msg("line %d: %s: %s", line, what, err.msg);
    }
}

static void put_variant(struct store *s, const char *id, const char *task, const char *precision,
                        const char *note) {
    const struct store_variant v = {.variant_id = id,
                                    .model_id = "smollm2-135m",
                                    .family = "SmolLM2",
                                    .size = "135M",
                                    .method = "none",
                                    .task = task,
                                    .precision = precision,
                                    .engine = "llama.cpp",
                                    .device = "cpu",
                                    .params = 134.5e6,
                                    .note = note};
    OK(store_variant_put(s, &v, &err));
}

static int64_t put_stage(struct store *s, const char *variant, const char *kind,
                         const char *result_json, const char *error) {
    char key[64];
    snprintf(key, sizeof(key), "%s %s", variant, kind);
    const struct store_stage st = {.key = key,
                                   .kind = kind,
                                   .title = key,
                                   .status = error ? "failed" : "done",
                                   .error_code = error ? "crash" : NULL,
                                   .error = error,
                                   .started_utc = "2026-01-31T12:00:00Z",
                                   .wall_s = 12.5,
                                   .machine_id = "m1",
                                   .inputs_json = "{\"seed\": 1}",
                                   .result_json = error ? NULL : result_json};
    int64_t id = 0;
    OK(store_stage_put(s, &st, &id, &err));
    OK(store_variant_stage_put(s, variant, id, &err));
    return id;
}

/* A total and the component that it is made of; NAN joules are a missing reading. */
static void put_energy(struct store *s, int64_t stage, const char *window, double seconds,
                       double joules, bool is_short) {
    bool missing = isnan(joules);
    struct store_energy g = {.window = window,
                             .start_ns = 5e9,
                             .end_ns = 5e9 + seconds * 1e9,
                             .component = "total",
                             .scope = CPU,
                             .source = "sum",
                             .quality = missing ? "missing" : "modelled",
                             .joules = joules,
                             .low_j = 0.6 * joules,
                             .high_j = 1.4 * joules,
                             .above_idle_j = NAN,
                             .idle_w = NAN,
                             .mean_w = joules / seconds,
                             .peak_w = NAN,
                             .coverage = 1,
                             .is_short = is_short,
                             .reason = missing ? "cpu: permission denied" : NULL};
    OK(store_energy_put(s, stage, &g, &err));
    g.component = "cpu";
    g.scope = "cpu";
    g.source = "modelled";
    OK(store_energy_put(s, stage, &g, &err));
    g.window = "serve/0/prefill"; /* a phase inside a window counts once */
    g.component = "total";
    if (strcmp(window, "serve/0") == 0) {
        OK(store_energy_put(s, stage, &g, &err));
    }
}

static void put_requests(struct store *s, int64_t stage, int n) {
    for (int i = 0; i < n; i++) {
        const struct store_request r = {.repeat = i % 2,
                                        .ordinal = i,
                                        .item_id = "item",
                                        .status = "ok",
                                        .finish = "stop",
                                        .prompt_tokens = 50,
                                        .output_tokens = 11,
                                        .queued_ns = 1000000000,
                                        .started_ns = 1000000000,
                                        .first_token_ns = 1100000000 + i * 1000000,
                                        .last_token_ns = 2100000000 + i * 1000000,
                                        .done_ns = 2100000000 + i * 1000000};
        OK(store_request_put(s, stage, &r, &err));
    }
}

static void put_serve(struct store *s, const char *variant, double joules, bool is_short) {
    int64_t id = put_stage(s, variant, "serve",
                           "{\"concurrency\":4,\"requests\":20,\"ok\":20,\"failed\":0,"
                           "\"output_tokens\":220,\"duration_s\":20.0,\"output_tokens_per_s\":50.0,"
                           "\"repeats\":2,\"lengths\":\"natural\"}",
                           NULL);
    put_energy(s, id, "serve/0", 10, joules, is_short);
    put_energy(s, id, "serve/1", 10, joules, is_short);
    put_requests(s, id, 20);
    const struct store_memory weights = {"weights", "host", 269e6, "reported by the engine"};
    const struct store_memory rss = {"rss_peak", "host", 400e6, "VmHWM"};
    const struct store_memory compute = {"compute", "host", -5e6, "the rest"};
    OK(store_memory_put(s, id, &weights, &err));
    OK(store_memory_put(s, id, &rss, &err));
    OK(store_memory_put(s, id, &compute, &err));
}

static void put_scores(struct store *s, const char *variant, double low, double high) {
    int64_t id = put_stage(s, variant, "score", "{\"scorer\":\"f1\",\"items\":10}", NULL);
    for (int i = 0; i < 20; i++) {
        char item[16];
        snprintf(item, sizeof(item), "i%d", i / 2);
        const struct store_score f1 = {item, i % 2, "f1", i / 2 % 2 ? high : low, true};
        const struct store_score em = {item, i % 2, "em", 1, false};
        OK(store_score_put(s, id, &f1, &err));
        OK(store_score_put(s, id, &em, &err));
    }
}

static void put_load(struct store *s, const char *variant, const char *cache) {
    int64_t id = put_stage(s, variant, "load", "{}", NULL);
    for (int i = 0; i < 3; i++) {
        const struct store_cold_start c = {.repeat = i,
                                           .cache = cache,
                                           .resident_fraction = 0,
                                           .main_s = 0.01,
                                           .backend_s = 0.02,
                                           .weights_s = 1,
                                           .context_s = 2 + 0.5 * i,
                                           .first_token_s = 4,
                                           .warm_first_token_s = 0.1,
                                           .joules = NAN,
                                           .warm_joules = NAN};
        OK(store_cold_start_put(s, id, &c, &err));
    }
}

static void put_quantize(struct store *s, const char *variant, double joules) {
    int64_t id = put_stage(s, variant, "quantize", "{\"type\":\"Q4_0\",\"bytes\":91000000}", NULL);
    /* A sixth of it went into the file that this one was made from. */
    put_energy(s, id, "quantize", 6, joules * 5 / 6, false);
    put_energy(s, id, "quantize/source", 6, joules / 6, false);
}

static void put_measured_variants(struct store *s) {
    put_variant(s, "v-fp16", "rag", "fp16", "fp16 made from Q4_1 weights");
    put_quantize(s, "v-fp16", 3600);
    put_load(s, "v-fp16", "cold");
    put_serve(s, "v-fp16", 100, false);
    put_scores(s, "v-fp16", 0.2, 0.6);

    put_variant(s, "v-int8", "rag", "int8", NULL);
    put_stage(s, "v-int8", "quantize", "{\"type\":\"Q8_0\",\"bytes\":5,\"used_as_is\":true}", NULL);
    put_load(s, "v-int8", "warm");
    put_serve(s, "v-int8", 50, true);
    put_scores(s, "v-int8", 0.1, 0.5);
}

/* Failed, unmeasured and never paying ones. */
static void put_broken_variants(struct store *s) {
    put_variant(s, "v-int4", "rag", "int4", NULL);
    put_quantize(s, "v-int4", 1800);
    put_stage(s, "v-int4", "load", NULL, "was killed by signal 11: " HOSTILE);
    put_serve(s, "v-int4", NAN, false);
    put_scores(s, "v-int4", 0, 0);

    put_variant(s, "v-summ", "summ", "fp16", NULL);
    put_stage(
        s, "v-summ", "quantize", NULL,
        "cannot write artifacts/a-file-name-that-goes-on-and-on-without-any-space-in-it-so-that-"
        "no-line-can-be-broken-at-one.gguf: No space left on device; free some, then go on with "
        "edge-eval run --resume");

    put_variant(s, "v-chat", "chat", "fp16", NULL);
    put_quantize(s, "v-chat", 10);
    put_serve(s, "v-chat", 1e7, false);
}

static void put_hostile_variant(struct store *s) {
    const struct store_variant v = {.variant_id = HOSTILE,
                                    .model_id = HOSTILE HOSTILE,
                                    .family = HOSTILE,
                                    .size = HOSTILE,
                                    .method = HOSTILE,
                                    .task = HOSTILE,
                                    .precision = HOSTILE,
                                    .engine = HOSTILE,
                                    .device = HOSTILE,
                                    .params = NAN,
                                    .note = HOSTILE};
    OK(store_variant_put(s, &v, &err));
}

static void put_run(const char *dir) {
    char *path = fs_join(dir, "run.db");
    struct store *s = NULL;
    OK(store_create(path, &s, &err));
    free(path);
    OK(store_begin(s, &err));
    OK(store_meta_set(s, "run_id", "demo, with a comma", &err));
    OK(store_meta_set(s, "created_utc", "2026-01-31T12:00:00Z", &err));
    OK(store_meta_set(s, "version", "0.1.0", &err));
    OK(store_meta_set(s, "plan_path", HOSTILE, &err));
    OK(store_meta_set(s, "plan_yaml", "name: demo # </pre>\n", &err));
    OK(store_meta_set(s, "idle_json", "{\"seconds\": 5.0, \"settled\": true}", &err));
    OK(store_machine_put(s, "m1",
                         "{\"cpu\": \"AMD EPYC 7B13\", \"hw_threads\": 2, \"memory_gib\": "
                         "8, \"gpus\": [{\"name\": \"<GPU>\"}], \"nothing\": null}",
                         &err));
    put_measured_variants(s);
    put_broken_variants(s);
    put_hostile_variant(s);
    OK(store_commit(s, &err));
    store_close(s);
}

int report_run_setup(void **state) {
    struct report_fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "/tmp/test_report.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    put_run(f->dir);
    OK(report_run_load(f->dir, &f->run, &err));
    *state = f;
    return 0;
}

int report_run_teardown(void **state) {
    static const char *const files[] = {"run.db",      "run.db-wal",   "run.db-shm",
                                        "metrics.csv", "metrics.json", "report.html"};
    struct report_fixture *f = *state;
    report_run_free(f->run);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = fs_join(f->dir, files[i]);
        unlink(path);
        free(path);
    }
    rmdir(f->dir);
    free(f);
    return 0;
}

const struct metric_row *report_run_row(const struct report_fixture *f, const char *id,
                                        const char *metric, const char *profile) {
    for (size_t i = 0; i < f->run->n_variants; i++) {
        if (strcmp(f->run->variants[i].v.variant_id, id) == 0) {
            return report_row_in(&f->run->variants[i], metric, profile);
        }
    }
    fail_msg("no variant %s", id);
    return NULL;
}

void check_has(const struct buf *text, const char *what) {
    if (!strstr(text->data, what)) {
        fail_msg("no \"%s\" in:\n%s", what, text->data);
    }
}

void check_lacks(const struct buf *text, const char *what) {
    const char *at = strstr(text->data, what);
    if (at) {
        fail_msg("\"%s\" in: %.200s", what, at);
    }
}
