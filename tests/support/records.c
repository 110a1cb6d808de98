#include "support/records.h"

#include "base/clock.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static int64_t ns(double ms) {
    return NS_PER_S + (int64_t)(ms * 1e6 + 0.5);
}

void records_init(struct records *r, size_t n) {
    struct err e = ERR_INIT;
    *r = (struct records){0};
    OK(load_result_reserve(&r->load, n, &e));
    r->load.start_ns = ns(0);
}

void records_release(struct records *r) {
    load_result_release(&r->load);
    log_store_release(&r->store);
}

static struct record *times(struct records *r, size_t i, double due_ms, double sent_ms,
                            double end_ms) {
    struct record *rec = r->load.records[i];
    rec->scheduled_ns = ns(due_ms);
    rec->begun_ns = ns(due_ms);
    rec->sent_ns = ns(sent_ms);
    rec->ended_ns = ns(end_ms);
    if (rec->scheduled_ns > r->load.last_begin_ns) {
        r->load.last_begin_ns = rec->scheduled_ns;
    }
    if (rec->ended_ns > r->load.end_ns) {
        r->load.end_ns = rec->ended_ns;
    }
    return rec;
}

void records_set(struct records *r, size_t i, double due_ms, double sent_ms, double end_ms,
                 const struct said *reads) {
    struct record *rec = times(r, i, due_ms, sent_ms, end_ms);
    struct event_writer w;
    event_writer_init(&w);
    event_writer_begin(&w, rec->sent_ns);
    for (; reads->events[0]; reads++) {
        for (size_t k = 0; k < 8 && reads->events[k]; k++) {
            struct buf line;
            buf_init(&line);
            buf_addf(&line, "%s%s\n", reads->events[k][0] == ':' ? "" : "data: ", reads->events[k]);
            event_writer_add(&w, ns(reads->at_ms), k == 0, false, line.data, line.len);
            event_writer_keep(&w);
            buf_release(&line);
        }
    }
    rec->status = 200;
    rec->outcome = OUTCOME_OK;
    rec->n_events = w.n;
    rec->log_len = (uint32_t)w.out.len;
    rec->log = log_store_add(&r->store, w.out.data, w.out.len);
    assert_non_null(rec->log);
    event_writer_release(&w);
}

void records_fail(struct records *r, size_t i, double due_ms, enum outcome outcome, int status) {
    struct record *rec = times(r, i, due_ms, due_ms, due_ms + 1);
    rec->outcome = (uint8_t)outcome;
    rec->status = (uint16_t)status;
}
