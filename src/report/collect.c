#include "report/collect.h"

#include "report/costs.h"
#include "report/fmt.h"
#include "report/inputs.h"

#include "base/fs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const kind_names[REPORT_KINDS] = {"adapt", "merge", "quantize",
                                                     "load",  "serve", "score"};

/* Facts of the run that reports show, in this order. */
static const struct {
    const char *key;
    const char *name;
} fact_table[] = {
    {"run_id", "Run"},     {"created_utc", "Started"}, {"version", "edge-eval"},
    {"plan_name", "Plan"}, {"plan_path", "Plan file"}, {"machine_id", "Machine"},
};

const char *report_kind_name(enum report_kind kind) {
    return kind_names[kind];
}

bool report_stage_failed(const struct report_stage *st) {
    return strcmp(st->s.status, "failed") == 0;
}

bool report_is_repeat(const char *window, const char *kind) {
    size_t len = strlen(kind);
    if (strncmp(window, kind, len) != 0 || window[len] != '/' || !window[len + 1]) {
        return false;
    }
    for (const char *p = window + len + 1; *p; p++) {
        if (!isdigit((unsigned char)*p)) {
            return false;
        }
    }
    return true;
}

const struct metric_row *report_row_in(const struct report_variant *v, const char *metric_id,
                                       const char *profile) {
    const struct metric *metric = metrics_find_in(metric_id, profile);
    for (size_t i = 0; i < metrics_count(); i++) {
        if (v->rows[i].metric == metric) {
            return &v->rows[i];
        }
    }
    return NULL;
}

const struct metric_row *report_row(const struct report_variant *v, const char *metric_id) {
    return report_row_in(v, metric_id, NULL);
}

const char *report_fact(const struct report_run *run, const char *key) {
    for (size_t i = 0; i < run->n_facts; i++) {
        if (strcmp(run->facts[i].key, key) == 0) {
            return run->facts[i].value;
        }
    }
    return NULL;
}

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "report: out of memory");
}

/* Cleans the named strings in place; n pointers to them. */
static int clean_strings(struct arena *a, const char **const *strings, size_t n, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        const char *s = *strings[i];
        *strings[i] = fmt_utf8(a, s);
        if (s && !*strings[i]) {
            return out_of_memory(e);
        }
    }
    return 0;
}

#define CLEAN(a, e, ...)                                                                           \
    clean_strings((a), (const char **const[]){__VA_ARGS__},                                        \
                  sizeof((const char **const[]){__VA_ARGS__}) / sizeof(const char **), (e))

static int load_fact(struct store *s, struct arena *a, const char *key, const char **out,
                     struct err *e) {
    char *value = NULL;
    int rc = store_meta_get(s, key, a, &value, e);
    *out = value;
    return rc ? rc : CLEAN(a, e, out);
}

static int load_facts(struct store *s, struct report_run *run, struct err *e) {
    struct arena *a = &run->arena;
    size_t n_rows = sizeof(fact_table) / sizeof(fact_table[0]);
    run->facts = arena_array(a, n_rows, sizeof(*run->facts));
    if (!run->facts) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < n_rows; i++) {
        struct report_fact *f = &run->facts[run->n_facts];
        *f = (struct report_fact){.key = fact_table[i].key, .name = fact_table[i].name};
        int rc = load_fact(s, a, f->key, &f->value, e);
        if (rc) {
            return rc;
        }
        run->n_facts += f->value != NULL;
    }
    int rc = load_fact(s, a, "plan_yaml", &run->plan_yaml, e);
    return rc ? rc : load_fact(s, a, "idle_json", &run->idle_json, e);
}

static int load_energies(struct store *s, struct arena *a, struct report_stage *st, struct err *e) {
    int rc = store_energies(s, st->s.stage_id, a, &st->energies, &st->n_energies, e);
    for (size_t i = 0; !rc && i < st->n_energies; i++) {
        struct store_energy *g = &st->energies[i];
        rc = CLEAN(a, e, &g->window, &g->component, &g->scope, &g->source, &g->reason);
    }
    rc = rc ? rc : store_trainings(s, st->s.stage_id, a, &st->trainings, &st->n_trainings, e);
    rc = rc ? rc : store_powers(s, st->s.stage_id, a, &st->powers, &st->n_powers, e);
    for (size_t i = 0; !rc && i < st->n_powers; i++) {
        rc = CLEAN(a, e, &st->powers[i].component);
    }
    rc = rc ? rc : store_gpu_looks(s, st->s.stage_id, a, &st->looks, &st->n_looks, e);
    for (size_t i = 0; !rc && i < st->n_looks; i++) {
        rc = CLEAN(a, e, &st->looks[i].window, &st->looks[i].component, &st->looks[i].throttle);
    }
    return rc;
}

static int load_stages(struct store *s, struct report_run *run, struct err *e) {
    struct arena *a = &run->arena;
    struct store_stage *rows = NULL;
    int rc = store_stages(s, a, &rows, &run->n_stages, e);
    if (rc) {
        return rc;
    }
    run->stages = arena_array(a, run->n_stages, sizeof(*run->stages));
    if (!run->stages && run->n_stages) {
        return out_of_memory(e);
    }
    for (size_t i = 0; !rc && i < run->n_stages; i++) {
        struct store_stage *st = &run->stages[i].s;
        *st = rows[i];
        rc = CLEAN(a, e, &st->kind, &st->title, &st->error_code, &st->error, &st->started_utc,
                   &st->machine_id);
        rc = rc ? rc : load_energies(s, a, &run->stages[i], e);
    }
    return rc;
}

static int add_machine(struct store *s, struct report_run *run, const char *machine_id,
                       struct err *e) {
    for (size_t i = 0; i < run->n_machines; i++) {
        if (strcmp(run->machines[i].machine_id, machine_id) == 0) {
            return 0;
        }
    }
    char *json = NULL;
    int rc = store_machine_get(s, machine_id, &run->arena, &json, e);
    if (rc || !json) {
        return rc;
    }
    struct report_machine *m = &run->machines[run->n_machines++];
    *m = (struct report_machine){.machine_id = machine_id, .json = json};
    return CLEAN(&run->arena, e, &m->json);
}

static int load_machines(struct store *s, struct report_run *run, struct err *e) {
    run->machines = arena_array(&run->arena, run->n_stages + 1, sizeof(*run->machines));
    if (!run->machines) {
        return out_of_memory(e);
    }
    const char *own = report_fact(run, "machine_id");
    int rc = own ? add_machine(s, run, own, e) : 0;
    for (size_t i = 0; !rc && i < run->n_stages; i++) {
        rc = add_machine(s, run, run->stages[i].s.machine_id, e);
    }
    return rc;
}

/* Points v's stages into the run's, so that variants that share a stage share the pointer. */
static int link_stages(struct store *s, struct report_run *run, struct report_variant *v,
                       const char *stored_id, struct err *e) {
    for (int kind = 0; kind < REPORT_KINDS; kind++) {
        struct store_stage found;
        int rc = store_variant_stage(s, stored_id, kind_names[kind], &run->arena, &found, e);
        if (rc) {
            return rc;
        }
        for (size_t i = 0; found.key && i < run->n_stages; i++) {
            if (run->stages[i].s.stage_id == found.stage_id) {
                v->stages[kind] = &run->stages[i];
            }
        }
    }
    return 0;
}

static int load_variants(struct store *s, struct report_run *run, struct err *e) {
    struct arena *a = &run->arena;
    struct store_variant *rows = NULL;
    int rc = store_variants(s, a, &rows, &run->n_variants, e);
    if (rc) {
        return rc;
    }
    run->variants = arena_array(a, run->n_variants, sizeof(*run->variants));
    if (!run->variants && run->n_variants) {
        return out_of_memory(e);
    }
    for (size_t i = 0; !rc && i < run->n_variants; i++) {
        struct report_variant *r = &run->variants[i];
        struct store_variant *v = &r->v;
        *v = rows[i];
        rc = CLEAN(a, e, &v->variant_id, &v->model_id, &v->family, &v->size, &v->method, &v->task,
                   &v->precision, &v->engine, &v->device, &v->note);
        rc = rc ? rc : link_stages(s, run, r, rows[i].variant_id, e);
        rc = rc ? rc : inputs_fill(s, run, r, e);
    }
    return rc ? rc : inputs_fill_fp16(s, run, e);
}

static int compute_metrics(struct report_run *run, struct err *e) {
    for (size_t i = 0; i < run->n_variants; i++) {
        struct report_variant *v = &run->variants[i];
        v->rows = arena_array(&run->arena, metrics_count(), sizeof(*v->rows));
        if (!v->rows) {
            return out_of_memory(e);
        }
        int rc = metrics_compute(&v->input, &run->arena, v->rows, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int open_run(const char *run_dir, struct store **out, struct err *e) {
    struct stat st;
    if (stat(run_dir, &st) != 0) {
        return err_set(e, EE_MISSING, "there is no run directory %s", run_dir);
    }
    char *path = fs_join(run_dir, "run.db");
    if (!path) {
        return out_of_memory(e);
    }
    int rc = 0;
    if (!S_ISDIR(st.st_mode)) {
        rc = err_set(e, EE_USAGE, "%s is not a directory; name the run's directory", run_dir);
    } else if (!fs_exists(path)) {
        rc = err_set(e, EE_MISSING, "%s is not a run directory: it has no run.db", run_dir);
    } else {
        rc = store_open(path, true, out, e);
    }
    free(path);
    return rc;
}

/* The directory's name stands in for a run that was stored without an id. */
static int name_run(struct report_run *run, const char *run_dir, struct err *e) {
    run->run_id = report_fact(run, "run_id");
    if (!run->run_id) {
        run->run_id = fs_basename(run_dir);
        return CLEAN(&run->arena, e, &run->run_id);
    }
    return 0;
}

int report_run_load(const char *run_dir, struct report_run **out, struct err *e) {
    return report_run_load_as(run_dir, NULL, out, e);
}

int report_run_load_as(const char *run_dir, const struct report_what_if *what_if,
                       struct report_run **out, struct err *e) {
    *out = NULL;
    struct store *s = NULL;
    int rc = open_run(run_dir, &s, e);
    if (rc) {
        return rc;
    }
    struct report_run *run = calloc(1, sizeof(*run));
    if (!run) {
        store_close(s);
        return out_of_memory(e);
    }
    run->width = REPORT_WIDTH;
    run->dir = arena_strdup(&run->arena, run_dir);
    rc = run->dir ? load_facts(s, run, e) : out_of_memory(e);
    rc = rc ? rc : name_run(run, run_dir, e);
    rc = rc ? rc : load_stages(s, run, e);
    rc = rc ? rc : load_machines(s, run, e);
    rc = rc ? rc : report_load_costs(s, run, what_if, e);
    rc = rc ? rc : load_variants(s, run, e);
    rc = rc ? rc : inputs_costs(run, e);
    rc = rc ? rc : compute_metrics(run, e);
    store_close(s);
    if (rc) {
        report_run_free(run);
        return rc;
    }
    *out = run;
    return 0;
}

size_t report_width(size_t columns) {
    return columns == 0 || columns > REPORT_WIDTH ? REPORT_WIDTH
           : columns < REPORT_MIN_WIDTH           ? REPORT_MIN_WIDTH
                                                  : columns;
}

void report_run_set_width(struct report_run *run, size_t width) {
    run->width = report_width(width);
}

void report_run_free(struct report_run *run) {
    if (run) {
        arena_release(&run->arena);
        free(run);
    }
}
