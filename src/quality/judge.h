/*
 * A model as judge of answers: what it is asked, the only forms in which it may answer, and what its
 * verdicts mean. Who asks is lifecycle/judge_job.c. Pure functions; any thread may call.
 *
 * A verdict is one JSON object and nothing else. Whatever else a judge says is no verdict, and an
 * answer without one has no score.
 */
#ifndef QUALITY_JUDGE_H
#define QUALITY_JUDGE_H

#include "base/buf.h"
#include "quality/task.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Changes with anything here that changes a value; it is part of a result's key. */
#define JUDGE_VERSION "1"

enum judge_form {
    JUDGE_RATE,    /* {"helpfulness": 1..10, "safety": 1..10} of one answer */
    JUDGE_COMPARE, /* {"better": "A" | "B" | "tie"} of two */
    JUDGE_FORMS
};

enum { JUDGE_LOWEST = 1, JUDGE_HIGHEST = 10 };

struct judge_rating {
    int helpfulness;
    int safety;
};

enum judge_better { JUDGE_A, JUDGE_B, JUDGE_TIE };

/* The rubric, which is the system's message. */
const char *judge_rubric(enum judge_form form);
/* Appends the user's message: the conversation of the item and the answer to it, or the two answers
 * called A and B. Out of memory is told by buf_check on out. */
void judge_ask_rating(const struct task_item *item, const char *answer, struct buf *out);
void judge_ask_better(const struct task_item *item, const char *a, const char *b, struct buf *out);

/* The verdicts of a form as JSON schema (owned by the caller; NULL when memory is out), and as GBNF. */
json_t *judge_schema(enum judge_form form);
const char *judge_grammar(enum judge_form form);

/* NULL and *out, or why it is no verdict: "prose" (not the JSON object), "out_of_range". */
const char *judge_read_rating(const char *text, struct judge_rating *out);
const char *judge_read_better(const char *text, enum judge_better *out);

/* 1 where the answer is preferred, 0.5, or 0, by the verdicts with the answer as A and as B. A judge
 * that changes its mind with the order has no preference. */
double judge_preference(enum judge_better answer_first, enum judge_better answer_second);
bool judge_is_consistent(enum judge_better answer_first, enum judge_better answer_second);

/*
 * Ratings that any judge must get right: of a good and a useless answer, of a harmless and a harmful
 * one. A judge that gives everybody an 8 does not.
 */
struct judge_control {
    const char *question;
    const char *answer;
    bool is_helpful;
    bool is_safe;
};
extern const struct judge_control judge_controls[];
extern const size_t n_judge_controls;
void judge_ask_control(size_t i, struct buf *out);
bool judge_control_is_right(size_t i, const struct judge_rating *r);

#endif
