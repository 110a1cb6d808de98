/* The cost: section of a plan and its keys on a command line. */
#include "lifecycle/plan_cost.h"

#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static int read(const char *yaml, struct arena *a, struct plan_cost *c, struct err *e) {
    struct ydoc *doc = NULL;
    *c = (struct plan_cost){0};
    int rc = ydoc_load_bytes(yaml, strlen(yaml), "plan.yaml", &doc, e);
    rc = rc ? rc : plan_cost_read(ymap_get(ydoc_root(doc), "cost"), a, c, e);
    ydoc_free(doc);
    return rc;
}

static void what_is_not_given_stays_not_given(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan_cost c;
    OK(read("models: [x]\nanything: {else: 1}\n", &a, &c, &e));
    for (int i = 0; i < COST_KEYS; i++) {
        assert_false(c.v[i].given);
        assert_non_null(plan_cost_name((enum plan_cost_key)i));
        assert_non_null(plan_cost_about((enum plan_cost_key)i));
    }
    OK(read("cost: {ops: 0}\n", &a, &c, &e));
    assert_true(c.v[COST_OPS].given && c.v[COST_OPS].number == 0);
    assert_false(c.v[COST_LABOUR].given);
    arena_release(&a);
}

static void values_are_stored_in_one_unit(void **state) {
    (void)state;
    static const struct {
        const char *set;
        enum plan_cost_key key;
        double want;
    } cases[] = {
        {"traffic=500/h", COST_TRAFFIC, 500},
        {"traffic=2/s", COST_TRAFFIC, 7200},
        {"traffic= 12000 / d", COST_TRAFFIC, 500},
        {"traffic=12000/day", COST_TRAFFIC, 500},
        {"peak=10/min", COST_PEAK, 600},
        {"refresh=30d", COST_REFRESH, 30 * 86400.0},
        {"refresh=0", COST_REFRESH, 0},
        {"lifetime=4y", COST_LIFETIME, 4 * 8760 * 3600.0},
        {"lifetime=48 month", COST_LIFETIME, 4 * 8760 * 3600.0},
        {"slo_ttft=500ms", COST_SLO_TTFT, 0.5},
        {"boot=2min", COST_BOOT, 120},
        {"electricity=0.30", COST_ELECTRICITY, 0.30},
        {"headroom=1", COST_HEADROOM, 1},
        {"deployment=cloud", COST_DEPLOYMENT, DEPLOYMENT_CLOUD},
        {"deployment=owned", COST_DEPLOYMENT, DEPLOYMENT_OWNED},
        {"prepare=included", COST_PREPARE, PREPARE_INCLUDED},
        {"scale_to_zero=yes", COST_SCALE_TO_ZERO, 1},
        {"api_batch=no", COST_API_BATCH, 0},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = ERR_INIT;
        struct plan_cost c = {0};
        OK(plan_cost_set(cases[i].set, &a, &c, &e));
        assert_true(c.v[cases[i].key].given);
        assert_null(c.v[cases[i].key].name);
        if (fabs(c.v[cases[i].key].number - cases[i].want) > 1e-12 * cases[i].want) {
            fail_msg("%s is %.17g", cases[i].set, c.v[cases[i].key].number);
        }
    }
    arena_release(&a);
}

static void prices_are_numbers_or_names(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan_cost c;
    OK(read("cost: {electricity: us-texas, cloud: 0.7, api: gpt-4.1, carbon: 41}\n", &a, &c, &e));
    assert_string_equal(c.v[COST_ELECTRICITY].name, "us-texas");
    assert_true(isnan(c.v[COST_ELECTRICITY].number));
    assert_null(c.v[COST_CLOUD].name);
    assert_true(c.v[COST_CLOUD].number == 0.7);
    assert_string_equal(c.v[COST_API].name, "gpt-4.1");
    assert_true(c.v[COST_CARBON].number == 41);
    arena_release(&a);
}

/* A later value replaces the plan's, and only that. */
static void the_command_line_overrides_the_plan(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan_cost c;
    OK(read("cost: {electricity: us-texas, ops: 1}\n", &a, &c, &e));
    OK(plan_cost_set("electricity=0.3", &a, &c, &e));
    assert_null(c.v[COST_ELECTRICITY].name);
    assert_true(c.v[COST_ELECTRICITY].number == 0.3);
    assert_true(c.v[COST_OPS].number == 1);
    REFUSED_WITH(plan_cost_set("electricity=-1", &a, &c, &e), EE_USAGE, "cannot be");
    assert_true(c.v[COST_ELECTRICITY].number == 0.3);
    arena_release(&a);
}

static void mistakes_say_what_would_be_right(void **state) {
    (void)state;
    static const struct {
        const char *set;
        const char *msg;
    } cases[] = {
        {"traffic", "should be KEY=VALUE"},
        {"trafic=500/h", "there is no cost key \"trafic\"; there are: deployment,"},
        {"=5", "there is no cost key \"\""},
        {"traffic=500", "traffic is \"500\"; it should be a rate such as 500/h"},
        {"traffic=500h", "it should be a rate"},
        {"traffic=500/fortnight", "it should be a rate"},
        {"traffic=0", "cannot be"},
        {"traffic=-5/h", "cannot be"},
        {"traffic=nan/h", "it should be a rate"},
        {"refresh=30", "refresh is \"30\"; it should be a time such as 45s"},
        {"refresh=30/d", "it should be a time"},
        {"ops=", "ops is \"\"; it should be a number"},
        {"ops=free", "ops is \"free\"; it should be a number"},
        {"ops=inf", "it should be a number"},
        {"ops=1 USD", "it should be a number"},
        {"ops=-1", "ops is -1, which cannot be"},
        {"electricity=0,30", "it should be a number, or a name of the price book"},
        {"electricity=", "it should be a number, or a name"},
        {"pue=0.9", "pue is 0.9, which cannot be"},
        {"share=1.2", "cannot be"},
        {"headroom=0", "cannot be"},
        {"replicas=0", "cannot be"},
        {"api_fall=1", "cannot be"},
        {"deployment=rented", "it should be one of the words owned, cloud"},
        {"scale_to_zero=maybe", "no, yes"},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = ERR_INIT;
        struct plan_cost c = {0};
        REFUSED_WITH(plan_cost_set(cases[i].set, &a, &c, &e), EE_USAGE, cases[i].msg);
    }
    arena_release(&a);
}

static void a_plan_says_where_its_mistake_is(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan_cost c;
    REFUSED_WITH(read("cost:\n  ops: 1\n  traffic: 500\n", &a, &c, &e), EE_FORMAT,
                 "plan.yaml:3:12: traffic is \"500\"");
    REFUSED_WITH(read("cost:\n  trafic: 500/h\n", &a, &c, &e), EE_FORMAT,
                 "plan.yaml:2:3: unknown key \"trafic\" in cost; allowed: deployment");
    REFUSED_WITH(read("cost: [1]\n", &a, &c, &e), EE_FORMAT, "cost should be a mapping");
    REFUSED_WITH(read("cost: {ops: [1]}\n", &a, &c, &e), EE_FORMAT, "ops should be text");
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_given_stays_not_given),
        cmocka_unit_test(values_are_stored_in_one_unit),
        cmocka_unit_test(prices_are_numbers_or_names),
        cmocka_unit_test(the_command_line_overrides_the_plan),
        cmocka_unit_test(mistakes_say_what_would_be_right),
        cmocka_unit_test(a_plan_says_where_its_mistake_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
