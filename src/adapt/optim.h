/*
 * AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization") over an adapter, with
 * clipping of the gradient's norm, and the learning rate's course.
 */
#ifndef ADAPT_OPTIM_H
#define ADAPT_OPTIM_H

#include "adapt/lora.h"

enum schedule { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_COUNT };
extern const char *const schedule_names[]; /* NULL-terminated */

/* The rate of step (from 1) of n_steps: up in a line over n_warmup steps, then along the schedule to
 * nothing after the last. */
double schedule_rate(enum schedule s, double peak, int64_t step, int64_t n_steps, int64_t n_warmup);

struct optim;

int optim_create(const struct device *d, const struct lora *l, struct optim **out,
                 struct err *e) EE_MUST_CHECK;
void optim_free(struct optim *o);

void optim_clear_gradients(const struct lora *l);

struct optim_step {
    int64_t step; /* from 1 */
    double rate;
    double weight_decay;
    double clip;       /* largest norm; 0: none */
    double loss_scale; /* gradients are so many times too large; 0: they are not */
};

/* One update by the gradients; *norm is theirs before clipping, loss_scale taken out. Where it is not finite, nothing is
 * changed. */
int optim_update(struct optim *o, const struct optim_step *s, double *norm,
                 struct err *e) EE_MUST_CHECK;

#endif
