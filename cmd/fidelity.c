/* edge-eval fidelity: how far one model's predictions are from another's, with no task. */
#include "cmd.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/engine.h"
#include "lifecycle/fidelity.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const usage[] = {
    "fidelity BASE.gguf OTHER.gguf --text FILE [--context N] [--windows N] [--json]",
    "fidelity BASE.gguf OTHER.gguf --text FILE --compat llama-perplexity [--json]",
    "fidelity BASE.gguf OTHER.gguf --task rag|summ|chat [--data FILE] [--json]",
    "fidelity BASE.gguf OTHER.gguf --text FILE --into RUN",
    NULL,
};

static const char *const compat_names[] = {"llama-perplexity", NULL};
static const char *const task_choices[] = {"rag", "summ", "chat", NULL};

enum { DEFAULT_CONTEXT = 512, MIN_CONTEXT = 16 };

struct args {
    const char *text;
    const char *task;
    const char *data;
    const char *compat;
    const char *into;
    int64_t context;
    int64_t windows;
    int64_t items;
    int64_t threads;
    int64_t gpu_layers;
    bool json;
};

static int check_args(const struct args *a, struct err *e) {
    if (!a->text == !a->task) {
        return err_set(e, EE_USAGE,
                       "give --text FILE or --task NAME (see: edge-eval help "
                       "fidelity)");
    }
    if (a->task ? a->windows != 0 : a->data || a->items != 0) {
        return err_set(e, EE_USAGE, "--windows goes with --text, --data and --items with --task");
    }
    if (a->compat && (a->task || (a->context && a->context != DEFAULT_CONTEXT))) {
        return err_set(e, EE_USAGE,
                       "--compat llama-perplexity compares texts, in windows of %d tokens",
                       DEFAULT_CONTEXT);
    }
    if (a->compat && a->into) {
        return err_set(e, EE_USAGE, "--into keeps the exact figures; leave --compat out");
    }
    if ((a->context && a->context < MIN_CONTEXT) || a->context > INT32_MAX || a->windows < 0 ||
        a->items < 0 || a->threads < 0 || a->gpu_layers < ENGINE_ALL_GPU_LAYERS) {
        return err_set(e, EE_USAGE, "--context is at least %d, other numbers are not negative",
                       MIN_CONTEXT);
    }
    return 0;
}

static void show_progress(int64_t done, int64_t total, void *ctx) {
    bool *shown = ctx;
    fprintf(stderr, "\r\033[K%3lld %%  %lld of %lld tokens",
            (long long)(total ? done * 100 / total : 0), (long long)done, (long long)total);
    fflush(stderr);
    *shown = true;
}

/* ---- text ---- */

static double value_of(const json_t *v, const char *key) {
    return json_num_or(json_object_get(v, key), "value", 0);
}

/* scale: 100 for shares, which are printed in percent. */
static void print_figure(const char *label, const json_t *f, int digits, double scale,
                         const char *unit) {
    const json_t *low = json_object_get(f, "low");
    printf("%-22s %12.*f%s", label, digits, scale * json_num_or(f, "value", 0), unit);
    if (json_is_number(low)) {
        printf("   %.*f to %.*f%s", digits, scale * json_number_value(low), digits,
               scale * json_num_or(f, "high", 0), unit);
    }
    printf("\n");
}

static void print_number(const char *label, const json_t *obj, const char *key) {
    printf("%-22s %12.6f\n", label, json_num_or(obj, key, 0));
}

static void print_exact(const json_t *v) {
    const json_t *kl = json_object_get(v, "kl");
    long long windows = json_int_or(v, "windows", 0);
    printf("%lld positions in %lld windows of up to %lld tokens, on %s\n\n",
           (long long)json_int_or(v, "tokens", 0), windows, (long long)json_int_or(v, "context", 0),
           json_str_or(v, "device", "?"));
    printf("%-22s %12s   %s\n", "", "",
           windows > 1 ? "95 %, over windows" : "one window shows no interval");
    print_figure("KL divergence, mean", json_object_get(kl, "mean"), 6, 1, "");
    print_number("  median", kl, "median");
    print_number("  99th percentile", kl, "p99");
    print_number("  largest", kl, "max");
    print_figure("same top token", json_object_get(v, "same_top"), 2, 100, " %");
    print_figure("perplexity, base", json_object_get(v, "ppl_base"), 4, 1, "");
    print_figure("perplexity, other", json_object_get(v, "ppl_other"), 4, 1, "");
    print_figure("  other / base", json_object_get(v, "ppl_ratio"), 6, 1, "");
}

static void print_with_error(const char *label, const json_t *v, const char *key) {
    printf("%s %10.6f ± %10.6f\n", label, value_of(v, key),
           json_num_or(json_object_get(v, key), "error", 0));
}

static void print_percent(const char *label, const json_t *v, const char *key) {
    printf("%s %6.3f ± %5.3f %%\n", label, 100 * value_of(v, key),
           100 * json_num_or(json_object_get(v, key), "error", 0));
}

static void print_compat_perplexity(const json_t *v) {
    printf("Final estimate: PPL = %.4f +/- %.5f\n\n", value_of(v, "ppl_final_estimate"),
           json_num_or(json_object_get(v, "ppl_final_estimate"), "error", 0));
    printf("====== Perplexity statistics ======\n");
    print_with_error("Mean PPL(Q)                   :", v, "ppl_other");
    print_with_error("Mean PPL(base)                :", v, "ppl_base");
    printf("Cor(ln(PPL(Q)), ln(PPL(base))): %6.2f%%\n",
           100 * json_num_or(v, "log_ppl_correlation", 0));
    print_with_error("Mean ln(PPL(Q)/PPL(base))     :", v, "log_ppl_ratio");
    print_with_error("Mean PPL(Q)/PPL(base)         :", v, "ppl_ratio");
    print_with_error("Mean PPL(Q)-PPL(base)         :", v, "ppl_difference");
}

/* The lines of the tool, word for word, so that the two outputs can be compared as they are. */
static void print_compat(const json_t *v) {
    static const struct {
        const char *label;
        const char *kl;
        const char *p_diff;
    } points[] = {
        {"Maximum", "kl_max", "p_diff_max"},       {"99.9%  ", "kl_p99.9", "p_diff_p99.9"},
        {"99.0%  ", "kl_p99", "p_diff_p99"},       {"95.0%  ", "kl_p95", "p_diff_p95"},
        {"90.0%  ", "kl_p90", "p_diff_p90"},       {"75.0%  ", NULL, "p_diff_p75"},
        {"Median ", "kl_median", "p_diff_median"}, {"25.0%  ", NULL, "p_diff_p25"},
        {"10.0%  ", "kl_p10", "p_diff_p10"},       {" 5.0%  ", "kl_p5", "p_diff_p5"},
        {" 1.0%  ", "kl_p1", "p_diff_p1"},         {" 0.1%  ", "kl_p0.1", "p_diff_p0.1"},
        {"Minimum", "kl_min", "p_diff_min"},
    };
    const size_t n_points = sizeof(points) / sizeof(points[0]);
    print_compat_perplexity(v);
    printf("\n====== KL divergence statistics ======\n");
    print_with_error("Mean    KLD:", v, "kl_mean");
    for (size_t i = 0; i < n_points; i++) {
        if (points[i].kl) {
            printf("%s KLD: %10.6f\n", points[i].label, json_num_or(v, points[i].kl, 0));
        }
    }
    printf("\n====== Token probability statistics ======\n");
    print_percent("Mean    Δp:", v, "p_diff_mean");
    for (size_t i = 0; i < n_points; i++) {
        printf("%s Δp: %6.3f%%\n", points[i].label, 100 * json_num_or(v, points[i].p_diff, 0));
    }
    print_percent("RMS Δp    :", v, "p_diff_rms");
    print_percent("Same top p:", v, "same_top");
}

static int print_json(const struct fidelity_opts *o, json_t *v, struct err *e) {
    json_t *all = json_pack("{s:s, s:s, s:s?, s:s?, s:s?}", "base", o->base_path, "other",
                            o->other_path, "text", o->text_path, "task",
                            o->text_path ? NULL : o->task, "data",
                            o->text_path ? NULL : o->task_path);
    if (!all || json_object_update(all, v) != 0) {
        json_decref(all);
        return err_set(e, EE_NOMEM, "fidelity: out of memory");
    }
    return cmd_print_json(all, e);
}

static int print_text(const struct fidelity_opts *o, const json_t *v) {
    if (o->compat) {
        print_compat(v);
        return 0;
    }
    printf("base   %s\nother  %s\n%s   %s, ", o->base_path, o->other_path,
           o->text_path ? "text" : "task", o->text_path ? o->text_path : o->task_path);
    print_exact(v);
    return 0;
}

/* ---- the command ---- */

static int compare(const struct args *a, const struct fidelity_opts *given, struct err *e) {
    struct fidelity_opts o = *given;
    struct buf task_path;
    char *data_dir = NULL;
    json_t *v = NULL;
    bool shown = false;
    buf_init(&task_path);
    int rc = 0;
    if (a->task && !a->data) {
        rc = cmd_data_dir(&data_dir, e);
        buf_addf(&task_path, "%s/tasks/%s/eval.jsonl", data_dir ? data_dir : "", a->task);
        rc = rc ? rc : buf_check(&task_path, "a path", e);
    }
    o.task_path = a->data ? a->data : task_path.data;
    if (isatty(STDERR_FILENO)) {
        o.on_progress = show_progress;
        o.ctx = &shown;
    }
    rc = rc ? rc : fidelity_measure(&o, &v, e);
    if (shown) {
        fputs("\r\033[K", stderr);
    }
    rc = rc || !a->into ? rc : fidelity_keep(a->into, &o, v, e);
    if (!rc) {
        rc = a->json ? print_json(&o, v, e) : print_text(&o, v);
    }
    json_decref(v);
    buf_release(&task_path);
    free(data_dir);
    return rc;
}

int cmd_fidelity(int argc, char **argv) {
    struct args a = {.gpu_layers = ENGINE_ALL_GPU_LAYERS};
    const struct opt options[] = {
        {OPT_STR, 0, "text", &a.text, "FILE", "compare on a text, in UTF-8", NULL},
        {OPT_CHOICE, 0, "task", &a.task, "NAME", "compare on the prompts of rag, summ or chat",
         task_choices},
        {OPT_STR, 0, "data", &a.data, "FILE", "the task's items (default: the project's)", NULL},
        {OPT_INT, 0, "items", &a.items, "N", "the first N items (default: all)", NULL},
        {OPT_INT, 0, "context", &a.context, "N", "tokens a window of text has (default: 512)",
         NULL},
        {OPT_INT, 0, "windows", &a.windows, "N", "the first N windows (default: all)", NULL},
        {OPT_CHOICE, 0, "compat", &a.compat, "TOOL",
         "the figures of llama-perplexity, with its roundings", compat_names},
        {OPT_STR, 0, "into", &a.into, "RUN",
         "keep the result in the run of these files, for its reports", NULL},
        {OPT_INT, 0, "threads", &a.threads, "N", "threads (default: all this process may use)",
         NULL},
        {OPT_INT, 0, "gpu-layers", &a.gpu_layers, "N", "layers on the accelerator (default: all)",
         NULL},
        {OPT_FLAG, 0, "json", &a.json, NULL, "print JSON", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "fidelity",
        .usage = usage,
        .summary = "Compare what two models predict for the same tokens.",
        .details =
            "KL divergence is from BASE to OTHER, in nats a token; every token of a window counts\n"
            "but the first. Both models are held at once; no logits are written anywhere. Models\n"
            "with different vocabularies cannot be compared.",
        .options = options,
        .min_operands = 2,
        .max_operands = 2};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    char *exe = fs_exe_path();
    int rc = check_args(&a, &e);
    if (!rc && !exe) {
        rc = err_set(&e, EE_IO, "cannot tell where this program lies (is /proc mounted?)");
    }
    if (!rc) {
        const struct fidelity_opts o = {
            .exe = exe,
            .base_path = argv[0],
            .other_path = argv[1],
            .text_path = a.text,
            .task = a.task,
            .items = a.items,
            .windows = a.windows,
            .context = a.context ? a.context : (a.text ? DEFAULT_CONTEXT : 0),
            .threads = a.threads,
            .gpu_layers = a.gpu_layers,
            .compat = a.compat != NULL,
        };
        rc = compare(&a, &o, &e);
    }
    free(exe);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
