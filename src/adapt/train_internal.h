/* What the files of a training share. */
#ifndef ADAPT_TRAIN_INTERNAL_H
#define ADAPT_TRAIN_INTERNAL_H

#include "adapt/optim.h"
#include "adapt/train.h"
#include "adapt/train_batches.h"

/* Where a training is; kept in checkpoints. */
struct train_state {
    int64_t step;    /* done */
    int64_t epoch;   /* from 0 */
    size_t micro;    /* the next micro-batch of the epoch */
    int64_t n_micro; /* micro-batches ever begun in done steps: dropout's clock */
    int64_t n_tokens;
    int64_t n_loss_tokens;
    double first_validation; /* before the first step; NaN without validation, as the next */
    double best_validation;
    int64_t worse_in_a_row; /* evaluations since the best */
    bool stopped_early;
    struct train_point *curve;
    size_t n_curve;
    size_t cap_curve;
};

struct trainer {
    const struct train_opts *opts;
    char *checkpoint_path;
    enum schedule schedule;
    unsigned modules;
    enum ggml_type matrices;
    bool base_in_blocks; /* as it will be held */
    json_t *settings;    /* with what the inputs were: two trainings with equal ones are equal */

    struct train_rows rows;
    size_t *train_rows;
    size_t *validation_rows;
    struct batching batching;
    struct batching validation;
    int64_t n_steps; /* of the whole training */
    int64_t n_warmup;

    struct device device;
    struct base_model model;
    struct lora lora;
    struct pass *pass;
    struct optim *optim;
    struct pass_limits limits;
    struct batch_memory *memory;
    float *losses;      /* of one micro-batch */
    float *best_params; /* of the best validation loss; NULL where nothing asks for them */

    struct train_state state;
    struct train_result *result;
    int64_t resumed_tokens; /* of state.n_tokens, from before this process */
    int64_t train_ns;
    int64_t first_step_ns; /* of train_ns */
    int64_t phase_ns[TRAIN_PHASES];
    struct arena arena;
};

int train_tell_stage(const struct train_opts *o, enum train_stage s, struct err *e) EE_MUST_CHECK;

/* train_setup.c: rows, device, memory check, model. */
int trainer_open(struct trainer *t, const struct train_opts *o, struct train_result *result,
                 struct err *e) EE_MUST_CHECK;
void trainer_close(struct trainer *t);

/* train_loop.c: from t->state to the end, or to a stop (EE_STOPPED, checkpoint written). */
int trainer_run(struct trainer *t, struct err *e) EE_MUST_CHECK;

/* train_state.c */
int train_state_save(struct trainer *t, struct err *e) EE_MUST_CHECK;
int train_state_load(struct trainer *t, struct err *e) EE_MUST_CHECK;
int train_state_add_point(struct train_state *s, const struct train_point *p,
                          struct err *e) EE_MUST_CHECK;

#endif
