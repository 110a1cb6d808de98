/* The sentences below a table. */
#include "report/fmt.h"
#include "report/note_list.h"
#include "report/summary.h"

#include <math.h>
#include <string.h>

enum { N_COLUMNS = SUMMARY_MAX_COLUMNS };

struct notes {
    const struct report_run *run;
    enum summary_profile profile;
    struct note_list list;
};

static const struct metric_row *row_at(const struct notes *t, const struct report_variant *v,
                                       size_t column) {
    const struct summary_column *c = summary_column_at(t->profile, column);
    return report_row_in(v, c->metric, c->profile);
}

typedef bool row_test_fn(const struct metric_row *row, const void *ctx);

static bool has_flag(const struct metric_row *row, const void *ctx) {
    return !metric_refused(row) && (row->flags & *(const unsigned *)ctx) != 0;
}

/* A reason to tell, and of whom: of those that have it to the letter, or but for its figures. */
struct telling {
    const char *reason;
    bool any_figures;
};

static bool is_figure(char c) {
    return (c >= '0' && c <= '9') || c == '.';
}

static bool is_alike(const char *x, const char *y) {
    for (;;) {
        while (is_figure(*x)) {
            x++;
        }
        while (is_figure(*y)) {
            y++;
        }
        if (*x != *y || !*x) {
            return *x == *y;
        }
        x++;
        y++;
    }
}

/* Also matches rows of variants whose own line tells the same: one sentence then names them all. */
static bool has_reason(const struct metric_row *row, const void *ctx) {
    const struct telling *t = ctx;
    return row->reason && (strcmp(row->reason, t->reason) == 0 ||
                           (t->any_figures && is_alike(row->reason, t->reason)));
}

static bool cell_matches(const struct notes *t, const struct report_variant *v, size_t c,
                         row_test_fn *test, const void *ctx) {
    return !summary_not_run(v) && test(row_at(t, v, c), ctx);
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

/* "all variants", the names of those whose figure in column c matches, or of how many it does. */
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
    enum { MAX_NAMES = 12 };
    const bool is_counted = matching > MAX_NAMES;
    if (is_counted) {
        buf_addf(out, "%zu of %zu variants, ", matching, run->n_variants);
    }
    for (size_t i = 0, n = 0; i < run->n_variants && n < (is_counted ? 1 : matching); i++) {
        if (cell_matches(t, &run->variants[i], c, test, ctx)) {
            buf_addstr(out, n++ ? ", " : "");
            summary_variant_name(run, &run->variants[i], out);
        }
    }
    buf_addstr(out, is_counted ? " the first" : "");
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
                buf_addf(&b, "%s%s", b.len ? ", " : "", summary_column_at(t->profile, d)->title);
            }
        }
        buf_addstr(&b, " of ");
        add_variants(t, c, test, ctx, &b);
        buf_addf(&b, ": %s", text);
        note_list_add(&t->list, &b);
        buf_release(&b);
    }
}

static void note_flags(struct notes *t) {
    for (unsigned flag = 1; flag; flag <<= 1) {
        const char *text = NULL;
        if (flag == QUANTITY_MODELLED || (flag & QUANTITY_OF_INTERVAL)) {
            continue; /* said by "~" and by the sentence on intervals */
        }
        if (!quantity_label(flag, NULL, NULL, t->list.a, &text)) {
            t->list.out_of_memory = true;
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
                               const struct telling *telling) {
    for (size_t i = 0; i <= variant; i++) {
        const struct report_variant *v = &t->run->variants[i];
        for (size_t c = 0; c < (i == variant ? column : N_COLUMNS); c++) {
            if (has_reason(row_at(t, v, c), telling) && !is_told(v, telling->reason)) {
                return true;
            }
        }
    }
    return false;
}

/* How many reasons of the table differ from this one in their figures alone, itself included. */
static size_t count_alike(const struct notes *t, const char *reason) {
    size_t n = 0;
    for (size_t i = 0; i < t->run->n_variants; i++) {
        const struct report_variant *v = &t->run->variants[i];
        for (size_t c = 0; c < N_COLUMNS; c++) {
            const struct telling own = {.reason = row_at(t, v, c)->reason};
            n += own.reason && is_alike(own.reason, reason) && !is_told(v, own.reason) &&
                 !reason_seen_before(t, i, c, &own);
        }
    }
    return n;
}

static void note_reasons(struct notes *t) {
    enum { MAX_ALIKE = 4 }; /* more sentences that differ in figures alone become one */
    for (size_t i = 0; i < t->run->n_variants; i++) {
        const struct report_variant *v = &t->run->variants[i];
        for (size_t c = 0; c < N_COLUMNS; c++) {
            struct telling telling = {.reason = row_at(t, v, c)->reason};
            if (!telling.reason || is_told(v, telling.reason) ||
                reason_seen_before(t, i, c, &telling)) {
                continue;
            }
            telling.any_figures = count_alike(t, telling.reason) > MAX_ALIKE;
            if (!telling.any_figures) {
                note_matching(t, has_reason, &telling, telling.reason);
            } else if (!reason_seen_before(t, i, c, &telling)) {
                struct buf b;
                buf_init(&b);
                buf_addf(&b, "%s (the first's figures; the others have their own)", telling.reason);
                note_matching(t, has_reason, &telling, b.data);
                t->list.out_of_memory = t->list.out_of_memory || b.failed;
                buf_release(&b);
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
        note_list_add(&t->list, &b);
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
    note_list_add(&t->list, &b);
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
    note_list_add(&t->list, &b);
    note_text(t, "IPW(paper): score per joule of a request, not per watt");
    buf_clear(&b);
    buf_addf(&b,
             "rho_sys: output tokens/s per nominal GB (%g, %g, %g bytes a weight for fp16, int8, "
             "int4), not per GB of memory used",
             p->bytes_per_weight_fp16, p->bytes_per_weight_int8, p->bytes_per_weight_int4);
    note_list_add(&t->list, &b);
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
        note_list_add(&t->list, &b);
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
            "score: mean of the task's primary scorer (%s); \xC2\xB1 the longer side of its 95 %% "
            "interval over items",
            scorers.data);
        note_list_add(&t->list, &b);
    }
    buf_release(&b);
    buf_release(&scorers);
    if (t->profile == SUMMARY_FULL) {
        note_full_columns(t);
    } else {
        note_paper_columns(t);
    }
}

/* Tasks share model files. */
static bool is_file_before(const struct report_run *run, size_t variant) {
    for (size_t i = 0; i < variant; i++) {
        if (run->variants[i].stages[REPORT_QUANTIZE] ==
            run->variants[variant].stages[REPORT_QUANTIZE]) {
            return true;
        }
    }
    return false;
}

/* "beside Q_ret, tiny none int4: KL divergence 0.031 nats/token (...), ...", where it was measured. */
static void note_fidelity(struct notes *t) {
    static const char *const ids[] = {"kl_to_fp16", "same_top_token", "perplexity_ratio"};
    for (size_t i = 0; t->profile == SUMMARY_FULL && i < t->run->n_variants; i++) {
        const struct report_variant *v = &t->run->variants[i];
        const struct metric_row *first = report_row_in(v, ids[0], "measured");
        struct buf b;
        buf_init(&b);
        buf_addf(&b, "beside Q_ret, %s %s %s", v->v.model_id, v->v.method, v->v.precision);
        for (size_t k = 0; k < sizeof(ids) / sizeof(ids[0]); k++) {
            const struct metric_row *row = report_row_in(v, ids[k], "measured");
            buf_addf(&b, "%s%s ", k ? ", " : ": ", row->metric->name);
            fmt_num(&b, row->value);
            buf_addf(&b, "%s%s", strcmp(row->metric->unit, "1") ? " " : "",
                     strcmp(row->metric->unit, "1") ? row->metric->unit : "");
            if (isfinite(row->low) && isfinite(row->high)) {
                buf_addstr(&b, " (");
                fmt_num(&b, row->low);
                buf_addstr(&b, " to ");
                fmt_num(&b, row->high);
                buf_addch(&b, ')');
            }
        }
        buf_addf(&b, "; %s", first->label ? first->label : "");
        if (!metric_refused(first) && !is_file_before(t->run, i)) {
            note_list_add(&t->list, &b);
        }
        buf_release(&b);
    }
}

int summary_notes(const struct report_run *run, enum summary_profile profile, struct arena *a,
                  const char ***notes, size_t *n, struct err *e) {
    struct notes t = {.run = run, .profile = profile, .list = {.a = a}};
    /* Definitions, every flag and column; every reason of every cell; every variant's note and
     * phases. */
    t.list.cap = 32 + 32 * N_COLUMNS + run->n_variants * (N_COLUMNS + 2);
    t.list.items = arena_array(a, t.list.cap, sizeof(*t.list.items));
    if (t.list.items) {
        note_columns(&t);
        note_flags(&t);
        if (profile == SUMMARY_FULL) {
            note_phases(&t);
        }
        note_fidelity(&t);
        note_reasons(&t);
        note_variants(&t);
    }
    if (!t.list.items || t.list.out_of_memory) {
        return err_set(e, EE_NOMEM, "report: out of memory");
    }
    *notes = t.list.items;
    *n = t.list.n;
    return 0;
}
