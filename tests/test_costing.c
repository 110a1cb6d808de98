/* From a plan's words and a price book to the fields of the calculator. */
#include "metrics/costing.h"

#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const char book_text[] =
    "currency: USD\n"
    "electricity:\n"
    "  here: {per_kwh: 0.2, source: s, date: 2026-01-01}\n"
    "  old: {per_kwh: 0.1, source: s, date: 2020-01-01}\n"
    "  euro: {per_kwh: 0.3, currency: EUR, source: s, date: 2026-01-01}\n"
    "  odd: {per_kwh: -1, source: s, date: 2026-01-01}\n"
    "  hearsay: {per_kwh: 0.2, source: s, date: 2026-01-01, quality: unchecked}\n"
    "carbon:\n"
    "  here: {g_per_kwh: 400, source: s, date: 2026-01-01}\n"
    "cloud:\n"
    "  box: {gpu: L4, per_hour: 0.7, gpus: 1, bill_minimum_s: 60, bill_step_s: 1, source: s,\n"
    "        date: 2026-01-01}\n"
    "  eight: {gpu: H100, per_hour: 7, gpus: 8, bill_minimum_s: 60, bill_step_s: 1, source: s,\n"
    "          date: 2026-01-01}\n"
    "hardware:\n"
    "  card: {price: 2500, embodied_kg: 150, source: s, date: 2026-01-01}\n"
    "  bare: {price: 900, source: s, date: 2026-01-01}\n"
    "api:\n"
    "  cached: {input: 1, cached_input: 0.1, cache_write: 1.25, output: 5, batch_factor: 0.5,\n"
    "           source: s, date: 2026-01-01}\n"
    "  plain: {input: 1, output: 2, source: s, date: 2026-01-01}\n";

struct fixture {
    struct arena a;
    struct costing k;
};

/* sets: NULL-terminated. */
static void resolve(struct fixture *f, const char *const *sets) {
    struct err e = ERR_INIT;
    struct price_book book = {0};
    struct plan_cost cost = {0};
    *f = (struct fixture){.a = ARENA_INIT};
    OK(prices_load_bytes(book_text, strlen(book_text), "p.yaml", &f->a, &book, &e));
    for (size_t i = 0; sets[i]; i++) {
        OK(plan_cost_set(sets[i], &f->a, &cost, &e));
    }
    OK(costing_resolve(&cost, &book, "2026-06-01T00:00:00Z", &f->a, &f->k, &e));
}

#define RESOLVE(f, ...) resolve((f), (const char *const[]){__VA_ARGS__, NULL})

static void has(const struct fixture *f, size_t field, double want) {
    const struct quantity *q = &f->k.econ[field];
    if (!q->present || fabs(q->value - want) > 1e-12 * fabs(want)) {
        fail_msg("%s is %g (%s), want %g", econ_field(field)->name, q->value,
                 q->reason ? q->reason : "", want);
    }
}

static void lacks(const struct fixture *f, size_t field, const char *why) {
    const struct quantity *q = &f->k.econ[field];
    bool is_told = why ? q->reason && strstr(q->reason, why) : !q->reason;
    if (q->present || !is_told) {
        fail_msg("%s is %g, reason \"%s\", want \"%s\"", econ_field(field)->name, q->value,
                 q->reason ? q->reason : "none", why ? why : "none");
    }
}

static bool listed(const char *const *list, size_t n, const char *text) {
    for (size_t i = 0; i < n; i++) {
        if (strstr(list[i], text)) {
            return true;
        }
    }
    return false;
}

static void a_plan_without_costs_gives_nothing(void **state) {
    (void)state;
    struct fixture f;
    resolve(&f, (const char *const[]){NULL});
    assert_false(f.k.is_given);
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        lacks(&f, i, NULL);
    }
    assert_int_equal(f.k.n_assumed + f.k.n_excluded + f.k.n_uses, 0);
    arena_release(&f.a);
}

static void units_become_the_calculators(void **state) {
    (void)state;
    struct fixture f;
    RESOLVE(&f, "deployment=owned", "lifetime=4y", "refresh=30d", "recurring=12", "traffic=2/s",
            "peak=18000/h", "hardware=card", "electricity=here", "carbon=here");
    has(&f, ECON(owned), 1);
    has(&f, ECON(lifetime_h), 35040);
    has(&f, ECON(refresh_h), 720);
    has(&f, ECON(recurring_usd), 12);
    has(&f, ECON(traffic_per_h), 7200);
    has(&f, ECON(peak_ratio), 2.5);
    has(&f, ECON(capex_usd), 2500);
    has(&f, ECON(embodied_kg), 150);
    has(&f, ECON(kwh_usd), 0.2);
    has(&f, ECON(carbon_g_per_kwh), 400);
    assert_int_equal(f.k.n_uses, 3);
    arena_release(&f.a);
}

/* What is assumed is said; what has no honest default stays missing. */
static void assumptions_are_told(void **state) {
    (void)state;
    struct fixture f;
    RESOLVE(&f, "traffic=500/h");
    has(&f, ECON(peak_ratio), 1);
    has(&f, ECON(headroom), 0.8);
    has(&f, ECON(devices), 1);
    has(&f, ECON(once_is_extra), 1);
    static const char *const told[] = {"peak as traffic", "headroom 0.8", "devices 1",
                                       "prepare extra", "no SLO"};
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        assert_true(listed(f.k.assumed, f.k.n_assumed, told[i]));
    }
    static const size_t without[] = {
        ECON(owned), ECON(ops_usd_per_h), ECON(labour_usd), ECON(refresh_h),
        ECON(pue),   ECON(idle_w),        ECON(boot_s),     ECON(discount_per_year)};
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        lacks(&f, without[i], NULL);
        assert_true(costing_key(without[i]) != COST_KEYS);
    }
    assert_int_equal(costing_key(ECON(request_j)), COST_KEYS); /* measured */
    arena_release(&f.a);
}

static void an_explicit_zero_is_excluded_and_said(void **state) {
    (void)state;
    struct fixture f;
    RESOLVE(&f, "ops=0", "labour=0", "refresh=0", "slo_e2e=2s");
    has(&f, ECON(ops_usd_per_h), 0);
    has(&f, ECON(recurring_usd), 0); /* of no refresh */
    assert_int_equal(f.k.n_excluded, 3);
    assert_false(listed(f.k.assumed, f.k.n_assumed, "no SLO"));
    arena_release(&f.a);
}

static void prices_that_cannot_be_used_say_why(void **state) {
    (void)state;
    struct fixture f;
    RESOLVE(&f, "electricity=nowhere");
    lacks(&f, ECON(kwh_usd), "the price book has no electricity \"nowhere\"; it has: here, old");
    arena_release(&f.a);
    RESOLVE(&f, "electricity=euro");
    lacks(&f, ECON(kwh_usd), "electricity euro is in EUR, all else in USD: convert it");
    arena_release(&f.a);
    RESOLVE(&f, "electricity=odd");
    lacks(&f, ECON(kwh_usd), "p.yaml:6:18: per_kwh of electricity odd is -1, which is negative");
    assert_int_equal(f.k.n_uses, 0);
    arena_release(&f.a);
    RESOLVE(&f, "hardware=bare");
    has(&f, ECON(capex_usd), 900);
    lacks(&f, ECON(embodied_kg), "the price book has no embodied_kg of hardware bare");
    arena_release(&f.a);
    RESOLVE(&f, "traffic=500/h", "peak=400/h");
    lacks(&f, ECON(peak_ratio), "peak is 400/h, less than the traffic of 500/h");
    arena_release(&f.a);
}

static void an_old_price_is_used_and_marked(void **state) {
    (void)state;
    struct fixture f;
    RESOLVE(&f, "electricity=old");
    has(&f, ECON(kwh_usd), 0.1);
    assert_true(f.k.econ[ECON(kwh_usd)].flags & QUANTITY_STALE_PRICE);
    assert_true(f.k.uses[0].is_stale);
    arena_release(&f.a);
    RESOLVE(&f, "electricity=here");
    assert_int_equal(f.k.econ[ECON(kwh_usd)].flags, 0);
    arena_release(&f.a);
    RESOLVE(&f, "electricity=hearsay");
    assert_int_equal(f.k.econ[ECON(kwh_usd)].flags, QUANTITY_UNCHECKED_PRICE);
    arena_release(&f.a);
}

static void a_cloud_machine_brings_its_billing(void **state) {
    (void)state;
    struct fixture f;
    RESOLVE(&f, "cloud=box", "bill_step=60s");
    has(&f, ECON(cloud_usd_per_h), 0.7);
    has(&f, ECON(bill_minimum_s), 60);
    has(&f, ECON(bill_step_s), 60); /* the plan's word counts */
    arena_release(&f.a);
    RESOLVE(&f, "cloud=0.5");
    has(&f, ECON(cloud_usd_per_h), 0.5);
    lacks(&f, ECON(bill_minimum_s), NULL);
    arena_release(&f.a);
    RESOLVE(&f, "cloud=eight");
    assert_true(listed(f.k.assumed, f.k.n_assumed, "eight, rented as 8, are paid by other work"));
    arena_release(&f.a);
    RESOLVE(&f, "cloud=eight", "devices=8");
    assert_false(listed(f.k.assumed, f.k.n_assumed, "rented as"));
    arena_release(&f.a);
}

static void tokens_that_do_not_occur_need_no_price(void **state) {
    (void)state;
    struct fixture f;
    RESOLVE(&f, "api=plain");
    has(&f, ECON(api_uncached_usd_per_mtok), 1);
    has(&f, ECON(api_cached_usd_per_mtok), 0);
    has(&f, ECON(api_batch_factor), 1);
    arena_release(&f.a);
    RESOLVE(&f, "api=plain", "api_cached=0.5", "api_batch=yes");
    lacks(&f, ECON(api_cached_usd_per_mtok), "no cached_input of api plain");
    lacks(&f, ECON(api_batch_factor), "no batch_factor of api plain");
    has(&f, ECON(api_output_usd_per_mtok), 2);
    arena_release(&f.a);
    RESOLVE(&f, "api=cached", "api_cached=0.5", "api_written=0.25", "api_batch=yes");
    has(&f, ECON(api_cached_usd_per_mtok), 0.1);
    has(&f, ECON(api_written_usd_per_mtok), 1.25);
    has(&f, ECON(api_batch_factor), 0.5);
    assert_true(f.k.api_cached == 0.5 && f.k.api_written == 0.25);
    arena_release(&f.a);
    RESOLVE(&f, "api=cached", "api_cached=0.7", "api_written=0.7");
    lacks(&f, ECON(api_uncached_usd_per_mtok), "more than all input tokens together");
    arena_release(&f.a);
    RESOLVE(&f, "api=unheard-of");
    lacks(&f, ECON(api_output_usd_per_mtok), "the price book has no api \"unheard-of\"");
    arena_release(&f.a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_without_costs_gives_nothing),
        cmocka_unit_test(units_become_the_calculators),
        cmocka_unit_test(assumptions_are_told),
        cmocka_unit_test(an_explicit_zero_is_excluded_and_said),
        cmocka_unit_test(prices_that_cannot_be_used_say_why),
        cmocka_unit_test(an_old_price_is_used_and_marked),
        cmocka_unit_test(a_cloud_machine_brings_its_billing),
        cmocka_unit_test(tokens_that_do_not_occur_need_no_price),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
