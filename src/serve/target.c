#include "serve/target.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *s, const char *tail, size_t *at) {
    size_t n = strlen(s);
    size_t m = strlen(tail);
    *at = n >= m ? n - m : 0;
    return n >= m && strcmp(s + *at, tail) == 0;
}

static int bad_url(const char *url, const char *why, struct err *e) {
    return err_set(e, EE_USAGE,
                   "\"%.200s\" is no address of a server: %s; give one such as "
                   "http://127.0.0.1:8080/v1",
                   url, why);
}

static int take_authority(const char *url, const char *at, size_t len, struct target *t,
                          struct err *e) {
    if (memchr(at, '@', len)) {
        return bad_url("(hidden)", "a user name or password in it would be stored", e);
    }
    const char *colon = memrchr(at, ':', len);
    const char *bracket = memrchr(at, ']', len);
    if (colon && bracket && colon < bracket) {
        colon = NULL;
    }
    size_t host_len = colon ? (size_t)(colon - at) : len;
    if (host_len > 2 && at[0] == '[' && at[host_len - 1] == ']') {
        snprintf(t->host, sizeof(t->host), "%.*s", (int)host_len - 2, at + 1);
    } else {
        snprintf(t->host, sizeof(t->host), "%.*s", (int)host_len, at);
    }
    snprintf(t->port, sizeof(t->port), "%s", t->tls ? "443" : "80");
    if (colon) {
        size_t n = len - host_len - 1;
        char *end = NULL;
        snprintf(t->port, sizeof(t->port), "%.*s", (int)n, colon + 1);
        long port = strtol(t->port, &end, 10);
        if (n == 0 || n > 5 || *end || port < 1 || port > 65535) {
            return bad_url(url, "the port must be 1 to 65535", e);
        }
    }
    return host_len == 0 || host_len >= sizeof(t->host) ? bad_url(url, "it has no host", e) : 0;
}

static void take_path(const char *given, enum api wanted, struct target *t) {
    char path[400];
    size_t at;
    snprintf(path, sizeof(path), "%s", given);
    for (size_t n = strlen(path); n > 0 && path[n - 1] == '/'; n--) {
        path[n - 1] = '\0';
    }
    t->api = wanted;
    if (ends_with(path, "/chat/completions", &at)) {
        t->api = API_CHAT;
        path[at] = '\0';
    } else if (ends_with(path, "/completions", &at)) {
        t->api = API_TEXT;
        path[at] = '\0';
    } else if (path[0] == '\0') {
        snprintf(path, sizeof(path), "/v1");
    }
    snprintf(t->base, sizeof(t->base), "%s", path);
    snprintf(t->path, sizeof(t->path), "%s%s", path,
             t->api == API_CHAT ? "/chat/completions" : "/completions");
    if (ends_with(path, "/v1", &at)) {
        path[at] = '\0';
    }
    snprintf(t->root, sizeof(t->root), "%s", path);
}

int target_parse(const char *url, enum api wanted, struct target *t, struct err *e) {
    *t = (struct target){0};
    const char *colon = strstr(url, "://");
    size_t n = colon ? (size_t)(colon - url) : 0;
    if (n == 4 && memcmp(url, "http", 4) == 0) {
        snprintf(t->scheme, sizeof(t->scheme), "http");
    } else if (n == 5 && memcmp(url, "https", 5) == 0) {
        snprintf(t->scheme, sizeof(t->scheme), "https");
        t->tls = true;
    } else {
        return bad_url(url, "it must begin with http:// or https://", e);
    }
    const char *authority = colon + 3;
    size_t len = strcspn(authority, "/?#");
    const char *path = authority + len;
    for (const char *c = path; *c; c++) {
        if (*c <= ' ' || *c == '?' || *c == '#' || *c == 0x7f) {
            return bad_url(url, "its path must be plain", e);
        }
    }
    if (strlen(path) > 350) {
        return bad_url(url, "its path is too long", e);
    }
    int rc = take_authority(url, authority, len, t, e);
    if (!rc) {
        take_path(path, wanted, t);
    }
    return rc;
}

static bool is_loopback(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET) {
        return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

int target_resolve(struct target *t, struct err *e) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(t->host, t->port, &hints, &list);
    if (rc != 0 || !list) {
        return err_set(e, EE_IO, "the host name \"%.100s\" cannot be resolved: %s", t->host,
                       rc ? gai_strerror(rc) : "no address");
    }
    /* IPv4 first where there is both: local servers mostly listen on 127.0.0.1 alone. */
    const struct addrinfo *best = list;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            best = a;
            break;
        }
    }
    memcpy(&t->addr, best->ai_addr, best->ai_addrlen);
    t->addr_len = best->ai_addrlen;
    t->is_loopback = is_loopback(&t->addr);
    freeaddrinfo(list);
    return 0;
}
