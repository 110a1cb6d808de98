/* Token times as a BLOB, and transactions: what is kept, and what leaves no trace. */
#include "store/store.h"

#include "support/scratch.h"
#include "support/store_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- token times ---- */

#define MAX_US INT64_C(4294967295)

static void token_times_survive_to_the_microsecond(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const int64_t first = INT64_C(123456789012345678);
    const int64_t times[] = {first,
                             first,
                             first + 1000,
                             first + 1499, /* rounds to 1 us */
                             first + 1500, /* and to 2 */
                             first + 256 * 1000,
                             first + 65536 * INT64_C(1000),
                             first + INT64_C(16777216) * 1000,
                             first + MAX_US * 1000};
    const int64_t want_us[] = {0, 0, 1, 1, 2, 256, 65536, 16777216, MAX_US};
    enum { N = sizeof(times) / sizeof(times[0]) };
    const void *blob;
    size_t bytes;
    OK(store_pack_events(&f->a, times, N, &blob, &bytes, &e));
    assert_int_equal(bytes, (N - 1) * 4);
    static const unsigned char start[] = {0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2,   0,   0,   0,
                                          0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 255, 255, 255, 255};
    assert_memory_equal(blob, start, sizeof(start)); /* little-endian on every machine */
    int64_t *got;
    size_t n;
    OK(store_unpack_events(&f->a, blob, bytes, first, &got, &n, &e));
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) {
        assert_true(got[i] == first + want_us[i] * 1000);
    }
}

static void token_times_out_of_range_are_refused(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const void *blob = f;
    size_t bytes = 9;
    const int64_t late[] = {0, 1000, (MAX_US + 1) * 1000};
    REFUSED(store_pack_events(&f->a, late, 3, &blob, &bytes, &e), EE_FORMAT,
            "token time 2 is 4294967296 us after the first: out of range");
    assert_null(blob);
    assert_int_equal(bytes, 0);
    const int64_t early[] = {5000000, 3000000}; /* by 2 ms; 1 ns is one too many as well */
    REFUSED(store_pack_events(&f->a, early, 2, &blob, &bytes, &e), EE_FORMAT,
            "token time 1 is -2000 us after the first: out of range");
    const int64_t just_early[] = {5000000, 4999999};
    assert_int_equal(store_pack_events(&f->a, just_early, 2, &blob, &bytes, &e), EE_FORMAT);
    const int64_t never[] = {0, INT64_MAX};
    assert_int_equal(store_pack_events(&f->a, never, 2, &blob, &bytes, &e), EE_FORMAT);
    const int64_t apart[] = {INT64_MIN, INT64_MAX};
    assert_int_equal(store_pack_events(&f->a, apart, 2, &blob, &bytes, &e), EE_FORMAT);
}

static void one_token_or_none_needs_no_blob(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const int64_t one = 5;
    for (size_t n_tokens = 0; n_tokens < 2; n_tokens++) {
        const void *blob = f;
        size_t bytes = 9;
        OK(store_pack_events(&f->a, &one, n_tokens, &blob, &bytes, &e));
        assert_null(blob);
        assert_int_equal(bytes, 0);
    }
    int64_t *got;
    size_t n;
    OK(store_unpack_events(&f->a, NULL, 0, 77, &got, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(got[0], 77);
}

static void a_cut_blob_is_refused(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    static const unsigned char blob[8] = {1};
    for (size_t bytes = 1; bytes < 8; bytes++) {
        int64_t *got;
        size_t n;
        int rc = store_unpack_events(&f->a, blob, bytes, 0, &got, &n, &e);
        if (bytes == 4) {
            OK(rc);
        } else {
            REFUSED_WITH(rc, EE_FORMAT, "token times: ");
            assert_null(got);
            assert_int_equal(n, 0);
        }
    }
}

static void token_times_go_through_the_store(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    enum { N = 20000 };
    int64_t *times = malloc(N * sizeof(*times));
    assert_non_null(times);
    for (int64_t i = 0; i < N; i++) {
        times[i] = 1000000 + i * 7919000;
    }
    struct store_request row = a_request;
    row.first_token_ns = times[0];
    OK(store_pack_events(&f->a, times, N, &row.events, &row.events_bytes, &e));
    OK(store_request_put(f->s, f->stage, &row, &e));
    struct store_request *got;
    int64_t *back;
    size_t n;
    OK(store_requests(f->s, f->stage, true, &f->a, &got, &n, &e));
    OK(store_unpack_events(&f->a, got->events, got->events_bytes, got->first_token_ns, &back, &n,
                           &e));
    assert_int_equal(n, N);
    assert_memory_equal(back, times, N * sizeof(*times));
    free(times);
}

/* ---- transactions ---- */

static void a_rollback_leaves_nothing(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    OK(store_begin(f->s, &e));
    int64_t id = rows_put_stage(f->s, "k2");
    OK(rows_put_all(f->s, id, &e));
    OK(store_meta_set(f->s, "in", "side", &e));
    assert_int_equal(rows_count(f->s, id), 6); /* seen from inside */
    store_rollback(f->s);
    store_rollback(f->s); /* nothing is open: no harm */
    assert_int_equal(rows_count(f->s, id), 0);
    assert_int_equal(rows_count_stages(f->s), 1);
    char *got;
    OK(store_meta_get(f->s, "in", &f->a, &got, &e));
    assert_null(got);
}

static void a_rollback_brings_the_replaced_stage_back(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_stage st = a_stage;
    int64_t id = 0;
    st.key = "retry";
    st.status = "failed";
    st.error = "why";
    OK(store_stage_put(f->s, &st, &id, &e));
    OK(rows_put_all(f->s, id, &e));
    OK(store_begin(f->s, &e));
    int64_t again = 0;
    OK(store_stage_put(f->s, &st, &again, &e));
    store_rollback(f->s);
    assert_int_equal(rows_count(f->s, id), 6);
}

/* After a refused row the caller may still keep or drop what came before it. */
static void a_refused_row_does_not_end_the_transaction(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    OK(store_begin(f->s, &e));
    OK(store_score_put(f->s, f->stage, &a_score, &e));
    assert_int_equal(store_score_put(f->s, f->stage, &a_score, &e), EE_FAIL);
    OK(store_commit(f->s, &e));
    assert_int_equal(rows_count(f->s, f->stage), 1);
}

static void transactions_do_not_nest(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    REFUSED_WITH(store_commit(f->s, &e), EE_FAIL, "no transaction is active");
    OK(store_begin(f->s, &e));
    REFUSED_WITH(store_begin(f->s, &e), EE_FAIL, "within a transaction");
    OK(store_commit(f->s, &e));
}

#define ON_STORE(f) cmocka_unit_test_setup_teardown(f, store_fixture_setup, store_fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_STORE(token_times_survive_to_the_microsecond),
        ON_STORE(token_times_out_of_range_are_refused),
        ON_STORE(one_token_or_none_needs_no_blob),
        ON_STORE(a_cut_blob_is_refused),
        ON_STORE(token_times_go_through_the_store),
        ON_STORE(a_rollback_leaves_nothing),
        ON_STORE(a_rollback_brings_the_replaced_stage_back),
        ON_STORE(a_refused_row_does_not_end_the_transaction),
        ON_STORE(transactions_do_not_nest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
