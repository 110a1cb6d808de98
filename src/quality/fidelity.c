#include "quality/fidelity.h"

#include "stats/clusters.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one position ---- */

static size_t first_of_largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

void fidelity_compare(const float *base, const float *other, size_t n_vocab, int32_t next,
                      struct fidelity_row *out) {
    const size_t top_base = first_of_largest(base, n_vocab);
    const size_t top_other = first_of_largest(other, n_vocab);
    /* Relative to each top, so that no exponential overflows and little cancels. */
    const double shift_base = base[top_base];
    const double shift_other = other[top_other];
    double sum_base = 0;
    double sum_other = 0;
    double weighted = 0; /* sum of exp(b) * (b - o) */
    size_t i = 0;
    do {
        double b = base[i] - shift_base;
        double o = other[i] - shift_other;
        double exp_b = exp(b);
        sum_base += exp_b;
        sum_other += exp(o);
        weighted += exp_b != 0 ? exp_b * (b - o) : 0; /* 0 * ln(0 / q) is 0 */
    } while (++i < n_vocab);
    const double log_base = log(sum_base);
    const double log_other = log(sum_other);
    *out = (struct fidelity_row){
        .kl = weighted / sum_base - log_base + log_other,
        .nll_base = log_base - (base[next] - shift_base),
        .nll_other = log_other - (other[next] - shift_other),
        .same_top = top_base == top_other,
    };
}

/* ---- all of them ---- */

/* Sums over a window. */
struct window {
    double n;
    double kl;
    double same_top;
    double nll_base;
    double nll_other;
};

struct fidelity {
    struct window *windows;
    size_t n_windows, cap_windows;
    double *kl; /* of every position */
    size_t n_kl, cap_kl;
};

int fidelity_new(struct fidelity **out, struct err *e) {
    *out = calloc(1, sizeof(**out));
    return *out ? 0 : err_set(e, EE_NOMEM, "fidelity: out of memory");
}

void fidelity_free(struct fidelity *f) {
    if (f) {
        free(f->windows);
        free(f->kl);
        free(f);
    }
}

/* The array with room for n more elements behind len, maybe moved; NULL when memory is out, and the
 * old one is still there. */
static void *with_room(void *array, size_t len, size_t n, size_t *cap, size_t size) {
    if (len + n <= *cap) {
        return array;
    }
    size_t wanted = *cap ? *cap : 64;
    while (wanted < len + n) {
        wanted *= 2;
    }
    void *p = realloc(array, wanted * size);
    *cap = p ? wanted : *cap;
    return p;
}

static bool is_whole(const struct fidelity_row *r) {
    return isfinite(r->kl) && isfinite(r->nll_base) && isfinite(r->nll_other);
}

int fidelity_add(struct fidelity *f, const struct fidelity_row *rows, size_t n, struct err *e) {
    if (n == 0) {
        return 0;
    }
    void *windows = with_room(f->windows, f->n_windows, 1, &f->cap_windows, sizeof(*f->windows));
    f->windows = windows ? windows : f->windows;
    void *kl = windows ? with_room(f->kl, f->n_kl, n, &f->cap_kl, sizeof(*f->kl)) : NULL;
    f->kl = kl ? kl : f->kl;
    if (!windows || !kl) {
        return err_set(e, EE_NOMEM, "fidelity: out of memory");
    }
    struct window w = {.n = (double)n};
    for (size_t i = 0; i < n; i++) {
        if (!is_whole(&rows[i])) {
            return err_set(e, EE_UNSUPPORTED,
                           "no finite divergence at token %zu of window %zu: a model's output is "
                           "not a number, or it calls impossible what the other does not",
                           i + 1, f->n_windows + 1);
        }
        f->kl[f->n_kl + i] = rows[i].kl;
        w.kl += rows[i].kl;
        w.same_top += rows[i].same_top;
        w.nll_base += rows[i].nll_base;
        w.nll_other += rows[i].nll_other;
    }
    f->n_kl += n;
    f->windows[f->n_windows++] = w;
    return 0;
}

typedef double window_fn(const struct window *w);

static double kl_of(const struct window *w) {
    return w->kl;
}

static double same_top_of(const struct window *w) {
    return w->same_top;
}

static double nll_base_of(const struct window *w) {
    return w->nll_base;
}

static double nll_other_of(const struct window *w) {
    return w->nll_other;
}

static double nll_ratio_of(const struct window *w) {
    return w->nll_other - w->nll_base;
}

/* The mean over all positions; sums and sizes are scratch of a number a window. */
static struct fidelity_figure mean_of(const struct fidelity *f, window_fn *get, double *sums,
                                      double *sizes) {
    struct fidelity_figure r = {.low = NAN, .high = NAN};
    double sum = 0;
    for (size_t i = 0; i < f->n_windows; i++) {
        sums[i] = get(&f->windows[i]);
        sizes[i] = f->windows[i].n;
        sum += sums[i];
    }
    r.value = sum / (double)f->n_kl;
    if (!stats_cluster_interval(sums, sizes, f->n_windows, 0.95, &r.low, &r.high)) {
        r.low = NAN;
        r.high = NAN;
    }
    return r;
}

static struct fidelity_figure exp_of(struct fidelity_figure f) {
    return (struct fidelity_figure){exp(f.value), exp(f.low), exp(f.high)};
}

int fidelity_summarize(const struct fidelity *f, struct fidelity_summary *out, struct err *e) {
    if (f->n_kl == 0) {
        return err_set(e, EE_MISSING, "no tokens were compared");
    }
    double *scratch = calloc(2 * f->n_windows + f->n_kl, sizeof(*scratch));
    if (!scratch) {
        return err_set(e, EE_NOMEM, "fidelity: out of memory");
    }
    double *sums = scratch;
    double *sizes = scratch + f->n_windows;
    double *sorted = sizes + f->n_windows;
    memcpy(sorted, f->kl, f->n_kl * sizeof(*sorted));
    stats_sort(sorted, f->n_kl);
    *out = (struct fidelity_summary){
        .n_tokens = f->n_kl,
        .n_windows = f->n_windows,
        .mean_kl = mean_of(f, kl_of, sums, sizes),
        .same_top = mean_of(f, same_top_of, sums, sizes),
        .ppl_base = exp_of(mean_of(f, nll_base_of, sums, sizes)),
        .ppl_other = exp_of(mean_of(f, nll_other_of, sums, sizes)),
        .ppl_ratio = exp_of(mean_of(f, nll_ratio_of, sums, sizes)),
        .kl_median = stats_quantile(sorted, f->n_kl, 0.5),
        .kl_p99 = stats_quantile(sorted, f->n_kl, 0.99),
        .kl_max = sorted[f->n_kl - 1],
    };
    free(scratch);
    return 0;
}
