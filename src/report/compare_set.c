/* The variants of several runs by task, what each is worth on each axis, and who dominates whom. */
#include "report/compare_impl.h"

#include "metrics/pareto.h"
#include "report/fmt.h"
#include "report/inputs.h"
#include "stats/percentile.h"
#include "stats/stats.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE 0.95

const struct compare_axis_info compare_axes[COMPARE_AXES] = {
    [COMPARE_QUALITY] = {"quality", "score", "score", "", "", "score", "measured", true},
    [COMPARE_COST] = {"cost", "$/answer", "cost of an accepted answer", "costs",
                      "an accepted answer", "accepted_usd", "full", false},
    [COMPARE_ENERGY] = {"energy", "J/request", "energy a request", "takes", "energy a request",
                        "joules_per_request", "measured", false},
    [COMPARE_LATENCY] = {"latency", "p95 s", "p95 latency", "has", "p95 latency", "e2e_p95_s",
                         "measured", false},
    [COMPARE_MEMORY] = {"memory", "memory", "memory", "needs", "memory", "memory_peak_bytes",
                        "measured", false},
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "compare: out of memory");
}

double compare_value(const struct compare_variant *v, enum compare_axis axis) {
    return v->rows[axis] ? v->rows[axis]->value : (double)NAN;
}

/* --- What may be compared ------------------------------------------------------------------------- */

static bool differ(const char *x, const char *y) {
    return strcmp(x, y) != 0;
}

static const char *memory_source(const struct compare_variant *v) {
    const struct quantity *q = &v->v->input.memory_peak_bytes;
    return q->note ? q->note : "";
}

const char *compare_obstacle(const struct compare_variant *a, const struct compare_variant *b,
                             enum compare_axis axis) {
    if (isnan(compare_value(a, axis)) || isnan(compare_value(b, axis))) {
        return "one of them has no such figure";
    }
    switch (axis) {
    case COMPARE_QUALITY:
        return differ(a->scorer, b->scorer)         ? "scored by unlike scorers"
               : differ(a->questions, b->questions) ? "scored on unlike task data"
                                                    : NULL;
    case COMPARE_COST:
    case COMPARE_ENERGY:
        return differ(a->scope, b->scope) ? "their joules count unlike parts of the machine"
               : differ(a->work, b->work) ? "they served unlike work"
                                          : NULL;
    case COMPARE_LATENCY:
        return differ(a->work, b->work) ? "they served unlike work" : NULL;
    case COMPARE_MEMORY:
        return differ(memory_source(a), memory_source(b)) ? "their memory is of unlike kinds"
                                                          : NULL;
    case COMPARE_AXES:
        break;
    }
    return NULL;
}

static double group_value(const void *ctx, size_t i, size_t axis) {
    const struct compare_group *g = ctx;
    return compare_value(&g->variants[i], (enum compare_axis)axis);
}

static bool group_comparable(const void *ctx, size_t i, size_t j, size_t axis) {
    const struct compare_group *g = ctx;
    return !compare_obstacle(&g->variants[i], &g->variants[j], (enum compare_axis)axis);
}

static void find_dominators(struct compare_group *g) {
    bool more[COMPARE_AXES];
    for (int k = 0; k < COMPARE_AXES; k++) {
        more[k] = compare_axes[k].more_is_better;
    }
    const struct pareto p = {.n = g->n,
                             .n_axes = COMPARE_AXES,
                             .more_is_better = more,
                             .value = group_value,
                             .comparable = group_comparable,
                             .ctx = g};
    for (size_t i = 0; i < g->n; i++) {
        g->variants[i].dominator = pareto_dominator(&p, i);
    }
}

/* --- One variant ---------------------------------------------------------------------------------- */

struct latencies {
    double *seconds;
    size_t n;
};

static int add_latency(const struct store_request_times *q, void *ctx, struct err *e) {
    (void)e;
    struct latencies *l = ctx;
    if (q->is_ok && q->output_tokens > 0) {
        l->seconds[l->n++] = clock_ns_to_s(q->last_token_ns - q->queued_ns);
    }
    return 0;
}

/* The percentile's interval needs the requests in their order, which the run's figures have not. */
static int fill_p95(struct store *s, struct compare_variant *c, struct err *e) {
    const struct report_stage *st = c->v->stages[REPORT_SERVE];
    if (!st || report_stage_failed(st) || isnan(compare_value(c, COMPARE_LATENCY))) {
        return 0;
    }
    size_t n = 0;
    int rc = store_count_requests(s, st->s.stage_id, &n, e);
    struct latencies l = {.seconds = calloc(n + 1, sizeof(double))};
    double *sorted = calloc(n + 1, sizeof(double));
    rc = rc ? rc : l.seconds && sorted ? 0 : out_of_memory(e);
    rc = rc ? rc : store_each_request_times(s, st->s.stage_id, add_latency, &l, e);
    if (!rc) {
        memcpy(sorted, l.seconds, l.n * sizeof(double));
        stats_sort(sorted, l.n);
        rc = stats_percentile_in_time(l.seconds, sorted, l.n, 0.95, CONFIDENCE, &c->p95, e);
    }
    free(sorted);
    free(l.seconds);
    return rc;
}

static json_t *stage_inputs(const struct report_stage *st) {
    json_t *in = NULL;
    return st && json_parse(st->s.inputs_json, strlen(st->s.inputs_json), "inputs", &in, NULL) == 0
               ? in
               : NULL;
}

static const char *copy(struct arena *a, const char *s) {
    return arena_strdup(a, s ? s : "");
}

/* What was asked for while serving: where this differs, joules and latencies are of unlike work. */
static const char *describe_work(struct arena *a, const json_t *in, const json_t *result) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%lld items of task data %.8s, at most %lld tokens an answer, %s lengths",
             (long long)json_int_or(in, "items", 0), json_str_or(in, "task_hash", "unknown"),
             (long long)json_int_or(in, "max_tokens", 0),
             json_str_or(result, "lengths", "natural"));
    const char *text = b.failed ? NULL : arena_strdup(a, b.data);
    buf_release(&b);
    return text;
}

static int fill_conditions(struct arena *a, struct compare_variant *c, struct err *e) {
    const struct metrics_input *in = &c->v->input;
    json_t *score = stage_inputs(c->v->stages[REPORT_SCORE]);
    json_t *serve = stage_inputs(c->v->stages[REPORT_SERVE]);
    json_t *result = c->v->stages[REPORT_SERVE] ? inputs_result(c->v->stages[REPORT_SERVE]) : NULL;
    const char *note = in->score.note ? in->score.note : "";
    c->scorer = copy(a, strncmp(note, "scorer ", 7) == 0 ? note + 7 : note);
    c->questions = copy(a, json_str_or(score, "task_hash", ""));
    c->work = describe_work(a, serve, result);
    c->scope = copy(a, in->serve_j.scope);
    c->concurrency = (long)json_int_or(serve, "concurrency", -1);
    json_decref(result);
    json_decref(serve);
    json_decref(score);
    return c->scorer && c->questions && c->work && c->scope ? 0 : out_of_memory(e);
}

/* Without a store (NULL) the 95th percentile has no interval. */
static int fill_variant(struct store *s, struct arena *a, const struct report_run *run,
                        const struct report_variant *v, struct compare_variant *c, struct err *e) {
    *c = (struct compare_variant){
        .run = run, .v = v, .p95 = {.estimate = NAN, .low = NAN, .high = NAN}};
    for (int k = 0; k < COMPARE_AXES; k++) {
        c->rows[k] = report_row_in(v, compare_axes[k].metric, compare_axes[k].profile);
    }
    int rc = fill_conditions(a, c, e);
    return rc || !s ? rc : fill_p95(s, c, e);
}

/* --- Names ------------------------------------------------------------------------------------------ */

typedef const char *part_fn(const struct compare_variant *c);

static const char *part_run(const struct compare_variant *c) {
    return c->run->run_id;
}
static const char *part_model(const struct compare_variant *c) {
    return c->v->v.model_id;
}
static const char *part_method(const struct compare_variant *c) {
    return c->v->v.method;
}
static const char *part_precision(const struct compare_variant *c) {
    return c->v->v.precision;
}
static const char *part_engine(const struct compare_variant *c) {
    return c->v->v.engine;
}
static const char *part_device(const struct compare_variant *c) {
    return c->v->v.device;
}

static bool part_differs(const struct compare_group *g, part_fn *part) {
    for (size_t i = 1; i < g->n; i++) {
        if (differ(part(&g->variants[0]), part(&g->variants[i]))) {
            return true;
        }
    }
    return false;
}

/* A run that is given twice has every name twice; then they are numbered. */
static size_t same_before(const struct compare_group *g, size_t i, const char *name) {
    size_t n = 0;
    for (size_t k = 0; k < i; k++) {
        n += strncmp(g->variants[k].name, name, strlen(name)) == 0;
    }
    return n;
}

static int name_variants(struct compare_group *g, struct arena *a, struct err *e) {
    static part_fn *const parts[] = {part_run,       part_model,  part_method,
                                     part_precision, part_engine, part_device};
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < g->n; i++) {
        buf_clear(&b);
        for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
            if (parts[k] == part_precision || part_differs(g, parts[k])) {
                buf_addf(&b, "%s%s", b.len ? " " : "", parts[k](&g->variants[i]));
            }
        }
        size_t before = same_before(g, i, b.data);
        if (before) {
            buf_addf(&b, " #%zu", before + 1);
        }
        g->variants[i].name = b.failed ? NULL : arena_strdup(a, b.data);
        if (!g->variants[i].name) {
            buf_release(&b);
            return out_of_memory(e);
        }
    }
    buf_release(&b);
    return 0;
}

/* --- All of them ------------------------------------------------------------------------------------ */

static size_t count_variants(const struct compare_set *s) {
    size_t n = 0;
    for (size_t r = 0; r < s->n_runs; r++) {
        n += s->runs[r]->n_variants;
    }
    return n;
}

static struct compare_group *find_group(struct compare_set *s, const char *task) {
    for (size_t i = 0; i < s->n_groups; i++) {
        if (!differ(s->groups[i].task, task)) {
            return &s->groups[i];
        }
    }
    return NULL;
}

/* Groups in the order in which their tasks come, each with room for all variants of the task. */
static int make_groups(struct compare_set *s, struct err *e) {
    size_t n = count_variants(s);
    s->groups = arena_array(&s->arena, n + 1, sizeof(*s->groups));
    if (!s->groups) {
        return out_of_memory(e);
    }
    for (size_t r = 0; r < s->n_runs; r++) {
        for (size_t i = 0; i < s->runs[r]->n_variants; i++) {
            const char *task = s->runs[r]->variants[i].v.task;
            struct compare_group *g = find_group(s, task);
            if (!g) {
                g = &s->groups[s->n_groups++];
                g->task = task;
            }
            g->n++;
        }
    }
    for (size_t i = 0; i < s->n_groups; i++) {
        struct compare_group *g = &s->groups[i];
        g->variants = arena_array(&s->arena, g->n, sizeof(*g->variants));
        g->n = 0;
        if (!g->variants) {
            return out_of_memory(e);
        }
    }
    return 0;
}

static int fill_variants(struct compare_set *s, struct store *store, const struct report_run *run,
                         struct err *e) {
    int rc = 0;
    for (size_t i = 0; !rc && i < run->n_variants; i++) {
        struct compare_group *g = find_group(s, run->variants[i].v.task);
        rc = fill_variant(store, &s->arena, run, &run->variants[i], &g->variants[g->n], e);
        g->n++;
    }
    return rc;
}

static int fill_run(struct compare_set *s, const char *run_dir, const struct report_run *run,
                    struct err *e) {
    struct store *store = NULL;
    char *path = fs_join(run_dir, "run.db");
    int rc = path ? store_open(path, true, &store, e) : out_of_memory(e);
    rc = rc ? rc : fill_variants(s, store, run, e);
    store_close(store);
    free(path);
    return rc;
}

/* Groups the set's runs; run_dirs is NULL where the runs came without. */
static int fill_set(struct compare_set *s, const char *const *run_dirs, struct err *e) {
    int rc = make_groups(s, e);
    for (size_t i = 0; !rc && i < s->n_runs; i++) {
        rc = run_dirs ? fill_run(s, run_dirs[i], s->runs[i], e)
                      : fill_variants(s, NULL, s->runs[i], e);
    }
    for (size_t i = 0; !rc && i < s->n_groups; i++) {
        rc = name_variants(&s->groups[i], &s->arena, e);
        find_dominators(&s->groups[i]);
    }
    return rc;
}

static int load_runs(struct compare_set *s, const char *const *run_dirs, size_t n,
                     const struct report_what_if *what_if, struct err *e) {
    s->loaded = (struct report_run **)calloc(n + 1, sizeof(void *));
    int rc = s->loaded ? 0 : out_of_memory(e);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = report_run_load_as(run_dirs[i], what_if, &s->loaded[i], e);
        s->n_runs += rc == 0;
    }
    s->runs = (const struct report_run *const *)s->loaded;
    return rc;
}

static int finish(struct compare_set *s, int rc, struct compare_set **out) {
    if (rc) {
        compare_set_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int compare_set_load(const char *const *run_dirs, size_t n, const struct report_what_if *what_if,
                     struct compare_set **out, struct err *e) {
    struct compare_set *s = calloc(1, sizeof(*s));
    *out = NULL;
    if (!s) {
        return out_of_memory(e);
    }
    s->what_if = what_if;
    int rc = load_runs(s, run_dirs, n, what_if, e);
    return finish(s, rc ? rc : fill_set(s, run_dirs, e), out);
}

int compare_set_of(const struct report_run *const *runs, size_t n, struct compare_set **out,
                   struct err *e) {
    struct compare_set *s = calloc(1, sizeof(*s));
    *out = NULL;
    if (!s) {
        return out_of_memory(e);
    }
    s->runs = runs;
    s->n_runs = n;
    return finish(s, fill_set(s, NULL, e), out);
}

void compare_set_width(struct compare_set *s, size_t width) {
    for (size_t i = 0; i < s->n_runs; i++) {
        report_run_set_width(s->loaded[i], width);
    }
}

void compare_set_free(struct compare_set *s) {
    if (s) {
        for (size_t i = 0; s->loaded && i < s->n_runs; i++) {
            report_run_free(s->loaded[i]);
        }
        free(s->loaded);
        arena_release(&s->arena);
        free(s);
    }
}
