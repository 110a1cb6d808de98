/* Inside src/report: the parts of the verdict. */
#ifndef REPORT_VERDICT_IMPL_H
#define REPORT_VERDICT_IMPL_H

#include "report/compare_impl.h"
#include "report/summary.h"
#include "report/verdict.h"

#include "base/buf.h"

/* One task's part in the verdict. */
struct choice {
    const struct compare_group *g;
    enum compare_axis axis; /* what "cheapest" is judged by; COMPARE_AXES: no figure for it */
    const struct compare_variant *taken;    /* NULL: none is acceptable */
    const struct compare_variant *cheapest; /* of all that were scored; NULL: none has a figure */
    const struct compare_variant *rival;    /* the next acceptable one on the axis; NULL */
    struct compare_change lead;             /* of taken over rival */
    size_t n_scored, n_acceptable;
};

/* Which of the group's variants to take. */
int verdict_choose(const struct compare_group *g, struct choice *k, struct err *e) EE_MUST_CHECK;
bool verdict_is_scored(const struct compare_variant *c);
/* Known to be within the margin of Q_ret, or the fp16 one itself. */
bool verdict_keeps_score(const struct compare_variant *c);
/* On k's axis; anything is cheaper than NULL. */
bool verdict_is_cheaper(const struct choice *k, const struct compare_variant *x,
                        const struct compare_variant *than);
/* The row of profile full. */
const struct metric_row *verdict_full(const struct compare_variant *c, const char *metric);

/* Of which it is asked whether it pays; NULL: none. */
const struct compare_variant *verdict_asked(const struct choice *k);
/* Whether that pays. */
enum payment {
    PAYS, /* the saving is above nothing, by its interval */
    PAYS_BY_ESTIMATE,
    PAYS_NEVER,
    PAYS_INCOMPARABLE, /* the API's answers are better */
    PAYS_UNKNOWN,
    PAYMENTS,
};
enum payment verdict_payment(const struct choice *k);
bool verdict_is_untested(
    const struct metric_row *n_break); /* are the answers as good as the API's? */

/* A part of the verdict in one sentence over all tasks. */
void verdict_brief(const struct compare_set *s, const struct choice *choices,
                   enum verdict_part part, struct buf *out);

/* How sure: what energy and scores rest on. */
void verdict_say_energy(const struct report_run *run, bool with_name, struct buf *out);
void verdict_say_sample(const struct compare_set *s, struct buf *out);
/* "each score rests on 20 items" */
void verdict_say_scores(const struct compare_set *s, struct buf *out);

#endif
