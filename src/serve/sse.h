/*
 * Server-sent events: where one ends and the next begins (hot path), and what one says (after the
 * run). Pure; bytes may be split anywhere, also inside a character. Lines end in LF or CR LF; a
 * bare CR, which the standard would allow as well and no known server sends, is text.
 */
#ifndef SERVE_SSE_H
#define SERVE_SSE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* An event longer than this is refused: the server is not sending events. */
enum { SSE_MAX_EVENT_BYTES = 4 << 20 };

struct sse {
    struct buf carry; /* an event that began in earlier bytes */
    bool given;       /* carry was handed out and is to be forgotten */
};

void sse_init(struct sse *s);
void sse_release(struct sse *s);
void sse_restart(struct sse *s);
/*
 * Takes bytes from *p, which it moves towards end. True: *event, *len are the lines of one event,
 * each with its line end, without the empty line; valid until the next call and until the bytes of
 * *p go. False: all was taken. Check s->carry.failed (too long) then.
 */
bool sse_next(struct sse *s, const char **p, const char *end, const char **event, size_t *len);
/* What came after the last whole event. */
void sse_rest(const struct sse *s, const char **text, size_t *len);

struct sse_message {
    bool has_data;
    bool is_error;   /* the event's name is "error" */
    struct buf data; /* the data lines, joined by LF */
};

/* Parses the lines of one event into m, whose data must have been initialised; it is cleared. */
void sse_parse(const char *event, size_t len, struct sse_message *m);

#endif
