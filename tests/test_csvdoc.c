/* CSV files as people and programs write them, and what a broken one's author is told. */
#include "base/csvdoc.h"

#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct csvdoc *load(const char *text) {
    struct err e = ERR_INIT;
    struct csvdoc *d = NULL;
    OK(csvdoc_load_bytes(text, strlen(text), "f.csv", &d, &e));
    return d;
}

static void check_cell(const struct csvdoc *d, size_t row, const char *column, const char *want) {
    assert_string_equal(csvdoc_cell(d, row, csvdoc_find(d, column)), want);
}

static void columns_are_found_by_name(void **state) {
    (void)state;
    struct csvdoc *d = load("a,b,c\n1,2,3\n4,5,6\n");
    assert_string_equal(csvdoc_name(d), "f.csv");
    assert_int_equal(csvdoc_n_columns(d), 3);
    assert_int_equal(csvdoc_n_rows(d), 2);
    assert_string_equal(csvdoc_column(d, 2), "c");
    check_cell(d, 0, "c", "3");
    check_cell(d, 1, "a", "4");
    assert_int_equal(csvdoc_find(d, "d"), -1);
    check_cell(d, 1, "d", "");
    csvdoc_free(d);
}

static void the_same_cells_in_every_way_to_write_them(void **state) {
    (void)state;
    static const char *const texts[] = {
        "a,b\n1,x y\n",
        "a,b\n1,x y",
        "a,b\r\n1,x y\r\n",
        "\357\273\277a,b\n1,x y\n", /* a byte order mark */
        " a , b\n\t1 ,  x y \n",
        "\"a\",\"b\"\n\"1\",\"x y\"\n",
        "\n\na,b\n\n1,x y\n\n   \n",
        "\"a\" ,b\n 1, \"x y\" \r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct csvdoc *d = load(texts[i]);
        assert_int_equal(csvdoc_n_rows(d), 1);
        check_cell(d, 0, "a", "1");
        check_cell(d, 0, "b", "x y");
        csvdoc_free(d);
    }
}

static void quotes_hold_commas_quotes_and_lines(void **state) {
    (void)state;
    struct csvdoc *d = load("a,b\n\"1,\"\"2\"\"\n3\",x\n,\"\"\n5,6\n");
    assert_int_equal(csvdoc_n_rows(d), 3);
    check_cell(d, 0, "a", "1,\"2\"\n3");
    check_cell(d, 0, "b", "x");
    check_cell(d, 1, "a", "");
    check_cell(d, 1, "b", "");
    assert_int_equal(csvdoc_line(d, 0), 2);
    assert_int_equal(csvdoc_line(d, 1), 4);
    assert_int_equal(csvdoc_line(d, 2), 5);
    csvdoc_free(d);
}

static void broken_rows_tell_their_length(void **state) {
    (void)state;
    struct csvdoc *d = load("a,b\n1\n1,2,3\n\n1,2\n");
    assert_int_equal(csvdoc_n_rows(d), 3);
    assert_int_equal(csvdoc_row_len(d, 0), 1);
    assert_int_equal(csvdoc_row_len(d, 1), 3);
    assert_int_equal(csvdoc_row_len(d, 2), 2);
    check_cell(d, 0, "b", "");
    assert_int_equal(csvdoc_line(d, 2), 5);
    csvdoc_free(d);
}

static void a_header_alone_has_no_rows(void **state) {
    (void)state;
    struct csvdoc *d = load("a,b\n");
    assert_int_equal(csvdoc_n_rows(d), 0);
    csvdoc_free(d);
}

static void refused_as_a_whole(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len; /* 0: strlen */
        const char *message;
    } rows[] = {
        {"", 0, "f.csv: the file is empty; its first line names the columns"},
        {"\n \n", 0, "f.csv: the file is empty; its first line names the columns"},
        {"a;b\n1;2\n", 0, "f.csv:1: the cells are separated by \";\"; write commas"},
        {"a,,c\n", 0, "f.csv:1: column 2 has no name"},
        {"a,b,a\n", 0, "f.csv:1: two columns are named \"a\""},
        {"a,b\n1,\"2\n3\n", 0, "f.csv:2: a quote is opened and never closed"},
        {"a,b\n1,\"2\"3\n", 0, "f.csv:2: text after a closing quote"},
        {"a,b\n1,\xff\n", 0, "f.csv:2: bytes that are not UTF-8; save the file as UTF-8"},
        {"a,b\n1,\0\n", 7, "f.csv:2: a NUL byte; save the file as UTF-8"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct csvdoc *d = NULL;
        size_t len = rows[i].len ? rows[i].len : strlen(rows[i].text);
        REFUSED(csvdoc_load_bytes(rows[i].text, len, "f.csv", &d, &e), EE_FORMAT, rows[i].message);
        assert_null(d);
    }
}

static void a_file_is_read_and_a_missing_one_is_named(void **state) {
    struct err e = ERR_INIT;
    struct csvdoc *d = NULL;
    const char *path = scratch_write(*state, "x.csv", "a\n1\n", 4);
    OK(csvdoc_load_file(path, &d, &e));
    check_cell(d, 0, "a", "1");
    csvdoc_free(d);
    REFUSED_WITH(csvdoc_load_file(scratch_path(*state, "none.csv"), &d, &e), EE_MISSING,
                 "none.csv");
}

static void numbers_are_decimal_and_finite(void **state) {
    (void)state;
    struct csvdoc *d = load("x,y\n1.5e3,\n-2,nan\n0x10,inf\n1e999,12 W\n,.\n");
    struct err e = ERR_INIT;
    double x = 7;
    OK(csvdoc_num(d, 0, 0, &x, &e));
    assert_true(x == 1500);
    OK(csvdoc_num(d, 1, 0, &x, &e));
    assert_true(x == -2);
    static const struct {
        size_t row;
        int column;
        const char *message;
    } bad[] = {
        {0, 1, "f.csv:2: column y is empty"},
        {1, 1, "f.csv:3: column y is \"nan\", which is no finite number"},
        {2, 0, "f.csv:4: column x is \"0x10\", which is no finite number"},
        {2, 1, "f.csv:4: column y is \"inf\", which is no finite number"},
        {3, 0, "f.csv:5: column x is \"1e999\", which is no finite number"},
        {3, 1, "f.csv:5: column y is \"12 W\", which is no finite number"},
        {4, 0, "f.csv:6: column x is empty"},
        {4, 1, "f.csv:6: column y is \".\", which is no finite number"},
        {0, -1, "f.csv:2: column ? is empty"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        REFUSED(csvdoc_num(d, bad[i].row, bad[i].column, &x, &e), EE_FORMAT, bad[i].message);
    }
    assert_true(x == -2);
    csvdoc_free(d);
}

/* More rows than the first allocation holds. */
static void many_rows(void **state) {
    (void)state;
    enum { N = 1000 };
    char text[4 + 4 * N + 1] = "a,b\n";
    for (int i = 0; i < N; i++) {
        memcpy(text + 4 + 4 * i, i == N - 1 ? "8,9\n" : "1,2\n", 5);
    }
    struct csvdoc *d = load(text);
    assert_int_equal(csvdoc_n_rows(d), N);
    check_cell(d, N - 1, "b", "9");
    check_cell(d, N - 2, "b", "2");
    csvdoc_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_found_by_name),
        cmocka_unit_test(the_same_cells_in_every_way_to_write_them),
        cmocka_unit_test(quotes_hold_commas_quotes_and_lines),
        cmocka_unit_test(broken_rows_tell_their_length),
        cmocka_unit_test(a_header_alone_has_no_rows),
        cmocka_unit_test(refused_as_a_whole),
        cmocka_unit_test_setup_teardown(a_file_is_read_and_a_missing_one_is_named, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(numbers_are_decimal_and_finite),
        cmocka_unit_test(many_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
