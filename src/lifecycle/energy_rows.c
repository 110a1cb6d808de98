#include "lifecycle/run_internal.h"

#include <math.h>
#include <string.h>

static int put_total(struct store *s, int64_t stage_id, const struct meter_reading *r,
                     struct err *e) {
    struct meter_total t;
    meter_total(r, NULL, 0, &t);
    const bool missing = t.quality == METER_MISSING;
    const struct store_energy row = {
        .window = r->name,
        .start_ns = (double)r->start_ns,
        .end_ns = (double)r->end_ns,
        .component = "total",
        .scope = t.scope,
        .source = "sum",
        .quality = meter_quality_name(t.quality),
        .joules = missing ? (double)NAN : t.joules,
        .low_j = missing ? (double)NAN : t.low_j,
        .high_j = missing ? (double)NAN : t.high_j,
        .above_idle_j = missing || !t.has_idle ? (double)NAN : t.above_idle_j,
        .idle_w = t.has_idle ? t.idle_w : (double)NAN,
        .mean_w = missing ? (double)NAN : t.mean_w,
        .peak_w = (double)NAN, /* peaks of parts need not coincide */
        .coverage = t.coverage,
        .is_short = t.is_short,
        .reason = t.reason[0] ? t.reason : NULL,
    };
    return store_energy_put(s, stage_id, &row, e);
}

int energy_rows_put(struct store *s, int64_t stage_id, const struct meter_reading *r,
                    struct err *e) {
    for (size_t i = 0; i < r->n; i++) {
        const struct component_reading *c = &r->c[i];
        const struct store_energy row = {
            .window = r->name,
            .start_ns = (double)r->start_ns,
            .end_ns = (double)r->end_ns,
            .component = c->name,
            .scope = c->scope,
            .source = c->source,
            .quality = meter_quality_name(c->quality),
            .joules = c->joules,
            .low_j = c->low_j,
            .high_j = c->high_j,
            .above_idle_j = c->has_idle ? c->above_idle_j : (double)NAN,
            .idle_w = c->has_idle ? c->idle_w : (double)NAN,
            .mean_w = c->mean_w,
            .peak_w = c->peak_w,
            .coverage = c->coverage,
            .is_short = c->is_short,
            .reason = c->reason[0] ? c->reason : (c->detail[0] ? c->detail : NULL),
        };
        int rc = store_energy_put(s, stage_id, &row, e);
        if (rc) {
            return rc;
        }
    }
    return put_total(s, stage_id, r, e);
}

int stage_on_window(const struct meter_reading *reading, void *ctx, struct err *e) {
    const struct stage_rows *rows = ctx;
    return energy_rows_put(rows->run->store, rows->stage_id, reading, e);
}

int stage_on_gpu(const char *window, const char *component, const struct gpu_looks *looks,
                 void *ctx, struct err *e) {
    const struct stage_rows *rows = ctx;
    char throttle[64];
    meter_throttle_text(looks->throttle, throttle, sizeof(throttle));
    const struct store_gpu_look row = {
        .window = window,
        .component = component,
        .looks = looks->n,
        .throttled_share = looks->n_told ? (double)looks->n_throttled / looks->n_told : (double)NAN,
        .throttle = throttle[0] ? throttle : NULL,
        .other_processes = looks->others_told ? looks->most_others : (double)NAN,
        .busy = looks->n_busy ? looks->busy_sum / looks->n_busy : (double)NAN,
        .max_temperature_c = looks->max_temperature_c,
        .min_sm_mhz = looks->min_sm_mhz,
        .max_sm_mhz = looks->max_sm_mhz,
    };
    return store_gpu_look_put(rows->run->store, rows->stage_id, &row, e);
}
