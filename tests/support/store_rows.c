#include "store_rows.h"

#include "scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

const struct store_variant a_variant = {
    .variant_id = "v1",
    .model_id = "smollm2-135m",
    .family = "SmolLM2",
    .size = "135M",
    .method = "none",
    .task = "rag",
    .precision = "int4",
    .engine = "llama.cpp",
    .device = "cpu",
    .params = 134515008,
    .note = NULL,
};

const struct store_stage a_stage = {
    .key = "k1",
    .kind = "serve",
    .title = "serve SmolLM2-135M int4",
    .status = "done",
    .started_utc = "2026-01-31T12:00:00Z",
    .wall_s = 12.5,
    .machine_id = "m1",
    .inputs_json = "{\"a\":1}",
    .result_json = "{\"b\":2}",
};

const struct store_energy an_energy = {
    .window = "serve/0",
    .start_ns = 1e12,
    .end_ns = 2e12,
    .component = "total",
    .scope = "machine",
    .source = "rapl",
    .quality = "counter",
    .joules = 10.25,
    .low_j = 9,
    .high_j = 11,
    .above_idle_j = 4,
    .idle_w = 3,
    .mean_w = 5,
    .peak_w = 7,
    .coverage = 1,
};

const struct store_request a_request = {
    .item_id = "q1",
    .status = "ok",
    .finish = "stop",
    .prompt_tokens = 100,
    .output_tokens = 3,
    .queued_ns = 1000,
    .started_ns = 2000,
    .first_token_ns = 3000,
    .last_token_ns = 5000,
    .done_ns = 6000,
    .text = "an answer",
};

const struct store_cold_start a_cold_start = {
    .cache = "cold",
    .resident_fraction = 0.25,
    .main_s = 0.1,
    .backend_s = 0.2,
    .weights_s = 0.3,
    .context_s = 0.4,
    .first_token_s = 0.5,
    .warm_first_token_s = 0.05,
    .joules = 6,
    .warm_joules = 1,
};

const struct store_memory a_memory = {
    .part = "weights", .device = "host", .bytes = 1e8, .source = "reported by the engine"};

const struct store_artifact an_artifact = {.path = "artifacts/a.gguf",
                                           .kind = "gguf",
                                           .bytes = 1e8,
                                           .hash = "0123456789abcdef0123456789abcdef",
                                           .detail_json = "{}"};

const struct store_score a_score = {
    .item_id = "q1", .scorer = "f1", .value = 0.5, .is_primary = true};

const char *const hostile[N_HOSTILE] = {
    "'); DROP TABLE stage; --",
    "\"quoted\" and 'quoted'",
    "",
    " ",
    "line\nline\r\ttab",
    "%s%n%d {} ? ?1 :a $b @c",
    "caf\xc3\xa9 \xf0\x9f\x98\x80 \xe2\x80\xae",
    "\x01\x7f",
    "\xff\xfe no UTF-8",
    "NULL",
    "0",
};

void check_text(const char *got, const char *want) {
    if (want) {
        assert_non_null(got);
        assert_string_equal(got, want);
    } else {
        assert_null(got);
    }
}

void check_num(double got, double want) {
    if (!(isnan(got) && isnan(want)) && got != want) {
        fail_msg("%.17g is not %.17g", got, want);
    }
}

struct store *rows_new_store(const char *path) {
    struct err e = ERR_INIT;
    struct store *s = NULL;
    OK(store_create(path, &s, &e));
    OK(store_machine_put(s, "m1", "{}", &e));
    OK(store_variant_put(s, &a_variant, &e));
    return s;
}

struct store *rows_open(const char *path, bool read_only) {
    struct err e = ERR_INIT;
    struct store *s = NULL;
    OK(store_open(path, read_only, &s, &e));
    return s;
}

int64_t rows_put_stage(struct store *s, const char *key) {
    struct err e = ERR_INIT;
    struct store_stage st = a_stage;
    st.key = key;
    int64_t id = 0;
    OK(store_stage_put(s, &st, &id, &e));
    return id;
}

int rows_put_all(struct store *s, int64_t stage_id, struct err *e) {
    int rc = store_energy_put(s, stage_id, &an_energy, e);
    rc = rc ? rc : store_request_put(s, stage_id, &a_request, e);
    rc = rc ? rc : store_cold_start_put(s, stage_id, &a_cold_start, e);
    rc = rc ? rc : store_memory_put(s, stage_id, &a_memory, e);
    rc = rc ? rc : store_artifact_put(s, stage_id, &an_artifact, e);
    return rc ? rc : store_score_put(s, stage_id, &a_score, e);
}

size_t rows_count(struct store *s, int64_t stage_id) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct store_energy *energies;
    struct store_request *requests;
    struct store_cold_start *cold_starts;
    struct store_memory *memories;
    struct store_artifact *artifacts;
    struct store_score *scores;
    size_t n[6];
    OK(store_energies(s, stage_id, &a, &energies, &n[0], &e));
    OK(store_requests(s, stage_id, true, &a, &requests, &n[1], &e));
    OK(store_cold_starts(s, stage_id, &a, &cold_starts, &n[2], &e));
    OK(store_memories(s, stage_id, &a, &memories, &n[3], &e));
    OK(store_artifacts(s, stage_id, &a, &artifacts, &n[4], &e));
    OK(store_scores(s, stage_id, &a, &scores, &n[5], &e));
    arena_release(&a);
    return n[0] + n[1] + n[2] + n[3] + n[4] + n[5];
}

size_t rows_count_stages(struct store *s) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct store_stage *stages;
    size_t n;
    OK(store_stages(s, &a, &stages, &n, &e));
    arena_release(&a);
    return n;
}

int store_fixture_setup(void **state) {
    struct store_fixture *f = calloc(1, sizeof(*f));
    if (!f) {
        return -1;
    }
    *state = f;
    if (scratch_setup(&f->scratch)) {
        return -1;
    }
    f->s = rows_new_store(scratch_path(f->scratch, "run.db"));
    f->stage = rows_put_stage(f->s, "k1");
    return 0;
}

int store_fixture_teardown(void **state) {
    struct store_fixture *f = *state;
    store_close(f->s);
    arena_release(&f->a);
    int rc = scratch_teardown(&f->scratch);
    free(f);
    return rc;
}
