/* What a report says of adapting: phases, refusals, and QLoRA against LoRA. */
#include "report/adaptation.h"

#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define RESULT(tokens, peak)                                                                       \
    "{\"tokens\": " tokens ", \"tokens_per_s\": 50, \"train_s\": 20, \"peak_bytes\": " peak        \
    ", \"first_loss\": 3.5, \"last_loss\": 1.25, \"first_validation_loss\": 2.5,"                  \
    " \"best_validation_loss\": 1.5, \"phase_s\": {\"load\": 2, \"forward\": 5,"                   \
    " \"backward\": 14, \"optimiser\": 1, \"evaluate\": 4, \"save\": 0.5}}"

static struct store_energy window(const char *name, double joules, const char *quality) {
    return (struct store_energy){.window = name,
                                 .component = "total",
                                 .quality = quality,
                                 .joules = joules,
                                 .reason = "the sensor went away"};
}

static struct report_stage stage(const char *result, struct store_energy *windows, size_t n) {
    return (struct report_stage){.s = {.kind = "adapt", .status = "done", .result_json = result},
                                 .energies = windows,
                                 .n_energies = n};
}

static struct report_variant variant(const char *method, const char *precision,
                                     const struct report_stage *st) {
    struct report_variant v = {.v = {.model_id = "m",
                                     .task = "rag",
                                     .method = method,
                                     .precision = precision,
                                     .device = "CPU"}};
    v.stages[REPORT_ADAPT] = st;
    return v;
}

static void check_lines(struct report_variant *variants, size_t n, const char *const *due,
                        size_t n_due) {
    const struct report_run run = {.variants = variants, .n_variants = n};
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    const char **lines = NULL;
    size_t n_lines = 0;
    OK(adaptation_lines(&run, &a, &lines, &n_lines, &e));
    assert_int_equal(n_lines, n_due);
    for (size_t i = 0; i < n_due; i++) {
        assert_string_equal(lines[i], due[i]);
    }
    arena_release(&a);
}

/* Precisions share a training, which is told once; modelled joules carry their mark. */
static void both_methods_are_compared(void **state) {
    (void)state;
    struct store_energy of_lora[] = {
        window("adapt", 100, "counter"), window("adapt/load", 10, "counter"),
        window("adapt/steps", 80, "counter"), window("adapt/save", 2, "counter")};
    struct store_energy of_qlora[] = {
        window("adapt", 112, "modelled"), window("adapt/load", 30, "modelled"),
        window("adapt/steps", 80, "modelled"), window("adapt/save", 2, "modelled")};
    const struct report_stage lora = stage(RESULT("1000", "2e9"), of_lora, 4);
    const struct report_stage qlora = stage(RESULT("1000", "7.6e8"), of_qlora, 4);
    struct report_variant variants[] = {variant("lora", "fp16", &lora),
                                        variant("lora", "int4", &lora),
                                        variant("qlora", "int4", &qlora)};
    static const char *const due[] = {
        "rag lora: 1000 tokens at 50 tokens/s, 0.0800 J a token, at most 2 GB; load 10 J in 2 s, "
        "steps 80 J in 24 s, save 2 J in 0.500 s; within the steps forward 5 s, backward 14 s, "
        "optimiser 1 s; loss 3.50 to 1.25, held out 2.50 to 1.50",
        "rag qlora: 1000 tokens at 50 tokens/s, ~0.0800 J a token, at most 760 MB; load ~30 J in 2 s, "
        "steps ~80 J in 24 s, save ~2 J in 0.500 s; within the steps forward 5 s, backward 14 s, "
        "optimiser 1 s; loss 3.50 to 1.25, held out 2.50 to 1.50",
        "rag, QLoRA against LoRA: 0.380 of the memory, ~1.12 times the joules"};
    check_lines(variants, 3, due, 3);
}

static void missing_joules_are_refused_by_name(void **state) {
    (void)state;
    struct store_energy of_lora[] = {window("adapt", 100, "counter")};
    struct store_energy of_qlora[] = {window("adapt", (double)NAN, "missing")};
    const struct report_stage lora = stage("{\"trainer\": \"command\"}", of_lora, 1);
    const struct report_stage qlora = stage("{\"trainer\": \"command\"}", of_qlora, 1);
    struct report_variant variants[] = {variant("lora", "int4", &lora),
                                        variant("qlora", "int4", &qlora)};
    static const char *const due[] = {
        "rag lora: 100 J; trained by another program, which does not tell its phases",
        "rag qlora: no joules (the sensor went away); trained by another program, which does not tell "
        "its phases",
        "rag, QLoRA against LoRA: an unknown part of the memory, joules not known: the sensor went "
        "away"};
    check_lines(variants, 2, due, 3);
}

/* Tokens count over all processes, windows in the last one alone. */
static void a_resumed_training_has_no_joules_a_token(void **state) {
    (void)state;
    struct store_energy windows[] = {window("adapt", 100, "counter"),
                                     window("adapt/steps", 80, "counter")};
    const struct report_stage lora = stage("{\"tokens\": 1000, \"resumed_from\": 20}", windows, 2);
    struct report_variant variants[] = {variant("lora", "fp16", &lora)};
    const struct report_run run = {.variants = variants, .n_variants = 1};
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    const char **lines = NULL;
    size_t n = 0;
    OK(adaptation_lines(&run, &a, &lines, &n, &e));
    assert_int_equal(n, 1);
    assert_non_null(strstr(lines[0], "no joules (the training was resumed, and its first steps are "
                                     "in no window) a token"));
    arena_release(&a);
}

static void without_training_there_is_nothing_to_say(void **state) {
    (void)state;
    struct report_stage failed = stage(NULL, NULL, 0);
    failed.s.status = "failed";
    struct report_variant variants[] = {variant("none", "fp16", NULL),
                                        variant("lora", "fp16", &failed)};
    check_lines(variants, 2, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_methods_are_compared),
        cmocka_unit_test(missing_joules_are_refused_by_name),
        cmocka_unit_test(a_resumed_training_has_no_joules_a_token),
        cmocka_unit_test(without_training_there_is_nothing_to_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
