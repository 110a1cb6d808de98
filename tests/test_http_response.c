/* Responses as bytes: whole, in every split, and broken in every way that servers are known for. */
#include "serve/http_response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

struct seen {
    struct http_response r;
    struct buf body;
};

static void begin(struct seen *s) {
    http_response_init(&s->r);
    buf_init(&s->body);
}

static void end(struct seen *s) {
    http_response_release(&s->r);
    buf_release(&s->body);
}

/* Feeds bytes; what the parser leaves is returned. */
static size_t feed(struct seen *s, const char *bytes, size_t len) {
    const char *p = bytes;
    const char *body;
    size_t n;
    while (http_response_next(&s->r, &p, bytes + len, &body, &n)) {
        assert_true(n > 0);
        assert_true(body >= bytes && body + n <= bytes + len);
        buf_add(&s->body, body, n);
    }
    return (size_t)(bytes + len - p);
}

static const char chunked[] = "HTTP/1.1 200 OK\r\n"
                              "Content-Type: text/event-stream; charset=utf-8\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n"
                              "5\r\nhello\r\n"
                              "6;ext=1\r\n world\r\n"
                              "0\r\nTrailer: x\r\n\r\n";
static const char counted[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                              "content-length: 11\r\n\r\nhello world";

static void check_whole(struct seen *s) {
    assert_int_equal(s->r.phase, HTTP_DONE);
    assert_int_equal(s->r.status, 200);
    assert_true(s->r.event_stream);
    assert_true(s->r.keep_alive);
    assert_string_equal(s->body.data, "hello world");
}

static void bodies_arrive_whole_however_they_are_split(void **state) {
    (void)state;
    const char *const texts[] = {chunked, counted};
    for (int t = 0; t < 2; t++) {
        size_t len = strlen(texts[t]);
        for (size_t cut = 0; cut <= len; cut++) {
            struct seen s;
            begin(&s);
            assert_int_equal(feed(&s, texts[t], cut), 0);
            assert_int_equal(feed(&s, texts[t] + cut, len - cut), 0);
            check_whole(&s);
            end(&s);
        }
        struct seen s;
        begin(&s);
        for (size_t i = 0; i < len; i++) {
            feed(&s, texts[t] + i, 1);
        }
        check_whole(&s);
        end(&s);
    }
}

static void the_next_response_starts_where_one_ended(void **state) {
    (void)state;
    struct seen s;
    begin(&s);
    char two[sizeof(chunked) + sizeof(counted)];
    memcpy(two, chunked, sizeof(chunked));
    memcpy(two + sizeof(chunked) - 1, counted, sizeof(counted));
    size_t left = feed(&s, two, strlen(two));
    assert_int_equal(left, strlen(counted));
    check_whole(&s);
    http_response_restart(&s.r);
    buf_clear(&s.body);
    assert_int_equal(feed(&s, two + strlen(two) - left, left), 0);
    check_whole(&s);
    end(&s);
}

static void a_body_without_length_ends_with_the_connection(void **state) {
    (void)state;
    struct seen s;
    begin(&s);
    static const char text[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nhello";
    feed(&s, text, strlen(text));
    assert_int_equal(s.r.phase, HTTP_BODY);
    http_response_closed(&s.r);
    assert_int_equal(s.r.phase, HTTP_DONE);
    assert_false(s.r.keep_alive);
    assert_string_equal(s.body.data, "hello");
    end(&s);
}

static void a_body_that_is_cut_is_broken(void **state) {
    (void)state;
    const char *const texts[] = {chunked, counted};
    for (int t = 0; t < 2; t++) {
        for (size_t cut = 0; cut < strlen(texts[t]); cut++) {
            struct seen s;
            begin(&s);
            feed(&s, texts[t], cut);
            http_response_closed(&s.r);
            assert_int_equal(s.r.phase, HTTP_BROKEN);
            assert_non_null(s.r.problem);
            end(&s);
        }
    }
}

static void a_go_ahead_is_not_the_answer(void **state) {
    (void)state;
    struct seen s;
    begin(&s);
    static const char go_ahead[] = "HTTP/1.1 100 Continue\r\n\r\n";
    feed(&s, go_ahead, strlen(go_ahead));
    assert_int_equal(s.r.phase, HTTP_HEAD);
    feed(&s, counted, strlen(counted));
    check_whole(&s);
    end(&s);
}

static void heads_say_what_follows(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        bool done, keep_alive, compressed, event_stream;
    } rows[] = {
        {"HTTP/1.1 204 No Content\r\n\r\n", 204, true, false, false, false},
        {"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n", 429, true, true, false, false},
        {"HTTP/1.1 200 OK\r\nCONTENT-ENCODING:gzip\r\nContent-Length: 9\r\n\r\n", 200, false, true,
         true, false},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 9\r\n\r\n", 200, false,
         true, false, false},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n", 200, false, false,
         false, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", 200, false, false, false, false},
        {"HTTP/1.1 200 OK\r\ncontent-type:  Text/Event-Stream \r\nContent-Length: 9\r\n\r\n", 200,
         false, true, false, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct seen s;
        begin(&s);
        feed(&s, rows[i].text, strlen(rows[i].text));
        assert_int_equal(s.r.status, rows[i].status);
        assert_int_equal(s.r.phase, rows[i].done ? HTTP_DONE : HTTP_BODY);
        assert_int_equal(s.r.keep_alive, rows[i].keep_alive);
        assert_int_equal(s.r.compressed, rows[i].compressed);
        assert_int_equal(s.r.event_stream, rows[i].event_stream);
        end(&s);
    }
}

static void broken_responses_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct seen s;
        begin(&s);
        feed(&s, texts[i], strlen(texts[i]));
        assert_int_equal(s.r.phase, HTTP_BROKEN);
        assert_non_null(s.r.problem);
        end(&s);
    }
}

static void a_head_without_end_is_given_up(void **state) {
    (void)state;
    struct seen s;
    begin(&s);
    static const char line[] = "X-Filler: 0123456789012345678901234567890123456789\r\n";
    feed(&s, "HTTP/1.1 200 OK\r\n", 17);
    for (int i = 0; i < 4000 && s.r.phase == HTTP_HEAD; i++) {
        feed(&s, line, strlen(line));
    }
    assert_int_equal(s.r.phase, HTTP_BROKEN);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_arrive_whole_however_they_are_split),
        cmocka_unit_test(the_next_response_starts_where_one_ended),
        cmocka_unit_test(a_body_without_length_ends_with_the_connection),
        cmocka_unit_test(a_body_that_is_cut_is_broken),
        cmocka_unit_test(a_go_ahead_is_not_the_answer),
        cmocka_unit_test(heads_say_what_follows),
        cmocka_unit_test(broken_responses_are_refused),
        cmocka_unit_test(a_head_without_end_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
