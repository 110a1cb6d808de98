/*
 * The load client against the null server in one process: several loops, every kind of load, stops
 * and failures. Also run under the thread sanitizer. No assertion on time.
 */
#include "serve/load.h"

#include "serve/null_server.h"
#include "serve/measure.h"
#include "serve/workload.h"
#include "support/scratch.h"

#include "base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct bed {
    struct null_server *server;
    struct target target;
    struct workload w;
    struct load load;
    struct load_result result;
    struct measures m;
};

static void begin(struct bed *b, const struct null_opts *server, int turns) {
    struct err e = ERR_INIT;
    char url[64];
    *b = (struct bed){0};
    OK(null_server_start(&b->server, server, &e));
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", null_server_port(b->server));
    OK(target_parse(url, API_CHAT, &b->target, &e));
    OK(target_resolve(&b->target, &e));
    const struct workload_opts o = {.input = {5, 9},
                                    .output = {4, 4},
                                    .n = 10,
                                    .model = "m",
                                    .turns = turns,
                                    .turn_input = {3, 3}};
    OK(workload_make(&o, &b->target, &b->w, &e));
    b->load = (struct load){
        .ops = &transport_plain,
        .transport = {.target = &b->target,
                      .max_connections = 64,
                      .connect_timeout_ns = 20 * NS_PER_S,
                      .stall_ns = 20 * NS_PER_S,
                      .timeout_ns = 60 * NS_PER_S},
        .payloads = b->w.payloads,
        .n_payloads = b->w.n,
        .concurrency = {.n = 1, .steps = {{6, 6, (double)INFINITY}}},
        .drain_ns = 20 * NS_PER_S,
        .preconnect = 4,
        .n_loops = 2,
    };
}

static void run(struct bed *b) {
    struct err e = ERR_INIT;
    const struct measure_opts o = {0};
    OK(load_run(&b->load, &b->result, &e));
    OK(measure(&b->result, &o, &b->m, &e));
}

static void end(struct bed *b) {
    measures_release(&b->m);
    load_result_release(&b->result);
    workload_release(&b->w);
    null_server_stop(b->server);
}

static void a_closed_loop_sends_so_many(void **state) {
    (void)state;
    struct bed b;
    begin(&b, &(struct null_opts){.tokens = 4, .n_threads = 2}, 1);
    b.load.count = 301;
    run(&b);
    assert_int_equal(b.result.n, 301);
    assert_int_equal(b.m.outcomes[OUTCOME_OK], 301);
    assert_int_equal(b.m.output_tokens, 4 * 301);
    assert_int_equal(b.result.n_loops, 2);
    for (size_t i = 1; i < b.result.n; i++) {
        assert_true(b.result.records[i]->scheduled_ns >= b.result.records[i - 1]->scheduled_ns);
    }
    for (size_t i = 0; i < b.result.n; i++) {
        const struct record *r = b.result.records[i];
        assert_true(r->scheduled_ns >= b.result.start_ns);
        assert_true(r->scheduled_ns <= r->begun_ns && r->begun_ns <= r->sent_ns);
        assert_true(r->sent_ns <= r->first_byte_ns && r->first_byte_ns <= r->ended_ns);
        assert_true(r->ended_ns <= b.result.end_ns);
    }
    end(&b);
}

static void an_open_loop_sends_its_schedule(void **state) {
    (void)state;
    struct bed b;
    int64_t at[200];
    begin(&b, &(struct null_opts){.tokens = 2}, 1);
    for (int i = 0; i < 200; i++) {
        at[i] = i / 4 * 3000000; /* four at a time */
    }
    b.load.arrivals = at;
    b.load.n_arrivals = 200;
    run(&b);
    assert_int_equal(b.m.outcomes[OUTCOME_OK], 200);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(b.result.records[i]->scheduled_ns - b.result.start_ns, at[i]);
        assert_true(b.result.records[i]->sent_ns >= b.result.records[i]->scheduled_ns);
    }
    end(&b);
}

static void connections_that_are_too_few_make_requests_wait(void **state) {
    (void)state;
    struct bed b;
    int64_t at[40] = {0};
    begin(&b, &(struct null_opts){.tokens = 2, .ttft_ms = 5}, 1);
    b.load.arrivals = at;
    b.load.n_arrivals = 40;
    b.load.transport.max_connections = 2;
    b.load.preconnect = 2;
    run(&b);
    assert_int_equal(b.m.outcomes[OUTCOME_OK], 40);
    assert_true(b.m.figures[FIG_SEND_LAG].max >= 0.09); /* 20 rounds of 5 ms */
    assert_int_equal(b.result.loops[0].stats.opened + b.result.loops[1].stats.opened, 2);
    end(&b);
}

static void conversations_go_on_with_their_answers(void **state) {
    (void)state;
    struct bed b;
    begin(&b, &(struct null_opts){.tokens = 3}, 3);
    b.load.count = 20;
    b.load.follow_up = workload_follow_up;
    b.load.follow_up_ctx = &b.w;
    run(&b);
    assert_int_equal(b.result.n, 60);
    assert_int_equal(b.m.outcomes[OUTCOME_OK], 60);
    size_t turns[3] = {0};
    for (size_t i = 0; i < b.result.n; i++) {
        const struct record *r = b.result.records[i];
        const struct payload *p = r->payload;
        assert_in_range(r->session, 1, 20);
        turns[r->turn]++;
        json_error_t je;
        json_t *body = json_loadb(p->bytes + p->body_at, p->len - p->body_at, 0, &je);
        const json_t *messages = json_object_get(body, "messages");
        assert_int_equal(json_array_size(messages), 2 + 2 * r->turn);
        if (r->turn > 0) {
            const json_t *answer = json_array_get(messages, 2);
            assert_string_equal(json_string_value(json_object_get(answer, "role")), "assistant");
            assert_string_equal(json_string_value(json_object_get(answer, "content")),
                                " tok tok tok");
        }
        json_decref(body);
    }
    assert_true(turns[0] == 20 && turns[1] == 20 && turns[2] == 20);
    end(&b);
}

static void faults_are_counted_and_harm_nobody(void **state) {
    (void)state;
    struct bed b;
    begin(&b,
          &(struct null_opts){.tokens = 4,
                              .n_threads = 2,
                              .faults = {NULL_FAULT_DIE, NULL_FAULT_500, NULL_FAULT_BAD_CHUNK,
                                         NULL_FAULT_ENDLESS, NULL_FAULT_GZIP},
                              .n_faults = 5,
                              .fault_every = 3},
          1);
    b.load.count = 150;
    run(&b);
    assert_int_equal(b.m.outcomes[OUTCOME_OK], 100);
    assert_int_equal(b.m.outcomes[OUTCOME_DIED], 10);
    assert_int_equal(b.m.outcomes[OUTCOME_STATUS], 10);
    assert_int_equal(b.m.outcomes[OUTCOME_BAD_HTTP], 10);
    assert_int_equal(b.m.outcomes[OUTCOME_ENDLESS], 10);
    assert_int_equal(b.m.outcomes[OUTCOME_COMPRESSED], 10);
    end(&b);
}

static void silence_and_length_have_limits(void **state) {
    (void)state;
    struct bed b;
    begin(&b, &(struct null_opts){.tokens = 4, .faults = {NULL_FAULT_STALL}, .n_faults = 1}, 1);
    b.load.count = 8;
    b.load.transport.stall_ns = 200 * NS_PER_MS;
    run(&b);
    assert_int_equal(b.m.outcomes[OUTCOME_STALLED], 8);
    end(&b);
    begin(&b, &(struct null_opts){.tokens = 100, .itl_ms = 20}, 1);
    for (size_t i = 0; i < b.w.n; i++) {
        b.w.payloads[i].max_tokens = 1000;
    }
    b.load.count = 4;
    b.load.transport.timeout_ns = 30 * NS_PER_MS;
    run(&b);
    assert_int_equal(b.m.outcomes[OUTCOME_TIMEOUT], 4);
    end(&b);
}

static void a_stop_cuts_what_is_in_flight(void **state) {
    (void)state;
    static volatile sig_atomic_t stop;
    struct bed b;
    stop = 1;
    begin(&b, &(struct null_opts){.tokens = 4, .ttft_ms = 60000}, 1);
    b.load.count = 100;
    b.load.stop = &stop;
    run(&b);
    assert_true(b.result.stopped);
    assert_true(b.result.n < 100);
    assert_int_equal(b.m.outcomes[OUTCOME_CUT], b.result.n);
    end(&b);
}

static void time_ends_a_load_and_the_drain_has_a_limit(void **state) {
    (void)state;
    struct bed b;
    begin(&b, &(struct null_opts){.tokens = 4, .ttft_ms = 60000}, 1);
    b.load.duration_ns = 50 * NS_PER_MS;
    b.load.drain_ns = 50 * NS_PER_MS;
    run(&b);
    assert_int_equal(b.result.n, 6);
    assert_int_equal(b.m.outcomes[OUTCOME_CUT], 6);
    end(&b);
}

static void a_server_that_is_not_there_is_an_error(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct bed b;
    begin(&b, &(struct null_opts){.faults = {NULL_FAULT_REFUSE}, .n_faults = 1}, 1);
    b.load.count = 10;
    REFUSED_WITH(load_run(&b.load, &b.result, &e), EE_IO, "connection refused");
    end(&b);
}

static void sources_must_be_addresses(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct bed b;
    const char *bad[] = {"localhost"};
    const char *six[] = {"::1"};
    begin(&b, &(struct null_opts){.tokens = 1}, 1);
    b.load.count = 1;
    b.load.transport.n_sources = 1;
    b.load.transport.sources = bad;
    REFUSED_WITH(load_run(&b.load, &b.result, &e), EE_USAGE, "is no IP address");
    b.load.transport.sources = six;
    REFUSED_WITH(load_run(&b.load, &b.result, &e), EE_USAGE, "two IP versions");
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_loop_sends_so_many),
        cmocka_unit_test(an_open_loop_sends_its_schedule),
        cmocka_unit_test(connections_that_are_too_few_make_requests_wait),
        cmocka_unit_test(conversations_go_on_with_their_answers),
        cmocka_unit_test(faults_are_counted_and_harm_nobody),
        cmocka_unit_test(silence_and_length_have_limits),
        cmocka_unit_test(a_stop_cuts_what_is_in_flight),
        cmocka_unit_test(time_ends_a_load_and_the_drain_has_a_limit),
        cmocka_unit_test(a_server_that_is_not_there_is_an_error),
        cmocka_unit_test(sources_must_be_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
