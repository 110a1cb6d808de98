/* The head of an HTTP/1.1 request, as a server reads it. Pure. */
#ifndef SERVE_HTTP_REQUEST_H
#define SERVE_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_REQUEST_MAX_BYTES = 64 << 20 };

/* Pointers into the text that was parsed. */
struct http_request {
    const char *method;
    size_t method_len;
    const char *path;
    size_t path_len;
    const char *body;
    size_t body_len;
    bool keep_alive;
    bool expects_continue; /* the client waits for "100 Continue" before it sends the body */
};

enum http_request_state { HTTP_REQUEST_PARTIAL, HTTP_REQUEST_WHOLE, HTTP_REQUEST_BAD };

/*
 * Parses the request that text begins with. WHOLE: *used bytes belong to it. PARTIAL: more has to
 * come; expects_continue is set once the head is there. BAD: not HTTP/1, chunked, or too large.
 */
enum http_request_state http_request_parse(const char *text, size_t len, struct http_request *out,
                                           size_t *used);

#endif
