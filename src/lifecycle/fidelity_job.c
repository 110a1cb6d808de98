/*
 * The worker that holds two models and compares what they predict. Both compute the same few tokens
 * in turn, so that only a step's logits are in memory, and those are compared by all threads while the
 * models wait.
 */
#include "base/fs.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "base/utf8.h"
#include "engine/engine.h"
#include "engine/gguf_info.h"
#include "lifecycle/engine_args.h"
#include "lifecycle/prompts.h"
#include "lifecycle/worker.h"
#include "quality/fidelity.h"
#include "quality/fidelity_compat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Logits of a step, one model: the engine holds them twice, so both models take four times that. */
enum { STEP_LOGITS_BYTES = 24 * 1024 * 1024, MIN_STEP = 16 };

/* Tokens that are computed on their own; positions from first on count, the last one never, because
 * nothing follows it. */
struct window {
    const int32_t *tokens;
    size_t n;
    size_t first;
};

struct comparing {
    struct worker *worker;
    const char *paths[2]; /* base, other */
    struct engine *engines[2];
    struct arena arena;
    struct window *windows;
    size_t n_windows;
    size_t n_tokens; /* in all windows */
    size_t context;
    size_t step; /* tokens computed at once */
    bool compat;
    int n_threads;
    struct fidelity *exact;
    struct compat *tool;
};

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "fidelity: out of memory");
}

static int tell_reading(struct comparing *c, const char *path, struct err *e) {
    return worker_row(c->worker, json_pack("{s:s}", "reading", path), e);
}

static void close_engines(struct comparing *c) {
    for (int i = 0; i < 2; i++) {
        engine_close(c->engines[i]);
        c->engines[i] = NULL;
    }
}

/* ---- what is compared ---- */

static struct window *add_window(struct comparing *c, const int32_t *tokens, size_t n) {
    struct window *w = &c->windows[c->n_windows++];
    *w = (struct window){.tokens = tokens, .n = n};
    c->n_tokens += n;
    return w;
}

static bool make_windows(struct comparing *c, size_t most) {
    c->windows = arena_array(&c->arena, most, sizeof(*c->windows));
    return c->windows != NULL;
}

/* Both must read the text alike; equal token names do not say that they also split it alike. */
static int check_same_split(struct comparing *c, const struct buf *text, const int32_t *tokens,
                            size_t n, struct err *e) {
    struct arena a = ARENA_INIT;
    int32_t *others = NULL;
    size_t n_others = 0;
    int rc = engine_tokenize_text(c->engines[1], text->data, text->len, c->compat, &a, &others,
                                  &n_others, e);
    if (!rc && (n != n_others || memcmp(tokens, others, n * sizeof(*tokens)) != 0)) {
        rc = err_set(e, EE_UNSUPPORTED, "%s and %s split the text into different tokens",
                     c->paths[0], c->paths[1]);
    }
    arena_release(&a);
    return rc;
}

/* Windows one after the other. Where the tokenizer begins a document with a token, every window does:
 * in front of the text's tokens, or, as the tool does it, in place of the first. */
static int window_text(struct comparing *c, int32_t *tokens, size_t n, size_t most, struct err *e) {
    const int32_t begin = engine_begin_token(c->engines[0]);
    const size_t own = begin >= 0 && !c->compat ? 1 : 0;
    const size_t stride = c->context - own;
    size_t n_windows = c->compat ? n / stride : (n + stride - 1) / stride;
    n_windows = most && most < n_windows ? most : n_windows;
    if (!make_windows(c, n_windows)) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < n_windows; i++) {
        size_t left = n - i * stride < stride ? n - i * stride : stride;
        int32_t *copy = arena_array(&c->arena, own + left, sizeof(*copy));
        if (!copy) {
            return out_of_memory(e);
        }
        memcpy(copy + own, tokens + i * stride, left * sizeof(*copy));
        copy[0] = begin >= 0 ? begin : copy[0];
        if (own + left >= 2) {
            add_window(c, copy, own + left)->first = c->compat ? c->context / 2 : 0;
        }
    }
    return 0;
}

static int read_text(struct comparing *c, const char *path, size_t most, struct err *e) {
    struct buf text;
    int32_t *tokens = NULL;
    size_t n = 0;
    buf_init(&text);
    int rc = fs_read(path, &text, e);
    if (!rc && !utf8_is_valid(text.data, text.len)) {
        rc = err_set(e, EE_FORMAT, "%s is not UTF-8 text; convert it first", path);
    }
    if (!rc && c->compat && engine_end_token(c->engines[0]) >= 0) {
        rc = err_set(e, EE_UNSUPPORTED,
                     "llama-perplexity does not take models whose tokenizer ends a document with "
                     "a token, as that of %s does",
                     c->paths[0]);
    }
    if (!rc && c->compat && text.len > 0 && text.data[text.len - 1] == '\n') {
        text.len--; /* as the tool reads files */
    }
    rc = rc ? rc
            : engine_tokenize_text(c->engines[0], text.data, text.len, c->compat, &c->arena,
                                   &tokens, &n, e);
    rc = rc ? rc : check_same_split(c, &text, tokens, n, e);
    if (!rc && n < (c->compat ? 2 * c->context : 2)) {
        rc = err_set(e, EE_FORMAT, "%s has %zu tokens; at least %zu are needed", path, n,
                     c->compat ? 2 * c->context : (size_t)2);
    }
    rc = rc ? rc : window_text(c, tokens, n, most, e);
    buf_release(&text);
    return rc;
}

static size_t common_start(const struct window *a, const struct window *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->tokens[n] == b->tokens[n]) {
        n++;
    }
    return n;
}

/* What all prompts begin with (template, instruction) counts once, with the first prompt. */
static void count_start_once(struct comparing *c) {
    size_t shared = c->windows[0].n;
    for (size_t i = 1; i < c->n_windows; i++) {
        size_t n = common_start(&c->windows[0], &c->windows[i]);
        shared = n < shared ? n : shared;
    }
    for (size_t i = 1; i < c->n_windows; i++) {
        c->windows[i].first = shared > 0 ? shared - 1 : 0;
    }
}

static int read_prompts(struct comparing *c, const json_t *task, struct err *e) {
    struct task_set set;
    int rc = prompts_load(task, &set, e);
    if (rc) {
        return rc;
    }
    size_t longest = 0;
    rc = make_windows(c, set.n_items) ? 0 : out_of_memory(e);
    for (size_t i = 0; i < set.n_items && !rc; i++) {
        struct engine_request q = {0};
        rc = prompts_tokenize(c->engines[0], &set.items[i], &c->arena, &q, e);
        if (!rc) {
            add_window(c, q.prompt, q.n_prompt);
            longest = q.n_prompt > longest ? q.n_prompt : longest;
        }
    }
    if (!rc && c->context > 0 && longest > c->context) {
        rc = err_set(e, EE_USAGE, "the longest prompt has %zu tokens, the context %zu", longest,
                     c->context);
    }
    if (!rc) {
        count_start_once(c);
        c->context = longest;
    }
    task_set_release(&set);
    return rc;
}

/* Tokens of the text or the prompts, by vocabularies alone: nothing large is read before it is known
 * that the two can be compared. */
static int choose_windows(struct comparing *c, const json_t *args, struct err *e) {
    const char *text = json_str_or(args, "text", NULL);
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        rc = tell_reading(c, c->paths[i], e);
        rc = rc ? rc : engine_open_vocabulary(c->paths[i], &c->engines[i], e);
    }
    if (!rc) {
        rc = engine_check_same_vocabulary(c->engines[0], c->engines[1], e);
        rc = rc ? err_prefix(e, "%s and %s cannot be compared", c->paths[0], c->paths[1]) : 0;
    }
    if (!rc && text) {
        rc = read_text(c, text, (size_t)json_int_or(args, "windows", 0), e);
    } else if (!rc) {
        rc = read_prompts(c, json_object_get(args, "task"), e);
    }
    if (!rc) {
        size_t fits = STEP_LOGITS_BYTES / (engine_n_vocab(c->engines[0]) * sizeof(float));
        fits = fits > MIN_STEP ? fits : MIN_STEP;
        c->step = fits < c->context ? fits : c->context;
    }
    close_engines(c);
    return rc;
}

static int check_trained(const struct comparing *c, const char *path, struct err *e) {
    struct gguf_info info;
    int rc = gguf_info_read_model(path, &info, e);
    if (!rc && info.n_ctx_train > 0 && c->context > (size_t)info.n_ctx_train) {
        rc = err_set(e, EE_UNSUPPORTED, "%zu tokens at once pass the %lld that %s was trained on",
                     c->context, (long long)info.n_ctx_train, path);
    }
    return rc;
}

static int open_engines(struct comparing *c, const json_t *args, struct err *e) {
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        struct engine_opts opts = {0};
        struct engine_times times;
        engine_args_read(json_object_get(args, "engine"), &opts);
        opts.model_path = c->paths[i];
        opts.n_ctx_seq = (int)c->context;
        opts.n_batch = (int)c->step;
        opts.n_outputs = (int)c->step;
        opts.use_mmap = true;
        rc = check_trained(c, c->paths[i], e);
        rc = rc ? rc : tell_reading(c, c->paths[i], e);
        rc = rc ? rc : engine_open(&opts, &c->engines[i], &times, e);
    }
    return rc ? rc : tell_reading(c, "", e);
}

/* ---- comparing ---- */

/* The rows of a step, shared out among threads. */
struct share {
    const float *base;
    const float *other;
    const int32_t *next; /* the token after each row */
    size_t n_rows;
    size_t n_vocab;
    struct fidelity_row *exact; /* one of the two is NULL */
    struct compat_row *tool;
    uint16_t *rounded; /* scratch of the tool's rows, of a vocabulary's size a thread */
};

static void compare_share(void *ctx, int thread, int64_t first, int64_t end) {
    const struct share *s = ctx;
    for (size_t i = (size_t)first; i < (size_t)end; i++) {
        const float *base = s->base + i * s->n_vocab;
        const float *other = s->other + i * s->n_vocab;
        if (s->exact) {
            fidelity_compare(base, other, s->n_vocab, s->next[i], &s->exact[i]);
        } else {
            compat_compare(base, other, s->n_vocab, s->next[i],
                           s->rounded + (size_t)thread * s->n_vocab, &s->tool[i]);
        }
    }
}

/* Memory of one window, reused by all. */
struct scratch {
    struct engine_token *tokens;
    struct fidelity_row *exact;
    struct compat_row *tool;
    uint16_t *rounded;
};

static bool scratch_init(struct scratch *s, const struct comparing *c, struct arena *a) {
    *s = (struct scratch){.tokens = arena_array(a, c->step, sizeof(*s->tokens))};
    if (c->compat) {
        size_t n_vocab = engine_n_vocab(c->engines[0]);
        s->tool = arena_array(a, c->context, sizeof(*s->tool));
        s->rounded = arena_array(a, n_vocab * (size_t)c->n_threads, sizeof(*s->rounded));
        return s->tokens && s->tool && s->rounded;
    }
    s->exact = arena_array(a, c->context, sizeof(*s->exact));
    return s->tokens && s->exact;
}

/* Computes n tokens from position at with both models; adds to *n_rows how many were compared. */
static int compare_step(struct comparing *c, const struct window *w, size_t at, size_t n,
                        struct scratch *s, size_t *n_rows, struct err *e) {
    struct share all = {.n_vocab = engine_n_vocab(c->engines[0])};
    for (size_t i = 0; i < n; i++) {
        size_t pos = at + i;
        bool counts = pos >= w->first && pos + 1 < w->n;
        s->tokens[i] = (struct engine_token){
            .id = w->tokens[pos], .pos = (int32_t)pos, .output = counts};
        if (counts && all.n_rows++ == 0) {
            all.next = &w->tokens[pos + 1];
        }
    }
    int rc = engine_compute(c->engines[0], s->tokens, n, &all.base, e);
    rc = rc ? rc : engine_compute(c->engines[1], s->tokens, n, &all.other, e);
    if (!rc && all.n_rows > 0) {
        all.exact = s->exact ? s->exact + *n_rows : NULL;
        all.tool = s->tool ? s->tool + *n_rows : NULL;
        all.rounded = s->rounded;
        parallel_for((int64_t)all.n_rows, c->n_threads, compare_share, &all);
        *n_rows += all.n_rows;
    }
    return rc;
}

static int compare_window(struct comparing *c, const struct window *w, struct scratch *s,
                          size_t done, struct err *e) {
    size_t n_rows = 0;
    int rc = 0;
    engine_forget(c->engines[0], 0, 0);
    engine_forget(c->engines[1], 0, 0);
    for (size_t at = 0; at < w->n && !rc; at += c->step) {
        size_t left = w->n - at;
        rc = compare_step(c, w, at, left < c->step ? left : c->step, s, &n_rows, e);
        worker_progress(c->worker, (int64_t)(done + at), (int64_t)c->n_tokens, -1);
    }
    if (!rc && c->compat) {
        compat_add(c->tool, s->tool, n_rows);
    } else if (!rc) {
        rc = fidelity_add(c->exact, s->exact, n_rows, e);
    }
    return rc;
}

static int compare_all(struct comparing *c, struct err *e) {
    struct arena a = ARENA_INIT;
    struct scratch s;
    size_t done = 0;
    int rc = c->compat ? compat_new(c->n_tokens, &c->tool, e) : fidelity_new(&c->exact, e);
    if (!rc && !scratch_init(&s, c, &a)) {
        rc = out_of_memory(e);
    }
    for (size_t i = 0; i < c->n_windows && !rc; i++) {
        rc = compare_window(c, &c->windows[i], &s, done, e);
        done += c->windows[i].n;
    }
    arena_release(&a);
    return rc;
}

/* ---- the result ---- */

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *figure(const struct fidelity_figure *f) {
    return json_pack("{s:o, s:o, s:o}", "value", number(f->value), "low", number(f->low), "high",
                     number(f->high));
}

static json_t *exact_json(const struct fidelity_summary *s) {
    return json_pack("{s:s, s:I, s:I, s:{s:o, s:f, s:f, s:f}, s:o, s:o, s:o, s:o}", "method",
                     "exact", "tokens", (json_int_t)s->n_tokens, "windows",
                     (json_int_t)s->n_windows, "kl", "mean", figure(&s->mean_kl), "median",
                     s->kl_median, "p99", s->kl_p99, "max", s->kl_max, "same_top",
                     figure(&s->same_top), "ppl_base", figure(&s->ppl_base), "ppl_other",
                     figure(&s->ppl_other), "ppl_ratio", figure(&s->ppl_ratio));
}

static json_t *with_error(const struct compat_figure *f) {
    return json_pack("{s:o, s:o}", "value", number(f->value), "error", number(f->error));
}

static json_t *compat_json(const struct compat_summary *s) {
    json_t *v = json_pack("{s:s, s:I}", "method", "llama-perplexity", "tokens",
                          (json_int_t)s->n_tokens);
    const struct {
        const char *key;
        const struct compat_figure *figure;
    } figures[] = {
        {"ppl_final_estimate", &s->ppl_exact},
        {"ppl_other", &s->ppl_other},
        {"ppl_base", &s->ppl_base},
        {"log_ppl_ratio", &s->log_ratio},
        {"ppl_ratio", &s->ratio},
        {"ppl_difference", &s->difference},
        {"kl_mean", &s->kl},
        {"p_diff_mean", &s->p_diff},
        {"p_diff_rms", &s->p_diff_rms},
        {"same_top", &s->same_top},
    };
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        json_object_set_new(v, figures[i].key, with_error(figures[i].figure));
    }
    json_object_set_new(v, "log_ppl_correlation", number(s->correlation));
    const struct {
        const char *key;
        float value;
    } points[] = {
        {"kl_max", s->kl_max},      {"kl_p99.9", s->kl_999},   {"kl_p99", s->kl_99},
        {"kl_p95", s->kl_95},       {"kl_p90", s->kl_90},      {"kl_median", s->kl_50},
        {"kl_p10", s->kl_10},       {"kl_p5", s->kl_05},       {"kl_p1", s->kl_01},
        {"kl_p0.1", s->kl_001},     {"kl_min", s->kl_min},     {"p_diff_max", s->p_max},
        {"p_diff_p99.9", s->p_999}, {"p_diff_p99", s->p_99},   {"p_diff_p95", s->p_95},
        {"p_diff_p90", s->p_90},    {"p_diff_p75", s->p_75},   {"p_diff_median", s->p_50},
        {"p_diff_p25", s->p_25},    {"p_diff_p10", s->p_10},   {"p_diff_p5", s->p_05},
        {"p_diff_p1", s->p_01},     {"p_diff_p0.1", s->p_001}, {"p_diff_min", s->p_min},
    };
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        json_object_set_new(v, points[i].key, number(points[i].value));
    }
    return v;
}

static int summarize(struct comparing *c, json_t **result, struct err *e) {
    struct engine_info info;
    int rc;
    if (c->compat) {
        struct compat_summary s;
        rc = compat_summarize(c->tool, &s, e);
        *result = rc ? NULL : compat_json(&s);
    } else {
        struct fidelity_summary s;
        rc = fidelity_summarize(c->exact, &s, e);
        *result = rc ? NULL : exact_json(&s);
    }
    if (!rc) {
        engine_get_info(c->engines[0], &info);
        json_object_set_new(*result, "context", json_integer((json_int_t)c->context));
        json_object_set_new(*result, "device", json_string(info.device));
    }
    return rc;
}

int fidelity_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct comparing c = {.worker = w,
                          .arena = ARENA_INIT,
                          .context = (size_t)json_int_or(args, "context", 0),
                          .compat = json_is_true(json_object_get(args, "compat"))};
    int64_t asked = json_int_or(json_object_get(args, "engine"), "threads", 0);
    c.n_threads = asked > 0 ? (int)asked : machine_hw_threads();
    c.n_threads = c.n_threads < PARALLEL_MAX_THREADS ? c.n_threads : PARALLEL_MAX_THREADS;
    int rc = json_want_str(args, "base", &c.paths[0], e);
    rc = rc ? rc : json_want_str(args, "other", &c.paths[1], e);
    rc = rc ? rc : choose_windows(&c, args, e);
    rc = rc ? rc : open_engines(&c, args, e);
    rc = rc ? rc : compare_all(&c, e);
    rc = rc ? rc : summarize(&c, result, e);
    close_engines(&c);
    fidelity_free(c.exact);
    compat_free(c.tool);
    arena_release(&c.arena);
    return rc;
}
