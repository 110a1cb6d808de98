/* One line a request: for spreadsheets and for whoever wants to compute something else. */
#include "serve/bench.h"

#include <inttypes.h>
#include <math.h>

static void add_ns(struct buf *out, int64_t ns) {
    if (ns) {
        buf_addf(out, ",%" PRId64, ns);
    } else {
        buf_addch(out, ',');
    }
}

static void add_count(struct buf *out, int64_t n) {
    if (n >= 0) {
        buf_addf(out, ",%" PRId64, n);
    } else {
        buf_addch(out, ',');
    }
}

int bench_csv(const struct measures *m, struct buf *out, struct err *e) {
    buf_addstr(out, "request,measured,outcome,status,prompt,session,turn,loop,connection,fresh,"
                    "scheduled_ns,begun_ns,connected_ns,sent_ns,first_byte_ns,first_event_ns,"
                    "first_token_ns,first_output_ns,last_token_ns,done_ns,ended_ns,bytes,"
                    "events,coalesced,prompt_tokens,output_tokens,reasoning_tokens,cached_tokens,"
                    "text_tokens,finish,met_slo");
    for (int f = 0; f < FIGURES; f++) {
        if (figure_infos[f].is_per_request) {
            buf_addf(out, ",%s_s", figure_infos[f].id);
        }
    }
    buf_addch(out, '\n');
    for (size_t i = 0; i < m->n && !out->failed; i++) {
        const struct request_row *row = &m->rows[i];
        const struct record *r = row->record;
        buf_addf(out, "%zu,%d,%s,", i, row->measured, outcome_name(row->outcome));
        if (r->status) {
            buf_addf(out, "%u", r->status);
        }
        buf_addf(out, ",%u,%u,%u,%u,%u,%d", r->prompt, r->session, r->turn, r->loop, r->connection,
                 (r->flags & RECORD_FRESH_CONNECTION) != 0);
        const int64_t times[] = {r->scheduled_ns,     r->begun_ns,          r->connected_ns,
                                 r->sent_ns,          r->first_byte_ns,     row->first_event_ns,
                                 row->first_token_ns, row->first_output_ns, row->last_token_ns,
                                 row->done_ns,        r->ended_ns};
        for (size_t k = 0; k < sizeof(times) / sizeof(times[0]); k++) {
            add_ns(out, times[k]);
        }
        buf_addf(out, ",%" PRIu64 ",%u,%u", r->bytes_in, row->n_events, row->n_coalesced);
        const int64_t counts[] = {row->prompt_tokens, row->output_tokens, row->reasoning_tokens,
                                  row->cached_tokens, row->text_tokens};
        for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
            add_count(out, counts[k]);
        }
        buf_addf(out, ",%s,%s", row->finish, m->slos.n == 0 ? "" : row->met_slo ? "1" : "0");
        for (int f = 0; f < FIGURES; f++) {
            if (figure_infos[f].is_per_request) {
                buf_addch(out, ',');
                if (isfinite(row->value[f])) {
                    buf_addf(out, "%.9f", row->value[f]);
                }
            }
        }
        buf_addch(out, '\n');
    }
    return buf_check(out, "CSV", e);
}
