/* Prompts of exact length, traces, and addresses. */
#include "serve/workload.h"

#include "serve/words.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* ---- words ---- */

/* A tokenizer of sorts: 3 for the template, one a word, two for words longer than 5 letters. */
static int count(void *ctx, const char *text, struct err *e) {
    (void)ctx;
    (void)e;
    int n = 3;
    for (const char *w = text; *w;) {
        size_t len = strcspn(w, " ");
        n += len > 5 ? 2 : 1;
        w += len + (w[len] == ' ');
    }
    return n;
}

static void prompts_get_exactly_the_length_asked_for(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    for (uint64_t seed = 0; seed < 50; seed++) {
        for (int want = 4; want < 200; want += 13) {
            struct buf text;
            struct rng r;
            buf_init(&text);
            rng_init(&r, seed);
            buf_addstr(&text, seed % 2 ? "prefix" : "");
            int rc = words_fill(&text, &r, want, count, NULL, &e);
            if (want == 4 && seed % 2) {
                assert_int_equal(rc, EE_FORMAT); /* the prefix and the template are more */
            } else {
                OK(rc);
                assert_int_equal(count(NULL, text.data, &e), want);
            }
            buf_release(&text);
        }
    }
}

static void lengths_are_read(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct length_range l;
    OK(length_range_parse("128", "--input", &l, &e));
    assert_true(l.from == 128 && l.to == 128);
    OK(length_range_parse("64..256", "--input", &l, &e));
    assert_true(l.from == 64 && l.to == 256);
    const char *const bad[] = {"", "0", "-1", "5..", "9..3", "x", "5 ", "1..2..3", "99999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        REFUSED_WITH(length_range_parse(bad[i], "--input", &l, &e), EE_USAGE, "--input is");
    }
}

/* ---- requests ---- */

static struct target chat_target(void) {
    struct err e = ERR_INIT;
    struct target t;
    OK(target_parse("http://127.0.0.1:8000", API_CHAT, &t, &e));
    return t;
}

static json_t *body_of(const struct payload *p) {
    json_error_t je;
    json_t *body = json_loadb(p->bytes + p->body_at, p->len - p->body_at, 0, &je);
    assert_non_null(body);
    return body;
}

static void requests_are_whole_and_what_was_asked_for(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct target t = chat_target();
    struct workload w;
    const struct workload_opts o = {.input = {10, 20},
                                    .output = {5, 5},
                                    .n = 7,
                                    .model = "m",
                                    .force_length = true,
                                    .extra = "{\"top_k\": 1, \"temperature\": 0.5}",
                                    .auth = "Authorization: Bearer x"};
    OK(workload_make(&o, &t, &w, &e));
    assert_int_equal(w.n, 7);
    for (size_t i = 0; i < w.n; i++) {
        const struct payload *p = &w.payloads[i];
        char length[64];
        snprintf(length, sizeof(length), "Content-Length: %zu\r\n\r\n", p->len - p->body_at);
        assert_memory_equal(p->bytes,
                            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n", 58);
        assert_non_null(strstr(p->bytes, "\r\nAuthorization: Bearer x\r\n"));
        assert_memory_equal(p->bytes + p->body_at - strlen(length), length, strlen(length));
        assert_memory_equal(p->bytes + p->len - 2, "]}", 2); /* a conversation grows there */
        json_t *body = body_of(p);
        assert_string_equal(json_string_value(json_object_get(body, "model")), "m");
        assert_int_equal(json_integer_value(json_object_get(body, "max_tokens")), 5);
        assert_true(json_is_true(json_object_get(body, "stream")));
        assert_true(json_is_true(
            json_object_get(json_object_get(body, "stream_options"), "include_usage")));
        assert_true(json_is_true(json_object_get(body, "ignore_eos")));
        assert_int_equal(json_integer_value(json_object_get(body, "top_k")), 1);
        assert_true(json_real_value(json_object_get(body, "temperature")) == 0.5);
        assert_int_equal(p->max_tokens, 5);
        json_decref(body);
    }
    workload_release(&w);
}

static void equal_seeds_give_equal_prompts_and_prefixes_are_shared(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct target t = chat_target();
    struct workload a, b;
    struct workload_opts o = {.input = {30, 30},
                              .output = {5, 5},
                              .n = 6,
                              .model = "m",
                              .prefix_tokens = 10,
                              .prefix_groups = 2,
                              .seed = 3};
    OK(workload_make(&o, &t, &a, &e));
    OK(workload_make(&o, &t, &b, &e));
    for (size_t i = 0; i < a.n; i++) {
        assert_string_equal(a.prompts[i].text, b.prompts[i].text);
        size_t words = 1;
        size_t prefix = 0;
        for (const char *c = a.prompts[i].text; *c; c++) {
            words += *c == ' ';
            prefix += words <= 10;
        }
        assert_int_equal(words, 30);
        assert_int_equal(strncmp(a.prompts[i].text, a.prompts[i % 2].text, prefix), 0);
        assert_true(i == 0 || strcmp(a.prompts[i].text, a.prompts[0].text) != 0);
    }
    assert_int_not_equal(strncmp(a.prompts[0].text, a.prompts[1].text, 20), 0);
    workload_release(&a);
    workload_release(&b);
}

static void a_file_brings_its_own_prompts(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct target t = chat_target();
    struct workload w;
    static const char text[] =
        "{\"prompt\": \"hello\"}\n\n"
        "{\"messages\": [{\"role\":\"user\",\"content\":\"x\"}], \"max_tokens\": 9, \"turns\": "
        "[\"more\"]}\n";
    struct workload_opts o = {
        .prompts = scratch_write(s, "p.jsonl", text, strlen(text)), .output = {5, 5}, .model = "m"};
    OK(workload_make(&o, &t, &w, &e));
    assert_int_equal(w.n, 2);
    assert_int_equal(w.prompts[0].max_tokens, 5);
    assert_int_equal(w.prompts[1].max_tokens, 9);
    assert_true(workload_has_turns(&w));
    workload_release(&w);
    static const char *const bad[] = {"{\"x\": 1}\n",
                                      "[1]\n",
                                      "{\"prompt\": \"\"}\n",
                                      "{",
                                      "{\"prompt\": \"a\", \"max_tokens\": 0}\n",
                                      "\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        o.prompts = scratch_write(s, "bad.jsonl", bad[i], strlen(bad[i]));
        REFUSED_WITH(workload_make(&o, &t, &w, &e), EE_FORMAT, "bad.jsonl");
    }
}

/* ---- traces ---- */

static void both_kinds_of_traces_are_read(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct trace_row *rows;
    size_t n, skipped;
    static const char mooncake[] =
        "{\"timestamp\": 1000, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [7, 8]}\n"
        "{\"timestamp\": 3000, \"input_length\": 10, \"output_length\": 0, \"hash_ids\": []}\n"
        "{\"timestamp\": 2000, \"input_length\": 20, \"output_length\": 6}\n";
    OK(trace_load(scratch_write(s, "m.jsonl", mooncake, strlen(mooncake)), 0, 2, &a, &rows, &n,
                  &skipped, &e));
    assert_int_equal(n, 2);
    assert_int_equal(skipped, 1);
    assert_int_equal(rows[0].at_ns, 0);
    assert_int_equal(rows[0].n_hash_ids, 2);
    assert_int_equal(rows[0].hash_ids[1], 8);
    assert_int_equal(rows[1].at_ns, 500000000); /* twice as fast */
    assert_int_equal(rows[1].output_tokens, 6);
    static const char azure[] = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                                "2023-11-16 23:59:59.5000000,374,44\r\n"
                                "2023-11-17 00:00:01.2500000,396,109\r\n";
    OK(trace_load(scratch_write(s, "a.csv", azure, strlen(azure)), 0, 1, &a, &rows, &n, &skipped,
                  &e));
    assert_int_equal(n, 2);
    assert_int_equal(rows[0].input_tokens, 374);
    assert_in_range(rows[1].at_ns, 1749999000, 1750001000); /* over midnight */
    assert_int_equal(rows[1].output_tokens, 109);
    static const char *const bad[] = {
        "",        "x\n", "1,2\n", "{\"timestamp\": 1}\n", "1,2,z\n", "2023-13-01 00:00:00,1,1\n",
        "1,-2,3\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        REFUSED_WITH(trace_load(scratch_write(s, "bad", bad[i], strlen(bad[i])), 0, 1, &a, &rows,
                                &n, &skipped, &e),
                     EE_FORMAT, "bad");
    }
    arena_release(&a);
}

static void equal_hash_ids_are_equal_text(void **state) {
    struct scratch *s = *state;
    struct err e = ERR_INIT;
    struct target t = chat_target();
    struct workload w;
    static const char text[] =
        "{\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 5, \"hash_ids\": [1, 2, 3]}\n"
        "{\"timestamp\": 9, \"input_length\": 1200, \"output_length\": 5, \"hash_ids\": [1, 2, 4]}\n"
        "{\"timestamp\": 9, \"input_length\": 1200, \"output_length\": 5, \"hash_ids\": [5, 6, 7]}\n";
    const struct workload_opts o = {
        .trace = scratch_write(s, "t", text, strlen(text)), .trace_speed = 1, .model = "m"};
    OK(workload_make(&o, &t, &w, &e));
    size_t same = 0;
    size_t words = 1;
    while (w.prompts[0].text[same] == w.prompts[1].text[same]) {
        words += w.prompts[0].text[same++] == ' ';
    }
    assert_in_range(words, 1024, 1030);
    assert_int_not_equal(strncmp(w.prompts[0].text, w.prompts[2].text, 40), 0);
    assert_int_equal(w.arrivals[1], 9000000);
    workload_release(&w);
}

/* ---- addresses ---- */

static void addresses_are_read(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    static const struct {
        const char *url, *host, *port, *path, *root;
        enum api wanted, api;
    } rows[] = {
        {"http://h:8000", "h", "8000", "/v1/chat/completions", "", API_CHAT, API_CHAT},
        {"http://h:8000/", "h", "8000", "/v1/chat/completions", "", API_CHAT, API_CHAT},
        {"http://h/v1", "h", "80", "/v1/completions", "", API_TEXT, API_TEXT},
        {"https://h/a/v1/", "h", "443", "/a/v1/chat/completions", "/a", API_CHAT, API_CHAT},
        {"http://h:1/v1/completions", "h", "1", "/v1/completions", "", API_CHAT, API_TEXT},
        {"http://h/v1/chat/completions", "h", "80", "/v1/chat/completions", "", API_TEXT, API_CHAT},
        {"http://[::1]:8080/v1", "::1", "8080", "/v1/chat/completions", "", API_CHAT, API_CHAT},
        {"http://h/openai", "h", "80", "/openai/chat/completions", "/openai", API_CHAT, API_CHAT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct target t;
        OK(target_parse(rows[i].url, rows[i].wanted, &t, &e));
        assert_string_equal(t.host, rows[i].host);
        assert_string_equal(t.port, rows[i].port);
        assert_string_equal(t.path, rows[i].path);
        assert_string_equal(t.root, rows[i].root);
        assert_int_equal(t.api, rows[i].api);
    }
    const char *const bad[] = {
        "",           "h:80",      "file:///x",    "http://",       "http://:80",     "http://h:0",
        "http://h:x", "http://h:", "http://h/a b", "http://u:p@h/", "http://h/v1?x=1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct target t;
        REFUSED_WITH(target_parse(bad[i], API_CHAT, &t, &e), EE_USAGE, "is no address of a server");
        assert_null(strstr(e.msg, "u:p"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_get_exactly_the_length_asked_for),
        cmocka_unit_test(lengths_are_read),
        cmocka_unit_test(requests_are_whole_and_what_was_asked_for),
        cmocka_unit_test(equal_seeds_give_equal_prompts_and_prefixes_are_shared),
        cmocka_unit_test_setup_teardown(a_file_brings_its_own_prompts, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(both_kinds_of_traces_are_read, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(equal_hash_ids_are_equal_text, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(addresses_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
