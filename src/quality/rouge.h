/*
 * ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004) as Google's rouge-score package computes them with its
 * default tokenizer and without stemming. ROUGE-L here sees the whole text as one sentence.
 *
 * A text without any token (empty, or with no ASCII letter or digit) scores 0, also against
 * itself. Pure functions; any thread may call.
 */
#ifndef QUALITY_ROUGE_H
#define QUALITY_ROUGE_H

#include "base/err.h"

struct rouge_value {
    double precision; /* matched part of the prediction */
    double recall;    /* matched part of the target */
    double fmeasure;  /* 2PR / (P + R); 0 where P + R is 0 */
};

/* Matched words, and pairs of adjacent words, each counted as often as it is in both texts. */
int rouge_1(const char *target, const char *prediction, struct rouge_value *out,
            struct err *e) EE_MUST_CHECK;
int rouge_2(const char *target, const char *prediction, struct rouge_value *out,
            struct err *e) EE_MUST_CHECK;
/* Longest common subsequence of tokens. */
int rouge_l(const char *target, const char *prediction, struct rouge_value *out,
            struct err *e) EE_MUST_CHECK;

#endif
