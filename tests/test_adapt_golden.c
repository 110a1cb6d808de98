/* Five steps of training against PyTorch (scripts/goldens/make_adapt_goldens.py). */
#include "support/adapt_rig.h"

#include "adapt/optim.h"
#include "support/goldens.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct gguf_make models[] = {
    {.arch = "llama",
     .type = GGML_TYPE_F32,
     .n_layers = 2,
     .n_embd = 128,
     .n_ff = 160,
     .n_head_kv = 2,
     .spread = 0.4F,
     .template = gguf_make_chatml},
    {.arch = "qwen2",
     .type = GGML_TYPE_F32,
     .n_layers = 2,
     .n_embd = 96,
     .n_ff = 128,
     .n_head_kv = 1,
     .biases = true,
     .untied = true,
     .spread = 0.4F,
     .template = gguf_make_chatml},
};

/* Value k of tensor number n, A before B, is 0.1 sin(0.7 k + n). */
static void set_adapter(const struct lora *l) {
    int number = 0;
    for (int i = 0; i < l->n_layers * MODULE_COUNT; i++) {
        struct ggml_tensor *const pair[] = {l->pairs[i].a, l->pairs[i].b};
        for (int half = 0; half < 2; half++, number++) {
            float *values = rig_values(pair[half]);
            for (int64_t k = 0; k < ggml_nelements(pair[half]); k++) {
                values[k] = (float)(0.1 * sin(0.7 * (double)k + number));
            }
            ggml_backend_tensor_set(pair[half], values, 0, ggml_nbytes(pair[half]));
            free(values);
        }
    }
}

struct golden_run {
    struct scratch *dir;
    bool plain_ops;
    const char *compute;
    double loss_off; /* at most */
    double norm_off;
};

static void check_close(const char *what, size_t step, double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("%s of step %zu is %.7f, PyTorch has %.7f", what, step, got, want);
    }
}

static void train(struct adapt_rig *r, const json_t *golden, const struct golden_run *run) {
    const json_t *losses = json_object_get(golden, "losses");
    const json_t *norms = json_object_get(golden, "norms");
    struct err e = ERR_INIT;
    struct optim *optim = NULL;
    assert_int_equal(json_array_size(losses), 5);
    set_adapter(&r->lora);
    OK(optim_create(&r->device, &r->lora, &optim, &e));
    for (size_t i = 0; i < json_array_size(losses); i++) {
        double sum = 0;
        double norm = 0;
        optim_clear_gradients(&r->lora);
        OK(pass_train(r->pass, &r->batch, 1.0F / RIG_ROWS, 0, r->losses, &e));
        for (int k = 0; k < RIG_ROWS; k++) {
            sum += (double)r->losses[k];
        }
        const struct optim_step step = {
            .step = (int64_t)i + 1, .rate = 5e-3, .weight_decay = 0.01, .clip = 0.1};
        OK(optim_update(optim, &step, &norm, &e));
        check_close("the loss", i + 1, sum / RIG_ROWS, golden_num(json_array_get(losses, i)),
                    run->loss_off);
        check_close("the gradient's norm", i + 1, norm, golden_num(json_array_get(norms, i)),
                    run->norm_off);
    }
    optim_free(optim);
}

static void check_golden(const json_t *golden, void *ctx) {
    const struct golden_run *run = ctx;
    struct rig_opts o = rig_default;
    size_t found = 0;
    o.plain_ops = run->plain_ops;
    o.compute = run->compute;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        if (strcmp(models[i].arch, golden_str(golden, "arch")) == 0) {
            struct adapt_rig r;
            rig_open(&r, run->dir, &models[i], &o);
            train(&r, golden, run);
            rig_close(&r);
            found++;
        }
    }
    assert_int_equal(found, 1);
}

static void losses_follow_pytorch(void **state) {
    struct golden_run runs[] = {{*state, false, "f32", 1e-4, 1e-3},
                                {*state, true, "f32", 1e-4, 1e-3},
                                {*state, true, "bf16", 1e-3, 1e-3},
                                {*state, true, "f16", 1e-3, 1e-3}};
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        assert_int_equal(goldens_each("adapt/steps.jsonl", check_golden, &runs[i]), 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(losses_follow_pytorch)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
