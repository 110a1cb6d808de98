/*
 * The server that is measured: where it is, and which of its paths answers.
 */
#ifndef SERVE_TARGET_H
#define SERVE_TARGET_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

enum api { API_CHAT, API_TEXT };

struct target {
    char scheme[8]; /* "http" or "https" */
    char host[256]; /* without the brackets of an IPv6 address */
    char port[8];
    char path[512]; /* of the completions */
    char base[512]; /* what stands before "/chat/completions" or "/completions" */
    char root[512]; /* base without "/v1": where /health and /metrics are */
    enum api api;
    bool tls;
    bool is_loopback;
    struct sockaddr_storage addr; /* after target_resolve */
    socklen_t addr_len;
};

/*
 * Reads "http://host:port", with or without "/v1" or the whole path. A path that names an API
 * decides it; otherwise wanted does. User names and passwords in an address are refused.
 */
int target_parse(const char *url, enum api wanted, struct target *t, struct err *e) EE_MUST_CHECK;
/* Looks the host up, so that no request waits for that. */
int target_resolve(struct target *t, struct err *e) EE_MUST_CHECK;

#endif
