#include "quality/squad.h"

#include "base/arena.h"
#include "quality/text.h"
#include "quality/words.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum char_class { CHAR_OTHER, CHAR_SPACE, CHAR_PUNCT, CHAR_WORD };

/* Of ASCII characters; punctuation is Python's string.punctuation. */
static enum char_class ascii_class(unsigned char c) {
    static const unsigned char classes[] = "0000000001111100000000000000"
                                           "1111122222222222222233333333332222222"
                                           "33333333333333333333333333222222"
                                           "3333333333333333333333333322220";
    return (enum char_class)(classes[c] - '0');
}

/* The class of the first character of s and its length in bytes. */
static enum char_class classify(const char *s, size_t len, size_t *n) {
    *n = 1;
    if ((unsigned char)*s < 0x80) {
        return ascii_class((unsigned char)*s);
    }
    int32_t cp;
    *n = text_decode(s, len, &cp);
    if (text_is_space(cp)) {
        return CHAR_SPACE;
    }
    return text_is_word(cp) ? CHAR_WORD : CHAR_OTHER;
}

static bool is_article(const char *word, size_t len) {
    return (len == 1 && word[0] == 'a') || (len == 2 && memcmp(word, "an", 2) == 0) ||
           (len == 3 && memcmp(word, "the", 3) == 0);
}

/* Copies the characters of one class that s begins with to *to, which is moved past them. ASCII
 * punctuation is left out as if it were not there. */
static size_t copy_run(const char *s, size_t len, char **to, enum char_class kind) {
    char *at = *to;
    size_t i = 0;
    while (i < len) {
        while (i < len && (unsigned char)s[i] < 0x80 && ascii_class((unsigned char)s[i]) == kind) {
            *at++ = s[i++]; /* what most of most texts is */
        }
        size_t n = 0;
        enum char_class k = i < len ? classify(s + i, len - i, &n) : CHAR_PUNCT;
        if (k == kind) {
            memcpy(at, s + i, n);
            at += n;
        } else if (k != CHAR_PUNCT) {
            break;
        }
        i += n;
    }
    *to = at;
    return i;
}

/* The words of a text, counted by their number. */
struct counter {
    struct words *words;
    uint32_t *counts; /* by word number */
    size_t n;         /* words, repeated ones too */
};

static void count_word(struct counter *c, const char *at, size_t len) {
    if (c && len > 0) {
        c->counts[words_number(c->words, at, len)]++;
        c->n++;
    }
}

/*
 * Writes " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split()) of s, in lower case, without its
 * punctuation to out, which has room for len + 1 bytes, and counts its words. An article between two
 * word boundaries is a whole run of word characters; like white space, it ends what stands before it.
 */
static void join_words(const char *s, size_t len, char *out, struct counter *c) {
    char *word = out;
    char *end = out;
    bool gap = false;
    size_t n;
    for (size_t i = 0; i < len; i += n) {
        enum char_class kind = classify(s + i, len - i, &n);
        if (kind == CHAR_PUNCT || kind == CHAR_SPACE) {
            gap = gap || kind == CHAR_SPACE;
            continue;
        }
        char *start = end + (gap && end > out);
        char *to = start;
        n = copy_run(s + i, len - i, &to, kind);
        if (kind == CHAR_WORD && is_article(start, (size_t)(to - start))) {
            gap = true;
            continue;
        }
        if (start > end) {
            count_word(c, word, (size_t)(end - word));
            *end = ' ';
            word = start;
        }
        gap = false;
        end = to;
    }
    count_word(c, word, (size_t)(end - word));
    *end = '\0';
}

void squad_normalize(const char *s, struct buf *out) {
    struct buf lower;
    buf_init(&lower);
    text_lower(s, strlen(s), &lower);
    if (!lower.failed && buf_reserve(out, lower.len + 1)) {
        join_words(lower.data, lower.len, out->data + out->len, NULL);
        out->len += strlen(out->data + out->len);
    }
    out->failed = out->failed || lower.failed;
    buf_release(&lower);
}

static double f1_of(size_t same, size_t n_gold, size_t n_pred) {
    if (n_gold == 0 || n_pred == 0) {
        return n_gold == n_pred ? 1.0 : 0.0;
    }
    if (same == 0) {
        return 0.0;
    }
    double precision = (double)same / (double)n_pred;
    double recall = (double)same / (double)n_gold;
    return 2 * precision * recall / (precision + recall);
}

/* A text in normal form, its words numbered in a table that all texts of a comparison share. */
struct normal_text {
    char *text;
    struct counter counter;
};

struct comparison {
    struct arena arena;
    struct words words;
    size_t max_words;
    struct buf lower; /* scratch */
    struct normal_text prediction;
};

static bool normalize(struct comparison *c, const char *s, struct normal_text *out) {
    buf_clear(&c->lower);
    text_lower(s, strlen(s), &c->lower);
    *out = (struct normal_text){
        .text = arena_alloc(&c->arena, c->lower.len + 1),
        .counter = {.words = &c->words,
                    .counts = arena_array(&c->arena, c->max_words, sizeof(uint32_t))},
    };
    if (c->lower.failed || !out->text || !out->counter.counts) {
        return false;
    }
    join_words(c->lower.data, c->lower.len, out->text, &out->counter);
    return true;
}

/* Raises best by one gold. */
static void score_gold(const struct comparison *c, const struct normal_text *gold,
                       struct squad_value *best) {
    const struct normal_text *pred = &c->prediction;
    size_t same = 0;
    for (uint32_t id = 0; id < c->words.n; id++) {
        uint32_t in_gold = gold->counter.counts[id];
        uint32_t in_pred = pred->counter.counts[id];
        same += in_gold < in_pred ? in_gold : in_pred;
    }
    double em = strcmp(gold->text, pred->text) == 0 ? 1.0 : 0.0;
    double f1 = f1_of(same, gold->counter.n, pred->counter.n);
    best->em = em > best->em ? em : best->em;
    best->f1 = f1 > best->f1 ? f1 : best->f1;
}

/* Words have at least a byte, and one between them. */
static size_t max_words(const char *const *golds, size_t n_golds, const char *prediction) {
    size_t n = strlen(prediction) / 2 + 1;
    for (size_t i = 0; i < n_golds; i++) {
        n += strlen(golds[i]) / 2 + 1;
    }
    return n;
}

int squad_score(const char *const *golds, size_t n_golds, const char *prediction,
                struct squad_value *out, struct err *e) {
    struct comparison c = {.arena = ARENA_INIT, .max_words = max_words(golds, n_golds, prediction)};
    buf_init(&c.lower);
    *out = (struct squad_value){0};
    bool ok = words_init(&c.words, c.max_words, &c.arena) &&
              normalize(&c, prediction, &c.prediction);
    bool answerable = false;
    for (size_t i = 0; ok && i < n_golds; i++) {
        struct normal_text gold;
        ok = normalize(&c, golds[i], &gold);
        if (ok && gold.counter.n > 0) {
            answerable = true;
            score_gold(&c, &gold, out);
        }
    }
    if (ok && !answerable) {
        bool is_empty = c.prediction.counter.n == 0;
        *out = (struct squad_value){.em = is_empty, .f1 = is_empty};
    }
    buf_release(&c.lower);
    arena_release(&c.arena);
    return ok ? 0 : err_set(e, EE_NOMEM, "out of memory while scoring an answer");
}
