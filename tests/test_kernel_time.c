/* The kernel's times: two clocks compared, steps of one of them, and what is not to be believed. */
#include "serve/kernel_time.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_NS (60 * NS_PER_S)

static void the_calmest_look_counts(void **state) {
    (void)state;
    struct kernel_clock c = {0};
    kernel_clock_compare(&c, 1000, 501500, 2000); /* 500,000 apart, give or take 500 */
    assert_true(c.is_set && !c.stepped);
    assert_int_equal(c.apart_ns, 500000);
    assert_int_equal(c.doubt_ns, 500);
    kernel_clock_compare(&c, 10000, 510120, 10100); /* disturbed less, and within the doubt */
    assert_int_equal(c.apart_ns, 500070);
    assert_int_equal(c.doubt_ns, 50);
    kernel_clock_compare(&c, 20000, 524000, 26000);
    assert_int_equal(c.apart_ns, 500070);
    assert_false(c.stepped);
}

static void a_clock_that_is_set_is_noticed_and_believed_again(void **state) {
    (void)state;
    struct kernel_clock c = {0};
    kernel_clock_compare(&c, 1000, 501050, 1100);
    kernel_clock_compare(&c, 2000, 1502050, 2100); /* a millisecond forward */
    assert_true(c.stepped);
    assert_int_equal(c.apart_ns, 1500000);
    kernel_clock_compare(&c, 3000, 1503050, 3100);
    assert_false(c.stepped);
    kernel_clock_compare(&c, 4000, 504050, 4100); /* and back */
    assert_true(c.stepped);
    assert_int_equal(c.apart_ns, 500000);
    assert_int_equal(c.n_steps, 2);
}

static void the_two_clocks_of_this_machine_stay_apart(void **state) {
    (void)state;
    struct kernel_clock c = {0};
    for (int i = 0; i < 1000; i++) {
        kernel_clock_look(&c);
    }
    assert_true(c.is_set);
    assert_int_equal(c.n_steps, 0);
    assert_true(c.apart_ns != 0);
}

/* A connection through the loopback device: its receiving end asks for times. */
static void connect_pair(int ends[2]) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    kernel_time_ask(ends[0]);
    assert_int_equal(connect(ends[0], (struct sockaddr *)&addr, len), 0);
    ends[1] = accept(listener, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listener);
}

static struct read_time exchange(const struct kernel_clock *c, const int ends[2],
                                 int64_t not_before_ns) {
    struct read_time at;
    char buf[16];
    assert_int_equal(send(ends[1], "hello", 5, 0), 5);
    assert_int_equal(kernel_time_recv(c, ends[0], buf, sizeof(buf), not_before_ns, &at), 5);
    assert_memory_equal(buf, "hello", 5);
    return at;
}

/* The kernel begins to stamp some milliseconds after the first who asks. */
static void connect_stamped(struct kernel_clock *c, int ends[2]) {
    const int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
    connect_pair(ends);
    do {
        assert_true(clock_mono_ns() < deadline_ns);
        kernel_clock_look(c);
    } while (!exchange(c, ends, clock_mono_ns()).by_kernel);
}

static void bytes_came_between_their_writing_and_their_reading(void **state) {
    (void)state;
    struct kernel_clock c = {0};
    int ends[2];
    connect_stamped(&c, ends);
    for (int i = 0; i < 200; i++) {
        int64_t before_ns = clock_mono_ns();
        kernel_clock_look(&c);
        struct read_time at = exchange(&c, ends, before_ns);
        assert_true(at.by_kernel);
        assert_true(before_ns <= at.came_ns && at.came_ns <= at.read_ns);
    }
    close(ends[0]);
    close(ends[1]);
}

static void times_that_cannot_be_are_not_believed(void **state) {
    (void)state;
    struct kernel_clock c = {0};
    int ends[2];
    connect_stamped(&c, ends);
    struct kernel_clock wrong[] = {c, c, c};
    wrong[0].apart_ns += NS_PER_S; /* set back since: bytes older than their request */
    wrong[1].apart_ns -= NS_PER_S; /* set forward: bytes that come tomorrow */
    wrong[2].stepped = true;
    for (size_t i = 0; i < 3; i++) {
        struct read_time at = exchange(&wrong[i], ends, clock_mono_ns());
        assert_false(at.by_kernel);
        assert_int_equal(at.came_ns, at.read_ns);
    }
    close(ends[1]);
    struct read_time at;
    char buf[4];
    assert_int_equal(kernel_time_recv(&c, ends[0], buf, sizeof(buf), 0, &at), 0);
    assert_false(at.by_kernel);
    close(ends[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_calmest_look_counts),
        cmocka_unit_test(a_clock_that_is_set_is_noticed_and_believed_again),
        cmocka_unit_test(the_two_clocks_of_this_machine_stay_apart),
        cmocka_unit_test(bytes_came_between_their_writing_and_their_reading),
        cmocka_unit_test(times_that_cannot_be_are_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
