#include "serve/arrival.h"

#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- levels ---- */

/* The number of len bytes at text. */
static bool read_level(const char *text, size_t len, double max, double *out) {
    char copy[32];
    if (len == 0 || len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *end = NULL;
    *out = strtod(copy, &end);
    return !*end && isfinite(*out) && *out > 0 && *out <= max;
}

static bool read_steps(const char *text, double step_s, double max, struct levels *out) {
    for (;;) {
        size_t len = strcspn(text, ",");
        double level;
        if (out->n == MAX_LEVEL_STEPS || !read_level(text, len, max, &level)) {
            return false;
        }
        out->steps[out->n++] = (struct level_step){level, level, step_s};
        if (!text[len]) {
            return true;
        }
        text += len + 1;
    }
}

int levels_parse(const char *text, const char *what, double total_s, double step_s, double max,
                 struct levels *out, struct err *e) {
    *out = (struct levels){0};
    const char *dots = strstr(text, "..");
    bool ok;
    if (dots) {
        struct level_step *ramp = &out->steps[out->n++];
        ramp->seconds = total_s;
        ok = read_level(text, (size_t)(dots - text), max, &ramp->from) &&
             read_level(dots + 2, strlen(dots + 2), max, &ramp->to);
        if (ok && !isfinite(total_s)) {
            return err_set(e, EE_USAGE, "%s %.40s is a ramp, which needs --duration", what, text);
        }
    } else {
        ok = read_steps(text, step_s, max, out);
    }
    if (ok && out->n > 1 && !(step_s > 0)) {
        return err_set(e, EE_USAGE, "%s %.40s has steps: say with --step how many seconds each is",
                       what, text);
    }
    if (ok && out->n == 1) {
        out->steps[0].seconds = total_s;
    }
    return ok ? 0
              : err_set(e, EE_USAGE,
                        "%s is \"%.40s\"; give a number above 0 and at most %g, steps such as "
                        "10,20,40, or a ramp such as 1..50",
                        what, text, max);
}

double levels_at(const struct levels *l, double t) {
    for (size_t i = 0; i < l->n; i++) {
        const struct level_step *s = &l->steps[i];
        if (t < s->seconds) {
            return s->from == s->to ? s->from : s->from + (s->to - s->from) * t / s->seconds;
        }
        t -= s->seconds;
    }
    return l->steps[l->n - 1].to;
}

double levels_max(const struct levels *l) {
    double max = 0;
    for (size_t i = 0; i < l->n; i++) {
        max = fmax(max, fmax(l->steps[i].from, l->steps[i].to));
    }
    return max;
}

double levels_seconds(const struct levels *l) {
    double sum = 0;
    for (size_t i = 0; i < l->n; i++) {
        sum += l->steps[i].seconds;
    }
    return sum;
}

/* Within one step: the time at which the area under from + slope * t is `area`. */
static double time_in_step(const struct level_step *s, double area) {
    double slope = s->from == s->to ? 0 : (s->to - s->from) / s->seconds;
    if (slope == 0) {
        return area / s->from;
    }
    /* The stable form of the quadratic's root. */
    return 2 * area / (s->from + sqrt(fmax(0, s->from * s->from + 2 * slope * area)));
}

double levels_time_of_area(const struct levels *l, double area) {
    double begun = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct level_step *s = &l->steps[i];
        double whole = isfinite(s->seconds) ? (s->from + s->to) / 2 * s->seconds : (double)INFINITY;
        if (area < whole) {
            return begun + time_in_step(s, area);
        }
        area -= whole;
        begun += s->seconds;
    }
    return (double)INFINITY;
}

/* ---- arrivals ---- */

static double exponential(struct rng *r) {
    return -log1p(-rng_uniform(r));
}

static double standard_normal(struct rng *r) {
    double radius = sqrt(2 * exponential(r));
    return radius * cos(2 * acos(-1.0) * rng_uniform(r));
}

/* Gamma of that shape and scale 1. */
static double gamma_draw(struct rng *r, double shape) {
    if (shape < 1) {
        double u = 1 - rng_uniform(r); /* above 0 */
        return gamma_draw(r, shape + 1) * pow(u, 1 / shape);
    }
    double d = shape - 1.0 / 3;
    double c = 1 / sqrt(9 * d);
    for (;;) {
        double x = standard_normal(r);
        double v = 1 + c * x;
        if (v <= 0) {
            continue;
        }
        v = v * v * v;
        if (log1p(-rng_uniform(r)) < 0.5 * x * x + d - d * v + d * log(v)) {
            return d * v;
        }
    }
}

/* The gap before arrival i, in units of the mean gap. */
static double next_gap(const struct arrival_spec *s, struct rng *r, size_t i) {
    switch (s->kind) {
    case ARRIVAL_CONSTANT:
        return i == 0 ? 0 : 1;
    case ARRIVAL_POISSON:
        return exponential(r);
    case ARRIVAL_GAMMA: {
        double shape = 1 / (s->cv * s->cv);
        return gamma_draw(r, shape) / shape;
    }
    case ARRIVAL_BURSTY:
        return i % (size_t)s->burst == 0 ? s->burst * exponential(r) : 0;
    }
    return 0;
}

int arrival_schedule(const struct arrival_spec *spec, size_t count, double end_s, int64_t **out,
                     size_t *n, struct err *e) {
    struct rng rng;
    rng_init_stream(&rng, spec->seed, UINT64_C(0x6172726976616c)); /* "arrival" */
    *out = NULL;
    *n = 0;
    size_t cap = 0;
    double area = 0;
    for (size_t i = 0; count == 0 || i < count; i++) {
        area += next_gap(spec, &rng, i);
        double t = levels_time_of_area(spec->rate, area);
        if (!isfinite(t) || (end_s > 0 && t >= end_s)) {
            break;
        }
        if (i == cap) {
            cap = cap ? 2 * cap : 1024;
            int64_t *grown = cap > 2 * (size_t)ARRIVAL_MAX ? NULL
                                                           : realloc(*out, cap * sizeof(*grown));
            if (!grown) {
                free(*out);
                *out = NULL;
                return err_set(e, EE_NOMEM,
                               "a schedule of more than %zu arrivals does not fit: ask for a "
                               "shorter run or a lower rate",
                               i);
            }
            *out = grown;
        }
        (*out)[i] = (int64_t)(t * 1e9);
        *n = i + 1;
    }
    return 0;
}
