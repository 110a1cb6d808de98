/*
 * What the null server says: scripted answers in the shape of OpenAI's streaming API, and every
 * way in which servers are known to get it wrong. Pure: this renders bytes, null_server.c sends
 * them.
 */
#ifndef SERVE_NULL_SCRIPT_H
#define SERVE_NULL_SCRIPT_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum null_fault {
    NULL_FAULT_NONE,
    NULL_FAULT_REFUSE,       /* the port is taken and nothing listens: connections are refused */
    NULL_FAULT_RESET,        /* the connection is reset instead of an answer */
    NULL_FAULT_HANG,         /* the request is read and never answered */
    NULL_FAULT_401,          /* unauthorized */
    NULL_FAULT_429,          /* too many requests */
    NULL_FAULT_500,          /* internal error */
    NULL_FAULT_503,          /* overloaded */
    NULL_FAULT_REDIRECT,     /* 307 to another path */
    NULL_FAULT_GZIP,         /* a compressed body that nobody asked for */
    NULL_FAULT_HTML,         /* status 200 and a page for people */
    NULL_FAULT_SLOW_HEADERS, /* the head comes a byte at a time; then all is well */
    NULL_FAULT_DIE,          /* closes in the middle of the answer */
    NULL_FAULT_STALL,        /* stops in the middle of the answer and keeps the connection */
    NULL_FAULT_BAD_CHUNK,    /* a chunk length that is no number */
    NULL_FAULT_BAD_UTF8,     /* a content delta with a broken character */
    NULL_FAULT_BAD_JSON,     /* an event whose data is no JSON */
    NULL_FAULT_ERROR_EVENT,  /* an error object inside a stream with status 200 */
    NULL_FAULT_NO_DONE,      /* the answer ends well, but without data: [DONE] */
    NULL_FAULT_TRUNCATED,    /* ends without finish_reason and without [DONE] */
    NULL_FAULT_ENDLESS,      /* never ends, whatever max_tokens says */
    NULL_FAULTS
};

/* "die" and the like; NULL past the end. */
const char *null_fault_name(enum null_fault f);
int null_fault_from_name(const char *name, size_t len, enum null_fault *out,
                         struct err *e) EE_MUST_CHECK;

/* Shapes of a good answer that clients must bear. Flags. */
enum null_shape {
    NULL_SHAPE_ROLE = 1 << 0,       /* a first chunk with a role and empty content */
    NULL_SHAPE_USAGE = 1 << 1,      /* a usage chunk although nobody asked for one */
    NULL_SHAPE_NO_USAGE = 1 << 2,   /* none although asked for */
    NULL_SHAPE_PING = 1 << 3,       /* a comment line before every event */
    NULL_SHAPE_CRLF = 1 << 4,       /* lines end in CR LF */
    NULL_SHAPE_EARLY_HEAD = 1 << 5, /* headers at once, not with the first event */
    NULL_SHAPE_SPLIT = 1 << 6,      /* each write in two halves, cut inside a character */
    NULL_SHAPE_CLOSE = 1 << 7,      /* no chunks: the body ends with the connection */
    NULL_SHAPE_TOOL = 1 << 8,       /* tokens are arguments of a tool call */
};

/* Parses names separated by commas into flags. */
int null_shapes_from_names(const char *names, unsigned *flags, struct err *e) EE_MUST_CHECK;

enum { NULL_MAX_SIZES = 16, NULL_MAX_FAULTS = 32 };

/* Zeroed fields take the default in brackets. */
struct null_opts {
    int port;             /* 0: any that is free */
    int n_threads;        /* [1] */
    double ttft_ms;       /* from the arrival of the request's last byte to the first token */
    double itl_ms;        /* between writes; 0: as fast as the client reads */
    int tokens;           /* of an answer; a smaller max_tokens of the request holds [16] */
    int reasoning_tokens; /* so many of them first, as reasoning */
    int tokens_per_event; /* [1] */
    int events_per_write; /* [1] */
    int event_bytes[NULL_MAX_SIZES]; /* sizes that events take in turn, at least what they need */
    int n_sizes;                     /* 0: as long as needed */
    unsigned shape;
    enum null_fault faults[NULL_MAX_FAULTS]; /* taken in turn */
    int n_faults;
    int fault_every;   /* every n-th request has a fault [1] */
    const char *model; /* requests for another one get 404; NULL: any. Borrowed. */
    const char *pem;   /* file of a certificate and its key: TLS; NULL: none */
    bool awake;        /* threads never sleep, so that nothing is written late: a core each */
};

/* Bytes to send. At stamps_at, if not 0, there is room for null_stamp. */
struct null_piece {
    const char *bytes;
    size_t len;
    size_t stamps_at;
};

enum { NULL_STAMPS_CHARS = 30 };
/*
 * Writes "sent,late" at the end of so many places, after blanks, which JSON allows: when, by
 * CLOCK_MONOTONIC, and how long after the moment of the script, both in ns and not negative. Side by side,
 * so that what is stored of an event, which is where it differs from the last, stays short.
 */
void null_stamp(char *at, int64_t sent_ns, int64_t late_ns);

/* All pieces of answers of one API: chat or text completions. */
struct null_pieces {
    struct null_piece head;
    struct null_piece role;
    struct null_piece token[NULL_MAX_SIZES];
    struct null_piece reasoning[NULL_MAX_SIZES];
    struct null_piece finish_stop;
    struct null_piece finish_length;
    struct null_piece done;
    struct null_piece end; /* of the body */
    struct null_piece error_event;
    struct null_piece bad_utf8;
    struct null_piece bad_json;
    struct null_piece bad_chunk;
};

struct null_script {
    struct null_opts opts;
    struct null_pieces chat;
    struct null_pieces text;
    struct arena arena;
};

/* Fills defaults, checks, and renders. null_script_release frees. */
int null_script_init(struct null_script *s, const struct null_opts *opts,
                     struct err *e) EE_MUST_CHECK;
void null_script_release(struct null_script *s);

/* What a request asked for. */
struct null_ask {
    bool chat;
    bool stream;
    bool wants_usage;
    bool model_known;
    int max_tokens; /* 0: not said */
};

/*
 * Looks for the few keys that matter, without parsing the whole: a key is taken where its quotes
 * are not escaped, so text of prompts cannot be mistaken for one.
 */
void null_script_read(const struct null_script *s, const char *path, size_t path_len,
                      const char *body, size_t body_len, struct null_ask *out);

struct buf;
/* Appends the usage event of an answer. */
void null_script_usage(const struct null_script *s, bool chat, int n_tokens, struct buf *out);
/* Appends a whole answer that is not streamed. */
void null_script_answer(const struct null_script *s, bool chat, int n_tokens, struct buf *out);
/* Appends a whole answer without a stream: an error of that status, a redirect, a page. */
void null_script_refusal(enum null_fault f, struct buf *out);
/* Appends 200 with a body of that type. */
void null_script_page(const char *type, const char *body, struct buf *out);
void null_script_not_found(const char *message, struct buf *out);

#endif
