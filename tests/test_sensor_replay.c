/* The recording format, and the counter that real sensors share with it. */
#include "support/energy_fake.h"

#include "energy/counter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEADER "{\"edge_eval_power\":1,\"components\":[{\"name\":\"gpu0\",\"scope\":\"gpu\"}]}\n"

static void bad_recordings_name_the_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "is empty"},
        {"\n\n", "is empty"},
        {"{}\n", "line 1"},
        {"{\"edge_eval_power\":2}\n", "version 2"},
        {"{\"edge_eval_power\":1}\n", "\"components\""},
        {"{\"edge_eval_power\":1,\"components\":[{\"name\":\"x\"}]}\n", "scope"},
        {HEADER, "no samples of gpu0"},
        {HEADER "{\"t_s\":0,\"gpu0\":{\"w\":1}}\nnonsense\n", "line 3"},
        {HEADER "{\"gpu0\":{\"w\":1}}\n", "t_s"},
        {HEADER "{\"t_s\":-1,\"gpu0\":{\"w\":1}}\n", "t_s of -1"},
        {HEADER "{\"t_s\":0,\"gpu0\":{\"w\":-1}}\n", "a power or energy that cannot be"},
        {HEADER "{\"t_s\":0,\"gpu0\":{\"w\":1e300}}\n", "a power or energy that cannot be"},
        {HEADER "{\"t_s\":0,\"gpu0\":{\"j\":1e13}}\n", "a power or energy that cannot be"},
        {"{\"edge_eval_power\":1,\"components\":[{\"name\":\"a\",\"scope\":\"gpu\","
         "\"update_ms\":1e99}]}\n",
         "\"update_ms\" is 1e+99 and must be 0.001 to 3.6e+06"},
        {"{\"edge_eval_power\":1,\"components\":[{\"name\":\"a\",\"scope\":\"gpu\",\"duty\":2}]}\n",
         "\"duty\" is 2 and must be 0 to 1"},
        {HEADER "{\"t_s\":0,\"gpu0\":{}}\n", "needs \"w\", \"j\" or \"error\""},
        {HEADER "{\"t_s\":0,\"gpu1\":{\"w\":1}}\n", "does not list"},
        {HEADER "{\"t_s\":2,\"gpu0\":{\"w\":1}}\n{\"t_s\":1,\"gpu0\":{\"w\":1}}\n",
         "order of time"},
        {"{\"edge_eval_power\":1,\"repeat\":true,\"components\":"
         "[{\"name\":\"x\",\"scope\":\"cpu\",\"wrap_j\":9}]}\n",
         "wrap_j"},
        {"{\"edge_eval_power\":1,\"repeat\":true,\"components\":"
         "[{\"name\":\"x\",\"scope\":\"cpu\"}]}\n{\"t_s\":0,\"x\":{\"w\":1}}\n",
         "is empty"},
    };
    struct fake_root root;
    char source[128];
    fake_root_make(&root);
    snprintf(source, sizeof(source), "replay:%s/r.jsonl", root.dir);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct meter *m;
        struct err e = ERR_INIT;
        struct meter_opts opts = {.source = source};
        fake_write(&root, "r.jsonl", "%s", cases[i].text);
        assert_true(meter_start(&m, &opts, &e) < 0);
        if (!strstr(e.msg, cases[i].says)) {
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, e.msg, cases[i].says);
        }
    }
    fake_root_remove(&root);
}

static void labels_come_from_the_first_line(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_component info;
    struct meter_reading r;
    fake_replay(&c, "{\"edge_eval_power\":1,\"components\":[{\"name\":\"cpu\",\"scope\":\"cpu\","
                    "\"gain\":0.4,\"update_ms\":250,\"modelled\":true,\"shared\":true,"
                    "\"detail\":\"a laptop\"}]}\n\n"
                    "{\"t_s\":0,\"cpu\":{\"w\":3}}\n{\"t_s\":60,\"cpu\":{\"w\":3}}\n");
    meter_component_info(c.m, 0, &info);
    assert_string_equal(info.detail, "a laptop");
    assert_int_equal(info.update_ns, 250000000);
    assert_close(info.gain, 0.4);
    assert_true(info.modelled && info.shared && !info.unreadable);
    fake_window(&c, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MODELLED);
    assert_close(r.c[0].joules, 30);
    assert_true(r.c[0].shared);
    meter_stop(c.m);
}

static void a_repeating_recording_goes_on(void **state) {
    (void)state;
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct buf text;
    buf_init(&text);
    buf_addstr(&text, "{\"edge_eval_power\":1,\"repeat\":true,\"components\":"
                      "[{\"name\":\"gpu0\",\"scope\":\"gpu\"}]}\n");
    for (int i = 0; i <= 10; i++) { /* 1 s: 50 W, counter and power */
        buf_addf(&text, "{\"t_s\":%.1f,\"gpu0\":{\"j\":%d,\"w\":50}}\n", i / 10.0, 5 * i);
    }
    fake_replay(&c, text.data);
    fake_window(&c, 1000, &r);
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 50000);
    assert_true(r.c[0].has_disagreement);
    buf_release(&text);
    meter_stop(c.m);
}

/* ---- the counter ---- */

#define S INT64_C(1000000000)

static void a_counter_adds_what_it_can_believe(void **state) {
    (void)state;
    static const struct {
        uint64_t range, old, now;
        int64_t elapsed_ns;
        int code;
        double joules;
    } cases[] = {
        {262143328850, 1000000, 3000000, S, 0, 2},
        {262143328850, 1000000, 1000000, S, 0, 0},
        {262143328850, 262143328000, 1150, S, 0, 0.002}, /* range - old + new */
        {262143328850, 262143328850, 0, S, 0, 0},
        {262143328850, 130000000000, 5, S, EE_FORMAT, 0}, /* a reset half-way */
        {0, 4000000, 1000000, S, EE_FORMAT, 0},           /* no range: going back is a fault */
        {65532610987, 0, 1000000, 100 * S, EE_FORMAT, 0}, /* long enough for an unseen wrap */
        {0, 0, 1000000000000, S, EE_FORMAT, 0},           /* 1 MJ in a second */
        {0, 0, 900000000, S, 0, 900},
        {65532610987, 70000000000, 10, S, EE_FORMAT, 0}, /* beyond its own range */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct counter c = {.unit_j = 1e-6, .range = cases[i].range, .max_w = 1000};
        char why[128] = "";
        assert_int_equal(counter_advance(&c, cases[i].old, S, why, sizeof(why)), 0);
        int rc = counter_advance(&c, cases[i].now, S + cases[i].elapsed_ns, why, sizeof(why));
        if (rc != cases[i].code) {
            fail_msg("case %zu: %d (%s)", i, rc, why);
        }
        assert_close(counter_joules(&c), cases[i].joules);
        assert_true((rc == 0) == (why[0] == '\0'));
        /* Whatever it was, counting goes on from there. */
        assert_int_equal(counter_advance(&c, cases[i].now + 7000000, 2 * S + cases[i].elapsed_ns,
                                         why, sizeof(why)),
                         0);
        assert_close(counter_joules(&c), cases[i].joules + 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_recordings_name_the_line),
        cmocka_unit_test(labels_come_from_the_first_line),
        cmocka_unit_test(a_repeating_recording_goes_on),
        cmocka_unit_test(a_counter_adds_what_it_can_believe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
