/*
 * ROUGE (Lin, 2004) as Google's rouge-score package computes it with its default tokenizer: a word
 * is a run of the letters a to z and digits after lower-casing, stemmed (porter.h) where asked for
 * and longer than three letters.
 *
 * A text without any word (empty, or with no ASCII letter or digit) scores 0, also against
 * itself. Pure functions; any thread may call.
 */
#ifndef QUALITY_ROUGE_H
#define QUALITY_ROUGE_H

#include "base/err.h"

#include <stdbool.h>

enum rouge_kind {
    ROUGE_1,    /* matched words, each counted as often as it is in both texts */
    ROUGE_2,    /* matched pairs of adjacent words */
    ROUGE_L,    /* longest common subsequence, the whole text as one sentence */
    ROUGE_LSUM, /* each line a sentence: words of the target's lines in the longest common
                   subsequences with any of the prediction's lines, together */
};

struct rouge_value {
    double precision; /* matched part of the prediction */
    double recall;    /* matched part of the target */
    double fmeasure;  /* 2PR / (P + R); 0 where P + R is 0 */
};

int rouge_score(enum rouge_kind kind, bool stem, const char *target, const char *prediction,
                struct rouge_value *out, struct err *e) EE_MUST_CHECK;

#endif
