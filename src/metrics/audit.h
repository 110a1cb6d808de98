/*
 * Audit: what is weak in a set of measurements, whoever made them. Rules look at one neutral table,
 * which a CSV file, the published rows and a run's store all fill; no rule knows where a row came
 * from. docs/audit.md lists every rule with its formula, its threshold and the reason.
 *
 * The table and its strings are borrowed until the result is no longer used; findings lie in the
 * arena. Pure; any thread may call.
 */
#ifndef METRICS_AUDIT_H
#define METRICS_AUDIT_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum audit_stage {
    AUDIT_ADAPT,
    AUDIT_MERGE,
    AUDIT_QUANTIZE,
    AUDIT_LOAD,
    AUDIT_SERVE,
    AUDIT_SCORE,
    AUDIT_STAGES,
};
/* "adapt", ...; ended by NULL. */
extern const char *const audit_stage_names[];

/* Texts of a row. The first AUDIT_KEYS say which variant it is about. */
enum audit_text {
    AUDIT_FAMILY,
    AUDIT_SIZE,
    AUDIT_METHOD,
    AUDIT_TASK,
    AUDIT_PRECISION,
    AUDIT_ENGINE,
    AUDIT_DEVICE,
    AUDIT_KEYS,
    AUDIT_GPU_MODEL = AUDIT_KEYS,
    AUDIT_SCOPE,         /* which parts of the machine the joules count */
    AUDIT_ENERGY_SOURCE, /* counter, integrated, modelled */
    AUDIT_LENGTHS,       /* natural, forced */
    AUDIT_TEXTS,
};

/* Numbers of a row, none of them negative. */
enum audit_column {
    AUDIT_REPEAT, /* which part of a measurement the row is; missing: the whole */
    AUDIT_ENERGY_J,
    AUDIT_POWER_MEAN_W,
    AUDIT_POWER_PEAK_W,
    AUDIT_GPU_POWER_MEAN_W, /* of the boards alone, where power_mean_w has more in it */
    AUDIT_POWER_LIMIT_W,    /* of one board */
    AUDIT_GPUS,
    AUDIT_DURATION_S,
    AUDIT_COVERAGE, /* share of the window that readings stand for, 0..1 */
    AUDIT_IS_SHORT, /* 1: too short for the sensor; 0: not */
    AUDIT_LOAD_S,
    AUDIT_LOAD_J, /* of one load, measured */
    AUDIT_N_REQUESTS,
    AUDIT_N_FAILED,
    AUDIT_CONCURRENCY, /* requests in flight as stated */
    AUDIT_MAX_TOKENS,  /* limit of one answer */
    AUDIT_OUTPUT_TOKENS,
    AUDIT_OUTPUT_TOKENS_MAX, /* of the longest answer */
    AUDIT_OUTPUT_TOKENS_PER_S,
    AUDIT_TTFT_MEAN_MS,
    AUDIT_ITL_MEAN_MS,
    AUDIT_E2E_MAX_MS, /* latency of the slowest request */
    AUDIT_TRAIN_ROWS,
    AUDIT_SCORE_MEAN,
    AUDIT_SCORE_MAX, /* best score there is */
    AUDIT_SCORE_SE,  /* standard error over items */
    AUDIT_ITEMS,
    AUDIT_PASSES,          /* answers to each item */
    AUDIT_THROTTLED_SHARE, /* of the time, 0..1 */
    AUDIT_OTHER_PROCESSES, /* on the device beside the measured one */
    AUDIT_COLUMNS,
};

/* Names as in CSV files and documents; the index is the enum's. */
extern const char *const audit_text_names[AUDIT_TEXTS];
extern const char *const audit_column_names[AUDIT_COLUMNS];

struct audit_row {
    const char *where; /* "serving.csv:12", "serve/0" */
    enum audit_stage stage;
    const char *text[AUDIT_TEXTS]; /* never NULL; "" where nothing is told */
    double x[AUDIT_COLUMNS];       /* NAN where nothing is told */
    double step[AUDIT_COLUMNS];    /* the last digit's worth: 0.01 of "3.20"; 0: a full double */
};
/* A row that tells nothing yet. */
void audit_row_init(struct audit_row *row, enum audit_stage stage, const char *where);

/* A cell that could not be used. It is missing from the rows. */
struct audit_bad_cell {
    const char *where; /* "serving.csv:12" */
    const char *what;  /* "column energy_j is \"-5\", which is negative" */
};

struct audit_table {
    struct audit_row *rows;
    size_t n;
    const struct audit_bad_cell *bad_cells;
    size_t n_bad_cells;
};

enum audit_severity {
    AUDIT_NOTE,    /* know it when you read the figures */
    AUDIT_WARNING, /* a figure can mislead */
    AUDIT_SERIOUS, /* a figure is wrong, or is not what its name says */
};
const char *audit_severity_name(enum audit_severity s);

struct audit_rule {
    const char *id;
    const char *title;  /* what it looks for */
    const char *why;    /* why that matters */
    const char *advice; /* what to do about it */
};

struct audit_finding {
    const struct audit_rule *rule;
    enum audit_severity severity;
    const char *text;   /* one or more sentences with the figures */
    const size_t *rows; /* of the table that it concerns */
    size_t n_rows;
};

/* What became of a rule. */
struct audit_check {
    const struct audit_rule *rule;
    size_t n_rows; /* that it looked at */
    size_t n_findings;
    const char *refused; /* why it could not look; else NULL */
};

struct audit_result {
    struct audit_finding *findings; /* the most severe first */
    size_t n_findings;
    struct audit_check *checks; /* one a rule, in the registry's order */
    size_t n_checks;
};

size_t audit_n_rules(void);
const struct audit_rule *audit_rule_at(size_t i);

int audit_run(const struct audit_table *t, struct arena *a, struct audit_result *out,
              struct err *e) EE_MUST_CHECK;

/* The keys, as bits 1 << enum audit_text, in which rows of the table differ; all when none does. */
unsigned audit_differing_keys(const struct audit_table *t);
/* "Llama 3B lora summ int4", of those keys that the row tells, into buf. */
const char *audit_row_name(const struct audit_row *row, unsigned keys, char *buf, size_t size);

#endif
