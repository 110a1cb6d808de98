#include "quality/rouge.h"

#include "base/arena.h"
#include "base/buf.h"
#include "quality/porter.h"
#include "quality/text.h"
#include "quality/words.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A text as word numbers. */
struct tokens {
    uint32_t *id;
    size_t n;
    size_t *line_ends; /* one past the last word of each line that has words */
    size_t n_lines;
};

/* Both texts; equal words have equal numbers in both. */
struct pair {
    struct arena arena;
    struct tokens target;
    struct tokens prediction;
    size_t n_ids;
};

static bool is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

enum { SHORTEST_STEMMED = 4 };

static void end_line(struct tokens *t) {
    if (t->n > (t->n_lines ? t->line_ends[t->n_lines - 1] : 0)) {
        t->line_ends[t->n_lines++] = t->n;
    }
}

/* The words of s, which stemming changes in place. */
static void read_tokens(char *s, size_t len, bool stem, struct words *words, struct tokens *t) {
    for (size_t i = 0; i < len; i++) {
        size_t start = i;
        while (i < len && is_token_char(s[i])) {
            i++;
        }
        if (i > start) {
            size_t n = i - start;
            n = stem && n >= SHORTEST_STEMMED ? porter_stem(s + start, n) : n;
            t->id[t->n++] = words_number(words, s + start, n);
        }
        if (i < len && s[i] == '\n') {
            end_line(t);
        }
    }
    end_line(t);
}

static bool tokens_init(struct tokens *t, size_t max_words, struct arena *a) {
    *t = (struct tokens){.id = arena_array(a, max_words, sizeof(*t->id)),
                         .line_ends = arena_array(a, max_words, sizeof(*t->line_ends))};
    return t->id && t->line_ends;
}

static bool pair_init(struct pair *p, const char *target, const char *prediction, bool stem) {
    *p = (struct pair){.arena = ARENA_INIT};
    struct buf lower;
    struct words words;
    buf_init(&lower);
    text_lower(target, strlen(target), &lower);
    size_t target_len = lower.len;
    text_lower(prediction, strlen(prediction), &lower);
    size_t prediction_len = lower.len - target_len;
    bool ok = !lower.failed && words_init(&words, lower.len / 2 + 2, &p->arena) &&
              tokens_init(&p->target, target_len / 2 + 1, &p->arena) &&
              tokens_init(&p->prediction, prediction_len / 2 + 1, &p->arena);
    if (ok) {
        read_tokens(lower.data, target_len, stem, &words, &p->target);
        read_tokens(lower.data + target_len, prediction_len, stem, &words, &p->prediction);
        p->n_ids = words.n;
    }
    buf_release(&lower);
    return ok;
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

/* ---- words and pairs of words ---- */

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

static bool score_grams(struct pair *p, size_t n, struct rouge_value *out) {
    size_t n_target = 0;
    size_t n_pred = 0;
    const uint64_t *in_target = grams_of(&p->target, n, &p->arena, &n_target);
    const uint64_t *in_pred = grams_of(&p->prediction, n, &p->arena, &n_pred);
    if (!in_target || !in_pred) {
        return false;
    }
    size_t matched = 0;
    for (size_t t = 0, q = 0; t < n_target && q < n_pred;) {
        int order = by_key(&in_target[t], &in_pred[q]);
        matched += order == 0;
        t += order <= 0;
        q += order >= 0;
    }
    set_value(out, matched, n_target, n_pred);
    return true;
}

/* ---- longest common subsequences ---- */

/*
 * A column of the table of lengths, 64 rows to a machine word (Hyyrö, 2004): after the first j
 * words of b, bit i is 0 where one more word of a makes the subsequence one longer. The next
 * column is one addition, so that a pair of sentences costs |b| steps where |a| is at most 64.
 */
struct lcs {
    const uint32_t *a;
    size_t n_a;
    size_t n_words;     /* machine words in a column */
    uint32_t *last;     /* by word number: its last place in a, plus 1; 0: not in a */
    uint32_t *previous; /* by place in a: the place before with the same word, plus 1 */
    uint64_t *matches;  /* a column: places in a of the word at hand */
};

enum { BITS = 64 };

static bool lcs_init(struct lcs *l, const uint32_t *a, size_t n_a, size_t n_ids,
                     struct arena *arena) {
    size_t n_words = (n_a + BITS - 1) / BITS;
    *l = (struct lcs){.a = a,
                      .n_a = n_a,
                      .n_words = n_words,
                      .last = arena_array(arena, n_ids, sizeof(*l->last)),
                      .previous = arena_array(arena, n_a, sizeof(*l->previous)),
                      .matches = arena_array(arena, n_words, sizeof(*l->matches))};
    if (!l->last || !l->previous || !l->matches) {
        return false;
    }
    for (size_t i = 0; i < n_a; i++) {
        l->previous[i] = l->last[a[i]];
        l->last[a[i]] = (uint32_t)i + 1;
    }
    return true;
}

static bool has_bit(const uint64_t *column, size_t i) {
    return column[i / BITS] >> (i % BITS) & 1;
}

/* The column after one more word of b, in to; from and to may be the same. */
static void lcs_step(struct lcs *l, uint32_t word, const uint64_t *from, uint64_t *to) {
    memset(l->matches, 0, l->n_words * sizeof(*l->matches));
    for (size_t place = l->last[word]; place; place = l->previous[place - 1]) {
        l->matches[(place - 1) / BITS] |= UINT64_C(1) << ((place - 1) % BITS);
    }
    uint64_t carry = 0;
    for (size_t k = 0; k < l->n_words; k++) {
        uint64_t column = from[k];
        uint64_t both = column & l->matches[k];
        uint64_t with_carry = column + carry;
        uint64_t sum = with_carry + both;
        carry = (with_carry < carry) | (sum < both);
        to[k] = sum | (column & ~l->matches[k]);
    }
}

static bool score_lcs(struct pair *p, struct rouge_value *out) {
    struct lcs l;
    const struct tokens *t = &p->target;
    bool ok = lcs_init(&l, t->id, t->n, p->n_ids, &p->arena);
    uint64_t *column = ok ? arena_array(&p->arena, l.n_words, sizeof(*column)) : NULL;
    if (!column) {
        return false;
    }
    memset(column, 0xFF, l.n_words * sizeof(*column));
    for (size_t j = 0; j < p->prediction.n; j++) {
        if (l.last[p->prediction.id[j]]) {
            lcs_step(&l, p->prediction.id[j], column, column);
        }
    }
    size_t length = 0;
    for (size_t i = 0; i < t->n; i++) {
        length += !has_bit(column, i);
    }
    set_value(out, length, t->n, p->prediction.n);
    return true;
}

/*
 * Adds to in_lcs the places in a of one longest common subsequence of a and b. Which one, where
 * there are several, is the reference's choice: from the end, past a word of b only where no
 * shorter part of a does as well.
 */
static void mark_lcs(struct lcs *l, const uint32_t *b, size_t n_b, uint64_t *columns,
                     bool *in_lcs) {
    memset(columns, 0xFF, l->n_words * sizeof(*columns));
    for (size_t j = 0; j < n_b; j++) {
        lcs_step(l, b[j], columns + j * l->n_words, columns + (j + 1) * l->n_words);
    }
    for (size_t i = l->n_a, j = n_b; i > 0 && j > 0;) {
        if (l->a[i - 1] == b[j - 1]) {
            in_lcs[--i] = true;
            j--;
        } else if (has_bit(columns + j * l->n_words, i - 1)) {
            i--;
        } else {
            j--;
        }
    }
}

static size_t line_start(const struct tokens *t, size_t line) {
    return line ? t->line_ends[line - 1] : 0;
}

static size_t longest_line(const struct tokens *t) {
    size_t longest = 0;
    for (size_t i = 0; i < t->n_lines; i++) {
        size_t n = t->line_ends[i] - line_start(t, i);
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* Marks the words of one line of the target that are in its subsequences with any line of the
 * prediction. */
static bool mark_line(struct pair *p, size_t line, bool *in_lcs) {
    const struct tokens *q = &p->prediction;
    size_t start = line_start(&p->target, line);
    size_t n = p->target.line_ends[line] - start;
    struct arena scratch = ARENA_INIT;
    struct lcs l;
    bool ok = lcs_init(&l, p->target.id + start, n, p->n_ids, &scratch);
    uint64_t *columns =
        ok ? arena_array(&scratch, l.n_words * (longest_line(q) + 1), sizeof(*columns)) : NULL;
    for (size_t i = 0; columns && i < q->n_lines; i++) {
        size_t from = line_start(q, i);
        mark_lcs(&l, q->id + from, q->line_ends[i] - from, columns, in_lcs + start);
    }
    arena_release(&scratch);
    return columns != NULL;
}

/* A word counts at most as often as each text has it, whatever the lines say. */
static bool score_lines(struct pair *p, struct rouge_value *out) {
    const struct tokens *t = &p->target;
    const struct tokens *q = &p->prediction;
    bool *in_lcs = arena_array(&p->arena, t->n, sizeof(*in_lcs));
    size_t *left = arena_array(&p->arena, p->n_ids, sizeof(*left));
    if (!in_lcs || !left) {
        return false;
    }
    for (size_t i = 0; i < t->n_lines; i++) {
        if (!mark_line(p, i, in_lcs)) {
            return false;
        }
    }
    for (size_t i = 0; i < q->n; i++) {
        left[q->id[i]]++;
    }
    size_t hits = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (in_lcs[i] && left[t->id[i]] > 0) {
            left[t->id[i]]--;
            hits++;
        }
    }
    set_value(out, hits, t->n, q->n);
    return true;
}

int rouge_score(enum rouge_kind kind, bool stem, const char *target, const char *prediction,
                struct rouge_value *out, struct err *e) {
    *out = (struct rouge_value){0};
    struct pair p;
    bool ok = pair_init(&p, target, prediction, stem);
    if (ok) {
        switch (kind) {
        case ROUGE_1:
        case ROUGE_2:
            ok = score_grams(&p, kind == ROUGE_1 ? 1 : 2, out);
            break;
        case ROUGE_L:
            ok = score_lcs(&p, out);
            break;
        case ROUGE_LSUM:
            ok = score_lines(&p, out);
            break;
        }
    }
    arena_release(&p.arena);
    return ok ? 0 : err_set(e, EE_NOMEM, "out of memory while computing ROUGE");
}
