/*
 * What a model is trained on: task items as token rows, in the prompts and the template that the
 * same task is served with, each with the answer the model should give.
 */
#ifndef ADAPT_TRAIN_ROWS_H
#define ADAPT_TRAIN_ROWS_H

#include "base/arena.h"
#include "base/err.h"
#include "quality/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct train_row {
    const char *id;
    const int32_t *tokens; /* prompt, then answer */
    int n_tokens;
    int n_prompt;
};

struct train_rows {
    struct train_row *rows;
    size_t n;
    size_t n_left_out; /* too long, and left out as asked */
    int longest;       /* tokens */
    int64_t n_tokens;
    char hash[33]; /* of all tokens: other rows or another tokenizer, another hash */
    struct arena arena;
};

/*
 * Loads a task file (its first limit rows; 0: all) and tokenizes it with the model's vocabulary. A row
 * of more than max_tokens (0: the model's context) is refused, naming the first such row and how many
 * there are; with skip_long it is left out and counted.
 */
int train_rows_load(const char *model_path, enum task_kind kind, const char *data_path,
                    size_t limit, int max_tokens, bool skip_long, struct train_rows *out,
                    struct err *e) EE_MUST_CHECK;
void train_rows_release(struct train_rows *r);

/* Items of `train` whose messages are also an item of `eval`. */
int train_overlap(enum task_kind kind, const char *train_path, const char *eval_path, size_t *n,
                  struct err *e) EE_MUST_CHECK;

#endif
