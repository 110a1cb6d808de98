/*
 * HTTP/1.1 responses as a client reads them: head, then body by length, by chunks, or until the
 * connection closes. Incremental and pure: bytes may be split anywhere; nothing is copied but a
 * head that came in pieces.
 */
#ifndef SERVE_HTTP_RESPONSE_H
#define SERVE_HTTP_RESPONSE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_phase { HTTP_HEAD, HTTP_BODY, HTTP_DONE, HTTP_BROKEN };

struct http_response {
    enum http_phase phase;
    int status;
    bool chunked;
    bool keep_alive;   /* the connection may be used again */
    bool until_close;  /* the body ends with the connection */
    bool event_stream; /* content-type: text/event-stream */
    bool compressed;   /* content-encoding is something else than identity */
    int chunk_part;    /* what of the chunk framing comes next */
    int chunk_digits;
    uint64_t left;       /* of the content or of the chunk */
    const char *problem; /* with HTTP_BROKEN; static */
    struct buf head;     /* of a head in pieces */
};

void http_response_init(struct http_response *r);
void http_response_release(struct http_response *r);
/* Ready for the next response on the same connection. */
void http_response_restart(struct http_response *r);
/*
 * Takes bytes from *p, which it moves towards end. True: *body, *len is a piece of the body, and
 * there may be more. False: all was taken, or the response is done or broken.
 */
bool http_response_next(struct http_response *r, const char **p, const char *end, const char **body,
                        size_t *len);
/* The connection was closed: DONE where that ends the body, else BROKEN. */
void http_response_closed(struct http_response *r);

#endif
