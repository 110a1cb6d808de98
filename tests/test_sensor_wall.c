/* What a management controller says the node draws: its answers, and commands that give them. */
#include "support/energy_fake.h"
#include "support/scratch.h"

#include "base/clock.h"
#include "energy/sensor_wall.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <utime.h>

#include <cmocka.h>

/* As ipmitool 1.8.19 prints it. */
#define DCMI(watts, state)                                                                         \
    "\n    Instantaneous power reading:                   " watts " Watts\n"                       \
    "    Minimum during sampling period:                 16 Watts\n"                               \
    "    Maximum during sampling period:                358 Watts\n"                               \
    "    Average power reading over sample period:      228 Watts\n"                               \
    "    IPMI timestamp:                           Thu Jan  1 00:00:00 1970\n"                     \
    "    Sampling period:                          00000001 Seconds.\n"                            \
    "    Power reading state is:                   " state "\n\n"

static void ipmi_answers_are_read(void **state) {
    (void)state;
    double w;
    char why[256];
    assert_int_equal(wall_parse_ipmi(DCMI("220", "activated"), &w, why, sizeof(why)), 0);
    assert_close(w, 220);
    static const char freeipmi[] = "Current Power                        : 285 Watts\n"
                                   "Minimum Power over sampling duration : 6 watts\n"
                                   "Power Measurement                    : Active\n";
    assert_int_equal(wall_parse_ipmi(freeipmi, &w, why, sizeof(why)), 0);
    assert_close(w, 285);
}

static void ipmi_answers_without_a_figure_are_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {DCMI("220", "deactivated"), "not activated"},
        {DCMI("0", "activated"), "the controller says 0 W"},
        {DCMI("-5", "activated"), "the controller says -5 W"},
        {DCMI("nan", "activated"), "the controller says nan W"},
        {DCMI("many", "activated"), "no power reading in the answer"},
        {"DCMI request failed because: Invalid command (c1)\n", "DCMI request failed because"},
        {"", "no power reading"},
        {"Instantaneous power reading", "no power reading"},
        {"Instantaneous power reading:", "no power reading"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        double w = -7;
        char why[256] = "";
        assert_true(wall_parse_ipmi(bad[i][0], &w, why, sizeof(why)) < 0);
        if (!strstr(why, bad[i][1])) {
            fail_msg("case %zu: %s", i, why);
        }
        assert_true(w == -7);
    }
}

static void redfish_resources_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double watts;
    } good[] = {
        {"{\"@odata.type\":\"#Power.v1_7_1.Power\",\"PowerControl\":[{\"PowerConsumedWatts\":344}]}",
         344},
        {"{\"@odata.type\":\"#EnvironmentMetrics.v1_3_0.EnvironmentMetrics\",\"PowerWatts\":{\"Reading\":374.5}}",
         374.5},
        {"{\"@odata.type\":\"#Sensor.v1_7_0.Sensor\",\"Reading\":12.25,\"ReadingUnits\":\"W\"}",
         12.25},
        {"{\"PowerConsumedWatts\":590}", 590},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        double w;
        char why[256];
        assert_int_equal(wall_parse_redfish(good[i].text, &w, why, sizeof(why)), 0);
        assert_close(w, good[i].watts);
    }
}

static void redfish_answers_without_a_figure_are_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"", "the answer"},
        {"<html>", "the answer"},
        {"[1]", "no Redfish resource"},
        {"{\"PowerControl\":[]}", "no PowerConsumedWatts"},
        {"{\"PowerControl\":[{\"PowerConsumedWatts\":null}]}", "no PowerConsumedWatts"},
        {"{\"PowerControl\":[{\"PowerConsumedWatts\":\"5\"}]}", "no PowerConsumedWatts"},
        {"{\"PowerControl\":[{\"PowerConsumedWatts\":0}]}", "says 0 W"},
        {"{\"Reading\":40,\"ReadingUnits\":\"Cel\",\"@odata.type\":\"#Sensor\"}", "#Sensor"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        double w = -7;
        char why[256] = "";
        assert_true(wall_parse_redfish(bad[i][0], &w, why, sizeof(why)) < 0);
        if (!strstr(why, bad[i][1])) {
            fail_msg("case %zu: %s", i, why);
        }
        assert_true(w == -7);
    }
}

/* ---- commands and files, in real time ---- */

static int try_start(const char *source, struct meter **m, struct err *e) {
    const struct meter_opts opts = {.source = source, .period_ms = 50};
    return meter_start(m, &opts, e);
}

static const char *script(struct scratch *s, const char *name, const char *body) {
    char text[1024];
    int len = snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
    const char *path = scratch_write(s, name, text, (size_t)len);
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

static void measure(struct meter *m, double seconds, struct meter_reading *r) {
    struct err e = ERR_INIT;
    int id = meter_window_open(m, "window", METER_NO_PARENT, &e);
    assert_true(id >= 0);
    int64_t end_ns = clock_mono_ns() + (int64_t)(seconds * 1e9);
    while (clock_mono_ns() < end_ns) {
        clock_sleep_until_ns(end_ns);
    }
    assert_int_equal(meter_window_close(m, id, r, &e), 0);
}

static void a_command_gives_the_power_of_the_wall(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct meter *m;
    struct meter_reading r;
    char source[256];
    double watts, joules;
    enum meter_quality quality;
    snprintf(source, sizeof(source), "ipmi:%s dcmi power",
             script(s, "tool",
                    "[ \"$1 $2\" = 'dcmi power' ] || exit 3\n"
                    "echo ' Instantaneous power reading: 150 Watts'"));
    OK(try_start(source, &m, &e));
    measure(m, 1.3, &r);
    assert_string_equal(r.c[0].name, "wall");
    assert_string_equal(r.c[0].scope, "wall");
    assert_true(r.c[0].whole);
    assert_true(meter_live(m, &watts, &joules, &quality));
    assert_int_equal(quality, METER_INTEGRATED);
    assert_close(watts, 150);
    assert_true(joules >= 150 * 1.3 && joules < 150 * 100);
    /* An answer is seconds old, so a window this short has no figure. */
    assert_true(r.c[0].refused);
    assert_non_null(strstr(r.c[0].reason, "two update periods (4 s each) of ipmi"));
    meter_stop(m);
}

static void a_file_that_is_kept_fresh_will_do(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct meter *m;
    char source[256];
    const char *path = scratch_write(s, "power.json", "{\"PowerConsumedWatts\":77}", 25);
    snprintf(source, sizeof(source), "redfish:@%s", path);
    OK(try_start(source, &m, &e));
    assert_int_equal(meter_n_components(m), 1);
    meter_stop(m);
    const struct utimbuf old = {.actime = 1000, .modtime = 1000};
    assert_int_equal(utime(path, &old), 0);
    REFUSED_WITH(try_start(source, &m, &e), EE_MISSING, "was last written ");
}

static void commands_that_give_nothing_are_refused(void **state) {
    struct scratch *s = *state;
    static const char *const bodies[][2] = {
        {"exit 3", "exited with code 3"},
        {"kill -9 $$", "was killed by signal 9"},
        {"echo nothing of use", "no power reading in the answer: nothing of use"},
        {"yes | head -c 100000", "no power reading"},
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct err e = ERR_INIT;
        struct meter *m;
        char source[256];
        snprintf(source, sizeof(source), "ipmi:%s", script(s, "tool", bodies[i][0]));
        assert_true(try_start(source, &m, &e) < 0);
        assert_null(m);
        if (i < 3 && !strstr(e.msg, bodies[i][1])) {
            fail_msg("%s", e.msg);
        }
    }
    struct err e = ERR_INIT;
    struct meter *m;
    REFUSED_WITH(try_start("ipmi:/nonexistent/tool", &m, &e), EE_MISSING,
                 "cannot run /nonexistent/tool");
    REFUSED_WITH(try_start("redfish", &m, &e), EE_USAGE, "Write redfish:COMMAND");
    REFUSED_WITH(try_start("redfish:  ", &m, &e), EE_USAGE, "Write redfish:COMMAND");
}

/* It answered once, and then no more: the window has no figure. */
static void a_controller_that_falls_silent_is_missing(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct meter *m;
    struct meter_reading r;
    char source[256];
    char body[256];
    snprintf(body, sizeof(body),
             "[ -e '%s/done' ] && exit 1\ntouch '%s/done'\n"
             "echo 'Instantaneous power reading: 150 Watts'",
             s->dir, s->dir);
    snprintf(source, sizeof(source), "ipmi:%s", script(s, "tool", body));
    OK(try_start(source, &m, &e));
    measure(m, 4.5, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "no answer for "));
    assert_non_null(strstr(r.c[0].reason, "exited with code 1"));
    meter_stop(m);
}

/* meter_stop ends a question that hangs. */
static void a_command_that_hangs_does_not_hold_the_meter(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct meter *m;
    char source[256];
    char body[256];
    snprintf(body, sizeof(body),
             "[ -e '%s/done' ] && sleep 300\ntouch '%s/done'\n"
             "echo 'Instantaneous power reading: 150 Watts'",
             s->dir, s->dir);
    snprintf(source, sizeof(source), "ipmi:%s", script(s, "tool", body));
    OK(try_start(source, &m, &e));
    struct meter_reading r;
    measure(m, 1.3, &r);
    meter_stop(m);
}

#define ON_FILES(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipmi_answers_are_read),
        cmocka_unit_test(ipmi_answers_without_a_figure_are_refused),
        cmocka_unit_test(redfish_resources_are_read),
        cmocka_unit_test(redfish_answers_without_a_figure_are_refused),
        ON_FILES(a_command_gives_the_power_of_the_wall),
        ON_FILES(a_file_that_is_kept_fresh_will_do),
        ON_FILES(commands_that_give_nothing_are_refused),
        ON_FILES(a_controller_that_falls_silent_is_missing),
        ON_FILES(a_command_that_hangs_does_not_hold_the_meter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
