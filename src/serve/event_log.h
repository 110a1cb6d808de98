/*
 * All events of a response and when they came, without loss, in about a tenth of their bytes:
 * each event is stored as what differs from the one before, since a stream's chunks are alike but
 * for a word. Written in the hot path, read after the run.
 *
 * An entry: varint (ns since the entry before, or since the base) << 2 | rest << 1 | new_read,
 * varint prefix, varint suffix, varint length, so many bytes. The event is the first `prefix`
 * bytes of the previous one, the bytes, and the last `suffix` bytes of the previous one. new_read
 * is set on the first event of a read: events without it came together, so that their gap is not
 * known. rest marks bytes that are no whole event: what a stream ended in, or the body of a
 * response that is no stream.
 */
#ifndef SERVE_EVENT_LOG_H
#define SERVE_EVENT_LOG_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_writer {
    struct buf out;
    int64_t last_ns;
    const char *previous; /* in the caller's bytes, or in kept */
    size_t previous_len;
    struct buf kept;
    uint32_t n;
};

void event_writer_init(struct event_writer *w);
void event_writer_release(struct event_writer *w);
/* Begins a new log; out is empty then. */
void event_writer_begin(struct event_writer *w, int64_t base_ns);
/* event stays borrowed until the next event_writer_add or event_writer_keep. */
void event_writer_add(struct event_writer *w, int64_t now_ns, bool new_read, bool rest,
                      const char *event, size_t len);
/* Copies the last event, because the bytes it lies in are about to go. */
void event_writer_keep(struct event_writer *w);
/* Whether memory ran out; the log is then worthless. */
bool event_writer_failed(const struct event_writer *w);

struct event_reader {
    const unsigned char *at, *end;
    int64_t ns;
    struct buf event; /* the current event */
    bool new_read, rest;
    bool damaged; /* the log is not what a writer made */
};

void event_reader_init(struct event_reader *r);
void event_reader_release(struct event_reader *r);
/* log stays borrowed while it is read. */
void event_reader_begin(struct event_reader *r, const void *log, size_t len, int64_t base_ns);
/* False at the end, and for a damaged log. */
bool event_reader_next(struct event_reader *r);

#endif
