/*
 * The figures of a load, by the definitions of docs/serving.md: one pass over the records. Pure but
 * for memory; the records are not changed.
 *
 * Populations: latencies are those of requests that were answered (outcome ok) and scheduled in the
 * measured part, after the warm-up. Throughput counts tokens in the steady window (window.h).
 */
#ifndef SERVE_MEASURE_H
#define SERVE_MEASURE_H

#include "engine/engine.h"
#include "serve/load.h"
#include "serve/reply.h"
#include "serve/window.h"
#include "serve/workload.h"

enum figure {
    FIG_TTFT,          /* first token - sent */
    FIG_TTFO,          /* first token that is not reasoning - sent */
    FIG_ITL_EVENT,     /* gap between reads with tokens */
    FIG_ITL_TOKEN,     /* the gap over its tokens, once for each */
    FIG_TPOT,          /* (last token - first token) / (tokens that came - 1) */
    FIG_E2E,           /* last token - sent */
    FIG_NTPOT,         /* that over output tokens */
    FIG_TTFT_SCHEDULE, /* the same from the moment the schedule said */
    FIG_TTFO_SCHEDULE,
    FIG_E2E_SCHEDULE,
    FIG_SEND_LAG, /* sent - scheduled: waiting for a connection, and this program's own lateness */
    FIG_CONNECT,  /* opening a connection, where a request had to */
    FIG_DELIVERY, /* against the null server: first token's time - its write */
    FIG_EVENT_DELIVERY, /* the same of every read's last event */
    FIG_SERVER_LATE,    /* their writes - the moments of the script */
    FIGURES
};

struct figure_info {
    const char *id;      /* "ttft" */
    const char *title;   /* "TTFT" */
    bool is_per_request; /* one value a request, so that an SLO may be set on it */
    bool is_rare;        /* not shown where there is no value */
};

extern const struct figure_info figure_infos[FIGURES];

enum { PERCENTILES = 5 };
extern const double percentiles[PERCENTILES]; /* 0.5, 0.9, 0.95, 0.99, 0.999 */

/* Seconds, throughout. NAN where there is no figure. */
struct summary {
    size_t n;
    double mean, mean_low, mean_high;
    double sd, min, max;
    double p[PERCENTILES], low[PERCENTILES], high[PERCENTILES];
};

enum { MAX_SLOS = 8 };

/* What a good request meets: figure at most limit. */
struct slo {
    enum figure figure;
    double limit_s;
};

struct slo_set {
    struct slo at[MAX_SLOS];
    size_t n;
};

/* Reads "ttft=200ms,tpot=25ms,e2e=5s". */
int slo_parse(const char *text, struct slo_set *out, struct err *e) EE_MUST_CHECK;

/* One request, figures in seconds, NAN where it has none. */
struct request_row {
    const struct record *record;
    enum outcome outcome;
    bool measured; /* scheduled in the measured part */
    bool met_slo;
    double value[FIGURES]; /* per-request figures only */
    int64_t first_event_ns, first_token_ns, first_output_ns, last_token_ns, done_ns;
    int64_t prompt_tokens, output_tokens; /* by usage; -1: not said */
    int64_t reasoning_tokens, cached_tokens;
    int64_t text_tokens; /* of the answer's text by the vocabulary; -1: not counted */
    uint32_t n_events;   /* with tokens */
    uint32_t n_coalesced;
    bool has_done;
    char finish[24];
};

/* How the server's token counts compare with the vocabulary's. */
struct token_check {
    size_t n_prompts, n_prompts_equal;
    size_t n_answers, n_answers_equal; /* an end token without text may make one */
    int64_t prompt_difference;         /* server's - ours, summed */
    int64_t answer_difference;
};

struct measure_opts {
    int64_t measured_from_ns; /* warm-up before */
    struct slo_set slos;
    const struct workload *workload; /* for prompt token counts; or NULL */
    struct engine *vocabulary;       /* or NULL */
};

struct measures {
    struct request_row *rows; /* all requests, in order of schedule */
    size_t n;
    size_t n_warmup;
    size_t n_measured;            /* the rest */
    size_t outcomes[OUTCOMES];    /* of the measured */
    char messages[OUTCOMES][200]; /* the first one of each kind */
    struct status_count {
        int status;
        size_t n;
    } statuses[16]; /* of failed measured requests; n 0 ends */
    size_t n_failed;
    struct summary figures[FIGURES];
    double *pools[FIGURES]; /* the values, in order of time; owned */
    size_t pool_n[FIGURES];
    size_t n_events, n_coalesced; /* of answered measured requests */
    size_t n_no_usage;            /* answered without a token count */
    size_t n_no_event_tokens;     /* answered, tokens per event not known */
    size_t n_no_done;             /* answered well without [DONE] */
    size_t n_fresh;               /* opened a connection of their own */
    size_t n_sent_again;          /* because a used connection was closed under them */
    int64_t prompt_tokens, output_tokens, cached_tokens; /* of answered ones with usage */
    struct token_check check;
    size_t n_met;    /* answered and met every SLO */
    double goodput;  /* of them a second; NAN without SLOs */
    double attained; /* share of answered and failed requests that met every SLO */
    struct window window;
    double whole_s;      /* first schedule to last end of the measured part */
    double request_rate; /* answered a second, over whole_s; likewise: */
    double output_rate, input_rate;
    struct slo_set slos;
};

int measure(const struct load_result *load, const struct measure_opts *opts, struct measures *m,
            struct err *e) EE_MUST_CHECK;
void measures_release(struct measures *m);

/* Mean, spread and percentiles of n values in order of time. */
int summarize(const double *x, size_t n, struct summary *out, struct err *e) EE_MUST_CHECK;

#endif
