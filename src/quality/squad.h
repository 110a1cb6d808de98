/*
 * Exact match and token F1 as in the evaluation script of SQuAD 2.0 (Rajpurkar, Jia and Liang,
 * 2018, "Know What You Don't Know"). For golds that do not normalize to nothing, these are the
 * values of the 1.1 script too.
 *
 * Several golds: the best counts. A gold that normalizes to nothing is dropped, and where none is
 * left (also n_golds = 0) the one right answer is the empty one. Pure functions; any thread.
 */
#ifndef QUALITY_SQUAD_H
#define QUALITY_SQUAD_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

struct squad_value {
    double em; /* 0 or 1 */
    double f1; /* 0..1 */
};

/* Appends the normal form: lower case, without ASCII punctuation and the articles a, an, the,
 * with single spaces. Out of memory is told by buf_check on out. */
void squad_normalize(const char *s, struct buf *out);
int squad_score(const char *const *golds, size_t n_golds, const char *prediction,
                struct squad_value *out, struct err *e) EE_MUST_CHECK;

#endif
