#include "quality/porter.h"

#include <stdbool.h>
#include <string.h>

/* Letters a to y of the paper: a word is [C](VC)^m[V], m its measure. */
struct word {
    char *at;
    size_t len;
};

static bool is_vowel_letter(char c) {
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

/* A y is a consonant at the start and after a vowel, a vowel after a consonant. */
static bool is_consonant_after(bool after_consonant, char c) {
    return c == 'y' ? !after_consonant : !is_vowel_letter(c);
}

static bool is_consonant(const char *w, size_t i) {
    size_t start = i;
    while (start > 0 && w[start] == 'y') {
        start--;
    }
    bool consonant = false;
    for (size_t k = start; k <= i; k++) {
        consonant = is_consonant_after(consonant, w[k]);
    }
    return consonant;
}

static size_t measure(const char *w, size_t len) {
    size_t m = 0;
    bool consonant = false;
    for (size_t i = 0; i < len; i++) {
        bool after_vowel = i > 0 && !consonant;
        consonant = is_consonant_after(consonant, w[i]);
        m += consonant && after_vowel;
    }
    return m;
}

static bool has_vowel(const char *w, size_t len) {
    bool consonant = false;
    for (size_t i = 0; i < len; i++) {
        consonant = is_consonant_after(consonant, w[i]);
        if (!consonant) {
            return true;
        }
    }
    return false;
}

static bool ends_in_double_consonant(const char *w, size_t len) {
    return len >= 2 && w[len - 1] == w[len - 2] && is_consonant(w, len - 1);
}

/* The paper's *o: consonant, vowel, consonant other than w, x, y. NLTK adds words of a vowel and a
 * consonant. */
static bool ends_short(const char *w, size_t len) {
    if (len == 2) {
        return !is_consonant(w, 0) && is_consonant(w, 1);
    }
    return len >= 3 && is_consonant(w, len - 3) && !is_consonant(w, len - 2) &&
           is_consonant(w, len - 1) && !strchr("wxy", w[len - 1]);
}

static bool ends_with(const struct word *w, const char *suffix) {
    size_t n = strlen(suffix);
    return w->len >= n && memcmp(w->at + w->len - n, suffix, n) == 0;
}

/* by is no longer than what it replaces. */
static void replace_end(struct word *w, size_t n, const char *by) {
    size_t m = strlen(by);
    memcpy(w->at + w->len - n, by, m);
    w->len = w->len - n + m;
}

struct rule {
    const char *suffix;
    const char *by;
};

/* Applies the first rule whose suffix the word has, if what stands before it measures over m. */
static void apply(struct word *w, const struct rule *rules, size_t m) {
    for (; rules->suffix; rules++) {
        if (ends_with(w, rules->suffix)) {
            size_t n = strlen(rules->suffix);
            if (measure(w->at, w->len - n) > m) {
                replace_end(w, n, rules->by);
            }
            return;
        }
    }
}

static void plurals(struct word *w) {
    if (ends_with(w, "sses")) {
        w->len -= 2;
    } else if (ends_with(w, "ies")) {
        w->len -= w->len == 4 ? 1 : 2; /* ties: tie; flies: fli */
    } else if (ends_with(w, "s") && !ends_with(w, "ss")) {
        w->len--;
    }
}

/* What a word that lost -ed or -ing gets back, or loses too. */
static void mend_past(struct word *w) {
    if (ends_with(w, "at") || ends_with(w, "bl") || ends_with(w, "iz")) {
        w->at[w->len++] = 'e';
    } else if (ends_in_double_consonant(w->at, w->len)) {
        w->len -= strchr("lsz", w->at[w->len - 1]) == NULL;
    } else if (measure(w->at, w->len) == 1 && ends_short(w->at, w->len)) {
        w->at[w->len++] = 'e';
    }
}

static void past_forms(struct word *w) {
    if (ends_with(w, "ied")) {
        w->len -= w->len == 4 ? 1 : 2; /* died: die; spied: spi */
    } else if (ends_with(w, "eed")) {
        w->len -= measure(w->at, w->len - 3) > 0;
    } else if (ends_with(w, "ed") && has_vowel(w->at, w->len - 2)) {
        w->len -= 2;
        mend_past(w);
    } else if (ends_with(w, "ing") && has_vowel(w->at, w->len - 3)) {
        w->len -= 3;
        mend_past(w);
    }
}

/* happy: happi; but not say, cry of the paper's rule */
static void final_y(struct word *w) {
    if (ends_with(w, "y") && w->len > 2 && is_consonant(w->at, w->len - 2)) {
        w->at[w->len - 1] = 'i';
    }
}

static void double_suffixes(struct word *w) {
    static const struct rule rules[] = {
        {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},
        {"izer", "ize"},    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"},
        {"eli", "e"},       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},
        {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"},
        {"ousness", "ous"}, {"aliti", "al"},    {"iviti", "ive"},   {"biliti", "ble"},
        {"fulli", "ful"},   {NULL, NULL},
    };
    if (ends_with(w, "alli") && measure(w->at, w->len - 4) > 0) {
        w->len -= 2; /* -alli is -al, which may end another suffix */
        double_suffixes(w);
    } else if (ends_with(w, "logi")) {
        w->len -= measure(w->at, w->len - 3) > 0; /* the l belongs to what is measured */
    } else {
        apply(w, rules, 0);
    }
}

static void simple_suffixes(struct word *w) {
    static const struct rule rules[] = {
        {"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
        {"ical", "ic"},  {"ful", ""},   {"ness", ""},    {NULL, NULL},
    };
    apply(w, rules, 0);
}

static void long_suffixes(struct word *w) {
    static const struct rule rules[] = {
        {"al", ""},   {"ance", ""}, {"ence", ""}, {"er", ""},    {"ic", ""},
        {"able", ""}, {"ible", ""}, {"ant", ""},  {"ement", ""}, {"ment", ""},
        {"ent", ""},  {"ou", ""},   {"ism", ""},  {"ate", ""},   {"iti", ""},
        {"ous", ""},  {"ive", ""},  {"ize", ""},  {NULL, NULL},
    };
    if (ends_with(w, "ion")) {
        bool follows = w->len > 3 && strchr("st", w->at[w->len - 4]);
        w->len -= follows && measure(w->at, w->len - 3) > 1 ? 3 : 0;
    } else {
        apply(w, rules, 1);
    }
}

static void final_e(struct word *w) {
    if (ends_with(w, "e")) {
        size_t m = measure(w->at, w->len - 1);
        w->len -= m > 1 || (m == 1 && !ends_short(w->at, w->len - 1));
    }
}

static void final_double_l(struct word *w) {
    if (ends_with(w, "ll")) {
        w->len -= measure(w->at, w->len - 1) > 1;
    }
}

static bool is_irregular(struct word *w) {
    static const struct rule words[] = {
        {"skies", "sky"},       {"sky", "sky"},          {"dying", "die"},
        {"lying", "lie"},       {"tying", "tie"},        {"news", "news"},
        {"innings", "inning"},  {"inning", "inning"},    {"outings", "outing"},
        {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
        {"howe", "howe"},       {"proceed", "proceed"},  {"exceed", "exceed"},
        {"succeed", "succeed"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].suffix) == w->len && ends_with(w, words[i].suffix)) {
            replace_end(w, w->len, words[i].by);
            return true;
        }
    }
    return false;
}

size_t porter_stem(char *word, size_t len) {
    struct word w = {.len = len};
    w.at = word;
    if (len <= 2 || is_irregular(&w)) {
        return w.len;
    }
    plurals(&w);
    past_forms(&w);
    final_y(&w);
    double_suffixes(&w);
    simple_suffixes(&w);
    long_suffixes(&w);
    final_e(&w);
    final_double_l(&w);
    return w.len;
}
