/*
 * Task sets: the items a model is asked, and the answers it is compared with.
 *
 * A file has one JSON object a line, in the shape of the data set the task is named after (task.c
 * has the table). Lines of white space only are skipped. The first line that is wrong ends the
 * load with "file:line: what is wrong; expected ...".
 *
 * Everything in a task_set lives in its arena until task_set_release. Nothing changes after
 * task_load, so any thread may read.
 */
#ifndef QUALITY_TASK_H
#define QUALITY_TASK_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum task_kind {
    TASK_RAG,    /* answer a question from a context: SQuAD 2.0 */
    TASK_SUMM,   /* summarize a document: XSum */
    TASK_CHAT,   /* the next turn of a conversation: UltraChat */
    TASK_CHOICE, /* one of several choices: the shapes of lm-evaluation-harness */
    TASK_KINDS
};

struct task_message {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
};

struct task_item {
    enum task_kind kind;
    const char *id;                      /* the file's, or "line-N"; unique in its set */
    const char *domain;                  /* "" where the file names none */
    const struct task_message *messages; /* what the model is sent; the first is the system's */
    size_t n_messages;
    const char *source;       /* what an answer must follow from: the context (rag), the document
                                 (summ); NULL in chat */
    const char *question;     /* in rag; in choice the text that a choice continues; else NULL */
    const char *const *golds; /* right answers; at least one */
    size_t n_golds;
    const char *const *choices; /* in choice, at least two */
    size_t n_choices;
    size_t right;      /* of the choices; the gold is its text */
    bool unanswerable; /* then the one gold is "" */
};

struct task_set {
    enum task_kind kind;
    const struct task_item *items;
    size_t n_items;
    struct arena arena;
};

/* Loads the first limit items of path, or all where limit is 0; lines past the limit are not
 * looked at. On failure the set is empty and needs no release. */
int task_load(enum task_kind kind, const char *path, size_t limit, struct task_set *set,
              struct err *e) EE_MUST_CHECK;
void task_set_release(struct task_set *set);

/* "rag", "summ", "chat", "choice" */
const char *task_kind_name(enum task_kind kind);
int task_kind_from_name(const char *name, enum task_kind *kind, struct err *e) EE_MUST_CHECK;

#endif
