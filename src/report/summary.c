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
            buf_addf(out, " \xC2\xB1%.3f", (row->high - row->low) / 2);
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

/* --- The sentences below a table ---------------------------------------------------------------- */

struct notes {
    const struct report_run *run;
    enum summary_profile profile;
    struct arena *a;
    const char **items;
    size_t n;
    size_t cap;
    bool out_of_memory;
};

static void add_note(struct notes *t, const struct buf *text) {
    const char *s = text->failed || t->n == t->cap ? NULL : arena_strdup(t->a, text->data);
    if (!s) {
        t->out_of_memory = true;
        return;
    }
    t->items[t->n++] = s;
}

typedef bool row_test_fn(const struct metric_row *row, const void *ctx);

static bool has_flag(const struct metric_row *row, const void *ctx) {
    return !metric_refused(row) && (row->flags & *(const unsigned *)ctx) != 0;
}

/* Also matches rows of variants whose own line tells the same: one sentence then names them all. */
static bool has_reason(const struct metric_row *row, const void *ctx) {
    return row->reason && strcmp(row->reason, ctx) == 0;
}

static bool cell_matches(const struct notes *t, const struct report_variant *v, size_t c,
                         row_test_fn *test, const void *ctx) {
    return !summary_not_run(v) && test(row_of(v, &columns[t->profile][c]), ctx);
}

static bool column_matches(const struct notes *t, size_t c, row_test_fn *test, const void *ctx) {
    for (size_t i = 0; i < t->run->n_variants; i++) {
        if (cell_matches(t, &t->run->variants[i], c, test, ctx)) {
            return true;
        }
    }
    return false;
}

/* Whether two columns match for the same variants. */
static bool columns_agree(const struct notes *t, size_t c, size_t d, row_test_fn *test,
                          const void *ctx) {
    for (size_t i = 0; i < t->run->n_variants; i++) {
        const struct report_variant *v = &t->run->variants[i];
        if (cell_matches(t, v, c, test, ctx) != cell_matches(t, v, d, test, ctx)) {
            return false;
        }
    }
    return true;
}

/* "all variants", or the names of those whose figure in column c matches. */
static void add_variants(const struct notes *t, size_t c, row_test_fn *test, const void *ctx,
                         struct buf *out) {
    const struct report_run *run = t->run;
    size_t matching = 0;
    size_t with_figures = 0;
    for (size_t i = 0; i < run->n_variants; i++) {
        matching += cell_matches(t, &run->variants[i], c, test, ctx);
        with_figures += summary_has_figures(&run->variants[i]);
    }
    if (matching > 1 && matching >= with_figures) {
        buf_addstr(out, "all variants");
        return;
    }
    for (size_t i = 0, n = 0; i < run->n_variants; i++) {
        if (cell_matches(t, &run->variants[i], c, test, ctx)) {
            buf_addstr(out, n++ ? ", " : "");
            summary_variant_name(run, &run->variants[i], out);
        }
    }
}

/* "J/req, IPW(paper) of rag none fp16: text", once for each set of variants that matches. */
static void note_matching(struct notes *t, row_test_fn *test, const void *ctx, const char *text) {
    bool is_said[N_COLUMNS] = {false};
    for (size_t c = 0; c < N_COLUMNS; c++) {
        if (is_said[c] || !column_matches(t, c, test, ctx)) {
            continue;
        }
        struct buf b;
        buf_init(&b);
        for (size_t d = c; d < N_COLUMNS; d++) {
            if (columns_agree(t, c, d, test, ctx)) {
                is_said[d] = true;
                buf_addf(&b, "%s%s", b.len ? ", " : "", columns[t->profile][d].title);
            }
        }
        buf_addstr(&b, " of ");
        add_variants(t, c, test, ctx, &b);
        buf_addf(&b, ": %s", text);
        add_note(t, &b);
        buf_release(&b);
    }
}

static void note_flags(struct notes *t) {
    for (unsigned flag = 1; flag; flag <<= 1) {
        const char *text = NULL;
        if (flag == QUANTITY_MODELLED || (flag & QUANTITY_OF_INTERVAL)) {
            continue; /* said by "~" and by the sentence on intervals */
        }
        if (!quantity_label(flag, NULL, NULL, t->a, &text)) {
            t->out_of_memory = true;
        }
        if (text) {
            note_matching(t, has_flag, &flag, text);
        }
    }
}

/* A reason that repeats the variant's own failure stands on the failure's line already; a variant
 * that was not run says that instead of its figures. */
static bool is_told(const struct report_variant *v, const char *reason) {
    if (summary_not_run(v)) {
        return true;
    }
    const struct report_stage *failure = summary_failure(v);
    return failure && failure->s.error && strstr(reason, failure->s.error);
}

static bool reason_seen_before(const struct notes *t, size_t variant, size_t column,
                               const char *reason) {
    for (size_t i = 0; i <= variant; i++) {
        const struct report_variant *v = &t->run->variants[i];
        for (size_t c = 0; c < (i == variant ? column : N_COLUMNS); c++) {
            if (has_reason(row_of(v, &columns[t->profile][c]), reason) && !is_told(v, reason)) {
                return true;
            }
        }
    }
    return false;
}

static void note_reasons(struct notes *t) {
    for (size_t i = 0; i < t->run->n_variants; i++) {
        const struct report_variant *v = &t->run->variants[i];
        for (size_t c = 0; c < N_COLUMNS; c++) {
            const char *reason = row_of(v, &columns[t->profile][c])->reason;
            if (reason && !is_told(v, reason) && !reason_seen_before(t, i, c, reason)) {
                note_matching(t, has_reason, reason, reason);
            }
        }
    }
}

static bool has_note(const struct report_run *run, size_t i, const char *note) {
    const char *own = run->variants[i].v.note;
    return own && strcmp(own, note) == 0;
}

static void add_noted_variants(const struct report_run *run, const char *note, struct buf *out) {
    size_t n_same = 0;
    for (size_t i = 0; i < run->n_variants; i++) {
        n_same += has_note(run, i, note);
    }
    if (n_same > 1 && n_same == run->n_variants) {
        buf_addstr(out, "all variants");
        return;
    }
    for (size_t i = 0, n = 0; i < run->n_variants; i++) {
        if (has_note(run, i, note)) {
            buf_addstr(out, n++ ? ", " : "");
            summary_variant_name(run, &run->variants[i], out);
        }
    }
}

/* What the plan or a stage had to say about a variant. */
static void note_variants(struct notes *t) {
    const struct report_run *run = t->run;
    for (size_t i = 0; i < run->n_variants; i++) {
        const char *note = run->variants[i].v.note;
        bool is_new = note && *note;
        for (size_t j = 0; is_new && j < i; j++) {
            is_new = !has_note(run, j, note);
        }
        if (!is_new) {
            continue;
        }
        struct buf b;
        buf_init(&b);
        add_noted_variants(run, note, &b);
        buf_addf(&b, ": %s", note);
        add_note(t, &b);
        buf_release(&b);
    }
}

/* "rag f1, summ rougeL" */
static void add_scorers(const struct report_run *run, struct buf *out) {
    size_t n = 0;
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        const char *note = v->input.score.note;
        bool is_new = note != NULL;
        for (size_t j = 0; is_new && j < i; j++) {
            const struct report_variant *w = &run->variants[j];
            is_new = !w->input.score.note || strcmp(w->input.score.note, note) != 0 ||
                     strcmp(w->v.task, v->v.task) != 0;
        }
        if (is_new) {
            buf_addf(out, "%s%s %s", n++ ? ", " : "", v->v.task,
                     strncmp(note, "scorer ", 7) == 0 ? note + 7 : note);
        }
    }
}

static void note_text(struct notes *t, const char *text) {
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, text);
    add_note(t, &b);
    buf_release(&b);
}

static void note_paper_columns(struct notes *t) {
    const struct paper_constants *p = &paper_constants;
    struct buf b;
    buf_init(&b);
    buf_addf(&b,
             "N_break: requests until the electricity spent before serving is repaid, at $%g/kWh "
             "against an API at $%g a request; no hardware, no labour, nothing but electricity",
             p->kwh_usd, p->api_request_usd);
    add_note(t, &b);
    note_text(t, "IPW(paper): score per joule of a request, not per watt");
    buf_clear(&b);
    buf_addf(&b,
             "rho_sys: output tokens/s per nominal GB (%g, %g, %g bytes a weight for fp16, int8, "
             "int4), not per GB of memory used",
             p->bytes_per_weight_fp16, p->bytes_per_weight_int8, p->bytes_per_weight_int4);
    add_note(t, &b);
    buf_release(&b);
    note_text(t, "C_tax: requests whose energy one load would take at serving power; mean over "
                 "starts from a cold page cache unless said otherwise");
    note_text(t, "Q_ret: % of the fp16 score; a ratio of two sample means without an interval");
}

static void note_full_columns(struct notes *t) {
    note_text(t, "N_break: requests at the plan's traffic until what was spent before serving is "
                 "repaid, hardware, operation and the API's prices for these tokens included");
    note_text(t, "IPJ: score (0 to 1) per joule of a request");
    note_text(t, "rho_sys: output tokens/s per GB of weights, reserved KV cache and buffers");
    note_text(t, "C_tax: requests whose energy one start takes, from exec to the first token, less "
                 "the same token when warm; cold page cache");
    note_text(t, "Q_ret: % of the fp16 score over the same items, 95 % interval; ! lossy, ? not "
                 "known to be within the margin");
}

/* What a token costs by phase, where sensors told: too wide for a column. */
static void note_phases(struct notes *t) {
    for (size_t i = 0; i < t->run->n_variants; i++) {
        const struct report_variant *v = &t->run->variants[i];
        const struct quantity *q[] = {&v->input.prefill_token_j, &v->input.decode_token_j};
        static const char *const names[] = {"a prefill token", "a decode token"};
        if (!q[0]->present && !q[1]->present) {
            continue;
        }
        struct buf b;
        buf_init(&b);
        buf_addstr(&b, "joules above the loaded engine's idle, ");
        summary_variant_name(t->run, v, &b);
        for (int k = 0; k < 2; k++) {
            if (q[k]->present) {
                buf_addf(&b, "%s%s %.3g (%.3g to %.3g)", k ? ", " : ": ", names[k], q[k]->value,
                         q[k]->low, q[k]->high);
            }
        }
        add_note(t, &b);
        buf_release(&b);
    }
}

static void note_columns(struct notes *t) {
    struct buf b;
    unsigned modelled = QUANTITY_MODELLED;
    for (size_t c = 0; c < N_COLUMNS; c++) {
        if (column_matches(t, c, has_flag, &modelled)) {
            note_text(t, "~ an estimate: energy without a sensor is modelled from CPU time, wholly "
                         "or in part");
            break;
        }
    }
    struct buf scorers;
    buf_init(&b);
    buf_init(&scorers);
    add_scorers(t->run, &scorers);
    if (scorers.len > 0) {
        buf_addf(
            &b,
            "score: mean of the task's primary scorer (%s); \xC2\xB1 half of its 95 %% Student t "
            "interval over items",
            scorers.data);
        add_note(t, &b);
    }
    buf_release(&b);
    buf_release(&scorers);
    if (t->profile == SUMMARY_FULL) {
        note_full_columns(t);
    } else {
        note_paper_columns(t);
    }
}

int summary_notes(const struct report_run *run, enum summary_profile profile, struct arena *a,
                  const char ***notes, size_t *n, struct err *e) {
    struct notes t = {.run = run, .profile = profile, .a = a};
    /* Definitions, every flag and column; every reason of every cell; every variant's note and
     * phases. */
    t.cap = 32 + 32 * N_COLUMNS + run->n_variants * (N_COLUMNS + 2);
    t.items = arena_array(a, t.cap, sizeof(*t.items));
    if (t.items) {
        note_columns(&t);
        note_flags(&t);
        if (profile == SUMMARY_FULL) {
            note_phases(&t);
        }
        note_reasons(&t);
        note_variants(&t);
    }
    if (!t.items || t.out_of_memory) {
        return err_set(e, EE_NOMEM, "report: out of memory");
    }
    *notes = t.items;
    *n = t.n;
    return 0;
}
