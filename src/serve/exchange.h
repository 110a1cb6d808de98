/*
 * One request in flight, whatever carries it: takes the body of the response, splits it into
 * events, and logs them with the time of the read they came in. Nothing here waits or parses JSON.
 */
#ifndef SERVE_EXCHANGE_H
#define SERVE_EXCHANGE_H

#include "serve/event_log.h"
#include "serve/record.h"
#include "serve/sse.h"

enum { EXCHANGE_MAX_PLAIN_BYTES = 64 << 10 }; /* kept of a body that is no event stream */

struct log_store;

struct exchange {
    struct record *record; /* NULL while idle */
    struct sse sse;
    struct event_writer log;
    uint32_t max_events; /* past it the answer counts as endless */
    bool is_stream;      /* the body is events */
    bool fresh_read;     /* the next event is the first of its read */
};

void exchange_init(struct exchange *x);
void exchange_release(struct exchange *x);
/* Begins; record->sent_ns is the base of the log and may be set until the first body byte. */
void exchange_begin(struct exchange *x, struct record *record, uint32_t max_events);
/* The head of the response is there. Says what to expect, or why it is over already. */
enum outcome exchange_head(struct exchange *x, int status, bool event_stream, bool compressed);
/* Bytes of the body, read at now_ns. OUTCOME_PENDING: go on. */
enum outcome exchange_body(struct exchange *x, const char *bytes, size_t len, int64_t now_ns);
/* All bytes of a read were given: they are about to go. */
void exchange_read_over(struct exchange *x);
/*
 * The response is whole (outcome PENDING) or failed with outcome: moves the log to the store and
 * fills the record. Afterwards x is idle.
 */
void exchange_end(struct exchange *x, enum outcome outcome, int64_t now_ns,
                  struct log_store *store);

/* Where logs of ended requests lie until they are read: memory in large blocks. One a thread. */
struct log_block;
struct log_store {
    struct log_block *head;
    uint64_t bytes;
};

/* A copy that lives as long as the store; NULL when memory is out. */
const unsigned char *log_store_add(struct log_store *s, const void *bytes, size_t len);
void log_store_release(struct log_store *s);

#endif
