/* Named, nesting windows: the difference of two running totals. */
#include "energy/meter_impl.h"
#include "energy/note.h"

#include <math.h>
#include <string.h>

/* Ids carry a generation, so that the id of a closed window is never another's. */
#define ID_SLOTS 64
#define MAX_GENERATION (1 << 24)

_Static_assert(METER_MAX_WINDOWS <= ID_SLOTS && METER_MAX_TRACES <= ID_SLOTS, "ids hold a slot");

static struct window *find_window(struct meter *m, int id) {
    struct window *w = id < 0 ? NULL : &m->windows[id % ID_SLOTS];
    return w && w->open && w->id == id ? w : NULL;
}

static int take_id(struct meter *m, size_t slot) {
    m->generation = (m->generation + 1) % MAX_GENERATION;
    return m->generation * ID_SLOTS + (int)slot;
}

static int free_slot(const struct meter *m) {
    for (int i = 0; i < METER_MAX_WINDOWS; i++) {
        if (!m->windows[i].open) {
            return i;
        }
    }
    return -1;
}

static int window_open_locked(struct meter *m, const char *name, int parent_id, struct err *e) {
    struct window *parent = find_window(m, parent_id);
    if (parent_id != METER_NO_PARENT && !parent) {
        return err_set(e, EE_USAGE, "energy window %s: its parent %d is not open", name, parent_id);
    }
    int slot = free_slot(m);
    if (slot < 0) {
        return err_set(e, EE_FAIL, "energy window %s: %d windows are open already", name,
                       METER_MAX_WINDOWS);
    }
    struct window *w = &m->windows[slot];
    w->id = take_id(m, (size_t)slot);
    w->parent_id = parent ? parent_id : METER_NO_PARENT;
    w->n_children = 0;
    note_set(w->name, sizeof(w->name), "%s", name);
    w->floor_ns = meter_now_ns(m);
    meter_sample(m, SENSOR_FULL);
    for (size_t i = 0; i < m->n; i++) {
        w->mark[i] = m->ch[i].series.now;
        w->peak_w[i] = NAN;
    }
    w->open = true;
    w->start_ns = meter_now_ns(m);
    if (parent) {
        parent->n_children++;
    }
    return w->id;
}

int meter_window_open(struct meter *m, const char *name, int parent_id, struct err *e) {
    pthread_mutex_lock(&m->lock);
    int id = window_open_locked(m, name, parent_id, e);
    pthread_mutex_unlock(&m->lock);
    return id;
}

static void window_read(const struct meter *m, const struct window *w, int64_t end_ns,
                        struct meter_reading *out) {
    memset(out, 0, sizeof(*out));
    out->id = w->id;
    out->parent_id = w->parent_id;
    memcpy(out->name, w->name, sizeof(out->name));
    out->start_ns = w->start_ns;
    out->end_ns = end_ns;
    out->n = m->n;
    for (size_t i = 0; i < m->n; i++) {
        const struct sensor_component *c = meter_component_of(&m->ch[i]);
        struct meter_idle_component idle;
        series_reading(&m->ch[i].series, &w->mark[i], c, w->peak_w[i], &out->c[i]);
        if (m->has_idle && meter_idle_of(&m->idle, c, &idle)) {
            series_subtract_idle(&out->c[i], &idle);
        }
    }
}

static int window_close_locked(struct meter *m, int id, struct meter_reading *out, struct err *e) {
    struct window *w = find_window(m, id);
    if (!w) {
        return err_set(e, EE_USAGE, "energy window %d is not open", id);
    }
    if (w->n_children > 0) {
        return err_set(e, EE_USAGE, "energy window %s: %d of its children are still open", w->name,
                       w->n_children);
    }
    int64_t end_ns = meter_now_ns(m);
    if (out) {
        meter_sample(m, SENSOR_FULL);
        window_read(m, w, end_ns, out);
    }
    w->open = false;
    struct window *parent = find_window(m, w->parent_id);
    if (parent) {
        parent->n_children--;
    }
    return 0;
}

int meter_window_close(struct meter *m, int id, struct meter_reading *out, struct err *e) {
    pthread_mutex_lock(&m->lock);
    int rc = window_close_locked(m, id, out, e);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

void meter_set_idle(struct meter *m, const struct meter_idle *idle) {
    pthread_mutex_lock(&m->lock);
    m->has_idle = idle != NULL;
    if (idle) {
        m->idle = *idle;
    }
    pthread_mutex_unlock(&m->lock);
}

bool meter_get_idle(struct meter *m, struct meter_idle *out) {
    pthread_mutex_lock(&m->lock);
    bool has = m->has_idle;
    if (has) {
        *out = m->idle;
    }
    pthread_mutex_unlock(&m->lock);
    return has;
}
