/* Requests as bytes, and the next turn of a conversation. */
#include "base/json.h"
#include "base/rng.h"
#include "serve/reply.h"
#include "serve/words.h"
#include "serve/workload_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t TURN_STREAM = UINT64_C(0x7475726e); /* "turn" */

static json_t *ids_array(const struct ask *p) {
    json_t *ids = json_array();
    for (size_t i = 0; i < p->n_tokens; i++) {
        json_array_append_new(ids, json_integer(p->tokens[i]));
    }
    return ids;
}

/* The body; what is asked stands last, so that a conversation can grow at its end. */
static int add_body(const struct workload *w, const struct ask *p, json_t *extra, struct buf *out,
                    struct err *e) {
    const struct workload_opts *o = &w->opts;
    json_t *body = json_pack("{s:s, s:i, s:b, s:{s:b}, s:f}", "model", o->model, "max_tokens",
                             p->max_tokens, "stream", 1, "stream_options", "include_usage", 1,
                             "temperature", o->temperature);
    if (o->force_length) {
        json_object_set_new(body, "ignore_eos", json_true());
    }
    if (extra) {
        json_object_update(body, extra);
    }
    if (p->messages) {
        json_object_set(body, "messages", p->messages);
    } else if (o->send_ids) {
        json_object_set_new(body, "prompt", ids_array(p));
    } else {
        json_object_set_new(body, "prompt", json_string(p->text));
    }
    int rc = body ? json_write(body, out, e) : err_set(e, EE_NOMEM, "requests: out of memory");
    json_decref(body);
    return rc;
}

static void add_head(const struct workload *w, size_t body_len, struct buf *out) {
    const struct target *t = &w->target;
    bool v6 = strchr(t->host, ':') != NULL;
    buf_addf(out,
             "POST %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUser-Agent: edge-eval/" EDGE_EVAL_VERSION
             "\r\n"
             "Accept: text/event-stream\r\nAccept-Encoding: identity\r\n"
             "Content-Type: application/json\r\n%s%sContent-Length: %zu\r\n\r\n",
             t->path, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port,
             w->opts.auth ? w->opts.auth : "", w->opts.auth ? "\r\n" : "", body_len);
}

/* bytes is malloc'ed. */
static int make_payload(const struct workload *w, const char *body, size_t len, int max_tokens,
                        struct payload *out, struct err *e) {
    struct buf b;
    buf_init(&b);
    add_head(w, len, &b);
    size_t body_at = b.len;
    buf_add(&b, body, len);
    *out = (struct payload){.len = b.len, .body_at = body_at, .max_tokens = (uint32_t)max_tokens};
    out->bytes = buf_detach(&b);
    return out->bytes ? 0 : err_set(e, EE_NOMEM, "requests: out of memory");
}

int workload_payloads(struct workload *w, struct err *e) {
    json_t *extra = NULL;
    struct buf body;
    buf_init(&body);
    int rc = 0;
    if (w->opts.extra) {
        rc = json_parse(w->opts.extra, strlen(w->opts.extra), "--extra", &extra, e);
        if (!rc && !json_is_object(extra)) {
            rc = err_set(e, EE_USAGE, "--extra should be a JSON object such as {\"top_k\": 1}");
        }
    }
    w->payloads = arena_array(&w->arena, w->n, sizeof(*w->payloads));
    if (!rc && !w->payloads) {
        rc = err_set(e, EE_NOMEM, "requests: out of memory");
    }
    for (size_t i = 0; i < w->n && !rc; i++) {
        struct payload p = {0};
        buf_clear(&body);
        rc = add_body(w, &w->prompts[i], extra, &body, e);
        rc = rc ? rc : make_payload(w, body.data, body.len, w->prompts[i].max_tokens, &p, e);
        if (!rc) {
            const char *kept = arena_strndup(&w->arena, p.bytes, p.len);
            free((char *)p.bytes);
            p.bytes = kept;
            w->payloads[i] = p;
            rc = kept ? 0 : err_set(e, EE_NOMEM, "requests: out of memory");
        }
    }
    json_decref(extra);
    buf_release(&body);
    return rc;
}

int workload_jsonl(const struct workload *w, struct buf *out, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < w->n && !rc; i++) {
        const struct ask *p = &w->prompts[i];
        json_t *row = json_pack("{s:s*, s:O*, s:s*, s:i, s:O*}", "id", p->id, "messages",
                                p->messages, "prompt", p->messages ? NULL : p->text, "max_tokens",
                                p->max_tokens, "turns", p->turns_owner);
        if (row && p->n_tokens > 0) {
            json_object_set_new(row, "prompt_ids", ids_array(p));
        }
        rc = row ? json_write(row, out, e) : err_set(e, EE_NOMEM, "prompts: out of memory");
        buf_addch(out, '\n');
        json_decref(row);
    }
    return rc ? rc : buf_check(out, "prompts", e);
}

/* ---- conversations ---- */

/* What the user says in that turn (from 1): the file's words, or made up. False: nothing more. */
static bool add_question(const struct workload *w, const struct record *r, size_t turn,
                         struct buf *out) {
    const struct ask *p = &w->prompts[r->prompt];
    if (p->turns) {
        const char *text = json_string_value(json_array_get(p->turns, turn - 1));
        buf_addstr(out, text ? text : "");
        return text != NULL;
    }
    if (turn >= (size_t)(w->opts.turns > 0 ? w->opts.turns : 1)) {
        return false;
    }
    struct rng rng;
    rng_init_stream(&rng, w->opts.seed ^ ((uint64_t)r->session << 16) ^ turn, TURN_STREAM);
    const struct length_range *l = &w->opts.turn_input;
    words_add(out, &rng, (size_t)l->from + rng_below(&rng, (uint64_t)(l->to - l->from + 1)));
    return true;
}

static bool add_message(struct buf *body, const char *role, const char *text) {
    json_t *m = json_pack("{s:s, s:s}", "role", role, "content", text);
    buf_addch(body, ',');
    bool ok = m && json_write(m, body, NULL) == 0;
    json_decref(m);
    return ok;
}

bool workload_has_turn(void *workload, const struct record *r) {
    const struct workload *w = workload;
    const json_t *turns = w->prompts[r->prompt].turns;
    size_t n = turns ? json_array_size(turns) : (size_t)(w->opts.turns > 1 ? w->opts.turns - 1 : 0);
    return (size_t)r->turn < n;
}

bool workload_follow_up(void *workload, const struct record *r, struct follow_up *out) {
    const struct workload *w = workload;
    const struct payload *sent = r->payload;
    size_t body_len = sent->len - sent->body_at;
    struct buf question;
    struct buf body;
    struct reply_reader reader;
    buf_init(&question);
    buf_init(&body);
    reply_reader_init(&reader);
    bool ok = add_question(w, r, (size_t)r->turn + 1, &question);
    const struct reply *reply = ok ? reply_read(&reader, r) : NULL;
    ok = ok && reply && reply->outcome == OUTCOME_OK && body_len > 2;
    if (ok) {
        /* The body ends in "]}": the conversation grows before that. */
        buf_add(&body, sent->bytes + sent->body_at, body_len - 2);
        ok = add_message(&body, "assistant", reply->content.data) &&
             add_message(&body, "user", question.data);
        buf_addstr(&body, "]}");
        ok = ok &&
             make_payload(w, body.data, body.len, (int)sent->max_tokens, &out->payload, NULL) == 0;
        out->think_ns = (int64_t)(w->opts.think_s * 1e9);
    }
    reply_reader_release(&reader);
    buf_release(&question);
    buf_release(&body);
    return ok;
}
