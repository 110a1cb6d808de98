#include "adapt/dropout.h"

#include "base/rng.h"

#include <stdlib.h>

void dropout_declare(struct dropout *d, struct ggml_context *ctx, bool own_kernels, double rate,
                     int64_t n_mask) {
    *d = (struct dropout){.rate = rate};
    if (rate > 0) {
        d->n = n_mask + DROPOUT_WINDOWS;
        d->pool = own_kernels ? NULL : ggml_new_tensor_1d(ctx, GGML_TYPE_F32, d->n);
    }
}

/* The device has its mask as numbers to multiply with. */
static int upload(const struct dropout *d, struct err *e) {
    enum { CHUNK = 1 << 16 };
    float *values = malloc(CHUNK * sizeof(*values));
    if (!values) {
        return err_set(e, EE_NOMEM, "dropout: out of memory");
    }
    for (int64_t at = 0; at < d->n; at += CHUNK) {
        int64_t n = d->n - at < CHUNK ? d->n - at : CHUNK;
        for (int64_t i = 0; i < n; i++) {
            values[i] = d->keep[at + i];
        }
        ggml_backend_tensor_set(d->pool, values, (size_t)at * sizeof(float),
                                (size_t)n * sizeof(float));
    }
    free(values);
    return 0;
}

int dropout_fill(struct dropout *d, uint64_t seed, struct arena *a, struct err *e) {
    if (d->rate <= 0) {
        return 0;
    }
    uint8_t *keep = arena_alloc(a, (size_t)d->n);
    if (!keep) {
        return err_set(e, EE_NOMEM, "dropout: out of memory");
    }
    struct rng rng;
    rng_init_stream(&rng, seed, 0);
    const uint32_t below = (uint32_t)(d->rate * (double)UINT32_MAX);
    for (int64_t i = 0; i < d->n; i++) {
        keep[i] = (uint32_t)(rng_u64(&rng) >> 32) >= below;
    }
    d->keep = keep;
    return d->pool ? upload(d, e) : 0;
}
