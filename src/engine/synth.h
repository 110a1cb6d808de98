/*
 * Checkpoints with the shape of a real model and random weights: what a model would cost on this
 * machine, known before it is downloaded. Time, joules and bytes follow from the shape; answers are
 * meaningless, so the file says of itself that it is synthetic (gguf_info.is_synthetic) and no
 * quality is ever computed from it.
 *
 * Matrix weights are drawn from N(0, 0.02): a pool of four million seeded values, converted to each
 * type once and copied row by row from random places, so that a file is written as fast as the disk
 * takes it. Which tensor gets which type is decided by libllama itself, on a twin of the model with
 * the same layers and narrow matrices.
 */
#ifndef ENGINE_SYNTH_H
#define ENGINE_SYNTH_H

#include "engine/shape.h"

#include "base/err.h"

#include <signal.h>
#include <stdint.h>

typedef void synth_progress_fn(uint64_t done_bytes, uint64_t all_bytes, void *ctx);

struct synth_opts {
    const struct known_shape *shape; /* or NULL and */
    const char *like_path;           /* a GGUF file whose shape and tokenizer are taken */
    const char *vocab_path;          /* of a shape: the vocabulary-only GGUF */
    const char *out_path;
    const char *type; /* one of quantize_type_names; NULL: as in like_path, F16 for a shape */
    uint64_t seed;
    synth_progress_fn *progress; /* or NULL */
    void *progress_ctx;
    const volatile sig_atomic_t *stop; /* EE_STOPPED when it becomes true; or NULL */
};

/*
 * Writes out_path whole or not at all (it lies beside it as out_path.part until then). Refuses
 * before the first byte when the disk has too little room (EE_NOSPACE).
 */
int synth_write(const struct synth_opts *opts, struct err *e) EE_MUST_CHECK;

#endif
