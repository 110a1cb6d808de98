#include "serve/sweep.h"

#include <math.h>

static const double keeps_up = 0.9;     /* of what came, answered: the queue does not grow */
static const double near_enough = 1.1;  /* ratio of the worst bad rate to the best good one */
static const double worth_while = 1.05; /* growth of throughput that is worth more in flight */
static const double may_fail = 0.01;

void sweep_init(struct sweep *s, bool open_loop, bool has_limits, double wanted, double max_level) {
    *s = (struct sweep){
        .open_loop = open_loop, .has_limits = has_limits, .wanted = wanted, .max_level = max_level};
}

void sweep_add(struct sweep *s, const struct sweep_point *p) {
    struct sweep_point *own = &s->at[s->n++];
    *own = *p;
    own->good = p->failed <= may_fail;
    if (s->has_limits) {
        own->good = p->attained >= s->wanted;
    } else if (s->open_loop) {
        own->good = own->good && p->request_rate >= keeps_up * p->level;
    }
}

const struct sweep_point *sweep_best(const struct sweep *s) {
    const struct sweep_point *best = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (s->at[i].good && (!best || s->at[i].level > best->level)) {
            best = &s->at[i];
        }
    }
    return best;
}

static double throughput(const struct sweep_point *p) {
    return isnan(p->output_rate) ? p->request_rate : p->output_rate;
}

const struct sweep_point *sweep_peak(const struct sweep *s) {
    const struct sweep_point *peak = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (!peak || throughput(&s->at[i]) > throughput(peak)) {
            peak = &s->at[i];
        }
    }
    return peak;
}

/* The lowest bad level; INFINITY when there is none. */
static double lowest_bad(const struct sweep *s) {
    double bad = (double)INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->at[i].good) {
            bad = fmin(bad, s->at[i].level);
        }
    }
    return bad;
}

static bool done(struct sweep *s, const char *why) {
    s->end = why;
    return false;
}

static bool next_rate(struct sweep *s, double *level) {
    const struct sweep_point *best = sweep_best(s);
    double bad = lowest_bad(s);
    if (!best) { /* even the first was too much */
        *level = bad / 4;
        return *level >= 1e-3 || done(s, "no rate was low enough");
    }
    if (isinf(bad)) {
        if (best->level >= s->max_level) {
            return done(s, "the highest rate allowed is still good");
        }
        *level = fmin(2 * best->level, s->max_level);
        return true;
    }
    if (bad <= near_enough * best->level) {
        return done(s, "the highest good rate is known to 10 %");
    }
    *level = sqrt(bad * best->level);
    return true;
}

static bool next_concurrency(struct sweep *s, double *level) {
    const struct sweep_point *last = &s->at[s->n - 1];
    if (!last->good) {
        return done(s, "the last level was bad");
    }
    if (s->n > 1 && throughput(last) < worth_while * throughput(last - 1)) {
        return done(s, "throughput grows no more");
    }
    if (last->level >= s->max_level) {
        return done(s, "the highest concurrency allowed is reached");
    }
    *level = fmin(2 * last->level, s->max_level);
    return true;
}

bool sweep_next(struct sweep *s, double first, double *level) {
    if (s->n == 0) {
        *level = first;
        return true;
    }
    if (s->n == SWEEP_MAX_POINTS) {
        return done(s, "enough levels were measured");
    }
    if (!s->at[s->n - 1].client_valid) {
        return done(s, "this client could not keep up, so nothing more can be known here");
    }
    return s->open_loop ? next_rate(s, level) : next_concurrency(s, level);
}
