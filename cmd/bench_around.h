/*
 * What can be put around a benchmark: a server of its own, the energy meter, the server's metrics.
 * begin, then bench_run with around_edge, then around_add for the result, then end.
 */
#ifndef CMD_BENCH_AROUND_H
#define CMD_BENCH_AROUND_H

#include "bench_cmd.h"

#include "energy/meter.h"
#include "serve/prometheus.h"
#include "serve/server.h"

struct around {
    const struct bench_args *args;
    const struct target *target;
    const char *auth;
    struct arena arena;
    struct server_spec spec;
    struct server server;
    char *log_path;
    struct meter *meter;
    struct meter_idle idle;
    bool has_idle;
    int window; /* of the load */
    struct meter_reading cold_start, load;
    bool has_cold_start, has_load;
    double first_token_s; /* of the first request after the start */
    bool scrapes;
    struct prometheus metrics;
    int64_t next_scrape_ns;
    char scrape_error[200];
};

/* Whether the arguments ask for any of it. */
bool around_is_wanted(const struct bench_args *a);
/* The meter, and the server until it is ready. dir is for the server's log; it may be NULL. */
int around_begin(struct around *r, const struct bench_args *a, const struct target *t,
                 const char *auth, const char *dir, struct err *e) EE_MUST_CHECK;
/* A started server's first request: ends the cold start. model is its name in requests. */
int around_first_token(struct around *r, const char *model, struct err *e) EE_MUST_CHECK;
/* bench_opts.edge, with the around as context. */
int around_edge(void *around, bool begins, struct err *e);
/* Scrapes once a second; to be called often. */
void around_tick(struct around *r);
/* Adds "server", "energy" and "server_metrics" to the result; m are the load's. */
void around_add(const struct around *r, const struct measures *m, json_t *result);
void around_end(struct around *r);

#endif
