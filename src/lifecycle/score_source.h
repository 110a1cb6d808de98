/*
 * Where the values of scorers come from that are no comparison of texts: a worker job with a model.
 * One row a source in score_source.c; one of its scorers (quality/score.h) or more name it.
 *
 * The job gets {"task", "engine", "window", "scorers", "answers": [{"ordinal", "item", "pass", "text"}, ...]} and
 * what the source's args add, and sends {"answer": index, "scorer", "value"} for each value it has
 * (score_job.h); its result is kept as it is.
 */
#ifndef LIFECYCLE_SCORE_SOURCE_H
#define LIFECYCLE_SCORE_SOURCE_H

#include "lifecycle/run_internal.h"

struct score_source {
    enum scorer_source id;
    const char *job;    /* in the worker's table */
    const char *window; /* its energy window, apart from what serving used */
    /* Adds to the stage's inputs what values depend on. */
    void (*inputs)(const struct run *r, json_t *in);
    /* Adds the job's own arguments; v is the variant whose answers they are. */
    void (*args)(const struct run *r, const struct variant *v, json_t *args);
};

extern const struct score_source score_sources[];
extern const size_t n_score_sources;

/* Whether a scorer of the task has its values from the source, and the plan has the model. */
bool score_source_is_wanted(const struct run *r, const struct score_source *s, enum task_kind kind);
/* Appends what must be known of the scores beforehand, a line each: tasks without a score S and why, a
 * key that others can read. */
void score_gaps(const struct run *r, struct buf *out);
/* Hashes the model files that score, which their values depend on. */
int score_sources_prepare(struct run *r, struct err *e) EE_MUST_CHECK;
/* The models that score, for the manifest: [{"job", "model", "hash" or "url"}, ...]. */
json_t *score_sources_json(const struct run *r);

#endif
