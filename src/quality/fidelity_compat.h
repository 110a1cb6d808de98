/*
 * The figures of llama-perplexity --kl-divergence (llama.cpp v0.5.0), to the digits that it prints,
 * so that values published with it can be checked. It differs from fidelity.h on purpose:
 * - base's log-probabilities are rounded to 16 bits between the largest and at most 16 nats below
 *   it (its logits file), and tokens below e^-16 are left out of the divergence;
 * - most is computed in single precision;
 * - intervals are one standard error, as if tokens were independent.
 * Only the second half of each window of COMPAT_CONTEXT tokens counts there; the caller sees to
 * that. A struct compat belongs to one thread.
 */
#ifndef QUALITY_FIDELITY_COMPAT_H
#define QUALITY_FIDELITY_COMPAT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COMPAT_CONTEXT = 512, COMPAT_FEWEST = 100 /* positions; below it prints no statistics */ };

/* What one position says. */
struct compat_row {
    double nll_exact; /* of the unrounded base */
    float nll_base;
    float nll_other;
    double kl;
    float p_diff; /* probability of the token that follows: other's less base's */
    bool same_top;
};

/* rounded: scratch of n_vocab elements. */
void compat_compare(const float *base, const float *other, size_t n_vocab, int32_t next,
                    uint16_t *rounded, struct compat_row *out);

struct compat;

int compat_new(size_t n_positions, struct compat **out, struct err *e) EE_MUST_CHECK;
void compat_free(struct compat *c);
/* At most the n_positions that were promised. */
void compat_add(struct compat *c, const struct compat_row *rows, size_t n);

struct compat_figure {
    double value;
    double error; /* after the tool's +- */
};

/* In the tool's units; shares and probabilities not yet in percent. */
struct compat_summary {
    size_t n_tokens;
    struct compat_figure ppl_exact; /* "Final estimate" of the run that writes the base's file */
    struct compat_figure ppl_other, ppl_base;
    double correlation; /* of the two log perplexities */
    struct compat_figure log_ratio, ratio, difference;
    struct compat_figure kl;
    float kl_max, kl_999, kl_99, kl_95, kl_90, kl_50, kl_10, kl_05, kl_01, kl_001, kl_min;
    struct compat_figure p_diff, p_diff_rms, same_top;
    float p_max, p_999, p_99, p_95, p_90, p_75, p_50, p_25, p_10, p_05, p_01, p_001, p_min;
};

/* Refused below COMPAT_FEWEST positions. */
int compat_summarize(struct compat *c, struct compat_summary *s, struct err *e) EE_MUST_CHECK;

#endif
