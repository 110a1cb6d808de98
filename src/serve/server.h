/*
 * A server that is started for the benchmark, so that its cold start is measured and its energy is
 * its own. Started as an argument vector, never through a shell; stopped with everything it started.
 * The thread that starts it must outlive it (process.h).
 */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "base/arena.h"
#include "base/process.h"
#include "serve/target.h"

#include <signal.h>

struct server_spec {
    const char *const *argv; /* NULL-terminated */
    const char *ready_path;  /* answers 200 once the server is ready: "/health" */
    double ready_timeout_s;
    const char *timeout_key; /* what the user raises to give it longer: "--ready-timeout" */
    const char *log_path;    /* gets what it prints; NULL: nobody does */
};

struct server {
    struct process process;
    bool running;
    int64_t exec_ns;  /* CLOCK_MONOTONIC, of the start */
    int64_t port_ns;  /* its port took a connection */
    int64_t ready_ns; /* ready_path answered 200 */
};

/*
 * Splits a command as a shell would into words, with '...', "..." and \ as quotes, and nothing else
 * of a shell: no variables, no patterns, no redirection.
 */
int server_split(const char *command, struct arena *a, const char *const **argv,
                 struct err *e) EE_MUST_CHECK;

/*
 * Starts it. A port that somebody listens on already is refused: the wrong server would be measured.
 */
int server_spawn(struct server *s, const struct server_spec *spec, const struct target *t,
                 struct err *e) EE_MUST_CHECK;
/*
 * Waits until it is ready. What ends before that, or does not become ready in time, is an error that
 * shows the last lines it printed. *stop ends the wait.
 */
int server_wait_ready(struct server *s, const struct server_spec *spec, const struct target *t,
                      const volatile sig_atomic_t *stop, struct err *e) EE_MUST_CHECK;
/*
 * Fails when it has ended by itself, and says how and what it printed last. during: "while it served".
 */
int server_check(struct server *s, const struct server_spec *spec, const char *during,
                 struct err *e) EE_MUST_CHECK;
/* Ends it and what it started. Nothing happens when it does not run. */
void server_stop(struct server *s);

#endif
