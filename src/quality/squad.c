#include "quality/squad.h"

#include "base/arena.h"
#include "quality/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The words of a normal form, sorted, so that two lists intersect in one pass. */
struct words {
    char **at;
    size_t n;
};

/* Python's string.punctuation is what ispunct() accepts in the C locale. */
static bool is_ascii_punct(unsigned char c) {
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
           (c >= 0x7B && c <= 0x7E);
}

static void drop_punctuation(struct buf *b) {
    size_t kept = 0;
    for (size_t i = 0; i < b->len; i++) {
        if (!is_ascii_punct((unsigned char)b->data[i])) {
            b->data[kept++] = b->data[i];
        }
    }
    if (kept < b->len) {
        b->data[kept] = '\0';
        b->len = kept;
    }
}

static bool is_article(const char *word, size_t len) {
    return (len == 1 && word[0] == 'a') || (len == 2 && memcmp(word, "an", 2) == 0) ||
           (len == 3 && memcmp(word, "the", 3) == 0);
}

/* re.sub(r"\b(a|an|the)\b", " ", s): an article between two word boundaries is a whole run of
 * word characters. */
static void drop_articles(const char *s, size_t len, struct buf *out) {
    for (size_t i = 0; i < len;) {
        size_t start = i;
        int32_t cp;
        size_t n = text_decode(s + i, len - i, &cp);
        if (!text_is_word(cp)) {
            buf_add(out, s + i, n);
            i += n;
            continue;
        }
        do {
            i += n;
            n = i < len ? text_decode(s + i, len - i, &cp) : 0;
        } while (n && text_is_word(cp));
        if (is_article(s + start, i - start)) {
            buf_addch(out, ' ');
        } else {
            buf_add(out, s + start, i - start);
        }
    }
}

/* " ".join(s.split()) */
static void join_by_single_spaces(const char *s, size_t len, struct buf *out) {
    bool gap = false;
    bool any = false;
    for (size_t i = 0; i < len;) {
        int32_t cp;
        size_t n = text_decode(s + i, len - i, &cp);
        if (text_is_space(cp)) {
            gap = any;
        } else {
            if (gap) {
                buf_addch(out, ' ');
            }
            buf_add(out, s + i, n);
            gap = false;
            any = true;
        }
        i += n;
    }
}

void squad_normalize(const char *s, struct buf *out) {
    struct buf lower;
    struct buf bare;
    buf_init(&lower);
    buf_init(&bare);
    text_lower(s, strlen(s), &lower);
    drop_punctuation(&lower);
    drop_articles(lower.data, lower.len, &bare);
    join_by_single_spaces(bare.data, bare.len, out);
    out->failed = out->failed || lower.failed || bare.failed;
    buf_release(&lower);
    buf_release(&bare);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool words_of(const char *normal, struct arena *a, struct words *out) {
    *out = (struct words){0};
    size_t len = strlen(normal);
    char *copy = arena_strndup(a, normal, len);
    out->at = arena_array(a, len / 2 + 1, sizeof(*out->at));
    if (!copy || !out->at) {
        return false;
    }
    char *rest = NULL;
    for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        out->at[out->n++] = w;
    }
    qsort(out->at, out->n, sizeof(*out->at), by_text);
    return true;
}

static double f1_of(const struct words *gold, const struct words *pred) {
    if (gold->n == 0 || pred->n == 0) {
        return gold->n == pred->n ? 1.0 : 0.0;
    }
    size_t same = 0;
    for (size_t g = 0, p = 0; g < gold->n && p < pred->n;) {
        int order = strcmp(gold->at[g], pred->at[p]);
        same += order == 0;
        g += order <= 0;
        p += order >= 0;
    }
    if (same == 0) {
        return 0.0;
    }
    double precision = (double)same / (double)pred->n;
    double recall = (double)same / (double)gold->n;
    return 2 * precision * recall / (precision + recall);
}

/* Raises best by one gold; both texts are normal forms. */
static bool score_gold(const char *gold, const char *pred, struct arena *a,
                       struct squad_value *best) {
    struct words gold_words;
    struct words pred_words;
    if (!words_of(gold, a, &gold_words) || !words_of(pred, a, &pred_words)) {
        return false;
    }
    double em = strcmp(gold, pred) == 0 ? 1.0 : 0.0;
    double f1 = f1_of(&gold_words, &pred_words);
    best->em = em > best->em ? em : best->em;
    best->f1 = f1 > best->f1 ? f1 : best->f1;
    return true;
}

int squad_score(const char *const *golds, size_t n_golds, const char *prediction,
                struct squad_value *out, struct err *e) {
    struct arena scratch = ARENA_INIT;
    struct buf pred;
    struct buf gold;
    buf_init(&pred);
    buf_init(&gold);
    *out = (struct squad_value){0};
    squad_normalize(prediction, &pred);
    bool ok = !pred.failed;
    bool answerable = false;
    for (size_t i = 0; ok && i < n_golds; i++) {
        buf_clear(&gold);
        squad_normalize(golds[i], &gold);
        ok = !gold.failed;
        if (ok && gold.len > 0) {
            answerable = true;
            ok = score_gold(gold.data, pred.data, &scratch, out);
        }
    }
    if (ok && !answerable) {
        ok = score_gold("", pred.data, &scratch, out);
    }
    buf_release(&pred);
    buf_release(&gold);
    arena_release(&scratch);
    return ok ? 0 : err_set(e, EE_NOMEM, "out of memory while scoring an answer");
}
