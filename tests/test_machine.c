/* The machine, checked against other ways to ask the same kernel. */
#include "base/machine.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cmocka.h>

static void the_description_agrees_with_the_kernel(void **state) {
    (void)state;
    struct machine m;
    memset(&m, 0xff, sizeof(m));
    machine_describe(&m);
    struct utsname u;
    struct sysinfo si;
    assert_int_equal(uname(&u), 0);
    assert_int_equal(sysinfo(&si), 0);
    assert_true(strlen(m.cpu_model) > 0 && strlen(m.cpu_model) < sizeof(m.cpu_model));
    assert_null(strchr(m.cpu_model, '\n'));
    assert_memory_equal(m.kernel, u.sysname, strlen(u.sysname));
    assert_non_null(strstr(m.kernel, u.release));
    assert_int_equal(m.hw_threads, machine_hw_threads());
    assert_true(m.memory_bytes > 1 << 20);
    assert_true(m.memory_bytes <= (uint64_t)si.totalram * si.mem_unit);
}

/* taskset and containers narrow what a run may use; the machine is what is left. */
static void threads_are_those_the_scheduler_grants(void **state) {
    (void)state;
    cpu_set_t all;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    assert_int_equal(machine_hw_threads(), CPU_COUNT(&all));
    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(machine_hw_threads(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    assert_int_equal(machine_hw_threads(), CPU_COUNT(&all));
}

static void available_memory_is_part_of_the_installed(void **state) {
    (void)state;
    struct machine m;
    machine_describe(&m);
    uint64_t available = machine_available_memory_bytes();
    assert_true(available > 0);
    assert_true(available <= m.memory_bytes);
}

static void memory_of_this_process_follows_what_it_touches(void **state) {
    (void)state;
    /* The kernel counts on each CPU apart and adds up late: a few MiB may be missing. */
    enum { BYTES = 64 << 20, SLACK = 16 << 20 };
    uint64_t before = machine_self_memory_bytes("VmRSS");
    uint64_t peak_before = machine_self_memory_bytes("VmHWM");
    assert_true(before > 0 && peak_before >= before);
    unsigned char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                            0);
    assert_true(p != MAP_FAILED);
    memset(p, 1, BYTES);
    uint64_t during = machine_self_memory_bytes("VmRSS");
    assert_true(during + SLACK >= before + BYTES);
    munmap(p, BYTES);
    assert_true(machine_self_memory_bytes("VmRSS") + BYTES < during + SLACK);
    struct rusage ru;
    assert_int_equal(getrusage(RUSAGE_SELF, &ru), 0);
    uint64_t peak = machine_self_memory_bytes("VmHWM");
    uint64_t max_rss = (uint64_t)ru.ru_maxrss * 1024;
    assert_true(peak + SLACK >= during);
    assert_true(peak <= max_rss + SLACK && max_rss <= peak + SLACK);
}

static void a_field_that_is_not_there_is_zero(void **state) {
    (void)state;
    assert_int_equal(machine_self_memory_bytes("VmNothing"), 0);
    assert_int_equal(machine_self_memory_bytes("Vm"), 0); /* a prefix is no field */
    assert_int_equal(machine_self_memory_bytes(""), 0);
    assert_int_equal(machine_process_memory_bytes(getpid(), "VmHWM"),
                     machine_self_memory_bytes("VmHWM"));
    assert_int_equal(machine_process_memory_bytes(-1, "VmRSS"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_description_agrees_with_the_kernel),
        cmocka_unit_test(threads_are_those_the_scheduler_grants),
        cmocka_unit_test(available_memory_is_part_of_the_installed),
        cmocka_unit_test(memory_of_this_process_follows_what_it_touches),
        cmocka_unit_test(a_field_that_is_not_there_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
