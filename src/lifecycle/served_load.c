/* The load stage of a variant behind a server: from exec to the first token of the first request. */
#include "base/clock.h"
#include "lifecycle/served.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The request of a start: the first item of the plan's first task, whatever the variant's, so that
 * the variants of one file share their starts. */
static struct variant first_task(const struct run *r, const struct variant *v) {
    struct variant first = *v;
    first.task = &r->plan.tasks[0];
    return first;
}

/*
 * One request for one token, at its first token's time. Two prompts of one length that differ from
 * their first words on: no server has the second in its cache because of the first.
 */
static int first_token(struct served *s, const char *mark, int64_t *sent_ns, int64_t *token_ns,
                       struct err *e) {
    const struct served_load load = {.n_items = 1, .max_tokens = 1, .mark = mark, .alone = true};
    struct bench b;
    struct workload w;
    int rc = served_run(s, &load, &b, &w, e);
    if (!rc) {
        const struct request_row *row = &b.measures.rows[0];
        if (row->outcome != OUTCOME_OK) {
            char how[300];
            struct reply_reader reader;
            reply_reader_init(&reader);
            const struct reply *reply = reply_read(&reader, row->record);
            snprintf(how, sizeof(how), "%s", outcome_meaning(row->outcome));
            if (reply) {
                served_failure(row->record, reply, how, sizeof(how));
            }
            reply_reader_release(&reader);
            rc = err_set(e, EE_FAIL, "the server is ready and its first request failed: %s", how);
        }
        *sent_ns = row->record->sent_ns;
        *token_ns = row->first_token_ns;
    }
    bench_release(&b);
    workload_release(&w);
    return rc;
}

/* Ends a window and stores it; *joules is NAN where there are none. */
static int close_window(struct run *r, int64_t stage_id, int window, double *joules,
                        struct err *e) {
    struct meter_reading reading;
    struct meter_total t;
    int rc = meter_window_close(r->meter, window, &reading, e);
    if (!rc) {
        meter_total(&reading, NULL, 0, &t);
        *joules = t.quality == METER_MISSING ? (double)NAN : t.joules;
        rc = energy_rows_put(r->store, stage_id, &reading, e);
    }
    return rc;
}

static void drop_window(struct run *r, int window) {
    struct err ignored;
    if (window >= 0 && meter_window_close(r->meter, window, NULL, &ignored)) {
        return; /* it is gone either way */
    }
}

static int measured_start(struct served *s, int64_t stage_id, const char *cache, int repeat,
                          struct served_start_row *out, struct err *e) {
    struct run *r = s->run;
    struct store_cold_start *row = &out->times;
    char name[2][48];
    int64_t sent_ns = 0;
    int64_t token_ns = 0;
    snprintf(name[0], sizeof(name[0]), "%s/%d", cache, repeat);
    snprintf(name[1], sizeof(name[1]), "%s/%d/again", cache, repeat);
    int window = meter_window_open(r->meter, name[0], METER_NO_PARENT, e);
    int rc = window < 0 ? window : served_start(s, e);
    rc = rc ? rc : first_token(s, "(1) ", &sent_ns, &token_ns, e);
    if (rc) {
        drop_window(r, window);
        return rc;
    }
    rc = close_window(r, stage_id, window, &row->joules, e);
    const struct server *v = &s->server;
    out->port_s = clock_ns_to_s(v->port_ns - v->exec_ns);
    row->context_s = clock_ns_to_s(v->ready_ns - v->exec_ns);
    row->first_token_s = clock_ns_to_s(token_ns - v->exec_ns);
    window = rc ? -1 : meter_window_open(r->meter, name[1], METER_NO_PARENT, e);
    rc = rc ? rc : window < 0 ? window : first_token(s, "(2) ", &sent_ns, &token_ns, e);
    if (rc) {
        drop_window(r, window);
        return rc;
    }
    row->warm_first_token_s = clock_ns_to_s(token_ns - sent_ns);
    return close_window(r, stage_id, window, &row->warm_joules, e);
}

int load_by_server(struct run *r, const struct variant *v, int64_t stage_id, const char *cache,
                   int repeat, bool measured, struct served_start_row *out, struct err *e) {
    const double unknown = (double)NAN; /* what a server does until it is ready, it does not tell */
    const struct variant first = first_task(r, v);
    struct served s;
    *out = (struct served_start_row){.times = {.repeat = repeat,
                                               .cache = cache,
                                               .main_s = unknown,
                                               .backend_s = unknown,
                                               .weights_s = unknown,
                                               .joules = unknown,
                                               .warm_joules = unknown}};
    int rc = served_open(&s, r, &first, e);
    if (!rc && measured) {
        rc = measured_start(&s, stage_id, cache, repeat, out, e);
    } else if (!rc) {
        rc = served_start(&s, e);
    }
    memcpy(out->version, s.version, sizeof(out->version));
    served_close(&s);
    return rc;
}
