/*
 * Multiple choice: which choice a model prefers by likelihood, and which one an answer in words
 * names. Pure functions; any thread may call.
 */
#ifndef QUALITY_CHOICE_H
#define QUALITY_CHOICE_H

#include "quality/task.h"

#include <stddef.h>

/* Changes with what is asked of likelihoods; it is part of a result's key. */
#define CHOICE_VERSION "1"

struct choice_value {
    double acc;      /* 1 where the right choice has the largest log-probability */
    double acc_norm; /* the same with each divided by the choice's length in characters, so that
                        long choices do not lose for being long */
};

/* log_p: of each of the item's choices. The first of equals is chosen, as in the reference. */
struct choice_value choice_decide(const struct task_item *item, const double *log_p);

/* The choice that an answer names, by its letter ("B", "(b)", "B. Blue", "B) because") or by its
 * words, whatever their case; -1 where it names none. */
int choice_named(const struct task_item *item, const char *answer);

/* "A" for 0; choices have at most CHOICE_MAX. */
enum { CHOICE_MAX = 26 };
char choice_letter(size_t i);

#endif
