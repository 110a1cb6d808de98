/* What the two halves of synth share: the file's header and tensors, known before any weight. */
#ifndef ENGINE_SYNTH_PLAN_H
#define ENGINE_SYNTH_PLAN_H

#include "engine/synth.h"

#include <gguf.h>
#include <ggml.h>

enum synth_fill {
    SYNTH_MATRIX, /* N(0, 0.02) */
    SYNTH_NORM,   /* N(1, 0.05) */
    SYNTH_BIAS,   /* N(0, 0.1) */
    SYNTH_ROPE,   /* Llama 3's frequency factors */
};

struct synth_tensor {
    char name[GGML_MAX_NAME];
    int64_t ne[GGML_MAX_DIMS];
    enum ggml_type type;
    enum synth_fill fill;
};

struct synth_plan {
    struct gguf_context *header; /* keys and tensors, offsets included */
    struct synth_tensor *tensors;
    size_t n;
};

/* Fills plan from the options; release with synth_plan_release, also after an error. */
int synth_plan_init(struct synth_plan *plan, const struct synth_opts *opts,
                    struct err *e) EE_MUST_CHECK;
void synth_plan_release(struct synth_plan *plan);
int64_t synth_tensor_rows(const struct synth_tensor *t);

#endif
