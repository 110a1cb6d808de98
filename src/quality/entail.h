/*
 * Entailment: whether an answer follows from the text it was made from, by a model of natural
 * language inference. This file has everything but the model: what is asked, what its labels mean,
 * and what its probabilities add up to. Pure functions; any thread may call.
 *
 *   rag   probability that the context entails "question answer"; with several windows over a long
 *         context, the largest (support anywhere is support)
 *   summ  1 - probability that the document contradicts the summary; with several windows, of the
 *         largest (one contradiction is enough)
 */
#ifndef QUALITY_ENTAIL_H
#define QUALITY_ENTAIL_H

#include "base/buf.h"
#include "base/err.h"
#include "quality/task.h"

#include <stdbool.h>
#include <stddef.h>

/* Changes with anything here that changes a value; it is part of a result's key. */
#define ENTAIL_VERSION "1"

/* Outputs of a classifier by meaning; -1 where it has none such. */
struct entail_labels {
    int entailment;
    int contradiction;
};

/* Finds the meanings by the labels' names, in any case ("ENTAILMENT", "contradiction"). */
void entail_find_labels(const char *const *names, size_t n, struct entail_labels *out);
/* EE_UNSUPPORTED where the task needs a label that is not there. path names the model. */
int entail_check_labels(const struct entail_labels *l, enum task_kind kind, const char *path,
                        struct err *e) EE_MUST_CHECK;

/*
 * What is asked about an answer. Some answers need no model: then *decided is true and *value the
 * score. In rag, saying that there is no answer is right (1) where the context holds none and wrong
 * (0) where it does; in summ an empty summary scores 0. Otherwise the premise is item->source, and
 * hypothesis receives the claim. EE_UNSUPPORTED for chat, which has no text to follow from.
 */
int entail_ask(const struct task_item *item, const char *answer, struct buf *hypothesis,
               bool *decided, double *value, struct err *e) EE_MUST_CHECK;

/* Where window i of a premise of n tokens begins and how many it has, when room of them fit. Windows
 * overlap by a quarter, so that what is said over two sentences is whole in one. */
struct entail_window {
    size_t begin;
    size_t n;
};
size_t entail_n_windows(size_t n, size_t room);
struct entail_window entail_window_at(size_t n, size_t room, size_t i);

/* Probabilities, of one window or of all joined. */
struct entail_view {
    double entailment;
    double contradiction;
};

/* From the logits of n labels. Missing labels have probability 0. */
struct entail_view entail_view_of(const float *logits, size_t n, const struct entail_labels *l);
/* The view of all windows, with one more. */
void entail_join(struct entail_view *all, const struct entail_view *window);
double entail_value(enum task_kind kind, const struct entail_view *all);

/*
 * Pairs that any model of inference must get right: a classifier read in the wrong order of labels or
 * of texts does not, nor does a model too small for the question. entail_control_is_right says
 * whether a view of pair i is.
 */
struct entail_control {
    const char *premise;
    const char *hypothesis;
};
extern const struct entail_control entail_controls[];
extern const size_t n_entail_controls;
bool entail_control_is_right(size_t i, const struct entail_labels *l, const struct entail_view *v);

/*
 * A causal model instead of a classifier is asked in words, and read by the log-probability of each
 * of these answers, the first of which is entailment and the second contradiction.
 */
enum { ENTAIL_WORDS = 3 };
extern const char *const entail_words[ENTAIL_WORDS];
extern const char entail_system[];
/* The user's message. */
void entail_prompt(const char *premise, const char *hypothesis, struct buf *out);

#endif
