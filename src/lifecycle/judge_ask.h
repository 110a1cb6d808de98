/*
 * Questions to a judge, and the two who can be asked: a service, and a model file in this process. Each
 * question ends with a verdict or with one reason why there is none.
 */
#ifndef LIFECYCLE_JUDGE_ASK_H
#define LIFECYCLE_JUDGE_ASK_H

#include "lifecycle/worker.h"
#include "quality/judge.h"

struct judge_question {
    enum judge_form form;
    int pass;        /* decides its seed */
    bool is_control; /* judge_controls[index]; else answer index of the job */
    bool is_swapped; /* JUDGE_COMPARE: the answer is B */
    size_t index;
    const struct task_item *item; /* NULL for a control */
    const char *answer;

    bool is_asked;
    const char *failure; /* kind of it; NULL: there is a verdict */
    const char *detail;  /* of a failure, in the arena; for people */
    struct judge_rating rating;
    enum judge_better better;
};

struct judge_session {
    const json_t *args; /* of the job: "judge", "engine", "seed" */
    struct judge_question *questions;
    size_t n;
    struct arena *arena;
    void (*progress)(void *ctx, size_t n_done);
    void *ctx;

    /* What came of it. */
    size_t n_done;
    size_t n_verdicts;
    int64_t n_tries;
    int64_t n_replies;     /* that took tokens */
    int64_t n_counted;     /* of them, those whose tokens are known */
    int64_t prompt_tokens; /* as the service counts, or as computed here */
    int64_t output_tokens;
    const char *served_by; /* the model's name by the service; NULL: it said none */
};

/* Appends the user's message. */
void judge_question_text(const struct judge_question *q, struct buf *out);
/* Ends a question with what the judge said (detail: the same, as it may be shown), or with why it said
 * nothing. False when enough were asked to know that this judge gives no verdicts. */
bool judge_settle(struct judge_session *s, struct judge_question *q, const char *said,
                  const char *detail);
bool judge_settle_failed(struct judge_session *s, struct judge_question *q, const char *kind,
                         const char *detail);

int judge_ask_service(struct judge_session *s, struct err *e) EE_MUST_CHECK;
int judge_ask_file(struct judge_session *s, struct err *e) EE_MUST_CHECK;

#endif
