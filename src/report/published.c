#include "report/published.h"

#include "base/csvdoc.h"
#include "base/fs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A judge's helpfulness goes from 1 to 10, the other scores are shares. */
static double score_max_of(const char *task) {
    return strcmp(task, "chat") == 0 ? 10 : 1;
}

enum { N_KEYS = 5, N_TRAINING_KEYS = 4 };
static const char *const key_columns[N_KEYS] = {"family", "size", "method", "task", "precision"};

struct key {
    const char *part[N_KEYS]; /* precision is NULL for a training */
};

struct table {
    struct csvdoc *doc;
    int keys[N_KEYS];
    size_t n_keys;
};

struct loader {
    struct published *out;
    struct table serving, training, quality;
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "published figures: out of memory");
}

static int find_column(const struct csvdoc *d, const char *name, int *column, struct err *e) {
    *column = csvdoc_find(d, name);
    return *column >= 0 ? 0
                        : err_set(e, EE_FORMAT, "%s: there is no column %s", csvdoc_name(d), name);
}

static int load_table(const char *data_dir, const char *file, size_t n_keys, struct table *t,
                      struct err *e) {
    char *dir = fs_join(data_dir, "reference");
    char *path = dir ? fs_join(dir, file) : NULL;
    int rc = path ? csvdoc_load_file(path, &t->doc, e) : out_of_memory(e);
    t->n_keys = n_keys;
    for (size_t i = 0; !rc && i < n_keys; i++) {
        rc = find_column(t->doc, key_columns[i], &t->keys[i], e);
    }
    free(path);
    free(dir);
    return rc;
}

static int number(const struct table *t, size_t row, const char *name, double *out, struct err *e) {
    int column = -1;
    int rc = find_column(t->doc, name, &column, e);
    return rc ? rc : csvdoc_num(t->doc, row, column, out, e);
}

static const char *copy_cell(struct arena *a, const struct table *t, size_t row, size_t key) {
    return arena_strdup(a, csvdoc_cell(t->doc, row, t->keys[key]));
}

/* Row of that key in t; n_rows when there is none. */
static size_t find_row(const struct table *t, const struct key *k) {
    size_t n = csvdoc_n_rows(t->doc);
    for (size_t row = 0; row < n; row++) {
        size_t same = 0;
        while (same < t->n_keys &&
               strcmp(csvdoc_cell(t->doc, row, t->keys[same]), k->part[same]) == 0) {
            same++;
        }
        if (same == t->n_keys) {
            return row;
        }
    }
    return n;
}

static int want_row(const struct table *t, const struct key *k, size_t *row, struct err *e) {
    *row = find_row(t, k);
    if (*row < csvdoc_n_rows(t->doc)) {
        return 0;
    }
    return err_set(e, EE_FORMAT, "%s: there is no row for %s %s %s %s %s", csvdoc_name(t->doc),
                   k->part[0], k->part[1], k->part[2], k->part[3],
                   t->n_keys == N_KEYS ? k->part[4] : "");
}

static int load_trainings(struct loader *l, struct err *e) {
    struct published *p = l->out;
    p->n_trainings = csvdoc_n_rows(l->training.doc);
    p->trainings = arena_array(&p->arena, p->n_trainings, sizeof(*p->trainings));
    if (!p->trainings && p->n_trainings) {
        return out_of_memory(e);
    }
    int rc = 0;
    for (size_t i = 0; !rc && i < p->n_trainings; i++) {
        struct published_training *t = &p->trainings[i];
        t->family = copy_cell(&p->arena, &l->training, i, 0);
        t->size = copy_cell(&p->arena, &l->training, i, 1);
        t->method = copy_cell(&p->arena, &l->training, i, 2);
        t->task = copy_cell(&p->arena, &l->training, i, 3);
        rc = p->arena.failed ? out_of_memory(e)
                             : number(&l->training, i, "energy_j", &t->energy_j, e);
        rc = rc ? rc : number(&l->training, i, "duration_s", &t->duration_s, e);
        rc = rc ? rc : number(&l->training, i, "train_rows", &t->rows, e);
    }
    return rc;
}

static int load_score(const struct loader *l, const struct key *k, struct quantity *out,
                      struct err *e) {
    size_t row = 0;
    double value = NAN;
    int rc = want_row(&l->quality, k, &row, e);
    rc = rc ? rc : number(&l->quality, row, "primary_mean", &value, e);
    *out = quantity_of(value, 0);
    return rc;
}

/* QLoRA was published as int4 only: it has no fp16 score. */
static int load_fp16_score(const struct loader *l, const struct key *k, struct quantity *out,
                           struct err *e) {
    struct key fp16 = *k;
    fp16.part[N_KEYS - 1] = "fp16";
    if (find_row(&l->quality, &fp16) == csvdoc_n_rows(l->quality.doc)) {
        *out = quantity_missing("no fp16 variant was published");
        return 0;
    }
    return load_score(l, &fp16, out, e);
}

static int load_input(const struct loader *l, size_t row, const struct key *k,
                      struct published_variant *v, struct err *e) {
    static const struct {
        const char *column;
        size_t offset;
    } fields[] = {
        {"energy_j", offsetof(struct metrics_input, serve_j)},
        {"power_mean_w", offsetof(struct metrics_input, serve_w)},
        {"n_requests", offsetof(struct metrics_input, requests_ok)},
        {"output_tokens_per_s", offsetof(struct metrics_input, output_tokens_per_s)},
        {"load_s", offsetof(struct metrics_input, load_s)},
    };
    struct metrics_input *in = &v->input;
    *in = (struct metrics_input){.method = v->method, .precision = v->precision};
    in->score_max = score_max_of(v->task);
    int rc = load_score(l, k, &in->score, e);
    rc = rc ? rc : load_fp16_score(l, k, &in->score_fp16, e);
    for (size_t i = 0; !rc && i < sizeof(fields) / sizeof(fields[0]); i++) {
        double value = NAN;
        rc = number(&l->serving, row, fields[i].column, &value, e);
        struct quantity *q = (struct quantity *)(void *)((char *)in + fields[i].offset);
        *q = quantity_of(value, 0);
    }
    in->n_weights = quantity_of(metrics_weights_of_label(v->size), 0);
    in->prepare_j = quantity_of(v->training->energy_j, 0);
    return rc;
}

static int load_variant(const struct loader *l, size_t row, struct published_variant *v,
                        struct err *e) {
    struct published *p = l->out;
    const char **const parts[N_KEYS] = {&v->family, &v->size, &v->method, &v->task, &v->precision};
    struct key k;
    for (size_t i = 0; i < N_KEYS; i++) {
        *parts[i] = copy_cell(&p->arena, &l->serving, row, i);
        k.part[i] = *parts[i];
    }
    v->rows = arena_array(&p->arena, metrics_count(), sizeof(*v->rows));
    if (p->arena.failed) {
        return out_of_memory(e);
    }
    size_t training = 0;
    int rc = want_row(&l->training, &k, &training, e);
    if (rc) {
        return rc;
    }
    v->training = &p->trainings[training];
    rc = load_input(l, row, &k, v, e);
    return rc ? rc : metrics_compute(&v->input, &p->arena, v->rows, e);
}

static int rank(const char *const *order, const char *name) {
    int i = 0;
    while (order[i] && strcmp(order[i], name) != 0) {
        i++;
    }
    return i;
}

static int compare_variants(const void *a, const void *b) {
    static const char *const tasks[] = {"rag", "summ", "chat", NULL};
    static const char *const precisions[] = {"fp16", "int8", "int4", NULL};
    const struct published_variant *x = a;
    const struct published_variant *y = b;
    double sizes = metrics_weights_of_label(x->size) - metrics_weights_of_label(y->size);
    const int by[] = {
        strcmp(x->family, y->family),
        (sizes > 0) - (sizes < 0),
        strcmp(x->method, y->method),
        rank(tasks, x->task) - rank(tasks, y->task),
        rank(precisions, x->precision) - rank(precisions, y->precision),
    };
    for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
        if (by[i]) {
            return by[i];
        }
    }
    return 0;
}

static int load_all(const char *data_dir, struct loader *l, struct err *e) {
    struct published *p = l->out;
    int rc = load_table(data_dir, "inference.csv", N_KEYS, &l->serving, e);
    rc = rc ? rc : load_table(data_dir, "quality.csv", N_KEYS, &l->quality, e);
    rc = rc ? rc : load_table(data_dir, "training.csv", N_TRAINING_KEYS, &l->training, e);
    rc = rc ? rc : load_trainings(l, e);
    if (rc) {
        return rc;
    }
    p->n_variants = csvdoc_n_rows(l->serving.doc);
    p->variants = arena_array(&p->arena, p->n_variants, sizeof(*p->variants));
    if (!p->variants) {
        return p->n_variants
                   ? out_of_memory(e)
                   : err_set(e, EE_FORMAT, "%s: there are no rows", csvdoc_name(l->serving.doc));
    }
    for (size_t i = 0; !rc && i < p->n_variants; i++) {
        rc = load_variant(l, i, &p->variants[i], e);
    }
    if (!rc) {
        qsort(p->variants, p->n_variants, sizeof(*p->variants), compare_variants);
    }
    return rc;
}

int published_load(const char *data_dir, struct published **out, struct err *e) {
    *out = NULL;
    struct loader l = {.out = calloc(1, sizeof(*l.out))};
    if (!l.out) {
        return out_of_memory(e);
    }
    int rc = load_all(data_dir, &l, e);
    csvdoc_free(l.serving.doc);
    csvdoc_free(l.quality.doc);
    csvdoc_free(l.training.doc);
    if (rc) {
        published_free(l.out);
        return rc;
    }
    *out = l.out;
    return 0;
}

void published_free(struct published *p) {
    if (p) {
        arena_release(&p->arena);
        free(p);
    }
}

double published_value(const struct published_variant *v, const char *metric_id) {
    const struct metric *m = metrics_find(metric_id);
    for (size_t i = 0; i < metrics_count(); i++) {
        if (v->rows[i].metric == m) {
            return v->rows[i].value;
        }
    }
    return NAN;
}
