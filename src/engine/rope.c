#include "engine/rope.h"

#include <math.h>

float rope_llama3_divisor(const struct rope_llama3 *r, int64_t head_dim, int64_t pair) {
    const float two_pi = 6.28318530717958647692F;
    float frequency = 1 / powf(r->base, (float)(2 * pair) / (float)head_dim);
    float wavelength = two_pi / frequency;
    if (wavelength < r->old_context / r->high) {
        return 1;
    }
    if (wavelength > r->old_context / r->low) {
        return r->factor;
    }
    float smooth = (r->old_context / wavelength - r->low) / (r->high - r->low);
    return 1 / ((1 - smooth) / r->factor + smooth);
}
