#include "serve/reply.h"

#include "base/json.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void reply_reader_init(struct reply_reader *r) {
    *r = (struct reply_reader){0};
    event_reader_init(&r->log);
    buf_init(&r->message.data);
    buf_init(&r->reply.text);
    buf_init(&r->reply.content);
    buf_init(&r->last_data);
}

void reply_reader_release(struct reply_reader *r) {
    event_reader_release(&r->log);
    buf_release(&r->message.data);
    buf_release(&r->reply.text);
    buf_release(&r->reply.content);
    buf_release(&r->last_data);
    free(r->reply.events);
    free(r->reply.choice_ns);
    r->reply.events = NULL;
    r->reply.choice_ns = NULL;
}

static void restart(struct reply_reader *r, const struct record *record) {
    struct reply *p = &r->reply;
    struct reply_event *events = p->events;
    int64_t *choice_ns = p->choice_ns;
    struct buf text = p->text;
    struct buf content = p->content;
    buf_clear(&text);
    buf_clear(&content);
    *p = (struct reply){.outcome = (enum outcome)record->outcome,
                        .events = events,
                        .choice_ns = choice_ns,
                        .prompt_tokens = -1,
                        .output_tokens = -1,
                        .reasoning_tokens = -1,
                        .cached_tokens = -1,
                        .text = text,
                        .content = content};
    r->value_tail = 0;
    r->usage_so_far = -1;
    r->sent_ns = r->late_ns = 0;
    r->read_number = r->token_read = 0;
    event_reader_begin(&r->log, record->log, record->log_len, record->sent_ns);
}

/* An outcome of its events replaces a good one, or an earlier cut. */
static void judge(struct reply *p, enum outcome o) {
    if (p->outcome == OUTCOME_OK) {
        p->outcome = o;
    }
}

static bool add_choice(struct reply_reader *r) {
    struct reply *p = &r->reply;
    if (p->n_choices == r->cap_choices) {
        size_t cap = r->cap_choices ? 2 * r->cap_choices : 256;
        int64_t *grown = realloc(p->choice_ns, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        p->choice_ns = grown;
        r->cap_choices = cap;
    }
    p->choice_ns[p->n_choices++] = r->log.ns;
    return true;
}

static bool add_event(struct reply_reader *r, uint32_t parts, uint32_t tokens) {
    struct reply *p = &r->reply;
    if (p->n_events == r->cap_events) {
        size_t cap = r->cap_events ? 2 * r->cap_events : 256;
        struct reply_event *grown = realloc(p->events, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        p->events = grown;
        r->cap_events = cap;
    }
    bool coalesced = p->n_events > 0 && r->token_read == r->read_number;
    r->token_read = r->read_number;
    p->events[p->n_events++] = (struct reply_event){.ns = r->log.ns,
                                                    .parts = parts,
                                                    .tokens = tokens,
                                                    .text_end = (uint32_t)p->text.len,
                                                    .coalesced = coalesced,
                                                    .sent_ns = r->sent_ns,
                                                    .late_ns = r->late_ns};
    p->n_coalesced += coalesced;
    p->first_token_ns = p->first_token_ns ? p->first_token_ns : r->log.ns;
    if (parts & (REPLY_CONTENT | REPLY_TOOL)) {
        p->first_output_ns = p->first_output_ns ? p->first_output_ns : r->log.ns;
    }
    p->last_token_ns = r->log.ns;
    return true;
}

static void take_error(struct reply *p, const json_t *error) {
    const char *message = json_is_string(error) ? json_string_value(error)
                                                : json_str_or(error, "message", "");
    if (!p->message[0]) {
        snprintf(p->message, sizeof(p->message), "%s", message);
    }
}

/* Completion tokens since the last usage, for servers that say so in every chunk; else 0. */
static uint32_t take_usage(struct reply_reader *r, const json_t *usage) {
    struct reply *p = &r->reply;
    const json_t *details = json_object_get(usage, "completion_tokens_details");
    p->prompt_tokens = json_int_or(usage, "prompt_tokens", p->prompt_tokens);
    p->output_tokens = json_int_or(usage, "completion_tokens", p->output_tokens);
    p->reasoning_tokens = json_int_or(details, "reasoning_tokens", p->reasoning_tokens);
    p->cached_tokens = json_int_or(json_object_get(usage, "prompt_tokens_details"), "cached_tokens",
                                   p->cached_tokens);
    int64_t before = r->usage_so_far > 0 ? r->usage_so_far : 0;
    r->usage_so_far = p->output_tokens;
    return p->output_tokens > before ? (uint32_t)(p->output_tokens - before) : 0;
}

static uint32_t take_text(struct reply *p, const json_t *value, uint32_t part) {
    size_t len = json_string_length(value);
    if (len == 0) {
        return 0;
    }
    buf_add(&p->text, json_string_value(value), len);
    if (part == REPLY_CONTENT) {
        buf_add(&p->content, json_string_value(value), len);
    }
    return part;
}

static uint32_t take_choice(struct reply *p, const json_t *choice) {
    const json_t *delta = json_object_get(choice, "delta");
    const json_t *finish = json_object_get(choice, "finish_reason");
    uint32_t parts = take_text(p, json_object_get(delta, "reasoning_content"), REPLY_REASONING);
    parts |= parts ? 0 : take_text(p, json_object_get(delta, "reasoning"), REPLY_REASONING);
    parts |= take_text(p, json_object_get(delta, "content"), REPLY_CONTENT);
    parts |= take_text(p, json_object_get(choice, "text"), REPLY_CONTENT);
    if (json_array_size(json_object_get(delta, "tool_calls")) > 0) {
        parts |= REPLY_TOOL;
    }
    if (json_is_string(finish)) {
        parts |= REPLY_FINISH;
        p->has_finish = true;
        snprintf(p->finish, sizeof(p->finish), "%s", json_string_value(finish));
    }
    return parts;
}

static void take_stamp(struct reply_reader *r, const json_t *chunk) {
    const json_t *stamps = json_object_get(chunk, "stamps_ns");
    int64_t sent_ns = json_integer_value(json_array_get(stamps, 0));
    int64_t late_ns = json_integer_value(json_array_get(stamps, 1));
    bool is_time = sent_ns > 0 && late_ns >= 0; /* a stranger may write anything there */
    r->sent_ns = is_time ? sent_ns : 0;
    r->late_ns = is_time ? late_ns : 0;
}

/*
 * Remembers where the text of a plain chunk lies in its data, if it can be found without doubt:
 * once, as a string without escapes.
 */
static void remember_shape(struct reply_reader *r, uint32_t parts) {
    static const char *const keys[] = {"\"content\":\"", "\"content\": \"", "\"text\":\"",
                                       "\"text\": \""};
    const struct buf *d = &r->message.data;
    r->value_tail = 0;
    if (parts != REPLY_CONTENT || r->usage_so_far >= 0) {
        return;
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *at = strstr(d->data, keys[i]);
        size_t n = strlen(keys[i]);
        if (at && !strstr(at + n, keys[i])) {
            const char *value = at + n;
            size_t len = strcspn(value, "\"\\");
            if (value[len] == '"') {
                r->value_at = (size_t)(value - d->data);
                r->value_tail = d->len - r->value_at - len;
                buf_clear(&r->last_data);
                buf_add(&r->last_data, d->data, d->len);
                r->last_parts = parts;
            }
            return;
        }
    }
}

/*
 * Whether the data are the last plain chunk's but for the text. Then parsing them would say the
 * same of all else, because a string without quotes and backslashes cannot end early.
 */
static bool is_same_shape(const struct reply_reader *r, const char **value, size_t *len) {
    const struct buf *d = &r->message.data;
    const struct buf *last = &r->last_data;
    if (!r->value_tail || d->len < r->value_at + r->value_tail ||
        memcmp(d->data, last->data, r->value_at) != 0 ||
        memcmp(d->data + d->len - r->value_tail, last->data + last->len - r->value_tail,
               r->value_tail) != 0) {
        return false;
    }
    *value = d->data + r->value_at;
    *len = d->len - r->value_at - r->value_tail;
    for (size_t i = 0; i < *len; i++) {
        unsigned char c = (unsigned char)(*value)[i];
        if (c < 0x20 || c == '"' || c == '\\') {
            return false;
        }
    }
    return utf8_is_valid(*value, *len);
}

/* False when memory is out. */
static bool take_chunk(struct reply_reader *r, const json_t *chunk) {
    struct reply *p = &r->reply;
    const json_t *error = json_object_get(chunk, "error");
    const json_t *usage = json_object_get(chunk, "usage");
    const json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0);
    if ((error && !json_is_null(error)) || r->message.is_error) {
        take_error(p, error && !json_is_null(error) ? error : chunk);
        judge(p, OUTCOME_ERROR_EVENT);
        return true;
    }
    uint32_t parts = choice ? take_choice(p, choice) : 0;
    if (choice && !add_choice(r)) {
        return false;
    }
    uint32_t tokens = json_is_object(usage) ? take_usage(r, usage) : 0;
    if (!(parts & REPLY_TOKENS)) {
        return true;
    }
    take_stamp(r, chunk);
    remember_shape(r, parts);
    return add_event(r, parts, tokens);
}

static bool take_data(struct reply_reader *r) {
    struct reply *p = &r->reply;
    const struct buf *d = &r->message.data;
    const char *value;
    size_t len;
    if (d->len == 6 && memcmp(d->data, "[DONE]", 6) == 0) {
        p->has_done = true;
        p->done_ns = r->log.ns;
        return true;
    }
    if (is_same_shape(r, &value, &len)) {
        if (!add_choice(r)) {
            return false;
        }
        if (len == 0) {
            return true;
        }
        buf_add(&p->text, value, len);
        buf_add(&p->content, value, len);
        return add_event(r, r->last_parts, 0);
    }
    json_error_t je;
    json_t *chunk = json_loadb(d->data, d->len, 0, &je);
    if (!json_is_object(chunk)) {
        judge(p, utf8_is_valid(d->data, d->len) ? OUTCOME_BAD_JSON : OUTCOME_BAD_UTF8);
        json_decref(chunk);
        return true;
    }
    bool ok = take_chunk(r, chunk);
    json_decref(chunk);
    return ok;
}

/* Bytes that are no event: the body of an error, or what a cut stream ended in. */
static void take_rest(struct reply_reader *r) {
    struct reply *p = &r->reply;
    json_error_t je;
    json_t *body = json_loadb(r->log.event.data, r->log.event.len, 0, &je);
    const json_t *error = json_object_get(body, "error");
    if (error) {
        take_error(p, error);
        judge(p, OUTCOME_ERROR_EVENT);
    } else if (json_object_get(body, "detail")) { /* FastAPI's */
        take_error(p, json_object_get(body, "detail"));
    } else if (!p->message[0] && utf8_is_valid(r->log.event.data, r->log.event.len)) {
        snprintf(p->message, sizeof(p->message), "%.150s", r->log.event.data);
        p->message[strcspn(p->message, "\r\n")] = '\0';
    }
    json_decref(body);
}

const struct reply *reply_read(struct reply_reader *r, const struct record *record) {
    struct reply *p = &r->reply;
    restart(r, record);
    while (event_reader_next(&r->log)) {
        r->read_number += r->log.new_read;
        if (r->log.rest) {
            take_rest(r);
            continue;
        }
        p->first_event_ns = p->first_event_ns ? p->first_event_ns : r->log.ns;
        sse_parse(r->log.event.data, r->log.event.len, &r->message);
        if (r->message.has_data && !take_data(r)) {
            return NULL;
        }
    }
    if (r->log.event.failed || r->message.data.failed || p->text.failed || p->content.failed) {
        return NULL;
    }
    if (r->log.damaged) {
        judge(p, OUTCOME_NO_MEMORY);
    } else if (!p->has_finish && !p->has_done) {
        judge(p, OUTCOME_TRUNCATED);
    } else if (p->n_events == 0) {
        judge(p, OUTCOME_EMPTY);
    }
    return p;
}

int64_t reply_tokens(const struct reply *p) {
    if (p->output_tokens < 0) {
        return -1;
    }
    bool silent_end = p->output_tokens == (int64_t)p->n_events + 1 && !strcmp(p->finish, "stop");
    return p->output_tokens - silent_end;
}

uint32_t reply_event_tokens(const struct reply *p, int64_t came, size_t i) {
    if (came == (int64_t)p->n_events) {
        return 1;
    }
    return p->events[i].tokens;
}

bool reply_knows_event_tokens(const struct reply *p, int64_t came) {
    int64_t sum = 0;
    for (size_t i = 0; i < p->n_events; i++) {
        uint32_t k = reply_event_tokens(p, came, i);
        if (k == 0) {
            return false;
        }
        sum += k;
    }
    return sum == came;
}
