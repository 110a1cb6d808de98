/*
 * Fine-tuning from a model file and a task file to an adapter file.
 *
 *   rows -> micro-batches -> passes -> AdamW -> adapter          (checkpoints beside it)
 *
 * Given equal inputs and settings, a training repeats itself bit for bit on a CPU, whatever the
 * number of threads and however often it was stopped and resumed. One thread at a time; the engine's
 * backends are started when needed.
 */
#ifndef ADAPT_TRAIN_H
#define ADAPT_TRAIN_H

#include "base/arena.h"
#include "base/err.h"
#include "quality/task.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum train_phase {
    TRAIN_LOAD,
    TRAIN_FORWARD,
    TRAIN_BACKWARD, /* layers rebuilt from checkpoints included */
    TRAIN_OPTIMISER,
    TRAIN_EVALUATE,
    TRAIN_SAVE,
    TRAIN_PHASES
};
extern const char *const train_phase_names[];

/* Names for --base, NULL-terminated: f32, f16, bf16, q8_0, q4_0, q4_1, q4_k, iq4_nl. */
extern const char *const train_base_names[];

/* A point of the loss curve. */
struct train_point {
    int64_t step;  /* from 1 */
    int64_t epoch; /* from 1 */
    double loss;   /* mean over the step's supervised tokens */
    double rate;
    double norm;            /* of the gradient, before clipping */
    double validation_loss; /* after the step; NaN where it was not measured */
};

struct train_progress {
    struct train_point point;
    int64_t n_steps;
    int64_t n_tokens; /* computed so far, in this process */
    double elapsed_s; /* so far in training, in this process */
    double eta_s;
};

/* What is known before the first step. */
struct train_start {
    const char *device;
    const char *base_type;
    int64_t n_rows;
    int64_t n_validation;
    int64_t n_left_out; /* too long */
    int64_t n_params;
    int64_t n_steps;
    int64_t first_step; /* of this process; above 1 when resumed */
    double forecast_bytes;
    double free_bytes;
};

/* The three parts of a training in time. */
enum train_stage { TRAIN_STAGE_LOAD, TRAIN_STAGE_STEPS, TRAIN_STAGE_SAVE };

/* Every callback may be NULL. */
struct train_observer {
    void *ctx;
    /* A part begins; failing ends the training. */
    int (*stage)(void *ctx, enum train_stage s, struct err *e);
    void (*started)(void *ctx, const struct train_start *s);
    void (*stepped)(void *ctx, const struct train_progress *p);
};

struct train_opts {
    const char *model_path;
    enum task_kind task;
    const char *data_path;
    const char *out_path;        /* of the adapter */
    const char *checkpoint_path; /* NULL: out_path with ".checkpoint" behind it */
    bool resume;
    bool resume_if_fits; /* resume where there is a checkpoint of these settings */

    const char *device; /* as device_open */
    int n_threads;
    bool plain_ops;
    const char *compute;   /* as device_set_compute; NULL: auto */
    const char *base_type; /* what matrices are converted to while loading; NULL: as in the file */
    bool recompute;        /* activation checkpoints */

    int rank;
    double alpha;
    double dropout;
    const char *modules; /* "q,k,v,o,gate,up,down" */

    double rate;
    const char *schedule; /* of schedule_names */
    double warmup;        /* share of all steps */
    double weight_decay;
    double clip; /* of the gradient's norm; 0: none */
    int epochs;
    int64_t max_steps; /* 0: what the epochs have */
    int batch;
    int accumulate;
    bool pack;
    bool all_tokens;
    int64_t items;  /* the first so many rows of the file; 0: all */
    int max_tokens; /* of a row; 0: the model's context */
    bool skip_long;
    double validation;      /* share of rows held out */
    int64_t validate_every; /* steps; 0: once an epoch */
    int patience;           /* evaluations without a better loss until it stops; 0: never */
    int64_t save_every;     /* steps between checkpoints; 0: only when stopped */
    int64_t seed;

    const struct train_observer *observer;
    const volatile sig_atomic_t *stop;
};

/* The published study's settings: rank 16, alpha 16, dropout 0.05, all seven modules, one epoch, batch
 * 4 x 2, rate 2e-4. */
struct train_opts train_defaults(void);

struct train_result {
    int64_t n_steps;
    int64_t n_epochs;
    int64_t n_rows;
    int64_t n_params;
    int64_t n_tokens;      /* computed in training, over all processes */
    int64_t n_loss_tokens; /* that counted in the loss, likewise */
    double first_loss;
    double last_loss;
    double first_validation; /* before the first step; NaN without validation, as the next */
    double best_validation;
    bool stopped_early;
    int64_t resumed_from; /* step; 0: from the start */
    double train_s;       /* steps alone, in this process */
    double first_step_s;  /* of it: a device that starts up does so here */
    double tokens_per_s;  /* in this process */
    double phase_s[TRAIN_PHASES];
    double forecast_bytes;
    double peak_bytes; /* CPU: the process's peak; else what was allocated on the device */
    char device[128];
    char base_type[16];
    char compute[8];           /* type of products with frozen matrices */
    struct train_point *curve; /* in the caller's arena */
    size_t n_curve;
};

/*
 * Trains. EE_STOPPED when the stop flag was set: a checkpoint is written then, and the same call with
 * resume goes on. On success the adapter is at out_path and the checkpoint is gone.
 *
 * Refuses, before anything long: too little memory (EE_NOMEM, with what would fit), rows that are
 * broken or too long, rank above a dimension, unsupported models, a checkpoint of other settings. A
 * loss that is not a number ends it with the step and the rows.
 */
int train_run(const struct train_opts *o, struct arena *a, struct train_result *result,
              struct err *e) EE_MUST_CHECK;

/* The settings that shape the result, for provenance and stage keys. */
json_t *train_settings_json(const struct train_opts *o);
/* A result as JSON; NaNs are left out. curve: with the loss curve. */
json_t *train_result_json(const struct train_result *r, bool curve);

#endif
