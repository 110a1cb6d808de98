/* What the files of a run share: its state, and what a kind of stage is. */
#ifndef LIFECYCLE_RUN_INTERNAL_H
#define LIFECYCLE_RUN_INTERNAL_H

#include "base/arena.h"
#include "base/machine.h"
#include "energy/meter.h"
#include "lifecycle/run.h"
#include "lifecycle/supervise.h"
#include "lifecycle/variant.h"
#include "serve/calibrate.h"
#include "store/store.h"

#include <jansson.h>

/* What a run must know of a model file before it can plan stages for it. */
struct model_facts {
    char hash[33];
    char arch[64];
    char file_type[16]; /* type of most of its matrices */
    int64_t n_params;
    int64_t kv_token_bytes;
    bool rows_fit_k_quants;
    bool is_synthetic;                     /* random weights */
    int64_t max_prompt_tokens[TASK_KINDS]; /* over the plan's items; 0 for tasks not in the plan */
    bool failed;                           /* error says why; its variants are skipped */
    char error[1024];
    int error_code;
};

struct run {
    const struct run_opts *opts;
    struct arena arena;
    struct plan plan;
    struct variant *variants;
    size_t n_variants;
    struct model_facts *models; /* one for each of plan.models */
    struct task_set tasks[TASK_KINDS];
    char task_hash[TASK_KINDS][33];  /* of the task file */
    char train_hash[TASK_KINDS][33]; /* of the rows to train on; "" where nothing is trained */
    char score_model_hash[SCORER_SOURCES][33]; /* of the files of models that score */

    char *dir;
    char *artifacts; /* directory of model files and adapters */
    int lock_fd;
    struct store *store;
    struct meter *meter;
    struct machine machine;
    char machine_id[33];
    char key_machine_id[33]; /* in the keys of stages: of the machine the run counts as */
    char engine_version[32];
    char device[128];

    struct {
        const struct plan_model *model;
        double wall_s[8]; /* of the last stage of each kind, in the order of stage_kinds; 0: none */
    } lasted;             /* what stages of the model took, to tell how long the next will take */

    /* Of the stage that is running. */
    int64_t stage_begin_ns;
    double stage_begin_j;
    int stage_trace; /* of the meter; negative when it could not begin */

    struct calibration client; /* of the load client, where a server answers */
};

/* The artifact a variant's engine loads: model, method and precision name it. */
struct artifact_ref {
    size_t model;
    enum method method;
    enum precision precision;
};

/* Model files that a stage reads (model_files.h). */
enum stage_reads {
    READS_TRAINED = 1 << 0, /* the model as adapting wants it */
    READS_BASE = 1 << 1,    /* ... in F16 */
    READS_ADAPTER = 1 << 2,
    READS_FP16 = 1 << 3, /* the variant's own F16 */
    READS_OWN = 1 << 4,  /* what its engine loads */
};

struct stage_kind {
    const char *name;
    const char *needs; /* kind that must be done first, NULL for none */
    int version;       /* raised when equal inputs would give other results */
    unsigned reads;    /* enum stage_reads */
    /* Whether variants of this method have such a stage; NULL: all have. */
    bool (*applies)(const struct variant *v);
    /* Adds what the result depends on; equal inputs share one stage. */
    int (*inputs)(struct run *r, const struct variant *v, json_t *inputs, struct err *e);
    /* "quantize smollm2 int4": what the stage is called, without parts that variants share. */
    void (*title)(const struct run *r, const struct variant *v, char *buf, size_t size);
    /* Does the work, adding rows of stage_id; *result is the stage's summary. */
    int (*execute)(struct run *r, const struct variant *v, int64_t stage_id, json_t **result,
                   struct err *e);
    /* Whether what a done stage left behind is still there; NULL: nothing can go missing. */
    bool (*still_there)(struct run *r, const struct variant *v);
};

extern const struct stage_kind stage_adapt;
extern const struct stage_kind stage_merge;
extern const struct stage_kind stage_quantize;
extern const struct stage_kind stage_load;
extern const struct stage_kind stage_serve;
extern const struct stage_kind stage_score;
/* In the order of a variant's life; NULL-terminated. */
extern const struct stage_kind *const stage_kinds[];

bool stage_applies(const struct stage_kind *k, const struct variant *v);
/* The hash of a stage's inputs; inputs_json receives their text. */
int stage_key(struct run *r, const struct stage_kind *k, const struct variant *v, char key[33],
              struct buf *inputs_json, struct err *e) EE_MUST_CHECK;

/* What answers requests: "llama.cpp" in a worker, or the plan's server by its name. */
const char *run_engine_name(const struct run *r);
size_t run_model_index(const struct run *r, const struct variant *v);
const struct model_facts *run_model(const struct run *r, const struct variant *v);
/* Adds what identifies the weights that are served: our file's stage, or the server's name for them. */
int run_add_artifact_key(struct run *r, const struct variant *v, json_t *inputs,
                         struct err *e) EE_MUST_CHECK;
/* Path of the file the variant's engine loads; only where variant_has_file. The caller frees it; NULL
 * when memory is out. */
char *run_artifact_path(const struct run *r, const struct variant *v);
/* GGUF type of that file. */
const char *run_artifact_type(const struct run *r, const struct variant *v);
/* Path and GGUF type of the file that the variant's adapter is trained on. */
char *run_trained_path(const struct run *r, const struct variant *v);
const char *run_trained_type(const struct run *r, const struct variant *v);
/* Whether the variant's stage of that kind is done under the key it has now. */
int run_stage_is_done(struct run *r, const struct stage_kind *k, const struct variant *v,
                      bool *done, struct err *e) EE_MUST_CHECK;
/* Engine settings that shape every measurement, for inputs and for jobs. */
json_t *run_engine_json(const struct run *r);
/* Runs a worker job for a stage: log file, meter, stop flag and progress are filled in. */
int run_job(struct run *r, struct job_spec *spec, struct job_outcome *out,
            struct err *e) EE_MUST_CHECK;
/* The same of a job that is metered and sends no rows; its windows become the stage's. */
int run_stage_job(struct run *r, int64_t stage_id, const char *job, json_t *args,
                  struct job_outcome *out, struct err *e) EE_MUST_CHECK;
/* The variant's adapter, and the model merged with it, which is its FP16 file. Freed by the caller. */
char *run_adapter_path(const struct run *r, const struct variant *v);
char *run_merged_path(const struct run *r, const struct variant *v);
/* Bytes of the merged model, about. */
uint64_t merge_disk_bytes(const struct run *r, const struct variant *v);
/* Stores a file that a worker made and described as {"bytes", "hash", ...}. */
int run_put_artifact(struct run *r, int64_t stage_id, const char *path, const char *kind,
                     const json_t *value, struct err *e) EE_MUST_CHECK;
/* Adds the key of another of the variant's stages to inputs, as name. */
int run_add_stage_key(struct run *r, const struct stage_kind *k, const struct variant *v,
                      const char *name, json_t *inputs, struct err *e) EE_MUST_CHECK;
/* Disk that the variant's artifact will take, about; 0 when the model file serves as it is. */
uint64_t quantize_disk_bytes(const struct run *r, const struct variant *v);
/* Whether the variant's artifact is made from the FP16 one, which must be there first. */
bool quantize_needs_fp16(const struct run *r, const struct variant *v);
/* Tokens a sequence must hold for the variant's task, unless the plan says. */
int64_t serve_context(const struct run *r, const struct variant *v);

/* Tells the observer how far the running stage is; tokens is -1 where it makes none. */
void run_tell_progress(struct run *r, const struct job_progress *progress);
void run_note(const struct run *r, const char *fmt, ...) EE_PRINTF(2, 3);

/* Where a running stage's rows go; the ctx of stage_on_window. */
struct stage_rows {
    struct run *run;
    int64_t stage_id;
};
/* A job_spec.on_window that stores the window. */
int stage_on_window(const struct meter_reading *reading, void *ctx, struct err *e) EE_MUST_CHECK;
/* A job_spec.on_gpu that stores what was seen. */
int stage_on_gpu(const char *window, const char *component, const struct gpu_looks *looks,
                 void *ctx, struct err *e) EE_MUST_CHECK;

/* Stages met so far, by key. */
struct key_set {
    char (*keys)[33];
    size_t n;
    size_t cap;
};
/* *added is false when the key was there already. */
int key_set_add(struct key_set *s, const char *key, bool *added, struct err *e) EE_MUST_CHECK;

/* Whether `only` (NULL: everything) asks for this kind, or for one that needs it. */
bool stage_is_wanted(const char *only, const struct stage_kind *k);

/* Stores a closed window, one row a component and one for the total. */
int energy_rows_put(struct store *s, int64_t stage_id, const struct meter_reading *reading,
                    struct err *e) EE_MUST_CHECK;

/* The power of a stage over its time, for the report. What goes wrong here costs the curve alone. */
void power_trace_begin(struct run *r);
/* Ends the trace; stage_id 0 drops it. */
int power_trace_end(struct run *r, int64_t stage_id, struct err *e) EE_MUST_CHECK;

/* Reads every model of the plan in a worker: facts, or why it cannot be used. */
int inspect_models(struct run *r, struct err *e) EE_MUST_CHECK;

/* The text of run_describe, once models are inspected. */
int describe_stages(struct run *r, struct buf *out, struct err *e) EE_MUST_CHECK;

/* Starts the meter, describes the machine, measures the idle baseline. */
int measure_setup(struct run *r, struct err *e) EE_MUST_CHECK;

/* The machine's idle power, which windows from now on subtract; nothing where the plan wants none. */
int idle_measure_bare(struct run *r, struct err *e) EE_MUST_CHECK;
/*
 * Idle power with the variant's model loaded, while its worker waits: {"resident": {"watts", ...}, "bare":
 * ...}, the same parts with and without the model. Where every part is modelled nothing is measured: a
 * model of CPU time knows of no weights.
 */
int idle_measure_resident(struct run *r, const struct variant *v, json_t **out,
                          struct err *e) EE_MUST_CHECK;

/* manifest.json: what ran, where, with which settings. */
int manifest_write(struct run *r, struct err *e) EE_MUST_CHECK;

#endif
