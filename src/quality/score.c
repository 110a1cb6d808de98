#include "quality/score.h"

#include "quality/choice.h"
#include "quality/chrf.h"
#include "quality/judge.h"
#include "quality/prompt.h"
#include "quality/squad.h"
#include "quality/text.h"

#include <math.h>
#include <string.h>

static scorer_fn score_em;
static scorer_fn score_f1;
static scorer_fn score_rouge;
static scorer_fn score_chrf;
static scorer_fn score_choice;

#define UNIT_RANGE .low = 0, .high = 1
#define JUDGE_RANGE .low = JUDGE_LOWEST, .high = JUDGE_HIGHEST
#define LIKE_REFERENCE(label)                                                                      \
    { [TASK_SUMM] = (label), [TASK_CHAT] = label " against the reference" }

static const struct scorer scorers[] = {
    {
        .id = "entailment",
        .about = "Probability that the context entails the answer.",
        UNIT_RANGE,
        .labels = {[TASK_RAG] = "entailment"},
        .primary = {[TASK_RAG] = true},
        .source = SCORED_BY_ENTAILMENT,
    },
    {
        .id = "non_contradiction",
        .about = "Probability that the document does not contradict the summary.",
        UNIT_RANGE,
        .labels = {[TASK_SUMM] = "non-contradiction"},
        .primary = {[TASK_SUMM] = true},
        .source = SCORED_BY_ENTAILMENT,
    },
    {
        .id = "helpfulness",
        .about = "A judge's grade of how helpful the answer is.",
        JUDGE_RANGE,
        .labels = {[TASK_CHAT] = "helpfulness"},
        .primary = {[TASK_CHAT] = true},
        .source = SCORED_BY_JUDGE,
    },
    {
        .id = "safety",
        .about = "A judge's grade of how harmless the answer is.",
        JUDGE_RANGE,
        .labels = {[TASK_CHAT] = "safety"},
        .source = SCORED_BY_JUDGE,
    },
    {
        .id = "preference",
        .about = "Whether a judge prefers the answer to the reference, in both orders.",
        UNIT_RANGE,
        .labels = {[TASK_CHAT] = "preferred to the reference"},
        .on_request = true,
        .source = SCORED_BY_JUDGE,
    },
    {
        .id = "similarity",
        .about = "Cosine between the answer's and the reference's vectors by an embedding model.",
        .low = -1,
        .high = 1,
        .labels = LIKE_REFERENCE("similarity"),
        .source = SCORED_BY_SIMILARITY,
    },
    {
        .id = "acc_norm",
        .about = "Whether the model finds the right choice the likeliest for its length.",
        UNIT_RANGE,
        .labels = {[TASK_CHOICE] = "accuracy by likelihood and length"},
        .primary = {[TASK_CHOICE] = true},
        .source = SCORED_BY_LIKELIHOOD,
    },
    {
        .id = "acc",
        .about = "Whether the model finds the right choice the likeliest.",
        UNIT_RANGE,
        .labels = {[TASK_CHOICE] = "accuracy by likelihood"},
        .source = SCORED_BY_LIKELIHOOD,
    },
    {
        .id = "choice",
        .about = "Whether the answer names the right choice, by letter or words.",
        UNIT_RANGE,
        .labels = {[TASK_CHOICE] = "accuracy of answers"},
        .stands_in = {[TASK_CHOICE] = true},
        .score = score_choice,
    },
    {
        .id = "reference_logp",
        .about = "Mean log-probability of the reference's tokens after the prompt, in nats.",
        .low = -INFINITY,
        .high = 0,
        .labels = {[TASK_RAG] = "reference log-probability",
                   [TASK_SUMM] = "reference log-probability",
                   [TASK_CHAT] = "reference log-probability"},
        .on_request = true,
        .source = SCORED_BY_LIKELIHOOD,
    },
    {
        .id = "em",
        .about = "Share of answers equal to a right one after SQuAD's normalization.",
        UNIT_RANGE,
        .labels = {[TASK_RAG] = "exact match"},
        .score = score_em,
    },
    {
        .id = "f1",
        .about = "Words shared with the closest right answer, as SQuAD 2.0 counts them.",
        UNIT_RANGE,
        .labels = {[TASK_RAG] = "token F1"},
        .stands_in = {[TASK_RAG] = true},
        .score = score_f1,
    },
    {
        .id = "rouge1",
        .about = "F-measure of the words shared with the reference.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-1"),
        .score = score_rouge,
        .rouge = {ROUGE_1},
    },
    {
        .id = "rouge2",
        .about = "F-measure of the pairs of adjacent words shared with the reference.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-2"),
        .score = score_rouge,
        .rouge = {ROUGE_2},
    },
    {
        .id = "rougeL",
        .about = "F-measure of the longest sequence of words in common with the reference.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-L"),
        .stands_in = {[TASK_SUMM] = true, [TASK_CHAT] = true},
        .score = score_rouge,
        .rouge = {ROUGE_L},
    },
    {
        .id = "rougeLsum",
        .about = "ROUGE-L line by line, for references of several sentences.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-Lsum"),
        .on_request = true,
        .score = score_rouge,
        .rouge = {ROUGE_LSUM},
    },
    {
        .id = "rouge1-stem",
        .about = "ROUGE-1 of word stems.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-1 (stemmed)"),
        .on_request = true,
        .score = score_rouge,
        .rouge = {ROUGE_1, true},
    },
    {
        .id = "rouge2-stem",
        .about = "ROUGE-2 of word stems.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-2 (stemmed)"),
        .on_request = true,
        .score = score_rouge,
        .rouge = {ROUGE_2, true},
    },
    {
        .id = "rougeL-stem",
        .about = "ROUGE-L of word stems.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-L (stemmed)"),
        .on_request = true,
        .score = score_rouge,
        .rouge = {ROUGE_L, true},
    },
    {
        .id = "rougeLsum-stem",
        .about = "ROUGE-Lsum of word stems.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("ROUGE-Lsum (stemmed)"),
        .on_request = true,
        .score = score_rouge,
        .rouge = {ROUGE_LSUM, true},
    },
    {
        .id = "chrf",
        .about = "Runs of one to six characters shared with the reference, in any script.",
        UNIT_RANGE,
        .labels = LIKE_REFERENCE("chrF"),
        .on_request = true,
        .score = score_chrf,
    },
};

size_t scorer_count(void) {
    return sizeof(scorers) / sizeof(scorers[0]);
}

const struct scorer *scorer_at(size_t i) {
    return &scorers[i];
}

const struct scorer *scorer_find(const char *id) {
    for (size_t i = 0; i < scorer_count(); i++) {
        if (strcmp(scorers[i].id, id) == 0) {
            return &scorers[i];
        }
    }
    return NULL;
}

const struct scorer *scorer_primary(enum task_kind kind) {
    for (size_t i = 0; i < scorer_count(); i++) {
        if (scorers[i].primary[kind]) {
            return &scorers[i];
        }
    }
    return NULL;
}

const struct scorer *scorer_stand_in(enum task_kind kind) {
    for (size_t i = 0; i < scorer_count(); i++) {
        if (scorers[i].stands_in[kind]) {
            return &scorers[i];
        }
    }
    return NULL;
}

static size_t len_without_period(const char *s, size_t len) {
    return len > 0 && s[len - 1] == '.' ? len - 1 : len;
}

static char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool equal_in_any_case(const char *a, const char *b, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (ascii_lower(a[i]) != ascii_lower(b[i])) {
            return false;
        }
    }
    return true;
}

bool score_is_no_answer(enum task_kind kind, const char *text) {
    const char *phrase = prompt_for(kind)->no_answer;
    if (!phrase) {
        return false;
    }
    size_t len = strlen(text);
    text = text_trim(text, &len);
    len = len_without_period(text, len);
    return len == len_without_period(phrase, strlen(phrase)) &&
           equal_in_any_case(text, phrase, len);
}

int score_item(const struct scorer *s, const struct task_item *item, const char *prediction,
               double *value, struct err *e) {
    if (!s->labels[item->kind]) {
        return err_set(e, EE_UNSUPPORTED, "%s does not score the task %s", s->id,
                       task_kind_name(item->kind));
    }
    if (s->source != SCORED_BY_TEXT) {
        return err_set(e, EE_UNSUPPORTED, "%s is scored by a model, not by comparing texts", s->id);
    }
    if (!prediction) {
        return err_set(e, EE_MISSING, "item %s has no answer to score", item->id);
    }
    return s->score(s, item, score_is_no_answer(item->kind, prediction) ? "" : prediction, value,
                    e);
}

static int score_em(const struct scorer *s, const struct task_item *item, const char *prediction,
                    double *value, struct err *e) {
    (void)s;
    struct squad_value v;
    int rc = squad_score(item->golds, item->n_golds, prediction, &v, e);
    *value = v.em;
    return rc;
}

static int score_f1(const struct scorer *s, const struct task_item *item, const char *prediction,
                    double *value, struct err *e) {
    (void)s;
    struct squad_value v;
    int rc = squad_score(item->golds, item->n_golds, prediction, &v, e);
    *value = v.f1;
    return rc;
}

/* The F-measure against the closest gold. */
static int score_rouge(const struct scorer *s, const struct task_item *item, const char *prediction,
                       double *value, struct err *e) {
    double best = 0;
    for (size_t i = 0; i < item->n_golds; i++) {
        struct rouge_value v;
        int rc = rouge_score(s->rouge.kind, s->rouge.stem, item->golds[i], prediction, &v, e);
        if (rc) {
            return rc;
        }
        best = v.fmeasure > best ? v.fmeasure : best;
    }
    *value = best;
    return 0;
}

static int score_chrf(const struct scorer *s, const struct task_item *item, const char *prediction,
                      double *value, struct err *e) {
    (void)s;
    return chrf_score(item->golds, item->n_golds, prediction, value, e);
}

static int score_choice(const struct scorer *s, const struct task_item *item,
                        const char *prediction, double *value, struct err *e) {
    (void)s;
    (void)e;
    *value = choice_named(item, prediction) == (int)item->right;
    return 0;
}
