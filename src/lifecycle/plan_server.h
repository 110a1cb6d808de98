/*
 * The engine.server: section of a plan: an OpenAI-compatible server that answers in place of the
 * engine in this process (docs/plan.md). It is started for each stage by an argument vector, or runs
 * already, wherever it is.
 */
#ifndef LIFECYCLE_PLAN_SERVER_H
#define LIFECYCLE_PLAN_SERVER_H

#include "base/arena.h"
#include "base/ydoc.h"
#include "serve/target.h"

#include <stdbool.h>

struct plan_server {
    bool is_used;
    const char *name;   /* of the engine, in results */
    const char *device; /* what it computes on, in results; "unknown" */
    /* NULL-terminated, with {model}, {port}, {concurrency}, {context} and {cells}; NULL: it runs */
    const char *const *command;
    const char *url;   /* NULL: a free port of 127.0.0.1 */
    const char *ready; /* path that answers 200 once it is ready */
    double ready_timeout_s;
    const char *model; /* its name in requests; NULL: as the model is served, or the first listed */
    enum api api;
    const char *auth_env; /* variable that holds the API key; NULL */
    const char *extra;    /* JSON object whose members go into every request; NULL */
    double stall_s, timeout_s;
};

/* Reads n, which may be absent: then no server is used. */
int plan_server_read(struct ynode n, struct arena *a, struct plan_server *out,
                     struct err *e) EE_MUST_CHECK;
/* Whether a word of the command has that placeholder, such as "{model}". */
bool plan_server_uses(const struct plan_server *s, const char *placeholder);

#endif
