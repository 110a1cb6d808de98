/*
 * What the runs come to, in plain sentences: which deployment to take for each task, what it saves or
 * why it never pays, and how sure that is.
 *
 * Acceptable is what is known to keep its fp16's score (Q_ret of profile full, within the margin), the
 * fp16 variant itself included, unless another kind (model, method, engine, device) of an acceptable
 * variant is shown to answer better. Of these the one whose accepted answer is cheapest is named, or
 * the one whose requests take the least energy where no cost is known. A lead that no interval
 * supports is called that, every figure comes with its label, and what cannot be said is replaced by
 * the reason.
 */
#ifndef REPORT_VERDICT_H
#define REPORT_VERDICT_H

#include "report/collect.h"

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>

enum verdict_part { VERDICT_WHICH, VERDICT_PAYS, VERDICT_SURE, VERDICT_PARTS };
/* "Which one", "Does it pay", "How sure". */
const char *verdict_part_title(enum verdict_part part);

/* In the arena. */
struct verdict_text {
    const char *brief[VERDICT_PARTS]; /* one sentence each, over all tasks; NULL without variants */
    /* One sentence or two about each task; all the same are said once. */
    const char **items[VERDICT_PARTS];
    size_t n[VERDICT_PARTS];
};

int verdict_write(const struct report_run *const *runs, size_t n, struct arena *a,
                  struct verdict_text *out, struct err *e) EE_MUST_CHECK;

#endif
