#include "report/claims.h"

#include "stats/stats.h"

#include "base/buf.h"

#include <math.h>
#include <string.h>

/* Some of the variants; NULL matches all. */
struct subset {
    const char *family, *size, *method, *precision;
};

struct check {
    const struct published *p;
    struct claim *claim;
    struct buf *detail;
    double *values; /* room for all variants */
};

static bool matches(const char *wanted, const char *is) {
    return !wanted || strcmp(wanted, is) == 0;
}

/* The metric of the subset's variants, ascending; returns how many have it. */
static size_t take(struct check *c, const char *metric, struct subset s) {
    size_t n = 0;
    for (size_t i = 0; i < c->p->n_variants; i++) {
        const struct published_variant *v = &c->p->variants[i];
        double value = published_value(v, metric);
        if (matches(s.family, v->family) && matches(s.size, v->size) &&
            matches(s.method, v->method) && matches(s.precision, v->precision) && !isnan(value)) {
            c->values[n++] = value;
        }
    }
    stats_sort(c->values, n);
    return n;
}

/* Of n sorted values; NAN when there are none. */
static double lowest(const struct check *c, size_t n) {
    return stats_quantile(c->values, n, 0);
}

static double highest(const struct check *c, size_t n) {
    return stats_quantile(c->values, n, 1);
}

static size_t count_below(const double *sorted, size_t n, double limit) {
    size_t below = 0;
    while (below < n && sorted[below] < limit) {
        below++;
    }
    return below;
}

/* One value a training: the mean of its variants, which differ in the fourth digit only. */
static double median_over_trainings(struct check *c, const char *metric) {
    size_t n = 0;
    for (size_t t = 0; t < c->p->n_trainings; t++) {
        double sum = 0;
        size_t uses = 0;
        for (size_t i = 0; i < c->p->n_variants; i++) {
            const struct published_variant *v = &c->p->variants[i];
            if (v->training == &c->p->trainings[t]) {
                sum += published_value(v, metric);
                uses++;
            }
        }
        if (uses) {
            c->values[n++] = sum / (double)uses;
        }
    }
    stats_sort(c->values, n);
    return stats_quantile(c->values, n, 0.5);
}

/* The claim is printed as a whole number, so a value that rounds to it agrees. */
static bool rounds_to(double value, double stated) {
    return round(value) == stated;
}

static void break_even(struct check *c) {
    size_t n = take(c, "n_break",
                    (struct subset){.family = "Llama", .size = "1B", .precision = "int4"});
    c->claim->found = stats_quantile(c->values, n, 0.5);
    size_t n_all = take(c, "n_break", (struct subset){0});
    double all = stats_quantile(c->values, n_all, 0.5);
    size_t under_20 = count_below(c->values, n_all, 20);
    bool own = rounds_to(c->claim->found, c->claim->stated);
    bool others = rounds_to(all, c->claim->stated);
    c->claim->verdict = own ? VERDICT_HOLDS : others ? VERDICT_IN_PART : VERDICT_FAILS;
    buf_addf(
        c->detail,
        "median of the %zu variants it is said of: %.2f (%+.0f %%); of all %zu variants: %.2f; "
        "with each of the %zu trainings counted once: %.2f; %zu of %zu variants are below 20, "
        "the paper's return within an hour",
        n, c->claim->found, 100 * (c->claim->found / c->claim->stated - 1), n_all, all,
        c->p->n_trainings, median_over_trainings(c, "n_break"), under_20, n_all);
}

static void density(struct check *c) {
    size_t n = take(c, "rho_sys",
                    (struct subset){.family = "Llama", .size = "1B", .precision = "int4"});
    c->claim->found = stats_mean(c->values, n);
    bool holds = c->claim->found > c->claim->stated;
    c->claim->verdict = holds ? VERDICT_HOLDS : VERDICT_FAILS;
    buf_addf(c->detail,
             "mean of its %zu variants: %.1f, single ones %.0f to %.0f, %zu of them above; per "
             "nominal GB (0.625), not per GB of memory used",
             n, c->claim->found, lowest(c, n), highest(c, n),
             n - count_below(c->values, n, c->claim->stated));
}

static double mean_ipw(struct check *c, const char *family, const char *size) {
    size_t n = take(c, "ipw_paper",
                    (struct subset){.family = family, .size = size, .precision = "int4"});
    return stats_mean(c->values, n);
}

static void intelligence(struct check *c) {
    double small = mean_ipw(c, "Llama", "1B");
    double large = mean_ipw(c, "Llama", "7B");
    c->claim->found = small / large;
    c->claim->verdict = c->claim->found >= c->claim->stated ? VERDICT_HOLDS : VERDICT_FAILS;
    buf_addf(c->detail, "means of the int4 variants: Llama %.4f / %.4f = %.2f times", small, large,
             c->claim->found);
    double qwen = mean_ipw(c, "Qwen", "1B") / mean_ipw(c, "Qwen", "7B");
    if (isfinite(qwen)) {
        buf_addf(c->detail, ", Qwen %.2f times", qwen);
    }
    buf_addstr(c->detail, "; score per joule, though called per watt");
}

static const struct published_training *find_training(const struct published *p,
                                                      const struct published_training *like,
                                                      const char *method) {
    for (size_t i = 0; i < p->n_trainings; i++) {
        const struct published_training *t = &p->trainings[i];
        if (strcmp(t->family, like->family) == 0 && strcmp(t->size, like->size) == 0 &&
            strcmp(t->task, like->task) == 0 && strcmp(t->method, method) == 0) {
            return t;
        }
    }
    return NULL;
}

/* QLoRA's joules over LoRA's for the same model and task, ascending. */
static size_t take_ratios(struct check *c, const char *family, const char *size) {
    size_t n = 0;
    for (size_t i = 0; i < c->p->n_trainings; i++) {
        const struct published_training *q = &c->p->trainings[i];
        const struct published_training *l = find_training(c->p, q, "lora");
        if (strcmp(q->method, "qlora") == 0 && matches(family, q->family) &&
            matches(size, q->size) && l) {
            c->values[n++] = q->energy_j / l->energy_j;
        }
    }
    stats_sort(c->values, n);
    return n;
}

static void add_ratios(struct check *c, const char *family, const char *size) {
    size_t n = take_ratios(c, family, size);
    if (n == 0) {
        return;
    }
    buf_addf(c->detail, "; %s%s%s %.2f to %.2f", family ? family : "", family ? " " : "", size,
             lowest(c, n), highest(c, n));
}

static void adaptation(struct check *c) {
    size_t n = take_ratios(c, NULL, "1B");
    c->claim->found = highest(c, n);
    size_t within = count_below(c->values, n, c->claim->stated);
    c->claim->verdict = within == n ? VERDICT_HOLDS : VERDICT_FAILS;
    buf_addf(c->detail,
             "the highest is %.1f, %.1f times the claim; %zu of the %zu pairs are below it",
             c->claim->found, c->claim->found / c->claim->stated, within, n);
    add_ratios(c, "Llama", "1B");
    add_ratios(c, "Qwen", "1B");
    add_ratios(c, NULL, "7B");
}

static void fidelity(struct check *c) {
    size_t n = take(c, "q_ret", (struct subset){.precision = "int8"});
    double lowest_int8 = lowest(c, n);
    size_t below = count_below(c->values, n, c->claim->stated);
    size_t below_99 = count_below(c->values, n, 99);
    size_t n_int4 = take(c, "q_ret", (struct subset){.precision = "int4"});
    below += count_below(c->values, n_int4, c->claim->stated);
    below_99 += count_below(c->values, n_int4, 99);
    c->claim->found = fmin(lowest_int8, lowest(c, n_int4));
    c->claim->verdict = below == 0 ? VERDICT_HOLDS : VERDICT_FAILS;
    buf_addf(c->detail,
             "%zu of %zu quantized variants are below %.1f %%, %zu below 99 %%; the lowest keeps "
             "%.2f %%",
             below, n + n_int4, c->claim->stated, below_99, c->claim->found);
}

static void cold_start(struct check *c) {
    size_t n = take(c, "c_tax", (struct subset){0});
    size_t above = n - count_below(c->values, n, c->claim->stated);
    c->claim->found = lowest(c, n);
    c->claim->verdict = above == n ? VERDICT_HOLDS : VERDICT_FAILS;
    buf_addf(c->detail,
             "%zu of %zu variants are above, the lowest at %.2f; the load is priced at serving "
             "power, so this says only that loading outlasts serving 100 requests",
             above, n, c->claim->found);
}

typedef void check_fn(struct check *c);

static const struct {
    const char *id;
    const char *claim;
    double stated;
    const char *unit;
    check_fn *check;
} claim_table[] = {
    {"n_break", "A deployment (Llama 1B int4) breaks even after a median of 14 requests.", 14,
     "requests", break_even},
    {"rho_sys", "Llama 1B int4 gives more than 6,900 tokens/s for each GB.", 6900, "tokens/s/GB",
     density},
    {"ipw_paper", "It gives 3 times the energy-normalised intelligence of the 7B models.", 3,
     "times", intelligence},
    {"adaptation", "QLoRA takes up to 7 times LoRA's adaptation energy for small models.", 7,
     "times", adaptation},
    {"q_ret", "Quantization keeps more than 99.9 % of quality.", 99.9, "%", fidelity},
    {"c_tax", "Cold starts are prohibitive: they cost more than 100 requests.", 100, "requests",
     cold_start},
};
enum { N_CLAIMS = sizeof(claim_table) / sizeof(claim_table[0]) };

const char *verdict_name(enum verdict v) {
    static const char *const names[] = {"holds", "holds in part", "does not hold"};
    return names[v];
}

int claims_check(const struct published *p, struct arena *a, struct claim **out, size_t *n,
                 struct err *e) {
    struct claim *claims = arena_array(a, N_CLAIMS, sizeof(*claims));
    double *values = arena_array(a, p->n_variants + p->n_trainings, sizeof(*values));
    struct buf detail;
    buf_init(&detail);
    bool ok = claims && values;
    for (size_t i = 0; ok && i < N_CLAIMS; i++) {
        claims[i] = (struct claim){.id = claim_table[i].id,
                                   .claim = claim_table[i].claim,
                                   .stated = claim_table[i].stated,
                                   .unit = claim_table[i].unit};
        struct check c = {.p = p, .claim = &claims[i], .detail = &detail, .values = values};
        buf_clear(&detail);
        claim_table[i].check(&c);
        if (isnan(claims[i].found)) {
            claims[i].verdict = VERDICT_FAILS;
            buf_clear(&detail);
            buf_addstr(&detail, "there are no rows that it is said of");
        }
        claims[i].detail = detail.failed ? NULL : arena_strdup(a, detail.data);
        ok = claims[i].detail != NULL;
    }
    buf_release(&detail);
    *out = claims;
    *n = N_CLAIMS;
    return ok ? 0 : err_set(e, EE_NOMEM, "claims: out of memory");
}
