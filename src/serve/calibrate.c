#include "serve/calibrate.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/machine.h"
#include "serve/null_server.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_CONCURRENCY = 1000, MAX_RATE = 5000, MAX_BUSY_PERCENT = 85 };

const double lag_limits_s[LAG_BUCKETS - 1] = {1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4,
                                              5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 1e-1};

/* ---- the null server beside us ---- */

/* The child: serves until its parent is gone or kills it. */
static void serve_until_killed(const struct null_opts *o, int report_fd) {
    struct null_server *s = NULL;
    struct err e = ERR_INIT;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is its parent's business */
    signal(SIGTERM, SIG_DFL);
    int port = null_server_start(&s, o, &e) == 0 ? null_server_port(s) : 0;
    ssize_t n = write(report_fd, &port, sizeof(port));
    close(report_fd);
    while (n == (ssize_t)sizeof(port) && port) {
        pause();
    }
    _exit(1);
}

/* The last CPU this process may use, where it has more than one: the loops take the first ones. */
static bool last_cpu(int *cpu) {
    cpu_set_t set;
    *cpu = -1;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return false;
    }
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET((size_t)i, &set)) {
            *cpu = i;
        }
    }
    return *cpu >= 0 && CPU_COUNT(&set) > 1;
}

static pid_t start_server(const struct null_opts *o, int *port, struct err *e) {
    int ends[2];
    *port = 0;
    if (pipe(ends) != 0) {
        return err_errno(e, errno, "calibration: no pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        int cpu;
        if (last_cpu(&cpu)) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET((size_t)cpu, &set);
            sched_setaffinity(0, sizeof(set), &set);
        }
        serve_until_killed(o, ends[1]);
    }
    close(ends[1]);
    ssize_t n = pid > 0 ? read(ends[0], port, sizeof(*port)) : -1;
    close(ends[0]);
    if (pid < 0 || n != (ssize_t)sizeof(*port)) {
        *port = 0;
    }
    return pid;
}

/* ---- calibration ---- */

static int run_load(const struct calibrate_opts *o, int port, struct calibration *out,
                    struct err *e) {
    struct target target;
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1", port);
    int rc = target_parse(url, API_CHAT, &target, e);
    rc = rc ? rc : target_resolve(&target, e);
    const struct workload_opts wo = {.input = {16, 16},
                                     .output = {o->tokens, o->tokens},
                                     .n = 16,
                                     .model = "null",
                                     .seed = o->seed};
    struct workload w = {0};
    rc = rc ? rc : workload_make(&wo, &target, &w, e);
    struct load load = {.ops = &transport_plain,
                        .transport = {.target = &target,
                                      .max_connections = 4 * o->concurrency + 64,
                                      .connect_timeout_ns = 5 * NS_PER_S,
                                      .stall_ns = 5 * NS_PER_S,
                                      .timeout_ns = 10 * NS_PER_S,
                                      .read_times = o->read_times},
                        .payloads = w.payloads,
                        .n_payloads = w.n,
                        .duration_ns = (int64_t)(o->seconds * 1e9),
                        .drain_ns = NS_PER_S,
                        .preconnect = o->concurrency,
                        .n_loops = o->n_loops,
                        .cpus = o->cpus,
                        .n_cpus = o->n_cpus,
                        .stop = o->stop};
    load.concurrency.n = 1;
    load.concurrency.steps[0] = (struct level_step){(double)o->concurrency, (double)o->concurrency,
                                                    (double)INFINITY};
    struct levels rate = {.n = 1, .steps = {{o->rate, o->rate, (double)INFINITY}}};
    int64_t *arrivals = NULL;
    if (!rc && o->open_loop) {
        const struct arrival_spec spec = {.kind = ARRIVAL_POISSON, .seed = o->seed, .rate = &rate};
        rc = arrival_schedule(&spec, 0, o->seconds, &arrivals, &load.n_arrivals, e);
        load.arrivals = arrivals;
    }
    struct load_result result = {0};
    struct measures m = {0};
    const struct measure_opts mo = {0};
    rc = rc ? rc : load_run(&load, &result, e);
    rc = rc ? rc : measure(&result, &mo, &m, e);
    if (!rc) {
        out->n = m.n;
        out->n_failed = m.n_failed;
        out->delivery = m.figures[FIG_DELIVERY];
        out->write_mean_s = load_write_mean_s(&result);
        out->send_lag = m.figures[FIG_SEND_LAG];
        out->request_rate = m.request_rate;
        for (size_t i = 0; i < result.n_loops; i++) {
            out->busy = fmax(out->busy,
                             (double)result.loops[i].cpu_ns / (double)result.loops[i].wall_ns);
        }
        out->done = out->delivery.n > 0;
        out->reason = out->done ? NULL : "nothing was answered";
    }
    measures_release(&m);
    load_result_release(&result);
    free(arrivals);
    workload_release(&w);
    return rc;
}

int calibrate(const struct calibrate_opts *opts, struct calibration *out, struct err *e) {
    struct calibrate_opts o = *opts;
    int cpu;
    *out = (struct calibration){.seconds = o.seconds, .shared_cpu = !last_cpu(&cpu)};
    o.concurrency = o.concurrency < 1                 ? 1
                    : o.concurrency > MAX_CONCURRENCY ? MAX_CONCURRENCY
                                                      : o.concurrency;
    o.rate = fmin(o.rate, MAX_RATE);
    const struct null_opts server = {
        .ttft_ms = o.ttft_ms, .itl_ms = o.itl_ms, .tokens = o.tokens, .events_per_write = 1};
    int port;
    pid_t pid = start_server(&server, &port, e);
    if (pid > 0 && port > 0) {
        int rc = run_load(&o, port, out, e);
        if (rc == EE_NOMEM || rc == EE_STOPPED) {
            out->reason = "interrupted";
        } else if (rc) {
            out->reason = "its load could not be run";
        }
    } else {
        out->reason = "the null server could not be started";
    }
    if (pid > 0) {
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    e->code = 0;
    return 0;
}

/* ---- the verdict ---- */

const char *validity_name(enum validity v) {
    static const char *const names[] = {"valid", "unknown", "invalid"};
    return names[v];
}

static void fill_lags(const struct measures *m, struct verdict *out) {
    for (size_t i = 0; i < m->pool_n[FIG_SEND_LAG]; i++) {
        size_t k = 0;
        while (k < LAG_BUCKETS - 1 && m->pools[FIG_SEND_LAG][i] >= lag_limits_s[k]) {
            k++;
        }
        out->lag[k]++;
    }
}

double calibration_floor_s(const struct calibration *c, int percentile) {
    return c->delivery.p[percentile] + c->write_mean_s;
}

static void object(struct verdict *v, struct buf *why) {
    v->validity = INVALID;
    if (why->len > 0) {
        buf_addstr(why, "; ");
    }
}

void verdict_make(const struct load_result *load, const struct measures *m, bool open_loop,
                  const struct calibration *c, struct verdict *out) {
    *out = (struct verdict){.validity = VALID, .lag_p99_s = (double)NAN, .calibration = *c};
    struct buf why;
    buf_init(&why);
    for (size_t i = 0; i < load->n_loops; i++) {
        const struct loop_result *l = &load->loops[i];
        out->busy = fmax(out->busy, l->wall_ns > 0 ? (double)l->cpu_ns / (double)l->wall_ns : 0);
    }
    if (out->busy * 100 > MAX_BUSY_PERCENT) {
        object(out, &why);
        buf_addf(&why, "the client's event loop was busy for %.0f %% of the time (add --loops)",
                 100 * out->busy);
    }
    double ttft_s = m->figures[FIG_TTFT].p[0];
    fill_lags(m, out);
    if (open_loop && m->pool_n[FIG_SEND_LAG] > 0) {
        out->lag_p99_s = m->figures[FIG_SEND_LAG].p[3];
        if (out->lag_p99_s > fmax(1e-3, isnan(ttft_s) ? 0 : 0.05 * ttft_s)) {
            object(out, &why);
            buf_addf(&why, "requests were sent %.1f ms late at p99", 1e3 * out->lag_p99_s);
        }
    }
    if (c->done && !isnan(ttft_s)) {
        double p50_s = calibration_floor_s(c, 0);
        double p99_s = calibration_floor_s(c, 3);
        if (p50_s > 0.1 * ttft_s || p99_s > ttft_s) {
            object(out, &why);
            buf_addf(&why,
                     "the client's own floor (p50 %.3f ms, p99 %.3f ms) is too near the TTFT "
                     "measured (p50 %.3f ms)",
                     1e3 * p50_s, 1e3 * p99_s, 1e3 * ttft_s);
        }
    } else if (!c->done && out->validity == VALID) {
        out->validity = VALID_UNKNOWN;
        buf_addf(&why, "the client was not calibrated: %s", c->reason ? c->reason : "not asked to");
    }
    snprintf(out->reasons, sizeof(out->reasons), "%s", why.data);
    buf_release(&why);
}
