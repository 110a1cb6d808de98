#include "quality/prompt.h"

#include <string.h>

/* Short and direct: the smallest models in use have 135M parameters and follow one instruction,
 * best when it is repeated where the answer starts. A number of words keeps them from answering in
 * sentences; "few words" does not. SQuAD's answers have three words on average. */
static const struct prompt prompts[TASK_KINDS] = {
    [TASK_RAG] =
        {
            .system = "Copy the answer to the question from the context, in at most five words. "
                      "If the answer is not in the context, reply: No answer.",
            .user = "Context: {context}\n\nQuestion: {question}\nAnswer in at most five words:",
            .no_answer = "No answer.",
        },
    [TASK_SUMM] =
        {
            .system = "Summarize the document in one short sentence.",
            .user = "Document: {document}\n\nSummary in one sentence:",
        },
    [TASK_CHAT] =
        {
            .system = "You are a helpful assistant.",
        },
    [TASK_CHOICE] =
        {
            .system = "Pick the right choice. Reply with its letter alone.",
            .user = "{question}\n\n{choices}\nLetter of the right choice:",
        },
};

const struct prompt *prompt_for(enum task_kind kind) {
    return &prompts[kind];
}

static const struct prompt_field *field_at(const char *s, const struct prompt_field *fields,
                                           size_t n_fields) {
    for (size_t i = 0; i < n_fields; i++) {
        size_t len = strlen(fields[i].name);
        if (s[0] == '{' && strncmp(s + 1, fields[i].name, len) == 0 && s[1 + len] == '}') {
            return &fields[i];
        }
    }
    return NULL;
}

void prompt_fill(const char *text, const struct prompt_field *fields, size_t n_fields,
                 struct buf *out) {
    while (*text) {
        const struct prompt_field *f = field_at(text, fields, n_fields);
        if (f) {
            buf_addstr(out, f->text);
            text += strlen(f->name) + 2;
        } else {
            buf_addch(out, *text++);
        }
    }
}
