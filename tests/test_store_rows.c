/* What stages measured: every column there and back, and what each table refuses. */
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

static const double numbers[] = {
    0,
    1,
    -1,
    0.1,
    1e-300,
    5e-324,
    1.7976931348623157e308,
    1e15 + 0.3,
    -0x1p-52,
    0x1p53,
    INFINITY,
    -INFINITY,
    3.141592653589793,
};
enum { N_NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

static void check_energy(const struct store_energy *got, const struct store_energy *want) {
    check_text(got->window, want->window);
    check_num(got->start_ns, want->start_ns);
    check_num(got->end_ns, want->end_ns);
    check_text(got->component, want->component);
    check_text(got->scope, want->scope);
    check_text(got->source, want->source);
    check_text(got->quality, want->quality);
    check_num(got->joules, want->joules);
    check_num(got->low_j, want->low_j);
    check_num(got->high_j, want->high_j);
    check_num(got->above_idle_j, want->above_idle_j);
    check_num(got->idle_w, want->idle_w);
    check_num(got->mean_w, want->mean_w);
    check_num(got->peak_w, want->peak_w);
    check_num(got->coverage, want->coverage);
    assert_int_equal(got->is_short, want->is_short);
    check_text(got->reason, want->reason);
}

static void energies_come_back_with_every_column(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const struct store_energy put[] = {
        an_energy,
        {"serve/0", 0, 0x1p53, "gpu0", "gpu", "nvml", "missing", NAN, NAN, NAN, NAN, NAN, NAN, NAN,
         NAN, true, "no sensor"},
        {hostile[0], -5, 5, hostile[1], hostile[2], hostile[3], "modelled", 1, 2, 3, 4, 5, 6, 7, 8,
         false, hostile[8]},
        {"w", 1, 2, "cpu", "s", "s", "integrated", 0, -0.5, INFINITY, NAN, 0.1, 1e-300, 5e-324,
         0.999, true, ""},
    };
    enum { N = sizeof(put) / sizeof(put[0]) };
    for (size_t i = 0; i < N; i++) {
        OK(store_energy_put(f->s, f->stage, &put[i], &e));
    }
    struct store_energy *got;
    size_t n;
    OK(store_energies(f->s, f->stage, &f->a, &got, &n, &e));
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) {
        check_energy(&got[i], &put[i]);
    }
}

static void every_number_survives(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < N_NUMBERS; i++) {
        struct store_energy row = an_energy;
        char window[16];
        snprintf(window, sizeof(window), "w%zu", i);
        row.window = window;
        row.joules = numbers[i];
        OK(store_energy_put(f->s, f->stage, &row, &e));
    }
    struct store_energy *got;
    size_t n;
    OK(store_energies(f->s, f->stage, &f->a, &got, &n, &e));
    assert_int_equal(n, N_NUMBERS);
    for (size_t i = 0; i < n; i++) {
        check_num(got[i].joules, numbers[i]);
    }
}

static void energies_that_contradict_themselves_are_refused(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_energy row = an_energy;
    row.joules = NAN; /* measured, and not there */
    REFUSED_WITH(store_energy_put(f->s, f->stage, &row, &e), EE_FAIL, "CHECK constraint failed");
    row.joules = 0; /* missing is not zero */
    row.quality = "missing";
    REFUSED_WITH(store_energy_put(f->s, f->stage, &row, &e), EE_FAIL, "CHECK constraint failed");
    row.quality = "guessed";
    REFUSED_WITH(store_energy_put(f->s, f->stage, &row, &e), EE_FAIL, "CHECK constraint failed");
    row = an_energy;
    row.component = NULL;
    REFUSED_WITH(store_energy_put(f->s, f->stage, &row, &e), EE_FAIL, "NOT NULL constraint");
    OK(store_energy_put(f->s, f->stage, &an_energy, &e));
    REFUSED_WITH(store_energy_put(f->s, f->stage, &an_energy, &e), EE_FAIL, "UNIQUE constraint");
    assert_int_equal(rows_count(f->s, f->stage), 1);
}

static void check_request(const struct store_request *got, const struct store_request *want) {
    assert_int_equal(got->repeat, want->repeat);
    assert_int_equal(got->ordinal, want->ordinal);
    check_text(got->item_id, want->item_id);
    check_text(got->status, want->status);
    check_text(got->finish, want->finish);
    check_text(got->error, want->error);
    assert_true(got->prompt_tokens == want->prompt_tokens);
    assert_true(got->output_tokens == want->output_tokens);
    assert_true(got->queued_ns == want->queued_ns);
    assert_true(got->started_ns == want->started_ns);
    assert_true(got->first_token_ns == want->first_token_ns);
    assert_true(got->last_token_ns == want->last_token_ns);
    assert_true(got->done_ns == want->done_ns);
}

static void requests_come_back_in_order_with_every_column(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    static const unsigned char blob[] = {0, 1, 2, 0xff, 0, '\'', 0x80, 0};
    const struct store_request put[] = {
        {0, 2, "c", "ok", "length", NULL, 1, 2, 3, 4, 5, 6, 7, "text", blob, sizeof(blob)},
        {0, 10, "d", "ok", "stop", NULL, 0, 0, INT64_MIN, INT64_MAX, -1, 0, 1, "", NULL, 0},
        {1, 0, hostile[0], "failed", hostile[1], hostile[2], 9, 8, 7, 6, 5, 4, 3, hostile[8], blob,
         1},
        {1, 1, "e", "failed", "error", "why", 1, 1, 1, 1, 1, 1, 1, NULL, NULL, 0},
    };
    enum { N = sizeof(put) / sizeof(put[0]) };
    for (size_t i = N; i-- > 0;) { /* put backwards */
        OK(store_request_put(f->s, f->stage, &put[i], &e));
    }
    struct store_request *got;
    size_t n;
    OK(store_requests(f->s, f->stage, true, &f->a, &got, &n, &e));
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) {
        check_request(&got[i], &put[i]);
        check_text(got[i].text, put[i].text);
        assert_int_equal(got[i].events_bytes, put[i].events_bytes);
        if (put[i].events_bytes) {
            assert_memory_equal(got[i].events, blob, put[i].events_bytes);
        } else {
            assert_null(got[i].events);
        }
    }
    OK(store_requests(f->s, f->stage, false, &f->a, &got, &n, &e));
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) {
        check_request(&got[i], &put[i]);
        assert_null(got[i].text);
        assert_null(got[i].events);
        assert_int_equal(got[i].events_bytes, 0);
    }
}

/* More than the first array of a load holds, several times over. */
static void thousands_of_requests_come_back(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    enum { N = 5000 };
    OK(store_begin(f->s, &e));
    for (int i = 0; i < N; i++) {
        struct store_request row = a_request;
        char id[16];
        snprintf(id, sizeof(id), "q%d", i);
        row.ordinal = i;
        row.item_id = id;
        OK(store_request_put(f->s, f->stage, &row, &e));
    }
    OK(store_commit(f->s, &e));
    struct store_request *got;
    size_t n;
    OK(store_requests(f->s, f->stage, true, &f->a, &got, &n, &e));
    assert_int_equal(n, N);
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof(id), "q%d", i);
        assert_int_equal(got[i].ordinal, i);
        assert_string_equal(got[i].item_id, id);
    }
}

static void wrong_requests_are_refused(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_request row = a_request;
    row.status = "maybe";
    REFUSED_WITH(store_request_put(f->s, f->stage, &row, &e), EE_FAIL, "CHECK constraint failed");
    row = a_request;
    row.item_id = NULL;
    REFUSED_WITH(store_request_put(f->s, f->stage, &row, &e), EE_FAIL, "NOT NULL constraint");
    OK(store_request_put(f->s, f->stage, &a_request, &e));
    REFUSED_WITH(store_request_put(f->s, f->stage, &a_request, &e), EE_FAIL, "UNIQUE constraint");
}

static void power_comes_back_to_a_tenth_of_a_millisecond(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_power_point points[] = {{0, 0.1, 84.5}, {0.1, 0.05, 310.25}, {3600.1234, 2, 0}};
    const struct store_power put[] = {
        {.component = "gpu0", .start_ns = INT64_C(123456789012345), .points = points, .n = 3},
        {.component = "cpu", .start_ns = 5, .points = points, .n = 0}};
    for (size_t i = 0; i < 2; i++) {
        OK(store_power_put(f->s, f->stage, &put[i], &e));
    }
    struct store_power *got;
    size_t n;
    OK(store_powers(f->s, f->stage, &f->a, &got, &n, &e));
    assert_int_equal(n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(got[i].component, put[i].component);
        assert_int_equal(got[i].start_ns, put[i].start_ns);
        assert_int_equal(got[i].n, put[i].n);
        for (size_t k = 0; k < got[i].n; k++) {
            assert_true(fabs(got[i].points[k].start_s - points[k].start_s) < 1e-9);
            assert_true(fabs(got[i].points[k].length_s - points[k].length_s) < 1e-9);
            assert_true(got[i].points[k].watts == points[k].watts);
        }
    }
    assert_true(store_power_put(f->s, f->stage, &put[0], &e) < 0);
}

struct seen_times {
    size_t n;
    int64_t first_ns[4], done_ns[4];
    bool ok[4];
    uint32_t last_us[4];
};

static int see_times(const struct store_request_times *row, void *ctx, struct err *e) {
    struct seen_times *seen = ctx;
    if (seen->n == 3) {
        return err_set(e, EE_STOPPED, "enough");
    }
    seen->first_ns[seen->n] = row->first_token_ns;
    seen->done_ns[seen->n] = row->done_ns;
    seen->last_us[seen->n] = store_event_us(row->events, row->events_bytes / 4 - 1);
    seen->ok[seen->n++] = row->is_ok;
    return 0;
}

static void request_times_come_one_by_one(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    size_t n = 9;
    OK(store_count_requests(f->s, f->stage, &n, &e));
    assert_int_equal(n, 0);
    const unsigned char events[] = {1, 0, 0, 0, 4, 3, 2, 1};
    for (int i = 2; i >= 0; i--) {
        struct store_request row = a_request;
        row.ordinal = i;
        row.first_token_ns = 100 + i;
        row.done_ns = 900 + i;
        row.events = events;
        row.events_bytes = sizeof(events);
        row.status = i == 1 ? "failed" : "ok";
        OK(store_request_put(f->s, f->stage, &row, &e));
    }
    struct seen_times seen = {0};
    OK(store_each_request_times(f->s, f->stage, see_times, &seen, &e));
    OK(store_count_requests(f->s, f->stage, &n, &e));
    assert_int_equal(n, 3);
    assert_int_equal(seen.n, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(seen.first_ns[i], 100 + i);
        assert_int_equal(seen.done_ns[i], 900 + i);
        assert_int_equal(seen.ok[i], i != 1);
        assert_int_equal(seen.last_us[i], 0x01020304);
    }
    REFUSED(store_each_request_times(f->s, f->stage, see_times, &seen, &e), EE_STOPPED, "enough");
}

static void cold_starts_come_back_with_every_column(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const struct store_cold_start put[] = {
        {3, "cold", 0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 7, 8},
        {0, "warm", NAN, NAN, NAN, NAN, NAN, 1, NAN, NAN, NAN},
    };
    for (size_t i = 0; i < 2; i++) {
        OK(store_cold_start_put(f->s, f->stage, &put[i], &e));
    }
    struct store_cold_start *got;
    size_t n;
    OK(store_cold_starts(f->s, f->stage, &f->a, &got, &n, &e));
    assert_int_equal(n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(got[i].repeat, put[i].repeat);
        check_text(got[i].cache, put[i].cache);
        check_num(got[i].resident_fraction, put[i].resident_fraction);
        check_num(got[i].main_s, put[i].main_s);
        check_num(got[i].backend_s, put[i].backend_s);
        check_num(got[i].weights_s, put[i].weights_s);
        check_num(got[i].context_s, put[i].context_s);
        check_num(got[i].first_token_s, put[i].first_token_s);
        check_num(got[i].warm_first_token_s, put[i].warm_first_token_s);
        check_num(got[i].joules, put[i].joules);
        check_num(got[i].warm_joules, put[i].warm_joules);
    }
    struct store_cold_start bad = a_cold_start;
    bad.first_token_s = NAN;
    REFUSED_WITH(store_cold_start_put(f->s, f->stage, &bad, &e), EE_FAIL, "NOT NULL constraint");
    bad = a_cold_start;
    bad.cache = "lukewarm";
    REFUSED_WITH(store_cold_start_put(f->s, f->stage, &bad, &e), EE_FAIL, "CHECK constraint");
    REFUSED_WITH(store_cold_start_put(f->s, f->stage, &put[0], &e), EE_FAIL, "UNIQUE constraint");
}

static void memories_artifacts_and_scores_come_back(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const struct store_memory memory = {hostile[0], hostile[1], 1.5e11, hostile[8]};
    const struct store_artifact artifact = {hostile[0], hostile[1], 0, hostile[5], hostile[6]};
    const struct store_score scores[] = {
        {"q1", 0, "f1", 1.0 / 3, true},
        {"q1", 1, "f1", 0, true},
        {"q1", 0, "em", 1, false},
        {hostile[0], -1, hostile[1], -2.5, false},
    };
    OK(store_memory_put(f->s, f->stage, &memory, &e));
    OK(store_artifact_put(f->s, f->stage, &artifact, &e));
    struct store_memory *m;
    struct store_artifact *a;
    struct store_score *sc;
    size_t n;
    OK(store_memories(f->s, f->stage, &f->a, &m, &n, &e));
    assert_int_equal(n, 1);
    check_text(m->part, memory.part);
    check_text(m->device, memory.device);
    check_num(m->bytes, memory.bytes);
    check_text(m->source, memory.source);
    OK(store_artifacts(f->s, f->stage, &f->a, &a, &n, &e));
    assert_int_equal(n, 1);
    check_text(a->path, artifact.path);
    check_text(a->kind, artifact.kind);
    check_num(a->bytes, artifact.bytes);
    check_text(a->hash, artifact.hash);
    check_text(a->detail_json, artifact.detail_json);
    for (size_t i = 0; i < 4; i++) {
        OK(store_score_put(f->s, f->stage, &scores[i], &e));
    }
    OK(store_scores(f->s, f->stage, &f->a, &sc, &n, &e));
    assert_int_equal(n, 4);
    for (size_t i = 0; i < 4; i++) {
        check_text(sc[i].item_id, scores[i].item_id);
        assert_int_equal(sc[i].pass, scores[i].pass);
        check_text(sc[i].scorer, scores[i].scorer);
        check_num(sc[i].value, scores[i].value);
        assert_int_equal(sc[i].is_primary, scores[i].is_primary);
    }
}

static void loss_curves_come_back(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const struct store_training put[] = {{2, 1, 0.25, 1e-4, 3.5, 0.5},
                                         {1, 1, 1.0 / 3, 2e-4, 4.5, NAN}};
    struct store_training *got;
    size_t n;
    for (size_t i = 0; i < 2; i++) {
        OK(store_training_put(f->s, f->stage, &put[i], &e));
    }
    OK(store_trainings(f->s, f->stage, &f->a, &got, &n, &e));
    assert_int_equal(n, 2);
    for (size_t i = 0; i < 2; i++) { /* in the order of steps */
        const struct store_training *want = &put[1 - i];
        assert_int_equal(got[i].step, want->step);
        assert_int_equal(got[i].epoch, want->epoch);
        check_num(got[i].loss, want->loss);
        check_num(got[i].rate, want->rate);
        check_num(got[i].gradient_norm, want->gradient_norm);
        check_num(got[i].validation_loss, want->validation_loss);
    }
    struct store_training bad = put[0];
    REFUSED_WITH(store_training_put(f->s, f->stage, &bad, &e), EE_FAIL, "UNIQUE constraint");
    bad.step = 3;
    bad.loss = NAN;
    REFUSED_WITH(store_training_put(f->s, f->stage, &bad, &e), EE_FAIL, "NOT NULL constraint");
}

static void looks_at_gpus_come_back(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const struct store_gpu_look put[] = {
        {"serve/0", "gpu0", 12, 0.25, "power cap, heat", 2, 0.97, 81, 1200, 1980},
        {"serve/0", "gpu1", 1, NAN, NULL, NAN, NAN, NAN, NAN, NAN}};
    struct store_gpu_look *got;
    size_t n;
    for (size_t i = 0; i < 2; i++) {
        OK(store_gpu_look_put(f->s, f->stage, &put[i], &e));
    }
    OK(store_gpu_looks(f->s, f->stage, &f->a, &got, &n, &e));
    assert_int_equal(n, 2);
    for (size_t i = 0; i < 2; i++) {
        check_text(got[i].window, put[i].window);
        check_text(got[i].component, put[i].component);
        assert_int_equal(got[i].looks, put[i].looks);
        check_num(got[i].throttled_share, put[i].throttled_share);
        check_text(got[i].throttle, put[i].throttle);
        check_num(got[i].other_processes, put[i].other_processes);
        check_num(got[i].busy, put[i].busy);
        check_num(got[i].max_temperature_c, put[i].max_temperature_c);
        check_num(got[i].min_sm_mhz, put[i].min_sm_mhz);
        check_num(got[i].max_sm_mhz, put[i].max_sm_mhz);
    }
    REFUSED_WITH(store_gpu_look_put(f->s, f->stage, &put[0], &e), EE_FAIL, "UNIQUE constraint");
}

static void incomplete_small_rows_are_refused(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    OK(rows_put_all(f->s, f->stage, &e));
    REFUSED_WITH(store_memory_put(f->s, f->stage, &a_memory, &e), EE_FAIL, "UNIQUE constraint");
    REFUSED_WITH(store_artifact_put(f->s, f->stage, &an_artifact, &e), EE_FAIL,
                 "UNIQUE constraint");
    REFUSED_WITH(store_score_put(f->s, f->stage, &a_score, &e), EE_FAIL, "UNIQUE constraint");
    struct store_memory memory = a_memory;
    memory.part = "kv";
    memory.bytes = NAN;
    REFUSED_WITH(store_memory_put(f->s, f->stage, &memory, &e), EE_FAIL, "NOT NULL constraint");
    struct store_artifact artifact = an_artifact;
    artifact.path = "b";
    artifact.hash = NULL;
    REFUSED_WITH(store_artifact_put(f->s, f->stage, &artifact, &e), EE_FAIL, "NOT NULL constraint");
    struct store_score score = a_score;
    score.item_id = "q2";
    score.value = NAN;
    REFUSED_WITH(store_score_put(f->s, f->stage, &score, &e), EE_FAIL, "NOT NULL constraint");
    assert_int_equal(rows_count(f->s, f->stage), 6);
}

static void rows_need_their_stage(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    const int64_t none = 4242;
    REFUSED_WITH(store_energy_put(f->s, none, &an_energy, &e), EE_FAIL, "FOREIGN KEY");
    REFUSED_WITH(store_request_put(f->s, none, &a_request, &e), EE_FAIL, "FOREIGN KEY");
    REFUSED_WITH(store_cold_start_put(f->s, none, &a_cold_start, &e), EE_FAIL, "FOREIGN KEY");
    REFUSED_WITH(store_memory_put(f->s, none, &a_memory, &e), EE_FAIL, "FOREIGN KEY");
    REFUSED_WITH(store_artifact_put(f->s, none, &an_artifact, &e), EE_FAIL, "FOREIGN KEY");
    REFUSED_WITH(store_score_put(f->s, none, &a_score, &e), EE_FAIL, "FOREIGN KEY");
    assert_int_equal(rows_count(f->s, none), 0);
}

static void loads_of_nothing_are_empty(void **state) {
    struct store_fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_request *got = (struct store_request *)f;
    size_t n = 7;
    OK(store_requests(f->s, f->stage, true, &f->a, &got, &n, &e));
    assert_int_equal(n, 0);
    assert_null(got);
}

#define ON_STORE(f) cmocka_unit_test_setup_teardown(f, store_fixture_setup, store_fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_STORE(energies_come_back_with_every_column),
        ON_STORE(every_number_survives),
        ON_STORE(energies_that_contradict_themselves_are_refused),
        ON_STORE(requests_come_back_in_order_with_every_column),
        ON_STORE(thousands_of_requests_come_back),
        ON_STORE(wrong_requests_are_refused),
        ON_STORE(power_comes_back_to_a_tenth_of_a_millisecond),
        ON_STORE(request_times_come_one_by_one),
        ON_STORE(cold_starts_come_back_with_every_column),
        ON_STORE(memories_artifacts_and_scores_come_back),
        ON_STORE(loss_curves_come_back),
        ON_STORE(looks_at_gpus_come_back),
        ON_STORE(incomplete_small_rows_are_refused),
        ON_STORE(rows_need_their_stage),
        ON_STORE(loads_of_nothing_are_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
