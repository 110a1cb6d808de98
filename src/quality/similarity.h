/*
 * Semantic similarity: the cosine of the angle between two texts' vectors by an embedding model. This
 * file has everything but the model. Pure; any thread may call.
 */
#ifndef QUALITY_SIMILARITY_H
#define QUALITY_SIMILARITY_H

#include <stddef.h>

/* Changes with anything here that changes a value; it is part of a result's key. */
#define SIMILARITY_VERSION "1"

/* In -1..1; NAN where a vector has no length or is no number. */
double similarity_cosine(const float *a, const float *b, size_t n);

/* Texts of which any embedding model must find the second nearer to the first than the third, which
 * shares more words with it. */
struct similarity_control {
    const char *text;
    const char *like;
    const char *unlike;
};
extern const struct similarity_control similarity_controls[];
extern const size_t n_similarity_controls;

#endif
