#include "lifecycle/judge_ask.h"

/* So many questions without one verdict, and the rest is not worth its price. */
enum { ENOUGH_FAILURES = 16 };

void judge_question_text(const struct judge_question *q, struct buf *out) {
    if (q->is_control) {
        judge_ask_control(q->index, out);
    } else if (q->form == JUDGE_RATE) {
        judge_ask_rating(q->item, q->answer, out);
    } else if (q->is_swapped) {
        judge_ask_better(q->item, q->item->golds[0], q->answer, out);
    } else {
        judge_ask_better(q->item, q->answer, q->item->golds[0], out);
    }
}

static bool end(struct judge_session *s, struct judge_question *q) {
    q->is_asked = true;
    s->n_verdicts += q->failure == NULL;
    s->n_done++;
    s->progress(s->ctx, s->n_done);
    return s->n_verdicts > 0 || s->n_done < ENOUGH_FAILURES;
}

bool judge_settle(struct judge_session *s, struct judge_question *q, const char *said,
                  const char *detail) {
    q->failure = q->form == JUDGE_RATE ? judge_read_rating(said, &q->rating)
                                       : judge_read_better(said, &q->better);
    q->detail = detail;
    return end(s, q);
}

bool judge_settle_failed(struct judge_session *s, struct judge_question *q, const char *kind,
                         const char *detail) {
    q->failure = kind;
    q->detail = detail;
    return end(s, q);
}
