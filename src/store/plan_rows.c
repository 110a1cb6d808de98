/* Rows that say what a run is: facts, machines, variants, stages. */
#include "store/store_internal.h"

#include <math.h>

int store_meta_set(struct store *s, const char *key, const char *value, struct err *e) {
    return store_run(s, e,
                     "INSERT INTO meta (key, value) VALUES (?, ?) "
                     "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                     "ss", key, value);
}

/* The first column of the first row, or NULL. Finalizes st. */
static int one_text(struct store *s, sqlite3_stmt *st, struct arena *a, char **out, struct err *e) {
    int rc = store_step(s, st, e);
    *out = NULL;
    if (rc == 1) {
        *out = (char *)store_col_text(st, 0, a);
        rc = store_check_row(s, a, e);
    }
    sqlite3_finalize(st);
    return rc;
}

int store_meta_get(struct store *s, const char *key, struct arena *a, char **out, struct err *e) {
    sqlite3_stmt *st = NULL;
    *out = NULL;
    int rc = store_prepare(s, &st, e, "SELECT value FROM meta WHERE key = ?", "s", key);
    return rc ? rc : one_text(s, st, a, out, e);
}

int store_machine_put(struct store *s, const char *machine_id, const char *json, struct err *e) {
    return store_run(s, e,
                     "INSERT INTO machine (machine_id, json) VALUES (?, ?) "
                     "ON CONFLICT (machine_id) DO UPDATE SET json = excluded.json",
                     "ss", machine_id, json);
}

int store_machine_get(struct store *s, const char *machine_id, struct arena *a, char **out,
                      struct err *e) {
    sqlite3_stmt *st = NULL;
    *out = NULL;
    int rc = store_prepare(s, &st, e, "SELECT json FROM machine WHERE machine_id = ?", "s",
                           machine_id);
    return rc ? rc : one_text(s, st, a, out, e);
}

int store_variant_put(struct store *s, const struct store_variant *v, struct err *e) {
    return store_run(s, e,
                     "INSERT INTO variant (ord, variant_id, model_id, family, size, method, task,"
                     " precision, engine, device, params, note) VALUES"
                     " ((SELECT count(*) FROM variant), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                     " ON CONFLICT (variant_id) DO UPDATE SET device = excluded.device,"
                     " params = excluded.params",
                     "sssssssssds", v->variant_id, v->model_id, v->family, v->size, v->method,
                     v->task, v->precision, v->engine, v->device, v->params, v->note);
}

static void read_variant(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_variant *v = row;
    v->variant_id = store_col_text(st, 0, a);
    v->model_id = store_col_text(st, 1, a);
    v->family = store_col_text(st, 2, a);
    v->size = store_col_text(st, 3, a);
    v->method = store_col_text(st, 4, a);
    v->task = store_col_text(st, 5, a);
    v->precision = store_col_text(st, 6, a);
    v->engine = store_col_text(st, 7, a);
    v->device = store_col_text(st, 8, a);
    v->params = store_col_num(st, 9);
    v->note = store_col_text(st, 10, a);
}

int store_variants(struct store *s, struct arena *a, struct store_variant **out, size_t *n,
                   struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT variant_id, model_id, family, size, method, task, precision,"
                           " engine, device, params, note FROM variant ORDER BY ord",
                           "");
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_variant, (void **)out, n, e);
}

/* After an update of what must be there. */
static int check_updated(struct store *s, const char *what, struct err *e) {
    return sqlite3_changes(s->db) > 0 ? 0 : err_set(e, EE_MISSING, "%s: no such %s", s->path, what);
}

int store_variant_note(struct store *s, const char *variant_id, const char *note, struct err *e) {
    int rc = store_run(s, e, "UPDATE variant SET note = ? WHERE variant_id = ?", "ss", note,
                       variant_id);
    return rc ? rc : check_updated(s, "variant", e);
}

int store_stage_put(struct store *s, const struct store_stage *st, int64_t *stage_id,
                    struct err *e) {
    int rc = store_run(s, e, "DELETE FROM stage WHERE key = ? AND status = 'failed'", "s", st->key);
    rc = rc ? rc
            : store_run(s, e,
                        "INSERT INTO stage (key, kind, title, status, error_code, error,"
                        " started_utc, wall_s, machine_id, inputs_json, result_json)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        "sssssssdsss", st->key, st->kind, st->title, st->status, st->error_code,
                        st->error, st->started_utc, st->wall_s, st->machine_id, st->inputs_json,
                        st->result_json);
    *stage_id = rc ? 0 : (int64_t)sqlite3_last_insert_rowid(s->db);
    return rc;
}

int store_stage_finish(struct store *s, int64_t stage_id, double wall_s, const char *result_json,
                       struct err *e) {
    int rc = store_run(s, e, "UPDATE stage SET wall_s = ?, result_json = ? WHERE stage_id = ?",
                       "dsi", wall_s, result_json, stage_id);
    return rc ? rc : check_updated(s, "stage", e);
}

int store_stage_delete(struct store *s, int64_t stage_id, struct err *e) {
    return store_run(s, e, "DELETE FROM stage WHERE stage_id = ?", "i", stage_id);
}

#define STAGE_COLUMNS                                                                              \
    "stage.stage_id, stage.key, stage.kind, stage.title, stage.status, stage.error_code,"          \
    " stage.error, stage.started_utc, stage.wall_s, stage.machine_id, stage.inputs_json,"          \
    " stage.result_json"

static void read_stage(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_stage *g = row;
    g->stage_id = sqlite3_column_int64(st, 0);
    g->key = store_col_text(st, 1, a);
    g->kind = store_col_text(st, 2, a);
    g->title = store_col_text(st, 3, a);
    g->status = store_col_text(st, 4, a);
    g->error_code = store_col_text(st, 5, a);
    g->error = store_col_text(st, 6, a);
    g->started_utc = store_col_text(st, 7, a);
    g->wall_s = store_col_num(st, 8);
    g->machine_id = store_col_text(st, 9, a);
    g->inputs_json = store_col_text(st, 10, a);
    g->result_json = store_col_text(st, 11, a);
}

/* The first stage st yields, or a zeroed one. Finalizes st. */
static int one_stage(struct store *s, sqlite3_stmt *st, struct arena *a, struct store_stage *out,
                     struct err *e) {
    *out = (struct store_stage){0};
    int rc = store_step(s, st, e);
    if (rc == 1) {
        read_stage(st, out, a);
        rc = store_check_row(s, a, e);
    }
    sqlite3_finalize(st);
    return rc;
}

int store_stage_find(struct store *s, const char *key, struct arena *a, struct store_stage *out,
                     struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e, "SELECT " STAGE_COLUMNS " FROM stage WHERE key = ?", "s",
                           key);
    return rc ? rc : one_stage(s, st, a, out, e);
}

int store_stages(struct store *s, struct arena *a, struct store_stage **out, size_t *n,
                 struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e, "SELECT " STAGE_COLUMNS " FROM stage ORDER BY stage_id", "");
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_stage, (void **)out, n, e);
}

int store_variant_stage_put(struct store *s, const char *variant_id, int64_t stage_id,
                            struct err *e) {
    int rc = store_run(s, e,
                       "DELETE FROM variant_stage WHERE variant_id = ? AND stage_id <> ?"
                       " AND stage_id IN (SELECT stage_id FROM stage WHERE kind ="
                       " (SELECT kind FROM stage WHERE stage_id = ?))",
                       "sii", variant_id, stage_id, stage_id);
    return rc ? rc
              : store_run(
                    s, e,
                    "INSERT OR IGNORE INTO variant_stage (variant_id, stage_id) VALUES (?, ?)",
                    "si", variant_id, stage_id);
}

int store_variant_stage_drop(struct store *s, const char *variant_id, const char *kind,
                             struct err *e) {
    return store_run(s, e,
                     "DELETE FROM variant_stage WHERE variant_id = ? AND stage_id IN"
                     " (SELECT stage_id FROM stage WHERE kind = ?)",
                     "ss", variant_id, kind);
}

int store_variant_stage(struct store *s, const char *variant_id, const char *kind, struct arena *a,
                        struct store_stage *out, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT " STAGE_COLUMNS " FROM stage JOIN variant_stage USING (stage_id)"
                           " WHERE variant_stage.variant_id = ? AND stage.kind = ?"
                           " ORDER BY stage.stage_id DESC LIMIT 1",
                           "ss", variant_id, kind);
    return rc ? rc : one_stage(s, st, a, out, e);
}
