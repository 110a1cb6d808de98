/* The price book: reading, overriding, refusing, ages; and the book that is shipped. */
#include "metrics/prices.h"

#include "support/goldens.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/stat.h>

static int load(const char *text, struct arena *a, struct price_book *book, struct err *e) {
    return prices_load_bytes(text, strlen(text), "p.yaml", a, book, e);
}

static void an_entry_has_its_fields(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct price_book book = {0};
    OK(load("currency: USD\n"
            "cloud:\n"
            "  box: {gpu: L4, per_hour: 0.5, gpus: 1, bill_minimum_s: 60, bill_step_s: 1,\n"
            "        source: a list, date: 2026-02-28, note: spot}\n"
            "carbon:\n"
            "  here: {g_per_kwh: 41, source: a table, date: 2024-02-29}\n",
            &a, &book, &e));
    assert_int_equal(book.n, 2);
    const struct price_entry *box = prices_find(&book, PRICE_CLOUD, "box");
    assert_non_null(box);
    assert_string_equal(box->gpu, "L4");
    assert_string_equal(box->currency, "USD");
    assert_string_equal(box->source, "a list");
    assert_string_equal(box->date, "2026-02-28");
    assert_string_equal(box->note, "spot");
    assert_null(box->problem);
    assert_null(box->quality);
    assert_false(price_is_unchecked(box));
    assert_true(price_value(box, "per_hour") == 0.5);
    assert_true(price_value(box, "bill_minimum_s") == 60);
    assert_true(isnan(price_value(box, "no such field")));
    const struct price_entry *here = prices_find(&book, PRICE_CARBON, "here");
    assert_null(here->currency);
    assert_true(price_value(here, "g_per_kwh") == 41);
    assert_null(prices_find(&book, PRICE_CLOUD, "here"));
    arena_release(&a);
}

static void a_later_file_overrides_single_entries(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct price_book book = {0};
    OK(load("currency: USD\n"
            "electricity:\n"
            "  a: {per_kwh: 0.1, source: s, date: 2025-01-01}\n"
            "  b: {per_kwh: 0.2, source: s, date: 2025-01-01}\n",
            &a, &book, &e));
    OK(load("electricity:\n"
            "  b: {per_kwh: 0.3, currency: EUR, source: our contract, date: 2026-01-01}\n",
            &a, &book, &e));
    assert_int_equal(book.n, 2);
    const struct price_entry *b = prices_find(&book, PRICE_ELECTRICITY, "b");
    assert_true(price_value(b, "per_kwh") == 0.3);
    assert_string_equal(b->currency, "EUR");
    assert_string_equal(b->source, "our contract");
    assert_true(price_value(prices_find(&book, PRICE_ELECTRICITY, "a"), "per_kwh") == 0.1);
    arena_release(&a);
}

static void a_book_of_many_entries_keeps_them_all(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct price_book book = {0};
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, "carbon:\n");
    for (int i = 0; i < 200; i++) {
        buf_addf(&text, "  r%d: {g_per_kwh: %d, source: s, date: 2025-01-01}\n", i, i);
    }
    OK(prices_load_bytes(text.data, text.len, "p", &a, &book, &e));
    assert_int_equal(book.n, 200);
    for (int i = 0; i < 200; i++) {
        buf_clear(&text);
        buf_addf(&text, "r%d", i);
        assert_true(price_value(prices_find(&book, PRICE_CARBON, text.data), "g_per_kwh") == i);
    }
    buf_release(&text);
    arena_release(&a);
}

static void mistakes_are_named_with_their_place(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *msg; /* part of it */
    } cases[] = {
        {"currency: USD\nfuel: {}\n", "p.yaml:2:1: unknown key \"fuel\" in a price file"},
        {"currency: dollars\n", "p.yaml:1:11: currency is \"dollars\""},
        {"electricity: 5\n", "p.yaml:1:14: electricity should be a mapping from names"},
        {"electricity:\n  a: {per_kwh: 1, source: s, date: 2025-01-01}\n",
         "electricity a has no currency"},
        {"currency: USD\nelectricity:\n  a: {source: s, date: 2025-01-01}\n",
         "p.yaml:3:6: electricity a has no per_kwh"},
        {"currency: USD\nelectricity:\n  a: {per_kwh: cheap, source: s, date: 2025-01-01}\n",
         "p.yaml:3:16: per_kwh is \"cheap\""},
        {"currency: USD\nelectricity:\n  a: {per_kwh: nan, source: s, date: 2025-01-01}\n",
         "per_kwh is \"nan\""},
        {"currency: USD\nelectricity:\n  a: {per_kwh: 1, date: 2025-01-01}\n",
         "needs a source and a date"},
        {"currency: USD\nelectricity:\n  a: {per_kwh: 1, source: s}\n",
         "needs a source and a date"},
        {"currency: USD\nelectricity:\n  a: {per_kwh: 1, source: s, date: 2025-02-29}\n",
         "p.yaml:3:36: date is \"2025-02-29\"; it should be YYYY-MM-DD"},
        {"currency: USD\nelectricity:\n  a: {per_kwh: 1, source: s, date: 1/2/2025}\n",
         "it should be YYYY-MM-DD"},
        {"currency: USD\nelectricity:\n  a: {per_hour: 1, source: s, date: 2025-01-01}\n",
         "unknown key \"per_hour\" in electricity a; allowed: per_kwh, currency, source"},
        {"carbon:\n  a: {g_per_kwh: 1, currency: USD, source: s, date: 2025-01-01}\n",
         "unknown key \"currency\" in carbon a"},
        {"carbon:\n  a: {g_per_kwh: 1, quality: good, source: s, date: 2025-01-01}\n",
         "quality is \"good\"; it should be source, secondary or unchecked"},
        {"electricity: [\n", "p.yaml:"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = ERR_INIT;
        struct arena a = ARENA_INIT;
        struct price_book book = {0};
        REFUSED_WITH(load(cases[i].text, &a, &book, &e), EE_FORMAT, cases[i].msg);
        arena_release(&a);
    }
}

/* The other entries must stay usable. */
static void a_figure_that_cannot_be_is_the_problem_of_its_entry(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct price_book book = {0};
    OK(load("currency: USD\n"
            "electricity:\n"
            "  bad: {per_kwh: -0.1, source: s, date: 2025-01-01}\n"
            "  good: {per_kwh: 0.1, source: s, date: 2025-01-01}\n"
            "api:\n"
            "  dear: {input: 1, output: 2, batch_factor: 1.5, source: s, date: 2025-01-01}\n",
            &a, &book, &e));
    assert_string_equal(prices_find(&book, PRICE_ELECTRICITY, "bad")->problem,
                        "p.yaml:3:18: per_kwh of electricity bad is -0.1, which is negative");
    assert_null(prices_find(&book, PRICE_ELECTRICITY, "good")->problem);
    assert_string_equal(prices_find(&book, PRICE_API, "dear")->problem,
                        "p.yaml:6:45: batch_factor of api dear is 1.5, which is over 1");
    arena_release(&a);
}

static void ages(void **state) {
    (void)state;
    static const struct {
        const char *date, *as_of;
        long days;
    } cases[] = {
        {"2026-01-01", "2026-01-01", 0},     {"2026-01-01", "2026-01-02T10:00:00Z", 1},
        {"2024-02-28", "2024-03-01", 2},     {"2023-02-28", "2023-03-01", 1},
        {"2000-01-01", "2001-01-01", 366},   {"1900-01-01", "1901-01-01", 365},
        {"1970-01-01", "2026-11-23", 20780}, {"2026-01-02", "2026-01-01", -1},
        {"2025-12-31", "2026-01-01", 1},
    };
    long days = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(prices_age_days(cases[i].date, cases[i].as_of, &days));
        assert_int_equal(days, cases[i].days);
    }
    static const char *const wrong[] = {"",           "2026",       "2026-13-01", "2026-00-01",
                                        "2026-04-31", "2026-01-00", "26-01-01x",  "2026/01/01"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(prices_age_days(wrong[i], "2026-01-01", &days));
    }
    struct price_entry api = {.kind = PRICE_API, .date = "2026-01-01"};
    struct price_entry grid = {.kind = PRICE_CARBON, .date = "2026-01-01"};
    assert_false(price_is_stale(&api, "2026-07-03"));
    assert_true(price_is_stale(&api, "2026-07-04"));
    assert_false(price_is_stale(&grid, "2027-12-31"));
    assert_true(price_is_stale(&grid, "2028-01-02"));
    assert_false(price_is_stale(&api, NULL));
}

static void check_same(const struct price_book *x, const struct price_book *y) {
    assert_int_equal(x->n, y->n);
    for (size_t i = 0; i < x->n; i++) {
        const struct price_entry *p = &x->entries[i];
        const struct price_entry *q = prices_find(y, p->kind, p->name);
        assert_non_null(q);
        assert_string_equal(p->source, q->source);
        assert_string_equal(p->date, q->date);
        assert_int_equal(!p->currency, !q->currency);
        assert_int_equal(!p->problem, !q->problem);
        assert_string_equal(p->quality, q->quality);
        for (size_t f = 0; f < PRICE_MAX_FIELDS; f++) {
            assert_true(p->values[f] == q->values[f] ||
                        (isnan(p->values[f]) && isnan(q->values[f])));
        }
    }
}

static void the_shipped_book_is_whole_and_survives_storing(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct price_book book = {0};
    struct price_book again = {0};
    char *dir = source_path("data/prices");
    OK(prices_load(dir, &a, &book, &e));
    free(dir);
    static const char *const gpus[] = {"T4", "L4", "A10", "A100", "H100"};
    for (size_t g = 0; g < sizeof(gpus) / sizeof(gpus[0]); g++) {
        bool found = false;
        for (size_t i = 0; i < book.n; i++) {
            const struct price_entry *p = &book.entries[i];
            found = found || (p->gpu && strncmp(p->gpu, gpus[g], strlen(gpus[g])) == 0);
        }
        assert_true(found);
    }
    size_t of_kind[PRICE_KINDS] = {0};
    for (size_t i = 0; i < book.n; i++) {
        const struct price_entry *p = &book.entries[i];
        of_kind[p->kind]++;
        assert_null(p->problem);
        assert_true(strlen(p->source) > 10);
        assert_non_null(p->quality);
        assert_true(p->kind == PRICE_CARBON || strcmp(p->currency, "USD") == 0);
    }
    for (int k = 0; k < PRICE_KINDS; k++) {
        assert_true(of_kind[k] >= 5);
    }
    struct buf text;
    buf_init(&text);
    OK(prices_dump(&book, &text, &e));
    OK(prices_load_bytes(text.data, text.len, "stored", &a, &again, &e));
    check_same(&book, &again);
    buf_release(&text);
    arena_release(&a);
}

static void a_directory_is_read_in_the_order_of_its_names(void **state) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct price_book book = {0};
    static const char first[] = "carbon: {x: {g_per_kwh: 1, source: s, date: 2025-01-01}}\n";
    static const char second[] = "carbon: {x: {g_per_kwh: 2, source: s, date: 2025-01-01}}\n";
    assert_int_equal(mkdir(scratch_path(*state, "p"), 0755), 0);
    scratch_write(*state, "p/b.yaml", second, strlen(second));
    scratch_write(*state, "p/a.yaml", first, strlen(first));
    scratch_write(*state, "p/notes.txt", "no yaml", 7);
    OK(prices_load(scratch_path(*state, "p"), &a, &book, &e));
    assert_int_equal(book.n, 1);
    assert_true(price_value(&book.entries[0], "g_per_kwh") == 2);
    assert_int_equal(mkdir(scratch_path(*state, "empty"), 0755), 0);
    REFUSED_WITH(prices_load(scratch_path(*state, "empty"), &a, &book, &e), EE_MISSING,
                 "has no *.yaml");
    REFUSED_WITH(prices_load(scratch_path(*state, "gone"), &a, &book, &e), EE_MISSING, "gone");
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_has_its_fields),
        cmocka_unit_test(a_later_file_overrides_single_entries),
        cmocka_unit_test(a_book_of_many_entries_keeps_them_all),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(a_figure_that_cannot_be_is_the_problem_of_its_entry),
        cmocka_unit_test(ages),
        cmocka_unit_test(the_shipped_book_is_whole_and_survives_storing),
        cmocka_unit_test_setup_teardown(a_directory_is_read_in_the_order_of_its_names,
                                        scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
