/*
 * The in-process engine on random prompts of one length and answers of one length, so that its
 * throughput can be compared with llama-batched-bench. One JSON line a setting on stdout:
 * output tokens over the whole time (prefill and decode), and the share that is not engine calls.
 *
 * usage: engine_throughput MODEL PROMPT_TOKENS OUTPUT_TOKENS THREADS BATCH SEQUENCES...
 * In the environment: DEVICE_SAMPLING=on or off overrides where tokens are picked; GPU_LAYERS=0
 * keeps the model off the accelerator.
 * bench/serving.py runs it against llama-batched-bench, in turn.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Any ids do: the work does not depend on them. Below every vocabulary's size, above controls. */
enum { FIRST_TOKEN = 1000, N_TOKENS = 20000 };

struct lengths {
    int prompt;
    int output;
};

static int64_t last_first_token_ns(const struct engine_result *results, size_t n) {
    int64_t last_ns = 0;
    for (size_t i = 0; i < n; i++) {
        last_ns = results[i].token_ns[0] > last_ns ? results[i].token_ns[0] : last_ns;
    }
    return last_ns;
}

static int measure(const struct engine_opts *opts, struct lengths len, struct err *e) {
    struct engine *g = NULL;
    struct engine_times times;
    int rc = engine_open(opts, &g, &times, e);
    if (rc) {
        return rc;
    }
    struct arena a = ARENA_INIT;
    struct rng rng;
    rng_init(&rng, 1);
    size_t n = (size_t)opts->n_seq_max;
    struct engine_request *requests = arena_array(&a, n, sizeof(*requests));
    struct engine_result *results = arena_array(&a, n, sizeof(*results));
    int32_t *tokens = arena_array(&a, n * (size_t)len.prompt, sizeof(*tokens));
    if (!requests || !results || !tokens) {
        rc = err_set(e, EE_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n * (size_t)len.prompt && !rc; i++) {
        tokens[i] = (int32_t)(FIRST_TOKEN + rng_below(&rng, N_TOKENS));
    }
    for (size_t i = 0; i < n && !rc; i++) {
        requests[i] = (struct engine_request){.prompt = tokens + i * (size_t)len.prompt,
                                              .n_prompt = (size_t)len.prompt,
                                              .max_tokens = len.output,
                                              .force_length = true};
    }
    const struct engine_workload warm = {.requests = requests, .n_requests = 1, .concurrency = 1};
    const struct engine_workload work = {
        .requests = requests, .n_requests = n, .concurrency = opts->n_seq_max};
    struct engine_run_stats stats;
    rc = rc ? rc : engine_run(g, &warm, &a, results, &stats, e);
    rc = rc ? rc : engine_run(g, &work, &a, results, &stats, e);
    if (!rc) {
        double seconds = clock_ns_to_s(stats.end_ns - stats.begin_ns);
        printf("{\"sequences\": %d, \"seconds\": %.6f, \"output_tokens_per_s\": %.3f, "
               "\"harness_fraction\": %.6f, \"steps\": %lld, \"prefill_s\": %.4f}\n",
               opts->n_seq_max, seconds, (double)(n * (size_t)len.output) / seconds,
               1 - clock_ns_to_s(stats.engine_ns) / seconds, (long long)stats.steps,
               clock_ns_to_s(last_first_token_ns(results, n) - stats.begin_ns));
        fflush(stdout);
    }
    arena_release(&a);
    engine_close(g);
    return rc;
}

static enum engine_switch device_sampling(void) {
    const char *wanted = getenv("DEVICE_SAMPLING");
    if (!wanted) {
        return ENGINE_AUTO;
    }
    return strcmp(wanted, "on") == 0 ? ENGINE_ON : ENGINE_OFF;
}

static int gpu_layers(void) {
    const char *wanted = getenv("GPU_LAYERS");
    return wanted && strcmp(wanted, "0") == 0 ? 0 : ENGINE_ALL_GPU_LAYERS;
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: engine_throughput MODEL PROMPT_TOKENS OUTPUT_TOKENS THREADS BATCH "
                        "SEQUENCES...\n");
        return 2;
    }
    struct lengths len = {atoi(argv[2]), atoi(argv[3])};
    for (int i = 6; i < argc; i++) {
        const struct engine_opts opts = {.model_path = argv[1],
                                         .n_threads = atoi(argv[4]),
                                         .n_gpu_layers = gpu_layers(),
                                         .n_batch = atoi(argv[5]),
                                         .n_seq_max = atoi(argv[i]),
                                         .device_sampling = device_sampling(),
                                         .n_ctx_seq = len.prompt + len.output};
        struct err e = ERR_INIT;
        if (measure(&opts, len, &e)) {
            fprintf(stderr, "engine_throughput: %s\n", e.msg);
            return 1;
        }
    }
    return 0;
}
