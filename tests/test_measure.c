/* Figures of hand-made records, computed on paper; windows; limits; other tools' definitions. */
#include "serve/compat.h"
#include "serve/measure.h"
#include "serve/raw.h"

#include "base/fs.h"
#include "base/rng.h"
#include "support/records.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want)))) {
        print_error("%.12g, expected %.12g\n", got, want);
        fail();
    }
}

/* Two answers, one of them slow to be sent, and one failure. */
static void make_three(struct records *r) {
    records_init(r, 3);
    records_set(r, 0, 0, 0, 140,
                (struct said[]){{50, {ROLE}},
                                {100, {CHUNK("a")}},
                                {110, {CHUNK("b"), CHUNK("c")}},
                                {140, {CHUNK("d")}},
                                {140, {FINISH("length"), USAGE("10", "4"), DONE}},
                                {0, {NULL}}});
    records_set(r, 1, 20, 70, 200,
                (struct said[]){{120, {THOUGHT("x")}},
                                {150, {CHUNK("y")}},
                                {190, {CHUNK("z")}},
                                {200, {FINISH("stop"), USAGE("6", "4"), DONE}},
                                {0, {NULL}}});
    records_fail(r, 2, 30, OUTCOME_STATUS, 503);
}

static void measure_all(struct records *r, const char *slo, struct measures *m) {
    struct err e = ERR_INIT;
    struct measure_opts o = {0};
    if (slo) {
        OK(slo_parse(slo, &o.slos, &e));
    }
    OK(measure(&r->load, &o, m, &e));
}

static void each_figure_follows_its_definition(void **state) {
    (void)state;
    struct records r;
    struct measures m;
    make_three(&r);
    measure_all(&r, NULL, &m);
    const double *a = m.rows[0].value;
    const double *b = m.rows[1].value;
    near(a[FIG_TTFT], 0.100);
    near(a[FIG_TTFO], 0.100);
    near(a[FIG_E2E], 0.140);
    near(a[FIG_TPOT], 0.040 / 3);
    near(a[FIG_NTPOT], 0.140 / 4);
    near(a[FIG_SEND_LAG], 0);
    near(b[FIG_TTFT], 0.050); /* 120 - 70: the reasoning token */
    near(b[FIG_TTFO], 0.080);
    near(b[FIG_E2E], 0.120);
    near(b[FIG_TPOT], 0.070 / 2); /* the fourth token ended the answer and came with no event */
    near(b[FIG_NTPOT], 0.120 / 4);
    near(b[FIG_TTFT_SCHEDULE], 0.100);
    near(b[FIG_E2E_SCHEDULE], 0.170);
    near(b[FIG_SEND_LAG], 0.050);
    assert_true(isnan(m.rows[2].value[FIG_TTFT]));
    /* Gaps between reads: 10, 30 | 30, 40; the first holds two tokens. */
    assert_int_equal(m.pool_n[FIG_ITL_EVENT], 4);
    near(m.pools[FIG_ITL_EVENT][0], 0.010);
    assert_int_equal(m.pool_n[FIG_ITL_TOKEN], 5);
    near(m.pools[FIG_ITL_TOKEN][0], 0.005);
    near(m.pools[FIG_ITL_TOKEN][1], 0.005);
    near(m.pools[FIG_ITL_TOKEN][2], 0.030);
    assert_int_equal(m.n_coalesced, 1);
    assert_int_equal(m.outcomes[OUTCOME_OK], 2);
    assert_int_equal(m.n_failed, 1);
    assert_int_equal(m.statuses[0].status, 503);
    assert_int_equal(m.output_tokens, 8);
    assert_int_equal(m.prompt_tokens, 16);
    near(m.whole_s, 0.200);
    near(m.output_rate, 40);
    near(m.request_rate, 10);
    measures_release(&m);
    records_release(&r);
}

#define STAMPED(sent, late)                                                                        \
    "{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"stamps_ns\":[  " sent "," late "]}"

/* The load begins at 1 s of the clock: reads at 1.010 s, 1.020 s, 1.030 s. */
static void delivery_is_of_each_reads_last_event(void **state) {
    (void)state;
    struct records r;
    struct measures m;
    records_init(&r, 1);
    records_set(&r, 0, 0, 0, 30,
                (struct said[]){{10, {STAMPED("1009000000", "100")}},
                                {20, {STAMPED("1017000000", "0"), STAMPED("1018000000", "200")}},
                                {30, {STAMPED("1029500000", "0")}},
                                {30, {FINISH("length"), USAGE("1", "4"), DONE}},
                                {0, {NULL}}});
    measure_all(&r, NULL, &m);
    near(m.rows[0].value[FIG_DELIVERY], 0.001);
    assert_int_equal(m.pool_n[FIG_DELIVERY], 1);
    assert_int_equal(m.pool_n[FIG_EVENT_DELIVERY], 3);
    near(m.pools[FIG_EVENT_DELIVERY][0], 0.001);
    near(m.pools[FIG_EVENT_DELIVERY][1], 0.002);
    near(m.pools[FIG_EVENT_DELIVERY][2], 0.0005);
    near(m.pools[FIG_SERVER_LATE][0], 1e-7);
    near(m.pools[FIG_SERVER_LATE][1], 2e-7);
    near(m.pools[FIG_SERVER_LATE][2], 0);
    measures_release(&m);
    records_release(&r);
}

static void goodput_counts_failures_and_lateness(void **state) {
    (void)state;
    static const struct {
        const char *slo;
        size_t met;
    } rows[] = {
        {"ttft=100ms", 2},           {"ttft=99ms", 1},
        {"ttft=60ms,e2e=1s", 1},     {"ttft_schedule=100ms", 2},
        {"ttft_schedule=99.9ms", 0}, {"tpot=13400us", 1},
        {"e2e=0.119s", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct records r;
        struct measures m;
        make_three(&r);
        measure_all(&r, rows[i].slo, &m);
        assert_int_equal(m.n_met, rows[i].met);
        near(m.attained, (double)rows[i].met / 3);
        near(m.goodput, (double)rows[i].met / 0.2);
        measures_release(&m);
        records_release(&r);
    }
}

static void bad_limits_are_refused(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct slo_set s;
    const char *const bad[] = {"",
                               "ttft",
                               "ttft=",
                               "ttft=5",
                               "ttft=5m",
                               "ttft=-1ms",
                               "itl_event=1ms",
                               "ttft=1ms,",
                               "ttft=1ms tpot=2ms",
                               "x=1ms",
                               "ttft=nanms"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (strcmp(bad[i], "ttft=1ms,") == 0) {
            OK(slo_parse(bad[i], &s, &e)); /* a comma at the end does no harm */
            continue;
        }
        REFUSED_WITH(slo_parse(bad[i], &s, &e), EE_USAGE, "--slo is");
    }
}

static void warm_up_is_left_out(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct records r;
    struct measures m;
    make_three(&r);
    const struct measure_opts o = {.measured_from_ns = r.load.start_ns + 10000000};
    OK(measure(&r.load, &o, &m, &e));
    assert_int_equal(m.n_warmup, 1);
    assert_int_equal(m.n_measured, 2);
    assert_int_equal(m.figures[FIG_TTFT].n, 1);
    assert_int_equal(m.output_tokens, 4);
    measures_release(&m);
    records_release(&r);
}

static void without_usage_no_token_figure_is_made_up(void **state) {
    (void)state;
    struct records r;
    struct measures m;
    records_init(&r, 1);
    records_set(
        &r, 0, 0, 0, 30,
        (struct said[]){
            {10, {CHUNK("a")}}, {20, {CHUNK("b")}}, {30, {FINISH("stop"), DONE}}, {0, {NULL}}});
    measure_all(&r, NULL, &m);
    assert_int_equal(m.n_no_usage, 1);
    assert_true(isnan(m.output_rate));
    assert_true(isnan(m.rows[0].value[FIG_TPOT]));
    assert_true(isnan(m.rows[0].value[FIG_NTPOT]));
    assert_int_equal(m.pool_n[FIG_ITL_TOKEN], 0);
    assert_int_equal(m.pool_n[FIG_ITL_EVENT], 1);
    measures_release(&m);
    records_release(&r);
}

static const struct compat_row *row_of(const struct compat *c, const char *label) {
    for (size_t i = 0; i < c->n; i++) {
        if (!strcmp(c->rows[i].label, label)) {
            return &c->rows[i];
        }
    }
    fail_msg("no row %s", label);
    return NULL;
}

static void other_tools_figures_follow_their_definitions(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct records r;
    struct measures m;
    struct compat c;
    make_three(&r);
    measure_all(&r, NULL, &m);
    OK(compat_make(COMPAT_VLLM, &r.load, &m, &c, &e));
    /* The role chunk is its first token, and the clock starts before the send. */
    near(row_of(&c, "TTFT")->mean, (50 + 100) / 2.0);
    /* Up to the chunk with the finish reason: 140 - 50 over 3, 180 - 100 over 3. */
    near(row_of(&c, "TPOT")->mean, (90 + 80) / 3.0 / 2);
    near(row_of(&c, "E2EL")->mean, (140 + 180) / 2.0);
    assert_int_equal(row_of(&c, "ITL")->n, 5 + 3);
    near(row_of(&c, "output token throughput")->mean, 40);
    OK(compat_make(COMPAT_GUIDELLM, &r.load, &m, &c, &e));
    near(row_of(&c, "TTFT")->mean, (100 + 100) / 2.0);
    near(row_of(&c, "TPOT")->mean, (140 / 4.0 + 170 / 4.0) / 2);
    near(row_of(&c, "ITL")->mean, (40 / 3.0 + 70 / 3.0) / 2);
    near(row_of(&c, "request latency")->mean, (0.140 + 0.180) / 2);
    OK(compat_make(COMPAT_AIPERF, &r.load, &m, &c, &e));
    near(row_of(&c, "ITL")->mean, (40 / 3.0 + 70 / 3.0) / 2);
    near(row_of(&c, "request latency")->mean, (140 + 170) / 2.0);
    near(row_of(&c, "failed requests")->mean, 1);
    measures_release(&m);
    records_release(&r);
}

static void records_survive_a_file(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct records r;
    struct load_result back;
    json_t *document = NULL;
    make_three(&r);
    const char *path = scratch_path(s, "x.eebench");
    json_t *settings = json_pack("{s:i}", "a", 1);
    OK(raw_write(path, settings, &r.load, &e));
    OK(raw_read(path, &document, &back, &e));
    assert_true(json_equal(document, settings));
    assert_int_equal(back.n, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct record *a = r.load.records[i];
        const struct record *b = back.records[i];
        assert_int_equal(a->scheduled_ns, b->scheduled_ns);
        assert_int_equal(a->sent_ns, b->sent_ns);
        assert_int_equal(a->ended_ns, b->ended_ns);
        assert_int_equal(a->outcome, b->outcome);
        assert_int_equal(a->status, b->status);
        assert_int_equal(a->n_events, b->n_events);
        assert_int_equal(a->log_len, b->log_len);
        assert_memory_equal(a->log_len ? a->log : (const void *)"", b->log, a->log_len);
    }
    json_decref(document);
    load_result_release(&back);
    struct buf file;
    buf_init(&file);
    OK(fs_read(path, &file, &e));
    for (size_t cut = 0; cut < file.len; cut += 7) {
        const char *part = scratch_write(s, "cut", file.data, cut);
        REFUSED_WITH(raw_read(part, &document, &back, &e), EE_FORMAT, "no whole file");
    }
    struct rng rng;
    rng_init(&rng, 8);
    for (int i = 0; i < 2000; i++) { /* damaged anywhere: read or refused, never more */
        char *copy = malloc(file.len);
        assert_non_null(copy);
        memcpy(copy, file.data, file.len);
        copy[rng_below(&rng, file.len)] ^= (char)(1 << rng_below(&rng, 8));
        const char *bad = scratch_write(s, "bad", copy, file.len);
        if (raw_read(bad, &document, &back, &e) == 0) {
            struct measures m;
            const struct measure_opts o = {0};
            back.end_ns = back.start_ns = 0;
            OK(measure(&back, &o, &m, &e));
            measures_release(&m);
            load_result_release(&back);
            json_decref(document);
        }
        free(copy);
    }
    buf_release(&file);
    json_decref(settings);
    records_release(&r);
}

/* A transient of high values, then noise around a mean. */
static void transients_are_cut(void **state) {
    (void)state;
    struct rng rng;
    double x[400];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        rng_init(&rng, seed);
        for (int i = 0; i < 400; i++) {
            x[i] = 10 + rng_uniform(&rng) + (i < 60 ? 30 - i / 2.0 : 0);
        }
        size_t d = mser5(x, 400);
        assert_in_range(d, 50, 160);
        for (int i = 0; i < 400; i++) {
            x[i] = 10 + rng_uniform(&rng);
        }
        assert_true(mser5(x, 400) < 180);
    }
    for (int i = 0; i < 400; i++) {
        x[i] = i; /* never settles */
    }
    assert_true(mser5(x, 400) >= 195);
    assert_int_equal(mser5(x, 3), 0);
}

static void steady_rates_leave_filling_and_draining_out(void **state) {
    (void)state;
    enum { N = 300 };
    struct records r;
    struct measures m;
    records_init(&r, N);
    /* One request every 10 ms for 3 s, each of 2 tokens after 400 and 500 ms. */
    for (int i = 0; i < N; i++) {
        double t = 10.0 * i;
        records_set(
            &r, (size_t)i, t, t, t + 500,
            (struct said[]){{t + 400, {CHUNK("a")}},
                            {t + 500, {CHUNK("b"), FINISH("length"), USAGE("5", "2"), DONE}},
                            {0, {NULL}}});
    }
    measure_all(&r, NULL, &m);
    assert_true(m.window.is_steady);
    assert_true(m.window.begin_s >= 0.4 && m.window.begin_s < 1.5);
    assert_true(fabs(m.window.end_s - 2.99) < 0.02);
    assert_true(fabs(m.window.output_rate - 200) < 6);
    assert_true(fabs(m.window.request_rate - 100) < 4);
    assert_true(m.output_rate < 175); /* 600 tokens over 3.49 s */
    measures_release(&m);
    records_release(&r);
    make_three(&r);
    measure_all(&r, NULL, &m);
    assert_false(m.window.is_steady);
    assert_non_null(m.window.reason);
    assert_true(isnan(m.window.output_rate));
    measures_release(&m);
    records_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_figure_follows_its_definition),
        cmocka_unit_test(delivery_is_of_each_reads_last_event),
        cmocka_unit_test(goodput_counts_failures_and_lateness),
        cmocka_unit_test(bad_limits_are_refused),
        cmocka_unit_test(warm_up_is_left_out),
        cmocka_unit_test(without_usage_no_token_figure_is_made_up),
        cmocka_unit_test(other_tools_figures_follow_their_definitions),
        cmocka_unit_test_setup_teardown(records_survive_a_file, scratch_setup, scratch_teardown),
        cmocka_unit_test(transients_are_cut),
        cmocka_unit_test(steady_rates_leave_filling_and_draining_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
