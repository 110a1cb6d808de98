/*
 * edge-eval fidelity: how far one model file's predictions are from another's on the same text, in a
 * worker process that holds both. Logits are compared as they are computed; none are stored.
 */
#ifndef LIFECYCLE_FIDELITY_H
#define LIFECYCLE_FIDELITY_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct fidelity_opts {
    const char *exe; /* this program */
    const char *base_path;
    const char *other_path;
    const char *text_path; /* NULL: the prompts of a task */
    const char *task;      /* rag, summ or chat; with its file */
    const char *task_path;
    int64_t items;   /* of the task; 0: all */
    int64_t windows; /* of the text, at most; 0: all */
    int64_t context; /* tokens a window; for a task 0: what the longest prompt needs */
    int64_t threads; /* 0: one a hardware thread */
    int64_t gpu_layers;
    bool compat; /* as llama-perplexity does; text only */
    void (*on_progress)(int64_t done, int64_t total, void *ctx); /* tokens; may be NULL */
    void *ctx;
};

/*
 * *result, the caller's: {"method": "exact", "device", "context", "tokens", "windows", "kl": {"mean":
 * {"value", "low", "high"}, "median", "p99", "max"}, "same_top", "ppl_base", "ppl_other", "ppl_ratio":
 * like the mean}, with null for the ends of an interval that the sample does not give; or {"method":
 * "llama-perplexity", ...} with that tool's figures as {"value", "error"}.
 */
int fidelity_measure(const struct fidelity_opts *opts, json_t **result,
                     struct err *e) EE_MUST_CHECK;

/*
 * Keeps the result of method "exact" with the run whose model files the two are, told by their
 * content; a file that no stage of the run made is refused. A later result of the same two replaces it.
 */
int fidelity_keep(const char *run_dir, const struct fidelity_opts *opts, const json_t *result,
                  struct err *e) EE_MUST_CHECK;
/* Appends the name by which a run's facts hold the result of two files of these hashes. */
void fidelity_key(const char *base_hash, const char *other_hash, struct buf *out);

#endif
