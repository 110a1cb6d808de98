/*
 * What is known about one request after it ended: every timestamp, how it ended, and the log of
 * its events (event_log.h). All times are CLOCK_MONOTONIC nanoseconds; 0 means that it never came
 * to that.
 */
#ifndef SERVE_RECORD_H
#define SERVE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a request ended. The transport sets those up to OUTCOME_CUT; reply.c those behind. */
enum outcome {
    OUTCOME_OK,
    OUTCOME_PENDING,         /* not over yet; never in results */
    OUTCOME_REFUSED,         /* connection refused */
    OUTCOME_UNREACHABLE,     /* no route, host or network down */
    OUTCOME_CONNECT_TIMEOUT, /* no connection within the time allowed */
    OUTCOME_NO_PORTS,        /* all ports of the source address are in use */
    OUTCOME_NO_FILES,        /* this process may open no more descriptors */
    OUTCOME_TLS,             /* handshake or certificate */
    OUTCOME_NO_CONNECTION,   /* none became free before the run was over */
    OUTCOME_RESET,           /* connection reset before any answer */
    OUTCOME_CLOSED,          /* connection closed before any answer */
    OUTCOME_DIED,            /* connection lost in the middle of an answer */
    OUTCOME_STATUS,          /* HTTP status that is neither 200 nor a redirect */
    OUTCOME_REDIRECT,        /* 3xx: not followed, it would be measured with */
    OUTCOME_NOT_EVENTS,      /* 200, but no event stream */
    OUTCOME_COMPRESSED,      /* compressed although not asked for */
    OUTCOME_BAD_HTTP,        /* broken head or chunks */
    OUTCOME_STALLED,         /* no byte for longer than allowed */
    OUTCOME_TIMEOUT,         /* not over within the time allowed for a request */
    OUTCOME_ENDLESS,         /* far more events than tokens were asked for */
    OUTCOME_TOO_LONG,        /* an event beyond all measure */
    OUTCOME_NO_MEMORY,
    OUTCOME_CUT,         /* by us: the run's end or the user; neither success nor failure */
    OUTCOME_ERROR_EVENT, /* an error inside a stream with status 200 */
    OUTCOME_BAD_UTF8,
    OUTCOME_BAD_JSON,
    OUTCOME_TRUNCATED, /* neither finish_reason nor [DONE] */
    OUTCOME_EMPTY,     /* a whole stream without one token */
    OUTCOME_ENGINE,    /* in process: the engine refused the request */
    OUTCOMES
};

/* "refused", and what it means to a user. */
const char *outcome_name(enum outcome o);
const char *outcome_meaning(enum outcome o);
/* OUTCOMES when there is none of that name. */
enum outcome outcome_from_name(const char *name);
/* What an error of a socket means to a request that had no answer yet. */
enum outcome outcome_of_errno(int errnum);
/* Neither good nor cut. */
bool outcome_is_failure(enum outcome o);

enum {
    RECORD_FRESH_CONNECTION = 1 << 0, /* opened for this request, not before */
    RECORD_SENT_AGAIN = 1 << 1, /* a used connection was closed under it; sent on a fresh one */
};

struct payload;

struct record {
    int64_t scheduled_ns;  /* when it should have been sent */
    int64_t begun_ns;      /* when a connection began to deal with it */
    int64_t connected_ns;  /* with RECORD_FRESH_CONNECTION: connected, TLS included */
    int64_t sent_ns;       /* the last write of the request began */
    int64_t first_byte_ns; /* of the response */
    int64_t ended_ns;
    const struct payload *payload; /* what was sent, while the load runs; not stored */
    const unsigned char *log;      /* its events; times in it count from sent_ns */
    uint64_t bytes_in;             /* as received, head and framing included */
    uint32_t log_len;
    uint32_t n_events;
    uint32_t prompt;     /* index of what was sent */
    uint32_t connection; /* number of the connection within its loop */
    uint32_t session;    /* conversation, counted from 1; 0: none */
    uint16_t turn;       /* within it, from 0 */
    uint16_t status;     /* HTTP; 0 without a response */
    uint8_t outcome;     /* enum outcome */
    uint8_t flags;
    uint16_t loop; /* thread */
};

#endif
