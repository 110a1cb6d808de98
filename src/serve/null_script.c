#include "serve/null_script.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than the ten digits that room is for is told as so much. */
#define LATEST_NS INT64_C(9999999999)

static const char *const fault_names[NULL_FAULTS + 1] = {
    "none",      "refuse",   "reset",    "hang",  "401",          "429",       "500",
    "503",       "redirect", "gzip",     "html",  "slow-headers", "die",       "stall",
    "bad-chunk", "bad-utf8", "bad-json", "error", "no-done",      "truncated", "endless"};

static const char *const shape_names[] = {"role",       "usage", "no-usage", "ping", "crlf",
                                          "early-head", "split", "close",    "tool"};
enum { N_SHAPES = sizeof(shape_names) / sizeof(shape_names[0]) };

const char *null_fault_name(enum null_fault f) {
    return f < NULL_FAULTS ? fault_names[f] : NULL;
}

/* The index of the name among n names; n when it is none, and e lists them. */
static size_t find_name(const char *name, size_t len, const char *const *names, size_t n,
                        const char *what, struct err *e) {
    struct buf known;
    buf_init(&known);
    size_t i = 0;
    for (; i < n; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) {
            break;
        }
        buf_addf(&known, "%s%s", i ? ", " : "", names[i]);
    }
    if (i == n) {
        err_set(e, EE_USAGE, "\"%.*s\" is no %s; known: %s", (int)(len < 40 ? len : 40), name, what,
                known.data);
    }
    buf_release(&known);
    return i;
}

int null_fault_from_name(const char *name, size_t len, enum null_fault *out, struct err *e) {
    size_t i = find_name(name, len, fault_names, NULL_FAULTS, "fault", e);
    *out = (enum null_fault)i;
    return i < NULL_FAULTS ? 0 : EE_USAGE;
}

int null_shapes_from_names(const char *names, unsigned *flags, struct err *e) {
    *flags = 0;
    while (*names) {
        size_t len = strcspn(names, ",");
        size_t i = find_name(names, len, shape_names, N_SHAPES, "shape", e);
        if (i == N_SHAPES) {
            return EE_USAGE;
        }
        *flags |= 1U << i;
        names += len + (names[len] == ',');
    }
    return 0;
}

/* ---- events ---- */

/* Writes v before end, and says where it begins. */
static char *put_digits(char *end, int64_t v) {
    do {
        *--end = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return end;
}

void null_stamp(char *at, int64_t sent_ns, int64_t late_ns) {
    char *p = put_digits(at + NULL_STAMPS_CHARS, late_ns < LATEST_NS ? late_ns : LATEST_NS);
    *--p = ',';
    p = put_digits(p, sent_ns);
    memset(at, ' ', (size_t)(p - at));
}

static const char stamps_key[] = "\"stamps_ns\":[";

/* One event whose data is what lies in data, as an HTTP chunk of its own. */
static void add_event(const struct null_opts *o, const char *data, struct buf *out) {
    const char *eol = o->shape & NULL_SHAPE_CRLF ? "\r\n" : "\n";
    struct buf event;
    buf_init(&event);
    if (o->shape & NULL_SHAPE_PING) {
        buf_addf(&event, ": ping%s%s", eol, eol);
    }
    buf_addf(&event, "data: %s%s%s", data, eol, eol);
    if (o->shape & NULL_SHAPE_CLOSE) {
        buf_add(out, event.data, event.len);
    } else {
        buf_addf(out, "%zx\r\n%s\r\n", event.len, event.data);
    }
    out->failed |= event.failed;
    buf_release(&event);
}

/* A chunk object around one choice. tail goes behind it: more members, or "". */
static void add_chunk_object(bool chat, const char *choice, const char *finish, const char *tail,
                             struct buf *out) {
    buf_addf(out,
             "{\"id\":\"%s-null\",\"object\":\"%s\",\"created\":0,\"model\":\"null\","
             "\"choices\":[{\"index\":0,%s,\"finish_reason\":%s}]%s}",
             chat ? "chatcmpl" : "cmpl", chat ? "chat.completion.chunk" : "text_completion", choice,
             finish, tail);
}

/* Renders an event into a piece; the time stamp's place is found in it. */
static int piece_of_event(struct null_script *s, const char *data, struct null_piece *out,
                          struct err *e) {
    struct buf b;
    buf_init(&b);
    add_event(&s->opts, data, &b);
    int rc = buf_check(&b, "script", e);
    *out = (struct null_piece){.bytes = arena_strndup(&s->arena, b.data, b.len), .len = b.len};
    const char *stamps = strstr(b.data, stamps_key);
    if (stamps) {
        out->stamps_at = (size_t)(stamps - b.data) + sizeof(stamps_key) - 1;
    }
    if (!rc && !out->bytes) {
        rc = err_set(e, EE_NOMEM, "script: out of memory");
    }
    buf_release(&b);
    return rc;
}

static int piece_of_text(struct null_script *s, const char *text, struct null_piece *out,
                         struct err *e) {
    *out = (struct null_piece){.bytes = arena_strdup(&s->arena, text), .len = strlen(text)};
    return out->bytes ? 0 : err_set(e, EE_NOMEM, "script: out of memory");
}

enum { DELTA_CONTENT, DELTA_REASONING, DELTA_TOOL };

/* "delta":{...} or "text":"..." for one event's tokens. */
static void add_choice(const struct null_opts *o, bool chat, int kind, struct buf *out) {
    static const char *const before[] = {
        "\"delta\":{\"content\":\"", "\"delta\":{\"reasoning_content\":\"",
        "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call-0\",\"type\":\"function\","
        "\"function\":{\"name\":\"null\",\"arguments\":\""};
    static const char *const after[] = {"\"}", "\"}", "\"}}]}"};
    const char *word = o->shape & NULL_SHAPE_SPLIT ? " t\xc3\xb6k" : " tok";
    buf_addstr(out, chat ? before[kind] : "\"text\":\"");
    for (int i = 0; i < o->tokens_per_event; i++) {
        buf_addstr(out, word);
    }
    buf_addstr(out, chat ? after[kind] : "\"");
}

/* A token event of at least so many bytes, chunk framing included. */
static int render_token(struct null_script *s, bool chat, int kind, int bytes,
                        struct null_piece *out, struct err *e) {
    struct buf choice;
    struct buf tail;
    struct buf data;
    buf_init(&choice);
    buf_init(&tail);
    buf_init(&data);
    add_choice(&s->opts, chat, kind, &choice);
    buf_addf(&tail, ",%s%*s]", stamps_key, NULL_STAMPS_CHARS, "0,0");
    add_chunk_object(chat, choice.data, "null", tail.data, &data);
    int rc = piece_of_event(s, data.data, out, e);
    static const char pad_key[] = ",\"pad\":\"\"";
    int missing = bytes - (int)(rc ? 0 : out->len) - (int)sizeof(pad_key) + 1;
    if (!rc && missing > 0) {
        buf_addstr(&tail, ",\"pad\":\"");
        buf_addn(&tail, 'x', (size_t)missing);
        buf_addch(&tail, '"');
        buf_clear(&data);
        add_chunk_object(chat, choice.data, "null", tail.data, &data);
        rc = piece_of_event(s, data.data, out, e);
    }
    rc = rc ? rc : buf_check(&data, "script", e);
    buf_release(&choice);
    buf_release(&tail);
    buf_release(&data);
    return rc;
}

static int render_plain(struct null_script *s, bool chat, const char *choice, const char *finish,
                        struct null_piece *out, struct err *e) {
    struct buf data;
    buf_init(&data);
    add_chunk_object(chat, choice, finish, "", &data);
    int rc = piece_of_event(s, data.data, out, e);
    buf_release(&data);
    return rc;
}

static int render_head(struct null_script *s, struct null_piece *out, struct err *e) {
    char text[256];
    bool close = s->opts.shape & NULL_SHAPE_CLOSE;
    snprintf(text, sizeof(text),
             "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
             "cache-control: no-cache\r\n%s\r\n\r\n",
             close ? "connection: close" : "transfer-encoding: chunked");
    return piece_of_text(s, text, out, e);
}

static int render_pieces(struct null_script *s, bool chat, struct null_pieces *p, struct err *e) {
    const struct null_opts *o = &s->opts;
    const char *nothing = chat ? "\"delta\":{}" : "\"text\":\"\"";
    const char *bad = chat ? "\"delta\":{\"content\":\"\xff\xc3\"}" : "\"text\":\"\xff\xc3\"";
    int rc = render_head(s, &p->head, e);
    for (int i = 0; i < o->n_sizes && !rc; i++) {
        int kind = o->shape & NULL_SHAPE_TOOL ? DELTA_TOOL : DELTA_CONTENT;
        rc = render_token(s, chat, kind, o->event_bytes[i], &p->token[i], e);
        rc = rc ? rc
                : render_token(s, chat, DELTA_REASONING, o->event_bytes[i], &p->reasoning[i], e);
    }
    rc = rc ? rc
            : render_plain(s, chat,
                           chat ? "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}" : nothing,
                           "null", &p->role, e);
    rc = rc ? rc : render_plain(s, chat, nothing, "\"stop\"", &p->finish_stop, e);
    rc = rc ? rc : render_plain(s, chat, nothing, "\"length\"", &p->finish_length, e);
    rc = rc ? rc : render_plain(s, chat, bad, "null", &p->bad_utf8, e);
    rc = rc ? rc : piece_of_event(s, "[DONE]", &p->done, e);
    rc = rc ? rc : piece_of_event(s, "{\"choices\":[{", &p->bad_json, e);
    rc = rc ? rc
            : piece_of_event(s,
                             "{\"error\":{\"message\":\"scripted error\",\"type\":\"server_error\","
                             "\"code\":500}}",
                             &p->error_event, e);
    rc = rc ? rc : piece_of_text(s, o->shape & NULL_SHAPE_CLOSE ? "" : "0\r\n\r\n", &p->end, e);
    return rc ? rc : piece_of_text(s, "zz\r\ndata: {}\r\n", &p->bad_chunk, e);
}

static int check_opts(struct null_opts *o, struct err *e) {
    o->n_threads = o->n_threads ? o->n_threads : 1;
    o->tokens = o->tokens ? o->tokens : 16;
    o->tokens_per_event = o->tokens_per_event ? o->tokens_per_event : 1;
    o->events_per_write = o->events_per_write ? o->events_per_write : 1;
    o->fault_every = o->fault_every ? o->fault_every : 1;
    if (o->n_sizes == 0) {
        o->n_sizes = 1;
        o->event_bytes[0] = 0;
    }
    if (o->port < 0 || o->port > 65535 || o->n_threads < 1 || o->n_threads > 256 || o->tokens < 1 ||
        o->tokens > 1000000 || o->tokens_per_event < 1 || o->tokens_per_event > 1000 ||
        o->events_per_write < 1 || o->events_per_write > 4096 || o->fault_every < 1 ||
        o->reasoning_tokens < 0 || !(o->ttft_ms >= 0) || !(o->itl_ms >= 0) || o->ttft_ms > 1e7 ||
        o->itl_ms > 1e7) {
        return err_set(e, EE_USAGE,
                       "the null server's numbers must be: port 0..65535, threads 1..256, tokens "
                       "1..1000000, tokens an event 1..1000, events a write 1..4096, times 0..1e7 "
                       "ms");
    }
    for (int i = 0; i < o->n_sizes; i++) {
        if (o->event_bytes[i] < 0 || o->event_bytes[i] > 65536) {
            return err_set(e, EE_USAGE, "the size of an event must be 0..65536 bytes and is %d",
                           o->event_bytes[i]);
        }
    }
    return 0;
}

int null_script_init(struct null_script *s, const struct null_opts *opts, struct err *e) {
    *s = (struct null_script){.opts = *opts};
    int rc = check_opts(&s->opts, e);
    rc = rc ? rc : render_pieces(s, true, &s->chat, e);
    rc = rc ? rc : render_pieces(s, false, &s->text, e);
    if (rc) {
        null_script_release(s);
    }
    return rc;
}

void null_script_release(struct null_script *s) {
    arena_release(&s->arena);
}

/* ---- requests ---- */

/* What follows "key": in the text, white space skipped; NULL when the key is not there. */
static const char *after_key(const char *text, size_t len, const char *key) {
    size_t key_len = strlen(key);
    const char *at = text;
    const char *end = text + len;
    while ((at = memmem(at, (size_t)(end - at), key, key_len))) {
        if (at > text && at[-1] == '"' && at + key_len < end && at[key_len] == '"' &&
            (at - 1 == text || at[-2] != '\\')) {
            const char *v = at + key_len + 1;
            while (v < end && (*v == ' ' || *v == ':' || *v == '\n')) {
                v++;
            }
            return v < end ? v : NULL;
        }
        at += key_len;
    }
    return NULL;
}

static bool is_true(const char *v, const char *end) {
    return v && end - v >= 4 && memcmp(v, "true", 4) == 0;
}

static int number_at(const char *v, const char *end) {
    int n = 0;
    while (v && v < end && *v >= '0' && *v <= '9' && n < 100000000) {
        n = 10 * n + (*v++ - '0');
    }
    return n;
}

void null_script_read(const struct null_script *s, const char *path, size_t path_len,
                      const char *body, size_t body_len, struct null_ask *out) {
    const char *end = body + body_len;
    *out = (struct null_ask){.chat = memmem(path, path_len, "chat", 4) != NULL};
    out->stream = is_true(after_key(body, body_len, "stream"), end);
    out->wants_usage = is_true(after_key(body, body_len, "include_usage"), end);
    const char *v = after_key(body, body_len, "max_completion_tokens");
    out->max_tokens = number_at(v ? v : after_key(body, body_len, "max_tokens"), end);
    out->model_known = true;
    if (s->opts.model) {
        size_t n = strlen(s->opts.model);
        v = after_key(body, body_len, "model");
        out->model_known = v && *v == '"' && (size_t)(end - v) > n + 1 && v[n + 1] == '"' &&
                           memcmp(v + 1, s->opts.model, n) == 0;
    }
}

/* ---- answers of one piece ---- */

enum { PROMPT_TOKENS_SAID = 1 }; /* it does not count; every prompt is one token */

static void add_usage(int n_tokens, struct buf *out) {
    buf_addf(out, "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}",
             PROMPT_TOKENS_SAID, n_tokens, PROMPT_TOKENS_SAID + n_tokens);
}

void null_script_usage(const struct null_script *s, bool chat, int n_tokens, struct buf *out) {
    struct buf data;
    buf_init(&data);
    buf_addf(&data, "{\"id\":\"%s-null\",\"object\":\"%s\",\"created\":0,\"model\":\"null\",",
             chat ? "chatcmpl" : "cmpl", chat ? "chat.completion.chunk" : "text_completion");
    buf_addstr(&data, "\"choices\":[],");
    add_usage(n_tokens, &data);
    buf_addch(&data, '}');
    add_event(&s->opts, data.data, out);
    buf_release(&data);
}

static void add_response(const char *status, const char *type, const char *extra, const char *body,
                         size_t len, struct buf *out) {
    buf_addf(out, "HTTP/1.1 %s\r\ncontent-type: %s\r\n%scontent-length: %zu\r\n\r\n", status, type,
             extra, len);
    buf_add(out, body, len);
}

void null_script_page(const char *type, const char *body, struct buf *out) {
    add_response("200 OK", type, "", body, strlen(body), out);
}

void null_script_not_found(const char *message, struct buf *out) {
    char body[256];
    snprintf(body, sizeof(body),
             "{\"error\":{\"message\":\"%.120s\",\"type\":\"not_found_error\",\"code\":404}}",
             message);
    add_response("404 Not Found", "application/json", "", body, strlen(body), out);
}

void null_script_answer(const struct null_script *s, bool chat, int n_tokens, struct buf *out) {
    struct buf body;
    buf_init(&body);
    buf_addf(&body,
             "{\"id\":\"null\",\"object\":\"%s\",\"created\":0,\"model\":\"null\",\"choices\":"
             "[{\"index\":0,\"finish_reason\":\"stop\",%s",
             chat ? "chat.completion" : "text_completion",
             chat ? "\"message\":{\"role\":\"assistant\",\"content\":\"" : "\"text\":\"");
    for (int i = 0; i < n_tokens; i++) {
        buf_addstr(&body, s->opts.shape & NULL_SHAPE_SPLIT ? " t\xc3\xb6k" : " tok");
    }
    buf_addstr(&body, chat ? "\"}}]," : "\"}],");
    add_usage(n_tokens, &body);
    buf_addch(&body, '}');
    add_response("200 OK", "application/json", "", body.data, body.len, out);
    buf_release(&body);
}

void null_script_refusal(enum null_fault f, struct buf *out) {
    static const char gzip[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x49\x2c\x49\x04\x00"
                               "\x63\xf3\xf3\xad\x04\x00\x00\x00";
    static const struct {
        enum null_fault fault;
        const char *status, *type, *extra, *body;
    } rows[] = {
        {NULL_FAULT_401, "401 Unauthorized", "application/json", "",
         "{\"error\":{\"message\":\"scripted: bad API key\",\"code\":401}}"},
        {NULL_FAULT_429, "429 Too Many Requests", "application/json", "retry-after: 1\r\n",
         "{\"error\":{\"message\":\"scripted: rate limit\",\"code\":429}}"},
        {NULL_FAULT_500, "500 Internal Server Error", "application/json", "",
         "{\"error\":{\"message\":\"scripted: internal error\",\"code\":500}}"},
        {NULL_FAULT_503, "503 Service Unavailable", "application/json", "",
         "{\"error\":{\"message\":\"scripted: overloaded\",\"code\":503}}"},
        {NULL_FAULT_REDIRECT, "307 Temporary Redirect", "text/plain",
         "location: /elsewhere/v1/chat/completions\r\n", ""},
        {NULL_FAULT_HTML, "200 OK", "text/html", "", "<html><body>It works!</body></html>\n"},
    };
    if (f == NULL_FAULT_GZIP) {
        add_response("200 OK", "text/event-stream", "content-encoding: gzip\r\n", gzip,
                     sizeof(gzip) - 1, out);
        return;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].fault == f) {
            add_response(rows[i].status, rows[i].type, rows[i].extra, rows[i].body,
                         strlen(rows[i].body), out);
        }
    }
}
