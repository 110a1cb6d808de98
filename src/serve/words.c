#include "serve/words.h"

#include <string.h>

static const char *const words[] = {
    "the",   "of",    "and",   "to",     "in",     "is",    "was",   "for",    "that",   "with",
    "as",    "on",    "by",    "at",     "from",   "this",  "are",   "not",    "have",   "they",
    "which", "one",   "had",   "word",   "but",    "what",  "some",  "we",     "can",    "out",
    "other", "were",  "all",   "there",  "when",   "up",    "use",   "your",   "how",    "said",
    "an",    "each",  "she",   "do",     "their",  "time",  "if",    "will",   "way",    "about",
    "many",  "then",  "them",  "write",  "would",  "like",  "so",    "these",  "her",    "long",
    "make",  "thing", "see",   "him",    "two",    "has",   "look",  "more",   "day",    "could",
    "go",    "come",  "did",   "number", "sound",  "no",    "most",  "people", "my",     "over",
    "know",  "water", "than",  "call",   "first",  "who",   "may",   "down",   "side",   "been",
    "now",   "find",  "any",   "new",    "work",   "part",  "take",  "get",    "place",  "made",
    "live",  "where", "after", "back",   "little", "only",  "round", "man",    "year",   "came",
    "show",  "every", "good",  "me",     "give",   "our",   "under", "name",   "very",   "through",
    "just",  "form",  "great", "think",  "say",    "help",  "low",   "line",   "before", "turn",
    "cause", "same",  "mean",  "differ", "move",   "right", "boy",   "old",    "too",    "does",
    "tell",  "set",   "three", "want",   "air",    "well",  "also",  "play",   "small",  "end",
    "put",   "home",  "read",  "hand",   "port",   "large", "spell", "add",    "even",   "land",
};

enum { N_WORDS = sizeof(words) / sizeof(words[0]), MAX_TRIES = 64 };

void words_add(struct buf *out, struct rng *r, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (out->len > 0) {
            buf_addch(out, ' ');
        }
        buf_addstr(out, words[rng_below(r, N_WORDS)]);
    }
}

/* Drops the last n words, but nothing before keep. */
static void drop_words(struct buf *b, size_t n, size_t keep) {
    for (; n > 0 && b->len > keep; n--) {
        const char *space = memrchr(b->data + keep, ' ', b->len - keep);
        b->len = space ? (size_t)(space - b->data) : keep;
        b->data[b->len] = '\0';
    }
}

int words_fill(struct buf *out, struct rng *r, int n_tokens, words_count_fn *count, void *ctx,
               struct err *e) {
    size_t keep = out->len;
    int have = count(ctx, out->data, e);
    for (int i = 0; have >= 0 && i < MAX_TRIES; i++) {
        if (have == n_tokens) {
            return buf_check(out, "prompt", e);
        }
        if (have < n_tokens) {
            /* A word is a token mostly, and never less. */
            words_add(out, r, (size_t)(n_tokens - have));
        } else if (out->len == keep) {
            break;
        } else {
            drop_words(out, (size_t)(have - n_tokens), keep);
        }
        have = count(ctx, out->data, e);
    }
    return have < 0
               ? have
               : err_set(e, EE_FORMAT,
                         "no prompt of exactly %d tokens can be made (the nearest has %d, with "
                         "what the template adds); ask for more",
                         n_tokens, have);
}
