#include "report/adaptation.h"

#include "report/fmt.h"
#include "report/inputs.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

/* The total of a window, or why there is none. */
struct joules {
    double j;
    bool modelled;
    const char *gap;
};

static struct joules joules_of(const struct report_stage *st, const char *window) {
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        if (strcmp(g->window, window) == 0 && strcmp(g->component, "total") == 0) {
            bool has = strcmp(g->quality, "missing") != 0 && isfinite(g->joules);
            return (struct joules){.j = g->joules,
                                   .modelled = strcmp(g->quality, "modelled") == 0,
                                   .gap = has                       ? NULL
                                          : g->reason && *g->reason ? g->reason
                                                                    : "the window has no reading"};
        }
    }
    return (struct joules){.j = NAN, .gap = "the stage has no such window"};
}

/* The joules of a whole training. */
static struct joules whole_joules_of(const struct report_stage *st, const char *window) {
    struct joules j = joules_of(st, window);
    j.gap = j.gap ? j.gap : inputs_resumed(st);
    return j;
}

static void add_joules(struct buf *b, const struct joules *j) {
    if (j->gap) {
        buf_addf(b, "no joules (%s)", j->gap);
        return;
    }
    buf_addstr(b, j->modelled ? "~" : "");
    fmt_num(b, j->j);
    buf_addstr(b, " J");
}

/* "load ~12 J in 1.6 s": a phase that has a window of its own. */
static void add_phase(struct buf *b, const struct report_stage *st, const char *name,
                      const char *window, double seconds) {
    const struct joules j = joules_of(st, window);
    buf_addf(b, "%s ", name);
    add_joules(b, &j);
    if (isfinite(seconds)) {
        buf_addstr(b, " in ");
        fmt_num(b, seconds);
        buf_addstr(b, " s");
    }
}

static void add_seconds(struct buf *b, const char *name, double seconds) {
    buf_addf(b, "%s ", name);
    fmt_num(b, seconds);
    buf_addstr(b, " s");
}

static void add_phases(struct buf *b, const struct report_stage *st, const json_t *result) {
    const json_t *s = json_object_get(result, "phase_s");
    const double nan = (double)NAN;
    add_phase(b, st, "load", "adapt/load", json_num_or(s, "load", nan));
    buf_addstr(b, ", ");
    add_phase(b, st, "steps", "adapt/steps",
              json_num_or(result, "train_s", nan) + json_num_or(s, "evaluate", 0));
    buf_addstr(b, ", ");
    add_phase(b, st, "save", "adapt/save", json_num_or(s, "save", nan));
    buf_addstr(b, "; within the steps ");
    add_seconds(b, "forward", json_num_or(s, "forward", nan));
    buf_addstr(b, ", ");
    add_seconds(b, "backward", json_num_or(s, "backward", nan));
    buf_addstr(b, ", ");
    add_seconds(b, "optimiser", json_num_or(s, "optimiser", nan));
}

static void add_losses(struct buf *b, const json_t *result) {
    const double nan = (double)NAN;
    double before = json_num_or(result, "first_validation_loss", nan);
    double after = json_num_or(result, "best_validation_loss", nan);
    buf_addstr(b, "; loss ");
    fmt_num(b, json_num_or(result, "first_loss", nan));
    buf_addstr(b, " to ");
    fmt_num(b, json_num_or(result, "last_loss", nan));
    if (isfinite(before) && isfinite(after)) {
        buf_addstr(b, ", held out ");
        fmt_num(b, before);
        buf_addstr(b, " to ");
        fmt_num(b, after);
    }
}

/* A training of ours says how it went; another program's is known from outside alone. */
static void add_training(struct buf *b, const struct report_variant *v, const json_t *result) {
    const struct report_stage *st = v->stages[REPORT_ADAPT];
    const double tokens = json_num_or(result, "tokens", (double)NAN);
    const struct joules all = joules_of(st, "adapt");
    const struct joules steps = whole_joules_of(st, "adapt/steps");
    buf_addf(b, "%s %s: ", v->v.task, v->v.method);
    if (!(tokens > 0)) {
        add_joules(b, &all);
        buf_addstr(b, "; trained by another program, which does not tell its phases");
        return;
    }
    fmt_num(b, tokens);
    buf_addstr(b, " tokens at ");
    fmt_num(b, json_num_or(result, "tokens_per_s", (double)NAN));
    buf_addstr(b, " tokens/s, ");
    const struct joules each = {steps.j / tokens, steps.modelled, steps.gap};
    add_joules(b, &each);
    buf_addstr(b, " a token, at most ");
    fmt_bytes(b, json_num_or(result, "peak_bytes", (double)NAN));
    buf_addstr(b, "; ");
    add_phases(b, st, result);
    add_losses(b, result);
}

/* --- QLoRA against LoRA ---------------------------------------------------------------------- */

static bool is_done(const struct report_stage *st) {
    return st && strcmp(st->s.status, "done") == 0;
}

static bool is_adapted_with(const struct report_variant *v, const char *method) {
    const struct report_stage *st = v->stages[REPORT_ADAPT];
    return is_done(st) && strcmp(v->v.method, method) == 0;
}

static const struct report_variant *find_lora(const struct report_run *run,
                                              const struct report_variant *q) {
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        if (is_adapted_with(v, "lora") && strcmp(v->v.task, q->v.task) == 0 &&
            strcmp(v->v.model_id, q->v.model_id) == 0 && strcmp(v->v.device, q->v.device) == 0) {
            return v;
        }
    }
    return NULL;
}

static void add_ratio(struct buf *b, double of, double to, const char *what) {
    if (isfinite(of) && isfinite(to) && to > 0) {
        fmt_num(b, of / to);
        buf_addf(b, " %s", what);
    } else {
        buf_addf(b, "an unknown part %s", what);
    }
}

static void add_comparison(struct buf *b, const struct report_variant *q,
                           const struct report_variant *l) {
    json_t *rq = inputs_result(q->stages[REPORT_ADAPT]);
    json_t *rl = inputs_result(l->stages[REPORT_ADAPT]);
    const struct joules jq = whole_joules_of(q->stages[REPORT_ADAPT], "adapt");
    const struct joules jl = whole_joules_of(l->stages[REPORT_ADAPT], "adapt");
    buf_addf(b, "%s, QLoRA against LoRA: ", q->v.task);
    add_ratio(b, json_num_or(rq, "peak_bytes", (double)NAN),
              json_num_or(rl, "peak_bytes", (double)NAN), "of the memory, ");
    if (jq.gap || jl.gap) {
        buf_addf(b, "joules not known: %s", jq.gap ? jq.gap : jl.gap);
    } else {
        buf_addstr(b, jq.modelled || jl.modelled ? "~" : "");
        add_ratio(b, jq.j, jl.j, "times the joules");
    }
    json_decref(rq);
    json_decref(rl);
}

/* --- Lines ----------------------------------------------------------------------------------- */

/* Variants of several precisions share one training. */
static bool is_first_of_its_stage(const struct report_run *run, size_t i) {
    const struct report_stage *st = run->variants[i].stages[REPORT_ADAPT];
    for (size_t k = 0; k < i; k++) {
        if (run->variants[k].stages[REPORT_ADAPT] == st) {
            return false;
        }
    }
    return is_done(st);
}

static int keep(struct buf *b, struct arena *a, const char **lines, size_t *n, struct err *e) {
    lines[*n] = b->failed ? NULL : arena_strdup(a, b->data);
    buf_clear(b);
    return lines[(*n)++] ? 0 : err_set(e, EE_NOMEM, "report: out of memory");
}

int adaptation_lines(const struct report_run *run, struct arena *a, const char ***out, size_t *n,
                     struct err *e) {
    const char **lines = arena_array(a, 2 * run->n_variants + 1, sizeof(*lines));
    struct buf b;
    int rc = lines ? 0 : err_set(e, EE_NOMEM, "report: out of memory");
    buf_init(&b);
    *n = 0;
    *out = lines;
    for (size_t i = 0; i < run->n_variants && !rc; i++) {
        if (is_first_of_its_stage(run, i)) {
            json_t *result = inputs_result(run->variants[i].stages[REPORT_ADAPT]);
            add_training(&b, &run->variants[i], result);
            json_decref(result);
            rc = keep(&b, a, lines, n, e);
        }
    }
    for (size_t i = 0; i < run->n_variants && !rc; i++) {
        const struct report_variant *q = &run->variants[i];
        const struct report_variant *l =
            is_adapted_with(q, "qlora") && is_first_of_its_stage(run, i) ? find_lora(run, q) : NULL;
        if (l) {
            add_comparison(&b, q, l);
            rc = keep(&b, a, lines, n, e);
        }
    }
    buf_release(&b);
    return rc;
}
