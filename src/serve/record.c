#include "serve/record.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    const char *meaning;
} outcomes[OUTCOMES] = {
    [OUTCOME_OK] = {"ok", "answered"},
    [OUTCOME_PENDING] = {"pending", "not over"},
    [OUTCOME_REFUSED] = {"refused", "connection refused: is the server running, on this port?"},
    [OUTCOME_UNREACHABLE] = {"unreachable", "the network or host cannot be reached"},
    [OUTCOME_CONNECT_TIMEOUT] = {"connect_timeout", "no connection within --connect-timeout"},
    [OUTCOME_NO_PORTS] = {"no_ports",
                          "all ports of the source address are in use: give more with --source"},
    [OUTCOME_NO_FILES] = {"no_files", "too many open files: raise ulimit -n"},
    [OUTCOME_TLS] = {"tls", "TLS handshake or certificate failed"},
    [OUTCOME_NO_CONNECTION] = {"no_connection",
                               "no connection became free: raise --max-connections"},
    [OUTCOME_RESET] = {"reset", "connection reset before any answer"},
    [OUTCOME_CLOSED] = {"closed", "connection closed before any answer"},
    [OUTCOME_DIED] = {"died", "connection lost in the middle of the answer"},
    [OUTCOME_STATUS] = {"status", "HTTP status that says error"},
    [OUTCOME_REDIRECT] = {"redirect", "redirects are not followed: give the final address"},
    [OUTCOME_NOT_EVENTS] = {"not_events", "status 200, but no event stream"},
    [OUTCOME_COMPRESSED] = {"compressed", "compressed although not asked for"},
    [OUTCOME_BAD_HTTP] = {"bad_http", "broken response head or chunks"},
    [OUTCOME_STALLED] = {"stalled", "no byte for longer than --stall"},
    [OUTCOME_TIMEOUT] = {"timeout", "not over within --timeout"},
    [OUTCOME_ENDLESS] = {"endless", "far more events than tokens were asked for"},
    [OUTCOME_TOO_LONG] = {"too_long", "an event or body beyond all measure"},
    [OUTCOME_NO_MEMORY] = {"no_memory", "this program ran out of memory"},
    [OUTCOME_CUT] = {"cut", "still going when the run ended"},
    [OUTCOME_ERROR_EVENT] = {"error_event", "an error inside a stream with status 200"},
    [OUTCOME_BAD_UTF8] = {"bad_utf8", "text that is not UTF-8"},
    [OUTCOME_BAD_JSON] = {"bad_json", "an event that is not the JSON of a completion"},
    [OUTCOME_TRUNCATED] = {"truncated", "the stream ended without finish_reason and [DONE]"},
    [OUTCOME_EMPTY] = {"empty", "a whole stream without a single token"},
    [OUTCOME_ENGINE] = {"engine", "refused by the engine"},
};

const char *outcome_name(enum outcome o) {
    return o < OUTCOMES ? outcomes[o].name : "?";
}

const char *outcome_meaning(enum outcome o) {
    return o < OUTCOMES ? outcomes[o].meaning : "?";
}

enum outcome outcome_from_name(const char *name) {
    int o = 0;
    while (o < OUTCOMES && strcmp(outcomes[o].name, name) != 0) {
        o++;
    }
    return (enum outcome)o;
}

bool outcome_is_failure(enum outcome o) {
    return o != OUTCOME_OK && o != OUTCOME_CUT;
}

enum outcome outcome_of_errno(int errnum) {
    switch (errnum) {
    case ECONNREFUSED:
        return OUTCOME_REFUSED;
    case ETIMEDOUT:
        return OUTCOME_CONNECT_TIMEOUT;
    case EADDRNOTAVAIL:
    case EADDRINUSE:
        return OUTCOME_NO_PORTS;
    case EMFILE:
    case ENFILE:
        return OUTCOME_NO_FILES;
    case ENOMEM:
    case ENOBUFS:
        return OUTCOME_NO_MEMORY;
    case ECONNRESET:
    case EPIPE:
        return OUTCOME_RESET;
    default:
        return OUTCOME_UNREACHABLE;
    }
}
