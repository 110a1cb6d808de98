#include "lifecycle/plan_judge.h"

#include "lifecycle/plan_read.h"
#include "serve/target.h"

#include <ctype.h>

enum {
    DEFAULT_CONCURRENCY = 4,
    DEFAULT_TIMEOUT_S = 120,
    MOST_PASSES = 100,
    MOST_CONCURRENCY = 256,
    MOST_TOKENS = 1000000,
    MOST_TIMEOUT_S = 86400,
};

const char *const judge_output_names[] = {"schema", "json", "text", NULL};

/* The name of a variable. What does not look like one may be the key itself, and is not repeated. */
static int read_auth_env(struct ynode n, struct arena *a, const char **out, struct err *e) {
    int rc = plan_read_text(n, "auth_env", a, out, e);
    if (rc || !*out) {
        return rc;
    }
    const char *c = *out;
    bool good = isupper((unsigned char)*c) || *c == '_';
    for (; good && *c; c++) {
        good = isupper((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_';
    }
    return good ? 0
                : ynode_fail(n, e,
                             "auth_env should be the name of an environment variable in capitals, "
                             "such as JUDGE_API_KEY; a key itself has no place in a plan");
}

static int read_url(struct ynode n, struct arena *a, const char **out, struct err *e) {
    struct target t;
    struct err why = ERR_INIT;
    int rc = plan_read_text(n, "url", a, out, e);
    if (!rc && *out && target_parse(*out, API_CHAT, &t, &why)) {
        rc = ynode_fail(n, e, "%s", why.msg);
    }
    return rc;
}

static int read_price(struct ynode n, struct plan_judge *j, struct err *e) {
    static const char *const keys[] = {"input", "output", NULL};
    j->has_price = ynode_present(n);
    if (!j->has_price) {
        return 0;
    }
    int rc = ymap_check(n, "price", keys, e);
    if (!rc && (!ynode_present(ymap_get(n, "input")) || !ynode_present(ymap_get(n, "output")))) {
        rc = ynode_fail(n, e, "price needs input and output: $ per million tokens");
    }
    rc = rc ? rc : ynode_num(ymap_get(n, "input"), "input", 0, 1e6, &j->usd_per_mtok_in, e);
    return rc ? rc : ynode_num(ymap_get(n, "output"), "output", 0, 1e6, &j->usd_per_mtok_out, e);
}

/* What only a service has. */
static int check_service(struct ynode n, const struct plan_judge *j, struct err *e) {
    static const char *const keys[] = {"auth_env",   "ca_file",   "output",
                                       "max_tokens", "timeout_s", "price"};
    for (size_t i = 0; !j->url && i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct ynode key = ymap_get(n, keys[i]);
        if (ynode_present(key)) {
            return ynode_fail(key, e, "%s goes with url; a model file has none", keys[i]);
        }
    }
    return 0;
}

static int read_settings(struct ynode n, const char *plan_dir, struct arena *a,
                         struct plan_judge *j, struct err *e) {
    struct ynode t = ymap_get(n, "temperature");
    j->has_temperature = ynode_present(t);
    int rc = ynode_num(t, "temperature", 0, 2, &j->temperature, e);
    rc = rc ? rc : ynode_int(ymap_get(n, "passes"), "passes", 1, MOST_PASSES, &j->passes, e);
    rc = rc ? rc
            : ynode_int(ymap_get(n, "concurrency"), "concurrency", 1, MOST_CONCURRENCY,
                        &j->concurrency, e);
    rc = rc ? rc
            : ynode_int(ymap_get(n, "max_tokens"), "max_tokens", 1, MOST_TOKENS, &j->max_tokens, e);
    rc = rc ? rc
            : ynode_int(ymap_get(n, "timeout_s"), "timeout_s", 1, MOST_TIMEOUT_S, &j->timeout_s, e);
    rc = rc ? rc : ynode_enum(ymap_get(n, "output"), "output", judge_output_names, &j->output, e);
    rc = rc ? rc : read_price(ymap_get(n, "price"), j, e);
    rc = rc ? rc : plan_read_file(ymap_get(n, "ca_file"), "ca_file", plan_dir, a, &j->ca_file, e);
    if (!rc && j->passes > 1 && !(j->temperature > 0)) {
        rc = ynode_fail(ymap_get(n, "passes"), e,
                        "the passes of a judge repeat each other with greedy decoding; set its "
                        "temperature");
    }
    return rc;
}

int plan_judge_read(struct ynode n, const char *plan_dir, struct arena *a, struct plan_judge *out,
                    struct err *e) {
    static const char *const keys[] = {"model",      "url",         "auth_env", "ca_file",
                                       "passes",     "temperature", "output",   "concurrency",
                                       "max_tokens", "timeout_s",   "price",    NULL};
    *out = (struct plan_judge){
        .passes = 1, .concurrency = DEFAULT_CONCURRENCY, .timeout_s = DEFAULT_TIMEOUT_S};
    if (!ynode_present(n)) {
        return 0;
    }
    struct plan_judge j = *out;
    int rc = ymap_check(n, "judge", keys, e);
    rc = rc ? rc : read_url(ymap_get(n, "url"), a, &j.url, e);
    rc = rc ? rc : read_auth_env(ymap_get(n, "auth_env"), a, &j.auth_env, e);
    rc = rc ? rc : check_service(n, &j, e);
    if (!rc) {
        rc = j.url ? plan_read_text(ymap_get(n, "model"), "model", a, &j.model, e)
                   : plan_read_file(ymap_get(n, "model"), "model", plan_dir, a, &j.model, e);
    }
    if (!rc && !j.model) {
        rc = ynode_fail(n, e,
                        "judge needs a model: a GGUF file, or with url the name of one there");
    }
    rc = rc ? rc : read_settings(n, plan_dir, a, &j, e);
    *out = j;
    return rc;
}
