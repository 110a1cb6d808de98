/*
 * What a model is told for each task: one table. The words are part of every result, so a change
 * of any of them changes PROMPT_VERSION, which enters the keys of the stages that use them.
 */
#ifndef QUALITY_PROMPT_H
#define QUALITY_PROMPT_H

#include "base/buf.h"
#include "quality/task.h"

#include <stddef.h>

#define PROMPT_VERSION "1"

struct prompt {
    const char *system;    /* sent first; in chat only where the item has none of its own */
    const char *user;      /* with {field} in it; NULL: the item brings its own messages */
    const char *no_answer; /* what the model is asked to say where the context has no answer;
                              NULL: the task has no such case */
};

struct prompt_field {
    const char *name;
    const char *text;
};

const struct prompt *prompt_for(enum task_kind kind);
/* Appends text with each {name} replaced. What a field brings is not searched again, so braces in
 * the data stay. Out of memory is told by buf_check on out. */
void prompt_fill(const char *text, const struct prompt_field *fields, size_t n_fields,
                 struct buf *out);

#endif
