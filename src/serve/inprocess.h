/*
 * The same load on libllama in this process, with the same records, so that what HTTP and a server
 * add is a measured difference. Engines may crash: call this in a process of its own.
 */
#ifndef SERVE_INPROCESS_H
#define SERVE_INPROCESS_H

#include "serve/bench.h"

struct inprocess_opts {
    struct engine_opts engine; /* n_seq_max and n_ctx_seq 0: what the load needs */
    int n_parallel;            /* requests the engine works on at once; 0: the concurrency, or 8 */
};

/*
 * Opens the model, makes the prompts with its vocabulary, and runs opts' load: b then holds what
 * bench_run would leave. A request counts as sent when it was due. Steps, ramps and conversations
 * are refused. w is filled and is the caller's to release, after b.
 */
int inprocess_bench(struct bench *b, const struct bench_opts *opts, const struct inprocess_opts *in,
                    struct workload *w, struct err *e) EE_MUST_CHECK;

#endif
