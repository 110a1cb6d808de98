#include "lifecycle/run_internal.h"

#include "base/clock.h"

/* A report draws a few hundred; past twice as many, neighbours are merged. */
enum { MAX_POINTS = 512 };

void power_trace_begin(struct run *r) {
    r->stage_trace = r->meter ? meter_trace_begin(r->meter, MAX_POINTS, NULL) : -1;
}

static int put_component(struct run *r, int64_t stage_id, const struct meter_trace *t,
                         const struct meter_trace_component *c, struct err *e) {
    struct arena a = ARENA_INIT;
    struct store_power row = {.component = c->name, .start_ns = t->start_ns, .n = c->n_points};
    row.points = arena_array(&a, row.n, sizeof(*row.points));
    if (row.n && !row.points) {
        return err_set(e, EE_NOMEM, "power: out of memory");
    }
    for (size_t i = 0; i < row.n; i++) {
        const struct meter_point *p = &c->points[i];
        row.points[i] = (struct store_power_point){
            .start_s = clock_ns_to_s(p->start_ns - t->start_ns),
            .length_s = clock_ns_to_s(p->end_ns - p->start_ns),
            .watts = p->watts};
    }
    int rc = store_power_put(r->store, stage_id, &row, e);
    arena_release(&a);
    return rc;
}

int power_trace_end(struct run *r, int64_t stage_id, struct err *e) {
    if (r->stage_trace < 0) {
        return 0;
    }
    struct meter_trace t = {0};
    int rc = meter_trace_end(r->meter, r->stage_trace, stage_id ? &t : NULL, e);
    for (size_t i = 0; i < t.n && !rc; i++) {
        rc = t.c[i].n_points ? put_component(r, stage_id, &t, &t.c[i], e) : 0;
    }
    meter_trace_release(&t);
    r->stage_trace = -1;
    return rc;
}
