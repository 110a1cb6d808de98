/* What responses say: every shape of a chunk that servers send, and every broken one. */
#include "serve/reply.h"

#include "support/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct one {
    struct records r;
    struct reply_reader reader;
    const struct reply *p;
};

static void read_one(struct one *o, const struct said *reads) {
    records_init(&o->r, 1);
    records_set(&o->r, 0, 0, 0, 100, reads);
    reply_reader_init(&o->reader);
    o->p = reply_read(&o->reader, o->r.load.records[0]);
    assert_non_null(o->p);
}

static void end(struct one *o) {
    reply_reader_release(&o->reader);
    records_release(&o->r);
}

static int64_t at(double ms) {
    return 1000000000 + (int64_t)(ms * 1e6);
}

static void a_chat_is_read(void **state) {
    (void)state;
    struct one o;
    read_one(&o, (struct said[]){{5, {ROLE}},
                                 {10, {CHUNK("one")}},
                                 {20, {": ping", CHUNK(" \\u00f6\\n"), CHUNK(" two")}},
                                 {30, {FINISH("length"), USAGE("7", "3"), DONE}},
                                 {0, {NULL}}});
    assert_int_equal(o.p->outcome, OUTCOME_OK);
    assert_int_equal(o.p->n_events, 3);
    assert_int_equal(o.p->n_coalesced, 1);
    assert_int_equal(o.p->first_event_ns, at(5));
    assert_int_equal(o.p->first_token_ns, at(10));
    assert_int_equal(o.p->first_output_ns, at(10));
    assert_int_equal(o.p->last_token_ns, at(20));
    assert_int_equal(o.p->done_ns, at(30));
    assert_false(o.p->events[1].coalesced);
    assert_true(o.p->events[2].coalesced);
    assert_string_equal(o.p->text.data, "one \xc3\xb6\n two");
    assert_string_equal(o.p->finish, "length");
    assert_int_equal(o.p->prompt_tokens, 7);
    assert_int_equal(o.p->output_tokens, 3);
    assert_int_equal(o.p->n_choices, 5); /* role and finish are chunks too */
    end(&o);
}

static void chunks_alike_but_for_their_text_are_read_like_others(void **state) {
    (void)state;
    static const char *const words[] = {"a",    "bb",   " c\xc3\xb6", "",
                                        "\\\"", "\\\\", "}",          "x\\u0041"};
    struct said reads[10] = {{0, {NULL}}};
    char data[8][200];
    for (int i = 0; i < 8; i++) {
        snprintf(data[i], sizeof(data[i]),
                 "{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                 "\"finish_reason\":null}]}",
                 words[i]);
        reads[i] = (struct said){10 + i, {data[i]}};
    }
    reads[8] = (struct said){30, {FINISH("stop"), DONE}};
    struct one o;
    read_one(&o, reads);
    assert_int_equal(o.p->outcome, OUTCOME_OK);
    assert_string_equal(o.p->text.data, "abb c\xc3\xb6\"\\}xA");
    assert_int_equal(o.p->n_events, 7); /* the empty one is no token */
    assert_int_equal(o.p->n_choices, 9);
    end(&o);
}

static void a_key_inside_a_text_does_not_mislead(void **state) {
    (void)state;
    struct one o;
    read_one(&o, (struct said[]){{1, {CHUNK("\\\"content\\\":\\\"x")}},
                                 {2, {CHUNK("\\\"content\\\":\\\"y")}},
                                 {3, {CHUNK("z")}},
                                 {4, {FINISH("stop")}},
                                 {0, {NULL}}});
    assert_string_equal(o.p->text.data, "\"content\":\"x\"content\":\"yz");
    assert_int_equal(o.p->outcome, OUTCOME_OK);
    end(&o);
}

#define STAMPED(text, sent, late)                                                                  \
    "{\"choices\":[{\"delta\":{\"content\":\"" text "\"}}],\"stamps_ns\":[  " sent "," late "]}"

static void each_event_has_its_own_stamps(void **state) {
    (void)state;
    struct one o;
    read_one(&o, (struct said[]){
                     {10, {STAMPED("a", "1001000000", "5")}},
                     {20, {STAMPED("b", "1002000000", "0"), STAMPED("c", "1002000000", "0")}},
                     {30, {CHUNK("d")}},
                     {31, {STAMPED("e", "-9223372036854775808", "0")}},
                     {32, {STAMPED("f", "1032000000", "-1")}},
                     {40, {FINISH("stop"), DONE}},
                     {0, {NULL}}});
    static const int64_t sent_ns[] = {1001000000, 1002000000, 1002000000, 0, 0, 0};
    assert_int_equal(o.p->n_events, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(o.p->events[i].sent_ns, sent_ns[i]);
        assert_int_equal(o.p->events[i].late_ns, i == 0 ? 5 : 0);
    }
    end(&o);
}

static void reasoning_is_told_from_content(void **state) {
    (void)state;
    struct one o;
    read_one(&o, (struct said[]){{1, {THOUGHT("hm")}},
                                 {2, {"{\"choices\":[{\"delta\":{\"reasoning\":\"so\"}}]}"}},
                                 {3, {CHUNK("yes")}},
                                 {4, {FINISH("stop"), DONE}},
                                 {0, {NULL}}});
    assert_int_equal(o.p->first_token_ns, at(1));
    assert_int_equal(o.p->first_output_ns, at(3));
    assert_string_equal(o.p->content.data, "yes");
    assert_string_equal(o.p->text.data, "hmsoyes");
    end(&o);
}

static void tool_calls_and_text_completions_are_tokens(void **state) {
    (void)state;
    struct one o;
    read_one(&o,
             (struct said[]){{1, {"{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}"}},
                             {2, {"{\"choices\":[{\"text\":\"abc\"}]}"}},
                             {3, {"{\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}"}},
                             {0, {NULL}}});
    assert_int_equal(o.p->n_events, 2);
    assert_int_equal(o.p->events[0].parts, REPLY_TOOL);
    assert_int_equal(o.p->first_output_ns, at(1));
    assert_string_equal(o.p->content.data, "abc");
    assert_false(o.p->has_done);
    assert_int_equal(o.p->outcome, OUTCOME_OK);
    end(&o);
}

static void usage_in_every_chunk_gives_tokens_an_event(void **state) {
    (void)state;
    struct one o;
    read_one(&o, (struct said[]){{1,
                                  {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":"
                                   "{\"prompt_tokens\":4,\"completion_tokens\":2}}"}},
                                 {2,
                                  {"{\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\":"
                                   "{\"prompt_tokens\":4,\"completion_tokens\":5}}"}},
                                 {3,
                                  {FINISH("stop"),
                                   "{\"choices\":[],\"usage\":{\"prompt_tokens\":4,"
                                   "\"completion_tokens\":5,\"prompt_tokens_details\":"
                                   "{\"cached_tokens\":3},\"completion_tokens_details\":"
                                   "{\"reasoning_tokens\":1}}}",
                                   DONE}},
                                 {0, {NULL}}});
    assert_int_equal(o.p->events[0].tokens, 2);
    assert_int_equal(o.p->events[1].tokens, 3);
    assert_int_equal(o.p->output_tokens, 5);
    assert_int_equal(o.p->cached_tokens, 3);
    assert_int_equal(o.p->reasoning_tokens, 1);
    end(&o);
}

static void broken_streams_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *data;
        enum outcome outcome;
    } rows[] = {
        {"{\"error\":{\"message\":\"out of memory\",\"code\":500}}", OUTCOME_ERROR_EVENT},
        {"{\"error\":\"out of memory\"}", OUTCOME_ERROR_EVENT},
        {"{\"error\":null,\"choices\":[]}", OUTCOME_OK},
        {"{\"choices\":[", OUTCOME_BAD_JSON},
        {"7", OUTCOME_BAD_JSON},
        {"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", OUTCOME_BAD_UTF8},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct one o;
        read_one(&o, (struct said[]){{1, {CHUNK("a")}},
                                     {2, {rows[i].data}},
                                     {3, {FINISH("stop"), DONE}},
                                     {0, {NULL}}});
        assert_int_equal(o.p->outcome, rows[i].outcome);
        if (rows[i].outcome == OUTCOME_ERROR_EVENT) {
            assert_string_equal(o.p->message, "out of memory");
        }
        end(&o);
    }
    struct one o;
    read_one(&o, (struct said[]){{1, {CHUNK("a")}}, {0, {NULL}}});
    assert_int_equal(o.p->outcome, OUTCOME_TRUNCATED);
    end(&o);
    read_one(&o, (struct said[]){{1, {ROLE, FINISH("stop"), DONE}}, {0, {NULL}}});
    assert_int_equal(o.p->outcome, OUTCOME_EMPTY);
    end(&o);
}

static void a_reader_starts_anew_with_each_record(void **state) {
    (void)state;
    struct records r;
    struct reply_reader reader;
    records_init(&r, 2);
    records_set(&r, 0, 0, 0, 9,
                (struct said[]){{1, {CHUNK("a"), CHUNK("b")}},
                                {2, {FINISH("stop"), USAGE("1", "2"), DONE}},
                                {0, {NULL}}});
    records_set(&r, 1, 0, 0, 9, (struct said[]){{5, {CHUNK("c")}}, {0, {NULL}}});
    reply_reader_init(&reader);
    reply_read(&reader, r.load.records[0]);
    const struct reply *p = reply_read(&reader, r.load.records[1]);
    assert_string_equal(p->text.data, "c");
    assert_int_equal(p->n_events, 1);
    assert_int_equal(p->output_tokens, -1);
    assert_false(p->has_done);
    reply_reader_release(&reader);
    records_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chat_is_read),
        cmocka_unit_test(chunks_alike_but_for_their_text_are_read_like_others),
        cmocka_unit_test(a_key_inside_a_text_does_not_mislead),
        cmocka_unit_test(each_event_has_its_own_stamps),
        cmocka_unit_test(reasoning_is_told_from_content),
        cmocka_unit_test(tool_calls_and_text_completions_are_tokens),
        cmocka_unit_test(usage_in_every_chunk_gives_tokens_an_event),
        cmocka_unit_test(broken_streams_are_told_apart),
        cmocka_unit_test(a_reader_starts_anew_with_each_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
