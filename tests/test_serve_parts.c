/* The small parts of serving: timers, the sweep's search, commands, Prometheus' format, stamps. */
#include "serve/null_script.h"
#include "serve/prometheus.h"
#include "serve/server.h"
#include "serve/sweep.h"
#include "serve/timer_heap.h"

#include "base/rng.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void timers_come_in_order_whatever_is_set_and_cancelled(void **state) {
    (void)state;
    enum { N = 200 };
    struct err e = ERR_INIT;
    struct timer timers[N] = {{0, 0}};
    struct timer_heap h;
    struct rng r;
    timer_heap_init(&h);
    rng_init(&r, 2);
    OK(timer_heap_reserve(&h, N, &e));
    for (int i = 0; i < 5000; i++) {
        struct timer *t = &timers[rng_below(&r, N)];
        if (rng_below(&r, 3)) {
            timer_heap_set(&h, t, (int64_t)rng_below(&r, 1000));
        } else {
            timer_heap_cancel(&h, t);
        }
        const struct timer *first = timer_heap_first(&h);
        size_t in = 0;
        for (int k = 0; k < N; k++) {
            in += timers[k].place != 0;
            assert_true(!timers[k].place || first->due_ns <= timers[k].due_ns);
        }
        assert_int_equal(in, h.n);
        assert_true((first == NULL) == (in == 0));
    }
    timer_heap_release(&h);
}

/* A server of that capacity: answers what comes up to it, and late beyond. */
static struct sweep_point serve(double rate, double capacity, bool limits) {
    bool ok = rate <= capacity;
    return (struct sweep_point){.level = rate,
                                .request_rate = ok ? rate : capacity,
                                .output_rate = 10 * (ok ? rate : capacity),
                                .attained = limits ? (ok ? 0.99 : 0.4) : (double)NAN,
                                .client_valid = true};
}

static void the_sweep_finds_the_highest_rate(void **state) {
    (void)state;
    const double capacities[] = {0.05, 0.7, 1, 3.3, 47, 900};
    for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
        for (int limits = 0; limits < 2; limits++) {
            struct sweep s;
            double level;
            sweep_init(&s, true, limits, 0.95, 1e5);
            while (sweep_next(&s, 1, &level)) {
                struct sweep_point p = serve(level, capacities[i], limits);
                sweep_add(&s, &p);
            }
            const struct sweep_point *best = sweep_best(&s);
            assert_non_null(best);
            double bound = limits ? capacities[i] : capacities[i] / 0.9;
            assert_true(best->level <= bound * 1.0001 && best->level >= bound / 1.1001);
            assert_non_null(s.end);
        }
    }
}

static void the_sweep_ends_when_nothing_is_gained(void **state) {
    (void)state;
    struct sweep s;
    double level;
    sweep_init(&s, false, false, 0.95, 4096);
    while (sweep_next(&s, 1, &level)) { /* saturates at 20 in flight */
        struct sweep_point p = serve(level, 20, false);
        p.level = level;
        sweep_add(&s, &p);
    }
    assert_true(s.at[s.n - 1].level == 64);
    assert_true(sweep_peak(&s)->output_rate == 200);
    sweep_init(&s, true, false, 0.95, 100);
    while (sweep_next(&s, 1, &level)) {
        struct sweep_point p = serve(level, 1e9, false);
        sweep_add(&s, &p);
    }
    assert_true(sweep_best(&s)->level == 100);
    sweep_init(&s, true, false, 0.95, 100);
    struct sweep_point p = serve(1, 10, false);
    p.client_valid = false;
    assert_true(sweep_next(&s, 1, &level));
    sweep_add(&s, &p);
    assert_false(sweep_next(&s, 1, &level));
    assert_non_null(strstr(s.end, "client"));
}

static void commands_are_split_into_words(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    const char *const *argv;
    OK(server_split("  a \"b c\" 'd \"e' f\\ g\t\"h\\\"i\" $x * 'j''k' \"\" ", &a, &argv, &e));
    const char *const want[] = {"a", "b c", "d \"e", "f g", "h\"i", "$x", "*", "jk", "", NULL};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        if (!want[i]) {
            assert_null(argv[i]);
        } else {
            assert_string_equal(argv[i], want[i]);
        }
    }
    REFUSED_WITH(server_split("a 'b", &a, &argv, &e), EE_USAGE, "not closed");
    REFUSED_WITH(server_split("  ", &a, &argv, &e), EE_USAGE, "empty");
    arena_release(&a);
}

static void metrics_grow_and_move(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct prometheus p;
    prometheus_init(&p);
    static const char *const texts[] = {
        "# HELP x_total Things.\n# TYPE x_total counter\nx_total{a=\"b c} d\",e=\"\\\"\"} 5\n"
        "# TYPE busy gauge\nbusy 0.5 1700000000\n"
        "# TYPE lat histogram\nlat_bucket{le=\"1\"} 3\nlat_bucket{le=\"+Inf\"} 4\nlat_sum 2.5\n"
        "lat_count 4\n# TYPE q summary\nq{quantile=\"0.5\"} 1\nq_sum 1\nq_count 1\nbare NaN\n",
        "# TYPE x_total counter\r\nx_total{a=\"b c} d\",e=\"\\\"\"} 12\r\n# TYPE busy gauge\r\nbusy "
        "0.25\r\n# TYPE lat histogram\nlat_sum 3\nlat_count 6\n",
    };
    for (int i = 0; i < 2; i++) {
        OK(prometheus_take(&p, texts[i], strlen(texts[i]), &e));
    }
    json_t *o = prometheus_json(&p);
    json_t *want = json_pack("{s:i, s:i, s:{s:f, s:f, s:f, s:f, s:f}, s:{s:{s:f, s:f, s:f, s:f}}}",
                             "scrapes", 2, "failed", 0, "counters",
                             "x_total{a=\"b c} d\",e=\"\\\"\"}", 7.0, "lat_sum", 0.5, "lat_count",
                             2.0, "q_sum", 0.0, "q_count", 0.0, "gauges", "busy", "min", 0.25,
                             "mean", 0.375, "max", 0.5, "last", 0.25);
    assert_non_null(want);
    if (!json_equal(o, want)) {
        print_error("%s\n", json_dumps(o, 0));
        fail();
    }
    json_decref(o);
    json_decref(want);
    static const char *const bad[] = {"<html>\n", "x\n", "x y\n", "x{a=\"b\" 1\n", "{} \n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        REFUSED_WITH(prometheus_take(&p, bad[i], strlen(bad[i]), &e), EE_FORMAT, "metrics:");
    }
    prometheus_release(&p);
}

static void the_null_servers_stamps_are_numbers_of_fixed_width(void **state) {
    (void)state;
    static const struct {
        int64_t sent_ns, late_ns;
        const char *want;
    } rows[] = {{0, 0, "                           0,0"},
                {123456789, 7, "                   123456789,7"},
                {INT64_MAX, 9999999999, "9223372036854775807,9999999999"},
                {5, 10000000000, "                  5,9999999999"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[NULL_STAMPS_CHARS + 1] = "";
        null_stamp(text, rows[i].sent_ns, rows[i].late_ns);
        assert_string_equal(text, rows[i].want);
    }
    struct null_script s;
    struct err e = ERR_INIT;
    OK(null_script_init(&s, &(struct null_opts){.event_bytes = {220}, .n_sizes = 1}, &e));
    const struct null_piece *p = &s.chat.token[0];
    char text[256];
    assert_true(p->len <= 220); /* they fit into the events that speed is measured with */
    memcpy(text, p->bytes, p->len);
    null_stamp(text + p->stamps_at, INT64_MAX, 12);
    text[p->len] = '\0';
    const char *data = strchr(text, '{');
    json_t *o = json_loads(data, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *stamps = json_object_get(o, "stamps_ns");
    assert_int_equal(json_integer_value(json_array_get(stamps, 0)), INT64_MAX);
    assert_int_equal(json_integer_value(json_array_get(stamps, 1)), 12);
    json_decref(o);
    null_script_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_in_order_whatever_is_set_and_cancelled),
        cmocka_unit_test(the_sweep_finds_the_highest_rate),
        cmocka_unit_test(the_sweep_ends_when_nothing_is_gained),
        cmocka_unit_test(commands_are_split_into_words),
        cmocka_unit_test(metrics_grow_and_move),
        cmocka_unit_test(the_null_servers_stamps_are_numbers_of_fixed_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
