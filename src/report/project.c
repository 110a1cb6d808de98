#include "report/project.h"

#include "base/json.h"
#include "report/devices.h"
#include "report/fmt.h"
#include "report/inputs.h"
#include "report/results_internal.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Half-widths, as shares, by which another device may differ in what it achieves of its peaks: assumed,
 * since one machine says nothing of it. */
static const double transfer_time = 0.25;
static const double transfer_power = 0.30;
/* Operations a weight and token in training: forward, forward again from checkpoints, backward; the
 * frozen matrices have no gradient of their own. */
static const double training_flops = 6;

struct rates {
    double bytes_per_s;
    double flops;
    double memory_bytes;
    double limit_w;
    double idle_w;
};

/* A measurement and what it becomes. A unit is a decoding step or a training row. */
struct point {
    const struct report_variant *v;
    const struct published_variant *published; /* NULL where there is none */
    bool is_again; /* of a stage that another variant has given already */
    double bytes;  /* of a unit */
    double flops;
    double units;        /* of a request, or of a row: 1 */
    double unit_s;       /* measured */
    double watts;        /* of the accelerators */
    double memory_bytes; /* that it takes */
    double to_s;         /* of a request or row there */
    double to_j;
    double checked_s; /* the same on the published rows' machine */
    double checked_j;
    double published_s;
    double published_j;
    const char *unfit; /* why it cannot run there; NULL */
};

enum { GROUPS = 5, SERVE_GROUPS = 3 };
static const char *const group_names[GROUPS] = {"serve fp16", "serve int8", "serve int4",
                                                "adapt lora", "adapt qlora"};

struct group {
    struct point *points;
    size_t n;
    double fixed_s;   /* of a unit, whatever the device */
    double slowdown;  /* over the roofline: one over the achieved share */
    double spread;    /* of residuals, as a share */
    double intensity; /* share of the power above idle that busy time takes */
    size_t n_fitted;
};

struct projection {
    struct results base; /* the run and the published rows */
    const struct known_device *from;
    const struct known_device *to;
    int n_devices;
    struct rates here;
    struct rates there;
    struct rates published; /* the machine of the published rows */
    struct group groups[GROUPS];
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "project: out of memory");
}

static struct rates rates_of(const struct known_device *d, int n) {
    return (struct rates){.bytes_per_s = d->bytes_per_s * n,
                          .flops = d->flops * n,
                          .memory_bytes = d->memory_bytes * n,
                          .limit_w = d->power_limit_w * n,
                          .idle_w = d->idle_w * n};
}

static double roofline_s(const struct point *p, const struct rates *r) {
    return fmax(p->bytes / r->bytes_per_s, p->flops / r->flops);
}

/* ---- what was measured ---- */

static double value_of(const struct quantity *q) {
    return q->present ? q->value : (double)NAN;
}

/* A decoding step of all sequences, with its share of the prefill, which is operations alone. */
static bool serve_point(const struct report_variant *v, struct point *p) {
    const struct metrics_input *in = &v->input;
    double requests = value_of(&in->requests_ok);
    double input = value_of(&in->econ[ECON(input_tokens)]);
    double output = value_of(&in->econ[ECON(output_tokens)]);
    double weights = value_of(&in->weights_bytes);
    double kv = value_of(&in->used_kv_bytes) * (input + output / 2) / (input + output);
    double n_weights = value_of(&in->n_weights);
    double steps = requests / in->concurrency * output;
    double seconds = 0;
    double joules = v->stages[REPORT_SERVE]
                        ? results_joules(v->stages[REPORT_SERVE], "serve", true, &seconds)
                        : (double)NAN;
    double reserved = value_of(&in->kv_bytes);
    double compute = value_of(&in->compute_bytes);
    *p = (struct point){.v = v,
                        .bytes = weights + kv,
                        .flops = 2 * n_weights * in->concurrency * (1 + input / output),
                        .units = output / in->concurrency,
                        .unit_s = requests * output / value_of(&in->output_tokens_per_s) / steps,
                        .watts = joules / seconds,
                        .memory_bytes = weights + reserved + (isfinite(compute) ? compute : 0)};
    return isfinite(p->bytes) && isfinite(p->flops) && isfinite(p->unit_s) && isfinite(p->watts) &&
           isfinite(p->units);
}

static bool adapt_point(const struct report_variant *v, struct point *p) {
    struct results_training t;
    if (!results_training_of(v->stages[REPORT_ADAPT], &t)) {
        return false;
    }
    double n_weights = value_of(&v->input.n_weights);
    *p = (struct point){.v = v,
                        .flops = training_flops * n_weights * t.row_tokens,
                        .units = 1,
                        .unit_s = t.row_s,
                        .watts = t.row_j / t.row_s,
                        .memory_bytes = t.peak_bytes};
    return isfinite(p->flops) && isfinite(p->unit_s) && isfinite(p->watts);
}

static const struct published_variant *published_of(const struct results *r,
                                                    const struct report_variant *v) {
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        if (r->ours[i] == v) {
            return &r->theirs->variants[i];
        }
    }
    return NULL;
}

static bool is_again(const struct group *g, const struct point *p, enum report_kind kind) {
    for (size_t i = 0; i < g->n; i++) {
        if (g->points[i].v->stages[kind] == p->v->stages[kind]) {
            return true;
        }
    }
    return false;
}

static void add_point(const struct projection *x, struct group *g, struct point *p,
                      enum report_kind kind) {
    const struct published_variant *pub = published_of(&x->base, p->v);
    p->published = pub;
    p->is_again = is_again(g, p, kind);
    if (pub && kind == REPORT_SERVE) {
        p->published_s = p->v->input.econ[ECON(output_tokens)].value /
                         pub->input.output_tokens_per_s.value;
        p->published_j = pub->input.serve_j.value / pub->input.requests_ok.value;
    } else if (pub) {
        p->published_s = pub->training->duration_s / pub->training->rows;
        p->published_j = pub->training->energy_j / pub->training->rows;
    }
    g->points[g->n++] = *p;
}

static int gather(struct projection *x, struct err *e) {
    const struct report_run *run = x->base.run;
    for (size_t k = 0; k < GROUPS; k++) {
        x->groups[k].points = arena_array(&x->base.arena, run->n_variants + 1,
                                          sizeof(struct point));
        if (!x->groups[k].points) {
            return out_of_memory(e);
        }
    }
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        struct point p;
        for (size_t k = 0; k < GROUPS; k++) {
            const char *word = strchr(group_names[k], ' ') + 1;
            if (k < SERVE_GROUPS && !strcmp(word, v->v.precision) && serve_point(v, &p)) {
                add_point(x, &x->groups[k], &p, REPORT_SERVE);
            } else if (k >= SERVE_GROUPS && !strcmp(word, v->v.method) && adapt_point(v, &p) &&
                       !is_again(&x->groups[k], &p, REPORT_ADAPT)) {
                add_point(x, &x->groups[k], &p, REPORT_ADAPT);
            }
        }
    }
    return 0;
}

/* ---- the fit ---- */

/*
 * unit_s = fixed + slowdown * roofline, each point weighing by its own time, so that shares count. Where
 * that gives a part below nothing, or there are too few points for two unknowns, the fixed part is 0.
 */
static void fit_time(struct group *g, const struct rates *here) {
    double w = 0, x = 0, y = 0, xx = 0, xy = 0;
    double ratio = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct point *p = &g->points[i];
        if (p->is_again) {
            continue;
        }
        double weight = 1 / (p->unit_s * p->unit_s);
        double ideal = roofline_s(p, here);
        w += weight;
        x += weight * ideal;
        y += weight * p->unit_s;
        xx += weight * ideal * ideal;
        xy += weight * ideal * p->unit_s;
        ratio += p->unit_s / ideal;
        g->n_fitted++;
    }
    double spread = w * xx - x * x;
    g->slowdown = g->n_fitted > 2 && spread > 0 ? (w * xy - x * y) / spread : 0;
    g->fixed_s = (y - g->slowdown * x) / w;
    if (g->slowdown <= 0 || g->fixed_s < 0 || g->n_fitted <= 2) {
        g->fixed_s = 0;
        g->slowdown = ratio / (double)g->n_fitted;
    }
}

/* Residuals, and how much power busy time takes. */
static void fit_rest(struct group *g, const struct rates *here) {
    double squares = 0;
    double intensity = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct point *p = &g->points[i];
        double roof = g->slowdown * roofline_s(p, here);
        double off = log(p->unit_s / (g->fixed_s + roof));
        double above = (p->watts - here->idle_w) / (here->limit_w - here->idle_w);
        squares += p->is_again ? 0 : off * off;
        intensity += p->is_again ? 0 : fmax(above, 0) / fmin(roof / p->unit_s, 1);
    }
    double df = g->n_fitted > 2 ? (double)g->n_fitted - 2 : 1;
    g->spread = sqrt(squares / df);
    g->intensity = intensity / (double)g->n_fitted;
}

/* Seconds and joules of a request or row on a device. */
static void carry(const struct group *g, const struct point *p, const struct rates *there,
                  double *seconds, double *joules) {
    double roof = g->slowdown * roofline_s(p, there);
    double unit_s = g->fixed_s + roof;
    double share = fmin(g->intensity * roof / unit_s, 1);
    double watts = there->idle_w + share * (there->limit_w - there->idle_w);
    *seconds = unit_s * p->units;
    *joules = watts * *seconds;
}

static void carry_group(const struct projection *x, struct group *g) {
    for (size_t i = 0; i < g->n; i++) {
        struct point *p = &g->points[i];
        carry(g, p, &x->there, &p->to_s, &p->to_j);
        carry(g, p, &x->published, &p->checked_s, &p->checked_j);
        p->unfit = p->memory_bytes > x->there.memory_bytes ? "does not fit its memory" : NULL;
    }
}

/* The factor by which a figure may be larger or smaller. */
static double time_factor(const struct group *g) {
    return exp(sqrt(pow(1.96 * g->spread, 2) + pow(log(1 + transfer_time), 2)));
}
static double energy_factor(const struct group *g) {
    return exp(sqrt(pow(log(time_factor(g)), 2) + pow(log(1 + transfer_power), 2)));
}

/* ---- text ---- */

static void add_fits(const struct projection *x, struct buf *out) {
    for (size_t k = 0; k < GROUPS; k++) {
        const struct group *g = &x->groups[k];
        if (g->n == 0) {
            buf_addf(out, "%-12s nothing measured\n", group_names[k]);
            continue;
        }
        buf_addf(out,
                 "%-12s %5.2f ms + roofline / %.2f a %s, residuals %2.0f %%; %3.0f %% of the power "
                 "above idle when busy; %zu stages\n",
                 group_names[k], g->fixed_s * 1e3, 1 / g->slowdown,
                 k < SERVE_GROUPS ? "step" : "row", 100 * g->spread, 100 * g->intensity,
                 g->n_fitted);
    }
}

static void add_cell(struct buf *out, double value, double factor) {
    struct buf cell;
    buf_init(&cell);
    fmt_num(&cell, value);
    buf_addstr(&cell, " (");
    fmt_num(&cell, value / factor);
    buf_addstr(&cell, " to ");
    fmt_num(&cell, value * factor);
    buf_addstr(&cell, ")");
    fmt_cell(out, cell.data, 25, true);
    buf_release(&cell);
}

static void add_point_line(const struct group *g, size_t k, const struct point *p,
                           struct buf *out) {
    const struct store_variant *v = &p->v->v;
    buf_addf(out, "%-5s %-3s %-5s %-4s %-4s", v->family, v->size, v->method, v->task,
             k < SERVE_GROUPS ? v->precision : "");
    if (p->unfit) {
        buf_addf(out, " %s\n", p->unfit);
        return;
    }
    double rate = k < SERVE_GROUPS ? p->v->input.econ[ECON(output_tokens)].value / p->to_s
                                   : p->to_s;
    add_cell(out, rate, time_factor(g));
    add_cell(out, p->to_j, energy_factor(g));
    buf_addch(out, '\n');
}

static void add_points(const struct projection *x, struct buf *out) {
    for (size_t k = 0; k < GROUPS; k++) {
        const struct group *g = &x->groups[k];
        if (g->n) {
            buf_addf(out, "\n%s: %s\n", group_names[k],
                     k < SERVE_GROUPS ? "tokens/s, J/request" : "s/row, J/row");
        }
        for (size_t i = 0; i < g->n; i++) {
            add_point_line(g, k, &g->points[i], out);
        }
    }
}

/* ---- against the published rows ---- */

static void add_error(const struct group *g, bool energy, struct buf *out) {
    enum { MOST = 512 };
    double ratios[MOST];
    size_t n = 0;
    size_t inside = 0;
    double factor = energy ? energy_factor(g) : time_factor(g);
    for (size_t i = 0; i < g->n && n < MOST; i++) {
        const struct point *p = &g->points[i];
        if (p->published) {
            double ratio = energy ? p->checked_j / p->published_j : p->checked_s / p->published_s;
            ratios[n++] = ratio;
            inside += ratio < factor && ratio > 1 / factor;
        }
    }
    if (n == 0) {
        buf_addstr(out, "no published row");
        return;
    }
    stats_sort(ratios, n);
    buf_addf(out, "%.2f (%.2f to %.2f), inside %zu of %zu", stats_quantile(ratios, n, 0.5),
             ratios[0], ratios[n - 1], inside, n);
}

static void add_validation(const struct projection *x, struct buf *out) {
    bool is_any = false;
    for (size_t k = 0; k < GROUPS; k++) {
        for (size_t i = 0; i < x->groups[k].n; i++) {
            is_any = is_any || x->groups[k].points[i].published;
        }
    }
    if (!is_any) {
        buf_addstr(out, "\nNo variant of this run is published, so nothing tells how far off this "
                        "is.\n");
        return;
    }
    buf_addstr(
        out, "\nHow far off: the same carried to two T4, over the published rows; median (range), "
             "and\nhow many published figures lie inside the interval\n");
    for (size_t k = 0; k < GROUPS; k++) {
        const struct group *g = &x->groups[k];
        if (g->n == 0) {
            continue;
        }
        buf_addf(out, "%-12s time   ", group_names[k]);
        add_error(g, false, out);
        buf_addf(out, "\n%-12s joules ", "");
        add_error(g, true, out);
        buf_addch(out, '\n');
    }
    buf_addstr(out,
               "Serving used another engine there, and trainings rows of other lengths, one card "
               "or two.\n");
}

static int write_text(const struct projection *x, struct buf *out) {
    buf_addf(out, "%s on %s, carried to %d x %s\n", x->base.run->run_id, x->from->names[0],
             x->n_devices, x->to->names[0]);
    buf_addf(
        out,
        "Intervals: the fit's residuals, and %.0f %% of time and %.0f %% of power by which another "
        "device may\ndiffer, which are assumed. Load times depend on disks and are not carried.\n\n",
        100 * transfer_time, 100 * transfer_power);
    add_fits(x, out);
    add_points(x, out);
    add_validation(x, out);
    return 0;
}

/* ---- CSV ---- */

static void add_num(struct buf *out, double value) {
    buf_addch(out, ',');
    if (isfinite(value)) {
        fmt_full(out, value);
    }
}

static int write_csv(const struct projection *x, struct buf *out) {
    buf_addstr(out, "stage,family,size,method,task,precision,device,devices,s,s_low,s_high,j,j_low,"
                    "j_high,published_two_t4_s,published_two_t4_j,reason\n");
    for (size_t k = 0; k < GROUPS; k++) {
        const struct group *g = &x->groups[k];
        for (size_t i = 0; i < g->n; i++) {
            const struct point *p = &g->points[i];
            const struct store_variant *v = &p->v->v;
            const char *const keys[] = {
                k < SERVE_GROUPS ? "serve" : "adapt", v->family, v->size, v->method, v->task,
                k < SERVE_GROUPS ? v->precision : "", x->to->id};
            double s = p->unfit ? (double)NAN : p->to_s;
            double j = p->unfit ? (double)NAN : p->to_j;
            for (size_t c = 0; c < sizeof(keys) / sizeof(keys[0]); c++) {
                fmt_csv(out, keys[c]);
                buf_addch(out, ',');
            }
            buf_addf(out, "%d", x->n_devices);
            const double cells[] = {s,
                                    s / time_factor(g),
                                    s * time_factor(g),
                                    j,
                                    j / energy_factor(g),
                                    j * energy_factor(g),
                                    p->published ? p->published_s : (double)NAN,
                                    p->published ? p->published_j : (double)NAN};
            for (size_t c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
                add_num(out, cells[c]);
            }
            buf_addf(out, ",%s\n", p->unfit ? p->unfit : "");
        }
    }
    return 0;
}

static const struct {
    const char *name;
    int (*write)(const struct projection *x, struct buf *out);
} formats[] = {{"text", write_text}, {"csv", write_csv}};
enum { N_FORMATS = sizeof(formats) / sizeof(formats[0]) };
const char *const project_format_names[] = {"text", "csv", NULL};

/* ---- the frame ---- */

static int choose_devices(struct projection *x, const char *data_dir, const char *to,
                          struct err *e) {
    struct known_device *devices = NULL;
    size_t n = 0;
    const struct report_run *run = x->base.run;
    const char *here = run->n_variants ? run->variants[0].v.device : "";
    int rc = devices_load(data_dir, &x->base.arena, &devices, &n, e);
    if (rc) {
        return rc;
    }
    x->to = devices_find(devices, n, to);
    const struct known_device *published = devices_find(devices, n, "t4");
    x->from = devices_find(devices, n, here);
    struct buf ids;
    buf_init(&ids);
    for (size_t i = 0; i < n; i++) {
        buf_addf(&ids, "%s%s", i ? ", " : "", devices[i].id);
    }
    if (!x->to) {
        rc = err_set(e, EE_USAGE, "no device \"%.60s\"; there are: %s", to, ids.data);
    } else if (!x->from) {
        rc = err_set(
            e, EE_UNSUPPORTED,
            "the run was measured on \"%.60s\", whose peaks data/devices.yaml does not have; "
            "only a run on one of these can be carried: %s",
            here, ids.data);
    } else if (!published) {
        rc = err_set(e, EE_FORMAT, "data/devices.yaml has no t4, the published rows' device");
    } else {
        x->here = rates_of(x->from, 1);
        x->there = rates_of(x->to, x->n_devices);
        x->published = rates_of(published, 2);
    }
    buf_release(&ids);
    return rc;
}

/* Idle power as the run measured it, where it did. */
static void take_idle(struct projection *x) {
    json_t *idle = NULL;
    const char *text = x->base.run->idle_json;
    if (!text || json_parse(text, strlen(text), "idle", &idle, NULL)) {
        return;
    }
    size_t i;
    const json_t *c;
    double watts = 0;
    json_array_foreach(json_object_get(idle, "components"), i, c) {
        watts += strncmp(json_str_or(c, "name", ""), "gpu", 3) == 0 ? json_num_or(c, "mean_w", 0)
                                                                    : 0;
    }
    x->here.idle_w = watts > 0 ? watts : x->here.idle_w;
    json_decref(idle);
}

int project_format(const char *data_dir, const char *run_dir, const char *to, int devices,
                   const char *format, struct buf *out, struct err *e) {
    struct projection x = {.n_devices = devices};
    size_t f = 0;
    while (f < N_FORMATS && strcmp(formats[f].name, format) != 0) {
        f++;
    }
    if (f == N_FORMATS) {
        return err_set(e, EE_USAGE, "there is no format \"%.40s\"", format);
    }
    int rc = results_open(&x.base, data_dir, &run_dir, 1, e);
    rc = rc ? rc : choose_devices(&x, data_dir, to, e);
    if (!rc) {
        take_idle(&x);
        rc = gather(&x, e);
    }
    for (size_t k = 0; k < GROUPS && !rc; k++) {
        if (x.groups[k].n) {
            fit_time(&x.groups[k], &x.here);
            fit_rest(&x.groups[k], &x.here);
            carry_group(&x, &x.groups[k]);
        }
    }
    rc = rc ? rc : formats[f].write(&x, out);
    results_close(&x.base);
    return rc ? rc : buf_check(out, "project", e);
}
