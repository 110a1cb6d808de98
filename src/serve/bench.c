#include "serve/bench.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double default_drain_s = 60;

void bench_describe_load(const struct bench_opts *o, char *buf, size_t size) {
    static const char *const kinds[] = {"constant", "poisson", "gamma", "bursty"};
    const struct level_step *first = &o->levels.steps[0];
    const struct level_step *last = &o->levels.steps[o->levels.n ? o->levels.n - 1 : 0];
    char level[64];
    if (first->from == last->to) {
        snprintf(level, sizeof(level), "%g", first->from);
    } else {
        snprintf(level, sizeof(level), "%g to %g", first->from, last->to);
    }
    if (o->workload.trace) {
        snprintf(buf, size, "trace, %g times its speed", o->workload.trace_speed);
    } else if (o->open_loop) {
        snprintf(buf, size, "open loop, %s arrivals, %s/s", kinds[o->arrival.kind], level);
    } else {
        snprintf(buf, size, "closed loop, concurrency %s", level);
    }
}

int bench_schedule(struct bench *b, struct err *e) {
    const struct bench_opts *o = &b->opts;
    if (!o->open_loop) {
        return 0;
    }
    if (b->workload->arrivals) { /* a trace brings its own */
        b->load.arrivals = b->workload->arrivals;
        b->load.n_arrivals = b->workload->n;
        int64_t end_ns = o->duration_s > 0 ? (int64_t)((o->warmup_s + o->duration_s) * 1e9)
                                           : INT64_MAX;
        while (b->load.n_arrivals > 0 && b->load.arrivals[b->load.n_arrivals - 1] >= end_ns) {
            b->load.n_arrivals--;
        }
        return 0;
    }
    struct arrival_spec spec = o->arrival;
    spec.rate = &b->opts.levels;
    spec.seed = o->seed;
    double end_s = o->duration_s > 0 ? o->warmup_s + o->duration_s : 0;
    int rc = arrival_schedule(&spec, o->count, end_s, &b->arrivals, &b->n_arrivals, e);
    if (!rc && b->n_arrivals == 0) {
        rc = err_set(e, EE_USAGE,
                     "no request falls into the time given: raise --duration or "
                     "--rate");
    }
    b->load.arrivals = b->arrivals;
    b->load.n_arrivals = b->n_arrivals;
    return rc;
}

static size_t default_preconnect(const struct bench *b) {
    const struct bench_opts *o = &b->opts;
    size_t n = o->open_loop ? 16 : (size_t)levels_max(&o->levels);
    return n < o->transport.max_connections ? n : o->transport.max_connections;
}

static int prepare(struct bench *b, struct err *e) {
    const struct bench_opts *o = &b->opts;
    b->load = (struct load){
        .ops = o->ops,
        .transport = o->transport,
        .payloads = b->workload->payloads,
        .n_payloads = b->workload->n,
        .concurrency = o->levels,
        .count = o->open_loop ? 0 : o->count,
        .drain_ns = (int64_t)((o->drain_s > 0 ? o->drain_s : default_drain_s) * 1e9),
        .n_loops = o->n_loops > 0 ? o->n_loops : 1,
        .cpus = o->cpus,
        .n_cpus = o->n_cpus,
        .stop = o->stop,
        .progress = o->progress,
        .progress_ctx = o->progress_ctx,
    };
    b->load.transport.target = &b->opts.target;
    if (o->duration_s > 0) {
        b->load.duration_ns = (int64_t)((o->warmup_s + o->duration_s) * 1e9);
    }
    if (workload_has_turns(b->workload)) {
        b->load.follow_up = workload_follow_up;
        b->load.has_turn = workload_has_turn;
        b->load.follow_up_ctx = b->workload;
    }
    b->load.preconnect = o->preconnect ? o->preconnect : default_preconnect(b);
    return bench_schedule(b, e);
}

int bench_measure(struct bench *b, struct err *e) {
    const struct measure_opts mo = {.measured_from_ns = b->result.start_ns +
                                                        (int64_t)(b->opts.warmup_s * 1e9),
                                    .slos = b->opts.slos,
                                    .workload = b->workload,
                                    .vocabulary = b->opts.workload.vocabulary};
    return measure(&b->result, &mo, &b->measures, e);
}

int bench_run(struct bench *b, const struct bench_opts *opts, struct workload *w,
              const struct calibration *calibration, struct err *e) {
    *b = (struct bench){.opts = *opts, .workload = w};
    clock_wall_iso8601(b->started_utc, sizeof(b->started_utc));
    int rc = prepare(b, e);
    rc = rc || !opts->edge ? rc : opts->edge(opts->edge_ctx, true, e);
    if (!rc) {
        rc = load_run(&b->load, &b->result, e);
        int edge = opts->edge ? opts->edge(opts->edge_ctx, false, rc ? NULL : e) : 0;
        rc = rc ? rc : edge;
    }
    rc = rc ? rc : bench_measure(b, e);
    if (rc) {
        bench_release(b);
        return rc;
    }
    verdict_make(&b->result, &b->measures, opts->open_loop, calibration, &b->verdict);
    return 0;
}

void bench_release(struct bench *b) {
    measures_release(&b->measures);
    load_result_release(&b->result);
    free(b->arrivals);
    *b = (struct bench){0};
}
