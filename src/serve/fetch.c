#include "serve/fetch.h"

#include "base/clock.h"
#include "serve/curl_lib.h"
#include "serve/fetch_plain.h"

enum { MAX_BODY_BYTES = 64 << 20 };

int fetch_global_init(struct err *e) {
    return curl_lib_load(e);
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *ctx) {
    struct buf *out = ctx;
    buf_add(out, bytes, size * n);
    return out->failed || out->len > MAX_BODY_BYTES ? 0 : size * n;
}

static void set_options(CURL *c, const struct fetch_opts *o, const char *url, struct buf *out) {
    libcurl()->easy_setopt(c, CURLOPT_URL, url);
    libcurl()->easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    libcurl()->easy_setopt(c, CURLOPT_PROXY, "");
    libcurl()->easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    libcurl()->easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(o->timeout_ns / NS_PER_MS));
    libcurl()->easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
    libcurl()->easy_setopt(c, CURLOPT_WRITEDATA, out);
    libcurl()->easy_setopt(c, CURLOPT_SSL_VERIFYPEER, o->insecure ? 0L : 1L);
    libcurl()->easy_setopt(c, CURLOPT_SSL_VERIFYHOST, o->insecure ? 0L : 2L);
    if (o->ca_file) {
        libcurl()->easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
    }
    if (o->post) {
        libcurl()->easy_setopt(c, CURLOPT_POSTFIELDS, o->post);
    }
}

static int fetch_tls(const struct target *t, const char *path, const struct fetch_opts *opts,
                     struct buf *out, int *status, struct err *e) {
    struct buf url;
    buf_init(&url);
    bool v6 = t->addr.ss_family == AF_INET6;
    buf_addf(&url, "%s://%s%s%s:%s%s", t->scheme, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port,
             path);
    int rc = buf_check(&url, "address", e);
    CURL *c = rc ? NULL : libcurl()->easy_init();
    struct curl_slist *headers = NULL;
    if (!rc && !c) {
        rc = err_set(e, EE_NOMEM, "fetching %s: out of memory", path);
    }
    if (!rc) {
        set_options(c, opts, url.data, out);
        headers = libcurl()->slist_append(headers, "Expect:");
        if (opts->post) {
            headers = libcurl()->slist_append(headers, "Content-Type: application/json");
        }
        if (opts->auth) {
            headers = libcurl()->slist_append(headers, opts->auth);
        }
        libcurl()->easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        CURLcode code = libcurl()->easy_perform(c);
        long response = 0;
        libcurl()->easy_getinfo(c, CURLINFO_RESPONSE_CODE, &response);
        *status = (int)response;
        if (code != CURLE_OK) {
            rc = err_set(e, code == CURLE_OPERATION_TIMEDOUT ? EE_TIMEOUT : EE_IO, "%s: %s",
                         url.data, libcurl()->easy_strerror(code));
        }
    }
    libcurl()->slist_free_all(headers);
    libcurl()->easy_cleanup(c);
    buf_release(&url);
    return rc;
}

int fetch(const struct target *t, const char *path, const struct fetch_opts *opts, struct buf *out,
          int *status, struct err *e) {
    return t->tls ? fetch_tls(t, path, opts, out, status, e)
                  : fetch_plain(t, path, opts, MAX_BODY_BYTES, out, status, e);
}
