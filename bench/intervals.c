/*
 * What statistics cost: every interval of 72 variants with 100 items each at 10,000 resamples, and
 * the percentiles of a million latencies. One JSON line each on stdout: seconds on one core and peak
 * memory.
 *
 * usage: intervals [VARIANTS ITEMS [LATENCIES]]
 */
#include "stats/choose.h"
#include "stats/draws.h"
#include "stats/multiple.h"
#include "stats/percentile.h"
#include "stats/stats.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static void must(int rc) {
    if (rc) {
        fprintf(stderr, "intervals: out of memory\n");
        exit(1);
    }
}

static double *doubles(size_t n) {
    double *x = calloc(n, sizeof(*x));
    must(!x);
    return x;
}

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double peak_mib(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

/* Scores and latencies of one variant and its baseline. */
struct variant {
    double *right, *right_base, *f1, *f1_base, *seconds, *seconds_base;
};

static struct variant make_variant(struct rng *r, size_t n) {
    struct variant v = {doubles(n), doubles(n), doubles(n), doubles(n), doubles(n), doubles(n)};
    for (size_t i = 0; i < n; i++) {
        double u = rng_uniform(r);
        bool is_same = rng_uniform(r) < 0.8;
        v.right_base[i] = u < 0.77;
        v.right[i] = is_same ? v.right_base[i] : rng_uniform(r) < 0.7;
        v.f1_base[i] = u < 0.2 ? 0 : u > 0.7 ? 1 : u;
        v.f1[i] = is_same ? v.f1_base[i] : rng_uniform(r);
        v.seconds_base[i] = 0.1 - log(1 - rng_uniform(r));
        v.seconds[i] = 0.7 * v.seconds_base[i] + 0.1 * rng_uniform(r);
    }
    return v;
}

static void free_variant(struct variant *v) {
    free(v->right);
    free(v->right_base);
    free(v->f1);
    free(v->f1_base);
    free(v->seconds);
    free(v->seconds_base);
}

static void score_intervals(const struct variant *v, size_t n, const struct stats_opts *score,
                            double *p) {
    const struct stats_opts opts = {.seed = score->seed, .use = score->use};
    struct stats_interval i;
    must(stats_paired_ratio(v->right, v->right_base, n, score, &i, NULL));
    *p = i.p_value;
    must(stats_paired_difference(v->right, v->right_base, n, score, &i, NULL));
    must(stats_mean_of(v->right, n, score, &i, NULL));
    must(stats_paired_ratio(v->f1, v->f1_base, n, score, &i, NULL));
    must(stats_paired_difference(v->f1, v->f1_base, n, score, &i, NULL));
    must(stats_mean_of(v->f1, n, score, &i, NULL));
    must(stats_paired_ratio(v->seconds, v->seconds_base, n, &opts, &i, NULL));
    must(stats_paired_difference(v->seconds, v->seconds_base, n, &opts, &i, NULL));
    must(stats_mean_of(v->seconds, n, &opts, &i, NULL));
}

/* Joules of five repeats, their ratio, and three formulas over draws of four inputs. */
static void joules_intervals(const struct variant *v, const struct stats_opts *opts) {
    static const char *const uses[] = {"adapt", "load", "serve", "idle"};
    enum { N_INPUTS = 4, REPEATS = 5 };
    const double edges[REPEATS] = {0.5, 0.5, 0.5, 0.5, 0.5};
    size_t n = stats_n_draws(opts);
    double *draws = doubles((N_INPUTS + 1) * n);
    struct stats_device_joules d[] = {{"gpu0", 0.05, v->seconds, edges, NULL, NULL},
                                      {"cpu", 0.4, v->seconds_base, edges, NULL, NULL}};
    const struct stats_joules j = {d, 2, REPEATS, false};
    struct stats_joules_interval out;
    must(stats_joules_interval(&j, opts, &out, NULL));
    must(stats_joules_ratio(&j, &j, opts, &out, NULL));
    for (size_t k = 0; k < N_INPUTS; k++) {
        const struct stats_opts of_input = {.seed = opts->seed, .use = uses[k]};
        must(stats_draw_joules(&j, STATS_ALL_ERRORS, &of_input, draws + k * n, NULL));
    }
    double *result = draws + N_INPUTS * n;
    for (size_t formula = 0; formula < 3; formula++) {
        for (size_t i = 0; i < n; i++) {
            result[i] = draws[i] / (draws[n + i] + (double)formula * draws[2 * n + i]);
        }
        stats_draws_interval(result, n, 1, 0.95);
    }
    free(draws);
}

static void bench_variants(size_t n_variants, size_t n_items) {
    struct rng r;
    rng_init(&r, 1);
    double *p = doubles(n_variants);
    double *adjusted = doubles(n_variants);
    double spent_s = 0;
    for (size_t k = 0; k < n_variants; k++) {
        struct variant v = make_variant(&r, n_items);
        const struct stats_opts score = {.seed = k, .bound = 1, .use = "bench"};
        double start_s = cpu_s();
        score_intervals(&v, n_items, &score, &p[k]);
        joules_intervals(&v, &score);
        spent_s += cpu_s() - start_s;
        free_variant(&v);
    }
    must(stats_holm(p, n_variants, adjusted, NULL));
    printf("{\"variants\":%zu,\"items\":%zu,\"intervals\":%zu,\"cpu_s\":%.3f,\"peak_mib\":%.1f}\n",
           n_variants, n_items, n_variants * 14, spent_s, peak_mib());
    free(p);
    free(adjusted);
}

static void bench_latencies(size_t n) {
    static const double percentiles[] = {0.5, 0.9, 0.95, 0.99, 0.999};
    struct rng r;
    rng_init(&r, 2);
    double *x = doubles(n);
    for (size_t i = 0; i < n; i++) {
        x[i] = (i ? 0.7 * x[i - 1] : 0) - log(1 - rng_uniform(&r));
    }
    double start_s = cpu_s();
    double *sorted = doubles(n);
    memcpy(sorted, x, n * sizeof(*x));
    stats_sort(sorted, n);
    struct stats_interval i = stats_mean_in_time(x, n, 0.95);
    for (size_t k = 0; k < sizeof(percentiles) / sizeof(percentiles[0]); k++) {
        i = stats_percentile(sorted, n, percentiles[k], 0.95);
        must(stats_percentile_in_time(x, sorted, n, percentiles[k], 0.95, &i, NULL));
    }
    printf("{\"latencies\":%zu,\"cpu_s\":%.3f,\"peak_mib\":%.1f}\n", n, cpu_s() - start_s,
           peak_mib());
    free(sorted);
    free(x);
}

int main(int argc, char **argv) {
    size_t sizes[] = {72, 100, 1000000};
    for (int i = 1; i < argc && i <= 3; i++) {
        sizes[i - 1] = (size_t)strtoull(argv[i], NULL, 10);
    }
    if (!sizes[0] || !sizes[1] || !sizes[2] || argc > 4) {
        fprintf(stderr, "usage: intervals [VARIANTS ITEMS [LATENCIES]]\n");
        return 2;
    }
    bench_variants(sizes[0], sizes[1]);
    bench_latencies(sizes[2]);
    return 0;
}
