/* Inside src/report: the parts of edge-eval compare. */
#ifndef REPORT_COMPARE_IMPL_H
#define REPORT_COMPARE_IMPL_H

#include "report/collect.h"
#include "stats/interval.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* What variants are judged by. Quality is the first, as the others are what it is paid with. */
enum compare_axis {
    COMPARE_QUALITY,
    COMPARE_COST,
    COMPARE_ENERGY,
    COMPARE_LATENCY,
    COMPARE_MEMORY,
    COMPARE_AXES,
};

struct compare_axis_info {
    const char *id;    /* in JSON */
    const char *title; /* of the column */
    const char *noun;  /* "energy a request" */
    const char *verb;  /* "takes" 41 % less ... */
    const char *rest;  /* ... "energy a request" */
    const char *metric;
    const char *profile;
    bool more_is_better;
};
extern const struct compare_axis_info compare_axes[COMPARE_AXES];

struct compare_variant {
    const struct report_run *run;
    const struct report_variant *v;
    const char *name; /* tells it from all others of its task */
    const struct metric_row *rows[COMPARE_AXES];
    struct stats_interval p95; /* of the end-to-end latency [s] */
    const char *scorer;        /* "f1"; "" when not scored */
    const char *questions;     /* hash of the task data behind the score; "" unknown */
    const char *work;          /* "20 items of abc..., at most 32 tokens, natural lengths" */
    const char *scope;         /* of its joules; "" unknown */
    long concurrency;          /* -1 unknown */
    size_t dominator;          /* index in the group; the group's n: none */
};

/* Variants of one task. */
struct compare_group {
    const char *task;
    struct compare_variant *variants;
    size_t n;
};

struct compare_set {
    struct arena arena;
    struct report_run **loaded; /* runs that the set frees; NULL for runs of a caller */
    const struct report_run *const *runs;
    size_t n_runs;
    const struct report_what_if *what_if; /* that all runs were loaded with; NULL: none */
    struct compare_group *groups;
    size_t n_groups;
};

/* Of a against b on one axis. */
enum compare_verdict {
    COMPARE_REFUSED,
    COMPARE_UNDETERMINED,
    COMPARE_SAME,
    COMPARE_LESS,
    COMPARE_MORE
};
struct compare_change {
    enum compare_verdict verdict;
    const char *refused; /* why the two are not compared; else NULL */
    /* Quality: points of 100 more; the others: a / b. */
    struct stats_interval i;
    bool is_instrument_only; /* energy: too few repeats to show a spread */
    double adjusted_p;       /* quality, among all differences shown; NAN without one */
};

struct compare_difference {
    const struct compare_variant *a, *b;
    struct compare_change changes[COMPARE_AXES];
};

struct compare_differences {
    struct compare_difference *items;
    size_t n;
};

/* Loads the runs, with other costs than their own unless what_if is NULL; everything lies in the set
 * until compare_set_free. */
int compare_set_load(const char *const *run_dirs, size_t n, const struct report_what_if *what_if,
                     struct compare_set **out, struct err *e) EE_MUST_CHECK;
/* Of loaded runs, which must live as long as the set. Latencies have no intervals then. */
int compare_set_of(const struct report_run *const *runs, size_t n, struct compare_set **out,
                   struct err *e) EE_MUST_CHECK;
/* Of the text; the runs must be the set's own. */
void compare_set_width(struct compare_set *s, size_t width);
void compare_set_free(struct compare_set *s);
/* Why two variants are not compared on an axis; NULL when they are. */
const char *compare_obstacle(const struct compare_variant *a, const struct compare_variant *b,
                             enum compare_axis axis);
double compare_value(const struct compare_variant *v, enum compare_axis axis);

/* One axis of a against b. */
int compare_differ_on(const struct compare_variant *a, const struct compare_variant *b,
                      enum compare_axis axis, struct compare_change *c,
                      struct err *e) EE_MUST_CHECK;
/* All axes of a against b. */
int compare_differ(const struct compare_variant *a, const struct compare_variant *b,
                   struct compare_difference *out, struct err *e) EE_MUST_CHECK;
/* The differences to show, in the set's arena: those of opts, or each variant against its base. */
int compare_choose(struct compare_set *s, const char *const between[2],
                   struct compare_differences *out, struct err *e) EE_MUST_CHECK;
/* "int4 against fp16: it loses 1.2 points of f1 (...); it takes 41 % less energy a request (...)." */
void compare_sentence(const struct compare_difference *d, struct buf *out);

int compare_text(const struct compare_set *s, const struct compare_differences *d, struct buf *out,
                 struct err *e) EE_MUST_CHECK;
int compare_json(const struct compare_set *s, const struct compare_differences *d, struct buf *out,
                 struct err *e) EE_MUST_CHECK;
/* What a reader must know of a group: refused axes, what is not compared and why. In the arena. */
int compare_notes(const struct compare_group *g, struct arena *a, const char ***notes, size_t *n,
                  struct err *e) EE_MUST_CHECK;
/* "score, p95 latency": the axes on which the dominator's lead is not shown by the data. */
int compare_weak_axes(const struct compare_group *g, size_t variant, struct buf *out,
                      struct err *e) EE_MUST_CHECK;

#endif
