/*
 * How long the metrics of a whole matrix take: 72 variants of 100 synthetic items, five repeats and
 * five starts each, costs given, 10,000 draws an interval. One JSON line on stdout.
 *
 * usage: metrics_speed [VARIANTS] [ITEMS]
 */
#include "metrics/metrics.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 5, MAX_ITEMS = 100000 };

struct variant {
    struct metrics_input in;
    struct costing costing;
    struct stats_device_joules serve, once, load;
    double serve_j[REPEATS], once_j[1], load_j[REPEATS], rates[REPEATS];
};

static double around(struct rng *r, double x) {
    return x * (0.98 + 0.04 * rng_uniform(r));
}

static void make_scores(struct rng *r, const double *like, size_t n, double *out) {
    for (size_t i = 0; i < n; i++) { /* F1-like: bounded, some at its ends, paired */
        double x = like && rng_uniform(r) < 0.8 ? like[i] : rng_uniform(r);
        out[i] = x < 0.15 ? 0 : x > 0.9 ? 1 : x;
    }
}

static void make(struct variant *v, struct rng *r, const char *const *ids, const double *scores,
                 const double *fp16, size_t n) {
    struct metrics_input *in = &v->in;
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        in->econ[i] = quantity_of(econ_field(i)->high < 2 ? 0.5 : 2 + rng_uniform(r), 0);
    }
    in->econ[ECON(owned)].value = 1;
    in->econ[ECON(traffic_per_h)].value = 5000;
    in->econ[ECON(capacity_per_h)].value = 1000;
    in->econ[ECON(api_output_usd_per_mtok)].value = 5000;
    for (size_t i = 0; i < REPEATS; i++) {
        v->serve_j[i] = around(r, in->econ[ECON(request_j)].value);
        v->load_j[i] = around(r, 50);
        v->rates[i] = around(r, 1000);
    }
    v->once_j[0] = in->econ[ECON(once_j)].value;
    v->serve = (struct stats_device_joules){.device = "cpu", .gain = 0.05, .joules = v->serve_j};
    v->once = (struct stats_device_joules){.device = "cpu", .gain = 0.05, .joules = v->once_j};
    v->load = (struct stats_device_joules){.device = "cpu", .gain = 0.05, .joules = v->load_j};
    in->spread = (struct metrics_spread){.serve = {&v->serve, 1, REPEATS, false},
                                         .once = {&v->once, 1, 1, true},
                                         .load_cold = {&v->load, 1, REPEATS, false},
                                         .load_warm = {&v->load, 1, REPEATS, false},
                                         .rates = v->rates,
                                         .n_rates = REPEATS};
    v->costing = (struct costing){.is_given = true,
                                  .api = "api",
                                  .accept = 0.5,
                                  .qret_margin = 1,
                                  .margin = 1,
                                  .slo_cold_start_s = NAN};
    in->method = "lora";
    in->precision = "int4";
    in->score_max = 1;
    in->concurrency = 8;
    in->costing = &v->costing;
    in->items = (struct metrics_items){ids, scores, n};
    in->items_fp16 = (struct metrics_items){ids, fp16, n};
    in->items_api = (struct metrics_items){ids, fp16, n};
    in->score = in->score_fp16 = quantity_of(0.5, n);
    in->requests_ok = quantity_of(100, 0);
    in->serve_j = in->load_cold_j = in->load_warm_j = quantity_of(200, REPEATS);
}

int main(int argc, char **argv) {
    size_t n_variants = argc > 1 ? strtoul(argv[1], NULL, 10) : 72;
    size_t n_items = argc > 2 ? strtoul(argv[2], NULL, 10) : 100;
    if (n_variants < 1 || n_items < 1 || n_items > MAX_ITEMS) {
        fprintf(stderr, "usage: metrics_speed [VARIANTS] [ITEMS]\n");
        return 2;
    }
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct rng r;
    rng_init(&r, 1);
    const char **ids = arena_array(&a, n_items, sizeof(*ids));
    double *fp16 = arena_array(&a, n_items, sizeof(*fp16));
    struct metric_row *rows = arena_array(&a, metrics_count(), sizeof(*rows));
    if (!ids || !fp16 || !rows) {
        return 1;
    }
    for (size_t i = 0; i < n_items; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%06zu", i);
        ids[i] = arena_strdup(&a, id);
    }
    make_scores(&r, NULL, n_items, fp16);
    int64_t spent_ns = 0;
    size_t with_interval = 0;
    for (size_t i = 0; i < n_variants; i++) {
        struct variant v = {.in = {.seed = i}};
        double *scores = arena_array(&a, n_items, sizeof(*scores));
        if (!scores) {
            return 1;
        }
        make_scores(&r, fp16, n_items, scores);
        make(&v, &r, ids, scores, fp16, n_items);
        int64_t begin_ns = clock_mono_ns();
        if (metrics_compute(&v.in, &a, rows, &e)) {
            fprintf(stderr, "metrics_speed: %s\n", e.msg);
            return 1;
        }
        spent_ns += clock_mono_ns() - begin_ns;
        for (size_t k = 0; k < metrics_count(); k++) {
            with_interval += isnan(rows[k].low) ? 0 : 1;
        }
    }
    printf("{\"variants\": %zu, \"items\": %zu, \"intervals\": %zu, \"seconds\": %.3f}\n",
           n_variants, n_items, with_interval, clock_ns_to_s(spent_ns));
    arena_release(&a);
    return 0;
}
