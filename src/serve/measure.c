#include "serve/measure.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct figure_info figure_infos[FIGURES] = {
    [FIG_TTFT] = {"ttft", "TTFT", true, false},
    [FIG_TTFO] = {"ttfo", "TTFO", true, false},
    [FIG_ITL_EVENT] = {"itl_event", "ITL per event", false, false},
    [FIG_ITL_TOKEN] = {"itl_token", "ITL per token", false, false},
    [FIG_TPOT] = {"tpot", "TPOT", true, false},
    [FIG_E2E] = {"e2e", "end to end", true, false},
    [FIG_NTPOT] = {"ntpot", "NTPOT", true, false},
    [FIG_TTFT_SCHEDULE] = {"ttft_schedule", "TTFT from schedule", true, false},
    [FIG_TTFO_SCHEDULE] = {"ttfo_schedule", "TTFO from schedule", true, false},
    [FIG_E2E_SCHEDULE] = {"e2e_schedule", "end to end from schedule", true, false},
    [FIG_SEND_LAG] = {"send_lag", "send lag", true, false},
    [FIG_CONNECT] = {"connect", "connecting", true, true},
    [FIG_DELIVERY] = {"delivery", "delivery", true, true},
    [FIG_EVENT_DELIVERY] = {"event_delivery", "delivery of each read", false, true},
    [FIG_SERVER_LATE] = {"server_late", "null server's lateness", false, true},
};

const double percentiles[PERCENTILES] = {0.5, 0.9, 0.95, 0.99, 0.999};

static double none(void) {
    return (double)NAN;
}

/* Times read from a file may be anything. */
static double seconds_between(int64_t from_ns, int64_t to_ns) {
    int64_t ns = 0;
    bool is_known = from_ns && to_ns && !__builtin_sub_overflow(to_ns, from_ns, &ns);
    return is_known ? clock_ns_to_s(ns) : none();
}

/* ---- SLOs ---- */

static int bad_slo(const char *text, struct err *e) {
    return err_set(e, EE_USAGE,
                   "--slo is \"%.60s\"; give limits such as ttft=200ms,tpot=25ms,e2e=5s; figures: "
                   "ttft, ttfo, tpot, e2e, ntpot, and those with _schedule",
                   text);
}

int slo_parse(const char *text, struct slo_set *out, struct err *e) {
    const char *given = text;
    *out = (struct slo_set){0};
    while (*text) {
        size_t name_len = strcspn(text, "=");
        int f = 0;
        while (f < FIGURES &&
               (!figure_infos[f].is_per_request || strlen(figure_infos[f].id) != name_len ||
                strncmp(figure_infos[f].id, text, name_len) != 0)) {
            f++;
        }
        if (f == FIGURES || text[name_len] != '=' || out->n == MAX_SLOS) {
            return bad_slo(given, e);
        }
        char *end = NULL;
        double limit = strtod(text + name_len + 1, &end);
        size_t unit_len = strcspn(end, ",");
        double scale = unit_len == 2 && !strncmp(end, "ms", 2)   ? 1e-3
                       : unit_len == 1 && *end == 's'            ? 1
                       : unit_len == 2 && !strncmp(end, "us", 2) ? 1e-6
                                                                 : 0;
        if (!(limit > 0) || !isfinite(limit) || scale == 0) {
            return bad_slo(given, e);
        }
        out->at[out->n++] = (struct slo){(enum figure)f, limit * scale};
        text = end + unit_len + (end[unit_len] == ',');
    }
    return out->n > 0 ? 0 : bad_slo(given, e);
}

static bool meets(const struct request_row *row, const struct slo_set *slos) {
    for (size_t i = 0; i < slos->n; i++) {
        double v = row->value[slos->at[i].figure];
        if (v > slos->at[i].limit_s) { /* a figure that a request does not have is not missed */
            return false;
        }
    }
    return row->outcome == OUTCOME_OK;
}

/* ---- pools of values ---- */

struct pool {
    double *x;
    size_t n, cap;
};

static bool pool_add(struct pool *p, double v) {
    if (isnan(v)) {
        return true;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 1024;
        double *grown = realloc(p->x, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        p->x = grown;
        p->cap = cap;
    }
    p->x[p->n++] = v;
    return true;
}

struct pass {
    const struct load_result *load;
    const struct measure_opts *opts;
    struct measures *m;
    struct reply_reader reader;
    struct pool pools[FIGURES];
    struct bins bins;
    double counted_tokens; /* of answers with usage, and their events: */
    double counted_events;
    struct arena scratch;
};

/* ---- tokens ---- */

/* Tokens that the answer's text has by the vocabulary. */
static int count_text(struct pass *s, const char *text, size_t len, int64_t *out, struct err *e) {
    int32_t *tokens;
    size_t n;
    int rc = engine_tokenize_text(s->opts->vocabulary, text, len, false, &s->scratch, &tokens, &n,
                                  e);
    *out = rc ? -1 : (int64_t)n;
    arena_release(&s->scratch);
    return rc;
}

/* Compares the server's counts with the vocabulary's. */
static int check_tokens(struct pass *s, struct request_row *row, const struct reply *p,
                        struct err *e) {
    struct token_check *c = &s->m->check;
    const struct workload *w = s->opts->workload;
    row->text_tokens = -1;
    if (w && row->prompt_tokens >= 0 && row->record->turn == 0 &&
        w->prompts[row->record->prompt].n_tokens > 0) {
        int64_t ours = (int64_t)w->prompts[row->record->prompt].n_tokens;
        c->n_prompts++;
        c->n_prompts_equal += ours == row->prompt_tokens;
        c->prompt_difference += row->prompt_tokens - ours;
    }
    bool plain = p->text.len == p->content.len; /* marks around reasoning are not in the text */
    if (!s->opts->vocabulary || p->text.len == 0 || !plain) {
        return 0;
    }
    int rc = count_text(s, p->text.data, p->text.len, &row->text_tokens, e);
    if (!rc && row->output_tokens >= 0) {
        int64_t difference = row->output_tokens - row->text_tokens;
        bool end_token = difference == 1 && !strcmp(p->finish, "stop");
        c->n_answers++;
        c->n_answers_equal += difference == 0 || end_token;
        c->answer_difference += difference - end_token;
    }
    return rc;
}

/* ---- one request ---- */

static void fill_row(struct request_row *row, const struct reply *p) {
    const struct record *r = row->record;
    row->outcome = p->outcome;
    row->first_event_ns = p->first_event_ns;
    row->first_token_ns = p->first_token_ns;
    row->first_output_ns = p->first_output_ns;
    row->last_token_ns = p->last_token_ns;
    row->done_ns = p->done_ns;
    row->prompt_tokens = p->prompt_tokens;
    row->output_tokens = p->output_tokens;
    row->reasoning_tokens = p->reasoning_tokens;
    row->cached_tokens = p->cached_tokens;
    row->n_events = (uint32_t)p->n_events;
    row->n_coalesced = (uint32_t)p->n_coalesced;
    row->has_done = p->has_done;
    memcpy(row->finish, p->finish, sizeof(row->finish));
    double *v = row->value;
    for (int f = 0; f < FIGURES; f++) {
        v[f] = none();
    }
    v[FIG_SEND_LAG] = seconds_between(r->scheduled_ns, r->sent_ns);
    if ((r->flags & RECORD_FRESH_CONNECTION) && r->connected_ns) {
        v[FIG_CONNECT] = seconds_between(r->begun_ns, r->connected_ns);
    }
    if (p->outcome != OUTCOME_OK) {
        return;
    }
    int64_t came = reply_tokens(p);
    v[FIG_TTFT] = seconds_between(r->sent_ns, p->first_token_ns);
    v[FIG_TTFO] = seconds_between(r->sent_ns, p->first_output_ns);
    v[FIG_E2E] = seconds_between(r->sent_ns, p->last_token_ns);
    v[FIG_TTFT_SCHEDULE] = seconds_between(r->scheduled_ns, p->first_token_ns);
    v[FIG_TTFO_SCHEDULE] = seconds_between(r->scheduled_ns, p->first_output_ns);
    v[FIG_E2E_SCHEDULE] = seconds_between(r->scheduled_ns, p->last_token_ns);
    v[FIG_DELIVERY] = seconds_between(p->events[0].sent_ns, p->first_token_ns);
    if (came > 1) {
        v[FIG_TPOT] = seconds_between(p->first_token_ns, p->last_token_ns) / (double)(came - 1);
    }
    if (p->output_tokens > 0) {
        v[FIG_NTPOT] = v[FIG_E2E] / (double)p->output_tokens;
    }
}

/* Of the null server's event: how long it was on its way to our timestamp, and how late it set out. */
static bool add_delivery(struct pass *s, const struct reply_event *e) {
    return !e->sent_ns ||
           (pool_add(&s->pools[FIG_EVENT_DELIVERY], seconds_between(e->sent_ns, e->ns)) &&
            pool_add(&s->pools[FIG_SERVER_LATE], clock_ns_to_s(e->late_ns)));
}

/* Gaps between reads: events that came together have one, over all their tokens. */
static bool add_gaps(struct pass *s, const struct reply *p, int64_t came) {
    bool known = reply_knows_event_tokens(p, came);
    s->m->n_no_event_tokens += !known;
    size_t i = 0;
    int64_t before_ns = 0;
    bool ok = true;
    while (i < p->n_events && ok) {
        int64_t ns = p->events[i].ns;
        uint32_t tokens = 0;
        do {
            tokens += reply_event_tokens(p, came, i++);
        } while (i < p->n_events && p->events[i].coalesced);
        if (before_ns) {
            double gap = clock_ns_to_s(ns - before_ns);
            ok = pool_add(&s->pools[FIG_ITL_EVENT], gap);
            for (uint32_t k = 0; known && k < tokens && ok; k++) {
                ok = pool_add(&s->pools[FIG_ITL_TOKEN], gap / tokens);
            }
        }
        ok = ok && add_delivery(s, &p->events[i - 1]); /* the last of a read, whose time it has */
        before_ns = ns;
    }
    return ok;
}

static size_t bin_of(const struct bins *b, int64_t ns) {
    int64_t i = (ns - b->begin_ns) / b->width_ns;
    return i < 0 ? 0 : i >= (int64_t)b->n ? b->n - 1 : (size_t)i;
}

static void add_to_bins(struct pass *s, const struct request_row *row, const struct reply *p) {
    struct bins *b = &s->bins;
    bool good = row->outcome == OUTCOME_OK;
    if (b->n == 0 || (!good && row->outcome != OUTCOME_CUT)) {
        return; /* what a failed request brought was of no use */
    }
    int64_t came = reply_tokens(p);
    bool counted = good && came >= 0;
    double weight = counted ? (double)came / (double)p->n_events : 1;
    for (size_t i = 0; i < p->n_events; i++) {
        double *x = counted ? b->tokens : b->events;
        x[bin_of(b, p->events[i].ns)] += weight;
    }
    if (counted) {
        s->counted_tokens += (double)came;
        s->counted_events += (double)p->n_events;
    }
    if (row->first_token_ns && row->prompt_tokens > 0) {
        b->prompts[bin_of(b, row->first_token_ns)] += (double)row->prompt_tokens;
    }
    if (good) {
        b->requests[bin_of(b, row->last_token_ns)]++;
    }
}

static void count_outcome(struct measures *m, const struct request_row *row, const char *message) {
    m->outcomes[row->outcome]++;
    if (!m->messages[row->outcome][0]) {
        memcpy(m->messages[row->outcome], message, sizeof(m->messages[0]));
    }
    if (!outcome_is_failure(row->outcome)) {
        return;
    }
    m->n_failed++;
    size_t n = sizeof(m->statuses) / sizeof(m->statuses[0]);
    for (size_t i = 0; i < n && row->record->status; i++) {
        if (m->statuses[i].n == 0 || m->statuses[i].status == row->record->status) {
            m->statuses[i].status = row->record->status;
            m->statuses[i].n++;
            break;
        }
    }
}

static void count_answer(struct measures *m, const struct request_row *row) {
    m->n_events += row->n_events;
    m->n_coalesced += row->n_coalesced;
    m->n_no_usage += row->output_tokens < 0;
    m->n_no_done += !row->has_done;
    m->prompt_tokens += row->prompt_tokens > 0 ? row->prompt_tokens : 0;
    m->output_tokens += row->output_tokens > 0 ? row->output_tokens : 0;
    m->cached_tokens += row->cached_tokens > 0 ? row->cached_tokens : 0;
}

static int take_record(struct pass *s, struct request_row *row, struct err *e) {
    const struct reply *p = reply_read(&s->reader, row->record);
    if (!p) {
        return err_set(e, EE_NOMEM, "responses: out of memory");
    }
    fill_row(row, p);
    row->measured = row->record->scheduled_ns >= s->opts->measured_from_ns;
    add_to_bins(s, row, p);
    row->met_slo = s->opts->slos.n > 0 && meets(row, &s->opts->slos);
    if (!row->measured) {
        s->m->n_warmup++;
        row->text_tokens = -1;
        return 0;
    }
    s->m->n_measured++;
    s->m->n_met += row->met_slo;
    s->m->n_fresh += (row->record->flags & RECORD_FRESH_CONNECTION) != 0;
    s->m->n_sent_again += (row->record->flags & RECORD_SENT_AGAIN) != 0;
    count_outcome(s->m, row, p->message);
    bool ok = true;
    for (int f = 0; f < FIGURES && ok; f++) {
        ok = pool_add(&s->pools[f], row->value[f]);
    }
    if (ok && row->outcome == OUTCOME_OK) {
        count_answer(s->m, row);
        ok = add_gaps(s, p, reply_tokens(p));
    }
    return ok ? check_tokens(s, row, p, e) : err_set(e, EE_NOMEM, "figures: out of memory");
}

/* ---- all of them ---- */

static int make_bins(struct pass *s, struct err *e) {
    const struct load_result *l = s->load;
    struct bins *b = &s->bins;
    b->begin_ns = l->start_ns;
    int64_t span_ns = l->end_ns - l->start_ns;
    b->width_ns = span_ns / (WINDOW_MAX_BINS - 1) + 1;
    b->n = span_ns > 0 ? (size_t)(span_ns / b->width_ns) + 1 : 0;
    double *all = calloc(4 * (b->n ? b->n : 1), sizeof(*all));
    b->tokens = all;
    b->events = all ? all + b->n : NULL;
    b->prompts = all ? all + 2 * b->n : NULL;
    b->requests = all ? all + 3 * b->n : NULL;
    return all ? 0 : err_set(e, EE_NOMEM, "figures: out of memory");
}

static void rates(struct pass *s) {
    struct measures *m = s->m;
    int64_t first_ns = INT64_MAX;
    int64_t last_ns = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct request_row *row = &m->rows[i];
        if (row->measured) {
            int64_t at_ns = row->record->scheduled_ns;
            first_ns = at_ns < first_ns ? at_ns : first_ns;
            last_ns = row->record->ended_ns > last_ns ? row->record->ended_ns : last_ns;
        }
    }
    size_t good = m->outcomes[OUTCOME_OK];
    m->whole_s = last_ns > first_ns ? clock_ns_to_s(last_ns - first_ns) : none();
    m->request_rate = (double)good / m->whole_s;
    bool all_counted = good > 0 && m->n_no_usage == 0;
    m->output_rate = all_counted ? (double)m->output_tokens / m->whole_s : none();
    m->input_rate = all_counted ? (double)m->prompt_tokens / m->whole_s : none();
    m->goodput = m->slos.n ? (double)m->n_met / m->whole_s : none();
    m->attained = m->slos.n && good + m->n_failed > 0
                      ? (double)m->n_met / (double)(good + m->n_failed)
                      : none();
}

static void find_window(struct pass *s) {
    struct measures *m = s->m;
    double ratio = s->counted_events > 0 ? s->counted_tokens / s->counted_events : none();
    int64_t from_ns = s->opts->measured_from_ns > s->load->start_ns ? s->opts->measured_from_ns
                                                                    : s->load->start_ns;
    window_find(&s->bins, s->load->start_ns, from_ns, s->load->last_begin_ns, ratio,
                m->figures[FIG_E2E].p[0], &m->window);
}

int measure(const struct load_result *load, const struct measure_opts *opts, struct measures *m,
            struct err *e) {
    *m = (struct measures){.slos = opts->slos, .n = load->n};
    struct pass s = {.load = load, .opts = opts, .m = m};
    reply_reader_init(&s.reader);
    m->rows = calloc(load->n ? load->n : 1, sizeof(*m->rows));
    int rc = m->rows ? 0 : err_set(e, EE_NOMEM, "figures: out of memory");
    rc = rc ? rc : make_bins(&s, e);
    for (size_t i = 0; i < load->n && !rc; i++) {
        m->rows[i].record = load->records[i];
        rc = take_record(&s, &m->rows[i], e);
    }
    if (!rc) {
        rates(&s);
    }
    for (int f = 0; f < FIGURES; f++) {
        m->pools[f] = s.pools[f].x;
        m->pool_n[f] = s.pools[f].n;
        rc = rc ? rc : summarize(m->pools[f], m->pool_n[f], &m->figures[f], e);
    }
    if (!rc) {
        find_window(&s);
    }
    free(s.bins.tokens);
    reply_reader_release(&s.reader);
    if (rc) {
        measures_release(m);
    }
    return rc;
}

void measures_release(struct measures *m) {
    for (int f = 0; f < FIGURES; f++) {
        free(m->pools[f]);
    }
    free(m->rows);
    *m = (struct measures){0};
}
