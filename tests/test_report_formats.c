/* What reports say of a small stored run, in every format, and that they trust nothing in it. */
#include "report/report.h"

#include "report/collect.h"
#include "report/fmt.h"
#include "report/verdict.h"

#include "base/fs.h"
#include "base/json.h"

#include "support/report_run.h"
#include "support/unpack.h"

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

static void format(const struct report_fixture *f, const char *name, struct buf *out) {
    const char *dirs[] = {f->dir};
    buf_init(out);
    OK(report_format(dirs, 1, name, NULL, out, &err));
}

static const char data_block[] = "<script type=\"text/plain\" id=\"data\"";

/* Appends the JSON that the page's scripts read. */
static void add_page_data(const struct buf *page, struct buf *out) {
    const char *block = strstr(page->data, data_block);
    assert_non_null(block);
    const char *packed = strchr(block, '>') + 1;
    const char *end = strchr(packed, '<');
    assert_memory_equal(end, "</script>", 9);
    unpack_base64(packed, (size_t)(end - packed), out);
}

/* Lines of at most so many columns. */
static void check_width(const struct buf *text, size_t width) {
    char *copy = strdup(text->data);
    char *rest = NULL;
    assert_non_null(copy);
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (fmt_columns(line) > width) {
            fail_msg("%zu columns of %zu: %s", fmt_columns(line), width, line);
        }
    }
    free(copy);
}

static void the_text_table_fits_a_terminal(void **state) {
    struct buf text;
    format(*state, "text", &text);
    check_has(&text, "rag  none   fp16  0.400 \xC2\xB1");
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
    assert_true(fmt_utf8(&((struct report_fixture *)*state)->run->arena, text.data) != NULL);
    check_width(&text, 100);
    buf_release(&text);
}

static void the_text_table_fits_narrower_terminals(void **state) {
    const struct report_fixture *f = *state;
    const char *dirs[] = {f->dir};
    for (size_t width = 60; width <= 110; width++) {
        const struct report_opts opts = {.width = width};
        struct buf text;
        buf_init(&text);
        OK(report_format(dirs, 1, "text", &opts, &text, &err));
        check_width(&text, width < 100 ? width : 100);
        static const char *const whole[] = {"0.400 \302\261", "~0.0960", "rho_sys",
                                            "Q_ret",          "~never",  " not run\n"};
        for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
            check_has(&text, whole[i]);
        }
        buf_release(&text);
    }
}

/* --- The verdict ----------------------------------------------------------------------------------- */

static struct metric_row *change_row(const struct report_fixture *f, const char *id,
                                     const char *metric) {
    return (struct metric_row *)(uintptr_t)report_run_row(f, id, metric, "full");
}

/* What is said of rag in one part. */
static void check_verdict(const struct report_fixture *f, enum verdict_part part,
                          const char *want) {
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

/* How a part of the verdict begins, in its one sentence over all tasks. */
static void check_brief(const struct report_fixture *f, enum verdict_part part, const char *want) {
    const struct report_run *const runs[] = {f->run};
    struct arena a = ARENA_INIT;
    struct verdict_text v;
    OK(verdict_write(runs, 1, &a, &v, &err));
    if (strncmp(v.brief[part], want, strlen(want)) != 0) {
        fail_msg("no \"%s\" at the beginning of: %s", want, v.brief[part]);
    }
    arena_release(&a);
}

static void the_verdict_names_what_is_known_to_be_good(void **state) {
    const struct report_fixture *f = *state;
    check_verdict(f, VERDICT_WHICH, "take fp16, as no other is known to keep its score, at ~10 J");
    check_verdict(f, VERDICT_WHICH,
                  "int8, Q_ret 75.0 % (63.4 to 88.8; measured; f1 over 10 items; lossy)");
    check_verdict(f, VERDICT_PAYS, "cannot be said whether it pays: the plan has no cost: section");
    check_verdict(f, VERDICT_SURE, "modelled, " CPU ", within");
    check_brief(f, VERDICT_WHICH, "Take fp16 for rag; no variant can be named for summ, chat and ");
    check_brief(f, VERDICT_PAYS, "It cannot be said whether it pays.");
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
    const struct report_fixture *f = *state;
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
    check_brief(f, VERDICT_PAYS, "For rag it pays: $2.50 saved an hour; for summ, chat and ");
    saving->low = -1;
    check_verdict(f, VERDICT_PAYS, "fp16 pays by estimate, unproven: it saves 2.50 $/h (-1 to 4;");
    check_brief(f, VERDICT_PAYS,
                "For rag it pays by estimate, unproven: $2.50 saved an hour; for ");
    n_break->label = "answers worse than the API's by 9 points";
    n_break->flags |= QUANTITY_NOT_EQUIVALENT;
    check_verdict(f, VERDICT_PAYS, "cannot be set against the API: answers worse");
    check_brief(f, VERDICT_PAYS,
                "For rag it cannot be set against the API, whose answers are better; ");
    n_break->flags = 0;
    n_break->label = NULL;
    n_break->value = INFINITY;
    n_break->reason = "never: at any traffic";
    check_verdict(f, VERDICT_PAYS, "fp16 never pays by estimate (at any traffic; measured).");
    check_brief(f, VERDICT_PAYS, "For rag it does not pay at the plan's traffic; ");
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
    const struct report_fixture *f = *state;
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
        const struct metric_row *r = report_run_row(f, cells[1], cells[9], cells[10]);
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
    const struct report_fixture *f = *state;
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
    buf_clear(&one);
    add_page_data(&two, &one);
    check_has(&one, "\"runs\":[\"demo, with a comma\",\"demo, with a comma #2\"]");
    assert_int_equal(report_format(dirs, 2, "json", NULL, &two, &err), EE_USAGE);
    assert_int_equal(report_format(dirs, 0, "csv", NULL, &two, &err), EE_USAGE);
    assert_int_equal(report_format(dirs, 1, "pdf", NULL, &two, &err), EE_USAGE);
    buf_release(&two);
    buf_release(&one);
}

static void the_json_holds_the_run(void **state) {
    const struct report_fixture *f = *state;
    struct buf text;
    format(f, "json", &text);
    json_t *doc = NULL;
    OK(json_parse(text.data, text.len, "metrics.json", &doc, &err));
    const json_t *variants = json_object_get(doc, "variants");
    assert_int_equal(json_array_size(variants), f->run->n_variants);
    const json_t *first = json_array_get(variants, 0);
    assert_string_equal(json_str_or(first, "note", ""), "fp16 made from Q4_1 weights");
    const json_t *which = json_object_get(json_object_get(doc, "verdict"), "which");
    assert_non_null(strstr(json_string_value(json_array_get(which, 0)), "rag: take fp16"));
    const json_t *rows = json_object_get(first, "rows");
    assert_int_equal(json_array_size(rows), metrics_count());
    assert_true(json_num_or(json_array_get(rows, 0), "value", NAN) ==
                report_run_row(f, "v-fp16", "n_break", NULL)->value);
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
    struct buf text;
    format(*state, "html", &text);
    /* The scripts come last: packed ones, and the one with the nonce that unpacks them. */
    char *scripts = strstr(text.data, data_block);
    assert_non_null(scripts);
    const char *nonce = strstr(text.data, "script-src 'nonce-");
    assert_non_null(nonce);
    char attribute[64];
    snprintf(attribute, sizeof(attribute), " nonce=\"%.32s\">",
             nonce + strlen("script-src 'nonce-"));
    assert_int_equal(count(&text, attribute), 1); /* what unpacks the others */
    assert_int_equal(count(&text, "</script>"), 1 + count(&text, " data-packed=\""));
    struct buf data;
    buf_init(&data);
    add_page_data(&text, &data);
    check_has(&data, "<script>alert(");
    buf_release(&data);
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
    const struct report_fixture *f = *state;
    struct buf text;
    format(f, "md", &text);
    check_lacks(&text, "<script");
    check_has(&text, "- **Which one?** ");
    check_has(&text, "rag: take fp16");
    check_has(&text, "- **Does it pay?** ");
    check_has(&text, "- **How sure?** ");
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
    const struct report_fixture *f = *state;
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
    const struct report_fixture *f = *state;
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
    struct report_fixture f = {0};
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
        cmocka_unit_test(the_text_table_fits_a_terminal),
        cmocka_unit_test(the_text_table_fits_narrower_terminals),
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
    return cmocka_run_group_tests(tests, report_run_setup, report_run_teardown);
}
