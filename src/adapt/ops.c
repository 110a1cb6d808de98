#include "adapt/ops.h"

struct ggml_tensor *ops_linear(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                               struct linear_tape *tape) {
    return o->kind->linear(o, l, x, tape);
}

struct ggml_tensor *ops_linear_back(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                    const struct linear_tape *tape, struct ggml_tensor *dy,
                                    struct ggml_tensor *sum, bool want_dx) {
    return o->kind->linear_back(o, l, x, tape, dy, sum, want_dx);
}
