/* What the serve stage counted: requests, tokens, throughput. */
#include "report/inputs.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

static void set_serving_missing(struct metrics_input *in, const char *why) {
    in->requests_ok = quantity_missing(why);
    in->requests_failed = quantity_missing(why);
    in->output_tokens_per_s = quantity_missing(why);
    inputs_no_latencies(in, why);
}

/* Counts and throughput as the stage summed them up. */
static void fill_counts(struct arena *a, struct metrics_input *in, const json_t *result) {
    int64_t ok = json_int_or(result, "ok", -1);
    int64_t failed = json_int_or(result, "failed", -1);
    int64_t repeats = json_int_or(result, "repeats", 1);
    const char *lengths = json_str_or(result, "lengths", "natural");
    double rate = json_num_or(result, "output_tokens_per_s", NAN);
    unsigned flags = (failed > 0 ? QUANTITY_SOME_FAILED : 0u) |
                     (strcmp(lengths, "forced") == 0 ? QUANTITY_FORCED : 0u);
    if (ok < 0 || failed < 0) {
        set_serving_missing(in, "the serve stage did not count its requests");
        return;
    }
    in->requests_failed = quantity_of((double)failed, 0);
    if (ok == 0) {
        in->requests_ok = failed ? inputs_missing(a, "all %lld requests failed", (long long)failed)
                                 : quantity_missing("no request was made");
        in->output_tokens_per_s = in->requests_ok;
        return;
    }
    in->requests_ok = quantity_of((double)ok, 0);
    in->requests_ok.flags = flags;
    in->output_tokens_per_s = isfinite(rate)
                                  ? quantity_of(rate, repeats > 0 ? (size_t)repeats : 1)
                                  : quantity_missing("the serve stage did not report it");
    in->output_tokens_per_s.flags = flags;
}

int inputs_serving(struct store *s, struct report_run *run, struct report_variant *v,
                   struct err *e) {
    struct arena *a = &run->arena;
    const char *why = NULL;
    int rc = inputs_stage_gap(a, v, REPORT_SERVE, &why, e);
    if (rc || why) {
        set_serving_missing(&v->input, why ? why : "");
        return rc;
    }
    json_t *result = inputs_result(v->stages[REPORT_SERVE]);
    if (!json_is_object(result)) {
        set_serving_missing(&v->input, "the serve stage has no readable result");
    } else {
        fill_counts(a, &v->input, result);
        rc = inputs_requests(s, run, v, e);
    }
    json_decref(result);
    return rc;
}
