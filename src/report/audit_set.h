/*
 * Inside src/report: where the audit's table comes from. docs/audit.md has the CSV schema.
 */
#ifndef REPORT_AUDIT_SET_H
#define REPORT_AUDIT_SET_H

#include "metrics/audit.h"
#include "report/collect.h"

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>

/* Everything lies in the arena until audit_set_free. */
struct audit_set {
    struct arena arena;
    size_t width; /* columns of text about it */
    struct audit_table table;
    size_t cap_rows;
    struct audit_bad_cell *bad_cells; /* the table's */
    size_t cap_bad_cells;
    const char **ignored; /* columns of CSV files that no rule reads */
    size_t n_ignored, cap_ignored;
    struct audit_board *boards;
    size_t n_boards;
};

/* What boards can draw: data_dir/devices/boards.yaml. */
struct audit_board {
    const char **names;
    size_t n_names;
    double power_limit_w;
};

/* data_dir NULL: no board is known. */
int audit_set_new(const char *data_dir, struct audit_set **out, struct err *e) EE_MUST_CHECK;
void audit_set_free(struct audit_set *s);
/* A new row, initialised; NULL when memory is out. Valid until the next call. */
struct audit_row *audit_set_add(struct audit_set *s, enum audit_stage stage, const char *where);
int audit_set_add_bad(struct audit_set *s, const char *where, const char *what,
                      struct err *e) EE_MUST_CHECK;
/* Most watts of a board by its name in any case; NAN when the table does not have it. */
double audit_set_power_limit_w(const struct audit_set *s, const char *gpu_model);

/* Adds the rows of a CSV file. Cells that cannot be used become bad cells. */
int audit_set_read_csv(struct audit_set *s, const char *path, struct err *e) EE_MUST_CHECK;
/* Adds what a run measured. Nothing of run is kept. */
int audit_set_add_run(struct audit_set *s, const struct report_run *run,
                      struct err *e) EE_MUST_CHECK;
int audit_set_read_run(struct audit_set *s, const char *run_dir, struct err *e) EE_MUST_CHECK;

#endif
