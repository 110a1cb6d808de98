#include "quality/chrf.h"

#include "base/arena.h"
#include "quality/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ORDER = 6, BETA = 2, REPLACEMENT = 0xFFFD };

/* The characters of a text that are no white space, and where its n-grams start: sorted by up to
 * MAX_ORDER characters, so that for every n equal n-grams stand together. */
struct chars {
    int32_t *cp;
    size_t n;
    const int32_t **starts;
};

/* Behind each text stand MAX_ORDER of these, lower than any character, so that every start can be
 * read to MAX_ORDER. */
enum { END = -1 };

static int compare_grams(const int32_t *a, const int32_t *b, size_t order) {
    for (size_t i = 0; i < order; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return 0;
}

static int by_gram(const void *a, const void *b) {
    return compare_grams(*(const int32_t *const *)a, *(const int32_t *const *)b, MAX_ORDER);
}

static bool chars_init(struct chars *c, const char *s, struct arena *a) {
    size_t len = strlen(s);
    *c = (struct chars){.cp = arena_array(a, len + MAX_ORDER, sizeof(*c->cp)),
                        .starts = arena_array(a, len, sizeof(*c->starts))};
    if (!c->cp || !c->starts) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        int32_t cp;
        i += text_decode(s + i, len - i, &cp);
        if (!text_is_space(cp)) {
            c->starts[c->n] = &c->cp[c->n];
            c->cp[c->n++] = cp == TEXT_ILL_FORMED ? REPLACEMENT : cp;
        }
    }
    for (size_t i = 0; i < MAX_ORDER; i++) {
        c->cp[c->n + i] = END;
    }
    qsort(c->starts, c->n, sizeof(*c->starts), by_gram);
    return true;
}

static size_t n_grams(const struct chars *c, size_t order) {
    return c->n < order ? 0 : c->n - order + 1;
}

/* N-grams in both, each as often as it is in both. */
static size_t match(const struct chars *a, const struct chars *b, size_t order) {
    size_t matched = 0;
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        int by = compare_grams(a->starts[i], b->starts[k], order);
        bool is_whole = a->starts[i][order - 1] != END;
        matched += by == 0 && is_whole;
        i += by <= 0;
        k += by >= 0;
    }
    return matched;
}

static double f_score(const struct chars *gold, const struct chars *pred) {
    double precision = 0;
    double recall = 0;
    int orders = 0;
    for (size_t order = 1; order <= MAX_ORDER; order++) {
        size_t in_gold = n_grams(gold, order);
        size_t in_pred = n_grams(pred, order);
        if (in_gold > 0 && in_pred > 0) {
            double matched = (double)match(gold, pred, order);
            precision += matched / (double)in_pred;
            recall += matched / (double)in_gold;
            orders++;
        }
    }
    if (precision + recall <= 0) {
        return 0;
    }
    precision /= orders;
    recall /= orders;
    const double factor = BETA * BETA;
    return (1 + factor) * precision * recall / (factor * precision + recall);
}

int chrf_score(const char *const *golds, size_t n_golds, const char *prediction, double *out,
               struct err *e) {
    struct arena a = ARENA_INIT;
    struct chars pred;
    double best = 0;
    bool ok = chars_init(&pred, prediction, &a);
    for (size_t i = 0; ok && i < n_golds; i++) {
        struct chars gold;
        ok = chars_init(&gold, golds[i], &a);
        double f = ok ? f_score(&gold, &pred) : 0;
        best = f > best ? f : best;
    }
    arena_release(&a);
    *out = best;
    return ok ? 0 : err_set(e, EE_NOMEM, "out of memory while computing chrF");
}
