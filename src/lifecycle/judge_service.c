/*
 * A judge behind an OpenAI-compatible chat endpoint. Its key comes from the environment and goes into
 * one header: what the service says is quoted without it, wherever it stands.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"
#include "lifecycle/judge_ask.h"
#include "lifecycle/plan_judge.h"
#include "serve/access.h"
#include "serve/ask.h"
#include "serve/fetch.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DETAIL = 200, HTTP_OK = 200, HTTP_BAD_REQUEST = 400 };

struct service {
    struct judge_session *session;
    const json_t *judge; /* its settings */
    struct target target;
    const char *model;
    const char *key; /* NULL: none */
    const char *auth_env;
    char *auth;
    int output;
    int64_t seed;
    json_t *schemas[JUDGE_FORMS];
};

/* ---- questions ---- */

static json_t *response_format(const struct service *v, enum judge_form form) {
    return v->output == JUDGE_OUTPUT_JSON
               ? json_pack("{s:s}", "type", "json_object")
               : json_pack("{s:s, s:{s:s, s:b, s:O}}", "type", "json_schema", "json_schema", "name",
                           "verdict", "strict", 1, "schema", v->schemas[form]);
}

static int write_question(void *ctx, size_t i, struct buf *out, struct err *e) {
    const struct service *v = ctx;
    const struct judge_question *q = &v->session->questions[i];
    struct buf user;
    buf_init(&user);
    judge_question_text(q, &user);
    json_t *body = json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s}], s:b}", "model", v->model,
                             "messages", "role", "system", "content", judge_rubric(q->form), "role",
                             "user", "content", user.data, "stream", 0);
    if (v->output != JUDGE_OUTPUT_TEXT) {
        json_object_set_new(body, "response_format", response_format(v, q->form));
    }
    /* What the plan does not say is not sent: some services refuse settings they do not have. */
    json_t *temperature = json_object_get(v->judge, "temperature");
    if (temperature) {
        json_object_set(body, "temperature", temperature);
    }
    if (json_number_value(temperature) > 0) {
        json_object_set_new(body, "seed", json_integer((json_int_t)(v->seed + q->pass)));
    }
    int64_t max_tokens = json_int_or(v->judge, "max_tokens", 0);
    if (max_tokens > 0) {
        json_object_set_new(body, "max_tokens", json_integer((json_int_t)max_tokens));
    }
    int rc = buf_check(&user, "a question", e);
    rc = rc ? rc : json_write(body, out, e);
    json_decref(body);
    buf_release(&user);
    return rc;
}

/* ---- answers ---- */

/* The text as it may be shown and stored: short, valid, and without the key. */
static const char *quotable(const struct service *v, const char *text) {
    struct buf clean;
    struct buf valid;
    size_t key_len = v->key ? strlen(v->key) : 0;
    buf_init(&clean);
    buf_init(&valid);
    while (*text) {
        if (key_len && strncmp(text, v->key, key_len) == 0) {
            buf_addstr(&clean, "[key]");
            text += key_len;
        } else {
            buf_addch(&clean, *text >= ' ' || *text < 0 ? *text : ' ');
            text++;
        }
    }
    utf8_add_repaired(&valid, clean.data, clean.len < MAX_DETAIL ? clean.len : MAX_DETAIL);
    const char *copy = arena_strdup(v->session->arena, valid.data);
    buf_release(&clean);
    buf_release(&valid);
    return copy ? copy : "";
}

static bool fail(struct service *v, struct judge_question *q, const char *kind,
                 const char *detail) {
    return judge_settle_failed(v->session, q, kind, quotable(v, detail));
}

/* "message" of an error object in any of the shapes in use; "" where there is none. */
static const char *error_message(const json_t *body) {
    const json_t *error = json_object_get(body, "error");
    if (json_is_string(error)) {
        return json_string_value(error);
    }
    return json_str_or(error, "message", json_str_or(body, "message", ""));
}

static bool failed_status(struct service *v, struct judge_question *q, const struct ask_reply *r,
                          const json_t *body) {
    static const struct {
        int status;
        const char *kind;
    } kinds[] = {{401, "unauthorized"},
                 {403, "unauthorized"},
                 {404, "not_found"},
                 {408, "timeout"},
                 {429, "rate_limited"}};
    const bool is_redirect = r->status >= 300 && r->status < HTTP_BAD_REQUEST;
    const char *kind = r->status >= 500 ? "server_error" : is_redirect ? "redirected" : "rejected";
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        kind = kinds[i].status == r->status ? kinds[i].kind : kind;
    }
    struct buf why;
    buf_init(&why);
    buf_addf(&why, "HTTP status %d", r->status);
    if (strcmp(kind, "unauthorized") == 0) {
        /* Services quote a part of a wrong key here: theirs is not repeated. */
        if (v->key) {
            buf_addf(&why, "; it does not accept the key in %s", v->auth_env);
        } else {
            buf_addstr(&why, "; it wants a key: name its variable in auth_env");
        }
    } else {
        const char *message = error_message(body);
        buf_addf(&why, "%s%s", *message ? ": " : "", message);
        if (r->status == HTTP_BAD_REQUEST && v->output == JUDGE_OUTPUT_SCHEMA) {
            buf_addstr(&why, " (where it knows no JSON schema, say output: json or text)");
        }
    }
    bool go_on = fail(v, q, kind, why.data);
    buf_release(&why);
    return go_on;
}

static void count_tokens(const struct service *v, const json_t *body) {
    struct judge_session *s = v->session;
    const json_t *usage = json_object_get(body, "usage");
    const char *model = json_str_or(body, "model", NULL);
    int64_t n_prompt = json_int_or(usage, "prompt_tokens", -1);
    int64_t n_output = json_int_or(usage, "completion_tokens", -1);
    s->n_replies++;
    if (n_prompt >= 0 && n_output >= 0) {
        s->n_counted++;
        s->prompt_tokens += n_prompt;
        s->output_tokens += n_output;
    }
    if (model && !s->served_by) {
        s->served_by = quotable(v, model);
    }
}

/* What came with status 200. */
static bool read_completion(struct service *v, struct judge_question *q, const json_t *body) {
    const json_t *choice = json_array_get(json_object_get(body, "choices"), 0);
    const json_t *message = json_object_get(choice, "message");
    const char *finish = json_str_or(choice, "finish_reason", "");
    const char *refusal = json_str_or(message, "refusal", NULL);
    const char *content = json_str_or(message, "content", NULL);
    if (!body) {
        return fail(v, q, "not_json", "its answer is no JSON");
    }
    if (json_object_get(body, "error") && !json_is_null(json_object_get(body, "error"))) {
        return fail(v, q, "error_body", error_message(body));
    }
    count_tokens(v, body);
    if (refusal || strcmp(finish, "content_filter") == 0) {
        return fail(v, q, "refused", refusal ? refusal : "its content filter");
    }
    if (strcmp(finish, "length") == 0) {
        return fail(v, q, "cut", "its answer was cut off at the token limit");
    }
    if (!content || !*content) {
        return fail(v, q, "empty", "it said nothing");
    }
    return judge_settle(v->session, q, content, quotable(v, content));
}

static bool on_reply(void *ctx, size_t i, const struct ask_reply *r) {
    struct service *v = ctx;
    struct judge_question *q = &v->session->questions[i];
    v->session->n_tries += r->n_tries;
    if (r->status == 0) {
        return fail(v, q, r->timed_out ? "timeout" : "unreachable",
                    r->timed_out ? "no answer in the time of timeout_s" : r->cause);
    }
    json_t *body = NULL;
    if (json_parse(r->body, r->len, "the judge's answer", &body, NULL)) {
        body = NULL;
    }
    bool go_on = r->status == HTTP_OK ? read_completion(v, q, body) : failed_status(v, q, r, body);
    json_decref(body);
    return go_on;
}

/* ---- the service ---- */

static int read_key(struct service *v, struct err *e) {
    v->auth_env = json_str_or(v->judge, "auth_env", NULL);
    int rc = v->auth_env ? access_auth(v->auth_env, "score.judge.auth_env", &v->auth, e) : 0;
    v->key = v->auth ? getenv(v->auth_env) : NULL;
    return rc;
}

static int open_service(struct service *v, struct err *e) {
    const char *url = NULL;
    v->output = (int)json_int_or(v->judge, "output", JUDGE_OUTPUT_SCHEMA);
    v->seed = json_int_or(v->session->args, "seed", 0);
    int rc = json_want_str(v->judge, "url", &url, e);
    rc = rc ? rc : json_want_str(v->judge, "model", &v->model, e);
    rc = rc ? rc : target_parse(url, API_CHAT, &v->target, e);
    rc = rc ? rc : read_key(v, e);
    for (int form = 0; form < JUDGE_FORMS && !rc; form++) {
        v->schemas[form] = judge_schema((enum judge_form)form);
        rc = v->schemas[form] ? 0 : err_set(e, EE_NOMEM, "judge: out of memory");
    }
    return rc ? rc : fetch_global_init(e);
}

int judge_ask_service(struct judge_session *s, struct err *e) {
    struct service v = {.session = s, .judge = json_object_get(s->args, "judge")};
    int rc = open_service(&v, e);
    if (!rc) {
        const struct ask_opts o = {
            .target = &v.target,
            .auth = v.auth,
            .ca_file = json_str_or(v.judge, "ca_file", NULL),
            .n_parallel = (size_t)json_int_or(v.judge, "concurrency", 1),
            .timeout_ns = json_int_or(v.judge, "timeout_s", 1) * NS_PER_S,
            .body = write_question,
            .done = on_reply,
            .ctx = &v,
        };
        rc = ask_all(&o, s->n, e);
    }
    for (int form = 0; form < JUDGE_FORMS; form++) {
        json_decref(v.schemas[form]);
    }
    free(v.auth);
    return rc;
}
