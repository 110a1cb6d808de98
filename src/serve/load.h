/*
 * Applies a load to a server: event loops, one a thread, that share nothing while they run. The
 * schedule and the requests' bytes are ready before; what comes back is one record a request.
 */
#ifndef SERVE_LOAD_H
#define SERVE_LOAD_H

#include "serve/arrival.h"
#include "serve/transport.h"

/* The next turn of a conversation, made from the answer to the last one. */
struct follow_up {
    struct payload payload;
    int64_t think_ns; /* from the end of the answer until it is sent */
};

struct load {
    const struct transport_ops *ops;
    struct transport_opts transport; /* what load.c fills itself may be left empty: store .. ctx */
    const struct payload *payloads;
    size_t n_payloads;
    /* Open loop: when to send, ns from the start, ascending. NULL: closed loop. */
    const int64_t *arrivals;
    const uint32_t *prompt_of; /* payload of each arrival; NULL: in turn */
    size_t n_arrivals;
    /* Closed loop: so many in flight; a request that ends is followed by the next. */
    struct levels concurrency;
    size_t count;        /* requests in all; 0: until duration_ns */
    int64_t duration_ns; /* no request is begun later; 0: until count, or the last arrival */
    int64_t
        drain_ns; /* with a duration: what is in flight then may take so long; the rest is cut */
    /*
     * Conversations: after a request ended well, asks for the next turn. False: there is none.
     * Called in a thread beside the loop's (composer.h). NULL: single requests.
     */
    bool (*follow_up)(void *ctx, const struct record *r, struct follow_up *out);
    /* Whether a request that ends well may be followed by another, told in no time in the loop's thread;
     * NULL: each may. */
    bool (*has_turn)(void *ctx, const struct record *r);
    void *follow_up_ctx;
    size_t preconnect; /* connections opened before the first request, over all loops */
    int n_loops;
    const int *cpus; /* loop i is bound to cpus[i % n_cpus]; n_cpus 0: not bound */
    size_t n_cpus;
    const volatile sig_atomic_t *stop; /* cuts all short when it becomes non-zero */
    void (*progress)(void *ctx, double elapsed_s, uint64_t n_begun, uint64_t n_ended,
                     uint64_t n_failed); /* several times a second; or NULL */
    void *progress_ctx;
};

struct loop_result {
    struct transport_stats stats;
    int64_t cpu_ns;  /* of the thread, from the start to the end of the load */
    int64_t wall_ns; /* the same on the clock */
};

struct load_result {
    struct record **records; /* in order of scheduled_ns; the results own everything */
    size_t n;
    int64_t start_ns;
    int64_t last_begin_ns; /* no request was begun after it */
    int64_t end_ns;        /* everything had ended */
    struct loop_result *loops;
    size_t n_loops;
    double connect_s;        /* that opening `preconnect` connections took */
    uint64_t peak_rss_bytes; /* of this process until then, pages of files and libraries included */
    uint64_t anon_rss_bytes; /* then, without those */
    bool stopped;            /* by the user */
    struct load_memory *memory;
};

/* How long a write that ended a request took, on average; NAN where nobody looked. */
double load_write_mean_s(const struct load_result *r);

/*
 * Fails when the server cannot be reached at all, or memory is out; requests that fail are
 * results. Blocks until all has ended. Descriptor limits are the caller's business.
 */
int load_run(const struct load *load, struct load_result *out, struct err *e) EE_MUST_CHECK;
void load_result_release(struct load_result *r);
/* For results from elsewhere: n zeroed records, in one array that records[0] begins. */
int load_result_reserve(struct load_result *r, size_t n, struct err *e) EE_MUST_CHECK;
/* Hands over malloc'ed bytes that logs lie in. */
void load_result_keep_bytes(struct load_result *r, void *bytes);
/* Takes over a store that logs lie in, and empties it. */
void load_result_keep_logs(struct load_result *r, struct log_store *store);

#endif
