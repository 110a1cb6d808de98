/*
 * The meter against a truth it cannot see: simulated sensors that sample known power as real ones
 * do (period, averaging window, lag, resolution, an error of gain), the meter's own sampling and
 * arithmetic, and windows of random length (a quarter of a second, or twice the update period, to a
 * minute) at random times. Writes a table as Markdown with, for each source and kind of load: the
 * error that 95 % of the figures stay below, the median half-width of their intervals, and in how
 * many per cent of the windows the interval holds the truth; the last figure again with sensors of
 * perfect gain and the interval without its part for gain, where sampling is on its own. Exits
 * with 1 when one of them is under 95 %.
 *
 * usage: meter_calibration [SEED [WINDOWS]]
 */
#include "base/clock.h"
#include "base/rng.h"
#include "energy/meter_impl.h"
#include "energy/note.h"
#include "stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WINDOWS = 2000 };
#define TRACE_S 700.0
#define MARGIN_S 5.0 /* before the first window and after the last */
#define WANTED 0.95
#define SECOND 1e9

/* ---- power that is known ---- */

/* Power is linear between the corners; joules up to each corner. */
struct load {
    const char *name;
    size_t n, cap;
    struct corner {
        double t_s, watts, next_w, joules; /* next_w: just after the corner */
    } * corners;
};

/* From the last corner to t_s in a straight line to end_w, and from there on at next_w. */
static void load_add(struct load *l, double t_s, double end_w, double next_w) {
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 1024;
        l->corners = realloc(l->corners, l->cap * sizeof(*l->corners));
        if (!l->corners) {
            fprintf(stderr, "out of memory\n");
            exit(1);
        }
    }
    double joules = 0;
    if (l->n > 0) {
        const struct corner *c = &l->corners[l->n - 1];
        joules = c->joules + (c->next_w + end_w) / 2 * (t_s - c->t_s);
    }
    l->corners[l->n++] = (struct corner){t_s, end_w, next_w, joules};
}

static double load_joules(const struct load *l, double t_s) {
    size_t low = 0;
    size_t high = l->n - 1;
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        *(l->corners[mid].t_s <= t_s ? &low : &high) = mid;
    }
    const struct corner *a = &l->corners[low];
    const struct corner *b = &l->corners[high];
    double slope = (b->watts - a->next_w) / (b->t_s - a->t_s);
    double dt = t_s - a->t_s;
    return a->joules + a->next_w * dt + slope * dt * dt / 2;
}

static double uniform(struct rng *r, double low, double high) {
    return low + (high - low) * rng_uniform(r);
}

static double exponential(struct rng *r, double mean) {
    return -mean * log(1 - rng_uniform(r));
}

static void make_constant(struct load *l, struct rng *r) {
    double w = uniform(r, 80, 600);
    load_add(l, -MARGIN_S, w, w);
    load_add(l, TRACE_S, w, w);
}

/* Periods from p to 2 p, a new one every few seconds, so that none stays in step with a sensor. */
static void make_square(struct load *l, struct rng *r, double p) {
    double t = -MARGIN_S;
    bool high = false;
    load_add(l, t, 90, 90);
    while (t < TRACE_S) {
        double half = uniform(r, p, 2 * p) / 2;
        double until = t + fmax(4, 4 * half);
        while (t < until) {
            t += half;
            high = !high;
            load_add(l, t, high ? 90 : 600, high ? 600 : 90);
        }
    }
}

static void make_square_5ms(struct load *l, struct rng *r) {
    make_square(l, r, 0.005);
}

static void make_square_50ms(struct load *l, struct rng *r) {
    make_square(l, r, 0.05);
}

static void make_square_500ms(struct load *l, struct rng *r) {
    make_square(l, r, 0.5);
}

static void make_square_5s(struct load *l, struct rng *r) {
    make_square(l, r, 5);
}

/* Requests: prefill at full power, decode at half of it, now and then nothing. */
static void make_bursts(struct load *l, struct rng *r) {
    double t = -MARGIN_S;
    load_add(l, t, 90, 90);
    while (t < TRACE_S) {
        t += exponential(r, 0.4);
        load_add(l, t, 90, 650);
        t += uniform(r, 0.03, 0.4);
        load_add(l, t, 650, 310);
        t += uniform(r, 0.3, 4);
        load_add(l, t, 310, 90);
    }
}

/* A card that warms up, with load that comes and goes over minutes. */
static void make_drift(struct load *l, struct rng *r) {
    double t = -MARGIN_S;
    double w = 200;
    load_add(l, t, w, w);
    while (t < TRACE_S) {
        t += uniform(r, 2, 20);
        w = fmin(600, fmax(90, w + uniform(r, -80, 80)));
        load_add(l, t, w, w);
    }
}

/* A long time of idle and of work in turn: windows begin and end beside the steps. */
static void make_steps(struct load *l, struct rng *r) {
    double t = -MARGIN_S;
    load_add(l, t, 90, 90);
    while (t < TRACE_S) {
        t += uniform(r, 8, 40);
        load_add(l, t, 90, 640);
        t += uniform(r, 8, 40);
        load_add(l, t, 640, 90);
    }
}

static const struct {
    const char *name;
    void (*make)(struct load *l, struct rng *r);
} loads[] = {
    {"constant", make_constant},
    {"square 5..10 ms", make_square_5ms},
    {"square 50..100 ms", make_square_50ms},
    {"square 0.5..1 s", make_square_500ms},
    {"square 5..10 s", make_square_5s},
    {"steps of 8..40 s", make_steps},
    {"prefill/decode", make_bursts},
    {"drift", make_drift},
};
enum { N_LOADS = sizeof(loads) / sizeof(loads[0]) };

/* ---- sensors that sample it ---- */

struct sampling {
    double period_s, window_s, lag_s, quantum; /* quantum in J or W */
};

static const struct source {
    const char *name;
    bool has_counter, has_power;
    struct sampling counter, power;
    double gain;
    int64_t update_ns; /* as the sensor states it */
    double duty;
    bool slow; /* read in full readings only */
} sources[] = {
#define NONE                                                                                       \
    { 1, 1, 0, 1 }
    {"NVML counter",
     true,
     true,
     {0.1, 0, 0, 1e-3},
     {0.1, 0.025, 0, 1e-3},
     0.05,
     100 * NS_PER_MS,
     0.25,
     false},
    {"NVML instant power",
     false,
     true,
     NONE,
     {0.1, 0.025, 0, 1e-3},
     0.05,
     100 * NS_PER_MS,
     0.25,
     false},
    {"NVML average power", false, true, NONE, {0.1, 1, 0, 1e-3}, 0.05, 1100 * NS_PER_MS, 1, false},
    {"powercap", true, false, {0.001, 0, 0, 61e-6}, NONE, 0.05, NS_PER_MS, 1, false},
    {"perf events", true, false, {0.001, 0, 0, 0x1p-32}, NONE, 0.05, NS_PER_MS, 1, false},
    {"INA3221", false, true, NONE, {0.01, 0.01, 0, 0.04}, 0.02, 10 * NS_PER_MS, 1, false},
    {"Grace (ACPI)", false, true, NONE, {0.05, 0.05, 0, 1e-6}, 0.05, 50 * NS_PER_MS, 1, false},
    {"battery", false, true, NONE, {1, 1, 0, 0.01}, 0.05, 3 * NS_PER_S, 1, true},
    {"IPMI, Redfish", false, true, NONE, {1, 1, 0.5, 1}, 0.05, 4 * NS_PER_S, 1, true},
};
enum { N_SOURCES = sizeof(sources) / sizeof(sources[0]) };

/* The clock, and what the sensor sees through it. */
struct world {
    int64_t now_ns;
    const struct source *source;
    const struct load *load;
    double gain, phase; /* the device's own */
};

static double quantise(double x, double quantum) {
    return quantum * floor(x / quantum);
}

static double updated_s(const struct world *w, const struct sampling *s) {
    double t = (double)w->now_ns / SECOND;
    double phase = w->phase * s->period_s;
    return floor((t - phase) / s->period_s) * s->period_s + phase - s->lag_s;
}

static double counter_j(const struct world *w) {
    const struct sampling *s = &w->source->counter;
    return quantise(w->gain * load_joules(w->load, updated_s(w, s)), s->quantum);
}

static double power_w(const struct world *w) {
    const struct sampling *s = &w->source->power;
    double t = updated_s(w, s);
    double joules = load_joules(w->load, t) - load_joules(w->load, t - s->window_s);
    return quantise(w->gain * joules / s->window_s, s->quantum);
}

static int sim_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    (void)e;
    const struct world *w = env->now_ctx;
    struct sensor_component *c = sensor_add(s, "sim", "gpu");
    s->state = env->now_ctx;
    c->info.gain = w->source->gain;
    c->counter_update_ns = c->power_update_ns = w->source->update_ns;
    c->power_duty = w->source->duty;
    note_set(c->counter_source, sizeof(c->counter_source), w->source->has_counter ? "c" : "");
    note_set(c->power_source, sizeof(c->power_source), w->source->has_power ? "p" : "");
    return 0;
}

static void sim_read(struct sensor *s, size_t i, enum sensor_depth depth,
                     struct sensor_value *out) {
    (void)i;
    const struct world *w = s->state;
    if (w->source->has_power && (depth == SENSOR_FULL || !w->source->slow)) {
        sensor_value_ok_power(out, w->now_ns, power_w(w));
    }
    if (w->source->has_counter && (depth == SENSOR_FULL || !w->source->has_power)) {
        sensor_value_ok_counter(out, w->now_ns, counter_j(w));
    }
}

static void sim_close(struct sensor *s) {
    (void)s;
}

static const struct sensor_ops simulated = {
    .name = "simulated", .probe = sim_probe, .read = sim_read, .close = sim_close};

static int64_t world_now_ns(void *ctx) {
    return ((struct world *)ctx)->now_ns;
}

static void world_wait(void *ctx, int64_t t_ns) {
    ((struct world *)ctx)->now_ns = t_ns;
}

/* ---- one cell of the table ---- */

struct window_plan {
    int64_t open_ns, close_ns;
    int id; /* while open, else -1 */
    bool done;
};

struct cell {
    size_t n, n_missing, n_held, n_timing;
    double errors[MAX_WINDOWS];      /* |J - truth| / truth of the sensor with its gain */
    double half_widths[MAX_WINDOWS]; /* of the interval, relative to J */
};

static void plan_windows(struct window_plan *plan, size_t n, const struct source *source,
                         struct rng *r) {
    /* Twice the update period is refused; a minute is a stage. */
    double shortest = 2.05 * (double)source->update_ns / SECOND;
    shortest = shortest < 0.25 ? 0.25 : shortest;
    for (size_t i = 0; i < n; i++) {
        double seconds = exp(uniform(r, log(shortest), log(60)));
        double open = uniform(r, 0, TRACE_S - 70);
        plan[i] = (struct window_plan){(int64_t)(open * SECOND),
                                       (int64_t)((open + seconds) * SECOND), -1, false};
    }
}

static void judge(struct cell *cell, const struct load *load, const struct meter_reading *r,
                  bool perfect) {
    const struct component_reading *c = &r->c[0];
    double truth = load_joules(load, (double)r->end_ns / SECOND) -
                   load_joules(load, (double)r->start_ns / SECOND);
    if (c->quality == METER_MISSING) {
        cell->n_missing += !perfect;
        return;
    }
    if (perfect) {
        double slack = c->gain * c->joules;
        bool low_is_cut = c->low_j == 0;
        cell->n_timing += (low_is_cut || c->low_j + slack <= truth) && truth <= c->high_j - slack;
        return;
    }
    cell->n_held += c->low_j <= truth && truth <= c->high_j;
    cell->errors[cell->n] = fabs(c->joules - truth) / truth;
    cell->half_widths[cell->n++] = (c->high_j - c->low_j) / 2 / c->joules;
}

static void step_windows(struct meter *m, struct world *w, struct window_plan *plan, size_t n,
                         struct cell *cell, bool perfect) {
    struct err e = ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        struct window_plan *p = &plan[i];
        if (p->id >= 0 && p->close_ns <= w->now_ns) {
            struct meter_reading r;
            if (meter_window_close(m, p->id, &r, &e) == 0) {
                judge(cell, w->load, &r, perfect);
            }
            p->id = -1;
            p->done = true;
        }
        if (!p->done && p->id < 0 && p->open_ns <= w->now_ns) {
            p->id = meter_window_open(m, "w", METER_NO_PARENT, &e);
            p->done = p->id < 0; /* too many at once: left out */
        }
    }
}

/* The next edge of a window, or the sampling deadline if that comes first. */
static int64_t next_event_ns(const struct window_plan *plan, size_t n, int64_t due_ns) {
    int64_t next_ns = due_ns;
    for (size_t i = 0; i < n; i++) {
        int64_t t_ns = plan[i].id >= 0 ? plan[i].close_ns : plan[i].open_ns;
        if (!plan[i].done && t_ns < next_ns) {
            next_ns = t_ns;
        }
    }
    return next_ns;
}

static void simulate(const struct source *source, const struct load *load, size_t n, uint64_t seed,
                     bool perfect, struct cell *cell) {
    static struct window_plan plan[MAX_WINDOWS];
    struct rng r;
    struct err e = ERR_INIT;
    struct meter *m = NULL;
    struct world w = {.source = source, .load = load, .gain = 1};
    const struct meter_clock clock = {world_now_ns, world_wait, &w, true, &simulated};
    const struct meter_opts opts = {.period_ms = 0};
    rng_init(&r, seed);
    w.phase = rng_uniform(&r);
    /* The tolerance is one of the figure: the truth lies within J (1 +- gain). */
    w.gain = perfect ? 1 : 1 / uniform(&r, 1 - source->gain, 1 + source->gain);
    plan_windows(plan, n, source, &r);
    if (meter_start_clocked(&m, &opts, &clock, &e) < 0) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    while (w.now_ns < (int64_t)((TRACE_S - 1) * SECOND)) {
        const int64_t due_ns = m->due_ns > w.now_ns ? m->due_ns : w.now_ns;
        w.now_ns = next_event_ns(plan, n, due_ns);
        step_windows(m, &w, plan, n, cell, perfect);
        if (w.now_ns == due_ns) {
            w.now_ns += (int64_t)(uniform(&r, 0, 2e6)); /* woken a little late, as threads are */
            meter_step(m);
            meter_plan_next(m, w.now_ns);
        }
    }
    meter_stop(m);
}

/* Eight devices of each source, each with its own gain, phase and load. */
static bool print_cell(const struct source *source, size_t load_index, size_t n, uint64_t seed) {
    enum { N_DEVICES = 8 };
    static struct cell cell;
    memset(&cell, 0, sizeof(cell));
    for (uint64_t device = 0; device < N_DEVICES; device++) {
        struct load load = {.n = 0};
        struct rng r;
        rng_init_stream(&r, seed, 100 * load_index + device);
        loads[load_index].make(&load, &r);
        uint64_t own = seed + 1000 * load_index + 7919 * device;
        simulate(source, &load, n / N_DEVICES, own, false, &cell);
        simulate(source, &load, n / N_DEVICES, own, true, &cell);
        free(load.corners);
    }
    stats_sort(cell.errors, cell.n);
    stats_sort(cell.half_widths, cell.n);
    double held = (double)cell.n_held / (double)cell.n;
    double timing = (double)cell.n_timing / (double)cell.n;
    bool good = held >= WANTED && timing >= WANTED && cell.n_missing == 0;
    printf(" %.0f %% (±%.0f %%) %.1f, %.1f%s |", 100 * stats_quantile(cell.errors, cell.n, 0.95),
           100 * stats_quantile(cell.half_widths, cell.n, 0.5), 100 * held, 100 * timing,
           good ? "" : " **bad**");
    if (cell.n_missing > 0) {
        fprintf(stderr, "%s, %s: %zu of %zu windows missing\n", source->name,
                loads[load_index].name, cell.n_missing, cell.n);
    }
    return good;
}

static bool print_table(size_t n, uint64_t seed) {
    bool good = true;
    printf("| source |");
    for (size_t l = 0; l < N_LOADS; l++) {
        printf(" %s |", loads[l].name);
    }
    printf("\n|---|");
    for (size_t l = 0; l < N_LOADS; l++) {
        printf("---|");
    }
    for (size_t s = 0; s < N_SOURCES; s++) {
        printf("\n| %s |", sources[s].name);
        for (size_t l = 0; l < N_LOADS; l++) {
            good = print_cell(&sources[s], l, n, seed) && good;
        }
    }
    printf("\n");
    return good;
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    size_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 400;
    if (n < 8 || n > MAX_WINDOWS) {
        fprintf(stderr, "usage: meter_calibration [SEED [WINDOWS]], at most %d windows\n",
                MAX_WINDOWS);
        return 2;
    }
    return print_table(n, seed) ? 0 : 1;
}
