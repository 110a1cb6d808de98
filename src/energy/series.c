#include "energy/series.h"
#include "energy/note.h"

#include "base/clock.h"

#include <math.h>
#include <string.h>

/* For 95 % of the windows; more than two, because a few samples know their spread badly. */
#define SAMPLING_SIGMAS 2.5

/* A counter that stands still this long is not counting: no powered device draws 0 W. */
#define FROZEN_MIN_NS (2 * NS_PER_S)
#define SHORT_WINDOW_NS (5 * NS_PER_S)

static int64_t max_ns(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t frozen_limit_ns(const struct sensor_component *c) {
    return max_ns(FROZEN_MIN_NS, 10 * c->counter_update_ns);
}

void series_init(struct series *s, int64_t period_ns) {
    memset(s, 0, sizeof(*s));
    s->period_ns = period_ns;
    s->low_w = s->high_w = NAN;
}

/* Intervals longer than this say little about what happened inside. */
static int64_t gap_limit_ns(const struct sensor_component *c, int64_t period_ns) {
    return 3 * max_ns(period_ns, c->power_update_ns);
}

static void break_series(bool *valid, uint32_t *breaks, char *why, size_t size, const char *text) {
    *valid = false;
    (*breaks)++;
    note_set(why, size, "%s", text);
}

static void counter_advance_frozen(struct series *s, const struct sensor_component *c,
                                   double joules) {
    struct series_counter *k = &s->now.counter;
    int64_t still_ns = k->t_ns - k->changed_ns;
    if (joules > k->joules && still_ns > frozen_limit_ns(c)) {
        k->breaks++;
        note_set(s->counter_why, sizeof(s->counter_why), "the counter stood still for %.1f s",
                 clock_ns_to_s(still_ns));
    }
}

static void restart_counter(struct series_counter *k, const struct sensor_value *v) {
    k->valid = true;
    k->t_ns = k->changed_ns = k->mark_ns = v->counter_ns;
    k->joules = k->mark_j = v->counter_j;
}

static struct series_step advance_counter(struct series *s, const struct sensor_component *c,
                                          const struct sensor_value *v) {
    struct series_step step = {0};
    struct series_counter *k = &s->now.counter;
    if (v->counter == SENSOR_FAILED) {
        break_series(&k->valid, &k->breaks, s->counter_why, sizeof(s->counter_why), v->counter_why);
        return step;
    }
    if (v->counter != SENSOR_OK) {
        return step;
    }
    if (!k->valid) {
        restart_counter(k, v);
        return step;
    }
    counter_advance_frozen(s, c, v->counter_j);
    step.valid = v->counter_ns > k->t_ns;
    step.start_ns = k->t_ns;
    step.end_ns = v->counter_ns;
    step.joules = v->counter_j - k->joules;
    k->changed_ns = v->counter_j > k->joules ? v->counter_ns : k->changed_ns;
    k->t_ns = v->counter_ns;
    k->joules = v->counter_j;

    /* Readings at window edges come right after a sample: too close for a mean power. */
    int64_t span_ns = k->t_ns - k->mark_ns;
    if (span_ns > 0 && 2 * span_ns >= max_ns(s->period_ns, c->counter_update_ns)) {
        step.has_peak = true;
        step.peak_start_ns = k->mark_ns;
        step.peak_w = (k->joules - k->mark_j) / clock_ns_to_s(span_ns);
        k->mark_ns = k->t_ns;
        k->mark_j = k->joules;
    }
    return step;
}

static struct series_step advance_power(struct series *s, const struct sensor_component *c,
                                        const struct sensor_value *v) {
    struct series_step step = {0};
    struct series_power *p = &s->now.power;
    if (v->power == SENSOR_FAILED) {
        break_series(&p->valid, &p->breaks, s->power_why, sizeof(s->power_why), v->power_why);
        return step;
    }
    if (v->power != SENSOR_OK) {
        return step;
    }
    if (p->valid && v->power_ns > p->t_ns) {
        int64_t span_ns = v->power_ns - p->t_ns;
        /* E2: trapezoid over the time that really passed. */
        double joules = (p->watts + v->power_w) / 2 * clock_ns_to_s(span_ns);
        p->joules += joules;
        double change_j = (v->power_w - p->watts) * clock_ns_to_s(span_ns);
        if (span_ns > gap_limit_ns(c, s->period_ns)) {
            p->gap_ns += span_ns;
            p->gap_j += joules;
        } else {
            p->rough_j2 += change_j * change_j;
        }
        step = (struct series_step){
            .valid = true,
            .start_ns = p->t_ns,
            .end_ns = v->power_ns,
            .joules = joules,
            .has_peak = true,
            .peak_start_ns = p->t_ns,
            .peak_w = p->watts > v->power_w ? p->watts : v->power_w,
        };
    }
    p->valid = true;
    p->t_ns = v->power_ns;
    p->watts = v->power_w;
    s->low_w = v->power_w >= s->low_w ? s->low_w : v->power_w;
    s->high_w = v->power_w <= s->high_w ? s->high_w : v->power_w;
    return step;
}

struct series_step series_advance(struct series *s, const struct sensor_component *c,
                                  const struct sensor_value *v) {
    struct series_step counter = advance_counter(s, c, v);
    struct series_step power = advance_power(s, c, v);
    if (c->power_source[0]) {
        s->watts = s->now.power.watts;
        s->has_watts = s->now.power.valid;
        return power;
    }
    if (counter.has_peak) {
        s->watts = counter.peak_w;
        s->has_watts = true;
    } else if (!s->now.counter.valid) {
        s->has_watts = false;
    }
    return counter;
}

double series_joules(const struct series *s) {
    return s->now.power.joules > 0 ? s->now.power.joules : s->now.counter.joules;
}

bool series_alive(const struct series *s) {
    return s->now.counter.valid || s->now.power.valid;
}

/* One series seen as a candidate for the figure of a window. */
struct candidate {
    bool usable;
    bool intact; /* read at both edges without a break in between; the value may still be useless */
    double joules;
    int64_t span_ns;
    char why[288];
};

static struct candidate from_counter(const struct series *s, const struct series_mark *open,
                                     const struct sensor_component *c) {
    const struct series_counter *a = &open->counter;
    const struct series_counter *b = &s->now.counter;
    struct candidate r = {.joules = b->joules - a->joules, .span_ns = b->t_ns - a->t_ns};
    int64_t still_ns = b->t_ns - b->changed_ns;
    if (!c->counter_source[0]) {
        return r;
    }
    if (!a->valid) {
        note_set(r.why, sizeof(r.why), "no counter reading when the window opened (%s)",
                 s->counter_why);
    } else if (b->breaks != a->breaks || !b->valid) {
        note_set(r.why, sizeof(r.why), "energy counter: %s", s->counter_why);
    } else if (still_ns > frozen_limit_ns(c)) {
        note_set(r.why, sizeof(r.why), "the energy counter has stood still for %.1f s",
                 clock_ns_to_s(still_ns));
    } else if (r.joules <= 0) {
        r.intact = true;
        note_set(r.why, sizeof(r.why), "the energy counter did not move in %.3f s",
                 clock_ns_to_s(r.span_ns));
    } else {
        r.usable = r.intact = true;
    }
    return r;
}

static struct candidate from_power(const struct series *s, const struct series_mark *open,
                                   const struct sensor_component *c) {
    const struct series_power *a = &open->power;
    const struct series_power *b = &s->now.power;
    struct candidate r = {.joules = b->joules - a->joules, .span_ns = b->t_ns - a->t_ns};
    if (!c->power_source[0]) {
        return r;
    }
    if (!a->valid) {
        note_set(r.why, sizeof(r.why), "no power reading when the window opened (%s)",
                 s->power_why);
    } else if (b->breaks != a->breaks || !b->valid) {
        note_set(r.why, sizeof(r.why), "power: %s", s->power_why);
    } else if (r.joules <= 0) {
        r.intact = true;
        note_set(r.why, sizeof(r.why), "the power sensor says 0 W");
    } else {
        r.usable = r.intact = true;
    }
    return r;
}

static void set_missing(struct component_reading *r, const char *reason) {
    r->quality = METER_MISSING;
    r->joules = r->low_j = r->high_j = r->edge_j = r->mean_w = r->peak_w = NAN;
    r->coverage = 0;
    note_set(r->reason, sizeof(r->reason), "%s", reason);
}

/* Below two update periods the edges are all there is: refuse. */
static bool refuse(struct component_reading *r, double seconds, int64_t update_ns) {
    if (seconds >= clock_ns_to_s(2 * update_ns)) {
        return false;
    }
    char why[160];
    note_set(why, sizeof(why), "refused: %.3g s is under two update periods (%.3g s each) of %s",
             seconds, clock_ns_to_s(update_ns), r->source);
    r->refused = true;
    set_missing(r, why);
    return true;
}

/* The highest power near an edge, as far as readings tell. */
static double edge_power_w(const struct component_reading *r, const struct series_mark *open) {
    double w = r->peak_w > r->mean_w ? r->peak_w : r->mean_w;
    return open->power.valid && open->power.watts > w ? open->power.watts : w;
}

/* E1a: a counter that is asked more rarely than it moves shows means over longer than its steps. */
static double counter_edge_j(const struct series *s, const struct series_mark *open,
                             const struct sensor_component *c, const struct component_reading *r) {
    bool sees_steps = c->power_source[0] || s->period_ns <= c->counter_update_ns;
    return (sees_steps ? 1 : 2) * clock_ns_to_s(c->counter_update_ns) * edge_power_w(r, open);
}

/* Share of the time that power readings stand for. */
static double duty_of(const struct series *s, const struct sensor_component *c) {
    double seen = (double)c->power_update_ns / (double)s->period_ns;
    return c->power_duty * (seen < 1 ? seen : 1);
}

/*
 * E1b: the edges; what sampling may have missed, from how far one reading differs from the next;
 * and where the sensor itself looks only now and then, what it could not see of a load in step
 * with it, from the range of its readings.
 */
static double power_edge_j(const struct series *s, const struct series_mark *open,
                           const struct sensor_component *c, const struct component_reading *r,
                           double seconds) {
    double rough_j2 = s->now.power.rough_j2 - open->power.rough_j2;
    double missed_j = SAMPLING_SIGMAS * sqrt(rough_j2 > 0 ? rough_j2 / 2 : 0);
    double unseen_j = (1 - c->power_duty) * (s->high_w - s->low_w) / 2 * seconds;
    return clock_ns_to_s(c->power_update_ns) * edge_power_w(r, open) + missed_j + unseen_j;
}

/* E1: J +- (gain * J + edge), widened by the bounds of what happened in gaps (E3). */
static void set_interval(struct component_reading *r, double edge_j, double gap_j, double gap_s) {
    double gap_more_j = r->peak_w * gap_s - gap_j;
    r->edge_j = edge_j;
    r->gap_less_j = gap_j;
    r->gap_more_j = gap_more_j > 0 ? gap_more_j : 0;
    double half_j = r->gain * r->joules + r->edge_j;
    r->low_j = r->joules - half_j - r->gap_less_j;
    r->high_j = r->joules + half_j + r->gap_more_j;
    if (r->low_j < 0) {
        r->low_j = 0; /* a bound, not data: nothing consumes less than nothing */
    }
}

static void describe(struct component_reading *r, const struct sensor_component *c) {
    *r = (struct component_reading){.gain = c->info.gain,
                                    .shared = c->info.shared,
                                    .whole = c->info.whole,
                                    .modelled = c->info.modelled};
    memcpy(r->name, c->info.name, sizeof(r->name));
    memcpy(r->scope, c->info.scope, sizeof(r->scope));
    memcpy(r->source, c->info.source, sizeof(r->source));
    memcpy(r->detail, c->info.detail, sizeof(r->detail));
}

/* Neither series gave a figure. */
static void reading_without(const struct series *s, const struct sensor_component *c,
                            const struct candidate *counter, const struct candidate *power,
                            struct component_reading *out) {
    char both[512];
    bool dead = !series_alive(s);
    note_set(both, sizeof(both), "%s", counter->why);
    if (power->why[0]) {
        note_add(both, sizeof(both), "; ", "%s", power->why);
    }
    /* A source that says nothing within two of its periods is no fault: the window is short. */
    if (counter->intact && refuse(out, clock_ns_to_s(counter->span_ns), c->counter_update_ns)) {
        return;
    }
    if (power->intact && refuse(out, clock_ns_to_s(power->span_ns), c->power_update_ns)) {
        return;
    }
    if (dead && c->missing[0]) {
        sensor_missing_text(c, both, sizeof(both));
    }
    set_missing(out, both);
}

void series_reading(const struct series *s, const struct series_mark *open,
                    const struct sensor_component *c, double peak_w,
                    struct component_reading *out) {
    struct candidate counter = from_counter(s, open, c);
    struct candidate power = from_power(s, open, c);
    describe(out, c);
    if (!counter.usable && !power.usable) {
        reading_without(s, c, &counter, &power, out);
        return;
    }

    const struct candidate *best = counter.usable ? &counter : &power;
    const int64_t update_ns = counter.usable ? c->counter_update_ns : c->power_update_ns;
    const double seconds = clock_ns_to_s(best->span_ns);
    double gap_s = 0, gap_j = 0;
    if (counter.usable) {
        out->quality = METER_COUNTER;
        out->coverage = 1;
        memcpy(out->source, c->counter_source, sizeof(out->source));
    } else {
        gap_s = clock_ns_to_s(s->now.power.gap_ns - open->power.gap_ns);
        gap_j = s->now.power.gap_j - open->power.gap_j;
        out->quality = METER_INTEGRATED;
        out->coverage = duty_of(s, c) * (1 - gap_s / seconds);
        memcpy(out->source, c->power_source, sizeof(out->source));
        note_set(out->reason, sizeof(out->reason), "%s", counter.why);
    }
    if (c->info.modelled) {
        out->quality = METER_MODELLED;
    }
    out->is_short = best->span_ns < max_ns(SHORT_WINDOW_NS, 10 * update_ns);
    if (refuse(out, seconds, update_ns)) {
        return;
    }
    out->joules = best->joules;
    out->mean_w = best->joules / seconds;
    out->peak_w = peak_w > out->mean_w ? peak_w : out->mean_w;
    if (counter.usable && power.usable) {
        out->has_disagreement = true;
        double power_w = power.joules / clock_ns_to_s(power.span_ns);
        out->disagreement = power_w / out->mean_w - 1;
    }
    set_interval(out,
                 counter.usable ? counter_edge_j(s, open, c, out)
                                : power_edge_j(s, open, c, out, seconds),
                 gap_j, gap_s);
}

void series_subtract_idle(struct component_reading *r,
                          const struct meter_idle_component *baseline) {
    if (baseline->quality == METER_MISSING || r->quality == METER_MISSING) {
        return;
    }
    /* E4. A model's error is no pure gain, so subtracting does not reduce it. */
    double seconds = r->joules / r->mean_w;
    double above_j = r->joules - baseline->mean_w * seconds;
    double gain_of_j = r->quality == METER_MODELLED ? r->joules : fabs(above_j);
    double half_j = r->gain * gain_of_j + r->edge_j + baseline->half_width_w * seconds;
    r->has_idle = true;
    r->idle_w = baseline->mean_w;
    r->above_idle_j = above_j;
    r->above_idle_low_j = above_j - half_j - r->gap_less_j;
    r->above_idle_high_j = above_j + half_j + r->gap_more_j;
}
