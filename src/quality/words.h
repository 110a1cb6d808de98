/*
 * Numbers for words: equal words get equal numbers, counted from 0, so that scorers compare numbers
 * instead of strings. One table serves one comparison and lives in the caller's arena.
 */
#ifndef QUALITY_WORDS_H
#define QUALITY_WORDS_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct words {
    uint32_t *slots; /* number plus 1, 0: free; a power of two, at least twice as many as words */
    size_t mask;
    struct {
        const char *at; /* borrowed from the text */
        uint32_t len;
        uint32_t hash;
    } * list; /* by number */
    uint32_t n;
};

/* Room for max_words distinct words; false when memory is out. */
bool words_init(struct words *w, size_t max_words, struct arena *a);
/* The number of a word, which is not empty. at stays borrowed for as long as the table is used. */
uint32_t words_number(struct words *w, const char *at, size_t len);

#endif
