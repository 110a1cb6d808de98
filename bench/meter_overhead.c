/*
 * What the meter itself costs, with eight simulated GPUs (a libnvidia-ml.so of our own) and two
 * CPU packages with their DRAM (a fake powercap tree) at 10 Hz:
 *   - for some seconds of real time: CPU time, allocations and bytes written by the process while
 *     it samples, deadlines missed;
 *   - then a day of samples, with the clock turned by hand: memory, rows kept, joules kept.
 * One JSON line; exits with 1 when a bound is broken. Real drivers add the cost of their own calls:
 * edge-eval doctor measures that.
 *
 * usage: meter_overhead [SECONDS], in the repository's root; needs cc for the library
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/machine.h"
#include "energy/meter_impl.h"

#include <dlfcn.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_CPU_SHARE 0.005
#define MAX_DAY_BYTES (64 << 20)
enum { DAY_ROWS = 24 * 3600 * 10, N_GPUS = 8, N_PARTS = 10 };

/* ---- every allocation of this process passes here ---- */

static atomic_size_t n_allocations;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): stdlib.h has reserved ones */
void *malloc(size_t size) {
    n_allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    n_allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
    n_allocations++;
    return __libc_realloc(old, size);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* ---- the simulated machine ---- */

struct machine_dir {
    char dir[64];
    char library[96];
};

static bool write_file(const struct machine_dir *m, const char *path, const char *text) {
    char *full = fs_join(m->dir, path);
    char *dir = full ? fs_dirname(full) : NULL;
    bool ok = dir && fs_mkdirs(dir, NULL) == 0;
    FILE *f = ok ? fopen(full, "w") : NULL;
    ok = f && fputs(text, f) >= 0;
    ok = f && fclose(f) == 0 && ok;
    free(dir);
    free(full);
    return ok;
}

static bool make_packages(const struct machine_dir *m) {
    bool ok = true;
    for (int i = 0; i < 4; i++) {
        char zone[64];
        char path[128];
        char name[32];
        snprintf(zone, sizeof(zone), "sys/class/powercap/intel-rapl:%d%s", i / 2,
                 i % 2 ? ":0" : "");
        snprintf(path, sizeof(path), "%s/name", zone);
        snprintf(name, sizeof(name), i % 2 ? "dram\n" : "package-%d\n", i / 2);
        ok = ok && write_file(m, path, name);
        snprintf(path, sizeof(path), "%s/energy_uj", zone);
        ok = ok && write_file(m, path, "123456789\n");
        snprintf(path, sizeof(path), "%s/max_energy_range_uj", zone);
        ok = ok && write_file(m, path, "262143328850\n");
    }
    return ok;
}

static bool make_library(struct machine_dir *m) {
    char command[512];
    snprintf(m->library, sizeof(m->library), "%s/libfake.so", m->dir);
    snprintf(command, sizeof(command),
             "cc -O2 -shared -fPIC -std=c11 -D_GNU_SOURCE -Isrc -Itests -o '%s' "
             "tests/support/energy_fake_nvml.c",
             m->library);
    return system(command) == 0; /* NOLINT(cert-env33-c): nothing in it comes from outside */
}

/* Gives the library eight GPUs that answer as NVIDIA's do. */
static bool set_up_gpus(const struct machine_dir *m) {
    void *lib = dlopen(m->library, RTLD_NOW | RTLD_LOCAL);
    void *symbol = lib ? dlsym(lib, "fake_nvml_set_up") : NULL;
    void (*set_up)(unsigned n);
    memcpy(&set_up, &symbol, sizeof(symbol));
    if (symbol) {
        set_up(N_GPUS);
    }
    return symbol != NULL;
}

static bool make_machine(struct machine_dir *m) {
    snprintf(m->dir, sizeof(m->dir), "/tmp/meter-overhead-XXXXXX");
    return mkdtemp(m->dir) && chmod(m->dir, 0755) == 0 && make_packages(m) && make_library(m) &&
           set_up_gpus(m);
}

static void remove_machine(const struct machine_dir *m) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", m->dir);
    if (system(command) != 0) { /* NOLINT(cert-env33-c) */
        fprintf(stderr, "%s is left behind\n", m->dir);
    }
}

static struct meter_opts opts_of(const struct machine_dir *m) {
    return (struct meter_opts){
        .source = "nvml,powercap", .period_ms = 100, .sysfs_root = m->dir, .nvml_path = m->library};
}

/* ---- in real time ---- */

/* Bytes that the process has written so far, files and terminals alike. */
static uint64_t bytes_written(void) {
    struct buf text;
    buf_init(&text);
    uint64_t n = 0;
    if (fs_read("/proc/self/io", &text, NULL) == 0) {
        const char *line = strstr(text.data, "wchar: ");
        n = line ? strtoull(line + strlen("wchar: "), NULL, 10) : 0;
    }
    buf_release(&text);
    return n;
}

static void sleep_s(double seconds) {
    int64_t end_ns = clock_mono_ns() + (int64_t)(seconds * 1e9);
    while (clock_mono_ns() < end_ns) {
        clock_sleep_until_ns(end_ns);
    }
}

struct cost {
    double cpu_share, read_us;
    size_t allocations;
    uint64_t written_bytes, samples, missed;
    double worst_late_ms;
};

static int measure_cost(const struct machine_dir *dir, double seconds, struct cost *out,
                        struct err *e) {
    struct meter *m;
    struct meter_stats before, after;
    const struct meter_opts opts = opts_of(dir);
    int rc = meter_start(&m, &opts, e);
    rc = rc ? rc : meter_samples_begin(m, DAY_ROWS, e);
    if (rc) {
        return rc;
    }
    int window = meter_window_open(m, "overhead", METER_NO_PARENT, e);
    sleep_s(0.25);
    uint64_t written = bytes_written();
    meter_stats(m, &before);
    size_t allocations = n_allocations;
    int64_t begin_ns = clock_mono_ns();
    int64_t cpu_ns = clock_process_cpu_ns();
    sleep_s(seconds);
    cpu_ns = clock_process_cpu_ns() - cpu_ns;
    int64_t span_ns = clock_mono_ns() - begin_ns;
    out->allocations = n_allocations - allocations;
    meter_stats(m, &after);
    out->written_bytes = bytes_written() - written;
    out->cpu_share = (double)cpu_ns / (double)span_ns;
    out->samples = after.samples - before.samples;
    out->missed = after.missed_deadlines;
    out->worst_late_ms = (double)after.worst_late_ns / 1e6;
    out->read_us = (double)(after.read_ns - before.read_ns) / 1e3 / (double)out->samples;
    rc = window < 0 ? window : meter_window_close(m, window, NULL, e);
    meter_stop(m);
    return rc;
}

/* ---- a day ---- */

struct day {
    size_t components, rows;
    uint64_t dropped, memory_bytes;
    double joules_error; /* of the rows against the window, relative */
};

static int64_t hand_now_ns(void *ctx) {
    return *(int64_t *)ctx;
}

static void hand_wait(void *ctx, int64_t t_ns) {
    *(int64_t *)ctx = t_ns;
}

/* Joules of the first GPU in all rows, and how many there are. */
static double take_rows(struct meter *m, int64_t start_ns, size_t *n_rows) {
    static struct meter_sample rows[1024];
    double joules = 0;
    size_t n;
    *n_rows = 0;
    while ((n = meter_samples_take(m, rows, 1024)) > 0) {
        for (size_t i = 0; i < n; i++) {
            joules += (double)rows[i].watts[0] * clock_ns_to_s(rows[i].t_ns - start_ns);
            start_ns = rows[i].t_ns;
        }
        *n_rows += n;
    }
    return joules;
}

static int measure_day(const struct machine_dir *dir, struct day *out, struct err *e) {
    struct meter *m;
    struct meter_reading r;
    int64_t now_ns = NS_PER_S;
    const struct meter_clock clock = {
        .now_ns = hand_now_ns, .wait_until = hand_wait, .ctx = &now_ns, .manual = true};
    const struct meter_opts opts = opts_of(dir);
    uint64_t before = machine_self_memory_bytes("VmRSS");
    int rc = meter_start_clocked(&m, &opts, &clock, e);
    rc = rc ? rc : meter_samples_begin(m, DAY_ROWS, e);
    if (rc) {
        return rc;
    }
    int window = meter_window_open(m, "day", METER_NO_PARENT, e);
    for (int i = 0; i < DAY_ROWS; i++) {
        now_ns += 100 * NS_PER_MS;
        meter_step(m);
    }
    out->memory_bytes = machine_self_memory_bytes("VmRSS") - before;
    rc = window < 0 ? window : meter_window_close(m, window, &r, e);
    if (rc == 0) {
        out->components = r.n;
        double joules = take_rows(m, NS_PER_S, &out->rows);
        double truth = r.c[0].mean_w * clock_ns_to_s(r.end_ns - r.start_ns);
        out->joules_error = fabs(joules / truth - 1);
        out->dropped = meter_samples_end(m);
    }
    meter_stop(m);
    return rc;
}

/* ---- both ---- */

static bool print_result(const struct cost *c, const struct day *d) {
    printf(
        "{\"cpu_share\": %.5f, \"read_us\": %.1f, \"samples\": %llu, \"missed_deadlines\": %llu, "
        "\"worst_late_ms\": %.2f, \"allocations\": %zu, \"written_bytes\": %llu, "
        "\"components\": %zu, \"day_rows\": %zu, \"day_dropped\": %llu, \"day_mib\": %.1f, "
        "\"day_joules_error\": %.1e}\n",
        c->cpu_share, c->read_us, (unsigned long long)c->samples, (unsigned long long)c->missed,
        c->worst_late_ms, c->allocations, (unsigned long long)c->written_bytes, d->components,
        d->rows, (unsigned long long)d->dropped, (double)d->memory_bytes / (1 << 20),
        d->joules_error);
    return c->cpu_share < MAX_CPU_SHARE && c->allocations == 0 && c->written_bytes == 0 &&
           c->samples > 0 && d->components == N_PARTS && d->rows == DAY_ROWS && d->dropped == 0 &&
           d->memory_bytes <= MAX_DAY_BYTES && d->joules_error < 1e-6;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 20;
    struct machine_dir dir;
    struct err e = ERR_INIT;
    struct cost cost = {0};
    struct day day = {0};
    if (!(seconds >= 1)) {
        fprintf(stderr, "usage: meter_overhead [SECONDS]\n");
        return 2;
    }
    if (!make_machine(&dir)) {
        fprintf(stderr,
                "cannot make the simulated machine: run in the repository's root, with cc\n");
        return 1;
    }
    int rc = measure_cost(&dir, seconds, &cost, &e);
    rc = rc ? rc : measure_day(&dir, &day, &e);
    remove_machine(&dir);
    if (rc) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    return print_result(&cost, &day) ? 0 : 1;
}
