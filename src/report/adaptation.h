/*
 * What adapting took, in plain sentences: a line a training with its tokens, joules by phase, memory and
 * losses, and a line for each model and task that has both, QLoRA against LoRA.
 *
 * Load, steps and save each have an energy window. Forward, backward and optimiser do not: they take
 * turns within the steps faster than windows can be metered, so their joules are refused and their
 * seconds given.
 */
#ifndef REPORT_ADAPTATION_H
#define REPORT_ADAPTATION_H

#include "report/collect.h"

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>

/* None where the run adapted nothing. In the arena. */
int adaptation_lines(const struct report_run *run, struct arena *a, const char ***out, size_t *n,
                     struct err *e) EE_MUST_CHECK;

#endif
