/*
 * Files of models that a plan gives as shapes. Their weights are random and follow from shape, type
 * and seed, so a file is written when a stage is to read it and is not there, and deleted when no
 * stage to come reads it: disks need hold one model at a time, and a run that goes on elsewhere
 * brings no model along. What a shape costs does not depend on its weights, so stages whose files
 * have one shape are one stage: the adapters of all tasks and methods are merged, quantized and
 * loaded once.
 */
#ifndef LIFECYCLE_MODEL_FILES_H
#define LIFECYCLE_MODEL_FILES_H

#include "lifecycle/run_internal.h"
#include "lifecycle/worker.h"

static inline bool variant_is_of_shape(const struct variant *v) {
    return v->model->shape != NULL;
}

/* Whether a file that a stage left at path, which this frees, is there or can be written again. */
bool model_file_remains(const struct variant *v, char *path);
/* Writes what the stage reads and is not there. Nothing to do for models that are files. */
int model_files_make(struct run *r, const struct stage_kind *k, const struct variant *v,
                     struct err *e) EE_MUST_CHECK;

typedef int model_files_pending(void *ctx, const struct stage_kind *k, const struct variant *v,
                                bool *pending, struct err *e);
/* Deletes the files of v's model that none of its pending stages reads. */
int model_files_drop(struct run *r, const struct variant *v, model_files_pending *pending,
                     void *ctx, struct err *e) EE_MUST_CHECK;

/* Disk that the plan's shapes take at most at one time, their models being done one after another. */
uint64_t model_files_disk_bytes(const struct run *r);

/* The job's description of a shape: {"shapes", "shape", "vocab", "type", "seed"}. */
json_t *model_files_shape_json(const struct run *r, const struct plan_model *m, const char *type);
/* In a worker: writes that shape with out_path; narrow: with the tokenizer and the template alone and
 * hardly any weights, to see what prompts become. Facts that follow from the shape go to *facts, where
 * asked for. */
int model_files_write(struct worker *w, const json_t *shape, const char *out_path, bool narrow,
                      json_t **facts, struct err *e) EE_MUST_CHECK;

#endif
