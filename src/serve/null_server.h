/*
 * A server that answers by script (null_script.h) and computes nothing: what the load client is
 * calibrated and tested against. OpenAI-compatible streaming chat and text completions, a model
 * list, /health and Prometheus /metrics, on 127.0.0.1 only.
 *
 * Threads share nothing but the counters: each has its own listener (SO_REUSEPORT), epoll instance
 * and timers. Each token event carries "stamps_ns": the CLOCK_MONOTONIC time just before its send, and
 * how long after its moment by the script that was. So a client on the same machine can tell
 * its own delay from the server's.
 */
#ifndef SERVE_NULL_SERVER_H
#define SERVE_NULL_SERVER_H

#include "serve/null_script.h"

struct null_server;

/* Starts the threads; requests are answered when it returns. opts->model stays borrowed. */
int null_server_start(struct null_server **out, const struct null_opts *opts,
                      struct err *e) EE_MUST_CHECK;
int null_server_port(const struct null_server *s);

struct null_stats {
    uint64_t connections, requests, events;
    int64_t worst_late_ns; /* of a scripted write after its moment */
};

void null_server_stats(const struct null_server *s, struct null_stats *out);
/* Closes all connections and frees s; NULL is allowed. */
void null_server_stop(struct null_server *s);

#endif
