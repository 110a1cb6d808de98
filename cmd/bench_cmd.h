/* Between the files of the bench command. */
#ifndef CMD_BENCH_CMD_H
#define CMD_BENCH_CMD_H

#include "serve/bench.h"

/* Progress on stderr, when that is a terminal. */
struct ticker {
    bool is_terminal;
};

void bench_show_progress(void *ctx, double elapsed_s, uint64_t begun, uint64_t ended,
                         uint64_t failed);
void bench_end_progress(const struct ticker *t);
bool bench_is_terminal(void);

enum { BENCH_MAX_LIST = 64 };

struct bench_args {
    const char *target;
    const char *api, *model, *auth_env, *ca_file;
    const char *timestamps;
    bool http2, insecure;
    const char *concurrency, *rate, *arrival;
    double cv, step_s, duration_s, warmup_s, drain_s;
    int64_t burst, count, seed;
    const char *task, *prompts, *trace, *input, *output, *turn_input, *extra, *tokenizer;
    double trace_speed, think_s, temperature;
    int64_t prefix, prefix_groups, n_prompts, turns;
    bool force_length, send_ids;
    double connect_timeout_s, stall_s, timeout_s;
    int64_t max_connections, connections, loops;
    const char *sources, *cpus;
    const char *slo, *csv, *out, *from, *compat;
    int64_t parallel, threads, gpu_layers, batch, context;
    double attain, ready_timeout_s, idle_s;
    const char *prompts_out, *server, *ready, *metrics, *energy_source;
    bool energy;
    bool as_json, no_calibration, quiet, no_out, sweep;
};

/* Everything that the arguments ask for, and what it owns. */
struct setup {
    struct bench_opts o;
    struct workload workload;
    struct engine *vocabulary;
    char *auth, *data_dir, *model, *source_text;
    const char *sources[BENCH_MAX_LIST];
    int cpus[BENCH_MAX_LIST];
};

/* Whether the target is a model file, to be measured in process. */
bool bench_is_model(const struct bench_args *a);
/* The benchmark of a model file, in a process of its own. */
int bench_model(const struct bench_args *a, struct err *e) EE_MUST_CHECK;

/* Checks the arguments and finds the server; nothing is sent to it yet. */
int bench_set_up(const struct bench_args *a, struct setup *s, struct err *e) EE_MUST_CHECK;
/* The model's name, which the server may be asked for, and the prompts. Not for a model file. */
int bench_set_up_prompts(const struct bench_args *a, struct setup *s, struct err *e) EE_MUST_CHECK;
void bench_setup_release(struct setup *s);
/* Writes the prompts where --prompts-out says. */
int bench_write_prompts(const struct bench_args *a, const struct workload *w,
                        struct err *e) EE_MUST_CHECK;

/* Calibrates the client for the load that s asks for. */
int bench_calibrate(const struct setup *s, struct calibration *out, struct err *e) EE_MUST_CHECK;
/* Many levels, to find the highest that is good. */
int bench_sweep(const struct bench_args *a, struct setup *s, const char *dir,
                struct err *e) EE_MUST_CHECK;

/* Prints the result with what else was asked for, and writes the table of requests. */
int bench_show(const struct bench_args *a, json_t *result, const struct load_result *load,
               const struct measures *m, struct err *e) EE_MUST_CHECK;
/* A new directory for results, where they are to be kept: *dir is the caller's, or NULL. */
int bench_out_dir(const struct bench_args *a, const char *started_utc, char **dir,
                  struct err *e) EE_MUST_CHECK;
/* Writes NAME.json and NAME.eebench. */
int bench_keep(const char *dir, const char *name, const json_t *result,
               const struct load_result *load, struct err *e) EE_MUST_CHECK;

#endif
