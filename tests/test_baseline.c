/* Idle baselines that are kept, and when they are not used again. */
#include "support/energy_fake.h"
#include "support/scratch.h"

#include "base/fs.h"
#include "energy/baseline.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOW 1.8e9
#define CPU0 "sys/devices/system/cpu/cpu0/cpufreq/"

static char cache[128];

/* A Jetson of 10 W. */
static void set_power(struct fake_machine *m, int ma) {
    fake_write(&m->root, "sys/class/hwmon/hwmon1/curr1_input", "%d\n", ma);
}

static int setup(void **state) {
    int rc = fake_machine_setup(state);
    struct fake_machine *m = *state;
    fake_write(&m->root, "etc/machine-id", "0123456789abcdef\n");
    fake_write(&m->root, "proc/sys/kernel/osrelease", "6.1.0\n");
    fake_write(&m->root, "sys/module/nvidia/version", "580.1\n");
    fake_write(&m->root, CPU0 "scaling_governor", "performance\n");
    fake_write(&m->root, CPU0 "scaling_max_freq", "2000000\n");
    fake_write(&m->root, "sys/class/hwmon/hwmon1/name", "ina3221\n");
    fake_write(&m->root, "sys/class/hwmon/hwmon1/in1_label", "VDD_IN\n");
    fake_write(&m->root, "sys/class/hwmon/hwmon1/in1_input", "5000\n");
    set_power(m, 2000);
    snprintf(cache, sizeof(cache), "%s/cache/idle", m->root.dir);
    fake_machine_start(m, "ina3221");
    return rc;
}

static int get_at(struct fake_machine *m, enum baseline_use use, const char *kind, double unix_s,
                  struct baseline *b, struct err *e) {
    const struct baseline_opts opts = {
        .use = use, .kind = kind, .dir = cache, .sysfs_root = m->root.dir, .now_unix_s = unix_s};
    return baseline_get(m->clock.m, &opts, b, e);
}

static void measure(struct fake_machine *m) {
    struct err e = ERR_INIT;
    struct baseline b;
    OK(get_at(m, BASELINE_MEASURE, NULL, NOW, &b, &e));
    assert_false(b.is_cached);
    assert_string_equal(b.note, "");
}

static void assert_unusable(struct fake_machine *m, const char *why) {
    struct err e = ERR_INIT;
    struct baseline b;
    REFUSED_WITH(get_at(m, BASELINE_CACHED, NULL, NOW + 60, &b, &e), EE_MISSING, why);
}

static void assert_usable(struct fake_machine *m) {
    struct err e = ERR_INIT;
    struct baseline b;
    OK(get_at(m, BASELINE_CACHED, NULL, NOW + 60, &b, &e));
    assert_true(b.is_cached);
}

static void one_is_measured_kept_and_used_again(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct baseline first, again;
    assert_unusable(m, "no idle baseline has been measured");
    int64_t begin_ns = m->clock.now_ns;
    OK(get_at(m, BASELINE_EITHER, NULL, NOW, &first, &e));
    assert_false(first.is_cached);
    assert_true(first.idle.settled);
    assert_close(first.idle.c[0].mean_w, 10);
    int64_t measured_ns = m->clock.now_ns;
    assert_true(measured_ns > begin_ns);
    set_power(m, 5000); /* would be seen if it were measured again */
    OK(get_at(m, BASELINE_EITHER, NULL, NOW + 3600, &again, &e));
    assert_true(again.is_cached);
    assert_close(again.age_s, 3600);
    assert_true(m->clock.now_ns == measured_ns);
    assert_int_equal(again.idle.n, 1);
    assert_string_equal(again.idle.c[0].name, "module");
    assert_int_equal(again.idle.c[0].quality, METER_INTEGRATED);
    assert_close(again.idle.c[0].mean_w, 10);
    assert_close(again.idle.c[0].half_width_w, first.idle.c[0].half_width_w);
    assert_true(again.idle.settled);
}

static void it_is_subtracted_as_one_just_measured(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct baseline b;
    struct meter_reading r;
    measure(m);
    OK(get_at(m, BASELINE_CACHED, NULL, NOW, &b, &e));
    meter_set_idle(m->clock.m, &b.idle);
    set_power(m, 6000);
    fake_run_s(&m->clock, 1);
    fake_window(&m->clock, 10, &r);
    assert_true(r.c[0].has_idle);
    assert_close(r.c[0].above_idle_j, 200);
}

static void one_that_is_too_old_is_measured_again(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct baseline b;
    measure(m);
    OK(get_at(m, BASELINE_CACHED, NULL, NOW + 86400, &b, &e));
    REFUSED_WITH(get_at(m, BASELINE_CACHED, NULL, NOW + 86401, &b, &e), EE_MISSING,
                 "the idle baseline kept is 24.0 h old");
    /* A clock that was set back makes it from the future. */
    REFUSED_WITH(get_at(m, BASELINE_CACHED, NULL, NOW - 5, &b, &e), EE_MISSING, "h old");
    set_power(m, 3000);
    OK(get_at(m, BASELINE_EITHER, NULL, NOW + 90000, &b, &e));
    assert_false(b.is_cached);
    assert_close(b.idle.c[0].mean_w, 15);
    OK(get_at(m, BASELINE_CACHED, NULL, NOW + 90001, &b, &e));
    assert_close(b.idle.c[0].mean_w, 15);
}

static void what_idle_power_depends_on_makes_it_invalid(void **state) {
    struct fake_machine *m = *state;
    static const char *const changes[][4] = {
        {"sys/module/nvidia/version", "580.1", "590.2", "NVIDIA driver"},
        {"proc/sys/kernel/osrelease", "6.1.0", "6.2.0", "kernel"},
        {CPU0 "scaling_governor", "performance", "powersave", "clock governor"},
        {CPU0 "scaling_max_freq", "2000000", "3000000", "clock limit"},
    };
    measure(m);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char why[96];
        snprintf(why, sizeof(why), "not the same as when idle power was measured: %s",
                 changes[i][3]);
        assert_usable(m);
        fake_write(&m->root, changes[i][0], "%s\n", changes[i][2]);
        assert_unusable(m, why);
        fake_write(&m->root, changes[i][0], "%s\n", changes[i][1]);
    }
    assert_usable(m);
    fake_write(&m->root, "sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"); /* new */
    assert_unusable(m, "turbo switch");
    fake_unlink(&m->root, "sys/devices/system/cpu/intel_pstate/no_turbo");
    fake_unlink(&m->root, "sys/module/nvidia/version"); /* gone */
    assert_unusable(m, "NVIDIA driver");
}

static void other_sensors_make_it_invalid(void **state) {
    struct fake_machine *m = *state;
    measure(m);
    fake_machine_start(m, "model");
    assert_unusable(m, "not the same as when idle power was measured: sensors");
    fake_machine_start(m, "ina3221");
    assert_usable(m);
}

static void machines_and_kinds_are_kept_apart(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct baseline b;
    measure(m);
    fake_write(&m->root, "etc/machine-id", "another\n");
    assert_unusable(m, "no idle baseline has been measured");
    fake_write(&m->root, "etc/machine-id", "0123456789abcdef\n");
    assert_usable(m);
    set_power(m, 4000);
    OK(get_at(m, BASELINE_EITHER, "resident ../../model", NOW, &b, &e));
    assert_close(b.idle.c[0].mean_w, 20);
    OK(get_at(m, BASELINE_CACHED, "resident ../../model", NOW, &b, &e));
    OK(get_at(m, BASELINE_CACHED, NULL, NOW, &b, &e));
    assert_close(b.idle.c[0].mean_w, 10);
    assert_int_equal(scratch_count(cache), 2); /* and nothing outside */
}

static void one_that_does_not_settle_is_not_kept(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct baseline b;
    const struct baseline_opts opts = {.use = BASELINE_EITHER,
                                       .dir = cache,
                                       .sysfs_root = m->root.dir,
                                       .max_seconds = 3,
                                       .now_unix_s = NOW};
    OK(baseline_get(m->clock.m, &opts, &b, &e)); /* too short for five batches */
    assert_false(b.idle.settled);
    assert_non_null(strstr(b.note, "did not settle within 3 s"));
    assert_unusable(m, "no idle baseline has been measured");
}

/* Every cut of the file, and some that read as JSON: none may be used, none may crash. */
static void a_damaged_one_is_not_used(void **state) {
    struct fake_machine *m = *state;
    struct buf text;
    char *path;
    char name[64];
    buf_init(&text);
    measure(m);
    FILE *ls = NULL;
    char command[256];
    snprintf(command, sizeof(command), "ls %s", cache);
    ls = popen(command, "r"); /* NOLINT(cert-env33-c): a test's own directory */
    assert_non_null(ls);
    assert_non_null(fgets(name, sizeof(name), ls));
    pclose(ls);
    name[strcspn(name, "\n")] = '\0';
    path = fs_join(cache, name);
    assert_int_equal(fs_read(path, &text, NULL), 0);
    for (size_t cut = 0; cut < text.len; cut++) {
        assert_int_equal(fs_write_atomic(path, text.data, cut, NULL), 0);
        assert_unusable(m, "the idle baseline kept ");
    }
    static const char *const wrong[][2] = {
        {"\"edge_eval_idle\":1", "\"edge_eval_idle\":2"},
        {"\"mean_w\":10.0", "\"mean_w\":-10.0"},
        {"\"mean_w\":10.0", "\"mean_w\":\"x\""},
        {"\"integrated\"", "\"missing\"   "},
        {"\"name\":\"module\",\"quality\"", "\"nome\":\"module\",\"quality\""},
        {"\"components\":[", "\"compenents\":["},
        {"\"measured_unix_s\"", "\"measured_unix_m\""},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *at = strstr(text.data, wrong[i][0]);
        if (!at) {
            fail_msg("no %s in %s", wrong[i][0], text.data);
        }
        struct buf changed;
        buf_init(&changed);
        buf_add(&changed, text.data, (size_t)(at - text.data));
        buf_addstr(&changed, wrong[i][1]);
        buf_addstr(&changed, at + strlen(wrong[i][0]));
        assert_int_equal(fs_write_atomic(path, changed.data, changed.len, NULL), 0);
        assert_unusable(m, "the idle baseline kept ");
        buf_release(&changed);
    }
    assert_int_equal(fs_write_atomic(path, text.data, text.len, NULL), 0);
    assert_usable(m);
    free(path);
    buf_release(&text);
}

static void a_cache_that_cannot_be_written_is_no_error(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct baseline b;
    fake_write(&m->root, "cache", "a file where the directory would be\n");
    OK(get_at(m, BASELINE_EITHER, NULL, NOW, &b, &e));
    assert_close(b.idle.c[0].mean_w, 10);
    assert_non_null(strstr(b.note, "not kept: "));
}

static void the_cache_is_where_xdg_says(void **state) {
    struct fake_machine *m = *state;
    struct err e = ERR_INIT;
    struct baseline b;
    char path[160];
    const struct baseline_opts opts = {.use = BASELINE_MEASURE, .sysfs_root = m->root.dir};
    snprintf(path, sizeof(path), "%s/xdg", m->root.dir);
    setenv("XDG_CACHE_HOME", path, 1);
    OK(baseline_get(m->clock.m, &opts, &b, &e));
    snprintf(path, sizeof(path), "%s/xdg/edge-eval/idle", m->root.dir);
    assert_int_equal(scratch_count(path), 1);
    setenv("XDG_CACHE_HOME", "not/absolute", 1); /* to be ignored, says the specification */
    setenv("HOME", m->root.dir, 1);
    OK(baseline_get(m->clock.m, &opts, &b, &e));
    snprintf(path, sizeof(path), "%s/.cache/edge-eval/idle", m->root.dir);
    assert_int_equal(scratch_count(path), 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, fake_machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(one_is_measured_kept_and_used_again),
        CASE(it_is_subtracted_as_one_just_measured),
        CASE(one_that_is_too_old_is_measured_again),
        CASE(what_idle_power_depends_on_makes_it_invalid),
        CASE(other_sensors_make_it_invalid),
        CASE(machines_and_kinds_are_kept_apart),
        CASE(one_that_does_not_settle_is_not_kept),
        CASE(a_damaged_one_is_not_used),
        CASE(a_cache_that_cannot_be_written_is_no_error),
        CASE(the_cache_is_where_xdg_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
