/* edge-eval quantize: one GGUF file into another precision. */
#include "cmd.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/gguf_info.h"
#include "engine/quantize.h"

#include <stdlib.h>

static const char *const usage[] = {"quantize IN.gguf OUT.gguf --type TYPE [--threads N]", NULL};

static void print_summary(const char *path, const struct gguf_info *info, const json_t *types,
                          double seconds) {
    const char *type;
    json_t *count;
    printf("%s: %.1f MB in %.1f s, tensors:", path, (double)info->file_bytes / 1e6, seconds);
    json_object_foreach((json_t *)types, type, count) {
        printf(" %s %lld", type, (long long)json_integer_value(count));
    }
    printf("\n");
}

int cmd_quantize(int argc, char **argv) {
    const char *type = NULL;
    int64_t threads = 0;
    const struct opt options[] = {
        {OPT_CHOICE, 0, "type", &type, "TYPE", "F16, BF16, Q8_0, Q4_0, Q4_K_M or IQ4_NL",
         quantize_type_names},
        {OPT_INT, 0, "threads", &threads, "N", "threads (default: all this process may use)", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "quantize",
        .usage = usage,
        .summary = "Write a copy of a GGUF model with its matrices in another type.",
        .details =
            "Vectors stay F32, and the engine keeps some tensors (token embeddings, rows that\n"
            "do not fit the type) in more precision: the tensor count by type is printed.",
        .options = options,
        .min_operands = 2,
        .max_operands = 2};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    if (!type) {
        err_set(&e, EE_USAGE, "--type is needed (see: edge-eval help quantize)");
        return cmd_fail(&e);
    }
    if (fs_exists(argv[1])) {
        err_set(&e, EE_USAGE, "%s exists already", argv[1]);
        return cmd_fail(&e);
    }
    struct gguf_info info;
    json_t *types = NULL;
    int64_t begin_ns = clock_mono_ns();
    int rc = quantize_file(argv[0], argv[1], type, (int)threads, &e);
    rc = rc ? rc : gguf_info_read(argv[1], &info, &types, &e);
    if (!rc) {
        print_summary(argv[1], &info, types, clock_ns_to_s(clock_mono_ns() - begin_ns));
    }
    json_decref(types);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
