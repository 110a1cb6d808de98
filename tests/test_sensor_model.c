/* The modelled CPU: fake /proc for the arithmetic, real processes for their CPU time. */
#include "support/energy_fake.h"

#include "energy/cpu_tdp.h"
#include "energy/proctree.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct machine {
    struct fake_root root;
    struct fake_clock clock;
    unsigned long busy_ticks;
};

/* Two hardware threads; ticks are 10 ms. */
static void set_busy(struct machine *m, unsigned long ticks) {
    m->busy_ticks = ticks;
    fake_write(&m->root, "proc/stat",
               "cpu  %lu 7 0 900000 55 0 0 3 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\n"
               "intr 12345 cpu9\nctxt 1\n",
               ticks);
}

static int setup(void **state) {
    static struct machine m;
    m = (struct machine){.clock = FAKE_CLOCK_INIT};
    fake_root_make(&m.root);
    set_busy(&m, 1000);
    *state = &m;
    return 0;
}

static int teardown(void **state) {
    struct machine *m = *state;
    meter_stop(m->clock.m);
    fake_root_remove(&m->root);
    return 0;
}

static void start(struct machine *m) {
    struct meter_opts opts = {.source = "model", .sysfs_root = m->root.dir};
    fake_meter(&m->clock, &opts);
}

/* 8 W for two threads of an unknown CPU. */
static double watts(double u) {
    return 8 * (0.1 + 0.9 * u * u * u);
}

static void power_follows_the_machines_share(void **state) {
    struct machine *m = *state;
    static const unsigned long per_step[] = {0, 5, 10, 20}; /* of 20 ticks in 0.1 s */
    struct err e = ERR_INIT;
    struct meter_reading r;
    start(m);
    for (size_t i = 0; i < 4; i++) {
        int id = meter_window_open(m->clock.m, "load", METER_NO_PARENT, &e);
        for (int k = 0; k < 100; k++) {
            set_busy(m, m->busy_ticks + per_step[i]);
            fake_run_s(&m->clock, 0.1);
        }
        assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
        assert_int_equal(r.c[0].quality, METER_MODELLED);
        assert_string_equal(r.c[0].source, "modelled");
        assert_close(r.c[0].joules, 10 * watts((double)per_step[i] / 20));
        assert_true(r.c[0].low_j <= 0.6 * r.c[0].joules);
        assert_true(r.c[0].high_j >= 1.4 * r.c[0].joules);
    }
}

/* The share is of the time that passed: a late sample is no busier machine. */
static void the_share_is_of_measured_time(void **state) {
    struct machine *m = *state;
    static const int steps_ms[] = {370, 110, 620, 900};
    struct err e = ERR_INIT;
    struct meter_reading r;
    start(m);
    int id = meter_window_open(m->clock.m, "uneven", METER_NO_PARENT, &e);
    for (size_t i = 0; i < 4; i++) {
        set_busy(m, m->busy_ticks + (unsigned long)steps_ms[i] / 10);
        fake_step_ns(&m->clock, steps_ms[i] * NS_PER_MS);
    }
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_close(r.c[0].joules, 2.0 * watts(0.5));
}

/* An edge 30 ms after a sample: too short for ticks of 10 ms, so the last power is extended. */
static void edges_between_samples_extend_the_last_power(void **state) {
    struct machine *m = *state;
    struct err e = ERR_INIT;
    struct meter_reading r;
    start(m);
    for (int k = 0; k < 10; k++) {
        set_busy(m, m->busy_ticks + 10);
        fake_run_s(&m->clock, 0.1);
    }
    fake_run_s(&m->clock, 0.03);
    int id = meter_window_open(m->clock.m, "off", METER_NO_PARENT, &e);
    set_busy(m, m->busy_ticks + 10);
    fake_step_ns(&m->clock, 70 * NS_PER_MS);
    for (int k = 0; k < 100; k++) {
        set_busy(m, m->busy_ticks + 10);
        fake_run_s(&m->clock, 0.1);
    }
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_close(r.c[0].joules, 10.07 * watts(0.5));
}

static void a_share_is_never_above_one(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    struct err e = ERR_INIT;
    start(m);
    int id = meter_window_open(m->clock.m, "ticks", METER_NO_PARENT, &e);
    for (int k = 0; k < 10; k++) {
        set_busy(m, m->busy_ticks + 22);
        fake_run_s(&m->clock, 0.1);
    }
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_close(r.c[0].joules, watts(1));
}

static void tdp_is_told_with_its_source(void **state) {
    struct machine *m = *state;
    struct meter_component info;
    start(m);
    meter_component_info(m->clock.m, 0, &info);
    assert_non_null(strstr(info.detail, "TDP 8 W (assumed: 4 W for each of 2 hardware threads"));
    meter_stop(m->clock.m);
    fake_write(&m->root, "proc/cpuinfo",
               "vendor_id\t: AuthenticAMD\n"
               "model name\t: AMD EPYC 7763 64-Core Processor\n"
               "physical id\t: 0\n\nphysical id\t: 0\n");
    start(m);
    meter_component_info(m->clock.m, 0, &info); /* 2 of 128 threads of 280 W */
    assert_non_null(strstr(info.detail, "TDP 4.375 W (280 W a package, amd.com"));
    assert_non_null(strstr(info.detail, "2 of 128 hardware threads"));
    assert_close(info.gain, 0.4);
}

static void the_table_prefers_the_longer_name(void **state) {
    (void)state;
    assert_close(cpu_tdp_find("AMD Ryzen 9 7950X3D 16-Core Processor")->tdp_w, 120);
    assert_close(cpu_tdp_find("AMD Ryzen 9 7950X 16-Core Processor")->tdp_w, 170);
    assert_close(cpu_tdp_find("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz")->tdp_w, 205);
    assert_close(cpu_tdp_find("Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz")->tdp_w, 150);
    assert_null(cpu_tdp_find("Intel(R) Xeon(R) Processor"));
    assert_null(cpu_tdp_find(""));
}

static void an_unreadable_stat_is_missing(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    struct err e = ERR_INIT;
    start(m);
    int id = meter_window_open(m->clock.m, "gone", METER_NO_PARENT, &e);
    fake_run_s(&m->clock, 1);
    fake_write(&m->root, "proc/stat", "nonsense\n");
    fake_run_s(&m->clock, 1);
    set_busy(m, 5000);
    fake_run_s(&m->clock, 10);
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "unknown format"));
}

/* ---- processes in a fake /proc ---- */

static void set_process(struct machine *m, int pid, int parent, unsigned long user,
                        unsigned long reaped, unsigned long long start_ticks) {
    char path[64];
    snprintf(path, sizeof(path), "proc/%d/stat", pid);
    fake_write(&m->root, path,
               "%d (a) name (x) S %d 1 1 0 -1 4194304 100 0 0 0 %lu 0 %lu 0 20 0 1 0 %llu 1 1\n",
               pid, parent, user, reaped, start_ticks);
}

static void set_children(struct machine *m, int pid, const char *list) {
    char path[64];
    snprintf(path, sizeof(path), "proc/%d/task/%d/children", pid, pid);
    fake_write(&m->root, path, "%s", list);
}

static void remove_process(struct machine *m, int pid) {
    char path[64];
    snprintf(path, sizeof(path), "proc/%d/stat", pid);
    fake_unlink(&m->root, path);
}

/* Busy neighbours are not billed to the process that is watched. */
static void only_watched_processes_count(void **state) {
    struct machine *m = *state;
    struct meter_reading r;
    struct err e = ERR_INIT;
    /* A baseline taken while the neighbours were at work. */
    struct meter_idle idle = {.n = 1, .c[0] = {.name = "cpu", .mean_w = 5}};
    set_process(m, 42, 1, 70000, 0, 5);
    set_children(m, 42, "");
    start(m);
    meter_set_idle(m->clock.m, &idle);
    assert_int_equal(meter_watch_pid(m->clock.m, 42, &e), 0);
    int id = meter_window_open(m->clock.m, "watched", METER_NO_PARENT, &e);
    for (unsigned k = 1; k <= 100; k++) {
        set_busy(m, m->busy_ticks + 20);
        set_process(m, 42, 1, 70000 + 10 * k, 0, 5);
        fake_run_s(&m->clock, 0.1);
    }
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_close(r.c[0].joules, 10 * watts(0.5));
    assert_close(r.c[0].above_idle_j, 10 * (watts(0.5) - watts(0)));

    meter_unwatch_pid(m->clock.m, 42); /* and now the whole machine again */
    id = meter_window_open(m->clock.m, "machine", METER_NO_PARENT, &e);
    for (unsigned k = 1; k <= 100; k++) {
        set_busy(m, m->busy_ticks + 20);
        fake_run_s(&m->clock, 0.1);
    }
    assert_int_equal(meter_window_close(m->clock.m, id, &r, &e), 0);
    assert_close(r.c[0].joules, 10 * watts(1));
    assert_close(r.c[0].above_idle_j, 10 * (watts(1) - 5));
    assert_int_equal(meter_watch_pid(m->clock.m, 999, &e), EE_MISSING);
}

static struct proctree *tree_of(struct machine *m) {
    static struct proctree t;
    proctree_init(&t, m->root.dir);
    return &t;
}

#define MS NS_PER_MS

static void a_tree_counts_its_children_once(void **state) {
    struct machine *m = *state;
    struct err e = ERR_INIT;
    struct proctree *t = tree_of(m);
    set_process(m, 42, 1, 100, 50, 5);
    set_children(m, 42, "");
    assert_int_equal(proctree_watch(t, 42, &e), 0);
    assert_int_equal(t->cpu_ns, 0);  /* what was used before is not ours */
    set_process(m, 43, 42, 7, 0, 6); /* a child, and its child: ours from their start */
    set_process(m, 44, 43, 3, 0, 6);
    set_children(m, 42, "43 ");
    set_children(m, 43, "44 ");
    set_children(m, 44, "");
    set_process(m, 42, 1, 101, 50, 5);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, (1 + 7 + 3) * 10 * MS);
    /* 44 used 5 more and ended; then 43 used 2 more and ended: it carries both to 42. */
    remove_process(m, 44);
    set_children(m, 43, "");
    set_process(m, 43, 42, 7, 8, 6);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, (1 + 7 + 8) * 10 * MS);
    remove_process(m, 43);
    set_children(m, 42, "");
    set_process(m, 42, 1, 101, 50 + 9 + 8, 5);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, (1 + 9 + 8) * 10 * MS);
    assert_int_equal(t->n, 1);
}

static void a_child_born_and_ended_between_updates_counts(void **state) {
    struct machine *m = *state;
    struct err e = ERR_INIT;
    struct proctree *t = tree_of(m);
    set_process(m, 42, 1, 0, 0, 5);
    set_children(m, 42, "");
    assert_int_equal(proctree_watch(t, 42, &e), 0);
    set_process(m, 42, 1, 0, 25, 5);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, 250 * MS);
}

static void an_orphan_stays_ours(void **state) {
    struct machine *m = *state;
    struct err e = ERR_INIT;
    struct proctree *t = tree_of(m);
    set_process(m, 42, 1, 0, 0, 5);
    set_process(m, 43, 42, 0, 0, 6);
    set_children(m, 42, "43 ");
    set_children(m, 43, "");
    assert_int_equal(proctree_watch(t, 42, &e), 0);
    remove_process(m, 42);
    set_process(m, 43, 1, 30, 0, 6);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, 300 * MS);
    set_process(m, 43, 1, 999, 0, 77); /* its number taken over by a stranger */
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, 300 * MS);
    assert_int_equal(t->n, 0);
}

static void a_loss_is_never_negative(void **state) {
    struct machine *m = *state;
    struct err e = ERR_INIT;
    struct proctree *t = tree_of(m);
    set_process(m, 42, 1, 500, 0, 5);
    set_children(m, 42, "");
    assert_int_equal(proctree_watch(t, 42, &e), 0);
    set_process(m, 42, 1, 520, 0, 5);
    proctree_update(t, true);
    remove_process(m, 42); /* ended, and its parent is not ours */
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, 200 * MS);
    assert_int_equal(t->n, 0);
    set_process(m, 42, 1, 900, 0, 99); /* not even when a stranger gets the watched number */
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, 200 * MS);
}

static void unwatching_one_leaves_the_other(void **state) {
    struct machine *m = *state;
    struct err e = ERR_INIT;
    struct proctree *t = tree_of(m);
    for (int pid = 42; pid <= 43; pid++) {
        set_process(m, pid, 1, 0, 0, 5);
        set_children(m, pid, "");
        assert_int_equal(proctree_watch(t, pid, &e), 0);
        assert_int_equal(proctree_watch(t, pid, &e), 0); /* twice is once */
    }
    set_process(m, 42, 1, 10, 0, 5);
    set_process(m, 43, 1, 20, 0, 5);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, 300 * MS);
    proctree_unwatch(t, 42);
    set_process(m, 42, 1, 500, 0, 5);
    set_process(m, 43, 1, 21, 0, 5);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, 310 * MS);
    proctree_unwatch(t, 43);
    assert_int_equal(t->n, 0);
}

/* Kernels without CONFIG_PROC_CHILDREN: found by walking /proc. */
static void children_are_found_without_lists(void **state) {
    struct machine *m = *state;
    struct err e = ERR_INIT;
    struct proctree *t = tree_of(m);
    set_process(m, 42, 1, 0, 0, 5);
    set_process(m, 7, 43, 1, 0, 6); /* a grandchild with a lower number than its parent */
    set_process(m, 43, 42, 2, 0, 6);
    set_process(m, 50, 1, 4, 0, 6); /* a stranger */
    assert_int_equal(proctree_watch(t, 42, &e), 0);
    assert_false(t->listed);
    set_process(m, 7, 43, 11, 0, 6);
    set_process(m, 43, 42, 22, 0, 6);
    set_process(m, 50, 1, 44, 0, 6);
    proctree_update(t, true);
    assert_int_equal(t->cpu_ns, (10 + 20) * 10 * MS);
}

/* ---- real processes ---- */

static void burn_cpu_ms(int64_t ms) {
    int64_t until = clock_process_cpu_ns() + ms * MS;
    while (clock_process_cpu_ns() < until) {
    }
}

static void cpu_time_of_this_process_is_seen(void **state) {
    (void)state;
    static struct proctree t;
    struct err e = ERR_INIT;
    proctree_init(&t, "");
    assert_int_equal(proctree_watch(&t, getpid(), &e), 0);
    int64_t before = clock_process_cpu_ns();
    burn_cpu_ms(30);
    proctree_update(&t, false);
    int64_t used = clock_process_cpu_ns() - before;
    assert_true(t.cpu_ns >= 30 * MS && t.cpu_ns <= used + 30 * MS);
    burn_cpu_ms(30);
    proctree_update(&t, true);
    assert_true(t.cpu_ns >= 60 * MS);
}

/* In nanoseconds while it lives, in its parent's ticks after it was waited for: never twice. */
static void cpu_time_of_a_child_is_seen_once(void **state) {
    (void)state;
    static struct proctree t;
    struct err e = ERR_INIT;
    int to_child[2], to_parent[2];
    char byte;
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(to_parent), 0);
    proctree_init(&t, "");
    assert_int_equal(proctree_watch(&t, getpid(), &e), 0);
    pid_t child = fork();
    if (child == 0) {
        burn_cpu_ms(60);
        bool told = write(to_parent[1], "x", 1) == 1 && read(to_child[0], &byte, 1) == 1;
        burn_cpu_ms(60);
        _exit(told ? 0 : 1);
    }
    assert_int_equal(read(to_parent[0], &byte, 1), 1);
    proctree_update(&t, true);
    int64_t alive = t.cpu_ns;
    assert_true(alive >= 60 * MS);
    assert_int_equal(write(to_child[1], "x", 1), 1);
    assert_int_equal(waitpid(child, NULL, 0), child);
    int64_t own = clock_process_cpu_ns();
    proctree_update(&t, true);
    assert_true(t.cpu_ns >= alive + 40 * MS); /* ticks of 10 ms on both counts */
    assert_true(t.cpu_ns <= alive + own + 400 * MS);
    for (size_t i = 0; i < 2; i++) {
        close(to_child[i]);
        close(to_parent[i]);
    }
}

/* All of it, with real time: some energy, labelled. */
static void this_machine_can_be_modelled(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct meter *m;
    struct meter_reading r;
    struct meter_stats st;
    struct meter_opts opts = {.source = "model", .period_ms = 20};
    assert_int_equal(meter_start(&m, &opts, &e), 0);
    assert_int_equal(meter_watch_pid(m, getpid(), &e), 0);
    int id = meter_window_open(m, "real", METER_NO_PARENT, &e);
    do {
        burn_cpu_ms(20);
        meter_stats(m, &st);
    } while (st.samples < 20);
    assert_int_equal(meter_window_close(m, id, &r, &e), 0);
    meter_unwatch_pid(m, getpid());
    assert_int_equal(r.c[0].quality, METER_MODELLED);
    assert_true(r.c[0].joules > 0 && r.c[0].low_j <= 0.6 * r.c[0].joules);
    meter_stop(m);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(power_follows_the_machines_share),
        CASE(the_share_is_of_measured_time),
        CASE(edges_between_samples_extend_the_last_power),
        CASE(a_share_is_never_above_one),
        CASE(tdp_is_told_with_its_source),
        cmocka_unit_test(the_table_prefers_the_longer_name),
        CASE(an_unreadable_stat_is_missing),
        CASE(only_watched_processes_count),
        CASE(a_tree_counts_its_children_once),
        CASE(a_child_born_and_ended_between_updates_counts),
        CASE(an_orphan_stays_ours),
        CASE(a_loss_is_never_negative),
        CASE(unwatching_one_leaves_the_other),
        CASE(children_are_found_without_lists),
        cmocka_unit_test(cpu_time_of_this_process_is_seen),
        cmocka_unit_test(cpu_time_of_a_child_is_seen_once),
        cmocka_unit_test(this_machine_can_be_modelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
