/* What serve and score share: a worker that answers a task's items. */
#ifndef LIFECYCLE_SERVE_JOB_H
#define LIFECYCLE_SERVE_JOB_H

#include "lifecycle/run_internal.h"

/* Everything that shapes the answers, without what shapes only the measurement. */
int serve_inputs(struct run *r, const struct variant *v, json_t *in, struct err *e) EE_MUST_CHECK;
json_t *serve_job_args(const struct run *r, const struct variant *v, const char *path, bool forced,
                       int64_t repeats);

#endif
