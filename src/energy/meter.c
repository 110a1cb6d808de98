#include "energy/meter_impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PERIOD_MS 100
#define FASTEST_DEFAULT_NS (50 * NS_PER_MS)
#define JITTER_SEED 20250806
#define FULL_READ_NS NS_PER_S

static const char *const quality_names[] = {"counter", "integrated", "modelled", "missing"};

const char *meter_quality_name(enum meter_quality q) {
    return quality_names[q];
}

static int64_t real_now_ns(void *ctx) {
    (void)ctx;
    return clock_mono_ns();
}

static void real_wait_until(void *ctx, int64_t t_ns) {
    (void)ctx;
    while (clock_mono_ns() < t_ns) {
        clock_sleep_until_ns(t_ns);
    }
}

int64_t meter_now_ns(const struct meter *m) {
    return m->clock.now_ns(m->clock.ctx);
}

const struct sensor_component *meter_component_of(const struct channel *ch) {
    return &ch->sensor->c[ch->index];
}

/* ---- sampling ---- */

static void note_peak(struct meter *m, size_t i, const struct series_step *step) {
    for (size_t w = 0; w < METER_MAX_WINDOWS; w++) {
        struct window *win = &m->windows[w];
        if (!win->open || !step->has_peak || step->peak_start_ns < win->floor_ns) {
            continue;
        }
        if (!(win->peak_w[i] >= step->peak_w)) { /* also when NAN */
            win->peak_w[i] = step->peak_w;
        }
    }
}

void meter_sample(struct meter *m, enum sensor_depth depth) {
    int64_t began_ns = meter_now_ns(m);
    for (size_t i = 0; i < m->n; i++) {
        struct channel *ch = &m->ch[i];
        const struct sensor_component *c = meter_component_of(ch);
        struct sensor_value v;
        v.counter = v.power = SENSOR_ABSENT;
        v.counter_why[0] = v.power_why[0] = '\0';
        ch->sensor->ops->read(ch->sensor, ch->index, depth, &v);
        struct series_step step = series_advance(&ch->series, c, &v);
        if (step.valid) {
            note_peak(m, i, &step);
            trace_take(m, i, &step);
            samples_take_step(m, i, &step);
        }
    }
    samples_end_pass(m, meter_now_ns(m));
    if (depth == SENSOR_FULL) {
        m->last_full_ns = began_ns;
    }
    m->stats.samples++;
    m->stats.read_ns += meter_now_ns(m) - began_ns;
}

static void sample_periodic(struct meter *m) {
    bool due = meter_now_ns(m) - m->last_full_ns >= FULL_READ_NS;
    meter_sample(m, due ? SENSOR_FULL : SENSOR_FAST);
}

void meter_step(struct meter *m) {
    pthread_mutex_lock(&m->lock);
    sample_periodic(m);
    pthread_mutex_unlock(&m->lock);
}

/* Waits, with the lock held as pthread_cond_timedwait does, until t_ns or meter_stop. */
static void wait_for_deadline(struct meter *m, int64_t t_ns) {
    struct timespec at = {.tv_sec = (time_t)(t_ns / NS_PER_S), .tv_nsec = (long)(t_ns % NS_PER_S)};
    while (!m->stopping && meter_now_ns(m) < t_ns) {
        pthread_cond_timedwait(&m->wake, &m->lock, &at);
    }
}

static void set_deadline(struct meter *m) {
    double share = m->jitters ? rng_uniform(&m->rng) : 0;
    m->due_ns = m->slot_ns + (int64_t)(share * (double)m->period_ns);
}

void meter_plan_next(struct meter *m, int64_t now_ns) {
    m->slot_ns += m->period_ns;
    int64_t lost_ns = now_ns - m->slot_ns - (m->jitters ? m->period_ns : 0);
    if (lost_ns >= 0) {
        int64_t lost = lost_ns / m->period_ns + 1;
        m->stats.missed_deadlines += (uint64_t)lost;
        m->slot_ns += lost * m->period_ns;
    }
    set_deadline(m);
}

static void *sampler(void *arg) {
    struct meter *m = arg;
    pthread_mutex_lock(&m->lock);
    for (;;) {
        wait_for_deadline(m, m->due_ns);
        if (m->stopping) {
            break;
        }
        int64_t late_ns = meter_now_ns(m) - m->due_ns;
        if (late_ns > m->stats.worst_late_ns) {
            m->stats.worst_late_ns = late_ns;
        }
        sample_periodic(m);
        meter_plan_next(m, meter_now_ns(m));
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- start and stop ---- */

static struct meter *allocate(const struct meter_opts *opts, const struct meter_clock *clock) {
    static const struct meter_clock real = {.now_ns = real_now_ns, .wait_until = real_wait_until};
    struct meter *m = calloc(1, sizeof(*m));
    if (!m) {
        return NULL;
    }
    int period_ms = opts->period_ms ? opts->period_ms : DEFAULT_PERIOD_MS;
    m->clock = clock ? *clock : real;
    m->period_ns = period_ms * NS_PER_MS;
    m->stop = opts->stop;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

/*
 * A power sensor that is faster than the sampling shows a part of the time only, and a load whose
 * period divides the sampling's would be seen at one phase alone. So samples come as fast as is
 * cheap, and where that is not enough at random moments.
 */
static void plan_sampling(struct meter *m, bool is_default) {
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < m->n; i++) {
            const struct sensor_component *c = meter_component_of(&m->ch[i]);
            bool is_faster = c->power_source[0] && !c->counter_source[0] &&
                             c->power_update_ns < m->period_ns;
            if (pass == 0 && is_faster && is_default) {
                m->period_ns = FASTEST_DEFAULT_NS;
            }
            m->jitters = m->jitters || (pass == 1 && is_faster);
        }
    }
    rng_init(&m->rng, JITTER_SEED);
    m->slot_ns = m->start_ns + m->period_ns;
    set_deadline(m);
    for (size_t i = 0; i < m->n; i++) {
        series_init(&m->ch[i].series, m->period_ns);
    }
}

static int start_thread(struct meter *m, struct err *e) {
    if (m->clock.manual) {
        return 0;
    }
    int rc = pthread_create(&m->thread, NULL, sampler, m);
    if (rc != 0) {
        return err_errno(e, rc, "cannot start the energy meter's thread");
    }
    m->has_thread = true;
    return 0;
}

int meter_start_clocked(struct meter **out, const struct meter_opts *opts,
                        const struct meter_clock *clock, struct err *e) {
    static const struct meter_opts defaults;
    *out = NULL;
    if (!opts) {
        opts = &defaults;
    }
    if (opts->period_ms != 0 && (opts->period_ms < 10 || opts->period_ms > 10000)) {
        return err_set(e, EE_USAGE, "meter period of %d ms: it must be 10 to 10000 ms",
                       opts->period_ms);
    }
    struct meter *m = allocate(opts, clock);
    if (!m) {
        return err_set(e, EE_NOMEM, "out of memory for the energy meter");
    }
    int rc = meter_select(m, opts, e);
    if (rc == 0) {
        m->start_ns = meter_now_ns(m);
        plan_sampling(m, opts->period_ms == 0);
        meter_sample(m, SENSOR_FULL);
        rc = start_thread(m, e);
    }
    if (rc < 0) {
        meter_stop(m);
        return rc;
    }
    *out = m;
    return 0;
}

int meter_start(struct meter **out, const struct meter_opts *opts, struct err *e) {
    return meter_start_clocked(out, opts, NULL, e);
}

void meter_stop(struct meter *m) {
    if (!m) {
        return;
    }
    if (m->has_thread) {
        pthread_mutex_lock(&m->lock);
        m->stopping = true;
        pthread_cond_signal(&m->wake);
        pthread_mutex_unlock(&m->lock);
        pthread_join(m->thread, NULL);
    }
    for (size_t i = 0; i < m->n_sensors; i++) {
        sensor_close(m->sensors[i]);
    }
    traces_release(m);
    samples_release(m);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- small questions ---- */

size_t meter_n_components(const struct meter *m) {
    return m->n; /* fixed since start: no lock */
}

void meter_component_info(struct meter *m, size_t i, struct meter_component *out) {
    pthread_mutex_lock(&m->lock);
    const struct sensor_component *c = meter_component_of(&m->ch[i]);
    *out = c->info;
    out->update_ns = c->counter_source[0] ? c->counter_update_ns : c->power_update_ns;
    out->unreadable = !series_alive(&m->ch[i].series);
    if (out->unreadable && c->missing[0]) {
        sensor_missing_text(c, out->detail, sizeof(out->detail));
    }
    pthread_mutex_unlock(&m->lock);
}

int meter_watch_pid(struct meter *m, pid_t pid, struct err *e) {
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n_sensors && rc == 0; i++) {
        if (m->sensors[i]->ops->watch) {
            meter_sample(m, SENSOR_FULL);
            rc = m->sensors[i]->ops->watch(m->sensors[i], pid, e);
        }
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

void meter_unwatch_pid(struct meter *m, pid_t pid) {
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n_sensors; i++) {
        if (m->sensors[i]->ops->unwatch) {
            meter_sample(m, SENSOR_FULL);
            m->sensors[i]->ops->unwatch(m->sensors[i], pid);
        }
    }
    pthread_mutex_unlock(&m->lock);
}

static enum meter_quality quality_of(const struct channel *ch) {
    const struct sensor_component *c = meter_component_of(ch);
    if (!series_alive(&ch->series) || !ch->series.has_watts) {
        return METER_MISSING;
    }
    if (c->info.modelled) {
        return METER_MODELLED;
    }
    return ch->series.now.counter.valid ? METER_COUNTER : METER_INTEGRATED;
}

bool meter_live(struct meter *m, double *watts, double *joules, enum meter_quality *quality) {
    bool any = false;
    double w = 0, j = 0;
    enum meter_quality worst = METER_COUNTER;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++) {
        const struct series *s = &m->ch[i].series;
        enum meter_quality q = quality_of(&m->ch[i]);
        worst = q > worst ? q : worst;
        if (q != METER_MISSING) {
            any = true;
            w += s->watts;
            j += series_joules(s);
        }
    }
    pthread_mutex_unlock(&m->lock);
    if (any) {
        *watts = w;
        *joules = j;
        *quality = worst;
    }
    return any;
}

void meter_stats(struct meter *m, struct meter_stats *out) {
    pthread_mutex_lock(&m->lock);
    *out = m->stats;
    pthread_mutex_unlock(&m->lock);
}

int meter_gpu_state(struct meter *m, size_t i, struct meter_gpu_state *out, struct err *e) {
    if (i >= m->n || !m->ch[i].sensor->ops->gpu_state) {
        return err_set(e, EE_UNSUPPORTED, "component %zu is no GPU of a driver", i);
    }
    pthread_mutex_lock(&m->lock);
    struct sensor *s = m->ch[i].sensor;
    int rc = s->ops->gpu_state(s, m->ch[i].index, out, e);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

int meter_gpu_memory(struct meter *m, size_t i, uint64_t *used_bytes, uint64_t *total_bytes,
                     struct err *e) {
    if (i >= m->n || !m->ch[i].sensor->ops->memory) {
        return err_set(e, EE_UNSUPPORTED, "component %zu has no memory figure", i);
    }
    pthread_mutex_lock(&m->lock);
    struct sensor *s = m->ch[i].sensor;
    int rc = s->ops->memory(s, m->ch[i].index, used_bytes, total_bytes, e);
    pthread_mutex_unlock(&m->lock);
    return rc;
}
