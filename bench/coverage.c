/*
 * How often intervals contain the truth: Monte Carlo over data whose truth is known, for every kind
 * of interval in src/stats. Prints the Markdown tables of docs/intervals.md on stdout.
 *
 * usage: coverage [--trials N] [--resamples N] [--seed N] [--only WORD]
 * --only runs the tables whose title contains WORD. The defaults (4,000 trials, 1,000 resamples)
 * take some minutes and have a standard error of 0.35 points at 95 %.
 */
#include "coverage_data.h"

#include "stats/bootstrap.h"
#include "stats/choose.h"
#include "stats/draws.h"
#include "stats/percentile.h"
#include "stats/proportion.h"
#include "stats/repeats.h"
#include "stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A cell below this is marked: the methods promise 95 %. */
#define LOW_COVERAGE 0.93

enum { MAX_SIZES = 3 };

/* --- Intervals ------------------------------------------------------------------------------ */

struct sample {
    const struct data *data;
    double *a, *b, *sorted;
    size_t n;
    struct stats_opts opts;
};

static void must(int rc) {
    if (rc) {
        fprintf(stderr, "coverage: out of memory, or options that cannot be meant\n");
        exit(1);
    }
}

static struct stats_interval ratio(const struct sample *s) {
    struct stats_interval out;
    must(stats_paired_ratio(s->a, s->b, s->n, &s->opts, &out, NULL));
    return out;
}

static struct stats_interval difference(const struct sample *s) {
    struct stats_interval out;
    must(stats_paired_difference(s->a, s->b, s->n, &s->opts, &out, NULL));
    return out;
}

static struct stats_interval mean(const struct sample *s) {
    struct stats_interval out;
    must(stats_mean_of(s->b, s->n, &s->opts, &out, NULL));
    return out;
}

static struct stats_interval bca_ratio(const struct sample *s) {
    struct stats_interval out;
    must(stats_bca_ratio(s->a, s->b, s->n, &s->opts, &out, NULL));
    return out;
}

static struct stats_interval bca_mean(const struct sample *s) {
    struct stats_interval out;
    must(stats_bca_mean(s->b, s->n, &s->opts, &out, NULL));
    return out;
}

static struct stats_interval bca_difference(const struct sample *s) {
    struct stats_interval out;
    for (size_t i = 0; i < s->n; i++) {
        s->sorted[i] = s->a[i] - s->b[i];
    }
    must(stats_bca_mean(s->sorted, s->n, &s->opts, &out, NULL));
    return out;
}

static struct stats_interval bonett_price_ratio(const struct sample *s) {
    struct stats_pairs t = {0};
    for (size_t i = 0; i < s->n; i++) {
        t.both += s->a[i] > 0 && s->b[i] > 0;
        t.only_a += s->a[i] > 0 && !(s->b[i] > 0);
        t.only_b += s->b[i] > 0 && !(s->a[i] > 0);
    }
    t.neither = s->n - t.both - t.only_a - t.only_b;
    return stats_pairs_ratio_bonett_price(&t, 0.95);
}

static struct stats_interval clopper_pearson(const struct sample *s) {
    size_t right = 0;
    for (size_t i = 0; i < s->n; i++) {
        right += s->b[i] > 0;
    }
    return stats_clopper_pearson(right, s->n, 0.95);
}

static struct stats_interval repeats_mean(const struct sample *s) {
    return stats_repeats_mean(s->b, s->n, 0.95);
}

static struct stats_interval repeats_ratio(const struct sample *s) {
    struct stats_interval out;
    must(stats_repeats_ratio(s->a, s->n, s->b, s->n, &s->opts, &out, NULL));
    return out;
}

enum { MAX_WINDOWS = 64 };

struct meters {
    struct stats_device_joules devices[2];
    double edge_j[MAX_WINDOWS];
    struct stats_joules joules;
};

/* The readings as the meter would hand them over; the second device may be another sensor. */
static void read_meters(const struct sample *s, const double *x, const char *second,
                        struct meters *m) {
    const double *k = s->data->params.p;
    for (size_t i = 0; i < s->n; i++) {
        m->edge_j[i] = k[4];
    }
    for (size_t d = 0; d < 2; d++) {
        m->devices[d] = (struct stats_device_joules){.device = d ? second : "gpu0",
                                                     .gain = k[3],
                                                     .joules = x + d * s->n,
                                                     .edge_j = m->edge_j};
    }
    m->joules = (struct stats_joules){m->devices, 2, s->n, false};
}

static struct stats_interval joules_mean(const struct sample *s) {
    struct meters m;
    struct stats_joules_interval out;
    read_meters(s, s->b, "cpu", &m);
    must(stats_joules_interval(&m.joules, &s->opts, &out, NULL));
    return out.total;
}

static struct stats_interval joules_ratio(const struct sample *s) {
    struct meters m[2];
    struct stats_joules_interval out;
    read_meters(s, s->a, "cpu", &m[0]);
    read_meters(s, s->b, "cpu", &m[1]);
    must(stats_joules_ratio(&m[0].joules, &m[1].joules, &s->opts, &out, NULL));
    return out.total;
}

/* Requests until a's joules are repaid by b's: a formula with both in it, by draws. */
static double break_even(double a, double b) {
    return a / (150 - b);
}

static struct stats_interval joules_formula(const struct sample *s) {
    struct meters m[2];
    size_t n = stats_n_draws(&s->opts);
    double *draws = malloc(2 * n * sizeof(*draws));
    struct stats_opts of_b = s->opts;
    of_b.use = "b";
    must(!draws);
    read_meters(s, s->a, "cpu", &m[0]);
    read_meters(s, s->b, "cpu", &m[1]);
    must(stats_draw_joules(&m[0].joules, STATS_ALL_ERRORS, &s->opts, draws, NULL));
    must(stats_draw_joules(&m[1].joules, STATS_ALL_ERRORS, &of_b, draws + n, NULL));
    for (size_t i = 0; i < n; i++) {
        draws[i] = break_even(draws[i], draws[n + i]);
    }
    double estimate = break_even(stats_joules_estimate(&m[0].joules),
                                 stats_joules_estimate(&m[1].joules));
    struct stats_interval out = stats_draws_interval(draws, n, estimate, 0.95);
    free(draws);
    return out;
}

static void sort_b(const struct sample *s) {
    memcpy(s->sorted, s->b, s->n * sizeof(*s->b));
    stats_sort(s->sorted, s->n);
}

static struct stats_interval percentile(const struct sample *s, double p) {
    sort_b(s);
    return stats_percentile(s->sorted, s->n, p, 0.95);
}

static struct stats_interval p50(const struct sample *s) {
    return percentile(s, 0.5);
}

static struct stats_interval p95(const struct sample *s) {
    return percentile(s, 0.95);
}

static struct stats_interval p99(const struct sample *s) {
    return percentile(s, 0.99);
}

static struct stats_interval percentile_in_time(const struct sample *s, double p) {
    struct stats_interval out;
    sort_b(s);
    must(stats_percentile_in_time(s->b, s->sorted, s->n, p, 0.95, &out, NULL));
    return out;
}

static struct stats_interval p50_in_time(const struct sample *s) {
    return percentile_in_time(s, 0.5);
}

static struct stats_interval p95_in_time(const struct sample *s) {
    return percentile_in_time(s, 0.95);
}

static struct stats_interval p99_in_time(const struct sample *s) {
    return percentile_in_time(s, 0.99);
}

static struct stats_interval mean_in_time(const struct sample *s) {
    return stats_mean_in_time(s->b, s->n, 0.95);
}

static double truth_ratio(const struct truth *t) {
    return t->a / t->b;
}

static double truth_difference(const struct truth *t) {
    return t->a - t->b;
}

static double truth_mean(const struct truth *t) {
    return t->b;
}

static double truth_formula(const struct truth *t) {
    return break_even(t->a, t->b);
}

static double truth_p50(const struct truth *t) {
    return t->p50;
}

static double truth_p95(const struct truth *t) {
    return t->p95;
}

static double truth_p99(const struct truth *t) {
    return t->p99;
}

struct kind {
    const char *name;
    struct stats_interval (*make)(const struct sample *s);
    double (*truth)(const struct truth *t);
};

/* --- Tables ----------------------------------------------------------------------------------- */

static const struct data right_or_wrong[] = {
    {"1 % discordant, half lost", &pairs, {{0.77, 0.01, 0.5}}, 1},
    {"1 % discordant, 3/4 lost", &pairs, {{0.77, 0.01, 0.25}}, 1},
    {"1 % discordant, all lost", &pairs, {{0.77, 0.01, 0}}, 1},
    {"2 % discordant, half lost", &pairs, {{0.77, 0.02, 0.5}}, 1},
    {"2 % discordant, 3/4 lost", &pairs, {{0.77, 0.02, 0.25}}, 1},
    {"2 % discordant, all lost", &pairs, {{0.77, 0.02, 0}}, 1},
    {"5 % discordant, half lost", &pairs, {{0.77, 0.05, 0.5}}, 1},
    {"5 % discordant, 3/4 lost", &pairs, {{0.77, 0.05, 0.25}}, 1},
    {"5 % discordant, all lost", &pairs, {{0.77, 0.05, 0}}, 1},
    {"10 % discordant, half lost", &pairs, {{0.77, 0.1, 0.5}}, 1},
    {"10 % discordant, 3/4 lost", &pairs, {{0.77, 0.1, 0.25}}, 1},
    {"10 % discordant, all lost", &pairs, {{0.77, 0.1, 0}}, 1},
    {"20 % discordant, half lost", &pairs, {{0.77, 0.2, 0.5}}, 1},
    {"20 % discordant, 3/4 lost", &pairs, {{0.77, 0.2, 0.25}}, 1},
    {"20 % discordant, all lost", &pairs, {{0.77, 0.2, 0}}, 1},
};
static const struct kind of_right_or_wrong[] = {
    {"ratio", ratio, truth_ratio},
    {"difference", difference, truth_difference},
    {"(ratio, Bonett-Price)", bonett_price_ratio, truth_ratio},
    {"(ratio, BCa)", bca_ratio, truth_ratio},
};

static const struct data shares[] = {
    {"50 % right", &pairs, {{0.5, 0}}, 1},
    {"77 % right", &pairs, {{0.77, 0}}, 1},
    {"95 % right", &pairs, {{0.95, 0}}, 1},
    {"99 % right", &pairs, {{0.99, 0}}, 1},
};
static const struct kind of_shares[] = {
    {"mean", mean, truth_mean},
    {"(Clopper-Pearson)", clopper_pearson, truth_mean},
};

static const struct data scores[] = {
    {"F1: 20 % are 0, 50 % are 1", &f1_pairs, {{0.2, 0.5}}, 1},
    {"F1: 50 % are 0, 20 % are 1", &f1_pairs, {{0.5, 0.2}}, 1},
    {"F1: 80 % are 0, 10 % are 1", &f1_pairs, {{0.8, 0.1}}, 1},
    {"F1: 3 % are 0, 90 % are 1", &f1_pairs, {{0.03, 0.9}}, 1},
    {"Beta(8, 3)", &beta_pairs, {{8, 3, 20}}, 1},
    {"Beta(2, 5)", &beta_pairs, {{2, 5, 20}}, 1},
    {"Beta(20, 1)", &beta_pairs, {{20, 1, 20}}, 1},
};
static const struct kind of_scores[] = {
    {"mean", mean, truth_mean},
    {"(mean, BCa)", bca_mean, truth_mean},
};

static const struct data score_pairs[] = {
    {"F1, 2 % of answers differ", &f1_pairs, {{0.2, 0.5, 0.02, 0.2, 0.5}}, 1},
    {"F1, 2 % differ and are worse", &f1_pairs, {{0.2, 0.5, 0.02, 0.5, 0.35}}, 1},
    {"F1, 5 % differ", &f1_pairs, {{0.2, 0.5, 0.05, 0.2, 0.5}}, 1},
    {"F1, 5 % differ and are worse", &f1_pairs, {{0.2, 0.5, 0.05, 0.5, 0.35}}, 1},
    {"F1, 10 % differ", &f1_pairs, {{0.2, 0.5, 0.1, 0.2, 0.5}}, 1},
    {"F1, 10 % differ and are worse", &f1_pairs, {{0.2, 0.5, 0.1, 0.5, 0.35}}, 1},
    {"F1, 20 % differ", &f1_pairs, {{0.2, 0.5, 0.2, 0.2, 0.5}}, 1},
    {"F1, 20 % differ and are worse", &f1_pairs, {{0.2, 0.5, 0.2, 0.5, 0.35}}, 1},
    {"F1, 50 % differ and are worse", &f1_pairs, {{0.2, 0.5, 0.5, 0.5, 0.35}}, 1},
    {"F1, 70 % are 0, 5 % differ", &f1_pairs, {{0.7, 0.1, 0.05, 0.7, 0.1}}, 1},
    {"F1, 70 % are 0, 20 % differ", &f1_pairs, {{0.7, 0.1, 0.2, 0.7, 0.1}}, 1},
    {"F1, 70 % are 0, all differ", &f1_pairs, {{0.7, 0.1, 1, 0.7, 0.1}}, 1},
    {"Beta(8, 3), 5 % lower", &beta_pairs, {{8, 3, 20}}, 1},
    {"Beta(2, 5), 5 % lower", &beta_pairs, {{2, 5, 20}}, 1},
    {"Beta(2, 5), 25 % lower", &beta_pairs, {{2, 5, 3}}, 1},
};
static const struct kind of_pairs[] = {
    {"ratio", ratio, truth_ratio},
    {"difference", difference, truth_difference},
    {"(ratio, BCa)", bca_ratio, truth_ratio},
    {"(difference, BCa)", bca_difference, truth_difference},
};

static const struct data positive_pairs[] = {
    {"lognormal, sigma 0.3, correlation 0.8", &lognormal, {{0.3, 0.8, 0.7}}, 0},
    {"lognormal, sigma 0.5, correlation 0.8", &lognormal, {{0.5, 0.8, 0.7}}, 0},
    {"lognormal, sigma 1, correlation 0.8", &lognormal, {{1, 0.8, 0.7}}, 0},
    {"lognormal, sigma 1, not correlated", &lognormal, {{1, 0, 0.7}}, 0},
};
static const struct kind of_positive_pairs[] = {
    {"ratio", ratio, truth_ratio},
    {"difference", difference, truth_difference},
    {"mean", mean, truth_mean},
    {"(ratio, BCa)", bca_ratio, truth_ratio},
    {"(difference, BCa)", bca_difference, truth_difference},
    {"(mean, BCa)", bca_mean, truth_mean},
};

static const struct data signed_values[] = {
    {"Gamma(2) - 0.5", &signed_pairs, {{2, 0.5, 0.3}}, 0},
    {"Gamma(2) - 1", &signed_pairs, {{2, 1, 0.3}}, 0},
};
static const struct kind of_signed[] = {
    {"ratio", ratio, truth_ratio},
    {"difference", difference, truth_difference},
    {"mean", mean, truth_mean},
};

static const struct data repeated[] = {
    {"spread 2 %", &repeats, {{80, 100, 0.02}}, 0},
    {"spread 10 %", &repeats, {{80, 100, 0.1}}, 0},
};
static const struct kind of_repeats[] = {
    {"mean", repeats_mean, truth_mean},
    {"ratio", repeats_ratio, truth_ratio},
};

static const struct data metered[] = {
    {"spread 0.5 %, gain 5 %, edges 0.5 J", &joules, {{80, 100, 0.005, 0.05, 0.5}}, 0},
    {"spread 2 %, gain 5 %, edges 0.5 J", &joules, {{80, 100, 0.02, 0.05, 0.5}}, 0},
    {"spread 5 %, gain 5 %, edges 0.5 J", &joules, {{80, 100, 0.05, 0.05, 0.5}}, 0},
    {"spread 2 %, gain 40 %, edges 0.5 J", &joules, {{80, 100, 0.02, 0.4, 0.5}}, 0},
    {"spread 2 %, no gain error, edges 3 J", &joules, {{80, 100, 0.02, 0, 3}}, 0},
};
static const struct kind of_metered[] = {
    {"mean", joules_mean, truth_mean},
    {"ratio", joules_ratio, truth_ratio},
    {"a / (150 - b), draws", joules_formula, truth_formula},
};

static const struct data latencies[] = {
    {"lognormal, sigma 0.5", &lognormal, {{0.5}}, 0},
    {"exponential", &queue, {{0}}, 0},
};
static const struct kind of_latencies[] = {
    {"p50", p50, truth_p50},
    {"p95", p95, truth_p95},
    {"p99", p99, truth_p99},
};

static const struct data streams[] = {
    {"independent", &ar1, {{0, 0, 0.5}}, 0},
    {"correlation 0.5", &ar1, {{0.5, 0, 0.5}}, 0},
    {"correlation 0.9", &ar1, {{0.9, 0, 0.5}}, 0},
    {"batches of 8, half shared", &batches, {{0.5, 8, 0.5}}, 0},
    {"batches of 8, nine tenths shared", &batches, {{0.9, 8, 0.5}}, 0},
    {"batches of 32, half shared", &batches, {{0.5, 32, 0.5}}, 0},
    {"queue, 50 % utilised", &queue, {{0.5}}, 0},
    {"queue, 80 % utilised", &queue, {{0.8}}, 0},
};
static const struct kind of_streams[] = {
    {"p50", p50_in_time, truth_p50},
    {"p95", p95_in_time, truth_p95},
    {"p99", p99_in_time, truth_p99},
    {"mean", mean_in_time, truth_mean},
    {"(p95, as if independent)", p95, truth_p95},
};

#define LIST(x) x, sizeof(x) / sizeof((x)[0])

static const struct table {
    const char *title;
    const struct data *data;
    size_t n_data;
    const struct kind *kinds;
    size_t n_kinds;
    size_t sizes[MAX_SIZES];
} tables[] = {
    {"Paired, right or wrong", LIST(right_or_wrong), LIST(of_right_or_wrong), {40, 100, 400}},
    {"Single share", LIST(shares), LIST(of_shares), {40, 100, 400}},
    {"Mean of a score in 0..1", LIST(scores), LIST(of_scores), {40, 100, 400}},
    {"Paired scores in 0..1", LIST(score_pairs), LIST(of_pairs), {40, 100, 400}},
    {"Positive values without a range",
     LIST(positive_pairs),
     LIST(of_positive_pairs),
     {40, 100, 400}},
    {"Values of either sign", LIST(signed_values), LIST(of_signed), {40, 100, 400}},
    {"Repeats", LIST(repeated), LIST(of_repeats), {5, 10, 20}},
    {"Joules, two sensors", LIST(metered), LIST(of_metered), {5, 10, 20}},
    {"Percentiles, independent", LIST(latencies), LIST(of_latencies), {100, 400, 4000}},
    {"Streams in time", LIST(streams), LIST(of_streams), {400, 2000, 10000}},
};

/* --- Simulation ------------------------------------------------------------------------------- */

struct settings {
    size_t trials, resamples;
    uint64_t seed;
    const char *only; /* NULL: all tables */
};

struct result {
    size_t covered, truth_below, truth_above, refused;
};

static void count_trial(struct result *r, const struct stats_interval *i, double truth) {
    r->refused += isnan(i->low) != 0;
    r->truth_below += truth < i->low;
    r->truth_above += truth > i->high;
    r->covered += i->low <= truth && truth <= i->high;
}

/* All kinds of a table's intervals on the same samples. */
static void simulate(const struct table *t, const struct data *d, size_t n,
                     const struct settings *s, struct result *results) {
    size_t room = 2 * n; /* two devices */
    double *values = calloc(3 * room, sizeof(*values));
    must(!values);
    struct sample sample = {
        .data = d, .a = values, .b = values + room, .sorted = values + 2 * room};
    struct truth truth = d->source->truth(&d->params);
    struct rng r;
    rng_init_stream(&r, s->seed, n);
    for (size_t i = 0; i < s->trials; i++) {
        d->source->draw(&d->params, &r, n, sample.a, sample.b);
        sample.n = n;
        sample.opts = (struct stats_opts){
            .resamples = s->resamples, .seed = rng_u64(&r), .bound = d->bound};
        for (size_t k = 0; k < t->n_kinds; k++) {
            struct stats_interval interval = t->kinds[k].make(&sample);
            count_trial(&results[k], &interval, t->kinds[k].truth(&truth));
        }
    }
    free(values);
}

/* "95.1 (2.2, 2.7)": covered, truth under the interval, truth over it, in percent. */
static void print_cell(const struct result *r, size_t trials) {
    double given = (double)(trials - r->refused);
    if (given == 0) {
        printf(" none |");
        return;
    }
    double covered = (double)r->covered / given;
    const char *mark = covered < LOW_COVERAGE ? "**" : "";
    printf(" %s%.1f%s (%.1f, %.1f)", mark, 100 * covered, mark,
           100 * (double)r->truth_below / given, 100 * (double)r->truth_above / given);
    if (r->refused) {
        printf(" of %.1f %%", 100 * given / (double)trials);
    }
    printf(" |");
}

static void show_progress(const struct table *t, size_t done, size_t of) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%s: %zu of %zu", t->title, done, of);
    }
}

static void run_table(const struct table *t, const struct settings *s) {
    enum { MAX_KINDS = 8 };
    size_t cells = t->n_data * MAX_SIZES;
    printf("\n### %s\n\n| data | interval |", t->title);
    for (size_t i = 0; i < MAX_SIZES; i++) {
        printf(" n = %zu |", t->sizes[i]);
    }
    printf("\n|---|---|---|---|---|\n");
    for (size_t d = 0; d < t->n_data; d++) {
        struct result results[MAX_SIZES][MAX_KINDS] = {0};
        for (size_t i = 0; i < MAX_SIZES; i++) {
            show_progress(t, d * MAX_SIZES + i, cells);
            simulate(t, &t->data[d], t->sizes[i], s, results[i]);
        }
        for (size_t k = 0; k < t->n_kinds; k++) {
            printf("| %s | %s |", t->data[d].name, t->kinds[k].name);
            for (size_t i = 0; i < MAX_SIZES; i++) {
                print_cell(&results[i][k], s->trials);
            }
            printf("\n");
        }
        fflush(stdout);
    }
    show_progress(t, cells, cells);
}

static void usage(void) {
    fprintf(stderr, "usage: coverage [--trials N] [--resamples N] [--seed N] [--only WORD]\n");
    exit(2);
}

static size_t number(const char *text) {
    char *end = NULL;
    unsigned long long n = strtoull(text, &end, 10);
    if (!*text || *end) {
        usage();
    }
    return (size_t)n;
}

int main(int argc, char **argv) {
    struct settings s = {.trials = 4000, .resamples = 1000, .seed = 1};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc) {
            usage();
        } else if (strcmp(argv[i], "--trials") == 0) {
            s.trials = number(argv[i + 1]);
        } else if (strcmp(argv[i], "--resamples") == 0) {
            s.resamples = number(argv[i + 1]);
        } else if (strcmp(argv[i], "--seed") == 0) {
            s.seed = number(argv[i + 1]);
        } else if (strcmp(argv[i], "--only") == 0) {
            s.only = argv[i + 1];
        } else {
            usage();
        }
    }
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (!s.only || strstr(tables[i].title, s.only)) {
            run_table(&tables[i], &s);
        }
    }
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
    return 0;
}
