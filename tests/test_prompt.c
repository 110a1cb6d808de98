#include "quality/prompt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *filled(const char *text, const struct prompt_field *fields, size_t n) {
    struct buf out;
    buf_init(&out);
    prompt_fill(text, fields, n, &out);
    char *s = buf_detach(&out);
    assert_non_null(s);
    return s;
}

static void fields_are_filled_once(void **state) {
    (void)state;
    const struct prompt_field fields[] = {{"q", "what is {c}?"}, {"c", "{q} {{c}}"}};
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", ""},
        {"{q}", "what is {c}?"},
        {"{c}|{q}|{c}", "{q} {{c}}|what is {c}?|{q} {{c}}"},
        {"{", "{"},
        {"{q", "{q"},
        {"{qq}", "{qq}"},
        {"{}", "{}"},
        {"{{q}}", "{what is {c}?}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *got = filled(cases[i].text, fields, 2);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

static uint64_t fnv1a(uint64_t hash, const char *s) {
    for (; s && *s; s++) {
        hash = (hash ^ (unsigned char)*s) * UINT64_C(0x100000001B3);
    }
    return (hash ^ 0xFF) * UINT64_C(0x100000001B3); /* so that a moved boundary shows */
}

/* Results of other words must not be taken for results of these. */
static void new_words_mean_a_new_version(void **state) {
    (void)state;
    static const struct {
        const char *version;
        uint64_t hash;
    } known = {"1", UINT64_C(0x62592F56EC1C7CE9)};
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (int k = 0; k < TASK_KINDS; k++) {
        const struct prompt *p = prompt_for((enum task_kind)k);
        hash = fnv1a(hash, p->system);
        hash = fnv1a(hash, p->user);
        hash = fnv1a(hash, p->no_answer);
    }
    if (hash != known.hash || strcmp(known.version, PROMPT_VERSION) != 0) {
        fail_msg("the prompts have changed: raise PROMPT_VERSION (now %s), and write it and the "
                 "hash 0x%llX here",
                 PROMPT_VERSION, (unsigned long long)hash);
    }
}

static void every_task_has_a_system_message(void **state) {
    (void)state;
    for (int k = 0; k < TASK_KINDS; k++) {
        const char *system = prompt_for((enum task_kind)k)->system;
        assert_non_null(system);
        assert_true(strlen(system) > 0);
    }
    const struct prompt *rag = prompt_for(TASK_RAG);
    assert_non_null(strstr(rag->system, rag->no_answer));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_filled_once),
        cmocka_unit_test(new_words_mean_a_new_version),
        cmocka_unit_test(every_task_has_a_system_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
