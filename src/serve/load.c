#include "serve/load.h"

#include "base/clock.h"
#include "base/machine.h"
#include "serve/composer.h"
#include "serve/poller.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BLOCK_RECORDS = 2048,
    MAX_WAIT_MS = 50,    /* so that a stop is noticed */
    LEVEL_CHECK_MS = 5,  /* while the concurrency changes */
    START_DELAY_MS = 20, /* from all loops ready to the first request */
    BACKOFF_MS = 100,    /* of a place in a closed loop whose connection failed */
    PROGRESS_MS = 200,
    WATCH_MS = 25,
    CACHE_LINES = 128, /* two, which processors fetch together */
};

struct record_block {
    struct record_block *next;
    size_t n;
    struct record r[BLOCK_RECORDS];
};

/* A queue in a ring that grows; head and tail count for ever. */
struct delayed {
    int64_t due_ns;
    struct record *record; /* NULL: a new one is to be begun */
    const struct payload *payload;
};

struct ring {
    struct delayed *at;
    size_t cap; /* a power of two */
    size_t head, tail;
};

enum loop_state { LOOP_STARTING, LOOP_READY, LOOP_FAILED };

/* Aligned, so that no loop writes where another reads. */
struct loop {
    _Alignas(CACHE_LINES) const struct load *load;
    struct gate *gate;
    int index;
    pthread_t thread;
    bool has_thread;
    enum loop_state state;
    struct transport *t;
    struct log_store store;
    struct record_block *blocks;
    int64_t start_ns;
    int64_t next_due_ns; /* of whatever is to be sent next */
    size_t next_arrival;
    size_t n_begun_here; /* fresh requests, follow-ups not counted */
    size_t share;        /* of count; SIZE_MAX without */
    size_t n_active;     /* begun and not ended, follow-ups that are due later included */
    struct ring waiting; /* due, and no connection free */
    struct ring later;   /* to be sent at a moment of their own, in order */
    int64_t last_begin_ns;
    bool closing; /* nothing is begun any more */
    bool no_memory;
    struct composer *composer; /* of conversations; NULL */
    struct payload **turns;    /* payloads of follow-ups, owned */
    size_t n_turns, cap_turns;
    struct loop_result result;
    struct err err;
    _Atomic uint64_t n_begun, n_ended, n_failed;
};

/* Lets all loops begin at one moment. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int n_ready;
    bool open, cancelled;
    int64_t start_ns;
    _Atomic int n_over;
};

struct load_memory {
    struct loop *loops;
    int n_loops;
    struct record *records; /* of results that no loop made */
    void *bytes;
    struct log_store logs;
};

/* ---- queues and records ---- */

static bool ring_push(struct ring *q, struct delayed d) {
    if (q->tail - q->head == q->cap) {
        size_t cap = q->cap ? 2 * q->cap : 64;
        struct delayed *grown = calloc(cap, sizeof(*grown));
        if (!grown) {
            return false;
        }
        for (size_t i = 0; i < q->cap; i++) {
            grown[i] = q->at[(q->head + i) & (q->cap - 1)];
        }
        free(q->at);
        q->at = grown;
        q->tail -= q->head;
        q->head = 0;
        q->cap = cap;
    }
    q->at[q->tail++ & (q->cap - 1)] = d;
    return true;
}

static bool ring_is_empty(const struct ring *q) {
    return q->head == q->tail;
}

static struct delayed *ring_first(const struct ring *q) {
    return &q->at[q->head & (q->cap - 1)];
}

/* Keeps the queue in order of time: nearly always the new one is the last. */
static bool ring_insert(struct ring *q, struct delayed d) {
    if (!ring_push(q, d)) {
        return false;
    }
    for (size_t i = q->tail - 1; i > q->head; i--) {
        struct delayed *before = &q->at[(i - 1) & (q->cap - 1)];
        if (before->due_ns <= d.due_ns) {
            break;
        }
        q->at[i & (q->cap - 1)] = *before;
        *before = d;
    }
    return true;
}

static struct record *new_record(struct loop *l) {
    if (!l->blocks || l->blocks->n == BLOCK_RECORDS) {
        struct record_block *b = calloc(1, sizeof(*b));
        if (!b) {
            l->no_memory = true;
            return NULL;
        }
        b->next = l->blocks;
        l->blocks = b;
    }
    struct record *r = &l->blocks->r[l->blocks->n++];
    r->outcome = OUTCOME_PENDING;
    r->loop = (uint16_t)l->index;
    return r;
}

/* ---- sending ---- */

static void dispatch(struct loop *l, struct record *r, const struct payload *p) {
    int64_t now_ns = clock_mono_ns();
    r->payload = p;
    if (!ring_is_empty(&l->waiting) || !l->load->ops->send(l->t, r, p, now_ns)) {
        if (!ring_push(&l->waiting, (struct delayed){0, r, p})) {
            l->no_memory = true;
        }
    }
}

static void begin(struct loop *l, int64_t scheduled_ns, size_t prompt) {
    struct record *r = new_record(l);
    if (!r) {
        return;
    }
    r->scheduled_ns = scheduled_ns;
    r->prompt = (uint32_t)prompt;
    l->n_begun_here++;
    if (l->load->follow_up) {
        r->session = (uint32_t)((l->n_begun_here - 1) * (size_t)l->load->n_loops +
                                (size_t)l->index + 1);
    }
    l->n_active++;
    l->n_begun++;
    l->last_begin_ns = scheduled_ns > l->last_begin_ns ? scheduled_ns : l->last_begin_ns;
    dispatch(l, r, &l->load->payloads[prompt]);
}

static size_t prompt_in_turn(const struct loop *l, size_t k) {
    return (k * (size_t)l->load->n_loops + (size_t)l->index) % l->load->n_payloads;
}

/* The share of a concurrency that this loop holds. */
static size_t wanted_now(const struct loop *l, int64_t now_ns) {
    double level = levels_at(&l->load->concurrency, clock_ns_to_s(now_ns - l->start_ns));
    size_t all = (size_t)fmax(1, floor(level + 1e-9));
    size_t n = (size_t)l->load->n_loops;
    return all / n + ((size_t)l->index < all % n);
}

static bool may_begin(const struct loop *l, int64_t now_ns) {
    return !l->closing && !l->no_memory && l->n_begun_here < l->share &&
           (l->load->duration_ns == 0 || now_ns - l->start_ns < l->load->duration_ns);
}

static void fill_places(struct loop *l, int64_t now_ns) {
    size_t wanted = wanted_now(l, now_ns);
    while (l->n_active < wanted && may_begin(l, now_ns)) {
        begin(l, now_ns, prompt_in_turn(l, l->n_begun_here));
        now_ns = clock_mono_ns();
    }
}

static int64_t arrival_ns(const struct loop *l, size_t i) {
    return l->start_ns + l->load->arrivals[i];
}

static void set_next_due(struct loop *l) {
    int64_t due_ns = INT64_MAX;
    if (l->load->arrivals && l->next_arrival < l->load->n_arrivals && !l->closing) {
        due_ns = arrival_ns(l, l->next_arrival);
    }
    if (!ring_is_empty(&l->later) && ring_first(&l->later)->due_ns < due_ns) {
        due_ns = ring_first(&l->later)->due_ns;
    }
    l->next_due_ns = due_ns;
}

/* Sends whatever has become due. */
static void send_due(void *ctx, int64_t now_ns) {
    struct loop *l = ctx;
    const struct load *load = l->load;
    while (load->arrivals && l->next_arrival < load->n_arrivals && !l->no_memory &&
           arrival_ns(l, l->next_arrival) <= now_ns) {
        size_t i = l->next_arrival;
        l->next_arrival += (size_t)load->n_loops;
        begin(l, arrival_ns(l, i), load->prompt_of ? load->prompt_of[i] : i % load->n_payloads);
        now_ns = clock_mono_ns();
    }
    while (!ring_is_empty(&l->later) && ring_first(&l->later)->due_ns <= now_ns) {
        struct delayed d = l->later.at[l->later.head++ & (l->later.cap - 1)];
        if (d.record) {
            dispatch(l, d.record, d.payload);
        } else {
            l->n_active--; /* the place that had to pause is free */
            fill_places(l, now_ns);
        }
    }
    set_next_due(l);
}

/* Keeps what the follow-up sent until the results go. */
static const struct payload *own_turn(struct loop *l, const struct payload *p) {
    if (l->n_turns == l->cap_turns) {
        size_t cap = l->cap_turns ? 2 * l->cap_turns : 64;
        struct payload **grown = reallocarray(l->turns, cap, sizeof(void *));
        if (!grown) {
            return NULL;
        }
        l->turns = grown;
        l->cap_turns = cap;
    }
    struct payload *own = malloc(sizeof(*own));
    if (own) {
        *own = *p;
        l->turns[l->n_turns++] = own;
    }
    return own;
}

/* True when the conversation may go on: its place stays taken until its next turn is made. */
static bool hand_over(struct loop *l, const struct record *r) {
    const struct load *load = l->load;
    if (!l->composer || r->outcome != OUTCOME_OK || l->closing ||
        (load->has_turn && !load->has_turn(load->follow_up_ctx, r))) {
        return false;
    }
    l->no_memory |= !composer_give(l->composer, r);
    return true;
}

static void begin_turn(struct loop *l, const struct composed *turn) {
    const struct record *r = turn->record;
    const struct payload *p = own_turn(l, &turn->next.payload);
    struct record *record = p ? new_record(l) : NULL;
    if (!record) {
        l->no_memory = true;
        return;
    }
    record->scheduled_ns = r->ended_ns + turn->next.think_ns;
    record->prompt = r->prompt;
    record->session = r->session;
    record->turn = (uint16_t)(r->turn + 1);
    l->n_begun++;
    l->no_memory |= !ring_insert(&l->later, (struct delayed){record->scheduled_ns, record, p});
}

/* The turns that were made meanwhile, and the places of conversations that are over. */
static void take_turns(struct loop *l) {
    struct composed turn;
    while (composer_take(l->composer, &turn)) {
        if (turn.goes_on) {
            begin_turn(l, &turn);
            continue;
        }
        l->n_active--;
        if (!l->load->arrivals) {
            fill_places(l, clock_mono_ns());
        }
    }
    set_next_due(l);
}

static bool is_connection_failure(enum outcome o) {
    return o >= OUTCOME_REFUSED && o <= OUTCOME_CLOSED;
}

static void on_done(void *ctx, struct record *r) {
    struct loop *l = ctx;
    l->n_ended++;
    l->n_failed += outcome_is_failure((enum outcome)r->outcome);
    while (!ring_is_empty(&l->waiting) && !l->closing) {
        const struct delayed *d = ring_first(&l->waiting);
        if (!l->load->ops->send(l->t, d->record, d->payload, clock_mono_ns())) {
            break;
        }
        l->waiting.head++;
    }
    if (hand_over(l, r)) {
        return;
    }
    if (!l->load->arrivals && is_connection_failure((enum outcome)r->outcome) && !l->closing) {
        int64_t at_ns = r->ended_ns + BACKOFF_MS * NS_PER_MS;
        l->no_memory |= !ring_insert(&l->later, (struct delayed){at_ns, NULL, NULL});
        set_next_due(l);
        return;
    }
    l->n_active--;
    if (!l->load->arrivals) {
        fill_places(l, r->ended_ns);
    }
}

/* ---- a loop's life ---- */

static int64_t thread_cpu_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static bool all_begun(const struct loop *l, int64_t now_ns) {
    if (l->load->arrivals) {
        return l->next_arrival >= l->load->n_arrivals;
    }
    return !may_begin(l, now_ns);
}

/* Ends what never got a connection. */
static void end_unsent(struct loop *l, enum outcome outcome) {
    struct ring *queues[] = {&l->waiting, &l->later};
    int64_t now_ns = clock_mono_ns();
    for (size_t i = 0; i < 2; i++) {
        for (; !ring_is_empty(queues[i]); queues[i]->head++) {
            struct record *r = ring_first(queues[i])->record;
            if (r) {
                r->outcome = (uint8_t)(queues[i] == &l->waiting ? outcome : OUTCOME_CUT);
                r->ended_ns = now_ns;
                l->n_ended++;
            }
        }
    }
}

static void run_loop(struct loop *l) {
    const struct load *load = l->load;
    int64_t drain_until_ns = 0;
    bool level_changes = load->concurrency.n > 1 ||
                         (load->concurrency.n == 1 &&
                          load->concurrency.steps[0].from != load->concurrency.steps[0].to);
    clock_sleep_until_ns(l->start_ns - NS_PER_MS);
    set_next_due(l);
    for (;;) {
        int64_t now_ns = clock_mono_ns();
        if (now_ns >= l->next_due_ns) {
            send_due(l, now_ns);
        }
        if (!load->arrivals && now_ns >= l->start_ns) {
            fill_places(l, now_ns);
        }
        bool begun = now_ns >= l->start_ns && all_begun(l, now_ns);
        if (begun && l->n_active == 0) {
            break;
        }
        if (begun && !drain_until_ns && load->duration_ns) {
            int64_t over_ns = l->start_ns + load->duration_ns;
            drain_until_ns = (load->arrivals || over_ns < now_ns ? now_ns : over_ns) +
                             load->drain_ns;
        }
        if ((load->stop && *load->stop) || l->no_memory ||
            (drain_until_ns && now_ns >= drain_until_ns)) {
            break;
        }
        int64_t wait_ms = level_changes ? LEVEL_CHECK_MS : MAX_WAIT_MS;
        int64_t until_ns = now_ns + wait_ms * NS_PER_MS;
        if (now_ns < l->start_ns) {
            until_ns = l->start_ns;
        }
        if (drain_until_ns && drain_until_ns < until_ns) {
            until_ns = drain_until_ns;
        }
        load->ops->wait(l->t, l->next_due_ns < until_ns ? l->next_due_ns : until_ns);
        if (l->composer) {
            take_turns(l);
        }
    }
    l->closing = true;
    l->result.stats = (struct transport_stats){0};
    load->ops->stats(l->t, &l->result.stats);
    load->ops->abandon(l->t, OUTCOME_CUT);
    end_unsent(l, load->stop && *load->stop ? OUTCOME_CUT : OUTCOME_NO_CONNECTION);
}

static void bind_to_cpu(const struct loop *l) {
    if (l->load->n_cpus > 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)l->load->cpus[(size_t)l->index % l->load->n_cpus], &set);
        sched_setaffinity(0, sizeof(set), &set);
    }
}

/* Opens the transport and its connections. */
static int get_ready(struct loop *l) {
    const struct load *load = l->load;
    size_t n = (size_t)load->n_loops;
    struct transport_opts o = load->transport;
    o.store = &l->store;
    o.done = on_done;
    o.due = send_due;
    o.next_due_ns = &l->next_due_ns;
    o.ctx = l;
    o.max_connections = (o.max_connections + n - 1) / n;
    size_t connections = load->preconnect / n + ((size_t)l->index < load->preconnect % n);
    int rc = 0;
    if (load->follow_up) {
        rc = composer_start(&l->composer, load->follow_up, load->follow_up_ctx, &l->err);
        o.wake_fd = rc ? 0 : composer_fd(l->composer);
    }
    rc = rc ? rc : load->ops->open(&l->t, &o, &l->err);
    if (!rc) {
        rc = load->ops->connect(l->t, connections ? connections : 1,
                                clock_mono_ns() + o.connect_timeout_ns, &l->err);
    }
    return rc;
}

/* Tells that this loop is ready or has failed; true when all begin. */
static bool pass_gate(struct loop *l, int rc) {
    struct gate *g = l->gate;
    pthread_mutex_lock(&g->mutex);
    l->state = rc ? LOOP_FAILED : LOOP_READY;
    g->n_ready++;
    pthread_cond_broadcast(&g->cond);
    while (!g->open && !g->cancelled) {
        pthread_cond_wait(&g->cond, &g->mutex);
    }
    l->start_ns = g->start_ns;
    bool go = !g->cancelled;
    pthread_mutex_unlock(&g->mutex);
    return go;
}

static void *loop_main(void *arg) {
    struct loop *l = arg;
    bind_to_cpu(l);
    poller_sharpen_thread();
    if (pass_gate(l, get_ready(l))) {
        int64_t begin_ns = clock_mono_ns();
        int64_t cpu_ns = thread_cpu_ns();
        run_loop(l);
        l->result.wall_ns = clock_mono_ns() - begin_ns;
        l->result.cpu_ns = thread_cpu_ns() - cpu_ns;
    }
    if (l->t) {
        l->load->ops->close(l->t);
    }
    composer_stop(l->composer);
    l->gate->n_over++;
    return NULL;
}

/* ---- all loops ---- */

static int start_loops(const struct load *load, struct load_memory *m, struct gate *g,
                       struct err *e) {
    m->loops = aligned_alloc(CACHE_LINES, (size_t)load->n_loops * sizeof(*m->loops));
    if (!m->loops) {
        return err_set(e, EE_NOMEM, "load: out of memory");
    }
    memset(m->loops, 0, (size_t)load->n_loops * sizeof(*m->loops));
    int rc = 0;
    for (int i = 0; i < load->n_loops && !rc; i++) {
        struct loop *l = &m->loops[i];
        m->n_loops++;
        *l = (struct loop){.load = load,
                           .gate = g,
                           .index = i,
                           .next_due_ns = INT64_MAX, /* nothing, while connections are opened */
                           .next_arrival = (size_t)i};
        size_t n = (size_t)load->n_loops;
        l->share = load->count ? load->count / n + ((size_t)i < load->count % n) : SIZE_MAX;
        int errnum = pthread_create(&l->thread, NULL, loop_main, l);
        rc = errnum ? err_errno(e, errnum, "cannot start a thread") : 0;
        l->has_thread = !rc;
    }
    return rc;
}

/* Waits until all loops are ready, and opens the gate if all are. */
static int open_gate(struct load_memory *m, struct gate *g, int rc, struct err *e) {
    pthread_mutex_lock(&g->mutex);
    int n = 0;
    for (int i = 0; i < m->n_loops; i++) {
        n += m->loops[i].has_thread;
    }
    while (g->n_ready < n) {
        pthread_cond_wait(&g->cond, &g->mutex);
    }
    for (int i = 0; i < n && !rc; i++) {
        if (m->loops[i].state == LOOP_FAILED) {
            *e = m->loops[i].err;
            rc = m->loops[i].err.code;
        }
    }
    g->start_ns = clock_mono_ns() + START_DELAY_MS * NS_PER_MS;
    g->open = !rc;
    g->cancelled = rc != 0;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->mutex);
    return rc;
}

static void watch(const struct load *load, struct load_memory *m, const struct gate *g) {
    int64_t next_ns = g->start_ns;
    while (g->n_over < m->n_loops) {
        clock_sleep_until_ns(clock_mono_ns() + WATCH_MS * NS_PER_MS);
        int64_t now_ns = clock_mono_ns();
        if (!load->progress || now_ns < next_ns) {
            continue;
        }
        next_ns = now_ns + PROGRESS_MS * NS_PER_MS;
        uint64_t begun = 0;
        uint64_t ended = 0;
        uint64_t failed = 0;
        for (int i = 0; i < m->n_loops; i++) {
            begun += m->loops[i].n_begun;
            ended += m->loops[i].n_ended;
            failed += m->loops[i].n_failed;
        }
        load->progress(load->progress_ctx, clock_ns_to_s(now_ns - g->start_ns), begun, ended,
                       failed);
    }
}

static int by_schedule(const void *a, const void *b) {
    const struct record *x = *(struct record *const *)a;
    const struct record *y = *(struct record *const *)b;
    if (x->scheduled_ns != y->scheduled_ns) {
        return x->scheduled_ns < y->scheduled_ns ? -1 : 1;
    }
    return x->begun_ns < y->begun_ns ? -1 : x->begun_ns > y->begun_ns;
}

static int collect(struct load_memory *m, struct load_result *out, struct err *e) {
    size_t n = 0;
    for (int i = 0; i < m->n_loops; i++) {
        for (const struct record_block *b = m->loops[i].blocks; b; b = b->next) {
            n += b->n;
        }
    }
    out->records = reallocarray(NULL, n ? n : 1, sizeof(void *));
    out->loops = calloc((size_t)m->n_loops + 1, sizeof(*out->loops));
    if (!out->records || !out->loops) {
        return err_set(e, EE_NOMEM, "results: out of memory");
    }
    for (int i = 0; i < m->n_loops; i++) {
        struct loop *l = &m->loops[i];
        if (l->no_memory) {
            return err_set(e, EE_NOMEM, "the load's records do not fit in memory: ask for less");
        }
        out->loops[i] = l->result;
        out->last_begin_ns = l->last_begin_ns > out->last_begin_ns ? l->last_begin_ns
                                                                   : out->last_begin_ns;
        for (struct record_block *b = l->blocks; b; b = b->next) {
            for (size_t k = 0; k < b->n; k++) {
                out->records[out->n++] = &b->r[k];
            }
        }
    }
    out->n_loops = (size_t)m->n_loops;
    qsort(out->records, out->n, sizeof(void *), by_schedule);
    return 0;
}

int load_run(const struct load *load, struct load_result *out, struct err *e) {
    *out = (struct load_result){0};
    struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    out->memory = calloc(1, sizeof(*out->memory));
    if (!out->memory) {
        return err_set(e, EE_NOMEM, "load: out of memory");
    }
    int64_t begin_ns = clock_mono_ns();
    int rc = start_loops(load, out->memory, &gate, e);
    rc = open_gate(out->memory, &gate, rc, e);
    out->start_ns = gate.start_ns;
    out->connect_s = clock_ns_to_s(gate.start_ns - begin_ns) - START_DELAY_MS / 1000.0;
    if (!rc) {
        watch(load, out->memory, &gate);
    }
    for (int i = 0; i < out->memory->n_loops; i++) {
        if (out->memory->loops[i].has_thread) {
            pthread_join(out->memory->loops[i].thread, NULL);
        }
    }
    out->end_ns = clock_mono_ns();
    out->peak_rss_bytes = machine_self_memory_bytes("VmHWM");
    out->anon_rss_bytes = machine_self_memory_bytes("RssAnon");
    out->stopped = load->stop && *load->stop;
    rc = rc ? rc : collect(out->memory, out, e);
    if (rc) {
        load_result_release(out);
    }
    return rc;
}

double load_write_mean_s(const struct load_result *r) {
    uint64_t n = 0;
    int64_t ns = 0;
    for (size_t i = 0; i < r->n_loops; i++) {
        n += r->loops[i].stats.writes;
        ns += r->loops[i].stats.write_ns;
    }
    return n ? clock_ns_to_s(ns) / (double)n : (double)NAN;
}

static void release_loop(struct loop *l) {
    while (l->blocks) {
        struct record_block *next = l->blocks->next;
        free(l->blocks);
        l->blocks = next;
    }
    for (size_t i = 0; i < l->n_turns; i++) {
        free((char *)l->turns[i]->bytes);
        free(l->turns[i]);
    }
    free(l->turns);
    free(l->waiting.at);
    free(l->later.at);
    log_store_release(&l->store);
}

void load_result_release(struct load_result *r) {
    for (int i = 0; r->memory && i < r->memory->n_loops; i++) {
        release_loop(&r->memory->loops[i]);
    }
    if (r->memory) {
        free(r->memory->loops);
        free(r->memory->records);
        free(r->memory->bytes);
        log_store_release(&r->memory->logs);
    }
    free(r->memory);
    free(r->records);
    free(r->loops);
    *r = (struct load_result){0};
}

int load_result_reserve(struct load_result *r, size_t n, struct err *e) {
    *r = (struct load_result){.n = n};
    r->memory = calloc(1, sizeof(*r->memory));
    r->records = reallocarray(NULL, n + 1, sizeof(void *));
    r->loops = calloc(1, sizeof(*r->loops));
    if (r->memory) {
        r->memory->records = calloc(n + 1, sizeof(*r->memory->records));
    }
    if (!r->memory || !r->records || !r->loops || !r->memory->records) {
        load_result_release(r);
        return err_set(e, EE_NOMEM, "%zu requests: out of memory", n);
    }
    for (size_t i = 0; i <= n; i++) {
        r->records[i] = &r->memory->records[i];
    }
    return 0;
}

void load_result_keep_bytes(struct load_result *r, void *bytes) {
    r->memory->bytes = bytes;
}

void load_result_keep_logs(struct load_result *r, struct log_store *store) {
    r->memory->logs = *store;
    *store = (struct log_store){0};
}
