/* The matrix of a plan: which variants, in which order, under which names. */
#include "lifecycle/variant.h"

#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct plan_model models[] = {{.id = "big"}, {.id = "small"}};
static struct plan_task tasks[] = {{.kind = TASK_CHAT, .name = "chat"},
                                   {.kind = TASK_RAG, .name = "rag"}};

static struct plan plan_of(size_t n_models, size_t n_tasks) {
    return (struct plan){.models = models,
                         .n_models = n_models,
                         .tasks = tasks,
                         .n_tasks = n_tasks,
                         .methods = {METHOD_NONE},
                         .n_methods = 1,
                         .precisions = {PRECISION_INT4, PRECISION_FP16},
                         .n_precisions = 2};
}

static void every_cell_once_in_the_plans_order(void **state) {
    (void)state;
    static const char *const due[] = {
        "big.none.chat.int4",  "big.none.chat.fp16",   "big.none.rag.int4",
        "big.none.rag.fp16",   "small.none.chat.int4", "small.none.chat.fp16",
        "small.none.rag.int4", "small.none.rag.fp16",
    };
    const struct plan plan = plan_of(2, 2);
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct variant *v = NULL;
    size_t n = 0;
    OK(variants_expand(&plan, &a, &v, &n, &e));
    assert_int_equal(n, sizeof(due) / sizeof(due[0]));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(v[i].id, due[i]);
        assert_ptr_equal(v[i].model, &models[i / 4]);
        assert_ptr_equal(v[i].task, &tasks[i / 2 % 2]);
        assert_int_equal(v[i].method, METHOD_NONE);
        assert_int_equal(v[i].precision, i % 2 ? PRECISION_FP16 : PRECISION_INT4);
    }
    arena_release(&a);
}

static void one_cell_is_a_matrix(void **state) {
    (void)state;
    struct plan plan = plan_of(1, 1);
    plan.n_precisions = 1;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct variant *v = NULL;
    size_t n = 0;
    OK(variants_expand(&plan, &a, &v, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(v[0].id, "big.none.chat.int4");
    arena_release(&a);
}

static void cells_that_are_left_out_are_no_variants(void **state) {
    (void)state;
    struct plan plan = plan_of(1, 1);
    plan.methods[0] = METHOD_LORA;
    plan.methods[1] = METHOD_QLORA;
    plan.n_methods = 2;
    plan.left_out[METHOD_QLORA][PRECISION_FP16] = true;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct variant *v = NULL;
    size_t n = 0;
    OK(variants_expand(&plan, &a, &v, &n, &e));
    assert_int_equal(n, 3);
    assert_string_equal(v[0].id, "big.lora.chat.int4");
    assert_string_equal(v[1].id, "big.lora.chat.fp16");
    assert_string_equal(v[2].id, "big.qlora.chat.int4");
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_once_in_the_plans_order),
        cmocka_unit_test(one_cell_is_a_matrix),
        cmocka_unit_test(cells_that_are_left_out_are_no_variants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
