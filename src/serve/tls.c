#include "serve/tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

struct tls {
    SSL_CTX *ctx;
    const struct target *target; /* NULL: a server */
    bool insecure;
};

struct tls_link {
    SSL *ssl;
    BIO *in;  /* owned by ssl: what came */
    BIO *out; /* owned by ssl: what is to be sent */
};

/* As the length before each name asks for it. */
static const unsigned char alpn[] = "\x08http/1.1";

static int openssl_failed(struct err *e, const char *what) {
    char text[160] = "";
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return err_set(e, EE_FAIL, "TLS: %s: %s", what, text);
}

int tls_open(struct tls **out, const struct target *target, const char *ca_file, bool insecure,
             struct err *e) {
    struct tls *t = calloc(1, sizeof(*t));
    *out = t;
    if (!t) {
        return err_set(e, EE_NOMEM, "TLS: out of memory");
    }
    t->target = target;
    t->insecure = insecure;
    t->ctx = SSL_CTX_new(TLS_client_method());
    int rc = t->ctx ? 0 : openssl_failed(e, "cannot be set up");
    if (!rc) {
        SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
        SSL_CTX_set_mode(t->ctx,
                         SSL_MODE_RELEASE_BUFFERS); /* many connections wait most of the time */
        SSL_CTX_set_verify(t->ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_alpn_protos(t->ctx, alpn, sizeof(alpn) - 1);
        int ok = insecure  ? 1
                 : ca_file ? SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL)
                           : SSL_CTX_set_default_verify_paths(t->ctx);
        rc = ok == 1 ? 0 : openssl_failed(e, ca_file ? ca_file : "the system's certificates");
    }
    if (rc) {
        tls_close(t);
        *out = NULL;
    }
    return rc;
}

int tls_open_server(struct tls **out, const char *pem_file, struct err *e) {
    struct tls *t = calloc(1, sizeof(*t));
    *out = t;
    if (!t) {
        return err_set(e, EE_NOMEM, "TLS: out of memory");
    }
    t->ctx = SSL_CTX_new(TLS_server_method());
    bool ok = t->ctx && SSL_CTX_use_certificate_chain_file(t->ctx, pem_file) == 1 &&
              SSL_CTX_use_PrivateKey_file(t->ctx, pem_file, SSL_FILETYPE_PEM) == 1;
    if (!ok) {
        int rc = openssl_failed(e, pem_file);
        tls_close(t);
        *out = NULL;
        return rc;
    }
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS);
    return 0;
}

void tls_close(struct tls *t) {
    if (t) {
        SSL_CTX_free(t->ctx);
        free(t);
    }
}

/* Whose certificate it must be: a name's, which the server is told, or an address's. */
static bool set_peer(SSL *ssl, const struct tls *t) {
    unsigned char address[sizeof(struct in6_addr)];
    const char *host = t->target->host;
    bool is_address = inet_pton(AF_INET, host, address) == 1 ||
                      inet_pton(AF_INET6, host, address) == 1;
    if (is_address) {
        return t->insecure || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    return SSL_set_tlsext_host_name(ssl, host) == 1 &&
           (t->insecure || SSL_set1_host(ssl, host) == 1);
}

struct tls_link *tls_link_new(struct tls *t) {
    struct tls_link *l = calloc(1, sizeof(*l));
    if (!l) {
        return NULL;
    }
    l->ssl = SSL_new(t->ctx);
    l->in = BIO_new(BIO_s_mem());
    l->out = BIO_new(BIO_s_mem());
    if (!l->ssl || !l->in || !l->out || (t->target && !set_peer(l->ssl, t))) {
        BIO_free(l->in);
        BIO_free(l->out);
        SSL_free(l->ssl);
        free(l);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(l->ssl, l->in, l->out);
    if (t->target) {
        SSL_set_connect_state(l->ssl);
    } else {
        SSL_set_accept_state(l->ssl);
    }
    return l;
}

void tls_link_free(struct tls_link *l) {
    if (l) {
        SSL_free(l->ssl); /* and its BIOs */
        free(l);
    }
}

bool tls_link_feed(struct tls_link *l, const void *bytes, size_t len) {
    return len <= INT_MAX && BIO_write(l->in, bytes, (int)len) == (int)len;
}

/* Of a call that returned n <= 0: whether it only wants more bytes. */
static bool wants_more(struct tls_link *l, int n) {
    int why = SSL_get_error(l->ssl, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

enum tls_step tls_link_handshake(struct tls_link *l) {
    ERR_clear_error();
    int n = SSL_do_handshake(l->ssl);
    return n == 1 ? TLS_DONE : wants_more(l, n) ? TLS_MORE : TLS_FAILED;
}

ssize_t tls_link_read(struct tls_link *l, char *buf, size_t size) {
    ERR_clear_error();
    int n = SSL_read(l->ssl, buf, size < INT_MAX ? (int)size : INT_MAX);
    return n > 0 ? n : wants_more(l, n) ? 0 : -1;
}

bool tls_link_write(struct tls_link *l, const void *bytes, size_t len) {
    size_t written = 0;
    ERR_clear_error();
    bool ok = SSL_write_ex(l->ssl, bytes, len, &written) == 1 && written == len;
    ERR_clear_error();
    return ok;
}

size_t tls_link_pending(struct tls_link *l, const char **bytes) {
    char *at = NULL;
    long len = BIO_get_mem_data(l->out, &at);
    *bytes = at;
    return len > 0 ? (size_t)len : 0;
}

void tls_link_sent(struct tls_link *l, size_t len) {
    char dropped[4096];
    while (len > 0) {
        int n = BIO_read(l->out, dropped, len < sizeof(dropped) ? (int)len : (int)sizeof(dropped));
        if (n <= 0) {
            return;
        }
        len -= (size_t)n;
    }
}
