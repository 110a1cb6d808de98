/*
 * What answers a variant's requests when the plan names a server: started for a stage and stopped
 * after it, with everything it started; or running already, wherever it is.
 *
 * The server is a child of this process and the client a part of it, so that the meter follows the
 * server's processes alone. All calls from the thread that runs the stages.
 */
#ifndef LIFECYCLE_SERVED_H
#define LIFECYCLE_SERVED_H

#include "lifecycle/run_internal.h"
#include "serve/bench.h"
#include "serve/server.h"

struct served {
    struct run *run;
    const struct variant *variant;
    struct arena arena; /* of one start */
    struct target target;
    struct server_spec spec;
    struct server server;
    char *auth;
    char *model; /* its name in requests */
    char *log_path;
    char version[80]; /* as the server tells it; "" where it does not */
    pid_t watched;    /* by the meter; 0: none. It outlives a server that ends by itself */
    uint64_t gpu_before_bytes;
    int64_t deadline_ns; /* of the stage */
    volatile sig_atomic_t stop;
    int64_t n_before, n_total; /* for progress: requests ended in earlier repeats, and in all */
};

/* Nothing is started yet. served_close frees, also after a failure. */
int served_open(struct served *s, struct run *r, const struct variant *v,
                struct err *e) EE_MUST_CHECK;
/* Starts it and waits until it is ready, or finds it; learns what the model is called there. */
int served_start(struct served *s, struct err *e) EE_MUST_CHECK;
/* Stops it if we started it. */
void served_stop(struct served *s);
void served_close(struct served *s);

/* How the variant's items are asked. */
struct served_load {
    size_t n_items; /* the first so many; 0: all */
    int max_tokens; /* of an answer */
    bool force_length;
    int64_t repeat;   /* sampled repeats are different draws */
    const char *mark; /* stands before each prompt, so that no cache has it; NULL */
    bool alone;       /* one after the other, whatever the plan's load is */
    int (*edge)(void *ctx, bool begins, struct err *e); /* as bench_opts.edge; or NULL */
    void *edge_ctx;
};

/*
 * Puts that load on it. Fails when the user stopped, when the stage's time is up, or when the server
 * ended; requests that fail are results. The caller releases b and w, also after a failure.
 */
int served_run(struct served *s, const struct served_load *load, struct bench *b,
               struct workload *w, struct err *e) EE_MUST_CHECK;

/* Why the meter cannot tell what this server's answers cost; NULL when it can. */
const char *served_energy_gap(const struct served *s);
/* Memory rows of the stage: what the system tells of a server, whose own parts it does not tell. */
int served_put_memory(const struct served *s, int64_t stage_id, struct err *e) EE_MUST_CHECK;
/* {"command", "url", "version", "port_open_s", "ready_s", ...} for a stage's result. */
json_t *served_json(const struct served *s);
/* "HTTP status 404: model not found": how that request failed. */
void served_failure(const struct record *record, const struct reply *reply, char *buf, size_t size);

/* One start of the server for the load stage. measured false: only to have the files read. */
struct served_start_row {
    struct store_cold_start times;
    double port_s;
    char version[80];
};
int load_by_server(struct run *r, const struct variant *v, int64_t stage_id, const char *cache,
                   int repeat, bool measured, struct served_start_row *out,
                   struct err *e) EE_MUST_CHECK;
/* The serve stage. */
int serve_by_server(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                    struct err *e) EE_MUST_CHECK;
/* The answers alone, with natural ends and unmetered, a row each as the serve job gives them. */
int answer_by_server(struct run *r, const struct variant *v, int64_t passes,
                     int (*on_row)(const json_t *row, void *ctx, struct err *e), void *ctx,
                     struct err *e) EE_MUST_CHECK;

#endif
