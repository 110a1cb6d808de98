/* Losses and gradients of a pass: against finite differences, and every road against the others. */
#include "support/adapt_rig.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The loss with tensor t moved by step along direction. */
static double moved_loss(struct adapt_rig *r, struct ggml_tensor *t, const float *direction,
                         float step) {
    float *at = rig_values(t);
    float *to = rig_values(t);
    for (int64_t i = 0; i < ggml_nelements(t); i++) {
        to[i] = at[i] + step * direction[i];
    }
    ggml_backend_tensor_set(t, to, 0, ggml_nbytes(t));
    double loss = rig_loss(r, false);
    ggml_backend_tensor_set(t, at, 0, ggml_nbytes(t));
    free(at);
    free(to);
    return loss;
}

/* The slope along a random direction, by central difference and by the gradient. */
static void check_tensor(struct adapt_rig *r, struct ggml_tensor *t, const struct ggml_tensor *grad,
                         struct rng *rng) {
    const float step = 2e-3F;
    float *direction = rig_values(t);
    float *g = rig_values(grad);
    double by_gradient = 0;
    double norm = 0;
    for (int64_t i = 0; i < ggml_nelements(t); i++) {
        direction[i] = rng_uniform(rng) < 0.5 ? -1 : 1;
        by_gradient += (double)g[i] * (double)direction[i];
        norm += (double)g[i] * (double)g[i];
    }
    double by_difference = (moved_loss(r, t, direction, step) -
                            moved_loss(r, t, direction, -step)) /
                           (2 * (double)step);
    /* A random direction's slope is about the norm; a wrong gradient is off by as much. */
    if (!(fabs(by_gradient - by_difference) < 3e-3 * sqrt(norm) + 2e-3)) {
        fail_msg("gradient %g, difference %g, norm %g", by_gradient, by_difference, sqrt(norm));
    }
    free(direction);
    free(g);
}

static void check_differences(struct scratch *dir, const struct gguf_make *m, bool plain_ops) {
    struct adapt_rig r;
    struct rig_opts o = rig_default;
    struct rng rng;
    rng_init(&rng, 2);
    o.plain_ops = plain_ops;
    rig_open(&r, dir, m, &o);
    double trained = rig_loss(&r, true);
    double evaluated = rig_loss(&r, false);
    assert_true(fabs(trained - evaluated) < 1e-4);
    for (int i = 0; i < m->n_layers * MODULE_COUNT; i++) {
        check_tensor(&r, r.lora.pairs[i].a, r.lora.pairs[i].grad_a, &rng);
        check_tensor(&r, r.lora.pairs[i].b, r.lora.pairs[i].grad_b, &rng);
    }
    rig_close(&r);
}

static void gradients_are_slopes(void **state) {
    check_differences(*state, &rig_llama, false);
    check_differences(*state, &rig_qwen2, false);
}

static void gradients_of_plain_operations_are_slopes(void **state) {
    check_differences(*state, &rig_llama, true);
    check_differences(*state, &rig_qwen2, true);
}

/* Losses and gradients of two ways to compute the same; the largest difference of any. */
static double compare(struct scratch *dir, const struct gguf_make *m, const struct rig_opts *x,
                      const struct rig_opts *y) {
    struct adapt_rig a;
    struct adapt_rig b;
    rig_open(&a, dir, m, x);
    rig_open(&b, dir, m, y);
    double loss_a = rig_loss(&a, true);
    double loss_b = rig_loss(&b, true);
    double d = fmax(fabs(loss_a - loss_b) / loss_a, rig_difference(a.lora.grads, b.lora.grads));
    rig_close(&a);
    rig_close(&b);
    return d;
}

static void both_roads_agree(void **state) {
    const struct gguf_make *const models[] = {&rig_llama, &rig_qwen2};
    for (size_t i = 0; i < 2; i++) {
        struct rig_opts plain = rig_default;
        plain.plain_ops = true;
        assert_true(compare(*state, models[i], &rig_default, &plain) < 2e-5);
        struct rig_opts own = rig_default;
        own.dropout = plain.dropout = 0.3;
        assert_true(compare(*state, models[i], &own, &plain) < 2e-5);
        assert_true(compare(*state, models[i], &own, &rig_default) > 1e-2);
    }
}

static void checkpoints_change_no_bit(void **state) {
    for (int plain = 0; plain < 2; plain++) {
        struct rig_opts o = rig_default;
        o.plain_ops = plain;
        o.dropout = 0.1;
        struct rig_opts whole = o;
        whole.whole = true;
        assert_true(compare(*state, &rig_llama, &o, &whole) == 0);
        assert_true(compare(*state, &rig_qwen2, &o, &whole) == 0);
    }
}

static void threads_change_no_bit(void **state) {
    struct rig_opts many = rig_default;
    many.n_threads = 3;
    assert_true(compare(*state, &rig_llama, &rig_default, &many) == 0);
    assert_true(compare(*state, &rig_qwen2, &rig_default, &many) == 0);
}

/* A quantized base computes with the numbers its blocks stand for, so that its twin, the same numbers
 * in F32, has the same gradients. */
static void quantized_bases_equal_their_twins(void **state) {
    static const enum ggml_type types[] = {GGML_TYPE_F16,   GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                                           GGML_TYPE_Q4_0,  GGML_TYPE_Q4_1, GGML_TYPE_Q4_K,
                                           GGML_TYPE_IQ4_NL};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        for (int plain = 0; plain < 2; plain++) {
            struct gguf_make m = rig_llama;
            m.type = types[i];
            m.n_embd = 256;
            m.n_ff = 512;
            struct rig_opts held = rig_default;
            held.plain_ops = plain;
            struct rig_opts twin = held;
            twin.matrices = GGML_TYPE_F32;
            assert_true(compare(*state, &m, &held, &twin) < 1e-6);
        }
    }
}

/* Rows of 160 values fit no block of 256; IQ4_NL's of 32 they do. */
static void odd_rows_are_dequantized_too(void **state) {
    struct gguf_make m = rig_llama;
    m.type = GGML_TYPE_IQ4_NL;
    struct rig_opts twin = rig_default;
    twin.matrices = GGML_TYPE_F32;
    assert_true(compare(*state, &m, &rig_default, &twin) < 1e-6);
    struct rig_opts plain = rig_default;
    plain.plain_ops = true;
    assert_true(compare(*state, &m, &plain, &twin) < 2e-5);
}

/* Rounding both factors moves losses and gradients by the type's last digits, and does move them. */
static void narrower_products_stay_close(void **state) {
    static const struct {
        const char *name;
        double most;
    } computes[] = {{"bf16", 3e-2}, {"f16", 4e-3}};
    static const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q4_0,
                                           GGML_TYPE_IQ4_NL};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        for (size_t k = 0; k < sizeof(computes) / sizeof(computes[0]); k++) {
            struct gguf_make m = rig_qwen2;
            m.type = types[i];
            struct rig_opts wide = rig_default;
            wide.plain_ops = true;
            struct rig_opts narrow = wide;
            narrow.compute = computes[k].name;
            double d = compare(*state, &m, &narrow, &wide);
            if (!(d > 1e-5 && d < computes[k].most)) {
                fail_msg("%s in %s is %g off", ggml_type_name(types[i]), computes[k].name, d);
            }
            struct rig_opts whole = narrow;
            whole.whole = true;
            assert_true(compare(*state, &m, &narrow, &whole) == 0);
        }
    }
}

/* What is not in blocks is held as it is multiplied. */
static void matrices_are_held_as_computed(void **state) {
    struct gguf_make m = rig_llama;
    struct adapt_rig r;
    struct rig_opts o = rig_default;
    o.plain_ops = true;
    o.compute = "bf16";
    rig_open(&r, *state, &m, &o);
    assert_int_equal(r.model.layers[0].w[MODULE_Q]->type, GGML_TYPE_BF16);
    assert_int_equal(r.model.layers[0].attn_norm->type, GGML_TYPE_F32);
    rig_close(&r);
    m.type = GGML_TYPE_Q8_0;
    rig_open(&r, *state, &m, &o);
    assert_int_equal(r.model.layers[0].w[MODULE_Q]->type, GGML_TYPE_Q8_0);
    rig_close(&r);
}

static void compute_types_are_checked(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct device d;
    OK(device_open("cpu", 1, false, &d, &e));
    OK(device_set_compute(&d, NULL, false, &e));
    assert_int_equal(d.compute, GGML_TYPE_F32);
    OK(device_set_compute(&d, "f32", false, &e));
    assert_int_equal(device_set_compute(&d, "bf16", true, &e), EE_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "bf16"));
    assert_int_equal(device_set_compute(&d, "tf32", false, &e), EE_USAGE);
    device_close(&d);
    assert_int_equal(device_auto_compute(false, false), GGML_TYPE_BF16);
    assert_int_equal(device_auto_compute(false, true), GGML_TYPE_F32);
    assert_int_equal(device_auto_compute(true, false), GGML_TYPE_F32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(gradients_of_plain_operations_are_slopes),
        cmocka_unit_test(both_roads_agree),
        cmocka_unit_test(checkpoints_change_no_bit),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(quantized_bases_equal_their_twins),
        cmocka_unit_test(odd_rows_are_dequantized_too),
        cmocka_unit_test(narrower_products_stay_close),
        cmocka_unit_test(matrices_are_held_as_computed),
        cmocka_unit_test(compute_types_are_checked),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
