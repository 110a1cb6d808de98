/*
 * One run as reports need it: what was planned, every stage with its energy, and every variant
 * with its metrics. Read from the store alone; nothing here looks at the machine it runs on.
 *
 * Everything lies in the run's arena until report_run_free. All strings are valid UTF-8 without
 * control characters (fmt_utf8), since a store may hold anything a model or a plan said.
 */
#ifndef REPORT_COLLECT_H
#define REPORT_COLLECT_H

#include "metrics/metrics.h"
#include "store/store.h"

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum report_kind {
    REPORT_ADAPT,
    REPORT_MERGE,
    REPORT_QUANTIZE,
    REPORT_LOAD,
    REPORT_SERVE,
    REPORT_SCORE,
    REPORT_KINDS,
};
/* "adapt", ... as the store names them. */
const char *report_kind_name(enum report_kind kind);

struct report_stage {
    struct store_stage s;
    struct store_energy *energies;
    size_t n_energies;
    struct store_power *powers;
    size_t n_powers;
    struct store_training *trainings; /* of an adapt stage, by step */
    size_t n_trainings;
    struct store_gpu_look *looks;
    size_t n_looks;
};

/* A sample of latencies as its 0th to 100th percentile: all that a curve of any number of requests
 * needs. */
enum { REPORT_CURVE_POINTS = 101 };
struct report_curve {
    size_t n;                      /* 0: no request has such a time, and q means nothing */
    double q[REPORT_CURVE_POINTS]; /* seconds */
};

/* What the requests of one repeat of serving come to. */
struct report_repeat {
    double ok, failed;
    double tokens, longest; /* of the answers of those that are ok, as what follows */
    double ttft_s, gap_s, gaps, slowest_s;
    int64_t begin_ns, end_ns; /* first offered to last done, failed ones too */
};

struct report_variant {
    struct store_variant v;
    const struct report_stage *stages[REPORT_KINDS]; /* NULL where the variant has none */
    struct metrics_input input;
    struct report_curve ttft, tpot, e2e;
    struct report_curve itl;       /* of all gaps between output tokens, all requests together */
    struct report_repeat *repeats; /* by repeat */
    size_t n_repeats;
    size_t n_within_slo; /* requests; all that are ok where the plan sets no limit */
    struct store_cold_start *starts;
    size_t n_starts;
    struct metric_row *rows; /* metrics_count() of them */
};

struct report_fact {
    const char *key; /* in the store */
    const char *name;
    const char *value;
};

struct report_machine {
    const char *machine_id;
    const char *json;
};

/* A run evaluated with other costs than it was stored with. */
struct report_what_if {
    const char *const *sets; /* "KEY=VALUE" of the plan's cost: section */
    size_t n_sets;
    const struct price_book *prices;   /* override the run's, entry by entry; NULL */
    const struct price_book *fallback; /* for a run that has none of its own; NULL */
    const char *as_of;                 /* the day prices must be fresh on; NULL: the run's */
};

enum { REPORT_WIDTH = 100, REPORT_MIN_WIDTH = 60 };

struct report_run {
    struct arena arena;
    const char *dir;       /* that it was read from */
    const char *data_dir;  /* for tables that ship with the program; NULL: none */
    size_t width;          /* columns that text may take: REPORT_WIDTH, or fewer */
    const char *published; /* where its rows are from when it is no run of ours, and so knows only
                              the paper's profile; NULL */
    const char *run_id;
    struct report_fact *facts;
    size_t n_facts;
    const char *plan_yaml; /* NULL when the run has none */
    const char *idle_json; /* the idle baseline of its energy; NULL when none was measured */
    struct report_machine *machines; /* those that stages ran on, the run's own first */
    size_t n_machines;
    struct report_stage *stages;
    size_t n_stages;
    struct report_variant *variants;
    size_t n_variants;
    struct price_book prices;
    struct costing costing;
    uint64_t seed;
};

/* The columns that text takes on a terminal of so many; 0: REPORT_WIDTH. */
size_t report_width(size_t columns);
/* Asks for text for a terminal of that many columns. */
void report_run_set_width(struct report_run *run, size_t width);

/* Reads run_dir/run.db without changing it. */
int report_run_load(const char *run_dir, struct report_run **out, struct err *e) EE_MUST_CHECK;
/* The same with other costs; NULL: none. What the price books hold must live as long as the run. */
int report_run_load_as(const char *run_dir, const struct report_what_if *what_if,
                       struct report_run **out, struct err *e) EE_MUST_CHECK;
void report_run_free(struct report_run *run);

bool report_stage_failed(const struct report_stage *st);
/* "serve/0", "serve/1", ...: a repeat of the stage's measurement, and not a phase inside one. */
bool report_is_repeat(const char *window, const char *kind);
/* The variant's row of that metric, the paper's where several profiles have it; the id must be in
 * the registry. */
const struct metric_row *report_row(const struct report_variant *v, const char *metric_id);
const struct metric_row *report_row_in(const struct report_variant *v, const char *metric_id,
                                       const char *profile);
/* The fact's value, NULL when the run has none. */
const char *report_fact(const struct report_run *run, const char *key);

#endif
