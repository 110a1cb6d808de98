/* edge-eval import: checkpoints and adapters of the Hugging Face ecosystem, made GGUF. */
#include "cmd.h"

#include "adapt/import.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/gguf_info.h"
#include "stop.h"

#include <unistd.h>

static const char *const usage[] = {"import HF_DIR OUT.gguf [--type F16|BF16|F32] [--json]",
                                    "import --adapter PEFT_DIR MODEL.gguf OUT.gguf [--json]", NULL};

static void on_progress(void *ctx, int64_t done_bytes, int64_t all_bytes) {
    int *shown = ctx;
    int percent = (int)(100 * (double)done_bytes / (double)all_bytes);
    if (percent != *shown) {
        fprintf(stderr, "\rimporting %3d %%%s", percent, percent == 100 ? "\n" : "");
        *shown = percent;
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
        rc = cmd_print_json(json_pack("{s:s, s:s, s:I, s:I, s:f, s:O}", "out", path, "architecture",
                                      info.arch, "bytes", (json_int_t)info.file_bytes, "params",
                                      (json_int_t)info.n_params, "seconds", seconds, "types",
                                      types),
                            e);
    } else {
        struct buf text;
        const char *type;
        json_t *count;
        buf_init(&text);
        buf_addf(&text, "%s: %s, %.1f MB in %.1f s, tensors:", path, info.arch,
                 (double)info.file_bytes / 1e6, seconds);
        json_object_foreach(types, type, count) {
            buf_addf(&text, " %s %lld", type, (long long)json_integer_value(count));
        }
        buf_addch(&text, '\n');
        rc = cmd_print(&text, e);
        buf_release(&text);
    }
    json_decref(types);
    return rc;
}

int cmd_import(int argc, char **argv) {
    const char *type = NULL;
    const char *adapter = NULL;
    bool as_json = false;
    const struct opt options[] = {
        {OPT_CHOICE, 0, "type", &type, "TYPE",
         "of the matrices: F16, BF16, F32 (default: as they are; F16 for F32)", import_type_names},
        {OPT_STR, 0, "adapter", &adapter, "PEFT_DIR",
         "import this LoRA adapter, made for MODEL.gguf", NULL},
        {OPT_FLAG, 0, "json", &as_json, NULL, "print the result as JSON", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "import",
        .usage = usage,
        .summary = "Make a GGUF model or adapter from a Hugging Face checkpoint or PEFT adapter.",
        .details =
            "Takes config.json, tokenizer.json, tokenizer_config.json and the safetensors files of\n"
            "llama and qwen2 models, as llama.cpp's own converter does. Tensors stream through, so\n"
            "that memory stays small. What cannot be imported exactly is refused (docs/import.md).",
        .options = options,
        .min_operands = 2,
        .max_operands = 2};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    const char *out = argv[1];
    if (fs_exists(out)) {
        err_set(&e, EE_USAGE, "%s exists already", out);
        return cmd_fail(&e);
    }
    if (adapter && type) {
        err_set(&e, EE_USAGE, "--type is for models; adapters are written in F32");
        return cmd_fail(&e);
    }
    int shown = -1;
    const struct import_opts opts = {.type = type,
                                     .progress = isatty(STDERR_FILENO) ? on_progress : NULL,
                                     .ctx = &shown,
                                     .stop = &stop_requested};
    stop_on_signals();
    int64_t begin_ns = clock_mono_ns();
    int rc = adapter ? import_adapter(adapter, argv[0], out, &opts, &e)
                     : import_model(argv[0], out, &opts, &e);
    rc = rc ? rc : report(out, clock_ns_to_s(clock_mono_ns() - begin_ns), as_json, &e);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
