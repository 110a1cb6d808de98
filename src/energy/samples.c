/*
 * A ring of samples for time series. The sampling thread fills it under the meter's lock, in memory
 * taken before; what is written, where and when is its reader's business.
 */
#include "energy/meter_impl.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>

size_t meter_samples_bytes(size_t n_components, size_t capacity) {
    return capacity * (sizeof(int64_t) + n_components * sizeof(float));
}

/* A component's intervals since the last row, of which the row gives the mean. */
void samples_take_step(struct meter *m, size_t i, const struct series_step *step) {
    struct sample_ring *r = &m->ring;
    if (r->running && step->start_ns >= r->floor_ns) {
        r->pending_j[i] += step->joules;
        r->pending_ns[i] += step->end_ns - step->start_ns;
    }
}

/* Readings at the edges of windows come between two samples: they make no row of their own. */
void samples_end_pass(struct meter *m, int64_t now_ns) {
    struct sample_ring *r = &m->ring;
    if (!r->running || 2 * (now_ns - r->last_ns) < m->period_ns) {
        return;
    }
    if (r->n == r->capacity) {
        r->head = (r->head + 1) % r->capacity;
        r->n--;
        r->dropped++;
    }
    size_t at = (r->head + r->n++) % r->capacity;
    r->t_ns[at] = r->last_ns = now_ns;
    for (size_t i = 0; i < m->n; i++) {
        double s = clock_ns_to_s(r->pending_ns[i]);
        r->watts[at * m->n + i] = s > 0 ? (float)(r->pending_j[i] / s) : NAN;
        r->pending_j[i] = 0;
        r->pending_ns[i] = 0;
    }
}

void samples_release(struct meter *m) {
    free(m->ring.t_ns);
    free(m->ring.watts);
    m->ring = (struct sample_ring){.running = false};
}

static int begin_locked(struct meter *m, size_t capacity, struct err *e) {
    struct sample_ring *r = &m->ring;
    if (r->running) {
        return err_set(e, EE_FAIL, "samples are being kept already");
    }
    r->t_ns = calloc(capacity, sizeof(*r->t_ns));
    r->watts = calloc(capacity, (m->n ? m->n : 1) * sizeof(*r->watts));
    if (!r->t_ns || !r->watts) {
        samples_release(m);
        return err_set(e, EE_NOMEM, "out of memory for %zu samples", capacity);
    }
    r->capacity = capacity;
    r->floor_ns = meter_now_ns(m);
    meter_sample(m, SENSOR_FULL);
    r->last_ns = meter_now_ns(m);
    r->running = true;
    return 0;
}

int meter_samples_begin(struct meter *m, size_t capacity, struct err *e) {
    if (capacity == 0) {
        return err_set(e, EE_USAGE, "a ring of no samples");
    }
    pthread_mutex_lock(&m->lock);
    int rc = begin_locked(m, capacity, e);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

size_t meter_samples_take(struct meter *m, struct meter_sample *out, size_t max) {
    struct sample_ring *r = &m->ring;
    pthread_mutex_lock(&m->lock);
    size_t n = r->n < max ? r->n : max;
    for (size_t k = 0; k < n; k++) {
        size_t at = (r->head + k) % r->capacity;
        out[k].t_ns = r->t_ns[at];
        for (size_t i = 0; i < METER_MAX_COMPONENTS; i++) {
            out[k].watts[i] = i < m->n ? r->watts[at * m->n + i] : NAN;
        }
    }
    r->head = n ? (r->head + n) % r->capacity : r->head;
    r->n -= n;
    pthread_mutex_unlock(&m->lock);
    return n;
}

uint64_t meter_samples_end(struct meter *m) {
    pthread_mutex_lock(&m->lock);
    uint64_t dropped = m->ring.dropped;
    samples_release(m);
    pthread_mutex_unlock(&m->lock);
    return dropped;
}
