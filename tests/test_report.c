/* Reports of a small stored run: several variants, failures, missing energy, hostile strings. */
#include "report/report.h"

#include "report/collect.h"
#include "report/fmt.h"
#include "report/verdict.h"

#include "base/fs.h"
#include "base/json.h"

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

#define HOSTILE                                                                                    \
    "<script>alert(\"1\")</script>, it's | `x`\n\"q\" \x1b[31mred\x07 \xff\xfe \xE2\x80\xAE"
#define CPU "CPU (modelled)"

static struct err err;
#define OK(call) assert_ok((call), #call, __LINE__)

static void assert_ok(int rc, const char *what, int line) {
    if (rc) {
        fail_msg("line %d: %s: %s", line, what, err.msg);
    }
}

/* --- The stored run ------------------------------------------------------------------------------ */

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

struct fixture {
    char dir[64];
    struct report_run *run;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "/tmp/test_report.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    put_run(f->dir);
    OK(report_run_load(f->dir, &f->run, &err));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    static const char *const files[] = {"run.db",      "run.db-wal",   "run.db-shm",
                                        "metrics.csv", "metrics.json", "report.html"};
    struct fixture *f = *state;
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

/* --- Metrics from the store ---------------------------------------------------------------------- */

static const struct metric_row *row_in(const struct fixture *f, const char *id, const char *metric,
                                       const char *profile) {
    for (size_t i = 0; i < f->run->n_variants; i++) {
        if (strcmp(f->run->variants[i].v.variant_id, id) == 0) {
            return report_row_in(&f->run->variants[i], metric, profile);
        }
    }
    fail_msg("no variant %s", id);
    return NULL;
}

static const struct metric_row *row(const struct fixture *f, const char *id, const char *metric) {
    return row_in(f, id, metric, NULL);
}

static void check_value(const struct fixture *f, const char *id, const char *metric, double want) {
    const struct metric_row *r = row(f, id, metric);
    if (!(fabs(r->value - want) <= 1e-12 * fabs(want))) {
        fail_msg("%s of %s is %.17g (%s), want %.17g", metric, id, r->value,
                 r->reason ? r->reason : "", want);
    }
}

static void check_refused(const struct fixture *f, const char *id, const char *metric,
                          const char *why) {
    const struct metric_row *r = row(f, id, metric);
    if (!metric_refused(r) || !strstr(r->reason, why)) {
        fail_msg("%s of %s is %g, reason \"%s\", want a refusal with \"%s\"", metric, id, r->value,
                 r->reason ? r->reason : "", why);
    }
}

static void stored_measurements_become_metrics(void **state) {
    const struct fixture *f = *state;
    check_value(f, "v-fp16", "serve_j", 200);
    check_value(f, "v-fp16", "serve_w", 10);
    check_value(f, "v-fp16", "joules_per_request", 10);
    check_value(f, "v-fp16", "prepare_j", 3600);
    check_value(f, "v-fp16", "n_break", 0.00012 / (0.00125 - 10 / 3.6e6 * 0.12));
    check_value(f, "v-fp16", "load_s", 2.5);
    check_value(f, "v-fp16", "c_tax", 2.5);
    check_value(f, "v-fp16", "score", 0.4);
    check_value(f, "v-fp16", "ipw_paper", 0.04);
    check_value(f, "v-fp16", "rho_sys", 50 / 0.269);
    check_value(f, "v-fp16", "q_ret", 100);
    check_value(f, "v-int8", "q_ret", 75);
    check_value(f, "v-int4", "q_ret", 0);
    check_value(f, "v-fp16", "ttft_mean_s", 0.1095);
    check_value(f, "v-fp16", "ttft_p50_s", 0.1095);
    check_value(f, "v-fp16", "tpot_mean_s", 0.1);
    check_value(f, "v-fp16", "itl_mean_s", 0.1);
    check_value(f, "v-fp16", "e2e_mean_s", 1.1095);
    check_value(f, "v-fp16", "file_bytes", 91e6);
    check_value(f, "v-fp16", "weights_bytes", 269e6);
    check_value(f, "v-fp16", "memory_peak_bytes", 400e6);
}

static void intervals_and_counts_say_what_they_rest_on(void **state) {
    const struct fixture *f = *state;
    const struct metric_row *score = row(f, "v-fp16", "score");
    assert_int_equal(score->n, 10); /* items; passes are no items */
    assert_true(score->low < 0.4 && score->high > 0.4);
    assert_non_null(strstr(score->label, "scorer f1"));
    assert_true(isnan(row(f, "v-int4", "score")->low)); /* no spread, no interval */
    const struct metric_row *joules = row(f, "v-fp16", "joules_per_request");
    assert_true(fabs(joules->low - 6) < 1e-12 && fabs(joules->high - 14) < 1e-12);
    assert_non_null(strstr(joules->label, "instrument error only"));
    const struct metric_row *p95 = row(f, "v-fp16", "ttft_p95_s");
    check_value(f, "v-fp16", "ttft_p95_s", 0.119); /* 20 requests: the largest seen */
    assert_true(isinf(p95->high));
    assert_non_null(strstr(p95->label, "at least"));
}

static void labels_reach_the_metrics(void **state) {
    const struct fixture *f = *state;
    assert_string_equal(row(f, "v-fp16", "n_break")->label,
                        "modelled; no adaptation: counts quantizing only; scope " CPU);
    assert_string_equal(row(f, "v-fp16", "c_tax")->label,
                        "modelled; fewer than 5 starts; scope " CPU);
    assert_non_null(strstr(row(f, "v-int8", "c_tax")->label, "warm page cache"));
    assert_non_null(strstr(row(f, "v-int8", "ipw_paper")->label, "short window"));
    /* Its file was used as it was. */
    assert_true(row(f, "v-int8", "prepare_j")->value == 0.0);
    assert_non_null(strstr(row(f, "v-int8", "n_break")->label, "nothing spent before serving"));
}

static void what_is_missing_is_refused(void **state) {
    const struct fixture *f = *state;
    static const char *const need_energy[] = {"n_break", "ipw_paper", "c_tax", "joules_per_request",
                                              "serve_j"};
    for (size_t i = 0; i < sizeof(need_energy) / sizeof(need_energy[0]); i++) {
        check_refused(f, "v-int4", need_energy[i], "");
    }
    check_refused(f, "v-int4", "serve_j", "permission denied");
    check_refused(f, "v-int4", "load_s", "load failed: was killed by signal 11");
    check_refused(f, "v-summ", "score", "no score stage for it: quantize failed: cannot write");
    check_refused(f, "v-summ", "prepare_j", "quantize failed");
    check_refused(f, "v-chat", "q_ret", "no score stage");
    check_refused(f, "v-chat", "c_tax", "no load stage");
    check_refused(f, "v-fp16", "kv_bytes", "told");
    check_refused(f, "v-fp16", "compute_bytes", "negative");
    const struct metric_row *never = row(f, "v-chat", "n_break");
    assert_true(isinf(never->value));
    assert_non_null(strstr(never->reason, "never"));
}

/* --- Formats --------------------------------------------------------------------------------------- */

static void format(const struct fixture *f, const char *name, struct buf *out) {
    const char *dirs[] = {f->dir};
    buf_init(out);
    OK(report_format(dirs, 1, name, NULL, out, &err));
}

static void check_has(const struct buf *text, const char *what) {
    if (!strstr(text->data, what)) {
        fail_msg("no \"%s\" in:\n%s", what, text->data);
    }
}

static void check_lacks(const struct buf *text, const char *what) {
    const char *at = strstr(text->data, what);
    if (at) {
        fail_msg("\"%s\" in: %.200s", what, at);
    }
}

static void the_text_table_fits_a_terminal(void **state) {
    struct buf text;
    format(*state, "text", &text);
    check_has(&text, "rag  none   fp16  0.400 \xC2\xB1"
                     "0.151");
    check_has(&text, "~0.0960");
    check_has(&text, "~never");
    check_has(&text, "failed: quantize: cannot write");
    check_has(&text, "failed: load: was killed by signal 11");
    check_has(&text, "fp16 made from Q4_1 weights");
    check_has(&text, "AMD EPYC 7B13, 2 threads, 8 GiB, <GPU>");
    check_has(&text, "modelled, " CPU ", within \xC2\xB1"
                     "40 %");
    check_has(&text, "IPW(paper): score per joule");
    check_has(&text, "~ an estimate: energy without a sensor");
    check_has(&text, " not run\n");
    check_has(&text, "of smollm2-135m rag none int8: short window");
    check_has(&text, "rag: take fp16");
    check_lacks(&text, "\x1b");
    check_lacks(&text, "\x07");
    assert_true(fmt_utf8(&((struct fixture *)*state)->run->arena, text.data) != NULL);
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (fmt_columns(line) > 100) {
            fail_msg("%zu columns: %s", fmt_columns(line), line);
        }
    }
    buf_release(&text);
}

/* --- The verdict ----------------------------------------------------------------------------------- */

static struct metric_row *change_row(const struct fixture *f, const char *id, const char *metric) {
    return (struct metric_row *)(uintptr_t)row_in(f, id, metric, "full");
}

/* What is said of rag in one part. */
static void check_verdict(const struct fixture *f, enum verdict_part part, const char *want) {
    const struct report_run *const runs[] = {f->run};
    struct arena a = ARENA_INIT;
    struct verdict_text v;
    OK(verdict_write(runs, 1, &a, &v, &err));
    assert_true(v.n[part] > 0);
    if (!strstr(v.items[part][0], want)) {
        fail_msg("no \"%s\" in: %s", want, v.items[part][0]);
    }
    arena_release(&a);
}

static void the_verdict_names_what_is_known_to_be_good(void **state) {
    const struct fixture *f = *state;
    check_verdict(f, VERDICT_WHICH, "take fp16, as no other is known to keep its score, at ~10 J");
    check_verdict(f, VERDICT_WHICH,
                  "int8, Q_ret 75.0 % (63.4 to 88.8; measured; f1 over 10 items; lossy)");
    check_verdict(f, VERDICT_PAYS, "cannot be said whether it pays: the plan has no cost: section");
    check_verdict(f, VERDICT_SURE, "modelled, " CPU ", within");
    struct metric_row *q_ret = change_row(f, "v-int8", "q_ret");
    const struct metric_row saved = *q_ret;
    q_ret->label = "within the margin of 1";
    check_verdict(f, VERDICT_WHICH,
                  "take int8, of the 2 that are known to keep their score the one "
                  "with the lowest energy a request, at ~5 J/request");
    check_verdict(f, VERDICT_WHICH,
                  "Its lead over fp16, the next, is an estimate that the data do not prove");
    *q_ret = saved;
    struct metric_row *baseline = change_row(f, "v-fp16", "q_ret");
    const struct metric_row saved_baseline = *baseline;
    baseline->value = NAN;
    baseline->reason = "the scorer's range is unknown";
    check_verdict(f, VERDICT_WHICH, "no variant can be named, for none is known to keep its score");
    *baseline = saved_baseline;
}

static void the_verdict_claims_no_saving_that_intervals_do_not_show(void **state) {
    const struct fixture *f = *state;
    struct metric_row *n_break = change_row(f, "v-fp16", "n_break");
    struct metric_row *saving = change_row(f, "v-fp16", "saving_usd_per_h");
    const struct metric_row saved[] = {*n_break, *saving};
    n_break->value = 4000;
    n_break->reason = NULL;
    saving->value = 2.5;
    saving->low = 1;
    saving->high = 4;
    saving->reason = NULL;
    check_verdict(f, VERDICT_PAYS, "fp16 pays: it saves 2.50 $/h (1 to 4; measured) at the plan's");
    saving->low = -1;
    check_verdict(f, VERDICT_PAYS, "fp16 pays by estimate, unproven: it saves 2.50 $/h (-1 to 4;");
    n_break->label = "answers worse than the API's by 9 points";
    n_break->flags |= QUANTITY_NOT_EQUIVALENT;
    check_verdict(f, VERDICT_PAYS, "cannot be set against the API: answers worse");
    n_break->flags = 0;
    n_break->label = NULL;
    n_break->value = INFINITY;
    n_break->reason = "never: at any traffic";
    check_verdict(f, VERDICT_PAYS, "fp16 never pays by estimate (at any traffic; measured).");
    *n_break = saved[0];
    *saving = saved[1];
}

/* --- Files ------------------------------------------------------------------------------------------ */

/* One RFC 4180 record: its fields into cells, the rest of the text returned. */
static const char *csv_record(const char *p, char cells[][4096], size_t max, size_t *n) {
    *n = 0;
    for (;;) {
        assert_true(*n < max);
        char *out = cells[(*n)++];
        bool quoted = *p == '"';
        p += quoted;
        while (*p && (quoted || (*p != ',' && *p != '\n'))) {
            if (quoted && *p == '"' && *++p != '"') {
                break;
            }
            *out++ = *p++;
        }
        *out = '\0';
        if (*p != ',') {
            assert_int_equal(*p, '\n');
            return p + 1;
        }
        p++;
    }
}

static void the_csv_has_one_shape(void **state) {
    static const char want[] =
        "run_id,variant_id,family,size,method,task,precision,engine,device,metric,profile,value,low,"
        "high,n,unit,label,reason\n";
    static char cells[18][4096];
    const struct fixture *f = *state;
    struct buf text;
    size_t n = 0;
    size_t n_rows = 0;
    format(f, "csv", &text);
    assert_int_equal(strncmp(text.data, want, sizeof(want) - 1), 0);
    for (const char *p = text.data; *p; n_rows++) {
        p = csv_record(p, cells, 18, &n);
        assert_int_equal(n, 18);
        if (n_rows == 0) {
            continue;
        }
        assert_string_equal(cells[0], "demo, with a comma");
        const struct metric_row *r = row_in(f, cells[1], cells[9], cells[10]);
        if (metric_refused(r)) {
            assert_string_equal(cells[11], "");
            assert_string_equal(cells[17], r->reason);
        } else {
            assert_true(strtod(cells[11], NULL) == r->value); /* every digit, and inf */
        }
    }
    assert_int_equal(n_rows, 1 + f->run->n_variants * metrics_count());
    buf_release(&text);
}

static void runs_share_one_csv(void **state) {
    const struct fixture *f = *state;
    const char *dirs[] = {f->dir, f->dir};
    struct buf one;
    struct buf two;
    format(f, "csv", &one);
    buf_init(&two);
    OK(report_format(dirs, 2, "csv", NULL, &two, &err));
    size_t header = strcspn(one.data, "\n") + 1;
    assert_int_equal(two.len, 2 * one.len - header);
    buf_release(&two);
    OK(report_format(dirs, 2, "md", NULL, &two, &err));
    buf_release(&two);
    OK(report_format(dirs, 2, "text", NULL, &two, &err));
    buf_release(&two);
    buf_clear(&two);
    OK(report_format(dirs, 2, "html", NULL, &two, &err));
    check_has(&two, "<h1>2 runs side by side</h1>");
    check_has(&two, "<section id=\"summary-2\">");
    check_has(&two, "\"runs\":[\"demo, with a comma\",\"demo, with a comma #2\"]");
    assert_int_equal(report_format(dirs, 2, "json", NULL, &two, &err), EE_USAGE);
    assert_int_equal(report_format(dirs, 0, "csv", NULL, &two, &err), EE_USAGE);
    assert_int_equal(report_format(dirs, 1, "pdf", NULL, &two, &err), EE_USAGE);
    buf_release(&two);
    buf_release(&one);
}

static void the_json_holds_the_run(void **state) {
    const struct fixture *f = *state;
    struct buf text;
    format(f, "json", &text);
    json_t *doc = NULL;
    OK(json_parse(text.data, text.len, "metrics.json", &doc, &err));
    const json_t *variants = json_object_get(doc, "variants");
    assert_int_equal(json_array_size(variants), f->run->n_variants);
    const json_t *first = json_array_get(variants, 0);
    assert_string_equal(json_str_or(first, "note", ""), "fp16 made from Q4_1 weights");
    const json_t *rows = json_object_get(first, "rows");
    assert_int_equal(json_array_size(rows), metrics_count());
    assert_true(json_num_or(json_array_get(rows, 0), "value", NAN) ==
                row(f, "v-fp16", "n_break")->value);
    const json_t *stages = json_object_get(doc, "stages");
    assert_int_equal(json_array_size(stages), f->run->n_stages);
    size_t n_failed = 0;
    size_t i;
    const json_t *st;
    json_array_foreach(stages, i, st) {
        n_failed += strcmp(json_str_or(st, "status", ""), "failed") == 0;
        assert_true(json_is_array(json_object_get(st, "energy")));
        assert_int_equal(json_int_or(json_object_get(st, "inputs"), "seed", 0), 1);
    }
    assert_int_equal(n_failed, 2);
    const json_t *machine = json_object_get(json_object_get(doc, "machines"), "m1");
    assert_string_equal(json_str_or(machine, "cpu", ""), "AMD EPYC 7B13");
    json_decref(doc);
    buf_release(&text);
}

static size_t count(const struct buf *text, const char *what) {
    size_t n = 0;
    for (const char *p = strstr(text->data, what); p; p = strstr(p + 1, what)) {
        n++;
    }
    return n;
}

static void the_page_stands_alone_and_trusts_nobody(void **state) {
    static const char *const tags[] = {"table", "tr", "td", "section", "details", "dl", "ul"};
    static const char data_block[] = "<script type=\"application/json\" id=\"data\"";
    struct buf text;
    format(*state, "html", &text);
    /* The scripts come last: ours and the libraries', each with the nonce. */
    char *scripts = strstr(text.data, data_block);
    assert_non_null(scripts);
    const char *nonce = strstr(text.data, "script-src 'nonce-");
    assert_non_null(nonce);
    char attribute[64];
    snprintf(attribute, sizeof(attribute), " nonce=\"%.32s\">",
             nonce + strlen("script-src 'nonce-"));
    assert_int_equal(count(&text, attribute), 9);
    assert_int_equal(count(&text, "</script>"), 9);
    const char *data_end = strstr(scripts, "</script>");
    assert_ptr_equal(memchr(scripts + 1, '<', (size_t)(data_end - scripts)), data_end);
    const char *hostile = strstr(scripts, "\\u003cscript>alert(");
    assert_true(hostile && hostile < data_end);
    text.len = (size_t)(scripts - text.data);
    *scripts = '\0';
    check_lacks(&text, "<script");
    check_lacks(&text, "http:");
    check_lacks(&text, "https:");
    check_lacks(&text, "</pre>\n</pre>");
    check_lacks(&text, "\x1b");
    check_has(&text, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;");
    check_has(&text, "default-src 'none'");
    check_has(&text, "prefers-color-scheme: dark");
    check_has(&text, "Failed stages");
    check_has(&text, "<section id=\"verdict\">");
    check_has(&text, "<section id=\"audit\">");
    check_has(&text, "<code>modelled-energy</code>");
    check_has(&text, "was killed by signal 11");
    check_has(&text, "AMD EPYC 7B13");
    check_has(&text, "name: demo");
    check_has(&text, "<dt>idle seconds</dt><dd>5</dd>");
    for (size_t i = 0; i < metrics_count(); i++) {
        check_has(&text, metrics_at(i)->id);
    }
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        char open[16];
        char open_with[16];
        char close[16];
        snprintf(open, sizeof(open), "<%s>", tags[i]);
        snprintf(open_with, sizeof(open_with), "<%s ", tags[i]);
        snprintf(close, sizeof(close), "</%s>", tags[i]);
        assert_int_equal(count(&text, open) + count(&text, open_with), count(&text, close));
    }
    buf_release(&text);
}

static void markdown_is_a_table_a_profile(void **state) {
    const struct fixture *f = *state;
    struct buf text;
    format(f, "md", &text);
    check_lacks(&text, "<script");
    check_has(&text, "| ~0.0960 |");
    size_t n_rows = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t bars = 0;
        if (*line != '|') {
            continue;
        }
        for (size_t i = 0; line[i]; i++) {
            bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
        }
        assert_int_equal(bars, 14);
        n_rows++;
    }
    assert_int_equal(n_rows, 2 * (2 + f->run->n_variants));
    buf_release(&text);
}

/* Families stand together, each once, head first; the end is marked. */
static void openmetrics_has_a_family_a_metric(void **state) {
    const struct fixture *f = *state;
    struct buf text;
    format(f, "openmetrics", &text);
    check_has(&text,
              "# TYPE edge_eval_n_break gauge\n# HELP edge_eval_n_break break-even [requests]");
    check_has(&text, "edge_eval_score{run=\"demo, with a comma\",variant=\"v-fp16\"");
    check_has(&text, "task=\"chat\",method=\"none\",precision=\"fp16\",engine=\"llama.cpp\","
                     "device=\"cpu\",profile=\"paper\",source=\"modelled\"} +Inf\n");
    check_has(&text, "source=\"measured\",bound=\"low\"} ");
    check_lacks(&text, "nan");
    assert_string_equal(text.data + text.len - 6, "# EOF\n");
    char family[64] = "";
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char again[96];
        if (strncmp(line, "# TYPE ", 7) == 0) {
            snprintf(family, sizeof(family), "%.*s", (int)strcspn(line + 7, " "), line + 7);
            snprintf(again, sizeof(again), "# TYPE %s ", family);
            assert_null(strstr(rest, again));
        } else if (*line != '#') {
            assert_true(strncmp(line, family, strlen(family)) == 0);
            assert_int_equal(line[strlen(family)], '{');
        }
    }
    buf_release(&text);
}

static void files_are_written_and_equal_each_time(void **state) {
    static const char *const files[][2] = {
        {"metrics.csv", "csv"}, {"metrics.json", "json"}, {"report.html", "html"}};
    const struct fixture *f = *state;
    OK(report_write_files(f->dir, NULL, &err));
    OK(report_write_files(f->dir, NULL, &err)); /* over the first ones */
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct buf stored;
        struct buf again;
        char *path = fs_join(f->dir, files[i][0]);
        buf_init(&stored);
        OK(fs_read(path, &stored, &err));
        format(f, files[i][1], &again);
        assert_true(stored.len == again.len && memcmp(stored.data, again.data, stored.len) == 0);
        buf_release(&stored);
        buf_release(&again);
        free(path);
    }
}

static void what_is_no_run_is_said(void **state) {
    (void)state;
    char dir[] = "/tmp/test_report.XXXXXX";
    struct report_run *run = NULL;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(report_run_load("/nonexistent/run", &run, &err), EE_MISSING);
    assert_non_null(strstr(err.msg, "/nonexistent/run"));
    assert_int_equal(report_run_load(dir, &run, &err), EE_MISSING);
    assert_non_null(strstr(err.msg, "is not a run directory"));
    char *path = fs_join(dir, "run.db");
    OK(fs_write_atomic(path, "hello, I am no database", 23, &err));
    assert_true(report_run_load(dir, &run, &err) < 0);
    assert_int_equal(report_run_load(path, &run, &err), EE_USAGE);
    assert_null(run);
    unlink(path);
    free(path);
    rmdir(dir);
}

static void a_run_without_variants_has_a_report(void **state) {
    (void)state;
    struct fixture f = {0};
    snprintf(f.dir, sizeof(f.dir), "/tmp/test_report.XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    char *path = fs_join(f.dir, "run.db");
    struct store *s = NULL;
    OK(store_create(path, &s, &err));
    store_close(s);
    for (size_t i = 0; report_format_names[i]; i++) {
        struct buf text;
        format(&f, report_format_names[i], &text);
        assert_true(text.len > 0);
        buf_release(&text);
    }
    unlink(path);
    free(path);
    rmdir(f.dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_measurements_become_metrics),
        cmocka_unit_test(intervals_and_counts_say_what_they_rest_on),
        cmocka_unit_test(labels_reach_the_metrics),
        cmocka_unit_test(what_is_missing_is_refused),
        cmocka_unit_test(the_text_table_fits_a_terminal),
        cmocka_unit_test(the_verdict_names_what_is_known_to_be_good),
        cmocka_unit_test(the_verdict_claims_no_saving_that_intervals_do_not_show),
        cmocka_unit_test(the_csv_has_one_shape),
        cmocka_unit_test(runs_share_one_csv),
        cmocka_unit_test(the_json_holds_the_run),
        cmocka_unit_test(the_page_stands_alone_and_trusts_nobody),
        cmocka_unit_test(markdown_is_a_table_a_profile),
        cmocka_unit_test(openmetrics_has_a_family_a_metric),
        cmocka_unit_test(files_are_written_and_equal_each_time),
        cmocka_unit_test(what_is_no_run_is_said),
        cmocka_unit_test(a_run_without_variants_has_a_report),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
