#include "energy/counter.h"
#include "energy/note.h"

#include "base/clock.h"

#include <inttypes.h>

/*
 * Two reads may be closer than one step of the counter, so the energy of a step may appear in
 * less time than it took. No counter known steps more slowly than this.
 */
static const double STEP_SLACK_S = 0.5;

static double most_joules(const struct counter *c, int64_t t_ns) {
    return c->max_w * (clock_ns_to_s(t_ns - c->t_ns) + STEP_SLACK_S);
}

void counter_forget(struct counter *c) {
    c->started = false;
}

double counter_joules(const struct counter *c) {
    return (double)c->total * c->unit_j;
}

static int take(struct counter *c, uint64_t raw, int64_t t_ns, uint64_t steps) {
    c->started = true;
    c->raw = raw;
    c->t_ns = t_ns;
    c->total += steps;
    return 0;
}

int counter_advance(struct counter *c, uint64_t raw, int64_t t_ns, char *why, size_t why_size) {
    if (!c->started) {
        return take(c, raw, t_ns, 0);
    }
    uint64_t old = c->raw;
    double elapsed_s = clock_ns_to_s(t_ns - c->t_ns);
    double limit_j = most_joules(c, t_ns);
    double range_j = (double)c->range * c->unit_j;

    if (c->range && elapsed_s * c->max_w > range_j) {
        note_set(why, why_size, "not read for %.0f s, in which it may have wrapped unseen",
                 elapsed_s);
    } else if (raw >= old && (double)(raw - old) * c->unit_j <= limit_j) {
        return take(c, raw, t_ns, raw - old);
    } else if (raw >= old) {
        note_set(why, why_size, "jumped by %.6g J in %.3g s, more than the hardware can draw",
                 (double)(raw - old) * c->unit_j, elapsed_s);
    } else if (c->range >= old && (double)(c->range - old + raw) * c->unit_j <= limit_j) {
        return take(c, raw, t_ns, c->range - old + raw);
    } else {
        note_set(why, why_size, "went back from %" PRIu64 " to %" PRIu64 ", which is no wrap", old,
                 raw);
    }
    take(c, raw, t_ns, 0);
    return EE_FORMAT;
}
