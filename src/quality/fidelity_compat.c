#include "quality/fidelity_compat.h"

#include <math.h>
#include <stdlib.h>

/* Every type here decides digits: float where the tool has float. */

/* Half the steps of 16 bits, and how far below the largest the rounding reaches, in nats. */
static const float steps = 65535.0F;
static const float reach = 16.0F;

struct rounding {
    float scale;
    float lowest; /* log-probability of the value 0 */
};

static double sum_of_exp(const float *logits, size_t n, float largest) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += expf(logits[i] - largest);
    }
    return sum;
}

static size_t first_of_largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

/* Base as its logits file would hold it; the negative log-likelihood before rounding. */
static double round_base(const float *logits, size_t n, int32_t next, uint16_t *rounded,
                         struct rounding *r) {
    const float largest = logits[first_of_largest(logits, n)];
    float smallest = logits[0];
    for (size_t i = 1; i < n; i++) {
        smallest = logits[i] < smallest ? logits[i] : smallest;
    }
    smallest = smallest > largest - reach ? smallest : largest - reach;
    const float log_sum = (float)log(sum_of_exp(logits, n, largest));
    r->lowest = smallest - largest - log_sum;
    r->scale = (largest - smallest) / steps;
    const float inverse = r->scale > 0 ? 1 / r->scale : 0;
    for (size_t i = 0; i < n; i++) {
        bool above = r->scale > 0 && logits[i] > smallest;
        rounded[i] = above ? (uint16_t)rintf(inverse * (logits[i] - smallest)) : 0;
    }
    return largest + log_sum - logits[next];
}

void compat_compare(const float *base, const float *other, size_t n_vocab, int32_t next,
                    uint16_t *rounded, struct compat_row *out) {
    struct rounding r;
    *out = (struct compat_row){.nll_exact = round_base(base, n_vocab, next, rounded, &r)};
    const size_t top = first_of_largest(other, n_vocab);
    const float largest = other[top];
    const float log_sum = (float)log(sum_of_exp(other, n_vocab, largest));
    out->nll_other = largest + log_sum - other[next];
    out->nll_base = -(r.scale * (float)rounded[next] + r.lowest);
    const float log_total = largest + log_sum;
    size_t top_base = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        const float log_p = r.scale * (float)rounded[i] + r.lowest;
        top_base = rounded[i] > rounded[top_base] ? i : top_base;
        if (log_p > -reach) {
            out->kl += expf(log_p) * (log_p - other[i] + log_total);
        }
    }
    out->same_top = top == top_base;
    out->p_diff = expf(-out->nll_other) - expf(-out->nll_base);
}

struct sums {
    double x;
    double xx;
};

struct compat {
    size_t n;
    float *kl;
    float *p_diff;
    struct sums exact, base, other, kl_sums, diff, diff_squared;
    double base_other;
    size_t n_same_top;
};

int compat_new(size_t n_positions, struct compat **out, struct err *e) {
    struct compat *c = calloc(1, sizeof(*c));
    *out = c;
    if (c) {
        c->kl = calloc(n_positions + 1, sizeof(*c->kl));
        c->p_diff = calloc(n_positions + 1, sizeof(*c->p_diff));
    }
    if (!c || !c->kl || !c->p_diff) {
        compat_free(c);
        *out = NULL;
        return err_set(e, EE_NOMEM, "fidelity: out of memory");
    }
    return 0;
}

void compat_free(struct compat *c) {
    if (c) {
        free(c->kl);
        free(c->p_diff);
        free(c);
    }
}

static void add(struct sums *s, double x, double xx) {
    s->x += x;
    s->xx += xx;
}

void compat_add(struct compat *c, const struct compat_row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct compat_row *r = &rows[i];
        const double squared = r->p_diff * r->p_diff;
        add(&c->exact, r->nll_exact, r->nll_exact * r->nll_exact);
        add(&c->base, r->nll_base, r->nll_base * r->nll_base);
        add(&c->other, r->nll_other, r->nll_other * r->nll_other);
        add(&c->kl_sums, r->kl, r->kl * r->kl);
        add(&c->diff, r->p_diff, squared);
        add(&c->diff_squared, squared, squared * squared);
        c->base_other += r->nll_other * r->nll_base;
        c->n_same_top += r->same_top;
        c->kl[c->n] = (float)r->kl;
        c->p_diff[c->n++] = r->p_diff;
    }
}

static struct compat_figure mean_of(const struct compat *c, const struct sums *s) {
    const double n = (double)c->n;
    const double mean = s->x / n;
    const double variance = s->xx / n - mean * mean;
    return (struct compat_figure){mean, variance > 0 ? sqrt(variance / (n - 1)) : 0};
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

static float percentile(const float *sorted, size_t n, float fraction) {
    if (fraction >= 1) {
        return sorted[n - 1];
    }
    float p = fraction * (float)(n - 1);
    size_t i = (size_t)p;
    p -= (float)i;
    return (1 - p) * sorted[i] + p * sorted[i + 1 < n ? i + 1 : n - 1];
}

static float median(const float *sorted, size_t n) {
    return n % 2 == 0 ? 0.5F * (sorted[n / 2] + sorted[n / 2 - 1]) : sorted[n / 2];
}

static double from_three(double a, double b, double covariance) {
    return sqrt(a * a + b * b - 2 * covariance);
}

static void summarize_perplexity(const struct compat *c, struct compat_summary *s) {
    const double n = (double)c->n;
    const struct compat_figure other = mean_of(c, &c->other);
    const struct compat_figure base = mean_of(c, &c->base);
    const struct compat_figure exact = mean_of(c, &c->exact);
    const double covariance = (c->base_other / n - (c->other.x / n) * (c->base.x / n)) / (n - 1);
    const double ppl_other = exp(other.value);
    const double ppl_base = exp(base.value);
    const double log_error = from_three(other.error, base.error, covariance);
    s->ppl_exact = (struct compat_figure){exp(exact.value), exp(exact.value) * exact.error};
    s->ppl_other = (struct compat_figure){ppl_other, ppl_other * other.error};
    s->ppl_base = (struct compat_figure){ppl_base, ppl_base * base.error};
    s->correlation = covariance / (other.error * base.error);
    s->log_ratio = (struct compat_figure){other.value - base.value, log_error};
    const double ratio = exp(s->log_ratio.value);
    s->ratio = (struct compat_figure){ratio, ratio * log_error};
    s->difference = (struct compat_figure){
        ppl_other - ppl_base,
        from_three(s->ppl_other.error, s->ppl_base.error, ppl_other * ppl_base * covariance)};
}

int compat_summarize(struct compat *c, struct compat_summary *s, struct err *e) {
    const size_t n = c->n;
    if (n < COMPAT_FEWEST) {
        return err_set(e, EE_MISSING,
                       "llama-perplexity gives no statistics for fewer than %d positions, and this "
                       "text has %zu",
                       COMPAT_FEWEST, n);
    }
    *s = (struct compat_summary){.n_tokens = n};
    summarize_perplexity(c, s);
    qsort(c->kl, n, sizeof(*c->kl), by_value);
    qsort(c->p_diff, n, sizeof(*c->p_diff), by_value);
    const struct {
        float fraction;
        float *kl;
        float *p;
    } points[] = {
        {1.000F, &s->kl_max, &s->p_max}, {0.999F, &s->kl_999, &s->p_999},
        {0.990F, &s->kl_99, &s->p_99},   {0.950F, &s->kl_95, &s->p_95},
        {0.900F, &s->kl_90, &s->p_90},   {0.750F, NULL, &s->p_75},
        {0.250F, NULL, &s->p_25},        {0.100F, &s->kl_10, &s->p_10},
        {0.050F, &s->kl_05, &s->p_05},   {0.010F, &s->kl_01, &s->p_01},
        {0.001F, &s->kl_001, &s->p_001}, {0.000F, &s->kl_min, &s->p_min},
    };
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        if (points[i].kl) {
            *points[i].kl = percentile(c->kl, n, points[i].fraction);
        }
        *points[i].p = percentile(c->p_diff, n, points[i].fraction);
    }
    s->kl_50 = median(c->kl, n);
    s->p_50 = median(c->p_diff, n);
    s->kl = mean_of(c, &c->kl_sums);
    s->p_diff = mean_of(c, &c->diff);
    const struct compat_figure mse = mean_of(c, &c->diff_squared);
    const double rms = sqrt(mse.value);
    s->p_diff_rms = (struct compat_figure){rms, 0.5 / rms * mse.error};
    const double same = (double)c->n_same_top / (double)n;
    s->same_top = (struct compat_figure){same, sqrt(same * (1 - same) / (double)(n - 1))};
    return 0;
}
