/* From a plan's task to token ids: the part that every job with prompts shares. */
#ifndef LIFECYCLE_PROMPTS_H
#define LIFECYCLE_PROMPTS_H

#include "engine/engine.h"
#include "lifecycle/plan.h"

#include <jansson.h>

/* A task as a job's argument, and back into its items. */
json_t *prompts_json(const struct plan_task *t);
int prompts_load(const json_t *task, struct task_set *set, struct err *e) EE_MUST_CHECK;

/* The item's prompt by the model's template; only prompt and n_prompt of q are set. */
int prompts_tokenize(struct engine *g, const struct task_item *item, struct arena *a,
                     struct engine_request *q, struct err *e) EE_MUST_CHECK;

#endif
