/*
 * What this client adds to what it measures. Before a benchmark it runs the same load, shortened,
 * against its own null server in a process beside it, whose events carry the time they were sent
 * at; and it watches its own lateness while it measures. Both make a verdict that travels with the
 * result.
 */
#ifndef SERVE_CALIBRATE_H
#define SERVE_CALIBRATE_H

#include "serve/load.h"
#include "serve/measure.h"

struct calibration {
    bool done;
    const char *reason; /* why not done; static */
    double seconds;
    size_t n;
    size_t n_failed;
    struct summary delivery; /* first token's time - the server's write of it, loopback included */
    double write_mean_s;     /* our own writes, which begin when a request counts as sent */
    struct summary send_lag; /* sent - scheduled; open loop only */
    double busy;             /* share of the loops' time that was CPU time */
    double request_rate;
    bool shared_cpu; /* client and null server had to share cores: floor and lag are too high */
};

enum { LAG_BUCKETS = 16 };

enum validity { VALID, VALID_UNKNOWN, INVALID };

struct verdict {
    enum validity validity;
    char reasons[500];
    double busy;             /* of the busiest loop, in the measured run */
    double lag_p99_s;        /* send lag, open loop; NAN else */
    size_t lag[LAG_BUCKETS]; /* send lags under 1 us, 2 us, 5 us, 10 us, ... and the rest */
    struct calibration calibration;
};

extern const double lag_limits_s[LAG_BUCKETS - 1];

/*
 * Thresholds: a loop that was busy for more than 85 % of the time; requests sent late by more than
 * max(1 ms, 5 % of the median TTFT) at p99 in an open loop; a floor of more than 10 % of the median
 * TTFT or, at p99, of it all.
 */
void verdict_make(const struct load_result *load, const struct measures *m, bool open_loop,
                  const struct calibration *c, struct verdict *out);

const char *validity_name(enum validity v);
/* What the client itself puts into a TTFT, at percentiles[i]: its write, and the answer's delivery. */
double calibration_floor_s(const struct calibration *c, int percentile);

/* The load to be calibrated for; only its shape matters, payloads are the null server's. */
struct calibrate_opts {
    bool open_loop;
    double rate;        /* a second, open loop */
    size_t concurrency; /* closed loop; of streams, in an open loop an estimate */
    int n_loops;
    const int *cpus;
    size_t n_cpus;
    double seconds;
    double ttft_ms, itl_ms;
    int tokens;
    uint64_t seed;
    bool read_times; /* as in transport_opts */
    const volatile sig_atomic_t *stop;
};

/*
 * Forks the null server, so call it before threads exist. A calibration that cannot be made is not
 * an error: out->done is false and says why.
 */
int calibrate(const struct calibrate_opts *opts, struct calibration *out,
              struct err *e) EE_MUST_CHECK;

#endif
