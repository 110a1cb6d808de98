/*
 * TLS between bytes and bytes, without a socket: what came is fed, what is to be sent is taken. So an
 * event loop keeps its own reads and their times, and several records of one read are one read.
 * A struct tls and its links belong to one thread.
 */
#ifndef SERVE_TLS_H
#define SERVE_TLS_H

#include "base/err.h"
#include "serve/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;      /* settings of all connections to a target, or of a server */
struct tls_link; /* one connection */

/*
 * ca_file: certificates to trust instead of the system's; NULL. insecure: any certificate will do. The
 * target is borrowed until tls_close, which comes after all links are freed.
 */
int tls_open(struct tls **out, const struct target *target, const char *ca_file, bool insecure,
             struct err *e) EE_MUST_CHECK;
/* The server's side: pem_file has its certificate and key. Links may be made from any thread. */
int tls_open_server(struct tls **out, const char *pem_file, struct err *e) EE_MUST_CHECK;
void tls_close(struct tls *t);

/* NULL when memory is out. */
struct tls_link *tls_link_new(struct tls *t);
void tls_link_free(struct tls_link *l);
/* Encrypted bytes that came. False: memory is out. */
bool tls_link_feed(struct tls_link *l, const void *bytes, size_t len);

enum tls_step { TLS_MORE, TLS_DONE, TLS_FAILED };
/* Goes on with the handshake: with what was fed, towards what is to be sent. */
enum tls_step tls_link_handshake(struct tls_link *l);

/* After the handshake: what the peer said, 0 while there is no more, negative once it closed or broke
 * the rules. */
ssize_t tls_link_read(struct tls_link *l, char *buf, size_t size);
/* Encrypts all of it. False: it cannot be sent. */
bool tls_link_write(struct tls_link *l, const void *bytes, size_t len);

/* Encrypted bytes to be sent, valid until the next call; 0: none. */
size_t tls_link_pending(struct tls_link *l, const char **bytes);
/* So many of them were sent. */
void tls_link_sent(struct tls_link *l, size_t len);

#endif
