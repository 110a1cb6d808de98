/* The safetensors files of a checkpoint: one, or several with an index. */
#ifndef ADAPT_HF_WEIGHTS_H
#define ADAPT_HF_WEIGHTS_H

#include "engine/safetensors.h"

#include <stdbool.h>

struct hf_weights {
    struct safetensors **files;
    size_t n_files;
    struct hf_weight *by_name; /* sorted */
    size_t n;
};

struct hf_weight {
    const struct safetensors *file;
    const struct safetensor *tensor;
    bool used; /* for the caller */
};

/* Opens model.safetensors, or all that model.safetensors.index.json names: a shard or tensor that
 * is missing is EE_MISSING, one in two files EE_FORMAT. Close also after an error. */
int hf_weights_open(const char *dir, struct hf_weights *w, struct err *e) EE_MUST_CHECK;
void hf_weights_close(struct hf_weights *w);
/* NULL when there is none of that name. */
struct hf_weight *hf_weights_find(const struct hf_weights *w, const char *name);

#endif
