/* NVIDIA GPUs, through a fake libnvidia-ml.so that this test compiles. */
#include "support/energy_fake.h"
#include "support/energy_fake_nvml.h"

#include "base/clock.h"
#include "base/fs.h"

#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fake_root root;
static char library[128];
static void (*set_up)(unsigned n);
static struct fake_nvml *fake; /* NULL: there is no compiler to build it with */

static int build_library(void) {
    char command[4096];
    const char *source = getenv("EDGE_EVAL_SOURCE_DIR");
    char *dir = source ? fs_join(source, "tests") : fs_dirname(__FILE__);
    snprintf(library, sizeof(library), "%s/libfake-nvml.so", root.dir);
    snprintf(command, sizeof(command),
             "cc -shared -fPIC -std=c11 -D_GNU_SOURCE -I'%s' -I'%s/../src' "
             "-o '%s' '%s/support/energy_fake_nvml.c'",
             dir, dir, library, dir);
    free(dir);
    return system(command);
}

static int setup_library(void **state) {
    (void)state;
    fake_root_make(&root);
    if (system("cc --version >/dev/null 2>&1") != 0) {
        print_message("no C compiler \"cc\" at run time: the NVML tests are skipped\n");
        return 0;
    }
    if (build_library() != 0) {
        print_error("the fake NVML library does not compile\n");
        return -1;
    }
    void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    void *symbol = lib ? dlsym(lib, "fake_nvml_state") : NULL;
    void *set_up_symbol = lib ? dlsym(lib, "fake_nvml_set_up") : NULL;
    fake_nvml_state_fn *state_of;
    memcpy(&state_of, &symbol, sizeof(symbol));
    memcpy(&set_up, &set_up_symbol, sizeof(set_up_symbol));
    if (!symbol || !set_up_symbol) {
        print_error("%s\n", dlerror());
        return -1;
    }
    fake = state_of();
    return 0;
}

static int teardown_library(void **state) {
    (void)state;
    fake_root_remove(&root);
    return 0;
}

static int reset(void **state) {
    (void)state;
    if (!fake) {
        return 0;
    }
    set_up(FAKE_GPUS);
    fake->n = 2;
    return 0;
}

#define NEED_LIBRARY()                                                                             \
    do {                                                                                           \
        if (!fake) {                                                                               \
            skip();                                                                                \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static struct meter *start(struct fake_clock *c, const char *gpus) {
    struct meter_opts opts = {.source = "nvml", .nvml_path = library, .gpus = gpus};
    return fake_meter(c, &opts);
}

/* Both GPUs at their instant power for a while, their counters moving as they should. */
static void run(struct fake_clock *c, double seconds) {
    for (int step = 0; step < (int)(seconds * 10 + 0.5); step++) {
        for (size_t i = 0; i < FAKE_GPUS; i++) {
            fake->gpu[i].energy_mj += fake->gpu[i].instant_mw / 10;
        }
        fake_run_s(c, 0.1);
    }
}

static void window(struct fake_clock *c, double seconds, struct meter_reading *r) {
    struct err e = ERR_INIT;
    int id = meter_window_open(c->m, "window", METER_NO_PARENT, &e);
    run(c, seconds);
    assert_int_equal(meter_window_close(c->m, id, r, &e), 0);
}

static void two_gpus_are_counted_apart(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_total t;
    struct meter_component info;
    fake->gpu[1].instant_mw = 250000;
    start(&c, NULL);
    window(&c, 10, &r);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.c[0].name, "gpu0");
    assert_string_equal(r.c[1].name, "gpu1");
    assert_string_equal(r.c[0].source, "nvml counter");
    assert_int_equal(r.c[0].quality, METER_COUNTER);
    assert_close(r.c[0].joules, 1000);
    assert_close(r.c[1].joules, 2500);
    assert_close(r.c[0].edge_j, 10); /* 100 ms of 100 W */
    assert_close(r.c[0].low_j, 1000 - 50 - 10);
    assert_true(r.c[0].has_disagreement && fabs(r.c[0].disagreement) < 1e-9);
    meter_total(&r, NULL, 0, &t);
    assert_close(t.joules, 3500);
    meter_component_info(c.m, 1, &info);
    assert_string_equal(info.device_name, "Fake GPU");
    assert_string_equal(info.device_id, "GPU-00000001");
    assert_string_equal(info.pci, "00000000:1B:00.0");
    meter_stop(c.m);
    assert_int_equal(fake->shutdowns, 1);
}

/* A counter read costs milliseconds: at the edges and once a second, not at every sample. */
static void the_counter_is_read_sparingly(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake->n = 1;
    start(&c, NULL);
    unsigned before = fake->energy_calls;
    window(&c, 20, &r);
    unsigned calls = fake->energy_calls - before;
    assert_true(calls >= 20 && calls <= 23);
    meter_stop(c.m);
}

static void gpus_are_chosen_by_lasting_names(void **state) {
    (void)state;
    NEED_LIBRARY();
    static const char *const names[] = {"GPU-00000001", "gpu1", "0000:1b:00.0", "00000000:1B:00.0",
                                        "1b:00.0"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct fake_clock c = FAKE_CLOCK_INIT;
        struct meter_component info;
        start(&c, names[i]);
        assert_int_equal(meter_n_components(c.m), 1);
        meter_component_info(c.m, 0, &info);
        assert_string_equal(info.name, "gpu1"); /* keeps its own name */
        meter_stop(c.m);
    }
    struct fake_clock c = FAKE_CLOCK_INIT;
    start(&c, "gpu1,GPU-00000000");
    assert_int_equal(meter_n_components(c.m), 2);
    meter_stop(c.m);
}

static void a_gpu_that_is_not_there_is_an_error(void **state) {
    (void)state;
    NEED_LIBRARY();
    static const char *const names[] = {"gpu7", "gpu0,gpu7", "1", "0.0"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct meter *m;
        struct err e = ERR_INIT;
        struct meter_opts opts = {.source = "nvml", .nvml_path = library, .gpus = names[i]};
        assert_int_equal(meter_start(&m, &opts, &e), EE_USAGE);
    }
}

static void without_a_counter_power_is_integrated(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake->n = 1;
    fake->gpu[0].energy_rc = NVML_RC_NOT_SUPPORTED;
    start(&c, NULL);
    window(&c, 10, &r);
    assert_int_equal(r.c[0].quality, METER_INTEGRATED);
    assert_string_equal(r.c[0].source, "nvml average power");
    assert_close(r.c[0].joules, 900);
    assert_close(r.c[0].coverage, 1);
    assert_close(r.c[0].edge_j, 90 * 1.1); /* the mean of a second, renewed every 100 ms */
    meter_stop(c.m);
}

/* It looks at a quarter of the time: what it may not have seen is in the interval. */
static void instant_power_alone_is_wide_once_it_has_moved(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake->n = 1;
    fake->gpu[0].energy_rc = fake->gpu[0].average_rc = fake->gpu[0].usage_rc =
        NVML_RC_NOT_SUPPORTED;
    start(&c, NULL);
    window(&c, 10, &r);
    assert_string_equal(r.c[0].source, "nvml instant power");
    assert_close(r.c[0].coverage, 0.25);
    assert_close(r.c[0].edge_j, 100 * 0.1);
    fake->gpu[0].instant_mw = 500000;
    run(&c, 1);
    window(&c, 10, &r);
    assert_close(r.c[0].edge_j, 500 * 0.1 + 0.75 * (500 - 100) / 2 * 10);
    meter_stop(c.m);
}

/* Each entry of a field query has a return code and a type of its own. */
static void power_is_taken_from_what_answers(void **state) {
    (void)state;
    NEED_LIBRARY();
    enum { YES = NVML_RC_SUCCESS, NO = NVML_RC_NOT_SUPPORTED };
    static const struct {
        nvml_rc energy_rc, instant_rc, average_rc, usage_rc;
        unsigned type; /* of the instant power */
        const char *source;
        double joules;
        int64_t update_ns;
    } cases[] = {
        {NO, YES, YES, YES, NVML_TYPE_UINT, "nvml average power", 1200, 1100 * NS_PER_MS},
        {NO, YES, NO, YES, NVML_TYPE_UINT, "nvml power", 1350, 1100 * NS_PER_MS},
        {NO, YES, NO, NO, NVML_TYPE_UINT, "nvml instant power", 1500, 100 * NS_PER_MS},
        {NO, YES, NO, NO, NVML_TYPE_DOUBLE, "nvml instant power", 1500, 100 * NS_PER_MS},
        {NO, YES, NO, NO, NVML_TYPE_ULLONG, "nvml instant power", 1500, 100 * NS_PER_MS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_clock c = FAKE_CLOCK_INIT;
        struct meter_reading r;
        struct meter_component info;
        reset(NULL);
        fake->n = 1;
        fake->gpu[0].energy_rc = cases[i].energy_rc;
        fake->gpu[0].instant_rc = cases[i].instant_rc;
        fake->gpu[0].instant_type = cases[i].type;
        fake->gpu[0].average_rc = cases[i].average_rc;
        fake->gpu[0].average_mw = 80000;
        fake->gpu[0].usage_rc = cases[i].usage_rc;
        start(&c, NULL);
        window(&c, 15, &r);
        meter_component_info(c.m, 0, &info);
        assert_string_equal(r.c[0].source, cases[i].source);
        assert_close(r.c[0].joules, cases[i].joules);
        assert_int_equal(info.update_ns, cases[i].update_ns);
        meter_stop(c.m);
    }
}

/* All ones, as drivers say when they do not know. */
static void a_power_that_cannot_be_is_no_power(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake->n = 1;
    fake->gpu[0].energy_rc = NVML_RC_NOT_SUPPORTED;
    start(&c, NULL);
    fake->gpu[0].average_mw = 0xffffffffu;
    window(&c, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    meter_stop(c.m);
}

/* Beside a counter, what follows the load: seen once the counter is gone. */
static void beside_a_counter_power_is_instant(void **state) {
    (void)state;
    NEED_LIBRARY();
    static const struct {
        nvml_rc instant_rc;
        unsigned type;
        const char *source;
    } cases[] = {
        {NVML_RC_SUCCESS, NVML_TYPE_UINT, "nvml instant power"},
        {NVML_RC_NOT_SUPPORTED, NVML_TYPE_UINT, "nvml average power"},
        {NVML_RC_SUCCESS, 77, "nvml average power"}, /* a type of the future */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_clock c = FAKE_CLOCK_INIT;
        struct meter_reading r;
        reset(NULL);
        fake->n = 1;
        fake->gpu[0].instant_rc = cases[i].instant_rc;
        fake->gpu[0].instant_type = cases[i].type;
        start(&c, NULL);
        window(&c, 15, &r);
        assert_string_equal(r.c[0].source, "nvml counter");
        fake->gpu[0].energy_rc = NVML_RC_UNKNOWN;
        window(&c, 15, &r);
        assert_string_equal(r.c[0].source, cases[i].source);
        meter_stop(c.m);
    }
}

static void a_gpu_lost_in_a_window_is_missing(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_reading r;
    struct meter_total t;
    start(&c, NULL);
    int id = meter_window_open(c.m, "lost", METER_NO_PARENT, &e);
    run(&c, 5);
    struct fake_gpu healthy = fake->gpu[0];
    fake->gpu[0].energy_rc = fake->gpu[0].instant_rc = NVML_RC_GPU_IS_LOST;
    fake->gpu[0].energy_mj = 0;
    run(&c, 2);
    fake->gpu[0] = healthy; /* and back, its counter as it was: no phantom energy */
    run(&c, 5);
    assert_int_equal(meter_window_close(c.m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "GPU is lost"));
    assert_true(isnan(r.c[0].joules));
    assert_close(r.c[1].joules, 1200);
    meter_total(&r, NULL, 0, &t);
    assert_int_equal(t.quality, METER_MISSING);
    window(&c, 10, &r);
    assert_close(r.c[0].joules, 1000);
    meter_stop(c.m);
}

static void a_lost_counter_leaves_the_power(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_reading r;
    fake->n = 1;
    start(&c, NULL);
    int id = meter_window_open(c.m, "counter", METER_NO_PARENT, &e);
    run(&c, 5);
    fake->gpu[0].energy_rc = NVML_RC_UNKNOWN;
    run(&c, 5);
    assert_int_equal(meter_window_close(c.m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_INTEGRATED);
    assert_close(r.c[0].joules, 1000);
    assert_non_null(strstr(r.c[0].reason, "Unknown Error"));
    meter_stop(c.m);
}

static void a_driver_reload_is_no_energy(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_reading r;
    fake->n = 1;
    start(&c, NULL);
    int id = meter_window_open(c.m, "reload", METER_NO_PARENT, &e);
    run(&c, 5);
    fake->gpu[0].energy_mj = 3; /* counts from 0 again */
    run(&c, 5);
    assert_int_equal(meter_window_close(c.m, id, &r, &e), 0);
    assert_int_equal(r.c[0].quality, METER_INTEGRATED);
    assert_non_null(strstr(r.c[0].reason, "went back"));
    assert_close(r.c[0].joules, 1000);
    meter_stop(c.m);
}

static void what_refuses_everything_is_missing(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_component info;
    fake->n = 1;
    fake->gpu[0].energy_rc = fake->gpu[0].usage_rc = fake->gpu[0].instant_rc =
        fake->gpu[0].average_rc = NVML_RC_NOT_SUPPORTED;
    start(&c, NULL);
    meter_component_info(c.m, 0, &info);
    assert_true(info.unreadable);
    window(&c, 10, &r);
    assert_int_equal(r.c[0].quality, METER_MISSING);
    assert_non_null(strstr(r.c[0].reason, "neither energy nor power"));
    assert_non_null(strstr(r.c[0].reason, "Not Supported"));
    meter_stop(c.m);
}

static void a_module_covers_its_cpu(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    struct meter_total t;
    fake->n = 1;
    fake->gpu[0].module_rc = NVML_RC_SUCCESS;
    fake->gpu[0].module_mw = 100000;
    struct meter_opts opts = {.source = "auto", .nvml_path = library};
    fake_meter(&c, &opts);
    window(&c, 10, &r);
    assert_int_equal(r.n, 1); /* no modelled CPU beside it */
    assert_string_equal(r.c[0].scope, "module");
    meter_total(&r, NULL, 0, &t);
    assert_string_equal(t.scope, "module only");
    meter_stop(c.m);
}

static void auto_adds_a_modelled_cpu(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct fake_root machine;
    struct meter_opts opts = {.nvml_path = library, .sysfs_root = machine.dir};
    struct meter_reading r;
    struct meter_total t;
    fake_root_make(&machine);
    fake_write(&machine, "proc/stat", "cpu  100 0 0 100 0 0 0\ncpu0 100 0 0 100 0 0 0\n");
    fake->n = 1;
    fake_meter(&c, &opts);
    window(&c, 10, &r);
    meter_total(&r, NULL, 0, &t);
    assert_string_equal(t.scope, "GPU + CPU (modelled)");
    assert_int_equal(t.quality, METER_MODELLED);
    meter_stop(c.m);
    fake_root_remove(&machine);
}

static void mig_is_not_attributed(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_reading r;
    fake->n = 1;
    fake->gpu[0].mig = 1;
    start(&c, NULL);
    window(&c, 10, &r);
    assert_true(r.c[0].shared);
    assert_non_null(strstr(r.c[0].detail, "whole GPU"));
    meter_stop(c.m);
}

static void a_driver_that_refuses_is_told(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_component info;
    fake->init_rc = 18; /* driver and library versions differ */
    start(&c, NULL);
    meter_component_info(c.m, 0, &info);
    assert_string_equal(info.name, "gpu");
    assert_true(info.unreadable);
    assert_non_null(strstr(info.detail, "Unknown Error"));
    meter_stop(c.m);
    assert_int_equal(fake->shutdowns, 0);

    struct meter *m;
    struct err e = ERR_INIT;
    struct meter_opts opts = {.source = "nvml", .nvml_path = library};
    fake->init_rc = NVML_RC_DRIVER_NOT_LOADED;
    assert_int_equal(meter_start(&m, &opts, &e), EE_MISSING);
    fake->init_rc = 0;
    fake->n = 0;
    assert_int_equal(meter_start(&m, &opts, &e), EE_MISSING);
}

static void memory_is_asked_of_the_driver(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    uint64_t used, total;
    start(&c, NULL);
    assert_int_equal(meter_gpu_memory(c.m, 1, &used, &total, &e), 0);
    assert_int_equal(used, 20000000000ULL);
    assert_int_equal(total, 80000000000ULL);
    assert_int_equal(meter_gpu_memory(c.m, 2, &used, &total, &e), EE_UNSUPPORTED);
    meter_stop(c.m);
}

static void the_rest_of_a_gpu_is_asked_of_the_driver(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_gpu_state g;
    char why[64];
    strcpy(fake->driver, "580.1");
    fake->gpu[1].celsius = 61;
    fake->gpu[1].busy_percent = 97;
    fake->gpu[1].sm_mhz = 1410;
    fake->gpu[1].limit_mw = 700000;
    fake->gpu[1].event_reasons = 0x4 | 0x40;
    fake->gpu[1].n_pids = 2;
    fake->gpu[1].pids[0] = 4711;
    fake->gpu[1].pids[1] = 4712;
    start(&c, NULL);
    assert_int_equal(meter_gpu_state(c.m, 1, &g, &e), 0);
    assert_string_equal(g.driver, "580.1");
    assert_close(g.temperature_c, 61);
    assert_close(g.busy, 0.97);
    assert_close(g.sm_mhz, 1410);
    assert_close(g.max_sm_mhz, 1980);
    assert_close(g.memory_mhz, 2600);
    assert_close(g.power_limit_w, 700);
    assert_close(g.power_w, 90);
    assert_true(g.has_throttle && !g.mig && !g.virtual_gpu);
    meter_throttle_text(g.throttle, why, sizeof(why));
    assert_string_equal(why, "power cap, heat");
    assert_true(g.has_pids);
    assert_int_equal(g.n_pids, 2);
    assert_int_equal(g.pids[1], 4712);
    assert_int_equal(meter_gpu_state(c.m, 0, &g, &e), 0);
    meter_throttle_text(g.throttle, why, sizeof(why));
    assert_string_equal(why, "");
    assert_true(g.has_pids && g.n_pids == 0);
    assert_int_equal(meter_gpu_state(c.m, 2, &g, &e), EE_UNSUPPORTED);
    meter_stop(c.m);
}

/* Idle clocks and clocks that somebody chose are no sign of a GPU held back. */
static void only_what_holds_a_gpu_back_is_called_so(void **state) {
    (void)state;
    char why[64];
    meter_throttle_text(0x1 | 0x2 | 0x100, why, sizeof(why));
    assert_string_equal(why, "");
    meter_throttle_text(0x8 | 0x80, why, sizeof(why));
    assert_string_equal(why, "power brake, hardware slowdown");
}

static void what_the_driver_refuses_is_unknown(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_gpu_state g;
    fake->gpu[0].state_rc = NVML_RC_NOT_SUPPORTED;
    fake->gpu[0].celsius = 50;
    fake->gpu[0].event_reasons = 0x4;
    fake->gpu[0].n_pids = 1;
    fake->gpu[1].n_pids = 1000; /* more than there is room for */
    start(&c, NULL);
    assert_int_equal(meter_gpu_state(c.m, 0, &g, &e), 0);
    assert_true(isnan(g.temperature_c) && isnan(g.busy) && isnan(g.sm_mhz));
    assert_true(isnan(g.power_limit_w) && isnan(g.max_sm_mhz));
    assert_true(!g.has_throttle && g.throttle == 0);
    assert_true(!g.has_pids && g.n_pids == 0);
    assert_int_equal(meter_gpu_state(c.m, 1, &g, &e), 0);
    assert_true(!g.has_pids && g.n_pids == 0);
    meter_stop(c.m);
}

static void a_virtual_gpu_that_is_silent_says_so(void **state) {
    (void)state;
    NEED_LIBRARY();
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct meter_component info;
    fake->n = 1;
    fake->gpu[0].virtualization = NVML_VIRTUALIZATION_VGPU;
    fake->gpu[0].energy_rc = fake->gpu[0].usage_rc = NVML_RC_NOT_SUPPORTED;
    fake->gpu[0].instant_rc = fake->gpu[0].average_rc = NVML_RC_NOT_SUPPORTED;
    start(&c, NULL);
    meter_component_info(c.m, 0, &info);
    assert_true(info.unreadable);
    assert_non_null(strstr(info.detail, "a virtual GPU (vGPU) tells neither energy nor power"));
    assert_non_null(strstr(info.detail, "to fix it: measure on the host"));
    meter_stop(c.m);
}

/* Eight GPUs, each of which answers in its own way: none speaks for another, and a job on the two that
 * tell everything pays for both and for nothing else. */
static void each_gpu_answers_for_itself(void **state) {
    (void)state;
    NEED_LIBRARY();
    enum { NO = NVML_RC_NOT_SUPPORTED };
    static const char *const job[] = {"gpu0", "gpu7"};
    struct fake_clock c = FAKE_CLOCK_INIT;
    struct err e = ERR_INIT;
    struct meter_reading r;
    struct meter_total t;
    struct meter_gpu_state g;
    fake->n = FAKE_GPUS;
    fake->gpu[1].mig = 1;
    fake->gpu[2].energy_rc = NO;
    fake->gpu[3].energy_rc = fake->gpu[3].instant_rc = fake->gpu[3].average_rc = NO;
    fake->gpu[4].virtualization = NVML_VIRTUALIZATION_VGPU;
    fake->gpu[4].energy_rc = fake->gpu[4].usage_rc = NO;
    fake->gpu[4].instant_rc = fake->gpu[4].average_rc = NO;
    fake->gpu[5].virtualization = NVML_VIRTUALIZATION_VGPU; /* one that tells */
    fake->gpu[6].state_rc = NO;
    fake->gpu[7].instant_mw = 700000;
    fake->gpu[7].event_reasons = 0x8;
    fake->gpu[7].n_pids = 1;
    fake->gpu[7].pids[0] = 99;
    start(&c, NULL);
    window(&c, 10, &r);
    assert_int_equal(r.n, FAKE_GPUS);
    for (size_t i = 0; i < FAKE_GPUS; i++) {
        enum meter_quality want = i == 4             ? METER_MISSING
                                  : i == 2 || i == 3 ? METER_INTEGRATED
                                                     : METER_COUNTER;
        assert_int_equal(r.c[i].quality, want);
        assert_int_equal(r.c[i].shared, i == 1);
        assert_int_equal(meter_gpu_state(c.m, i, &g, &e), 0);
        assert_int_equal(g.mig, i == 1);
        assert_int_equal(g.virtual_gpu, i == 4 || i == 5);
        assert_int_equal(g.has_throttle, i != 6);
        assert_int_equal(g.has_pids, i != 6);
    }
    assert_true(g.throttle == 0x8 && g.n_pids == 1 && g.pids[0] == 99);
    assert_string_equal(r.c[2].source, "nvml average power");
    assert_string_equal(r.c[3].source, "nvml power");
    meter_total(&r, job, 2, &t);
    assert_int_equal(t.quality, METER_COUNTER);
    assert_close(t.joules, 1000 + 7000);
    meter_total(&r, NULL, 0, &t);
    assert_int_equal(t.quality, METER_MISSING);
    assert_non_null(strstr(t.reason, "gpu4: "));
    meter_stop(c.m);
}

#define CASE(f) cmocka_unit_test_setup(f, reset)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(two_gpus_are_counted_apart),
        CASE(the_counter_is_read_sparingly),
        CASE(gpus_are_chosen_by_lasting_names),
        CASE(a_gpu_that_is_not_there_is_an_error),
        CASE(without_a_counter_power_is_integrated),
        CASE(instant_power_alone_is_wide_once_it_has_moved),
        CASE(power_is_taken_from_what_answers),
        CASE(a_power_that_cannot_be_is_no_power),
        CASE(beside_a_counter_power_is_instant),
        CASE(a_gpu_lost_in_a_window_is_missing),
        CASE(a_lost_counter_leaves_the_power),
        CASE(a_driver_reload_is_no_energy),
        CASE(what_refuses_everything_is_missing),
        CASE(a_module_covers_its_cpu),
        CASE(auto_adds_a_modelled_cpu),
        CASE(mig_is_not_attributed),
        CASE(a_driver_that_refuses_is_told),
        CASE(memory_is_asked_of_the_driver),
        CASE(the_rest_of_a_gpu_is_asked_of_the_driver),
        CASE(only_what_holds_a_gpu_back_is_called_so),
        CASE(what_the_driver_refuses_is_unknown),
        CASE(a_virtual_gpu_that_is_silent_says_so),
        CASE(each_gpu_answers_for_itself),
    };
    return cmocka_run_group_tests(tests, setup_library, teardown_library);
}
