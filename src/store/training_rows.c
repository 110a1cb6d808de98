/* Loss curves of adapt stages. */
#include "store/store_internal.h"

int store_training_put(struct store *s, int64_t stage_id, const struct store_training *r,
                       struct err *e) {
    return store_run(s, e, "INSERT INTO training VALUES (?, ?, ?, ?, ?, ?, ?)", "iiidddd", stage_id,
                     r->step, r->epoch, r->loss, r->rate, r->gradient_norm, r->validation_loss);
}

static void read_training(sqlite3_stmt *st, void *row, struct arena *a) {
    (void)a;
    *(struct store_training *)row = (struct store_training){
        .step = sqlite3_column_int64(st, 0),
        .epoch = sqlite3_column_int64(st, 1),
        .loss = store_col_num(st, 2),
        .rate = store_col_num(st, 3),
        .gradient_norm = store_col_num(st, 4),
        .validation_loss = store_col_num(st, 5),
    };
}

int store_trainings(struct store *s, int64_t stage_id, struct arena *a, struct store_training **out,
                    size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT step, epoch, loss, rate, gradient_norm, validation_loss"
                           " FROM training WHERE stage_id = ? ORDER BY step",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_training, (void **)out, n, e);
}
