/* The addresses that a transport connects from, taken in turn. */
#ifndef SERVE_SOURCES_H
#define SERVE_SOURCES_H

#include "serve/transport.h"

#include <sys/socket.h>

struct sources {
    struct sockaddr_storage *at;
    size_t n; /* 0: what the system chooses */
    size_t next;
};

/* Those of opts; else, to this machine and for many connections, several of 127.0.0.0/8. */
int sources_open(struct sources *s, const struct transport_opts *opts, struct err *e) EE_MUST_CHECK;
void sources_close(struct sources *s);
/* Binds a socket that is about to connect: 0, or an errno. */
int sources_bind(struct sources *s, int fd);

#endif
