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

    {{"n_break", "break-even", "requests", "full",
      "requests at the plan's traffic until what was spent before serving is repaid",
      "r * C_once / (r * (c_api - v) - F)"},
     FORMULA(n_break_full)},
    {{"break_even_days", "break-even, days", "days", "full", "the same in days",
      "C_once / (r * (c_api - v) - F) / 24"},
     FORMULA(break_even_days)},
    {{"p_never", "chance of never", "1", "full",
      "share of draws of all measurement errors in which it never pays", NULL},
     FORMULA(p_never)},
    {{"saving_usd_per_h", "saving", "$/h", "full", "what an hour at the plan's traffic saves",
      "r * (c_api - v) - F"},
     FORMULA(saving_usd_per_h)},
    {{"replicas", "replicas", "1", "full", "replicas that carry the plan's peak",
      "max(R_min, ceil(peak / (capacity * headroom)))"},
     FORMULA(replicas)},
    {{"fixed_usd_per_h", "fixed cost", "$/h", "full", "what an hour costs whatever is served",
      "R * (hardware + P_idle / 1000 * PUE * kwh) + ops + recurring / refresh"},
     FORMULA(fixed_usd_per_h)},
    {{"marginal_usd", "marginal cost", "$/request", "full", "what one more request costs",
      "E_above_idle / 3.6e6 * PUE * kwh + variable"},
     FORMULA(marginal_usd)},
    {{"once_usd", "cost before serving", "$", "full",
      "labour, energy and hardware time of adapting, merging and quantizing",
      "labour + E_once / 3.6e6 * PUE * kwh + hardware * hours billed"},
     FORMULA(once_usd)},
    {{"request_usd", "cost of a request", "$/request", "full",
      "with the hardware that waits, at the plan's traffic", "F / r + v"},
     FORMULA(request_usd)},
    {{"api_request_usd", "API price of a request", "$/request", "full",
      "the request's tokens at the API's prices",
      "(uncached * p_in + cached * p_cached + written * p_write + output * p_out) * batch"},
     FORMULA(api_request_usd)},
    {{"accepted_usd", "cost of an accepted answer", "$/answer", "full",
      "what is not accepted is answered again at the price of the fallback",
      "F / r + v + (1 - p) * fallback"},
     FORMULA(accepted_usd)},
    {{"api_accepted_usd", "cost of an accepted API answer", "$/answer", "full",
      "the same for the API's own answers", "c_api + (1 - p_api) * fallback"},
     FORMULA(api_accepted_usd)},
    {{"usd_per_mtok", "cost of a million tokens", "$/Mtok", "full",
      "input and output in the workload's mix, with the hardware that waits",
      "(F / r + v) / tokens * 1e6"},
     FORMULA(usd_per_mtok)},
    {{"busy_usd_per_mtok", "cost of a million tokens, busy", "$/Mtok", "full",
      "the same with hardware paid only while it serves",
      "(hardware / throughput + E_request / 3.6e6 * PUE * kwh + variable) / tokens * 1e6"},
     FORMULA(busy_usd_per_mtok)},
    {{"api_usd_per_mtok", "API price of a million tokens", "$/Mtok", "full",
      "the API's tokens in the workload's mix", "c_api / tokens * 1e6"},
     FORMULA(api_usd_per_mtok)},
    {{"pays_from_per_h", "pays from", "requests/h", "full", "the lowest rate at which it pays",
      "the first root of r = F(R) / (c_api - v)"},
     FORMULA(pays_from_per_h)},
    {{"always_pays_from_per_h", "always pays from", "requests/h", "full",
      "the rate from which every further one pays", "the last root of r = F(R) / (c_api - v)"},
     FORMULA(always_pays_from_per_h)},
    {{"rate_one_lost_per_h", "rate with one replica lost", "requests/h", "full",
      "the highest rate within the SLO with one replica lost", "(R - 1) * capacity"},
     FORMULA(rate_one_lost_per_h)},
    {{"n_break_falling", "break-even, API prices falling", "requests", "full",
      "break-even while the API's prices fall", NULL},
     FORMULA(n_break_falling)},
    {{"payback_month", "payback", "months", "full",
      "the month after which all cash that went out has come back", NULL},
     FORMULA(payback_month)},
    {{"cash_12_usd", "cash after 12 months", "$", "full", "savings less purchases and C_once",
      NULL},
     FORMULA(cash_12_usd)},
    {{"cash_36_usd", "cash after 36 months", "$", "full", "savings less purchases and C_once",
      NULL},
     FORMULA(cash_36_usd)},
    {{"npv_12_usd", "NPV, 12 months", "$", "full", "the same, discounted", NULL},
     FORMULA(npv_12_usd)},
    {{"npv_36_usd", "NPV, 36 months", "$", "full", "the same, discounted", NULL},
     FORMULA(npv_36_usd)},
    {{"npv_36_falling_usd", "NPV, 36 months, API prices falling", "$", "full",
      "the same while the API's prices fall", NULL},
     FORMULA(npv_36_falling_usd)},
    {{"request_gco2e", "carbon of a request", "gCO2e/request", "full",
      "electricity, idle replicas included, location-based",
      "(R * P_idle / 1000 / r + E_above_idle / 3.6e6) * PUE * carbon"},
     FORMULA(request_gco2e)},
    {{"good_1000_gco2e", "carbon of 1,000 good answers", "gCO2e", "full",
      "the same for a thousand accepted answers", "1000 * request_gco2e / p"},
     FORMULA(good_1000_gco2e)},
    {{"embodied_gco2e", "embodied carbon of a request", "gCO2e/request", "full",
      "its share in making the devices", "R * devices * embodied / lifetime / r"},
     FORMULA(embodied_gco2e)},
    {{"ipj", "intelligence per joule", "1/J", "full", "score per joule of a request, gross",
      "S / E_request"},
     FORMULA(ipj)},
    {{"ipj_above_idle", "intelligence per joule above idle", "1/J", "full",
      "score per joule of a request above idle", "S / E_request_above_idle"},
     FORMULA(ipj_above_idle)},
    {{"ipw", "intelligence per watt", "1/W", "full",
      "score per watt while one request is served at a time", "S / P_request"},
     FORMULA(ipw_full)},
    {{"rho_sys", "system density", "tokens/s/GB", "full",
      "output tokens per second and gigabyte of weights, reserved KV cache and buffers",
      "tokens_per_s / ((weights + kv + compute) / 1e9)"},
     FORMULA(rho_sys_full)},
    {{"rho_sys_used_kv", "system density, used KV cache", "tokens/s/GB", "full",
      "the same with the part of the KV cache that held tokens",
      "tokens_per_s / ((weights + used_kv + compute) / 1e9)"},
     FORMULA(rho_sys_used_kv)},
    {{"rho_sys_weights", "system density, weights alone", "tokens/s/GB", "full",
      "the same for the weights alone", "tokens_per_s / (weights / 1e9)"},
     FORMULA(rho_sys_weights)},
    {{"c_tax", "cold-start tax", "requests", "full",
      "requests that could be served with the energy of one start from a cold page cache",
      "(E_exec_to_first_token - E_warm_first_token) / E_request"},
     FORMULA(c_tax_full)},
    {{"c_tax_warm", "cold-start tax, warm page cache", "requests", "full",
      "the same with the model file in the page cache",
      "(E_exec_to_first_token - E_warm_first_token) / E_request"},
     FORMULA(c_tax_warm)},
    {{"time_tax", "cold-start tax in time", "requests", "full",
      "requests that could be served, one at a time, in the time of one start",
      "T_load / T_request"},
     FORMULA(time_tax)},
    {{"keep_warm_energy_s", "keep-warm limit, energy", "s", "full",
      "idle time after which unloading and loading again costs less energy",
      "E_load / (P_idle_resident - P_idle_unloaded)"},
     FORMULA(keep_warm_energy_s)},
    {{"keep_warm_cost_s", "keep-warm limit, cost", "s", "full",
      "idle time after which giving the machine back and starting again costs less",
      "billed start-up / hourly price"},
     FORMULA(keep_warm_cost_s)},
    {{"cold_start_p99_s", "cold start, 99th percentile", "s", "full", "exec to the first token",
      NULL},
     FORMULA(cold_start_p99_s)},
    {{"q_ret", "quantization fidelity", "%", "full",
      "score kept of the fp16 model's over the same items, with its interval and verdict",
      "100 * S / S_fp16"},
     FORMULA(q_ret_full)},
    {{"q_ret_detectable", "detectable loss", "%", "full",
      "the loss that these items would show four times in five", NULL},
     FORMULA(q_ret_detectable)},
    {{"q_ret_items", "items needed", "items", "full",
      "items that would bring the interval to the margin", NULL},
     FORMULA(q_ret_items)},

    {{"score", "task score", "1", "measured", "mean over items of the task's primary scorer", NULL},
     MEASURED(score)},
    {{"kl_to_fp16", "KL divergence from fp16", "nats/token", "measured",
      "mean over positions of a text, by edge-eval fidelity --into", NULL},
     MEASURED(kl_to_fp16)},
    {{"same_top_token", "same top token as fp16", "%", "measured",
      "share of positions of that text at which both put the same token first", NULL},
     MEASURED(same_top_token)},
    {{"perplexity_ratio", "perplexity over fp16's", "1", "measured", "on that text", NULL},
     MEASURED(perplexity_ratio)},
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
    {{"prefill_token_j", "energy of a prefill token", "J/token", "measured",
      "above the idle of the loaded engine, by regression over a load designed for it", NULL},
     MEASURED(prefill_token_j)},
    {{"decode_token_j", "energy of a decode token", "J/token", "measured",
      "above the idle of the loaded engine, by regression over a load designed for it", NULL},
     MEASURED(decode_token_j)},
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
    {{"load_cold_j", "energy of a load", "J", "measured",
      "exec to first token less the same token when warm, from a cold page cache", NULL},
     MEASURED(load_cold_j)},
    {{"load_warm_j", "energy of a load, warm page cache", "J", "measured",
      "the same with the model file in the page cache", NULL},
     MEASURED(load_warm_j)},
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
    {{"used_kv_bytes", "KV cache used", "bytes", "measured",
      "memory of the most tokens that the KV cache held at once", NULL},
     MEASURED(used_kv_bytes)},
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

const struct metric *metrics_find_in(const char *id, const char *profile) {
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric *m = &registry[i].metric;
        if (strcmp(m->id, id) == 0 && (!profile || strcmp(m->profile, profile) == 0)) {
            return m;
        }
    }
    return NULL;
}

/* The paper's come first in the registry. */
const struct metric *metrics_find(const char *id) {
    return metrics_find_in(id, NULL);
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

void calc_infinite(struct calc *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    set_reason(c, "", fmt, ap);
    va_end(ap);
    c->row->value = INFINITY;
}

void calc_say(struct calc *c, const char *fmt, ...) {
    struct err text = ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    err_setv(&text, EE_FAIL, fmt, ap);
    va_end(ap);
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "%s%s%s", c->said ? c->said : "", c->said ? "; " : "", text.msg);
    c->said = b.failed ? NULL : arena_strdup(c->arena, b.data);
    c->out_of_memory = c->out_of_memory || !c->said;
    buf_release(&b);
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

bool calc_pass(struct calc *c, const struct quantity *q, const char *what) {
    if (!calc_take(c, q, what, CALC_NOT_NEGATIVE)) {
        return false;
    }
    c->row->value = q->value;
    c->row->low = q->low;
    c->row->high = q->high;
    c->row->n = q->n;
    c->row->flags |= q->flags;
    return true;
}

static void pass_on(struct calc *c, const struct quantity *q) {
    if (!q->present) {
        /* Unlike a formula's refusal this needs no "no X": the row is X. */
        calc_refuse(c, "%s", q->reason ? q->reason : "not measured");
        return;
    }
    calc_pass(c, q, c->row->metric->name);
}

static const struct quantity *input_at(const struct metrics_input *in, size_t offset) {
    return (const struct quantity *)(const void *)((const char *)in + offset);
}

/* The formula's own notes belong behind what it was made of. */
static const char *joined_notes(struct calc *c) {
    if (c->said && c->note) {
        const char *said = c->said;
        c->said = c->note;
        calc_say(c, "%s", said);
    }
    return c->said ? c->said : c->note;
}

static int compute(const struct metrics_input *in, struct arena *a, struct calc_shared *shared,
                   struct metric_row *rows, struct err *e) {
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct registry_row *r = &registry[i];
        rows[i] = (struct metric_row){.metric = &r->metric, .value = NAN, .low = NAN, .high = NAN};
        struct calc c = {.in = in, .shared = shared, .arena = a, .row = &rows[i]};
        if (r->formula) {
            r->formula(&c);
        } else {
            pass_on(&c, input_at(in, r->input));
        }
        if (isnan(rows[i].value) && !rows[i].reason) {
            calc_refuse(&c, "the result is not a number");
        }
        if (!quantity_label(rows[i].flags, c.scope, joined_notes(&c), a, &rows[i].label) ||
            c.out_of_memory) {
            return err_set(e, EE_NOMEM, "metric %s: out of memory", r->metric.id);
        }
    }
    return 0;
}

int metrics_compute(const struct metrics_input *in, struct arena *a, struct metric_row *rows,
                    struct err *e) {
    struct calc_shared shared = {0};
    int rc = compute(in, a, &shared, rows, e);
    calc_shared_free(&shared);
    return rc;
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
