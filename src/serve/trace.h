/*
 * Recorded request streams: when requests came and how long they were.
 *   Mooncake (JSONL): {"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [...]};
 *     each hash id stands for 512 tokens of the prompt, equal ids for equal tokens.
 *   Azure LLM inference (CSV): TIMESTAMP,ContextTokens,GeneratedTokens.
 */
#ifndef SERVE_TRACE_H
#define SERVE_TRACE_H

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { TRACE_BLOCK_TOKENS = 512 };

struct trace_row {
    int64_t at_ns; /* from the first row */
    int input_tokens;
    int output_tokens;
    const int64_t *hash_ids;
    size_t n_hash_ids;
};

/*
 * Reads the first limit rows (0: all) in order of time. speed 2 plays twice as fast. Rows without
 * input or output are kept out and counted in *n_skipped. Everything lives in the arena.
 */
int trace_load(const char *path, size_t limit, double speed, struct arena *a,
               struct trace_row **rows, size_t *n, size_t *n_skipped, struct err *e) EE_MUST_CHECK;

#endif
