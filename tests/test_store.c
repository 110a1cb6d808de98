/* What a store says of its run: facts, machines, variants and stages, there and back. */
#include "store/store.h"

#include "support/scratch.h"
#include "support/store_rows.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <cmocka.h>

/* ---- facts and machines ---- */

static void facts_are_set_read_and_replaced(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    char *got = (char *)f;
    OK(store_meta_get(f->s, "never set", &f->a, &got, &e));
    assert_null(got);
    for (size_t i = 0; i < N_HOSTILE; i++) {
        OK(store_meta_set(f->s, hostile[i], hostile[N_HOSTILE - 1 - i], &e));
    }
    for (size_t i = 0; i < N_HOSTILE; i++) {
        OK(store_meta_get(f->s, hostile[i], &f->a, &got, &e));
        check_text(got, hostile[N_HOSTILE - 1 - i]);
    }
    OK(store_meta_set(f->s, "0", "replaced", &e));
    OK(store_meta_get(f->s, "0", &f->a, &got, &e));
    check_text(got, "replaced");
    assert_int_equal(rows_count_stages(f->s), 1); /* nothing was dropped */
    assert_int_equal(store_meta_set(f->s, "k", NULL, &e), EE_FAIL);
    OK(store_meta_get(f->s, "k", &f->a, &got, &e));
    assert_null(got);
}

static void a_long_fact_is_kept_whole(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    enum { N = 3 << 20 };
    char *text = malloc(N + 1);
    assert_non_null(text);
    memset(text, 'p', N);
    text[N] = '\0';
    char *got = NULL;
    OK(store_meta_set(f->s, "plan_yaml", text, &e));
    OK(store_meta_get(f->s, "plan_yaml", &f->a, &got, &e));
    assert_string_equal(got, text);
    free(text);
}

static void a_machine_is_described_and_described_again(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    char *got = NULL;
    OK(store_machine_put(f->s, "m2", "{\"cpu\":\"x\"}", &e));
    OK(store_machine_put(f->s, "m2", "{\"cpu\":\"y\"}", &e));
    OK(store_machine_get(f->s, "m2", &f->a, &got, &e));
    check_text(got, "{\"cpu\":\"y\"}");
    OK(store_machine_get(f->s, "m1", &f->a, &got, &e));
    check_text(got, "{}");
    OK(store_machine_get(f->s, "m3", &f->a, &got, &e));
    assert_null(got);
    /* One that stages stand on is replaced under them, not deleted. */
    OK(store_machine_put(f->s, "m1", "{\"new\":1}", &e));
    assert_int_equal(rows_count_stages(f->s), 1);
}

/* ---- variants ---- */

static void check_variant(const struct store_variant *got, const struct store_variant *want) {
    check_text(got->variant_id, want->variant_id);
    check_text(got->model_id, want->model_id);
    check_text(got->family, want->family);
    check_text(got->size, want->size);
    check_text(got->method, want->method);
    check_text(got->task, want->task);
    check_text(got->precision, want->precision);
    check_text(got->engine, want->engine);
    check_text(got->device, want->device);
    check_num(got->params, want->params);
    check_text(got->note, want->note);
}

static void variants_come_back_in_order_with_every_column(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_variant put[4] = {
        a_variant,
        {"z", "model", "family", "size", "method", "task", "precision", "engine", "device", NAN,
         "a note"},
        {"a", "m", "f", "s", "lora", "summ", "fp16", "e", "gpu0", 0, ""},
        {hostile[0], hostile[1], hostile[2], hostile[3], hostile[4], hostile[5], hostile[6],
         hostile[7], hostile[8], -1.5, hostile[9]},
    };
    for (size_t i = 1; i < 4; i++) {
        OK(store_variant_put(f->s, &put[i], &e));
    }
    struct store_variant *got;
    size_t n;
    OK(store_variants(f->s, &f->a, &got, &n, &e));
    assert_int_equal(n, 4);
    for (size_t i = 0; i < 4; i++) {
        check_variant(&got[i], &put[i]);
    }
}

static void a_note_can_be_added_and_taken_back(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_variant *got;
    size_t n;
    OK(store_variant_note(f->s, "v1", hostile[0], &e));
    OK(store_variants(f->s, &f->a, &got, &n, &e));
    check_text(got[0].note, hostile[0]);
    OK(store_variant_note(f->s, "v1", NULL, &e));
    OK(store_variants(f->s, &f->a, &got, &n, &e));
    assert_null(got[0].note);
    REFUSED_WITH(store_variant_note(f->s, "v9", "lost", &e), EE_MISSING, "no such variant");
}

/* A run that is resumed elsewhere puts its variants again. */
static void a_variant_put_again_keeps_its_place_and_note(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_variant v2 = a_variant;
    struct store_variant *got;
    size_t n;
    v2.variant_id = "v2";
    OK(store_variant_put(f->s, &v2, &e));
    OK(store_variant_note(f->s, "v1", "a note", &e));
    struct store_variant again = a_variant;
    again.device = "gpu0";
    again.params = NAN;
    OK(store_variant_put(f->s, &again, &e));
    OK(store_variants(f->s, &f->a, &got, &n, &e));
    assert_int_equal(n, 2);
    again.note = "a note";
    check_variant(&got[0], &again);
    check_variant(&got[1], &v2);
}

static void a_variant_is_complete(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    static const size_t required[] = {
        offsetof(struct store_variant, model_id), offsetof(struct store_variant, family),
        offsetof(struct store_variant, size),     offsetof(struct store_variant, method),
        offsetof(struct store_variant, task),     offsetof(struct store_variant, precision),
        offsetof(struct store_variant, engine),   offsetof(struct store_variant, device),
    };
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        struct store_variant v = a_variant;
        v.variant_id = "v2";
        const char *none = NULL;
        memcpy((char *)&v + required[i], &none, sizeof(none));
        REFUSED_WITH(store_variant_put(f->s, &v, &e), EE_FAIL, "NOT NULL constraint failed");
    }
}

/* ---- stages ---- */

static void check_stage(const struct store_stage *got, const struct store_stage *want) {
    check_text(got->key, want->key);
    check_text(got->kind, want->kind);
    check_text(got->title, want->title);
    check_text(got->status, want->status);
    check_text(got->error_code, want->error_code);
    check_text(got->error, want->error);
    check_text(got->started_utc, want->started_utc);
    check_num(got->wall_s, want->wall_s);
    check_text(got->machine_id, want->machine_id);
    check_text(got->inputs_json, want->inputs_json);
    check_text(got->result_json, want->result_json);
}

static void stages_come_back_with_every_column(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const struct store_stage put[] = {
        {0, "k2", "score", "t", "failed", "timeout", "it took too long", "u", 0.25, "m1", "{}",
         NULL},
        {0, hostile[0], hostile[1], hostile[2], "done", NULL, NULL, hostile[5], 1e-9, "m1",
         hostile[6], hostile[8]},
        {77, "k3", "load", "t", "failed", NULL, "", "u", 0, "m1", "[]", "{}"},
    };
    for (size_t i = 0; i < 3; i++) {
        int64_t id = 0;
        struct store_stage got;
        OK(store_stage_put(f->s, &put[i], &id, &e));
        assert_true(id > 0);
        OK(store_stage_find(f->s, put[i].key, &f->a, &got, &e));
        check_stage(&got, &put[i]);
        assert_int_equal(got.stage_id, id); /* and not the one in the struct put */
    }
    struct store_stage *all;
    size_t n;
    OK(store_stages(f->s, &f->a, &all, &n, &e));
    assert_int_equal(n, 4);
    for (size_t i = 0; i < 3; i++) {
        check_stage(&all[i + 1], &put[i]);
    }
    struct store_stage none;
    memset(&none, 0xff, sizeof(none));
    OK(store_stage_find(f->s, "no such key", &f->a, &none, &e));
    assert_null(none.key);
    assert_int_equal(none.stage_id, 0);
}

static void a_stage_is_finished_later(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_stage got;
    OK(store_stage_finish(f->s, f->stage, 99.5, "{\"late\":true}", &e));
    OK(store_stage_find(f->s, "k1", &f->a, &got, &e));
    check_num(got.wall_s, 99.5);
    check_text(got.result_json, "{\"late\":true}");
    check_text(got.inputs_json, a_stage.inputs_json);
    REFUSED_WITH(store_stage_finish(f->s, 12345, 1, "{}", &e), EE_MISSING, "no such stage");
    REFUSED_WITH(store_stage_finish(f->s, f->stage, NAN, "{}", &e), EE_FAIL, "NOT NULL");
}

static void a_failed_stage_is_replaced_with_its_rows(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_stage st = a_stage;
    int64_t first = 0;
    int64_t second = 0;
    st.key = "retry";
    st.status = "failed";
    st.error = "no luck";
    OK(store_stage_put(f->s, &st, &first, &e));
    OK(rows_put_all(f->s, first, &e));
    OK(store_variant_stage_put(f->s, "v1", first, &e));
    OK(rows_put_all(f->s, f->stage, &e)); /* of another stage: they stay */
    assert_int_equal(rows_count(f->s, first), 6);
    OK(store_begin(f->s, &e));
    OK(store_stage_put(f->s, &st, &second, &e)); /* failed again */
    OK(store_commit(f->s, &e));
    assert_int_equal(rows_count(f->s, first), first == second ? 0 : rows_count(f->s, first));
    assert_int_equal(rows_count(f->s, second), 0);
    st.status = "done";
    st.error = NULL;
    OK(store_begin(f->s, &e));
    OK(store_stage_put(f->s, &st, &second, &e));
    OK(rows_put_all(f->s, second, &e));
    OK(store_commit(f->s, &e));
    assert_int_equal(rows_count(f->s, second), 6);
    assert_int_equal(rows_count(f->s, f->stage), 6);
    assert_int_equal(rows_count_stages(f->s), 2);
    struct store_stage got;
    OK(store_stage_find(f->s, "retry", &f->a, &got, &e));
    check_text(got.status, "done");
    assert_int_equal(got.stage_id, second);
    OK(store_variant_stage(f->s, "v1", "serve", &f->a, &got, &e));
    assert_null(got.key); /* the failed one's tie went with it */
    /* One that is done is not replaced. */
    REFUSED_WITH(store_stage_put(f->s, &st, &second, &e), EE_FAIL,
                 "UNIQUE constraint failed: stage.key");
    assert_int_equal(second, 0);
    assert_int_equal(rows_count_stages(f->s), 2);
}

static void a_deleted_stage_takes_its_rows_along(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    int64_t other = rows_put_stage(f->s, "other");
    OK(rows_put_all(f->s, f->stage, &e));
    OK(rows_put_all(f->s, other, &e));
    OK(store_variant_stage_put(f->s, "v1", f->stage, &e));
    OK(store_stage_delete(f->s, f->stage, &e));
    assert_int_equal(rows_count(f->s, f->stage), 0);
    assert_int_equal(rows_count(f->s, other), 6);
    OK(store_stage_delete(f->s, f->stage, &e)); /* gone is gone */
    struct store_stage got;
    OK(store_variant_stage(f->s, "v1", "serve", &f->a, &got, &e));
    assert_null(got.key);
}

static void stages_that_contradict_themselves_are_refused(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    int64_t id = 7;
    struct store_stage st = a_stage;
    st.key = "k2";
    st.status = "running";
    REFUSED_WITH(store_stage_put(f->s, &st, &id, &e), EE_FAIL, "CHECK constraint failed");
    assert_int_equal(id, 0);
    st.status = "failed"; /* without an error */
    REFUSED_WITH(store_stage_put(f->s, &st, &id, &e), EE_FAIL, "CHECK constraint failed");
    st.status = "done";
    st.error = "but it worked";
    REFUSED_WITH(store_stage_put(f->s, &st, &id, &e), EE_FAIL, "CHECK constraint failed");
    st.error = NULL;
    st.machine_id = "unknown";
    REFUSED_WITH(store_stage_put(f->s, &st, &id, &e), EE_FAIL, "FOREIGN KEY constraint failed");
    st.machine_id = "m1";
    st.wall_s = NAN;
    REFUSED_WITH(store_stage_put(f->s, &st, &id, &e), EE_FAIL, "NOT NULL constraint failed");
    st.wall_s = 1;
    st.key = NULL;
    REFUSED_WITH(store_stage_put(f->s, &st, &id, &e), EE_FAIL, "NOT NULL constraint failed");
    assert_int_equal(rows_count_stages(f->s), 1);
}

static void a_variant_uses_one_stage_of_a_kind(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_stage st = a_stage;
    struct store_stage got;
    struct store_variant v2 = a_variant;
    int64_t load = 0;
    int64_t serve2 = 0;
    v2.variant_id = "v2";
    OK(store_variant_put(f->s, &v2, &e));
    st.key = "load";
    st.kind = "load";
    OK(store_stage_put(f->s, &st, &load, &e));
    serve2 = rows_put_stage(f->s, "serve2");
    OK(store_variant_stage(f->s, "v1", "serve", &f->a, &got, &e));
    assert_null(got.key);
    OK(store_variant_stage_put(f->s, "v1", f->stage, &e));
    OK(store_variant_stage_put(f->s, "v1", f->stage, &e)); /* again */
    OK(store_variant_stage_put(f->s, "v1", load, &e));
    OK(store_variant_stage_put(f->s, "v2", f->stage, &e)); /* shared */
    OK(store_variant_stage(f->s, "v1", "load", &f->a, &got, &e));
    assert_int_equal(got.stage_id, load);
    OK(store_variant_stage_put(f->s, "v1", serve2, &e));
    OK(store_variant_stage(f->s, "v1", "serve", &f->a, &got, &e));
    assert_int_equal(got.stage_id, serve2);
    OK(store_variant_stage(f->s, "v2", "serve", &f->a, &got, &e));
    assert_int_equal(got.stage_id, f->stage);
    OK(store_variant_stage_put(f->s, "v1", f->stage, &e)); /* back to the first */
    OK(store_variant_stage(f->s, "v1", "serve", &f->a, &got, &e));
    assert_int_equal(got.stage_id, f->stage);
    OK(store_variant_stage(f->s, "v1", "load", &f->a, &got, &e));
    assert_int_equal(got.stage_id, load);
    OK(store_variant_stage(f->s, "v1", "score", &f->a, &got, &e));
    assert_null(got.key);
    OK(store_variant_stage_drop(f->s, "v1", "serve", &e));
    OK(store_variant_stage(f->s, "v1", "serve", &f->a, &got, &e));
    assert_null(got.key);
    OK(store_variant_stage(f->s, "v1", "load", &f->a, &got, &e));
    assert_int_equal(got.stage_id, load);
    OK(store_variant_stage(f->s, "v2", "serve", &f->a, &got, &e)); /* it is still v2's */
    assert_int_equal(got.stage_id, f->stage);
    REFUSED_WITH(store_variant_stage_put(f->s, "v9", f->stage, &e), EE_FAIL, "FOREIGN KEY");
    REFUSED_WITH(store_variant_stage_put(f->s, "v1", 999, &e), EE_FAIL, "FOREIGN KEY");
}

#define ON_STORE(f) cmocka_unit_test_setup_teardown(f, store_fixture_setup, store_fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_STORE(facts_are_set_read_and_replaced),
        ON_STORE(a_long_fact_is_kept_whole),
        ON_STORE(a_machine_is_described_and_described_again),
        ON_STORE(variants_come_back_in_order_with_every_column),
        ON_STORE(a_note_can_be_added_and_taken_back),
        ON_STORE(a_variant_put_again_keeps_its_place_and_note),
        ON_STORE(a_variant_is_complete),
        ON_STORE(stages_come_back_with_every_column),
        ON_STORE(a_stage_is_finished_later),
        ON_STORE(a_failed_stage_is_replaced_with_its_rows),
        ON_STORE(a_deleted_stage_takes_its_rows_along),
        ON_STORE(stages_that_contradict_themselves_are_refused),
        ON_STORE(a_variant_uses_one_stage_of_a_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
