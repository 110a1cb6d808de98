/* What looks at a GPU beside a window come to. */
#include "lifecycle/gpu_looks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* A number that no process has: above the kernel's limit. */
enum { NOBODY = 1 << 23 };

static struct meter_gpu_state quiet(void) {
    return (struct meter_gpu_state){
        .temperature_c = 60, .busy = 0.5, .sm_mhz = 1500, .has_throttle = true, .has_pids = true};
}

static void slowing_is_counted_where_it_is_told(void **state) {
    (void)state;
    struct gpu_looks g = {0};
    struct meter_gpu_state s = quiet();
    s.throttle = 0x1; /* idle: no slowing */
    gpu_looks_add(&g, &s, NOBODY);
    s.throttle = 0x4;
    s.sm_mhz = 1200;
    s.temperature_c = 80;
    gpu_looks_add(&g, &s, NOBODY);
    s.has_throttle = false;
    s.busy = s.temperature_c = s.sm_mhz = (double)NAN;
    gpu_looks_add(&g, &s, NOBODY);
    assert_int_equal(g.n, 3);
    assert_int_equal(g.n_told, 2);
    assert_int_equal(g.n_throttled, 1);
    assert_true(g.throttle == (0x1 | 0x4));
    assert_int_equal(g.n_busy, 2);
    assert_true(g.busy_sum == 1);
    assert_true(g.max_temperature_c == 80 && g.min_sm_mhz == 1200 && g.max_sm_mhz == 1500);
}

static void others_are_those_that_are_not_ours(void **state) {
    (void)state;
    struct meter_gpu_state s = quiet();
    pid_t worker = fork();
    if (worker == 0) {
        pause();
        _exit(0);
    }
    s.pids[0] = worker;
    s.pids[1] = getpid();
    s.n_pids = 2;
    struct gpu_looks own = {0};
    gpu_looks_add(&own, &s, worker);
    s.pids[2] = getppid();
    s.n_pids = 3;
    struct gpu_looks company = {0};
    gpu_looks_add(&company, &s, worker);
    s.n_pids = 1;
    gpu_looks_add(&company, &s, worker);
    struct gpu_looks only_others = {0};
    s.pids[0] = getppid();
    gpu_looks_add(&only_others, &s, worker);
    kill(worker, SIGKILL);
    waitpid(worker, NULL, 0);
    assert_true(own.others_told && own.most_others == 0);
    assert_true(company.others_told && company.most_others == 1);
    assert_true(only_others.others_told && only_others.most_others == 1);
}

/* In a container the driver may name processes of the host, or none. */
static void what_nobody_here_can_see_is_not_told(void **state) {
    (void)state;
    struct meter_gpu_state s = quiet();
    struct gpu_looks g = {0};
    gpu_looks_add(&g, &s, NOBODY); /* busy, and nobody there */
    s.n_pids = 2;
    s.pids[0] = NOBODY + 1;
    s.pids[1] = NOBODY + 2;
    gpu_looks_add(&g, &s, NOBODY);
    s.has_pids = false;
    gpu_looks_add(&g, &s, NOBODY);
    assert_false(g.others_told);
    s = quiet();
    s.busy = 0;
    gpu_looks_add(&g, &s, NOBODY);
    assert_true(g.others_told && g.most_others == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slowing_is_counted_where_it_is_told),
        cmocka_unit_test(others_are_those_that_are_not_ours),
        cmocka_unit_test(what_nobody_here_can_see_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
