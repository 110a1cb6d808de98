#include "serve/exchange.h"

#include <stdlib.h>
#include <string.h>

void exchange_init(struct exchange *x) {
    *x = (struct exchange){0};
    sse_init(&x->sse);
    event_writer_init(&x->log);
}

void exchange_release(struct exchange *x) {
    sse_release(&x->sse);
    event_writer_release(&x->log);
}

void exchange_begin(struct exchange *x, struct record *record, uint32_t max_events) {
    x->record = record;
    x->max_events = max_events;
    x->is_stream = false;
    sse_restart(&x->sse);
    event_writer_begin(&x->log, 0);
}

enum outcome exchange_head(struct exchange *x, int status, bool event_stream, bool compressed) {
    x->record->status = (uint16_t)status;
    x->log.last_ns = x->record->sent_ns;
    x->fresh_read = true;
    if (compressed) {
        return OUTCOME_COMPRESSED;
    }
    x->is_stream = event_stream && status == 200;
    return OUTCOME_PENDING;
}

static enum outcome take_events(struct exchange *x, const char *p, const char *end,
                                int64_t now_ns) {
    const char *event;
    size_t len;
    while (sse_next(&x->sse, &p, end, &event, &len)) {
        event_writer_add(&x->log, now_ns, x->fresh_read, false, event, len);
        x->fresh_read = false;
        if (x->sse.given) {
            event_writer_keep(&x->log); /* the next event is going to lie where this one does */
        }
    }
    if (x->log.n > x->max_events) {
        return OUTCOME_ENDLESS;
    }
    if (x->sse.carry.failed) {
        return OUTCOME_TOO_LONG;
    }
    return event_writer_failed(&x->log) ? OUTCOME_NO_MEMORY : OUTCOME_PENDING;
}

enum outcome exchange_body(struct exchange *x, const char *bytes, size_t len, int64_t now_ns) {
    if (x->is_stream) {
        return take_events(x, bytes, bytes + len, now_ns);
    }
    buf_add(&x->sse.carry, bytes, len); /* all of it is one rest */
    return x->sse.carry.failed || x->sse.carry.len > EXCHANGE_MAX_PLAIN_BYTES ? OUTCOME_TOO_LONG
                                                                              : OUTCOME_PENDING;
}

void exchange_read_over(struct exchange *x) {
    event_writer_keep(&x->log);
    x->fresh_read = true;
}

/* What a whole response is worth by its head alone. */
static enum outcome judge(const struct exchange *x) {
    int status = x->record->status;
    if (status >= 300 && status < 400) {
        return OUTCOME_REDIRECT;
    }
    if (status != 200) {
        return OUTCOME_STATUS;
    }
    return x->is_stream ? OUTCOME_OK : OUTCOME_NOT_EVENTS;
}

void exchange_end(struct exchange *x, enum outcome outcome, int64_t now_ns,
                  struct log_store *store) {
    struct record *r = x->record;
    const char *rest;
    size_t len;
    sse_rest(&x->sse, &rest, &len);
    if (len > 0 && r->status) {
        size_t kept = len < EXCHANGE_MAX_PLAIN_BYTES ? len : EXCHANGE_MAX_PLAIN_BYTES;
        event_writer_add(&x->log, now_ns, x->fresh_read, true, rest, kept);
    }
    r->ended_ns = now_ns;
    r->outcome = (uint8_t)(outcome == OUTCOME_PENDING ? judge(x) : outcome);
    r->n_events = x->log.n;
    r->log_len = (uint32_t)x->log.out.len;
    r->log = log_store_add(store, x->log.out.data, x->log.out.len);
    if (!r->log || event_writer_failed(&x->log)) {
        r->outcome = OUTCOME_NO_MEMORY;
        r->log_len = 0;
        r->n_events = 0;
    }
    x->record = NULL;
}

/* ---- the store ---- */

enum { BLOCK_BYTES = 1 << 20 };

struct log_block {
    struct log_block *next;
    size_t used, size;
    unsigned char bytes[];
};

const unsigned char *log_store_add(struct log_store *s, const void *bytes, size_t len) {
    struct log_block *b = s->head;
    if (!b || b->size - b->used < len) {
        size_t size = len > BLOCK_BYTES ? len : BLOCK_BYTES;
        b = malloc(sizeof(*b) + size);
        if (!b) {
            return NULL;
        }
        *b = (struct log_block){.next = s->head, .size = size};
        s->head = b;
    }
    unsigned char *at = b->bytes + b->used;
    memcpy(at, bytes, len);
    b->used += len;
    s->bytes += len;
    return at;
}

void log_store_release(struct log_store *s) {
    while (s->head) {
        struct log_block *next = s->head->next;
        free(s->head);
        s->head = next;
    }
    s->bytes = 0;
}
