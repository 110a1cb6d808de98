/* The published variants from their files: what the claims come to, and files that are broken. */
#include "report/claims.h"
#include "report/reproduce.h"

#include "base/fs.h"
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

static struct published *load_reference(void) {
    struct err e = ERR_INIT;
    struct published *p = NULL;
    char *dir = source_path("data");
    OK(published_load(dir, &p, &e));
    free(dir);
    return p;
}

static void every_variant_has_its_training(void **state) {
    (void)state;
    struct published *p = load_reference();
    assert_int_equal(p->n_variants, 72);
    assert_int_equal(p->n_trainings, 36);
    size_t n_q_ret = 0;
    for (size_t i = 0; i < p->n_variants; i++) {
        const struct published_variant *v = &p->variants[i];
        assert_string_equal(v->training->family, v->family);
        assert_string_equal(v->training->size, v->size);
        assert_string_equal(v->training->method, v->method);
        assert_string_equal(v->training->task, v->task);
        n_q_ret += isnan(published_value(v, "q_ret")) ? 0 : 1;
    }
    assert_int_equal(n_q_ret, 54);
    published_free(p);
}

/* Each figure was computed by hand from data/reference. */
static void claims_are_judged_by_the_rows(void **state) {
    (void)state;
    static const struct {
        const char *id;
        enum verdict verdict;
        double found;
        const char *parts[3];
    } wanted[] = {
        {"n_break",
         VERDICT_IN_PART,
         11.7996503961,
         {"all 72 variants: 13.80", "once: 27.52", "46 of 72"}},
        {"rho_sys", VERDICT_HOLDS, 6929.794666667, {"6159 to 7889", "2 of them above", ""}},
        {"ipw_paper", VERDICT_HOLDS, 3.240595316, {"3.24 times", "Qwen 3.29 times", ""}},
        {"adaptation",
         VERDICT_FAILS,
         14.86060,
         {"2.1 times the claim", "Llama 1B 5.14 to 8.51", "7B 1.25 to 4.71"}},
        {"q_ret", VERDICT_FAILS, 91.38468388245771, {"20 of 36", "7 below 99 %", "91.38 %"}},
        {"c_tax", VERDICT_HOLDS, 103.15627266134882, {"72 of 72", "", ""}},
    };
    struct published *p = load_reference();
    struct arena a = ARENA_INIT;
    struct claim *claims = NULL;
    size_t n = 0;
    struct err e = ERR_INIT;
    OK(claims_check(p, &a, &claims, &n, &e));
    assert_int_equal(n, sizeof(wanted) / sizeof(wanted[0]));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(claims[i].id, wanted[i].id);
        assert_int_equal(claims[i].verdict, wanted[i].verdict);
        if (!(fabs(claims[i].found / wanted[i].found - 1) < 1e-4)) {
            fail_msg("%s: found %.10g, want %.10g", claims[i].id, claims[i].found, wanted[i].found);
        }
        for (size_t k = 0; k < 3; k++) {
            if (!strstr(claims[i].detail, wanted[i].parts[k])) {
                fail_msg("\"%s\" is not in: %s", wanted[i].parts[k], claims[i].detail);
            }
        }
    }
    arena_release(&a);
    published_free(p);
}

/* Other rows give other verdicts: nothing is written down. */
static void verdicts_follow_the_rows(void **state) {
    (void)state;
    struct published *p = load_reference();
    for (size_t i = 0; i < p->n_variants; i++) {
        struct published_variant *v = &p->variants[i];
        for (size_t m = 0; m < metrics_count(); m++) {
            const char *id = v->rows[m].metric->id;
            if (strcmp(id, "n_break") == 0) {
                v->rows[m].value = 14.2;
            } else if (strcmp(id, "q_ret") == 0 && !isnan(v->rows[m].value)) {
                v->rows[m].value = 100.5;
            } else if (strcmp(id, "rho_sys") == 0) {
                v->rows[m].value = 6800;
            } else if (strcmp(id, "c_tax") == 0 && i == 0) {
                v->rows[m].value = 99;
            }
        }
    }
    struct arena a = ARENA_INIT;
    struct claim *claims = NULL;
    size_t n = 0;
    struct err e = ERR_INIT;
    OK(claims_check(p, &a, &claims, &n, &e));
    static const enum verdict wanted[] = {VERDICT_HOLDS, VERDICT_FAILS, VERDICT_HOLDS,
                                          VERDICT_FAILS, VERDICT_HOLDS, VERDICT_FAILS};
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(claims[i].verdict, wanted[i]);
    }
    arena_release(&a);
    published_free(p);
}

/* A data directory of our own: the reference files with one text replaced in one of them. */
static const char *broken_data(struct scratch *s, const char *file, const char *old,
                               const char *new_text) {
    static const char *const files[] = {"inference.csv", "quality.csv", "training.csv"};
    struct err e = ERR_INIT;
    const char *dir = scratch_path(s, "reference");
    OK(fs_mkdirs(dir, &e));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char relative[64];
        snprintf(relative, sizeof(relative), "data/reference/%s", files[i]);
        char *from = source_path(relative);
        struct buf text;
        buf_init(&text);
        OK(fs_read(from, &text, &e));
        struct buf changed;
        buf_init(&changed);
        char *at = strcmp(files[i], file) == 0 ? strstr(text.data, old) : NULL;
        assert_true(at || strcmp(files[i], file) != 0);
        size_t before = at ? (size_t)(at - text.data) : text.len;
        buf_add(&changed, text.data, before);
        if (at) {
            buf_addstr(&changed, new_text);
            buf_addstr(&changed, at + strlen(old));
        }
        snprintf(relative, sizeof(relative), "reference/%s", files[i]);
        scratch_write(s, relative, changed.data, changed.len);
        buf_release(&changed);
        buf_release(&text);
        free(from);
    }
    return s->dir;
}

static void broken_reference_files_are_named(void **state) {
    static const struct {
        const char *file, *old, *new_text, *message;
    } rows[] = {
        {"inference.csv", "load_s", "loading", "inference.csv: there is no column load_s"},
        {"inference.csv", "family,", "kin,", "inference.csv: there is no column family"},
        {"inference.csv", "24.86", "-",
         "inference.csv:2: column load_s is \"-\", which is no finite number"},
        {"inference.csv", "24.86", "", "inference.csv:2: column load_s is empty"},
        {"quality.csv", "0.7533333333333333", "nan", "column primary_mean is \"nan\""},
        {"quality.csv", "Llama,1B,lora,rag,int8", "Llama,2B,lora,rag,int8",
         "quality.csv: there is no row for Llama 1B lora rag int8"},
        {"training.csv", "Llama,1B,meta-llama/Llama-3.2-1B-Instruct,lora,rag",
         "Llama,1B,x,lora,tag", "training.csv: there is no row for Llama 1B lora rag"},
        {"training.csv", "92122.30", "x", "training.csv:3: column energy_j is \"x\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *dir = broken_data(*state, rows[i].file, rows[i].old, rows[i].new_text);
        struct err e = ERR_INIT;
        struct buf out;
        buf_init(&out);
        REFUSED_WITH(reproduce_format(dir, "csv", &out, &e), EE_FORMAT, rows[i].message);
        assert_int_equal(out.len, 0);
        buf_release(&out);
    }
}

static void no_reference_files_and_no_such_format(void **state) {
    struct err e = ERR_INIT;
    struct buf out;
    buf_init(&out);
    const char *dir = scratch_path(*state, "nothing");
    REFUSED_WITH(reproduce_format(dir, "csv", &out, &e), EE_MISSING, "reference/inference.csv");
    REFUSED(reproduce_format(dir, "xml", &out, &e), EE_USAGE, "there is no format \"xml\"");
    buf_release(&out);
}

static size_t longest_line(const char *text) {
    size_t longest = 0;
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        longest = n > longest ? n : longest;
    }
    return longest;
}

static void text_fits_100_columns(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct buf out;
    buf_init(&out);
    char *dir = source_path("data");
    OK(reproduce_format(dir, "text", &out, &e));
    assert_true(longest_line(out.data) <= 100);
    assert_non_null(strstr(
        out.data, "1B   lora  rag  int8 |    2.46 0.1843    3258 175.9 101.57 |    5.14 0.1893"));
    assert_non_null(strstr(out.data, "does not hold"));
    free(dir);
    buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_has_its_training),
        cmocka_unit_test(claims_are_judged_by_the_rows),
        cmocka_unit_test(verdicts_follow_the_rows),
        cmocka_unit_test_setup_teardown(broken_reference_files_are_named, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(no_reference_files_and_no_such_format, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(text_fits_100_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
