/*
 * Known checkpoints (data/models.yaml) and where their files lie on this machine.
 */
#ifndef LIFECYCLE_MODELS_H
#define LIFECYCLE_MODELS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "engine/shape.h"

#include <stdint.h>

struct model {
    const char *id;
    const char *family;
    const char *size;    /* label: "135M" */
    const char *license; /* SPDX id, or NULL */
    const char *note;    /* what users must know of the file, or NULL */
    const char *file;    /* name under a models directory */
    const char *path;    /* of the file on this machine; NULL when it is not here */
    int64_t bytes;       /* of the file; 0 when not pinned */
};

/* All entries of data_dir/models.yaml, each with its path where the file is present. */
int models_load(const char *data_dir, struct arena *a, struct model **out, size_t *n,
                struct err *e) EE_MUST_CHECK;
/* Path of the vocabulary-only GGUF of a shape's tokenizer, which scripts/deps.sh puts into the cache.
 * EE_MISSING with what to do when it is not here. */
int models_find_vocabulary(const char *data_dir, const struct known_shape *s, struct buf *out,
                           struct err *e) EE_MUST_CHECK;

#endif
