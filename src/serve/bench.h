/*
 * One serving benchmark: settings, the load made of them, its raw records and figures. What
 * `edge-eval bench` does with a server, without printing.
 */
#ifndef SERVE_BENCH_H
#define SERVE_BENCH_H

#include "serve/calibrate.h"
#include "serve/load.h"
#include "serve/measure.h"
#include "serve/workload.h"

/* Zeroed fields take the default in brackets; strings are borrowed. */
struct bench_opts {
    struct target target;
    struct workload_opts workload;
    struct transport_opts transport;
    const struct transport_ops *ops;
    bool open_loop;
    struct arrival_spec arrival; /* rate points to levels */
    struct levels levels;        /* rate a second (open loop) or concurrency (closed loop) */
    size_t count;                /* requests; 0: by duration */
    double duration_s;           /* of the measured part; 0: by count */
    double warmup_s;
    double drain_s;    /* [60] */
    size_t preconnect; /* [the most that will be in flight, as far as is known] */
    int n_loops;       /* [1] */
    const int *cpus;
    size_t n_cpus;
    struct slo_set slos;
    uint64_t seed;
    const volatile sig_atomic_t *stop;
    void (*progress)(void *ctx, double elapsed_s, uint64_t n_begun, uint64_t n_ended,
                     uint64_t n_failed);
    void *progress_ctx;
    /* Called just before the load and just after it, to open and close what measures it; or NULL. */
    int (*edge)(void *ctx, bool begins, struct err *e);
    void *edge_ctx;
};

struct bench {
    struct bench_opts opts;
    struct workload *workload; /* borrowed */
    int64_t *arrivals;
    size_t n_arrivals;
    struct load load;
    struct load_result result;
    struct measures measures;
    struct verdict verdict;
    char started_utc[24];
};

/* Makes the schedule, applies the load and measures. bench_release frees. */
int bench_run(struct bench *b, const struct bench_opts *opts, struct workload *w,
              const struct calibration *calibration, struct err *e) EE_MUST_CHECK;
void bench_release(struct bench *b);
/* The two halves of it that a load by other means shares: b->load's schedule, b->measures. */
int bench_schedule(struct bench *b, struct err *e) EE_MUST_CHECK;
int bench_measure(struct bench *b, struct err *e) EE_MUST_CHECK;

/* "closed loop, concurrency 8" or "poisson, 20/s". */
void bench_describe_load(const struct bench_opts *o, char *buf, size_t size);

/* Settings, environment of the measurement, and all figures. */
json_t *bench_json(const struct bench *b);
/* What the client knows of itself: its verdict, its lateness, its calibration. */
json_t *bench_client_json(const struct bench *b);
/* The figures alone: requests, tokens, throughput, goodput and latency. */
json_t *measures_json(const struct measures *m, bool has_vocabulary);
/*
 * Measures the records of a file (raw.h) again, with other limits if wanted: *document is what was
 * stored with the figures as they are now. The caller releases all three.
 */
int bench_reread(const char *path, const struct slo_set *slos, json_t **document,
                 struct load_result *load, struct measures *m, struct err *e) EE_MUST_CHECK;

/* One line a request, with a header, in CSV. */
int bench_csv(const struct measures *m, struct buf *out, struct err *e) EE_MUST_CHECK;

#endif
