/* From what a run stored to its metrics: values, labels, and what is refused. */
#include "store/store.h"

#include "base/fs.h"

#include "support/report_run.h"

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

static const struct metric_row *row(const struct report_fixture *f, const char *id,
                                    const char *metric) {
    return report_run_row(f, id, metric, NULL);
}

static void check_value(const struct report_fixture *f, const char *id, const char *metric,
                        double want) {
    const struct metric_row *r = row(f, id, metric);
    if (!(fabs(r->value - want) <= 1e-12 * fabs(want))) {
        fail_msg("%s of %s is %.17g (%s), want %.17g", metric, id, r->value,
                 r->reason ? r->reason : "", want);
    }
}

static void check_refused(const struct report_fixture *f, const char *id, const char *metric,
                          const char *why) {
    const struct metric_row *r = row(f, id, metric);
    if (!metric_refused(r) || !strstr(r->reason, why)) {
        fail_msg("%s of %s is %g, reason \"%s\", want a refusal with \"%s\"", metric, id, r->value,
                 r->reason ? r->reason : "", why);
    }
}

static void stored_measurements_become_metrics(void **state) {
    const struct report_fixture *f = *state;
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
    const struct report_fixture *f = *state;
    const struct metric_row *score = row(f, "v-fp16", "score");
    assert_int_equal(score->n, 10); /* items; passes are no items */
    assert_true(score->low >= 0 && score->low < 0.4 && score->high > 0.4 && score->high <= 1);
    assert_non_null(strstr(score->label, "of a mean within the score's range"));
    assert_non_null(strstr(score->label, "scorer f1"));
    const struct metric_row *equal = row(f, "v-int4", "score"); /* no spread, and yet not certain */
    assert_true(equal->low <= equal->value && equal->value <= equal->high);
    assert_true(equal->low < equal->high);
    const struct metric_row *joules = row(f, "v-fp16", "joules_per_request");
    assert_true(fabs(joules->low - 6) < 1e-12 && fabs(joules->high - 14) < 1e-12);
    assert_non_null(strstr(joules->label, "instrument error only"));
    const struct metric_row *p95 = row(f, "v-fp16", "ttft_p95_s");
    check_value(f, "v-fp16", "ttft_p95_s", 0.119); /* 20 requests: the largest seen */
    assert_true(isinf(p95->high));
    assert_non_null(strstr(p95->label, "at least"));
}

static void labels_reach_the_metrics(void **state) {
    const struct report_fixture *f = *state;
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
    const struct report_fixture *f = *state;
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

/* What is kept of the files of v-fp16 and v-int8; the run, loaded anew. */
static struct report_run *with_fidelity(const struct report_fixture *f, const char *kept) {
    static const char *const ids[] = {"v-fp16", "v-int8"};
    struct store *s = NULL;
    struct report_run *run = NULL;
    struct arena a = ARENA_INIT;
    char *path = fs_join(f->dir, "run.db");
    OK(store_open(path, false, &s, &err));
    for (size_t i = 0; i < 2; i++) {
        struct store_stage st;
        struct store_artifact *files = NULL;
        size_t n = 0;
        OK(store_variant_stage(s, ids[i], "quantize", &a, &st, &err));
        OK(store_artifacts(s, st.stage_id, &a, &files, &n, &err));
        const struct store_artifact file = {
            .path = ids[i], .kind = "gguf", .bytes = 1, .hash = ids[i], .detail_json = "{}"};
        OK(n ? 0 : store_artifact_put(s, st.stage_id, &file, &err));
    }
    OK(store_meta_set(s, "fidelity/v-fp16/v-int8", kept, &err));
    store_close(s);
    arena_release(&a);
    free(path);
    OK(report_run_load(f->dir, &run, &err));
    return run;
}

static void fidelity_stands_beside_the_scores(void **state) {
    struct report_fixture f = *(const struct report_fixture *)*state;
    f.run = with_fidelity(&f, "{\"tokens\": 510, \"windows\": 2, \"on\": \"a.txt\","
                              " \"kl\": {\"mean\": {\"value\": 0.25, \"low\": 0.2, \"high\": 0.3}},"
                              " \"same_top\": {\"value\": 0.5, \"low\": null, \"high\": null}}");
    check_value(&f, "v-int8", "kl_to_fp16", 0.25);
    const struct metric_row *kl = row(&f, "v-int8", "kl_to_fp16");
    assert_true(kl->low == 0.2 && kl->high == 0.3 && kl->n == 2);
    assert_string_equal(kl->label, "510 positions of a.txt");
    check_value(&f, "v-int8", "same_top_token", 50);
    assert_true(isnan(row(&f, "v-int8", "same_top_token")->low));
    check_refused(&f, "v-int8", "perplexity_ratio", "no number");
    check_refused(&f, "v-fp16", "kl_to_fp16", "the baseline itself");
    check_refused(&f, "v-int4", "kl_to_fp16", "not measured: edge-eval fidelity");
    report_run_free(f.run);
    f.run = with_fidelity(&f, "{\"kl\": ");
    check_refused(&f, "v-int8", "kl_to_fp16", "cannot be read");
    report_run_free(f.run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_measurements_become_metrics),
        cmocka_unit_test(intervals_and_counts_say_what_they_rest_on),
        cmocka_unit_test(labels_reach_the_metrics),
        cmocka_unit_test(what_is_missing_is_refused),
        cmocka_unit_test(fidelity_stands_beside_the_scores),
    };
    return cmocka_run_group_tests(tests, report_run_setup, report_run_teardown);
}
