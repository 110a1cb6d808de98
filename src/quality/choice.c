#include "quality/choice.h"

#include "quality/text.h"

#include <string.h>

char choice_letter(size_t i) {
    return (char)('A' + i);
}

static size_t n_characters(const char *s) {
    size_t len = strlen(s);
    size_t n = 0;
    for (size_t i = 0; i < len; n++) {
        int32_t cp;
        i += text_decode(s + i, len - i, &cp);
    }
    return n;
}

struct choice_value choice_decide(const struct task_item *item, const double *log_p) {
    size_t best = 0;
    size_t best_norm = 0;
    double norm = 0;
    for (size_t i = 0; i < item->n_choices; i++) {
        double n = log_p[i] / (double)n_characters(item->choices[i]);
        best = log_p[i] > log_p[best] ? i : best;
        if (i == 0 || n > norm) {
            best_norm = i;
            norm = n;
        }
    }
    return (struct choice_value){.acc = best == item->right, .acc_norm = best_norm == item->right};
}

static char ascii_lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool is_letter(char c) {
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static bool same_words(const char *a, size_t n, const char *b) {
    size_t m = strlen(b);
    b = text_trim(b, &m);
    n -= n > 0 && m > 0 && a[n - 1] == '.' && b[m - 1] != '.';
    if (n != m) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (ascii_lower(a[i]) != ascii_lower(b[i])) {
            return false;
        }
    }
    return true;
}

/* "B", "(B", "B." and so on; but not the article of "A cat", nor "Blue". */
static int lettered(const struct task_item *item, const char *s, size_t len) {
    size_t i = len > 0 && s[0] == '(';
    if (i >= len || !is_letter(s[i]) || (i + 1 < len && !strchr(".):,\n", s[i + 1]))) {
        return -1;
    }
    int index = ascii_lower(s[i]) - 'a';
    return (size_t)index < item->n_choices ? index : -1;
}

int choice_named(const struct task_item *item, const char *answer) {
    size_t len = strlen(answer);
    const char *s = text_trim(answer, &len);
    for (size_t i = 0; i < item->n_choices; i++) {
        if (same_words(s, len, item->choices[i])) {
            return (int)i;
        }
    }
    return lettered(item, s, len);
}
