#include "metrics/audit_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const audit_stage_names[] = {"adapt", "merge", "quantize", "load",
                                         "serve", "score", NULL};

const char *const audit_text_names[AUDIT_TEXTS] = {
    [AUDIT_FAMILY] = "family",       [AUDIT_SIZE] = "size",
    [AUDIT_METHOD] = "method",       [AUDIT_TASK] = "task",
    [AUDIT_PRECISION] = "precision", [AUDIT_ENGINE] = "engine",
    [AUDIT_DEVICE] = "device",       [AUDIT_GPU_MODEL] = "gpu_model",
    [AUDIT_SCOPE] = "scope",         [AUDIT_ENERGY_SOURCE] = "energy_source",
    [AUDIT_LENGTHS] = "lengths",
};

const char *const audit_column_names[AUDIT_COLUMNS] = {
    [AUDIT_REPEAT] = "repeat",
    [AUDIT_ENERGY_J] = "energy_j",
    [AUDIT_POWER_MEAN_W] = "power_mean_w",
    [AUDIT_POWER_PEAK_W] = "power_peak_w",
    [AUDIT_GPU_POWER_MEAN_W] = "gpu_power_mean_w",
    [AUDIT_POWER_LIMIT_W] = "power_limit_w",
    [AUDIT_GPUS] = "gpus",
    [AUDIT_DURATION_S] = "duration_s",
    [AUDIT_COVERAGE] = "coverage",
    [AUDIT_IS_SHORT] = "is_short",
    [AUDIT_LOAD_S] = "load_s",
    [AUDIT_LOAD_J] = "load_j",
    [AUDIT_N_REQUESTS] = "n_requests",
    [AUDIT_N_FAILED] = "n_failed",
    [AUDIT_CONCURRENCY] = "concurrency",
    [AUDIT_MAX_TOKENS] = "max_tokens",
    [AUDIT_OUTPUT_TOKENS] = "output_tokens",
    [AUDIT_OUTPUT_TOKENS_MAX] = "output_tokens_max",
    [AUDIT_OUTPUT_TOKENS_PER_S] = "output_tokens_per_s",
    [AUDIT_TTFT_MEAN_MS] = "ttft_mean_ms",
    [AUDIT_ITL_MEAN_MS] = "itl_mean_ms",
    [AUDIT_E2E_MAX_MS] = "e2e_max_ms",
    [AUDIT_TRAIN_ROWS] = "train_rows",
    [AUDIT_SCORE_MEAN] = "score",
    [AUDIT_SCORE_MAX] = "score_max",
    [AUDIT_SCORE_SE] = "score_se",
    [AUDIT_ITEMS] = "items",
    [AUDIT_PASSES] = "passes",
    [AUDIT_THROTTLED_SHARE] = "throttled_share",
    [AUDIT_OTHER_PROCESSES] = "other_processes",
};

#define ANY AUDIT_ANY_STAGE
#define SERVE AUDIT_STAGE(AUDIT_SERVE)
#define COL(name) AUDIT_COL(AUDIT_##name)

/* A rule with what it needs: for each need the table must have a row. */
static const struct registry_row {
    struct audit_rule rule;
    audit_check_fn *check;
    struct audit_need needs[2];
} registry[] = {
    {{"bad-cell", "cells that are no usable figure",
      "A text, a NaN or a negative number in a column of quantities is a fault of whatever wrote the "
      "file, and may not be its only one.",
      "Mend the export and audit again; until then those cells count as missing."},
     audit_bad_cells,
     {{0}}},
    {{"duplicate-row", "the same measurement twice",
      "Two rows of one variant and stage leave open which one is meant; averages count it twice.",
      "Remove one, or number them in a column repeat."},
     audit_duplicate_rows,
     {{ANY, 0, 0}}},

    {{"energy-power-time", "energy that is power times time",
      "One of the three columns was computed from the other two, so nothing here shows that energy "
      "was integrated: a mean of power readings times a duration misses whatever happened between "
      "the readings.",
      "Take energy from a hardware counter, or integrate power over measured time, and state it in "
      "a column energy_source."},
     audit_energy_power_time,
     {{ANY, COL(ENERGY_J) | COL(POWER_MEAN_W) | COL(DURATION_S), 0}}},
    {{"energy-mismatch", "energy that does not fit power and time",
      "Energy is mean power times time by definition, so these columns cannot be of one window.",
      "Find which of the three belongs to another run, or leave the row out."},
     audit_energy_mismatch,
     {{ANY, COL(ENERGY_J) | COL(POWER_MEAN_W) | COL(DURATION_S), 0}}},
    {{"constant-power", "the same mean power in windows of unlike length",
      "No hardware draws the same power to four digits again and again: energy is a constant times "
      "time, and compares times, not joules.",
      "Measure power, or report the time."},
     audit_constant_power,
     {{ANY, COL(ENERGY_J) | COL(DURATION_S), 0}}},
    {{"power-limit", "mean power above what the boards can draw",
      "A board is held to its limit, so the figure has more boards or more of the machine in it than "
      "stated, or is not a reading of this hardware.",
      "State how many boards and which parts of the machine each figure counts."},
     audit_power_limit,
     {{ANY, COL(POWER_MEAN_W) | COL(POWER_LIMIT_W), 0}}},
    {{"short-window", "energy of windows too short for their sensor",
      "Sensors update about ten times a second and may average over a second: in a short window the "
      "edges weigh as much as the work.",
      "Measure for longer: more requests, or more repeats in one window."},
     audit_short_windows,
     {{ANY, COL(ENERGY_J) | COL(DURATION_S), 0}}},
    {{"coverage-gap", "windows with time that no reading stands for",
      "What happened in a gap is guessed.",
      "Look for what held the sampling up (a busy machine, a sensor that went away) and repeat."},
     audit_coverage,
     {{ANY, COL(ENERGY_J) | COL(COVERAGE), 0}}},
    {{"modelled-energy", "energy that no sensor measured",
      "It is a model of CPU time, good to 40 % at best: enough to rank variants on one machine, not "
      "to put a price on.",
      "Give access to a sensor (docs/energy.md), or measure on a machine that has one."},
     audit_modelled_energy,
     {{ANY, COL(ENERGY_J), AUDIT_KEY(AUDIT_ENERGY_SOURCE)}}},
    {{"mixed-scopes", "joules of unlike parts of machines side by side",
      "Joules of a GPU and joules of a whole node are different things; comparing them favours "
      "whoever counted less.",
      "Compare rows of one scope only."},
     audit_mixed_scopes,
     {{ANY, COL(ENERGY_J), AUDIT_KEY(AUDIT_SCOPE)}}},
    {{"throttling", "hardware that was slowed down while measured",
      "Heat or a power cap lowered the clocks: the figures hold for that state only.",
      "Cool the machine or raise the cap, and repeat; or report it as the state of operation."},
     audit_throttling,
     {{ANY, COL(THROTTLED_SHARE), 0}}},
    {{"other-processes", "others that used the device while measured",
      "Their work is in the joules, and their presence in the times.",
      "Measure on a device of your own."},
     audit_other_processes,
     {{ANY, COL(OTHER_PROCESSES), 0}}},

    {{"batch-latency", "latencies that do not fit the stated batch",
      "Requests in flight are throughput times latency. Where that is far below the stated "
      "concurrency, requests waited where the latency does not count, so users wait longer than it "
      "says.",
      "Time each request from when it was offered, queueing included."},
     audit_batch_latency,
     {{SERVE,
       COL(CONCURRENCY) | COL(N_REQUESTS) | COL(OUTPUT_TOKENS) | COL(DURATION_S) |
           COL(TTFT_MEAN_MS) | COL(ITL_MEAN_MS),
       0}}},
    {{"constant-tokens", "one and the same number of tokens in every answer",
      "Answers of different models do not have equal lengths: the count is a limit or a setting, not "
      "what was produced, and throughput and joules per token rest on it.",
      "Count the tokens that were produced, or state that lengths were forced."},
     audit_constant_tokens,
     {{SERVE, COL(N_REQUESTS) | COL(OUTPUT_TOKENS), 0}}},
    {{"impossible-tokens", "token counts that cannot be",
      "Throughput, joules per token and cost per token rest on them.",
      "Count tokens as the engine produced them, and take count and time from one window."},
     audit_impossible_tokens,
     {{SERVE, COL(OUTPUT_TOKENS), 0}}},
    {{"failed-requests", "requests without an answer",
      "Their energy counts, they do not; and what fails is rarely a random part of the work.",
      "See why they failed (the store keeps each error), and compare variants only where the same "
      "requests were served."},
     audit_failed_requests,
     {{SERVE, COL(N_REQUESTS) | COL(N_FAILED), 0}}},
    {{"repeat-drift", "repeats of one measurement that drift or disagree",
      "The state of the machine changed while it was measured, so the mean belongs to no state and "
      "its interval is too narrow.",
      "Warm up longer, leave other work out, and repeat."},
     audit_repeat_drift,
     {{ANY, COL(REPEAT), 0}}},

    {{"insensitive-metric", "a metric that does not move with what it is to judge",
      "Where doubling a request's energy changes a metric by less than a few per cent, it cannot "
      "rank what differs in energy, such as precisions.",
      "Rank by energy or cost per request; put hardware and output prices into the break-even."},
     audit_insensitive_metrics,
     {{SERVE, COL(ENERGY_J) | COL(N_REQUESTS), 0}, {AUDIT_STAGE(AUDIT_ADAPT), COL(ENERGY_J), 0}}},
    {{"c-tax-ratio", "a cold-start tax that holds no energy",
      "The load is priced at serving power, so power cancels and what remains is load time over time "
      "per request: it says nothing of the energy of a load.",
      "Measure the energy of loading (load_j) and divide that by the energy of a request."},
     audit_c_tax_ratio,
     {{SERVE, COL(ENERGY_J) | COL(POWER_MEAN_W) | COL(DURATION_S) | COL(LOAD_S) | COL(N_REQUESTS),
       0}}},
    {{"repeated-training", "trainings that stand behind several variants",
      "Each precision carries the whole training, so sums count it several times, and medians over "
      "variants weigh the trainings unequally.",
      "Aggregate over trainings, or share a training's energy among what was made of it."},
     audit_repeated_trainings,
     {{SERVE, COL(ENERGY_J) | COL(N_REQUESTS), 0}, {AUDIT_STAGE(AUDIT_ADAPT), COL(ENERGY_J), 0}}},
    {{"unequal-conditions", "compared rows that were measured under unlike conditions",
      "The difference between such rows is that of the conditions too.",
      "Compare per unit (joules per training row, per GPU), or measure under equal conditions."},
     audit_unequal_conditions,
     {{ANY, 0, 0}}},
    {{"retention-noise", "retention ratios inside their sampling error",
      "A ratio whose interval holds both \"all kept\" and a real loss shows neither.",
      "Score more items, and compare the two answers to each item in pairs."},
     audit_retention_noise,
     {{AUDIT_STAGE(AUDIT_SCORE), COL(SCORE_MEAN), AUDIT_KEY(AUDIT_PRECISION)}}},
    {{"outlier", "rows far from what their neighbours suggest",
      "A row several times off the pattern of all others is an error of the set-up or of the "
      "books more often than a discovery, and it moves means.",
      "Repeat that measurement, or say why it differs; use medians until then."},
     audit_outliers,
     {{ANY, 0, 0}}},
};
enum { N_RULES = sizeof(registry) / sizeof(registry[0]) };

size_t audit_n_rules(void) {
    return N_RULES;
}

const struct audit_rule *audit_rule_at(size_t i) {
    return &registry[i].rule;
}

const char *audit_severity_name(enum audit_severity s) {
    static const char *const names[] = {"note", "warning", "serious"};
    return names[s];
}

void audit_row_init(struct audit_row *row, enum audit_stage stage, const char *where) {
    *row = (struct audit_row){.where = where, .stage = stage};
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        row->text[i] = "";
    }
    for (int i = 0; i < AUDIT_COLUMNS; i++) {
        row->x[i] = NAN;
    }
}

/* What a row does not tell is no difference: a training has no precision. */
static bool key_differs(const struct audit_table *t, int key) {
    const char *first = "";
    for (size_t i = 0; i < t->n; i++) {
        const char *text = t->rows[i].text[key];
        if (*first && *text && strcmp(first, text) != 0) {
            return true;
        }
        first = *text ? text : first;
    }
    return false;
}

unsigned audit_differing_keys(const struct audit_table *t) {
    unsigned keys = 0;
    for (int k = 0; k < AUDIT_KEYS; k++) {
        keys |= key_differs(t, k) ? AUDIT_KEY(k) : 0;
    }
    return keys ? keys : AUDIT_ALL_KEYS;
}

const char *audit_row_name(const struct audit_row *row, unsigned keys, char *buf, size_t size) {
    size_t len = 0;
    buf[0] = '\0';
    for (int i = 0; i < AUDIT_KEYS && len < size; i++) {
        if ((keys & AUDIT_KEY(i)) && *row->text[i]) {
            len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? " " : "", row->text[i]);
        }
    }
    return buf;
}

/* --- What rules ask ----------------------------------------------------------------------------- */

bool audit_has(const struct audit_row *r, const struct audit_need *need) {
    if (!(need->stages & AUDIT_STAGE(r->stage))) {
        return false;
    }
    for (int i = 0; i < AUDIT_COLUMNS; i++) {
        if ((need->columns & AUDIT_COL(i)) && isnan(r->x[i])) {
            return false;
        }
    }
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        if ((need->texts & AUDIT_KEY(i)) && !*r->text[i]) {
            return false;
        }
    }
    return true;
}

bool audit_wanted(const struct audit *c, size_t row) {
    return audit_has(&c->t->rows[row], c->need);
}

bool audit_is_whole(const struct audit_row *r) {
    return isnan(r->x[AUDIT_REPEAT]);
}

bool audit_same(const struct audit *c, size_t i, size_t j, unsigned keys) {
    for (int k = 0; k < AUDIT_KEYS; k++) {
        if ((keys & AUDIT_KEY(k)) && c->id[i][k] != c->id[j][k]) {
            return false;
        }
    }
    return true;
}

struct audit_rows audit_rows_new(struct audit *c) {
    size_t *at = arena_array(c->arena, c->t->n + 1, sizeof(*at));
    c->out_of_memory = c->out_of_memory || !at;
    return (struct audit_rows){.at = at};
}

double *audit_numbers(struct audit *c) {
    double *x = arena_array(c->arena, c->t->n + 1, sizeof(*x));
    c->out_of_memory = c->out_of_memory || !x;
    return x;
}

/* A row with its ids, so that qsort needs no context. */
struct keyed {
    size_t row;
    unsigned id[AUDIT_KEYS];
};

static int compare_keyed(const void *a, const void *b) {
    const struct keyed *x = a;
    const struct keyed *y = b;
    int by_key = memcmp(x->id, y->id, sizeof(x->id));
    return by_key ? by_key : (x->row > y->row) - (x->row < y->row);
}

struct audit_groups audit_group(struct audit *c, const struct audit_rows *rows, unsigned keys) {
    struct audit_groups g = {0};
    struct keyed *sorted = calloc(rows->n + 1, sizeof(*sorted));
    g.order = arena_array(c->arena, rows->n + 1, sizeof(*g.order));
    g.start = arena_array(c->arena, rows->n + 1, sizeof(*g.start));
    if (!sorted || !g.order || !g.start) {
        free(sorted);
        c->out_of_memory = true;
        return (struct audit_groups){0};
    }
    for (size_t i = 0; i < rows->n; i++) {
        sorted[i].row = rows->at[i];
        for (int k = 0; k < AUDIT_KEYS; k++) {
            sorted[i].id[k] = (keys & AUDIT_KEY(k)) ? c->id[rows->at[i]][k] : 0;
        }
    }
    qsort(sorted, rows->n, sizeof(*sorted), compare_keyed);
    for (size_t i = 0; i < rows->n; i++) {
        g.order[i] = sorted[i].row;
        if (i == 0 || memcmp(sorted[i].id, sorted[i - 1].id, sizeof(sorted[i].id)) != 0) {
            g.start[g.n++] = i;
        }
    }
    g.start[g.n] = rows->n;
    free(sorted);
    return g;
}

void audit_report(struct audit *c, enum audit_severity severity, const struct audit_rows *rows,
                  const struct buf *text) {
    if (c->n_findings == c->cap_findings) {
        size_t want = c->cap_findings ? 2 * c->cap_findings : 32;
        struct audit_finding *more = arena_array(c->arena, want, sizeof(*more));
        if (!more) {
            c->out_of_memory = true;
            return;
        }
        for (size_t i = 0; i < c->n_findings; i++) {
            more[i] = c->findings[i];
        }
        c->findings = more;
        c->cap_findings = want;
    }
    size_t n = rows ? rows->n : 0;
    size_t *at = arena_array(c->arena, n + 1, sizeof(*at));
    const char *copy = text->failed ? NULL : arena_strdup(c->arena, text->data);
    if (!at || !copy) {
        c->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        at[i] = rows->at[i];
    }
    c->findings[c->n_findings++] = (struct audit_finding){
        .rule = c->rule, .severity = severity, .text = copy, .rows = at, .n_rows = n};
}

void audit_check_text(struct audit *c, const struct buf *text) {
    c->out_of_memory = c->out_of_memory || text->failed;
}

void audit_add_name(const struct audit *c, size_t i, struct buf *out) {
    char name[160];
    buf_addstr(out, audit_row_name(&c->t->rows[i], c->shown_keys, name, sizeof(name)));
}

/* --- The driver --------------------------------------------------------------------------------- */

/* Numbers each distinct text of each kind. */
static int intern_texts(struct audit *c, struct err *e) {
    size_t n = c->t->n;
    c->id = arena_array(c->arena, n + 1, sizeof(*c->id));
    size_t *first = arena_array(c->arena, n + 1, sizeof(*first));
    if (!c->id || !first) {
        return err_set(e, EE_NOMEM, "audit: out of memory");
    }
    for (int k = 0; k < AUDIT_TEXTS; k++) {
        unsigned n_distinct = 0;
        for (size_t i = 0; i < n; i++) {
            const char *text = c->t->rows[i].text[k];
            unsigned id = *text ? 1 : 0;
            while (id && id <= n_distinct && strcmp(c->t->rows[first[id]].text[k], text) != 0) {
                id++;
            }
            if (id > n_distinct) {
                first[id] = i;
                n_distinct = id;
            }
            c->id[i][k] = id;
        }
    }
    return 0;
}

/* Parts are repeats, and wholes that have none: each window of energy is then looked at once. */
static int find_parts(struct audit *c, struct err *e) {
    c->is_part = arena_array(c->arena, c->t->n + 1, sizeof(*c->is_part));
    struct audit_rows rows = audit_rows_new(c);
    if (!c->is_part || !rows.at) {
        return err_set(e, EE_NOMEM, "audit: out of memory");
    }
    for (int stage = 0; stage < AUDIT_STAGES; stage++) {
        rows.n = 0;
        for (size_t i = 0; i < c->t->n; i++) {
            if ((int)c->t->rows[i].stage == stage) {
                rows.at[rows.n++] = i;
            }
        }
        struct audit_groups g = audit_group(c, &rows, AUDIT_ALL_KEYS);
        for (size_t k = 0; k < g.n; k++) {
            bool has_repeats = false;
            for (size_t i = g.start[k]; i < g.start[k + 1]; i++) {
                has_repeats = has_repeats || !audit_is_whole(&c->t->rows[g.order[i]]);
            }
            for (size_t i = g.start[k]; i < g.start[k + 1]; i++) {
                c->is_part[g.order[i]] = !has_repeats || !audit_is_whole(&c->t->rows[g.order[i]]);
            }
        }
    }
    return c->out_of_memory ? err_set(e, EE_NOMEM, "audit: out of memory") : 0;
}

static size_t count_rows(const struct audit *c, const struct audit_need *need) {
    size_t n = 0;
    for (size_t i = 0; i < c->t->n; i++) {
        n += audit_has(&c->t->rows[i], need);
    }
    return n;
}

/* "no serve row has coverage, gpus": what would have to be there. */
static const char *missing_reason(struct audit *c, const struct audit_need *need) {
    struct buf b;
    buf_init(&b);
    buf_addstr(&b, "no ");
    int n = 0;
    for (int s = 0; s < AUDIT_STAGES && need->stages != AUDIT_ANY_STAGE; s++) {
        if (need->stages & AUDIT_STAGE(s)) {
            buf_addf(&b, "%s%s", n++ ? " or " : "", audit_stage_names[s]);
        }
    }
    buf_addf(&b, "%srow has ", n ? " " : "");
    n = 0;
    for (int i = 0; i < AUDIT_COLUMNS; i++) {
        struct audit_need one = {need->stages, AUDIT_COL(i), 0};
        if ((need->columns & AUDIT_COL(i)) && !count_rows(c, &one)) {
            buf_addf(&b, "%s%s", n++ ? ", " : "", audit_column_names[i]);
        }
    }
    for (int i = 0; i < AUDIT_TEXTS; i++) {
        struct audit_need one = {need->stages, 0, AUDIT_KEY(i)};
        if ((need->texts & AUDIT_KEY(i)) && !count_rows(c, &one)) {
            buf_addf(&b, "%s%s", n++ ? ", " : "", audit_text_names[i]);
        }
    }
    buf_addstr(&b, n ? "" : "all that it needs");
    const char *reason = b.failed ? NULL : arena_strdup(c->arena, b.data);
    c->out_of_memory = c->out_of_memory || !reason;
    buf_release(&b);
    return reason;
}

static void run_rule(struct audit *c, const struct registry_row *r, struct audit_check *check) {
    *check = (struct audit_check){.rule = &r->rule};
    c->rule = &r->rule;
    c->need = &r->needs[0];
    size_t before = c->n_findings;
    check->n_rows = count_rows(c, &r->needs[0]);
    for (size_t i = 0; i < 2 && !check->refused; i++) {
        if (r->needs[i].stages && !count_rows(c, &r->needs[i])) {
            check->refused = missing_reason(c, &r->needs[i]);
        }
    }
    if (!check->refused && !c->out_of_memory) {
        r->check(c);
    }
    check->n_findings = c->n_findings - before;
}

/* The most severe first, else as found. */
static void sort_findings(struct audit *c) {
    for (size_t i = 1; i < c->n_findings; i++) {
        struct audit_finding f = c->findings[i];
        size_t at = i;
        for (; at > 0 && c->findings[at - 1].severity < f.severity; at--) {
            c->findings[at] = c->findings[at - 1];
        }
        c->findings[at] = f;
    }
}

int audit_run(const struct audit_table *t, struct arena *a, struct audit_result *out,
              struct err *e) {
    struct audit c = {.t = t, .arena = a, .shown_keys = audit_differing_keys(t)};
    *out = (struct audit_result){0};
    struct audit_check *checks = arena_array(a, N_RULES, sizeof(*checks));
    int rc = checks ? intern_texts(&c, e) : err_set(e, EE_NOMEM, "audit: out of memory");
    rc = rc ? rc : find_parts(&c, e);
    rc = rc ? rc : audit_variants_fill(&c, e);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < N_RULES; i++) {
        run_rule(&c, &registry[i], &checks[i]);
    }
    if (c.out_of_memory) {
        return err_set(e, EE_NOMEM, "audit: out of memory");
    }
    sort_findings(&c);
    *out = (struct audit_result){
        .findings = c.findings, .n_findings = c.n_findings, .checks = checks, .n_checks = N_RULES};
    return 0;
}
