/*
 * Hand-made records: what a server said and when, in milliseconds from the start, so that figures can
 * be computed on paper.
 */
#ifndef TESTS_SUPPORT_RECORDS_H
#define TESTS_SUPPORT_RECORDS_H

#include "serve/load.h"

struct records {
    struct load_result load;
    struct log_store store;
};

/* One read of a response: all its events came together. */
struct said {
    double at_ms;
    const char *events[8]; /* each is the data of one event, or a whole line that begins with ':' */
};

/* The load starts at 1 s of the clock. */
void records_init(struct records *r, size_t n);
void records_release(struct records *r);
/* Record i: due, sent and ended then; its reads until one without events. */
void records_set(struct records *r, size_t i, double due_ms, double sent_ms, double end_ms,
                 const struct said *reads);
/* The same ending in that outcome and HTTP status. */
void records_fail(struct records *r, size_t i, double due_ms, enum outcome outcome, int status);

/* Data of chunks. */
#define CHUNK(text) "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}"
#define ROLE "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}"
#define THOUGHT(text) "{\"choices\":[{\"delta\":{\"reasoning_content\":\"" text "\"}}]}"
#define FINISH(why) "{\"choices\":[{\"delta\":{},\"finish_reason\":\"" why "\"}]}"
#define USAGE(in, out)                                                                             \
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":" in ",\"completion_tokens\":" out "}}"
#define DONE "[DONE]"

#endif
