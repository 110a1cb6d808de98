#include "report/summary.h"

#include "report/fmt.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_COLUMNS = SUMMARY_MAX_COLUMNS };
static const struct summary_column columns[SUMMARY_PROFILES][N_COLUMNS] = {
    [SUMMARY_FULL] = {{"score", "score", "measured", 12},
                      {"tok/s", "output_tokens_per_s", "measured", 7},
                      {"J/req", "joules_per_request", "measured", 8},
                      {"N_break", "n_break", "full", 9},
                      {"IPJ", "ipj", "full", 8},
                      {"rho_sys", "rho_sys", "full", 8},
                      {"C_tax", "c_tax", "full", 7},
                      {"Q_ret", "q_ret", "full", 16}},
    [SUMMARY_PAPER] = {{"score", "score", "measured", 12},
                       {"tok/s", "output_tokens_per_s", "measured", 7},
                       {"J/req", "joules_per_request", "measured", 8},
                       {"N_break", "n_break", "paper", 9},
                       {"IPW(paper)", "ipw_paper", "paper", 10},
                       {"rho_sys", "rho_sys", "paper", 8},
                       {"C_tax", "c_tax", "paper", 7},
                       {"Q_ret", "q_ret", "paper", 6}},
};

size_t summary_n_columns(void) {
    return N_COLUMNS;
}

const struct summary_column *summary_column_at(enum summary_profile profile, size_t i) {
    return &columns[profile][i];
}

const char *summary_profile_title(enum summary_profile profile) {
    static const char *const titles[] = {
        [SUMMARY_FULL] = "full: everything that is paid, at the plan's traffic",
        [SUMMARY_PAPER] = "paper: the published definitions",
    };
    return titles[profile];
}

static const struct metric_row *row_of(const struct report_variant *v,
                                       const struct summary_column *c) {
    return report_row_in(v, c->metric, c->profile);
}

static enum summary_fidelity fidelity_of(const struct metric_row *row) {
    const char *label = row->label ? row->label : "";
    return metric_refused(row)                  ? SUMMARY_UNKNOWN
           : strstr(label, "the baseline")      ? SUMMARY_BASELINE
           : strstr(label, "within the margin") ? SUMMARY_WITHIN
           : strstr(label, "lossy")             ? SUMMARY_LOSSY
                                                : SUMMARY_UNKNOWN;
}

enum summary_fidelity summary_fidelity(const struct report_variant *v) {
    return fidelity_of(report_row_in(v, "q_ret", "full"));
}

/* "93.1 (87..98)?": the mark is the verdict. Bounds in whole points where tenths do not fit. */
static void fidelity_cell(const struct metric_row *row, size_t width, struct buf *out) {
    fmt_num(out, row->value);
    if (!isfinite(row->low) || !isfinite(row->high)) {
        return;
    }
    enum summary_fidelity known = fidelity_of(row);
    const char *mark = known == SUMMARY_UNKNOWN ? "?" : known == SUMMARY_LOSSY ? "!" : "";
    char bounds[64];
    int len = snprintf(bounds, sizeof(bounds), " (%.1f..%.1f)%s", row->low, row->high, mark);
    if (len + 4 > (int)width) {
        snprintf(bounds, sizeof(bounds), " (%.0f..%.0f)%s", row->low, row->high, mark);
    }
    buf_addstr(out, bounds);
}

void summary_cell(const struct report_variant *v, const struct summary_column *c, struct buf *out) {
    const struct metric_row *row = row_of(v, c);
    if (metric_refused(row)) {
        buf_addch(out, '-');
        return;
    }
    if (row->flags & QUANTITY_NOT_EQUIVALENT) {
        buf_addstr(out, "not equiv");
        return;
    }
    if (row->flags & QUANTITY_MODELLED) {
        buf_addch(out, '~');
    }
    if (isinf(row->value)) {
        buf_addstr(out, "never");
        return;
    }
    if (strcmp(c->metric, "score") == 0) {
        buf_addf(out, "%.3f", row->value);
        if (isfinite(row->low) && isfinite(row->high)) {
            buf_addf(out, " \xC2\xB1%.3f", fmax(row->high - row->value, row->value - row->low));
        }
        return;
    }
    if (strcmp(c->metric, "q_ret") == 0 && strcmp(c->profile, "full") == 0) {
        fidelity_cell(row, c->width, out);
        return;
    }
    fmt_num(out, row->value);
}

bool summary_same_group(const struct report_variant *x, const struct report_variant *y) {
    return strcmp(x->v.model_id, y->v.model_id) == 0 && strcmp(x->v.family, y->v.family) == 0 &&
           strcmp(x->v.size, y->v.size) == 0 && strcmp(x->v.engine, y->v.engine) == 0 &&
           strcmp(x->v.device, y->v.device) == 0;
}

void summary_variant_name(const struct report_run *run, const struct report_variant *v,
                          struct buf *out) {
    bool one_model = true;
    bool one_place = true;
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct store_variant *w = &run->variants[i].v;
        bool same_model = strcmp(w->model_id, v->v.model_id) == 0;
        bool same_place = strcmp(w->engine, v->v.engine) == 0 &&
                          strcmp(w->device, v->v.device) == 0;
        one_model = one_model && same_model;
        one_place = one_place && (!same_model || same_place);
    }
    if (!one_model) {
        buf_addf(out, "%s ", v->v.model_id);
    }
    buf_addf(out, "%s %s %s", v->v.task, v->v.method, v->v.precision);
    if (!one_place) {
        buf_addf(out, " on %s %s", v->v.engine, v->v.device);
    }
}

bool summary_not_run(const struct report_variant *v) {
    for (int kind = 0; kind < REPORT_KINDS; kind++) {
        if (v->stages[kind]) {
            return false;
        }
    }
    return !summary_has_figures(v);
}

const struct report_stage *summary_failure(const struct report_variant *v) {
    for (int kind = 0; kind < REPORT_KINDS; kind++) {
        if (v->stages[kind] && report_stage_failed(v->stages[kind])) {
            return v->stages[kind];
        }
    }
    return NULL;
}

bool summary_has_figures(const struct report_variant *v) {
    for (size_t i = 0; i < SUMMARY_PROFILES * N_COLUMNS; i++) {
        if (!metric_refused(row_of(v, &columns[i / N_COLUMNS][i % N_COLUMNS]))) {
            return true;
        }
    }
    return false;
}

/* --- Where and how it was measured ------------------------------------------------------------ */

/* A name given as a string, or as the "name" or "model" of an object. */
static const char *json_name(const json_t *v) {
    const char *name = json_is_string(v) ? json_string_value(v) : json_str_or(v, "name", NULL);
    return name ? name : json_str_or(v, "model", NULL);
}

static void machine_parts(const json_t *m, struct buf *out) {
    const char *cpu = json_name(json_object_get(m, "cpu"));
    int64_t threads = json_int_or(m, "hw_threads", 0);
    int64_t memory_gib = json_int_or(m, "memory_gib", 0);
    buf_addstr(out, cpu ? cpu : "");
    if (threads > 0) {
        buf_addf(out, "%s%lld threads", out->len ? ", " : "", (long long)threads);
    }
    if (memory_gib > 0) {
        buf_addf(out, "%s%lld GiB", out->len ? ", " : "", (long long)memory_gib);
    }
    size_t i;
    const json_t *gpu;
    json_array_foreach(json_object_get(m, "gpus"), i, gpu) {
        const char *name = json_name(gpu);
        buf_addf(out, "%s%s", out->len ? ", " : "", name ? name : "a GPU");
    }
}

void summary_machine(const struct report_machine *m, struct buf *out) {
    json_t *json = NULL;
    struct buf text;
    buf_init(&text);
    if (json_parse(m->json, strlen(m->json), "machine", &json, NULL) == 0) {
        machine_parts(json, &text);
    }
    json_decref(json);
    buf_addstr(out, text.len ? text.data : m->machine_id);
    buf_release(&text);
}

typedef bool energy_visit_fn(const struct store_energy *g, void *ctx);

/* Every reading of the serving windows; stops when visit answers false. */
static void each_serve_energy(const struct report_run *run, energy_visit_fn *visit, void *ctx) {
    for (size_t i = 0; i < run->n_stages; i++) {
        const struct report_stage *st = &run->stages[i];
        if (strcmp(st->s.kind, "serve") != 0) {
            continue;
        }
        for (size_t j = 0; j < st->n_energies; j++) {
            if (report_is_repeat(st->energies[j].window, "serve") &&
                !visit(&st->energies[j], ctx)) {
                return;
            }
        }
    }
}

/* Totals of one quality and scope, and how wide their intervals get. */
struct energy_kind {
    const struct store_energy *like; /* the first of them */
    double widest;                   /* half-width relative to the joules */
};

static bool is_total(const struct store_energy *g) {
    return strcmp(g->component, "total") == 0;
}

static bool same_kind(const struct store_energy *x, const struct store_energy *y) {
    return strcmp(x->quality, y->quality) == 0 && strcmp(x->scope, y->scope) == 0;
}

static bool widen(const struct store_energy *g, void *ctx) {
    struct energy_kind *k = ctx;
    if (is_total(g) && same_kind(g, k->like) && g->joules > 0) {
        k->widest = fmax(k->widest, (g->high_j - g->low_j) / 2 / g->joules);
    }
    return true;
}

struct energy_list {
    const struct report_run *run;
    struct buf *out;
    const struct store_energy *kinds[8]; /* a run has one or two; more are not told apart */
    size_t n;
};

static bool list_kind(const struct store_energy *g, void *ctx) {
    struct energy_list *list = ctx;
    if (!is_total(g) || list->n == sizeof(list->kinds) / sizeof(list->kinds[0])) {
        return true;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (same_kind(list->kinds[i], g)) {
            return true;
        }
    }
    list->kinds[list->n++] = g;
    struct energy_kind k = {.like = g};
    each_serve_energy(list->run, widen, &k);
    buf_addf(list->out, "%s%s, %s", list->n > 1 ? "; " : "", g->quality, g->scope);
    if (k.widest > 0) {
        buf_addf(list->out, ", within \xC2\xB1%.0f %%", ceil(100 * k.widest - 1e-6));
    }
    if (strcmp(g->quality, "missing") == 0 && g->reason) {
        buf_addf(list->out, " (%s)", g->reason);
    }
    return true;
}

void summary_energy(const struct report_run *run, struct buf *out) {
    struct energy_list list = {.run = run, .out = out};
    each_serve_energy(run, list_kind, &list);
    if (list.n == 0) {
        buf_addstr(out, "not measured");
    }
}
