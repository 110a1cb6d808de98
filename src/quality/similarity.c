#include "quality/similarity.h"

#include <math.h>

double similarity_cosine(const float *a, const float *b, size_t n) {
    double aa = 0;
    double bb = 0;
    double ab = 0;
    for (size_t i = 0; i < n; i++) {
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
        ab += (double)a[i] * b[i];
    }
    if (!(aa > 0 && bb > 0)) {
        return NAN;
    }
    double cosine = ab / (sqrt(aa) * sqrt(bb));
    return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine; /* by rounding alone */
}

const struct similarity_control similarity_controls[] = {
    {"The cat sleeps on the sofa.", "A kitten is napping on the couch.",
     "The bank raised the interest on the loan."},
    {"How do I reset my password?", "I forgot my login and want to change it.",
     "How do I bake my bread?"},
    {"The train to Paris was late.", "Our rail journey to France was delayed.",
     "The recipe of Paris was cheap."},
    {"She bought a new car.", "A woman purchased an automobile.", "She wrote a new poem."},
    {"It rained heavily all day.", "There was a downpour from morning to night.",
     "It tasted sweet all day."},
    {"The doctor treated the patient.", "A physician cared for someone who was ill.",
     "The painter framed the landscape."},
};
const size_t n_similarity_controls = sizeof(similarity_controls) / sizeof(similarity_controls[0]);
