/*
 * Scorers: one table from a name to a value in a declared range. Adding one is one row in score.c.
 * A scorer either compares texts here, in a function, or has its values from a model, in a worker
 * (lifecycle/score_source.h); the row says which. Pure functions; any thread may call.
 * docs/quality.md says what each is worth.
 */
#ifndef QUALITY_SCORE_H
#define QUALITY_SCORE_H

#include "base/err.h"
#include "quality/rouge.h"
#include "quality/task.h"

#include <stdbool.h>
#include <stddef.h>

/* Where a scorer's values come from. */
enum scorer_source {
    SCORED_BY_TEXT,       /* score() of its row */
    SCORED_BY_ENTAILMENT, /* a model of natural language inference */
    SCORED_BY_JUDGE,      /* a model that grades answers */
    SCORED_BY_SIMILARITY, /* an embedding model */
    SCORED_BY_LIKELIHOOD, /* the measured model itself: what it finds likely, whatever it answers */
    SCORER_SOURCES
};

struct scorer;
typedef int scorer_fn(const struct scorer *s, const struct task_item *item, const char *prediction,
                      double *value, struct err *e);

struct scorer {
    const char *id;                 /* as stored and on the command line */
    const char *about;              /* one sentence */
    double low, high;               /* every value is in low..high; high is best */
    const char *labels[TASK_KINDS]; /* name beside a figure; NULL: not for this task */
    bool primary[TASK_KINDS];       /* the score S of this task's metrics; one scorer a task */
    bool stands_in[TASK_KINDS];     /* S where the plan says that texts are enough; one a task */
    bool on_request;                /* computed only where the plan names it */
    enum scorer_source source;
    scorer_fn *score; /* with SCORED_BY_TEXT */
    struct {
        enum rouge_kind kind;
        bool stem;
    } rouge; /* of the ROUGE scorers */
};

size_t scorer_count(void);
const struct scorer *scorer_at(size_t i);
/* NULL when no scorer has this id. */
const struct scorer *scorer_find(const char *id);
/* The scorer whose value is the task's S; every task has one. */
const struct scorer *scorer_primary(enum task_kind kind);
/* The one that compares texts and may stand in for it. */
const struct scorer *scorer_stand_in(enum task_kind kind);

/* Scores one answer as the model gave it. A missing answer (NULL), a scorer that is not for the
 * item's task and one that is not SCORED_BY_TEXT are errors: a failed request is counted as failed,
 * never scored 0. */
int score_item(const struct scorer *s, const struct task_item *item, const char *prediction,
               double *value, struct err *e) EE_MUST_CHECK;

/* True when text is the phrase by which the task's prompt has the model say that there is no
 * answer: in any case, with or without the final period, white space around it ignored. */
bool score_is_no_answer(enum task_kind kind, const char *text);

#endif
