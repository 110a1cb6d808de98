#include "metrics/metrics.h"

#include "metrics/formulas.h"

#include "base/buf.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* EDGE-EVAL, ACL 2026 Industry Track: $0.12/kWh; 500 input tokens at $0.0025 a thousand. */
const struct paper_constants paper_constants = {
    .kwh_usd = 0.12,
    .api_request_usd = 500.0 / 1000.0 * 0.0025,
    .bytes_per_weight_fp16 = 2,
    .bytes_per_weight_int8 = 1,
    .bytes_per_weight_int4 = 0.625,
};

/* A metric is a formula, or an input passed on as it was measured. */
struct registry_row {
    struct metric metric;
    formula_fn *formula;
    size_t input; /* offset of the quantity in struct metrics_input, without a formula */
};

#define FORMULA(fn) .formula = (fn)
#define MEASURED(field) .input = offsetof(struct metrics_input, field)

static const struct registry_row registry[] = {
    {{"n_break", "break-even", "requests", "paper",
      "requests after which electricity spent before serving is repaid against an API",
      "(E_adapt / 3.6e6 * 0.12) / (0.00125 - E_serve / n / 3.6e6 * 0.12)"},
     FORMULA(n_break_paper)},
    {{"ipw_paper", "intelligence per watt", "1/J", "paper",
      "task score per joule of one request (published as per watt)", "S / (E_serve / n)"},
     FORMULA(ipw_paper)},
    {{"rho_sys", "system density", "tokens/s/GB", "paper",
      "output tokens per second and nominal gigabyte of weights",
      "tokens_per_s / (weights * bytes_per_weight / 1e9)"},
     FORMULA(rho_sys_paper)},
    {{"c_tax", "cold-start tax", "requests", "paper",
      "requests that could be served with the energy of one load, priced at serving power",
      "load_s * P_serve / (E_serve / n)"},
     FORMULA(c_tax_paper)},
    {{"q_ret", "quantization fidelity", "%", "paper",
      "task score kept by the quantized model, of the fp16 model's score", "100 * S / S_fp16"},
     FORMULA(q_ret_paper)},

    {{"score", "task score", "1", "measured", "mean over items of the task's primary scorer", NULL},
     MEASURED(score)},
    {{"output_tokens_per_s", "throughput", "tokens/s", "measured",
      "output tokens of served requests per second of serving", NULL},
     MEASURED(output_tokens_per_s)},
    {{"joules_per_request", "energy per request", "J/request", "measured",
      "energy of the serving windows over requests served", "E_serve / n"},
     FORMULA(joules_per_request)},
    {{"serve_j", "serving energy", "J", "measured", "energy of all serving windows", NULL},
     MEASURED(serve_j)},
    {{"serve_w", "serving power", "W", "measured", "mean power over the serving windows", NULL},
     MEASURED(serve_w)},
    {{"prepare_j", "preparation energy", "J", "measured",
      "energy of adapting, merging and quantizing, as far as the variant uses them", NULL},
     MEASURED(prepare_j)},
    {{"requests_ok", "requests served", "requests", "measured", "requests answered", NULL},
     MEASURED(requests_ok)},
    {{"requests_failed", "requests failed", "requests", "measured",
      "requests without an answer; their energy counts, they do not", NULL},
     MEASURED(requests_failed)},
    {{"ttft_mean_s", "time to first token, mean", "s", "measured",
      "from the offer of a request to its first output token", NULL},
     MEASURED(ttft_mean_s)},
    {{"ttft_p50_s", "time to first token, median", "s", "measured",
      "from the offer of a request to its first output token", NULL},
     MEASURED(ttft_p50_s)},
    {{"ttft_p95_s", "time to first token, 95th percentile", "s", "measured",
      "from the offer of a request to its first output token", NULL},
     MEASURED(ttft_p95_s)},
    {{"tpot_mean_s", "time per output token, mean", "s", "measured",
      "mean over requests of (last token - first token) / (output tokens - 1)", NULL},
     MEASURED(tpot_mean_s)},
    {{"itl_mean_s", "inter-token latency, mean", "s", "measured",
      "mean over all gaps between output tokens of all requests", NULL},
     MEASURED(itl_mean_s)},
    {{"e2e_mean_s", "end-to-end latency, mean", "s", "measured",
      "from the offer of a request to its last output token", NULL},
     MEASURED(e2e_mean_s)},
    {{"e2e_p50_s", "end-to-end latency, median", "s", "measured",
      "from the offer of a request to its last output token", NULL},
     MEASURED(e2e_p50_s)},
    {{"e2e_p95_s", "end-to-end latency, 95th percentile", "s", "measured",
      "from the offer of a request to its last output token", NULL},
     MEASURED(e2e_p95_s)},
    {{"load_s", "load time", "s", "measured", "exec to context ready, mean over cold starts", NULL},
     MEASURED(load_s)},
    {{"file_bytes", "file size", "bytes", "measured", "size of the model file", NULL},
     MEASURED(file_bytes)},
    {{"weights_bytes", "weights in memory", "bytes", "measured",
      "memory of the weights, summed over devices", NULL},
     MEASURED(weights_bytes)},
    {{"kv_bytes", "KV cache in memory", "bytes", "measured",
      "memory reserved for the KV cache, summed over devices", NULL},
     MEASURED(kv_bytes)},
    {{"compute_bytes", "compute buffers in memory", "bytes", "measured",
      "memory of the engine's work buffers, summed over devices", NULL},
     MEASURED(compute_bytes)},
    {{"memory_peak_bytes", "memory peak", "bytes", "measured",
      "largest memory use while serving: on the device where it tells, else of the process", NULL},
     MEASURED(memory_peak_bytes)},
};

size_t metrics_count(void) {
    return sizeof(registry) / sizeof(registry[0]);
}

const struct metric *metrics_at(size_t i) {
    return &registry[i].metric;
}

const struct metric *metrics_find(const char *id) {
    for (size_t i = 0; i < metrics_count(); i++) {
        if (strcmp(registry[i].metric.id, id) == 0) {
            return &registry[i].metric;
        }
    }
    return NULL;
}

bool metric_refused(const struct metric_row *row) {
    return isnan(row->value);
}

static void set_reason(struct calc *c, const char *prefix, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

static void set_reason(struct calc *c, const char *prefix, const char *fmt, va_list ap) {
    struct err text = ERR_INIT;
    err_setv(&text, EE_FAIL, fmt, ap);
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s%s", prefix, text.msg);
    c->row->reason = b.failed ? NULL : arena_strdup(c->arena, b.data);
    if (!c->row->reason) {
        c->out_of_memory = true;
    }
    buf_release(&b);
}

void calc_refuse(struct calc *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    set_reason(c, "", fmt, ap);
    va_end(ap);
    c->row->value = NAN;
}

void calc_never(struct calc *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    set_reason(c, "never: ", fmt, ap);
    va_end(ap);
    c->row->value = INFINITY;
}

bool calc_take(struct calc *c, const struct quantity *q, const char *what, enum calc_range range) {
    if (!q->present) {
        calc_refuse(c, "no %s: %s", what, q->reason ? q->reason : "not measured");
        return false;
    }
    if (!isfinite(q->value)) {
        calc_refuse(c, "%s is not a finite number", what);
        return false;
    }
    if (q->value < 0) {
        calc_refuse(c, "%s is negative (%g)", what, q->value);
        return false;
    }
    if (!(q->value > 0) && range == CALC_POSITIVE) {
        calc_refuse(c, "%s is 0", what);
        return false;
    }
    /* Joules of the GPU and joules of the node are different things. */
    if (q->scope && c->scope && strcmp(q->scope, c->scope) != 0) {
        calc_refuse(c, "%s is of scope \"%s\", the rest of \"%s\": they cannot be combined", what,
                    q->scope, c->scope);
        return false;
    }
    c->scope = q->scope ? q->scope : c->scope;
    c->note = q->note ? q->note : c->note;
    c->row->flags |= q->flags & ~(unsigned)QUANTITY_OF_INTERVAL;
    return true;
}

static void pass_on(struct calc *c, const struct quantity *q) {
    if (!q->present) {
        /* Unlike a formula's refusal this needs no "no X": the row is X. */
        calc_refuse(c, "%s", q->reason ? q->reason : "not measured");
        return;
    }
    if (!calc_take(c, q, c->row->metric->name, CALC_NOT_NEGATIVE)) {
        return;
    }
    c->row->value = q->value;
    c->row->low = q->low;
    c->row->high = q->high;
    c->row->n = q->n;
    c->row->flags |= q->flags;
}

static const struct quantity *input_at(const struct metrics_input *in, size_t offset) {
    return (const struct quantity *)(const void *)((const char *)in + offset);
}

int metrics_compute(const struct metrics_input *in, struct arena *a, struct metric_row *rows,
                    struct err *e) {
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct registry_row *r = &registry[i];
        rows[i] = (struct metric_row){.metric = &r->metric, .value = NAN, .low = NAN, .high = NAN};
        struct calc c = {.in = in, .arena = a, .row = &rows[i]};
        if (r->formula) {
            r->formula(&c);
        } else {
            pass_on(&c, input_at(in, r->input));
        }
        if (isnan(rows[i].value) && !rows[i].reason) {
            calc_refuse(&c, "the result is not a number");
        }
        if (!quantity_label(rows[i].flags, c.scope, c.note, a, &rows[i].label) || c.out_of_memory) {
            return err_set(e, EE_NOMEM, "metric %s: out of memory", r->metric.id);
        }
    }
    return 0;
}

double metrics_weights_of_label(const char *size) {
    static const struct {
        char suffix;
        double factor;
    } suffixes[] = {{'K', 1e3}, {'M', 1e6}, {'B', 1e9}, {'T', 1e12}};
    char *end = NULL;
    if (!isdigit((unsigned char)size[0])) {
        return NAN; /* strtod would take signs, spaces, "inf" and "nan" */
    }
    double number = strtod(size, &end);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (toupper((unsigned char)end[0]) == suffixes[i].suffix && end[1] == '\0' && number > 0) {
            return number * suffixes[i].factor;
        }
    }
    return NAN;
}
