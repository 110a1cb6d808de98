/* The event log gives back what was put in, byte for byte and nanosecond for nanosecond; and bytes
 * that are no log are refused. */
#include "serve/event_log.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MANY = 400, LONGEST = 300 };

struct put {
    char text[LONGEST];
    size_t len;
    int64_t ns;
    bool new_read, rest;
};

/* An event that shares random parts with the one before. */
static void vary(struct rng *r, const struct put *before, struct put *out) {
    size_t head = before->len ? rng_below(r, before->len + 1) : 0;
    size_t tail = before->len - head ? rng_below(r, before->len - head + 1) : 0;
    size_t middle = rng_below(r, 20);
    if (head + middle + tail > LONGEST) {
        tail = 0;
        middle = LONGEST - head < middle ? LONGEST - head : middle;
    }
    memcpy(out->text, before->text, head);
    for (size_t i = 0; i < middle; i++) {
        out->text[head + i] = (char)('a' + (int)rng_below(r, 3));
    }
    memcpy(out->text + head + middle, before->text + before->len - tail, tail);
    out->len = head + middle + tail;
    out->ns = before->ns + (int64_t)(rng_below(r, 4) ? rng_below(r, 1 << 30) : 0);
    out->new_read = rng_below(r, 2);
    out->rest = rng_below(r, 5) == 0;
}

static void what_is_read_is_what_was_written(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 9);
    struct put *puts = calloc(MANY, sizeof(*puts));
    struct event_writer w;
    struct event_reader reader;
    assert_non_null(puts);
    event_writer_init(&w);
    event_reader_init(&reader);
    for (int round = 0; round < 20; round++) {
        int64_t base_ns = 1000000 * round;
        struct put first = {.ns = base_ns};
        event_writer_begin(&w, base_ns);
        for (size_t i = 0; i < MANY; i++) {
            vary(&r, i ? &puts[i - 1] : &first, &puts[i]);
            event_writer_add(&w, puts[i].ns, puts[i].new_read, puts[i].rest, puts[i].text,
                             puts[i].len);
            if (rng_below(&r, 3) == 0) {
                char saved[LONGEST];
                memcpy(saved, puts[i].text, LONGEST);
                event_writer_keep(&w);
                memset(puts[i].text, '?', LONGEST); /* gone, as a read buffer is */
                event_writer_keep(&w);
                memcpy(puts[i].text, saved, LONGEST);
            }
        }
        assert_false(event_writer_failed(&w));
        assert_int_equal(w.n, MANY);
        event_reader_begin(&reader, w.out.data, w.out.len, base_ns);
        for (size_t i = 0; i < MANY; i++) {
            assert_true(event_reader_next(&reader));
            assert_int_equal(reader.ns, puts[i].ns);
            assert_int_equal(reader.new_read, puts[i].new_read);
            assert_int_equal(reader.rest, puts[i].rest);
            assert_int_equal(reader.event.len, puts[i].len);
            assert_memory_equal(reader.event.data, puts[i].text, puts[i].len);
        }
        assert_false(event_reader_next(&reader));
        assert_false(reader.damaged);
    }
    event_reader_release(&reader);
    event_writer_release(&w);
    free(puts);
}

static void chunks_of_a_stream_take_a_tenth_of_their_bytes(void **state) {
    (void)state;
    struct event_writer w;
    event_writer_init(&w);
    event_writer_begin(&w, 0);
    char text[256];
    size_t sum = 0;
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(text, sizeof(text),
                         "data: {\"id\":\"chatcmpl-12345678\",\"object\":\"chat.completion.chunk\","
                         "\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":"
                         "{\"content\":\" word%d\"},\"finish_reason\":null}]}\n",
                         i * 7919 % 1000);
        event_writer_add(&w, (int64_t)i * 20000000, true, false, text, (size_t)n);
        event_writer_keep(&w);
        sum += (size_t)n;
    }
    assert_true(w.out.len * 10 < sum);
    event_writer_release(&w);
}

static void bytes_that_are_no_log_are_refused(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 3);
    struct event_reader reader;
    event_reader_init(&reader);
    size_t damaged = 0;
    for (int i = 0; i < 20000; i++) {
        unsigned char bytes[40];
        size_t len = rng_below(&r, sizeof(bytes) + 1);
        unsigned char *exact = malloc(len + 1);
        assert_non_null(exact);
        for (size_t k = 0; k < len; k++) {
            exact[k] = (unsigned char)rng_below(&r, rng_below(&r, 2) ? 256 : 8);
        }
        event_reader_begin(&reader, exact, len, 0);
        while (event_reader_next(&reader)) {
            assert_true(reader.event.len < 1000000);
        }
        damaged += reader.damaged;
        free(exact);
    }
    assert_true(damaged > 10000);
    event_reader_release(&reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_what_was_written),
        cmocka_unit_test(chunks_of_a_stream_take_a_tenth_of_their_bytes),
        cmocka_unit_test(bytes_that_are_no_log_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
