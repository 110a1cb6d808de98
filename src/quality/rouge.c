#include "quality/rouge.h"

#include "base/arena.h"
#include "base/buf.h"
#include "quality/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Both texts as token numbers; equal words have equal numbers in both. */
struct tokens {
    uint32_t *id;
    size_t n;
};

struct word {
    const char *at;
    size_t len;
    uint32_t *id; /* where this word's number goes */
};

struct pair {
    struct arena arena;
    struct tokens target;
    struct tokens prediction;
};

static bool is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static size_t split_words(const char *s, size_t len, struct word *words) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        size_t start = i;
        while (i < len && is_token_char(s[i])) {
            i++;
        }
        if (i > start) {
            words[n++] = (struct word){.at = s + start, .len = i - start};
        }
    }
    return n;
}

static int compare_words(const struct word *a, const struct word *b) {
    size_t len = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->at, b->at, len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int by_word(const void *a, const void *b) {
    return compare_words(a, b);
}

/* Numbers the words of lower, whose first target_len bytes are the target. */
static bool number_words(const struct buf *lower, size_t target_len, struct pair *p) {
    struct word *words = arena_array(&p->arena, lower->len / 2 + 2, sizeof(*words));
    if (!words) {
        return false;
    }
    size_t n_target = split_words(lower->data, target_len, words);
    size_t n = n_target +
               split_words(lower->data + target_len, lower->len - target_len, words + n_target);
    uint32_t *ids = arena_array(&p->arena, n, sizeof(*ids));
    if (!ids) {
        return false;
    }
    p->target = (struct tokens){.id = ids, .n = n_target};
    p->prediction = (struct tokens){.id = ids + n_target, .n = n - n_target};
    for (size_t i = 0; i < n; i++) {
        words[i].id = &ids[i];
    }
    qsort(words, n, sizeof(*words), by_word);
    uint32_t next = 0;
    for (size_t i = 0; i < n; i++) {
        next += i > 0 && compare_words(&words[i - 1], &words[i]) != 0;
        *words[i].id = next;
    }
    return true;
}

static bool pair_init(struct pair *p, const char *target, const char *prediction) {
    *p = (struct pair){.arena = ARENA_INIT};
    struct buf lower;
    buf_init(&lower);
    text_lower(target, strlen(target), &lower);
    size_t target_len = lower.len;
    text_lower(prediction, strlen(prediction), &lower);
    bool ok = !lower.failed && number_words(&lower, target_len, p);
    buf_release(&lower);
    return ok;
}

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "out of memory while computing ROUGE");
}

/* totals of 0 leave the value 0, as the reference has it */
static void set_value(struct rouge_value *out, size_t matched, size_t n_target, size_t n_pred) {
    double precision = n_pred ? (double)matched / (double)n_pred : 0.0;
    double recall = n_target ? (double)matched / (double)n_target : 0.0;
    *out = (struct rouge_value){.precision = precision, .recall = recall};
    if (precision + recall > 0) {
        out->fmeasure = 2 * precision * recall / (precision + recall);
    }
}

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The n-grams of t, n of 1 or 2, as *count sorted keys. */
static uint64_t *grams_of(const struct tokens *t, size_t n, struct arena *a, size_t *count) {
    *count = t->n < n ? 0 : t->n - n + 1;
    uint64_t *keys = arena_array(a, *count, sizeof(*keys));
    for (size_t i = 0; keys && i < *count; i++) {
        keys[i] = n == 1 ? t->id[i] : (uint64_t)t->id[i] << 32 | t->id[i + 1];
    }
    if (keys) {
        qsort(keys, *count, sizeof(*keys), by_key);
    }
    return keys;
}

static int rouge_n(size_t n, const char *target, const char *prediction, struct rouge_value *out,
                   struct err *e) {
    *out = (struct rouge_value){0};
    struct pair p;
    int rc = 0;
    if (!pair_init(&p, target, prediction)) {
        rc = out_of_memory(e);
        goto out;
    }
    size_t n_target = 0;
    size_t n_pred = 0;
    uint64_t *in_target = grams_of(&p.target, n, &p.arena, &n_target);
    uint64_t *in_pred = grams_of(&p.prediction, n, &p.arena, &n_pred);
    if (!in_target || !in_pred) {
        rc = out_of_memory(e);
        goto out;
    }
    size_t matched = 0;
    for (size_t t = 0, q = 0; t < n_target && q < n_pred;) {
        int order = by_key(&in_target[t], &in_pred[q]);
        matched += order == 0;
        t += order <= 0;
        q += order >= 0;
    }
    set_value(out, matched, n_target, n_pred);
out:
    arena_release(&p.arena);
    return rc;
}

int rouge_1(const char *target, const char *prediction, struct rouge_value *out, struct err *e) {
    return rouge_n(1, target, prediction, out, e);
}

int rouge_2(const char *target, const char *prediction, struct rouge_value *out, struct err *e) {
    return rouge_n(2, target, prediction, out, e);
}

/* Length of the longest common subsequence, one row of the table at a time: before step i, row[j]
 * is the length for the first i tokens of a and the first j of b. row has b->n + 1 zeroes. */
static size_t lcs_length(const struct tokens *a, const struct tokens *b, size_t *row) {
    for (size_t i = 0; i < a->n; i++) {
        size_t diagonal = 0;
        for (size_t j = 1; j <= b->n; j++) {
            size_t above = row[j];
            if (a->id[i] == b->id[j - 1]) {
                row[j] = diagonal + 1;
            } else if (row[j - 1] > above) {
                row[j] = row[j - 1];
            }
            diagonal = above;
        }
    }
    return row[b->n];
}

int rouge_l(const char *target, const char *prediction, struct rouge_value *out, struct err *e) {
    *out = (struct rouge_value){0};
    struct pair p;
    int rc = 0;
    if (!pair_init(&p, target, prediction)) {
        rc = out_of_memory(e);
        goto out;
    }
    size_t *row = arena_array(&p.arena, p.prediction.n + 1, sizeof(*row));
    if (!row) {
        rc = out_of_memory(e);
        goto out;
    }
    set_value(out, lcs_length(&p.target, &p.prediction, row), p.target.n, p.prediction.n);
out:
    arena_release(&p.arena);
    return rc;
}
