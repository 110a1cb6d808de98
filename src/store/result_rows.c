/* Rows that a stage measured. Each table has one put and one load, in the order of its columns. */
#include "store/store_internal.h"

#include <math.h>
#include <string.h>

int store_energy_put(struct store *s, int64_t stage_id, const struct store_energy *r,
                     struct err *e) {
    return store_run(s, e,
                     "INSERT INTO energy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                     " ?, ?)",
                     "isiissssddddddddbs", stage_id, r->window, (int64_t)r->start_ns,
                     (int64_t)r->end_ns, r->component, r->scope, r->source, r->quality, r->joules,
                     r->low_j, r->high_j, r->above_idle_j, r->idle_w, r->mean_w, r->peak_w,
                     r->coverage, (int)r->is_short, r->reason);
}

static void read_energy(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_energy *r = row;
    r->window = store_col_text(st, 0, a);
    r->start_ns = store_col_num(st, 1);
    r->end_ns = store_col_num(st, 2);
    r->component = store_col_text(st, 3, a);
    r->scope = store_col_text(st, 4, a);
    r->source = store_col_text(st, 5, a);
    r->quality = store_col_text(st, 6, a);
    r->joules = store_col_num(st, 7);
    r->low_j = store_col_num(st, 8);
    r->high_j = store_col_num(st, 9);
    r->above_idle_j = store_col_num(st, 10);
    r->idle_w = store_col_num(st, 11);
    r->mean_w = store_col_num(st, 12);
    r->peak_w = store_col_num(st, 13);
    r->coverage = store_col_num(st, 14);
    r->is_short = sqlite3_column_int(st, 15) != 0;
    r->reason = store_col_text(st, 16, a);
}

int store_energies(struct store *s, int64_t stage_id, struct arena *a, struct store_energy **out,
                   size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT window, start_ns, end_ns, component, scope, source, quality,"
                           " joules, low_j, high_j, above_idle_j, idle_w, mean_w, peak_w,"
                           " coverage, is_short, reason FROM energy WHERE stage_id = ?"
                           " ORDER BY rowid",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_energy, (void **)out, n, e);
}

int store_gpu_look_put(struct store *s, int64_t stage_id, const struct store_gpu_look *r,
                       struct err *e) {
    return store_run(s, e, "INSERT INTO gpu_look VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     "issidsddddd", stage_id, r->window, r->component, r->looks, r->throttled_share,
                     r->throttle, r->other_processes, r->busy, r->max_temperature_c, r->min_sm_mhz,
                     r->max_sm_mhz);
}

static void read_gpu_look(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_gpu_look *r = row;
    r->window = store_col_text(st, 0, a);
    r->component = store_col_text(st, 1, a);
    r->looks = sqlite3_column_int64(st, 2);
    r->throttled_share = store_col_num(st, 3);
    r->throttle = store_col_text(st, 4, a);
    r->other_processes = store_col_num(st, 5);
    r->busy = store_col_num(st, 6);
    r->max_temperature_c = store_col_num(st, 7);
    r->min_sm_mhz = store_col_num(st, 8);
    r->max_sm_mhz = store_col_num(st, 9);
}

int store_gpu_looks(struct store *s, int64_t stage_id, struct arena *a, struct store_gpu_look **out,
                    size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT window, component, looks, throttled_share, throttle,"
                           " other_processes, busy, max_temperature_c, min_sm_mhz, max_sm_mhz"
                           " FROM gpu_look WHERE stage_id = ? ORDER BY rowid",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_gpu_look, (void **)out, n, e);
}

int store_request_put(struct store *s, int64_t stage_id, const struct store_request *r,
                      struct err *e) {
    return store_run(s, e,
                     "INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     "iiissssiiiiiiisz", stage_id, (int64_t)r->repeat, (int64_t)r->ordinal,
                     r->item_id, r->status, r->finish, r->error, r->prompt_tokens, r->output_tokens,
                     r->queued_ns, r->started_ns, r->first_token_ns, r->last_token_ns, r->done_ns,
                     r->text, r->events, r->events_bytes);
}

static void read_request(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_request *r = row;
    r->repeat = sqlite3_column_int(st, 0);
    r->ordinal = sqlite3_column_int(st, 1);
    r->item_id = store_col_text(st, 2, a);
    r->status = store_col_text(st, 3, a);
    r->finish = store_col_text(st, 4, a);
    r->error = store_col_text(st, 5, a);
    r->prompt_tokens = sqlite3_column_int64(st, 6);
    r->output_tokens = sqlite3_column_int64(st, 7);
    r->queued_ns = sqlite3_column_int64(st, 8);
    r->started_ns = sqlite3_column_int64(st, 9);
    r->first_token_ns = sqlite3_column_int64(st, 10);
    r->last_token_ns = sqlite3_column_int64(st, 11);
    r->done_ns = sqlite3_column_int64(st, 12);
    r->text = store_col_text(st, 13, a);
    const void *blob = sqlite3_column_blob(st, 14);
    size_t bytes = (size_t)sqlite3_column_bytes(st, 14);
    void *copy = blob ? arena_alloc(a, bytes) : NULL;
    if (copy) {
        r->events = memcpy(copy, blob, bytes);
        r->events_bytes = bytes;
    }
}

int store_requests(struct store *s, int64_t stage_id, bool with_text_and_events, struct arena *a,
                   struct store_request **out, size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           with_text_and_events
                               ? "SELECT repeat, ordinal, item_id, status, finish, error,"
                                 " prompt_tokens, output_tokens, queued_ns, started_ns,"
                                 " first_token_ns, last_token_ns, done_ns, text, events"
                                 " FROM request WHERE stage_id = ? ORDER BY repeat, ordinal"
                               : "SELECT repeat, ordinal, item_id, status, finish, error,"
                                 " prompt_tokens, output_tokens, queued_ns, started_ns,"
                                 " first_token_ns, last_token_ns, done_ns, NULL, NULL"
                                 " FROM request WHERE stage_id = ? ORDER BY repeat, ordinal",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_request, (void **)out, n, e);
}

int store_count_requests(struct store *s, int64_t stage_id, size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    *n = 0;
    int rc = store_prepare(s, &st, e, "SELECT count(*) FROM request WHERE stage_id = ?", "i",
                           stage_id);
    if (rc) {
        return rc;
    }
    rc = store_step(s, st, e);
    *n = rc > 0 ? (size_t)sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return rc < 0 ? rc : 0;
}

int store_each_request_times(struct store *s, int64_t stage_id,
                             int (*on_row)(const struct store_request_times *row, void *ctx,
                                           struct err *e),
                             void *ctx, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT repeat, status = 'ok', output_tokens, queued_ns, first_token_ns,"
                           " last_token_ns, done_ns, events FROM request WHERE stage_id = ?"
                           " ORDER BY repeat, ordinal",
                           "i", stage_id);
    if (rc) {
        return rc;
    }
    while ((rc = store_step(s, st, e)) > 0) {
        const struct store_request_times row = {
            .repeat = sqlite3_column_int(st, 0),
            .is_ok = sqlite3_column_int(st, 1) != 0,
            .output_tokens = sqlite3_column_int64(st, 2),
            .queued_ns = sqlite3_column_int64(st, 3),
            .first_token_ns = sqlite3_column_int64(st, 4),
            .last_token_ns = sqlite3_column_int64(st, 5),
            .done_ns = sqlite3_column_int64(st, 6),
            .events = sqlite3_column_blob(st, 7),
            .events_bytes = (size_t)sqlite3_column_bytes(st, 7)};
        rc = on_row(&row, ctx, e);
        if (rc) {
            break;
        }
    }
    sqlite3_finalize(st);
    return rc;
}

int store_pack_events(struct arena *a, const int64_t *token_ns, size_t n_tokens, const void **blob,
                      size_t *bytes, struct err *e) {
    *blob = NULL;
    *bytes = 0;
    if (n_tokens < 2) {
        return 0;
    }
    unsigned char *out = arena_array(a, n_tokens - 1, 4);
    if (!out) {
        return err_set(e, EE_NOMEM, "token times: out of memory");
    }
    for (size_t i = 1; i < n_tokens; i++) {
        /* Unsigned, where any two times have a difference. */
        uint64_t after_ns = (uint64_t)token_ns[i] - (uint64_t)token_ns[0];
        uint64_t us = after_ns / 1000 + (after_ns % 1000 >= 500);
        if (token_ns[i] < token_ns[0] || us > UINT32_MAX) {
            return err_set(e, EE_FORMAT, "token time %zu is %.0f us after the first: out of range",
                           i, ((double)token_ns[i] - (double)token_ns[0]) / 1000);
        }
        for (int k = 0; k < 4; k++) {
            out[(i - 1) * 4 + (size_t)k] = (unsigned char)(us >> (8 * k));
        }
    }
    *blob = out;
    *bytes = (n_tokens - 1) * 4;
    return 0;
}

uint32_t store_event_us(const void *blob, size_t i) {
    const unsigned char *in = (const unsigned char *)blob + 4 * i;
    uint32_t us = 0;
    for (int k = 0; k < 4; k++) {
        us |= (uint32_t)in[k] << (8 * k);
    }
    return us;
}

int store_unpack_events(struct arena *a, const void *blob, size_t bytes, int64_t first_token_ns,
                        int64_t **token_ns, size_t *n_tokens, struct err *e) {
    *token_ns = NULL;
    if (bytes % 4 != 0) {
        *n_tokens = 0;
        return err_set(e, EE_FORMAT, "token times: %zu bytes are no whole number of times", bytes);
    }
    *n_tokens = bytes / 4 + 1;
    *token_ns = arena_array(a, *n_tokens, sizeof(**token_ns));
    if (!*token_ns) {
        return err_set(e, EE_NOMEM, "token times: out of memory");
    }
    (*token_ns)[0] = first_token_ns;
    for (size_t i = 1; i < *n_tokens; i++) {
        (*token_ns)[i] = first_token_ns + (int64_t)store_event_us(blob, i - 1) * 1000;
    }
    return 0;
}

int store_cold_start_put(struct store *s, int64_t stage_id, const struct store_cold_start *r,
                         struct err *e) {
    return store_run(s, e, "INSERT INTO cold_start VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     "isiddddddddd", stage_id, r->cache, (int64_t)r->repeat, r->resident_fraction,
                     r->main_s, r->backend_s, r->weights_s, r->context_s, r->first_token_s,
                     r->warm_first_token_s, r->joules, r->warm_joules);
}

static void read_cold_start(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_cold_start *r = row;
    r->cache = store_col_text(st, 0, a);
    r->repeat = sqlite3_column_int(st, 1);
    r->resident_fraction = store_col_num(st, 2);
    r->main_s = store_col_num(st, 3);
    r->backend_s = store_col_num(st, 4);
    r->weights_s = store_col_num(st, 5);
    r->context_s = store_col_num(st, 6);
    r->first_token_s = store_col_num(st, 7);
    r->warm_first_token_s = store_col_num(st, 8);
    r->joules = store_col_num(st, 9);
    r->warm_joules = store_col_num(st, 10);
}

int store_cold_starts(struct store *s, int64_t stage_id, struct arena *a,
                      struct store_cold_start **out, size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT cache, repeat, resident_fraction, main_s, backend_s, weights_s,"
                           " context_s, first_token_s, warm_first_token_s, joules, warm_joules"
                           " FROM cold_start WHERE stage_id = ? ORDER BY rowid",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_cold_start, (void **)out, n, e);
}

int store_memory_put(struct store *s, int64_t stage_id, const struct store_memory *r,
                     struct err *e) {
    return store_run(s, e, "INSERT INTO memory VALUES (?, ?, ?, ?, ?)", "issds", stage_id, r->part,
                     r->device, r->bytes, r->source);
}

static void read_memory(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_memory *r = row;
    r->part = store_col_text(st, 0, a);
    r->device = store_col_text(st, 1, a);
    r->bytes = store_col_num(st, 2);
    r->source = store_col_text(st, 3, a);
}

int store_memories(struct store *s, int64_t stage_id, struct arena *a, struct store_memory **out,
                   size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT part, device, bytes, source FROM memory WHERE stage_id = ?"
                           " ORDER BY rowid",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_memory, (void **)out, n, e);
}

int store_artifact_put(struct store *s, int64_t stage_id, const struct store_artifact *r,
                       struct err *e) {
    return store_run(s, e, "INSERT INTO artifact VALUES (?, ?, ?, ?, ?, ?)", "issdss", stage_id,
                     r->path, r->kind, r->bytes, r->hash, r->detail_json);
}

static void read_artifact(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_artifact *r = row;
    r->path = store_col_text(st, 0, a);
    r->kind = store_col_text(st, 1, a);
    r->bytes = store_col_num(st, 2);
    r->hash = store_col_text(st, 3, a);
    r->detail_json = store_col_text(st, 4, a);
}

int store_artifacts(struct store *s, int64_t stage_id, struct arena *a, struct store_artifact **out,
                    size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT path, kind, bytes, hash, detail_json FROM artifact"
                           " WHERE stage_id = ? ORDER BY rowid",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_artifact, (void **)out, n, e);
}

int store_score_put(struct store *s, int64_t stage_id, const struct store_score *r, struct err *e) {
    return store_run(s, e, "INSERT INTO score VALUES (?, ?, ?, ?, ?, ?)", "isisdb", stage_id,
                     r->item_id, (int64_t)r->pass, r->scorer, r->value, (int)r->is_primary);
}

static void read_score(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_score *r = row;
    r->item_id = store_col_text(st, 0, a);
    r->pass = sqlite3_column_int(st, 1);
    r->scorer = store_col_text(st, 2, a);
    r->value = store_col_num(st, 3);
    r->is_primary = sqlite3_column_int(st, 4) != 0;
}

int store_scores(struct store *s, int64_t stage_id, struct arena *a, struct store_score **out,
                 size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT item_id, pass, scorer, value, is_primary FROM score"
                           " WHERE stage_id = ? ORDER BY rowid",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_score, (void **)out, n, e);
}
