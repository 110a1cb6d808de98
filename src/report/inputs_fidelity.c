/* What edge-eval fidelity --into kept of a variant's model file against that of its fp16 variant. */
#include "report/inputs.h"

#include "report/fmt.h"

#include "base/buf.h"
#include "base/json.h"
#include "lifecycle/fidelity.h"

#include <math.h>
#include <string.h>

static void set_missing(struct metrics_input *in, const char *why) {
    in->kl_to_fp16 = quantity_missing(why);
    in->same_top_token = in->kl_to_fp16;
    in->perplexity_ratio = in->kl_to_fp16;
}

/* The model file's hash; NULL where the store has none, as of a shape. */
static int file_hash(struct store *s, struct arena *a, const struct report_variant *v,
                     const char **out, struct err *e) {
    const struct report_stage *st = v->stages[REPORT_QUANTIZE];
    struct store_artifact *rows = NULL;
    size_t n = 0;
    *out = NULL;
    int rc = st ? store_artifacts(s, st->s.stage_id, a, &rows, &n, e) : 0;
    for (size_t i = 0; !rc && i < n; i++) {
        *out = *rows[i].hash ? rows[i].hash : *out;
    }
    return rc;
}

static struct quantity figure(const json_t *f, double scale, size_t n, const char *note) {
    double value = json_num_or(f, "value", NAN);
    if (!isfinite(value)) {
        return quantity_missing("what was kept of it is no number");
    }
    struct quantity q = quantity_of(scale * value, n);
    q.low = scale * json_num_or(f, "low", NAN);
    q.high = scale * json_num_or(f, "high", NAN);
    q.note = note;
    return q;
}

static int take(struct arena *a, struct metrics_input *in, const char *kept, struct err *e) {
    json_t *v = NULL;
    if (json_parse(kept, strlen(kept), "fidelity", &v, NULL)) {
        set_missing(in, "what was kept of it cannot be read");
        return 0;
    }
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%lld positions of %s", (long long)json_int_or(v, "tokens", 0),
             json_str_or(v, "on", "a text"));
    const char *note = b.failed ? NULL : fmt_utf8(a, b.data);
    buf_release(&b);
    if (!note) {
        json_decref(v);
        return err_set(e, EE_NOMEM, "fidelity: out of memory");
    }
    size_t n = (size_t)json_int_or(v, "windows", 0);
    in->kl_to_fp16 = figure(json_object_get(json_object_get(v, "kl"), "mean"), 1, n, note);
    in->same_top_token = figure(json_object_get(v, "same_top"), 100, n, note);
    in->perplexity_ratio = figure(json_object_get(v, "ppl_ratio"), 1, n, note);
    json_decref(v);
    return 0;
}

int inputs_fidelity(struct store *s, struct arena *a, struct report_variant *v,
                    const struct report_variant *fp16, struct err *e) {
    const char *base = NULL;
    const char *own = NULL;
    char *kept = NULL;
    int rc = fp16 ? file_hash(s, a, fp16, &base, e) : 0;
    rc = rc ? rc : file_hash(s, a, v, &own, e);
    if (fp16 && v == fp16) {
        set_missing(&v->input, "fp16 is the baseline itself");
        return rc;
    }
    if (!rc && base && own) {
        struct buf key;
        buf_init(&key);
        fidelity_key(base, own, &key);
        rc = buf_check(&key, "fidelity", e);
        rc = rc ? rc : store_meta_get(s, key.data, a, &kept, e);
        buf_release(&key);
    }
    if (!rc && !kept) {
        set_missing(&v->input, "not measured: edge-eval fidelity FP16 OTHER --into RUN does");
    }
    return rc || !kept ? rc : take(a, &v->input, kept, e);
}
