/* Probabilities from logits, in double. Pure; any thread may call. */
#ifndef STATS_SOFTMAX_H
#define STATS_SOFTMAX_H

#include <stddef.h>

/* ln of the i-th of n probabilities: logits[i] - ln(sum of exp(logits)). NAN where a logit is one. */
double stats_log_softmax(const float *logits, size_t n, size_t i);

#endif
