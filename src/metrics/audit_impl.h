/*
 * Inside src/metrics: what audit rules work with. A rule is a function and a row of the registry in
 * audit.c, which says what the rule needs; the driver refuses it when no row of the table has that.
 */
#ifndef METRICS_AUDIT_IMPL_H
#define METRICS_AUDIT_IMPL_H

#include "metrics/audit.h"

#include "metrics/metrics.h"

#include "base/buf.h"

#include <stdint.h>

#define AUDIT_STAGE(s) (1u << (s))
#define AUDIT_ANY_STAGE ((1u << AUDIT_STAGES) - 1)
#define AUDIT_COL(c) (UINT64_C(1) << (c))
#define AUDIT_KEY(k) (1u << (k))
#define AUDIT_ALL_KEYS ((1u << AUDIT_KEYS) - 1)
_Static_assert(AUDIT_COLUMNS <= 64, "columns are bits of a uint64_t");

/* Rows that a rule wants: of these stages, with all these columns and texts told. */
struct audit_need {
    unsigned stages;
    uint64_t columns;
    unsigned texts; /* AUDIT_KEY bits, of any text */
};

/* The metrics of profile paper of a serving row, with what they were made of. */
struct audit_variant {
    size_t row;      /* whole serve row */
    size_t training; /* its adapt row; AUDIT_NO_ROW without one */
    struct metrics_input input;
    struct metric_row *metrics;
};
#define AUDIT_NO_ROW SIZE_MAX

struct audit {
    const struct audit_table *t;
    struct arena *arena;
    unsigned shown_keys;           /* what rows are named by */
    const struct audit_rule *rule; /* the one that runs */
    const struct audit_need *need; /* its first need */
    unsigned (*id)[AUDIT_TEXTS];   /* equal texts have equal ids; 0 is "" */
    bool *is_part;                 /* the row is a repeat, or a whole without repeats */
    struct audit_variant *variants;
    size_t n_variants;
    struct audit_finding *findings;
    size_t n_findings, cap_findings;
    bool out_of_memory;
};

typedef void audit_check_fn(struct audit *c);

bool audit_has(const struct audit_row *r, const struct audit_need *need);
/* The row has what the running rule needs first. */
bool audit_wanted(const struct audit *c, size_t row);
/* A whole measurement, not one repeat of it. */
bool audit_is_whole(const struct audit_row *r);
/* Equal in these keys. */
bool audit_same(const struct audit *c, size_t i, size_t j, unsigned keys);

/* A list of rows, with room for all. */
struct audit_rows {
    size_t *at;
    size_t n;
};
struct audit_rows audit_rows_new(struct audit *c);
/* Room for one number a row of the table. */
double *audit_numbers(struct audit *c);

/* Rows in groups of equal keys: group g is order[start[g]] to order[start[g + 1] - 1]. */
struct audit_groups {
    size_t *order;
    size_t *start;
    size_t n;
};
/* Takes over nothing; keeps the table's order inside a group. */
struct audit_groups audit_group(struct audit *c, const struct audit_rows *rows, unsigned keys);

/* Reports a finding about rows (copied) with what text holds. */
void audit_report(struct audit *c, enum audit_severity severity, const struct audit_rows *rows,
                  const struct buf *text);
/* Notes that a text in the making failed for want of memory, so that the whole audit does. */
void audit_check_text(struct audit *c, const struct buf *text);
/* "Llama 3B lora summ" of row i. */
void audit_add_name(const struct audit *c, size_t i, struct buf *out);

/* The variant's value of a metric of profile paper; NAN where it was refused. */
double audit_metric(const struct audit_variant *v, const char *id);
/* The same with the joules of serving multiplied. */
double audit_metric_at(struct audit *c, const struct audit_variant *v, const char *id,
                       double factor);
int audit_variants_fill(struct audit *c, struct err *e) EE_MUST_CHECK;

audit_check_fn audit_bad_cells, audit_duplicate_rows;
audit_check_fn audit_energy_power_time, audit_energy_mismatch, audit_constant_power;
audit_check_fn audit_power_limit, audit_short_windows, audit_coverage, audit_modelled_energy;
audit_check_fn audit_mixed_scopes, audit_throttling, audit_other_processes;
audit_check_fn audit_batch_latency, audit_constant_tokens, audit_impossible_tokens;
audit_check_fn audit_failed_requests, audit_repeat_drift;
audit_check_fn audit_insensitive_metrics, audit_c_tax_ratio, audit_repeated_trainings;
audit_check_fn audit_unequal_conditions, audit_retention_noise, audit_outliers;

#endif
