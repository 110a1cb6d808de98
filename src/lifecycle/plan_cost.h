/*
 * The cost: section of a plan: how the model would be deployed, what that costs, and what it is
 * compared with (docs/plan.md). The same keys are set one by one from a command line.
 *
 * Nothing here has a default: a key that is not given stays not given, and what needs it says so.
 * An explicit 0 is a statement. Amounts are US dollars.
 */
#ifndef LIFECYCLE_PLAN_COST_H
#define LIFECYCLE_PLAN_COST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/ydoc.h"

#include <stdbool.h>
#include <stddef.h>

enum plan_cost_key {
    COST_DEPLOYMENT,
    COST_CLOUD,
    COST_HARDWARE,
    COST_LIFETIME,
    COST_MAINTENANCE,
    COST_DEVICES,
    COST_SHARE,
    COST_BILL_MINIMUM,
    COST_BILL_STEP,
    COST_BOOT,
    COST_ELECTRICITY,
    COST_PUE,
    COST_OPS,
    COST_LABOUR,
    COST_REFRESH,
    COST_RECURRING,
    COST_VARIABLE,
    COST_PREPARE,
    COST_TRAFFIC,
    COST_PEAK,
    COST_HEADROOM,
    COST_REPLICAS,
    COST_SLO_TTFT,
    COST_SLO_TPOT,
    COST_SLO_E2E,
    COST_SLO_COLD_START,
    COST_SCALE_TO_ZERO,
    COST_API,
    COST_API_CACHED,
    COST_API_WRITTEN,
    COST_API_BATCH,
    COST_API_FALL,
    COST_API_MODEL,
    COST_MARGIN,
    COST_QRET_MARGIN,
    COST_ACCEPT,
    COST_FALLBACK,
    COST_DISCOUNT,
    COST_CARBON,
    COST_EMBODIED,
    COST_IDLE_W,
    COST_IDLE_UNLOADED_W,
    COST_KEYS,
};

enum cost_deployment { DEPLOYMENT_OWNED, DEPLOYMENT_CLOUD };
enum cost_prepare { PREPARE_EXTRA, PREPARE_INCLUDED };

struct plan_cost_value {
    bool given;
    double number;    /* times in seconds, rates per hour, choices and yes/no as an index */
    const char *name; /* of a price or model, instead of a number; else NULL */
};

struct plan_cost {
    struct plan_cost_value v[COST_KEYS];
};

/* "traffic": as in the plan and on the command line. */
const char *plan_cost_name(enum plan_cost_key key);
/* What the key is, in a few words: "requests an hour, as 500/h". */
const char *plan_cost_about(enum plan_cost_key key);

/* Reads the section; an absent one gives nothing. Names lie in the arena. */
int plan_cost_read(struct ynode section, struct arena *a, struct plan_cost *out,
                   struct err *e) EE_MUST_CHECK;
/* One "KEY=VALUE" of a command line. EE_USAGE when it cannot be meant. */
int plan_cost_set(const char *assignment, struct arena *a, struct plan_cost *out,
                  struct err *e) EE_MUST_CHECK;

#endif
