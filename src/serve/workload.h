/*
 * What is asked: prompts from a task set, a file, a trace, or made to length, and the bytes that
 * send them. Everything is made before the load begins and lives in the workload.
 */
#ifndef SERVE_WORKLOAD_H
#define SERVE_WORKLOAD_H

#include "base/arena.h"
#include "base/buf.h"
#include "engine/engine.h"
#include "serve/load.h"
#include "serve/target.h"
#include "serve/trace.h"

#include <jansson.h>

/* "128" or, drawn evenly for each prompt, "64..256". */
struct length_range {
    int from, to;
};

int length_range_parse(const char *text, const char *what, struct length_range *out,
                       struct err *e) EE_MUST_CHECK;

struct workload_opts {
    const char *task;      /* "rag", "summ" or "chat": its items in turn; else NULL */
    const char *data_dir;  /* with task */
    const char *task_file; /* with task: its items, where they are not the project's own; or NULL */
    const char *mark; /* with task: stands before each prompt, so that no server's cache has it */
    const char *prompts; /* JSONL: {"messages": [...]} or {"prompt": "..."}, and, if wanted,
                             "max_tokens" and "turns": ["next question", ...]; else NULL */
    const char *trace;   /* trace.h; else NULL */
    double trace_speed;
    struct length_range input;      /* synthetic: tokens of the whole prompt, template included */
    struct length_range output;     /* max_tokens */
    int prefix_tokens;              /* synthetic: shared words at the start */
    int prefix_groups;              /* so many different prefixes [1] */
    size_t n;                       /* prompts to make, or to take at most; 0: all of a file */
    int turns;                      /* synthetic conversations: user turns [1] */
    struct length_range turn_input; /* of each turn behind the first, in words */
    double think_s;                 /* before each of them */
    bool force_length; /* ask the server to go on past the end of an answer (ignore_eos) */
    bool send_ids;     /* text completions: token ids in place of text */
    double temperature;
    uint64_t seed;
    const char *model;         /* name in requests */
    const char *extra;         /* a JSON object whose members go into every request; or NULL */
    const char *auth;          /* header line or NULL */
    struct engine *vocabulary; /* borrowed; NULL: lengths are in words */
};

struct ask {
    const char *id;
    json_t *messages; /* chat, owned; NULL for text */
    const char *text; /* of text completions */
    int32_t *tokens;  /* with a vocabulary: what the model sees */
    size_t n_tokens;  /* 0: not known */
    int max_tokens;
    const json_t *turns; /* borrowed from turns_owner */
    json_t *turns_owner;
};

struct workload {
    struct workload_opts opts;
    struct target target;
    struct ask *prompts;
    struct payload *payloads; /* one a prompt */
    size_t n;
    int64_t *arrivals;       /* of a trace: one a prompt; else NULL */
    bool lengths_are_tokens; /* counted with the vocabulary, not words */
    size_t n_skipped;        /* rows of a trace without input or output */
    char description[200];
    struct arena arena;
};

/* Whether the options say what to ask, and fit together; workload_make looks too. */
int workload_check(const struct workload_opts *o, enum api api, struct err *e) EE_MUST_CHECK;
/* The target may be empty (for in-process runs): no payloads then. */
int workload_make(const struct workload_opts *opts, const struct target *target, struct workload *w,
                  struct err *e) EE_MUST_CHECK;
void workload_release(struct workload *w);
/*
 * Appends the prompts as JSONL that opts.prompts reads back, with "prompt_ids" where a vocabulary
 * counted them.
 */
int workload_jsonl(const struct workload *w, struct buf *out, struct err *e) EE_MUST_CHECK;
/* Whether any prompt is a conversation of several turns. */
bool workload_has_turns(const struct workload *w);
/* load.follow_up for this workload, which is its context. */
/* load.has_turn: whether its conversation has another turn, if the answer can be read. */
bool workload_has_turn(void *workload, const struct record *r);
bool workload_follow_up(void *workload, const struct record *r, struct follow_up *out);

#endif
