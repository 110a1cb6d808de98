#include "serve/ask.h"

#include "base/buf.h"
#include "base/clock.h"
#include "serve/curl_lib.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE_NS (500 * NS_PER_MS)
#define LONGEST_PAUSE_NS (20 * NS_PER_S)
#define LONGEST_POLL_MS 1000

enum { MAX_REPLY_BYTES = 4 << 20, HTTP_TIMEOUT = 408, HTTP_TOO_MANY = 429, HTTP_ERRORS = 500 };

/* One question under way. */
struct slot {
    CURL *easy;
    struct buf sent;
    struct buf body;
    bool busy;      /* has a question */
    bool in_flight; /* and it is with the server; else it waits until at_ns */
    size_t question;
    int n_tries;
    int64_t deadline_ns;
    int64_t at_ns;
};

struct asking {
    const struct ask_opts *o;
    size_t n;
    size_t next;
    bool is_over; /* nothing more is to be asked */
    CURLM *multi;
    struct curl_slist *headers;
    struct buf url;
    struct slot *slots;
};

static size_t on_bytes(char *bytes, size_t size, size_t n, void *ctx) {
    struct slot *s = ctx;
    buf_add(&s->body, bytes, size * n);
    return s->body.failed ? 0 : size * n;
}

static bool open_slot(struct asking *a, struct slot *s) {
    buf_init(&s->sent);
    buf_init_max(&s->body, MAX_REPLY_BYTES);
    s->easy = libcurl()->easy_init();
    if (!s->easy) {
        return false;
    }
    CURL *c = s->easy;
    libcurl()->easy_setopt(c, CURLOPT_URL, a->url.data);
    libcurl()->easy_setopt(c, CURLOPT_PRIVATE, s);
    libcurl()->easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    libcurl()->easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    libcurl()->easy_setopt(c, CURLOPT_HTTPHEADER, a->headers);
    libcurl()->easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
    libcurl()->easy_setopt(c, CURLOPT_WRITEDATA, s);
    if (a->o->ca_file) {
        libcurl()->easy_setopt(c, CURLOPT_CAINFO, a->o->ca_file);
    }
    return true;
}

static int send_try(struct asking *a, struct slot *s, int64_t now_ns, struct err *e) {
    int64_t left_ms = (s->deadline_ns - now_ns) / NS_PER_MS;
    buf_clear(&s->body);
    libcurl()->easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->sent.data);
    libcurl()->easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)(left_ms > 1 ? left_ms : 1));
    s->n_tries++;
    s->in_flight = true;
    return libcurl()->multi_add_handle(a->multi, s->easy) == CURLM_OK
               ? 0
               : err_set(e, EE_NOMEM, "asking a server: out of memory");
}

static int take_question(struct asking *a, struct slot *s, int64_t now_ns, struct err *e) {
    s->busy = true;
    s->question = a->next++;
    s->n_tries = 0;
    s->at_ns = now_ns;
    s->deadline_ns = now_ns + a->o->timeout_ns;
    buf_clear(&s->sent);
    int rc = a->o->body(a->o->ctx, s->question, &s->sent, e);
    return rc ? rc : buf_check(&s->sent, "a question", e);
}

/* Fills free slots and sends what has waited long enough; *due_ns is when the next one has. */
static int send_due(struct asking *a, int64_t *due_ns, bool *any, struct err *e) {
    int rc = 0;
    int64_t now_ns = clock_mono_ns();
    *any = false;
    *due_ns = INT64_MAX;
    for (size_t i = 0; i < a->o->n_parallel && !rc; i++) {
        struct slot *s = &a->slots[i];
        if (!s->busy && a->next < a->n && !a->is_over) {
            rc = take_question(a, s, now_ns, e);
        }
        if (!rc && s->busy && !s->in_flight && s->at_ns <= now_ns) {
            rc = send_try(a, s, now_ns, e);
        }
        *any |= s->busy;
        if (s->busy && !s->in_flight && s->at_ns < *due_ns) {
            *due_ns = s->at_ns;
        }
    }
    return rc;
}

static bool is_passing(CURLcode code, long status) {
    switch (code) {
    case CURLE_OK:
        return status == HTTP_TIMEOUT || status == HTTP_TOO_MANY || status >= HTTP_ERRORS;
    case CURLE_OPERATION_TIMEDOUT: /* the question's time is over */
    case CURLE_WRITE_ERROR:        /* a reply beyond all measure */
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return false;
    default:
        return true;
    }
}

static int64_t pause_ns(const struct slot *s) {
    curl_off_t wanted_s = 0;
    libcurl()->easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &wanted_s);
    if (wanted_s > 0 && wanted_s < INT32_MAX) {
        return wanted_s * NS_PER_S;
    }
    int64_t ns = FIRST_PAUSE_NS;
    for (int i = 1; i < s->n_tries && ns < LONGEST_PAUSE_NS; i++) {
        ns *= 2;
    }
    return ns < LONGEST_PAUSE_NS ? ns : LONGEST_PAUSE_NS;
}

static void end_try(struct asking *a, struct slot *s, CURLcode code) {
    long status = 0;
    int64_t now_ns = clock_mono_ns();
    libcurl()->easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    libcurl()->multi_remove_handle(a->multi, s->easy);
    s->in_flight = false;
    s->at_ns = now_ns + pause_ns(s);
    if (is_passing(code, status) && s->at_ns < s->deadline_ns && !a->is_over) {
        return;
    }
    const struct ask_reply r = {
        .status = code == CURLE_OK ? (int)status : 0,
        .cause = code == CURLE_OK ? NULL : libcurl()->easy_strerror(code),
        .timed_out = code == CURLE_OPERATION_TIMEDOUT,
        .body = s->body.data,
        .len = s->body.len,
        .n_tries = s->n_tries,
    };
    s->busy = false;
    a->is_over |= !a->o->done(a->o->ctx, s->question, &r);
}

static void collect(struct asking *a) {
    CURLMsg *m;
    int left;
    while ((m = libcurl()->multi_info_read(a->multi, &left))) {
        if (m->msg == CURLMSG_DONE) {
            struct slot *s = NULL;
            CURLcode code = m->data.result;
            libcurl()->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
            end_try(a, s, code);
        }
    }
}

static int run(struct asking *a, struct err *e) {
    for (;;) {
        int64_t due_ns;
        bool any;
        int running;
        int rc = send_due(a, &due_ns, &any, e);
        if (rc || !any || a->is_over) {
            return rc;
        }
        libcurl()->multi_perform(a->multi, &running);
        collect(a);
        int64_t wait_ms = due_ns == INT64_MAX ? LONGEST_POLL_MS
                                              : (due_ns - clock_mono_ns()) / NS_PER_MS + 1;
        wait_ms = wait_ms < 0 ? 0 : wait_ms;
        libcurl()->multi_poll(a->multi, NULL, 0,
                              running == 0 && due_ns == INT64_MAX
                                  ? 0
                                  : (int)(wait_ms < LONGEST_POLL_MS ? wait_ms : LONGEST_POLL_MS),
                              NULL);
    }
}

static int set_up(struct asking *a, struct err *e) {
    const struct target *t = a->o->target;
    bool v6 = strchr(t->host, ':') != NULL;
    buf_addf(&a->url, "%s://%s%s%s:%s%s", t->scheme, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port,
             t->path);
    int rc = buf_check(&a->url, "address", e);
    a->headers = libcurl()->slist_append(NULL, "Content-Type: application/json");
    a->headers = libcurl()->slist_append(a->headers,
                                         "Expect:"); /* libcurl would wait a second for it */
    if (a->o->auth) {
        a->headers = libcurl()->slist_append(a->headers, a->o->auth);
    }
    a->multi = libcurl()->multi_init();
    a->slots = calloc(a->o->n_parallel, sizeof(*a->slots));
    bool good = a->headers && a->multi && a->slots;
    for (size_t i = 0; good && i < a->o->n_parallel; i++) {
        good = open_slot(a, &a->slots[i]);
    }
    return rc || good ? rc : err_set(e, EE_NOMEM, "asking a server: out of memory");
}

int ask_all(const struct ask_opts *o, size_t n, struct err *e) {
    struct asking a = {.o = o, .n = n};
    buf_init(&a.url);
    int rc = set_up(&a, e);
    rc = rc ? rc : run(&a, e);
    for (size_t i = 0; a.slots && i < o->n_parallel; i++) {
        struct slot *s = &a.slots[i];
        if (s->in_flight) {
            libcurl()->multi_remove_handle(a.multi, s->easy);
        }
        if (s->easy) {
            libcurl()->easy_cleanup(s->easy);
            buf_release(&s->sent);
            buf_release(&s->body);
        }
    }
    free(a.slots);
    libcurl()->multi_cleanup(a.multi);
    libcurl()->slist_free_all(a.headers);
    buf_release(&a.url);
    return rc;
}
