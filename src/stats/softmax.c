#include "stats/softmax.h"

#include <math.h>

double stats_log_softmax(const float *logits, size_t n, size_t i) {
    double largest = -INFINITY;
    for (size_t k = 0; k < n; k++) {
        largest = logits[k] > largest ? logits[k] : largest;
    }
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        sum += exp(logits[k] - largest); /* a NAN stays one */
    }
    return sum > 0 ? logits[i] - largest - log(sum) : (double)NAN;
}
