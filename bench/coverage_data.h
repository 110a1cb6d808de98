/*
 * Random data whose truth is known, for bench/coverage.c: paired right-or-wrong scores, F1-like and
 * other bounded scores, skewed positive values, repeats, joules with sensor errors, and latencies
 * that depend on their neighbours.
 */
#ifndef BENCH_COVERAGE_DATA_H
#define BENCH_COVERAGE_DATA_H

#include "stats/dist.h"

#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

static double draw_normal(struct rng *r) {
    double u = 1 - rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * rng_uniform(r));
}

/* Gamma of unit scale (Marsaglia and Tsang, ACM TOMS 26:363, 2000). */
static double draw_gamma(struct rng *r, double shape) {
    if (shape < 1) {
        return draw_gamma(r, shape + 1) * pow(1 - rng_uniform(r), 1 / shape);
    }
    double d = shape - 1.0 / 3;
    for (;;) {
        double z = draw_normal(r);
        double v = 1 + z / sqrt(9 * d);
        v = v * v * v;
        if (v > 0 && log(1 - rng_uniform(r)) < z * z / 2 + d - d * v + d * log(v)) {
            return d * v;
        }
    }
}

static double draw_beta(struct rng *r, double a, double b) {
    double x = draw_gamma(r, a);
    return x / (x + draw_gamma(r, b));
}

/* What data are made of; each generator says what its parameters are. */
struct params {
    double p[5];
};

/* What is true of them: means of a and b; for a stream, of b, and its percentiles. */
struct truth {
    double a, b, p50, p95, p99;
};

struct source {
    /* Fills a and b (the baseline) with n pairs, or b alone with n values. */
    void (*draw)(const struct params *k, struct rng *r, size_t n, double *a, double *b);
    struct truth (*truth)(const struct params *k);
};

struct data {
    const char *name;
    const struct source *source;
    struct params params;
    double bound;
};

/* Right or wrong: baseline's share right, share discordant, share of those that a has right. */
static void draw_pairs(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    double only_a = k->p[1] * k->p[2];
    double only_b = k->p[1] - only_a;
    for (size_t i = 0; i < n; i++) {
        double u = rng_uniform(r);
        a[i] = u < only_a || (u >= k->p[1] && u < k->p[1] + k->p[0] - only_b);
        b[i] = u >= only_a && u < k->p[1] + k->p[0] - only_b;
    }
}

static struct truth truth_pairs(const struct params *k) {
    double only_a = k->p[1] * k->p[2];
    return (struct truth){.a = k->p[0] - k->p[1] + 2 * only_a, .b = k->p[0]};
}

static const struct source pairs = {draw_pairs, truth_pairs};

/* A token F1: share of 0, share of 1, Beta(2, 1.5) between. */
static double draw_f1(struct rng *r, double zeros, double ones) {
    double u = rng_uniform(r);
    return u < zeros ? 0 : u >= 1 - ones ? 1 : draw_beta(r, 2, 1.5);
}

/* F1 of two models: zeros and ones of the baseline, share of answers that differ, zeros and ones of
 * those. */
static void draw_f1_pairs(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    for (size_t i = 0; i < n; i++) {
        b[i] = draw_f1(r, k->p[0], k->p[1]);
        bool is_same = rng_uniform(r) >= k->p[2];
        a[i] = is_same ? b[i] : draw_f1(r, k->p[3], k->p[4]);
    }
}

static double mean_f1(double zeros, double ones) {
    return ones + (1 - zeros - ones) * 2 / 3.5;
}

static struct truth truth_f1_pairs(const struct params *k) {
    double b = mean_f1(k->p[0], k->p[1]);
    return (struct truth){.a = (1 - k->p[2]) * b + k->p[2] * mean_f1(k->p[3], k->p[4]), .b = b};
}

static const struct source f1_pairs = {draw_f1_pairs, truth_f1_pairs};

/* Scores that all differ: b of Beta(p0, p1), a = b times Beta(p2, 1). */
static void draw_beta_pairs(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    for (size_t i = 0; i < n; i++) {
        b[i] = draw_beta(r, k->p[0], k->p[1]);
        a[i] = b[i] * draw_beta(r, k->p[2], 1);
    }
}

static struct truth truth_beta_pairs(const struct params *k) {
    double b = k->p[0] / (k->p[0] + k->p[1]);
    return (struct truth){.a = b * k->p[2] / (k->p[2] + 1), .b = b};
}

static const struct source beta_pairs = {draw_beta_pairs, truth_beta_pairs};

/* Positive and skewed: sigma of the log, correlation of the logs, ratio of the medians. */
static void draw_lognormal(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    for (size_t i = 0; i < n; i++) {
        double z = draw_normal(r);
        double w = k->p[1] * z + sqrt(1 - k->p[1] * k->p[1]) * draw_normal(r);
        b[i] = exp(k->p[0] * z);
        a[i] = k->p[2] * exp(k->p[0] * w);
    }
}

static struct truth truth_log(double sigma, double times) {
    double b = exp(sigma * sigma / 2);
    return (struct truth){times * b, b, 1, exp(sigma * stats_normal_quantile(0.95)),
                          exp(sigma * stats_normal_quantile(0.99))};
}

static struct truth truth_lognormal(const struct params *k) {
    return truth_log(k->p[0], k->p[2]);
}

static const struct source lognormal = {draw_lognormal, truth_lognormal};

/* Of either sign and skewed: Gamma(p0) - p1, a with noise of another gamma added. */
static void draw_signed(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    for (size_t i = 0; i < n; i++) {
        b[i] = draw_gamma(r, k->p[0]) - k->p[1];
        a[i] = b[i] + k->p[2] * (draw_gamma(r, 1.5) - 1);
    }
}

static struct truth truth_signed(const struct params *k) {
    double b = k->p[0] - k->p[1];
    return (struct truth){.a = b + 0.5 * k->p[2], .b = b};
}

static const struct source signed_pairs = {draw_signed, truth_signed};

/* Repeats: mean of a, of b, relative spread. */
static void draw_repeats(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    for (size_t i = 0; i < n; i++) {
        a[i] = k->p[0] * (1 + k->p[2] * draw_normal(r));
        b[i] = k->p[1] * (1 + k->p[2] * draw_normal(r));
    }
}

/*
 * Joules of windows as two sensors report them, the first device's n readings and then the
 * second's: mean of a, of b, relative spread, gain tolerance, edge error in joules. A third of the
 * joules are the second device's.
 */
static void draw_joules(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    double *const both[] = {a, b};
    double gain[2];
    for (int d = 0; d < 2; d++) {
        gain[d] = 1 / (1 + k->p[3] * (2 * rng_uniform(r) - 1));
    }
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++) {
            double joules = k->p[side] * (1 + k->p[2] * draw_normal(r));
            for (size_t d = 0; d < 2; d++) {
                double edge_j = k->p[4] * (2 * rng_uniform(r) - 1);
                both[side][d * n + i] = (d ? 1.0 / 3 : 2.0 / 3) * joules * gain[d] + edge_j;
            }
        }
    }
}

static struct truth truth_repeats(const struct params *k) {
    return (struct truth){.a = k->p[0], .b = k->p[1]};
}

static const struct source repeats = {draw_repeats, truth_repeats};
static const struct source joules = {draw_joules, truth_repeats};

/* Latencies that share p0 of their log variance within batches of p1 requests; sigma p2. */
static void draw_batches(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    (void)a;
    double shared = 0;
    for (size_t i = 0; i < n; i++) {
        shared = i % (size_t)k->p[1] == 0 ? draw_normal(r) : shared;
        double own = draw_normal(r);
        b[i] = exp(k->p[2] * (sqrt(k->p[0]) * shared + sqrt(1 - k->p[0]) * own));
    }
}

/* A lognormal first-order autoregression: correlation p0 of neighbours' logs, sigma p2. */
static void draw_ar1(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    (void)a;
    double z = draw_normal(r);
    for (size_t i = 0; i < n; i++) {
        b[i] = exp(k->p[2] * z);
        z = k->p[0] * z + sqrt(1 - k->p[0] * k->p[0]) * draw_normal(r);
    }
}

static struct truth truth_stream(const struct params *k) {
    return truth_log(k->p[2], 1);
}

static const struct source batches = {draw_batches, truth_stream};
static const struct source ar1 = {draw_ar1, truth_stream};

static double draw_exponential(struct rng *r) {
    return -log(1 - rng_uniform(r));
}

/*
 * Time in an M/M/1 queue of utilisation p0 and service time 1: exponential with mean 1 / (1 - p0).
 */
static void draw_queue(const struct params *k, struct rng *r, size_t n, double *a, double *b) {
    (void)a;
    double in_system = draw_exponential(r) / (1 - k->p[0]);
    for (size_t i = 0; i < n; i++) {
        b[i] = in_system;
        double waits = fmax(in_system - draw_exponential(r) / k->p[0], 0);
        in_system = waits + draw_exponential(r);
    }
}

static struct truth truth_queue(const struct params *k) {
    double b = 1 / (1 - k->p[0]);
    return (struct truth){.b = b, .p50 = b * log(2), .p95 = b * log(20), .p99 = b * log(100)};
}

static const struct source queue = {draw_queue, truth_queue};

#endif
