/*
 * What the worker jobs that score answers share: the answers with their items, rows for the parent,
 * and failures counted by kind. An answer without a value has no row: it is never scored 0 for it.
 */
#ifndef LIFECYCLE_SCORE_JOB_H
#define LIFECYCLE_SCORE_JOB_H

#include "engine/engine.h"
#include "lifecycle/worker.h"
#include "quality/task.h"

struct score_job {
    struct worker *worker;
    struct task_set set;
    const json_t *answers; /* borrowed from the job's args */
    const json_t *scorers; /* ids of those that the plan wants of this job, borrowed */
    const char *window;    /* energy window, borrowed; open while the model works */
    size_t n;              /* answers */
    json_t *failed;        /* kind -> how many answers */
};

/* On failure nothing needs closing. */
int score_job_open(struct score_job *j, struct worker *w, const json_t *args,
                   struct err *e) EE_MUST_CHECK;
void score_job_close(struct score_job *j);
bool score_job_wants(const struct score_job *j, const char *scorer);
/* Answer i and its item. */
int score_job_answer(const struct score_job *j, size_t i, const struct task_item **item,
                     const char **text, struct err *e) EE_MUST_CHECK;
/* A value of answer i; it must be a number. */
int score_job_value(struct score_job *j, size_t i, const char *scorer, double value,
                    struct err *e) EE_MUST_CHECK;
/* Answer i has no value because of kind, such as "too_long". */
void score_job_fail(struct score_job *j, const char *kind);
/* The model at path, for weighing continuations (engine/continuation.h), batch tokens a step. */
int score_job_engine(const json_t *args, const char *path, size_t context, int batch,
                     struct engine **out, struct err *e) EE_MUST_CHECK;
/* Has every answer scored, inside the job's window; score is told the answer's number. */
int score_job_each(struct score_job *j, int (*score)(void *ctx, size_t i, struct err *e), void *ctx,
                   struct err *e) EE_MUST_CHECK;

#endif
