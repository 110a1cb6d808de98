/* edge-eval merge: a model and its adapter made one model in F16. */
#include "cmd.h"

#include "adapt/merge.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "stop.h"

#include <stdlib.h>
#include <unistd.h>

static const char *const usage[] = {"merge MODEL.gguf ADAPTER.gguf OUT.gguf [--json]", NULL};

static void on_progress(void *ctx, int64_t done_bytes, int64_t all_bytes) {
    int *shown = ctx;
    int percent = (int)(100 * done_bytes / all_bytes);
    if (percent != *shown) {
        fprintf(stderr, "\rmerging %3d %%%s", percent, percent == 100 ? "\n" : "");
        *shown = percent;
    }
}

static void print_result(const char *path, const struct merge_result *r, double seconds,
                         bool as_json) {
    if (as_json) {
        json_t *o = json_pack("{s:s, s:I, s:I, s:f}", "out", path, "bytes",
                              (json_int_t)r->out_bytes, "merged", (json_int_t)r->n_merged,
                              "seconds", seconds);
        char *text = o ? json_dumps(o, JSON_REAL_PRECISION(6)) : NULL;
        printf("%s\n", text ? text : "{}");
        free(text);
        json_decref(o);
    } else {
        printf("%s: %.1f MB in F16, %lld matrices changed by the adapter, %.1f s\n", path,
               (double)r->out_bytes / 1e6, (long long)r->n_merged, seconds);
    }
}

int cmd_merge(int argc, char **argv) {
    bool as_json = false;
    const struct opt options[] = {
        {OPT_FLAG, 0, "json", &as_json, NULL, "print the result as JSON", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "merge",
        .usage = usage,
        .summary = "Write a model with an adapter's changes in its matrices, in F16.",
        .details = "Tensors stream through, so that memory stays small whatever the model's size.\n"
                   "An adapter for another architecture or shape is refused. For fewer bits,\n"
                   "quantize the result: edge-eval help quantize.",
        .options = options,
        .min_operands = 3,
        .max_operands = 3};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    if (fs_exists(argv[2])) {
        err_set(&e, EE_USAGE, "%s exists already", argv[2]);
        return cmd_fail(&e);
    }
    int shown = -1;
    struct merge_result result;
    const struct merge_opts opts = {.progress = isatty(STDERR_FILENO) ? on_progress : NULL,
                                    .ctx = &shown,
                                    .stop = &stop_requested};
    stop_on_signals();
    int64_t begin_ns = clock_mono_ns();
    int rc = merge_files(argv[0], argv[1], argv[2], &opts, &result, &e);
    if (rc) {
        return cmd_fail(&e);
    }
    print_result(argv[2], &result, clock_ns_to_s(clock_mono_ns() - begin_ns), as_json);
    return EXIT_OK;
}
