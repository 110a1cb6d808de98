/*
 * Porter's stemmer (Porter, 1980, "An algorithm for suffix stripping") with the changes that NLTK
 * makes by default: a list of irregular words, nothing done to words of one or two letters, short
 * words in -ies and -ied kept apart from long ones, and a few more endings. ROUGE with stemming is
 * defined on it. Pure; any thread may call.
 */
#ifndef QUALITY_PORTER_H
#define QUALITY_PORTER_H

#include <stddef.h>

/* Stems the lower-case word of len bytes in place and returns the stem's length, at most len. Bytes
 * that are no ASCII letters count as consonants. */
size_t porter_stem(char *word, size_t len);

#endif
