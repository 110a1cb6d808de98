#include "support/energy_fake.h"

#include "base/clock.h"
#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_NS (100 * NS_PER_MS)

static int64_t now_ns(void *ctx) {
    return ((struct fake_clock *)ctx)->now_ns;
}

static void pass(struct fake_clock *c, int64_t ns) {
    for (; ns >= PERIOD_NS; ns -= PERIOD_NS) {
        c->now_ns += PERIOD_NS;
        if (c->m) {
            meter_step(c->m);
        }
    }
    c->now_ns += ns;
}

static void wait_until(void *ctx, int64_t t_ns) {
    struct fake_clock *c = ctx;
    pass(c, t_ns - c->now_ns);
}

struct meter_clock fake_clock_hooks(struct fake_clock *c) {
    return (struct meter_clock){now_ns, wait_until, c, true, NULL};
}

void fake_step_ns(struct fake_clock *c, int64_t ns) {
    c->now_ns += ns;
    meter_step(c->m);
}

void fake_run_s(struct fake_clock *c, double seconds) {
    pass(c, llround(seconds * 1e9));
}

struct meter *fake_meter(struct fake_clock *c, const struct meter_opts *opts) {
    struct err e = ERR_INIT;
    struct meter_clock hooks = fake_clock_hooks(c);
    if (meter_start_clocked(&c->m, opts, &hooks, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    return c->m;
}

struct meter *fake_replay(struct fake_clock *c, const char *recording) {
    char path[] = "/tmp/energy-replay-XXXXXX";
    char source[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    size_t len = strlen(recording);
    assert_int_equal(write(fd, recording, len), (ssize_t)len);
    close(fd);
    snprintf(source, sizeof(source), "replay:%s", path);
    struct meter_opts opts = {.source = source};
    struct meter *m = fake_meter(c, &opts);
    unlink(path);
    return m;
}

void fake_window(struct fake_clock *c, double seconds, struct meter_reading *out) {
    struct err e = ERR_INIT;
    int id = meter_window_open(c->m, "window", METER_NO_PARENT, &e);
    assert_true(id >= 0);
    fake_run_s(c, seconds);
    assert_int_equal(meter_window_close(c->m, id, out, &e), 0);
}

/* ---- directories ---- */

void fake_root_make(struct fake_root *r) {
    snprintf(r->dir, sizeof(r->dir), "/tmp/energy-root-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(chmod(r->dir, 0755), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk) {
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

void fake_root_remove(struct fake_root *r) {
    nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char *full_path(const struct fake_root *r, const char *path) {
    char *full = fs_join(r->dir, path);
    assert_non_null(full);
    return full;
}

void fake_write(const struct fake_root *r, const char *path, const char *fmt, ...) {
    char *full = full_path(r, path);
    char *dir = fs_dirname(full);
    assert_int_equal(fs_mkdirs(dir, NULL), 0);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    assert_int_equal(fclose(f), 0);
    free(dir);
    free(full);
}

void fake_unlink(const struct fake_root *r, const char *path) {
    char *full = full_path(r, path);
    assert_int_equal(unlink(full), 0);
    free(full);
}

void fake_mkdir(const struct fake_root *r, const char *path) {
    char *full = full_path(r, path);
    assert_int_equal(fs_mkdirs(full, NULL), 0);
    free(full);
}

/* ---- machines ---- */

int fake_machine_setup(void **state) {
    static struct fake_machine m;
    m = (struct fake_machine){.clock = FAKE_CLOCK_INIT};
    fake_root_make(&m.root);
    fake_write(&m.root, "proc/cpuinfo",
               "processor\t: 0\nvendor_id\t: GenuineIntel\n"
               "model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz\n"
               "physical id\t: 0\n");
    fake_write(&m.root, "proc/stat", "cpu  100 0 0 100 0 0 0\ncpu0 100 0 0 100 0 0 0\n");
    *state = &m;
    return 0;
}

int fake_machine_teardown(void **state) {
    struct fake_machine *m = *state;
    meter_stop(m->clock.m);
    fake_root_remove(&m->root);
    return 0;
}

void fake_machine_start(struct fake_machine *m, const char *source) {
    const struct meter_opts opts = {.source = source,
                                    .sysfs_root = m->root.dir,
                                    .nvml_path = "/nonexistent.so",
                                    .perf = m->perf};
    meter_stop(m->clock.m);
    m->clock.m = NULL;
    fake_meter(&m->clock, &opts);
}

const struct component_reading *fake_component(const struct meter_reading *r, const char *name) {
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->c[i].name, name) == 0) {
            return &r->c[i];
        }
    }
    fail_msg("there is no component %s", name);
    return NULL;
}

void check_close(double actual, double expected, const char *file, int line) {
    double scale = fabs(expected) > 1 ? fabs(expected) : 1;
    if (!(fabs(actual - expected) <= 1e-9 * scale)) {
        print_error("%.15g is not %.15g\n", actual, expected);
        _fail(file, line);
    }
}
