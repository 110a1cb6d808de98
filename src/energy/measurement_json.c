/* The measurement for programs. A figure that is missing is left out, never 0 or null. */
#include "energy/measurement.h"

#include "base/clock.h"
#include "base/json.h"

#include <math.h>

static void put(json_t *o, const char *key, double x) {
    if (isfinite(x)) {
        json_object_set_new(o, key, json_real(x));
    }
}

static void put_text(json_t *o, const char *key, const char *text) {
    if (text[0]) {
        json_object_set_new(o, key, json_string(text));
    }
}

static void put_flag(json_t *o, const char *key, bool flag) {
    if (flag) {
        json_object_set_new(o, key, json_true());
    }
}

static json_t *row_json(const struct measurement_row *row) {
    json_t *o = json_object();
    put_text(o, "name", row->name);
    put_text(o, "scope", row->scope);
    put_text(o, "source", row->source);
    put_text(o, "quality", meter_quality_name(row->quality));
    put(o, "joules", row->joules);
    put(o, "low_j", row->low_j);
    put(o, "high_j", row->high_j);
    put(o, "mean_w", row->mean_w);
    put(o, "peak_w", row->peak_w);
    put(o, "coverage", row->coverage);
    if (row->has_idle) {
        put(o, "idle_w", row->idle_w);
        put(o, "above_idle_j", row->above_idle_j);
        put(o, "above_idle_low_j", row->above_idle_low_j);
        put(o, "above_idle_high_j", row->above_idle_high_j);
    }
    put(o, "sd_j", row->sd_j);
    put(o, "spread_low_j", row->spread_low_j);
    put(o, "spread_high_j", row->spread_high_j);
    put(o, "min_j", row->min_j);
    put(o, "max_j", row->max_j);
    put(o, "disagreement", row->disagreement);
    put_flag(o, "short", row->is_short);
    put_flag(o, "shared", row->shared);
    put_flag(o, "whole_machine", row->whole);
    put_text(o, "reason", row->reason);
    put_text(o, "detail", row->detail);
    return o;
}

static json_t *run_json(const struct measurement *m, const struct measurement_run *run) {
    const struct meter_reading *r = &run->reading;
    json_t *o = json_object();
    json_t *joules = json_object();
    put(o, "seconds", clock_ns_to_s(r->end_ns - r->start_ns));
    put(o, "start_s", clock_ns_to_s(r->start_ns)); /* CLOCK_MONOTONIC, as other programs have it */
    put(o, "end_s", clock_ns_to_s(r->end_ns));
    for (size_t i = 0; i < m->n_components; i++) {
        put(joules, m->components[i].name, r->c[i].joules);
    }
    json_object_set_new(o, "joules", joules);
    if (run->has_process) {
        json_object_set_new(o, "exit_status", json_integer(run->exit_status));
        put(o, "cpu_s", run->cpu_s);
        json_object_set_new(o, "max_rss_bytes", json_integer((json_int_t)run->max_rss_bytes));
        json_object_set_new(o, "processes_left", json_integer((json_int_t)run->n_left));
    }
    return o;
}

static json_t *gpu_json(const struct meter_component *c, const struct measurement_gpu *g) {
    char why[128];
    json_t *o = json_object();
    put_text(o, "name", c->name);
    put_text(o, "device", c->device_name);
    put_text(o, "id", c->device_id);
    put_text(o, "driver", g->driver);
    if (g->knows_use) {
        json_object_set_new(o, "used_by_job", json_boolean(g->is_used));
    }
    put(o, "max_temperature_c", g->max_temperature_c);
    put(o, "min_sm_mhz", g->min_sm_mhz);
    put(o, "max_sm_mhz", g->max_sm_mhz);
    put(o, "mean_busy", g->mean_busy);
    put(o, "throttled", (double)g->n_throttled / (double)g->n_looks);
    meter_throttle_text(g->throttle, why, sizeof(why));
    put_text(o, "throttle_reasons", why);
    return o;
}

static json_t *share_json(const struct attr_share *s) {
    json_t *o = json_object();
    put(o, "share", s->share.value);
    put(o, "joules", s->joules.value);
    put(o, "low_j", s->joules.low);
    put(o, "high_j", s->joules.high);
    put_text(o, "reason", s->reason);
    return o;
}

static json_t *meter_json(const struct measurement *m) {
    return json_pack("{s:I, s:I, s:f, s:f, s:f}", "samples", (json_int_t)m->stats.samples,
                     "missed_deadlines", (json_int_t)m->stats.missed_deadlines, "worst_late_s",
                     clock_ns_to_s(m->stats.worst_late_ns), "read_s",
                     clock_ns_to_s(m->stats.read_ns), "cpu_s", m->meter_cpu_s);
}

int measurement_json(const struct measurement *m, const struct measurement_summary *s,
                     struct buf *out, struct err *e) {
    json_t *o = json_object();
    json_t *runs = json_array();
    json_t *components = json_array();
    json_t *gpus = json_array();
    put_text(o, "of", m->label);
    put(o, "seconds", s->seconds);
    for (size_t i = 0; i < s->n; i++) {
        json_array_append_new(components, row_json(&s->rows[i]));
        if (m->gpus[i].n_looks > 0) {
            json_array_append_new(gpus, gpu_json(&m->components[i], &m->gpus[i]));
        }
    }
    for (size_t k = 0; k < m->n_runs; k++) {
        json_array_append_new(runs, run_json(m, &m->runs[k]));
    }
    json_object_set_new(o, "components", components);
    json_object_set_new(o, "total", row_json(&s->total));
    put_flag(o, "total_of_used_gpus", s->total_is_chosen);
    json_object_set_new(o, "cpu_share", share_json(&s->share));
    json_object_set_new(o, "runs", runs);
    json_object_set_new(o, "gpus", gpus);
    if (m->has_idle) {
        json_object_set_new(
            o, "idle",
            json_pack("{s:b, s:f}", "settled", (int)m->idle_is_settled, "age_s", m->idle_age_s));
    }
    if (m->idle_note) {
        put_text(o, "idle_note", m->idle_note);
    }
    if (isfinite(m->usd_per_kwh)) {
        put(o, "usd_per_kwh", m->usd_per_kwh);
        put_text(o, "price_source", m->price_source ? m->price_source : "");
        put(o, "usd", s->usd);
        put(o, "usd_low", s->usd_low);
        put(o, "usd_high", s->usd_high);
    }
    json_object_set_new(o, "meter", meter_json(m));
    int rc = json_write(o, out, e);
    json_decref(o);
    return rc;
}
