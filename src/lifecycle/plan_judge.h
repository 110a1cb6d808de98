/*
 * The score.judge section of a plan: the model that grades answers (docs/plan.md). With a url it is a
 * service of that name there, else a GGUF file that a worker loads.
 */
#ifndef LIFECYCLE_PLAN_JUDGE_H
#define LIFECYCLE_PLAN_JUDGE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/ydoc.h"

#include <stdbool.h>
#include <stdint.h>

/* How a service is made to answer in the form of a verdict. */
enum judge_output {
    JUDGE_OUTPUT_SCHEMA, /* response_format json_schema: only the verdict's own shape */
    JUDGE_OUTPUT_JSON,   /* response_format json_object: JSON of any shape */
    JUDGE_OUTPUT_TEXT,   /* asked in words alone */
};
extern const char *const judge_output_names[];

struct plan_judge {
    const char *model;    /* a file; with url, the name of a model there. NULL: no judge */
    const char *url;      /* NULL: the model is a file */
    const char *auth_env; /* variable that holds the key of url; NULL: it needs none */
    const char *ca_file;  /* certificates to trust instead of the system's; NULL */
    int64_t passes;       /* verdicts on each answer */
    bool has_temperature;
    double temperature; /* where the plan says one; else the service's own, and 0 for a file */
    int output;         /* enum judge_output */
    int64_t concurrency;
    int64_t max_tokens; /* of a verdict by url; 0: not said */
    int64_t timeout_s;  /* of a question to url, tries included */
    bool has_price;     /* of url's tokens, $ per million */
    double usd_per_mtok_in;
    double usd_per_mtok_out;
};

/* Reads n, which may be absent; paths are relative to plan_dir. */
int plan_judge_read(struct ynode n, const char *plan_dir, struct arena *a, struct plan_judge *out,
                    struct err *e) EE_MUST_CHECK;

#endif
