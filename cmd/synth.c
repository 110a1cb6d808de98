/* edge-eval synth: a checkpoint of a known shape with random weights. */
#include "cmd.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/gguf_info.h"
#include "engine/quantize.h"
#include "engine/synth.h"
#include "lifecycle/models.h"
#include "stop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const usage[] = {"synth SHAPE OUT.gguf [--type TYPE] [--seed N]",
                                    "synth --like MODEL.gguf OUT.gguf [--type TYPE]",
                                    "synth --list [--json]", NULL};

static int print_list(const struct known_shape *shapes, size_t n, bool as_json, struct err *e) {
    if (!as_json) {
        printf("%-16s %-10s %-6s %-8s %8s %8s\n", "id", "family", "size", "arch", "weights", "F16");
        for (size_t i = 0; i < n; i++) {
            const struct known_shape *s = &shapes[i];
            double params = (double)shape_params(s);
            printf("%-16s %-10s %-6s %-8s %6.2f B %5.1f GB\n", s->id, s->family, s->size,
                   s->architecture, params / 1e9, 2 * params / 1e9);
        }
        return 0;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct known_shape *s = &shapes[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s, s:I}", "id", s->id, "family",
                                        s->family, "size", s->size, "architecture", s->architecture,
                                        "params", (json_int_t)shape_params(s)));
    }
    return cmd_print_json(list, e);
}

static void show_progress(uint64_t done_bytes, uint64_t all_bytes, void *ctx) {
    int *shown = ctx;
    int percent = (int)(100 * (double)done_bytes / (double)all_bytes);
    if (percent != *shown) {
        *shown = percent;
        fprintf(stderr, "\r%3d %% of %.2f GB%s", percent, (double)all_bytes / 1e9,
                percent == 100 ? "\n" : "");
    }
}

static int report(const char *path, double seconds, bool as_json, struct err *e) {
    struct gguf_info info;
    json_t *types = NULL;
    int rc = gguf_info_read(path, &info, &types, e);
    if (rc) {
        return rc;
    }
    if (as_json) {
        rc = cmd_print_json(json_pack("{s:s, s:I, s:I, s:f, s:O}", "path", path, "bytes",
                                      (json_int_t)info.file_bytes, "params",
                                      (json_int_t)info.n_params, "seconds", seconds, "types",
                                      types),
                            e);
    } else {
        const char *type;
        json_t *count;
        printf("%s: %.2f GB in %.1f s, %s, random weights, tensors:", path,
               (double)info.file_bytes / 1e9, seconds, info.arch);
        json_object_foreach(types, type, count) {
            printf(" %s %lld", type, (long long)json_integer_value(count));
        }
        printf("\n");
    }
    json_decref(types);
    return rc;
}

static int find_shape(const char *id, const struct known_shape *shapes, size_t n,
                      const struct known_shape **out, struct err *e) {
    *out = shapes_find(shapes, n, id);
    return *out ? 0
                : err_set(e, EE_USAGE, "no shape \"%.60s\"; edge-eval synth --list names them all",
                          id);
}

static int write_one(const struct synth_opts *opts, bool as_json, struct err *e) {
    if (fs_exists(opts->out_path)) {
        return err_set(e, EE_USAGE, "%s exists already", opts->out_path);
    }
    stop_on_signals();
    int64_t begin_ns = clock_mono_ns();
    int rc = synth_write(opts, e);
    return rc ? rc : report(opts->out_path, clock_ns_to_s(clock_mono_ns() - begin_ns), as_json, e);
}

int cmd_synth(int argc, char **argv) {
    const char *type = NULL;
    const char *like = NULL;
    const char *vocab = NULL;
    const char *shapes_path = NULL;
    int64_t seed = 1;
    bool list = false;
    bool as_json = false;
    const struct opt options[] = {
        {OPT_CHOICE, 0, "type", &type, "TYPE", "F16 (default), BF16, Q8_0, Q4_0, Q4_K_M, IQ4_NL",
         quantize_type_names},
        {OPT_STR, 0, "like", &like, "MODEL.gguf", "take shape and tokenizer from a model file",
         NULL},
        {OPT_INT, 0, "seed", &seed, "N", "of the random weights (default 1)", NULL},
        {OPT_STR, 0, "shapes", &shapes_path, "FILE", "shapes of your own, as data/shapes.yaml",
         NULL},
        {OPT_STR, 0, "vocab", &vocab, "FILE.gguf", "the shape's vocabulary", NULL},
        {OPT_FLAG, 0, "list", &list, NULL, "list the shapes", NULL},
        {OPT_FLAG, 0, "json", &as_json, NULL, "print JSON", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "synth",
        .usage = usage,
        .summary = "Write a checkpoint of a known shape with random weights.",
        .details =
            "Time, joules and memory follow from a model's shape, so a synthetic checkpoint tells\n"
            "what a model would cost on this machine before it is downloaded. Its answers mean\n"
            "nothing: the file says so, and no quality is computed from it (docs/synth.md).",
        .options = options,
        .min_operands = 0,
        .max_operands = 2};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct buf path;
    buf_init(&path);
    char *data_dir = NULL;
    struct known_shape *shapes = NULL;
    size_t n = 0;
    int rc = 0;
    if (!list && n_operands != (like ? 1 : 2)) {
        rc = err_set(&e, EE_USAGE,
                     "a shape (or --like MODEL.gguf) and a file to write are needed "
                     "(see: edge-eval help synth)");
    }
    rc = rc ? rc : cmd_data_dir(&data_dir, &e);
    if (!rc) {
        buf_addf(&path, "%s/shapes.yaml", data_dir);
        rc = buf_check(&path, "path", &e);
    }
    rc = rc ? rc : shapes_load(shapes_path ? shapes_path : path.data, &a, &shapes, &n, &e);
    if (rc || list) {
        rc = rc ? rc : print_list(shapes, n, as_json, &e);
        goto out;
    }
    int shown = -1;
    struct synth_opts opts = {.progress = isatty(STDERR_FILENO) ? show_progress : NULL,
                              .progress_ctx = &shown,
                              .like_path = like,
                              .vocab_path = vocab,
                              .out_path = argv[n_operands - 1],
                              .type = type,
                              .seed = (uint64_t)seed,
                              .stop = &stop_requested};
    if (!like) {
        rc = find_shape(argv[0], shapes, n, &opts.shape, &e);
    }
    if (!rc && !like && !vocab) {
        rc = models_find_vocabulary(data_dir, opts.shape, &path, &e);
        opts.vocab_path = path.data;
    }
    rc = rc ? rc : write_one(&opts, as_json, &e);
out:
    free(data_dir);
    buf_release(&path);
    arena_release(&a);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
