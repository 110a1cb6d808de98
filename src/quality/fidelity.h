/*
 * How far one model's predictions are from another's over the same tokens, with no task: the
 * Kullback-Leibler divergence from base to other, whether both put the same token first, and the
 * perplexity of each. Accumulates rows of logits as they come; nothing is kept but a few numbers a
 * token. Everything is computed in double from the logits as they are.
 *
 * fidelity_compare is pure; a struct fidelity belongs to one thread.
 */
#ifndef QUALITY_FIDELITY_H
#define QUALITY_FIDELITY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one position says. */
struct fidelity_row {
    double kl;        /* sum of p * ln(p / q) over the vocabulary, nats; p is base's, q other's */
    double nll_base;  /* -ln p of the token that follows, nats */
    double nll_other; /* -ln q of it */
    bool same_top;    /* both give the most to the same token (the first, of equals) */
};

/* logits: n_vocab values each, at least one. Not finite where a model gave no number, or other calls impossible
 * what base does not; fidelity_add refuses such rows. */
void fidelity_compare(const float *base, const float *other, size_t n_vocab, int32_t next,
                      struct fidelity_row *out);

struct fidelity;

int fidelity_new(struct fidelity **out, struct err *e) EE_MUST_CHECK;
void fidelity_free(struct fidelity *f);
/* Adds the rows of one window: a stretch of text that was computed on its own. */
int fidelity_add(struct fidelity *f, const struct fidelity_row *rows, size_t n,
                 struct err *e) EE_MUST_CHECK;

/* low and high: 95 %, over windows (stats/clusters.h); NAN where the sample shows none. */
struct fidelity_figure {
    double value;
    double low;
    double high;
};

struct fidelity_summary {
    size_t n_tokens; /* positions compared */
    size_t n_windows;
    struct fidelity_figure mean_kl;
    struct fidelity_figure same_top; /* share, 0..1 */
    struct fidelity_figure ppl_base; /* exp of the mean nll */
    struct fidelity_figure ppl_other;
    struct fidelity_figure ppl_ratio; /* other / base; paired, so narrower than the two */
    double kl_median;
    double kl_p99;
    double kl_max;
};

/* Refused where no row was added. */
int fidelity_summarize(const struct fidelity *f, struct fidelity_summary *out,
                       struct err *e) EE_MUST_CHECK;

#endif
