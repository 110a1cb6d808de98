#include "support/adapt_rig.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { RANK = 4, FIRST_LEN = 17, VOCAB = 261 };

const struct gguf_make rig_llama = {.arch = "llama",
                                    .type = GGML_TYPE_F32,
                                    .n_layers = 2,
                                    .n_embd = 128,
                                    .n_ff = 160,
                                    .n_head_kv = 2,
                                    .rope_freqs = true,
                                    .spread = 0.4F,
                                    .template = gguf_make_chatml};
const struct gguf_make rig_qwen2 = {.arch = "qwen2",
                                    .type = GGML_TYPE_F32,
                                    .n_layers = 2,
                                    .n_embd = 96,
                                    .n_ff = 128,
                                    .n_head_kv = 1,
                                    .biases = true,
                                    .untied = true,
                                    .spread = 0.4F,
                                    .template = gguf_make_chatml};

const struct rig_opts rig_default = {.matrices = GGML_TYPE_COUNT, .n_threads = 1};

static int32_t tokens[RIG_TOKENS];
static int32_t positions[RIG_TOKENS];
static int32_t rows[RIG_ROWS];
static int32_t targets[RIG_ROWS];
static const struct segment segments[RIG_SEGMENTS] = {{0, FIRST_LEN},
                                                      {FIRST_LEN, RIG_TOKENS - FIRST_LEN}};

/* Every row but the first four of each sequence is supervised. */
static void make_batch(struct batch *b) {
    int n = 0;
    for (int i = 0; i < RIG_TOKENS; i++) {
        tokens[i] = (i * 37 + i / 5) % VOCAB;
        positions[i] = i < FIRST_LEN ? i : i - FIRST_LEN;
        if (positions[i] >= 4) {
            rows[n] = i;
            targets[n++] = (i * 53 + 11) % VOCAB;
        }
    }
    assert_int_equal(n, RIG_ROWS);
    *b = (struct batch){.n_tokens = RIG_TOKENS,
                        .tokens = tokens,
                        .positions = positions,
                        .n_segments = RIG_SEGMENTS,
                        .segments = segments,
                        .n_rows = RIG_ROWS,
                        .rows = rows,
                        .targets = targets};
}

/* B starts at zero, which would leave A without gradients. */
static void fill_params(struct lora *l) {
    struct rng rng;
    float *values = rig_values(l->params);
    rng_init(&rng, 5);
    for (int64_t i = 0; i < ggml_nelements(l->params); i++) {
        values[i] = 0.2F * ((float)rng_uniform(&rng) - 0.5F);
    }
    ggml_backend_tensor_set(l->params, values, 0, ggml_nbytes(l->params));
    free(values);
}

void rig_open(struct adapt_rig *r, struct scratch *dir, const struct gguf_make *m,
              const struct rig_opts *o) {
    struct err e = ERR_INIT;
    const char *path = scratch_path(dir, "rig.gguf");
    *r = (struct adapt_rig){0};
    gguf_make_file(path, m);
    OK(device_open(NULL, o->n_threads, o->plain_ops, &r->device, &e));
    OK(device_set_compute(&r->device, o->compute, false, &e));
    OK(base_model_load(path, &r->device, o->matrices, &r->model, &e));
    OK(lora_init(&r->model.shape, &r->device, RANK, 2 * RANK, ALL_MODULES, 3, &r->lora, &e));
    fill_params(&r->lora);
    make_batch(&r->batch);
    const struct pass_limits limits = {.max_tokens = RIG_TOKENS + 3,
                                       .max_segments = RIG_SEGMENTS,
                                       .max_segment = RIG_TOKENS,
                                       .checkpoint = !o->whole,
                                       .dropout = o->dropout,
                                       .seed = 1};
    OK(pass_create(&r->device, &r->model, &r->lora, &limits, &r->pass, &e));
}

void rig_close(struct adapt_rig *r) {
    pass_free(r->pass);
    lora_release(&r->lora);
    base_model_release(&r->model);
    device_close(&r->device);
}

double rig_loss(struct adapt_rig *r, bool train) {
    struct err e = ERR_INIT;
    double sum = 0;
    if (train) {
        ggml_backend_tensor_memset(r->lora.grads, 0, 0, ggml_nbytes(r->lora.grads));
        OK(pass_train(r->pass, &r->batch, 1, 7, r->losses, &e));
    } else {
        OK(pass_evaluate(r->pass, &r->batch, r->losses, &e));
    }
    for (int i = 0; i < RIG_ROWS; i++) {
        sum += (double)r->losses[i];
    }
    return sum;
}

float *rig_values(const struct ggml_tensor *flat) {
    float *values = malloc(ggml_nbytes(flat));
    assert_non_null(values);
    ggml_backend_tensor_get(flat, values, 0, ggml_nbytes(flat));
    return values;
}

double rig_difference(const struct ggml_tensor *a, const struct ggml_tensor *b) {
    float *x = rig_values(a);
    float *y = rig_values(b);
    double most = 0;
    double difference = 0;
    assert_int_equal(ggml_nelements(a), ggml_nelements(b));
    for (int64_t i = 0; i < ggml_nelements(a); i++) {
        most = fmax(most, fabs((double)y[i]));
        difference = fmax(difference, fabs((double)x[i] - (double)y[i]));
    }
    free(x);
    free(y);
    assert_true(most > 0);
    return difference / most;
}
