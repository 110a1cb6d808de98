/*
 * One SQLite file a run: what was planned, what was measured, on which machine. Later boxes
 * (metrics, report) read only this file, so a run can be evaluated again years later.
 *
 * A stage's results enter in one transaction: after any crash a stage is there whole or not at
 * all. One process writes; any number read. A struct store belongs to one thread.
 *
 * Rows are loaded into an arena of the caller; text columns that are NULL load as NULL, numeric
 * columns that are NULL load as NAN. times are CLOCK_MONOTONIC nanoseconds of one machine and
 * boot: only differences within a stage mean anything.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* The schema this build writes; an older file is migrated when opened for writing. */
enum { STORE_SCHEMA_VERSION = 4 };

/* Creates path (refused when it exists) with an empty schema. */
int store_create(const char *path, struct store **out, struct err *e) EE_MUST_CHECK;
/* Read-only, a file of an older schema is read through a migrated copy in memory. */
int store_open(const char *path, bool read_only, struct store **out, struct err *e) EE_MUST_CHECK;
void store_close(struct store *s);

int store_begin(struct store *s, struct err *e) EE_MUST_CHECK;
int store_commit(struct store *s, struct err *e) EE_MUST_CHECK;
void store_rollback(struct store *s);

/* Facts about the run: run_id, created_utc, version, plan_path, plan_yaml, machine_id, ... */
int store_meta_set(struct store *s, const char *key, const char *value,
                   struct err *e) EE_MUST_CHECK;
/* *out is NULL when the key was never set. */
int store_meta_get(struct store *s, const char *key, struct arena *a, char **out,
                   struct err *e) EE_MUST_CHECK;
/* What a machine is (JSON: CPU, memory, GPUs, kernel, drivers); replaces an older description. */
int store_machine_put(struct store *s, const char *machine_id, const char *json,
                      struct err *e) EE_MUST_CHECK;
int store_machine_get(struct store *s, const char *machine_id, struct arena *a, char **out,
                      struct err *e) EE_MUST_CHECK;

struct store_variant {
    const char *variant_id;
    const char *model_id;
    const char *family;
    const char *size;      /* label, "135M" */
    const char *method;    /* none, lora, qlora */
    const char *task;      /* rag, summ, chat, choice */
    const char *precision; /* fp16, int8, int4 */
    const char *engine;
    const char *device;
    double params;    /* number of weights; NAN when unknown */
    const char *note; /* what a reader must know ("fp16 made from Q4_1 weights"), or NULL */
};
/* Of a variant that is there already, device and params are replaced. */
int store_variant_put(struct store *s, const struct store_variant *v, struct err *e) EE_MUST_CHECK;
/* In the order they were put. */
int store_variants(struct store *s, struct arena *a, struct store_variant **out, size_t *n,
                   struct err *e) EE_MUST_CHECK;
int store_variant_note(struct store *s, const char *variant_id, const char *note,
                       struct err *e) EE_MUST_CHECK;

struct store_stage {
    int64_t stage_id;
    const char *key;        /* hash of the stage's inputs: equal keys mean equal work */
    const char *kind;       /* adapt, merge, quantize, load, serve, score */
    const char *title;      /* for people: "quantize SmolLM2-135M int4" */
    const char *status;     /* done, failed */
    const char *error_code; /* of a failed stage, as err_code_name gives it; else NULL */
    const char *error;      /* its message; else NULL */
    const char *started_utc;
    double wall_s;
    const char *machine_id;
    const char *inputs_json; /* what the key was made from */
    const char *result_json; /* summary figures of that kind of stage; NULL when failed */
};
/*
 * Inserts a stage (stage_id of st is ignored), replacing a failed one of the same key together
 * with its rows. Call between store_begin and store_commit, then add the stage's rows.
 */
int store_stage_put(struct store *s, const struct store_stage *st, int64_t *stage_id,
                    struct err *e) EE_MUST_CHECK;
/* Fills in what is known only at a stage's end. */
int store_stage_finish(struct store *s, int64_t stage_id, double wall_s, const char *result_json,
                       struct err *e) EE_MUST_CHECK;
/* Removes a stage with its rows: its artifacts are gone and it must run again. */
int store_stage_delete(struct store *s, int64_t stage_id, struct err *e) EE_MUST_CHECK;
/* The stage of that key; out->key is NULL when there is none. */
int store_stage_find(struct store *s, const char *key, struct arena *a, struct store_stage *out,
                     struct err *e) EE_MUST_CHECK;
int store_stages(struct store *s, struct arena *a, struct store_stage **out, size_t *n,
                 struct err *e) EE_MUST_CHECK;
/* A variant uses a stage, and no longer the one of that kind it used before; several variants may
 * share one. */
int store_variant_stage_put(struct store *s, const char *variant_id, int64_t stage_id,
                            struct err *e) EE_MUST_CHECK;
/* The variant uses no stage of that kind any more; the stage itself stays. */
int store_variant_stage_drop(struct store *s, const char *variant_id, const char *kind,
                             struct err *e) EE_MUST_CHECK;
/* The stage of that kind that the variant uses; out->key is NULL when it has none yet. */
int store_variant_stage(struct store *s, const char *variant_id, const char *kind, struct arena *a,
                        struct store_stage *out, struct err *e) EE_MUST_CHECK;

/* A named window of a stage and what one component used in it. */
struct store_energy {
    const char *window; /* "serve", "load/cold/3", "quantize", ... */
    double start_ns;    /* of the window */
    double end_ns;
    const char *component; /* gpu0, cpu, dram, or "total" for their sum */
    const char *scope;
    const char *source;
    const char *quality; /* counter, integrated, modelled, missing */
    double joules;       /* NAN when missing */
    double low_j;
    double high_j;
    double above_idle_j; /* NAN without an idle baseline */
    double idle_w;
    double mean_w;
    double peak_w;
    double coverage; /* 0..1 */
    bool is_short;   /* shorter than the sensor supports well */
    const char *reason;
};
int store_energy_put(struct store *s, int64_t stage_id, const struct store_energy *row,
                     struct err *e) EE_MUST_CHECK;
int store_energies(struct store *s, int64_t stage_id, struct arena *a, struct store_energy **out,
                   size_t *n, struct err *e) EE_MUST_CHECK;

/* What a GPU was seen to do in a window, by a look each second. */
struct store_gpu_look {
    const char *window;
    const char *component; /* gpu0 */
    int64_t looks;
    double throttled_share; /* of the looks, 0..1; NAN: not told, as below */
    const char *throttle;   /* "power cap, heat"; NULL when nothing slowed it */
    double other_processes; /* most at once, beside the measured ones */
    double busy;            /* mean, 0..1 */
    double max_temperature_c;
    double min_sm_mhz;
    double max_sm_mhz;
};
int store_gpu_look_put(struct store *s, int64_t stage_id, const struct store_gpu_look *row,
                       struct err *e) EE_MUST_CHECK;
int store_gpu_looks(struct store *s, int64_t stage_id, struct arena *a, struct store_gpu_look **out,
                    size_t *n, struct err *e) EE_MUST_CHECK;

struct store_request {
    int repeat; /* 0-based block of the serving measurement */
    int ordinal;
    const char *item_id;
    const char *status; /* ok, failed */
    const char *finish; /* stop, length, forced, error */
    const char *error;  /* of a failed request */
    int64_t prompt_tokens;
    int64_t output_tokens;
    int64_t queued_ns;  /* when the workload offered it */
    int64_t started_ns; /* first engine step that held some of its prompt */
    int64_t first_token_ns;
    int64_t last_token_ns;
    int64_t done_ns;
    const char *text;   /* the answer; NULL unless asked for when loading */
    const void *events; /* packed token times, see store_pack_events; NULL unless asked for */
    size_t events_bytes;
};
int store_request_put(struct store *s, int64_t stage_id, const struct store_request *row,
                      struct err *e) EE_MUST_CHECK;
int store_requests(struct store *s, int64_t stage_id, bool with_text_and_events, struct arena *a,
                   struct store_request **out, size_t *n, struct err *e) EE_MUST_CHECK;

/* The power one component drew while a stage ran: means over stretches that do not overlap. */
struct store_power_point {
    double start_s; /* since start_ns, to 0.1 ms */
    double length_s;
    double watts;
};
struct store_power {
    const char *component;
    int64_t start_ns; /* of the stage */
    struct store_power_point *points;
    size_t n;
};
int store_power_put(struct store *s, int64_t stage_id, const struct store_power *row,
                    struct err *e) EE_MUST_CHECK;
int store_powers(struct store *s, int64_t stage_id, struct arena *a, struct store_power **out,
                 size_t *n, struct err *e) EE_MUST_CHECK;

/* A request's times alone, without a string: what a million of them are read for. */
struct store_request_times {
    int repeat;
    bool is_ok;
    int64_t output_tokens;
    int64_t queued_ns;
    int64_t first_token_ns;
    int64_t last_token_ns;
    int64_t done_ns;
    const void *events; /* packed token times while on_row has them; NULL where none are stored */
    size_t events_bytes;
};
/* Calls on_row for each request in the order of repeat and ordinal; its error ends the reading. */
int store_each_request_times(struct store *s, int64_t stage_id,
                             int (*on_row)(const struct store_request_times *row, void *ctx,
                                           struct err *e),
                             void *ctx, struct err *e) EE_MUST_CHECK;
int store_count_requests(struct store *s, int64_t stage_id, size_t *n, struct err *e) EE_MUST_CHECK;

/*
 * Token times of one request as a BLOB: little-endian uint32 microseconds since first_token_ns,
 * one for each output token after the first. A gap past 71 minutes is refused.
 */
int store_pack_events(struct arena *a, const int64_t *token_ns, size_t n_tokens, const void **blob,
                      size_t *bytes, struct err *e) EE_MUST_CHECK;
/* The i-th of them. */
uint32_t store_event_us(const void *blob, size_t i);
/* The inverse: n_tokens times starting with first_token_ns. */
int store_unpack_events(struct arena *a, const void *blob, size_t bytes, int64_t first_token_ns,
                        int64_t **token_ns, size_t *n_tokens, struct err *e) EE_MUST_CHECK;

/* One cold start in a fresh process. Seconds since exec unless said otherwise. */
struct store_cold_start {
    int repeat;
    const char *cache;         /* warm, cold: the page cache of the model file before exec */
    double resident_fraction;  /* of the model file in the page cache just before exec, 0..1 */
    double main_s;             /* exec to main(): dynamic linking */
    double backend_s;          /* ... to backends ready */
    double weights_s;          /* ... to weights loaded */
    double context_s;          /* ... to context ready */
    double first_token_s;      /* ... to first token */
    double warm_first_token_s; /* same prompt again in the same process: send to first token */
    double joules;             /* exec to first token, total scope; NAN when not measured */
    double warm_joules;        /* of the warm first token */
};
int store_cold_start_put(struct store *s, int64_t stage_id, const struct store_cold_start *row,
                         struct err *e) EE_MUST_CHECK;
int store_cold_starts(struct store *s, int64_t stage_id, struct arena *a,
                      struct store_cold_start **out, size_t *n, struct err *e) EE_MUST_CHECK;

struct store_memory {
    const char *part;   /* weights, host_weights, kv, compute, used_kv, rss_peak, device_peak */
    const char *device; /* host, gpu0, ... */
    double bytes;
    const char *source; /* "reported by the engine", "arithmetic", "VmHWM", ... */
};
int store_memory_put(struct store *s, int64_t stage_id, const struct store_memory *row,
                     struct err *e) EE_MUST_CHECK;
int store_memories(struct store *s, int64_t stage_id, struct arena *a, struct store_memory **out,
                   size_t *n, struct err *e) EE_MUST_CHECK;

/* A point of an adapt stage's loss curve. */
struct store_training {
    int64_t step;
    int64_t epoch;
    double loss;
    double rate;
    double gradient_norm;
    double validation_loss; /* NaN where it was not measured */
};
int store_training_put(struct store *s, int64_t stage_id, const struct store_training *row,
                       struct err *e) EE_MUST_CHECK;
int store_trainings(struct store *s, int64_t stage_id, struct arena *a, struct store_training **out,
                    size_t *n, struct err *e) EE_MUST_CHECK;

struct store_artifact {
    const char *path; /* relative to the run directory */
    const char *kind; /* gguf */
    double bytes;
    const char *hash;
    const char *detail_json; /* {"types": {"Q4_0": 210, "F32": 61}, ...} */
};
int store_artifact_put(struct store *s, int64_t stage_id, const struct store_artifact *row,
                       struct err *e) EE_MUST_CHECK;
int store_artifacts(struct store *s, int64_t stage_id, struct arena *a, struct store_artifact **out,
                    size_t *n, struct err *e) EE_MUST_CHECK;

struct store_score {
    const char *item_id;
    int pass;
    const char *scorer; /* em, f1, rougeL, ... */
    double value;
    bool is_primary; /* the scorer that the task's S is made of */
};
int store_score_put(struct store *s, int64_t stage_id, const struct store_score *row,
                    struct err *e) EE_MUST_CHECK;
int store_scores(struct store *s, int64_t stage_id, struct arena *a, struct store_score **out,
                 size_t *n, struct err *e) EE_MUST_CHECK;

#endif
