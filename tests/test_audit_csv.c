/* The audit's table from CSV files: the published ones, shuffled ones, broken ones. */
#include "report/audit_set.h"

#include "report/audit_report.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "support/goldens.h"
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

static struct audit_set *new_set(void) {
    struct err e = ERR_INIT;
    struct audit_set *s = NULL;
    char *data = source_path("data");
    OK(audit_set_new(data, &s, &e));
    free(data);
    return s;
}

static struct audit_set *read_csv(struct scratch *scratch, const char *text) {
    struct err e = ERR_INIT;
    struct audit_set *s = new_set();
    OK(audit_set_read_csv(s, scratch_write(scratch, "m.csv", text, strlen(text)), &e));
    return s;
}

static json_t *audit_json(const char *const *sources, size_t n) {
    struct err e = ERR_INIT;
    struct buf out;
    json_t *doc = NULL;
    char *data = source_path("data");
    buf_init(&out);
    OK(audit_report_format(sources, n, data, AUDIT_JSON, 0, &out, &e));
    OK(json_parse(out.data, out.len, "audit", &doc, &e));
    buf_release(&out);
    free(data);
    return doc;
}

/* ---- the published rows ---- */

/* What is known to be weak in them, with the figures that show it; none of it told to a rule. */
static void the_published_rows_are_seen_through(void **state) {
    (void)state;
    static const struct {
        const char *rule;
        const char *severity;
        size_t n_rows;
        const char *parts[4];
    } wanted[] = {
        {"energy-power-time",
         "warning",
         179,
         {"36 of 36 adapt rows", "71 of 72 quantize rows", "72 of 72 serve rows", ""}},
        {"energy-mismatch", "serious", 1, {"Qwen 7B lora rag int8 (quantize)", "+18.2 %", "", ""}},
        {"power-limit",
         "serious",
         69,
         {"69 of 72 serve rows", "Tesla T4, 70 W", "at least 2 boards", "the peak of 5 rows"}},
        {"c-tax-ratio", "warning", 72, {"72 of 72 rows", "the lowest is 103.2", "(72 rows)", ""}},
        {"insensitive-metric", "warning", 72, {"n_break", "0.059 %", "2.82 times", ""}},
        {"repeated-training",
         "warning",
         18,
         {"36 trainings stand behind 72 variants", "18 of them count 3 times", "13.8 over variants",
          "27.52 over trainings"}},
        {"unequal-conditions",
         "warning",
         12,
         {"train_rows differs in 12 of 36 pairs", "size alone", "3.45 times the joules",
          "10.4 times the joules a training row"}},
        {"unequal-conditions",
         "warning",
         12,
         {"gpus differs in 6 of 18 pairs", "method alone", "", ""}},
        {"retention-noise",
         "warning",
         24,
         {"24 of 36 ratios", "600 answers", "12 more tell neither", ""}},
        {"batch-latency",
         "serious",
         72,
         {"72 of 72 rows", "23 to 43 requests in flight", "100 are stated", "2.3 to 4.3 mean"}},
        {"constant-tokens",
         "serious",
         72,
         {"chat: 100 tokens", "rag: 150 tokens", "summ: 200 tokens", ""}},
        {"outlier", "warning", 1, {"Llama 3B lora summ (adapt)", "energy_j 4.46 times", "", ""}},
        {"short-window", "warning", 23, {"23 of 180 windows", "2.03 s", "", ""}},
    };
    char *dir = source_path("data/reference");
    json_t *doc = audit_json((const char *const *)&dir, 1);
    free(dir);
    json_t *findings = json_object_get(doc, "findings");
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        bool found = false;
        size_t k;
        json_t *f;
        json_array_foreach(findings, k, f) {
            const char *text = json_str_or(f, "finding", "");
            bool same = strcmp(json_str_or(f, "rule", ""), wanted[i].rule) == 0;
            for (size_t p = 0; p < 4; p++) {
                same = same && strstr(text, wanted[i].parts[p]);
            }
            if (same) {
                found = true;
                assert_string_equal(json_str_or(f, "severity", ""), wanted[i].severity);
                assert_int_equal(json_array_size(json_object_get(f, "rows")), wanted[i].n_rows);
            }
        }
        if (!found) {
            fail_msg("%s with \"%s\" was not found", wanted[i].rule, wanted[i].parts[0]);
        }
    }
    /* One more: GPUs differ between sizes as well. */
    assert_int_equal(json_array_size(findings), sizeof(wanted) / sizeof(wanted[0]) + 1);
    json_decref(doc);
}

/* The same with the columns of every file in another order, and the files too. */
static void the_order_of_columns_means_nothing(void **state) {
    static const char *const files[] = {"training.csv", "compression.csv", "inference.csv",
                                        "quality.csv"};
    const char *paths[4];
    const char *shuffled[4];
    char names[4][64];
    for (size_t f = 0; f < 4; f++) {
        struct err e = ERR_INIT;
        struct buf text, out;
        buf_init(&text);
        buf_init(&out);
        snprintf(names[f], sizeof(names[f]), "data/reference/%s", files[f]);
        char *path = source_path(names[f]);
        OK(fs_read(path, &text, &e));
        paths[f] = scratch_write(*state, files[f], text.data, text.len);
        free(path);
        for (char *line = text.data, *end; *line; line = end + 1) {
            end = strchr(line, '\n');
            *end = '\0';
            /* The last cell first, the rest reversed. */
            for (char *cell; (cell = strrchr(line, ',')); *cell = '\0') {
                buf_addf(&out, "%s,", cell + 1);
            }
            buf_addf(&out, "%s\n", line);
        }
        OK(fs_mkdirs(scratch_path(*state, "shuffled"), &e));
        snprintf(names[f], sizeof(names[f]), "shuffled/%s", files[f]);
        shuffled[f] = scratch_write(*state, names[f], out.data, out.len);
        buf_release(&text);
        buf_release(&out);
    }
    json_t *a = audit_json(paths, 4);
    json_t *b = audit_json(shuffled, 4);
    assert_true(json_array_size(json_object_get(a, "findings")) > 10);
    assert_true(json_equal(json_object_get(a, "findings"), json_object_get(b, "findings")));
    assert_true(json_equal(json_object_get(a, "rules"), json_object_get(b, "rules")));
    json_decref(a);
    json_decref(b);
}

/* ---- cells ---- */

static void cells_become_rows(void **state) {
    struct audit_set *s = read_csv(
        *state, "stage,Family,family,precision,energy_j,power_mean_w,infer_s,gpu_model\n"
                "serve,x,Llama,FP16,110.4,1.5e3,7,tesla t4\n"
                "QUANTIZE,x,Llama,,98.25,,8,Tesla T5\n");
    assert_int_equal(s->table.n, 2);
    const struct audit_row *r = &s->table.rows[0];
    assert_int_equal(r->stage, AUDIT_SERVE);
    assert_string_equal(r->where, "m.csv:2");
    assert_string_equal(r->text[AUDIT_FAMILY], "Llama");
    assert_string_equal(r->text[AUDIT_PRECISION], "fp16");
    assert_true(r->x[AUDIT_ENERGY_J] == 110.4);
    assert_true(r->x[AUDIT_DURATION_S] == 7);
    assert_true(fabs(r->step[AUDIT_ENERGY_J] - 0.01) < 1e-12); /* the finest of the column */
    assert_true(fabs(r->step[AUDIT_POWER_MEAN_W] - 100) < 1e-9);
    assert_true(r->step[AUDIT_DURATION_S] == 1);
    assert_true(r->x[AUDIT_POWER_LIMIT_W] == 70);
    r = &s->table.rows[1];
    assert_int_equal(r->stage, AUDIT_QUANTIZE);
    assert_true(isnan(r->x[AUDIT_POWER_MEAN_W]));
    assert_true(isnan(r->x[AUDIT_POWER_LIMIT_W]));
    assert_string_equal(r->text[AUDIT_PRECISION], "");
    assert_int_equal(s->n_ignored, 1);
    assert_string_equal(s->ignored[0], "Family");
    assert_int_equal(s->table.n_bad_cells, 0);
    audit_set_free(s);
}

static void a_stated_limit_is_believed(void **state) {
    struct audit_set *s = read_csv(*state, "energy_j,power_limit_w,gpu_model\n1,55,Tesla T4\n");
    assert_true(s->table.rows[0].x[AUDIT_POWER_LIMIT_W] == 55);
    audit_set_free(s);
}

static void the_stage_is_told_by_the_columns(void **state) {
    static const struct {
        const char *text;
        enum audit_stage stage;
    } rows[] = {
        {"energy_j,train_rows\n1,2\n", AUDIT_ADAPT},
        {"energy_j,n_requests,load_s\n1,2,3\n", AUDIT_SERVE},
        {"output_tokens,score\n1,2\n", AUDIT_SERVE},
        {"primary_mean\n0.5\n", AUDIT_SCORE},
        {"load_s\n0.5\n", AUDIT_LOAD},
        {"energy_j\n0.5\n", AUDIT_QUANTIZE},
        {"stage,energy_j\n,0.5\n", AUDIT_QUANTIZE},
        {"stage,energy_j\nmerge,0.5\n", AUDIT_MERGE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct audit_set *s = read_csv(*state, rows[i].text);
        assert_int_equal(s->table.n, 1);
        assert_int_equal(s->table.rows[0].stage, rows[i].stage);
        audit_set_free(s);
    }
}

static void bad_cells_are_named_and_the_rest_is_read(void **state) {
    struct audit_set *s = read_csv(*state, "stage,task,energy_j,coverage,duration_s\n"
                                           "serve,rag,-5,1,10\n"
                                           "serve,rag,NaN,1.5,10\n"
                                           "serve,rag,inf,0.9,ten seconds\n"
                                           "\n"
                                           "bake,rag,1,1,1\n"
                                           "serve,rag,1,1\n"
                                           "serve,rag,1,1,1,1\n"
                                           "serve,rag,0x10,,\n");
    static const char *const wanted[][2] = {
        {"m.csv:2", "column energy_j is \"-5\", which is negative"},
        {"m.csv:3", "column energy_j is \"NaN\", which is no finite number"},
        {"m.csv:3", "column coverage is \"1.5\", which is above 1"},
        {"m.csv:4", "column energy_j is \"inf\", which is no finite number"},
        {"m.csv:4", "column duration_s is \"ten seconds\", which is no finite number"},
        {"m.csv:6",
         "column stage is \"bake\"; allowed: adapt, merge, quantize, load, serve, score"},
        {"m.csv:7", "the row has 4 cells, the header 5; it is left out"},
        {"m.csv:8", "the row has 6 cells, the header 5; it is left out"},
        {"m.csv:9", "column energy_j is \"0x10\", which is no finite number"},
    };
    enum { N = sizeof(wanted) / sizeof(wanted[0]) };
    assert_int_equal(s->table.n_bad_cells, N);
    for (size_t i = 0; i < N; i++) {
        bool found = false;
        for (size_t k = 0; k < N; k++) {
            found = found || (strcmp(s->table.bad_cells[k].where, wanted[i][0]) == 0 &&
                              strcmp(s->table.bad_cells[k].what, wanted[i][1]) == 0);
        }
        if (!found) {
            fail_msg("%s: %s is not named", wanted[i][0], wanted[i][1]);
        }
    }
    assert_int_equal(s->table.n, 4);
    assert_true(s->table.rows[0].x[AUDIT_DURATION_S] == 10);
    assert_true(isnan(s->table.rows[0].x[AUDIT_ENERGY_J]));
    assert_true(s->table.rows[2].x[AUDIT_COVERAGE] == 0.9);
    audit_set_free(s);
}

static void hostile_text_stays_text(void **state) {
    struct audit_set *s = read_csv(
        *state, "family,energy_j,\"\x1b[31m\"\n\"a\x07,\"\"b\"\"\n\",\x1b[2J,1\n");
    assert_string_equal(s->table.rows[0].text[AUDIT_FAMILY], "a\xEF\xBF\xBD,\"b\"\n");
    assert_null(strchr(s->table.bad_cells[0].what, '\x1b'));
    assert_null(strchr(s->ignored[0], '\x1b'));
    audit_set_free(s);
}

/* ---- files that cannot be audited ---- */

static void refused_files(void **state) {
    static const struct {
        const char *text;
        const char *part;
    } rows[] = {
        {"", "the file is empty"},
        {"a,b\n1,2\n", "no column has a known name (energy_j, duration_s"},
        {"family,task\nx,y\n", "no column has a known name"},
        {"energy_j;duration_s\n1;2\n", "separated by \";\""},
        {"energy_j,energy_j\n1,2\n", "two columns are named \"energy_j\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct audit_set *s = new_set();
        const char *path = scratch_write(*state, "m.csv", rows[i].text, strlen(rows[i].text));
        REFUSED_WITH(audit_set_read_csv(s, path, &e), EE_FORMAT, rows[i].part);
        audit_set_free(s);
    }
}

static void refused_sources(void **state) {
    struct err e = ERR_INIT;
    struct buf out;
    buf_init(&out);
    char *data = source_path("data");
    const char *source = scratch_path(*state, "none");
    REFUSED_WITH(audit_report_format(&source, 1, data, AUDIT_TEXT, 0, &out, &e), EE_MISSING,
                 "there is no run directory and no CSV file");
    source = ((struct scratch *)*state)->dir;
    REFUSED_WITH(audit_report_format(&source, 1, data, AUDIT_TEXT, 0, &out, &e), EE_MISSING,
                 "neither a run directory (it has no run.db) nor a folder with CSV files");
    REFUSED_WITH(audit_report_format(&source, 1, source, AUDIT_TEXT, 0, &out, &e), EE_MISSING,
                 "devices/boards.yaml");
    free(data);
    buf_release(&out);
}

static void broken_board_tables_are_named(void **state) {
    static const struct {
        const char *text;
        const char *part;
    } rows[] = {
        {"boards: 1\n", "\"boards\" should be a list"},
        {"boards:\n  - {names: [A]}\n", "boards.yaml:2:5: a board needs power_limit_w"},
        {"boards:\n  - {power_limit_w: 5}\n", "a board needs a list of names"},
        {"boards:\n  - {names: [A], power_limit_w: -5}\n", "power_limit_w"},
        {"boards:\n  - {names: [A], power_limit_w: 5, watts: 6}\n", "watts"},
    };
    struct err e = ERR_INIT;
    OK(fs_mkdirs(scratch_path(*state, "devices"), &e));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct audit_set *s = NULL;
        scratch_write(*state, "devices/boards.yaml", rows[i].text, strlen(rows[i].text));
        REFUSED_WITH(audit_set_new(((struct scratch *)*state)->dir, &s, &e), EE_FORMAT,
                     rows[i].part);
        assert_null(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_rows_are_seen_through),
        cmocka_unit_test_setup_teardown(the_order_of_columns_means_nothing, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(cells_become_rows, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_stated_limit_is_believed, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(the_stage_is_told_by_the_columns, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(bad_cells_are_named_and_the_rest_is_read, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(hostile_text_stays_text, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(refused_files, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(refused_sources, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(broken_board_tables_are_named, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
