#include "serve/sources.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

enum {
    LOOPBACK_SHARE = 3000, /* connections of one loop from one address of this machine */
    MAX_LOOPBACK = 200,
};

/*
 * An address has 28,000 ports by default, and once half of them are taken the kernel searches for each
 * further one: 16,000 connections from one address take half a minute, 20,000 from several a second.
 */
static void spread_over_loopback(struct sources *s, const struct transport_opts *o) {
    const struct sockaddr_in *to = (const struct sockaddr_in *)&o->target->addr;
    size_t n = o->max_connections / LOOPBACK_SHARE;
    if (to->sin_family != AF_INET || to->sin_addr.s_addr != htonl(INADDR_LOOPBACK) || n < 2) {
        return;
    }
    s->n = n < MAX_LOOPBACK ? n : MAX_LOOPBACK;
    for (size_t i = 0; i < s->n; i++) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&s->at[i];
        *v4 = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_addr = {htonl(INADDR_LOOPBACK + (uint32_t)i)}};
    }
}

static int parse(const char *text, const struct target *target, struct sockaddr_storage *out,
                 struct err *e) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
    } else {
        return err_set(e, EE_USAGE, "source \"%.60s\" is no IP address", text);
    }
    return out->ss_family == target->addr.ss_family
               ? 0
               : err_set(e, EE_USAGE, "source %s and the server's address are of two IP versions",
                         text);
}

int sources_open(struct sources *s, const struct transport_opts *opts, struct err *e) {
    *s = (struct sources){
        .at = calloc(opts->n_sources ? opts->n_sources : MAX_LOOPBACK, sizeof(*s->at))};
    int rc = s->at ? 0 : err_set(e, EE_NOMEM, "connections: out of memory");
    for (size_t i = 0; i < opts->n_sources && !rc; i++) {
        rc = parse(opts->sources[i], opts->target, &s->at[i], e);
    }
    s->n = opts->n_sources;
    if (!rc && s->n == 0) {
        spread_over_loopback(s, opts);
    }
    return rc;
}

void sources_close(struct sources *s) {
    free(s->at);
    *s = (struct sources){0};
}

int sources_bind(struct sources *s, int fd) {
    if (s->n == 0) {
        return 0;
    }
    const struct sockaddr_storage *a = &s->at[s->next++ % s->n];
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    socklen_t len = a->ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                            : sizeof(struct sockaddr_in6);
    return bind(fd, (const struct sockaddr *)a, len) == 0 ? 0 : errno;
}
