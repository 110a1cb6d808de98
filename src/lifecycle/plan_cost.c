#include "lifecycle/plan_cost.h"

#include "base/buf.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum value_kind {
    NUMBER,
    DURATION, /* 30d */
    RATE,     /* 500/h */
    CHOICE,
    PRICE, /* a number, or a name of the price book */
    NAME,
};

static const char *const deployments[] = {"owned", "cloud", NULL};
static const char *const prepares[] = {"extra", "included", NULL};
static const char *const yes_no[] = {"no", "yes", NULL};

static const struct key {
    const char *name;
    enum value_kind kind;
    double low, high; /* of a number, in the unit it is stored in */
    const char *const *choices;
    const char *about;
} keys[COST_KEYS] = {
    [COST_DEPLOYMENT] = {"deployment", CHOICE, 0, 0, deployments, "owned or cloud"},
    [COST_CLOUD] = {"cloud", PRICE, 0, DBL_MAX, NULL,
                    "the machine rented: a name of the price book, or USD an hour and device"},
    [COST_HARDWARE] = {"hardware", PRICE, 0, DBL_MAX, NULL,
                       "the device bought: a name of the price book, or USD"},
    [COST_LIFETIME] = {"lifetime", DURATION, 1, DBL_MAX, NULL, "how long a device is used, as 4y"},
    [COST_MAINTENANCE] = {"maintenance", NUMBER, 0, DBL_MAX, NULL,
                          "USD an hour and device beside its price: space, support, repair"},
    [COST_DEVICES] = {"devices", NUMBER, 1, 1e6, NULL, "devices that one replica holds"},
    [COST_SHARE] = {"share", NUMBER, 1e-6, 1, NULL,
                    "share of each device that is reserved: a MIG slice, or the larger of its "
                    "memory and compute share"},
    [COST_BILL_MINIMUM] = {"bill_minimum", DURATION, 0, DBL_MAX, NULL, "shortest bill, as 60s"},
    [COST_BILL_STEP] = {"bill_step", DURATION, 0, DBL_MAX, NULL,
                        "what a bill is rounded up to, as 1s"},
    [COST_BOOT] = {"boot", DURATION, 0, DBL_MAX, NULL,
                   "from ordering a machine to starting the engine: boot, image pull"},
    [COST_ELECTRICITY] = {"electricity", PRICE, 0, DBL_MAX, NULL,
                          "a name of the price book, or USD a kWh"},
    [COST_PUE] = {"pue", NUMBER, 1, 10, NULL,
                  "energy of the building over that of the machines in it"},
    [COST_OPS] = {"ops", NUMBER, 0, DBL_MAX, NULL,
                  "USD an hour of running it: on call, monitoring, network"},
    [COST_LABOUR] = {"labour", NUMBER, 0, DBL_MAX, NULL, "USD of work before serving, once"},
    [COST_REFRESH] = {"refresh", DURATION, 0, DBL_MAX, NULL,
                      "how often the model is made anew, as 30d; 0 never"},
    [COST_RECURRING] = {"recurring", NUMBER, 0, DBL_MAX, NULL, "USD of one refresh"},
    [COST_VARIABLE] = {"variable", NUMBER, 0, DBL_MAX, NULL,
                       "USD a request beside electricity, such as egress"},
    [COST_PREPARE] = {"prepare", CHOICE, 0, 0, prepares,
                      "extra: the hours of adapting and quantizing are paid; included: they were "
                      "idle hours of the serving machines"},
    [COST_TRAFFIC] = {"traffic", RATE, DBL_MIN, DBL_MAX, NULL, "mean rate of requests, as 500/h"},
    [COST_PEAK] = {"peak", RATE, DBL_MIN, DBL_MAX, NULL, "highest rate to be served, as 1500/h"},
    [COST_HEADROOM] = {"headroom", NUMBER, 1e-6, 1, NULL,
                       "share of a replica's capacity that is planned with"},
    [COST_REPLICAS] = {"replicas", NUMBER, 1, 1e6, NULL, "fewest replicas, whatever the traffic"},
    [COST_SLO_TTFT] = {"slo_ttft", DURATION, 0, DBL_MAX, NULL, "longest time to first token"},
    [COST_SLO_TPOT] = {"slo_tpot", DURATION, 0, DBL_MAX, NULL, "longest time an output token"},
    [COST_SLO_E2E] = {"slo_e2e", DURATION, 0, DBL_MAX, NULL, "longest time to the last token"},
    [COST_SLO_COLD_START] = {"slo_cold_start", DURATION, 0, DBL_MAX, NULL,
                             "longest time from start to first token"},
    [COST_SCALE_TO_ZERO] = {"scale_to_zero", CHOICE, 0, 0, yes_no,
                            "yes where idle capacity is really given back and not paid"},
    [COST_API] = {"api", NAME, 0, 0, NULL, "what it is compared with: a name of the price book"},
    [COST_API_CACHED] = {"api_cached", NUMBER, 0, 1, NULL,
                         "share of input tokens that the API reads from its cache"},
    [COST_API_WRITTEN] = {"api_written", NUMBER, 0, 1, NULL,
                          "share of input tokens that are put into its cache"},
    [COST_API_BATCH] = {"api_batch", CHOICE, 0, 0, yes_no,
                        "yes where answers may wait for the API's batch mode"},
    [COST_API_FALL] = {"api_fall", NUMBER, 0, 0.999999, NULL,
                       "share by which API prices fall a year, in the scenario"},
    [COST_API_MODEL] = {"api_model", NAME, 0, 0, NULL,
                        "the model of this plan whose answers are the API's"},
    [COST_MARGIN] = {"margin", NUMBER, 0, 100, NULL,
                     "points of score (of 100) by which it may be worse than the API"},
    [COST_QRET_MARGIN] = {"qret_margin", NUMBER, 1e-6, 100, NULL,
                          "points of Q_ret that quantizing may cost"},
    [COST_ACCEPT] = {"accept", NUMBER, 0, 1, NULL, "score (0 to 1) from which an answer is good"},
    [COST_FALLBACK] = {"fallback", NUMBER, 0, DBL_MAX, NULL,
                       "USD of answering a request whose answer was not accepted"},
    [COST_DISCOUNT] = {"discount", NUMBER, 0, 10, NULL, "discount rate a year, as 0.08"},
    [COST_CARBON] = {"carbon", PRICE, 0, DBL_MAX, NULL,
                     "a name of the price book, or grams of CO2e a kWh"},
    [COST_EMBODIED] = {"embodied", NUMBER, 0, DBL_MAX, NULL, "kg of CO2e of making one device"},
    [COST_IDLE_W] = {"idle_w", NUMBER, 0, DBL_MAX, NULL,
                     "watts of a replica that holds the model and serves nothing"},
    [COST_IDLE_UNLOADED_W] = {"idle_unloaded_w", NUMBER, 0, DBL_MAX, NULL,
                              "watts of the same machine after unloading the model"},
};

const char *plan_cost_name(enum plan_cost_key key) {
    return keys[key].name;
}

const char *plan_cost_about(enum plan_cost_key key) {
    return keys[key].about;
}

/* Seconds of a unit of time; 0 for none that is known. */
static double unit_seconds(const char *unit) {
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ms", 1e-3},   {"s", 1},      {"min", 60},        {"h", 3600},    {"d", 86400},
                 {"day", 86400}, {"w", 604800}, {"month", 2628000}, {"y", 31536000}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(unit, units[i].name) == 0) {
            return units[i].seconds;
        }
    }
    return 0;
}

static const char *skip_spaces(const char *s) {
    return s + strspn(s, " ");
}

/* What a value of this kind looks like. */
static const char *expected(enum value_kind kind) {
    static const char *const texts[] = {
        [NUMBER] = "a number",
        [DURATION] = "a time such as 45s, 10min, 720h, 30d or 4y",
        [RATE] = "a rate such as 500/h, 2/s or 12000/d",
        [CHOICE] = "one of the words",
        [PRICE] = "a number, or a name of the price book",
        [NAME] = "a name",
    };
    return texts[kind];
}

/* The number in text, in the key's own unit. False when it is none. 0 needs no unit. */
static bool parse_number(const struct key *k, const char *text, double *out) {
    char *end = NULL;
    double x = strtod(text, &end);
    const char *unit = skip_spaces(end);
    if (end == text || !isfinite(x)) {
        return false;
    }
    if (k->kind == DURATION || k->kind == RATE) {
        bool needs_slash = k->kind == RATE;
        if (x == 0 && *unit == '\0') { /* 0 in any unit */
            *out = 0;
            return true;
        }
        if (needs_slash != (*unit == '/')) {
            return false;
        }
        double seconds = unit_seconds(needs_slash ? skip_spaces(unit + 1) : unit);
        *out = needs_slash ? x * 3600 / seconds : x * seconds;
        return seconds > 0;
    }
    *out = x;
    return *unit == '\0';
}

static int wrong_value(const struct key *k, const char *text, struct err *e) {
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s is \"%.60s\"; it should be %s", k->name, text, expected(k->kind));
    for (size_t i = 0; k->choices && k->choices[i]; i++) {
        buf_addf(&b, "%s%s", i ? ", " : " ", k->choices[i]);
    }
    buf_addf(&b, " (%s)", k->about);
    int rc = err_set(e, EE_FORMAT, "%s", b.data);
    buf_release(&b);
    return rc;
}

static int parse_choice(const struct key *k, const char *text, struct plan_cost_value *v,
                        struct err *e) {
    for (size_t i = 0; k->choices[i]; i++) {
        if (strcmp(text, k->choices[i]) == 0) {
            v->number = (double)i;
            return 0;
        }
    }
    return wrong_value(k, text, e);
}

static int parse_value(enum plan_cost_key key, const char *text, struct arena *a,
                       struct plan_cost_value *v, struct err *e) {
    const struct key *k = &keys[key];
    *v = (struct plan_cost_value){.given = true};
    if (k->kind == CHOICE) {
        return parse_choice(k, text, v, e);
    }
    if (k->kind != NAME && parse_number(k, text, &v->number)) {
        if (v->number < k->low || v->number > k->high) {
            return err_set(e, EE_FORMAT, "%s is %.60s, which cannot be (%s)", k->name, text,
                           k->about);
        }
        return 0;
    }
    /* A price that starts like a number is a slip ("0,30", "30 ct"), not a name. */
    bool is_name = k->kind == NAME || (k->kind == PRICE && !strchr("+-.0123456789", text[0]));
    if (!is_name || !*text) {
        return wrong_value(k, text, e);
    }
    v->number = NAN;
    v->name = arena_strdup(a, text);
    return v->name ? 0 : err_set(e, EE_NOMEM, "cost: out of memory");
}

static bool find_key(const char *name, size_t len, enum plan_cost_key *key) {
    for (int i = 0; i < COST_KEYS; i++) {
        if (strlen(keys[i].name) == len && strncmp(keys[i].name, name, len) == 0) {
            *key = (enum plan_cost_key)i;
            return true;
        }
    }
    return false;
}

int plan_cost_read(struct ynode section, struct arena *a, struct plan_cost *out, struct err *e) {
    const char *allowed[COST_KEYS + 1];
    for (int i = 0; i < COST_KEYS; i++) {
        allowed[i] = keys[i].name;
    }
    allowed[COST_KEYS] = NULL;
    *out = (struct plan_cost){0};
    int rc = ynode_present(section) ? ymap_check(section, "cost", allowed, e) : 0;
    const char *name = NULL;
    struct ynode value;
    for (size_t i = 0; !rc && ymap_at(section, i, &name, &value); i++) {
        enum plan_cost_key key = COST_KEYS;
        const char *text = NULL;
        rc = ynode_str(value, name, &text, e);
        if (!rc && find_key(name, strlen(name), &key)) {
            rc = parse_value(key, text, a, &out->v[key], e);
            if (rc == EE_FORMAT) {
                char where[512];
                err_prefix(e, "%s", ynode_where(value, where, sizeof(where)));
            }
        }
    }
    return rc;
}

static int unknown_key(const char *assignment, size_t len, struct err *e) {
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < COST_KEYS; i++) {
        buf_addf(&b, "%s%s", i ? ", " : "", keys[i].name);
    }
    int rc = err_set(e, EE_USAGE, "there is no cost key \"%.*s\"; there are: %s",
                     (int)(len < 40 ? len : 40), assignment, b.data);
    buf_release(&b);
    return rc;
}

int plan_cost_set(const char *assignment, struct arena *a, struct plan_cost *out, struct err *e) {
    const char *equals = strchr(assignment, '=');
    if (!equals) {
        return err_set(e, EE_USAGE, "\"%.60s\" should be KEY=VALUE, such as traffic=500/h",
                       assignment);
    }
    enum plan_cost_key key = COST_KEYS;
    size_t len = (size_t)(equals - assignment);
    if (!find_key(assignment, len, &key)) {
        return unknown_key(assignment, len, e);
    }
    struct plan_cost_value v;
    int rc = parse_value(key, equals + 1, a, &v, e);
    if (!rc) {
        out->v[key] = v;
    }
    if (rc == EE_FORMAT && e) {
        e->code = EE_USAGE; /* the same words, said of a command line */
    }
    return rc == EE_FORMAT ? EE_USAGE : rc;
}
