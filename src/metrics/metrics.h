/*
 * The metrics of one variant as pure functions of what was measured: no clock, file or sensor is
 * read here. Definitions, units and refusal rules: docs/metrics.md.
 *
 * A metric whose input is missing, not a number or outside its range is refused with a reason;
 * it is never 0, NAN or a default. Warnings on an input (modelled energy, a short window) are
 * part of the label of every metric made of it. Any thread may call.
 */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include "metrics/costing.h"
#include "metrics/econ.h"
#include "metrics/quantity.h"
#include "stats/repeats.h"

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the published definitions fix. */
struct paper_constants {
    double kwh_usd;         /* price of electricity */
    double api_request_usd; /* what the API asks for one request */
    double bytes_per_weight_fp16;
    double bytes_per_weight_int8;
    double bytes_per_weight_int4;
};
extern const struct paper_constants paper_constants;

/* One score an item, on the scorer's own scale, in the order of the items' ids. */
struct metrics_items {
    const char *const *ids;
    const double *scores;
    size_t n;
};

/*
 * The scores of the items that both hold, as shares of the scale from low to high, into a and b, which
 * have room for the shorter of the two. Returns how many there are.
 */
size_t metrics_pair_items(const struct metrics_items *x, const struct metrics_items *y, double low,
                          double high, double *a, double *b);

/* What each measurement of several told, for intervals; n_windows and n_rates 0 where unknown. */
struct metrics_spread {
    struct stats_joules serve;     /* of one request, a window a repeat */
    struct stats_joules once;      /* before serving, a window a stage, summed */
    struct stats_joules load_cold; /* of one load, a window a start */
    struct stats_joules load_warm;
    const double *rates; /* requests an hour, a figure a repeat */
    size_t n_rates;
};

/* Everything one variant's metrics are made of. */
struct metrics_input {
    const char *method;    /* none, lora, qlora */
    const char *precision; /* fp16, int8, int4 */
    double score_max;      /* S is divided by it: 1 for a share, 10 for a 1-to-10 judgement */
    double score_min;      /* of the scorer's scale: 0 for a share, 1 for a 1-to-10 judgement */
    double concurrency;    /* requests in flight while serving; NAN when unknown */

    struct quantity score;       /* S on the scorer's own scale */
    struct quantity score_fp16;  /* S of the fp16 variant with the same everything else */
    struct quantity n_weights;   /* parameters of the model */
    struct quantity prepare_j;   /* E_adapt: spent before serving */
    struct quantity serve_j;     /* E_serve: of all requests together */
    struct quantity serve_w;     /* mean power while serving */
    struct quantity requests_ok; /* n: requests served */
    struct quantity requests_failed;
    struct quantity output_tokens_per_s;
    struct quantity load_s; /* exec to context ready */

    struct quantity serve_above_idle_j; /* E_serve above the idle of the bare machine */
    /* Of one token, above the loaded engine's idle, by regression over a load designed for it. */
    struct quantity prefill_token_j, decode_token_j;
    /* E_load and T_load: exec to first token, less the same prompt in the warm process. */
    struct quantity load_cold_j, load_warm_j;
    struct quantity load_cold_s, load_warm_s;
    struct quantity cold_start_p99_s; /* exec to first token */

    struct metrics_items items;      /* this variant's; n 0 when not scored */
    struct metrics_items items_fp16; /* of the fp16 variant with the same everything else */
    struct metrics_items items_api;  /* of the model that stands for the API */

    struct metrics_spread spread;
    uint64_t seed; /* of everything that is drawn */

    struct quantity econ[ECON_FIELDS]; /* what the economics are made of */
    const struct costing *costing;     /* where they are from; NULL: nothing is known of costs */

    struct quantity ttft_mean_s;
    struct quantity ttft_p50_s;
    struct quantity ttft_p95_s;
    struct quantity tpot_mean_s;
    struct quantity itl_mean_s;
    struct quantity e2e_mean_s;
    struct quantity e2e_p50_s;
    struct quantity e2e_p95_s;

    /* What edge-eval fidelity told of this model file against the fp16 one; not of fp16 itself. */
    struct quantity kl_to_fp16, same_top_token, perplexity_ratio;

    struct quantity file_bytes;
    struct quantity weights_bytes;
    struct quantity kv_bytes;
    struct quantity idle_unloaded_w; /* of the machine without the model, as measured */
    struct quantity used_kv_bytes;   /* of it, the most that held tokens at once */
    struct quantity compute_bytes;
    struct quantity memory_peak_bytes;
};

struct metric {
    const char *id; /* as in metrics.csv */
    const char *name;
    const char *unit;
    const char *profile;    /* paper, full, or measured: no definition to choose */
    const char *definition; /* one line */
    const char *formula;    /* in the symbols of docs/metrics.md; NULL for a measured figure */
};

struct metric_row {
    const struct metric *metric;
    double value; /* NAN when refused, INFINITY for "never" */
    double low;   /* NAN without an interval */
    double high;
    size_t n;           /* observations behind value; 0 when that means nothing */
    unsigned flags;     /* enum quantity_flag of all inputs */
    const char *label;  /* the same in words; NULL when there is nothing to say */
    const char *reason; /* why it was refused, or why never; else NULL */
};

size_t metrics_count(void);
/* The i-th metric of the registry. */
const struct metric *metrics_at(size_t i);
/* NULL when there is none of that id; of several profiles, the paper's. */
const struct metric *metrics_find(const char *id);
/* NULL when there is none. */
const struct metric *metrics_find_in(const char *id, const char *profile);

/* Fills rows[metrics_count()] in the registry's order. Texts lie in the arena. */
int metrics_compute(const struct metrics_input *in, struct arena *a, struct metric_row *rows,
                    struct err *e) EE_MUST_CHECK;
bool metric_refused(const struct metric_row *row);

/* 1e9 for "1B", 135e6 for "135M"; NAN when the label says no size. */
double metrics_weights_of_label(const char *size);

#endif
