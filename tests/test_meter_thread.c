/*
 * The sampling thread with real time, under several callers at once: for the thread sanitizer.
 * Nothing here depends on how fast the machine is.
 */
#include "support/energy_fake.h"

#include "base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Constant 100 W and 20 W for ever. */
static const char recording[] = "{\"edge_eval_power\":1,\"repeat\":true,\"components\":["
                                "{\"name\":\"gpu0\",\"scope\":\"gpu\",\"update_ms\":1},"
                                "{\"name\":\"cpu\",\"scope\":\"cpu\",\"update_ms\":1}]}\n"
                                "{\"t_s\":0,\"gpu0\":{\"w\":100},\"cpu\":{\"w\":20}}\n"
                                "{\"t_s\":1,\"gpu0\":{\"w\":100},\"cpu\":{\"w\":20}}\n";

static struct meter *start(struct fake_root *root) {
    char source[128];
    struct err e = ERR_INIT;
    struct meter *m;
    fake_root_make(root);
    fake_write(root, "constant.jsonl", "%s", recording);
    snprintf(source, sizeof(source), "replay:%s/constant.jsonl", root->dir);
    struct meter_opts opts = {.source = source, .period_ms = 10};
    if (meter_start(&m, &opts, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    return m;
}

static void wait_for_samples(struct meter *m, uint64_t more) {
    struct meter_stats st;
    meter_stats(m, &st);
    uint64_t until = st.samples + more;
    while (st.samples < until) {
        clock_sleep_until_ns(clock_mono_ns() + 5 * NS_PER_MS);
        meter_stats(m, &st);
    }
}

/* However late the thread ran, energy is power times the time that passed. */
static void real_time_is_integrated(void **state) {
    (void)state;
    struct fake_root root;
    struct err e = ERR_INIT;
    struct meter_reading r;
    struct meter *m = start(&root);
    int id = meter_window_open(m, "real", METER_NO_PARENT, &e);
    wait_for_samples(m, 8);
    assert_int_equal(meter_window_close(m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_INTEGRATED);
    assert_close(r.c[0].mean_w, 100);
    assert_close(r.c[1].mean_w, 20);
    assert_true(r.c[0].joules > 0);
    double span_s = r.c[0].joules / 100;
    assert_true(span_s >= clock_ns_to_s(r.end_ns - r.start_ns));
    meter_stop(m);
    fake_root_remove(&root);
}

struct worker {
    pthread_t thread;
    struct meter *m;
    int failures;
};

static void *work(void *arg) {
    struct worker *w = arg;
    for (int i = 0; i < 20; i++) {
        struct err e = ERR_INIT;
        struct meter_reading r;
        double watts, joules;
        enum meter_quality q;
        struct meter_trace t;
        struct meter_idle idle = {.n = 0};
        struct meter_component info;
        int outer = meter_window_open(w->m, "outer", METER_NO_PARENT, &e);
        int inner = meter_window_open(w->m, "inner", outer, &e);
        int trace = meter_trace_begin(w->m, 16, &e); /* may run out of traces: then it is -1 */
        w->failures += !meter_live(w->m, &watts, &joules, &q);
        meter_component_info(w->m, 0, &info);
        meter_set_idle(w->m, &idle);
        meter_get_idle(w->m, &idle);
        w->failures += meter_watch_pid(w->m, getpid(), &e) != 0;
        clock_sleep_until_ns(clock_mono_ns() + 3 * NS_PER_MS);
        meter_unwatch_pid(w->m, getpid());
        if (trace >= 0) {
            w->failures += meter_trace_end(w->m, trace, &t, &e) != 0;
            meter_trace_release(&t);
        }
        w->failures += meter_window_close(w->m, inner, &r, &e) != 0;
        w->failures += meter_window_close(w->m, outer, &r, &e) != 0;
        w->failures += !(r.c[0].mean_w > 99.999 && r.c[0].mean_w < 100.001);
    }
    return NULL;
}

static void many_threads_may_call(void **state) {
    (void)state;
    struct fake_root root;
    struct worker workers[4];
    struct meter *m = start(&root);
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){.m = m};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
    }
    meter_stop(m);
    fake_root_remove(&root);
}

/* The thread waits up to a period: stopping must not. Checked by order, not by a stopwatch. */
static void stopping_does_not_wait_for_a_deadline(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct meter *m;
    struct meter_opts opts = {.source = "null", .period_ms = 10000};
    int64_t before_ns = clock_mono_ns();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(meter_start(&m, &opts, &e), 0);
        meter_stop(m);
    }
    assert_true(clock_mono_ns() - before_ns < 20 * 10 * NS_PER_S); /* 200 s if it did */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_time_is_integrated),
        cmocka_unit_test(many_threads_may_call),
        cmocka_unit_test(stopping_does_not_wait_for_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
