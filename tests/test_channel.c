/*
 * Messages over a socket pair, in every way that a stream can cut them. Where both ends must move,
 * the far one is a thread.
 */
#include "base/channel.h"

#include "support/scratch.h"

#include "base/clock.h"
#include "base/json.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* Longer than anything here takes on a busy machine; reached only by a test that fails. */
#define PATIENCE_NS (60 * NS_PER_S)

struct pair {
    struct channel near;
    struct channel far;
};

static int setup(void **state) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        return -1;
    }
    struct pair *p = calloc(1, sizeof(*p));
    if (!p) {
        return -1;
    }
    channel_init(&p->near, fds[0]);
    channel_init(&p->far, fds[1]);
    *state = p;
    return 0;
}

static void hang_up(struct channel *c) {
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
}

static int teardown(void **state) {
    struct pair *p = *state;
    hang_up(&p->near);
    hang_up(&p->far);
    channel_release(&p->near);
    channel_release(&p->far);
    free(p);
    return 0;
}

static void put(struct pair *p, const char *bytes, size_t len) {
    assert_int_equal(send(p->far.fd, bytes, len, MSG_NOSIGNAL), len);
}

static void put_text(struct pair *p, const char *text) {
    put(p, text, strlen(text));
}

static json_t *receive_until(struct pair *p, int64_t deadline_ns) {
    struct err e = ERR_INIT;
    json_t *msg = NULL;
    OK(channel_recv(&p->near, deadline_ns, &msg, &e));
    return msg;
}

static void check_next(struct pair *p, const char *want) {
    json_t *msg = receive_until(p, clock_mono_ns() + PATIENCE_NS);
    assert_non_null(msg);
    char *text = json_dumps(msg, JSON_COMPACT);
    assert_string_equal(text, want);
    free(text);
    json_decref(msg);
}

static void check_nothing(struct pair *p) {
    assert_null(receive_until(p, 0));
}

static void check_refused_message(struct pair *p, int code, const char *part) {
    struct err e = ERR_INIT;
    json_t *msg = (json_t *)p;
    REFUSED_WITH(channel_recv(&p->near, clock_mono_ns() + PATIENCE_NS, &msg, &e), code, part);
    assert_null(msg);
}

/* ---- whole messages ---- */

static void a_message_arrives_as_it_was_sent(void **state) {
    struct pair *p = *state;
    struct err e = ERR_INIT;
    OK(channel_send(
        &p->far, json_pack("{s:s, s:[i,f,n,b]}", "text", "caf\xc3\xa9\n\"x\"", "list", 1, 0.5, 1),
        &e));
    check_next(p, "{\"text\":\"caf\xc3\xa9\\n\\\"x\\\"\",\"list\":[1,0.5,null,true]}");
    check_nothing(p);
    OK(channel_send(&p->near, json_pack("{}"), &e)); /* and the other way */
    json_t *msg = NULL;
    OK(channel_recv(&p->far, clock_mono_ns() + PATIENCE_NS, &msg, &e));
    assert_int_equal(json_object_size(msg), 0);
    json_decref(msg);
}

static void many_messages_in_one_read_come_one_by_one(void **state) {
    struct pair *p = *state;
    put_text(p, "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n{\"n\":3");
    check_next(p, "{\"n\":0}");
    check_next(p, "{\"n\":1}");
    check_next(p, "{\"n\":2}");
    check_nothing(p);
    put_text(p, "}\n[4]\n");
    check_next(p, "{\"n\":3}");
    check_next(p, "[4]");
    check_nothing(p);
    assert_false(p->near.at_eof);
}

static void a_message_may_come_byte_by_byte(void **state) {
    struct pair *p = *state;
    const char *text = "{\"key\":\"a long enough text\"}\n";
    for (size_t i = 0; text[i]; i++) {
        check_nothing(p);
        put(p, text + i, 1);
    }
    check_next(p, "{\"key\":\"a long enough text\"}");
    check_nothing(p);
}

/* Each cut of two messages into two writes. */
static void every_cut_of_the_stream_gives_the_same_messages(void **state) {
    struct pair *p = *state;
    const char *text = "{\"a\":[1,2]}\n{\"b\":\"x\"}\n";
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len; cut++) {
        if (cut > 0) {
            put(p, text, cut);
        }
        json_t *first = receive_until(p, 0);
        if (cut < len) {
            put(p, text + cut, len - cut);
        }
        if (!first) {
            first = receive_until(p, clock_mono_ns() + PATIENCE_NS);
        }
        assert_int_equal(json_array_size(json_object_get(first, "a")), 2);
        json_decref(first);
        check_next(p, "{\"b\":\"x\"}");
        check_nothing(p);
    }
}

struct far_end {
    struct pair *p;
    size_t bytes;
    int n;
    int rc;
};

static void *send_big(void *arg) {
    struct far_end *f = arg;
    struct err e = ERR_INIT;
    char *text = malloc(f->bytes + 1);
    for (int i = 0; i < f->n && f->rc == 0 && text; i++) {
        memset(text, 'a' + i % 26, f->bytes);
        text[f->bytes] = '\0';
        f->rc = channel_send(&f->p->far, json_pack("{s:i, s:s}", "i", i, "text", text), &e);
    }
    free(text);
    return NULL;
}

static void check_big(struct pair *p, size_t bytes, int n) {
    struct far_end f = {.p = p, .bytes = bytes, .n = n};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_big, &f), 0);
    for (int i = 0; i < n; i++) {
        json_t *msg = receive_until(p, clock_mono_ns() + PATIENCE_NS);
        assert_non_null(msg);
        assert_int_equal(json_int_or(msg, "i", -1), i);
        const char *text = json_str_or(msg, "text", "");
        assert_int_equal(strlen(text), bytes);
        assert_int_equal(text[0], 'a' + i % 26);
        assert_int_equal(text[bytes - 1], 'a' + i % 26);
        json_decref(msg);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(f.rc, 0);
    check_nothing(p);
}

/* One read takes 64 KiB, and the socket holds about three times that. */
static void messages_larger_than_a_read_arrive(void **state) {
    struct pair *p = *state;
    check_big(p, 65535 - 20, 3);
    check_big(p, 65536, 3);
    check_big(p, 1 << 20, 3);
    check_big(p, 16 << 20, 1);
}

static void a_stream_of_thousands_arrives_in_order(void **state) {
    check_big(*state, 300, 5000);
}

/* ---- what is not a message ---- */

static void garbage_is_refused_and_the_next_line_read(void **state) {
    struct pair *p = *state;
    static const char *const lines[] = {"not json\n", "\n",         "{\"a\":1} x\n",
                                        "{\n",        "\"text\"\n", "12\n",
                                        "\xff\xfe\n", "null\n",     "{\"a\":1,\"a\":2}\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        put_text(p, lines[i]);
        put_text(p, "{\"fine\":1}\n");
        check_refused_message(p, EE_FORMAT, "message from the other process:1:");
        check_next(p, "{\"fine\":1}");
    }
    put(p, "{}\0\n", 4);
    check_refused_message(p, EE_FORMAT, "message from the other process:1:");
    check_nothing(p);
}

static void a_message_without_an_end_is_refused_in_time(void **state) {
    struct pair *p = *state;
    struct err e = ERR_INIT;
    static char chunk[128 * 1024];
    memset(chunk, 'x', sizeof(chunk));
    json_t *msg = NULL;
    int rc = 0;
    size_t sent = 0;
    while (!rc && sent < (size_t)65 << 20) {
        put(p, chunk, sizeof(chunk));
        sent += sizeof(chunk);
        rc = channel_recv(&p->near, 0, &msg, &e);
        assert_null(msg);
    }
    REFUSED_WITH(rc, EE_NOMEM, "larger than the 67108864 bytes allowed");
    assert_true(sent > (size_t)63 << 20);
    assert_int_equal(channel_recv(&p->near, 0, &msg, &e), EE_NOMEM); /* for good */
}

static void what_cannot_be_written_is_not_sent(void **state) {
    struct pair *p = *state;
    struct err e = ERR_INIT;
    REFUSED_WITH(channel_send(&p->far, json_string_nocheck("\xff"), &e), EE_FORMAT, "UTF-8");
    /* What json_pack returns for such text. */
    REFUSED_WITH(channel_send(&p->far, json_pack("{s:s}", "text", "\xff"), &e), EE_NOMEM,
                 "a message could not be made");
    check_nothing(p);
}

/* ---- the other end goes ---- */

static void what_was_sent_before_the_end_is_read_first(void **state) {
    struct pair *p = *state;
    put_text(p, "[1]\n[2]\n");
    hang_up(&p->far);
    check_next(p, "[1]");
    assert_false(p->near.at_eof);
    check_next(p, "[2]");
    assert_null(receive_until(p, INT64_MAX));
    assert_true(p->near.at_eof);
    assert_null(receive_until(p, INT64_MAX)); /* and again */
}

static void an_end_inside_a_message_is_an_end(void **state) {
    struct pair *p = *state;
    put_text(p, "[1]\n{\"half\":");
    hang_up(&p->far);
    check_next(p, "[1]");
    assert_null(receive_until(p, INT64_MAX));
    assert_true(p->near.at_eof);
}

/* A peer that closes with our bytes unread resets the connection. */
static void a_reset_is_an_end(void **state) {
    struct pair *p = *state;
    struct err e = ERR_INIT;
    OK(channel_send(&p->near, json_pack("[i]", 1), &e));
    hang_up(&p->far);
    assert_null(receive_until(p, INT64_MAX));
    assert_true(p->near.at_eof);
}

static void sending_to_nobody_is_an_error_and_no_signal(void **state) {
    struct pair *p = *state;
    struct err e = ERR_INIT;
    hang_up(&p->far);
    REFUSED(channel_send(&p->near, json_pack("[i]", 1), &e), EE_IO,
            "cannot send to the other process: Broken pipe");
}

static void a_descriptor_that_is_not_open_is_an_error(void **state) {
    struct pair *p = *state;
    hang_up(&p->far);
    close(p->near.fd);
    check_refused_message(p, EE_IO, "cannot read from the other process: Bad file descriptor");
    p->near.fd = -1;
}

/* ---- waiting ---- */

static void a_deadline_passes_with_nothing(void **state) {
    struct pair *p = *state;
    int64_t deadline_ns = clock_mono_ns() + 10 * NS_PER_MS;
    put_text(p, "{\"half\":");
    assert_null(receive_until(p, deadline_ns));
    assert_true(clock_mono_ns() >= deadline_ns);
    assert_false(p->near.at_eof);
    assert_null(receive_until(p, -5));
    put_text(p, "1}\n");
    check_next(p, "{\"half\":1}"); /* nothing was lost */
}

/* Past what poll's int can count, and as far as the type goes. */
static void a_far_deadline_does_not_wrap(void **state) {
    struct pair *p = *state;
    static const int64_t after_ns[] = {(INT64_C(1) << 31) * NS_PER_MS,
                                       (INT64_C(1) << 32) * NS_PER_MS,
                                       INT64_C(3000000000) * NS_PER_MS};
    for (size_t i = 0; i < sizeof(after_ns) / sizeof(after_ns[0]); i++) {
        struct far_end f = {.p = p, .bytes = 10, .n = 1};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, send_big, &f), 0);
        json_t *msg = receive_until(p, clock_mono_ns() + after_ns[i]);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_non_null(msg);
        json_decref(msg);
    }
    put_text(p, "[1]\n");
    json_t *msg = receive_until(p, INT64_MAX - 1);
    assert_non_null(msg);
    json_decref(msg);
}

static void on_signal(int sig) {
    (void)sig;
}

struct knocker {
    pthread_t target;
    int stop;
};

static void *knock(void *arg) {
    struct knocker *k = arg;
    while (!__atomic_load_n(&k->stop, __ATOMIC_ACQUIRE)) {
        pthread_kill(k->target, SIGUSR1);
        clock_sleep_until_ns(clock_mono_ns() + NS_PER_MS);
    }
    return NULL;
}

/* So that a stop request is looked at: a signal ends the wait without a message or an error. */
static void a_signal_ends_the_wait(void **state) {
    struct pair *p = *state;
    struct sigaction act = {.sa_handler = on_signal};
    struct sigaction old;
    assert_int_equal(sigaction(SIGUSR1, &act, &old), 0);
    struct knocker k = {.target = pthread_self()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, knock, &k), 0);
    assert_null(receive_until(p, INT64_MAX));
    assert_false(p->near.at_eof);
    /* Under fire, messages still arrive whole. */
    struct far_end f = {.p = p, .bytes = 1 << 20, .n = 8};
    pthread_t sender;
    assert_int_equal(pthread_create(&sender, NULL, send_big, &f), 0);
    int got = 0;
    int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
    while (got < f.n && clock_mono_ns() < deadline_ns) {
        json_t *msg = receive_until(p, deadline_ns);
        if (msg) {
            assert_int_equal(json_int_or(msg, "i", -1), got);
            assert_int_equal(strlen(json_str_or(msg, "text", "")), 1 << 20);
            got++;
        }
        json_decref(msg);
    }
    __atomic_store_n(&k.stop, 1, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_join(sender, NULL), 0);
    assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
    assert_int_equal(got, f.n);
    assert_int_equal(f.rc, 0);
}

#define ON_PAIR(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_PAIR(a_message_arrives_as_it_was_sent),
        ON_PAIR(many_messages_in_one_read_come_one_by_one),
        ON_PAIR(a_message_may_come_byte_by_byte),
        ON_PAIR(every_cut_of_the_stream_gives_the_same_messages),
        ON_PAIR(messages_larger_than_a_read_arrive),
        ON_PAIR(a_stream_of_thousands_arrives_in_order),
        ON_PAIR(garbage_is_refused_and_the_next_line_read),
        ON_PAIR(a_message_without_an_end_is_refused_in_time),
        ON_PAIR(what_cannot_be_written_is_not_sent),
        ON_PAIR(what_was_sent_before_the_end_is_read_first),
        ON_PAIR(an_end_inside_a_message_is_an_end),
        ON_PAIR(a_reset_is_an_end),
        ON_PAIR(sending_to_nobody_is_an_error_and_no_signal),
        ON_PAIR(a_descriptor_that_is_not_open_is_an_error),
        ON_PAIR(a_deadline_passes_with_nothing),
        ON_PAIR(a_far_deadline_does_not_wrap),
        ON_PAIR(a_signal_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
