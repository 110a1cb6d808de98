/*
 * A plan: which models, methods, precisions and tasks a run measures, and how. Read from YAML;
 * every mistake is answered with file:line:column and the values that would be accepted.
 */
#ifndef LIFECYCLE_PLAN_H
#define LIFECYCLE_PLAN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/ydoc.h"
#include "engine/engine.h"
#include "engine/shape.h"
#include "lifecycle/plan_adapt.h"
#include "lifecycle/plan_cost.h"
#include "lifecycle/plan_judge.h"
#include "lifecycle/plan_server.h"
#include "quality/score.h"
#include "quality/task.h"
#include "serve/arrival.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum precision { PRECISION_FP16, PRECISION_INT8, PRECISION_INT4, PRECISION_COUNT };
extern const char *const precision_names[]; /* NULL-terminated */

/* Adaptation before serving: none serves the model as it comes. */
enum method { METHOD_NONE, METHOD_LORA, METHOD_QLORA, METHOD_COUNT };
extern const char *const method_names[];

enum lengths {
    LENGTHS_NATURAL, /* answers end where the model ends them */
    LENGTHS_FORCED,  /* every answer has max_tokens: a pure throughput measurement */
};
extern const char *const lengths_names[];

struct plan_model {
    const char *id;
    const char *family;
    const char *size;
    const char *path; /* of the file; of a shape set by the run, which has the file written */
    const char *note; /* of the known model, or NULL */
    /* With path NULL: what a server calls the model in each precision, with weights of its own; NULL
     * for precisions that the plan does not have. */
    const char *served[PRECISION_COUNT];

    /* A shape instead of a file: random weights, written when a stage needs them. */
    const struct known_shape *shape; /* NULL: the model is the file at path */
    const char *shapes_path;         /* where the shape is from */
    const char *vocab_path;
    int64_t adapt_rows[2]; /* instead of the plan's; 0: the plan's */
};

struct plan_task {
    enum task_kind kind;
    const char *name;
    const char *path;   /* JSONL file */
    int64_t items;      /* the first so many; 0 for all */
    int64_t max_tokens; /* of an answer */
};

/* How answers are scored. */
struct plan_score {
    const struct scorer *primary[TASK_KINDS]; /* whose mean is S */
    const struct scorer **also;               /* scorers on request that the plan asks for */
    size_t n_also;
    int64_t passes; /* sampled answers an item that are scored; 0: one a repeat of serving */
    struct {
        const char *model; /* a classifier, or a model that is asked in words; NULL: none */
        bool mean_pooled;  /* the user's word on a ModernBERT classifier, see engine/encoder.h */
    } entailment;
    struct plan_judge judge;
    struct {
        const char *model;  /* an embedding model; NULL: none */
        const char *prefix; /* that it was trained to see before a text; "" */
    } similarity;
};

struct plan {
    const char *name;
    const char *path; /* as given */
    const char *text; /* the file, verbatim */
    int64_t seed;
    struct plan_model *models;
    size_t n_models;
    enum method methods[METHOD_COUNT];
    size_t n_methods;
    enum precision precisions[PRECISION_COUNT];
    size_t n_precisions;
    bool left_out[METHOD_COUNT][PRECISION_COUNT]; /* cells that the plan's methods do not list */
    struct plan_task *tasks;
    size_t n_tasks;

    const char *int4_type;  /* GGUF type behind int4; NULL: by the shape of the matrices */
    bool published_quality; /* scores of shapes are those of published rows */

    struct {
        int64_t concurrency;
        int64_t repeats;
        int64_t context; /* tokens a request may hold; 0: what the longest prompt needs */
        int lengths;     /* enum lengths */
        double window_s; /* the whole set is served again until a repeat lasted so long; 0: once */
        double rate_per_s;           /* an open loop, by a server only; 0: a closed one */
        struct arrival_spec arrival; /* of the open loop, without seed and rate */
    } serve;
    struct plan_server server;
    struct {
        int64_t warm; /* cold starts with the model file in the page cache */
        int64_t cold; /* ... with it evicted */
    } load;
    struct engine_sampling sampling;
    struct {
        int64_t threads;    /* 0: one a hardware thread */
        int64_t gpu_layers; /* ENGINE_ALL_GPU_LAYERS by default */
        int64_t batch;
        bool kv_unified;
        int device_sampling; /* enum engine_switch */
    } engine;
    struct {
        const char *source; /* as meter_opts.source */
        const char *gpus;   /* as meter_opts.gpus; NULL: all */
        double idle_s;      /* longest idle baseline measurement; 0: none */
        double phases_s;    /* load to tell prefill's joules from decode's; 0: none */
    } energy;
    struct plan_score score;
    struct plan_adapt adapt;
    int64_t stage_timeout_s;
    struct plan_cost cost; /* no stage depends on it */
};

/* Reads and validates path. data_dir holds models.yaml and tasks/. Everything is in a. */
int plan_load(const char *path, const char *data_dir, struct arena *a, struct plan *out,
              struct err *e) EE_MUST_CHECK;
/* The same from bytes, path standing for the file in messages: for resuming from the store. */
int plan_parse(const char *text, size_t len, const char *path, const char *data_dir,
               struct arena *a, struct plan *out, struct err *e) EE_MUST_CHECK;

/* Whether the plan has answers scored by s: every scorer that compares texts and is not on request,
 * those asked for, and those whose model the plan names. */
bool plan_wants_scorer(const struct plan *p, const struct scorer *s);
/* Why no model scores for that source, and what to write to have one; NULL when one does. */
const char *plan_source_gap(const struct plan *p, enum scorer_source source);
/* The score section, of a file in plan_dir; for plan.c. */
int plan_score_read(struct ynode n, const char *plan_dir, struct arena *a, struct plan *p,
                    struct err *e) EE_MUST_CHECK;

#endif
