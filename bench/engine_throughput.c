/*
 * The in-process engine on random prompts and answers of one length, so that its throughput can be
 * compared with llama-batched-bench. One JSON line a setting on stdout: output tokens over the whole
 * time (prefill and decode), the share that is not engine calls, the calls of the engine and the
 * passes of the model; on an accelerator the bytes of its memory that the weights, the KV cache and all
 * together take.
 *
 * usage: engine_throughput MODEL PROMPT_TOKENS OUTPUT_TOKENS THREADS BATCH SEQUENCES...
 * Lengths are N, or LOW-HIGH to draw each request's from: answers then end one by one, as natural
 * ones do.
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

struct range {
    int low;
    int high;
};

struct lengths {
    struct range prompt;
    struct range output;
};

static struct range range_from(const char *text) {
    const char *dash = strchr(text, '-');
    return (struct range){atoi(text), atoi(dash ? dash + 1 : text)};
}

static int draw(const struct range *r, struct rng *rng) {
    return r->low + (int)rng_below(rng, (uint64_t)(r->high - r->low + 1));
}

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
    int32_t *tokens = arena_array(&a, n * (size_t)len.prompt.high, sizeof(*tokens));
    size_t n_output = 0;
    if (!requests || !results || !tokens) {
        rc = err_set(e, EE_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n * (size_t)len.prompt.high && !rc; i++) {
        tokens[i] = (int32_t)(FIRST_TOKEN + rng_below(&rng, N_TOKENS));
    }
    for (size_t i = 0; i < n && !rc; i++) {
        requests[i] = (struct engine_request){.prompt = tokens + i * (size_t)len.prompt.high,
                                              .n_prompt = (size_t)draw(&len.prompt, &rng),
                                              .max_tokens = draw(&len.output, &rng),
                                              .force_length = true};
        n_output += (size_t)requests[i].max_tokens;
    }
    const struct engine_workload warm = {.requests = requests, .n_requests = 1, .concurrency = 1};
    const struct engine_workload work = {
        .requests = requests, .n_requests = n, .concurrency = opts->n_seq_max};
    struct engine_run_stats stats;
    rc = rc ? rc : engine_run(g, &warm, &a, results, &stats, e);
    rc = rc ? rc : engine_run(g, &work, &a, results, &stats, e);
    if (!rc) {
        struct engine_info info;
        engine_get_info(g, &info);
        double seconds = clock_ns_to_s(stats.end_ns - stats.begin_ns);
        printf("{\"sequences\": %d, \"seconds\": %.6f, \"output_tokens_per_s\": %.3f, "
               "\"harness_fraction\": %.6f, \"steps\": %lld, \"passes\": %lld, "
               "\"prefill_s\": %.4f, \"weights_bytes\": %lld, \"kv_bytes\": %lld, "
               "\"device_bytes\": %lld}\n",
               opts->n_seq_max, seconds, (double)n_output / seconds,
               1 - clock_ns_to_s(stats.engine_ns) / seconds, (long long)stats.steps,
               (long long)stats.passes,
               clock_ns_to_s(last_first_token_ns(results, n) - stats.begin_ns),
               (long long)(info.weights_bytes - info.host_weights_bytes), (long long)info.kv_bytes,
               (long long)info.device_taken_bytes);
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
    struct lengths len = {range_from(argv[2]), range_from(argv[3])};
    for (int i = 6; i < argc; i++) {
        const struct engine_opts opts = {.model_path = argv[1],
                                         .n_threads = atoi(argv[4]),
                                         .n_gpu_layers = gpu_layers(),
                                         .n_batch = atoi(argv[5]),
                                         .n_seq_max = atoi(argv[i]),
                                         .device_sampling = device_sampling(),
                                         .n_ctx_seq = len.prompt.high + len.output.high};
        struct err e = ERR_INIT;
        if (measure(&opts, len, &e)) {
            fprintf(stderr, "engine_throughput: %s\n", e.msg);
            return 1;
        }
    }
    return 0;
}
