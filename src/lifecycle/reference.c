#include "lifecycle/reference.h"

#include "base/csvdoc.h"
#include "base/fs.h"

#include <stdlib.h>
#include <string.h>

static int open_table(const char *data_dir, const char *name, struct csvdoc **out, struct err *e) {
    char *path = fs_join(data_dir, name);
    int rc = path ? csvdoc_load_file(path, out, e)
                  : err_set(e, EE_NOMEM, "reference rows: out of memory");
    free(path);
    return rc;
}

/* The row with the variant's keys; precision where the table has it. */
static int find_row(const struct csvdoc *t, const struct variant *v, size_t *row, struct err *e) {
    const char *const keys[][2] = {{"family", v->model->family},
                                   {"size", v->model->size},
                                   {"method", method_names[v->method]},
                                   {"task", v->task->name},
                                   {"precision", precision_names[v->precision]}};
    for (*row = 0; *row < csvdoc_n_rows(t); (*row)++) {
        bool is_it = true;
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
            int column = csvdoc_find(t, keys[i][0]);
            is_it = is_it && (column < 0 || strcmp(csvdoc_cell(t, *row, column), keys[i][1]) == 0);
        }
        if (is_it) {
            return 0;
        }
    }
    return err_set(e, EE_MISSING,
                   "%s has no row of %s %s %s %s; give the model the published family and size "
                   "(Llama or Qwen; 1B, 3B or 7B)",
                   csvdoc_name(t), v->model->family, v->model->size, method_names[v->method],
                   v->task->name);
}

static int number(const struct csvdoc *t, size_t row, const char *column, double *out,
                  struct err *e) {
    return csvdoc_num(t, row, csvdoc_find(t, column), out, e);
}

int reference_train_rows(const char *data_dir, const struct variant *v, int64_t *rows,
                         struct err *e) {
    struct csvdoc *t = NULL;
    size_t row = 0;
    double value = 0;
    int rc = open_table(data_dir, "reference/training.csv", &t, e);
    rc = rc ? rc : find_row(t, v, &row, e);
    rc = rc ? rc : number(t, row, "train_rows", &value, e);
    *rows = (int64_t)value;
    csvdoc_free(t);
    return rc;
}

int reference_quality(const char *data_dir, const struct variant *v, struct reference_quality *out,
                      struct err *e) {
    static const struct reference_quality kinds[TASK_KINDS] = {
        [TASK_RAG] = {.low = 0, .high = 1, .scorer = "published entailment"},
        [TASK_SUMM] = {.low = 0, .high = 1, .scorer = "published non-contradiction"},
        [TASK_CHAT] = {.low = 1, .high = 10, .scorer = "published helpfulness"},
    };
    struct csvdoc *t = NULL;
    size_t row = 0;
    double items = 0;
    double passes = 0;
    *out = kinds[v->task->kind];
    int rc = open_table(data_dir, "reference/quality.csv", &t, e);
    rc = rc ? rc : find_row(t, v, &row, e);
    rc = rc ? rc : number(t, row, "primary_mean", &out->mean, e);
    rc = rc ? rc : number(t, row, "items", &items, e);
    rc = rc ? rc : number(t, row, "passes", &passes, e);
    out->items = (int64_t)items;
    out->passes = (int64_t)passes;
    csvdoc_free(t);
    return rc;
}
