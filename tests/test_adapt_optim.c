/* The learning rate's course, and what an update does to an adapter. */
#include "adapt/optim.h"

#include "support/adapt_rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void rates(void **state) {
    (void)state;
    /* Up in a line, and the last step still has some of the way left. */
    assert_true(schedule_rate(SCHEDULE_CONSTANT, 1, 1, 10, 4) == 0.25);
    assert_true(schedule_rate(SCHEDULE_CONSTANT, 1, 4, 10, 4) == 1);
    assert_true(schedule_rate(SCHEDULE_CONSTANT, 2, 10, 10, 0) == 2);
    assert_true(schedule_rate(SCHEDULE_LINEAR, 1, 5, 10, 4) == 1);
    assert_true(fabs(schedule_rate(SCHEDULE_LINEAR, 1, 10, 10, 4) - 1.0 / 6) < 1e-12);
    assert_true(fabs(schedule_rate(SCHEDULE_COSINE, 1, 8, 10, 4) - 0.5) < 1e-12);
    for (int64_t step = 6; step <= 10; step++) {
        assert_true(schedule_rate(SCHEDULE_COSINE, 1, step, 10, 4) <
                    schedule_rate(SCHEDULE_COSINE, 1, step - 1, 10, 4));
    }
    assert_true(schedule_rate(SCHEDULE_COSINE, 1, 1, 1, 1) == 1);
}

/* Gradients of one value everywhere, padding included. */
static void set_gradients(struct lora *l, float value) {
    float *values = rig_values(l->grads);
    for (int64_t i = 0; i < ggml_nelements(l->grads); i++) {
        values[i] = value;
    }
    ggml_backend_tensor_set(l->grads, values, 0, ggml_nbytes(l->grads));
    free(values);
}

static void an_update_follows_the_formula(void **state) {
    struct adapt_rig r;
    struct optim *o = NULL;
    struct err e = ERR_INIT;
    struct gguf_make m = gguf_make_default;
    double norm = 0;
    m.type = GGML_TYPE_F32;
    rig_open(&r, *state, &m, &rig_default);
    OK(optim_create(&r.device, &r.lora, &o, &e));
    float *before = rig_values(r.lora.params);
    set_gradients(&r.lora, -2);
    const struct optim_step s = {.step = 1, .rate = 0.01, .weight_decay = 0.5, .clip = 1e9};
    OK(optim_update(o, &s, &norm, &e));
    float *after = rig_values(r.lora.params);
    const int64_t n = ggml_nelements(r.lora.params);
    assert_true(fabs(norm - 2 * sqrt((double)n)) < 1e-3 * norm);
    for (int64_t i = 0; i < n; i++) {
        /* The first step's moments are the gradient itself: one rate against its sign. */
        double want = (double)before[i] * (1 - 0.01 * 0.5) + 0.01;
        assert_true(fabs((double)after[i] - want) < 1e-6);
    }
    set_gradients(&r.lora, NAN);
    OK(optim_update(o, &s, &norm, &e));
    assert_true(!isfinite(norm));
    free(before);
    before = rig_values(r.lora.params);
    assert_true(memcmp(before, after, (size_t)n * sizeof(*before)) == 0);
    free(before);
    free(after);
    optim_free(o);
    rig_close(&r);
}

/* Gradients eight times too large, and said to be, leave the same moments. */
static void a_loss_scale_is_taken_out(void **state) {
    struct gguf_make m = gguf_make_default;
    m.type = GGML_TYPE_F32;
    float *moments[2];
    double norms[2];
    for (int i = 0; i < 2; i++) {
        struct adapt_rig r;
        struct optim *o = NULL;
        struct err e = ERR_INIT;
        const double loss_scale = i ? 8 : 1;
        rig_open(&r, *state, &m, &rig_default);
        OK(optim_create(&r.device, &r.lora, &o, &e));
        set_gradients(&r.lora, (float)(0.25 * loss_scale));
        const struct optim_step s = {.step = 1, .rate = 0.01, .loss_scale = loss_scale};
        OK(optim_update(o, &s, &norms[i], &e));
        moments[i] = rig_values(r.lora.moment1);
        assert_true(fabs((double)moments[i][0] - 0.025) < 1e-6);
        optim_free(o);
        if (i == 1) {
            assert_true(norms[0] == norms[1]);
            assert_memory_equal(moments[0], moments[1], ggml_nbytes(r.lora.moment1));
        }
        rig_close(&r);
    }
    free(moments[0]);
    free(moments[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(an_update_follows_the_formula),
        cmocka_unit_test(a_loss_scale_is_taken_out),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
