/*
 * What each repeat, start and stage measured by itself, with what its sensors may be off by: the
 * inputs of intervals. Where a component is missing in some window, nothing is said of errors.
 */
#include "report/inputs.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Windows whose joules are one series, each divided by (requests in it) or lessened by another. */
struct series_window {
    const struct report_stage *stage;
    char window[48];
    char less[48]; /* taken off; "" for none */
    double per;
};

struct series {
    struct series_window *windows;
    size_t n;
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "intervals: out of memory");
}

static const struct store_energy *energy_of(const struct report_stage *st, const char *window,
                                            const char *component) {
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        if (strcmp(g->window, window) == 0 && strcmp(g->component, component) == 0) {
            return g;
        }
    }
    return NULL;
}

/* How far the sensor's gain may be off, as the machine was described; NAN when it does not tell. */
static double gain_of(const struct report_run *run, const char *machine_id, const char *component) {
    double gain = NAN;
    for (size_t i = 0; i < run->n_machines; i++) {
        json_t *json = NULL;
        if (strcmp(run->machines[i].machine_id, machine_id) != 0 ||
            json_parse(run->machines[i].json, strlen(run->machines[i].json), "machine", &json,
                       NULL)) {
            continue;
        }
        size_t k;
        const json_t *c;
        json_array_foreach(json_object_get(json, "energy_components"), k, c) {
            if (strcmp(json_str_or(c, "name", ""), component) == 0) {
                gain = json_num_or(c, "gain_tolerance", (double)NAN);
            }
        }
        json_decref(json);
    }
    return gain;
}

/* One device's arrays; the store keeps bounds, in which gain, edges and gaps are added up. */
struct device_arrays {
    double *joules, *edge_j, *gap_less_j, *gap_more_j;
};

/* Adds sign * a window's reading; its errors add up whatever the sign. */
static bool add_reading(const struct store_energy *g, double gain, double per, double sign,
                        size_t w, struct device_arrays *d) {
    if (!g || !isfinite(g->joules) || !isfinite(g->low_j) || !isfinite(g->high_j)) {
        return false;
    }
    double less = fmax(g->joules - g->low_j - gain * g->joules, 0) / per;
    double more = fmax(g->high_j - g->joules - gain * g->joules, 0) / per;
    d->joules[w] += sign * g->joules / per;
    if (g->coverage < 1) { /* a bound on time that nobody saw, not noise */
        d->gap_less_j[w] += less;
        d->gap_more_j[w] += more;
    } else {
        d->edge_j[w] += fmax(less, more);
    }
    return true;
}

/* A component over all windows; *is_known false where one of them does not have it. */
static int fill_device(struct report_run *run, const struct series *s, const char *component,
                       struct stats_device_joules *out, bool *is_known, struct err *e) {
    struct arena *a = &run->arena;
    struct device_arrays d = {
        arena_array(a, s->n, sizeof(double)), arena_array(a, s->n, sizeof(double)),
        arena_array(a, s->n, sizeof(double)), arena_array(a, s->n, sizeof(double))};
    if (!d.joules || !d.edge_j || !d.gap_less_j || !d.gap_more_j) {
        return out_of_memory(e);
    }
    const char *machine_id = s->windows[0].stage->s.machine_id;
    double gain = gain_of(run, machine_id, component);
    *is_known = isfinite(gain);
    for (size_t w = 0; w < s->n && *is_known; w++) {
        const struct series_window *win = &s->windows[w];
        *is_known = strcmp(win->stage->s.machine_id, machine_id) == 0 &&
                    add_reading(energy_of(win->stage, win->window, component), gain, win->per, 1, w,
                                &d) &&
                    (!win->less[0] || add_reading(energy_of(win->stage, win->less, component), gain,
                                                  win->per, -1, w, &d));
    }
    /* One gain a sensor: the same component of another machine is another sensor. */
    struct buf name;
    buf_init(&name);
    buf_addf(&name, "%s/%s", machine_id, component);
    *out = (struct stats_device_joules){.device = arena_strdup(a, name.data),
                                        .gain = gain,
                                        .joules = d.joules,
                                        .edge_j = d.edge_j,
                                        .gap_less_j = d.gap_less_j,
                                        .gap_more_j = d.gap_more_j};
    buf_release(&name);
    return out->device ? 0 : out_of_memory(e);
}

static int fill_joules(struct report_run *run, const struct series *s, bool is_sum,
                       struct stats_joules *out, struct err *e) {
    *out = (struct stats_joules){0};
    if (s->n == 0) {
        return 0;
    }
    const struct report_stage *first = s->windows[0].stage;
    struct stats_device_joules *devices = arena_array(&run->arena, first->n_energies + 1,
                                                      sizeof(*devices));
    size_t n = 0;
    bool is_known = true;
    int rc = devices ? 0 : out_of_memory(e);
    for (size_t i = 0; !rc && is_known && i < first->n_energies; i++) {
        const struct store_energy *g = &first->energies[i];
        if (strcmp(g->window, s->windows[0].window) == 0 && strcmp(g->component, "total") != 0) {
            rc = fill_device(run, s, g->component, &devices[n++], &is_known, e);
        }
    }
    if (!rc && is_known && n > 0) {
        *out = (struct stats_joules){
            .devices = devices, .n_devices = n, .n_windows = s->n, .is_sum = is_sum};
    }
    return rc;
}

/* --- Serving ------------------------------------------------------------------------------------------ */

static int fill_serve(struct report_run *run, struct report_variant *v, struct err *e) {
    const struct report_stage *st = v->stages[REPORT_SERVE];
    struct metrics_spread *spread = &v->input.spread;
    size_t n = v->n_repeats;
    if (!st || report_stage_failed(st) || n == 0) {
        return 0;
    }
    struct series_window *windows = arena_array(&run->arena, n, sizeof(*windows));
    double *rates = arena_array(&run->arena, n, sizeof(*rates));
    if (!windows || !rates) {
        return out_of_memory(e);
    }
    bool is_usable = true;
    for (size_t i = 0; i < n; i++) {
        const struct report_repeat *r = &v->repeats[i];
        double seconds = clock_ns_to_s(r->end_ns - r->begin_ns);
        windows[i] = (struct series_window){.stage = st, .per = r->ok};
        snprintf(windows[i].window, sizeof(windows[i].window), "serve/%zu", i);
        rates[i] = r->ok / seconds * 3600;
        is_usable = is_usable && r->ok > 0 && seconds > 0;
    }
    if (!is_usable) {
        return 0;
    }
    spread->rates = rates;
    spread->n_rates = n;
    return fill_joules(run, &(struct series){windows, n}, false, &spread->serve, e);
}

/* --- Loading and before serving --------------------------------------------------------------------- */

static int fill_starts(struct report_run *run, const struct report_stage *st, const char *cache,
                       struct stats_joules *out, struct err *e) {
    enum { MOST = 1000 }; /* as a plan may ask for */
    struct series_window *windows = arena_array(&run->arena, MOST, sizeof(*windows));
    size_t n = 0;
    if (!windows) {
        return out_of_memory(e);
    }
    for (; n < MOST; n++) {
        struct series_window w = {.stage = st, .per = 1};
        snprintf(w.window, sizeof(w.window), "%s/%zu", cache, n);
        snprintf(w.less, sizeof(w.less), "%s/%zu/again", cache, n);
        if (!energy_of(st, w.window, "total")) {
            break;
        }
        windows[n] = w;
    }
    return fill_joules(run, &(struct series){windows, n}, false, out, e);
}

static int fill_once(struct report_run *run, struct report_variant *v, struct err *e) {
    static const enum report_kind kinds[] = {REPORT_ADAPT, REPORT_MERGE, REPORT_QUANTIZE};
    enum { MOST = sizeof(kinds) / sizeof(kinds[0]) + 2 };
    struct series_window *windows = arena_array(&run->arena, MOST, sizeof(*windows));
    size_t n = 0;
    if (!windows) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct report_stage *st = v->stages[kinds[i]];
        if (!st || report_stage_failed(st) || inputs_used_as_is(st)) {
            continue;
        }
        windows[n] = (struct series_window){.stage = st, .per = 1};
        snprintf(windows[n].window, sizeof(windows[n].window), "%s", report_kind_name(kinds[i]));
        n++;
        const struct inputs_rows rows = inputs_adapt_rows(st);
        if (rows.factor > 0) {
            windows[n] = (struct series_window){.stage = st, .per = 1 / rows.factor};
            snprintf(windows[n].window, sizeof(windows[n].window), "%s", INPUTS_ROWS_WINDOW);
            n++;
        }
        if (kinds[i] == REPORT_QUANTIZE && energy_of(st, "quantize/source", "total")) {
            windows[n] = (struct series_window){.stage = st, .per = 1};
            snprintf(windows[n].window, sizeof(windows[n].window), "quantize/source");
            n++;
        }
    }
    return fill_joules(run, &(struct series){windows, n}, true, &v->input.spread.once, e);
}

int inputs_spread(struct report_run *run, struct report_variant *v, struct err *e) {
    const struct report_stage *load = v->stages[REPORT_LOAD];
    int rc = fill_serve(run, v, e);
    rc = rc ? rc : fill_once(run, v, e);
    if (!rc && load && !report_stage_failed(load)) {
        rc = fill_starts(run, load, "cold", &v->input.spread.load_cold, e);
        rc = rc ? rc : fill_starts(run, load, "warm", &v->input.spread.load_warm, e);
    }
    return rc;
}
