#include "report/results.h"

#include "base/fs.h"
#include "base/json.h"
#include "report/claims.h"
#include "report/collect.h"
#include "report/devices.h"
#include "report/fmt.h"
#include "report/inputs.h"
#include "report/results_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "results: out of memory");
}

/* ---- pairs of rows ---- */

static bool same_keys(const struct published_variant *p, const struct store_variant *v) {
    return strcmp(p->family, v->family) == 0 && strcmp(p->size, v->size) == 0 &&
           strcmp(p->method, v->method) == 0 && strcmp(p->task, v->task) == 0 &&
           strcmp(p->precision, v->precision) == 0;
}

static const struct report_variant *find_ours(const struct report_run *run,
                                              const struct published_variant *p) {
    for (size_t i = 0; i < run->n_variants; i++) {
        if (same_keys(p, &run->variants[i].v)) {
            return &run->variants[i];
        }
    }
    return NULL;
}

static int pair_up(struct results *r, struct err *e) {
    r->ours = arena_array(&r->arena, r->theirs->n_variants, sizeof(struct report_variant *));
    if (!r->ours) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        r->ours[i] = find_ours(r->run, &r->theirs->variants[i]);
        r->n_there += r->ours[i] != NULL;
        r->n_served += r->ours[i] && r->ours[i]->input.output_tokens_per_s.present;
    }
    return 0;
}

/* ---- joules of the accelerators alone, as the published ones are ---- */

static bool is_gpu(const char *component) {
    return strncmp(component, "gpu", 3) == 0;
}

double results_joules(const struct report_stage *st, const char *window, bool repeats,
                      double *seconds) {
    double gpu = 0;
    double total = 0;
    bool has_gpu = false;
    bool has_total = false;
    *seconds = 0;
    for (size_t i = 0; st && i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        if (repeats ? !report_is_repeat(g->window, window) : strcmp(g->window, window) != 0) {
            continue;
        }
        if (is_gpu(g->component)) {
            gpu += g->joules; /* NAN where it is missing */
            has_gpu = true;
        } else if (strcmp(g->component, "total") == 0) {
            total += g->joules;
            *seconds += (g->end_ns - g->start_ns) / 1e9;
            has_total = true;
        }
    }
    return has_gpu ? gpu : has_total ? total : (double)NAN;
}

/* GPU joules of one request. */
static double request_j(const struct report_variant *v) {
    const struct report_stage *st = v ? v->stages[REPORT_SERVE] : NULL;
    double seconds;
    return st && !report_stage_failed(st) && v->input.requests_ok.present
               ? results_joules(st, "serve", true, &seconds) / v->input.requests_ok.value
               : (double)NAN;
}

static double published_request_j(const struct published_variant *p) {
    return p->input.serve_j.value / p->input.requests_ok.value;
}

static double value_of(const struct quantity *q) {
    return q->present ? q->value : (double)NAN;
}

/* ---- Markdown ---- */

void results_number(struct buf *out, double x) {
    buf_addstr(out, " ");
    if (isfinite(x)) {
        fmt_num(out, x);
    } else {
        buf_addstr(out, isinf(x) ? "never" : "-");
    }
    buf_addstr(out, " |");
}

static void add_keys(const struct published_variant *p, struct buf *out) {
    buf_addf(out, "| %s %s | %s | %s | %s |", p->family, p->size, p->method, p->task, p->precision);
}

static void add_trio(struct buf *out, double ours, double theirs) {
    results_number(out, ours);
    results_number(out, theirs);
    results_number(out, ours / theirs);
}

static void add_serving(const struct results *r, struct buf *out) {
    buf_addstr(out, "\n## Serving: ours, published, ours over published\n\n"
                    "100 requests at once, all answers of 150, 200 and 100 tokens. Joules are the "
                    "accelerators' own. `load` is exec to context ready.");
    if (isfinite(r->bandwidth)) {
        buf_addf(
            out,
            " This device has %.1f times the memory bandwidth of two T4 and %.1f times their FP16 "
            "peak: a throughput `x` beyond that is the engine's, or the batch's.",
            r->bandwidth, r->flops);
    }
    buf_addstr(
        out, " `x/bw` is the throughput's `x` divided by the ratio of bandwidths.\n\n"
             "| model | method | task | prec | tok/s | publ. | x | x/bw | J/request | publ. | x | "
             "load s | publ. | x |\n|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        const struct published_variant *p = &r->theirs->variants[i];
        const struct report_variant *v = r->ours[i];
        add_keys(p, out);
        double rate = v ? value_of(&v->input.output_tokens_per_s) : (double)NAN;
        add_trio(out, rate, p->input.output_tokens_per_s.value);
        results_number(out, rate / p->input.output_tokens_per_s.value / r->bandwidth);
        add_trio(out, request_j(v), published_request_j(p));
        add_trio(out, v ? value_of(&v->input.load_s) : (double)NAN, p->input.load_s.value);
        buf_addch(out, '\n');
    }
}

static const char *const paper_metrics[] = {"n_break", "ipw_paper", "rho_sys", "c_tax", "q_ret"};
enum { N_PAPER = sizeof(paper_metrics) / sizeof(paper_metrics[0]) };

static double our_value(const struct report_variant *v, const char *metric) {
    const struct metric_row *row = v ? report_row_in(v, metric, "paper") : NULL;
    return row ? row->value : (double)NAN;
}

static void add_metrics(const struct results *r, struct buf *out) {
    buf_addstr(out, "\n## The five metrics by the published definitions: ours, published\n\n"
                    "| model | method | task | prec |");
    for (size_t m = 0; m < N_PAPER; m++) {
        buf_addf(out, " %s | publ. |", paper_metrics[m]);
    }
    buf_addstr(out, "\n|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        const struct published_variant *p = &r->theirs->variants[i];
        add_keys(p, out);
        for (size_t m = 0; m < N_PAPER; m++) {
            results_number(out, our_value(r->ours[i], paper_metrics[m]));
            results_number(out, published_value(p, paper_metrics[m]));
        }
        buf_addch(out, '\n');
    }
    buf_addstr(
        out, "\nScores are the published ones, so Q_ret is theirs in both columns and IPW differs "
             "by joules alone. N_break here counts merging and quantizing too.\n");
}

/* ---- ratios within one machine, which need no normalising ---- */

/* The mean over tasks of figure(precision) / figure(fp16), of LoRA. */
static double mean_ratio(const struct results *r, size_t first, const char *precision,
                         double (*figure)(const struct results *r, size_t i)) {
    const struct published_variant *like = &r->theirs->variants[first];
    double sum = 0;
    int n = 0;
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        const struct published_variant *p = &r->theirs->variants[i];
        if (strcmp(p->precision, precision) != 0 || strcmp(p->method, "lora") != 0 ||
            strcmp(p->family, like->family) != 0 || strcmp(p->size, like->size) != 0) {
            continue;
        }
        for (size_t k = 0; k < r->theirs->n_variants; k++) {
            const struct published_variant *base = &r->theirs->variants[k];
            double ratio = figure(r, i) / figure(r, k);
            if (strcmp(base->precision, "fp16") == 0 && strcmp(base->task, p->task) == 0 &&
                strcmp(base->family, p->family) == 0 && strcmp(base->size, p->size) == 0 &&
                isfinite(ratio)) {
                sum += ratio;
                n++;
            }
        }
    }
    return n ? sum / n : (double)NAN;
}

static double our_rate(const struct results *r, size_t i) {
    return r->ours[i] ? value_of(&r->ours[i]->input.output_tokens_per_s) : (double)NAN;
}
static double their_rate(const struct results *r, size_t i) {
    return r->theirs->variants[i].input.output_tokens_per_s.value;
}
static double our_request_j(const struct results *r, size_t i) {
    return request_j(r->ours[i]);
}
static double their_request_j(const struct results *r, size_t i) {
    return published_request_j(&r->theirs->variants[i]);
}

static bool is_new_model(const struct results *r, size_t i) {
    const struct published_variant *p = &r->theirs->variants[i];
    return i == 0 || strcmp(p[-1].family, p->family) != 0 || strcmp(p[-1].size, p->size) != 0;
}

static void add_ratios(const struct results *r, struct buf *out) {
    static const char *const precisions[] = {"int8", "int4"};
    buf_addstr(
        out,
        "\n## What lower precision brings, within one machine\n\n"
        "Throughput and joules a request over those of FP16, means over the tasks of LoRA: the "
        "hardware cancels.\n\n| model | prec | tok/s over FP16, ours | publ. | J/request over "
        "FP16, ours | publ. |\n|---|---|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        const struct published_variant *p = &r->theirs->variants[i];
        for (size_t k = 0; is_new_model(r, i) && k < 2; k++) {
            buf_addf(out, "| %s %s | %s |", p->family, p->size, precisions[k]);
            results_number(out, mean_ratio(r, i, precisions[k], our_rate));
            results_number(out, mean_ratio(r, i, precisions[k], their_rate));
            results_number(out, mean_ratio(r, i, precisions[k], our_request_j));
            results_number(out, mean_ratio(r, i, precisions[k], their_request_j));
            buf_addch(out, '\n');
        }
    }
}

/* ---- claims ---- */

/* Our rows in the form in which claims are checked. */
static int as_published(const struct results *r, struct published *out, struct err *e) {
    struct arena *a = &out->arena;
    const struct published *t = r->theirs;
    out->trainings = arena_array(a, t->n_trainings, sizeof(*out->trainings));
    out->variants = arena_array(a, t->n_variants, sizeof(*out->variants));
    if (!out->trainings || !out->variants) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < t->n_variants; i++) {
        const struct report_variant *v = r->ours[i];
        const struct published_variant *p = &t->variants[i];
        if (!v) {
            continue;
        }
        struct published_training *mine = NULL;
        for (size_t k = 0; k < out->n_trainings; k++) {
            const struct published_training *o = &out->trainings[k];
            bool is_it = !strcmp(o->family, p->family) && !strcmp(o->size, p->size) &&
                         !strcmp(o->method, p->method) && !strcmp(o->task, p->task);
            mine = is_it ? &out->trainings[k] : mine;
        }
        double joules = results_training_j(v, p->training->rows);
        if (!mine && isfinite(joules)) {
            mine = &out->trainings[out->n_trainings++];
            *mine = *p->training;
            mine->energy_j = joules;
        }
        struct published_variant *o = &out->variants[out->n_variants++];
        *o = *p;
        o->input = v->input;
        o->rows = v->rows;
        o->training = mine;
    }
    return 0;
}

/* On other hardware a figure may also be better than claimed, or an upper limit be far away. */
static const char *verdict_here(const struct results *r, const struct claim *c) {
    if (isnan(c->found)) {
        return "not measured";
    }
    bool is_quality = strcmp(c->id, "q_ret") == 0;
    for (size_t i = 0; is_quality && i < r->theirs->n_variants; i++) {
        if (r->ours[i] && r->ours[i]->input.score.flags & QUANTITY_PUBLISHED) {
            return "not measured: the published scores again";
        }
    }
    if (strcmp(c->id, "n_break") == 0 && c->verdict != VERDICT_HOLDS) {
        return c->found < c->stated ? "sooner here" : "later here";
    }
    if (strcmp(c->id, "adaptation") == 0 && c->found < c->stated / 2) {
        return "far less here";
    }
    return verdict_name(c->verdict);
}

static int add_claims(const struct results *r, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    struct published ours = {.arena = ARENA_INIT};
    struct claim *claims = NULL;
    struct claim *published = NULL;
    size_t n = 0;
    int rc = as_published(r, &ours, e);
    rc = rc ? rc : claims_check(&ours, &a, &claims, &n, e);
    rc = rc ? rc : claims_check(r->theirs, &a, &published, &n, e);
    buf_addstr(out, "\n## Which of the paper's claims hold here\n\n"
                    "| claim | stated | here | published rows | here | published rows |\n"
                    "|---|--:|--:|--:|---|---|\n");
    for (size_t i = 0; !rc && i < n; i++) {
        buf_addstr(out, "| ");
        fmt_md(out, claims[i].claim);
        buf_addstr(out, " |");
        results_number(out, claims[i].stated);
        results_number(out, claims[i].found);
        results_number(out, published[i].found);
        buf_addf(out, " %s | %s |\n", verdict_here(r, &claims[i]),
                 verdict_name(published[i].verdict));
    }
    for (size_t i = 0; !rc && i < n; i++) {
        buf_addf(out, "%s- %s: ", i ? "" : "\nOn our rows:\n\n", claims[i].id);
        fmt_md(out, claims[i].detail);
        buf_addstr(out, ".\n");
    }
    arena_release(&ours.arena);
    arena_release(&a);
    return rc;
}

/* ---- the frame ---- */

static void add_head(const struct results *r, struct buf *out) {
    const struct report_run *run = r->run;
    const char *created = report_fact(run, "created_utc");
    const char *version = report_fact(run, "version");
    const char *device = run->n_variants ? run->variants[0].v.device : "";
    buf_addstr(out, "# The published matrix on ");
    fmt_md(out, device);
    buf_addf(out,
             "\n\nRun `%s`, begun %s with edge-eval %s: %zu of the %zu published variants are "
             "measured",
             run->run_id, created ? created : "at an unknown time", version ? version : "",
             r->n_served, r->theirs->n_variants);
    buf_addstr(out, r->n_served < r->theirs->n_variants
                        ? "; what is missing is named at the end.\n\n"
                        : ".\n\n");
    buf_addstr(
        out,
        "This page is made by `edge-eval reproduce --with RUN`; nothing in it is written by hand. "
        "The published rows are those of two Tesla T4 (data/reference). How ours were "
        "measured:\n\n"
        "- Weights are random in the true shapes: power may differ by up to 40 % from that of "
        "real weights (docs/synth.md).\n"
        "- Quality is that of the published rows; nothing here is a measurement of it.\n"
        "- Adapting was measured at two counts of rows and extrapolated to the published number "
        "(docs/plan.md). Rows are this project's, 183 to 273 tokens long.\n"
        "- Merging, quantizing and starts depend on the shape alone and were measured once a "
        "model and precision; serving once a model, precision and task.\n"
        "- Joules beside published ones are the accelerators' own, or the whole machine's where the run "
        "has no sensor of an accelerator.\n"
        "- `-` is not measured, or refused for the reason that `edge-eval report` gives.\n");
}

static void add_missing(const struct results *r, struct buf *out) {
    size_t n = 0;
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        const struct published_variant *p = &r->theirs->variants[i];
        const struct report_variant *v = r->ours[i];
        if (v && v->input.output_tokens_per_s.present && v->input.prepare_j.present) {
            continue;
        }
        buf_addstr(out, n++ ? "" : "\n## Not measured\n\n");
        buf_addf(out, "- %s %s %s %s %s: ", p->family, p->size, p->method, p->task, p->precision);
        fmt_md(out, !v                                      ? "not in the run's plan"
                    : !v->input.output_tokens_per_s.present ? v->input.output_tokens_per_s.reason
                                                            : v->input.prepare_j.reason);
        buf_addch(out, '\n');
    }
}

static int write_md(const struct results *r, struct buf *out, struct err *e) {
    add_head(r, out);
    int rc = add_claims(r, out, e);
    add_ratios(r, out);
    results_adapting(r, out);
    add_serving(r, out);
    add_metrics(r, out);
    add_missing(r, out);
    return rc;
}

/* ---- our rows as reference rows ---- */

static void add_cell(struct buf *out, double x) {
    buf_addch(out, ',');
    if (isfinite(x)) {
        fmt_full(out, x);
    }
}

static int write_csv(const struct results *r, struct buf *out, struct err *e) {
    (void)e;
    buf_addstr(out,
               "family,size,method,task,precision,device,requests,output_tokens_per_s,"
               "serve_device_j_per_request,serve_j_per_request,load_s,ttft_mean_s,itl_mean_s,"
               "weights_bytes,kv_bytes,compute_bytes,adapt_rows,adapt_device_j,prepare_j,labels\n");
    for (size_t i = 0; i < r->theirs->n_variants; i++) {
        const struct published_variant *p = &r->theirs->variants[i];
        const struct report_variant *v = r->ours[i];
        if (!v) {
            continue;
        }
        const struct metrics_input *in = &v->input;
        const struct metric_row *row = report_row(v, "joules_per_request");
        buf_addf(out, "%s,%s,%s,%s,%s,", p->family, p->size, p->method, p->task, p->precision);
        fmt_csv(out, v->v.device);
        const double cells[] = {value_of(&in->requests_ok),
                                value_of(&in->output_tokens_per_s),
                                request_j(v),
                                row->value,
                                value_of(&in->load_s),
                                value_of(&in->ttft_mean_s),
                                value_of(&in->itl_mean_s),
                                value_of(&in->weights_bytes),
                                value_of(&in->kv_bytes),
                                value_of(&in->compute_bytes),
                                p->training->rows,
                                results_training_j(v, p->training->rows),
                                value_of(&in->prepare_j)};
        for (size_t c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
            add_cell(out, cells[c]);
        }
        buf_addch(out, ',');
        fmt_csv(out, report_row_in(v, "n_break", "paper")->label);
        buf_addch(out, '\n');
    }
    return 0;
}

static const struct {
    const char *name;
    int (*write)(const struct results *r, struct buf *out, struct err *e);
} formats[] = {{"md", write_md}, {"csv", write_csv}};
enum { N_FORMATS = sizeof(formats) / sizeof(formats[0]) };
const char *const results_format_names[] = {"md", "csv", NULL};

static bool is_timing(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".json") == 0;
}

static int read_timing(const char *path, json_t **out, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = fs_read(path, &text, e);
    rc = rc ? rc : json_parse(text.data, text.len, path, out, e);
    if (!rc && !json_is_object(json_object_get(*out, "runs"))) {
        rc = err_set(e, EE_FORMAT, "%s has no \"runs\": it is no file of scripts/gpu-adapt.py",
                     path);
    }
    buf_release(&text);
    return rc;
}

/* How much more than the published hardware the run's device can do. */
static int compare_hardware(struct results *r, const char *data_dir, struct err *e) {
    struct known_device *devices = NULL;
    size_t n = 0;
    int rc = devices_load(data_dir, &r->arena, &devices, &n, e);
    const struct known_device *here = NULL;
    const struct known_device *there = NULL;
    if (!rc && r->run->n_variants) {
        here = devices_find(devices, n, r->run->variants[0].v.device);
        there = devices_find(devices, n, "t4");
    }
    bool both = here && there;
    r->bandwidth = both ? here->bytes_per_s / (2 * there->bytes_per_s) : (double)NAN;
    r->flops = both ? here->flops / (2 * there->flops) : (double)NAN;
    return rc;
}

int results_open(struct results *r, const char *data_dir, const char *const *sources, size_t n,
                 struct err *e) {
    *r = (struct results){.arena = ARENA_INIT};
    r->runs = arena_array(&r->arena, n, sizeof(struct report_run *));
    r->timings = arena_array(&r->arena, n, sizeof(json_t *));
    int rc = r->runs && r->timings ? published_load(data_dir, &r->theirs, e) : out_of_memory(e);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = i > 0 && is_timing(sources[i])
                 ? read_timing(sources[i], &r->timings[r->n_timings++], e)
                 : report_run_load(sources[i], &r->runs[r->n_runs++], e);
    }
    r->run = rc ? NULL : r->runs[0];
    rc = rc ? rc : compare_hardware(r, data_dir, e);
    return rc ? rc : pair_up(r, e);
}

void results_close(struct results *r) {
    for (size_t i = 0; i < r->n_runs; i++) {
        report_run_free(r->runs[i]);
    }
    for (size_t i = 0; i < r->n_timings; i++) {
        json_decref(r->timings[i]);
    }
    published_free(r->theirs);
    arena_release(&r->arena);
}

int results_format(const char *data_dir, const char *const *sources, size_t n, const char *format,
                   struct buf *out, struct err *e) {
    struct results r;
    size_t f = 0;
    while (f < N_FORMATS && strcmp(formats[f].name, format) != 0) {
        f++;
    }
    if (f == N_FORMATS) {
        return err_set(e, EE_USAGE, "--with goes with the formats md and csv, not \"%.40s\"",
                       format);
    }
    int rc = results_open(&r, data_dir, sources, n, e);
    rc = rc          ? rc
         : r.n_there ? formats[f].write(&r, out, e)
                     : err_set(e, EE_USAGE,
                               "%s has no variant of the published matrix; its models need the "
                               "published family and size (Llama or Qwen; 1B, 3B or 7B)",
                               r.run->dir);
    results_close(&r);
    return rc ? rc : buf_check(out, "results", e);
}
