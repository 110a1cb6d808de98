/*
 * Llama 3's stretch of the rotary frequencies, as published with its configuration: wavelengths
 * over the old context are stretched by the factor, those under a part of it stay, and between
 * them the two are mixed.
 */
#ifndef ENGINE_ROPE_H
#define ENGINE_ROPE_H

#include <stdint.h>

struct rope_llama3 {
    float base;        /* of the frequencies: rope_theta */
    float factor;      /* of the stretch */
    float low;         /* wavelengths over old_context / low are stretched whole */
    float high;        /* those under old_context / high not at all */
    float old_context; /* tokens */
};

/* What pair number `pair` of a head of head_dim is divided by: 1 to factor. Single precision, as
 * the model was trained with. */
float rope_llama3_divisor(const struct rope_llama3 *r, int64_t head_dim, int64_t pair);

#endif
