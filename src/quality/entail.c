#include "quality/entail.h"

#include "quality/prompt.h"
#include "quality/score.h"
#include "quality/text.h"
#include "stats/softmax.h"

#include <math.h>
#include <string.h>

static char ascii_lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool begins_with(const char *name, const char *word) {
    while (*word && ascii_lower(*name) == *word) {
        name++;
        word++;
    }
    return *word == '\0';
}

void entail_find_labels(const char *const *names, size_t n, struct entail_labels *out) {
    *out = (struct entail_labels){-1, -1};
    for (size_t i = 0; i < n; i++) {
        if (begins_with(names[i], "entail")) { /* not "not_entailment" */
            out->entailment = (int)i;
        } else if (begins_with(names[i], "contradict")) {
            out->contradiction = (int)i;
        }
    }
}

int entail_check_labels(const struct entail_labels *l, enum task_kind kind, const char *path,
                        struct err *e) {
    const char *missing = kind == TASK_RAG && l->entailment < 0       ? "entailment"
                          : kind == TASK_SUMM && l->contradiction < 0 ? "contradiction"
                                                                      : NULL;
    if (missing) {
        return err_set(e, EE_UNSUPPORTED, "%s has no label \"%s\", which the task %s is scored by",
                       path, missing, task_kind_name(kind));
    }
    return 0;
}

int entail_ask(const struct task_item *item, const char *answer, struct buf *hypothesis,
               bool *decided, double *value, struct err *e) {
    *decided = false;
    if (item->kind == TASK_RAG && (text_is_blank(answer) || score_is_no_answer(TASK_RAG, answer))) {
        *decided = true;
        *value = item->unanswerable ? 1 : 0;
    } else if (item->kind == TASK_RAG) {
        buf_addf(hypothesis, "%s %s", item->question, answer);
    } else if (item->kind == TASK_SUMM && text_is_blank(answer)) {
        *decided = true;
        *value = 0;
    } else if (item->kind == TASK_SUMM) {
        buf_addstr(hypothesis, answer);
    } else {
        return err_set(e, EE_UNSUPPORTED, "entailment does not score the task %s",
                       task_kind_name(item->kind));
    }
    return buf_check(hypothesis, "a hypothesis", e);
}

static size_t stride_of(size_t room) {
    return room - room / 4;
}

size_t entail_n_windows(size_t n, size_t room) {
    return n <= room ? 1 : 1 + (n - room + stride_of(room) - 1) / stride_of(room);
}

struct entail_window entail_window_at(size_t n, size_t room, size_t i) {
    if (n <= room) {
        return (struct entail_window){0, n};
    }
    size_t begin = i * stride_of(room);
    /* The last one is full too: a model sees little in a tail of a few words. */
    return (struct entail_window){begin + room <= n ? begin : n - room, room};
}

struct entail_view entail_view_of(const float *logits, size_t n, const struct entail_labels *l) {
    struct entail_view v = {0, 0};
    if (l->entailment >= 0) {
        v.entailment = exp(stats_log_softmax(logits, n, (size_t)l->entailment));
    }
    if (l->contradiction >= 0) {
        v.contradiction = exp(stats_log_softmax(logits, n, (size_t)l->contradiction));
    }
    return v;
}

/* What is not a number must not be lost to one that is. */
static double larger(double a, double b) {
    return b > a || isnan(b) ? b : a;
}

void entail_join(struct entail_view *all, const struct entail_view *window) {
    all->entailment = larger(all->entailment, window->entailment);
    all->contradiction = larger(all->contradiction, window->contradiction);
}

double entail_value(enum task_kind kind, const struct entail_view *all) {
    return kind == TASK_SUMM ? 1 - all->contradiction : all->entailment;
}

/* ---- controls ---- */

const struct entail_control entail_controls[] = {
    {"The shop opens at nine and closes at five.", "The shop opens at nine."},
    {"Anna sold her old car to her brother.", "Anna's brother bought a car."},
    {"All four engines were replaced in May.", "The engines were replaced."},
    {"The shop opens at nine and closes at five.", "The shop is open all night."},
    {"Anna sold her old car to her brother.", "Anna still owns that old car."},
    {"No visitor was hurt in the fire.", "Several visitors were hurt in the fire."},
    {"The shop opens at nine and closes at five.", "The owner of the shop has two sons."},
    {"All four engines were replaced in May.", "The pilot likes chess."},
};
const size_t n_entail_controls = sizeof(entail_controls) / sizeof(entail_controls[0]);

/* The first three are entailed, the next three contradicted, the rest neither. */
bool entail_control_is_right(size_t i, const struct entail_labels *l, const struct entail_view *v) {
    if (l->entailment >= 0 && (v->entailment >= 0.5) != (i < 3)) {
        return false;
    }
    return l->contradiction < 0 || (v->contradiction >= 0.5) == (i >= 3 && i < 6);
}

/* ---- asked in words ---- */

const char *const entail_words[ENTAIL_WORDS] = {"entailment", "contradiction", "neutral"};

const char entail_system[] =
    "You decide what a text says about a claim. Reply with one word: entailment if the text says "
    "that the claim is true, contradiction if the text says that it is false, neutral if the text "
    "does not say.";

void entail_prompt(const char *premise, const char *hypothesis, struct buf *out) {
    const struct prompt_field fields[] = {{"premise", premise}, {"hypothesis", hypothesis}};
    prompt_fill("Text: {premise}\n\nClaim: {hypothesis}\n\nOne word (entailment, contradiction or "
                "neutral):",
                fields, 2, out);
}
